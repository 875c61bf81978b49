// SPDX-License-Identifier: MIT
#include "api/endpoints.h"
#include "api/query.h"
#include "api/reply.h"
#include "base/jsonw.h"
#include "link/library.h"
#include "link/sync.h"

enum {
    LIMIT_DEFAULT = 20,
    SKIP_MAX = INT32_MAX, /* behind every library, and a number that every provider can read */
    SYNC_BYTES = 256,
};

/* GET library: one page. */
struct library_call {
    struct call *call;
    struct library library;
};

static void on_page(struct library *library) {
    struct call *call = LIST_ENTRY(library, struct library_call, library)->call;
    struct buf json = library->json;
    enum rc rc = library->rc;
    library->json = (struct buf){0};
    library_close(library);
    if (rc == RC_OK) {
        reply_json(call, buf_slice(&json));
    } else {
        reply_fail(call, rc);
    }
    buf_fini(&json);
}

static void on_library_gone(struct call *call) {
    struct library_call *flow = call->flow;
    library_cancel(&flow->library);
}

void ep_library(struct call *call) {
    struct query query = query_open(call);
    uint64_t skip = query_integer(&query, "skip", 0, 0);
    uint64_t limit = query_integer(&query, "limit", 1, LIMIT_DEFAULT);
    if (!query_close(&query)) {
        return;
    }
    struct library_call *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    flow->library.user_id = call->caller.sub;
    flow->library.request_id = call->request->request_id;
    flow->library.client = call->client;
    flow->library.deadline_ms = call->deadline_ms;
    call->flow = flow;
    call->gone = on_library_gone;
    library_open(&call->api->linker, &flow->library);
    library_page(&flow->library, skip < SKIP_MAX ? skip : SKIP_MAX, limit, false, on_page);
}

/* POST library/sync: every page. */
struct sync_call {
    struct call *call;
    struct sync sync;
};

static void on_synced(struct sync *sync) {
    struct call *call = LIST_ENTRY(sync, struct sync_call, sync)->call;
    char at[SYNC_BYTES];
    struct buf body;
    if (sync->rc != RC_OK) {
        reply_fail(call, sync->rc);
        return;
    }
    buf_init_fixed(&body, at, sizeof at);
    struct jsonw w = jsonw_start(&body);
    jsonw_open(&w, '{');
    jsonw_member(&w, "status", SLICE("synced"));
    jsonw_name(&w, "audiobooks_count");
    jsonw_i64(&w, (int64_t)sync->audiobooks);
    jsonw_name(&w, "synced_at");
    jsonw_time(&w, sync->synced_ms);
    jsonw_close(&w, '}');
    reply_json(call, buf_slice(&body));
}

static void on_sync_gone(struct call *call) {
    struct sync_call *flow = call->flow;
    sync_cancel(&flow->sync);
}

void ep_sync(struct call *call) {
    struct sync_call *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    flow->sync.user_id = call->caller.sub;
    flow->sync.request_id = call->request->request_id;
    flow->sync.client = call->client;
    call->deadline_ms = call->request->started_ms + LIMIT_SYNC_MS;
    flow->sync.deadline_ms = call->deadline_ms;
    call->flow = flow;
    call->gone = on_sync_gone;
    sync_start(&call->api->linker, &flow->sync, on_synced);
}
