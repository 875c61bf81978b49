// SPDX-License-Identifier: MIT
#include "api/dispatch.h"

#include "api/client.h"
#include "api/deadline.h"
#include "api/limits.h"
#include "api/reply.h"
#include "api/routes.h"
#include "auth/tier.h"

static void on_gone(struct http_request *request) {
    struct call *call = request->owner;
    if (call->gone != NULL) {
        call->gone(call);
    }
}

void *call_alloc(struct call *call, size_t bytes) {
    return arena_calloc(call->request->arena, bytes);
}

static struct slice listed_origin(const struct api *api, struct slice origin) {
    for (size_t i = 0; i < api->opts.cors_origin_count; i++) {
        if (slice_eq(api->opts.cors_origins[i], origin)) {
            return api->opts.cors_origins[i];
        }
    }
    return SLICE_NULL;
}

static struct call *call_new(struct api *api, const struct slice *paths,
                             struct http_request *request) {
    struct call *call = arena_calloc(request->arena, sizeof *call);
    struct slice origin = http_header(request, HTTP_HEADER_ORIGIN);
    call->api = api;
    call->paths = paths;
    call->request = request;
    call->client = client_address(api, request);
    call->deadline_ms = request->started_ms + api->opts.request_timeout_ms;
    call->cors_origin = slice_is_null(origin) ? SLICE_NULL : listed_origin(api, origin);
    request->owner = call;
    request->gone = on_gone;
    return call;
}

/* OPTIONS of a known route, and the CORS preflight (Fetch standard, section 3.2). */
static void answer_options(struct call *call, size_t route) {
    char at[512];
    struct buf headers;
    buf_init_fixed(&headers, at, sizeof at);
    BUF_LIT(&headers, "Allow: ");
    routes_write_methods(call->paths, route, &headers);
    BUF_LIT(&headers, "\r\n");
    if (!slice_is_null(call->cors_origin)) {
        BUF_LIT(&headers, "Access-Control-Allow-Methods: ");
        routes_write_methods(call->paths, route, &headers);
        BUF_LIT(&headers, "\r\nAccess-Control-Allow-Headers: "
                          "Authorization, Content-Type, X-Request-ID\r\n"
                          "Access-Control-Max-Age: 600\r\n");
    }
    reply_send(call, &(struct reply){.status = 204, .headers = buf_slice(&headers)});
}

static void answer_method_unknown(struct call *call, size_t route) {
    char at[128];
    struct buf headers;
    buf_init_fixed(&headers, at, sizeof at);
    BUF_LIT(&headers, "Allow: ");
    routes_write_methods(call->paths, route, &headers);
    BUF_LIT(&headers, "\r\n");
    reply_fail_with(call, RC_METHOD_UNKNOWN, buf_slice(&headers));
}

static void answer_limited(struct call *call) {
    char at[256];
    struct buf headers;
    buf_init_fixed(&headers, at, sizeof at);
    limits_write_headers(&call->limited, &headers);
    reply_fail_with(call, RC_RATE_LIMITED, buf_slice(&headers));
}

static struct slice authorization(const struct call *call) {
    return http_header(call->request, HTTP_HEADER_AUTHORIZATION);
}

/* RC_UNVERIFIED: verify_caller has the rest of it. */
static enum rc check_caller(struct call *call) {
    struct http_request *request = call->request;
    struct api *api = call->api;
    if (!(call->route->needs & ROUTE_CALLER)) {
        return RC_OK;
    }
    enum rc rc =
        request->known_count[HTTP_HEADER_AUTHORIZATION] > 1
            ? RC_BAD_CREDENTIALS
            : bearer_check(api->opts.bearer, authorization(call),
                           loop_wall_ms(api->opts.loop) / 1000, request->request_id, &call->caller);
    if (rc == RC_OK) {
        call->caller.sub = arena_copy(request->arena, call->caller.sub);
    }
    return rc;
}

/* "application/json", with parameters or without (RFC 9110 section 8.3). */
static bool is_json(const struct http_request *request) {
    struct slice type = http_header(request, HTTP_HEADER_CONTENT_TYPE);
    struct slice essence = slice_trim(slice_head(type, slice_find(type, ';')));
    return request->known_count[HTTP_HEADER_CONTENT_TYPE] == 1 &&
           slice_ieq(essence, SLICE("application/json"));
}

/* The contract's order; the first that fails answers. These come once the caller is known. */
static enum rc check_rest(struct call *call) {
    unsigned needs = call->route->needs;
    enum rc rc = limits_check(call);
    if (rc == RC_OK && needs & ROUTE_TIER) {
        rc = tier_check(&call->caller);
    }
    if (rc == RC_OK && needs & ROUTE_CONFIG && !provider_is_configured(call->api->opts.provider)) {
        rc = RC_NOT_CONFIGURED;
    }
    if (rc == RC_OK && needs & ROUTE_JSON && !is_json(call->request)) {
        rc = RC_MEDIA_TYPE;
    }
    return rc;
}

/* `rc`: of the checks so far. */
static void end_checks(struct call *call, enum rc rc) {
    if (rc == RC_OK) {
        rc = check_rest(call);
    }
    if (rc == RC_OK) {
        http_read_body(call->request);
    } else if (call->route->fail != NULL) {
        call->route->fail(call, rc);
    } else if (rc == RC_RATE_LIMITED) {
        answer_limited(call);
    } else {
        reply_fail(call, rc);
    }
}

/* A token under a published key that is seen for the first time: the checks have a wait in them. */
struct verifying {
    struct call *call;
    struct bearer_op op;
};

static void on_verified(struct bearer_op *op) {
    struct call *call = LIST_ENTRY(op, struct verifying, op)->call;
    call->gone = NULL;
    if (call->request->is_gone) {
        http_read_body(call->request); /* nobody is there: ends it */
        return;
    }
    call->caller = op->caller; /* the flow lives as long as the call */
    call->limited = op->limited;
    end_checks(call, op->rc);
}

static void on_verifying_gone(struct call *call) {
    struct verifying *flow = call->flow;
    bearer_cancel(&flow->op);
}

static void verify_caller(struct call *call) {
    struct verifying *flow = call_alloc(call, sizeof *flow);
    const struct bearer_request request = {
        .authorization = authorization(call),
        .request_id = call->request->request_id,
        .client = call->client,
        .deadline_ms = call->deadline_ms,
    };
    flow->call = call;
    call->flow = flow;
    call->gone = on_verifying_gone;
    bearer_verify(call->api->opts.bearer, &flow->op, &request, on_verified);
}

static void begin(struct api *api, const struct slice *paths, struct http_request *request) {
    struct call *call = call_new(api, paths, request);
    struct route_match match = routes_find(paths, request->method, request->path);
    if (match.rc == RC_METHOD_UNKNOWN && request->method == HTTP_OPTIONS) {
        answer_options(call, match.index);
        return;
    }
    if (match.rc == RC_METHOD_UNKNOWN) {
        answer_method_unknown(call, match.index);
        return;
    }
    if (match.rc != RC_OK) {
        reply_fail(call, match.rc);
        return;
    }
    call->route = match.route;
    call->segment = match.segment;
    enum rc rc =
        request->content_length > api->opts.body_max ? RC_BODY_TOO_LARGE : check_caller(call);
    if (rc == RC_UNVERIFIED) {
        verify_caller(call);
    } else {
        end_checks(call, rc);
    }
}

void dispatch_head(void *owner, struct http_request *request) {
    struct api *api = owner;
    begin(api, api->paths, request);
}

void dispatch_metrics_head(void *owner, struct http_request *request) {
    struct api *api = owner;
    begin(api, api->metrics_paths, request);
}

void dispatch_body(void *owner, struct http_request *request) {
    struct api *api = owner;
    struct call *call = request->owner;
    call->is_open = true;
    api->open_calls++;
    deadline_watch(call);
    call->route->run(call);
}
