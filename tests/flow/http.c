// SPDX-License-Identifier: MIT
/* The HTTP server with real sockets: what it answers, in which order, and what it does with bodies.
 * Its ends (deadlines, leaving clients, drain, caps) are in http_ends.c. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/limits.h"
#include "kit/client.h"
#include "kit/httpd.h"
#include "kit/leaks.h"

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define GET_WITH(path, lines) "GET " path " HTTP/1.1\r\n" HOST lines "\r\n"
#define POST(path, length, lines)                                                                  \
    "POST " path " HTTP/1.1\r\n" HOST "Content-Length: " length "\r\n" lines "\r\n"
#define POST_CHUNKED(path) "POST " path " HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

static void stop(struct httpd *httpd) {
    httpd_stop(httpd);
    CHECK_LEAKS();
}

/* What every response must have, whatever it answers. */
static void check_fixed(const struct client_response *r, const char *name) {
    static const char *const once[] = {"date", "x-content-type-options", "cache-control",
                                       "content-security-policy", "x-request-id"};
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) {
        cr_assert_eq(client_header_count(r, once[i]), 1u, "%s of %s", once[i], name);
    }
    bool has_length = client_header_count(r, "content-length") == 1;
    cr_assert_eq(has_length, r->status != 204, "%s", name);
    cr_assert_eq(client_header(r, "date").len, 29u, "%s", name);
}

/* One connection, one request, one response; `closes` says whether it is the last. */
struct exchange {
    const char *method;
    struct slice bytes;
    int status;
    bool closes;
    const char *body; /* NULL: any */
};

static void check_exchange(int port, const struct exchange *c) {
    struct client client;
    struct client_response r;
    struct client_response next;
    cr_assert(client_connect(&client, port));
    cr_assert(client_send(&client, c->bytes));
    cr_assert(client_read(&client, c->method, &r), "no answer to %.*s", SLICE_ARGS(c->bytes));
    cr_assert_eq(r.status, c->status, "%d to %.*s", r.status, SLICE_ARGS(c->bytes));
    check_fixed(&r, c->bytes.at);
    cr_assert(c->body == NULL || slice_eq(r.body, slice_str(c->body)), "%.*s", SLICE_ARGS(r.body));
    bool says_close = slice_ieq(client_header(&r, "connection"), SLICE("close"));
    cr_assert_eq(says_close, c->closes, "%.*s", SLICE_ARGS(c->bytes));
    if (c->closes) {
        cr_assert(client_is_closed(&client), "%.*s", SLICE_ARGS(c->bytes));
        cr_assert_not(client.was_reset, "%.*s", SLICE_ARGS(c->bytes));
    } else {
        cr_assert(CLIENT_SEND(&client, GET("/ok")));
        cr_assert(client_read(&client, "GET", &next) && next.status == 200, "after %.*s",
                  SLICE_ARGS(c->bytes));
        client_response_fini(&next);
    }
    client_response_fini(&r);
    client_fini(&client);
}

Test(http, answers) {
    static const struct exchange cases[] = {
        {"GET", SLICE(GET("/ok")), 200, false, "{\"status\":\"ok\"}"},
        {"GET", SLICE(GET("/later")), 200, false, ""},
        {"GET", SLICE(GET("/echo")), 200, false, ""},
        {"GET", SLICE(GET("/unknown")), 404, false, "{\"detail\":\"Not Found\"}"},
        {"GET", SLICE(GET("/nothing")), 204, false, ""},
        {"GET", SLICE(GET("/close")), 200, true, ""},
        {"GET", SLICE(GET("/peer")), 200, false, "127.0.0.1"},
        {"GET", SLICE("GET http://a/ok?x HTTP/1.1\r\n" HOST "\r\n"), 200, false, NULL},
        {"GET", SLICE("\r\n\r\n" GET("/ok")), 200, false, NULL},
        {"GET", SLICE(GET_WITH("/ok", "Connection: close\r\n")), 200, true, NULL},
        {"GET", SLICE(GET_WITH("/ok", "Connection: keep-alive\r\n")), 200, false, NULL},
        {"GET", SLICE(GET_WITH("/ok", "Connection: Upgrade\r\nUpgrade: h2c\r\n")), 200, false,
         NULL},
        {"GET", SLICE("GET /ok HTTP/1.0\r\n\r\n"), 200, true, NULL},
        {"GET", SLICE("GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 200, false, NULL},
        {"POST", SLICE(POST("/echo", "5", "") "hello"), 200, false, "hello"},
        {"POST", SLICE(POST("/echo", "0", "")), 200, false, ""},
        {"POST", SLICE("POST /echo HTTP/1.1\r\n" HOST "\r\n"), 200, false, ""},
        {"POST", SLICE(POST("/echo-later", "5", "") "hello"), 200, false, "hello"},
        {"POST", SLICE(POST_CHUNKED("/echo") "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n"),
         200, false, "hello world"},
        {"POST", SLICE(POST_CHUNKED("/echo-later") "5\r\nhello\r\n0\r\n\r\n"), 200, false, "hello"},
        {"POST", SLICE(POST("/early", "5", "") "hello"), 403, false, NULL},
        {"POST", SLICE(POST("/unknown", "5", "") "hello"), 404, false, NULL},
        {"POST", SLICE(POST("/early", "1001", "")), 403, true, NULL},
        {"POST", SLICE(POST("/echo", "1001", "")), 413, true, NULL},
        {"POST", SLICE(POST("/echo-later", "1001", "")), 413, true, NULL},
        {"POST", SLICE(POST("/echo", "999999999999", "")), 413, true, NULL},
        {"GET", SLICE(GET("/long-headers")), 500, false, "{\"detail\":\"internal_error\"}"},
        {"HEAD", SLICE("HEAD /long-headers HTTP/1.1\r\n" HOST "\r\n"), 500, false, ""},
        {"GET", SLICE("GET /ok\r\n"), 400, true, "{\"detail\":\"bad_request\"}"},
        {"GET", SLICE("GET /ok HTTP/1.1\r\n\r\n"), 400, true, NULL},
        {"GET", SLICE("GET /ok HTTP/1.2\r\n\r\n"), 505, true, NULL},
        {"GET", SLICE("GETS /ok HTTP/1.1\r\n" HOST "\r\n"), 501, true, NULL},
        {"POST", SLICE("POST /ok HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"), 501, true,
         NULL},
        {"POST", SLICE(POST("/echo", "5", "Transfer-Encoding: chunked\r\n") "0\r\n\r\n"), 400, true,
         NULL},
        {"POST", SLICE(POST_CHUNKED("/echo") "x\r\n"), 400, true, NULL},
        {"POST", SLICE(POST_CHUNKED("/echo-later") "5\r\nhello!\r\n"), 400, true, NULL},
    };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_exchange(httpd_port(httpd), &cases[i]);
    }
    stop(httpd);
}

/* A request in two parts, cut at every byte: the same answer. */
Test(http, requests_cut_at_every_byte) {
    static const struct slice cases[] = {
        {POST("/echo", "5", "X-Request-ID: cut\r\n") "hello",
         sizeof(POST("/echo", "5", "X-Request-ID: cut\r\n") "hello") - 1},
        {POST_CHUNKED("/echo-later") "5\r\nhello\r\n0\r\n\r\n",
         sizeof(POST_CHUNKED("/echo-later") "5\r\nhello\r\n0\r\n\r\n") - 1},
    };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        cr_assert(client_connect(&client, httpd_port(httpd)));
        for (size_t cut = 1; cut < cases[i].len; cut++) {
            struct client_response r;
            cr_assert(client_send(&client, slice_head(cases[i], cut)));
            /* an answer on another connection: the first part has been read by now, most likely */
            cr_assert_eq(client_ask(httpd_port(httpd), "GET", SLICE(GET("/ok")), &r), 200);
            client_response_fini(&r);
            cr_assert(client_send(&client, slice_from(cases[i], cut)));
            cr_assert(client_read(&client, "POST", &r), "cut at %zu", cut);
            cr_assert(r.status == 200 && slice_eq(r.body, SLICE("hello")), "cut at %zu", cut);
            client_response_fini(&r);
        }
        client_fini(&client);
    }
    stop(httpd);
}

Test(http, request_ids) {
    static const struct {
        const char *sent;
        bool echoed;
    } cases[] = {
        {"a", true},    {"Az09.-_", true}, {"", false},         {"a b", false},
        {"a/b", false}, {"a\"b", false},   {"\xc3\xa9", false},
    };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct slice previous = SLICE_NULL;
    char kept[64] = "";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char raw[256];
        struct client_response r;
        snprintf(raw, sizeof raw, GET_WITH("/ok", "X-Request-ID: %s\r\n"), cases[i].sent);
        cr_assert_eq(client_ask(httpd_port(httpd), "GET", slice_str(raw), &r), 200);
        struct slice id = client_header(&r, "x-request-id");
        cr_assert_eq(slice_eq(id, slice_str(cases[i].sent)), cases[i].echoed, "%s", cases[i].sent);
        if (!cases[i].echoed) {
            cr_assert(id.len == 32 && slice_starts(id, SLICE("fedcba9876543210")));
            cr_assert_not(slice_eq(id, previous), "ids are not repeated");
            snprintf(kept, sizeof kept, "%.*s", SLICE_ARGS(id));
            previous = slice_str(kept);
        }
        client_response_fini(&r);
    }
    for (size_t length = LIMIT_REQUEST_ID_BYTES; length <= LIMIT_REQUEST_ID_BYTES + 1; length++) {
        char id[LIMIT_REQUEST_ID_BYTES + 2];
        char raw[512];
        struct client_response r;
        memset(id, 'i', length);
        id[length] = '\0';
        snprintf(raw, sizeof raw, GET_WITH("/ok", "X-Request-ID: %s\r\n"), id);
        cr_assert_eq(client_ask(httpd_port(httpd), "GET", slice_str(raw), &r), 200);
        bool echoed = slice_eq(client_header(&r, "x-request-id"), slice_str(id));
        cr_assert_eq(echoed, length <= LIMIT_REQUEST_ID_BYTES);
        client_response_fini(&r);
    }
    stop(httpd);
}

Test(http, head_has_the_headers_of_get) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    static const char *const paths[] = {"/ok", "/big?100000", "/unknown", "/nothing"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char raw[128];
        struct client client;
        struct client_response get;
        struct client_response head;
        cr_assert(client_connect(&client, httpd_port(httpd)));
        snprintf(raw, sizeof raw, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        cr_assert(client_send(&client, slice_str(raw)) && client_read(&client, "GET", &get));
        snprintf(raw, sizeof raw, "HEAD %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        cr_assert(client_send(&client, slice_str(raw)) && client_read(&client, "HEAD", &head));
        cr_assert_eq(head.status, get.status);
        cr_assert(
            slice_eq(client_header(&head, "content-length"), client_header(&get, "content-length")),
            "%s", paths[i]);
        client_response_fini(&get);
        client_response_fini(&head);
        /* had a body come, it would stand before this */
        cr_assert(CLIENT_SEND(&client, GET("/ok")) && client_read(&client, "GET", &get));
        cr_assert_eq(get.status, 200, "%s", paths[i]);
        client_response_fini(&get);
        client_fini(&client);
    }
    stop(httpd);
}

Test(http, a_reply_may_have_its_own_policy) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client_response r;
    cr_assert_eq(client_ask(httpd_port(httpd), "GET", SLICE(GET("/csp")), &r), 200);
    cr_assert_eq(client_header_count(&r, "content-security-policy"), 1u);
    cr_assert(slice_eq(client_header(&r, "content-security-policy"), SLICE("img-src 'self'")));
    client_response_fini(&r);
    stop(httpd);
}

/* ------------------------------------------------------------------------------- pipelining */

enum { PIPELINED = 300 };

/* Requests of every kind in one stream; each answer carries the id of its request. */
static void append_request(struct buf *out, int i) {
    static const char *const kinds[] = {"GET /ok",          "GET /later",   "POST /echo",
                                        "POST /echo-later", "GET /unknown", "GET /early",
                                        "GET /big?20000"};
    const char *kind = kinds[i % (int)(sizeof kinds / sizeof kinds[0])];
    char raw[256];
    bool is_post = kind[0] == 'P';
    snprintf(raw, sizeof raw, "%s HTTP/1.1\r\n" HOST "X-Request-ID: r%d\r\n%s\r\n%s", kind, i,
             is_post ? "Content-Length: 5\r\n" : "", is_post ? "hello" : "");
    buf_append(out, slice_str(raw));
}

static void check_answers(struct client *client, int n) {
    for (int i = 0; i < n; i++) {
        struct client_response r;
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        cr_assert(client_read(client, "GET", &r), "no answer %d", i);
        struct slice got = client_header(&r, "x-request-id");
        cr_assert(slice_eq(got, slice_str(id)), "%.*s, not %s", SLICE_ARGS(got), id);
        check_fixed(&r, id);
        client_response_fini(&r);
    }
}

Test(http, pipelined_requests_are_answered_in_order) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    static const size_t steps[] = {SIZE_MAX, 1, 7, 1000};
    struct buf all;
    buf_init(&all, 1024 * 1024);
    for (int i = 0; i < PIPELINED; i++) {
        append_request(&all, i);
    }
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        struct client client;
        struct slice rest = buf_slice(&all);
        cr_assert(client_connect(&client, httpd_port(httpd)));
        while (rest.len > 0) {
            cr_assert(client_send(&client, slice_head(rest, steps[s])));
            rest = slice_from(rest, steps[s]);
        }
        check_answers(&client, PIPELINED);
        cr_assert(client_is_silent(&client, 20), "one answer a request");
        client_fini(&client);
    }
    buf_fini(&all);
    stop(httpd);
}

/* Reading stops while too much is pending, and goes on afterwards: nothing is lost. */
Test(http, pipelined_bytes_are_bounded) {
    enum { REQUESTS = 60000 };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client client;
    struct buf all;
    struct client_response r;
    buf_init(&all, 64 * 1024 * 1024);
    for (int i = 0; i < REQUESTS; i++) {
        BUF_LIT(&all, GET("/ok"));
    }
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&client, GET("/hold")));
    cr_assert(httpd_wait(httpd, HTTPD_HELD, 1));
    size_t sent = 0;
    while (sent < all.len && client_send_some(&client, buf_slice(&all), &sent, 200)) {
    }
    cr_assert_eq(httpd_get(httpd, HTTPD_HEADS), 1, "one request at a time is with the handler");
    httpd_release(httpd);
    int answers = 1 + (int)(sent / strlen(GET("/ok")));
    for (int i = 0; i < answers; i++) {
        cr_assert(client_read(&client, "GET", &r) && r.status == 200, "answer %d", i);
        client_response_fini(&r);
    }
    client_fini(&client);
    buf_fini(&all);
    stop(httpd);
}

/* A handler that answers others' requests inside its own: each connection gets its own bytes. */
Test(http, replies_to_others_are_not_mixed) {
    enum { CLIENTS = 10 };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client clients[CLIENTS];
    struct client last;
    for (int i = 0; i < CLIENTS; i++) {
        char raw[128];
        snprintf(raw, sizeof raw, GET_WITH("/hold", "X-Request-ID: r0\r\n") "%s",
                 i % 2 == 0 ? GET_WITH("/ok", "X-Request-ID: r1\r\n") : "");
        cr_assert(client_connect(&clients[i], httpd_port(httpd)));
        cr_assert(client_send(&clients[i], slice_str(raw)));
    }
    cr_assert(httpd_wait(httpd, HTTPD_HELD, CLIENTS));
    cr_assert(client_connect(&last, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&last, GET_WITH("/ok", "X-Request-ID: r0\r\n")
                                     GET_WITH("/release", "X-Request-ID: r1\r\n")
                                         GET_WITH("/ok", "X-Request-ID: r2\r\n")));
    check_answers(&last, 3);
    for (int i = 0; i < CLIENTS; i++) {
        check_answers(&clients[i], i % 2 == 0 ? 2 : 1);
        client_fini(&clients[i]);
    }
    client_fini(&last);
    stop(httpd);
}

Test(http, large_replies_arrive_whole) {
    static const size_t sizes[] = {16 * 1024, 16 * 1024 + 1, 64 * 1024, 1000000, 20000000};
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct client client;
        char raw[256];
        cr_assert(client_connect(&client, httpd_port(httpd)));
        snprintf(raw, sizeof raw, GET("/ok") "GET /big?%zu HTTP/1.1\r\n" HOST "\r\n" GET("/ok"),
                 sizes[i]);
        cr_assert(client_send(&client, slice_str(raw)));
        for (int k = 0; k < 3; k++) {
            struct client_response r;
            cr_assert(client_read(&client, "GET", &r) && r.status == 200);
            cr_assert(k != 1 || r.body.len == sizes[i]);
            for (size_t at = 0; k == 1 && at < r.body.len; at += 101) {
                cr_assert_eq(r.body.at[at], (char)('a' + at % 23));
            }
            client_response_fini(&r);
        }
        client_fini(&client);
    }
    stop(httpd);
}

/* ----------------------------------------------------------------------------- 100-continue */

Test(http, continue_is_sent_when_the_body_is_wanted) {
    static const char *const paths[] = {"/echo", "/echo-later"};
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (size_t i = 0; i < 2; i++) {
        struct client client;
        struct client_response r;
        char raw[256];
        snprintf(raw, sizeof raw,
                 "POST %s HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                 paths[i]);
        cr_assert(client_connect(&client, httpd_port(httpd)));
        cr_assert(client_send(&client, slice_str(raw)));
        cr_assert(client_read(&client, "POST", &r) && r.status == 100);
        client_response_fini(&r);
        cr_assert(CLIENT_SEND(&client, "hello"));
        cr_assert(client_read(&client, "POST", &r) && r.status == 200);
        cr_assert(slice_eq(r.body, SLICE("hello")));
        client_response_fini(&r);
        client_fini(&client);
    }
    stop(httpd);
}

Test(http, continue_is_not_sent_in_vain) {
    static const struct exchange cases[] = {
        /* the body is here already */
        {"POST", SLICE(POST("/echo", "5", "Expect: 100-continue\r\n") "hello"), 200, false,
         "hello"},
        /* nothing to wait for */
        {"POST", SLICE(POST("/echo", "0", "Expect: 100-continue\r\n")), 200, false, ""},
        /* the answer is known without the body, which may come or not: the end */
        {"POST", SLICE(POST("/early", "5", "Expect: 100-continue\r\n")), 403, true, NULL},
        {"POST", SLICE(POST("/early", "5", "Expect: 100-continue\r\n") "hello"), 403, true, NULL},
        {"POST", SLICE(POST("/echo", "1001", "Expect: 100-continue\r\n")), 413, true, NULL},
        /* another expectation is none of ours */
        {"POST", SLICE(POST("/echo", "5", "Expect: x\r\n") "hello"), 200, false, "hello"},
        {"POST",
         SLICE("POST /echo HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
               "hello"),
         200, true, "hello"},
    };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_exchange(httpd_port(httpd), &cases[i]);
    }
    stop(httpd);
}

/* ------------------------------------------------------------------------------- large bodies */

Test(http, a_chunked_body_over_the_cap_is_refused_while_it_comes) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client client;
    struct client_response r;
    char chunk[0x100 + 16];
    int n = snprintf(chunk, sizeof chunk, "100\r\n%0256d\r\n", 0);
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&client, POST_CHUNKED("/echo")));
    for (int i = 0; i < 4; i++) {
        cr_assert(client_send(&client, slice_make(chunk, (size_t)n)));
    }
    cr_assert(client_read(&client, "POST", &r) && r.status == 413);
    cr_assert_eq(httpd_get(httpd, HTTPD_BODIES), 0, "the handler doesn't hear of it");
    client_response_fini(&r);
    cr_assert(client_is_closed(&client));
    client_fini(&client);
    stop(httpd);
}

/* A client that sends all before it reads must find the answer, not a reset. */
Test(http, a_refused_upload_still_finds_the_answer) {
    static const char *const heads[] = {POST("/echo", "500000", ""), POST("/early", "500000", ""),
                                        "POST /early HTTP/1.1\r\n\r\n"};
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    char block[10000];
    memset(block, 'b', sizeof block);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct client client;
        struct client_response r;
        cr_assert(client_connect(&client, httpd_port(httpd)));
        cr_assert(client_send(&client, slice_str(heads[i])));
        for (int k = 0; k < 50; k++) {
            cr_assert(client_send(&client, slice_make(block, sizeof block)), "block %d", k);
        }
        cr_assert(client_read(&client, "POST", &r) && r.status >= 400, "%s", heads[i]);
        client_response_fini(&r);
        cr_assert(client_is_closed(&client) && !client.was_reset);
        client_fini(&client);
    }
    stop(httpd);
}

/* The reply is out when the rest turns out to be wrong: no second answer, just the end. */
Test(http, a_body_that_nobody_wanted_is_bounded_and_strict) {
    static const char *const bodies[] = {"zz\r\n", "5\r\nhello!!", "7D1\r\n"};
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct client client;
        struct client_response r;
        char filler[2001];
        memset(filler, 'x', sizeof filler);
        cr_assert(client_connect(&client, httpd_port(httpd)));
        cr_assert(CLIENT_SEND(&client, POST_CHUNKED("/early")));
        cr_assert(client_read(&client, "POST", &r) && r.status == 403);
        client_response_fini(&r);
        cr_assert(client_send(&client, slice_str(bodies[i])));
        cr_assert(client_send(&client, slice_make(filler, sizeof filler)));
        cr_assert(client_is_closed(&client), "%s", bodies[i]);
        client_fini(&client);
    }
    stop(httpd);
}
