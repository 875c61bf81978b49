// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

#include "api/call.h"

/* The whole API in one table (routes.c): dispatch, Allow and the CORS answer are read from it. */
enum route_need {
    ROUTE_CALLER = 1 << 0, /* a valid bearer token */
    ROUTE_TIER = 1 << 1,   /* "P" of the contract */
    ROUTE_CONFIG = 1 << 2, /* "C" of the contract */
    ROUTE_JSON = 1 << 3,   /* a JSON body */
    ROUTE_NO_HEAD = 1 << 4,
};

/* Which limit a route's requests count against (contract, "Rate limits"). */
enum route_bucket {
    ROUTE_UNLIMITED,
    ROUTE_AUTHORIZE,
    ROUTE_CALLBACK, /* by user where there is one, and by address */
    ROUTE_SEARCH,
    ROUTE_OTHER,
};

struct route {
    enum http_method method;
    bool is_prefixed;
    const char *path; /* may hold one "{name}", which stands for one segment */
    unsigned needs;
    enum route_bucket bucket;
    /* The body is whole, every check has passed. Leads to exactly one reply. */
    void (*run)(struct call *call);
    /* How a failed check answers; NULL: reply_fail. */
    void (*fail)(struct call *call, enum rc rc);
};

extern const struct route routes[];
extern const size_t route_count;

/* Fills `paths` (route_count of them) with the full paths; freed by routes_free_paths. */
struct slice *routes_paths(struct slice prefix);
void routes_free_paths(struct slice *paths);

/* What a path comes to. */
struct route_match {
    const struct route *route; /* NULL with RC_ROUTE_UNKNOWN or RC_METHOD_UNKNOWN */
    enum rc rc;
    size_t index;         /* of a route of that path, unless RC_ROUTE_UNKNOWN */
    struct slice segment; /* null without one */
};

/* HEAD finds its GET. */
struct route_match routes_find(const struct slice *paths, enum http_method method,
                               struct slice path);

/* "GET, HEAD, OPTIONS" of the path of routes[index]. */
void routes_write_methods(const struct slice *paths, size_t index, struct buf *out);
