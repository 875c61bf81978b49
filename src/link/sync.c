// SPDX-License-Identifier: MIT
#include "link/sync.h"

#include "base/limits.h"

enum { MARKS_MAX = 5 }; /* under the fences of tokens that change meanwhile */

static void next_page(struct sync *flow);
static void on_page(struct library *library);
static void mark(struct sync *flow, struct slice fence, bool is_refused);
static void on_marked(struct accounts_op *account);
static void on_read(struct accounts_op *account);

static void finish(struct sync *flow, enum rc rc) {
    flow->rc = rc;
    library_close(&flow->library);
    flow->done(flow);
}

void sync_start(struct linker *linker, struct sync *flow, void (*done)(struct sync *flow)) {
    flow->linker = linker;
    flow->done = done;
    flow->library.user_id = flow->user_id;
    flow->library.request_id = flow->request_id;
    flow->library.client = flow->client;
    flow->library.deadline_ms = flow->deadline_ms;
    library_open(linker, &flow->library);
    next_page(flow);
}

static void next_page(struct sync *flow) {
    size_t page = flow->linker->provider->names->library_page_max;
    library_page(&flow->library, flow->audiobooks, page, true, on_page);
}

/* It advances by what came, since a page may be shorter than what was asked for; only an empty one
 * is the end. */
static void on_page(struct library *library) {
    struct sync *flow = LIST_ENTRY(library, struct sync, library);
    flow->rc = library->rc;
    flow->audiobooks += library->count;
    flow->pages++;
    bool has_more = library->rc == RC_OK && library->count > 0;
    if (has_more && flow->pages < LIMIT_SYNC_PAGES) {
        next_page(flow);
        return;
    }
    if (has_more) {
        flow->rc = RC_PROVIDER_UNAVAILABLE;
    }
    bool has_account = library->access_token.at != NULL; /* else it failed by no fault of a page */
    if (flow->is_canceled || !has_account) {
        finish(flow, flow->is_canceled ? RC_CANCELED : flow->rc);
    } else {
        mark(flow, slice_str(library->fence), false);
    }
}

/* That the grant is refused is more than what a sync knows, and stays. */
static void mark(struct sync *flow, struct slice fence, bool is_refused) {
    bool good = flow->rc == RC_OK;
    struct slice error = is_refused ? FRESH_TOKEN_REAUTHORIZE
                         : good     ? SLICE_NULL
                                    : SLICE("audible_service_unavailable");
    flow->marks++;
    flow->synced_ms = loop_wall_ms(flow->linker->loop);
    flow->account.request_id = flow->request_id;
    const struct account_mark mark = {
        .user_id = flow->user_id,
        .fence = fence,
        .synced_ms = good ? flow->synced_ms : 0,
        .sync_status = slice_is_null(error) ? ACCOUNT_SYNC_SYNCED : ACCOUNT_SYNC_FAILED,
        .last_sync_error = error,
        .error_fence = is_refused ? SLICE_NULL : FRESH_TOKEN_REAUTHORIZE,
    };
    accounts_mark(flow->linker->accounts, &flow->account, &mark, on_marked);
}

static void log_synced(struct sync *flow) {
    LOG(flow->linker->log, LOG_INFO, "library_synced", flow->request_id,
        log_text("user_id", flow->user_id),
        log_text("audible_user_id", slice_str(flow->library.audible_user_id)),
        log_int("count", (int64_t)flow->audiobooks));
}

static enum rc read_store(enum rc rc) {
    return rc == RC_ABSENT ? RC_NOT_CONNECTED : RC_STORAGE_UNAVAILABLE;
}

static void on_marked(struct accounts_op *account) {
    struct sync *flow = LIST_ENTRY(account, struct sync, account);
    if (flow->rc != RC_OK) {
        finish(flow, flow->rc);
    } else if (account->rc == RC_OK) {
        log_synced(flow);
        finish(flow, RC_OK);
    } else if (account->rc == RC_CONFLICT && flow->marks < MARKS_MAX) {
        /* The tokens changed during the walk, or were refused: once more, as it is today. */
        flow->account.request_id = flow->request_id;
        accounts_read(flow->linker->accounts, &flow->account, flow->user_id, on_read);
    } else {
        finish(flow, read_store(account->rc));
    }
}

static void on_read(struct accounts_op *account) {
    struct sync *flow = LIST_ENTRY(account, struct sync, account);
    if (account->rc == RC_OK) {
        mark(flow, account->sealed_refresh,
             account->sync_status == ACCOUNT_SYNC_FAILED &&
                 slice_eq(account->view.last_sync_error, FRESH_TOKEN_REAUTHORIZE));
    } else {
        finish(flow, read_store(account->rc));
    }
}

void sync_cancel(struct sync *flow) {
    flow->is_canceled = true;
    library_cancel(&flow->library);
}
