// SPDX-License-Identifier: MIT
#pragma once

#include "base/buf.h"
#include "provider/provider.h"

/* What one authorization request adds (RFC 6749 section 4.1.1, RFC 7636 section 4.3). */
struct authorize_request {
    struct slice state;
    struct slice code_challenge;
    struct slice redirect_uri;
};

/* Appends the URL to send the user's browser to; parameters are form-encoded. */
void authorize_write_url(const struct provider *provider, const struct authorize_request *request,
                         struct buf *out);
