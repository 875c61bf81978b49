// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/metrics.h"
#include "base/rc.h"

/* The one event loop of a process and what belongs to its turns.
 *
 * The completion contract, kept by everything asynchronous in this project: a callback runs exactly
 * once, on the loop thread, never before the call that started it has returned; cancelling only
 * hurries it (it still runs, with RC_CANCELED or with what had come already). From the moment that
 * the callback is called the operation's memory is its owner's again: it may be gone when the
 * callback returns, so whoever calls it doesn't touch the operation afterwards. */
struct loop {
    uv_loop_t uv;
    const struct clock *clock;
    struct list tasks; /* loop_task */
    struct list hooks; /* loop_hook */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while tasks or hooks are due: the loop lives and does not block */
    bool hooks_due;
    int64_t mono_ms; /* of this turn, clock offset included */
    int64_t wall_ms;
    int64_t turn_ns;         /* clock_ns of the same moment */
    int64_t woke_ns;         /* when this turn began to work; 0: it has not */
    bool clock_is_stale;     /* it may have blocked since: read again before use */
    char *read_buffer;       /* io/stream's, shared by all connections; made when first used */
    size_t unsent_bytes;     /* io/stream's: copies of what the kernel did not take at once */
    struct metrics *metrics; /* how long turns take, and io/work's; NULL: not counted */
};

/* `metrics` is NULL until its owner sets it, before anything is added to the loop. Ignores SIGPIPE
 * in the whole process. RC_IO where the system refuses. */
enum rc loop_init(struct loop *loop, const struct clock *clock);
/* Runs until nothing but the loop's own handles is left, or loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* RC_OK, or RC_IO where a handle is still open: a leak, which tests assert against. */
enum rc loop_fini(struct loop *loop);

/* Time as of this turn (a clock that tests set is seen at the next turn). */
int64_t loop_now_ms(struct loop *loop);  /* monotonic */
int64_t loop_wall_ms(struct loop *loop); /* since 1970 */
/* The same moment for measuring: since when what is being looked at has waited. */
int64_t loop_turn_ns(struct loop *loop);
/* What timers run on: monotonic, as of this turn, without the clock's offset. */
int64_t loop_timer_now_ms(const struct loop *loop);

/* Runs `run` on a later turn, before the loop blocks again: how a result that is known at once
 * keeps the completion contract. Owned by the caller until it runs. Zeroed before its first use;
 * must not be queued already (list_is_linked(&task->node) tells). */
struct loop_task {
    struct list node;
    void (*run)(struct loop_task *task);
};
void loop_later(struct loop *loop, struct loop_task *task, void (*run)(struct loop_task *task));
/* Takes it out of the queue if it is there. */
void loop_task_drop(struct loop_task *task);

/* Runs before every time the loop blocks: gathers what one turn brought. Lives until removed. */
struct loop_hook {
    struct list node;
    void (*run)(struct loop_hook *hook);
};
void loop_hook_add(struct loop *loop, struct loop_hook *hook, void (*run)(struct loop_hook *hook));
void loop_hook_remove(struct loop_hook *hook);
/* There is something for the hooks: the loop stays alive and does not block before they have run
 * (once more, where a hook itself says so). */
void loop_hooks_due(struct loop *loop);

/* A timer. Restarting moves it. Real time, whatever the clock's offset. */
struct loop_timer {
    uv_timer_t uv;
    void (*fire)(struct loop_timer *timer);
    void (*closed)(struct loop_timer *timer);
};
void loop_timer_init(struct loop *loop, struct loop_timer *timer);
/* `repeat_ms` 0: once. */
void loop_timer_start(struct loop_timer *timer, int64_t after_ms, int64_t repeat_ms,
                      void (*fire)(struct loop_timer *timer));
void loop_timer_stop(struct loop_timer *timer);
/* A timer that runs does not keep the loop alive (periodic housekeeping). */
void loop_timer_unref(struct loop_timer *timer);
/* `closed` (may be NULL) runs on a later turn, when the memory may go. */
void loop_timer_close(struct loop_timer *timer, void (*closed)(struct loop_timer *timer));
