// SPDX-License-Identifier: MIT
#include "io/redis.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/mem.h"
#include "kit/leaks.h"
#include "kit/redis_rig.h"
#include "kit/redis_server.h"

/* How a connection to a real server ends, and comes again. */
enum { AT_ONCE_MS = 200, BACK_MS = 2000, LATE_MS = 700 /* of a busy machine */ };

static void expect_rc(struct redis_rig *rig, const char *command, enum rc rc) {
    struct redis_rig_call *call = redis_rig_ask(rig, command);
    cr_assert_eq(call->rc, rc, "%s: %s, %s", command, rc_name(call->rc), call->cause);
}

static void expect_at_once(struct redis_rig *rig, const char *command, enum rc rc) {
    expect_rc(rig, command, rc);
    cr_assert_leq(rig->calls[0].took_ms, AT_ONCE_MS, "%s: after %d ms", command,
                  (int)rig->calls[0].took_ms);
}

static void expect_back(struct redis_rig *rig, int readies) {
    int64_t since_ns = clock_ns();
    redis_rig_wait_readies(rig, readies);
    int64_t took_ms = (clock_ns() - since_ns) / 1000000;
    cr_assert_leq(took_ms, BACK_MS, "back after %d ms", (int)took_ms);
    expect_rc(rig, "PING", RC_OK);
}

static bool is_lost(struct redis_rig *rig, void *about) {
    (void)about;
    return !redis_is_ready(rig->redis);
}

Test(redis_ends, stopped) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    redis_rig_wait_ready(rig);
    for (int round = 1; round <= 3; round++) {
        redis_server_stop(&server);
        redis_rig_until(rig, is_lost, NULL);
        cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_CONNECTED), 0);
        expect_at_once(rig, "PING", RC_UNREACHABLE);
        redis_rig_run_ms(rig, 300);
        expect_at_once(rig, "PING", RC_UNREACHABLE);
        redis_server_again(&server);
        expect_back(rig, round + 1);
        cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_CONNECTED), 1);
    }
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* A server that starts later than we do. */
Test(redis_ends, not_there_yet) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    redis_server_stop(&server);
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    expect_at_once(rig, "PING", RC_UNREACHABLE); /* it waited for the first attempt */
    redis_rig_run_ms(rig, 500);
    const char *log = redis_rig_log(rig);
    const char *line = strstr(log, "\"redis_unreachable\"");
    cr_assert_not_null(line, "%s", log);
    cr_assert_null(strstr(line + 1, "\"redis_unreachable\""), "one line an outage: %s", log);
    cr_assert_not_null(strstr(line, "the server can't be reached"), "%s", log);
    redis_server_again(&server);
    expect_back(rig, 1);
    cr_assert_not_null(strstr(redis_rig_log(rig), "\"redis_connected\""));
    redis_rig_end(rig);
    redis_server_free(&server);
}

Test(redis_ends, killed_under_commands) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    redis_rig_wait_ready(rig);
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        redis_rig_start(rig, i, "BLPOP nothing 0");
    }
    redis_rig_run_ms(rig, 50);
    redis_server_kill(&server);
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        struct redis_rig_call *call = redis_rig_wait(rig, i);
        cr_assert_eq(call->rc, RC_UNREACHABLE, "%zu: %s", i, rc_name(call->rc));
        cr_assert_leq(call->took_ms, 1000);
    }
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_COMMANDS_UNREACHABLE), REDIS_RIG_CALLS);
    redis_server_again(&server);
    expect_back(rig, 2);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- no answer in time -- */

static const struct redis_opts hasty = {.command_timeout_ms = 300};

Test(redis_ends, frozen) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), &hasty);
    redis_rig_wait_ready(rig);
    redis_server_freeze(&server);
    redis_rig_start(rig, 0, "PING");
    redis_rig_start(rig, 1, "PING");
    redis_rig_run_ms(rig, 150);
    redis_rig_start(rig, 2, "PING");
    for (size_t i = 0; i < 3; i++) {
        struct redis_rig_call *call = redis_rig_wait(rig, i);
        /* what is behind those that are late ends with the connection */
        cr_assert_eq(call->rc, i < 2 ? RC_TIMEOUT : RC_UNREACHABLE, "%zu: %s", i,
                     rc_name(call->rc));
        cr_assert(call->took_ms >= (i < 2 ? 280 : 100) && call->took_ms <= 300 + LATE_MS,
                  "%zu: after %d ms", i, (int)call->took_ms);
    }
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_COMMANDS_TIMEOUT), 2);
    /* Its kernel accepts, but a connection is what answers. */
    for (int i = 0; i < 10; i++) {
        expect_at_once(rig, "PING", RC_UNREACHABLE);
        redis_rig_run_ms(rig, 50);
    }
    redis_server_thaw(&server);
    expect_back(rig, 2);
    redis_rig_end(rig);
    redis_server_free(&server);
}

Test(redis_ends, frozen_from_the_start) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    redis_server_freeze(&server);
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), &hasty);
    expect_rc(rig, "PING", RC_TIMEOUT); /* before the attempt is given up */
    cr_assert(rig->calls[0].took_ms >= 280 && rig->calls[0].took_ms <= 300 + LATE_MS);
    redis_rig_run_ms(rig, REDIS_CONNECT_TIMEOUT_MS);
    expect_at_once(rig, "PING", RC_UNREACHABLE);
    cr_assert_not_null(strstr(redis_rig_log(rig), "the server did not answer in time"));
    redis_server_thaw(&server);
    expect_back(rig, 1);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* The answer came in time: it was the loop that could not look. */
Test(redis_ends, late_loop) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), &hasty);
    redis_rig_wait_ready(rig);
    redis_server_ask(&server, "SETRANGE large 30000 x");
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        redis_rig_start(rig, i, "GET large");
    }
    uv_run(&rig->loop.uv, UV_RUN_NOWAIT); /* they leave */
    nanosleep(&(struct timespec){.tv_nsec = 500 * 1000 * 1000}, NULL);
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        struct redis_rig_call *call = redis_rig_wait(rig, i);
        cr_assert_eq(call->rc, RC_OK, "%zu: %s, %s", i, rc_name(call->rc), call->cause);
    }
    cr_assert_eq(rig->readies, 1);
    redis_rig_end(rig);
    redis_server_free(&server);
}

static int count_of(const char *text, const char *what) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) {
        n++;
    }
    return n;
}

/* One that served for a second begins anew: what was before its time is forgotten. */
Test(redis_ends, pauses_begin_anew) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    redis_rig_wait_ready(rig);
    redis_server_stop(&server);
    redis_rig_run_ms(rig, 600);
    cr_assert_geq(redis_rig_metric(rig, METRIC_REDIS_CONNECTS_FAILED), 2);
    redis_server_again(&server);
    redis_rig_wait_readies(rig, 2);
    redis_rig_run_ms(rig, REDIS_PAUSE_MAX_MS + 50);
    redis_server_stop(&server);
    redis_rig_run_ms(rig, 200);
    const char *log = redis_rig_log(rig);
    cr_assert_eq(count_of(log, "\"redis_lost\""), 2, "%s", log);
    cr_assert_eq(count_of(log, "closed the connection\",\"failures\":0}"), 1, "%s", log);
    cr_assert_eq(count_of(log, "be reached\",\"failures\":1}"), 1, "%s", log);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* A connection that stood idle and was closed costs no command. */
Test(redis_ends, closed_when_idle) {
    static const char *const more[] = {"--timeout", "1", "--hz", "100", NULL};
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){.more = more});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    redis_rig_wait_ready(rig);
    redis_rig_until(rig, is_lost, NULL);
    expect_rc(rig, "PING", RC_OK);
    cr_assert_eq(rig->readies, 2);
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_CONNECTS_FAILED), 0);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- a server that can't -- */

Test(redis_ends, replica) {
    struct redis_server server;
    static const struct redis_script writes = {"return redis.call('SET', KEYS[1], ARGV[1])", 0};
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    expect_rc(rig, "SET a b", RC_OK);
    redis_server_ask(&server, "REPLICAOF 127.0.0.1 1");
    expect_rc(rig, "SET a b", RC_UNREACHABLE);
    cr_assert_str_eq(rig->calls[0].cause, "READONLY: a replica");
    cr_assert(!redis_is_ready(rig->redis));
    redis_rig_wait_readies(rig, 2);
    redis_rig_start_eval(rig, 0, &writes, "a", "b");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_UNREACHABLE, "%s", rc_name(rig->calls[0].rc));
    redis_server_ask(&server, "REPLICAOF NO ONE");
    expect_back(rig, 3);
    expect_rc(rig, "SET a b", RC_OK);
    redis_rig_end(rig);
    redis_server_free(&server);
}

Test(redis_ends, out_of_memory) {
    static const char *const more[] = {"--maxmemory", "1", NULL};
    static const struct redis_script writes = {"return redis.call('SET', KEYS[1], ARGV[1])", 0};
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){.more = more});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    expect_rc(rig, "SET a b", RC_IO);
    cr_assert_str_eq(rig->calls[0].cause, "OOM: its memory is full");
    expect_rc(rig, "GET a", RC_OK);
    redis_rig_start_eval(rig, 0, &writes, "a", "b");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_IO, "%s", rc_name(rig->calls[0].rc));
    cr_assert_eq(rig->readies, 1, "the connection stays");
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- caps -- */

Test(redis_ends, full_row) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig =
        redis_rig_new(redis_server_url(&server), &(struct redis_opts){.queue_max = 4});
    for (int is_ready = 0; is_ready <= 1; is_ready++) {
        for (size_t i = 0; i < 8; i++) {
            redis_rig_start(rig, i, i == 0 ? "BLPOP nothing 0.2" : "PING");
        }
        for (size_t i = 0; i < 8; i++) {
            enum rc rc = redis_rig_wait(rig, i)->rc;
            cr_assert_eq(rc, i < 4 ? RC_OK : RC_FULL, "%zu: %s", i, rc_name(rc));
        }
    }
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_COMMANDS_FULL), 8);
    redis_rig_end(rig);
    redis_server_free(&server);
}

struct large {
    struct redis_op op;
    int done;
    enum rc rc;
};

static void on_large(struct redis_op *op) {
    struct large *large = LIST_ENTRY(op, struct large, op);
    large->rc = op->rc;
    large->done++;
}

static bool is_large_done(struct redis_rig *rig, void *about) {
    (void)rig;
    return ((struct large *)about)->done > 0;
}

Test(redis_ends, bytes) {
    enum { COUNT = 40 };
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), &hasty);
    struct large *all = mem_calloc(COUNT, sizeof *all);
    char *bytes = mem_calloc(1, LIMIT_REDIS_COMMAND_BYTES);
    struct slice args[] = {SLICE("SET"), SLICE("large"),
                           slice_make(bytes, LIMIT_REDIS_COMMAND_BYTES)};
    redis_rig_wait_ready(rig);
    redis_command(rig->redis, &all[0].op, args, 3, on_large);
    redis_rig_until(rig, is_large_done, &all[0]);
    cr_assert_eq(all[0].rc, RC_TOO_LARGE, "%s", rc_name(all[0].rc));
    args[2].len -= 100;
    redis_command(rig->redis, &all[1].op, args, 3, on_large);
    redis_rig_until(rig, is_large_done, &all[1]);
    cr_assert_eq(all[1].rc, RC_OK, "%s", rc_name(all[1].rc));
    redis_server_freeze(&server);
    for (size_t i = 2; i < COUNT; i++) {
        redis_command(rig->redis, &all[i].op, args, 3, on_large);
    }
    for (size_t i = 2; i < COUNT; i++) {
        redis_rig_until(rig, is_large_done, &all[i]);
        enum rc rc = (i - 1) * (args[2].len + 50) <= LIMIT_REDIS_QUEUE_BYTES ? RC_TIMEOUT : RC_FULL;
        cr_assert_eq(all[i].rc, rc, "%zu: %s", i, rc_name(all[i].rc));
        cr_assert_eq(all[i].done, 1);
    }
    mem_free(bytes);
    mem_free(all);
    redis_rig_end(rig);
    redis_server_free(&server);
}

Test(redis_ends, answer_above_its_cap) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    char command[64];
    snprintf(command, sizeof command, "SETRANGE nearly %d x", LIMIT_REDIS_ANSWER_BYTES - 1000);
    redis_server_ask(&server, command);
    snprintf(command, sizeof command, "SETRANGE above %d x", LIMIT_REDIS_ANSWER_BYTES);
    redis_server_ask(&server, command);
    redis_server_ask(&server, "RPUSH list a");
    expect_rc(rig, "GET nearly", RC_OK);
    redis_rig_start(rig, 0, "PING");
    redis_rig_start(rig, 1, "GET above");
    redis_rig_start(rig, 2, "PING");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_OK);
    cr_assert_eq(redis_rig_wait(rig, 1)->rc, RC_TOO_LARGE, "%s", rc_name(rig->calls[1].rc));
    cr_assert_eq(redis_rig_wait(rig, 2)->rc, RC_UNREACHABLE, "%s", rc_name(rig->calls[2].rc));
    expect_back(rig, 2);
    /* in pieces, each of which is small enough */
    expect_rc(rig, "MGET nearly nearly", RC_TOO_LARGE);
    expect_back(rig, 3);
    cr_assert_not_null(strstr(redis_rig_log(rig), "an answer above its cap"));
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- closing -- */

Test(redis_ends, close_with_open_commands) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    for (int is_ready = 0; is_ready <= 1; is_ready++) {
        struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
        if (is_ready) {
            redis_rig_wait_ready(rig);
        }
        for (size_t i = 0; i < REDIS_RIG_CALLS - 1; i++) {
            redis_rig_start(rig, i, "BLPOP nothing 0");
        }
        redis_rig_start_eval(rig, REDIS_RIG_CALLS - 1, &(struct redis_script){"return 1", 0}, "k",
                             "v");
        redis_rig_end(rig); /* which looks how often each was done */
    }
    redis_server_free(&server);
}

static void close_it(void *owner) {
    struct redis_rig *rig = owner;
    rig->closed++;
    loop_timer_close(&rig->watch, NULL);
}

static void close_inside(struct redis_rig_call *call) {
    redis_close(call->rig->redis, close_it, call->rig);
    cr_assert_eq(call->rig->closed, 0);
    /* and a command that comes too late */
    redis_rig_start(call->rig, 5, "PING");
}

static void end_closed(struct redis_rig *rig) {
    loop_run(&rig->loop);
    cr_assert_eq(rig->closed, 1);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK);
    redis_url_fini(&rig->url);
    log_free(rig->log);
    fclose(rig->log_file);
    mem_free(rig);
}

Test(redis_ends, close_inside_done) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    rig->calls[1].then = close_inside;
    redis_rig_start(rig, 0, "PING");
    redis_rig_start(rig, 1, "PING");
    redis_rig_start(rig, 2, "BLPOP nothing 0");
    redis_rig_start(rig, 3, "PING");
    loop_run(&rig->loop);
    for (size_t i = 0; i <= 5; i++) {
        cr_assert_eq(rig->calls[i].done, 1, "%zu: %d", i, rig->calls[i].done);
    }
    cr_assert_eq(rig->calls[0].rc, RC_OK);
    cr_assert_eq(rig->calls[1].rc, RC_OK);
    cr_assert_eq(rig->calls[2].rc, RC_CANCELED);
    cr_assert_eq(rig->calls[3].rc, RC_CANCELED);
    cr_assert_eq(rig->calls[5].rc, RC_CANCELED);
    end_closed(rig);
    CHECK_LEAKS();
    redis_server_free(&server);
}

static void ask_again(struct redis_rig_call *call) {
    if (call->started_ns != 0 && call - call->rig->calls < 8) {
        redis_rig_start(call->rig, (size_t)(call - call->rig->calls) + 1, "PING");
    }
}

/* Whoever answers RC_CANCELED with another command gets it again, until he stops. */
Test(redis_ends, commands_after_the_close) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    for (size_t i = 0; i < 8; i++) {
        rig->calls[i].then = ask_again;
    }
    redis_rig_start(rig, 0, "BLPOP nothing 0");
    redis_rig_end(rig);
    redis_server_free(&server);
}

static void close_when_ready(void *owner) {
    struct redis_rig *rig = owner;
    redis_close(rig->redis, close_it, rig);
}

Test(redis_ends, close_inside_ready) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    redis_on_ready(rig->redis, close_when_ready, rig);
    redis_rig_start(rig, 0, "PING");
    loop_run(&rig->loop);
    cr_assert_eq(rig->calls[0].done, 1);
    cr_assert_eq(rig->calls[0].rc, RC_CANCELED);
    end_closed(rig);
    CHECK_LEAKS();
    redis_server_free(&server);
}

/* Closed at each turn of its way to being ready. */
Test(redis_ends, close_at_each_turn) {
    struct redis_server server;
    char url[64];
    bool was_ready = false;
    redis_server_start(&server, (struct redis_server_opts){.password = "p"});
    snprintf(url, sizeof url, "redis://:p@localhost:%d/1", server.port);
    for (int turns = 0; !was_ready; turns++) {
        struct redis_rig *rig = redis_rig_new(url, NULL);
        redis_rig_start(rig, 0, "BLPOP nothing 0");
        for (int i = 0; i < turns && !redis_is_ready(rig->redis); i++) {
            uv_run(&rig->loop.uv, UV_RUN_ONCE);
        }
        was_ready = redis_is_ready(rig->redis);
        redis_rig_end(rig);
        cr_assert_lt(turns, 100);
    }
    redis_server_free(&server);
}

/* -- listeners -- */

static void ask_when_ready(void *owner) {
    struct redis_rig *rig = owner;
    redis_rig_start(rig, 1, "SET first listener");
}

static void never(void *owner) {
    (void)owner;
    cr_assert_fail("a listener that was taken away");
}

/* A listener's commands go before those that waited. */
Test(redis_ends, listeners) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = redis_rig_new(redis_server_url(&server), NULL);
    redis_on_ready(rig->redis, never, &server);
    redis_on_ready(rig->redis, ask_when_ready, rig);
    redis_off_ready(rig->redis, &server);
    redis_rig_start(rig, 0, "GET first");
    redis_rig_wait(rig, 1);
    cr_assert_str_eq(redis_rig_wait(rig, 0)->text, "listener");
    redis_off_ready(rig->redis, rig);
    redis_server_stop(&server);
    redis_server_again(&server);
    redis_rig_until(rig, is_lost, NULL);
    redis_rig_wait_ready(rig);
    cr_assert_eq(rig->readies, 1);
    redis_rig_end(rig);
    redis_server_free(&server);
}
