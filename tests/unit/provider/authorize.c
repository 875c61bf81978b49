// SPDX-License-Identifier: MIT
#include "provider/authorize.h"

#include <criterion/criterion.h>

static const struct slice allowed[] = {
    {"https://app.example/done", 24},
    {"com.example.app:/oauth", 22},
};

static const struct provider provider = {
    .auth_url = {"https://auth.example/oauth2", 27},
    .client_id = {"client one", 10},
    .client_secret = {"s", 1},
    .redirect_uri = {"https://platform.example/back?a=b&c", 35},
    .allowed_redirect_uris = allowed,
    .allowed_redirect_uri_count = 2,
    .names = &provider_audible,
};

Test(authorize, url_is_form_encoded) {
    char at[2048];
    struct buf url;
    buf_init_fixed(&url, at, sizeof at);
    authorize_write_url(&provider,
                        &(struct authorize_request){.state = SLICE("st-_"),
                                                    .code_challenge = SLICE("ch-_"),
                                                    .redirect_uri = provider.redirect_uri},
                        &url);
    struct slice expected =
        SLICE("https://auth.example/oauth2/authorize?client_id=client+one&response_type=code"
              "&redirect_uri=https%3A%2F%2Fplatform.example%2Fback%3Fa%3Db%26c&state=st-_"
              "&scope=library+profile&code_challenge=ch-_&code_challenge_method=S256");
    cr_assert(slice_eq(buf_slice(&url), expected), "%.*s", SLICE_ARGS(buf_slice(&url)));
}

Test(authorize, too_long_a_url_overflows_and_is_never_cut) {
    char at[64];
    struct buf url;
    buf_init_fixed(&url, at, sizeof at);
    authorize_write_url(&provider,
                        &(struct authorize_request){SLICE("s"), SLICE("c"), provider.redirect_uri},
                        &url);
    cr_assert_not(buf_ok(&url));
}

Test(provider, redirect_uri_is_the_configured_one_unless_listed_to_the_letter) {
    static const struct {
        const char *wanted;
        const char *sent;
    } cases[] = {
        {"", "https://platform.example/back?a=b&c"},
        {"https://evil.example/", "https://platform.example/back?a=b&c"},
        {"https://app.example/done", "https://app.example/done"},
        {"https://app.example/done/", "https://platform.example/back?a=b&c"},
        {"https://APP.example/done", "https://platform.example/back?a=b&c"},
        {"https://app.example/don", "https://platform.example/back?a=b&c"},
        {"com.example.app:/oauth", "com.example.app:/oauth"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice sent = provider_redirect_uri(&provider, slice_str(cases[i].wanted));
        cr_assert(slice_eq(sent, slice_str(cases[i].sent)), "%s", cases[i].wanted);
    }
}

Test(provider, configured_needs_all_three) {
    struct provider partly = provider;
    cr_assert(provider_is_configured(&partly));
    partly.client_id = SLICE_NULL;
    cr_assert_not(provider_is_configured(&partly));
    partly = provider;
    partly.client_secret = SLICE_NULL;
    cr_assert_not(provider_is_configured(&partly));
    partly = provider;
    partly.redirect_uri = SLICE_NULL;
    cr_assert_not(provider_is_configured(&partly));
}
