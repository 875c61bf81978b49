// SPDX-License-Identifier: MIT
/* Who may call what: every route, every kind of caller, configured and not. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/ask.h"
#include "kit/leaks.h"

enum { ANYONE, MEMBER };

static const struct {
    const char *method;
    const char *path;
    int who;
    bool needs_config;
    const char *json;
    int status; /* where every check has passed */
} routes[] = {
    {"POST", "oauth/authorize", MEMBER, true, "{\"redirect_uri\":\"\"}", 200},
    {"POST", "oauth/callback", MEMBER, true, "{\"code\":\"c\",\"state\":\"s\"}", 400},
    {"GET", "connected", MEMBER, false, NULL, 200},
    {"HEAD", "connected", MEMBER, false, NULL, 200},
    {"POST", "disconnect", MEMBER, false, NULL, 404},
    {"POST", "library/sync", MEMBER, true, NULL, 400},
    {"GET", "library", MEMBER, false, NULL, 400},
    {"GET", "search?q=x", MEMBER, true, NULL, 400},
    {"GET", "not-an-asin/details", MEMBER, false, NULL, 404},
    {"GET", "B00ABC1234/play-url", MEMBER, false, NULL, 200},
    {"HEAD", "B00ABC1234/play-url", MEMBER, false, NULL, 200},
    {"GET", "/healthz", ANYONE, false, NULL, 200},
    {"GET", "/health", ANYONE, false, NULL, 200},
    {"GET", "/readyz", ANYONE, false, NULL, 200},
    {"HEAD", "/readyz", ANYONE, false, NULL, 200},
    {"GET", "/metrics", ANYONE, false, NULL, 200},
    {"HEAD", "/metrics", ANYONE, false, NULL, 200},
    {"GET", "/openapi.json", ANYONE, false, NULL, 200},
    {"HEAD", "/openapi.json", ANYONE, false, NULL, 200},
    {"GET", "/api/v1/openapi.json", ANYONE, false, NULL, 200},
};
enum { ROUTES = sizeof routes / sizeof routes[0] };

static const struct {
    const char *name;
    struct kit_jwt jwt;
    bool is_signed;
    int status; /* of a MEMBER route; 200: allowed */
    const char *detail;
} callers[] = {
    {"no token", {0}, false, 401, "Not authenticated"},
    {"no tier", {.sub = "u"}, true, 403, "audible_requires_premium"},
    {"basic", {.sub = "u", .tier = "basic"}, true, 403, "audible_requires_premium"},
    {"premium", {.sub = "u", .tier = "premium"}, true, 200, NULL},
    {"family", {.sub = "u", .tier = "family"}, true, 200, NULL},
    {"super_admin", {.sub = "u", .role = "super_admin"}, true, 200, NULL},
    {"admin", {.sub = "u", .role = "admin", .tier = "basic"}, true, 200, NULL},
    {"content_manager", {.sub = "u", .role = "content_manager"}, true, 200, NULL},
    {"billing_admin", {.sub = "u", .role = "billing_admin"}, true, 200, NULL},
    {"support", {.sub = "u", .role = "support"}, true, 200, NULL},
    {"user", {.sub = "u", .role = "user"}, true, 403, "audible_requires_premium"},
    {"roles", {.sub = "u", .more = "\"roles\":[\"user\",\"support\"]"}, true, 200, NULL},
    {"inactive admin",
     {.sub = "u", .role = "admin", .more = "\"is_active\":false"},
     true,
     400,
     "Inactive user"},
    {"expired",
     {.sub = "u", .tier = "premium", .exp_in_s = -31},
     true,
     401,
     "Could not validate credentials"},
    {"no expiry",
     {.sub = "u", .tier = "premium", .no_exp = true},
     true,
     401,
     "Could not validate credentials"},
    {"another secret",
     {.sub = "u", .tier = "premium", .secret = "a secret that the server does not have"},
     true,
     401,
     "Could not validate credentials"},
    {"another algorithm",
     {.sub = "u", .tier = "premium", .algorithm = "HS512"},
     true,
     401,
     "Could not validate credentials"},
    {"no subject", {.tier = "premium"}, true, 401, "Could not validate credentials"},
    {"a refresh token",
     {.sub = "u", .tier = "premium", .more = "\"type\":\"refresh\""},
     true,
     401,
     "Could not validate credentials"},
    {"an access token",
     {.sub = "u", .tier = "premium", .more = "\"type\":\"access\""},
     true,
     200,
     NULL},
};
enum { CALLERS = sizeof callers / sizeof callers[0] };

static void check_one(int port, size_t r, size_t c, bool configured) {
    char token[KIT_JWT_BYTES];
    char detail[256];
    struct client_response response;
    int expected = routes[r].status;
    const char *expected_detail = NULL;
    if (routes[r].who == MEMBER && callers[c].status != 200) {
        expected = callers[c].status;
        expected_detail = callers[c].detail;
    } else if (routes[r].needs_config && !configured) {
        expected = 503;
        expected_detail = "audible_integration_not_configured";
    }
    if (callers[c].is_signed) {
        kit_jwt(token, callers[c].jwt);
    }
    int status = ask(port,
                     (struct ask){.method = routes[r].method,
                                  .path = routes[r].path,
                                  .token = callers[c].is_signed ? token : NULL,
                                  .json = routes[r].json},
                     &response);
    cr_assert_eq(status, expected, "%s %s as %s, %s: %d instead of %d", routes[r].method,
                 routes[r].path, callers[c].name, configured ? "configured" : "not configured",
                 status, expected);
    if (expected_detail != NULL && strcmp(routes[r].method, "HEAD") != 0) {
        ask_member(&response, "detail", detail, sizeof detail);
        cr_assert_str_eq(detail, expected_detail, "%s as %s", routes[r].path, callers[c].name);
    }
    struct slice challenge = client_header(&response, "www-authenticate");
    if (status == 401) {
        struct slice wanted =
            callers[c].is_signed ? SLICE("Bearer error=\"invalid_token\"") : SLICE("Bearer");
        cr_assert(slice_eq(challenge, wanted), "%s: %.*s", callers[c].name, SLICE_ARGS(challenge));
    } else {
        cr_assert(slice_is_null(challenge));
    }
    client_response_fini(&response);
}

static void check_all(const char *const *settings, bool configured) {
    struct kit_server *server = kit_server_start_with(settings);
    for (size_t r = 0; r < ROUTES; r++) {
        for (size_t c = 0; c < CALLERS; c++) {
            check_one(kit_server_port(server), r, c, configured);
        }
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(access, every_route_for_every_caller_configured) {
    check_all((const char *const[]){NULL}, true);
}

Test(access, every_route_for_every_caller_without_a_client_id) {
    check_all((const char *const[]){"AUDIBLE_CLIENT_ID=", NULL}, false);
}

Test(access, every_route_for_every_caller_without_a_client_secret) {
    check_all((const char *const[]){"AUDIBLE_CLIENT_SECRET=", NULL}, false);
}

Test(access, every_route_for_every_caller_without_a_redirect_uri) {
    check_all((const char *const[]){"AUDIBLE_REDIRECT_URI=", NULL}, false);
}

Test(access, unknown_routes_and_methods_come_before_everything_else) {
    static const struct {
        const char *method;
        const char *path;
        int status;
        const char *detail;
        const char *allow;
    } cases[] = {
        {"GET", "/", 404, "Not Found", NULL},
        {"GET", "/nothing", 404, "Not Found", NULL},
        {"GET", "/healthz/", 404, "Not Found", NULL},
        {"GET", "/HEALTHZ", 404, "Not Found", NULL},
        {"GET", "/user/audible/connected", 404, "Not Found", NULL},
        {"GET", "connected/", 404, "Not Found", NULL},
        {"GET", "%63onnected", 404, "Not Found", NULL},
        {"POST", "/healthz", 405, "Method Not Allowed", "GET, HEAD, OPTIONS"},
        {"DELETE", "connected", 405, "Method Not Allowed", "GET, HEAD, OPTIONS"},
        {"GET", "oauth/authorize", 405, "Method Not Allowed", "POST, OPTIONS"},
        {"PUT", "oauth/callback", 405, "Method Not Allowed", "GET, POST, OPTIONS"},
        {"HEAD", "oauth/callback", 405, NULL, "GET, POST, OPTIONS"},
        {"GET", "disconnect", 405, "Method Not Allowed", "POST, OPTIONS"},
        {"POST", "/metrics", 405, "Method Not Allowed", "GET, HEAD, OPTIONS"},
        {"POST", "/openapi.json", 405, "Method Not Allowed", "GET, HEAD, OPTIONS"},
        {"GET", "openapi.json", 404, "Not Found", NULL},
        {"GET", "/metrics/", 404, "Not Found", NULL},
        {"OPTIONS", "/nothing", 404, "Not Found", NULL},
        {"OPTIONS", "connected", 204, NULL, "GET, HEAD, OPTIONS"},
        {"OPTIONS", "oauth/callback", 204, NULL, "GET, POST, OPTIONS"},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_response response;
        char detail[64];
        int status = ask(kit_server_port(server),
                         (struct ask){.method = cases[i].method, .path = cases[i].path}, &response);
        cr_assert_eq(status, cases[i].status, "%s %s: %d", cases[i].method, cases[i].path, status);
        if (cases[i].detail != NULL) {
            ask_member(&response, "detail", detail, sizeof detail);
            cr_assert_str_eq(detail, cases[i].detail);
        }
        struct slice allow = client_header(&response, "allow");
        cr_assert(slice_eq(allow, slice_str(cases[i].allow)), "%s %s: %.*s", cases[i].method,
                  cases[i].path, SLICE_ARGS(allow));
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

/* The first check that fails answers: two things are wrong, the earlier one is told. */
Test(access, the_order_of_the_checks) {
    char basic[KIT_JWT_BYTES];
    char premium[KIT_JWT_BYTES];
    char inactive[KIT_JWT_BYTES];
    kit_jwt(basic, (struct kit_jwt){.sub = "u", .tier = "basic"});
    kit_jwt(premium, (struct kit_jwt){.sub = "u", .tier = "premium"});
    kit_jwt(inactive, (struct kit_jwt){.sub = "u", .tier = "basic", .more = "\"is_active\":false"});
    const struct {
        const char *name;
        struct ask ask;
        int status;
        const char *detail;
    } cases[] = {
        {"route before size",
         {"POST", "/nothing", NULL, NULL, "Content-Length: 70000\r\n"},
         404,
         "Not Found"},
        {"method before size",
         {"PUT", "connected", NULL, NULL, "Content-Length: 70000\r\n"},
         405,
         "Method Not Allowed"},
        {"size before token",
         {"POST", "oauth/authorize", NULL, NULL, "Content-Length: 70000\r\n"},
         413,
         "payload_too_large"},
        {"token before configuration",
         {"POST", "oauth/authorize", NULL, "{}", NULL},
         401,
         "Not authenticated"},
        {"activity before tier",
         {"POST", "oauth/authorize", inactive, "{}", NULL},
         400,
         "Inactive user"},
        {"tier before configuration",
         {"POST", "oauth/authorize", basic, "{}", NULL},
         403,
         "audible_requires_premium"},
        {"configuration before media type",
         {"POST", "oauth/authorize", premium, NULL, "Content-Type: text/plain\r\n"},
         503,
         "audible_integration_not_configured"},
    };
    struct kit_server *server =
        kit_server_start_with((const char *const[]){"AUDIBLE_CLIENT_ID=", NULL});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask_expect(kit_server_port(server), cases[i].ask, cases[i].status, cases[i].detail);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}
