// SPDX-License-Identifier: MIT
/* JSON as it comes in and goes out, and the rules for what a request may say.
 *   d<text>            a document that is read and written again is read as the same
 *   s<bytes>           a string of any bytes is written as JSON
 *   n<8 bytes>         so is a number or a time
 *   f<body>            the members that an endpoint asks for: all good, or one answer
 *   q<query>           the same of a query
 * An answer goes to the stand-ins below, in the place of api/reply. */
#include <math.h>

#include "api/fields.h"
#include "api/query.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "fuzz/fuzz.h"

enum { TEXT_MAX = 1 << 20, ESCAPE_BYTES = 6, DEPTH_MAX = 2048 };

/* ---- answers ---- */

static void answered(struct call *call) {
    unsigned *answers = call->flow;
    ++*answers;
}

void reply_fail(struct call *call, enum rc rc) {
    FUZZ_CHECK(rc == RC_INVALID_JSON);
    answered(call);
}

void reply_invalid(struct call *call, const struct reply_field_error *errors, size_t n) {
    FUZZ_CHECK(n > 0 && n <= FIELDS_MAX && n <= QUERY_ERRORS_MAX);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(errors[i].where != NULL && errors[i].message != NULL);
    }
    answered(call);
}

/* ---- documents ---- */

/* The reader doesn't list the members of an object: those of these names are looked at. */
static const char *const names[] = {"a", "b", "keys", "items"};
enum { NAMES = sizeof names / sizeof names[0] };

static void rewrite(struct jsonw *w, const struct json *value, unsigned depth);

static void rewrite_inner(struct jsonw *w, const struct json *value, unsigned depth) {
    bool is_array = json_kind_of(value) == JSON_KIND_ARRAY;
    jsonw_open(w, is_array ? '[' : '{');
    for (size_t i = 0; i < json_length(value); i++) {
        rewrite(w, json_at(value, i), depth + 1);
    }
    for (size_t i = 0; i < NAMES; i++) {
        if (json_member(value, names[i]) != NULL) {
            jsonw_name(w, names[i]);
            rewrite(w, json_member(value, names[i]), depth + 1);
        }
    }
    jsonw_close(w, is_array ? ']' : '}');
}

static void rewrite(struct jsonw *w, const struct json *value, unsigned depth) {
    struct slice text;
    int64_t integer;
    double real;
    bool truth;
    FUZZ_CHECK(depth <= DEPTH_MAX);
    if (json_to_slice(value, &text)) {
        FUZZ_CHECK(slice_is_utf8(text) && memchr(text.at, '\0', text.len) == NULL);
        jsonw_slice(w, text);
    } else if (json_to_i64(value, &integer)) {
        jsonw_i64(w, integer);
    } else if (json_to_double(value, &real)) {
        FUZZ_CHECK(isfinite(real));
        jsonw_double(w, real);
    } else if (json_to_bool(value, &truth)) {
        jsonw_bool(w, truth);
    } else if (json_kind_of(value) == JSON_KIND_NULL) {
        jsonw_null(w);
    } else {
        rewrite_inner(w, value, depth);
    }
}

/* Reals are written with 15 digits. The largest of them become more than any number then. */
static bool is_number_like(const struct json *a, const struct json *b) {
    double x = 0;
    double y = 0;
    return json_to_double(a, &x) && json_to_double(b, &y) &&
           fabs(x - y) <= fabs(x) * 1e-14 + 1e-320;
}

static bool is_like(const struct json *a, const struct json *b) {
    struct slice x = SLICE_NULL;
    struct slice y = SLICE_NULL;
    int64_t n = 0;
    int64_t m = 0;
    bool same = json_to_slice(a, &x) == json_to_slice(b, &y) && slice_eq(x, y);
    if (json_kind_of(a) == JSON_KIND_REAL) {
        return is_number_like(a, b);
    }
    same = same && json_kind_of(a) == json_kind_of(b) && json_length(a) == json_length(b);
    same = same && json_to_i64(a, &n) == json_to_i64(b, &m) && n == m;
    for (size_t i = 0; same && i < json_length(a); i++) {
        same = is_like(json_at(a, i), json_at(b, i));
    }
    for (size_t i = 0; same && i < NAMES; i++) {
        const struct json *of_a = json_member(a, names[i]);
        const struct json *of_b = json_member(b, names[i]);
        same = (of_a == NULL) == (of_b == NULL) && (of_a == NULL || is_like(of_a, of_b));
    }
    return same;
}

static void check_document(struct slice text) {
    struct json_document *strict = json_parse(text, JSON_UNIQUE);
    struct json_document *document = json_parse(text, JSON_LAST_WINS);
    struct buf out;
    FUZZ_CHECK(strict == NULL || document != NULL);
    FUZZ_CHECK(strict == NULL || is_like(json_root(strict), json_root(document)));
    buf_init(&out, TEXT_MAX);
    if (document != NULL) {
        struct jsonw w = jsonw_start(&out);
        rewrite(&w, json_root(document), 0);
        FUZZ_CHECK(buf_ok(&out));
        struct json_document *again = json_parse(buf_slice(&out), JSON_LAST_WINS);
        bool has_huge = fuzz_holds(buf_slice(&out), SLICE("e+308"));
        FUZZ_CHECK(again != NULL || has_huge);
        FUZZ_CHECK(again == NULL || has_huge || is_like(json_root(document), json_root(again)));
        json_close(again);
    }
    buf_fini(&out);
    json_close(document);
    json_close(strict);
}

/* ---- writing ---- */

static void check_string(struct slice bytes) {
    struct buf out;
    struct slice text = SLICE_NULL;
    buf_init(&out, TEXT_MAX);
    struct jsonw w = jsonw_start(&out);
    jsonw_slice(&w, bytes);
    FUZZ_CHECK(buf_ok(&out) && out.len <= ESCAPE_BYTES * bytes.len + 2);
    FUZZ_CHECK(slice_is_utf8(buf_slice(&out)));
    struct json_document *again = json_parse(buf_slice(&out), JSON_LAST_WINS);
    /* A NUL is written, and is what the reader refuses. */
    bool has_nul = bytes.len > 0 && memchr(bytes.at, '\0', bytes.len) != NULL;
    FUZZ_CHECK((again != NULL) != has_nul);
    FUZZ_CHECK(has_nul || json_to_slice(json_root(again), &text));
    FUZZ_CHECK(has_nul || !slice_is_utf8(bytes) || slice_eq(text, bytes));
    json_close(again);
    /* With too little room: not written, and known. */
    struct buf small;
    buf_init(&small, out.len - 1);
    w = jsonw_start(&small);
    jsonw_slice(&w, bytes);
    FUZZ_CHECK(!buf_ok(&small) && small.len < out.len);
    buf_fini(&small);
    buf_fini(&out);
}

static void check_number(struct slice bytes) {
    int64_t integer;
    int64_t read = 0;
    double real;
    struct slice time;
    struct buf out;
    if (bytes.len < sizeof integer) {
        return;
    }
    memcpy(&integer, bytes.at, sizeof integer);
    memcpy(&real, bytes.at, sizeof real);
    buf_init(&out, TEXT_MAX);
    struct jsonw w = jsonw_start(&out);
    jsonw_open(&w, '[');
    jsonw_i64(&w, integer);
    jsonw_time(&w, integer);
    jsonw_double(&w, fabs(real) < 1e308 ? real : HUGE_VAL);
    jsonw_close(&w, ']');
    struct json_document *list = json_parse(buf_slice(&out), JSON_UNIQUE);
    FUZZ_CHECK(json_length(json_root(list)) == 3);
    FUZZ_CHECK(json_to_i64(json_at(json_root(list), 0), &read) && read == integer);
    FUZZ_CHECK(integer == 0 || (json_to_slice(json_at(json_root(list), 1), &time) &&
                                time.len == CLOCK_TEXT_BYTES - 1));
    if (fabs(real) < 1e308) {
        double again = 0;
        FUZZ_CHECK(json_to_double(json_at(json_root(list), 2), &again));
        FUZZ_CHECK(fabs(again - real) <= fabs(real) * 1e-14 + 1e-320);
    } else {
        FUZZ_CHECK(json_kind_of(json_at(json_root(list), 2)) == JSON_KIND_NULL);
    }
    json_close(list);
    buf_fini(&out);
}

/* ---- rules ---- */

struct asked {
    struct arena arena;
    struct http_request request;
    struct call call;
    unsigned answers;
};

static struct call *ask(struct asked *asked) {
    arena_init(&asked->arena, LIMIT_REQUEST_ARENA_BYTES);
    asked->request.arena = &asked->arena;
    asked->answers = 0;
    asked->call = (struct call){.request = &asked->request, .flow = &asked->answers};
    return &asked->call;
}

static bool is_text_of(struct slice text, size_t min, size_t max) {
    return !slice_is_null(text) && text.len >= min && text.len <= max && slice_is_utf8(text) &&
           text.at[text.len] == '\0';
}

static void check_fields(struct slice body) {
    struct asked asked = {.request = {.body = body}};
    struct fields fields;
    struct call *call = ask(&asked);
    if (fields_open(&fields, call)) {
        struct slice code = fields_text(&fields, "code", 1, LIMIT_CODE_BYTES);
        struct slice state = fields_text(&fields, "state", 1, 64);
        struct slice uri = fields_text(&fields, "redirect_uri", 0, LIMIT_URI_BYTES);
        /* The document is gone then: the texts stay. */
        bool good = fields_close(&fields);
        FUZZ_CHECK(good == (is_text_of(code, 1, LIMIT_CODE_BYTES) && is_text_of(state, 1, 64) &&
                            is_text_of(uri, 0, LIMIT_URI_BYTES)));
        FUZZ_CHECK(asked.answers == !good);
    } else {
        FUZZ_CHECK(asked.answers == 1);
    }
    arena_fini(&asked.arena);
}

static void check_query(struct slice text) {
    static const char *const choices[] = {"web", "ios", NULL};
    struct asked asked = {.request = {.query = text}};
    struct query query = query_open(ask(&asked));
    uint64_t skip = query_integer(&query, "skip", 0, 0);
    uint64_t limit = query_integer(&query, "limit", 1, 20);
    struct slice q = query_text(&query, "q");
    struct slice platform = query_choice(&query, "platform", choices);
    bool good = query_close(&query);
    FUZZ_CHECK(asked.answers == !good);
    FUZZ_CHECK(!good || (!slice_is_null(q) && slice_is_utf8(q) && limit >= 1));
    FUZZ_CHECK(!good || slice_eq(platform, SLICE("web")) || slice_eq(platform, SLICE("ios")));
    FUZZ_CHECK(fuzz_holds(text, SLICE("ip")) || fuzz_holds(text, SLICE("%")) || skip == 0);
    arena_fini(&asked.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    if (n == 0) {
        return 0;
    }
    struct slice rest = fuzz_exact(slice_make(bytes + 1, n - 1));
    switch (bytes[0]) {
    case 'd':
        check_document(rest);
        break;
    case 's':
        check_string(rest);
        break;
    case 'n':
        check_number(rest);
        break;
    case 'f':
        check_fields(rest);
        break;
    case 'q':
        check_query(rest);
        break;
    default:
        break;
    }
    fuzz_free(rest);
    return 0;
}
