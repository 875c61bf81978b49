// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "kit/states_rig.h"
#include "store/states.h"

/* What states in memory do beyond what every store of them does (states.c). */
enum { BEFORE_MS = 14 * 60 * 1000 + 59 * 1000, AFTER_MS = 15 * 60 * 1000 + 1000 };

static void count_pending(struct states_rig *rig) {
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), 0);
    cr_assert_eq(states_rig_put_number(rig, 7, "u"), RC_OK);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), 1);
    states_rig_expect(rig, states_rig_take_number(rig, 7, "u"), STATE_TAKEN, "it");
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), 0);
    for (uint64_t i = 0; i < STATES_PER_USER + 2; i++) {
        cr_assert_eq(states_rig_put_number(rig, i, "v"), RC_OK);
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), STATES_PER_USER);
}

Test(states_mem, pending_ones_are_counted) {
    struct states_rig rig;
    states_rig_open(&rig, &states_rig_memory, 100);
    count_pending(&rig);
    states_rig_close(&rig);
}

/* Keeps the loop in turns until no state is left, and fails after far longer than that takes. */
struct watch {
    struct loop_timer timer;
    struct states_rig *rig;
    int ticks;
};

static void on_tick(struct loop_timer *timer) {
    struct watch *watch = LIST_ENTRY(timer, struct watch, timer);
    bool gone = metrics_get(&watch->rig->metrics, METRIC_STATES) == 0;
    if (gone || ++watch->ticks == 30 * 100) {
        loop_timer_close(timer, NULL);
    }
}

static void run_until_gone(struct states_rig *rig) {
    struct watch watch = {.rig = rig};
    loop_timer_init(&rig->loop, &watch.timer);
    loop_timer_start(&watch.timer, 10, 10, on_tick);
    loop_run(&rig->loop);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), 0, "they stayed");
}

Test(states_mem, never_taken_are_swept_unasked) {
    struct states_rig rig;
    states_rig_open(&rig, &states_rig_memory, 20000);
    char user_id[16];
    for (uint64_t i = 0; i < 10000; i++) { /* more than one turn sweeps */
        snprintf(user_id, sizeof user_id, "user-%d", (int)i);
        cr_assert_eq(states_rig_put_number(&rig, i, user_id), RC_OK);
    }
    states_rig_advance(&rig, BEFORE_MS);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES), 10000);
    states_rig_advance(&rig, AFTER_MS - BEFORE_MS);
    run_until_gone(&rig);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_EXPIRED), 10000);
    states_rig_expect(&rig, states_rig_take_number(&rig, 5, "user-5"), STATE_UNKNOWN, "swept");
    states_rig_close(&rig);
}

Test(states_mem, a_full_store_says_so_until_there_is_room) {
    struct states_rig rig;
    char user_id[16];
    states_rig_open(&rig, &states_rig_memory, 40);
    for (uint64_t i = 0; i < 40; i++) {
        snprintf(user_id, sizeof user_id, "u%d", (int)i / STATES_PER_USER);
        cr_assert_eq(states_rig_put_number(&rig, i, user_id), RC_OK);
    }
    cr_assert_eq(states_rig_put_number(&rig, 1000, "new"), RC_OVERLOADED);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_CREATED), 40);
    cr_assert_eq(states_rig_put_number(&rig, 1001, "u0"), RC_OK, "his own oldest makes room");
    states_rig_expect(&rig, states_rig_take_number(&rig, 39, "u2"), STATE_TAKEN, "one leaves");
    cr_assert_eq(states_rig_put_number(&rig, 1002, "new"), RC_OK);
    cr_assert_eq(states_rig_put_number(&rig, 1003, "new"), RC_OVERLOADED);
    states_rig_advance(&rig, AFTER_MS);
    for (uint64_t i = 0; i < 40; i++) {
        snprintf(user_id, sizeof user_id, "v%d", (int)i);
        cr_assert_eq(states_rig_put_number(&rig, 2000 + i, user_id), RC_OK,
                     "expired ones make room");
    }
    cr_assert_eq(states_rig_put_number(&rig, 3000, "v"), RC_OVERLOADED);
    states_rig_close(&rig);
}

/* What is remembered of used states is bounded: the oldest is forgotten first, and is then unknown,
 * which is as refused. */
Test(states_mem, of_many_used_the_newest_are_remembered, .timeout = 60) {
    enum { REMEMBERED = 65536, MORE = 100 };
    struct states_rig rig;
    states_rig_open(&rig, &states_rig_memory, 100);
    for (uint64_t i = 0; i < REMEMBERED + MORE; i++) {
        cr_assert_eq(states_rig_put_number(&rig, i, "u"), RC_OK);
        states_rig_expect(&rig, states_rig_take_number(&rig, i, "u"), STATE_TAKEN, "first");
    }
    states_rig_expect(&rig, states_rig_take_number(&rig, MORE - 1, "u"), STATE_UNKNOWN,
                      "the youngest of the oldest");
    states_rig_expect(&rig, states_rig_take_number(&rig, MORE, "u"), STATE_USED,
                      "the oldest that is remembered");
    states_rig_expect(&rig, states_rig_take_number(&rig, REMEMBERED + MORE - 1, "u"), STATE_USED,
                      "the newest");
    states_rig_close(&rig);
}

Test(states_mem, redirect_uris_are_shared_bounded_and_let_go) {
    enum { URIS = 256 };
    struct states_rig rig;
    char uri[32];
    char user_id[16];
    states_rig_open(&rig, &states_rig_memory, 1000);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i <= URIS; i++) {
            snprintf(uri, sizeof uri, "https://app.example/%d", (int)i);
            snprintf(user_id, sizeof user_id, "u%d", (int)i);
            struct state_new state = states_rig_state((uint64_t)round * 1000 + i, user_id);
            state.redirect_uri = slice_str(uri);
            cr_assert_eq(states_rig_put(&rig, &state), i < URIS ? RC_OK : RC_OVERLOADED, "%s", uri);
        }
        for (uint64_t i = 0; i < URIS; i++) {
            snprintf(uri, sizeof uri, "https://app.example/%d", (int)i);
            snprintf(user_id, sizeof user_id, "u%d", (int)i);
            struct states_op op = states_rig_take_number(&rig, (uint64_t)round * 1000 + i, user_id);
            cr_assert_str_eq(op.redirect_uri, uri);
        }
    }
    states_rig_close(&rig);
}

/* -- memory -- */

static size_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert(file != NULL && fscanf(file, "%*u %lu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* A thousand a turn, with user ids of 36 bytes. */
static void fill(struct states_rig *rig, size_t states, size_t users) {
    static struct states_rig_call calls[1000];
    char user_id[37];
    for (size_t i = 0; i < states; i++) {
        struct states_rig_call *call = &calls[i % 1000];
        *call = (struct states_rig_call){.loop = &rig->loop};
        snprintf(user_id, sizeof user_id, "%036zu", i % users);
        struct state_new state = states_rig_state(i, user_id);
        states_put(rig->states, &call->op, &state, states_rig_done);
        if (i % 1000 == 999) {
            states_rig_wait(call);
        }
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), (int64_t)states);
}

Test(states_mem, a_million_cost_under_300_bytes_each_and_give_them_back, .timeout = 240) {
    enum { STATES = 1000000, STATE_BYTES_MAX = 300, LEFT_BYTES_MAX = 4 * 1024 * 1024 };
    static const size_t users[] = {100000, 1000000};
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        struct states_rig rig;
        states_rig_open(&rig, &states_rig_memory, STATES);
        fill(&rig, 1000, 1000); /* so that what is made once is there */
        states_rig_advance(&rig, AFTER_MS);
        run_until_gone(&rig);
        size_t before = resident_bytes();
        fill(&rig, STATES, users[i]);
        size_t full = resident_bytes();
        cr_assert_leq(full - before, (size_t)STATES * STATE_BYTES_MAX, "%zu users: %zu bytes each",
                      users[i], (full - before) / STATES);
        states_rig_advance(&rig, AFTER_MS);
        run_until_gone(&rig);
        size_t after = full;
        for (int turn = 0; turn < 1000 && after > before + LEFT_BYTES_MAX; turn++) {
            states_rig_advance(&rig, 0); /* it is given back in steps, a turn each */
            after = resident_bytes();
        }
        cr_assert_leq(after, before + LEFT_BYTES_MAX, "%zu users: %zu bytes stayed", users[i],
                      after - before);
        printf("%zu users: %zu bytes a pending state\n", users[i], (full - before) / STATES);
        states_rig_close(&rig);
    }
}
