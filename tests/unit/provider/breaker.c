// SPDX-License-Identifier: MIT
#include "provider/breaker.h"

#include <criterion/criterion.h>

static const struct breaker_opts opts = {
    .failures_max = 3,
    .pause_first_ms = 1000,
    .pause_max_ms = 3000,
};

static struct breaker closed(void) {
    return (struct breaker){.opts = opts};
}

/* Opens at `now_ms` for 1000 ms; returns the turn that opened it. */
static uint64_t open_it(struct breaker *breaker, int64_t now_ms) {
    uint64_t turn = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert(breaker_admit(breaker, now_ms, &turn));
        breaker_report(breaker, turn, BREAKER_FAILURE, now_ms, 0);
    }
    cr_assert_eq(breaker->state, BREAKER_OPEN);
    return turn;
}

/* Every state against every result, reported in time and late: the state after it. */
Test(breaker, transitions) {
    static const struct {
        enum breaker_state state;
        enum breaker_result result;
        bool is_late; /* the call was let in before the state last changed */
        enum breaker_state after;
        unsigned failures; /* 2 before, 3 where it had opened */
    } cases[] = {
        {BREAKER_CLOSED, BREAKER_SUCCESS, false, BREAKER_CLOSED, 0},
        {BREAKER_CLOSED, BREAKER_NEUTRAL, false, BREAKER_CLOSED, 2},
        {BREAKER_CLOSED, BREAKER_FAILURE, false, BREAKER_OPEN, 3},
        {BREAKER_CLOSED, BREAKER_SUCCESS, true, BREAKER_CLOSED, 2},
        {BREAKER_CLOSED, BREAKER_NEUTRAL, true, BREAKER_CLOSED, 2},
        {BREAKER_CLOSED, BREAKER_FAILURE, true, BREAKER_CLOSED, 2},
        {BREAKER_OPEN, BREAKER_SUCCESS, true, BREAKER_OPEN, 3},
        {BREAKER_OPEN, BREAKER_NEUTRAL, true, BREAKER_OPEN, 3},
        {BREAKER_OPEN, BREAKER_FAILURE, true, BREAKER_OPEN, 3},
        {BREAKER_HALF_OPEN, BREAKER_SUCCESS, false, BREAKER_CLOSED, 0},
        {BREAKER_HALF_OPEN, BREAKER_NEUTRAL, false, BREAKER_OPEN, 3},
        {BREAKER_HALF_OPEN, BREAKER_FAILURE, false, BREAKER_OPEN, 3},
        {BREAKER_HALF_OPEN, BREAKER_SUCCESS, true, BREAKER_HALF_OPEN, 3},
        {BREAKER_HALF_OPEN, BREAKER_NEUTRAL, true, BREAKER_HALF_OPEN, 3},
        {BREAKER_HALF_OPEN, BREAKER_FAILURE, true, BREAKER_HALF_OPEN, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct breaker breaker = closed();
        uint64_t late = open_it(&breaker, 0);
        uint64_t turn = 0;
        if (cases[i].state != BREAKER_OPEN) {
            cr_assert(breaker_admit(&breaker, 1000, &turn), "case %zu", i);
        }
        if (cases[i].state == BREAKER_CLOSED) {
            breaker_report(&breaker, turn, BREAKER_SUCCESS, 1000, 0);
            for (int n = 0; n < 2; n++) {
                cr_assert(breaker_admit(&breaker, 1000, &turn), "case %zu", i);
                breaker_report(&breaker, turn, BREAKER_FAILURE, 1000, 0);
            }
            cr_assert(breaker_admit(&breaker, 1000, &turn), "case %zu", i);
        }
        cr_assert_eq(breaker.state, cases[i].state, "case %zu", i);
        breaker_report(&breaker, cases[i].is_late ? late : turn, cases[i].result, 1000, 0);
        cr_assert_eq(breaker.state, cases[i].after, "case %zu: %d", i, (int)breaker.state);
        cr_assert_eq(breaker.failures, cases[i].failures, "case %zu: %u", i, breaker.failures);
    }
}

Test(breaker, only_failures_in_a_row_open_it) {
    struct breaker breaker = closed();
    uint64_t turn;
    for (int i = 0; i < 100; i++) {
        cr_assert(breaker_admit(&breaker, i, &turn));
        breaker_report(&breaker, turn, i % 3 == 2 ? BREAKER_SUCCESS : BREAKER_FAILURE, i, 0);
        cr_assert_eq(breaker.state, BREAKER_CLOSED, "after %d", i);
    }
}

Test(breaker, open_refuses_until_the_pause_is_over) {
    struct breaker breaker = closed();
    uint64_t turn;
    open_it(&breaker, 5000);
    cr_assert_not(breaker_admit(&breaker, 5000, &turn));
    cr_assert_not(breaker_admit(&breaker, 5999, &turn));
    cr_assert_eq(breaker.state, BREAKER_OPEN);
    cr_assert(breaker_admit(&breaker, 6000, &turn));
    cr_assert_eq(breaker.state, BREAKER_HALF_OPEN);
}

Test(breaker, half_open_lets_exactly_one_through) {
    struct breaker breaker = closed();
    uint64_t probe;
    uint64_t other;
    open_it(&breaker, 0);
    cr_assert(breaker_admit(&breaker, 1000, &probe));
    for (int i = 0; i < 100; i++) {
        cr_assert_not(breaker_admit(&breaker, 1000 + 1000 * i, &other));
    }
    breaker_report(&breaker, probe, BREAKER_SUCCESS, 200000, 0);
    cr_assert(breaker_admit(&breaker, 200000, &other));
    cr_assert(breaker_admit(&breaker, 200000, &other));
}

Test(breaker, pauses_double_up_to_the_cap_and_start_again_after_a_success) {
    static const int64_t pauses[] = {2000, 3000, 3000};
    struct breaker breaker = closed();
    uint64_t turn;
    int64_t now_ms = 1000;
    open_it(&breaker, 0);
    for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
        cr_assert(breaker_admit(&breaker, now_ms, &turn));
        breaker_report(&breaker, turn, BREAKER_FAILURE, now_ms, 0);
        cr_assert_eq(breaker.open_until_ms, now_ms + pauses[i], "pause %zu", i);
        now_ms = breaker.open_until_ms;
    }
    cr_assert(breaker_admit(&breaker, now_ms, &turn));
    breaker_report(&breaker, turn, BREAKER_SUCCESS, now_ms, 0);
    open_it(&breaker, now_ms);
    cr_assert_eq(breaker.open_until_ms, now_ms + 1000);
}

Test(breaker, a_probe_that_says_nothing_is_followed_by_another_at_once) {
    struct breaker breaker = closed();
    uint64_t turn;
    open_it(&breaker, 0);
    cr_assert(breaker_admit(&breaker, 1000, &turn));
    breaker_report(&breaker, turn, BREAKER_NEUTRAL, 1500, 0);
    cr_assert(breaker_admit(&breaker, 1500, &turn));
    breaker_report(&breaker, turn, BREAKER_FAILURE, 1500, 0);
    cr_assert_eq(breaker.open_until_ms, 3500, "the pause was doubled once");
}

Test(breaker, pauses_are_shortened_by_up_to_a_half) {
    static const struct {
        uint32_t random;
        int64_t pause_ms;
    } cases[] = {
        {0, 1000}, {1, 999}, {500, 500}, {501, 1000}, {UINT32_MAX, 1000 - UINT32_MAX % 501}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct breaker breaker = closed();
        uint64_t turn;
        breaker.failures = 2;
        cr_assert(breaker_admit(&breaker, 0, &turn));
        breaker_report(&breaker, turn, BREAKER_FAILURE, 0, cases[i].random);
        cr_assert_eq(breaker.open_until_ms, cases[i].pause_ms, "case %zu: %d", i,
                     (int)breaker.open_until_ms);
    }
}

Test(breaker, without_opts_it_never_opens) {
    struct breaker breaker = {0};
    uint64_t turn;
    for (int i = 0; i < 1000; i++) {
        cr_assert(breaker_admit(&breaker, i, &turn));
        breaker_report(&breaker, turn, BREAKER_FAILURE, i, 7);
    }
    cr_assert_eq(breaker.state, BREAKER_CLOSED);
}

Test(breaker, huge_pauses_do_not_overflow) {
    struct breaker breaker = {.opts = {1, INT64_MAX / 4, INT64_MAX / 4}};
    uint64_t turn;
    int64_t now_ms = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert(breaker_admit(&breaker, now_ms, &turn));
        breaker_report(&breaker, turn, BREAKER_FAILURE, now_ms, 0);
        cr_assert_eq(breaker.open_until_ms, now_ms + INT64_MAX / 4);
        now_ms = breaker.open_until_ms;
    }
}
