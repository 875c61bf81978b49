// SPDX-License-Identifier: MIT
#include "api/dispatch.h"

#include "api/client.h"
#include "api/deadline.h"
#include "api/limits.h"
#include "api/reply.h"
#include "api/routes.h"
#include "auth/tier.h"
#include "base/limits.h"

enum { HEADERS_BYTES = 512, CORS_BYTES_MAX = LIMIT_HEAD_BYTES };

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

/* The lines of a listed origin, on every answer (Fetch standard, section 3.2.3). */
static struct slice cors_headers(struct arena *arena, struct slice origin) {
    struct buf headers;
    buf_init_arena(&headers, arena, CORS_BYTES_MAX);
    BUF_LIT(&headers, "Access-Control-Allow-Origin: ");
    buf_append(&headers, origin);
    BUF_LIT(&headers, "\r\nAccess-Control-Allow-Credentials: true\r\n"
                      "Access-Control-Expose-Headers: X-Request-ID, Retry-After\r\n"
                      "Vary: Origin\r\n");
    return buf_slice(&headers);
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
    origin = slice_is_null(origin) ? SLICE_NULL : listed_origin(api, origin);
    call->has_listed_origin = !slice_is_null(origin);
    if (call->has_listed_origin) {
        request->reply_headers = cors_headers(request->arena, origin);
    }
    request->owner = call;
    request->gone = on_gone;
    return call;
}

static void write_methods(struct buf *headers, const char *name, const struct call *call,
                          size_t route) {
    buf_append(headers, slice_str(name));
    BUF_LIT(headers, ": ");
    routes_write_methods(call->paths, route, headers);
    BUF_LIT(headers, "\r\n");
}

/* OPTIONS of a known route, and the CORS preflight (Fetch standard, section 3.2). */
static void answer_options(struct call *call, size_t route) {
    char at[HEADERS_BYTES];
    struct buf headers;
    buf_init_fixed(&headers, at, sizeof at);
    write_methods(&headers, "Allow", call, route);
    if (call->has_listed_origin) {
        write_methods(&headers, "Access-Control-Allow-Methods", call, route);
        BUF_LIT(&headers, "Access-Control-Allow-Headers: "
                          "Authorization, Content-Type, X-Request-ID\r\n"
                          "Access-Control-Max-Age: 600\r\n");
    }
    reply_send(call, &(struct reply){.status = 204, .headers = buf_slice(&headers)});
}

static void answer_method_unknown(struct call *call, size_t route) {
    char at[HEADERS_BYTES];
    struct buf headers;
    buf_init_fixed(&headers, at, sizeof at);
    write_methods(&headers, "Allow", call, route);
    reply_fail_with(call, RC_METHOD_UNKNOWN, buf_slice(&headers));
}

static void answer_limited(struct call *call) {
    char at[HEADERS_BYTES];
    struct buf headers;
    buf_init_fixed(&headers, at, sizeof at);
    limits_write_headers(&call->limited, &headers);
    reply_fail_with(call, RC_RATE_LIMITED, buf_slice(&headers));
}

/* --- the checks, in the contract's order ------------------------------------------------------
 *
 * The first that fails answers. Three of them may have to wait: then they return RC_PENDING, and
 * what they wait for leads to `resume`. */

enum check {
    CHECK_SIZE,
    CHECK_TOKEN,
    CHECK_USER,
    CHECK_ACTIVE,
    CHECK_LIMITS,
    CHECK_TIER,
    CHECK_CONFIG,
    CHECK_MEDIA_TYPE,
    CHECKS
};

static void resume(struct call *call, enum rc rc);

static bool needs(const struct call *call, enum route_need need) {
    return (call->route->needs & need) != 0;
}

static enum rc check_size(const struct call *call) {
    bool fits = call->request->content_length <= call->api->opts.body_max;
    return fits ? RC_OK : RC_BODY_TOO_LARGE;
}

/* A token under a published key that is seen for the first time. */
struct token_wait {
    struct call *call;
    struct bearer_op op;
};

static void on_verified(struct bearer_op *op) {
    struct call *call = LIST_ENTRY(op, struct token_wait, op)->call;
    call->caller = op->caller; /* the wait lives as long as the call */
    call->limited = op->limited;
    resume(call, op->rc);
}

static void on_gone_verifying(struct call *call) {
    struct token_wait *wait = call->flow;
    bearer_cancel(&wait->op);
}

static enum rc verify_token(struct call *call, struct slice authorization) {
    struct token_wait *wait = call_alloc(call, sizeof *wait);
    const struct bearer_request request = {
        .authorization = authorization,
        .request_id = call->request->request_id,
        .client = call->client,
        .deadline_ms = call->deadline_ms,
    };
    wait->call = call;
    call->flow = wait;
    call->gone = on_gone_verifying;
    bearer_verify(call->api->opts.bearer, &wait->op, &request, on_verified);
    return RC_PENDING;
}

static enum rc check_token(struct call *call) {
    struct http_request *request = call->request;
    struct loop *loop = call->api->opts.loop;
    struct slice authorization = http_header(request, HTTP_HEADER_AUTHORIZATION);
    if (!needs(call, ROUTE_CALLER)) {
        return RC_OK;
    }
    if (request->known_count[HTTP_HEADER_AUTHORIZATION] > 1) {
        LOG(call->api->opts.log, LOG_INFO, "auth_rejected", request->request_id,
            log_text("reason", SLICE("doubled_header")));
        return RC_BAD_CREDENTIALS;
    }
    enum rc rc = bearer_check(call->api->opts.bearer, authorization, loop_wall_ms(loop) / 1000,
                              request->request_id, &call->caller);
    if (rc == RC_OK) {
        call->caller.sub = arena_copy(request->arena, call->caller.sub);
    }
    return rc == RC_UNVERIFIED ? verify_token(call, authorization) : rc;
}

/* A caller whose role, tier and activity stand elsewhere than in the token, and aren't known. */
struct user_wait {
    struct call *call;
    struct users_op op;
};

static void on_user(struct users_op *op) {
    resume(LIST_ENTRY(op, struct user_wait, op)->call, op->rc);
}

static void on_gone_finding(struct call *call) {
    struct user_wait *wait = call->flow;
    users_cancel(&wait->op);
}

static enum rc find_user(struct call *call) {
    struct user_wait *wait = call_alloc(call, sizeof *wait);
    wait->call = call;
    call->flow = wait;
    call->gone = on_gone_finding;
    users_find(call->api->opts.users, &wait->op, &call->caller, call->request->request_id,
               call->deadline_ms, on_user);
    return RC_PENDING;
}

static enum rc check_user(struct call *call) {
    struct users *users = call->api->opts.users;
    enum rc rc = RC_OK;
    if (users == NULL || !needs(call, ROUTE_CALLER) ||
        users_cached(users, &call->caller, call->request->request_id, &rc)) {
        return rc;
    }
    return find_user(call);
}

static enum rc check_active(const struct call *call) {
    return needs(call, ROUTE_CALLER) ? bearer_check_active(call->api->opts.bearer, &call->caller,
                                                           call->request->request_id)
                                     : RC_OK;
}

/* Limits that all processes share. The wait is short, and a client that leaves needn't end it. */
static void on_counted(struct limits_op *op) {
    resume(op->call, op->rc);
}

static enum rc check_limits(struct call *call) {
    enum rc rc = limits_check(call);
    if (rc == RC_PENDING) {
        limits_ask(call, call_alloc(call, sizeof(struct limits_op)), on_counted);
    }
    return rc;
}

static enum rc check_tier(const struct call *call) {
    return needs(call, ROUTE_TIER) ? tier_check(&call->caller) : RC_OK;
}

static enum rc check_config(const struct call *call) {
    bool is_missing =
        needs(call, ROUTE_CONFIG) && !provider_is_configured(call->api->opts.provider);
    return is_missing ? RC_NOT_CONFIGURED : RC_OK;
}

/* "application/json", with parameters or without (RFC 9110 section 8.3). */
static bool is_json(const struct http_request *request) {
    struct slice type = http_header(request, HTTP_HEADER_CONTENT_TYPE);
    struct slice essence = slice_trim(slice_head(type, slice_find(type, ';')));
    return request->known_count[HTTP_HEADER_CONTENT_TYPE] == 1 &&
           slice_ieq(essence, SLICE("application/json"));
}

static enum rc check_media_type(const struct call *call) {
    return needs(call, ROUTE_JSON) && !is_json(call->request) ? RC_MEDIA_TYPE : RC_OK;
}

static enum rc check(struct call *call, enum check which) {
    switch (which) {
    case CHECK_SIZE:
        return check_size(call);
    case CHECK_TOKEN:
        return check_token(call);
    case CHECK_USER:
        return check_user(call);
    case CHECK_ACTIVE:
        return check_active(call);
    case CHECK_LIMITS:
        return check_limits(call);
    case CHECK_TIER:
        return check_tier(call);
    case CHECK_CONFIG:
        return check_config(call);
    case CHECK_MEDIA_TYPE:
        return check_media_type(call);
    case CHECKS:
        break;
    }
    return RC_INTERNAL;
}

static void end_checks(struct call *call, enum rc rc) {
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

/* `rc`: of the check before. */
static void step(struct call *call, enum rc rc) {
    while (rc == RC_OK && call->check < CHECKS) {
        rc = check(call, (enum check)call->check++);
    }
    if (rc != RC_PENDING) {
        end_checks(call, rc);
    }
}

static void resume(struct call *call, enum rc rc) {
    call->gone = NULL;
    if (call->request->is_gone) {
        http_read_body(call->request); /* nobody is there: ends it */
    } else {
        step(call, rc);
    }
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
    step(call, RC_OK);
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
