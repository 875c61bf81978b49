// SPDX-License-Identifier: MIT
#include "link/connect.h"

#include "base/b64.h"
#include "base/mem.h"

static void on_taken(struct states_op *take);
static void on_exchanged(struct token_op *exchange);
static void on_stored(struct accounts_op *store);

static void finish(struct connect *flow, enum rc rc) {
    flow->rc = rc;
    mem_wipe(flow->verifier, sizeof flow->verifier);
    mem_wipe(flow->take.verifier, sizeof flow->take.verifier);
    flow->done(flow);
}

void connect_start(struct linker *linker, struct connect *flow,
                   void (*done)(struct connect *flow)) {
    flow->linker = linker;
    flow->done = done;
    flow->step = CONNECT_TAKE;
    flow->take.request_id = flow->request_id;
    states_take(linker->states, &flow->take, flow->state, &flow->claim, on_taken);
}

static void log_rejected(struct linker *linker, const struct states_op *take, struct slice state,
                         const struct state_claim *claim, struct slice request_id) {
    struct slice owner = slice_make(take->user_id, take->user_id_len);
    struct slice caller = slice_is_null(claim->user_id) ? owner : claim->user_id;
    struct slice reason = slice_str(state_outcome_text(take->outcome));
    struct slice shown = slice_head(state, STATE_SHOWN_BYTES);
    if (take->outcome == STATE_USER_MISMATCH) {
        LOG(linker->log, LOG_WARNING, "state_rejected", request_id, log_text("user_id", caller),
            log_text("state", shown), log_text("reason", reason),
            log_text("expected_user_id", owner), log_text("actual_user_id", caller));
    } else {
        LOG(linker->log, LOG_WARNING, "state_rejected", request_id,
            log_text("user_id", caller.len > 0 ? caller : SLICE_NULL), log_text("state", shown),
            log_text("reason", reason));
    }
}

enum rc connect_read_take(struct linker *linker, struct states_op *take, struct slice state,
                          const struct state_claim *claim, struct slice request_id) {
    if (take->rc != RC_OK) {
        return RC_STORAGE_UNAVAILABLE;
    }
    if (take->outcome != STATE_TAKEN) {
        log_rejected(linker, take, state, claim, request_id);
        return RC_INVALID_STATE;
    }
    return RC_OK;
}

static void on_taken(struct states_op *take) {
    struct connect *flow = LIST_ENTRY(take, struct connect, take);
    struct linker *linker = flow->linker;
    enum rc rc = connect_read_take(linker, take, flow->state, &flow->claim, flow->request_id);
    if (rc != RC_OK || flow->is_canceled) {
        finish(flow, rc != RC_OK ? rc : RC_CANCELED);
        return;
    }
    b64_encode_unpadded(flow->verifier, slice_make(take->verifier, sizeof take->verifier));
    mem_wipe(take->verifier, sizeof take->verifier);
    flow->user_id = slice_make(take->user_id, take->user_id_len);
    flow->step = CONNECT_EXCHANGE;
    const struct token_exchange exchange = {
        .code = flow->code,
        .verifier = slice_make(flow->verifier, sizeof flow->verifier),
        .redirect_uri = slice_make(take->redirect_uri, take->redirect_uri_len),
        .user_id = flow->user_id,
        .request_id = flow->request_id,
        .timeout_ms = flow->deadline_ms - loop_now_ms(linker->loop),
    };
    token_exchange(linker->provider, &flow->exchange, &exchange, on_exchanged);
}

static void audit_linked(struct connect *flow, enum rc rc, bool sealed) {
    LOG_AUDIT(flow->linker->log, "token_linked", flow->request_id,
              log_text("user_id", flow->user_id),
              log_text("audible_user_id", flow->audible_user_id), log_text("client", flow->client),
              log_text("outcome", rc == RC_OK ? SLICE("ok") : SLICE("failed")),
              log_bool("sealed", sealed),
              log_text("cause", rc == RC_OK ? SLICE_NULL : slice_str(rc_name(rc))));
}

static void on_exchanged(struct token_op *exchange) {
    struct connect *flow = LIST_ENTRY(exchange, struct connect, exchange);
    struct linker *linker = flow->linker;
    if (exchange->rc != RC_OK) {
        if (exchange->rc != RC_CANCELED) {
            audit_linked(flow, exchange->rc, false);
        }
        finish(flow, exchange->rc);
        return;
    }
    if (!slice_is_null(exchange->provider_user_id)) {
        memcpy(flow->audible_user_id_at, exchange->provider_user_id.at,
               exchange->provider_user_id.len);
        flow->audible_user_id =
            slice_make(flow->audible_user_id_at, exchange->provider_user_id.len);
    }
    flow->step = CONNECT_STORE;
    flow->synced_ms = loop_wall_ms(linker->loop);
    flow->store.request_id = flow->request_id;
    const struct account_link link = {
        .user_id = flow->user_id,
        .audible_user_id = flow->audible_user_id,
        .access_token = exchange->access_token,
        .refresh_token = exchange->refresh_token,
        .expires_ms = flow->synced_ms + exchange->expires_in_s * 1000,
        .now_ms = flow->synced_ms,
    };
    accounts_link(linker->accounts, &flow->store, &link, on_stored);
}

static void on_stored(struct accounts_op *store) {
    struct connect *flow = LIST_ENTRY(store, struct connect, store);
    struct linker *linker = flow->linker;
    audit_linked(flow, store->rc, store->sealed);
    if (store->rc != RC_OK) {
        finish(flow, RC_STORAGE_UNAVAILABLE);
        return;
    }
    LOG(linker->log, LOG_INFO, "account_connected", flow->request_id,
        log_text("user_id", flow->user_id), log_text("audible_user_id", flow->audible_user_id));
    finish(flow, RC_OK);
}

void connect_cancel(struct connect *flow) {
    flow->is_canceled = true;
    if (flow->step == CONNECT_EXCHANGE) {
        token_cancel(&flow->exchange);
    }
}
