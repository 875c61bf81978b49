// SPDX-License-Identifier: MIT
#include "auth/users.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "kit/leaks.h"
#include "kit/users_stub.h"

enum { LATE_MS = 60 * 1000, ASKS = 300 };

struct rig {
    struct clock clock;
    struct loop loop;
    struct metrics metrics;
    struct log *log;
    int pipe[2];
    char logs[64 * 1024];
    struct users_stub stub;
    struct users *users;
    bool is_closed;
    size_t done;
};

/* One caller, and how his question ended. */
struct ask {
    struct users_op op;
    struct rig *rig;
    struct caller caller;
    int done;
    enum rc rc;
};

static struct rig *open_rig(size_t cache_max) {
    struct rig *rig = calloc(1, sizeof *rig);
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    cr_assert_eq(pipe2(rig->pipe, O_NONBLOCK), 0);
    rig->log = log_new(rig->pipe[1], LOG_DEBUG, &rig->clock, &rig->metrics);
    users_stub_init(&rig->stub, &rig->loop);
    rig->users = users_new(&(const struct users_opts){.loop = &rig->loop,
                                                      .log = rig->log,
                                                      .metrics = &rig->metrics,
                                                      .source = &rig->stub.source,
                                                      .cache_max = cache_max});
    cr_assert_not_null(rig->users);
    return rig;
}

static void on_closed(void *owner) {
    ((struct rig *)owner)->is_closed = true;
}

/* users_close is called. */
static void end_rig(struct rig *rig) {
    cr_assert_not(rig->is_closed);
    loop_run(&rig->loop);
    cr_assert(rig->is_closed && rig->stub.is_closed);
    log_free(rig->log);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK);
    close(rig->pipe[0]);
    close(rig->pipe[1]);
    free(rig);
    CHECK_LEAKS();
}

static void close_rig(struct rig *rig) {
    users_close(rig->users, on_closed, rig);
    end_rig(rig);
}

static const char *logs(struct rig *rig) {
    log_flush(rig->log);
    ssize_t n = read(rig->pipe[0], rig->logs, sizeof rig->logs - 1);
    rig->logs[n > 0 ? n : 0] = '\0';
    return rig->logs;
}

static void on_turn(struct loop_task *task) {
    (void)task;
}

/* One turn at least; the clock is read in it. */
static void turn(struct rig *rig) {
    struct loop_task task = {0};
    loop_later(&rig->loop, &task, on_turn);
    uv_run(&rig->loop.uv, UV_RUN_NOWAIT);
    uv_run(&rig->loop.uv, UV_RUN_NOWAIT);
}

static void advance(struct rig *rig, int64_t ms) {
    atomic_fetch_add(&rig->clock.offset_ms, ms);
    turn(rig);
}

static void on_done(struct users_op *op) {
    struct ask *ask = LIST_ENTRY(op, struct ask, op);
    ask->done++;
    ask->rc = op->rc;
    ask->rig->done++;
    memset(op, 0xA5, sizeof *op);
}

static void start(struct rig *rig, struct ask *ask, const char *user_id, int64_t patience_ms) {
    *ask = (struct ask){.rig = rig, .caller.sub = slice_str(user_id)};
    users_find(rig->users, &ask->op, &ask->caller, SLICE("r1"),
               loop_now_ms(&rig->loop) + patience_ms, on_done);
    cr_assert_eq(ask->done, 0, "done before the call returned");
}

static bool cached(struct rig *rig, const char *user_id, struct caller *caller, enum rc *rc) {
    *caller = (struct caller){.sub = slice_str(user_id)};
    return users_cached(rig->users, caller, SLICE("r1"), rc);
}

static bool is_known(struct rig *rig, const char *user_id) {
    struct caller caller;
    enum rc rc;
    return cached(rig, user_id, &caller, &rc);
}

/* Until `done` of them have ended: real time passes. */
static void run_until(struct rig *rig, size_t done) {
    while (rig->done < done) {
        uv_run(&rig->loop.uv, UV_RUN_ONCE);
    }
}

static void learn(struct rig *rig, const char *user_id, const char *role, const char *tier) {
    struct ask ask;
    start(rig, &ask, user_id, LATE_MS);
    users_stub_answer(&rig->stub, RC_OK, role, tier);
    cr_assert_eq(ask.done, 1);
    cr_assert_eq(ask.rc, RC_OK);
}

Test(users, what_the_platform_says_replaces_the_claims) {
    static const struct {
        const char *role;
        const char *tier;
        bool is_admin;
        bool has_premium;
    } cases[] = {{"user", "premium", false, true},   {"user", "family", false, true},
                 {"user", "free", false, false},     {"admin", NULL, true, false},
                 {"support", "premium", true, true}, {NULL, NULL, false, false},
                 {"Admin", "Premium", false, false}};
    struct rig *rig = open_rig(64);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char user_id[16];
        struct ask ask = {.rig = rig};
        enum rc rc = RC_INTERNAL;
        snprintf(user_id, sizeof user_id, "u%d", (int)i);
        /* the claims say the opposite */
        ask.caller =
            (struct caller){slice_str(user_id), false, !cases[i].is_admin, !cases[i].has_premium};
        struct caller again = ask.caller;
        users_find(rig->users, &ask.op, &ask.caller, SLICE("r1"), LATE_MS, on_done);
        users_stub_answer(&rig->stub, RC_OK, cases[i].role, cases[i].tier);
        cr_assert(ask.caller.is_active && ask.caller.is_admin == cases[i].is_admin &&
                      ask.caller.has_premium == cases[i].has_premium,
                  "%d", (int)i);
        cr_assert(users_cached(rig->users, &again, SLICE("r1"), &rc) && rc == RC_OK);
        cr_assert(again.is_active && again.is_admin == cases[i].is_admin &&
                      again.has_premium == cases[i].has_premium,
                  "%d", (int)i);
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_USER_LOOKUPS_FOUND), 7);
    close_rig(rig);
}

Test(users, one_who_is_not_active_is_known_as_such) {
    struct rig *rig = open_rig(64);
    struct ask ask;
    struct caller caller = {.is_active = true};
    enum rc rc;
    start(rig, &ask, "u", LATE_MS);
    users_stub_answer_inactive(&rig->stub);
    cr_assert(ask.rc == RC_OK && !ask.caller.is_active && ask.caller.has_premium);
    cr_assert(cached(rig, "u", &caller, &rc) && rc == RC_OK && !caller.is_active);
    close_rig(rig);
}

Test(users, an_answer_is_kept_for_thirty_seconds_since_it_was_asked_for) {
    struct rig *rig = open_rig(64);
    struct ask ask;
    struct caller caller;
    enum rc rc;
    cr_assert_not(is_known(rig, "u"));
    start(rig, &ask, "u", LATE_MS);
    advance(rig, 4000);
    cr_assert_not(is_known(rig, "u"));
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    cr_assert(cached(rig, "u", &caller, &rc) && rc == RC_OK && caller.has_premium);
    cr_assert_not(is_known(rig, "v"));
    advance(rig, USERS_KEPT_MS - 4000 - 1000);
    cr_assert(is_known(rig, "u"));
    advance(rig, 1001);
    cr_assert_not(is_known(rig, "u"));
    learn(rig, "u", "user", "free");
    cr_assert(cached(rig, "u", &caller, &rc) && rc == RC_OK && !caller.has_premium);
    cr_assert_eq(rig->stub.total, 2);
    close_rig(rig);
}

Test(users, that_there_is_none_is_kept_for_two_seconds_and_logged_each_time) {
    struct rig *rig = open_rig(64);
    struct ask ask;
    struct caller caller;
    enum rc rc;
    start(rig, &ask, "gone", LATE_MS);
    users_stub_answer(&rig->stub, RC_ABSENT, NULL, NULL);
    cr_assert_eq(ask.rc, RC_BAD_CREDENTIALS);
    cr_assert_not_null(strstr(logs(rig), "\"reason\":\"unknown_user\""));
    cr_assert(cached(rig, "gone", &caller, &rc) && rc == RC_BAD_CREDENTIALS);
    cr_assert_not_null(strstr(logs(rig), "\"reason\":\"unknown_user\""));
    advance(rig, USERS_ABSENT_KEPT_MS + 1);
    cr_assert_not(is_known(rig, "gone"));
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_USER_LOOKUPS_ABSENT), 1);
    close_rig(rig);
}

Test(users, a_failure_is_told_and_not_kept) {
    static const enum rc failures[] = {RC_STORAGE_UNAVAILABLE, RC_TIMEOUT, RC_FULL, RC_IO,
                                       RC_CANCELED};
    struct rig *rig = open_rig(64);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        struct ask ask;
        start(rig, &ask, "u", LATE_MS);
        users_stub_answer(&rig->stub, failures[i], NULL, NULL);
        cr_assert_eq(ask.done, 1);
        cr_assert_eq(ask.rc, RC_STORAGE_UNAVAILABLE);
        cr_assert_not_null(strstr(logs(rig), rc_name(failures[i])));
        cr_assert_not(is_known(rig, "u"));
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_USER_LOOKUPS_FAILED), 5);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STORE_FAILURES), 5);
    learn(rig, "u", "user", "premium");
    close_rig(rig);
}

Test(users, all_who_ask_meanwhile_share_one_question) {
    struct rig *rig = open_rig(64);
    struct ask *asks = calloc(ASKS, sizeof *asks);
    struct ask other;
    for (size_t i = 0; i < ASKS; i++) {
        start(rig, &asks[i], "u", LATE_MS);
    }
    start(rig, &other, "v", LATE_MS);
    cr_assert_eq(rig->stub.total, 2);
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    for (size_t i = 0; i < ASKS; i++) {
        cr_assert(asks[i].done == 1 && asks[i].rc == RC_OK && asks[i].caller.has_premium);
    }
    cr_assert_eq(other.done, 0);
    users_stub_answer(&rig->stub, RC_ABSENT, NULL, NULL);
    cr_assert(other.done == 1 && other.rc == RC_BAD_CREDENTIALS);
    free(asks);
    close_rig(rig);
}

Test(users, a_wait_ends_at_its_deadline_and_the_answer_is_kept_all_the_same) {
    struct rig *rig = open_rig(64);
    struct ask hasty;
    struct ask usual;
    start(rig, &hasty, "u", 30);
    start(rig, &usual, "u", LATE_MS);
    run_until(rig, 1);
    cr_assert(hasty.done == 1 && hasty.rc == RC_STORAGE_UNAVAILABLE && usual.done == 0);
    cr_assert_not_null(strstr(logs(rig), "TIMEOUT"));
    advance(rig, USERS_WAIT_MS);
    run_until(rig, 2);
    cr_assert(usual.done == 1 && usual.rc == RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STORE_FAILURES), 2);
    cr_assert_eq(rig->stub.open_count, 1);
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    cr_assert(is_known(rig, "u"));
    close_rig(rig);
}

Test(users, a_wait_that_is_canceled_ends_alone) {
    struct rig *rig = open_rig(64);
    struct ask first;
    struct ask second;
    start(rig, &first, "u", LATE_MS);
    start(rig, &second, "u", LATE_MS);
    users_cancel(&first.op);
    users_cancel(&first.op);
    cr_assert_eq(first.done, 0, "done inside the call that cancels");
    run_until(rig, 1);
    cr_assert(first.done == 1 && first.rc == RC_CANCELED && second.done == 0);
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    cr_assert(second.done == 1 && second.rc == RC_OK && first.done == 1);
    close_rig(rig);
}

Test(users, too_many_questions_are_overload) {
    struct rig *rig = open_rig(64);
    struct ask *asks = calloc(LIMIT_USER_LOOKUPS, sizeof *asks);
    struct ask next;
    char(*ids)[16] = calloc(LIMIT_USER_LOOKUPS, sizeof *ids);
    for (size_t i = 0; i < LIMIT_USER_LOOKUPS; i++) {
        snprintf(ids[i], sizeof ids[i], "u%d", (int)i);
        start(rig, &asks[i], ids[i], LATE_MS);
    }
    start(rig, &next, "next", LATE_MS);
    users_cancel(&next.op);
    run_until(rig, 1);
    cr_assert(next.done == 1 && next.rc == RC_OVERLOADED);
    start(rig, &next, "u7", LATE_MS);
    while (rig->stub.open_count > 0) {
        users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    }
    cr_assert(next.done == 1 && next.rc == RC_OK);
    cr_assert_eq(rig->done, LIMIT_USER_LOOKUPS + 2);
    free(ids);
    free(asks);
    close_rig(rig);
}

Test(users, the_cache_is_bounded_and_never_mixes_users_up) {
    struct rig *rig = open_rig(8);
    size_t known = 0;
    for (int i = 0; i < 1000; i++) {
        char user_id[16];
        snprintf(user_id, sizeof user_id, "u%d", i);
        learn(rig, user_id, "user", i % 2 == 0 ? "premium" : "free");
    }
    for (int i = 0; i < 1000; i++) {
        char user_id[16];
        struct caller caller;
        enum rc rc;
        snprintf(user_id, sizeof user_id, "u%d", i);
        if (cached(rig, user_id, &caller, &rc)) {
            known++;
            cr_assert_eq(caller.has_premium, i % 2 == 0, "%d", i);
        }
    }
    cr_assert(known > 0 && known <= 8, "%d", (int)known);
    cr_assert(is_known(rig, "u999"), "the newest one is kept");
    close_rig(rig);
}

Test(users, closing_waits_for_what_is_open) {
    struct rig *rig = open_rig(64);
    struct ask ask;
    start(rig, &ask, "u", LATE_MS);
    users_cancel(&ask.op);
    run_until(rig, 1);
    users_close(rig->users, on_closed, rig);
    turn(rig);
    cr_assert_not(rig->is_closed);
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    end_rig(rig);
}
