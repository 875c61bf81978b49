// SPDX-License-Identifier: MIT
/* A request's bytes through the guard and llhttp: nothing reads out of bounds, every slice lies in
 * the head, and the verdict is the same however the bytes are cut. The first byte says where. */
#include "base/limits.h"
#include "base/mem.h"
#include "fuzz/fuzz.h"
#include "http/guard.h"
#include "http/parse.h"

enum { BODY_MAX = 4096, MORE = 100, GOOD = 200 };

struct reading {
    struct arena arena;
    struct http_parse *parse;
    struct http_request request;
    struct http_guard_head guard;
    struct buf body;
    size_t used;
    bool in_body;
    bool done;
};

static void check_request(const struct http_request *request, struct slice head) {
    FUZZ_CHECK(fuzz_lies_in(request->method_text, head));
    FUZZ_CHECK(head.len <= LIMIT_HEAD_BYTES && request->header_count <= LIMIT_HEADERS);
    FUZZ_CHECK(request->target.len <= LIMIT_TARGET_BYTES);
    for (size_t i = 0; i < request->header_count; i++) {
        FUZZ_CHECK(fuzz_lies_in(request->headers[i].name, head) &&
                   request->headers[i].name.len > 0);
        FUZZ_CHECK(fuzz_lies_in(request->headers[i].value, head));
        FUZZ_CHECK(memchr(request->headers[i].value.at, '\n', request->headers[i].value.len) ==
                   NULL);
    }
    FUZZ_CHECK(request->target.len > 0 && slice_is_printable(request->target));
    FUZZ_CHECK(fuzz_lies_in(request->path, request->target) &&
               fuzz_lies_in(request->query, request->target));
    FUZZ_CHECK(request->minor == 0 || request->known_count[HTTP_HEADER_HOST] == 1);
    FUZZ_CHECK(!request->is_chunked || request->content_length == 0);
    http_query(request, "state", NULL);
    http_cookie(request, SLICE("latchkey-flow"));
}

static int feed(struct reading *r, struct slice bytes) {
    if (!r->in_body && !r->done) {
        size_t length;
        int status = http_guard_head(&r->guard, bytes, &length);
        if (status != 0 || length == 0) {
            return status != 0 ? status : MORE;
        }
        r->request = (struct http_request){.arena = &r->arena};
        struct slice head = arena_copy(&r->arena, slice_head(bytes, length));
        status = http_parse_head(r->parse, head, &r->request);
        if (status != 0) {
            return status;
        }
        check_request(&r->request, head);
        r->used = length;
        r->in_body = r->request.has_body;
        r->done = !r->in_body;
    }
    struct slice rest = slice_from(bytes, r->used);
    if (r->done || rest.len == 0) {
        return r->done ? GOOD : MORE;
    }
    size_t used;
    int status = http_parse_body(r->parse, rest, &r->body, &used, &r->done);
    r->used += used;
    return status != 0 ? status : r->done ? GOOD : MORE;
}

static int feed_copy(struct reading *r, struct slice bytes) {
    char *copy = mem_alloc(bytes.len);
    memcpy(copy, bytes.at, bytes.len);
    int status = feed(r, slice_make(copy, bytes.len));
    mem_free(copy);
    return status;
}

static int read_cut(struct reading *r, struct slice bytes, size_t cut) {
    *r = (struct reading){.parse = http_parse_new()};
    arena_init(&r->arena, LIMIT_REQUEST_ARENA_BYTES);
    buf_init(&r->body, BODY_MAX);
    int status = cut > 0 ? feed_copy(r, slice_head(bytes, cut)) : MORE;
    return status == MORE && cut < bytes.len ? feed_copy(r, bytes) : status;
}

static void end(struct reading *r) {
    arena_fini(&r->arena);
    buf_fini(&r->body);
    http_parse_free(r->parse);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    if (n < 2) {
        return 0;
    }
    struct slice text = slice_make(bytes + 1, n - 1);
    struct reading whole;
    struct reading cut;
    int status = read_cut(&whole, text, 0);
    FUZZ_CHECK(read_cut(&cut, text, bytes[0] * text.len / 256) == status);
    FUZZ_CHECK(status != GOOD ||
               (whole.used == cut.used && slice_eq(buf_slice(&whole.body), buf_slice(&cut.body))));
    end(&whole);
    end(&cut);
    return 0;
}
