// SPDX-License-Identifier: MIT
#include "base/jsonw.h"
#include "provider/sim_books.h"
#include "provider/sim_endpoints.h"

enum { LIBRARY_LIMIT_MAX = 1000, SEARCH_RESULTS_MAX = 50 };

static void unauthorized(struct sim_call *call) {
    sim_answer_error(call->answer, 401, "invalid_token");
    BUF_LIT(&call->answer->headers, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n");
}

static struct slice bearer_of(struct sim_call *call) {
    struct slice scheme = SLICE("Bearer ");
    bool is_bearer = slice_ieq(slice_head(call->authorization, scheme.len), scheme);
    return is_bearer ? slice_trim(slice_from(call->authorization, scheme.len)) : SLICE_NULL;
}

/* A number from the query, `preset` where absent; false where it is none. */
static bool number_of(struct sim_call *call, const char *name, uint64_t preset, uint64_t *out) {
    struct slice text = sim_parameter(call, call->query, name);
    *out = preset;
    return slice_is_null(text) || slice_to_u64(text, UINT32_MAX, out);
}

static struct jsonw start_json(struct sim_call *call) {
    call->answer->status = 200;
    call->answer->content_type = "application/json";
    return jsonw_start(&call->answer->body);
}

void sim_api_library(struct sim_call *call) {
    const struct sim *sim = call->sim;
    uint64_t offset;
    uint64_t limit;
    if (!sim_grants_is_access(&sim->grants, bearer_of(call), call->now_ms)) {
        unauthorized(call);
        return;
    }
    if (!number_of(call, "offset", 0, &offset) || !number_of(call, "limit", 50, &limit) ||
        limit == 0) {
        sim_answer_error(call->answer, 400, "invalid_request");
        return;
    }
    limit = limit > LIBRARY_LIMIT_MAX ? LIBRARY_LIMIT_MAX : limit;
    struct jsonw w = start_json(call);
    jsonw_open(&w, '{');
    jsonw_name(&w, "items");
    jsonw_open(&w, '[');
    for (uint64_t n = offset; n < offset + limit && n < sim->library_size; n++) {
        struct sim_book book;
        sim_books_make((size_t)n, &book);
        jsonw_open(&w, '{');
        jsonw_name(&w, "product");
        sim_books_write(&book, sim->url, &w);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_name(&w, "total_results");
    jsonw_i64(&w, (int64_t)sim->library_size);
    jsonw_close(&w, '}');
}

static size_t catalogue_size(const struct sim *sim) {
    return sim->library_size + SIM_CATALOGUE_EXTRA;
}

void sim_api_search(struct sim_call *call) {
    const struct sim *sim = call->sim;
    struct slice query = sim_parameter(call, call->query, "query");
    uint64_t wanted;
    if (!slice_eq(bearer_of(call), SLICE("GUEST"))) {
        unauthorized(call);
        return;
    }
    if (slice_is_null(query) || !number_of(call, "num_results", 10, &wanted)) {
        sim_answer_error(call->answer, 400, "invalid_request");
        return;
    }
    wanted = wanted > SEARCH_RESULTS_MAX ? SEARCH_RESULTS_MAX : wanted;
    struct jsonw w = start_json(call);
    jsonw_open(&w, '{');
    jsonw_name(&w, "products");
    jsonw_open(&w, '[');
    for (size_t n = 0; n < catalogue_size(sim) && wanted > 0; n++) {
        struct sim_book book;
        sim_books_make(n, &book);
        if (sim_books_match(&book, query)) {
            sim_books_write(&book, sim->url, &w);
            wanted--;
        }
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
}

void sim_api_details(struct sim_call *call) {
    struct slice prefix = SLICE("/api/1.0/catalog/");
    struct sim_book book;
    size_t n;
    if (!sim_books_find(slice_from(call->path, prefix.len), catalogue_size(call->sim), &n)) {
        sim_answer_error(call->answer, 404, "not_found");
        return;
    }
    sim_books_make(n, &book);
    struct jsonw w = start_json(call);
    jsonw_open(&w, '{');
    jsonw_name(&w, "product");
    sim_books_write(&book, call->sim->url, &w);
    jsonw_close(&w, '}');
}

void sim_api_cover(struct sim_call *call) {
    struct slice prefix = SLICE("/covers/");
    struct slice name = slice_from(call->path, prefix.len);
    size_t dot = slice_find(name, '.');
    struct sim_book book;
    size_t n;
    if (!slice_eq(slice_from(name, dot), SLICE(".svg")) ||
        !sim_books_find(slice_head(name, dot), catalogue_size(call->sim), &n)) {
        sim_answer_error(call->answer, 404, "not_found");
        return;
    }
    sim_books_make(n, &book);
    call->answer->status = 200;
    call->answer->content_type = "image/svg+xml";
    sim_cover_write(&book, &call->answer->body);
}
