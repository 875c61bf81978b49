// SPDX-License-Identifier: MIT
#include "io/redis.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "kit/fake_redis.h"
#include "kit/leaks.h"
#include "kit/redis_rig.h"
#include "kit/redis_server.h"

static void expect(struct redis_rig *rig, const char *command, const char *text) {
    struct redis_rig_call *call = redis_rig_ask(rig, command);
    cr_assert_eq(call->rc, RC_OK, "%s: %s, %s", command, rc_name(call->rc), call->cause);
    cr_assert_str_eq(call->text, text, "%s: %s", command, call->text);
}

static void expect_rc(struct redis_rig *rig, const char *command, enum rc rc) {
    struct redis_rig_call *call = redis_rig_ask(rig, command);
    cr_assert_eq(call->rc, rc, "%s: %s, %s", command, rc_name(call->rc), call->cause);
}

/* -- commands -- */

Test(redis, commands) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    cr_assert(!redis_is_ready(rig->redis));
    expect(rig, "SET a b", "OK"); /* waits for the connection */
    cr_assert(redis_is_ready(rig->redis));
    cr_assert_eq(rig->readies, 1);
    expect(rig, "GET a", "b");
    expect(rig, "GET none", "nil");
    expect(rig, "INCR n", "1");
    expect(rig, "DECRBY n 5", "-4");
    expect(rig, "RPUSH l x y z", "3");
    expect(rig, "LRANGE l 0 -1", "[x y z]");
    expect(rig, "LRANGE none 0 -1", "[]");
    expect(rig, "MGET a none n", "[b nil -4]");
    expect(rig, "SET empty ", "OK");
    expect(rig, "GET empty", "");
    expect(rig, "PING", "PONG");
    expect(rig, "CLIENT GETNAME", "latchkey-test");
    expect_rc(rig, "NOPE", RC_MALFORMED);
    expect_rc(rig, "INCR a", RC_MALFORMED);
    expect_rc(rig, "LPUSH a b", RC_MALFORMED);
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_COMMANDS_OK), 13);
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_COMMANDS_REFUSED), 3);
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_CONNECTED), 1);
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_CONNECTS_OK), 1);
    redis_rig_end(rig);
    redis_server_free(&server);
}

static void look_at_values(struct redis_op *op) {
    const struct redis_value *list = op->value;
    cr_assert_eq(redis_kind(list), REDIS_LIST);
    cr_assert_eq(redis_count(list), 5);
    cr_assert_eq(redis_kind(redis_at(list, 0)), REDIS_INTEGER);
    cr_assert_eq(redis_integer(redis_at(list, 0)), 1);
    cr_assert(slice_is_null(redis_text(redis_at(list, 0))));
    const struct redis_value *inner = redis_at(list, 1);
    cr_assert_eq(redis_count(inner), 2);
    cr_assert(slice_eq(redis_text(redis_at(inner, 0)), slice_make("a\0b", 3)));
    cr_assert_eq(redis_count(redis_at(inner, 1)), 1);
    cr_assert(slice_eq(redis_text(redis_at(redis_at(inner, 1), 0)), SLICE("deep")));
    cr_assert_eq(redis_kind(redis_at(list, 2)), REDIS_NIL);
    cr_assert_not_null(redis_at(list, 2));
    cr_assert_eq(redis_kind(redis_at(list, 3)), REDIS_TEXT);
    cr_assert(slice_eq(redis_text(redis_at(list, 3)), SLICE("FINE")));
    cr_assert_eq(redis_kind(redis_at(list, 4)), REDIS_ERROR);
    cr_assert(slice_eq(redis_text(redis_at(list, 4)), SLICE("OWN words")));
    cr_assert_null(redis_at(list, 5));
    cr_assert_null(redis_at(redis_at(list, 0), 0));
    cr_assert_null(redis_at(NULL, 0));
    cr_assert_eq(redis_kind(NULL), REDIS_NIL);
    cr_assert_eq(redis_integer(NULL), 0);
    cr_assert_eq(redis_count(NULL), 0);
    cr_assert(slice_is_null(redis_text(NULL)));
    op->request = op; /* done */
}

static bool has_been_looked_at(struct redis_rig *rig, void *about) {
    (void)rig;
    return ((struct redis_op *)about)->request == about;
}

Test(redis, nested_values) {
    static const struct redis_script script = {
        "return {1, {'a\\0b', {'deep'}}, false, {ok='FINE'}, {err='OWN words'}}", 0};
    struct redis_server server;
    struct redis_op op;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    redis_eval(rig->redis, &op, &script, NULL, 0, 0, look_at_values);
    redis_rig_until(rig, has_been_looked_at, &op);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- a row of thousands -- */

enum { ROW = 5000 };

struct row {
    struct redis_op ops[ROW];
    size_t next;
    size_t ok;
};

static struct row *row_of(struct redis_op *op, const struct row *all) {
    (void)op;
    return (struct row *)(uintptr_t)all;
}

static struct row row;

static void on_row(struct redis_op *op) {
    struct row *all = row_of(op, &row);
    cr_assert_eq(op, &all->ops[all->next], "answers come in order");
    all->next++;
    all->ok += op->rc == RC_OK && (size_t)redis_integer(op->value) == all->next;
}

static bool is_row_done(struct redis_rig *rig, void *about) {
    (void)rig;
    (void)about;
    return row.next == ROW;
}

static void start_row(struct redis_rig *rig) {
    row = (struct row){.next = 0};
    for (size_t i = 0; i < ROW; i++) {
        redis_command(rig->redis, &row.ops[i], (struct slice[]){SLICE("INCR"), SLICE("row")}, 2,
                      on_row);
    }
}

Test(redis, thousands) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    start_row(rig); /* before there is a connection */
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_UNANSWERED), ROW);
    redis_rig_until(rig, is_row_done, NULL);
    cr_assert_eq(row.ok, ROW);
    redis_server_ask(&server, "DEL row");
    start_row(rig); /* over one that stands */
    redis_rig_until(rig, is_row_done, NULL);
    cr_assert_eq(row.ok, ROW);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* What one turn brings is one write: some 30 bytes each are one piece for the server. */
Test(redis, one_write_a_turn) {
    struct fake_redis *fake = fake_redis_new();
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", fake_redis_port(fake));
    struct redis_rig *rig = redis_rig_new(url, NULL);
    redis_rig_wait_ready(rig);
    size_t before = fake_redis_reads(fake);
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        redis_rig_start(rig, i, "GET something");
    }
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        redis_rig_wait(rig, i);
        cr_assert_eq(rig->calls[i].rc, RC_OK);
    }
    cr_assert_eq(fake_redis_reads(fake), before + 1);
    cr_assert_eq(fake_redis_count(fake, "GET"), REDIS_RIG_CALLS);
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* -- scripts -- */

static const struct redis_script add = {"return redis.call('INCRBY', KEYS[1], ARGV[1])", 7};

static long calls_of(const struct redis_server *server, const char *command) {
    char mark[64];
    const char *info = redis_server_ask(server, "INFO commandstats");
    snprintf(mark, sizeof mark, "cmdstat_%s:calls=", command);
    const char *found = strstr(info, mark);
    return found != NULL ? strtol(found + strlen(mark), NULL, 10) : 0;
}

static void expect_sums(struct redis_rig *rig, long first, size_t count) {
    for (size_t i = 0; i < count; i++) {
        redis_rig_start_eval(rig, i, &add, "sum", "1");
    }
    for (size_t i = 0; i < count; i++) {
        struct redis_rig_call *call = redis_rig_wait(rig, i);
        cr_assert_eq(call->rc, RC_OK, "%zu: %s, %s", i, rc_name(call->rc), call->cause);
        cr_assert_eq(strtol(call->text, NULL, 10), first + (long)i, "%zu: %s", i, call->text);
    }
}

/* Sent whole until the server has named it, by its name afterwards; whole once more where the
 * server has lost it, after SCRIPT FLUSH or its own restart. */
Test(redis, scripts) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    expect_sums(rig, 1, 5);
    cr_assert_eq(calls_of(&server, "eval"), 5);
    cr_assert_eq(calls_of(&server, "script|load"), 1);
    expect_sums(rig, 6, 10);
    cr_assert_eq(calls_of(&server, "eval"), 5);
    cr_assert_eq(calls_of(&server, "evalsha"), 10);

    redis_server_ask(&server, "SCRIPT FLUSH");
    expect_sums(rig, 16, 10);
    cr_assert_eq(calls_of(&server, "evalsha"), 20);
    cr_assert_eq(calls_of(&server, "eval"), 15);
    expect_sums(rig, 26, 10);
    cr_assert_eq(calls_of(&server, "eval"), 15);

    redis_server_stop(&server);
    redis_server_again(&server);
    redis_rig_wait_readies(rig, 2);
    expect_sums(rig, 1, 5);
    cr_assert_eq(calls_of(&server, "eval"), 5);
    cr_assert_eq(calls_of(&server, "script|load"), 0, "its name is known");
    redis_rig_end(rig);
    redis_server_free(&server);
}

Test(redis, scripts_that_fail) {
    static const struct redis_script broken = {"return nonsense(", 1};
    static const struct redis_script raises = {"return redis.call('INCR', KEYS[1], 'x')", 2};
    static const struct redis_script own = {"return redis.error_reply('LOADING of its own')", 3};
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    for (int i = 0; i < 2; i++) {
        redis_rig_start_eval(rig, 0, &broken, "k", "v");
        redis_rig_start_eval(rig, 1, &raises, "k", "v");
        cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_MALFORMED);
        cr_assert_eq(redis_rig_wait(rig, 1)->rc, RC_MALFORMED);
        expect(rig, "PING", "PONG");
    }
    cr_assert_eq(rig->readies, 1);
    redis_rig_start_eval(rig, 0, &own, "k", "v");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_UNREACHABLE);
    cr_assert(!redis_is_ready(rig->redis));
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- who it is, and where -- */

Test(redis, password) {
    struct redis_server server;
    char url[128];
    redis_server_start(&server, (struct redis_server_opts){.password = "s3cret"});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    expect(rig, "PING", "PONG");
    redis_rig_end(rig);

    static const char *const wrong[] = {"", ":wr0ng@", "default:wr0ng@", "nobody:s3cret@"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(url, sizeof url, "redis://%s127.0.0.1:%d", wrong[i], server.port);
        rig = redis_rig_new(url, NULL);
        expect_rc(rig, "PING", RC_UNREACHABLE);
        expect_rc(rig, "PING", RC_UNREACHABLE);
        cr_assert(!redis_is_ready(rig->redis));
        cr_assert_eq(rig->readies, 0);
        const char *log = redis_rig_log(rig);
        cr_assert_not_null(strstr(log, i == 0 ? "NOAUTH" : "AUTH: the user or the password"), "%s",
                           log);
        cr_assert_null(strstr(log, "wr0ng"), "%s", log);
        cr_assert_null(strstr(log, "s3cret"), "%s", log);
        redis_rig_end(rig);
    }
    redis_server_free(&server);
}

Test(redis, users) {
    static const char *const more[] = {
        "--user", "alice",  "on",  ">pa@ss", "allkeys", "allcommands", "--user", "bob",
        "on",     ">pa@ss", "~b*", "+get",   "+set",    "+auth", /* no CLIENT, no PING, no SCRIPT */
        NULL};
    struct redis_server server;
    char url[128];
    redis_server_start(&server, (struct redis_server_opts){.password = "other", .more = more});
    snprintf(url, sizeof url, "redis://alice:pa%%40ss@127.0.0.1:%d", server.port);
    struct redis_rig *rig = redis_rig_new(url, NULL);
    expect(rig, "ACL WHOAMI", "alice");
    /* The password changes, and those who are connected are thrown out. */
    redis_server_ask(&server, "ACL SETUSER alice resetpass >new");
    redis_server_ask(&server, "CLIENT KILL USER alice");
    expect_rc(rig, "PING", RC_UNREACHABLE);
    redis_server_ask(&server, "ACL SETUSER alice >pa@ss");
    redis_rig_wait_ready(rig);
    expect(rig, "ACL WHOAMI", "alice");
    redis_rig_end(rig);

    snprintf(url, sizeof url, "redis://bob:pa%%40ss@127.0.0.1:%d", server.port);
    rig = redis_rig_new(url, NULL);
    expect(rig, "SET b1 x", "OK");
    expect(rig, "GET b1", "x");
    expect_rc(rig, "GET a1", RC_USAGE);
    expect_rc(rig, "DEL b1", RC_USAGE);
    cr_assert(redis_is_ready(rig->redis));
    redis_rig_end(rig);
    redis_server_free(&server);
}

Test(redis, databases) {
    struct redis_server server;
    char url[128];
    redis_server_start(&server, (struct redis_server_opts){0});
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/3", server.port);
    struct redis_rig *rig = redis_rig_new(url, NULL);
    expect(rig, "SET where three", "OK");
    expect(rig, "SELECT 0", "OK");
    expect(rig, "GET where", "nil");
    redis_rig_end(rig);

    snprintf(url, sizeof url, "redis://127.0.0.1:%d/16", server.port); /* it has 0 to 15 */
    rig = redis_rig_new(url, NULL);
    expect_rc(rig, "PING", RC_UNREACHABLE);
    cr_assert_not_null(strstr(redis_rig_log(rig), "SELECT: the database is refused"));
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- names and addresses -- */

Test(redis, names) {
    struct redis_server server;
    char url[128];
    redis_server_start(&server, (struct redis_server_opts){0});
    /* Where it is ::1 first, nobody listens there. */
    snprintf(url, sizeof url, "redis://localhost:%d", server.port);
    struct redis_rig *rig = redis_rig_new(url, NULL);
    expect(rig, "PING", "PONG");
    redis_rig_end(rig);

    rig = redis_rig_new("redis://no-such-host.invalid", NULL);
    expect_rc(rig, "PING", RC_UNREACHABLE);
    cr_assert_not_null(strstr(redis_rig_log(rig), "the name can't be resolved"), "%s",
                       redis_rig_log(rig));
    redis_rig_run_ms(rig, 200); /* and again */
    cr_assert_geq(redis_rig_metric(rig, METRIC_REDIS_CONNECTS_FAILED), 2);
    redis_rig_end(rig);

    rig = redis_rig_new("redis://no-such-host.invalid", NULL);
    uv_run(&rig->loop.uv, UV_RUN_NOWAIT); /* closed while it resolves */
    redis_rig_end(rig);
    redis_server_free(&server);
}

Test(redis, six) {
    static const char *const more[] = {"--bind", "127.0.0.1 ::1", NULL};
    struct redis_server server;
    char url[128];
    redis_server_start(&server, (struct redis_server_opts){.more = more});
    snprintf(url, sizeof url, "redis://[::1]:%d", server.port);
    struct redis_rig *rig = redis_rig_new(url, NULL);
    expect(rig, "PING", "PONG");
    redis_rig_end(rig);
    redis_server_free(&server);
}
