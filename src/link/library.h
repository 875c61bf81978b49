// SPDX-License-Identifier: MIT
#pragma once

#include "base/mem.h"
#include "link/linker.h"
#include "provider/books.h"

/* A user's library at the provider, page by page: with a fresh access token, which is kept for the
 * pages that follow, and is refreshed once where the provider answers a page with 401. */
struct library {
    void (*done)(struct library *library);
    /* set by the caller, borrowed until library_close */
    struct slice user_id;
    struct slice request_id;
    struct slice client;
    int64_t deadline_ms;
    /* of the last page: RC_OK; RC_NOT_CONNECTED; RC_PROVIDER_UNAVAILABLE; RC_STORAGE_UNAVAILABLE;
       RC_NOT_CONFIGURED; RC_OVERLOADED; RC_CANCELED */
    enum rc rc;
    struct buf json; /* RC_OK: from `done` on the caller's, to buf_fini */
    size_t count;    /* RC_OK: entries of the page */
    /* of the account, once a page was asked for; borrowed until library_close */
    char *fence; /* of its refresh token; NULL: none */
    char *audible_user_id;
    /* ours */
    struct linker *linker;
    enum { LIBRARY_IDLE, LIBRARY_TOKEN, LIBRARY_PAGE } step;
    uint64_t skip;
    uint64_t limit;
    bool is_counted_only;
    bool is_refused; /* this page, once */
    bool is_canceled;
    struct secret access_token;
    struct fresh_token token;
    struct books_op books;
};

void library_open(struct linker *linker, struct library *library);
void library_close(struct library *library); /* no page is under way */

/* `limit` above the provider's page means its page. `is_counted_only`: json stays empty. */
void library_page(struct library *library, uint64_t skip, uint64_t limit, bool is_counted_only,
                  void (*done)(struct library *library));

/* At any wait; `done` follows. */
void library_cancel(struct library *library);
