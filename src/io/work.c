// SPDX-License-Identifier: MIT
#include "io/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/mem.h"

/* What both lanes have in common: who is let in, how many are inside, and the end. Loop thread
 * only. */
struct gate {
    struct loop *loop;
    size_t depth; /* let in, `done` not called yet */
    size_t depth_max;
    struct metrics *metrics; /* NULL: not counted */
    enum metrics_lane lane;
    struct list refused;   /* told by `task` */
    struct loop_task task; /* also ends the lane, once closing and empty */
    bool is_closing;
    void (*emptied)(struct gate *gate);
    void (*closed)(void *owner);
    void *closed_owner;
};

static void gate_init(struct gate *gate, struct loop *loop, size_t depth_max,
                      void (*emptied)(struct gate *gate)) {
    *gate = (struct gate){.loop = loop, .depth_max = depth_max, .emptied = emptied};
    list_init(&gate->refused);
}

static void gate_count(struct gate *gate, enum metrics_lane lane) {
    gate->lane = lane;
    gate->metrics = lane != METRICS_LANE_NONE ? gate->loop->metrics : NULL;
}

static void gate_shift(struct gate *gate, bool is_in) {
    int cell = METRIC_LANE_DEPTH_FAST + (int)gate->lane - METRICS_LANE_FAST;
    gate->depth = is_in ? gate->depth + 1 : gate->depth - 1;
    if (gate->metrics != NULL) {
        metrics_add_to(gate->metrics, cell, is_in ? 1 : -1);
    }
}

/* Any thread. */
static void gate_waited(const struct gate *gate, const struct work_op *op, int64_t now_ns) {
    int histogram = METRICS_LANE_WAIT_FAST + (int)gate->lane - METRICS_LANE_FAST;
    if (gate->metrics != NULL) {
        metrics_observe(gate->metrics, (enum metrics_histogram)histogram,
                        now_ns - op->submitted_ns);
    }
}

static void tell_refused(struct gate *gate) {
    struct list due;
    list_init(&due);
    list_move_all(&due, &gate->refused);
    for (struct list *node = list_take_first(&due); node != NULL; node = list_take_first(&due)) {
        struct work_op *op = LIST_ENTRY(node, struct work_op, node);
        op->done(op, op->rc);
    }
}

static void run_gate_task(struct loop_task *task) {
    struct gate *gate = LIST_ENTRY(task, struct gate, task);
    tell_refused(gate);
    if (gate->is_closing && gate->depth == 0 && list_is_empty(&gate->refused)) {
        gate->emptied(gate);
    }
}

static void gate_later(struct gate *gate) {
    if (!list_is_linked(&gate->task.node)) {
        loop_later(gate->loop, &gate->task, run_gate_task);
    }
}

static bool gate_admit(struct gate *gate, struct work_op *op) {
    if (!gate->is_closing && gate->depth < gate->depth_max) {
        op->submitted_ns = loop_turn_ns(gate->loop);
        gate_shift(gate, true);
        return true;
    }
    op->rc = gate->is_closing ? RC_CANCELED : RC_FULL;
    list_append(&gate->refused, &op->node);
    gate_later(gate);
    return false;
}

/* Tells each op how it went, in order. Must be the caller's last look at the lane's ops: `done` may
 * submit again. */
static void gate_leave(struct gate *gate, struct list *ops) {
    for (struct list *node = list_take_first(ops); node != NULL; node = list_take_first(ops)) {
        struct work_op *op = LIST_ENTRY(node, struct work_op, node);
        gate_shift(gate, false);
        op->done(op, op->rc);
    }
    if (gate->is_closing && gate->depth == 0) {
        gate_later(gate);
    }
}

static void gate_close(struct gate *gate, void (*closed)(void *owner), void *owner) {
    gate->is_closing = true;
    gate->closed = closed;
    gate->closed_owner = owner;
    if (gate->depth == 0) {
        gate_later(gate);
    }
}

static void op_prepare(struct work_op *op, void (*run)(struct work_op *op),
                       void (*done)(struct work_op *op, enum rc rc)) {
    op->run = run;
    op->done = done;
    op->rc = RC_OK;
}

/* --- FAST ------------------------------------------------------------------------------------- */

enum {
    /* Fewer are not worth a second thread: waking one costs as much as some of them. */
    CHUNK_MIN = 8,
    POOL_THREADS = 4, /* libuv's default */
    POOL_THREADS_MAX = 1024,
};

struct handoff {
    uv_work_t uv;
    struct work *work;
    struct list ops;
    bool is_open;
};

struct work {
    struct gate gate;
    struct loop_hook hook;
    struct list pending;
    size_t pending_count;
    /* As many as the pool has threads. More would only wait in the pool's own queue, where nothing
       can be added to them; what waits here goes with the next hand-off, as large as it has grown.
     */
    size_t handoff_count;
    size_t handoffs_open;
    struct handoff handoffs[];
};

static void run_handoff(uv_work_t *uv) {
    struct handoff *handoff = uv->data;
    for (struct list *node = handoff->ops.next; node != &handoff->ops; node = node->next) {
        struct work_op *op = LIST_ENTRY(node, struct work_op, node);
        gate_waited(&handoff->work->gate, op, clock_ns());
        op->run(op);
    }
}

static void close_handoff(struct handoff *handoff) {
    struct work *work = handoff->work;
    struct list ops;
    list_init(&ops);
    list_move_all(&ops, &handoff->ops);
    handoff->is_open = false;
    work->handoffs_open--;
    if (work->pending_count > 0) {
        loop_hooks_due(work->gate.loop);
    }
    gate_leave(&work->gate, &ops);
}

static void on_handoff_done(uv_work_t *uv, int status) {
    (void)status; /* we never cancel one */
    close_handoff(uv->data);
}

static struct handoff *free_handoff(struct work *work) {
    size_t i = 0;
    while (work->handoffs[i].is_open) {
        i++;
    }
    return &work->handoffs[i];
}

static void hand_off(struct work *work, size_t n) {
    struct handoff *handoff = free_handoff(work);
    for (size_t i = 0; i < n; i++) {
        list_append(&handoff->ops, list_take_first(&work->pending));
    }
    work->pending_count -= n;
    work->handoffs_open++;
    handoff->is_open = true;
    if (uv_queue_work(&work->gate.loop->uv, &handoff->uv, run_handoff, on_handoff_done) == 0) {
        return;
    }
    for (struct list *node = handoff->ops.next; node != &handoff->ops; node = node->next) {
        LIST_ENTRY(node, struct work_op, node)->rc = RC_FULL;
    }
    close_handoff(handoff);
}

static void gather(struct loop_hook *hook) {
    struct work *work = LIST_ENTRY(hook, struct work, hook);
    size_t idle = work->handoff_count - work->handoffs_open;
    /* Once around only: where a hand-off fails, its ops' owners may submit again and again. */
    for (; idle > 0 && work->pending_count > 0; idle--) {
        size_t share = (work->pending_count + idle - 1) / idle;
        share = share < CHUNK_MIN ? CHUNK_MIN : share;
        hand_off(work, share < work->pending_count ? share : work->pending_count);
    }
}

static void end_work(struct gate *gate) {
    struct work *work = LIST_ENTRY(gate, struct work, gate);
    void (*closed)(void *owner) = gate->closed;
    void *owner = gate->closed_owner;
    loop_hook_remove(&work->hook);
    mem_free(work);
    if (closed != NULL) {
        closed(owner);
    }
}

/* As libuv reads it. */
static size_t pool_threads(void) {
    uint64_t threads = POOL_THREADS;
    const char *text = getenv("UV_THREADPOOL_SIZE");
    if (text != NULL &&
        (!slice_to_u64(slice_str(text), POOL_THREADS_MAX, &threads) || threads == 0)) {
        threads = 1;
    }
    return (size_t)threads;
}

struct work *work_new(struct loop *loop, size_t queue_max) {
    size_t threads = pool_threads();
    struct work *work = mem_calloc(1, sizeof *work + threads * sizeof work->handoffs[0]);
    gate_init(&work->gate, loop, queue_max, end_work);
    gate_count(&work->gate, METRICS_LANE_FAST);
    list_init(&work->pending);
    work->handoff_count = threads;
    for (size_t i = 0; i < threads; i++) {
        work->handoffs[i].work = work;
        work->handoffs[i].uv.data = &work->handoffs[i];
        list_init(&work->handoffs[i].ops);
    }
    loop_hook_add(loop, &work->hook, gather);
    return work;
}

void work_close(struct work *work, void (*closed)(void *owner), void *owner) {
    gate_close(&work->gate, closed, owner);
}

void work_submit(struct work *work, struct work_op *op, void (*run)(struct work_op *op),
                 void (*done)(struct work_op *op, enum rc rc)) {
    op_prepare(op, run, done);
    if (!gate_admit(&work->gate, op)) {
        return;
    }
    list_append(&work->pending, &op->node);
    work->pending_count++;
    if (work->handoffs_open < work->handoff_count) {
        loop_hooks_due(work->gate.loop);
    }
}

size_t work_depth(const struct work *work) {
    return work->gate.depth;
}

/* --- SLOW ------------------------------------------------------------------------------------- */

struct work_lane {
    struct gate gate;
    uv_async_t async;
    size_t batch_max;
    void (*run_batch)(void *owner, struct list *ops);
    void *owner;

    pthread_mutex_t lock; /* of these three */
    struct list queued;
    struct list finished;
    bool is_ending;
    pthread_cond_t wake;

    size_t thread_count;
    pthread_t threads[];
};

static void run_each(void *owner, struct list *ops) {
    (void)owner;
    for (struct list *node = ops->next; node != ops; node = node->next) {
        struct work_op *op = LIST_ENTRY(node, struct work_op, node);
        op->run(op);
    }
}

/* Waits for work. False: the lane ends. */
static bool take_batch(struct work_lane *lane, struct list *batch) {
    pthread_mutex_lock(&lane->lock);
    while (list_is_empty(&lane->queued) && !lane->is_ending) {
        pthread_cond_wait(&lane->wake, &lane->lock);
    }
    for (size_t n = 0; n < lane->batch_max && !list_is_empty(&lane->queued); n++) {
        list_append(batch, list_take_first(&lane->queued));
    }
    pthread_mutex_unlock(&lane->lock);
    return !list_is_empty(batch);
}

static void *run_lane(void *arg) {
    struct work_lane *lane = arg;
    struct list batch;
    list_init(&batch);
    while (take_batch(lane, &batch)) {
        int64_t now_ns = clock_ns();
        for (struct list *node = batch.next; node != &batch; node = node->next) {
            gate_waited(&lane->gate, LIST_ENTRY(node, struct work_op, node), now_ns);
        }
        lane->run_batch(lane->owner, &batch);
        pthread_mutex_lock(&lane->lock);
        list_move_all(&lane->finished, &batch);
        pthread_mutex_unlock(&lane->lock);
        uv_async_send(&lane->async);
    }
    return NULL;
}

/* An idle lane does not keep the loop alive. */
static void hold_loop(struct work_lane *lane) {
    if (lane->gate.depth > 0) {
        uv_ref((uv_handle_t *)&lane->async);
    } else {
        uv_unref((uv_handle_t *)&lane->async);
    }
}

static void on_finished(uv_async_t *async) {
    struct work_lane *lane = async->data;
    struct list ops;
    list_init(&ops);
    pthread_mutex_lock(&lane->lock);
    list_move_all(&ops, &lane->finished);
    pthread_mutex_unlock(&lane->lock);
    gate_leave(&lane->gate, &ops);
    hold_loop(lane);
}

static void end_threads(struct work_lane *lane) {
    pthread_mutex_lock(&lane->lock);
    lane->is_ending = true;
    pthread_cond_broadcast(&lane->wake);
    pthread_mutex_unlock(&lane->lock);
    for (size_t i = 0; i < lane->thread_count; i++) {
        pthread_join(lane->threads[i], NULL);
    }
    pthread_cond_destroy(&lane->wake);
    pthread_mutex_destroy(&lane->lock);
}

static void on_lane_closed(uv_handle_t *async) {
    struct work_lane *lane = async->data;
    void (*closed)(void *owner) = lane->gate.closed;
    void *owner = lane->gate.closed_owner;
    loop_task_drop(&lane->gate.task);
    tell_refused(&lane->gate);
    mem_free(lane);
    if (closed != NULL) {
        closed(owner);
    }
}

/* The threads have nothing to do by now, so that joining them holds the loop for no longer than it
 * takes to wake them; after that none can touch the async handle. */
static void end_lane(struct gate *gate) {
    struct work_lane *lane = LIST_ENTRY(gate, struct work_lane, gate);
    end_threads(lane);
    uv_close((uv_handle_t *)&lane->async, on_lane_closed);
}

/* Signals are the loop thread's: a new thread inherits a mask that blocks them all. */
static bool start_threads(struct work_lane *lane, const struct work_lane_opts *opts) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    while (lane->thread_count < opts->threads && failed == 0) {
        pthread_t *thread = &lane->threads[lane->thread_count];
        failed = pthread_create(thread, NULL, run_lane, lane);
        if (failed == 0) {
            char name[16];
            snprintf(name, sizeof name, "%s", opts->name);
            pthread_setname_np(*thread, name);
            lane->thread_count++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

struct work_lane *work_lane_new(struct loop *loop, const struct work_lane_opts *opts) {
    struct work_lane *lane = mem_calloc(1, sizeof *lane + opts->threads * sizeof lane->threads[0]);
    gate_init(&lane->gate, loop, opts->queue_max, end_lane);
    gate_count(&lane->gate, opts->lane);
    lane->batch_max = opts->batch_max > 0 ? opts->batch_max : SIZE_MAX;
    lane->run_batch = opts->run_batch != NULL ? opts->run_batch : run_each;
    lane->owner = opts->owner;
    list_init(&lane->queued);
    list_init(&lane->finished);
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->wake, NULL);
    if (!start_threads(lane, opts) || uv_async_init(&loop->uv, &lane->async, on_finished) != 0) {
        end_threads(lane);
        mem_free(lane);
        return NULL;
    }
    lane->async.data = lane;
    hold_loop(lane);
    return lane;
}

void work_lane_close(struct work_lane *lane, void (*closed)(void *owner), void *owner) {
    gate_close(&lane->gate, closed, owner);
}

void work_lane_submit(struct work_lane *lane, struct work_op *op, void (*run)(struct work_op *op),
                      void (*done)(struct work_op *op, enum rc rc)) {
    op_prepare(op, run, done);
    if (!gate_admit(&lane->gate, op)) {
        return;
    }
    hold_loop(lane);
    pthread_mutex_lock(&lane->lock);
    list_append(&lane->queued, &op->node);
    pthread_cond_signal(&lane->wake);
    pthread_mutex_unlock(&lane->lock);
}

size_t work_lane_depth(const struct work_lane *lane) {
    return lane->gate.depth;
}
