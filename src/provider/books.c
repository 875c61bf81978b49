// SPDX-License-Identifier: MIT
#include "provider/books.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "provider/audiobook.h"

/* --- reading ---------------------------------------------------------------------------------- */

/* Reading touches nothing but its op and what never changes: it runs on any thread.
 *
 * What a book's fields are worth is audiobook.c's to say. Around them, an absent list (or null) is
 * an empty one and takes a default. A list that is something else, like a body that is no object,
 * is no answer: taken for an empty page it would end a walk of the library early, as if all had
 * come. */

static bool is_kind(const struct json *value, enum json_kind kind) {
    return json_kind_of(value) == kind;
}

/* An entry without a book's object is left out, and takes a default; it still counts as received.
 */
static void write_entry(struct books_op *op, struct jsonw *w, const struct json *entry) {
    const struct provider_names *names = op->call.provider->names;
    bool is_owned = op->call.request.endpoint == PROVIDER_CALL_LIBRARY;
    const struct json *book = is_owned ? json_member(entry, names->library_item_book) : entry;
    op->defaults += is_kind(book, JSON_KIND_OBJECT) ? audiobook_write(w, names, book, is_owned) : 1;
}

static enum rc read_list(struct books_op *op, const struct json *list) {
    struct jsonw w = jsonw_start(&op->json);
    if (!is_kind(list, JSON_KIND_ARRAY) && !is_kind(list, JSON_KIND_NULL)) {
        return RC_PROVIDER_UNAVAILABLE;
    }
    op->count = json_length(list);
    op->defaults += is_kind(list, JSON_KIND_NULL);
    if (op->is_counted_only) {
        return RC_OK;
    }
    jsonw_open(&w, '[');
    struct json_items items = json_items(list);
    for (size_t i = 0; i < op->count; i++) {
        write_entry(op, &w, json_items_next(&items));
    }
    jsonw_close(&w, ']');
    return buf_ok(&op->json) ? RC_OK : RC_PROVIDER_UNAVAILABLE;
}

/* {} and [] are empty products; so is null. */
static enum rc read_details(struct books_op *op, const struct json *book) {
    struct jsonw w = jsonw_start(&op->json);
    if (is_kind(book, JSON_KIND_NULL) || json_is_empty(book)) {
        return RC_BOOK_ABSENT;
    }
    if (!is_kind(book, JSON_KIND_OBJECT)) {
        return RC_PROVIDER_UNAVAILABLE;
    }
    op->count = 1;
    op->defaults += audiobook_write(&w, op->call.provider->names, book, false);
    return buf_ok(&op->json) ? RC_OK : RC_PROVIDER_UNAVAILABLE;
}

static enum rc read_body(struct books_op *op, struct slice body) {
    const struct provider_names *names = op->call.provider->names;
    enum rc rc = RC_PROVIDER_UNAVAILABLE;
    struct json_document *answer = json_parse(body, JSON_LAST_WINS);
    if (is_kind(json_root(answer), JSON_KIND_OBJECT)) {
        switch (op->call.request.endpoint) {
        case PROVIDER_CALL_LIBRARY:
            rc = read_list(op, json_member(json_root(answer), names->library_items));
            break;
        case PROVIDER_CALL_SEARCH:
            rc = read_list(op, json_member(json_root(answer), names->search_books));
            break;
        default:
            rc = read_details(op, json_member(json_root(answer), names->details_book));
            break;
        }
    }
    json_close(answer);
    return rc;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* `cause` is of a failure: what provider_call_failed wants to know. */
static void finish(struct books_op *op, enum rc rc, const char *cause) {
    op->rc = rc;
    metrics_add(op->call.provider->metrics, METRIC_DEFAULTS_TAKEN, (int64_t)op->defaults);
    if (rc != RC_OK && rc != RC_BOOK_ABSENT && rc != RC_CANCELED) {
        provider_call_failed(&op->call, cause);
    }
    buf_fini(&op->url);
    buf_fini(&op->authorization);
    buf_fini(&op->body);
    if (rc != RC_OK) {
        buf_fini(&op->json);
        op->count = 0;
    }
    op->done(op);
}

static void finish_read(struct books_op *op, enum rc rc) {
    finish(op, rc, rc == RC_PROVIDER_UNAVAILABLE ? "unusable_answer" : NULL);
}

static void run_read(struct work_op *work) {
    struct books_op *op = LIST_ENTRY(work, struct books_op, work);
    op->rc = read_body(op, buf_slice(&op->body));
}

static void on_read(struct work_op *work, enum rc rc) {
    struct books_op *op = LIST_ENTRY(work, struct books_op, work);
    if (rc == RC_OK) {
        finish_read(op, op->rc);
    } else {
        finish(op, rc == RC_FULL ? RC_OVERLOADED : RC_CANCELED, "lane_full");
    }
}

static void read_answer(struct books_op *op) {
    struct work *work = op->call.provider->work;
    if (work == NULL || op->call.body.len <= LIMIT_PARSED_INLINE_BYTES) {
        finish_read(op, read_body(op, op->call.body));
        return;
    }
    op->body = provider_call_take_body(&op->call);
    op->is_reading = true;
    work_submit(work, &op->work, run_read, on_read);
}

static void on_answer(struct provider_call *call) {
    struct books_op *op = LIST_ENTRY(call, struct books_op, call);
    enum provider_call_endpoint endpoint = call->request.endpoint;
    if (call->rc != RC_OK) {
        finish(op, call->rc, NULL);
    } else if (call->status == 200) {
        read_answer(op);
    } else if (call->status == 401 && endpoint == PROVIDER_CALL_LIBRARY) {
        finish(op, RC_TOKEN_REFUSED, "token_refused");
    } else if (call->status == 404 && endpoint == PROVIDER_CALL_DETAILS) {
        finish(op, RC_BOOK_ABSENT, NULL);
    } else {
        finish(op, RC_PROVIDER_UNAVAILABLE, NULL);
    }
}

/* --- requests --------------------------------------------------------------------------------- */

static void write_parameter(struct buf *url, const char *name, struct slice value) {
    buf_append_char(url, slice_find(buf_slice(url), '?') < url->len ? '&' : '?');
    buf_append(url, slice_str(name));
    buf_append_char(url, '=');
    buf_append_form(url, value);
}

static void write_number(struct buf *url, const char *name, uint64_t value) {
    char at[20];
    struct buf digits;
    buf_init_fixed(&digits, at, sizeof at);
    buf_append_u64(&digits, value);
    write_parameter(url, name, buf_slice(&digits));
}

static void write_given(struct buf *url, const struct provider_parameter *parameter) {
    write_parameter(url, parameter->name, slice_str(parameter->value));
}

static struct buf *begin(struct provider *provider, struct books_op *op, const char *path,
                         void (*done)(struct books_op *op)) {
    *op = (struct books_op){.done = done};
    buf_init(&op->json, LIMIT_BOOKS_BYTES);
    buf_init(&op->url, LIMIT_CALL_URL_BYTES);
    buf_append(&op->url, provider->api_base_url);
    buf_append(&op->url, slice_str(path));
    return &op->url;
}

static void get(struct provider *provider, struct books_op *op, const struct books_caller *caller,
                struct slice token, struct provider_call_request request) {
    const struct provider_names *names = provider->names;
    buf_init(&op->authorization, LIMIT_TOKEN_BYTES + 64);
    buf_append(&op->authorization, slice_str(names->authorization_scheme));
    buf_append(&op->authorization, token);
    op->headers[0] = (struct upstream_header){names->authorization, buf_slice(&op->authorization)};
    op->headers[1] = (struct upstream_header){"Accept", SLICE("application/json")};
    bool fits = buf_ok(&op->url) && buf_ok(&op->authorization);
    request.url = fits ? buf_slice(&op->url) : SLICE_NULL;
    request.headers = op->headers;
    request.header_count = sizeof op->headers / sizeof op->headers[0];
    request.user_id = caller->user_id;
    request.request_id = caller->request_id;
    request.deadline_ms = caller->deadline_ms;
    provider_call_start(provider, &op->call, &request, on_answer);
}

static uint64_t least(uint64_t asked, size_t max) {
    return asked < max ? asked : max;
}

void books_library(struct provider *provider, struct books_op *op,
                   const struct books_caller *caller, const struct books_page *page,
                   void (*done)(struct books_op *op)) {
    const struct provider_names *names = provider->names;
    struct buf *url = begin(provider, op, names->library_path, done);
    op->is_counted_only = page->is_counted_only;
    write_number(url, names->library_limit, least(page->limit, names->library_page_max));
    write_number(url, names->library_offset, page->skip);
    write_given(url, &names->library_sort);
    write_given(url, &names->response_groups);
    get(provider, op, caller, page->access_token,
        (struct provider_call_request){.endpoint = PROVIDER_CALL_LIBRARY,
                                       .answer_max = LIMIT_LIBRARY_ANSWER_BYTES});
}

void books_search(struct provider *provider, struct books_op *op, const struct books_caller *caller,
                  const struct books_query *query, void (*done)(struct books_op *op)) {
    const struct provider_names *names = provider->names;
    struct buf *url = begin(provider, op, names->search_path, done);
    write_parameter(url, names->search_query, query->text);
    write_number(url, names->search_limit, least(query->limit, names->search_page_max));
    write_given(url, &names->response_groups);
    get(provider, op, caller, slice_str(names->guest_token),
        (struct provider_call_request){.endpoint = PROVIDER_CALL_SEARCH,
                                       .answer_max = LIMIT_SEARCH_ANSWER_BYTES});
}

void books_details(struct provider *provider, struct books_op *op,
                   const struct books_caller *caller, struct slice asin,
                   void (*done)(struct books_op *op)) {
    const struct provider_names *names = provider->names;
    struct buf *url = begin(provider, op, names->details_path, done);
    buf_append_form(url, asin);
    write_given(url, &names->response_groups);
    get(provider, op, caller, slice_str(names->guest_token),
        (struct provider_call_request){.endpoint = PROVIDER_CALL_DETAILS,
                                       .answer_max = LIMIT_DETAILS_ANSWER_BYTES});
}

void books_cancel(struct books_op *op) {
    if (!op->is_reading) {
        provider_call_cancel(&op->call);
    }
}
