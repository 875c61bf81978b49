// SPDX-License-Identifier: MIT
#include "api/routes.h"

#include "api/endpoints.h"
#include "base/mem.h"

enum {
    PUBLIC = 0,
    MEMBER = ROUTE_CALLER | ROUTE_TIER,
    MEMBER_CONFIGURED = MEMBER | ROUTE_CONFIG,
};

/* clang-format off */
const struct route routes[] = {
    {HTTP_GET,  true,  "/user/audible/connected",       MEMBER,            ROUTE_OTHER,     ep_connected,  NULL},
    {HTTP_POST, true,  "/user/audible/oauth/authorize", MEMBER_CONFIGURED | ROUTE_JSON, ROUTE_AUTHORIZE, ep_authorize, NULL},
    {HTTP_POST, true,  "/user/audible/oauth/callback",  MEMBER_CONFIGURED | ROUTE_JSON, ROUTE_CALLBACK,  ep_callback,  NULL},
    {HTTP_GET,  true,  "/user/audible/oauth/callback",  ROUTE_CONFIG | ROUTE_NO_HEAD,   ROUTE_CALLBACK,  ep_return,    ep_return_fail},
    {HTTP_POST, true,  "/user/audible/disconnect",      MEMBER,            ROUTE_OTHER,     ep_disconnect, NULL},
    {HTTP_POST, true,  "/user/audible/library/sync",    MEMBER_CONFIGURED, ROUTE_OTHER,     ep_sync,       NULL},
    {HTTP_GET,  true,  "/user/audible/library",         MEMBER,            ROUTE_OTHER,     ep_library,    NULL},
    {HTTP_GET,  true,  "/user/audible/search",          MEMBER_CONFIGURED, ROUTE_SEARCH,    ep_search,     NULL},
    {HTTP_GET,  true,  "/user/audible/{asin}/details",  MEMBER,            ROUTE_OTHER,     ep_details,    NULL},
    {HTTP_GET,  true,  "/user/audible/{asin}/play-url", MEMBER,            ROUTE_OTHER,     ep_play_url,   NULL},
    {HTTP_GET,  false, "/healthz",                      PUBLIC,            ROUTE_UNLIMITED, ep_healthz,    NULL},
    {HTTP_GET,  false, "/health",                       PUBLIC,            ROUTE_UNLIMITED, ep_healthz,    NULL},
    {HTTP_GET,  false, "/readyz",                       PUBLIC,            ROUTE_UNLIMITED, ep_readyz,     ep_readyz_fail},
    {HTTP_GET,  false, "/metrics",                      PUBLIC,            ROUTE_UNLIMITED, ep_metrics,    NULL},
    {HTTP_GET,  false, "/openapi.json",                 PUBLIC,            ROUTE_UNLIMITED, ep_openapi,    NULL},
    {HTTP_GET,  true,  "/openapi.json",                 PUBLIC,            ROUTE_UNLIMITED, ep_openapi,    NULL},
    {HTTP_GET,  false, "/docs",                         PUBLIC,            ROUTE_UNLIMITED, ep_docs,       NULL},
    {HTTP_GET,  false, "/docs/docs.css",                PUBLIC,            ROUTE_UNLIMITED, ep_docs,       NULL},
    {HTTP_GET,  false, "/docs/docs.js",                 PUBLIC,            ROUTE_UNLIMITED, ep_docs,       NULL},
    {HTTP_GET,  false, "/docs/swagger-ui.css",          PUBLIC,            ROUTE_UNLIMITED, ep_docs,       NULL},
    {HTTP_GET,  false, "/docs/swagger-ui-bundle.js",    PUBLIC,            ROUTE_UNLIMITED, ep_docs,       NULL},
};
/* clang-format on */
const size_t route_count = sizeof routes / sizeof routes[0];

struct slice *routes_paths(struct slice prefix) {
    struct slice *paths = mem_calloc(route_count, sizeof *paths);
    for (size_t i = 0; i < route_count; i++) {
        struct slice path = slice_str(routes[i].path);
        size_t before = routes[i].is_prefixed ? prefix.len : 0;
        char *full = mem_alloc(before + path.len);
        if (before > 0) {
            memcpy(full, prefix.at, before);
        }
        memcpy(full + before, path.at, path.len);
        paths[i] = slice_make(full, before + path.len);
    }
    return paths;
}

void routes_free_paths(struct slice *paths) {
    for (size_t i = 0; i < route_count; i++) {
        mem_free((void *)(uintptr_t)paths[i].at);
    }
    mem_free(paths);
}

static bool serves(const struct route *route, enum http_method method) {
    bool head = method == HTTP_HEAD && route->method == HTTP_GET && !(route->needs & ROUTE_NO_HEAD);
    return route->method == method || head;
}

/* A pattern without bytes is a route that is not served. */
static bool fits_exactly(struct slice pattern, struct slice path, struct slice *segment) {
    *segment = SLICE_NULL;
    return pattern.len > 0 && slice_eq(pattern, path) && slice_find(path, '{') == path.len;
}

/* With one segment in the place of the pattern's "{name}". */
static bool fits_pattern(struct slice pattern, struct slice path, struct slice *segment) {
    size_t open = slice_find(pattern, '{');
    if (open == pattern.len) {
        return false;
    }
    struct slice before = slice_head(pattern, open);
    struct slice after = slice_from(pattern, slice_find(pattern, '}') + 1);
    if (path.len < before.len + after.len || !slice_starts(path, before)) {
        return false;
    }
    struct slice rest = slice_from(path, before.len);
    *segment = slice_head(rest, slice_find(rest, '/'));
    return slice_eq(slice_from(rest, segment->len), after);
}

static struct route_match
find(const struct slice *paths, enum http_method method, struct slice path,
     bool (*fits)(struct slice pattern, struct slice path, struct slice *segment)) {
    struct route_match match = {.rc = RC_ROUTE_UNKNOWN};
    struct slice segment;
    for (size_t i = 0; i < route_count; i++) {
        if (!fits(paths[i], path, &segment)) {
            continue;
        }
        match.index = i;
        match.rc = RC_METHOD_UNKNOWN;
        if (serves(&routes[i], method)) {
            return (struct route_match){&routes[i], RC_OK, i, segment};
        }
    }
    return match;
}

/* Most paths are told apart by their lengths; patterns, which must be read, come after those. */
struct route_match routes_find(const struct slice *paths, enum http_method method,
                               struct slice path) {
    struct route_match match = find(paths, method, path, fits_exactly);
    return match.rc == RC_ROUTE_UNKNOWN ? find(paths, method, path, fits_pattern) : match;
}

void routes_write_methods(const struct slice *paths, size_t index, struct buf *out) {
    static const struct {
        enum http_method method;
        struct slice name;
    } shown[] = {{HTTP_GET, {"GET, ", 5}}, {HTTP_HEAD, {"HEAD, ", 6}}, {HTTP_POST, {"POST, ", 6}}};
    for (size_t m = 0; m < sizeof shown / sizeof shown[0]; m++) {
        bool served = false;
        for (size_t i = 0; i < route_count; i++) {
            served |= slice_eq(paths[i], paths[index]) && serves(&routes[i], shown[m].method);
        }
        if (served) {
            buf_append(out, shown[m].name);
        }
    }
    BUF_LIT(out, "OPTIONS");
}
