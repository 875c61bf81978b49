// SPDX-License-Identifier: MIT
/* The account changes, or the client leaves, while its token is refreshed or its library walked:
 * what stands is the truth, nobody gets what was overtaken, and nothing stays behind. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <time.h>

#include "kit/faults_sqlite.h"
#include "kit/leaks.h"
#include "kit/platform.h"

#define TOKEN_PATH "/auth/oauth2/token"
#define LIBRARY_PATH "/api/1.0/library"
#define SUB "user-1"
enum { HOUR_MS = 3600 * 1000, WAIT_MS = 10 * 1000 };

/* -- one request beside the test's own -- */

struct visitor {
    pthread_t thread;
    int port;
    struct ask ask;
    char token[KIT_JWT_BYTES];
    int status;
    char detail[64];
};

static void *visit(void *arg) {
    struct visitor *visitor = arg;
    struct client_response response;
    visitor->status = ask(visitor->port, visitor->ask, &response);
    ask_member(&response, "detail", visitor->detail, sizeof visitor->detail);
    client_response_fini(&response);
    return NULL;
}

static void visitor_start(struct visitor *visitor, int port, const char *method, const char *path) {
    *visitor = (struct visitor){.port = port};
    ask_premium(visitor->token, SUB);
    visitor->ask = (struct ask){.method = method, .path = path, .token = visitor->token};
    cr_assert_eq(pthread_create(&visitor->thread, NULL, visit, visitor), 0);
}

static void visitor_expect(struct visitor *visitor, int status, const char *detail) {
    pthread_join(visitor->thread, NULL);
    cr_assert_eq(visitor->status, status, "%d %s", visitor->status, visitor->detail);
    cr_assert_str_eq(visitor->detail, detail);
}

static void hold(struct platform *p, const char *path) {
    simprovider_fault(
        p->sim, &(struct simprovider_fault){.path = path, .kind = SIMPROVIDER_HOLD, .count = 1});
}

static void start_linked(struct platform *p) {
    platform_start(p, NULL);
    platform_link(p, SUB);
}

static void disconnect(struct platform *p) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, SUB);
    ask_expect(p->port, (struct ask){.method = "POST", .path = "disconnect", .token = token}, 200,
               NULL);
}

static void expect_library(struct platform *p) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, SUB);
    ask_expect(p->port, (struct ask){.path = "library?limit=1", .token = token}, 200, NULL);
}

static void expect_sync_error(struct platform *p, const char *error) {
    char token[KIT_JWT_BYTES];
    char got[64];
    struct client_response response;
    ask_premium(token, SUB);
    cr_assert_eq(ask(p->port, (struct ask){.path = "connected", .token = token}, &response), 200);
    ask_member(&response, "last_sync_error", got, sizeof got);
    cr_assert_str_eq(got, error);
    client_response_fini(&response);
}

/* -- during a refresh -- */

/* A visitor whose refresh the provider has answered and holds. `is_dead`: it has forgotten all its
 * tokens before, so that the answer is invalid_grant. */
static void begin_refresh(struct platform *p, struct visitor *visitor, bool is_dead) {
    start_linked(p);
    kit_server_advance_ms(p->server, HOUR_MS);
    if (is_dead) {
        simprovider_reset(p->sim);
    }
    hold(p, TOKEN_PATH);
    visitor_start(visitor, p->port, "GET", "library?limit=1");
    cr_assert(simprovider_wait(p->sim, SIMPROVIDER_REFRESHES, 1, WAIT_MS));
}

Test(overtaken, a_new_link_stands_and_serves_those_who_wait) {
    for (int is_dead = 0; is_dead < 2; is_dead++) {
        struct platform p;
        struct visitor visitor;
        begin_refresh(&p, &visitor, is_dead);
        platform_link(&p, SUB);
        simprovider_release(p.sim);
        visitor_expect(&visitor, 200, "");
        cr_assert_eq(kit_server_metric(p.server, METRIC_REFRESH_OVERTAKEN), 1);
        cr_assert_eq(kit_server_metric(p.server, METRIC_REFRESH_OK), 0);
        cr_assert_eq(kit_server_logged(p.server, "\"cause\":\"overtaken\""), 1);
        expect_sync_error(&p, "");
        expect_library(&p);
        cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESHES), 1, "the link's own serves");
        platform_stop(&p);
    }
    CHECK_LEAKS();
}

Test(overtaken, a_refused_grant_of_an_account_that_is_gone) {
    struct platform p;
    struct visitor visitor;
    begin_refresh(&p, &visitor, true);
    disconnect(&p);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 400, "Audible account not connected");
    cr_assert_not(platform_is_connected(&p, SUB));
    cr_assert_eq(kit_server_metric(p.server, METRIC_REFRESH_GRANT_REFUSED), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

/* Whether a refused grant is to be believed can't be known without the record. */
Test(overtaken, a_refused_grant_while_the_disk_is_down) {
    struct platform p;
    struct visitor visitor;
    struct faults_sqlite *disk = faults_sqlite_install();
    begin_refresh(&p, &visitor, true);
    faults_sqlite_fail(disk, FAULTS_SQLITE_ALL, 0);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 503, "storage_unavailable");
    faults_sqlite_heal(disk);
    expect_sync_error(&p, "");
    platform_stop(&p);
    faults_sqlite_remove(disk);
    CHECK_LEAKS();
}

static bool shows_reauthorization(struct platform *p) {
    char token[KIT_JWT_BYTES];
    char got[64];
    struct client_response response;
    ask_premium(token, SUB);
    cr_assert_eq(ask(p->port, (struct ask){.path = "connected", .token = token}, &response), 200);
    ask_member(&response, "last_sync_error", got, sizeof got);
    client_response_fini(&response);
    return strcmp(got, "reauthorization_required") == 0;
}

/* It is believed, and can't be noted: it is known all the same, and noted when the disk is back. */
Test(overtaken, a_refused_grant_while_the_disk_is_full, .timeout = 60) {
    struct platform p;
    struct visitor visitor;
    struct faults_sqlite *disk = faults_sqlite_install();
    begin_refresh(&p, &visitor, true);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 503, "audible_service_unavailable");
    for (int i = 0; i < 3; i++) {
        kit_server_advance_ms(p.server, 3000);
        visitor_start(&visitor, p.port, "GET", "library?limit=1");
        visitor_expect(&visitor, 503, "audible_service_unavailable");
    }
    cr_assert_not(shows_reauthorization(&p));
    faults_sqlite_heal(disk);
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (int i = 0; i < WAIT_MS / 10 && !shows_reauthorization(&p); i++) {
        nanosleep(&pause, NULL);
    }
    expect_sync_error(&p, "reauthorization_required");
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESHES), 1);
    platform_stop(&p);
    faults_sqlite_remove(disk);
    CHECK_LEAKS();
}

/* Meanwhile the user links again: what was to be noted is not true any more. */
Test(overtaken, a_new_link_after_a_refused_grant_while_the_disk_is_full, .timeout = 60) {
    struct platform p;
    struct visitor visitor;
    struct faults_sqlite *disk = faults_sqlite_install();
    begin_refresh(&p, &visitor, true);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 503, "audible_service_unavailable");
    faults_sqlite_heal(disk);
    platform_link(&p, SUB);
    kit_server_advance_ms(p.server, HOUR_MS);
    for (int i = 0; i < 2; i++) {
        expect_library(&p);
        expect_sync_error(&p, "");
    }
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESHES), 2);
    platform_stop(&p);
    faults_sqlite_remove(disk);
    CHECK_LEAKS();
}

/* The server stops before it could. */
Test(overtaken, the_server_stops_while_a_refused_grant_is_not_noted) {
    struct platform p;
    struct visitor visitor;
    struct faults_sqlite *disk = faults_sqlite_install();
    begin_refresh(&p, &visitor, true);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 503, "audible_service_unavailable");
    kit_server_ask_stop(p.server);
    kit_server_join(p.server);
    faults_sqlite_heal(disk);
    kit_server_stop(p.server);
    cr_assert(simprovider_join(p.sim));
    faults_sqlite_remove(disk);
    CHECK_LEAKS();
}

/* What could not be stored is said to be lost, by its event, and the server ends in time. */
Test(overtaken, the_server_stops_while_a_rotated_token_is_not_stored) {
    struct platform p;
    struct visitor visitor;
    struct faults_sqlite *disk = faults_sqlite_install();
    begin_refresh(&p, &visitor, false);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 503, "storage_unavailable");
    kit_server_ask_stop(p.server);
    kit_server_join(p.server);
    cr_assert_eq(kit_server_logged(p.server, "\"cause\":\"not_stored\""), 1);
    faults_sqlite_heal(disk);
    kit_server_stop(p.server);
    cr_assert(simprovider_join(p.sim));
    faults_sqlite_remove(disk);
    CHECK_LEAKS();
}

/* -- after a disconnect -- */

/* What is to be revoked is tried again later; a server that stops by then says that it was not. */
Test(overtaken, the_server_stops_between_two_tries_of_a_revocation) {
    struct platform p;
    char url[128];
    platform_start(&p, NULL);
    kit_server_stop(p.server);
    snprintf(url, sizeof url, "AUDIBLE_REVOKE_URL=%s/auth/oauth2/revoke", simprovider_url(p.sim));
    p.server = kit_server_start((struct kit_server_opts){
        .settings = (const char *const[]){url, NULL}, .provider_url = simprovider_url(p.sim)});
    p.port = kit_server_port(p.server);
    platform_link(&p, SUB);
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/auth/oauth2/revoke",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 503});
    disconnect(&p);
    cr_assert(simprovider_wait(p.sim, SIMPROVIDER_REVOKES, 1, WAIT_MS));
    kit_server_ask_stop(p.server);
    kit_server_join(p.server);
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"token_revoke_failed\""), 1);
    kit_server_stop(p.server);
    cr_assert(simprovider_join(p.sim));
    CHECK_LEAKS();
}

/* -- during a sync -- */

/* With a token that is good for another minute and 30 s. */
static void begin_sync(struct platform *p, struct visitor *visitor) {
    start_linked(p);
    kit_server_advance_ms(p->server, HOUR_MS - 90 * 1000);
    hold(p, LIBRARY_PATH);
    visitor_start(visitor, p->port, "POST", "library/sync");
    cr_assert(simprovider_wait(p->sim, SIMPROVIDER_LIBRARIES, 1, WAIT_MS));
}

/* The fence of the mark is that of the old token: it is marked again under the new one's. */
Test(overtaken, a_token_refreshed_during_a_sync) {
    struct platform p;
    struct visitor visitor;
    begin_sync(&p, &visitor);
    kit_server_advance_ms(p.server, 60 * 1000);
    expect_library(&p);
    cr_assert_eq(kit_server_metric(p.server, METRIC_REFRESH_OK), 1);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 200, "");
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"library_synced\""), 1);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESHES), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

/* The refresh token is refused while the walk goes on with an access token that still works: the
 * fence is the same, and the sync is not the one to say that all is well. */
Test(overtaken, a_grant_refused_during_a_sync) {
    struct platform p;
    struct visitor visitor;
    begin_sync(&p, &visitor);
    kit_server_advance_ms(p.server, 60 * 1000);
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = TOKEN_PATH,
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 400,
                                                         .text = "{\"error\":\"invalid_grant\"}",
                                                         .count = 1});
    expect_library(&p);
    expect_sync_error(&p, "reauthorization_required");
    simprovider_release(p.sim);
    visitor_expect(&visitor, 200, "");
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"library_synced\""), 1);
    expect_sync_error(&p, "reauthorization_required");
    expect_library(&p);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REFRESHES), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(overtaken, a_disconnect_during_a_sync) {
    struct platform p;
    struct visitor visitor;
    begin_sync(&p, &visitor);
    disconnect(&p);
    simprovider_release(p.sim);
    visitor_expect(&visitor, 400, "Audible account not connected");
    cr_assert_not(platform_is_connected(&p, SUB), "it does not come back by a mark");
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"library_synced\""), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

/* A provider that never says that this was the last page. */
Test(overtaken, a_library_without_an_end, .timeout = 120) {
    static const char page[] =
        "{\"items\":[{\"asin\":\"B000000001\",\"title\":\"Again\"}],\"total_results\":1}";
    struct platform p;
    char token[KIT_JWT_BYTES];
    start_linked(&p);
    ask_premium(token, SUB);
    simprovider_fault(
        p.sim, &(struct simprovider_fault){
                   .path = LIBRARY_PATH, .kind = SIMPROVIDER_STATUS, .number = 200, .text = page});
    ask_expect(p.port, (struct ask){.method = "POST", .path = "library/sync", .token = token}, 503,
               "audible_service_unavailable");
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_LIBRARIES), LIMIT_SYNC_PAGES);
    expect_sync_error(&p, "audible_service_unavailable");
    platform_stop(&p);
    CHECK_LEAKS();
}

/* -- the client leaves -- */

struct leave {
    const char *request; /* method and path */
    const char *held;    /* at the provider */
    enum simprovider_counter met;
    bool is_late; /* the token needs a refresh */
};

static const struct leave leaves[] = {
    {"GET " ASK_API "/library", TOKEN_PATH, SIMPROVIDER_REFRESHES, true},
    {"GET " ASK_API "/library", LIBRARY_PATH, SIMPROVIDER_LIBRARIES, false},
    {"POST " ASK_API "/library/sync", TOKEN_PATH, SIMPROVIDER_REFRESHES, true},
    {"POST " ASK_API "/library/sync", LIBRARY_PATH, SIMPROVIDER_LIBRARIES, false},
    {"GET " ASK_API "/search?q=moon", "/api/1.0/catalog/*", SIMPROVIDER_SEARCHES, false},
    {"GET " ASK_API "/B000000001/details", "/api/1.0/catalog/*", SIMPROVIDER_DETAILS, false},
};

static void leave_at(const struct leave *leave) {
    struct platform p;
    struct client client;
    char token[KIT_JWT_BYTES];
    char request[KIT_JWT_BYTES + 256];
    start_linked(&p);
    ask_premium(token, SUB);
    kit_server_advance_ms(p.server, leave->is_late ? HOUR_MS : 0);
    hold(&p, leave->held);
    snprintf(request, sizeof request,
             "%s HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nAuthorization: Bearer %s\r\n\r\n",
             leave->request, token);
    cr_assert(client_connect(&client, p.port));
    cr_assert(client_send(&client, slice_str(request)));
    cr_assert(simprovider_wait(p.sim, leave->met, 1, WAIT_MS), "%s", leave->request);
    client_reset(&client);
    cr_assert(kit_server_wait_metric(p.server, METRIC_CONNECTIONS, 0), "%s", leave->request);
    if (leave->is_late) {
        /* what was sent is stored all the same; nothing is asked for a client that has left */
        simprovider_release(p.sim);
        cr_assert(kit_server_wait_metric(p.server, METRIC_REFRESH_OK, 1), "%s", leave->request);
        cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_LIBRARIES), 0, "%s", leave->request);
    } else {
        cr_assert(simprovider_wait(p.sim, SIMPROVIDER_ABANDONED, 1, WAIT_MS), "%s", leave->request);
        simprovider_release(p.sim);
    }
    expect_library(&p);
    client_fini(&client);
    platform_stop(&p);
}

Test(overtaken, the_client_leaves_at_each_wait, .timeout = 120) {
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        leave_at(&leaves[i]);
    }
    CHECK_LEAKS();
}
