// SPDX-License-Identifier: MIT
#include "api/api.h"

#include "api/call.h"
#include "api/deadline.h"
#include "api/dispatch.h"
#include "api/endpoints.h"
#include "api/ep_return.h"
#include "api/limits.h"
#include "api/openapi.h"
#include "api/reply.h"
#include "api/routes.h"
#include "base/limits.h"
#include "base/mem.h"

enum { OPENAPI_BYTES_MAX = 256 * 1024 };

const char api_headers[] = "X-Content-Type-Options: nosniff\r\n"
                           "Cache-Control: no-store\r\n"
                           "Referrer-Policy: no-referrer\r\n"
                           "X-Frame-Options: DENY\r\n";
const char api_tls_headers[] = "Strict-Transport-Security: max-age=31536000\r\n";
const char api_csp[] = "default-src 'none'";

const struct http_handler api_handler = {
    .on_head = dispatch_head,
    .on_body = dispatch_body,
    .error_body = reply_protocol_error,
};

const struct http_handler api_metrics_handler = {
    .on_head = dispatch_metrics_head,
    .on_body = dispatch_body,
    .error_body = reply_protocol_error,
};

static void hide(struct slice *path, bool is_hidden) {
    path->len = is_hidden ? 0 : path->len;
}

static void build_routes(struct api *api) {
    const struct api_opts *opts = &api->opts;
    api->paths = routes_paths(opts->prefix);
    api->metrics_paths = routes_paths(opts->prefix);
    api->metrics_of = mem_calloc(route_count, sizeof *api->metrics_of);
    for (size_t i = 0; i < route_count; i++) {
        const struct openapi_operation *operation = openapi_operation_of(&routes[i]);
        bool is_metrics = routes[i].run == ep_metrics;
        hide(&api->paths[i], (is_metrics && !opts->serves_metrics) ||
                                 (routes[i].run == ep_docs && opts->docs == NULL));
        hide(&api->metrics_paths[i],
             !is_metrics && !slice_eq(api->metrics_paths[i], SLICE("/healthz")));
        api->metrics_of[i] = operation != NULL ? operation->metric : METRICS_ROUTE_NONE;
    }
    buf_init(&api->openapi, OPENAPI_BYTES_MAX);
    openapi_write(api->paths, &api->openapi);
}

static void free_api(struct api *api) {
    if (api->limiter != NULL) {
        limiter_free(api->limiter);
    }
    routes_free_paths(api->paths);
    routes_free_paths(api->metrics_paths);
    mem_free(api->metrics_of);
    buf_fini(&api->openapi);
    mem_free(api->page_csp);
    mem_free(api);
}

struct api *api_new(const struct api_opts *opts) {
    struct api *api = mem_calloc(1, sizeof *api);
    api->opts = *opts;
    api->linker = (struct linker){
        .loop = opts->loop,
        .provider = opts->provider,
        .states = opts->states,
        .accounts = opts->accounts,
        .leases = opts->leases,
        .log = opts->log,
        .metrics = opts->metrics,
        .provider_timeout_ms = opts->provider_timeout_ms,
    };
    list_init(&api->ready.waiting);
    build_routes(api);
    api->cookie_is_secure = slice_starts(opts->provider->redirect_uri, SLICE("https://"));
    api->cookie_name =
        api->cookie_is_secure ? SLICE("__Host-latchkey-flow") : SLICE("latchkey-flow");
    api->page_csp = ep_return_csp();
    api->limiter = limiter_new(LIMIT_RATE_KEYS);
    if (api->page_csp == NULL || api->limiter == NULL || !buf_ok(&api->openapi)) {
        free_api(api);
        return NULL;
    }
    if (opts->rates_redis != NULL) {
        api->limiter_redis = limiter_redis_new(&(struct limiter_redis_opts){
            .loop = opts->loop,
            .log = opts->log,
            .metrics = opts->metrics,
            .redis = opts->rates_redis,
            .local = api->limiter,
            .buckets = limits_buckets,
        });
    }
    linker_open(&api->linker);
    deadline_open(api);
    return api;
}

void api_drain(struct api *api) {
    api->is_draining = true;
}

static void on_deadline_closed(struct loop_timer *timer) {
    struct api *api = LIST_ENTRY(timer, struct api, deadline_timer);
    void (*closed)(void *closed_owner) = api->closed;
    void *closed_owner = api->closed_owner;
    free_api(api);
    closed(closed_owner);
}

static void on_limiter_closed(void *owner) {
    deadline_close(owner, on_deadline_closed);
}

static void on_linker_closed(void *owner) {
    struct api *api = owner;
    if (api->limiter_redis != NULL) {
        limiter_redis_close(api->limiter_redis, on_limiter_closed, api);
    } else {
        on_limiter_closed(api);
    }
}

static void on_close(struct loop_task *task) {
    struct api *api = LIST_ENTRY(task, struct api, close_task);
    linker_close(&api->linker, on_linker_closed, api);
}

static void close_when_idle(struct api *api) {
    if (api->closed != NULL && api->open_calls == 0) {
        loop_later(api->opts.loop, &api->close_task, on_close);
    }
}

void api_call_ended(struct api *api) {
    api->open_calls--;
    close_when_idle(api);
}

void api_close(struct api *api, void (*closed)(void *owner), void *owner) {
    api->closed = closed;
    api->closed_owner = owner;
    close_when_idle(api);
}
