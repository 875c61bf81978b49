// SPDX-License-Identifier: MIT
#include "app/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "app/backoff.h"
#include "app/process.h"
#include "app/worker_child.h"
#include "app/worker_sockets.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics_group.h"
#include "io/loop.h"

enum { SIGNALS = 3, NAME_BYTES = 16, FILES_BESIDES = 64, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* A worker's place, whoever fills it. */
struct seat {
    struct supervisor *supervisor;
    int number;
    struct worker_child *child; /* NULL: there is none now */
    struct worker_sockets sockets;
    struct backoff backoff;
    struct loop_timer restart;
    int64_t ready_ms;
};

/* The first worker is started alone: what it can't do, none could, and that is said once. */
enum phase { PHASE_FIRST, PHASE_SERVING, PHASE_DRAINING, PHASE_ENDING };

struct supervisor {
    const char *program;
    const char *const *argv;
    char *const *env;
    int log_fd;
    int64_t drain_ms;
    struct log *log;
    struct loop loop;
    bool has_loop;
    struct metrics_group group;
    struct metrics *metrics; /* the parent's own */
    int metrics_fd;
    struct worker_places places;
    uv_signal_t signals[SIGNALS];
    int signals_open;
    struct loop_timer late; /* workers that don't end */
    bool is_late;
    enum phase phase;
    int code;
    size_t count;
    struct seat seats[];
};

static void start_worker(struct seat *seat);

/* ------------------------------------------------------------------------------------ the end */

/* All workers are gone, or none was ever there: closes what keeps the loop alive. */
static void end(struct supervisor *s) {
    s->phase = PHASE_ENDING;
    if (!s->has_loop) {
        return;
    }
    for (int i = 0; i < s->signals_open; i++) {
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    }
    for (size_t i = 0; i < s->count; i++) {
        loop_timer_close(&s->seats[i].restart, NULL);
    }
    loop_timer_close(&s->late, NULL);
}

static size_t count_workers(const struct supervisor *s) {
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        count += s->seats[i].child != NULL ? 1 : 0;
    }
    return count;
}

static void tell_all(struct supervisor *s, enum worker_order order) {
    for (size_t i = 0; i < s->count; i++) {
        if (s->seats[i].child != NULL) {
            worker_child_tell(s->seats[i].child, order);
        }
    }
}

/* A worker that is told to hurry ends at once, if it can. */
static void on_late(struct loop_timer *timer) {
    struct supervisor *s = LIST_ENTRY(timer, struct supervisor, late);
    LOG(s->log, LOG_WARNING, s->is_late ? "workers_killed" : "drain_cut_short", SLICE_NULL,
        log_int("workers", (int64_t)count_workers(s)));
    for (size_t i = 0; i < s->count && s->is_late; i++) {
        if (s->seats[i].child != NULL) {
            worker_child_kill(s->seats[i].child);
        }
    }
    if (!s->is_late) {
        tell_all(s, WORKER_HURRY);
    }
    s->is_late = true;
    loop_timer_start(&s->late, LIMIT_WORKER_LATE_MS, 0, on_late);
}

/* Lets go of the sockets first: from then on each worker is the last who has its own, accepts what
 * has come, and closes it, so that no client waits in a queue that nobody reads. */
static void drain(struct supervisor *s) {
    s->phase = PHASE_DRAINING;
    LOG(s->log, LOG_INFO, "drain_started", SLICE_NULL,
        log_int("workers", (int64_t)count_workers(s)));
    for (size_t i = 0; i < s->count; i++) {
        loop_timer_stop(&s->seats[i].restart);
        worker_sockets_close(&s->seats[i].sockets, &s->places);
    }
    worker_places_close(&s->places);
    tell_all(s, WORKER_DRAIN);
    loop_timer_start(&s->late, s->drain_ms, 0, on_late);
    if (count_workers(s) == 0) {
        end(s);
    }
}

static void on_signal(uv_signal_t *handle, int number) {
    struct supervisor *s = handle->data;
    if (number == SIGHUP) {
        tell_all(s, WORKER_RELOAD);
    } else if (s->phase != PHASE_DRAINING) {
        drain(s);
    } else {
        tell_all(s, WORKER_HURRY);
    }
}

/* ------------------------------------------------------------------------------------ workers */

static int64_t served_ms(const struct seat *seat) {
    return worker_child_is_ready(seat->child)
               ? loop_timer_now_ms(&seat->supervisor->loop) - seat->ready_ms
               : 0;
}

static void on_restart(struct loop_timer *timer) {
    struct seat *seat = LIST_ENTRY(timer, struct seat, restart);
    metrics_add(seat->supervisor->metrics, METRIC_WORKER_RESTARTS, 1);
    start_worker(seat);
}

/* While it pauses, clients shall find the others: what waits in its queue is refused then, and can
 * come again. */
static void restart_later(struct seat *seat, int64_t pause_ms) {
    if (pause_ms >= LIMIT_WORKER_REST_MS) {
        worker_sockets_close(&seat->sockets, &seat->supervisor->places);
    }
    loop_timer_start(&seat->restart, pause_ms, 0, on_restart);
}

static void on_ready(void *owner) {
    struct seat *seat = owner;
    struct supervisor *s = seat->supervisor;
    seat->ready_ms = loop_timer_now_ms(&s->loop);
    LOG(s->log, LOG_INFO, "worker_ready", SLICE_NULL, log_int("number", seat->number),
        log_int("pid", worker_child_pid(seat->child)));
    if (s->phase != PHASE_FIRST) {
        return;
    }
    s->phase = PHASE_SERVING;
    for (size_t i = 0; i < s->count; i++) {
        if (s->seats[i].child == NULL) {
            start_worker(&s->seats[i]);
        }
    }
}

/* One that ends because it was told to says so by itself. */
static void log_ended(const struct seat *seat, int code, int signal, int64_t pause_ms) {
    struct log *log = seat->supervisor->log;
    LOG(log, LOG_ERROR, "worker_ended", SLICE_NULL, log_int("number", seat->number),
        log_int("pid", worker_child_pid(seat->child)), log_int("code", code),
        log_int("signal", signal), log_bool("served", worker_child_is_ready(seat->child)),
        log_int("restart_in_ms", pause_ms));
}

/* A terminal sends the same signals to a worker that isn't ready to leave them to its parent. */
static bool ended_well(const struct seat *seat, int code, int signal) {
    bool is_asked = signal == SIGTERM || signal == SIGINT;
    return code == 0 && (signal == 0 || (is_asked && !worker_child_is_ready(seat->child)));
}

static void on_ended(void *owner, int code, int signal) {
    struct seat *seat = owner;
    struct supervisor *s = seat->supervisor;
    bool is_first = s->phase == PHASE_FIRST;
    metrics_group_forget(metrics_group_slot(&s->group, (size_t)seat->number));
    if (s->phase == PHASE_SERVING) {
        int64_t pause_ms = backoff_next_ms(&seat->backoff, served_ms(seat));
        restart_later(seat, pause_ms);
        log_ended(seat, code, signal, pause_ms);
        seat->child = NULL;
        return;
    }
    if (is_first || !ended_well(seat, code, signal)) {
        log_ended(seat, code, signal, -1);
        s->code = is_first && code == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILED;
    }
    seat->child = NULL;
    if (is_first || count_workers(s) == 0) {
        end(s);
    }
}

static const struct worker_child_events child_events = {.ready = on_ready, .ended = on_ended};

/* NULL, and `seat` has a child; or what is in the way, which is in `problem` or elsewhere. */
static const char *try_start(struct seat *seat, char problem[BIND_PROBLEM_BYTES]) {
    struct supervisor *s = seat->supervisor;
    const char *cause = problem;
    char name[NAME_BYTES];
    if (worker_sockets_open(&seat->sockets, &s->places, problem) != RC_OK) {
        return problem;
    }
    snprintf(name, sizeof name, "%d/%zu", seat->number, s->count);
    seat->child = worker_child_start(&s->loop,
                                     &(const struct worker_child_opts){
                                         .program = s->program,
                                         .argv = s->argv,
                                         .name = name,
                                         .env = s->env,
                                         .output_fd = s->log_fd,
                                         .metrics_fd = s->metrics_fd,
                                         .sockets = seat->sockets.fds,
                                         .socket_count = s->places.count,
                                         .events = &child_events,
                                         .owner = seat,
                                     },
                                     &cause);
    return seat->child != NULL ? NULL : cause;
}

static void start_worker(struct seat *seat) {
    struct supervisor *s = seat->supervisor;
    char problem[BIND_PROBLEM_BYTES];
    const char *cause = try_start(seat, problem);
    if (cause == NULL) {
        return;
    }
    int64_t pause_ms = backoff_next_ms(&seat->backoff, 0);
    LOG(s->log, LOG_ERROR, "worker_not_started", SLICE_NULL, log_int("number", seat->number),
        log_text("cause", slice_str(cause)));
    if (s->phase == PHASE_FIRST) {
        s->code = EXIT_FAILED;
        end(s);
    } else {
        restart_later(seat, pause_ms);
    }
}

/* ------------------------------------------------------------------------------------ the start */

static enum rc open_loop(struct supervisor *s, const struct clock *clock) {
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    if (loop_init(&s->loop, clock) != RC_OK) {
        return RC_IO;
    }
    s->has_loop = true;
    loop_timer_init(&s->loop, &s->late);
    for (size_t i = 0; i < s->count; i++) {
        loop_timer_init(&s->loop, &s->seats[i].restart);
    }
    for (int i = 0; i < SIGNALS; i++) {
        if (uv_signal_init(&s->loop.uv, &s->signals[i]) != 0) {
            return RC_IO;
        }
        s->signals[i].data = s;
        s->signals_open++;
        if (uv_signal_start(&s->signals[i], on_signal, numbers[i]) != 0) {
            return RC_IO;
        }
    }
    return RC_OK;
}

static enum rc open_sockets(struct supervisor *s, const struct supervisor_opts *opts,
                            char problem[BIND_PROBLEM_BYTES]) {
    process_raise_files(s->count * (opts->address_count + 2) + FILES_BESIDES);
    enum rc rc = worker_places_open(&s->places, &s->seats[0].sockets, opts->addresses,
                                    opts->address_count, problem);
    for (size_t i = 1; i < s->count && rc == RC_OK; i++) {
        rc = worker_sockets_open(&s->seats[i].sockets, &s->places, problem);
    }
    return rc;
}

static enum rc open_all(struct supervisor *s, const struct supervisor_opts *opts) {
    char problem[BIND_PROBLEM_BYTES] = "the event loop does not start";
    enum rc rc = open_loop(s, opts->clock);
    if (rc == RC_OK) {
        rc = open_sockets(s, opts, problem);
    }
    if (rc != RC_OK) {
        LOG(s->log, LOG_ERROR, "start_failed", SLICE_NULL, log_text("step", SLICE("supervisor")),
            log_text("cause", slice_str(problem)));
    }
    return rc;
}

/* Runs to the end, and frees all. */
static int run(struct supervisor *s) {
    int code = s->code;
    if (s->has_loop) {
        loop_run(&s->loop);
        code = loop_fini(&s->loop) == RC_OK ? s->code : EXIT_FAILED;
    }
    for (size_t i = 0; i < s->count; i++) {
        worker_sockets_close(&s->seats[i].sockets, &s->places);
    }
    worker_places_close(&s->places);
    worker_places_remove(&s->places);
    LOG(s->log, LOG_INFO, "stopped", SLICE_NULL, log_int("code", code),
        log_int("workers", (int64_t)s->count));
    log_free(s->log);
    close(s->metrics_fd);
    metrics_group_unmap(&s->group);
    mem_free(s);
    return code;
}

static struct supervisor *new_supervisor(const struct supervisor_opts *opts) {
    size_t count = (size_t)opts->workers;
    struct supervisor *s = mem_calloc(1, sizeof *s + count * sizeof s->seats[0]);
    s->program = opts->program;
    s->argv = opts->argv;
    s->env = opts->env;
    s->log_fd = opts->log_fd;
    s->drain_ms = opts->drain_ms;
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        s->seats[i].supervisor = s;
        s->seats[i].number = (int)i + 1;
        worker_sockets_init(&s->seats[i].sockets);
    }
    return s;
}

enum rc supervisor_start(struct supervisor **out, const struct supervisor_opts *opts) {
    struct supervisor *s = new_supervisor(opts);
    *out = NULL;
    if (metrics_group_new(&s->group, s->count + 1, &s->metrics_fd) != RC_OK) {
        mem_free(s);
        return RC_IO;
    }
    s->metrics = metrics_group_slot(&s->group, 0);
    s->log = log_new(opts->log_fd, opts->log_level, opts->clock, s->metrics);
    if (s->log == NULL) {
        metrics_group_unmap(&s->group);
        close(s->metrics_fd);
        mem_free(s);
        return RC_IO;
    }
    log_share(s->log, 0);
    metrics_set(s->metrics, METRIC_PROCESS_START, clock_wall_ms(opts->clock) / 1000);
    notes_log(opts->notes, s->log);
    enum rc rc = open_all(s, opts);
    if (rc != RC_OK) {
        end(s);
        run(s);
        return rc;
    }
    *out = s;
    return RC_OK;
}

int supervisor_run(struct supervisor *supervisor) {
    start_worker(&supervisor->seats[0]);
    return run(supervisor);
}
