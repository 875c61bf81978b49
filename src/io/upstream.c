// SPDX-License-Identifier: MIT
#include "io/upstream.h"

#include <assert.h>
#include <curl/curl.h>

#include "base/mem.h"
#include "io/upstream_copy.h"
#include "io/upstream_easy.h"
#include "io/upstream_multi.h"
#include "io/upstream_warm.h"

/* A call from its start until `done` has returned. Its slot is used again. */
struct upstream_call {
    struct list node; /* in queued, active or spare */
    struct upstream *upstream;
    struct upstream_op *op;
    struct loop_timer deadline;
    struct upstream_easy easy; /* with a handle while active */
    size_t answer_max;
    uint64_t started_ns;
    bool is_active;
    bool is_over; /* its op is in `over`, with the result */
    bool is_stuck;
};

struct upstream {
    struct loop *loop;
    struct upstream_opts opts; /* strings of our own */
    struct upstream_multi multi;

    /* A call is in one of these; libcurl knows the active ones only, as it counts time from when
       it is told. Something is queued only while connections_max are active. */
    struct list queued;
    struct list active;
    size_t queued_count;
    size_t active_count;
    struct list over; /* upstream_op: the result is there, `done` is not told yet */
    size_t untold;    /* ops started and not told */
    struct loop_task tell_task;
    struct loop_task stuck_task;

    struct list spare; /* upstream_call */
    size_t spare_count;
    size_t call_count; /* slots, whose timers are open */
    CURL **handles;    /* reset ones, at most connections_max */
    size_t handle_count;

    bool is_closing;
    bool is_ending; /* all are told, handles close */
    void (*closed)(void *owner);
    void *owner;
};

/* --- slots and handles ------------------------------------------------------------------------ */

static void on_slot_closed(struct loop_timer *timer);

static struct upstream_call *take_slot(struct upstream *upstream) {
    struct list *node = list_take_first(&upstream->spare);
    struct upstream_call *call;
    if (node != NULL) {
        upstream->spare_count--;
        call = LIST_ENTRY(node, struct upstream_call, node);
    } else {
        call = mem_calloc(1, sizeof *call);
        upstream->call_count++;
        call->upstream = upstream;
        loop_timer_init(upstream->loop, &call->deadline);
    }
    call->is_active = false;
    call->is_over = false;
    call->is_stuck = false;
    return call;
}

static void give_slot(struct upstream *upstream, struct upstream_call *call) {
    buf_fini(&call->easy.body);
    if (upstream->spare_count < upstream->opts.connections_max) {
        list_append(&upstream->spare, &call->node);
        upstream->spare_count++;
    } else {
        loop_timer_close(&call->deadline, on_slot_closed);
    }
}

static CURL *take_handle(struct upstream *upstream) {
    if (upstream->handle_count > 0) {
        return upstream->handles[--upstream->handle_count];
    }
    return curl_easy_init();
}

static void give_handle(struct upstream *upstream, CURL *curl, bool is_sound) {
    if (is_sound && upstream->handle_count < upstream->opts.connections_max) {
        curl_easy_reset(curl);
        upstream->handles[upstream->handle_count++] = curl;
    } else {
        curl_easy_cleanup(curl);
    }
}

/* --- a call's way ----------------------------------------------------------------------------- */

/* libcurl's cap counts the connections that are in use too, so that a fixed one would close, under
 * load, each connection that comes back. */
static void set_keepalive(struct upstream *upstream) {
    size_t most = upstream->opts.keepalive_max + upstream->active_count;
    curl_multi_setopt(upstream->multi.curl, CURLMOPT_MAXCONNECTS, (long)(most > 1 ? most - 1 : 1));
}

static void tell_later(struct upstream *upstream);

static void put_over(struct upstream *upstream, struct upstream_op *op, enum rc rc) {
    op->rc = rc;
    list_append(&upstream->over, &op->node);
}

/* Queued or active no more; the op gets its result. */
static void end_call(struct upstream_call *call, enum rc rc) {
    struct upstream *upstream = call->upstream;
    struct upstream_op *op = call->op;
    list_remove(&call->node);
    loop_timer_stop(&call->deadline);
    if (call->is_active) {
        upstream->active_count--;
        call->is_active = false;
        set_keepalive(upstream);
    } else {
        upstream->queued_count--;
    }
    if (call->easy.curl != NULL) {
        give_handle(upstream, call->easy.curl,
                    upstream_multi_remove(&upstream->multi, call->easy.curl));
        call->easy.curl = NULL;
    }
    upstream_copy_wipe(&call->easy.request);
    if (rc == RC_OK) {
        op->body = call->easy.body;
        op->retry_after_s = call->easy.retry_after_s;
    } else {
        buf_fini(&call->easy.body);
        op->status = 0;
    }
    op->duration_ms = (int64_t)((uv_hrtime() - call->started_ns) / 1000000);
    call->is_over = true;
    put_over(upstream, op, rc);
}

static void activate(struct upstream_call *call) {
    struct upstream *upstream = call->upstream;
    list_remove(&call->node);
    upstream->queued_count--;
    list_append(&upstream->active, &call->node);
    upstream->active_count++;
    call->is_active = true;
    set_keepalive(upstream);
    call->easy.sent = &call->op->sent;
    call->easy.curl = take_handle(upstream);
    if (call->easy.curl == NULL ||
        !upstream_easy_prepare(&call->easy, &upstream->opts, call->answer_max) ||
        !upstream_multi_add(&upstream->multi, call->easy.curl)) {
        end_call(call, RC_UNREACHABLE);
        tell_later(upstream);
    }
}

static void start_queued(struct upstream *upstream) {
    while (!upstream->is_closing && upstream->queued_count > 0 &&
           upstream->active_count < upstream->opts.connections_max) {
        activate(LIST_ENTRY(upstream->queued.next, struct upstream_call, node));
    }
}

static void finish(struct upstream_call *call, enum rc rc) {
    end_call(call, rc);
    start_queued(call->upstream);
}

/* --- telling ---------------------------------------------------------------------------------- */

static void end_if_empty(struct upstream *upstream);

/* Not while libcurl or a caller of ours is on the stack. What `done` brings about, a refused start
 * say, is told on a later turn. */
static void tell(struct upstream *upstream) {
    struct list due;
    list_init(&due);
    list_move_all(&due, &upstream->over);
    for (struct list *node = list_take_first(&due); node != NULL; node = list_take_first(&due)) {
        struct upstream_op *op = LIST_ENTRY(node, struct upstream_op, node);
        struct upstream_call *call = op->call; /* the op may be gone when it is told */
        upstream->untold--;
        op->done(op);
        if (call != NULL) {
            give_slot(upstream, call);
        }
    }
    end_if_empty(upstream);
}

static void run_tell(struct loop_task *task) {
    tell(LIST_ENTRY(task, struct upstream, tell_task));
}

static void tell_later(struct upstream *upstream) {
    if (!list_is_linked(&upstream->tell_task.node)) {
        loop_later(upstream->loop, &upstream->tell_task, run_tell);
    }
}

static void on_deadline(struct loop_timer *timer) {
    struct upstream_call *call = LIST_ENTRY(timer, struct upstream_call, deadline);
    struct upstream *upstream = call->upstream;
    finish(call, RC_TIMEOUT);
    tell(upstream);
}

static struct upstream_call *call_of(CURL *curl) {
    struct upstream_easy *easy = NULL;
    curl_easy_getinfo(curl, CURLINFO_PRIVATE, &easy);
    return easy != NULL ? LIST_ENTRY(easy, struct upstream_call, easy) : NULL;
}

static void on_ended(struct upstream_multi *multi, CURL *curl, CURLcode code) {
    struct upstream_call *call = call_of(curl);
    if (call == NULL) {
        upstream_multi_remove(multi, curl);
        return;
    }
    int status;
    enum rc rc = upstream_easy_result(&call->easy, code, &status);
    call->op->status = status;
    finish(call, rc);
}

static void on_reaped(struct upstream_multi *multi) {
    tell(LIST_ENTRY(multi, struct upstream, multi));
}

static void end_stuck(struct loop_task *task) {
    struct upstream *upstream = LIST_ENTRY(task, struct upstream, stuck_task);
    struct list *node = upstream->active.next;
    while (node != &upstream->active) {
        struct upstream_call *call = LIST_ENTRY(node, struct upstream_call, node);
        node = node->next;
        if (call->is_stuck) {
            end_call(call, RC_UNREACHABLE);
        }
    }
    start_queued(upstream);
    tell(upstream);
}

static void on_stuck(struct upstream_multi *multi, CURL *curl) {
    struct upstream *upstream = LIST_ENTRY(multi, struct upstream, multi);
    struct upstream_call *call = call_of(curl);
    if (call == NULL) {
        return;
    }
    call->is_stuck = true;
    if (!list_is_linked(&upstream->stuck_task.node)) {
        loop_later(upstream->loop, &upstream->stuck_task, end_stuck);
    }
}

/* --- starting --------------------------------------------------------------------------------- */

static int64_t least(int64_t asked_ms, int64_t most_ms) {
    return asked_ms > 0 && asked_ms < most_ms ? asked_ms : most_ms;
}

static enum rc admit(struct upstream *upstream, struct upstream_op *op,
                     const struct upstream_request *request) {
    struct upstream_copy copy;
    if (upstream->is_closing) {
        return RC_CANCELED;
    }
    if (upstream->active_count >= upstream->opts.connections_max &&
        upstream->queued_count >= upstream->opts.queue_max) {
        return RC_FULL;
    }
    enum rc rc = upstream_copy_make(&copy, request);
    if (rc != RC_OK) {
        return rc;
    }
    struct upstream_call *call = take_slot(upstream);
    call->op = op;
    op->call = call;
    call->easy.request = copy;
    call->answer_max = request->answer_max;
    call->started_ns = uv_hrtime();
    list_append(&upstream->queued, &call->node);
    upstream->queued_count++;
    loop_timer_start(&call->deadline, least(request->timeout_ms, upstream->opts.timeout_ms), 0,
                     on_deadline);
    start_queued(upstream);
    return RC_OK;
}

void upstream_start(struct upstream *upstream, struct upstream_op *op,
                    const struct upstream_request *request, void (*done)(struct upstream_op *op)) {
    assert(!upstream->is_ending);
    *op = (struct upstream_op){.done = done, .retry_after_s = -1};
    upstream->untold++;
    enum rc rc = admit(upstream, op, request);
    if (rc != RC_OK) {
        put_over(upstream, op, rc);
        tell_later(upstream);
    }
}

void upstream_cancel(struct upstream *upstream, struct upstream_op *op) {
    if (op->call != NULL && !op->call->is_over) {
        finish(op->call, RC_CANCELED);
        tell_later(upstream);
    }
}

struct buf upstream_take_body(struct upstream_op *op) {
    struct buf body = op->body;
    if (op->call != NULL) {
        op->call->easy.body = (struct buf){0};
    }
    op->body = (struct buf){0};
    return body;
}

size_t upstream_active(const struct upstream *upstream) {
    return upstream->untold;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static char *copy_text(const char *text) {
    return text != NULL ? mem_strdup(slice_str(text)) : NULL;
}

static void free_upstream(struct upstream *upstream) {
    for (size_t i = 0; i < upstream->handle_count; i++) {
        curl_easy_cleanup(upstream->handles[i]);
    }
    mem_free(upstream->handles);
    mem_free((char *)upstream->opts.proxy);
    mem_free((char *)upstream->opts.ca_file);
    mem_free((char *)upstream->opts.user_agent);
    mem_free(upstream);
    curl_global_cleanup();
}

static void end_if_closed(struct upstream *upstream) {
    if (upstream->call_count == 0 && upstream->multi.handles_open == 0) {
        void (*closed)(void *owner) = upstream->closed;
        void *owner = upstream->owner;
        free_upstream(upstream);
        if (closed != NULL) {
            closed(owner);
        }
    }
}

static void on_multi_closed(struct upstream_multi *multi) {
    end_if_closed(LIST_ENTRY(multi, struct upstream, multi));
}

static void on_slot_closed(struct loop_timer *timer) {
    struct upstream_call *call = LIST_ENTRY(timer, struct upstream_call, deadline);
    struct upstream *upstream = call->upstream;
    mem_free(call);
    upstream->call_count--;
    if (upstream->is_ending) {
        end_if_closed(upstream);
    }
}

static void end_if_empty(struct upstream *upstream) {
    if (!upstream->is_closing || upstream->is_ending || upstream->untold > 0) {
        return;
    }
    upstream->is_ending = true;
    loop_task_drop(&upstream->tell_task);
    loop_task_drop(&upstream->stuck_task);
    for (struct list *node = list_take_first(&upstream->spare); node != NULL;
         node = list_take_first(&upstream->spare)) {
        loop_timer_close(&LIST_ENTRY(node, struct upstream_call, node)->deadline, on_slot_closed);
    }
    upstream_multi_close(&upstream->multi, on_multi_closed);
}

void upstream_close(struct upstream *upstream, void (*closed)(void *owner), void *owner) {
    upstream->is_closing = true;
    upstream->closed = closed;
    upstream->owner = owner;
    while (!list_is_empty(&upstream->queued)) {
        end_call(LIST_ENTRY(upstream->queued.next, struct upstream_call, node), RC_CANCELED);
    }
    while (!list_is_empty(&upstream->active)) {
        end_call(LIST_ENTRY(upstream->active.next, struct upstream_call, node), RC_CANCELED);
    }
    tell_later(upstream);
}

/* A bundle that was named must be usable. The system's may be missing, on a machine that calls
 * nothing by https. */
static bool warm(CURLM *curl, const struct upstream_opts *opts, const char **problem) {
    CURLcode code = upstream_warm(curl, opts);
    if (code == CURLE_OK) {
        return true;
    }
    if (opts->ca_file != NULL && code == CURLE_SSL_CACERT_BADFILE) {
        *problem = "the CA file can't be read, or holds no certificate in PEM";
        return false;
    }
    *problem = code == CURLE_SSL_CACERT_BADFILE
                   ? "the system's CA bundle can't be read: install ca-certificates"
                   : "the TLS library could not be started";
    return true;
}

static CURLM *new_multi(const struct upstream_opts *opts, const char **problem) {
    *problem = "libcurl could not be started";
    CURLM *curl = curl_multi_init();
    if (curl == NULL) {
        return NULL;
    }
    if (curl_multi_setopt(curl, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)opts->connections_max) ==
        CURLM_OK) {
        *problem = NULL;
        if (warm(curl, opts, problem)) {
            return curl;
        }
    }
    curl_multi_cleanup(curl);
    return NULL;
}

struct upstream *upstream_new(struct loop *loop, const struct upstream_opts *opts,
                              const char **problem) {
    /* Counted by libcurl: the last cleanup is the real one. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        *problem = "libcurl could not be started";
        return NULL;
    }
    struct upstream *upstream = mem_calloc(1, sizeof *upstream);
    upstream->loop = loop;
    upstream->opts = *opts;
    upstream->opts.proxy = copy_text(opts->proxy);
    upstream->opts.ca_file = copy_text(opts->ca_file);
    upstream->opts.user_agent = copy_text(opts->user_agent);
    upstream->handles = mem_calloc(opts->connections_max, sizeof *upstream->handles);
    list_init(&upstream->queued);
    list_init(&upstream->active);
    list_init(&upstream->over);
    list_init(&upstream->spare);
    CURLM *curl = new_multi(opts, problem);
    if (curl == NULL || !upstream_multi_init(&upstream->multi, loop, curl)) {
        if (curl != NULL) {
            *problem = "libcurl could not be started";
            curl_multi_cleanup(curl);
        }
        free_upstream(upstream);
        return NULL;
    }
    upstream->multi.ended = on_ended;
    upstream->multi.reaped = on_reaped;
    upstream->multi.stuck = on_stuck;
    return upstream;
}
