// SPDX-License-Identifier: MIT
#include "kit/caller.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kit/leaks.h"

const struct upstream_opts caller_usual = {.connect_timeout_ms = 5000,
                                           .timeout_ms = 10000,
                                           .connections_max = 8,
                                           .keepalive_max = 4,
                                           .queue_max = 100,
                                           .user_agent = "test/1"};

struct caller *caller_new(const struct upstream_opts *opts) {
    struct caller *caller = mem_calloc(1, sizeof *caller);
    const char *problem = NULL;
    cr_assert_eq(loop_init(&caller->loop, &caller->clock), RC_OK);
    caller->peer = peer_new();
    cr_assert_not_null(caller->peer);
    caller->upstream = upstream_new(&caller->loop, opts, &problem);
    cr_assert_not_null(caller->upstream, "%s", problem);
    cr_assert_null(problem, "%s", problem);
    loop_timer_init(&caller->loop, &caller->watch);
    for (size_t i = 0; i < CALLER_CALLS; i++) {
        caller->calls[i].caller = caller;
    }
    return caller;
}

void caller_closed(void *owner) {
    struct caller *caller = owner;
    caller->closed++;
}

void caller_end_closed(struct caller *caller) {
    loop_timer_close(&caller->watch, NULL);
    loop_run(&caller->loop);
    cr_assert_eq(caller->closed, 1);
    cr_assert_eq(loop_fini(&caller->loop), RC_OK, "a handle is still open");
    peer_free(caller->peer);
    mem_free(caller);
    CHECK_LEAKS();
}

void caller_end(struct caller *caller) {
    upstream_close(caller->upstream, caller_closed, caller);
    cr_assert_eq(caller->closed, 0, "closed was told before upstream_close had returned");
    caller_end_closed(caller);
}

static void on_done(struct upstream_op *op) {
    struct caller_call *call = LIST_ENTRY(op, struct caller_call, op);
    call->done++;
    call->rc = op->rc;
    call->status = op->status;
    call->sent = op->sent;
    call->retry_after_s = op->retry_after_s;
    call->duration_ms = op->duration_ms;
    call->body_bytes = op->body.len;
    struct slice kept = slice_head(buf_slice(&op->body), CALLER_BODY_BYTES - 1);
    if (kept.len > 0) {
        memcpy(call->body, kept.at, kept.len);
    }
    call->body[kept.len] = '\0';
    /* The op is its owner's again: nobody may look at it after this. */
    memset(op, 0xA5, sizeof *op);
    if (call->then != NULL) {
        call->then(call);
    }
}

struct caller_call *caller_start(struct caller *caller, size_t i, struct caller_request ask) {
    static const struct upstream_header headers[] = {{"Authorization", {"Bearer token-17", 15}},
                                                     {"X-Empty", {"", 0}}};
    char url[512];
    snprintf(url, sizeof url, "%s://%s:%d%s", ask.scheme != NULL ? ask.scheme : "http",
             ask.host != NULL ? ask.host : "127.0.0.1", peer_port(caller->peer), ask.path);
    const struct upstream_request request = {
        .method = ask.method != NULL ? ask.method : "GET",
        .url = slice_str(url),
        .headers = headers,
        .header_count = 2,
        .body = slice_str(ask.body),
        .timeout_ms = ask.timeout_ms,
        .answer_max = ask.answer_max > 0 ? ask.answer_max : 64 * 1024,
    };
    struct caller_call *call = &caller->calls[i];
    call->done = 0;
    upstream_start(caller->upstream, &call->op, &request, on_done);
    memset(url, 'x', sizeof url);
    cr_assert_eq(call->done, 0, "done was told before upstream_start had returned");
    return call;
}

struct caller_call *caller_ask(struct caller *caller, struct caller_request wanted) {
    struct caller_call *call = caller_start(caller, 0, wanted);
    loop_run(&caller->loop);
    cr_assert_eq(call->done, 1, "%s: done %d times", wanted.path, call->done);
    cr_assert_eq(upstream_active(caller->upstream), 0);
    return call;
}

static void on_watch(struct loop_timer *timer) {
    struct caller *caller = LIST_ENTRY(timer, struct caller, watch);
    int64_t now_ms = loop_now_ms(&caller->loop);
    int64_t turn_ms = caller->seen_ms > 0 ? now_ms - caller->seen_ms : 0;
    caller->seen_ms = now_ms;
    caller->longest_turn_ms = turn_ms > caller->longest_turn_ms ? turn_ms : caller->longest_turn_ms;
    if (caller->is_time(caller)) {
        loop_timer_stop(timer);
        caller->then(caller);
    }
}

void caller_when(struct caller *caller, bool (*is_time)(struct caller *caller),
                 void (*then)(struct caller *caller)) {
    caller->is_time = is_time;
    caller->then = then;
    caller->seen_ms = 0;
    loop_timer_start(&caller->watch, 1, 1, on_watch);
}
