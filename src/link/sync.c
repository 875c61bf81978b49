// SPDX-License-Identifier: MIT
#include "link/sync.h"

#include "base/limits.h"

static void next_page(struct sync *flow);
static void on_page(struct library *library);
static void mark(struct sync *flow);
static void on_marked(struct accounts_op *mark);
static void on_touched(struct library *library);

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
    } else if (has_more) {
        flow->rc = RC_PROVIDER_UNAVAILABLE;
        mark(flow);
    } else if (library->rc == RC_OK || library->fence != NULL) {
        mark(flow);
    } else {
        finish(flow, library->rc);
    }
}

static void mark(struct sync *flow) {
    bool good = flow->rc == RC_OK;
    if (flow->is_canceled) {
        finish(flow, RC_CANCELED);
        return;
    }
    flow->synced_ms = loop_wall_ms(flow->linker->loop);
    flow->mark.request_id = flow->request_id;
    const struct account_mark mark = {
        .user_id = flow->user_id,
        .fence = slice_str(flow->library.fence),
        .synced_ms = good ? flow->synced_ms : 0,
        .sync_status = good ? ACCOUNT_SYNC_SYNCED : ACCOUNT_SYNC_FAILED,
        .last_sync_error = good ? SLICE_NULL : SLICE("audible_service_unavailable"),
    };
    accounts_mark(flow->linker->accounts, &flow->mark, &mark, on_marked);
}

static void log_synced(struct sync *flow) {
    LOG(flow->linker->log, LOG_INFO, "library_synced", flow->request_id,
        log_text("user_id", flow->user_id),
        log_text("audible_user_id", slice_str(flow->library.audible_user_id)),
        log_int("count", (int64_t)flow->audiobooks));
}

static void on_marked(struct accounts_op *mark) {
    struct sync *flow = LIST_ENTRY(mark, struct sync, mark);
    if (flow->rc != RC_OK) {
        finish(flow, flow->rc);
    } else if (mark->rc == RC_OK) {
        log_synced(flow);
        finish(flow, RC_OK);
    } else if (mark->rc == RC_CONFLICT && !flow->is_marked_again) {
        /* The tokens changed during the walk: once more under the fence of today's. */
        flow->is_marked_again = true;
        library_touch(&flow->library, on_touched);
    } else {
        finish(flow, mark->rc == RC_ABSENT ? RC_NOT_CONNECTED : RC_STORAGE_UNAVAILABLE);
    }
}

static void on_touched(struct library *library) {
    struct sync *flow = LIST_ENTRY(library, struct sync, library);
    if (library->rc == RC_OK) {
        mark(flow);
    } else {
        finish(flow, library->rc);
    }
}

void sync_cancel(struct sync *flow) {
    flow->is_canceled = true;
    library_cancel(&flow->library);
}
