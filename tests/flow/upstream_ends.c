// SPDX-License-Identifier: MIT
#include "io/upstream.h"

#include <criterion/criterion.h>

#include "kit/caller.h"

/* --- deadlines -------------------------------------------------------------------------------- */

static void assert_timeout(const struct caller_call *call, int64_t after_ms, const char *what) {
    cr_assert_eq(call->rc, RC_TIMEOUT, "%s: %s", what, rc_name(call->rc));
    cr_assert(call->duration_ms >= after_ms - 20 && call->duration_ms < after_ms + 2000,
              "%s: after %d ms", what, (int)call->duration_ms);
}

Test(upstream_ends, deadline) {
    struct caller *caller = caller_new(&caller_usual);
    struct caller_call *call =
        caller_ask(caller, (struct caller_request){.path = "/silent", .timeout_ms = 200});
    assert_timeout(call, 200, "no answer");
    cr_assert(call->sent);
    call = caller_ask(caller, (struct caller_request){.path = "/trickle", .timeout_ms = 200});
    assert_timeout(call, 200, "an answer that trickles");
    cr_assert(call->sent);
    call = caller_ask(caller,
                      (struct caller_request){.scheme = "https", .path = "/", .timeout_ms = 200});
    assert_timeout(call, 200, "a handshake without an answer");
    cr_assert(!call->sent);
    caller_end(caller);
}

Test(upstream_ends, connect_timeout) {
    struct upstream_opts opts = caller_usual;
    opts.connect_timeout_ms = 200;
    struct caller *caller = caller_new(&opts);
    struct caller_call *call =
        caller_ask(caller, (struct caller_request){.scheme = "https", .path = "/"});
    assert_timeout(call, 200, "a handshake without an answer");
    cr_assert(!call->sent);
    caller_end(caller);
}

Test(upstream_ends, a_call_asks_for_less_time_never_for_more) {
    struct upstream_opts opts = caller_usual;
    opts.timeout_ms = 200;
    struct caller *caller = caller_new(&opts);
    assert_timeout(
        caller_ask(caller, (struct caller_request){.path = "/silent", .timeout_ms = 60000}), 200,
        "more");
    assert_timeout(caller_ask(caller, (struct caller_request){.path = "/silent"}), 200,
                   "the default");
    caller_end(caller);
}

/* The deadline of one that waits counts the wait, and it never reaches the server. */
Test(upstream_ends, queue) {
    struct upstream_opts opts = caller_usual;
    opts.connections_max = 2;
    opts.queue_max = 2;
    struct caller *caller = caller_new(&opts);
    caller_start(caller, 0, (struct caller_request){.path = "/silent", .timeout_ms = 300});
    caller_start(caller, 1, (struct caller_request){.path = "/silent", .timeout_ms = 10000});
    caller_start(caller, 2, (struct caller_request){.path = "/ok", .timeout_ms = 100});
    caller_start(caller, 3, (struct caller_request){.path = "/ok"});
    caller_start(caller, 4, (struct caller_request){.path = "/ok"});
    cr_assert_eq(upstream_active(caller->upstream), 5);
    upstream_cancel(caller->upstream, &caller->calls[1].op);
    /* 1 made room for 2; 3 has to wait, as 0 does */
    loop_run(&caller->loop);
    const struct caller_call *c = caller->calls;
    assert_timeout(&c[0], 300, "0");
    cr_assert_eq(c[1].rc, RC_CANCELED, "%s", rc_name(c[1].rc));
    cr_assert_eq(c[2].rc, RC_OK, "%s", rc_name(c[2].rc));
    cr_assert_eq(c[3].rc, RC_OK, "%s", rc_name(c[3].rc));
    cr_assert_eq(c[4].rc, RC_FULL, "%s", rc_name(c[4].rc));
    cr_assert(!c[4].sent);

    caller_start(caller, 0, (struct caller_request){.path = "/silent", .timeout_ms = 400});
    caller_start(caller, 1, (struct caller_request){.path = "/silent", .timeout_ms = 400});
    caller_start(caller, 2, (struct caller_request){.path = "/ok", .timeout_ms = 100});
    caller_start(caller, 3, (struct caller_request){.path = "/ok"});
    size_t accepts = peer_accepts(caller->peer);
    loop_run(&caller->loop);
    assert_timeout(&c[2], 100, "one that waits");
    cr_assert(!c[2].sent);
    cr_assert_eq(c[3].rc, RC_OK, "%s", rc_name(c[3].rc));
    cr_assert_geq(c[3].duration_ms, 350, "the wait counts");
    cr_assert_leq(peer_accepts(caller->peer), accepts + 3);
    caller_end(caller);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static bool at_once(struct caller *caller) {
    (void)caller;
    return true;
}

static bool is_greeted(struct caller *caller) {
    return peer_hellos(caller->peer) > 0;
}

static bool is_asked(struct caller *caller) {
    return peer_requests(caller->peer) > 0;
}

static bool is_answering(struct caller *caller) {
    return peer_body_bytes(caller->peer) > 0;
}

static void cancel_first(struct caller *caller) {
    upstream_cancel(caller->upstream, &caller->calls[0].op);
    cr_assert_eq(caller->calls[0].done, 0, "done was told inside upstream_cancel");
    upstream_cancel(caller->upstream, &caller->calls[0].op);
}

Test(upstream_ends, cancel_at_each_stage) {
    static const struct {
        const char *name;
        const char *scheme;
        const char *path;
        bool (*is_time)(struct caller *caller);
        bool sent;
    } cases[] = {
        {"just started", "http", "/silent", at_once, false},
        {"in the handshake", "https", "/silent", is_greeted, false},
        {"sent", "http", "/silent", is_asked, true},
        {"in the body", "http", "/trickle", is_answering, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct caller *caller = caller_new(&caller_usual);
        struct caller_call *call = caller_start(
            caller, 0, (struct caller_request){.scheme = cases[i].scheme, .path = cases[i].path});
        if (cases[i].is_time == at_once) {
            cancel_first(caller);
        } else {
            caller_when(caller, cases[i].is_time, cancel_first);
        }
        loop_run(&caller->loop);
        cr_assert_eq(call->done, 1, "%s: %d times", cases[i].name, call->done);
        cr_assert_eq(call->rc, RC_CANCELED, "%s: %s", cases[i].name, rc_name(call->rc));
        cr_assert_eq(call->sent, cases[i].sent, "%s", cases[i].name);
        caller_end(caller);
    }
}

/* Both are over in the same round, and the first to be told cancels the other, whichever it is. */
static void cancel_others(struct caller_call *call) {
    for (size_t i = 0; i < 2; i++) {
        struct caller_call *other = &call->caller->calls[i];
        if (other != call && other->done == 0) {
            upstream_cancel(call->caller->upstream, &other->op);
        }
    }
}

Test(upstream_ends, cancel_in_done) {
    struct caller *caller = caller_new(&caller_usual);
    for (size_t i = 0; i < 2; i++) {
        caller->calls[i].then = cancel_others;
        caller_start(caller, i, (struct caller_request){.path = "/ok"});
    }
    loop_run(&caller->loop);
    for (size_t i = 0; i < 2; i++) {
        const struct caller_call *call = &caller->calls[i];
        cr_assert_eq(call->done, 1);
        cr_assert(call->rc == RC_OK || call->rc == RC_CANCELED, "%s", rc_name(call->rc));
    }
    cr_assert(caller->calls[0].rc == RC_OK || caller->calls[1].rc == RC_OK);
    caller_end(caller);
}

Test(upstream_ends, close_cancels_everything) {
    struct upstream_opts opts = caller_usual;
    opts.connections_max = 2;
    struct caller *caller = caller_new(&opts);
    for (size_t i = 0; i < 5; i++) {
        caller_start(caller, i, (struct caller_request){.path = "/silent"});
    }
    upstream_close(caller->upstream, caller_closed, caller);
    caller_start(caller, 5, (struct caller_request){.path = "/ok"});
    loop_run(&caller->loop);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(caller->calls[i].done, 1, "call %zu", i);
        cr_assert_eq(caller->calls[i].rc, RC_CANCELED, "call %zu", i);
    }
    caller_end_closed(caller);
}

static void close_upstream(struct caller_call *call) {
    upstream_close(call->caller->upstream, caller_closed, call->caller);
    cr_assert_eq(call->caller->closed, 0);
}

Test(upstream_ends, close_in_done) {
    struct caller *caller = caller_new(&caller_usual);
    caller->calls[0].then = close_upstream;
    caller_start(caller, 0, (struct caller_request){.path = "/ok"});
    caller_start(caller, 1, (struct caller_request){.path = "/silent"});
    loop_run(&caller->loop);
    cr_assert_eq(caller->calls[0].rc, RC_OK);
    cr_assert_eq(caller->calls[1].rc, RC_CANCELED);
    caller_end_closed(caller);
}
