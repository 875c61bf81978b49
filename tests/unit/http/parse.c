// SPDX-License-Identifier: MIT
#include "http/parse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/guard.h"
#include "kit/leaks.h"

/* Tables of raw requests, each read whole and cut in two at every byte: the verdict must be the
 * same however the bytes come. */

enum { BODY_MAX = 64, GOOD = 200, MORE = 100 };

struct reader {
    struct arena arena;
    struct http_parse *parse;
    struct http_request request;
    struct http_guard_head guard;
    struct buf body;
    struct slice head; /* as guarded so far */
    size_t used;       /* of all bytes */
    bool in_body;
    bool done;
};

static void reader_init(struct reader *reader) {
    *reader = (struct reader){.parse = http_parse_new()};
    arena_init(&reader->arena, LIMIT_REQUEST_ARENA_BYTES);
    buf_init(&reader->body, BODY_MAX);
}

static void reader_fini(struct reader *reader) {
    arena_fini(&reader->arena);
    buf_fini(&reader->body);
    http_parse_free(reader->parse);
}

static int read_head(struct reader *reader, struct slice bytes) {
    size_t length;
    int status = http_guard_head(&reader->guard, bytes, &length);
    if (status != 0 || length == 0) {
        return status != 0 ? status : MORE;
    }
    reader->request = (struct http_request){.arena = &reader->arena};
    struct slice head = arena_copy(&reader->arena, slice_head(bytes, length));
    status = http_parse_head(reader->parse, head, &reader->request);
    reader->used = length;
    reader->in_body = reader->request.has_body;
    reader->done = !reader->in_body;
    return status != 0 ? status : GOOD;
}

/* `bytes` is everything that has come. */
static int reader_feed(struct reader *reader, struct slice bytes) {
    if (!reader->in_body && !reader->done) {
        int status = read_head(reader, bytes);
        if (status != GOOD) {
            return status;
        }
    }
    if (reader->done) {
        return GOOD;
    }
    size_t used;
    struct slice rest = slice_from(bytes, reader->used);
    if (rest.len == 0) {
        return MORE;
    }
    int status = http_parse_body(reader->parse, rest, &reader->body, &used, &reader->done);
    reader->used += used;
    return status != 0 ? status : reader->done ? GOOD : MORE;
}

static int read_cut(struct reader *reader, struct slice bytes, size_t cut) {
    /* Memory of the exact length, so that the sanitizer sees a byte read too far. */
    char *first = mem_alloc(cut);
    memcpy(first, bytes.at, cut);
    int status = cut > 0 ? reader_feed(reader, slice_make(first, cut)) : MORE;
    mem_free(first);
    if (status != MORE || cut == bytes.len) {
        return status;
    }
    char *all = mem_alloc(bytes.len);
    memcpy(all, bytes.at, bytes.len);
    status = reader_feed(reader, slice_make(all, bytes.len));
    mem_free(all);
    return status;
}

struct verdict {
    const char *name;
    int status;
    struct slice bytes;
};

static void check(const struct verdict *c) {
    for (size_t cut = 0; cut <= c->bytes.len; cut++) {
        struct reader reader;
        reader_init(&reader);
        int status = read_cut(&reader, c->bytes, cut);
        cr_assert_eq(status, c->status, "%s, cut at %zu: %d, not %d", c->name, cut, status,
                     c->status);
        reader_fini(&reader);
    }
}

static void check_all(const struct verdict *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        check(&cases[i]);
    }
    CHECK_LEAKS();
}
#define CHECK_ALL(cases) check_all(cases, sizeof(cases) / sizeof(cases)[0])
#define RAW(text) SLICE(text)
#define LINE "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define GET LINE HOST
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

Test(parse, request_lines) {
    static const struct verdict cases[] = {
        {"plain", 200, RAW(GET "\r\n")},
        {"1.0 without a host", 200, RAW("GET / HTTP/1.0\r\n\r\n")},
        {"OPTIONS *", 200, RAW("OPTIONS * HTTP/1.1\r\n" HOST "\r\n")},
        {"percent NUL is a matter of the handler", 200, RAW("GET /%00 HTTP/1.1\r\n" HOST "\r\n")},
        {"TRACE is a method", 200, RAW("TRACE / HTTP/1.1\r\n" HOST "\r\n")},
        {"no version", 400, RAW("GET /\r\n")},
        {"no version, with headers", 400, RAW("GET /x\r\n" HOST "\r\n")},
        {"no version, bare LF", 400, RAW("GET /x\nHost: a\n\n")},
        {"no target", 400, RAW("GET HTTP/1.1\r\n" HOST "\r\n")},
        {"two spaces", 400, RAW("GET  / HTTP/1.1\r\n" HOST "\r\n")},
        {"tab", 400, RAW("GET\t/ HTTP/1.1\r\n" HOST "\r\n")},
        {"space in the target", 400, RAW("GET /a b HTTP/1.1\r\n" HOST "\r\n")},
        {"space at the end", 400, RAW("GET / HTTP/1.1 \r\n" HOST "\r\n")},
        {"space at the start", 400, RAW(" GET / HTTP/1.1\r\n" HOST "\r\n")},
        {"bare LF", 400, RAW("GET / HTTP/1.1\n" HOST "\r\n")},
        {"bare CR", 400, RAW("GET / HTTP/1.1\rHost: a\r\n\r\n")},
        {"CR in the target", 400, RAW("GET /\rx HTTP/1.1\r\n" HOST "\r\n")},
        {"fragment", 400, RAW("GET /a#b HTTP/1.1\r\n" HOST "\r\n")},
        {"NUL in the target", 400, RAW("GET /\0 HTTP/1.1\r\n" HOST "\r\n")},
        {"DEL in the target", 400, RAW("GET /\x7f HTTP/1.1\r\n" HOST "\r\n")},
        {"high byte in the target", 400, RAW("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n")},
        {"high byte late in the target", 400, RAW("GET /0123456789\xff HTTP/1.1\r\n" HOST "\r\n")},
        {"GET *", 400, RAW("GET * HTTP/1.1\r\n" HOST "\r\n")},
        {"relative target", 400, RAW("GET a/b HTTP/1.1\r\n" HOST "\r\n")},
        {"CONNECT", 400, RAW("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")},
        {"lower-case version", 400, RAW("GET / http/1.1\r\n" HOST "\r\n")},
        {"no minor version", 400, RAW("GET / HTTP/1\r\n" HOST "\r\n")},
        {"leading zeros", 400, RAW("GET / HTTP/01.1\r\n" HOST "\r\n")},
        {"space in the version", 400, RAW("GET / HTTP/ 1.1\r\n" HOST "\r\n")},
        {"another protocol", 400, RAW("GET / ICE/1.1\r\n" HOST "\r\n")},
        {"1.2", 505, RAW("GET / HTTP/1.2\r\n" HOST "\r\n")},
        {"0.9", 505, RAW("GET / HTTP/0.9\r\n" HOST "\r\n")},
        {"2.0", 505, RAW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
        {"9.9", 505, RAW("GET / HTTP/9.9\r\n" HOST "\r\n")},
        {"unknown method", 501, RAW("FOOBAR / HTTP/1.1\r\n" HOST "\r\n")},
        {"lower-case method", 501, RAW("get / HTTP/1.1\r\n" HOST "\r\n")},
        {"no token", 400, RAW("G{T / HTTP/1.1\r\n" HOST "\r\n")},
        {"a TLS hello", 400, RAW("\x16\x03\x01\x02")},
        {"an endless method", 400, RAW("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")},
        {"only blanks", 400, RAW("   \r\n\r\n")},
        {"not complete", 100, RAW("GET / HTTP/1.1\r\nHost: a\r\n")},
        {"not complete, one line", 100, RAW("GET / HTT")},
    };
    CHECK_ALL(cases);
}

Test(parse, headers) {
    static const struct verdict cases[] = {
        {"many kinds", 200, RAW(GET "X-A: b\r\nY:\r\nZ:  c \t\r\n!#$%&'*+-.^_`|~09Az: x\r\n\r\n")},
        {"tab and high bytes in a value", 200, RAW(GET "X: a\tb \xc3\xa9 0123456789\t\r\n\r\n")},
        {"upgrade is not taken", 200, RAW(GET "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")},
        {"space before the colon", 400, RAW(GET "X : a\r\n\r\n")},
        {"tab before the colon", 400, RAW(GET "X\t: a\r\n\r\n")},
        {"no colon", 400, RAW(GET "X\r\n\r\n")},
        {"no name", 400, RAW(GET ": a\r\n\r\n")},
        {"obsolete folding", 400, RAW(GET "X: a\r\n b\r\n\r\n")},
        {"folding with a tab", 400, RAW(GET "X: a\r\n\tb\r\n\r\n")},
        {"folding of the first line", 400, RAW(LINE " X: a\r\n" HOST "\r\n")},
        {"a line of blanks", 400, RAW(LINE " \r\n" HOST "\r\n")},
        {"bracket in a name", 400, RAW(GET "X[: a\r\n\r\n")},
        {"high byte in a name", 400, RAW(GET "X\xc3: a\r\n\r\n")},
        {"NUL in a name", 400, RAW(GET "X\0: a\r\n\r\n")},
        {"NUL in a value", 400, RAW(GET "X: a\0b\r\n\r\n")},
        {"NUL late in a value", 400, RAW(GET "X: 0123456789\0 0123456789\r\n\r\n")},
        {"BEL in a value", 400, RAW(GET "X: \x07\r\n\r\n")},
        {"DEL in a value", 400, RAW(GET "X: 0123456789\x7f\r\n\r\n")},
        {"CR in a value", 400, RAW(GET "X: a\rb\r\n\r\n")},
        {"CR CR LF", 400, RAW(GET "X: a\r\r\n\r\n")},
        {"bare LF", 400, RAW(GET "X: a\n\r\n")},
        {"bare LF at the end", 400, RAW(GET "X: a\r\n\n")},
    };
    CHECK_ALL(cases);
}

Test(parse, hosts) {
    static const struct verdict cases[] = {
        {"a port", 200, RAW(LINE "Host: example.com:8080\r\n\r\n")},
        {"an empty port", 200, RAW(LINE "Host: example.com:\r\n\r\n")},
        {"IPv6", 200, RAW(LINE "Host: [::1]:80\r\n\r\n")},
        {"IPv6 without a port", 200, RAW(LINE "Host: [fe80::1]\r\n\r\n")},
        {"an underscore", 200, RAW(LINE "Host: my_service\r\n\r\n")},
        {"none", 400, RAW(LINE "\r\n")},
        {"none, but others", 400, RAW(LINE "X: a\r\n\r\n")},
        {"two", 400, RAW(GET "Host: b\r\n\r\n")},
        {"two alike", 400, RAW(GET "Host: a\r\n\r\n")},
        {"two, in 1.0", 400, RAW("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n")},
        {"empty", 400, RAW(LINE "Host:\r\n\r\n")},
        {"blank", 400, RAW(LINE "Host: \r\n\r\n")},
        {"user", 400, RAW(LINE "Host: u@a\r\n\r\n")},
        {"path", 400, RAW(LINE "Host: a/b\r\n\r\n")},
        {"list", 400, RAW(LINE "Host: a, b\r\n\r\n")},
        {"list without a blank", 400, RAW(LINE "Host: a,b\r\n\r\n")},
        {"blank inside", 400, RAW(LINE "Host: a b\r\n\r\n")},
        {"no name", 400, RAW(LINE "Host: :80\r\n\r\n")},
        {"two ports", 400, RAW(LINE "Host: a:80:80\r\n\r\n")},
        {"a port that is none", 400, RAW(LINE "Host: a:http\r\n\r\n")},
        {"a port too high", 400, RAW(LINE "Host: a:65536\r\n\r\n")},
        {"IPv6 not closed", 400, RAW(LINE "Host: [::1\r\n\r\n")},
        {"IPv6 empty", 400, RAW(LINE "Host: []\r\n\r\n")},
        {"high byte", 400, RAW(LINE "Host: \xc3\xa9\r\n\r\n")},
    };
    CHECK_ALL(cases);
}

Test(parse, lengths) {
    static const struct verdict cases[] = {
        {"five", 200, RAW(POST "Content-Length: 5\r\n\r\nhello")},
        {"five of ten", 100, RAW(POST "Content-Length: 10\r\n\r\nhello")},
        {"zero", 200, RAW(POST "Content-Length: 0\r\n\r\n")},
        {"none", 200, RAW(POST "\r\n")},
        {"leading zeros", 200, RAW(POST "Content-Length: 005\r\n\r\nhello")},
        {"blanks around", 200, RAW(POST "Content-Length: \t5 \r\n\r\nhello")},
        {"with an upgrade", 200,
         RAW(POST "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello")},
        {"as long as the cap", 200,
         RAW(POST "Content-Length: 64\r\n\r\n"
                  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")},
        {"empty", 400, RAW(POST "Content-Length:\r\n\r\n")},
        {"letters", 400, RAW(POST "Content-Length: abc\r\n\r\n")},
        {"letters after", 400, RAW(POST "Content-Length: 5x\r\n\r\nhello")},
        {"plus", 400, RAW(POST "Content-Length: +5\r\n\r\nhello")},
        {"minus", 400, RAW(POST "Content-Length: -1\r\n\r\n")},
        {"minus zero", 400, RAW(POST "Content-Length: -0\r\n\r\n")},
        {"hex", 400, RAW(POST "Content-Length: 0x5\r\n\r\nhello")},
        {"underscore", 400, RAW(POST "Content-Length: 1_0\r\n\r\nhellohello")},
        {"blank inside", 400, RAW(POST "Content-Length: 1 0\r\n\r\nhellohello")},
        {"list of alike", 400, RAW(POST "Content-Length: 5, 5\r\n\r\nhello")},
        {"list", 400, RAW(POST "Content-Length: 5, 10\r\n\r\nhello")},
        {"two", 400, RAW(POST "Content-Length: 5\r\nContent-Length: 10\r\n\r\nhello")},
        {"two alike", 400, RAW(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")},
        {"too many digits", 400, RAW(POST "Content-Length: 99999999999999999999\r\n\r\n")},
        {"above a signed 64-bit", 400, RAW(POST "Content-Length: 9223372036854775808\r\n\r\n")},
    };
    CHECK_ALL(cases);
}

Test(parse, codings) {
    static const struct verdict cases[] = {
        {"any case", 200, RAW(POST "transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n")},
        {"gzip", 501, RAW(POST "Transfer-Encoding: gzip\r\n\r\n")},
        {"identity", 501, RAW(POST "Transfer-Encoding: identity\r\n\r\n")},
        {"xchunked", 501, RAW(POST "Transfer-Encoding: xchunked\r\n\r\n")},
        {"gzip, chunked", 501, RAW(POST "Transfer-Encoding: gzip, chunked\r\n\r\n")},
        {"chunked, gzip", 400, RAW(POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n")},
        {"chunked, chunked", 400, RAW(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")},
        {"empty", 400, RAW(POST "Transfer-Encoding:\r\n\r\n")},
        {"leading comma", 400, RAW(POST "Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n")},
        {"trailing comma", 400, RAW(POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n")},
        {"parameters", 400, RAW(POST "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n")},
        {"quoted", 400, RAW(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n")},
        {"vertical tab", 400,
         RAW(POST "Transfer-Encoding: \x0b"
                  "chunked\r\n\r\n")},
        {"two", 400,
         RAW(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"two that differ", 400,
         RAW(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"with a length", 400,
         RAW(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")},
        {"after a length", 400,
         RAW(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"unknown with a length", 400,
         RAW(POST "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n")},
        {"in 1.0", 400, RAW("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
    };
    CHECK_ALL(cases);
}

Test(parse, chunks) {
    static const struct verdict cases[] = {
        {"none", 200, RAW(CHUNKED "0\r\n\r\n")},
        {"one", 200, RAW(CHUNKED "5\r\nhello\r\n0\r\n\r\n")},
        {"two", 200, RAW(CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")},
        {"upper-case hex", 200, RAW(CHUNKED "A\r\n0123456789\r\n0\r\n\r\n")},
        {"leading zeros", 200, RAW(CHUNKED "005\r\nhello\r\n000\r\n\r\n")},
        {"extension", 200, RAW(CHUNKED "5;a=b\r\nhello\r\n0\r\n\r\n")},
        {"quoted extension", 200, RAW(CHUNKED "5;a=\"b c\"\r\nhello\r\n0\r\n\r\n")},
        {"control byte behind a backslash", 400,
         RAW(CHUNKED "5;a=\"\\\x01\"\r\nhello\r\n0\r\n\r\n")},
        {"extension without a value", 200, RAW(CHUNKED "5;a\r\nhello\r\n0\r\n\r\n")},
        {"trailer", 200, RAW(CHUNKED "5\r\nhello\r\n0\r\nX: y\r\n\r\n")},
        {"not complete", 100, RAW(CHUNKED "5\r\nhello\r\n")},
        {"over the cap", 413,
         RAW(CHUNKED "40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
                     "1\r\nx\r\n0\r\n\r\n")},
        {"no size", 400, RAW(CHUNKED "\r\nhello\r\n0\r\n\r\n")},
        {"hex prefix", 400, RAW(CHUNKED "0x5\r\nhello\r\n0\r\n\r\n")},
        {"plus", 400, RAW(CHUNKED "+5\r\nhello\r\n0\r\n\r\n")},
        {"minus", 400, RAW(CHUNKED "-1\r\nhello\r\n0\r\n\r\n")},
        {"underscore", 400, RAW(CHUNKED "1_0\r\n0123456789abcdef\r\n0\r\n\r\n")},
        {"leading blank", 400, RAW(CHUNKED " 5\r\nhello\r\n0\r\n\r\n")},
        {"trailing blank", 400, RAW(CHUNKED "5 \r\nhello\r\n0\r\n\r\n")},
        {"too many digits", 400, RAW(CHUNKED "FFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n")},
        {"bare LF after the size", 400, RAW(CHUNKED "5\nhello\r\n0\r\n\r\n")},
        {"bare CR after the size", 400, RAW(CHUNKED "5\rhello\r\n0\r\n\r\n")},
        {"bare LF after the data", 400, RAW(CHUNKED "5\r\nhello\n0\r\n\r\n")},
        {"nothing after the data", 400, RAW(CHUNKED "5\r\nhello0\r\n\r\n")},
        {"more data than said", 400, RAW(CHUNKED "5\r\nhello!!\r\n0\r\n\r\n")},
        {"bare LF at the end", 400, RAW(CHUNKED "5\r\nhello\r\n0\r\n\n")},
        {"bare semicolon", 400, RAW(CHUNKED "5;\r\nhello\r\n0\r\n\r\n")},
        {"bracket in an extension", 400, RAW(CHUNKED "5;a[=b\r\nhello\r\n0\r\n\r\n")},
        {"bare LF in an extension", 400, RAW(CHUNKED "5;a\nhello\r\n0\r\n\r\n")},
        {"CR in an extension", 400, RAW(CHUNKED "5;a\rX\r\nhello\r\n0\r\n\r\n")},
        {"NUL in an extension", 400, RAW(CHUNKED "5;\0\r\nhello\r\n0\r\n\r\n")},
        {"quote not closed", 400, RAW(CHUNKED "5;a=\"b\r\nhello\r\n0\r\n\r\n")},
        {"trailer without a colon", 400, RAW(CHUNKED "0\r\nX\r\n\r\n")},
        {"folded trailer", 400, RAW(CHUNKED "0\r\nX: a\r\n b\r\n\r\n")},
        {"control byte in a trailer", 400, RAW(CHUNKED "0\r\nX: \x01\r\n\r\n")},
        {"bare LF in a trailer", 400, RAW(CHUNKED "0\r\nX: a\n\r\n")},
    };
    CHECK_ALL(cases);
}

/* What a request that is let through says, wherever it was cut. */
Test(parse, fields_of_a_request) {
    static const char raw[] = "POST /a/b?c=d&e HTTP/1.1\r\nHOST: h:1\r\nX-Empty:\r\n"
                              "authorization:  Bearer x \r\nCookie: a=1\r\ncookie: b=2\r\n"
                              "Expect: 100-Continue\r\nContent-Length: 3\r\nConnection: close\r\n"
                              "X-Request-Id: r\r\n\r\nabcGET ";
    struct slice bytes = SLICE(raw);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        struct reader r;
        reader_init(&r);
        cr_assert_eq(read_cut(&r, bytes, cut), GOOD, "cut at %zu", cut);
        const struct http_request *q = &r.request;
        cr_assert_eq(q->method, HTTP_POST);
        cr_assert(slice_eq(q->method_text, SLICE("POST")));
        cr_assert(slice_eq(q->target, SLICE("/a/b?c=d&e")));
        cr_assert(slice_eq(q->path, SLICE("/a/b")));
        cr_assert(slice_eq(q->query, SLICE("c=d&e")));
        cr_assert_eq(q->minor, 1);
        cr_assert(q->has_body && !q->is_chunked && !q->keeps_alive && q->expects_continue);
        cr_assert_eq(q->content_length, 3u);
        cr_assert_eq(q->header_count, 9u, "%zu headers", q->header_count);
        cr_assert(slice_eq(q->headers[1].name, SLICE("X-Empty")));
        cr_assert(q->headers[1].value.len == 0 && !slice_is_null(q->headers[1].value));
        cr_assert(slice_eq(http_header(q, HTTP_HEADER_HOST), SLICE("h:1")));
        cr_assert(slice_eq(http_header(q, HTTP_HEADER_AUTHORIZATION), SLICE("Bearer x")));
        cr_assert(slice_eq(http_header(q, HTTP_HEADER_COOKIE), SLICE("a=1")));
        cr_assert_eq(q->known_count[HTTP_HEADER_COOKIE], 2);
        cr_assert(slice_eq(http_header(q, HTTP_HEADER_X_REQUEST_ID), SLICE("r")));
        cr_assert(slice_is_null(http_header(q, HTTP_HEADER_ORIGIN)));
        cr_assert(slice_eq(buf_slice(&r.body), SLICE("abc")));
        cr_assert_eq(r.used, bytes.len - 4, "the next request's bytes are left");
        reader_fini(&r);
    }
    CHECK_LEAKS();
}

Test(parse, every_known_header_is_found) {
#define NAME(id, name) name,
    static const char *const names[] = {HTTP_HEADERS_MAP(NAME)};
#undef NAME
    for (int id = 0; id < HTTP_HEADER_COUNT; id++) {
        char raw[256];
        bool is_host = id == HTTP_HEADER_HOST;
        const char *value = id == HTTP_HEADER_CONTENT_LENGTH      ? "0"
                            : id == HTTP_HEADER_TRANSFER_ENCODING ? "chunked"
                                                                  : "v";
        snprintf(raw, sizeof raw, LINE "%s%s: %s\r\n\r\n0\r\n\r\n", is_host ? "" : HOST, names[id],
                 value);
        struct reader r;
        reader_init(&r);
        cr_assert_eq(read_cut(&r, slice_str(raw), 0), GOOD, "%s", names[id]);
        for (int other = 0; other < HTTP_HEADER_COUNT; other++) {
            unsigned expected = other == id || other == HTTP_HEADER_HOST;
            cr_assert_eq(r.request.known_count[other], expected, "%s in %s", names[other],
                         names[id]);
        }
        cr_assert(slice_eq(http_header(&r.request, (enum http_header_id)id), slice_str(value)));
        reader_fini(&r);
    }
    CHECK_LEAKS();
}

/* Names of a known one's length and first letter. */
Test(parse, near_misses_are_not_known) {
    static const char *const names[] = {"hosu",         "origi_",         "cooki_",
                                        "x-request_id", "content_length", "transfer_encoding"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char raw[256];
        snprintf(raw, sizeof raw, GET "%s: 5\r\n\r\n", names[i]);
        struct reader r;
        reader_init(&r);
        cr_assert_eq(read_cut(&r, slice_str(raw), 0), GOOD, "%s", names[i]);
        for (int id = 0; id < HTTP_HEADER_COUNT; id++) {
            cr_assert_eq(r.request.known_count[id], id == HTTP_HEADER_HOST, "%s", names[i]);
        }
        reader_fini(&r);
    }
    CHECK_LEAKS();
}

Test(parse, methods_and_persistence) {
    static const struct {
        const char *raw;
        enum http_method method;
        bool keeps_alive;
    } cases[] = {
        {GET "\r\n", HTTP_GET, true},
        {GET "Connection: close\r\n\r\n", HTTP_GET, false},
        {GET "Connection: x, Close\r\n\r\n", HTTP_GET, false},
        {"HEAD / HTTP/1.0\r\n\r\n", HTTP_HEAD, false},
        {"HEAD / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", HTTP_HEAD, true},
        {"PUT / HTTP/1.1\r\n" HOST "\r\n", HTTP_PUT, true},
        {"DELETE / HTTP/1.1\r\n" HOST "\r\n", HTTP_DELETE, true},
        {"PATCH / HTTP/1.1\r\n" HOST "\r\n", HTTP_PATCH, true},
        {"OPTIONS / HTTP/1.1\r\n" HOST "\r\n", HTTP_OPTIONS, true},
        {"POST / HTTP/1.1\r\n" HOST "\r\n", HTTP_POST, true},
        {"TRACE / HTTP/1.1\r\n" HOST "\r\n", HTTP_OTHER, true},
        {"PROPFIND / HTTP/1.1\r\n" HOST "\r\n", HTTP_OTHER, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reader r;
        reader_init(&r);
        cr_assert_eq(read_cut(&r, slice_str(cases[i].raw), 0), GOOD, "%s", cases[i].raw);
        cr_assert_eq(r.request.method, cases[i].method, "%s", cases[i].raw);
        cr_assert_eq(r.request.keeps_alive, cases[i].keeps_alive, "%s", cases[i].raw);
        reader_fini(&r);
    }
    CHECK_LEAKS();
}

Test(parse, absolute_targets) {
    static const struct {
        const char *raw;
        int status;
        const char *target;
    } cases[] = {
        {"GET http://h:1/a?b HTTP/1.1\r\n" HOST "\r\n", 200, "/a?b"},
        {"GET HTTPS://h/ HTTP/1.1\r\n" HOST "\r\n", 200, "/"},
        {"GET http://h HTTP/1.1\r\n" HOST "\r\n", 200, "/"},
        {"GET http://h?b=c HTTP/1.1\r\n" HOST "\r\n", 200, "/?b=c"},
        {"OPTIONS http://h HTTP/1.1\r\n" HOST "\r\n", 200, "*"},
        {"GET http:///a HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
        {"GET http://u@h/a HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
        {"GET ftp://h/a HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
        {"GET http:/a HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reader r;
        reader_init(&r);
        cr_assert_eq(read_cut(&r, slice_str(cases[i].raw), 0), cases[i].status, "%s", cases[i].raw);
        if (cases[i].target != NULL) {
            cr_assert(slice_eq(r.request.target, slice_str(cases[i].target)), "%s", cases[i].raw);
            cr_assert(slice_starts(http_header(&r.request, HTTP_HEADER_HOST), SLICE("h")));
        }
        reader_fini(&r);
    }
    CHECK_LEAKS();
}

/* One head of exactly `bytes`, whose parts are filled up with `fill`. */
static struct slice make_head(size_t bytes, const char *before, const char *after) {
    char *at = mem_alloc(bytes);
    size_t n = strlen(before);
    memset(at, 'x', bytes);
    memcpy(at, before, n);
    memcpy(at + bytes - strlen(after), after, strlen(after));
    return slice_make(at, bytes);
}

Test(parse, lengths_of_heads) {
    static const char end[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
    const size_t rest = sizeof "GET " - 1 + sizeof end - 1;
    const struct {
        size_t bytes;
        const char *before;
        const char *after;
        int status;
    } cases[] = {
        {LIMIT_HEAD_BYTES, GET "X: ", "\r\n\r\n", 200},
        {LIMIT_HEAD_BYTES + 1, GET "X: ", "\r\n\r\n", 431},
        {LIMIT_HEAD_BYTES + 5000, GET, ": a\r\n\r\n", 431},
        {LIMIT_HEAD_BYTES + 5000, GET "X: ", "x", 431},
        {rest + LIMIT_TARGET_BYTES, "GET /", end, 200},
        {rest + LIMIT_TARGET_BYTES + 1, "GET /", end, 414},
        {LIMIT_HEAD_BYTES + 5000, "GET /", "x", 414},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice head = make_head(cases[i].bytes, cases[i].before, cases[i].after);
        for (size_t cut = 0; cut <= head.len; cut += 997) {
            struct reader r;
            reader_init(&r);
            int status = read_cut(&r, head, cut);
            cr_assert_eq(status, cases[i].status, "case %zu, cut at %zu: %d", i, cut, status);
            reader_fini(&r);
        }
        mem_free((char *)(uintptr_t)head.at);
    }
    CHECK_LEAKS();
}

Test(parse, numbers_of_headers) {
    for (int n = LIMIT_HEADERS - 1; n <= LIMIT_HEADERS + 1; n++) {
        struct buf raw;
        struct reader r;
        buf_init(&raw, LIMIT_HEAD_BYTES);
        reader_init(&r);
        BUF_LIT(&raw, GET);
        for (int i = 1; i < n; i++) {
            BUF_LIT(&raw, "X: y\r\n");
        }
        BUF_LIT(&raw, "\r\n");
        cr_assert_eq(read_cut(&r, buf_slice(&raw), 0), n <= LIMIT_HEADERS ? GOOD : 431, "%d", n);
        buf_fini(&raw);
        reader_fini(&r);
    }
    CHECK_LEAKS();
}

Test(parse, extensions_and_trailers_are_bounded) {
    static const char *const befores[] = {CHUNKED "1;a=", CHUNKED "0\r\nX: "};
    for (size_t i = 0; i < 2; i++) {
        struct slice bytes = make_head(LIMIT_CHUNK_EXTRA_BYTES + 200, befores[i], "x");
        struct reader r;
        reader_init(&r);
        cr_assert_eq(read_cut(&r, bytes, 100), 400);
        reader_fini(&r);
        mem_free((char *)(uintptr_t)bytes.at);
    }
    CHECK_LEAKS();
}

/* Nobody may make the scan start over: the bytes that were looked at are remembered. */
Test(parse, a_head_that_trickles_is_scanned_once) {
    struct slice head = make_head(LIMIT_HEAD_BYTES, GET "X: ", "\r\n\r\n");
    struct http_guard_head guard = {0};
    for (size_t n = 1; n < head.len; n++) {
        size_t length;
        cr_assert_eq(http_guard_head(&guard, slice_head(head, n), &length), 0);
        cr_assert_eq(length, 0u);
        cr_assert(guard.seen == n && guard.line <= n);
    }
    mem_free((char *)(uintptr_t)head.at);
    CHECK_LEAKS();
}
