// SPDX-License-Identifier: MIT
/* Three servers with one MongoDB and no Redis: leases lie in it too, and what must happen once
 * happens once among them. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "kit/ask.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"
#include "kit/platform.h"

#define SUB "user-1"
enum { SERVERS = 3, CROWD = 150, ROUNDS = 3 };

struct site {
    struct mongo_server mongo;
    struct simprovider *sim;
    struct kit_server *servers[SERVERS];
    char token[KIT_JWT_BYTES];
};

static void open_site(struct site *site) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    char store[160];
    site->sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(site->sim, "%s", problem);
    mongo_server_start(&site->mongo);
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", site->mongo.url);
    for (int i = 0; i < SERVERS; i++) {
        site->servers[i] = kit_server_start(
            (struct kit_server_opts){.settings = (const char *const[]){store, NULL},
                                     .provider_url = simprovider_url(site->sim)});
    }
    ask_premium(site->token, SUB);
}

static void close_site(struct site *site) {
    for (int i = 0; i < SERVERS; i++) {
        kit_server_stop(site->servers[i]);
    }
    cr_assert(simprovider_join(site->sim));
    mongo_server_free(&site->mongo);
    CHECK_LEAKS();
}

/* The stored access token is over, for all of them. */
static void expire(struct site *site) {
    cr_assert_eq(mongo_server_ask_number(
                     &site->mongo, "nModified",
                     "{\"update\": \"user_audible_accounts\", \"updates\": [{\"q\": {\"user_id\": "
                     "\"" SUB "\"}, \"u\": {\"$set\": {\"expires_at\": {\"$date\": "
                     "{\"$numberLong\": \"1\"}}}}}]}"),
                 1);
}

struct visitor {
    pthread_t thread;
    int port;
    const char *token;
    pthread_barrier_t *start;
    int status;
};

static void *visit(void *arg) {
    struct visitor *visitor = arg;
    pthread_barrier_wait(visitor->start);
    visitor->status =
        ask_status(visitor->port, (struct ask){.path = "library?limit=1", .token = visitor->token});
    return NULL;
}

/* How many were answered with 200. */
static int visit_all(struct site *site) {
    static struct visitor visitors[CROWD];
    pthread_barrier_t start;
    int good = 0;
    pthread_barrier_init(&start, NULL, CROWD);
    for (int i = 0; i < CROWD; i++) {
        visitors[i] = (struct visitor){.port = kit_server_port(site->servers[i % SERVERS]),
                                       .token = site->token,
                                       .start = &start};
        cr_assert_eq(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        pthread_join(visitors[i].thread, NULL);
        good += visitors[i].status == 200;
    }
    pthread_barrier_destroy(&start);
    return good;
}

Test(shared_mongo, one_refresh_for_all_who_ask_at_once, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    struct site site;
    open_site(&site);
    struct platform p = {.sim = site.sim, .port = kit_server_port(site.servers[0])};
    platform_link(&p, SUB);
    for (int round = 1; round <= ROUNDS; round++) {
        expire(&site);
        cr_assert_eq(visit_all(&site), CROWD);
        cr_assert_eq(simprovider_count(site.sim, SIMPROVIDER_REFRESHES), round);
    }
    cr_assert_eq(simprovider_count(site.sim, SIMPROVIDER_REFRESH_REUSES), 0);
    cr_assert_eq(mongo_server_ask_number(&site.mongo, "n", "{\"count\": \"latchkey_leases\"}"), 0,
                 "each lease was released");
    close_site(&site);
}

/* No server keeps what another may have changed. */
Test(shared_mongo, each_sees_what_another_did, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    struct site site;
    open_site(&site);
    for (int i = 0; i < SERVERS; i++) {
        struct platform here = {.sim = site.sim, .port = kit_server_port(site.servers[i])};
        struct platform there = {.sim = site.sim,
                                 .port = kit_server_port(site.servers[(i + 1) % SERVERS])};
        cr_assert(!platform_is_connected(&there, SUB));
        platform_link(&here, SUB);
        cr_assert(platform_is_connected(&there, SUB));
        ask_expect(there.port,
                   (struct ask){.method = "POST", .path = "disconnect", .token = site.token}, 200,
                   NULL);
        cr_assert(!platform_is_connected(&here, SUB));
    }
    close_site(&site);
}
