// SPDX-License-Identifier: MIT
#include "provider/provider.h"

const struct provider_names provider_audible = {
    .authorize_path = "/authorize",
    .token_path = "/token",
    .scope = {"library profile", 15},
    .access_token = "access_token",
    .refresh_token = "refresh_token",
    .expires_in = "expires_in",
    .token_type = "token_type",
    .user_id = "user_id",
    .error = "error",
};

struct slice provider_redirect_uri(const struct provider *provider, struct slice wanted) {
    for (size_t i = 0; i < provider->allowed_redirect_uri_count; i++) {
        if (slice_eq(provider->allowed_redirect_uris[i], wanted)) {
            return provider->allowed_redirect_uris[i];
        }
    }
    return provider->redirect_uri;
}
