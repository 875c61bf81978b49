// SPDX-License-Identifier: MIT
#include "api/endpoints.h"
#include "api/fields.h"
#include "api/flow_cookie.h"
#include "base/b64.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "link/connect.h"
#include "provider/authorize.h"

enum {
    /* The form encoding triples the client id and the redirect URI; the URL stands in the body. */
    AUTHORIZE_BYTES = (1 + 3 + 3) * LIMIT_URI_BYTES + 1024,
    CALLBACK_BYTES = 2048,
};

/* POST oauth/authorize: a fresh state and verifier, kept for the callback; one wait. */
struct authorize {
    struct call *call;
    struct slice redirect_uri;
    char state[RANDOM_TEXT_BYTES];
    char challenge[RANDOM_TEXT_BYTES];
    struct flow_cookie cookie;
    struct states_op put;
};

static void on_state_put(struct states_op *put);

/* RFC 7636 section 4.1 and 4.2; the verifier is the base64url text of its random bytes. */
static enum rc make_secrets(struct authorize *flow, struct state_new *fresh) {
    struct call *call = flow->call;
    char verifier[RANDOM_TEXT_BYTES];
    enum rc rc = rng_bytes(call->api->opts.rng, fresh->state, sizeof fresh->state);
    if (rc == RC_OK) {
        rc = rng_bytes(call->api->opts.rng, fresh->verifier, sizeof fresh->verifier);
    }
    if (rc == RC_OK) {
        b64_encode_unpadded(flow->state, slice_make(fresh->state, sizeof fresh->state));
        b64_encode_unpadded(verifier, slice_make(fresh->verifier, sizeof fresh->verifier));
        rc = hash_pkce_challenge(slice_make(verifier, sizeof verifier), flow->challenge);
    }
    if (rc == RC_OK) {
        rc = flow_cookie_of(call, &flow->cookie, fresh->cookie_hash);
    }
    mem_wipe(verifier, sizeof verifier);
    return rc;
}

void ep_authorize(struct call *call) {
    struct fields fields;
    if (!fields_open(&fields, call)) {
        return;
    }
    struct slice wanted = fields_text(&fields, "redirect_uri", 0, LIMIT_BODY_BYTES);
    if (!fields_close(&fields)) {
        return;
    }
    struct authorize *flow = call_alloc(call, sizeof *flow);
    struct state_new fresh = {.user_id = call->caller.sub};
    flow->call = call;
    flow->redirect_uri = provider_redirect_uri(call->api->opts.provider, wanted);
    fresh.redirect_uri = flow->redirect_uri;
    enum rc rc = make_secrets(flow, &fresh);
    if (rc == RC_OK) {
        flow->put.request_id = call->request->request_id;
        states_put(call->api->opts.states, &flow->put, &fresh, on_state_put);
    } else {
        reply_fail(call, RC_AUTHORIZE_FAILED);
    }
    mem_wipe(&fresh, sizeof fresh);
}

static void write_authorize(struct authorize *flow, struct buf *body) {
    char url_at[AUTHORIZE_BYTES];
    struct buf url;
    struct authorize_request request = {
        .state = slice_make(flow->state, sizeof flow->state),
        .code_challenge = slice_make(flow->challenge, sizeof flow->challenge),
        .redirect_uri = flow->redirect_uri,
    };
    buf_init_fixed(&url, url_at, sizeof url_at);
    authorize_write_url(flow->call->api->opts.provider, &request, &url);
    body->overflow |= url.overflow;
    struct jsonw w = jsonw_start(body);
    jsonw_open(&w, '{');
    jsonw_member(&w, "auth_url", buf_slice(&url));
    jsonw_member(&w, "state", request.state);
    jsonw_member(&w, "code_challenge", request.code_challenge);
    jsonw_member(&w, "code_challenge_method", SLICE("S256"));
    jsonw_close(&w, '}');
}

static void on_state_put(struct states_op *put) {
    struct authorize *flow = LIST_ENTRY(put, struct authorize, put);
    struct call *call = flow->call;
    char body_at[AUTHORIZE_BYTES];
    char headers_at[FLOW_COOKIE_HEADER_BYTES];
    struct buf body;
    struct buf headers;
    if (put->rc != RC_OK) {
        reply_fail(call, put->rc);
        return;
    }
    buf_init_fixed(&body, body_at, sizeof body_at);
    buf_init_fixed(&headers, headers_at, sizeof headers_at);
    write_authorize(flow, &body);
    flow_cookie_write(call, &flow->cookie, &headers);
    if (!buf_ok(&body) || !buf_ok(&headers)) {
        reply_fail(call, RC_AUTHORIZE_FAILED);
        return;
    }
    LOG(call->api->opts.log, LOG_INFO, "authorize_url_generated", call->request->request_id,
        log_text("user_id", call->caller.sub),
        log_text("state", slice_make(flow->state, STATE_SHOWN_BYTES)));
    reply_send(call, &(struct reply){.status = 200,
                                     .content_type = SLICE("application/json"),
                                     .body = buf_slice(&body),
                                     .headers = buf_slice(&headers)});
}

/* POST oauth/callback: the platform's client hands over code and state; link/connect does the rest.
 */
struct callback {
    struct call *call;
    struct connect connect;
};

static void on_connected(struct connect *connect) {
    struct call *call = LIST_ENTRY(connect, struct callback, connect)->call;
    char at[CALLBACK_BYTES];
    struct buf body;
    if (connect->rc != RC_OK) {
        reply_fail(call, connect->rc);
        return;
    }
    buf_init_fixed(&body, at, sizeof at);
    struct jsonw w = jsonw_start(&body);
    jsonw_open(&w, '{');
    jsonw_member(&w, "status", SLICE("connected"));
    jsonw_member(&w, "audible_user_id", connect->audible_user_id);
    jsonw_name(&w, "synced_at");
    jsonw_time(&w, connect->synced_ms);
    jsonw_close(&w, '}');
    reply_json(call, buf_slice(&body));
}

static void on_callback_gone(struct call *call) {
    struct callback *flow = call->flow;
    connect_cancel(&flow->connect);
}

void ep_callback(struct call *call) {
    struct fields fields;
    if (!fields_open(&fields, call)) {
        return;
    }
    struct slice code = fields_text(&fields, "code", 1, LIMIT_CODE_BYTES);
    struct slice state = fields_text(&fields, "state", 1, LIMIT_STATE_BYTES);
    if (!fields_close(&fields)) {
        return;
    }
    struct callback *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    flow->connect.code = code;
    flow->connect.state = state;
    flow->connect.claim.user_id = call->caller.sub;
    flow->connect.request_id = call->request->request_id;
    flow->connect.client = call->client;
    flow->connect.deadline_ms = call->deadline_ms;
    call->flow = flow;
    call->gone = on_callback_gone;
    connect_start(&call->api->linker, &flow->connect, on_connected);
}
