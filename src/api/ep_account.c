// SPDX-License-Identifier: MIT
#include "api/endpoints.h"
#include "api/reply.h"
#include "base/jsonw.h"
#include "link/disconnect.h"

enum { VIEW_BYTES = 4096 };

/* GET connected: from the cache where it knows, else one wait. */
struct connected {
    struct call *call;
    struct accounts_op get;
};

static void answer_view(struct call *call, const struct account_view *view) {
    char at[VIEW_BYTES];
    struct buf body;
    buf_init_fixed(&body, at, sizeof at);
    struct jsonw w = jsonw_start(&body);
    jsonw_open(&w, '{');
    jsonw_name(&w, "connected");
    jsonw_bool(&w, view->connected);
    jsonw_member(&w, "audible_user_id", view->audible_user_id);
    jsonw_name(&w, "synced_at");
    jsonw_time(&w, view->synced_ms);
    jsonw_member(&w, "last_sync_error", view->last_sync_error);
    jsonw_close(&w, '}');
    reply_json(call, buf_slice(&body));
}

static void on_view(struct accounts_op *get) {
    struct call *call = LIST_ENTRY(get, struct connected, get)->call;
    if (get->rc == RC_OK || get->rc == RC_ABSENT) {
        answer_view(call, &get->view);
    } else {
        reply_fail(call, RC_STORAGE_UNAVAILABLE);
    }
}

void ep_connected(struct call *call) {
    struct account_view view;
    struct accounts *accounts = call->api->opts.accounts;
    if (accounts_cached(accounts, call->caller.sub, &view)) {
        answer_view(call, &view);
        return;
    }
    struct connected *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    flow->get.request_id = call->request->request_id;
    accounts_get(accounts, &flow->get, call->caller.sub, on_view);
}

/* POST disconnect */
struct unlink {
    struct call *call;
    struct disconnect disconnect;
};

static void on_disconnected(struct disconnect *disconnect) {
    struct call *call = LIST_ENTRY(disconnect, struct unlink, disconnect)->call;
    if (disconnect->rc == RC_OK) {
        reply_json(call, SLICE("{\"status\":\"disconnected\"}"));
    } else {
        reply_fail(call, disconnect->rc);
    }
}

void ep_disconnect(struct call *call) {
    struct unlink *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    flow->disconnect.user_id = call->caller.sub;
    flow->disconnect.request_id = call->request->request_id;
    flow->disconnect.client = call->client;
    disconnect_start(&call->api->linker, &flow->disconnect, on_disconnected);
}
