// SPDX-License-Identifier: MIT
#include "api/endpoints.h"
#include "api/reply.h"

void ep_healthz(struct call *call) {
    reply_json(call, SLICE("{\"status\":\"ok\"}"));
}

enum { READY_TIMEOUT_MS = 5000 };

/* Both stores are asked at once, and at most once a second: the route is open to everyone. Whoever
 * comes meanwhile waits for the same answers. */
struct readyz {
    struct call *call;
    struct list node; /* in api->ready.waiting, until both have answered */
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

static void on_answer(struct api *api) {
    struct ready *ready = &api->ready;
    struct list *node;
    if (--ready->open > 0) {
        return;
    }
    ready->checked_ms = loop_now_ms(api->opts.loop);
    while ((node = list_take_first(&ready->waiting)) != NULL) {
        answer(LIST_ENTRY(node, struct readyz, node)->call);
    }
    api_call_ended(api);
}

static void on_state(struct states_op *op) {
    struct api *api = LIST_ENTRY(op, struct api, ready.state);
    api->ready.state_ok = op->rc == RC_OK;
    on_answer(api);
}

static void on_accounts(struct accounts_op *op) {
    struct api *api = LIST_ENTRY(op, struct api, ready.accounts);
    api->ready.accounts_ok = op->rc == RC_OK;
    on_answer(api);
}

/* The api stays open until they have answered, whoever still waits for it. */
static void ask(struct api *api) {
    api->open_calls++;
    api->ready.open = 2;
    api->ready.state_ok = false;
    api->ready.accounts_ok = false;
    states_ping(api->opts.states, &api->ready.state, on_state);
    accounts_ping(api->opts.accounts, &api->ready.accounts, on_accounts);
}

/* A store that does not answer in time has failed, and is named. */
void ep_readyz_fail(struct call *call, enum rc rc) {
    if (rc == RC_STORAGE_UNAVAILABLE) {
        call->api->ready.checked_ms = loop_now_ms(call->api->opts.loop);
        answer(call);
    } else {
        reply_fail(call, rc);
    }
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
    call->deadline_ms = call->request->started_ms + READY_TIMEOUT_MS;
    list_append(&api->ready.waiting, &flow->node);
    if (api->ready.open == 0) {
        ask(api);
    }
}
