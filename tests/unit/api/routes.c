// SPDX-License-Identifier: MIT
#include "api/routes.h"

#include <criterion/criterion.h>
#include <string.h>

#include "kit/leaks.h"

#define USER "/api/v1/user/audible"

Test(routes, a_path_and_a_method_lead_to_one_route) {
    static const struct {
        enum http_method method;
        const char *path;
        enum rc rc;
        const char *route; /* NULL: none */
        const char *segment;
    } cases[] = {
        {HTTP_GET, USER "/connected", RC_OK, "/user/audible/connected", NULL},
        {HTTP_HEAD, USER "/connected", RC_OK, "/user/audible/connected", NULL},
        {HTTP_POST, USER "/connected", RC_METHOD_UNKNOWN, NULL, NULL},
        {HTTP_GET, USER "/oauth/callback", RC_OK, "/user/audible/oauth/callback", NULL},
        {HTTP_POST, USER "/oauth/callback", RC_OK, "/user/audible/oauth/callback", NULL},
        {HTTP_HEAD, USER "/oauth/callback", RC_METHOD_UNKNOWN, NULL, NULL},
        {HTTP_GET, USER "/B00/details", RC_OK, "/user/audible/{asin}/details", "B00"},
        {HTTP_GET, USER "/{asin}/details", RC_OK, "/user/audible/{asin}/details", "{asin}"},
        {HTTP_GET, USER "//details", RC_OK, "/user/audible/{asin}/details", ""},
        {HTTP_GET, USER "/a/b/details", RC_ROUTE_UNKNOWN, NULL, NULL},
        {HTTP_GET, USER "/B00/details/", RC_ROUTE_UNKNOWN, NULL, NULL},
        {HTTP_PUT, USER "/B00/play-url", RC_METHOD_UNKNOWN, NULL, NULL},
        {HTTP_GET, "/user/audible/connected", RC_ROUTE_UNKNOWN, NULL, NULL},
        {HTTP_GET, "/healthz", RC_OK, "/healthz", NULL},
        {HTTP_GET, "/api/v1/healthz", RC_ROUTE_UNKNOWN, NULL, NULL},
        {HTTP_GET, "/", RC_ROUTE_UNKNOWN, NULL, NULL},
        {HTTP_GET, "", RC_ROUTE_UNKNOWN, NULL, NULL},
        {HTTP_GET, "/metrics", RC_ROUTE_UNKNOWN, NULL, NULL}, /* not served, below */
    };
    struct slice *paths = routes_paths(SLICE("/api/v1"));
    for (size_t i = 0; i < route_count; i++) {
        paths[i].len = strcmp(routes[i].path, "/metrics") == 0 ? 0 : paths[i].len;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct route_match match = routes_find(paths, cases[i].method, slice_str(cases[i].path));
        cr_assert_eq(match.rc, cases[i].rc, "%s: %s", cases[i].path, rc_name(match.rc));
        cr_assert_eq(match.route != NULL, cases[i].route != NULL, "%s", cases[i].path);
        if (match.route != NULL) {
            cr_assert_str_eq(match.route->path, cases[i].route);
            cr_assert(slice_eq(match.segment, slice_str(cases[i].segment)), "%s", cases[i].path);
        }
    }
    routes_free_paths(paths);
    CHECK_LEAKS();
}
