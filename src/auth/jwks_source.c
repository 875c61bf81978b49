// SPDX-License-Identifier: MIT
#include "auth/jwks_source.h"

#include "base/mem.h"
#include "crypto/rng.h"

enum { TICK_MS = 50, TIMERS = 2, STATUS_OK = 200 };

const struct jwks_source_times jwks_source_usual = {
    .refresh_ms = 10 * 60 * 1000,
    .retry_min_ms = 1000,
    .retry_max_ms = 30 * 1000,
    .asked_ms = 30 * 1000,
    .timeout_ms = 5000,
};

/* Counted, as it is replaced while the lane verifies with it. */
struct jwks_source_set {
    struct jwks *keys;
    size_t users; /* the source is one */
};

enum fetch { FETCH_NONE, FETCH_SENT, FETCH_READ };

struct jwks_source {
    struct jwks_source_opts opts;
    char *url;
    struct jwks_source_set *set; /* NULL: none yet */
    uint64_t random;             /* for the spread */

    enum fetch fetch;
    struct upstream_op call;
    struct work_op work;
    struct buf body;
    struct jwks *read; /* by the lane */
    enum rc read_rc;
    int64_t asked_ms; /* loop_now_ms of the last fetch that was asked for */
    bool was_asked;
    int64_t retry_ms; /* the next one's wait */

    /* what the log was told last */
    bool is_failing;
    enum rc failure;
    int failure_status;

    struct loop_timer next; /* fetch */
    struct loop_timer tick; /* looks for waits past their deadline, while there are waits */
    bool is_ticking;
    struct list waiting; /* jwks_wait: for the fetch that is under way */
    struct list over;    /* jwks_wait: told by over_task */
    struct loop_task over_task;

    bool is_closing;
    int timers_open;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* --- sets --------------------------------------------------------------------------------------
 */

const struct jwks *jwks_source_keys(const struct jwks_source *source) {
    return source->set != NULL ? source->set->keys : NULL;
}

const struct jwks *jwks_source_set_keys(const struct jwks_source_set *set) {
    return set->keys;
}

struct jwks_source_set *jwks_source_hold(struct jwks_source *source) {
    if (source->set != NULL) {
        source->set->users++;
    }
    return source->set;
}

static void drop(struct jwks_source_set *set) {
    if (set != NULL && --set->users == 0) {
        jwks_free(set->keys);
        mem_free(set);
    }
}

void jwks_source_give_back(struct jwks_source_set *set) {
    drop(set);
}

/* --- waits ------------------------------------------------------------------------------------ */

static void tell_all(struct list *waits) {
    struct list due;
    list_init(&due);
    list_move_all(&due, waits);
    for (struct list *node = list_take_first(&due); node != NULL; node = list_take_first(&due)) {
        struct jwks_wait *wait = LIST_ENTRY(node, struct jwks_wait, node);
        wait->done(wait);
    }
}

static void on_over(struct loop_task *task) {
    tell_all(&LIST_ENTRY(task, struct jwks_source, over_task)->over);
}

static void put_over(struct jwks_source *source, struct jwks_wait *wait) {
    list_append(&source->over, &wait->node);
    if (!list_is_linked(&source->over_task.node)) {
        loop_later(source->opts.loop, &source->over_task, on_over);
    }
}

static void stop_ticking(struct jwks_source *source) {
    if (source->is_ticking && list_is_empty(&source->waiting)) {
        source->is_ticking = false;
        loop_timer_stop(&source->tick);
    }
}

static void on_tick(struct loop_timer *timer) {
    struct jwks_source *source = LIST_ENTRY(timer, struct jwks_source, tick);
    int64_t now_ms = loop_now_ms(source->opts.loop);
    struct list *next;
    for (struct list *node = source->waiting.next; node != &source->waiting; node = next) {
        struct jwks_wait *wait = LIST_ENTRY(node, struct jwks_wait, node);
        next = node->next;
        if (now_ms >= wait->deadline_ms) {
            list_remove(node);
            put_over(source, wait);
        }
    }
    stop_ticking(source);
}

void jwks_source_wait(struct jwks_source *source, struct jwks_wait *wait, int64_t deadline_ms,
                      void (*done)(struct jwks_wait *wait)) {
    int64_t latest_ms = loop_now_ms(source->opts.loop) + source->opts.times.timeout_ms;
    *wait = (struct jwks_wait){
        .done = done,
        .source = source,
        .deadline_ms = deadline_ms < latest_ms ? deadline_ms : latest_ms,
    };
    jwks_source_ask(source);
    if (source->fetch == FETCH_NONE) {
        put_over(source, wait);
        return;
    }
    list_append(&source->waiting, &wait->node);
    if (!source->is_ticking) {
        source->is_ticking = true;
        loop_timer_start(&source->tick, TICK_MS, TICK_MS, on_tick);
    }
}

/* In which of the lists it is doesn't matter: it is in `over` afterwards. */
void jwks_source_cancel(struct jwks_wait *wait) {
    struct jwks_source *source = wait->source;
    if (list_is_linked(&wait->node)) {
        list_remove(&wait->node);
        put_over(source, wait);
        stop_ticking(source);
    }
}

/* --- fetching --------------------------------------------------------------------------------- */

static void end_when_idle(struct jwks_source *source);

/* A tenth more or less, so that processes that start together don't stay together. */
static int64_t spread(struct jwks_source *source, int64_t ms) {
    source->random = source->random * 6364136223846793005U + 1442695040888963407U;
    int64_t tenth = ms / 10;
    return ms - tenth + (int64_t)((source->random >> 33) % (uint64_t)(2 * tenth + 1));
}

static void start_fetch(struct jwks_source *source);

static void on_next(struct loop_timer *timer) {
    struct jwks_source *source = LIST_ENTRY(timer, struct jwks_source, next);
    if (source->fetch == FETCH_NONE) {
        start_fetch(source);
    }
}

static void end_fetch(struct jwks_source *source, int64_t next_ms) {
    source->fetch = FETCH_NONE;
    if (!source->is_closing) {
        loop_timer_start(&source->next, spread(source, next_ms), 0, on_next);
    }
    tell_all(&source->waiting);
    stop_ticking(source);
    end_when_idle(source);
}

/* One line a change: an endpoint that stays down is told of once. */
static void log_failure(struct jwks_source *source, enum rc rc, int status) {
    if (source->is_failing && source->failure == rc && source->failure_status == status) {
        return;
    }
    source->is_failing = true;
    source->failure = rc;
    source->failure_status = status;
    LOG(source->opts.log, LOG_WARNING, "jwks_failed", SLICE_NULL,
        log_text("error_code", slice_str(rc_name(rc))), log_int("status", status),
        log_int("keys_kept", source->set != NULL ? (int64_t)jwks_count(source->set->keys) : 0));
}

static void fail(struct jwks_source *source, enum rc rc, int status) {
    const struct jwks_source_times *times = &source->opts.times;
    int64_t wait_ms = source->retry_ms;
    if (!source->is_closing) {
        metrics_add(source->opts.metrics, METRIC_JWKS_FETCHES_FAILED, 1);
        log_failure(source, rc, status);
    }
    source->retry_ms = wait_ms * 2 < times->retry_max_ms ? wait_ms * 2 : times->retry_max_ms;
    end_fetch(source, wait_ms);
}

static bool holds_all(const struct jwks *set, const struct jwks *keys) {
    for (int alg = 0; alg < JWKS_ALG_COUNT; alg++) {
        const struct jwks_key *key = jwks_next(keys, NULL, (enum jwks_alg)alg, SLICE_NULL);
        for (; key != NULL; key = jwks_next(keys, key, (enum jwks_alg)alg, SLICE_NULL)) {
            if (!jwks_has(set, jwks_key_print(key))) {
                return false;
            }
        }
    }
    return true;
}

static bool is_new(const struct jwks_source *source, const struct jwks *keys) {
    const struct jwks *before = jwks_source_keys(source);
    return before == NULL || !holds_all(before, keys) || !holds_all(keys, before);
}

/* A set without a key that we can use is taken as it is: so a platform withdraws them all. */
static void adopt(struct jwks_source *source, struct jwks *keys) {
    if (source->is_failing || is_new(source, keys)) {
        LOG(source->opts.log, jwks_count(keys) > 0 ? LOG_INFO : LOG_WARNING, "jwks_fetched",
            SLICE_NULL, log_int("keys", (int64_t)jwks_count(keys)),
            log_int("skipped", (int64_t)jwks_skipped(keys)));
    }
    drop(source->set);
    source->set = mem_alloc(sizeof *source->set);
    *source->set = (struct jwks_source_set){.keys = keys, .users = 1};
    source->is_failing = false;
    source->retry_ms = source->opts.times.retry_min_ms;
    metrics_add(source->opts.metrics, METRIC_JWKS_FETCHES_OK, 1);
    metrics_set(source->opts.metrics, METRIC_JWKS_KEYS, (int64_t)jwks_count(keys));
    end_fetch(source, source->opts.times.refresh_ms);
}

/* On a thread of the lane: 256 KiB of JSON and 64 points of a curve are milliseconds. */
static void run_read(struct work_op *op) {
    struct jwks_source *source = LIST_ENTRY(op, struct jwks_source, work);
    source->read_rc = jwks_parse(buf_slice(&source->body), &source->read);
}

static void on_read(struct work_op *op, enum rc rc) {
    struct jwks_source *source = LIST_ENTRY(op, struct jwks_source, work);
    buf_fini(&source->body);
    rc = rc == RC_OK ? source->read_rc : rc;
    if (rc == RC_OK) {
        adopt(source, source->read);
    } else {
        fail(source, rc, STATUS_OK);
    }
}

static void on_fetched(struct upstream_op *op) {
    struct jwks_source *source = LIST_ENTRY(op, struct jwks_source, call);
    if (op->rc != RC_OK || op->status != STATUS_OK) {
        fail(source, op->rc, op->status);
        return;
    }
    source->body = upstream_take_body(op);
    source->fetch = FETCH_READ;
    source->read = NULL;
    work_submit(source->opts.work, &source->work, run_read, on_read);
}

static void start_fetch(struct jwks_source *source) {
    static const struct upstream_header headers[] = {
        {"Accept", {"application/jwk-set+json, application/json", 42}},
    };
    const struct upstream_request request = {
        .method = "GET",
        .url = slice_str(source->url),
        .headers = headers,
        .header_count = sizeof headers / sizeof headers[0],
        .timeout_ms = source->opts.times.timeout_ms,
        .answer_max = LIMIT_JWKS_BYTES,
    };
    loop_timer_stop(&source->next);
    source->fetch = FETCH_SENT;
    upstream_start(source->opts.upstream, &source->call, &request, on_fetched);
}

void jwks_source_ask(struct jwks_source *source) {
    int64_t now_ms = loop_now_ms(source->opts.loop);
    bool is_soon = source->was_asked && now_ms - source->asked_ms < source->opts.times.asked_ms;
    if (source->is_closing || source->fetch != FETCH_NONE || is_soon) {
        return;
    }
    source->was_asked = true;
    source->asked_ms = now_ms;
    start_fetch(source);
}

/* --- opening and closing ---------------------------------------------------------------------- */

struct jwks_source *jwks_source_new(const struct jwks_source_opts *opts) {
    struct jwks_source *source = mem_calloc(1, sizeof *source);
    source->opts = *opts;
    if (rng_system(&source->random, sizeof source->random) != RC_OK) {
        mem_free(source);
        return NULL;
    }
    source->url = mem_strdup(opts->url);
    source->retry_ms = opts->times.retry_min_ms;
    list_init(&source->waiting);
    list_init(&source->over);
    loop_timer_init(opts->loop, &source->next);
    loop_timer_init(opts->loop, &source->tick);
    source->timers_open = TIMERS;
    loop_timer_unref(&source->next);
    start_fetch(source);
    return source;
}

static void end(struct jwks_source *source) {
    void (*closed)(void *owner) = source->closed;
    void *owner = source->closed_owner;
    drop(source->set);
    mem_free(source->url);
    mem_free(source);
    closed(owner);
}

static void on_next_closed(struct loop_timer *timer) {
    struct jwks_source *source = LIST_ENTRY(timer, struct jwks_source, next);
    source->timers_open--;
    end_when_idle(source);
}

static void on_tick_closed(struct loop_timer *timer) {
    struct jwks_source *source = LIST_ENTRY(timer, struct jwks_source, tick);
    source->timers_open--;
    end_when_idle(source);
}

static void end_when_idle(struct jwks_source *source) {
    if (source->timers_open == 0 && source->fetch == FETCH_NONE) {
        loop_task_drop(&source->over_task);
        tell_all(&source->over);
        end(source);
    }
}

void jwks_source_close(struct jwks_source *source, void (*closed)(void *owner), void *owner) {
    source->is_closing = true;
    source->closed = closed;
    source->closed_owner = owner;
    if (source->fetch == FETCH_SENT) {
        upstream_cancel(source->opts.upstream, &source->call);
    }
    loop_timer_close(&source->next, on_next_closed);
    loop_timer_close(&source->tick, on_tick_closed);
}
