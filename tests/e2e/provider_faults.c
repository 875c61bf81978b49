// SPDX-License-Identifier: MIT
/* The provider fails at the exchange in every way it can: the contract's answer within the
 * deadline, nothing stored, nothing stuck, and the next flow works. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/secrets.h"
#include "kit/soak.h"

#define TOKEN_PATH "/auth/oauth2/token"
enum { TIMEOUT_S = 1, SLACK_MS = 4000 };

#define REFUSED 400, "audible_oauth_failed"
#define UNAVAILABLE 503, "audible_service_unavailable"

static const struct {
    const char *name;
    enum simprovider_fault_kind kind;
    int64_t number;
    const char *text;
    int status;
    const char *detail;
} faults[] = {
    {"refuses the code", SIMPROVIDER_STATUS, 400, "{\"error\":\"invalid_grant\"}", REFUSED},
    {"refuses the request", SIMPROVIDER_STATUS, 400, "{\"error\":\"invalid_request\"}", REFUSED},
    {"an error of its own", SIMPROVIDER_STATUS, 400, "{\"error\":\"made_up\"}", REFUSED},
    {"denies", SIMPROVIDER_STATUS, 403, "{\"error\":\"access_denied\"}", REFUSED},
    {"refuses us", SIMPROVIDER_STATUS, 400, "{\"error\":\"invalid_client\"}", UNAVAILABLE},
    {"refuses us, 401", SIMPROVIDER_STATUS, 401, "{\"error\":\"invalid_client\"}", UNAVAILABLE},
    {"refuses us for this", SIMPROVIDER_STATUS, 400, "{\"error\":\"unauthorized_client\"}",
     UNAVAILABLE},
    {"401 with a grant error", SIMPROVIDER_STATUS, 401, "{\"error\":\"invalid_grant\"}",
     UNAVAILABLE},
    {"400 without an error", SIMPROVIDER_STATUS, 400, "{}", UNAVAILABLE},
    {"400 with an error that is no text", SIMPROVIDER_STATUS, 400, "{\"error\":7}", UNAVAILABLE},
    {"400 that isn't JSON", SIMPROVIDER_STATUS, 400, "invalid_grant", UNAVAILABLE},
    {"404", SIMPROVIDER_STATUS, 404, "{\"error\":\"invalid_grant\"}", UNAVAILABLE},
    {"500", SIMPROVIDER_STATUS, 500, "{\"error\":\"server_error\"}", UNAVAILABLE},
    {"502 in HTML", SIMPROVIDER_STATUS, 502, "<html>", UNAVAILABLE},
    {"204", SIMPROVIDER_STATUS, 204, "", UNAVAILABLE},
    {"200 without a token", SIMPROVIDER_STATUS, 200, "{\"token_type\":\"Bearer\"}", UNAVAILABLE},
    {"200 with an empty token", SIMPROVIDER_STATUS, 200, "{\"access_token\":\"\"}", UNAVAILABLE},
    {"200 with a token that is no text", SIMPROVIDER_STATUS, 200, "{\"access_token\":[\"a\"]}",
     UNAVAILABLE},
    {"200 with another token type", SIMPROVIDER_STATUS, 200,
     "{\"access_token\":\"a\",\"token_type\":\"mac\"}", UNAVAILABLE},
    {"200 with a token type that is no text", SIMPROVIDER_STATUS, 200,
     "{\"access_token\":\"a\",\"token_type\":1}", UNAVAILABLE},
    {"200 and a list", SIMPROVIDER_STATUS, 200, "[]", UNAVAILABLE},
    {"200 and two documents", SIMPROVIDER_STATUS, 200, "{\"access_token\":\"a\"}{}", UNAVAILABLE},
    {"garbage", SIMPROVIDER_GARBAGE, 0, NULL, UNAVAILABLE},
    {"no HTTP", SIMPROVIDER_NOISE, 0, NULL, UNAVAILABLE},
    {"cut short", SIMPROVIDER_TRUNCATE, 0, NULL, UNAVAILABLE},
    {"wrong types", SIMPROVIDER_WRONG_TYPES, 0, NULL, UNAVAILABLE},
    {"drops the connection", SIMPROVIDER_DROP, 0, NULL, UNAVAILABLE},
    {"a huge body", SIMPROVIDER_HUGE, 1 << 20, NULL, UNAVAILABLE},
    {"429", SIMPROVIDER_RATELIMIT, 60, NULL, UNAVAILABLE},
    {"redirects", SIMPROVIDER_REDIRECT, 0, NULL, UNAVAILABLE},
    {"too slow", SIMPROVIDER_HOLD, 0, NULL, UNAVAILABLE},
    {"trickles", SIMPROVIDER_TRICKLE, 400, NULL, UNAVAILABLE},
};

static void try_fault(struct platform *p, size_t i) {
    static const struct clock clock;
    char token[KIT_JWT_BYTES];
    char detail[256];
    struct ask_grant grant;
    struct client_response response;
    ask_premium(token, "user-1");
    ask_grant(p->port, p->sim, token, &grant);
    simprovider_fault(p->sim, &(struct simprovider_fault){.path = TOKEN_PATH,
                                                          .kind = faults[i].kind,
                                                          .number = faults[i].number,
                                                          .text = faults[i].text,
                                                          .count = 1});
    int64_t before_ms = clock_mono_ms(&clock);
    int64_t exchanges = simprovider_count(p->sim, SIMPROVIDER_EXCHANGES);
    int status = ask_callback(p->port, token, &grant, &response);
    int64_t took_ms = clock_mono_ms(&clock) - before_ms;
    ask_member(&response, "detail", detail, sizeof detail);
    cr_assert_eq(status, faults[i].status, "%s: %d", faults[i].name, status);
    cr_assert_str_eq(detail, faults[i].detail, "%s: %s", faults[i].name, detail);
    cr_assert_lt(took_ms, TIMEOUT_S * 1000 + SLACK_MS, "%s", faults[i].name);
    cr_assert_eq(simprovider_count(p->sim, SIMPROVIDER_EXCHANGES), exchanges + 1, "%s",
                 faults[i].name);
    client_response_fini(&response);
    simprovider_release(p->sim);
    cr_assert_not(platform_is_connected(p, "user-1"), "%s", faults[i].name);
    cr_assert_eq(ask_callback(p->port, token, &grant, &response), 400, "%s: the state is spent",
                 faults[i].name);
    client_response_fini(&response);
}

static void try_all(void) {
    struct platform p;
    secrets_forget();
    platform_start(&p, (const char *const[]){"AUDIBLE_HTTP_TIMEOUT_SECONDS=1",
                                             "AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=1", NULL});
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        try_fault(&p, i);
        platform_link(&p, "user-2");
        cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REDIRECTED), 0);
    }
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"provider_failed\""),
                 sizeof faults / sizeof faults[0]);
    cr_assert_eq(kit_server_logged(p.server, "made_up"), 0, "the provider's words are not logged");
    platform_stop(&p);
}

Test(provider_faults, every_fault_at_the_exchange, .timeout = 3600) {
    int passes = soak_times("TEST_SOAK_PASSES", 1);
    for (int i = 0; i < passes; i++) {
        try_all();
    }
    CHECK_LEAKS();
}

Test(provider_faults, nobody_listens) {
    struct client_response response;
    struct platform p;
    struct ask_grant grant;
    char token[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &grant);
    cr_assert(simprovider_join(p.sim));
    cr_assert_eq(ask_callback(p.port, token, &grant, &response), 503);
    cr_assert(slice_eq(response.body, SLICE("{\"detail\":\"audible_service_unavailable\"}")));
    client_response_fini(&response);
    cr_assert_not(platform_is_connected(&p, "user-1"));
    kit_server_stop(p.server);
    CHECK_LEAKS();
}

/* What the token answer may leave out or say oddly. */
Test(provider_faults, lenient_where_the_contract_is) {
    static const struct {
        const char *answer;
        const char *user_id; /* NULL: null */
    } cases[] = {
        {"{\"access_token\":\"a\"}", NULL},
        {"{\"access_token\":\"a\",\"user_id\":\"u-7\",\"token_type\":\"bEARER\"}", "u-7"},
        {"{\"access_token\":\"a\",\"user_id\":7,\"refresh_token\":null}", NULL},
        {"{\"access_token\":\"a\",\"user_id\":\"\",\"refresh_token\":\"\"}", NULL},
        {"{\"access_token\":\"a\",\"expires_in\":\"3600\"}", NULL},
        {"{\"access_token\":\"a\",\"expires_in\":-5}", NULL},
        {"{\"access_token\":\"a\",\"expires_in\":1e99}", NULL},
        {"{\"access_token\":\"a\",\"expires_in\":\"soon\"}", NULL},
        {"{\"access_token\":\"a\",\"expires_in\":3599.5}", NULL},
    };
    struct platform p;
    platform_start(&p, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char token[KIT_JWT_BYTES];
        char user[64];
        struct ask_grant grant;
        struct client_response response;
        ask_premium(token, "user-1");
        ask_grant(p.port, p.sim, token, &grant);
        simprovider_fault(p.sim, &(struct simprovider_fault){.path = TOKEN_PATH,
                                                             .kind = SIMPROVIDER_STATUS,
                                                             .number = 200,
                                                             .text = cases[i].answer,
                                                             .count = 1});
        cr_assert_eq(ask_callback(p.port, token, &grant, &response), 200, "%s", cases[i].answer);
        ask_member(&response, "audible_user_id", user, sizeof user);
        cr_assert_str_eq(user, cases[i].user_id != NULL ? cases[i].user_id : "", "%s",
                         cases[i].answer);
        client_response_fini(&response);
    }
    platform_stop(&p);
    CHECK_LEAKS();
}
