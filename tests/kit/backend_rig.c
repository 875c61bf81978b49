// SPDX-License-Identifier: MIT
#include "kit/backend_rig.h"

#include <criterion/criterion.h>

#include "crypto/hash.h"

enum { WAIT_MS = 20000, TRY_AGAIN_MS = 10 };

static void open_loop(struct backend_rig *rig, int log_fd) {
    *rig = (struct backend_rig){.open = 0};
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    /* a descriptor below 3 is never one of a test's own */
    rig->log = log_new(log_fd > 2 ? log_fd : -1, LOG_DEBUG, &rig->clock, &rig->metrics);
}

static void open_store(struct backend_rig *rig, size_t i, const struct account_place *place,
                       bool is_beside) {
    char problem[ACCOUNT_STORE_PROBLEM_BYTES];
    enum rc rc = account_store_open(
        &(const struct account_store_opts){
            .loop = &rig->loop,
            .log = rig->log,
            .metrics = &rig->metrics,
            .url = slice_str(place->url),
            .is_beside = is_beside,
        },
        &rig->stores[i], problem);
    cr_assert_eq(rc, RC_OK, "%s: %s", place->kind->name, problem);
    rig->backends[i] = rig->stores[i].backend;
}

void backend_rig_open(struct backend_rig *rig, const struct account_place *place, int log_fd) {
    open_loop(rig, log_fd);
    for (size_t i = 0; i < BACKEND_RIG_STORES; i++) {
        open_store(rig, i, place, i > 0);
    }
}

void backend_rig_open_both(struct backend_rig *rig, const struct account_place *from,
                           const struct account_place *to) {
    open_loop(rig, 0);
    open_store(rig, 0, from, true);
    open_store(rig, 1, to, false);
}

void backend_rig_open_beside(struct backend_rig *rig, const struct account_place *place) {
    open_loop(rig, 0);
    for (size_t i = 0; i < BACKEND_RIG_STORES; i++) {
        open_store(rig, i, place, true);
    }
}

static void on_backend_closed(void *owner) {
    account_store_close(owner, NULL, NULL);
}

void backend_rig_close(struct backend_rig *rig) {
    cr_assert_eq(rig->open, 0u, "calls are under way");
    for (size_t i = 0; i < BACKEND_RIG_STORES; i++) {
        rig->backends[i]->ops->close(rig->backends[i], on_backend_closed, &rig->stores[i]);
    }
    loop_run(&rig->loop);
    log_free(rig->log);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK, "a handle was left open");
}

static void on_done(struct accounts_backend_op *op) {
    struct backend_call *call = LIST_ENTRY(op, struct backend_call, op);
    call->calls++;
    if (--call->rig->open == 0) {
        loop_stop(&call->rig->loop);
    }
}

void backend_rig_start(struct backend_rig *rig, size_t which, struct backend_call *call,
                       backend_rig_fn *fn) {
    call->op.done = on_done;
    call->op.backend = rig->backends[which];
    call->rig = rig;
    call->calls = 0;
    rig->open++;
    fn(rig->backends[which], &call->op);
    cr_assert_eq(call->calls, 0, "done before the call has returned");
}

static void on_time(struct loop_timer *timer) {
    (void)timer;
    cr_assert_fail("a call is not done after %d ms", WAIT_MS);
}

/* Its memory is its function's. */
static void close_timer(struct backend_rig *rig, struct loop_timer *timer) {
    loop_timer_close(timer, NULL);
    uv_run(&rig->loop.uv, UV_RUN_NOWAIT);
}

/* A connection keeps the loop alive, so it is stopped; and without one nothing may be left. */
void backend_rig_wait(struct backend_rig *rig) {
    struct loop_timer timer;
    loop_timer_init(&rig->loop, &timer);
    loop_timer_start(&timer, WAIT_MS, 0, on_time);
    while (rig->open > 0) {
        loop_run(&rig->loop);
    }
    close_timer(rig, &timer);
}

enum rc backend_rig_run(struct backend_rig *rig, size_t which, struct backend_call *call,
                        backend_rig_fn *fn) {
    backend_rig_start(rig, which, call, fn);
    backend_rig_wait(rig);
    cr_assert_eq(call->calls, 1);
    return call->op.rc;
}

enum rc backend_rig_put(struct backend_rig *rig, size_t which, const struct accounts_row *row) {
    struct backend_call call = {.op.row = *row};
    return backend_rig_run(rig, which, &call, rig->backends[which]->ops->put);
}

enum rc backend_rig_ping(struct backend_rig *rig, size_t which) {
    struct backend_call call = {.calls = 0};
    return backend_rig_run(rig, which, &call, rig->backends[which]->ops->ping);
}

struct pause {
    struct loop_timer timer;
    struct loop *loop;
    bool is_over;
};

static void on_pause(struct loop_timer *timer) {
    struct pause *pause = LIST_ENTRY(timer, struct pause, timer);
    pause->is_over = true;
    loop_stop(pause->loop);
}

static void pause_ms(struct backend_rig *rig, int ms) {
    struct pause pause = {.loop = &rig->loop};
    loop_timer_init(&rig->loop, &pause.timer);
    loop_timer_start(&pause.timer, ms, 0, on_pause);
    while (!pause.is_over) {
        loop_run(&rig->loop);
    }
    close_timer(rig, &pause.timer);
}

bool backend_rig_ping_within(struct backend_rig *rig, size_t which, int ms) {
    int64_t end_ns = clock_ns() + (int64_t)ms * 1000000;
    while (backend_rig_ping(rig, which) != RC_OK) {
        if (clock_ns() > end_ns) {
            return false;
        }
        pause_ms(rig, TRY_AGAIN_MS);
    }
    return true;
}

static enum rc read_with(struct backend_rig *rig, size_t which, struct backend_call *call,
                         struct slice user_id, backend_rig_fn *fn) {
    *call = (struct backend_call){.op.row.user_id = user_id};
    buf_init(&call->op.bytes, BACKEND_RIG_ROW_BYTES);
    return backend_rig_run(rig, which, call, fn);
}

enum rc backend_rig_get(struct backend_rig *rig, size_t which, struct backend_call *call,
                        struct slice user_id) {
    return read_with(rig, which, call, user_id, rig->backends[which]->ops->get);
}

enum rc backend_rig_next(struct backend_rig *rig, size_t which, struct backend_call *call,
                         struct slice after) {
    return read_with(rig, which, call, after, rig->backends[which]->ops->next);
}

enum rc backend_rig_remove(struct backend_rig *rig, size_t which, struct backend_call *call,
                           struct slice user_id) {
    return read_with(rig, which, call, user_id, rig->backends[which]->ops->remove);
}

static void expect_text(const char *name, struct slice text, struct slice wanted) {
    cr_assert_eq(slice_is_null(text), slice_is_null(wanted), "%s is %snull", name,
                 slice_is_null(text) ? "" : "not ");
    cr_assert(slice_eq(text, wanted), "%s is \"%.*s\", wanted \"%.*s\"", name,
              SLICE_ARGS(slice_head(text, 80)), SLICE_ARGS(slice_head(wanted, 80)));
}

void backend_rig_expect_row(const struct accounts_row *row, const struct accounts_row *wanted) {
    expect_text("user_id", row->user_id, wanted->user_id);
    expect_text("audible_user_id", row->audible_user_id, wanted->audible_user_id);
    expect_text("access_token", row->access_token, wanted->access_token);
    expect_text("refresh_token", row->refresh_token, wanted->refresh_token);
    expect_text("last_sync_error", row->last_sync_error, wanted->last_sync_error);
    cr_assert_eq(row->expires_ms, wanted->expires_ms, "expires_ms is %lld",
                 (long long)row->expires_ms);
    cr_assert_eq(row->connected_ms, wanted->connected_ms, "connected_ms is %lld",
                 (long long)row->connected_ms);
    cr_assert_eq(row->synced_ms, wanted->synced_ms, "synced_ms is %lld", (long long)row->synced_ms);
    cr_assert_eq(row->sync_status, wanted->sync_status);
}

void backend_rig_expect(struct backend_rig *rig, size_t which, struct slice user_id,
                        const struct accounts_row *wanted) {
    struct backend_call call;
    enum rc rc = backend_rig_get(rig, which, &call, user_id);
    cr_assert_eq(rc, wanted != NULL ? RC_OK : RC_ABSENT, "%.*s: %s (%s)", SLICE_ARGS(user_id),
                 rc_name(rc), call.op.cause != NULL ? call.op.cause : "");
    if (wanted != NULL) {
        backend_rig_expect_row(&call.op.row, wanted);
    }
    buf_fini(&call.op.bytes);
}
