// SPDX-License-Identifier: MIT
#include "api/ep_return.h"

#include "api/endpoints.h"
#include "api/flow_cookie.h"
#include "api/reply.h"
#include "base/b64.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "link/connect.h"

/* GET oauth/callback: the provider sends the user's browser here. The user is the state's, and the
 * flow cookie shows that it is the browser that began. Ends on LATCHKEY_RETURN_URL or on a page. */
enum { LOCATION_BYTES = 4096, PAGE_BYTES = 2048 };

static const char page_style[] =
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;"
    "color-scheme:light dark}";

char *ep_return_csp(void) {
    unsigned char hash[HASH_SHA256_BYTES];
    char text[B64_BYTES(HASH_SHA256_BYTES)];
    struct buf csp;
    if (hash_sha256(slice_make(page_style, sizeof page_style - 1), hash) != RC_OK) {
        return NULL;
    }
    buf_init(&csp, 256);
    BUF_LIT(&csp, "default-src 'none'; style-src 'sha256-");
    buf_append(&csp, slice_make(text, b64_encode(text, slice_make(hash, sizeof hash))));
    BUF_LIT(&csp, "'");
    char *copy = mem_strdup(buf_slice(&csp));
    buf_fini(&csp);
    return copy;
}

/* Appends the outcome to the URL's query; a fragment stays last. */
static void write_location(struct slice url, enum rc rc, struct buf *out) {
    size_t fragment = slice_find(url, '#');
    struct slice base = slice_head(url, fragment);
    bool has_query = slice_find(base, '?') < base.len;
    BUF_LIT(out, "Location: ");
    buf_append(out, base);
    buf_append_char(out, has_query ? '&' : '?');
    if (rc == RC_OK) {
        BUF_LIT(out, "audible=connected");
    } else {
        BUF_LIT(out, "audible=error&reason=");
        buf_append_form(out, slice_str(reply_detail(rc)));
    }
    buf_append(out, slice_from(url, fragment));
    BUF_LIT(out, "\r\n");
}

static void redirect(struct call *call, enum rc rc) {
    char at[LOCATION_BYTES];
    struct buf location;
    buf_init_fixed(&location, at, sizeof at);
    write_location(call->api->opts.return_url, rc, &location);
    reply_send(call, &(struct reply){.status = 303, .headers = buf_slice(&location)});
}

static void show_page(struct call *call, enum rc rc) {
    char at[PAGE_BYTES];
    struct buf page;
    buf_init_fixed(&page, at, sizeof at);
    BUF_LIT(&page, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width\"><title>Audible</title>"
                   "<style>");
    buf_append(&page, slice_str(page_style));
    BUF_LIT(&page, "</style>");
    if (rc == RC_OK) {
        BUF_LIT(&page, "<h1>Your account is connected</h1><p>You may close this window.</p>");
    } else {
        BUF_LIT(&page, "<h1>Your account was not connected</h1><p>You may close this window and try"
                       " again. The reason was: <code>");
        buf_append(&page, slice_str(reply_detail(rc)));
        BUF_LIT(&page, "</code></p>");
    }
    BUF_LIT(&page, "</html>");
    reply_send(call, &(struct reply){.status = rc == RC_OK ? 200 : 400,
                                     .content_type = SLICE("text/html; charset=utf-8"),
                                     .body = buf_slice(&page),
                                     .csp = slice_str(call->api->page_csp)});
}

static void end(struct call *call, enum rc rc) {
    if (slice_is_null(call->api->opts.return_url)) {
        show_page(call, rc);
    } else {
        redirect(call, rc);
    }
}

void ep_return_fail(struct call *call, enum rc rc) {
    if (rc == RC_BODY_TOO_LARGE) {
        reply_fail(call, rc);
    } else {
        end(call, rc);
    }
}

struct way_back {
    struct call *call;
    enum rc provider_error; /* RC_OK: there is a code */
    struct slice state;
    struct state_claim claim;
    unsigned char cookie_hash[STATE_COOKIE_HASH_BYTES];
    struct states_op spend;
    struct connect connect;
};

static void on_spent(struct states_op *spend);
static void on_linked(struct connect *connect);
static void on_return_gone(struct call *call);

/* What the provider says is never shown; what is told is ours (RFC 6749 section 4.1.2.1). */
static enum rc read_error(struct slice error) {
    if (slice_eq(error, SLICE("access_denied"))) {
        return RC_ACCESS_DENIED;
    }
    if (slice_eq(error, SLICE("server_error")) ||
        slice_eq(error, SLICE("temporarily_unavailable"))) {
        return RC_PROVIDER_UNAVAILABLE;
    }
    return RC_CODE_REFUSED;
}

struct way_back_query {
    struct slice code;
    struct slice error;
    struct slice state;
};

static bool is_sane(struct slice value, size_t max) {
    return value.len > 0 && value.len <= max;
}

/* RFC 6749 section 4.1.2, RFC 9207. Fails before the state is touched. */
static enum rc read_query(struct call *call, struct way_back_query *query) {
    size_t codes;
    size_t errors;
    size_t states;
    size_t issuers;
    struct slice expected = call->api->opts.provider->issuer;
    query->code = http_query(call->request, "code", &codes);
    query->error = http_query(call->request, "error", &errors);
    query->state = http_query(call->request, "state", &states);
    struct slice issuer = http_query(call->request, "iss", &issuers);
    if (states != 1 || codes > 1 || errors > 1 || issuers > 1 || codes + errors != 1) {
        return RC_INVALID_REQUEST;
    }
    if (!is_sane(query->state, LIMIT_STATE_BYTES) ||
        (codes == 1 && !is_sane(query->code, LIMIT_CODE_BYTES))) {
        return RC_INVALID_REQUEST;
    }
    bool wrong_issuer = issuers == 1 && !slice_is_null(expected) && !slice_eq(issuer, expected);
    return wrong_issuer ? RC_INVALID_REQUEST : RC_OK;
}

void ep_return(struct call *call) {
    struct way_back_query query;
    enum rc rc = read_query(call, &query);
    if (rc != RC_OK) {
        end(call, rc);
        return;
    }
    struct way_back *flow = call_alloc(call, sizeof *flow);
    flow->call = call;
    flow->state = query.state;
    flow->claim.cookie_hash = flow->cookie_hash;
    rc = flow_cookie_hash(call, flow->cookie_hash);
    if (rc != RC_OK) {
        end(call, RC_INTERNAL);
        return;
    }
    if (!slice_is_null(query.error)) {
        flow->provider_error = read_error(query.error);
        flow->spend.request_id = call->request->request_id;
        states_take(call->api->opts.states, &flow->spend, flow->state, &flow->claim, on_spent);
        return;
    }
    flow->connect.code = query.code;
    flow->connect.state = flow->state;
    flow->connect.claim = flow->claim;
    flow->connect.request_id = call->request->request_id;
    flow->connect.client = call->client;
    flow->connect.deadline_ms = call->deadline_ms;
    call->flow = flow;
    call->gone = on_return_gone;
    connect_start(&call->api->linker, &flow->connect, on_linked);
}

static void on_spent(struct states_op *spend) {
    struct way_back *flow = LIST_ENTRY(spend, struct way_back, spend);
    struct call *call = flow->call;
    enum rc rc = connect_read_take(&call->api->linker, spend, flow->state, &flow->claim,
                                   call->request->request_id);
    end(call, rc == RC_OK ? flow->provider_error : rc);
}

static void on_linked(struct connect *connect) {
    end(LIST_ENTRY(connect, struct way_back, connect)->call, connect->rc);
}

static void on_return_gone(struct call *call) {
    struct way_back *flow = call->flow;
    connect_cancel(&flow->connect);
}
