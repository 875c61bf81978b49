// SPDX-License-Identifier: MIT
#include "http/deadline.h"

#include <criterion/criterion.h>

#include "base/clock.h"
#include "kit/leaks.h"

enum { DEADLINES = 6, HEAD_MS = 30, IDLE_MS = 60 };

struct fixture;

struct entry {
    struct http_deadline deadline;
    struct fixture *fixture;
    int64_t expired_ms; /* 0: not yet */
    int order;
    enum http_deadline_kind kind;
    bool again; /* set anew when it expires */
};

struct fixture {
    struct clock clock;
    struct loop loop;
    struct http_deadlines deadlines;
    struct entry entries[DEADLINES];
    int64_t started_ms;
    int expired;
    int wanted; /* the loop ends then */
};

static void on_expired(struct http_deadline *deadline, enum http_deadline_kind kind) {
    struct entry *entry = LIST_ENTRY(deadline, struct entry, deadline);
    struct fixture *f = entry->fixture;
    cr_assert_eq(deadline->kind, HTTP_DEADLINE_NONE);
    entry->expired_ms = loop_timer_now_ms(&f->loop) - f->started_ms;
    entry->order = f->expired++;
    entry->kind = kind;
    if (entry->again) {
        entry->again = false;
        http_deadline_set(&f->deadlines, deadline, kind);
    }
    if (f->expired == f->wanted) {
        loop_stop(&f->loop);
    }
}

static void open_fixture(struct fixture *f) {
    *f = (struct fixture){0};
    cr_assert_eq(loop_init(&f->loop, &f->clock), RC_OK);
    f->deadlines.expired = on_expired;
    f->deadlines.after_ms[HTTP_DEADLINE_HEAD] = HEAD_MS;
    f->deadlines.after_ms[HTTP_DEADLINE_IDLE] = IDLE_MS;
    http_deadlines_init(&f->deadlines, &f->loop);
    f->started_ms = loop_timer_now_ms(&f->loop);
    for (int i = 0; i < DEADLINES; i++) {
        f->entries[i].fixture = f;
    }
}

static void set(struct fixture *f, int i, enum http_deadline_kind kind) {
    http_deadline_set(&f->deadlines, &f->entries[i].deadline, kind);
}

/* The timer alone keeps no loop running: this one does, and bounds the test. */
static void on_too_late(struct loop_timer *timer) {
    (void)timer;
    cr_assert_fail("a deadline did not expire");
}

static void run_until(struct fixture *f, int wanted) {
    struct loop_timer bound;
    f->wanted = wanted;
    loop_timer_init(&f->loop, &bound);
    loop_timer_start(&bound, 5000, 0, on_too_late);
    loop_run(&f->loop);
    loop_timer_close(&bound, NULL);
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

static void close_fixture(struct fixture *f) {
    http_deadlines_close(&f->deadlines, NULL);
    cr_assert_eq(loop_fini(&f->loop), RC_OK);
    CHECK_LEAKS();
}

Test(deadline, kinds_have_their_own_durations) {
    struct fixture f;
    open_fixture(&f);
    set(&f, 0, HTTP_DEADLINE_IDLE);
    set(&f, 1, HTTP_DEADLINE_HEAD);
    set(&f, 2, HTTP_DEADLINE_HEAD);
    run_until(&f, 3);
    cr_assert(f.entries[1].order == 0 && f.entries[2].order == 1 && f.entries[0].order == 2);
    cr_assert(f.entries[1].kind == HTTP_DEADLINE_HEAD && f.entries[0].kind == HTTP_DEADLINE_IDLE);
    cr_assert(f.entries[1].expired_ms >= HEAD_MS && f.entries[0].expired_ms >= IDLE_MS);
    close_fixture(&f);
}

Test(deadline, cleared_ones_never_expire) {
    struct fixture f;
    open_fixture(&f);
    set(&f, 0, HTTP_DEADLINE_HEAD);
    set(&f, 1, HTTP_DEADLINE_HEAD);
    set(&f, 2, HTTP_DEADLINE_IDLE);
    http_deadline_clear(&f.entries[0].deadline);
    http_deadline_clear(&f.entries[0].deadline);
    run_until(&f, 2);
    cr_assert_eq(f.entries[0].expired_ms, 0);
    close_fixture(&f);
}

Test(deadline, moving_to_another_kind_starts_anew) {
    struct fixture f;
    open_fixture(&f);
    set(&f, 0, HTTP_DEADLINE_HEAD);
    set(&f, 0, HTTP_DEADLINE_IDLE);
    set(&f, 1, HTTP_DEADLINE_IDLE);
    set(&f, 1, HTTP_DEADLINE_HEAD);
    run_until(&f, 2);
    cr_assert(f.entries[1].order == 0 && f.entries[0].order == 1);
    cr_assert(f.entries[0].expired_ms >= IDLE_MS);
    close_fixture(&f);
}

Test(deadline, one_that_expired_may_be_set_again) {
    struct fixture f;
    open_fixture(&f);
    f.entries[0].again = true;
    set(&f, 0, HTTP_DEADLINE_HEAD);
    run_until(&f, 2);
    cr_assert_geq(f.entries[0].expired_ms, 2 * HEAD_MS);
    close_fixture(&f);
}

Test(deadline, a_clock_that_tests_set_moves_none) {
    struct fixture f;
    open_fixture(&f);
    set(&f, 0, HTTP_DEADLINE_HEAD);
    atomic_store(&f.clock.offset_ms, 1000000);
    run_until(&f, 1);
    cr_assert(f.entries[0].expired_ms >= HEAD_MS);
    close_fixture(&f);
}
