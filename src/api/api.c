// SPDX-License-Identifier: MIT
#include "api/api.h"

#include "api/call.h"
#include "api/dispatch.h"
#include "api/ep_return.h"
#include "api/reply.h"
#include "api/routes.h"
#include "base/mem.h"

const char api_headers[] = "X-Content-Type-Options: nosniff\r\n"
                           "Cache-Control: no-store\r\n"
                           "Referrer-Policy: no-referrer\r\n"
                           "X-Frame-Options: DENY\r\n";
const char api_csp[] = "default-src 'none'";

const struct http_handler api_handler = {
    .on_head = dispatch_head,
    .on_body = dispatch_body,
    .error_body = reply_protocol_error,
};

struct api *api_new(const struct api_opts *opts) {
    struct api *api = mem_calloc(1, sizeof *api);
    api->opts = *opts;
    api->linker = (struct linker){
        .loop = opts->loop,
        .provider = opts->provider,
        .states = opts->states,
        .accounts = opts->accounts,
        .log = opts->log,
        .metrics = opts->metrics,
        .provider_timeout_ms = opts->provider_timeout_ms,
    };
    api->paths = routes_paths(opts->prefix);
    api->cookie_is_secure = slice_starts(opts->provider->redirect_uri, SLICE("https://"));
    api->cookie_name =
        api->cookie_is_secure ? SLICE("__Host-latchkey-flow") : SLICE("latchkey-flow");
    api->page_csp = ep_return_csp();
    if (api->page_csp == NULL) {
        routes_free_paths(api->paths);
        mem_free(api);
        return NULL;
    }
    linker_open(&api->linker);
    return api;
}

void api_drain(struct api *api) {
    api->is_draining = true;
}

static void on_linker_closed(void *owner) {
    struct api *api = owner;
    void (*closed)(void *closed_owner) = api->closed;
    void *closed_owner = api->closed_owner;
    routes_free_paths(api->paths);
    mem_free(api->page_csp);
    mem_free(api);
    closed(closed_owner);
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
