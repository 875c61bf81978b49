// SPDX-License-Identifier: MIT
#include "io/loop.h"

#include "base/mem.h"

#include <assert.h>
#include <signal.h>

static void read_clock(struct loop *loop) {
    loop->turn_ns = clock_ns();
    loop->mono_ms = clock_mono_ms_at(loop->clock, loop->turn_ns);
    loop->wall_ms = clock_wall_ms(loop->clock);
    loop->clock_is_stale = false;
}

/* The first look at the clock after the poll is the best that is known of when it returned. */
static void wake(struct loop *loop) {
    read_clock(loop);
    loop->woke_ns = loop->turn_ns;
}

static void count_turn(struct loop *loop, int64_t now_ns) {
    if (loop->metrics != NULL && loop->woke_ns != 0) {
        metrics_observe(loop->metrics, METRICS_LOOP_LAG, now_ns - loop->woke_ns);
    }
    loop->woke_ns = 0;
}

/* A hook may remove itself or any other, so each goes back to the list before it runs and nothing
 * is remembered of its neighbours. */
static void run_hooks(struct loop *loop) {
    struct list due;
    list_init(&due);
    list_move_all(&due, &loop->hooks);
    loop->hooks_due = false;
    for (struct list *node = list_take_first(&due); node != NULL; node = list_take_first(&due)) {
        list_append(&loop->hooks, node);
        struct loop_hook *hook = LIST_ENTRY(node, struct loop_hook, node);
        hook->run(hook);
    }
}

static void on_idle(uv_idle_t *idle) {
    (void)idle;
}

/* Only the tasks that are there now: those that they add run on the next turn, which the idle
 * handle keeps from blocking. */
static void run_tasks(struct loop *loop) {
    struct list due;
    list_init(&due);
    list_move_all(&due, &loop->tasks);
    for (struct list *node = list_take_first(&due); node != NULL; node = list_take_first(&due)) {
        struct loop_task *task = LIST_ENTRY(node, struct loop_task, node);
        task->run(task);
    }
}

static void on_prepare(uv_prepare_t *prepare) {
    struct loop *loop = prepare->data;
    bool has_work = !list_is_empty(&loop->tasks) || loop->hooks_due;
    read_clock(loop);
    run_tasks(loop);
    run_hooks(loop);
    count_turn(loop, has_work ? clock_ns() : loop->turn_ns);
    if (list_is_empty(&loop->tasks) && !loop->hooks_due) {
        uv_idle_stop(&loop->idle);
    } else {
        uv_idle_start(&loop->idle, on_idle);
    }
    /* What the poll brings comes after it has blocked, perhaps for long. */
    loop->clock_is_stale = true;
}

static void on_check(uv_check_t *check) {
    struct loop *loop = check->data;
    if (loop->clock_is_stale) {
        wake(loop);
    } else {
        read_clock(loop);
    }
}

enum rc loop_init(struct loop *loop, const struct clock *clock) {
    if (uv_loop_init(&loop->uv) != 0) {
        return RC_IO;
    }
    /* Writing to a socket whose peer is gone is an error code, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    loop->clock = clock;
    loop->read_buffer = NULL;
    loop->hooks_due = false;
    loop->unsent_bytes = 0;
    loop->metrics = NULL;
    loop->woke_ns = 0;
    list_init(&loop->tasks);
    list_init(&loop->hooks);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->prepare.data = loop;
    loop->check.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    read_clock(loop);
    return RC_OK;
}

void loop_run(struct loop *loop) {
    wake(loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop) {
    uv_stop(&loop->uv);
}

enum rc loop_fini(struct loop *loop) {
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    /* The first run ends at once where a loop_stop was left over. */
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    mem_free(loop->read_buffer);
    loop->read_buffer = NULL;
    return uv_loop_close(&loop->uv) == 0 ? RC_OK : RC_IO;
}

int64_t loop_now_ms(struct loop *loop) {
    if (loop->clock_is_stale) {
        wake(loop);
    }
    return loop->mono_ms;
}

int64_t loop_wall_ms(struct loop *loop) {
    if (loop->clock_is_stale) {
        wake(loop);
    }
    return loop->wall_ms;
}

int64_t loop_turn_ns(struct loop *loop) {
    if (loop->clock_is_stale) {
        wake(loop);
    }
    return loop->turn_ns;
}

int64_t loop_timer_now_ms(const struct loop *loop) {
    return (int64_t)uv_now(&loop->uv);
}

void loop_later(struct loop *loop, struct loop_task *task, void (*run)(struct loop_task *task)) {
    assert(!list_is_linked(&task->node));
    task->run = run;
    list_append(&loop->tasks, &task->node);
    uv_idle_start(&loop->idle, on_idle);
}

void loop_task_drop(struct loop_task *task) {
    if (list_is_linked(&task->node)) {
        list_remove(&task->node);
    }
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook, void (*run)(struct loop_hook *hook)) {
    hook->run = run;
    list_append(&loop->hooks, &hook->node);
}

void loop_hook_remove(struct loop_hook *hook) {
    if (list_is_linked(&hook->node)) {
        list_remove(&hook->node);
    }
}

void loop_hooks_due(struct loop *loop) {
    loop->hooks_due = true;
    uv_idle_start(&loop->idle, on_idle);
}

static void on_timer(uv_timer_t *uv) {
    struct loop_timer *timer = uv->data;
    timer->fire(timer);
}

static void on_timer_closed(uv_handle_t *uv) {
    struct loop_timer *timer = uv->data;
    if (timer->closed != NULL) {
        timer->closed(timer);
    }
}

void loop_timer_init(struct loop *loop, struct loop_timer *timer) {
    uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
}

void loop_timer_start(struct loop_timer *timer, int64_t after_ms, int64_t repeat_ms,
                      void (*fire)(struct loop_timer *timer)) {
    timer->fire = fire;
    /* libuv counts from the turn's beginning, which may be long ago: a deadline would come early.
     */
    uv_update_time(timer->uv.loop);
    uv_timer_start(&timer->uv, on_timer, after_ms > 0 ? (uint64_t)after_ms : 0,
                   (uint64_t)repeat_ms);
}

void loop_timer_stop(struct loop_timer *timer) {
    uv_timer_stop(&timer->uv);
}

void loop_timer_unref(struct loop_timer *timer) {
    uv_unref((uv_handle_t *)&timer->uv);
}

void loop_timer_close(struct loop_timer *timer, void (*closed)(struct loop_timer *timer)) {
    timer->closed = closed;
    uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}
