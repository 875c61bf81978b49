// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "auth/limiter.h"
#include "auth/limiter_redis.h"
#include "base/buf.h"
#include "link/linker.h"

enum { API_READY_FRESH_MS = 1000 };

/* One request on its way through the API. Lives in the request's arena; ends with its reply. */
struct call {
    struct api *api;
    struct http_request *request;
    const struct slice *paths; /* of the routes that are served where the request came in */
    const struct route *route;
    struct slice segment;          /* what stands for the "{name}" of the route; null without one */
    struct caller caller;          /* where the route needs one; `sub` in the arena */
    bool has_listed_origin;        /* of LATCHKEY_CORS_ORIGINS */
    int64_t deadline_ms;           /* loop_now_ms */
    unsigned check;                /* dispatch's: the next one */
    struct slice client;           /* its address, "" over a unix socket */
    struct limiter_answer limited; /* with RC_RATE_LIMITED */
    bool is_open;                  /* counted in api->open_calls */
    struct list node;              /* in api->waiting, while its endpoint has it */
    enum {
        CALL_IN_TIME,
        CALL_EXPIRING, /* the next reply goes out although the endpoint isn't done */
        CALL_EXPIRED,  /* the endpoint's own reply is for nobody */
    } time;
    void (*gone)(struct call *call); /* the client has left; set by a flow that would hurry */
    void *flow;                      /* the endpoint's */
};

/* What /readyz knows of the stores. */
struct ready {
    int64_t checked_ms; /* 0: never */
    bool state_ok;      /* with open questions: has said so */
    bool accounts_ok;
    unsigned open;       /* questions without an answer */
    struct list waiting; /* for all of them */
    struct states_op state;
    struct accounts_op accounts;
};

struct api {
    struct api_opts opts;
    struct linker linker;
    struct limiter *limiter;
    struct limiter_redis *limiter_redis; /* NULL: each process counts for itself */
    struct slice *paths;                 /* of the routes, prefix included; empty: not served */
    struct slice *metrics_paths;         /* the same for the metrics' own address */
    enum metrics_route *metrics_of;      /* the routes */
    struct buf openapi;
    struct slice cookie_name;
    bool cookie_is_secure;
    bool is_draining;
    size_t open_calls;
    struct list waiting; /* calls that are with their endpoint */
    struct loop_timer deadline_timer;
    struct ready ready;
    char *page_csp;
    void (*closed)(void *owner);
    void *closed_owner;
    struct loop_task close_task;
};

/* From the request's arena, zeroed. Never NULL: LIMIT_REQUEST_ARENA_BYTES holds every flow. */
void *call_alloc(struct call *call, size_t bytes);

/* One of open_calls has been answered. */
void api_call_ended(struct api *api);
