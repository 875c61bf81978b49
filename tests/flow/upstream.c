// SPDX-License-Identifier: MIT
#include "io/upstream.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/caller.h"

/* --- answers ---------------------------------------------------------------------------------- */

Test(upstream, answer) {
    struct caller *caller = caller_new(&caller_usual);
    struct caller_call *call = caller_ask(caller, (struct caller_request){.path = "/ok"});
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_eq(call->status, 200);
    cr_assert_str_eq(call->body, "hello");
    cr_assert(call->sent);
    cr_assert_eq(call->retry_after_s, -1);
    cr_assert(call->duration_ms >= 0 && call->duration_ms < 5000);
    caller_end(caller);
}

Test(upstream, request_as_it_is_sent) {
    struct caller *caller = caller_new(&caller_usual);
    struct caller_call *call = caller_ask(
        caller,
        (struct caller_request){.method = "POST", .path = "/echo", .body = "code=secret&x=1"});
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert(strstr(call->body, "POST /echo HTTP/1.1\r\n") == call->body, "%s", call->body);
    cr_assert_not_null(strstr(call->body, "\r\nAuthorization: Bearer token-17\r\n"));
    cr_assert_not_null(strstr(call->body, "\r\nX-Empty:\r\n"), "%s", call->body);
    cr_assert_not_null(strstr(call->body, "\r\nUser-Agent: test/1\r\n"));
    cr_assert_not_null(strstr(call->body, "\r\nContent-Length: 15\r\n"));
    cr_assert_not_null(strstr(call->body, "\r\n\r\ncode=secret&x=1"));
    cr_assert_null(strcasestr(call->body, "Accept-Encoding"));
    cr_assert_null(strcasestr(call->body, "Expect"));
    cr_assert_null(strcasestr(call->body, "Cookie"));

    call = caller_ask(caller, (struct caller_request){.method = "POST", .path = "/echo"});
    cr_assert_eq(call->rc, RC_OK);
    cr_assert_not_null(strstr(call->body, "\r\nContent-Length: 0\r\n"), "%s", call->body);
    call = caller_ask(caller, (struct caller_request){.method = "GET", .path = "/echo/../echo"});
    cr_assert_eq(call->rc, RC_OK);
    call = caller_ask(caller, (struct caller_request){.method = "DELETE", .path = "/echo"});
    cr_assert(strstr(call->body, "DELETE /echo HTTP/1.1\r\n") == call->body, "%s", call->body);
    caller_end(caller);
}

Test(upstream, what_an_answer_means) {
    static const struct {
        const char *path;
        enum rc rc;
        int status;
        int64_t retry_after_s;
    } cases[] = {
        {"/status/200", RC_OK, 200, -1},
        {"/status/404", RC_OK, 404, -1},
        {"/status/503", RC_OK, 503, -1},
        {"/status/700", RC_UNREACHABLE, 0, -1},
        {"/redirect", RC_OK, 302, -1},
        {"/header/Retry-After:_120", RC_OK, 200, 120},
        {"/header/retry-after:0", RC_OK, 200, 0},
        {"/header/Retry-After:_-5", RC_OK, 200, -1},
        {"/header/Retry-After:_99999999999999999999", RC_OK, 200, -1},
        {"/header/Retry-After:_Fri,_31_Dec_1999_23:59:59_GMT", RC_OK, 200, -1},
        {"/header/X-Retry-After:_3", RC_OK, 200, -1},
        {"/header/Content-Encoding:_gzip", RC_OK, 200, -1},
        {"/interim", RC_OK, 200, -1},
        {"/bye", RC_OK, 200, -1},
        {"/rest-reset", RC_OK, 200, -1},
        {"/drop", RC_UNREACHABLE, 0, -1},
        {"/reset", RC_UNREACHABLE, 0, -1},
        {"/half", RC_UNREACHABLE, 0, -1},
        {"/half-chunk", RC_UNREACHABLE, 0, -1},
        {"/garbage", RC_UNREACHABLE, 0, -1},
        {"/endless", RC_TOO_LARGE, 0, -1},
        {"/endless-head", RC_TOO_LARGE, 0, -1},
        {"/declared", RC_TOO_LARGE, 0, -1},
    };
    struct caller *caller = caller_new(&caller_usual);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = cases[i].path;
        size_t requests = peer_requests(caller->peer);
        struct caller_call *call = caller_ask(caller, (struct caller_request){.path = path});
        cr_assert_eq(call->rc, cases[i].rc, "%s: %s", path, rc_name(call->rc));
        cr_assert_eq(call->status, cases[i].status, "%s: %d", path, call->status);
        cr_assert_eq(call->retry_after_s, cases[i].retry_after_s, "%s", path);
        cr_assert(call->sent, "%s", path);
        cr_assert(call->rc == RC_OK || call->body_bytes == 0, "%s", path);
        cr_assert_eq(peer_requests(caller->peer), requests + 1, "%s: asked again", path);
    }
    cr_assert_eq(caller_ask(caller, (struct caller_request){.path = "/ok"})->rc, RC_OK,
                 "the next call works");
    caller_end(caller);
}

Test(upstream, cap_of_the_body) {
    struct caller *caller = caller_new(&caller_usual);
    struct caller_call *call =
        caller_ask(caller, (struct caller_request){.path = "/ok", .answer_max = 5});
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    call = caller_ask(caller, (struct caller_request){.path = "/ok", .answer_max = 4});
    cr_assert_eq(call->rc, RC_TOO_LARGE, "%s", rc_name(call->rc));
    caller_end(caller);
}

static void take_body(struct upstream_op *op) {
    struct caller_call *call = LIST_ENTRY(op, struct caller_call, op);
    struct buf body = upstream_take_body(op);
    call->done++;
    memcpy(call->body, body.at, body.len);
    buf_fini(&body);
    memset(op, 0xA5, sizeof *op);
}

Test(upstream, body_is_taken) {
    struct caller *caller = caller_new(&caller_usual);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/ok", peer_port(caller->peer));
    const struct upstream_request request = {
        .method = "GET", .url = slice_str(url), .answer_max = 100};
    upstream_start(caller->upstream, &caller->calls[0].op, &request, take_body);
    loop_run(&caller->loop);
    cr_assert_eq(caller->calls[0].done, 1);
    cr_assert_str_eq(caller->calls[0].body, "hello");
    caller_end(caller);
}

static void count_done(struct upstream_op *op) {
    struct caller_call *call = LIST_ENTRY(op, struct caller_call, op);
    call->rc = op->rc;
    call->sent = op->sent;
    call->done++;
}

Test(upstream, malformed_requests) {
    static const struct upstream_header split = {"X-A", {"1\r\nX-B: 2", 9}};
    static const struct upstream_header nul = {"X-A", {"1\0", 2}};
    static const struct upstream_header name = {"X A", {"1", 1}};
    const struct {
        const char *url;
        const char *method;
        const struct upstream_header *header;
    } cases[] = {
        {"ftp://127.0.0.1/", "GET", NULL},
        {"file:///etc/passwd", "GET", NULL},
        {"", "GET", NULL},
        {"/relative", "GET", NULL},
        {"http://127.0.0.1:1/a b", "GET", NULL},
        {"http://127.0.0.1:1/a\r\nX: y", "GET", NULL},
        {"http://127.0.0.1:99999/", "GET", NULL},
        {"http://", "GET", NULL},
        {"http://127.0.0.1:1/", "GET\r\n", NULL},
        {"http://127.0.0.1:1/", "", NULL},
        {"http://127.0.0.1:1/", "GET", &split},
        {"http://127.0.0.1:1/", "GET", &nul},
        {"http://127.0.0.1:1/", "GET", &name},
    };
    struct caller *caller = caller_new(&caller_usual);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct upstream_request request = {.method = cases[i].method,
                                                 .url = slice_str(cases[i].url),
                                                 .headers = cases[i].header,
                                                 .header_count = cases[i].header != NULL,
                                                 .answer_max = 100};
        struct caller_call *call = &caller->calls[0];
        call->done = 0;
        upstream_start(caller->upstream, &call->op, &request, count_done);
        cr_assert_eq(call->done, 0, "case %zu", i);
        loop_run(&caller->loop);
        cr_assert_eq(call->done, 1, "case %zu", i);
        cr_assert_eq(call->rc, RC_MALFORMED, "case %zu: %s", i, rc_name(call->rc));
        cr_assert(!call->sent, "case %zu", i);
    }
    caller_end(caller);
}

Test(upstream, nobody_listens) {
    struct caller *caller = caller_new(&caller_usual);
    struct caller_call *call =
        caller_ask(caller, (struct caller_request){.path = "/", .host = "127.0.0.1:1/x#"});
    cr_assert_eq(call->rc, RC_UNREACHABLE, "%s", rc_name(call->rc));
    cr_assert(!call->sent);
    caller_end(caller);
}

Test(upstream, environment_is_ignored) {
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    struct caller *caller = caller_new(&caller_usual);
    struct caller_call *call = caller_ask(caller, (struct caller_request){.path = "/ok"});
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    caller_end(caller);
}

Test(upstream, proxy_that_is_given) {
    struct peer *proxy = peer_new();
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", peer_port(proxy));
    setenv("no_proxy", "*", 1);
    struct upstream_opts opts = caller_usual;
    opts.proxy = url;
    struct caller *caller = caller_new(&opts);
    struct caller_call *call =
        caller_ask(caller, (struct caller_request){.path = "/ok", .host = "no-such-host.invalid"});
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_eq(peer_requests(proxy), 1);
    cr_assert_eq(peer_requests(caller->peer), 0);
    peer_free(proxy);
    caller_end(caller);
}

/* --- connections ------------------------------------------------------------------------------ */

Test(upstream, connections_are_reused) {
    struct caller *caller = caller_new(&caller_usual);
    for (int i = 0; i < 20; i++) {
        struct caller_call *call = caller_ask(
            caller, (struct caller_request){.method = i % 2 == 0 ? "GET" : "POST", .path = "/ok"});
        cr_assert_eq(call->rc, RC_OK, "call %d: %s", i, rc_name(call->rc));
    }
    cr_assert_eq(peer_accepts(caller->peer), 1);
    caller_end(caller);
}

static void again(struct caller_call *call) {
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    if (peer_requests(call->caller->peer) < 200) {
        caller_start(call->caller, (size_t)(call - call->caller->calls),
                     (struct caller_request){.path = "/ok"});
    }
}

/* More in use than are kept when idle: each that comes back is used again all the same. */
Test(upstream, connections_are_reused_under_load) {
    struct caller *caller = caller_new(&caller_usual);
    for (size_t i = 0; i < 8; i++) {
        caller->calls[i].then = again;
        caller_start(caller, i, (struct caller_request){.path = "/ok"});
    }
    loop_run(&caller->loop);
    cr_assert_geq(peer_requests(caller->peer), 200);
    cr_assert_eq(peer_accepts(caller->peer), 8);
    caller_end(caller);
}

static bool few_are_open(struct caller *caller) {
    return peer_open(caller->peer) <= caller_usual.keepalive_max;
}

static void nothing(struct caller *caller) {
    (void)caller;
}

Test(upstream, idle_connections_are_bounded, .timeout = 20) {
    struct caller *caller = caller_new(&caller_usual);
    for (size_t i = 0; i < 8; i++) {
        caller_start(caller, i, (struct caller_request){.path = "/ok"});
    }
    loop_run(&caller->loop);
    cr_assert_eq(peer_accepts(caller->peer), 8);
    caller_when(caller, few_are_open, nothing);
    loop_run(&caller->loop);
    cr_assert_eq(peer_open(caller->peer), caller_usual.keepalive_max);
    caller_end(caller);
}

Test(upstream, none_is_kept) {
    struct upstream_opts opts = caller_usual;
    opts.keepalive_max = 0;
    struct caller *caller = caller_new(&opts);
    caller_ask(caller, (struct caller_request){.path = "/ok"});
    caller_ask(caller, (struct caller_request){.path = "/ok"});
    cr_assert_eq(peer_accepts(caller->peer), 2);
    caller_end(caller);
}

/* The server closes a kept connection just as it is used. A GET goes out again, on a new one; what
 * may spend a code does not. */
Test(upstream, only_a_get_is_sent_twice) {
    struct caller *caller = caller_new(&caller_usual);
    caller_ask(caller, (struct caller_request){.path = "/second-drops"});
    struct caller_call *call = caller_ask(caller, (struct caller_request){.path = "/ok"});
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_eq(peer_requests(caller->peer), 3);
    cr_assert_eq(peer_accepts(caller->peer), 2);

    caller_ask(caller, (struct caller_request){.path = "/bye"});
    caller_ask(caller, (struct caller_request){.path = "/second-drops"});
    size_t requests = peer_requests(caller->peer);
    call = caller_ask(caller,
                      (struct caller_request){.method = "POST", .path = "/ok", .body = "code=1"});
    cr_assert_eq(call->rc, RC_UNREACHABLE, "%s", rc_name(call->rc));
    cr_assert(call->sent);
    cr_assert_eq(peer_requests(caller->peer), requests + 1, "the code was sent twice");
    caller_end(caller);
}
