// SPDX-License-Identifier: MIT
/* GET oauth/callback: the browser's way back, with its cookie. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/leaks.h"
#include "kit/platform.h"

#define RETURN_SETTING "LATCHKEY_RETURN_URL=https://app.example/done"

static struct ask_grant grant_for(struct platform *p, const char *sub) {
    struct ask_grant grant;
    char token[KIT_JWT_BYTES];
    ask_premium(token, sub);
    ask_grant(p->port, p->sim, token, &grant);
    return grant;
}

/* GET oauth/callback?<query> with this cookie (NULL: none); the status. */
static int come_back(int port, const char *query, const char *cookie,
                     struct client_response *response) {
    char path[2048];
    char line[256] = "";
    snprintf(path, sizeof path, "oauth/callback?%s", query);
    if (cookie != NULL) {
        snprintf(line, sizeof line, "Cookie: other=1; %s; more=2\r\n", cookie);
    }
    return ask(port, (struct ask){.path = path, .headers = line}, response);
}

static void expect_location(int port, const char *query, const char *cookie, const char *location) {
    struct client_response response;
    int status = come_back(port, query, cookie, &response);
    struct slice got = client_header(&response, "location");
    cr_assert_eq(status, 303, "%s: %d", query, status);
    cr_assert(slice_eq(got, slice_str(location)), "%s: %.*s", query, SLICE_ARGS(got));
    cr_assert_eq(response.body.len, 0);
    client_response_fini(&response);
}

static const char *with_code(const struct ask_grant *grant) {
    static _Thread_local char query[512];
    snprintf(query, sizeof query, "code=%s&state=%s", grant->code, grant->state);
    return query;
}

Test(browser_return, links_the_account_of_the_states_user) {
    struct platform p;
    platform_start(&p, (const char *const[]){RETURN_SETTING, NULL});
    struct ask_grant grant = grant_for(&p, "user-1");
    expect_location(p.port, with_code(&grant), grant.cookie,
                    "https://app.example/done?audible=connected");
    cr_assert(platform_is_connected(&p, "user-1"));
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(browser_return, another_browser_neither_succeeds_nor_spends_the_state) {
    struct platform p;
    platform_start(&p, (const char *const[]){RETURN_SETTING, NULL});
    struct ask_grant grant = grant_for(&p, "user-1");
    struct ask_grant other = grant_for(&p, "user-2");
    const char *refused = "https://app.example/done?audible=error&reason=invalid_state_parameter";
    expect_location(p.port, with_code(&grant), NULL, refused);
    expect_location(p.port, with_code(&grant), other.cookie, refused);
    expect_location(p.port, with_code(&grant), "latchkey-flow=short", refused);
    expect_location(p.port, with_code(&grant), "__Host-latchkey-flow=x", refused);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 0);
    cr_assert_eq(kit_server_logged(p.server, "\"reason\":\"cookie_mismatch\""), 4);
    expect_location(p.port, with_code(&grant), grant.cookie,
                    "https://app.example/done?audible=connected");
    expect_location(p.port, with_code(&grant), grant.cookie, refused);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(browser_return, two_tabs_share_their_cookie) {
    struct platform p;
    struct client_response response;
    char token[KIT_JWT_BYTES];
    char line[256];
    platform_start(&p, (const char *const[]){RETURN_SETTING, NULL});
    struct ask_grant first = grant_for(&p, "user-1");
    ask_premium(token, "user-1");
    snprintf(line, sizeof line, "Cookie: %s\r\n", first.cookie);
    int status = ask(p.port,
                     (struct ask){.method = "POST",
                                  .path = "oauth/authorize",
                                  .token = token,
                                  .json = "{\"redirect_uri\":\"\"}",
                                  .headers = line},
                     &response);
    cr_assert_eq(status, 200);
    struct slice set = client_header(&response, "set-cookie");
    cr_assert(slice_starts(set, slice_str(first.cookie)), "%.*s", SLICE_ARGS(set));
    client_response_fini(&response);
    expect_location(p.port, with_code(&first), first.cookie,
                    "https://app.example/done?audible=connected");
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(browser_return, the_cookie_is_made_for_this_and_nothing_else) {
    static const struct {
        const char *redirect;
        const char *start;
        const char *end;
    } cases[] = {
        {"AUDIBLE_REDIRECT_URI=http://127.0.0.1/back",
         "latchkey-flow=", "; HttpOnly; SameSite=Lax; Path=/; Max-Age=900"},
        {"AUDIBLE_REDIRECT_URI=https://platform.example/back",
         "__Host-latchkey-flow=", "; HttpOnly; SameSite=Lax; Path=/; Max-Age=900; Secure"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct client_response response;
        char token[KIT_JWT_BYTES];
        struct kit_server *server =
            kit_server_start_with((const char *const[]){cases[i].redirect, NULL});
        ask_premium(token, "u");
        ask(kit_server_port(server),
            (struct ask){.method = "POST",
                         .path = "oauth/authorize",
                         .token = token,
                         .json = "{\"redirect_uri\":\"\"}"},
            &response);
        struct slice set = client_header(&response, "set-cookie");
        cr_assert(slice_starts(set, slice_str(cases[i].start)), "%.*s", SLICE_ARGS(set));
        struct slice attributes = slice_from(set, strlen(cases[i].start) + RANDOM_TEXT_BYTES);
        cr_assert(slice_eq(attributes, slice_str(cases[i].end)), "%.*s", SLICE_ARGS(set));
        client_response_fini(&response);
        kit_server_stop(server);
    }
    CHECK_LEAKS();
}

Test(browser_return, what_the_provider_says_becomes_a_reason_of_ours) {
    static const struct {
        const char *error;
        const char *reason;
    } cases[] = {
        {"access_denied", "access_denied"},
        {"server_error", "audible_service_unavailable"},
        {"temporarily_unavailable", "audible_service_unavailable"},
        {"invalid_scope", "audible_oauth_failed"},
        {"%3Cscript%3E&error_description=secret", "audible_oauth_failed"},
        {"", "audible_oauth_failed"},
    };
    struct platform p;
    platform_start(&p, (const char *const[]){RETURN_SETTING, NULL});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char query[512];
        char location[256];
        struct ask_grant grant = grant_for(&p, "user-1");
        snprintf(query, sizeof query, "error=%s&state=%s", cases[i].error, grant.state);
        snprintf(location, sizeof location, "https://app.example/done?audible=error&reason=%s",
                 cases[i].reason);
        expect_location(p.port, query, NULL,
                        "https://app.example/done?audible=error&reason=invalid_state_parameter");
        expect_location(p.port, query, grant.cookie, location);
        /* it is spent */
        expect_location(p.port, with_code(&grant), grant.cookie,
                        "https://app.example/done?audible=error&reason=invalid_state_parameter");
    }
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(browser_return, malformed_ways_back_do_not_spend_the_state) {
    static const char *const queries[] = {
        "",
        "state=%1$s",
        "code=%2$s",
        "code=%2$s&state=%1$s&state=%1$s",
        "code=%2$s&code=%2$s&state=%1$s",
        "code=%2$s&state=%1$s&error=access_denied",
        "error=access_denied&error=access_denied&state=%1$s",
        "code=&state=%1$s",
        "code=%2$s&state=",
        "error=access_denied",
        "code=%2$s&state=%1$s&iss=https%%3A%%2F%%2Fevil.example",
        "error=access_denied&state=%1$s&iss=https%%3A%%2F%%2Fevil.example",
        "code=%2$s&state=%1$s&iss=https%%3A%%2F%%2Fas.example&iss=https%%3A%%2F%%2Fas.example",
    };
    struct platform p;
    platform_start(
        &p, (const char *const[]){RETURN_SETTING, "AUDIBLE_ISSUER=https://as.example", NULL});
    struct ask_grant grant = grant_for(&p, "user-1");
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        char query[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(query, sizeof query, queries[i], grant.state, grant.code);
#pragma GCC diagnostic pop
        expect_location(p.port, query, grant.cookie,
                        "https://app.example/done?audible=error&reason=invalid_request");
    }
    char good[1024];
    snprintf(good, sizeof good, "code=%s&state=%s&iss=https%%3A%%2F%%2Fas.example", grant.code,
             grant.state);
    expect_location(p.port, good, grant.cookie, "https://app.example/done?audible=connected");
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(browser_return, the_return_url_keeps_its_query_and_fragment) {
    static const struct {
        const char *setting;
        const char *location;
    } cases[] = {
        {"LATCHKEY_RETURN_URL=https://a.example/?x=1", "https://a.example/?x=1&audible=connected"},
        {"LATCHKEY_RETURN_URL=https://a.example/#/accounts",
         "https://a.example/?audible=connected#/accounts"},
        {"LATCHKEY_RETURN_URL=https://a.example/?x=1#top?y",
         "https://a.example/?x=1&audible=connected#top?y"},
        {"LATCHKEY_RETURN_URL=https://a.example/#a?b", "https://a.example/?audible=connected#a?b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct platform p;
        platform_start(&p, (const char *const[]){cases[i].setting, NULL});
        struct ask_grant grant = grant_for(&p, "user-1");
        expect_location(p.port, with_code(&grant), grant.cookie, cases[i].location);
        platform_stop(&p);
    }
    CHECK_LEAKS();
}

/* The longest that is taken, for an origin that is listed. */
Test(browser_return, a_long_return_url_is_told_whole) {
    enum { SETTING = 32 + LIMIT_URI_BYTES, LOCATION = LIMIT_URI_BYTES + 128 };
    char setting[SETTING] = "LATCHKEY_RETURN_URL=https://app.example/";
    char location[LOCATION];
    struct client_response response;
    size_t used = strlen(setting);
    memset(setting + used, 'p', strlen("LATCHKEY_RETURN_URL=") + LIMIT_URI_BYTES - used);
    snprintf(location, sizeof location, "%s?audible=error&reason=invalid_request",
             strchr(setting, '=') + 1);
    struct kit_server *server = kit_server_start_with(
        (const char *const[]){setting, "LATCHKEY_CORS_ORIGINS=https://app.example", NULL});
    cr_assert_eq(
        ask(kit_server_port(server),
            (struct ask){.path = "oauth/callback", .headers = "Origin: https://app.example\r\n"},
            &response),
        303);
    cr_assert(slice_eq(client_header(&response, "location"), slice_str(location)));
    cr_assert_eq(client_header_count(&response, "access-control-allow-origin"), 1);
    client_response_fini(&response);
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(browser_return, without_a_return_url_a_page_says_so) {
    struct platform p;
    struct client_response response;
    platform_start(&p, NULL);
    struct ask_grant grant = grant_for(&p, "user-1");
    cr_assert_eq(come_back(p.port, "code=c", grant.cookie, &response), 400);
    cr_assert(
        slice_eq(client_header(&response, "content-type"), SLICE("text/html; charset=utf-8")));
    struct slice csp = client_header(&response, "content-security-policy");
    cr_assert(slice_starts(csp, SLICE("default-src 'none'; style-src 'sha256-")), "%.*s",
              SLICE_ARGS(csp));
    cr_assert_not_null(memmem(response.body.at, response.body.len, "invalid_request", 15));
    client_response_fini(&response);
    cr_assert_eq(come_back(p.port, with_code(&grant), grant.cookie, &response), 200);
    cr_assert_not_null(memmem(response.body.at, response.body.len, "is connected", 12));
    client_response_fini(&response);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(browser_return, failures_take_the_same_form) {
    struct platform p;
    platform_start(&p, (const char *const[]){RETURN_SETTING, NULL});
    struct ask_grant grant = grant_for(&p, "user-1");
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/auth/oauth2/token",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 500,
                                                         .count = 1});
    expect_location(p.port, with_code(&grant), grant.cookie,
                    "https://app.example/done?audible=error&reason=audible_service_unavailable");
    platform_stop(&p);
    struct kit_server *server =
        kit_server_start_with((const char *const[]){RETURN_SETTING, "AUDIBLE_CLIENT_ID=", NULL});
    expect_location(
        kit_server_port(server), "code=c&state=s", NULL,
        "https://app.example/done?audible=error&reason=audible_integration_not_configured");
    kit_server_stop(server);
    CHECK_LEAKS();
}
