// SPDX-License-Identifier: MIT
/* The provider's answers, and what we send for them. The first line is a letter, which says what is
 * asked for, and the answer's status; the second one is what we ask with; the rest is the body.
 *   e r v  exchange of a code, refresh, revocation
 *   l c s d  a page of the library, the same only counted, search, details
 * provider/call is replaced by the stand-ins below: what it is given is checked, and answered. */
#include "base/json.h"
#include "base/limits.h"
#include "fuzz/fuzz.h"
#include "http/msg.h"
#include "provider/books.h"
#include "provider/call.h"
#include "provider/token.h"

enum { STATUS_DIGITS = 3, EXPIRES_MAX_S = 10 * 365 * 24 * 3600 };

/* One case. */
struct play {
    struct provider provider;
    struct loop loop;
    struct metrics metrics;
    int status; /* 0: no answer */
    struct slice sent;
    struct slice body;
    struct provider_call *started;
    bool failed; /* told of by provider_call_failed */
    bool done;
};

static struct play *play_of(struct provider *provider) {
    return LIST_ENTRY(provider, struct play, provider);
}

/* ---- in the place of provider/call ---- */

/* Only what may stand in a URL or a form. */
static bool is_plain(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] <= ' ' || text.at[i] >= 0x7F || strchr("\"<>\\^`{|}", text.at[i]) != NULL) {
            return false;
        }
    }
    return true;
}

/* What was to be sent is read back, in the URL or the form. */
static void check_sent(const struct play *play, const struct provider_call_request *request) {
    static const char *const names[PROVIDER_CALL_ENDPOINTS] = {
        [PROVIDER_CALL_TOKEN] = "code",
        [PROVIDER_CALL_REFRESH] = "refresh_token",
        [PROVIDER_CALL_REVOKE] = "token",
        [PROVIDER_CALL_SEARCH] = "query",
    };
    const char *name = names[request->endpoint];
    size_t question = slice_find(request->url, '?');
    struct arena arena;
    FUZZ_CHECK(is_plain(request->url) && is_plain(request->body));
    if (name == NULL || slice_is_null(request->url)) {
        return;
    }
    arena_init(&arena, 2 * (size_t)LIMIT_REQUEST_ARENA_BYTES);
    struct slice form =
        request->body.len > 0 ? request->body : slice_from(request->url, question + 1);
    const struct http_request read = {.query = form, .arena = &arena};
    size_t count = 0;
    struct slice value = http_query(&read, name, &count);
    FUZZ_CHECK(count == 1);
    FUZZ_CHECK(!slice_is_utf8(play->sent) || slice_eq(value, play->sent));
    arena_fini(&arena);
}

void provider_call_start(struct provider *provider, struct provider_call *call,
                         const struct provider_call_request *request,
                         void (*done)(struct provider_call *call)) {
    struct play *play = play_of(provider);
    FUZZ_CHECK(play->started == NULL);
    check_sent(play, request);
    call->provider = provider;
    call->request = *request;
    call->done = done;
    play->started = call;
}

void provider_call_cancel(struct provider_call *call) {
    (void)call;
}

bool provider_call_was_sent(const struct provider_call *call) {
    return call->was_sent;
}

struct buf provider_call_take_body(struct provider_call *call) {
    (void)call;
    abort(); /* only for a lane, of which there is none */
}

void provider_call_failed(const struct provider_call *call, const char *error_code) {
    struct play *play = play_of(call->provider);
    (void)error_code;
    FUZZ_CHECK(!play->failed);
    play->failed = true;
}

/* The answer comes; as the real one it is there for so long as `done` runs. */
static void answer(struct play *play) {
    struct provider_call *call = play->started;
    FUZZ_CHECK(call != NULL && !play->done);
    call->status = play->status;
    call->rc = play->status > 0 ? RC_OK : RC_PROVIDER_UNAVAILABLE;
    call->was_sent = true;
    struct slice body = fuzz_exact(play->body);
    call->body = body;
    call->done(call);
    fuzz_free(body);
    FUZZ_CHECK(play->done);
}

/* ---- tokens ---- */

static void check_tokens(const struct token_op *op) {
    FUZZ_CHECK(op->access_token.len >= 1 && op->access_token.len <= LIMIT_TOKEN_BYTES);
    FUZZ_CHECK(slice_is_null(op->refresh_token) || op->refresh_token.len >= 1);
    FUZZ_CHECK(op->refresh_token.len <= LIMIT_TOKEN_BYTES);
    FUZZ_CHECK(op->provider_user_id.len <= LIMIT_PROVIDER_USER_ID_BYTES);
    FUZZ_CHECK(op->expires_in_s >= 1 && op->expires_in_s <= EXPIRES_MAX_S);
    FUZZ_CHECK(slice_is_utf8(op->access_token) && slice_is_utf8(op->refresh_token));
}

static void on_token(struct token_op *op) {
    struct play *play = play_of(op->call.provider);
    enum provider_call_endpoint endpoint = op->call.request.endpoint;
    play->done = true;
    FUZZ_CHECK(op->was_sent && (op->rc == RC_OK) == !play->failed);
    switch (op->rc) {
    case RC_OK:
        FUZZ_CHECK(play->status == 200 && !op->is_refusing_us);
        if (endpoint != PROVIDER_CALL_REVOKE) {
            check_tokens(op);
        }
        break;
    case RC_CODE_REFUSED:
    case RC_GRANT_REFUSED:
        FUZZ_CHECK(play->status == 400 || play->status == 403);
        FUZZ_CHECK(endpoint ==
                   (op->rc == RC_CODE_REFUSED ? PROVIDER_CALL_TOKEN : PROVIDER_CALL_REFRESH));
        /* It costs the link, so the provider must have said it. */
        FUZZ_CHECK(op->rc == RC_CODE_REFUSED || fuzz_holds(play->body, SLICE("invalid_grant")) ||
                   fuzz_holds(play->body, SLICE("\\u")));
        FUZZ_CHECK(!op->is_refusing_us);
        break;
    default:
        FUZZ_CHECK(op->rc == RC_PROVIDER_UNAVAILABLE);
        FUZZ_CHECK(!op->is_refusing_us || (play->status >= 400 && play->status < 500));
    }
}

static void play_token(struct play *play, char letter) {
    struct token_op op;
    const struct token_refresh refresh = {.refresh_token = play->sent, .deadline_ms = 1000};
    const struct token_exchange exchange = {.code = play->sent,
                                            .verifier = SLICE("verifier"),
                                            .redirect_uri = play->provider.redirect_uri,
                                            .timeout_ms = 1000};
    memset(&op, 'x', sizeof op);
    if (letter == 'e') {
        token_exchange(&play->provider, &op, &exchange, on_token);
    } else if (letter == 'r') {
        token_refresh(&play->provider, &op, &refresh, on_token);
    } else {
        token_revoke(&play->provider, &op, &refresh, on_token);
    }
    answer(play);
}

/* ---- books ---- */

static bool is_text_or_null(const struct json *book, const char *name, size_t max) {
    struct slice text = SLICE_NULL;
    const struct json *value = json_member(book, name);
    return (value != NULL && json_kind_of(value) == JSON_KIND_NULL) ||
           (json_to_slice(value, &text) && text.len <= max && slice_is_utf8(text));
}

static bool is_text(const struct json *book, const char *name, size_t max) {
    return json_kind_of(json_member(book, name)) == JSON_KIND_STRING &&
           is_text_or_null(book, name, max);
}

static void check_book(const struct json *book, bool is_owned) {
    int64_t minutes = -1;
    bool owned = !is_owned;
    const struct json *rating = json_member(book, "rating");
    double number;
    FUZZ_CHECK(is_text(book, "asin", LIMIT_BOOK_ASIN_BYTES));
    FUZZ_CHECK(is_text(book, "title", LIMIT_BOOK_TEXT_BYTES));
    FUZZ_CHECK(is_text(book, "author", LIMIT_BOOK_TEXT_BYTES));
    FUZZ_CHECK(is_text_or_null(book, "narrator", LIMIT_BOOK_TEXT_BYTES));
    FUZZ_CHECK(is_text_or_null(book, "image", LIMIT_URI_BYTES));
    FUZZ_CHECK(is_text_or_null(book, "description", LIMIT_BOOK_DESCRIPTION_BYTES));
    FUZZ_CHECK(json_to_i64(json_member(book, "duration_minutes"), &minutes) && minutes >= 0);
    FUZZ_CHECK(rating != NULL &&
               (json_kind_of(rating) == JSON_KIND_NULL || json_to_double(rating, &number)));
    FUZZ_CHECK(json_to_bool(json_member(book, "is_owned"), &owned) && owned == is_owned);
    FUZZ_CHECK(is_text(book, "source", sizeof "audible" - 1));
}

static void check_books(const struct books_op *op) {
    struct json_document *made = json_parse(buf_slice(&op->json), JSON_UNIQUE);
    bool is_owned = op->call.request.endpoint == PROVIDER_CALL_LIBRARY;
    if (op->is_counted_only) {
        FUZZ_CHECK(op->json.len == 0);
    } else if (op->call.request.endpoint == PROVIDER_CALL_DETAILS) {
        FUZZ_CHECK(json_kind_of(json_root(made)) == JSON_KIND_OBJECT);
        check_book(json_root(made), false);
    } else {
        FUZZ_CHECK(json_kind_of(json_root(made)) == JSON_KIND_ARRAY &&
                   json_length(json_root(made)) <= op->count);
        for (size_t i = 0; i < json_length(json_root(made)); i++) {
            check_book(json_at(json_root(made), i), is_owned);
        }
    }
    json_close(made);
}

static void on_books(struct books_op *op) {
    struct play *play = play_of(op->call.provider);
    play->done = true;
    FUZZ_CHECK((op->rc == RC_OK || op->rc == RC_BOOK_ABSENT) == !play->failed);
    switch (op->rc) {
    case RC_OK:
        FUZZ_CHECK(play->status == 200 && op->count <= play->body.len);
        check_books(op);
        break;
    case RC_BOOK_ABSENT:
        FUZZ_CHECK(op->call.request.endpoint == PROVIDER_CALL_DETAILS);
        FUZZ_CHECK(play->status == 200 || play->status == 404);
        break;
    case RC_TOKEN_REFUSED:
        FUZZ_CHECK(op->call.request.endpoint == PROVIDER_CALL_LIBRARY && play->status == 401);
        break;
    default:
        FUZZ_CHECK(op->rc == RC_PROVIDER_UNAVAILABLE);
    }
    FUZZ_CHECK(op->rc == RC_OK || (op->count == 0 && op->json.len == 0));
    buf_fini(&op->json);
}

static void play_books(struct play *play, char letter) {
    struct books_op op;
    const struct books_caller caller = {.user_id = SLICE("user-1"), .deadline_ms = 1000};
    const struct books_query query = {.text = play->sent, .limit = 1000};
    const struct books_page page = {
        .access_token = play->sent, .skip = 5, .limit = 100, .is_counted_only = letter == 'c'};
    memset(&op, 'x', sizeof op);
    if (letter == 's') {
        books_search(&play->provider, &op, &caller, &query, on_books);
    } else if (letter == 'd') {
        books_details(&play->provider, &op, &caller, play->sent, on_books);
    } else {
        books_library(&play->provider, &op, &caller, &page, on_books);
    }
    answer(play);
}

/* ---- cases ---- */

static int read_status(struct slice text) {
    uint64_t status = 0;
    return text.len == STATUS_DIGITS && slice_to_u64(text, 599, &status) ? (int)status : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct slice rest = slice_make(bytes, n);
    struct slice first = fuzz_line(&rest);
    if (first.len == 0 || strchr("ervlcsd", first.at[0]) == NULL || first.at[0] == '\0') {
        return 0;
    }
    struct play play = {
        .status = read_status(slice_from(first, 1)),
        .provider = {.auth_url = SLICE("https://auth.example.com"),
                     .api_base_url = SLICE("https://api.example.com"),
                     .revoke_url = SLICE("https://auth.example.com/revoke"),
                     .client_id = SLICE("client"),
                     .client_secret = SLICE("s&c=r t"),
                     .redirect_uri = SLICE("https://example.org/back"),
                     .names = &provider_audible},
    };
    play.provider.loop = &play.loop;
    play.provider.metrics = &play.metrics;
    play.sent = fuzz_line(&rest);
    play.body = rest;
    if (strchr("erv", first.at[0]) != NULL) {
        play_token(&play, first.at[0]);
    } else {
        play_books(&play, first.at[0]);
    }
    return 0;
}
