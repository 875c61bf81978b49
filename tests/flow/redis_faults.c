// SPDX-License-Identifier: MIT
#include "io/redis.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "kit/fake_redis.h"
#include "kit/leaks.h"
#include "kit/redis_rig.h"

/* A server that misbehaves: each command ends in time and once, and the next connection is good. */
static const struct redis_opts hasty = {.command_timeout_ms = 300};

static struct fake_redis *fake_new(void) {
    struct fake_redis *fake = fake_redis_new();
    cr_assert_not_null(fake);
    return fake;
}

static struct redis_rig *rig_with(const struct fake_redis *fake, const struct redis_opts *opts) {
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", fake_redis_port(fake));
    return redis_rig_new(url, opts);
}

static struct redis_rig *rig_new(const struct fake_redis *fake) {
    return rig_with(fake, &hasty);
}

static void expect_rc(struct redis_rig *rig, const char *command, enum rc rc, const char *what) {
    struct redis_rig_call *call = redis_rig_ask(rig, command);
    cr_assert_eq(call->rc, rc, "%s, %s: %s, %s", what, command, rc_name(call->rc), call->cause);
    cr_assert_leq(call->took_ms, 2000, "%s, %s: after %d ms", what, command, (int)call->took_ms);
}

#define K16 "0123456789abcdef"
#define K256 K16 K16 K16 K16 K16 K16 K16 K16 K16 K16 K16 K16 K16 K16 K16 K16
#define K4096 K256 K256 K256 K256 K256 K256 K256 K256 K256 K256 K256 K256 K256 K256 K256 K256
#define K64K                                                                                       \
    K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096 K4096

/* What GET is answered with; SET stands before it in the row, and PING behind it. */
static const struct fault {
    const char *name;
    struct fake_redis_rule rule;
    enum rc rc;
} faults[] = {
    {"closes", {"GET", NULL, NULL, FAKE_REDIS_CLOSE, 0}, RC_UNREACHABLE},
    {"resets", {"GET", NULL, NULL, FAKE_REDIS_RESET, 0}, RC_UNREACHABLE},
    {"is silent", {"GET", NULL, NULL, FAKE_REDIS_SILENT, 0}, RC_TIMEOUT},
    {"half an answer, closes", {"GET", "$10\r\nabc", NULL, FAKE_REDIS_CLOSE, 0}, RC_UNREACHABLE},
    {"half an answer, resets", {"GET", "$10\r\nabc", NULL, FAKE_REDIS_RESET, 0}, RC_UNREACHABLE},
    {"half an answer, is silent", {"GET", "$10\r\nabc", NULL, FAKE_REDIS_SILENT, 0}, RC_TIMEOUT},
    {"half a list", {"GET", "*3\r\n:1\r\n$1\r\na\r\n", NULL, FAKE_REDIS_CLOSE, 0}, RC_UNREACHABLE},
    {"half a line", {"GET", "+O", NULL, FAKE_REDIS_CLOSE, 0}, RC_UNREACHABLE},
    {"another protocol",
     {"GET", "HTTP/1.1 400 Bad Request\r\n\r\n", NULL, FAKE_REDIS_STAY, 0},
     RC_UNREACHABLE},
    {"a byte of nothing", {"GET", "\x01", NULL, FAKE_REDIS_STAY, 0}, RC_UNREACHABLE},
    {"no number", {"GET", ":12x\r\n", NULL, FAKE_REDIS_STAY, 0}, RC_UNREACHABLE},
    {"no length", {"GET", "$x\r\n", NULL, FAKE_REDIS_STAY, 0}, RC_UNREACHABLE},
    {"a length below -1", {"GET", "$-2\r\n", NULL, FAKE_REDIS_STAY, 0}, RC_UNREACHABLE},
    {"a length above all",
     {"GET", "$99999999999999999999\r\n", NULL, FAKE_REDIS_STAY, 0},
     RC_UNREACHABLE},
    {"a list of nearly everything",
     {"GET", "*2147483647\r\n", NULL, FAKE_REDIS_STAY, 0},
     RC_TOO_LARGE},
    {"a list of too much",
     {"GET", "*2000000000\r\n:1\r\n", NULL, FAKE_REDIS_SILENT, 0},
     RC_TOO_LARGE},
    {"a string without end", {"GET", "$1000000000\r\n", K64K, FAKE_REDIS_CLOSE, 0}, RC_TOO_LARGE},
    {"a line without end", {"GET", "+", K4096, FAKE_REDIS_CLOSE, 0}, RC_TOO_LARGE},
    {"a length without end", {"GET", "$", K4096, FAKE_REDIS_CLOSE, 0}, RC_TOO_LARGE},
    {"a list without end",
     {"GET", "*1000000\r\n", "$65536\r\n" K64K "\r\n", FAKE_REDIS_CLOSE, 0},
     RC_TOO_LARGE},
    {"a list of lists of lists", {"GET", NULL, "*1\r\n", FAKE_REDIS_CLOSE, 0}, RC_TOO_LARGE},
    {"eight lists in each other",
     {"GET", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", NULL, FAKE_REDIS_STAY, 0},
     RC_TOO_LARGE},
};

static void try_fault(struct fake_redis *fake, const struct fault *fault) {
    /* 16 MiB take their time where memory is checked. */
    const struct redis_opts patient = {.command_timeout_ms = 5000};
    struct redis_rig *rig = rig_with(fake, fault->rc == RC_TOO_LARGE ? &patient : &hasty);
    redis_rig_wait_ready(rig);
    fake_redis_set(fake, fault->rule);
    redis_rig_start(rig, 0, "SET a b");
    redis_rig_start(rig, 1, "GET a");
    redis_rig_start(rig, 2, "PING");
    redis_rig_start(rig, 3, "PING");
    enum rc rcs[] = {RC_OK, fault->rc, fault->rc == RC_TIMEOUT ? RC_TIMEOUT : RC_UNREACHABLE};
    for (size_t i = 0; i < 4; i++) {
        struct redis_rig_call *call = redis_rig_wait(rig, i);
        cr_assert_eq(call->rc, rcs[i < 2 ? i : 2], "%s, %zu: %s, %s", fault->name, i,
                     rc_name(call->rc), call->cause);
    }
    fake_redis_unset(fake);
    redis_rig_wait_readies(rig, 2);
    expect_rc(rig, "GET a", RC_OK, fault->name);
    redis_rig_end(rig);
}

Test(redis_faults, answers) {
    struct fake_redis *fake = fake_new();
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        try_fault(fake, &faults[i]);
    }
    fake_redis_free(fake);
}

Test(redis_faults, seven_lists_in_each_other) {
    struct fake_redis *fake = fake_new();
    struct redis_rig *rig = rig_new(fake);
    fake_redis_set(
        fake, (struct fake_redis_rule){
                  .command = "GET", .bytes = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"});
    cr_assert_eq(redis_rig_ask(rig, "GET a")->rc, RC_OK);
    cr_assert_str_eq(rig->calls[0].text, "[[[[[[[1]]]]]]]");
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* An answer that nobody waits for; hiredis would end the process. */
Test(redis_faults, answers_to_nothing) {
    static const char *const answers[] = {"+OK\r\n+OK\r\n",
                                          "+OK\r\n:1\r\n",
                                          "+OK\r\n$-1\r\n",
                                          "+OK\r\n*2\r\n+message\r\n+a\r\n",
                                          "+OK\r\n*-1\r\n",
                                          "+OK\r\n-ERR I am tired\r\n",
                                          "+OK\r\n>3\r\n+message\r\n+a\r\n+b\r\n"};
    struct fake_redis *fake = fake_new();
    struct redis_rig *rig = rig_new(fake);
    redis_rig_wait_ready(rig);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        fake_redis_set(fake, (struct fake_redis_rule){.command = "GET", .bytes = answers[i]});
        expect_rc(rig, "GET a", RC_OK, answers[i]);
        redis_rig_wait_readies(rig, (int)i + 2);
        fake_redis_unset(fake);
    }
    redis_rig_end(rig);

    /* As soon as somebody connects: each answer would be that of the command before. */
    static const char *const greetings[] = {"+HELLO\r\n", "+OK\r\n", ":1\r\n"};
    for (size_t i = 0; i < sizeof greetings / sizeof greetings[0]; i++) {
        fake_redis_set(fake, (struct fake_redis_rule){.command = "", .bytes = greetings[i]});
        rig = rig_new(fake);
        expect_rc(rig, "GET a", RC_UNREACHABLE, greetings[i]);
        cr_assert_eq(rig->readies, 0, "%s", greetings[i]);
        fake_redis_unset(fake);
        redis_rig_wait_ready(rig);
        redis_rig_end(rig);
    }
    fake_redis_free(fake);
}

/* -- errors that concern the connection -- */

Test(redis_faults, another_server) {
    static const char *const errors[] = {
        "-READONLY You can't write against a read only replica.\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
        "@user_script:1: @user_script: 1: -READONLY You can't write against a read only "
        "replica.\r\n",
    };
    struct fake_redis *fake = fake_new();
    struct redis_rig *rig = rig_new(fake);
    redis_rig_wait_ready(rig);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        fake_redis_set(fake, (struct fake_redis_rule){.command = "GET", .bytes = errors[i]});
        redis_rig_start(rig, 1, "SET a b"); /* the same turn: its answer comes before the end */
        redis_rig_start(rig, 2, "GET a");   /* and this one says it once more */
        expect_rc(rig, "GET a", RC_UNREACHABLE, errors[i]);
        cr_assert(!redis_is_ready(rig->redis), "%s", errors[i]);
        cr_assert_eq(redis_rig_wait(rig, 1)->rc, RC_OK);
        cr_assert_eq(redis_rig_wait(rig, 2)->rc, RC_UNREACHABLE);
        fake_redis_unset(fake);
        redis_rig_wait_readies(rig, (int)i + 2);
        expect_rc(rig, "GET a", RC_OK, errors[i]);
    }
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* Not ready before it says so; commands fail at once meanwhile. */
Test(redis_faults, greetings) {
    static const struct {
        const char *cause;
        struct fake_redis_rule rule;
    } rows[] = {
        {"LOADING", {"PING", "-LOADING Redis is loading\r\n", NULL, FAKE_REDIS_STAY, 0}},
        {"MASTERDOWN", {"PING", "-MASTERDOWN Link is down\r\n", NULL, FAKE_REDIS_STAY, 0}},
        {"NOAUTH", {"CLIENT", "-NOAUTH Authentication required.\r\n", NULL, FAKE_REDIS_STAY, 0}},
        {"it has all the clients",
         {"", "-ERR max number of clients reached\r\n", NULL, FAKE_REDIS_STAY, 0}},
        {"connection", {"", NULL, NULL, FAKE_REDIS_CLOSE, 0}}, /* closed, or reset */
        {"closed the connection", {"PING", NULL, NULL, FAKE_REDIS_CLOSE, 0}},
        {"not Redis", {"PING", "SSH-2.0-OpenSSH_9.2\r\n", NULL, FAKE_REDIS_STAY, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_redis *fake = fake_new();
        fake_redis_set(fake, rows[i].rule);
        struct redis_rig *rig = rig_new(fake);
        expect_rc(rig, "GET a", RC_UNREACHABLE, rows[i].cause);
        redis_rig_run_ms(rig, 200);
        expect_rc(rig, "GET a", RC_UNREACHABLE, rows[i].cause);
        cr_assert_leq(rig->calls[0].took_ms, 200);
        cr_assert_eq(rig->readies, 0, "%s", rows[i].cause);
        cr_assert_geq(redis_rig_metric(rig, METRIC_REDIS_CONNECTS_FAILED), 2);
        cr_assert_not_null(strstr(redis_rig_log(rig), rows[i].cause), "%s: %s", rows[i].cause,
                           redis_rig_log(rig));
        fake_redis_unset(fake);
        redis_rig_wait_ready(rig);
        expect_rc(rig, "GET a", RC_OK, rows[i].cause);
        redis_rig_end(rig);
        fake_redis_free(fake);
    }
}

/* As servers of the versions 5 to 8 say it. The password is in no line. */
Test(redis_faults, password_refused) {
    static const struct fake_redis_rule rules[] = {
        {"AUTH", "-ERR invalid password\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"AUTH", "-ERR Client sent AUTH, but no password is set\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"AUTH", "-ERR wrong number of arguments for 'auth' command\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"AUTH", "-WRONGPASS invalid username-password pair hunter2\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"SELECT", "-ERR DB index is out of range\r\n", NULL, FAKE_REDIS_STAY, 0},
    };
    struct fake_redis *fake = fake_new();
    char url[128];
    snprintf(url, sizeof url, "redis://user:hunter2@127.0.0.1:%d/2", fake_redis_port(fake));
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        fake_redis_set(fake, rules[i]);
        struct redis_rig *rig = redis_rig_new(url, &hasty);
        expect_rc(rig, "GET a", RC_UNREACHABLE, rules[i].bytes);
        const char *log = redis_rig_log(rig);
        cr_assert_not_null(strstr(log, "\"error\""), "%s", log);
        cr_assert_not_null(strstr(log, i < 4 ? "AUTH: the user" : "SELECT: the database"), "%s",
                           log);
        cr_assert_null(strstr(log, "hunter2"), "%s", log);
        fake_redis_unset(fake);
        redis_rig_wait_ready(rig); /* somebody put it right */
        expect_rc(rig, "GET a", RC_OK, rules[i].bytes);
        redis_rig_end(rig);
    }
    fake_redis_free(fake);
}

/* A proxy without CLIENT, a user without PING, a disk that is full: it can serve. */
Test(redis_faults, greetings_that_may_fail) {
    static const struct fake_redis_rule rules[] = {
        {"CLIENT", "-ERR unknown command 'CLIENT'\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"CLIENT", "-NOPERM this user has no permissions\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"PING", "-NOPERM this user has no permissions\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"PING", "-MISCONF Redis is configured to save\r\n", NULL, FAKE_REDIS_STAY, 0},
        {"PING", "-BUSY Redis is busy running a script\r\n", NULL, FAKE_REDIS_STAY, 0},
    };
    struct fake_redis *fake = fake_new();
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        fake_redis_set(fake, rules[i]);
        struct redis_rig *rig = rig_new(fake);
        expect_rc(rig, "GET a", RC_OK, rules[i].bytes);
        redis_rig_end(rig);
        fake_redis_unset(fake);
    }
    fake_redis_free(fake);
}

/* The first attempt ends after REDIS_CONNECT_TIMEOUT_MS, and what waited with it. */
Test(redis_faults, silent_greeting) {
    struct fake_redis *fake = fake_new();
    fake_redis_set(fake, (struct fake_redis_rule){.command = "PING", .then = FAKE_REDIS_SILENT});
    struct redis_rig *rig = rig_with(fake, &(struct redis_opts){.command_timeout_ms = 60 * 1000});
    struct redis_rig_call *call = redis_rig_ask(rig, "GET a");
    cr_assert_eq(call->rc, RC_UNREACHABLE, "%s", rc_name(call->rc));
    cr_assert_str_eq(call->cause, "the server did not answer in time");
    cr_assert(call->took_ms >= REDIS_CONNECT_TIMEOUT_MS - 20 &&
                  call->took_ms <= REDIS_CONNECT_TIMEOUT_MS + 700,
              "%d ms", (int)call->took_ms);
    fake_redis_unset(fake);
    redis_rig_wait_ready(rig);
    expect_rc(rig, "GET a", RC_OK, "after that");
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* A server that is up and down: the pauses grow, and the log does not. */
Test(redis_faults, pauses) {
    struct fake_redis *fake = fake_new();
    fake_redis_set(fake, (struct fake_redis_rule){
                             .command = "PING", .bytes = "+PONG\r\n", .then = FAKE_REDIS_CLOSE});
    struct redis_rig *rig = rig_new(fake);
    redis_rig_run_ms(rig, 3000);
    /* At 0, and after pauses between half of and all of 50, 100, 200, 400, 800 and 1000 ms. */
    size_t accepts = fake_redis_accepts(fake);
    cr_assert(accepts >= 4 && accepts <= 9, "%zu attempts", accepts);
    int lines = 0;
    for (const char *at = redis_rig_log(rig); (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    cr_assert_leq(lines, 4, "%s", redis_rig_log(rig));
    fake_redis_unset(fake);
    redis_rig_run_ms(rig, 1500);
    cr_assert(redis_is_ready(rig->redis));
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* -- a cluster -- */

static int count_of(const char *text, const char *what) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) {
        n++;
    }
    return n;
}

Test(redis_faults, cluster) {
    static const char *const errors[] = {
        "-MOVED 3999 127.0.0.1:6381\r\n", "-ASK 3999 127.0.0.1:6381\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
        "-CROSSSLOT Keys in request don't hash to the same slot\r\n"};
    struct fake_redis *fake = fake_new();
    struct redis_rig *rig = rig_new(fake);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        fake_redis_set(fake, (struct fake_redis_rule){.command = "GET", .bytes = errors[i]});
        expect_rc(rig, "GET a", RC_USAGE, errors[i]);
        expect_rc(rig, "SET a b", RC_OK, errors[i]);
    }
    cr_assert_eq(rig->readies, 1, "the connection stays");
    cr_assert_eq(count_of(redis_rig_log(rig), "\"redis_is_cluster\""), 1, "%s", redis_rig_log(rig));
    fake_redis_set(fake, (struct fake_redis_rule){.command = "SET", .then = FAKE_REDIS_CLOSE});
    expect_rc(rig, "SET a b", RC_UNREACHABLE, "a connection's end");
    redis_rig_wait_ready(rig);
    expect_rc(rig, "GET a", RC_USAGE, "another connection");
    cr_assert_eq(count_of(redis_rig_log(rig), "\"redis_is_cluster\""), 2, "%s", redis_rig_log(rig));
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* -- scripts -- */

static const struct redis_script script = {"return 1", 0};

/* A server that never knows it, whatever it said: sent whole once more, not for ever. */
Test(redis_faults, script_that_is_never_known) {
    struct fake_redis *fake = fake_new();
    struct redis_rig *rig = rig_new(fake);
    redis_rig_start_eval(rig, 0, &script, "k", "v");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_OK);
    fake_redis_set(fake, (struct fake_redis_rule){.command = "EVALSHA",
                                                  .bytes = "-NOSCRIPT No matching script.\r\n"});
    redis_rig_start_eval(rig, 0, &script, "k", "v");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_OK);
    cr_assert_eq(fake_redis_count(fake, "EVAL"), 2);
    fake_redis_set(fake, (struct fake_redis_rule){.command = "EVAL",
                                                  .bytes = "-NOSCRIPT No matching script.\r\n"});
    redis_rig_start_eval(rig, 0, &script, "k", "v");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_IO);
    cr_assert_eq(fake_redis_count(fake, "EVAL"), 3);
    cr_assert_eq(fake_redis_count(fake, "EVALSHA"), 2);
    cr_assert_eq(fake_redis_count(fake, "SCRIPT"), 1);
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* Its deadline is that of its start, however often it is sent. */
Test(redis_faults, script_sent_again_in_time) {
    struct fake_redis *fake = fake_new();
    struct redis_rig *rig = rig_new(fake);
    redis_rig_start_eval(rig, 0, &script, "k", "v");
    redis_rig_wait(rig, 0);
    fake_redis_set(fake, (struct fake_redis_rule){.command = "EVALSHA",
                                                  .bytes = "-NOSCRIPT No matching script.\r\n"});
    fake_redis_set(fake, (struct fake_redis_rule){.command = "EVAL", .then = FAKE_REDIS_SILENT});
    redis_rig_start_eval(rig, 0, &script, "k", "v");
    cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_TIMEOUT);
    cr_assert(rig->calls[0].took_ms >= 280 && rig->calls[0].took_ms < 1000);
    redis_rig_end(rig);
    fake_redis_free(fake);
}

/* Without SCRIPT LOAD each one goes whole, and the server isn't asked again. */
Test(redis_faults, script_without_a_name) {
    static const char *const answers[] = {"-NOPERM this user has no permissions\r\n", "$-1\r\n",
                                          ":1\r\n", "$3\r\nabc\r\n", "*0\r\n"};
    struct fake_redis *fake = fake_new();
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        fake_redis_set(fake, (struct fake_redis_rule){.command = "SCRIPT", .bytes = answers[i]});
        struct redis_rig *rig = rig_new(fake);
        for (int again = 0; again < 3; again++) {
            redis_rig_start_eval(rig, 0, &script, "k", "v");
            cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_OK, "%s", answers[i]);
        }
        cr_assert_eq(fake_redis_count(fake, "EVAL"), 3 * (i + 1), "%s", answers[i]);
        cr_assert_eq(fake_redis_count(fake, "SCRIPT"), i + 1, "%s", answers[i]);
        cr_assert_eq(fake_redis_count(fake, "EVALSHA"), 0, "%s", answers[i]);
        redis_rig_end(rig);
    }
    fake_redis_free(fake);
}

/* Another connection may be one to a server that gives it one. */
Test(redis_faults, script_with_a_name_later) {
    struct fake_redis *fake = fake_new();
    fake_redis_set(fake, (struct fake_redis_rule){.command = "SCRIPT", .bytes = "-ERR no\r\n"});
    struct redis_rig *rig = rig_new(fake);
    for (size_t readies = 1; readies <= 2; readies++) {
        redis_rig_wait_readies(rig, (int)readies);
        for (int again = 0; again < 2; again++) {
            redis_rig_start_eval(rig, 0, &script, "k", "v");
            cr_assert_eq(redis_rig_wait(rig, 0)->rc, RC_OK);
        }
        cr_assert_eq(fake_redis_count(fake, "SCRIPT"), readies);
        cr_assert_eq(fake_redis_count(fake, "EVALSHA"), readies - 1);
        fake_redis_unset(fake);
        fake_redis_set(fake, (struct fake_redis_rule){.command = "GET", .then = FAKE_REDIS_CLOSE});
        expect_rc(rig, "GET a", RC_UNREACHABLE, "a connection's end");
    }
    redis_rig_end(rig);
    fake_redis_free(fake);
}
