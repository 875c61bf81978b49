// SPDX-License-Identifier: MIT
/* The link flow: authorize, consent, callback, connected, disconnect; and what a state is good for.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "kit/leaks.h"
#include "kit/platform.h"

enum { MINUTE_MS = 60 * 1000 };

static void read_text(const struct client_response *response, const char *name, char out[2048]) {
    ask_member(response, name, out, 2048);
}

Test(link, from_nothing_to_connected_and_back) {
    struct platform p;
    struct client_response response;
    struct ask_grant grant;
    char token[KIT_JWT_BYTES];
    char status[2048];
    char user[2048];
    char synced[2048];
    char shown[2048];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    cr_assert_eq(ask(p.port, (struct ask){.path = "connected", .token = token}, &response), 200);
    cr_assert(slice_eq(response.body, SLICE("{\"connected\":false,\"audible_user_id\":null,"
                                            "\"synced_at\":null,\"last_sync_error\":null}")));
    client_response_fini(&response);

    ask_grant(p.port, p.sim, token, &grant);
    cr_assert_eq(ask_callback(p.port, token, &grant, &response), 200);
    read_text(&response, "status", status);
    read_text(&response, "audible_user_id", user);
    read_text(&response, "synced_at", synced);
    cr_assert_str_eq(status, "connected");
    cr_assert_str_eq(user, "amzn1.account.SAMPLELISTENER");
    cr_assert_eq(strlen(synced), CLOCK_TEXT_BYTES - 1, "%s", synced);
    client_response_fini(&response);

    cr_assert_eq(ask(p.port, (struct ask){.path = "connected", .token = token}, &response), 200);
    read_text(&response, "synced_at", shown);
    cr_assert_str_eq(shown, synced);
    read_text(&response, "audible_user_id", shown);
    cr_assert_str_eq(shown, user);
    client_response_fini(&response);
    cr_assert_not(platform_is_connected(&p, "user-2"));

    ask_expect(p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token}, 200,
               NULL);
    cr_assert_not(platform_is_connected(&p, "user-1"));
    ask_expect(p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token}, 404,
               "No Audible account connected");
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"account_connected\""), 1);
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"token_linked\""), 1);
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"account_disconnected\""), 1);
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"token_disconnected\""), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(link, the_authorization_url_and_pkce) {
    struct platform p;
    struct client_response response;
    char token[KIT_JWT_BYTES];
    char url[2048];
    char state[2048];
    char challenge[2048];
    char method[2048];
    char expected[8192];
    char earlier[2048] = "";
    platform_start(&p, (const char *const[]){"AUDIBLE_ALLOWED_REDIRECT_URIS=https://a.example/x,"
                                             "app.example:/back",
                                             NULL});
    ask_premium(token, "user-1");
    for (int i = 0; i < 5; i++) {
        struct ask authorize = {.method = "POST",
                                .path = "oauth/authorize",
                                .token = token,
                                .json = i == 4 ? "{\"redirect_uri\":\"app.example:/back\"}"
                                               : "{\"redirect_uri\":\"https://evil.example\"}"};
        cr_assert_eq(ask(p.port, authorize, &response), 200);
        read_text(&response, "auth_url", url);
        read_text(&response, "state", state);
        read_text(&response, "code_challenge", challenge);
        read_text(&response, "code_challenge_method", method);
        cr_assert_eq(strlen(state), RANDOM_TEXT_BYTES);
        cr_assert_eq(strlen(challenge), RANDOM_TEXT_BYTES);
        cr_assert_str_eq(method, "S256");
        cr_assert_str_neq(state, earlier);
        snprintf(earlier, sizeof earlier, "%s", state);
        snprintf(expected, sizeof expected,
                 "%s/auth/oauth2/authorize?client_id=sim-client&response_type=code&redirect_uri=%s"
                 "&state=%s&scope=library+profile&code_challenge=%s&code_challenge_method=S256",
                 simprovider_url(p.sim),
                 i == 4 ? "app.example%3A%2Fback"
                        : "http%3A%2F%2F127.0.0.1%3A8090%2Fapi%2Fv1%2Fuser%2Faudible%2Foauth"
                          "%2Fcallback",
                 state, challenge);
        cr_assert_str_eq(url, expected);
        client_response_fini(&response);
    }
    platform_stop(&p);
    CHECK_LEAKS();
}

static void expect_state_refused(struct platform *p, const char *token,
                                 const struct ask_grant *grant, const char *reason) {
    struct client_response response;
    char logged[64];
    snprintf(logged, sizeof logged, "\"reason\":\"%s\"", reason);
    size_t before = kit_server_logged(p->server, logged);
    cr_assert_eq(ask_callback(p->port, token, grant, &response), 400, "%s", reason);
    cr_assert(slice_eq(response.body, SLICE("{\"detail\":\"invalid_state_parameter\"}")),
              "%s: %.*s", reason, SLICE_ARGS(response.body));
    cr_assert_eq(kit_server_logged(p->server, logged), before + 1, "%s", reason);
    client_response_fini(&response);
}

Test(link, a_state_works_once_for_its_user_and_nobody_else) {
    struct platform p;
    struct ask_grant grant;
    struct client_response response;
    char mine[KIT_JWT_BYTES];
    char theirs[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    ask_premium(mine, "user-1");
    ask_premium(theirs, "user-2");
    ask_grant(p.port, p.sim, mine, &grant);
    expect_state_refused(&p, theirs, &grant, "user_mismatch");
    cr_assert_eq(kit_server_logged(p.server, "\"expected_user_id\":\"user-1\""), 1);
    cr_assert_eq(kit_server_logged(p.server, "\"actual_user_id\":\"user-2\""), 1);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 0);
    cr_assert_eq(ask_callback(p.port, mine, &grant, &response), 200);
    client_response_fini(&response);
    expect_state_refused(&p, mine, &grant, "used");
    expect_state_refused(&p, theirs, &grant, "used");
    struct ask_grant unknown = {.code = "c",
                                .state = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    expect_state_refused(&p, mine, &unknown, "unknown");
    snprintf(unknown.state, sizeof unknown.state, "not one of ours");
    expect_state_refused(&p, mine, &unknown, "unknown");
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 1);
    cr_assert_not(platform_is_connected(&p, "user-2"));
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(link, a_state_lives_for_fifteen_minutes) {
    struct platform p;
    struct ask_grant early;
    struct ask_grant late;
    struct client_response response;
    char token[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &early);
    kit_server_advance_ms(p.server, 15 * MINUTE_MS - 1000);
    cr_assert_eq(ask_callback(p.port, token, &early, &response), 200);
    client_response_fini(&response);
    ask_grant(p.port, p.sim, token, &late);
    kit_server_advance_ms(p.server, 15 * MINUTE_MS + 1000);
    cr_assert_eq(ask_callback(p.port, token, &late, &response), 400);
    cr_assert(slice_eq(response.body, SLICE("{\"detail\":\"invalid_state_parameter\"}")));
    client_response_fini(&response);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(link, states_that_nobody_takes_leave_nothing) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    char sub[32];
    platform_start(&p, NULL);
    for (int user = 0; user < 50; user++) {
        snprintf(sub, sizeof sub, "user-%d", user);
        ask_premium(token, sub);
        for (int flow = 0; flow < 3; flow++) {
            ask_expect(p.port,
                       (struct ask){.method = "POST",
                                    .path = "oauth/authorize",
                                    .token = token,
                                    .json = "{\"redirect_uri\":\"\"}"},
                       200, NULL);
        }
    }
    cr_assert_eq(kit_server_metric(p.server, METRIC_STATES), 150);
    kit_server_advance_ms(p.server, 15 * MINUTE_MS + 1000);
    cr_assert(kit_server_wait_metric(p.server, METRIC_STATES, 0));
    cr_assert_eq(kit_server_metric(p.server, METRIC_STATES_EXPIRED), 150);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(link, the_seventeenth_flow_of_a_user_drops_the_first) {
    struct platform p;
    struct ask_grant first;
    struct ask_grant second;
    struct ask_grant more;
    struct client_response response;
    char token[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &first);
    ask_grant(p.port, p.sim, token, &second);
    for (int i = 0; i < 15; i++) {
        ask_grant(p.port, p.sim, token, &more);
    }
    cr_assert_eq(ask_callback(p.port, token, &first, &response), 400);
    client_response_fini(&response);
    cr_assert_eq(ask_callback(p.port, token, &second, &response), 200);
    client_response_fini(&response);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(link, a_full_state_store_says_overloaded) {
    struct kit_server *server =
        kit_server_start_with((const char *const[]){"LATCHKEY_STATE_MAX=2", NULL});
    int port = kit_server_port(server);
    struct client_response response;
    for (int user = 0; user < 3; user++) {
        char token[KIT_JWT_BYTES];
        char sub[32];
        snprintf(sub, sizeof sub, "user-%d", user);
        ask_premium(token, sub);
        int status = ask(port,
                         (struct ask){.method = "POST",
                                      .path = "oauth/authorize",
                                      .token = token,
                                      .json = "{\"redirect_uri\":\"\"}"},
                         &response);
        cr_assert_eq(status, user < 2 ? 200 : 503);
        if (user == 2) {
            cr_assert(slice_eq(response.body, SLICE("{\"detail\":\"overloaded\"}")));
            cr_assert(slice_eq(client_header(&response, "retry-after"), SLICE("1")));
        }
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

enum { RIVALS = 50 };

struct rival {
    pthread_t thread;
    int port;
    const char *token;
    const struct ask_grant *grant;
    pthread_barrier_t *start;
    int status;
};

static void *rival_main(void *arg) {
    struct rival *rival = arg;
    struct client_response response;
    pthread_barrier_wait(rival->start);
    rival->status = ask_callback(rival->port, rival->token, rival->grant, &response);
    client_response_fini(&response);
    return NULL;
}

Test(link, of_fifty_callbacks_with_one_state_one_reaches_the_provider) {
    struct platform p;
    struct ask_grant grant;
    struct rival rivals[RIVALS];
    pthread_barrier_t start;
    char token[KIT_JWT_BYTES];
    int won = 0;
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &grant);
    pthread_barrier_init(&start, NULL, RIVALS);
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] =
            (struct rival){.port = p.port, .token = token, .grant = &grant, .start = &start};
        cr_assert_eq(pthread_create(&rivals[i].thread, NULL, rival_main, &rivals[i]), 0);
    }
    for (int i = 0; i < RIVALS; i++) {
        pthread_join(rivals[i].thread, NULL);
        cr_assert(rivals[i].status == 200 || rivals[i].status == 400, "%d", rivals[i].status);
        won += rivals[i].status == 200;
    }
    cr_assert_eq(won, 1);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 1);
    pthread_barrier_destroy(&start);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(link, a_second_link_replaces_the_first) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    platform_link(&p, "user-1");
    cr_assert(platform_is_connected(&p, "user-1"));
    char token[KIT_JWT_BYTES];
    ask_premium(token, "user-1");
    ask_expect(p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token}, 200,
               NULL);
    cr_assert_not(platform_is_connected(&p, "user-1"));
    platform_stop(&p);
    CHECK_LEAKS();
}

/* As long as every part of it may be, of characters that the form encoding triples. */
Test(link, the_longest_authorization_url_is_given_whole) {
    enum { SETTING = 64 + LIMIT_URI_BYTES };
    static const struct {
        const char *start;
        char filler;
    } parts[] = {{"AUDIBLE_CLIENT_ID=", '&'},
                 {"AUDIBLE_REDIRECT_URI=https://a/", '/'},
                 {"AUDIBLE_AUTH_URL=https://a/", 'x'}};
    char settings[3][SETTING];
    char token[KIT_JWT_BYTES];
    struct client_response response;
    for (size_t i = 0; i < 3; i++) {
        size_t length = strcspn(parts[i].start, "=") + 1 + LIMIT_URI_BYTES;
        memset(settings[i], parts[i].filler, length);
        memcpy(settings[i], parts[i].start, strlen(parts[i].start));
        settings[i][length] = '\0';
    }
    struct kit_server *server =
        kit_server_start_with((const char *const[]){settings[0], settings[1], settings[2], NULL});
    ask_premium(token, "u");
    cr_assert_eq(ask(kit_server_port(server),
                     (struct ask){.method = "POST",
                                  .path = "oauth/authorize",
                                  .token = token,
                                  .json = "{\"redirect_uri\":\"\"}"},
                     &response),
                 200);
    cr_assert_gt(response.body.len, 6U * LIMIT_URI_BYTES);
    cr_assert_not_null(memmem(response.body.at, response.body.len, "S256\"}", 6));
    client_response_fini(&response);
    kit_server_stop(server);
    CHECK_LEAKS();
}
