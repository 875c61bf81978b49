// SPDX-License-Identifier: MIT
#include "api/endpoints.h"
#include "api/reply.h"

void ep_healthz(struct call *call) {
    reply_json(call, SLICE("{\"status\":\"ok\"}"));
}

enum { READY_TIMEOUT_MS = 5000 };

/* Asks both stores, one after the other, at most once a second: the route is open to everyone. */
struct readyz {
    struct call *call;
    bool has_state; /* the state store has answered */
    struct states_op state;
    struct accounts_op accounts;
};

static struct slice ok_or_failed(bool ok) {
    return ok ? SLICE("ok") : SLICE("failed");
}

static void answer(struct call *call) {
    char at[256];
    struct buf body;
    struct api *api = call->api;
    bool keys_ok = bearer_is_ready(api->opts.bearer);
    bool ok = api->ready.state_ok && api->ready.accounts_ok && keys_ok;
    buf_init_fixed(&body, at, sizeof at);
    BUF_LIT(&body, "{\"status\":\"");
    buf_append(&body, ok ? SLICE("ok") : SLICE("unavailable"));
    BUF_LIT(&body, "\",\"checks\":{\"state\":\"");
    buf_append(&body, ok_or_failed(api->ready.state_ok));
    BUF_LIT(&body, "\",\"accounts\":\"");
    buf_append(&body, ok_or_failed(api->ready.accounts_ok));
    if (api->opts.has_published_keys) {
        BUF_LIT(&body, "\",\"keys\":\"");
        buf_append(&body, ok_or_failed(keys_ok));
    }
    BUF_LIT(&body, "\"}}");
    reply_send(call, &(struct reply){.status = ok ? 200 : 503,
                                     .content_type = SLICE("application/json"),
                                     .body = buf_slice(&body)});
}

static void on_accounts(struct accounts_op *op) {
    struct readyz *flow = LIST_ENTRY(op, struct readyz, accounts);
    struct call *call = flow->call;
    call->api->ready.accounts_ok = op->rc == RC_OK;
    call->api->ready.checked_ms = loop_now_ms(call->api->opts.loop);
    answer(call);
}

static void on_state(struct states_op *op) {
    struct readyz *flow = LIST_ENTRY(op, struct readyz, state);
    struct api *api = flow->call->api;
    api->ready.state_ok = op->rc == RC_OK;
    flow->has_state = true;
    accounts_ping(api->opts.accounts, &flow->accounts, on_accounts);
}

/* A store that does not answer in time has failed, and is named. */
void ep_readyz_fail(struct call *call, enum rc rc) {
    struct api *api = call->api;
    const struct readyz *flow = call->flow;
    if (rc != RC_STORAGE_UNAVAILABLE || flow == NULL) {
        reply_fail(call, rc);
        return;
    }
    api->ready.state_ok = flow->has_state && api->ready.state_ok;
    api->ready.accounts_ok = false;
    api->ready.checked_ms = loop_now_ms(api->opts.loop);
    answer(call);
}

void ep_readyz(struct call *call) {
    struct api *api = call->api;
    if (api->is_draining) {
        reply_send(call, &(struct reply){.status = 503,
                                         .content_type = SLICE("application/json"),
                                         .body = SLICE("{\"status\":\"unavailable\","
                                                       "\"checks\":{\"server\":\"draining\"}}")});
        return;
    }
    int64_t age_ms = loop_now_ms(api->opts.loop) - api->ready.checked_ms;
    if (api->ready.checked_ms != 0 && age_ms < API_READY_FRESH_MS) {
        answer(call);
        return;
    }
    struct readyz *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    call->flow = flow;
    call->deadline_ms = call->request->started_ms + READY_TIMEOUT_MS;
    flow->state.request_id = call->request->request_id;
    states_ping(api->opts.states, &flow->state, on_state);
}
