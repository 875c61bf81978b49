// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/work.h"
#include "provider/call.h"
#include "provider/provider.h"

/* The provider's API: a page of a user's library, a search of the catalogue, one book's details;
 * each answer as the JSON text that our clients get. Answers that would hold the loop are read in
 * the FAST lane. */

/* Who asks, and until when. Slices are borrowed until `done`. */
struct books_caller {
    struct slice user_id;
    struct slice request_id;
    int64_t deadline_ms; /* loop_now_ms */
};

/* Borrowed until the call returns. */
struct books_page {
    struct slice access_token;
    uint64_t skip;
    uint64_t limit;       /* above names->library_page_max it means that */
    bool is_counted_only; /* `json` stays empty: for who wants but `count` */
};

/* The caller's until `done` is called. */
struct books_op {
    void (*done)(struct books_op *op);
    /* RC_OK; RC_TOKEN_REFUSED (401 to a user's access token); RC_BOOK_ABSENT (details: the provider
       has no such book); RC_PROVIDER_UNAVAILABLE; RC_OVERLOADED (too much waits, here); RC_CANCELED
     */
    enum rc rc;
    struct buf
        json;     /* RC_OK: from `done` on the caller's, to buf_fini. A list, details: an object */
    size_t count; /* RC_OK: entries of the provider's list, those that could not be used too:
                     by so much a walk of the pages advances */
    /* ours */
    struct provider_call call;
    struct work_op work;
    struct buf url;
    struct buf authorization;
    struct buf body; /* for the lane */
    struct upstream_header headers[2];
    size_t defaults;
    bool is_counted_only;
    bool is_reading; /* in the lane */
};

void books_library(struct provider *provider, struct books_op *op,
                   const struct books_caller *caller, const struct books_page *page,
                   void (*done)(struct books_op *op));

/* `limit` above names->search_page_max means that. `query` is borrowed until the call returns. */
struct books_query {
    struct slice text;
    uint64_t limit;
};
void books_search(struct provider *provider, struct books_op *op, const struct books_caller *caller,
                  const struct books_query *query, void (*done)(struct books_op *op));

/* `asin` is borrowed until the call returns. */
void books_details(struct provider *provider, struct books_op *op,
                   const struct books_caller *caller, struct slice asin,
                   void (*done)(struct books_op *op));

/* At any wait; `done` follows on a later turn with RC_CANCELED, or with what had come already. */
void books_cancel(struct books_op *op);
