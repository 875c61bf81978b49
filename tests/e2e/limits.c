// SPDX-License-Identifier: MIT
/* Rate limits by user and by client address, and whose word about the address is believed. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/leaks.h"
#include "kit/platform.h"

enum { MINUTE_MS = 60 * 1000 };

static int64_t number(const struct client_response *response, const char *name) {
    uint64_t value = UINT64_MAX;
    cr_assert(slice_to_u64(client_header(response, name), INT64_MAX, &value), "%s", name);
    return (int64_t)value;
}

static void expect_limited(int port, struct ask ask_, int64_t limit) {
    struct client_response response;
    char detail[64];
    cr_assert_eq(ask(port, ask_, &response), 429, "%s", ask_.path);
    ask_member(&response, "detail", detail, sizeof detail);
    cr_assert_str_eq(detail, "rate_limit_exceeded");
    cr_assert_eq(number(&response, "ratelimit-limit"), limit);
    cr_assert_eq(number(&response, "ratelimit-remaining"), 0);
    cr_assert(number(&response, "retry-after") >= 1);
    cr_assert(number(&response, "ratelimit-reset") >= number(&response, "retry-after"));
    client_response_fini(&response);
}

Test(limits, each_route_counts_against_its_own_by_user) {
    static const struct {
        struct ask ask;
        int64_t limit;
        int status; /* while allowed */
    } cases[] = {
        {{.method = "POST", .path = "oauth/authorize", .json = "{\"redirect_uri\":\"\"}"}, 3, 200},
        {{.method = "POST", .path = "oauth/callback", .json = "{\"code\":\"c\",\"state\":\"s\"}"},
         3,
         400},
        {{.path = "search?q=a"}, 4, 400},
        {{.path = "connected"}, 5, 200},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){
        "AUDIBLE_RATE_LIMIT_PER_MINUTE=3", "LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE=4",
        "LATCHKEY_RATE_LIMIT_PER_MINUTE=5", NULL});
    int port = kit_server_port(server);
    for (int user = 0; user < 2; user++) {
        char token[KIT_JWT_BYTES];
        char sub[32];
        snprintf(sub, sizeof sub, "user-%d", user);
        ask_premium(token, sub);
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            struct ask one = cases[c].ask;
            one.token = token;
            for (int64_t i = 0; i < cases[c].limit; i++) {
                cr_assert_eq(ask_status(port, one), cases[c].status, "%s %d", one.path, (int)i);
            }
            expect_limited(port, one, cases[c].limit);
        }
        expect_limited(port, (struct ask){.path = "B00ABC1234/play-url", .token = token}, 5);
    }
    cr_assert_eq(ask_status(port, (struct ask){.path = "/healthz"}), 200);
    kit_server_advance_ms(server, MINUTE_MS);
    char token[KIT_JWT_BYTES];
    ask_premium(token, "user-0");
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(ask_status(port, (struct ask){.path = "connected", .token = token}), 200);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

/* After the token, before the tier. */
Test(limits, come_after_authentication_and_before_the_tier) {
    struct kit_server *server =
        kit_server_start_with((const char *const[]){"LATCHKEY_RATE_LIMIT_PER_MINUTE=1", NULL});
    int port = kit_server_port(server);
    char basic[KIT_JWT_BYTES];
    kit_jwt(basic, (struct kit_jwt){.sub = "u", .tier = "basic"});
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(ask_status(port, (struct ask){.path = "connected"}), 401);
    }
    cr_assert_eq(ask_status(port, (struct ask){.path = "connected", .token = basic}), 403);
    cr_assert_eq(ask_status(port, (struct ask){.path = "connected", .token = basic}), 429);
    kit_server_stop(server);
    CHECK_LEAKS();
}

static int come_back(int port, const char *forwarded) {
    char line[256];
    snprintf(line, sizeof line, "X-Forwarded-For: %s\r\n", forwarded);
    return ask_status(port, (struct ask){.path = "oauth/callback?code=c&state=s", .headers = line});
}

Test(limits, the_callback_counts_by_address_as_trusted_proxies_tell_it) {
    struct kit_server *server = kit_server_start_with(
        (const char *const[]){"LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=2",
                              "LATCHKEY_TRUSTED_PROXIES=127.0.0.0/8,10.0.0.0/8", NULL});
    int port = kit_server_port(server);
    static const struct {
        const char *forwarded;
        int status;
    } asks[] = {
        {"192.0.2.1", 400},          {"203.0.113.9, 192.0.2.1, 10.1.2.3", 400},
        {"192.0.2.1", 400}, /* a page in place of 429: the browser's form */
        {"192.0.2.2", 400},          {"2001:db8::1", 400},
        {"10.1.2.3, 10.1.2.4", 400}, /* all trusted: the first of them */
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        cr_assert_eq(come_back(port, asks[i].forwarded), asks[i].status, "%s", asks[i].forwarded);
    }
    cr_assert_eq(kit_server_metric(server, METRIC_RATE_REFUSED_CALLBACK_ADDRESS), 1,
                 "192.0.2.1 came three times");
    char token[KIT_JWT_BYTES];
    ask_premium(token, "u");
    expect_limited(port,
                   (struct ask){.method = "POST",
                                .path = "oauth/callback",
                                .token = token,
                                .json = "{\"code\":\"c\",\"state\":\"s\"}",
                                .headers = "X-Forwarded-For: 192.0.2.1\r\n"},
                   2);
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(limits, nobody_is_believed_unless_trusted) {
    struct kit_server *server = kit_server_start_with(
        (const char *const[]){"LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=2", NULL});
    int port = kit_server_port(server);
    come_back(port, "192.0.2.1");
    come_back(port, "192.0.2.2");
    come_back(port, "192.0.2.3");
    cr_assert_eq(kit_server_metric(server, METRIC_RATE_REFUSED_CALLBACK_ADDRESS), 1);
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(limits, a_browser_is_told_in_its_own_form) {
    struct client_response response;
    struct kit_server *server = kit_server_start_with(
        (const char *const[]){"LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=1",
                              "LATCHKEY_RETURN_URL=https://app.example/", NULL});
    int port = kit_server_port(server);
    come_back(port, "");
    cr_assert_eq(ask(port, (struct ask){.path = "oauth/callback?code=c&state=s"}, &response), 303);
    cr_assert(slice_eq(client_header(&response, "location"),
                       SLICE("https://app.example/?audible=error&reason=rate_limit_exceeded")));
    client_response_fini(&response);
    kit_server_stop(server);
    CHECK_LEAKS();
}
