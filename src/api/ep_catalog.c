// SPDX-License-Identifier: MIT
#include "api/endpoints.h"
#include "api/query.h"
#include "api/reply.h"
#include "base/jsonw.h"
#include "provider/books.h"

enum { LIMIT_DEFAULT = 20, QUERY_CODE_POINTS_MIN = 2, ASIN_BYTES_MAX = 32, PLAY_URL_BYTES = 512 };

/* GET search and details: one call to the provider's catalogue, which needs no account. */
struct catalog_call {
    struct call *call;
    struct books_op books;
};

static void on_books(struct books_op *books) {
    struct call *call = LIST_ENTRY(books, struct catalog_call, books)->call;
    struct buf json = books->json;
    books->json = (struct buf){0};
    if (books->rc == RC_OK) {
        reply_json(call, buf_slice(&json));
    } else {
        reply_fail(call, books->rc);
    }
    buf_fini(&json);
}

static void on_gone(struct call *call) {
    struct catalog_call *flow = call->flow;
    books_cancel(&flow->books);
}

static struct catalog_call *catalog_call_new(struct call *call, struct books_caller *caller) {
    struct catalog_call *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    call->flow = flow;
    call->gone = on_gone;
    *caller = (struct books_caller){
        .user_id = call->caller.sub,
        .request_id = call->request->request_id,
        .deadline_ms = call->deadline_ms,
    };
    return flow;
}

static size_t code_points(struct slice text) {
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.at[i] & 0xC0) != 0x80;
    }
    return count;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct slice strip(struct slice text) {
    while (text.len > 0 && is_space(text.at[0])) {
        text = slice_from(text, 1);
    }
    while (text.len > 0 && is_space(text.at[text.len - 1])) {
        text.len--;
    }
    return text;
}

void ep_search(struct call *call) {
    struct query query = query_open(call);
    struct slice text = strip(query_text(&query, "q"));
    uint64_t limit = query_integer(&query, "limit", 1, LIMIT_DEFAULT);
    if (!query_close(&query)) {
        return;
    }
    if (code_points(text) < QUERY_CODE_POINTS_MIN) {
        reply_fail(call, RC_QUERY_TOO_SHORT);
        return;
    }
    struct books_caller caller;
    struct catalog_call *flow = catalog_call_new(call, &caller);
    books_search(call->api->opts.provider, &flow->books, &caller,
                 &(struct books_query){.text = text, .limit = limit}, on_books);
}

static bool is_asin(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!ok) {
            return false;
        }
    }
    return text.len > 0 && text.len <= ASIN_BYTES_MAX;
}

void ep_details(struct call *call) {
    if (!is_asin(call->segment)) {
        reply_fail(call, RC_BOOK_ABSENT);
        return;
    }
    struct books_caller caller;
    struct catalog_call *flow = catalog_call_new(call, &caller);
    books_details(call->api->opts.provider, &flow->books, &caller, call->segment, on_books);
}

/* GET play-url: where the user can listen; nothing is asked of the provider. */
void ep_play_url(struct call *call) {
    static const char *const platforms[] = {"web", "ios", "android", NULL};
    char url_at[PLAY_URL_BYTES];
    char body_at[PLAY_URL_BYTES];
    struct buf url;
    struct buf body;
    struct query query = query_open(call);
    struct slice platform = query_choice(&query, "platform", platforms);
    if (!query_close(&query)) {
        return;
    }
    if (!is_asin(call->segment)) {
        reply_fail(call, RC_BOOK_ABSENT);
        return;
    }
    buf_init_fixed(&url, url_at, sizeof url_at);
    buf_init_fixed(&body, body_at, sizeof body_at);
    buf_append(&url, slice_str(call->api->opts.provider->names->product_page));
    buf_append(&url, call->segment);
    struct jsonw w = jsonw_start(&body);
    jsonw_open(&w, '{');
    jsonw_member(&w, "url", buf_slice(&url));
    jsonw_member(&w, "platform", platform);
    jsonw_member(&w, "action", SLICE("redirect_to_audible"));
    jsonw_close(&w, '}');
    reply_json(call, buf_slice(&body));
}
