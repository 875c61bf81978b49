// SPDX-License-Identifier: MIT
#include "provider/sim.h"

#include "base/jsonw.h"
#include "provider/sim_endpoints.h"

/* A route's counter; the token endpoint has three (sim_token_counter). */
enum { UNCOUNTED = SIMPROVIDER_COUNTERS, BY_GRANT };

static const struct route {
    enum http_method method;
    struct slice path; /* ends with "*": a prefix */
    void (*serve)(struct sim_call *call);
    int counter;
} routes[] = {
#define ROUTE(method, path, serve, counter)                                                        \
    { HTTP_##method, {path, sizeof(path) - 1}, serve, counter }
    ROUTE(GET, "/auth/oauth2/authorize", sim_authorize_page, SIMPROVIDER_AUTHORIZES),
    ROUTE(POST, "/auth/oauth2/authorize", sim_authorize_decision, UNCOUNTED),
    ROUTE(POST, "/auth/oauth2/token", sim_token, BY_GRANT),
    ROUTE(POST, "/auth/oauth2/revoke", sim_token_revoke, SIMPROVIDER_REVOKES),
    ROUTE(GET, "/api/1.0/library", sim_api_library, SIMPROVIDER_LIBRARIES),
    ROUTE(GET, "/api/1.0/catalog/search", sim_api_search, SIMPROVIDER_SEARCHES),
    ROUTE(GET, "/api/1.0/catalog/*", sim_api_details, SIMPROVIDER_DETAILS),
    ROUTE(GET, "/covers/*", sim_api_cover, UNCOUNTED),
    ROUTE(POST, "/platform/session", sim_platform_session, UNCOUNTED),
    ROUTE(POST, "/sim/faults", sim_command_faults, UNCOUNTED),
    ROUTE(POST, "/sim/reset", sim_command_reset, UNCOUNTED),
    ROUTE(GET, "/sim/stats", sim_command_stats, UNCOUNTED),
    ROUTE(GET, "/sim/redirected", sim_command_redirected, SIMPROVIDER_REDIRECTED),
    ROUTE(POST, "/sim/redirected", sim_command_redirected, SIMPROVIDER_REDIRECTED),
    ROUTE(GET, "/", sim_page, UNCOUNTED),
    ROUTE(GET, "/page/*", sim_page, UNCOUNTED),
#undef ROUTE
};

static bool fits(const struct route *route, struct slice path) {
    struct slice wanted = route->path;
    if (wanted.at[wanted.len - 1] == '*') {
        return slice_starts(path, slice_head(wanted, wanted.len - 1));
    }
    return slice_eq(path, wanted);
}

/* NULL where there is none; `*allow` says then which method there would be, if any. */
static const struct route *find(const struct sim_call *call, const char **allow) {
    enum http_method method = call->method == HTTP_HEAD ? HTTP_GET : call->method;
    *allow = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!fits(&routes[i], call->path)) {
            continue;
        }
        if (routes[i].method == method) {
            return &routes[i];
        }
        *allow = routes[i].method == HTTP_GET ? "Allow: GET, HEAD\r\n" : "Allow: POST\r\n";
    }
    return NULL;
}

void sim_arrived(struct sim_call *call) {
    const char *allow;
    const struct route *route = find(call, &allow);
    if (route == NULL || route->counter == UNCOUNTED) {
        return;
    }
    sim_count(call->sim, route->counter == BY_GRANT ? sim_token_counter(call)
                                                    : (enum simprovider_counter)route->counter);
}

void sim_serve(struct sim_call *call) {
    const char *allow;
    const struct route *route = find(call, &allow);
    if (route != NULL) {
        route->serve(call);
        return;
    }
    sim_answer_error(call->answer, allow != NULL ? 405 : 404,
                     allow != NULL ? "method_not_allowed" : "not_found");
    buf_append(&call->answer->headers, slice_str(allow));
}

struct slice sim_parameter(struct sim_call *call, struct slice form, const char *name) {
    struct http_request request = {.query = form, .arena = call->arena};
    size_t count = 0;
    struct slice value = http_query(&request, name, &count);
    return count == 1 ? value : SLICE_NULL;
}

void sim_answer_error(struct sim_answer *answer, int status, const char *error) {
    struct jsonw w = jsonw_start(&answer->body);
    answer->status = status;
    answer->content_type = "application/json";
    jsonw_open(&w, '{');
    jsonw_member(&w, "error", slice_str(error));
    jsonw_close(&w, '}');
}
