// SPDX-License-Identifier: MIT
#include "provider/authorize.h"

void authorize_write_url(const struct provider *provider, const struct authorize_request *request,
                         struct buf *out) {
    buf_append(out, provider->auth_url);
    buf_append(out, slice_str(provider->names->authorize_path));
    BUF_LIT(out, "?client_id=");
    buf_append_form(out, provider->client_id);
    BUF_LIT(out, "&response_type=code&redirect_uri=");
    buf_append_form(out, request->redirect_uri);
    BUF_LIT(out, "&state=");
    buf_append(out, request->state);
    BUF_LIT(out, "&scope=");
    buf_append_form(out, provider->names->scope);
    BUF_LIT(out, "&code_challenge=");
    buf_append(out, request->code_challenge);
    BUF_LIT(out, "&code_challenge_method=S256");
}
