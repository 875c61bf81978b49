// SPDX-License-Identifier: MIT
#include "io/work.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kit/leaks.h"

enum { OPS = 1000, BATCHES = 16 };

struct job {
    struct work_op op;
    struct bench *bench;
    _Atomic int ran; /* how often */
    int done;
    enum rc rc;
    size_t place; /* in the order of completion */
    pthread_t thread;
    void (*then)(struct job *job);
};

struct bench {
    struct clock clock;
    struct loop loop;
    struct work *work;
    struct work_lane *lane;
    pthread_t loop_thread;
    size_t done;
    int closed;
    size_t done_when_closed;
    sem_t entered; /* posted by run_gate when it runs */
    sem_t gate;    /* lets it go */
    size_t batches[BATCHES];
    size_t batch_count;
    struct job jobs[OPS];
};

static struct bench *bench_new(void) {
    struct bench *bench = mem_calloc(1, sizeof *bench);
    cr_assert_eq(loop_init(&bench->loop, &bench->clock), RC_OK);
    bench->loop_thread = pthread_self();
    sem_init(&bench->entered, 0, 0);
    sem_init(&bench->gate, 0, 0);
    for (size_t i = 0; i < OPS; i++) {
        bench->jobs[i].bench = bench;
    }
    return bench;
}

static void on_closed(void *owner) {
    struct bench *bench = owner;
    bench->closed++;
    bench->done_when_closed = bench->done;
}

/* Closes whichever lane there is. */
static void bench_end(struct bench *bench) {
    if (bench->closed == 0) {
        if (bench->work != NULL) {
            work_close(bench->work, on_closed, bench);
        } else {
            work_lane_close(bench->lane, on_closed, bench);
        }
        cr_assert_eq(bench->closed, 0, "closed was told before the close had returned");
    }
    loop_run(&bench->loop);
    cr_assert_eq(bench->closed, 1);
    cr_assert_eq(loop_fini(&bench->loop), RC_OK);
    mem_free(bench);
    CHECK_LEAKS();
}

static void wait_for(sem_t *sem) {
    while (sem_wait(sem) != 0 && errno == EINTR) {
    }
}

static void run(struct work_op *op) {
    struct job *job = LIST_ENTRY(op, struct job, op);
    job->thread = pthread_self();
    job->ran++;
}

static void run_gate(struct work_op *op) {
    struct job *job = LIST_ENTRY(op, struct job, op);
    run(op);
    sem_post(&job->bench->entered);
    wait_for(&job->bench->gate);
}

static void done(struct work_op *op, enum rc rc) {
    struct job *job = LIST_ENTRY(op, struct job, op);
    cr_assert(pthread_equal(pthread_self(), job->bench->loop_thread));
    job->done++;
    job->rc = rc;
    job->place = job->bench->done++;
    memset(op, 0xA5, sizeof *op); /* it is its owner's again */
    if (job->then != NULL) {
        job->then(job);
    }
}

static void submit(struct bench *bench, size_t i, void (*how)(struct work_op *op)) {
    struct job *job = &bench->jobs[i];
    if (bench->work != NULL) {
        work_submit(bench->work, &job->op, how, done);
    } else {
        work_lane_submit(bench->lane, &job->op, how, done);
    }
    cr_assert_eq(job->done, 0, "done was told inside the submit");
}

static void assert_all_ran(struct bench *bench, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        const struct job *job = &bench->jobs[i];
        cr_assert_eq(job->ran, 1, "job %zu ran %d times", i, job->ran);
        cr_assert_eq(job->done, 1, "job %zu was done %d times", i, job->done);
        cr_assert_eq(job->rc, RC_OK, "job %zu", i);
        cr_assert(!pthread_equal(job->thread, bench->loop_thread), "job %zu ran on the loop", i);
    }
}

/* --- FAST ------------------------------------------------------------------------------------- */

Test(work, every_op_runs_once_off_the_loop) {
    static const size_t counts[] = {1, 2, 7, 8, 9, 31, 32, 33, 100, OPS};
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        struct bench *bench = bench_new();
        bench->work = work_new(&bench->loop, OPS);
        for (size_t i = 0; i < counts[k]; i++) {
            submit(bench, i, run);
        }
        cr_assert_eq(work_depth(bench->work), counts[k]);
        loop_run(&bench->loop);
        assert_all_ran(bench, 0, counts[k]);
        cr_assert_eq(work_depth(bench->work), 0);
        bench_end(bench);
    }
}

/* The hand-offs that libuv knows of. */
static size_t open_handoffs(const struct bench *bench) {
    return bench->loop.uv.active_reqs.count;
}

Test(work, a_turn_is_gathered_into_few_handoffs) {
    static const struct {
        size_t ops, handoffs;
    } cases[] = {{1, 1}, {8, 1}, {9, 2}, {16, 2}, {32, 4}, {33, 4}, {500, 4}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct bench *bench = bench_new();
        bench->work = work_new(&bench->loop, OPS);
        for (size_t i = 0; i < cases[k].ops; i++) {
            submit(bench, i, run_gate);
        }
        cr_assert_eq(open_handoffs(bench), 0, "handed off before the turn was over");
        uv_run(&bench->loop.uv, UV_RUN_NOWAIT);
        cr_assert_eq(open_handoffs(bench), cases[k].handoffs, "%zu ops: %zu", cases[k].ops,
                     open_handoffs(bench));
        for (size_t i = 0; i < cases[k].ops; i++) {
            sem_post(&bench->gate);
        }
        loop_run(&bench->loop);
        assert_all_ran(bench, 0, cases[k].ops);
        bench_end(bench);
    }
}

/* With every thread at work, what comes stays here, where it is gathered. */
Test(work, no_more_handoffs_than_threads) {
    struct bench *bench = bench_new();
    bench->work = work_new(&bench->loop, OPS);
    for (size_t i = 0; i < 20; i++) {
        submit(bench, i, run_gate);
        uv_run(&bench->loop.uv, UV_RUN_NOWAIT);
    }
    cr_assert_eq(open_handoffs(bench), 4);
    cr_assert_eq(work_depth(bench->work), 20);
    for (size_t i = 0; i < 20; i++) {
        sem_post(&bench->gate);
    }
    loop_run(&bench->loop);
    assert_all_ran(bench, 0, 20);
    bench_end(bench);
}

static int64_t waited(const struct metrics *metrics, enum metrics_histogram histogram) {
    int64_t count = 0;
    int first = METRICS_HISTOGRAMS_AT + (int)histogram * METRICS_HISTOGRAM_CELLS;
    for (int i = 0; i <= METRICS_BOUND_COUNT; i++) {
        count += metrics_get(metrics, (enum metric)(first + i));
    }
    return count;
}

Test(work, depth_and_wait_are_counted) {
    static struct metrics metrics;
    struct bench *bench = bench_new();
    bench->loop.metrics = &metrics;
    bench->work = work_new(&bench->loop, 19);
    for (size_t i = 0; i < 20; i++) {
        submit(bench, i, run_gate); /* one too many */
    }
    cr_assert_eq(metrics_get(&metrics, METRIC_LANE_DEPTH_FAST), 19);
    for (size_t i = 0; i < 20; i++) {
        sem_post(&bench->gate);
    }
    loop_run(&bench->loop);
    cr_assert_eq(metrics_get(&metrics, METRIC_LANE_DEPTH_FAST), 0);
    cr_assert_eq(waited(&metrics, METRICS_LANE_WAIT_FAST), 19);
    bench_end(bench);
}

Test(work, pool_size_is_libuvs) {
    static const struct {
        const char *text;
        size_t handoffs;
    } cases[] = {{"2", 2}, {"6", 6}, {"0", 1}, {"x", 1}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        setenv("UV_THREADPOOL_SIZE", cases[k].text, 1);
        struct bench *bench = bench_new();
        bench->work = work_new(&bench->loop, OPS);
        for (size_t i = 0; i < 200; i++) {
            submit(bench, i, run);
        }
        uv_run(&bench->loop.uv, UV_RUN_NOWAIT);
        loop_run(&bench->loop);
        assert_all_ran(bench, 0, 200);
        bench_end(bench);
    }
}

static void submit_next(struct job *job) {
    size_t next = (size_t)(job - job->bench->jobs) + 1;
    if (next < 50) {
        submit(job->bench, next, run);
    }
}

Test(work, done_submits_again) {
    struct bench *bench = bench_new();
    bench->work = work_new(&bench->loop, 1);
    for (size_t i = 0; i < 50; i++) {
        bench->jobs[i].then = submit_next;
    }
    submit(bench, 0, run);
    loop_run(&bench->loop);
    assert_all_ran(bench, 0, 50);
    bench_end(bench);
}

/* --- what both share -------------------------------------------------------------------------- */

static void test_full(struct bench *bench) {
    for (size_t i = 0; i < 5; i++) {
        submit(bench, i, run);
    }
    loop_run(&bench->loop);
    assert_all_ran(bench, 0, 3);
    for (size_t i = 3; i < 5; i++) {
        cr_assert_eq(bench->jobs[i].done, 1);
        cr_assert_eq(bench->jobs[i].rc, RC_FULL);
        cr_assert_eq(bench->jobs[i].ran, 0);
    }
    submit(bench, 5, run);
    loop_run(&bench->loop);
    assert_all_ran(bench, 5, 6);
    bench_end(bench);
}

static void submit_too_late(struct job *job) {
    submit(job->bench, 10, run);
}

static void test_close(struct bench *bench) {
    for (size_t i = 0; i < 10; i++) {
        submit(bench, i, run);
    }
    bench->jobs[9].then = submit_too_late;
    if (bench->work != NULL) {
        work_close(bench->work, on_closed, bench);
    } else {
        work_lane_close(bench->lane, on_closed, bench);
    }
    submit(bench, 11, run);
    loop_run(&bench->loop);
    assert_all_ran(bench, 0, 10);
    for (size_t i = 10; i < 12; i++) {
        cr_assert_eq(bench->jobs[i].done, 1);
        cr_assert_eq(bench->jobs[i].rc, RC_CANCELED);
        cr_assert_eq(bench->jobs[i].ran, 0);
    }
    cr_assert_eq(bench->done_when_closed, 12);
    bench_end(bench);
}

static struct work_lane_opts lane_of(size_t threads, size_t queue_max, size_t batch_max) {
    return (struct work_lane_opts){
        .threads = threads, .queue_max = queue_max, .batch_max = batch_max, .name = "lane"};
}

static void lane_open(struct bench *bench, struct work_lane_opts opts) {
    bench->lane = work_lane_new(&bench->loop, &opts);
    cr_assert_not_null(bench->lane);
}

Test(work, full) {
    struct bench *bench = bench_new();
    bench->work = work_new(&bench->loop, 3);
    test_full(bench);
}

Test(work_lane, full) {
    struct bench *bench = bench_new();
    lane_open(bench, lane_of(1, 3, 0));
    test_full(bench);
}

Test(work, close_finishes_first) {
    struct bench *bench = bench_new();
    bench->work = work_new(&bench->loop, OPS);
    test_close(bench);
}

Test(work_lane, close_finishes_first) {
    struct bench *bench = bench_new();
    lane_open(bench, lane_of(2, OPS, 3));
    test_close(bench);
}

/* --- SLOW ------------------------------------------------------------------------------------- */

Test(work_lane, one_thread_keeps_the_order) {
    struct bench *bench = bench_new();
    lane_open(bench, lane_of(1, OPS, 7));
    for (size_t i = 0; i < OPS; i++) {
        submit(bench, i, run);
    }
    cr_assert_eq(work_lane_depth(bench->lane), OPS);
    loop_run(&bench->loop);
    assert_all_ran(bench, 0, OPS);
    for (size_t i = 0; i < OPS; i++) {
        cr_assert_eq(bench->jobs[i].place, i);
    }
    cr_assert_eq(work_lane_depth(bench->lane), 0);
    bench_end(bench);
}

Test(work_lane, several_threads) {
    struct bench *bench = bench_new();
    lane_open(bench, lane_of(3, OPS, 1));
    for (size_t i = 0; i < 3; i++) {
        submit(bench, i, run_gate);
    }
    /* all three are inside at once, or this waits for ever */
    for (size_t i = 0; i < 3; i++) {
        wait_for(&bench->entered);
    }
    for (size_t i = 0; i < 3; i++) {
        sem_post(&bench->gate);
    }
    for (size_t i = 3; i < OPS; i++) {
        submit(bench, i, run);
    }
    loop_run(&bench->loop);
    assert_all_ran(bench, 0, OPS);
    bench_end(bench);
}

static void count_batch(void *owner, struct list *ops) {
    struct bench *bench = owner;
    size_t n = 0;
    for (struct list *node = ops->next; node != ops; node = node->next) {
        struct work_op *op = LIST_ENTRY(node, struct work_op, node);
        op->run(op);
        n++;
    }
    bench->batches[bench->batch_count++] = n;
}

/* What came while a batch ran is the next batch: SQLite's group commit. */
Test(work_lane, queue_is_taken_whole) {
    static const struct {
        size_t batch_max, batches[5];
    } cases[] = {{0, {1, 10}}, {100, {1, 10}}, {4, {1, 4, 4, 2}}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct bench *bench = bench_new();
        struct work_lane_opts opts = lane_of(1, OPS, cases[k].batch_max);
        opts.run_batch = count_batch;
        opts.owner = bench;
        lane_open(bench, opts);
        submit(bench, 0, run_gate);
        wait_for(&bench->entered);
        for (size_t i = 1; i <= 10; i++) {
            submit(bench, i, run);
        }
        sem_post(&bench->gate);
        loop_run(&bench->loop);
        assert_all_ran(bench, 0, 11);
        cr_assert_arr_eq(bench->batches, cases[k].batches, sizeof cases[k].batches, "case %zu", k);
        bench_end(bench);
    }
}

static char thread_name[16];
static sigset_t thread_mask;

static void run_and_look(struct work_op *op) {
    run(op);
    pthread_getname_np(pthread_self(), thread_name, sizeof thread_name);
    pthread_sigmask(SIG_BLOCK, NULL, &thread_mask);
}

Test(work_lane, threads_have_a_name_and_no_signals) {
    struct bench *bench = bench_new();
    struct work_lane_opts opts = lane_of(1, OPS, 0);
    opts.name = "a-name-that-is-too-long";
    sigset_t mine;
    lane_open(bench, opts);
    submit(bench, 0, run_and_look);
    loop_run(&bench->loop);
    cr_assert_str_eq(thread_name, "a-name-that-is-");
    cr_assert(sigismember(&thread_mask, SIGTERM) && sigismember(&thread_mask, SIGHUP));
    pthread_sigmask(SIG_BLOCK, NULL, &mine);
    cr_assert(!sigismember(&mine, SIGTERM), "the loop's own thread was not to be changed");
    bench_end(bench);
}

Test(work_lane, idle_lane_does_not_keep_the_loop) {
    struct bench *bench = bench_new();
    lane_open(bench, lane_of(2, OPS, 0));
    loop_run(&bench->loop);
    submit(bench, 0, run);
    loop_run(&bench->loop);
    assert_all_ran(bench, 0, 1);
    loop_run(&bench->loop);
    bench_end(bench);
}

Test(work_lane, depth_and_wait_are_counted) {
    static struct metrics metrics;
    static const struct {
        enum metrics_lane lane;
        int64_t depth, read, write;
    } cases[] = {{METRICS_LANE_STORE_READ, 5, 5, 0},
                 {METRICS_LANE_NONE, 0, 5, 0},
                 {METRICS_LANE_STORE_WRITE, 0, 5, 5}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct bench *bench = bench_new();
        bench->loop.metrics = &metrics;
        bench->lane = work_lane_new(
            &bench->loop, &(const struct work_lane_opts){
                              .threads = 1, .queue_max = OPS, .name = "t", .lane = cases[k].lane});
        for (size_t i = 0; i < 5; i++) {
            submit(bench, i, run);
        }
        cr_assert_eq(metrics_get(&metrics, METRIC_LANE_DEPTH_STORE_READ), cases[k].depth);
        loop_run(&bench->loop);
        cr_assert_eq(metrics_get(&metrics, METRIC_LANE_DEPTH_STORE_READ), 0);
        cr_assert_eq(waited(&metrics, METRICS_LANE_WAIT_STORE_READ), cases[k].read, "%zu", k);
        cr_assert_eq(waited(&metrics, METRICS_LANE_WAIT_STORE_WRITE), cases[k].write, "%zu", k);
        cr_assert_eq(waited(&metrics, METRICS_LANE_WAIT_FAST), 0);
        bench_end(bench);
    }
}
