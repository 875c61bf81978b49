// SPDX-License-Identifier: MIT
/* The refresh: exactly one for everyone who waits, and no account lost. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "kit/leaks.h"
#include "kit/platform.h"

#define TOKEN_PATH "/auth/oauth2/token"
enum { HOUR_MS = 3600 * 1000 };

static int library(struct platform *p, const char *sub, char detail[64]) {
    char token[KIT_JWT_BYTES];
    struct client_response response;
    ask_premium(token, sub);
    int status = ask(p->port, (struct ask){.path = "library?limit=1", .token = token}, &response);
    if (status != 200) {
        ask_member(&response, "detail", detail, 64);
    }
    client_response_fini(&response);
    return status;
}

static void expect_library(struct platform *p, const char *sub, int status, const char *detail) {
    char got[64] = "";
    int got_status = library(p, sub, got);
    cr_assert_eq(got_status, status, "%d %s", got_status, got);
    cr_assert_str_eq(got, detail != NULL ? detail : "");
}

static void expect_error(struct platform *p, const char *sub, const char *error) {
    char token[KIT_JWT_BYTES];
    char got[64];
    struct client_response response;
    ask_premium(token, sub);
    cr_assert_eq(ask(p->port, (struct ask){.path = "connected", .token = token}, &response), 200);
    ask_member(&response, "last_sync_error", got, sizeof got);
    cr_assert_str_eq(got, error);
    client_response_fini(&response);
}

static int64_t refreshes(struct platform *p) {
    return simprovider_count(p->sim, SIMPROVIDER_REFRESHES);
}

static void fault(struct platform *p, enum simprovider_fault_kind kind, int64_t number,
                  const char *text, unsigned count) {
    simprovider_fault(
        p->sim,
        &(struct simprovider_fault){
            .path = TOKEN_PATH, .kind = kind, .number = number, .text = text, .count = count});
}

Test(refresh, when_the_token_is_expired_or_will_be_within_a_minute) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    expect_library(&p, "user-1", 200, NULL);
    kit_server_advance_ms(p.server, HOUR_MS - 70 * 1000);
    expect_library(&p, "user-1", 200, NULL);
    cr_assert_eq(refreshes(&p), 0);
    kit_server_advance_ms(p.server, 15 * 1000);
    expect_library(&p, "user-1", 200, NULL);
    cr_assert_eq(refreshes(&p), 1);
    kit_server_advance_ms(p.server, 2 * HOUR_MS);
    expect_library(&p, "user-1", 200, NULL);
    cr_assert_eq(refreshes(&p), 2);
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"token_refreshed\""), 2);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESH_REUSES), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

enum { CROWD = 200 };

struct visitor {
    pthread_t thread;
    struct platform *p;
    const char *sub;
    char token[KIT_JWT_BYTES];
    int status;
};

static void *visit(void *arg) {
    struct visitor *visitor = arg;
    struct client_response response;
    visitor->status =
        ask(visitor->p->port, (struct ask){.path = "library?limit=1", .token = visitor->token},
            &response);
    client_response_fini(&response);
    return NULL;
}

static void crowd_start(struct platform *p, struct visitor *crowd, const char *sub) {
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = (struct visitor){.p = p, .sub = sub};
        ask_premium(crowd[i].token, sub);
        cr_assert_eq(pthread_create(&crowd[i].thread, NULL, visit, &crowd[i]), 0);
    }
}

static void crowd_expect(struct visitor *crowd, int status) {
    for (int i = 0; i < CROWD; i++) {
        pthread_join(crowd[i].thread, NULL);
        cr_assert_eq(crowd[i].status, status, "visitor %d: %d", i, crowd[i].status);
    }
}

/* The answer is held until every one of them waits. */
static void start_and_gather(struct platform *p, struct visitor *crowd) {
    fault(p, SIMPROVIDER_HOLD, 0, NULL, 1);
    crowd_start(p, crowd, "user-1");
    cr_assert(simprovider_wait(p->sim, SIMPROVIDER_REFRESHES, 1, 10000));
    cr_assert(kit_server_wait_metric(p->server, METRIC_REFRESH_SHARED, CROWD - 1));
}

Test(refresh, one_for_all_who_ask_at_once, .timeout = 60) {
    static struct visitor crowd[CROWD];
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    platform_link(&p, "user-2");
    kit_server_advance_ms(p.server, HOUR_MS);
    start_and_gather(&p, crowd);
    cr_assert(platform_is_connected(&p, "user-2"), "others are served meanwhile");
    simprovider_release(p.sim);
    crowd_expect(crowd, 200);
    cr_assert_eq(refreshes(&p), 1);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESH_REUSES), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, all_who_wait_share_its_failure, .timeout = 60) {
    static struct visitor crowd[CROWD];
    struct platform p;
    platform_start(&p, (const char *const[]){"AUDIBLE_HTTP_TIMEOUT_SECONDS=2", NULL});
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, HOUR_MS);
    fault(&p, SIMPROVIDER_HOLD, 0, NULL, 1);
    crowd_start(&p, crowd, "user-1");
    crowd_expect(crowd, 503);
    cr_assert_eq(refreshes(&p), 1);
    simprovider_release(p.sim);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, a_disconnect_in_the_middle_wins, .timeout = 60) {
    static struct visitor crowd[CROWD];
    struct platform p;
    char token[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, HOUR_MS);
    start_and_gather(&p, crowd);
    ask_premium(token, "user-1");
    ask_expect(p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token}, 200,
               NULL);
    simprovider_release(p.sim);
    crowd_expect(crowd, 400);
    cr_assert_not(platform_is_connected(&p, "user-1"));
    cr_assert_eq(refreshes(&p), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, a_refused_grant_asks_the_user_and_is_not_tried_again) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, HOUR_MS);
    fault(&p, SIMPROVIDER_STATUS, 400, "{\"error\":\"invalid_grant\"}", 1);
    expect_library(&p, "user-1", 503, "audible_service_unavailable");
    expect_error(&p, "user-1", "reauthorization_required");
    for (int i = 0; i < 3; i++) {
        kit_server_advance_ms(p.server, 10 * 1000);
        expect_library(&p, "user-1", 503, "audible_service_unavailable");
    }
    cr_assert_eq(refreshes(&p), 1, "no further refresh is sent");
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"token_reauthorization_required\""), 1);
    cr_assert(platform_is_connected(&p, "user-1"), "the account stays");
    platform_link(&p, "user-1");
    expect_error(&p, "user-1", "");
    expect_library(&p, "user-1", 200, NULL);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, a_transient_failure_rests_for_two_seconds) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, HOUR_MS);
    fault(&p, SIMPROVIDER_STATUS, 500, "{}", 0);
    expect_library(&p, "user-1", 503, "audible_service_unavailable");
    expect_library(&p, "user-1", 503, "audible_service_unavailable");
    cr_assert_eq(refreshes(&p), 1);
    expect_error(&p, "user-1", "");
    simprovider_faults_clear(p.sim);
    kit_server_advance_ms(p.server, 2000);
    expect_library(&p, "user-1", 200, NULL);
    cr_assert_eq(refreshes(&p), 2);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, a_token_that_still_works_is_served_when_refreshing_ahead_fails) {
    static const char *const errors[] = {"{\"error\":\"server_error\"}",
                                         "{\"error\":\"invalid_client\"}",
                                         "{\"error\":\"invalid_grant\"}"};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct platform p;
        platform_start(&p, NULL);
        platform_link(&p, "user-1");
        kit_server_advance_ms(p.server, HOUR_MS - 30 * 1000);
        fault(&p, SIMPROVIDER_STATUS, 400, errors[i], 0);
        expect_library(&p, "user-1", 200, NULL);
        expect_library(&p, "user-1", 200, NULL);
        cr_assert_eq(refreshes(&p), 1, "%s", errors[i]);
        platform_stop(&p);
    }
    CHECK_LEAKS();
}

static void expect_sync(struct platform *p, const char *sub, int status, const char *detail) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, sub);
    ask_expect(p->port, (struct ask){.method = "POST", .path = "library/sync", .token = token},
               status, detail);
}

/* The access token outlives the refresh token by half a minute: what a sync has to say about itself
 * is less than that only the user can help. */
Test(refresh, a_sync_does_not_talk_over_a_refused_grant) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, HOUR_MS - 30 * 1000);
    fault(&p, SIMPROVIDER_STATUS, 400, "{\"error\":\"invalid_grant\"}", 1);
    expect_sync(&p, "user-1", 200, NULL);
    expect_error(&p, "user-1", "reauthorization_required");
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"library_synced\""), 1);
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/api/1.0/library",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 500,
                                                         .text = "{}",
                                                         .count = 1});
    expect_sync(&p, "user-1", 503, "audible_service_unavailable");
    expect_error(&p, "user-1", "reauthorization_required");
    expect_library(&p, "user-1", 200, NULL);
    kit_server_advance_ms(p.server, 40 * 1000);
    expect_library(&p, "user-1", 503, "audible_service_unavailable");
    cr_assert_eq(refreshes(&p), 1, "no further refresh is sent");
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, the_provider_refuses_us) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, HOUR_MS);
    fault(&p, SIMPROVIDER_STATUS, 401, "{\"error\":\"invalid_client\"}", 1);
    expect_library(&p, "user-1", 503, "audible_service_unavailable");
    expect_error(&p, "user-1", "");
    cr_assert_eq(kit_server_metric(p.server, METRIC_REFRESH_OPERATOR), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, an_answer_without_a_refresh_token_keeps_the_old_one) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, HOUR_MS);
    fault(&p, SIMPROVIDER_STATUS, 200, "{\"access_token\":\"not-known-to-the-api\"}", 1);
    /* refreshed, refused by the API with 401, refreshed again with the same refresh token */
    expect_library(&p, "user-1", 200, NULL);
    cr_assert_eq(refreshes(&p), 2);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESH_REUSES), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, a_401_of_the_library_causes_one_refresh_and_one_retry) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/api/1.0/library",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 401,
                                                         .text = "{}",
                                                         .count = 1});
    expect_library(&p, "user-1", 200, NULL);
    cr_assert_eq(refreshes(&p), 1);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_LIBRARIES), 2);
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/api/1.0/library",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 401,
                                                         .text = "{}"});
    expect_library(&p, "user-1", 503, "audible_service_unavailable");
    cr_assert_eq(refreshes(&p), 2);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_LIBRARIES), 4);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, without_a_refresh_token_only_the_user_can_help) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    struct ask_grant grant;
    struct client_response response;
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &grant);
    fault(&p, SIMPROVIDER_STATUS, 200, "{\"access_token\":\"a\",\"refresh_token\":\"\"}", 1);
    cr_assert_eq(ask_callback(p.port, token, &grant, &response), 200);
    client_response_fini(&response);
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/api/1.0/library",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 500,
                                                         .text = "{}",
                                                         .count = 1});
    expect_sync(&p, "user-1", 503, "audible_service_unavailable");
    expect_error(&p, "user-1", "audible_service_unavailable");
    kit_server_advance_ms(p.server, HOUR_MS);
    expect_library(&p, "user-1", 503, "audible_service_unavailable");
    expect_error(&p, "user-1", "reauthorization_required");
    cr_assert_eq(refreshes(&p), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(refresh, disconnect_revokes_the_refresh_token) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    char url[256];
    platform_start(&p, NULL);
    kit_server_stop(p.server);
    snprintf(url, sizeof url, "AUDIBLE_REVOKE_URL=%s/auth/oauth2/revoke", simprovider_url(p.sim));
    p.server = kit_server_start((struct kit_server_opts){
        .settings = (const char *const[]){url, NULL}, .provider_url = simprovider_url(p.sim)});
    p.port = kit_server_port(p.server);
    platform_link(&p, "user-1");
    ask_premium(token, "user-1");
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/auth/oauth2/revoke",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 503,
                                                         .text = "",
                                                         .count = 1});
    ask_expect(p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token}, 200,
               NULL);
    cr_assert(simprovider_wait(p.sim, SIMPROVIDER_REVOKES, 2, 10000), "tried again");
    platform_stop(&p);
    CHECK_LEAKS();
}
