// SPDX-License-Identifier: MIT
/* No secret leaks: the kit looks through every log line and response of every end-to-end test for
 * the secrets that the test made. Here it is shown to find them, and the flows with the most to say
 * are run. */
#include "kit/secrets.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "crypto/hash.h"
#include "kit/leaks.h"
#include "kit/platform.h"

static const char *const hiding_places[] = {
    "{\"a\":\"hunter2/hunter2+hunter2\"}", "/x?code=hunter2%2Fhunter2%2Bhunter2&y",
    "aHVudGVyMi9odW50ZXIyK2h1bnRlcjI=",    "IGh1bnRlcjIvaHVudGVyMitodW50ZXIy",
    "eGh1bnRlcjIvaHVudGVyMitodW50ZXIyCg",  "YWJodW50ZXIyL2h1bnRlcjIraHVudGVyMg==",
};

Test(secrets, the_kit_finds_what_it_looks_for) {
    static const char verifier[] = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; /* RFC 7636 */
    char challenge[RANDOM_TEXT_BYTES];
    char hidden[128];
    cr_assert_eq(hash_init(), RC_OK);
    secrets_add("a password", SLICE("hunter2/hunter2+hunter2"), SECRETS_NOWHERE);
    secrets_add("a state", SLICE("state-state-state"), SECRETS_NOT_IN_LOGS);
    for (size_t i = 0; i < sizeof hiding_places / sizeof hiding_places[0]; i++) {
        cr_assert_not_null(secrets_find(slice_str(hiding_places[i]), false), "%s",
                           hiding_places[i]);
    }
    cr_assert_null(secrets_find(SLICE("hunter2 and hunter3, but not together"), true));
    cr_assert_null(secrets_find(SLICE("state=state-state-state"), false));
    cr_assert_not_null(secrets_find(SLICE("state=state-state-state"), true));
    snprintf(hidden, sizeof hidden, "x=%s;", verifier);
    cr_assert_null(secrets_find(slice_str(hidden), true));
    cr_assert_eq(hash_pkce_challenge(slice_str(verifier), challenge), RC_OK);
    secrets_add_challenge(slice_make(challenge, sizeof challenge));
    cr_assert_not_null(secrets_find(slice_str(hidden), true));
}

/* A client that puts its secrets where they don't belong gets none of them back. */
Test(secrets, what_clients_send_in_the_wrong_place_is_not_repeated) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    char text[KIT_JWT_BYTES * 3];
    struct ask_grant grant;
    struct client_response response;
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &grant);
    snprintf(text, sizeof text, "{\"code\":\"%s\",\"state\":\"%s\"}", grant.code, token);
    ask_expect(
        p.port,
        (struct ask){.method = "POST", .path = "oauth/callback", .token = token, .json = text}, 400,
        "invalid_state_parameter");
    snprintf(text, sizeof text, "{\"code\":{\"%s\":1},\"%s\":\"%s\"}", grant.code, token, token);
    ask_expect(
        p.port,
        (struct ask){.method = "POST", .path = "oauth/callback", .token = token, .json = text}, 400,
        "invalid_request");
    snprintf(text, sizeof text, "connected?access_token=%s", token);
    cr_assert_eq(ask_status(p.port, (struct ask){.path = text}), 401);
    snprintf(text, sizeof text, "/%s/%s", grant.code, token);
    cr_assert_eq(ask_status(p.port, (struct ask){.path = text}), 404);
    snprintf(text, sizeof text, "oauth/callback?code=%s&state=%s", grant.code, token);
    cr_assert_eq(ask_status(p.port, (struct ask){.path = text}), 400);
    cr_assert_eq(ask_status(p.port, (struct ask){.path = "connected", .token = "not.a.token"}),
                 401);
    cr_assert_eq(ask_callback(p.port, token, &grant, &response), 200);
    client_response_fini(&response);
    cr_assert_gt(secrets_count(), 10);
    platform_stop(&p);
    CHECK_LEAKS();
}
