// SPDX-License-Identifier: MIT
/* What accounts in a Redis have of their own: how the server is set, what else may lie there, what
 * a server that is full refuses. What every store of accounts does is in accounts_backend.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "kit/backend_rig.h"
#include "kit/leaks.h"
#include "kit/redis_server.h"

enum { RETURN_MS_MAX = 2000, LOG_BYTES = 64 * 1024 };

struct rig {
    struct redis_server server;
    struct account_place place; /* of that server */
    struct backend_rig backends;
    FILE *log;
    char logged[LOG_BYTES];
};

static void start_server(struct rig *rig, bool appends) {
    *rig = (struct rig){.place.kind = &account_place_redis};
    redis_server_start(&rig->server, (struct redis_server_opts){.appends = appends});
    snprintf(rig->place.url, sizeof rig->place.url, "%s", redis_server_url(&rig->server));
}

/* Both connections are ready, and have asked what they ask. */
static void settle(struct rig *rig) {
    for (size_t i = 0; i < BACKEND_RIG_STORES; i++) {
        cr_assert(backend_rig_ping_within(&rig->backends, i, RETURN_MS_MAX));
    }
}

static void connect_both(struct rig *rig) {
    rig->log = tmpfile();
    cr_assert_not_null(rig->log);
    backend_rig_open(&rig->backends, &rig->place, fileno(rig->log));
    settle(rig);
}

static void disconnect(struct rig *rig) {
    backend_rig_close(&rig->backends);
    fclose(rig->log);
}

static void stop_server(struct rig *rig) {
    redis_server_free(&rig->server);
    CHECK_LEAKS();
}

static void open_all(struct rig *rig) {
    start_server(rig, true);
    connect_both(rig);
}

static void close_all(struct rig *rig) {
    disconnect(rig);
    stop_server(rig);
}

static void expect_answer(struct rig *rig, const char *command, const char *wanted) {
    const char *answer = redis_server_ask(&rig->server, command);
    cr_assert_str_eq(answer, wanted, "%s: %s", command, answer);
}

static struct accounts_row make_row(const char *user_id) {
    return (struct accounts_row){
        .user_id = slice_str(user_id),
        .audible_user_id = SLICE("amzn1.account.TEST"),
        .access_token = SLICE("sealed-access"),
        .refresh_token = SLICE("sealed-refresh"),
        .expires_ms = 3000,
        .connected_ms = 1000,
        .synced_ms = 2000,
        .sync_status = ACCOUNT_SYNC_SYNCED,
    };
}

static void put(struct rig *rig, const struct accounts_row *row) {
    cr_assert_eq(backend_rig_put(&rig->backends, 0, row), RC_OK);
}

/* One operation with this row, under the fence that make_row's has. */
static enum rc run(struct rig *rig, backend_rig_fn *fn, const struct accounts_row *row) {
    struct backend_call call = {.op = {.row = *row, .fence = SLICE("sealed-refresh")}};
    buf_init(&call.op.bytes, BACKEND_RIG_ROW_BYTES);
    enum rc rc = backend_rig_run(&rig->backends, 0, &call, fn);
    cr_assert((rc == RC_STORAGE_UNAVAILABLE) == (call.op.cause != NULL), "%s", rc_name(rc));
    buf_fini(&call.op.bytes);
    return rc;
}

static const struct accounts_backend_ops *ops_of(const struct rig *rig) {
    return rig->backends.backends[0]->ops;
}

/* -- how the server is set -- */

/* How often it was logged, by both connections together. */
static int logged(struct rig *rig, const char *text) {
    int count = 0;
    log_flush(rig->backends.log);
    rewind(rig->log);
    rig->logged[fread(rig->logged, 1, LOG_BYTES - 1, rig->log)] = '\0';
    for (const char *at = strstr(rig->logged, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

#define NOT_DURABLE "\"event\":\"account_store_not_durable\""
#define MAY_EVICT "\"event\":\"account_store_may_evict\""
#define SETTINGS "\"event\":\"account_store_settings\""
#define HIDDEN "\"event\":\"account_store_settings_hidden\""

Test(accounts_redis, settings_that_lose_accounts_are_warned_of) {
    static const struct {
        const char *commands[4]; /* before anyone connects */
        const char *not_durable; /* NULL: no warning */
        bool may_evict;
    } cases[] = {
        {{"CONFIG SET appendonly no"}, "no persistence", false},
        {{"CONFIG SET maxmemory-policy volatile-lru", "CONFIG SET maxmemory 100mb"},
         "no persistence",
         false},
        {{"CONFIG SET maxmemory-policy allkeys-lru"}, "no persistence", true},
        {{"CONFIG SET maxmemory 0"}, "no persistence", false},
        {{"CONFIG SET appendonly yes", "CONFIG SET appendfsync always"}, NULL, false},
        {{"CONFIG SET appendfsync everysec"}, NULL, false},
        {{"CONFIG SET appendfsync no"}, "appendfsync is no", false},
        {{"CONFIG SET maxmemory-policy allkeys-random", "CONFIG SET maxmemory 100mb"},
         "appendfsync is no",
         true},
    };
    struct rig rig;
    start_server(&rig, false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t k = 0; cases[i].commands[k] != NULL; k++) {
            expect_answer(&rig, cases[i].commands[k], "OK");
        }
        connect_both(&rig);
        cr_assert_eq(logged(&rig, SETTINGS), 2, "%zu: %s", i, rig.logged);
        cr_assert_eq(logged(&rig, NOT_DURABLE), cases[i].not_durable != NULL ? 2 : 0, "%zu: %s", i,
                     rig.logged);
        cr_assert(cases[i].not_durable == NULL || logged(&rig, cases[i].not_durable) == 2,
                  "%zu: %s", i, rig.logged);
        cr_assert_eq(logged(&rig, MAY_EVICT), cases[i].may_evict ? 2 : 0, "%zu: %s", i, rig.logged);
        disconnect(&rig);
    }
    stop_server(&rig);
}

Test(accounts_redis, snapshots_only_are_warned_of) {
    struct rig rig;
    static const char *const save[] = {"CONFIG", "SET", "save", "3600 1", NULL};
    start_server(&rig, false);
    cr_assert_str_eq(redis_server_ask_args(&rig.server, save), "OK");
    connect_both(&rig);
    cr_assert_eq(logged(&rig, "snapshots only"), 2, "%s", rig.logged);
    close_all(&rig);
}

/* Managed servers refuse CONFIG, and no one may be alarmed by that. */
Test(accounts_redis, settings_that_are_hidden_are_no_warning) {
    struct rig rig;
    start_server(&rig, false);
    expect_answer(&rig, "ACL SETUSER default -config", "OK");
    connect_both(&rig);
    cr_assert_eq(logged(&rig, HIDDEN), 2, "%s", rig.logged);
    cr_assert_eq(logged(&rig, NOT_DURABLE), 0, "%s", rig.logged);
    cr_assert_eq(logged(&rig, "\"level\":\"warning\""), 0, "%s", rig.logged);
    struct accounts_row row = make_row("u");
    put(&rig, &row);
    close_all(&rig);
}

static void connect_again(struct rig *rig) {
    redis_server_ask(&rig->server, "CLIENT KILL TYPE normal");
    settle(rig);
}

Test(accounts_redis, settings_are_said_once_a_change) {
    struct rig rig;
    open_all(&rig);
    cr_assert_eq(logged(&rig, SETTINGS), 2, "%s", rig.logged);
    connect_again(&rig);
    connect_again(&rig);
    cr_assert_eq(logged(&rig, SETTINGS), 2, "%s", rig.logged);
    cr_assert_eq(logged(&rig, NOT_DURABLE), 0, "%s", rig.logged);
    expect_answer(&rig, "CONFIG SET appendonly no", "OK");
    connect_again(&rig);
    connect_again(&rig);
    cr_assert_eq(logged(&rig, NOT_DURABLE), 2, "%s", rig.logged);
    expect_answer(&rig, "CONFIG SET appendonly yes", "OK");
    connect_again(&rig);
    expect_answer(&rig, "CONFIG SET appendonly no", "OK");
    connect_again(&rig);
    cr_assert_eq(logged(&rig, SETTINGS), 8, "%s", rig.logged);
    cr_assert_eq(logged(&rig, NOT_DURABLE), 4, "%s", rig.logged);
    close_all(&rig);
}

/* Ready, asked, and gone before the answers are there. */
Test(accounts_redis, closes_while_it_asks) {
    struct rig rig;
    start_server(&rig, true);
    backend_rig_open(&rig.backends, &rig.place, 0);
    while (!redis_is_ready(rig.backends.stores[0].redis)) {
        uv_run(&rig.backends.loop.uv, UV_RUN_ONCE);
    }
    backend_rig_close(&rig.backends);
    stop_server(&rig);
}

/* -- what else lies there -- */

Test(accounts_redis, fields_of_others_stay) {
    struct rig rig;
    open_all(&rig);
    struct accounts_row row = make_row("u");
    put(&rig, &row);
    expect_answer(&rig, "HSET latchkey:account:u note theirs", "1");
    cr_assert_eq(run(&rig, ops_of(&rig)->swap, &row), RC_OK);
    cr_assert_eq(run(&rig, ops_of(&rig)->mark, &row), RC_OK);
    row.audible_user_id = SLICE_NULL;
    put(&rig, &row);
    expect_answer(&rig, "HGET latchkey:account:u note", "theirs");
    backend_rig_expect(&rig.backends, 1, row.user_id, &row);
    cr_assert_eq(run(&rig, ops_of(&rig)->remove, &row), RC_OK);
    expect_answer(&rig, "EXISTS latchkey:account:u", "0");
    expect_answer(&rig, "ZCARD latchkey:accounts", "0");
    close_all(&rig);
}

/* Evicted, or never one. */
Test(accounts_redis, a_hash_without_a_token_is_no_account) {
    struct rig rig;
    open_all(&rig);
    struct accounts_row row = make_row("ghost");
    expect_answer(&rig, "HSET latchkey:account:ghost note theirs", "1");
    expect_answer(&rig, "ZADD latchkey:accounts 0 ghost", "1");
    backend_rig_expect(&rig.backends, 0, row.user_id, NULL);
    cr_assert_eq(run(&rig, ops_of(&rig)->swap, &row), RC_ABSENT);
    cr_assert_eq(run(&rig, ops_of(&rig)->mark, &row), RC_ABSENT);
    cr_assert_eq(run(&rig, ops_of(&rig)->remove, &row), RC_ABSENT);
    expect_answer(&rig, "HGETALL latchkey:account:ghost", "note\ntheirs\n");
    expect_answer(&rig, "ZCARD latchkey:accounts", "0");
    put(&rig, &row);
    backend_rig_expect(&rig.backends, 1, row.user_id, &row);
    expect_answer(&rig, "HGET latchkey:account:ghost note", "theirs");
    close_all(&rig);
}

Test(accounts_redis, a_scan_passes_any_number_of_ids_without_an_account) {
    enum { GHOSTS = 350 };
    struct rig rig;
    struct backend_call call;
    open_all(&rig);
    for (int i = 0; i < GHOSTS; i++) {
        char command[64];
        snprintf(command, sizeof command, "ZADD latchkey:accounts 0 ghost-%03d", i);
        expect_answer(&rig, command, "1");
    }
    cr_assert_eq(backend_rig_next(&rig.backends, 0, &call, SLICE("")), RC_ABSENT);
    buf_fini(&call.op.bytes);
    struct accounts_row row = make_row("last");
    put(&rig, &row);
    cr_assert_eq(backend_rig_next(&rig.backends, 1, &call, SLICE("")), RC_OK);
    backend_rig_expect_row(&call.op.row, &row);
    buf_fini(&call.op.bytes);
    close_all(&rig);
}

Test(accounts_redis, times_that_are_no_numbers_are_a_failure) {
    static const char *const bad[] = {"soon", "1.5", "-", "9223372036854775808", "0x10", "1_"};
    struct rig rig;
    open_all(&rig);
    struct accounts_row row = make_row("u");
    put(&rig, &row);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char command[96];
        snprintf(command, sizeof command, "HSET latchkey:account:u connected_at_ms %s", bad[i]);
        expect_answer(&rig, command, "0");
        cr_assert_eq(run(&rig, ops_of(&rig)->get, &row), RC_STORAGE_UNAVAILABLE, "%s", bad[i]);
    }
    expect_answer(&rig, "HSET latchkey:account:u connected_at_ms -9223372036854775807", "0");
    expect_answer(&rig, "HDEL latchkey:account:u synced_at_ms sync_status", "2");
    row.connected_ms = -INT64_MAX;
    row.synced_ms = 0;
    row.sync_status = ACCOUNT_SYNC_PENDING;
    backend_rig_expect(&rig.backends, 0, row.user_id, &row);
    close_all(&rig);
}

Test(accounts_redis, keys_of_another_type_are_a_failure) {
    struct rig rig;
    open_all(&rig);
    struct accounts_row row = make_row("u");
    const struct accounts_backend_ops *ops = ops_of(&rig);
    backend_rig_fn *const fns[] = {ops->get, ops->put, ops->swap, ops->mark, ops->remove};
    expect_answer(&rig, "SET latchkey:account:u text", "OK");
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        cr_assert_eq(run(&rig, fns[i], &row), RC_STORAGE_UNAVAILABLE, "%zu", i);
    }
    expect_answer(&rig, "GET latchkey:account:u", "text");
    expect_answer(&rig, "DEL latchkey:accounts latchkey:account:u", "2");
    expect_answer(&rig, "SET latchkey:accounts text", "OK");
    cr_assert_eq(run(&rig, ops->put, &row), RC_STORAGE_UNAVAILABLE);
    expect_answer(&rig, "EXISTS latchkey:account:u", "0");
    cr_assert_eq(run(&rig, ops->next, &row), RC_STORAGE_UNAVAILABLE);
    close_all(&rig);
}

/* -- what a server refuses -- */

Test(accounts_redis, a_full_server_stores_nothing_by_halves) {
    struct rig rig;
    open_all(&rig);
    struct accounts_row row = make_row("u");
    struct accounts_row other = make_row("other");
    const struct accounts_backend_ops *ops = ops_of(&rig);
    put(&rig, &row);
    expect_answer(&rig, "CONFIG SET maxmemory 1", "OK");
    cr_assert_eq(run(&rig, ops->put, &other), RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(run(&rig, ops->ping, &row), RC_STORAGE_UNAVAILABLE);
    struct accounts_row changed = row;
    changed.access_token = SLICE("another");
    changed.last_sync_error = SLICE("another");
    changed.refresh_token = SLICE_NULL;
    cr_assert_eq(run(&rig, ops->put, &changed), RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(run(&rig, ops->swap, &changed), RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(run(&rig, ops->mark, &changed), RC_STORAGE_UNAVAILABLE);
    backend_rig_expect(&rig.backends, 1, row.user_id, &row);
    backend_rig_expect(&rig.backends, 1, other.user_id, NULL);
    expect_answer(&rig, "ZRANGE latchkey:accounts 0 -1", "u\n");
    cr_assert_eq(run(&rig, ops->remove, &row), RC_OK, "who leaves may leave");
    expect_answer(&rig, "CONFIG SET maxmemory 0", "OK");
    put(&rig, &other);
    close_all(&rig);
}

Test(accounts_redis, a_server_that_became_a_replica_is_left) {
    struct rig rig;
    open_all(&rig);
    struct accounts_row row = make_row("u");
    put(&rig, &row);
    expect_answer(&rig, "REPLICAOF 127.0.0.1 1", "OK");
    row.access_token = SLICE("another");
    cr_assert_eq(run(&rig, ops_of(&rig)->put, &row), RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(run(&rig, ops_of(&rig)->ping, &row), RC_STORAGE_UNAVAILABLE);
    expect_answer(&rig, "REPLICAOF NO ONE", "OK");
    settle(&rig);
    put(&rig, &row);
    backend_rig_expect(&rig.backends, 1, row.user_id, &row);
    close_all(&rig);
}

Test(accounts_redis, a_user_id_beyond_its_cap) {
    char long_id[LIMIT_USER_ID_BYTES + 2];
    struct rig rig;
    open_all(&rig);
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    struct accounts_row row = make_row(long_id);
    const struct accounts_backend_ops *ops = ops_of(&rig);
    backend_rig_fn *const fns[] = {ops->get,  ops->put,    ops->swap,
                                   ops->mark, ops->remove, ops->next};
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        cr_assert_eq(run(&rig, fns[i], &row), RC_STORAGE_UNAVAILABLE, "%zu", i);
    }
    const char *const args[] = {"ZADD", "latchkey:accounts", "0", long_id, NULL};
    cr_assert_str_eq(redis_server_ask_args(&rig.server, args), "1");
    row.user_id = SLICE("");
    cr_assert_eq(run(&rig, ops->next, &row), RC_ABSENT, "without an account it is passed");
    close_all(&rig);
}
