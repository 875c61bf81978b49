// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <unistd.h>

#include "io/loop.h"

/* A loop that sleeps in its poll, and what it takes for the time when the poll brings something. */
struct sleeper {
    struct clock clock;
    struct loop loop;
    uv_poll_t poll;
    int64_t asleep_mono_ms;
    int64_t asleep_wall_ms;
    int64_t woken_mono_ms;
    int64_t woken_wall_ms;
};

static void on_readable(uv_poll_t *poll, int status, int events) {
    struct sleeper *sleeper = poll->data;
    (void)status;
    (void)events;
    sleeper->woken_mono_ms = loop_now_ms(&sleeper->loop);
    sleeper->woken_wall_ms = loop_wall_ms(&sleeper->loop);
    uv_close((uv_handle_t *)poll, NULL);
}

static void on_before_sleep(struct loop_hook *hook) {
    (void)hook;
}

Test(loop_clock, what_the_poll_brings_sees_the_time_at_which_it_came) {
    struct sleeper sleeper = {0};
    struct loop_hook hook = {0};
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_eq(loop_init(&sleeper.loop, &sleeper.clock), RC_OK);
    loop_hook_add(&sleeper.loop, &hook, on_before_sleep);
    uv_poll_init(&sleeper.loop.uv, &sleeper.poll, pipe_fds[0]);
    sleeper.poll.data = &sleeper;
    uv_poll_start(&sleeper.poll, UV_READABLE, on_readable);

    /* One turn in which nothing comes, then time passes, then something comes. */
    uv_run(&sleeper.loop.uv, UV_RUN_NOWAIT);
    sleeper.asleep_mono_ms = loop_now_ms(&sleeper.loop);
    sleeper.asleep_wall_ms = loop_wall_ms(&sleeper.loop);
    sleeper.loop.prepare.prepare_cb(&sleeper.loop.prepare); /* the last before the poll */
    atomic_store(&sleeper.clock.offset_ms, 900001);
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    sleeper.poll.poll_cb(&sleeper.poll, 0, UV_READABLE);

    cr_assert_geq(sleeper.woken_mono_ms, sleeper.asleep_mono_ms + 900001);
    cr_assert_geq(sleeper.woken_wall_ms, sleeper.asleep_wall_ms + 900001);
    loop_hook_remove(&hook);
    loop_run(&sleeper.loop);
    cr_assert_eq(loop_fini(&sleeper.loop), RC_OK);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}
