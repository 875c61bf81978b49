// SPDX-License-Identifier: MIT
#include "io/loop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kit/leaks.h"

/* What ran, in order, a letter each. */
struct diary {
    struct clock clock;
    struct loop loop;
    char text[64];
    size_t len;
};

static struct diary diary;

static void note(char letter) {
    cr_assert_lt(diary.len, sizeof diary.text - 1);
    diary.text[diary.len++] = letter;
    diary.text[diary.len] = '\0';
}

static void open_loop(void) {
    cr_assert_eq(loop_init(&diary.loop, &diary.clock), RC_OK);
}

static void close_loop(void) {
    cr_assert_eq(loop_fini(&diary.loop), RC_OK);
    CHECK_LEAKS();
}

static struct loop_task task_a, task_b;

static void run_b(struct loop_task *task) {
    (void)task;
    note('b');
}

static void run_a(struct loop_task *task) {
    (void)task;
    note('a');
    loop_later(&diary.loop, &task_b, run_b);
    note('.');
}

static void on_hook(struct loop_hook *hook) {
    (void)hook;
    note('h');
}

Test(loop, tasks_run_later_and_what_they_add_a_turn_after) {
    struct loop_hook hook = {0};
    open_loop();
    loop_hook_add(&diary.loop, &hook, on_hook);
    loop_later(&diary.loop, &task_a, run_a);
    note('!');
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "!a.hbh");
    loop_hook_remove(&hook);
    close_loop();
}

Test(loop, dropped_task_does_not_run) {
    open_loop();
    loop_later(&diary.loop, &task_b, run_b);
    loop_task_drop(&task_b);
    loop_task_drop(&task_b);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "");
    loop_later(&diary.loop, &task_b, run_b);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "b");
    close_loop();
}

static void drop_b(struct loop_task *task) {
    (void)task;
    loop_task_drop(&task_b);
    note('a');
}

Test(loop, task_drops_one_that_is_due_in_the_same_turn) {
    open_loop();
    loop_later(&diary.loop, &task_a, drop_b);
    loop_later(&diary.loop, &task_b, run_b);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "a");
    close_loop();
}

static struct loop_hook hooks[3];

static void remove_all(struct loop_hook *hook) {
    note((char)('0' + (hook - hooks)));
    for (size_t i = 0; i < 3; i++) {
        loop_hook_remove(&hooks[i]);
    }
}

static void remove_self(struct loop_hook *hook) {
    note((char)('0' + (hook - hooks)));
    loop_hook_remove(hook);
}

Test(loop, hooks_remove_themselves_and_others) {
    open_loop();
    for (size_t i = 0; i < 3; i++) {
        loop_hook_add(&diary.loop, &hooks[i], remove_self);
    }
    loop_hooks_due(&diary.loop);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "012");
    for (size_t i = 0; i < 3; i++) {
        loop_hook_add(&diary.loop, &hooks[i], i == 1 ? remove_all : remove_self);
    }
    loop_hooks_due(&diary.loop);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "01201");
    close_loop();
}

static void due_again(struct loop_hook *hook) {
    (void)hook;
    note('d');
    if (diary.len < 3) {
        loop_hooks_due(&diary.loop);
    }
}

/* Without a timer or a socket: nothing else would keep the loop from ending. */
Test(loop, due_hooks_keep_the_loop_alive) {
    struct loop_hook hook = {0};
    open_loop();
    loop_hook_add(&diary.loop, &hook, due_again);
    loop_hooks_due(&diary.loop);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "ddd");
    loop_hook_remove(&hook);
    close_loop();
}

static void on_closed(struct loop_timer *timer) {
    (void)timer;
    note('c');
}

static void fire_and_close(struct loop_timer *timer) {
    note('f');
    loop_timer_close(timer, on_closed);
    note('.');
}

Test(loop, timer_closes_in_its_own_callback) {
    struct loop_timer timer;
    open_loop();
    loop_timer_init(&diary.loop, &timer);
    loop_timer_start(&timer, 1, 0, fire_and_close);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "f.c");
    close_loop();
}

static void fire_thrice(struct loop_timer *timer) {
    note('f');
    if (diary.len == 3) {
        loop_timer_close(timer, NULL);
    }
}

Test(loop, timer_repeats) {
    struct loop_timer timer;
    open_loop();
    loop_timer_init(&diary.loop, &timer);
    loop_timer_start(&timer, 0, 1, fire_thrice);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "fff");
    close_loop();
}

static void fire(struct loop_timer *timer) {
    (void)timer;
    note('f');
}

Test(loop, stopped_and_unreferenced_timers_do_not_keep_the_loop) {
    struct loop_timer stopped;
    struct loop_timer housekeeping;
    open_loop();
    loop_timer_init(&diary.loop, &stopped);
    loop_timer_start(&stopped, 100000, 0, fire);
    loop_timer_stop(&stopped);
    loop_timer_init(&diary.loop, &housekeeping);
    loop_timer_start(&housekeeping, 100000, 100000, fire);
    loop_timer_unref(&housekeeping);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "");
    loop_timer_close(&stopped, NULL);
    loop_timer_close(&housekeeping, NULL);
    close_loop();
}

/* A turn that has lasted does not make a timer come early. */
Test(loop, timer_counts_from_its_start) {
    struct loop_timer timer;
    open_loop();
    loop_timer_init(&diary.loop, &timer);
    uint64_t before_ns = uv_hrtime();
    while (uv_hrtime() - before_ns < 60 * 1000000) {
    }
    uint64_t started_ns = uv_hrtime();
    loop_timer_start(&timer, 50, 0, fire_and_close);
    loop_run(&diary.loop);
    cr_assert_geq(uv_hrtime() - started_ns, 48 * 1000000);
    close_loop();
}

static int64_t seen_ms[3];

static void look_again(struct loop_task *task) {
    (void)task;
    seen_ms[2] = loop_now_ms(&diary.loop);
}

static void look(struct loop_task *task) {
    (void)task;
    seen_ms[0] = loop_now_ms(&diary.loop);
    diary.clock.offset_ms += 900000;
    seen_ms[1] = loop_now_ms(&diary.loop);
    loop_later(&diary.loop, &task_b, look_again);
}

Test(loop, time_stands_still_within_a_turn) {
    open_loop();
    loop_later(&diary.loop, &task_a, look);
    loop_run(&diary.loop);
    cr_assert_eq(seen_ms[1], seen_ms[0]);
    cr_assert_geq(seen_ms[2], seen_ms[0] + 900000);
    cr_assert_lt(seen_ms[2], seen_ms[0] + 910000);
    close_loop();
}

static void stop(struct loop_timer *timer) {
    (void)timer;
    loop_stop(&diary.loop);
}

Test(loop, stop_leaves_the_rest_and_a_leftover_stop_is_no_leak) {
    struct loop_timer timer;
    struct loop_timer late;
    open_loop();
    loop_timer_init(&diary.loop, &timer);
    loop_timer_init(&diary.loop, &late);
    loop_timer_start(&timer, 1, 0, stop);
    loop_timer_start(&late, 100000, 0, fire);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "");
    loop_timer_close(&timer, NULL);
    loop_timer_close(&late, NULL);
    loop_stop(&diary.loop);
    close_loop();
}

Test(loop, fini_tells_an_open_handle) {
    struct loop_timer timer;
    open_loop();
    loop_timer_init(&diary.loop, &timer);
    cr_assert_eq(loop_fini(&diary.loop), RC_IO);
    loop_timer_close(&timer, NULL);
    uv_run(&diary.loop.uv, UV_RUN_NOWAIT);
    cr_assert_eq(uv_loop_close(&diary.loop.uv), 0);
    CHECK_LEAKS();
}

Test(loop, a_peer_that_is_gone_is_an_error_code) {
    int ends[2];
    open_loop();
    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);
    cr_assert_eq(write(ends[1], "x", 1), -1);
    cr_assert_eq(errno, EPIPE);
    close(ends[1]);
    close_loop();
}

enum { BUSY_NS = 3 * 1000 * 1000 };

static void be_busy(struct loop_task *task) {
    int64_t until_ns = clock_ns() + BUSY_NS;
    while (clock_ns() < until_ns) {
    }
    note('x');
    if (diary.len < 4) {
        loop_later(&diary.loop, task, be_busy);
    }
}

Test(loop, turns_are_measured) {
    static struct metrics metrics;
    int first = METRICS_HISTOGRAMS_AT + METRICS_LOOP_LAG * METRICS_HISTOGRAM_CELLS;
    int64_t slow = 0;
    open_loop();
    diary.loop.metrics = &metrics;
    loop_later(&diary.loop, &task_a, be_busy);
    loop_run(&diary.loop);
    cr_assert_str_eq(diary.text, "xxxx");
    for (int i = 5; i <= METRICS_BOUND_COUNT; i++) { /* above 2.5 ms */
        slow += metrics_get(&metrics, (enum metric)(first + i));
    }
    cr_assert_eq(slow, 4, "%lld slow turns", (long long)slow);
    int64_t sum_ns = metrics_get(&metrics, (enum metric)(first + METRICS_BOUND_COUNT + 1));
    cr_assert_geq(sum_ns, 4 * (int64_t)BUSY_NS);
    close_loop();
}
