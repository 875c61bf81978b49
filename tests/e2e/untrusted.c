// SPDX-License-Identifier: MIT
/* What comes from outside is data: what clients ask for stays what they asked for, and what the
 * provider says in its failures is repeated to nobody. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/json.h"
#include "kit/leaks.h"
#include "kit/platform.h"

#define MARK "Traceback-line-17"

static size_t count_books(struct platform *p, const char *path) {
    struct client_response response;
    char token[KIT_JWT_BYTES];
    ask_premium(token, "user-1");
    int status = ask(p->port, (struct ask){.path = path, .token = token}, &response);
    cr_assert_eq(status, 200, "%s: %d", path, status);
    struct json_document *books = json_parse(response.body, JSON_UNIQUE);
    cr_assert_eq(json_kind_of(json_root(books)), JSON_KIND_ARRAY, "%s", path);
    size_t count = json_length(json_root(books));
    json_close(books);
    client_response_fini(&response);
    return count;
}

static int64_t asked(struct platform *p) {
    return simprovider_count(p->sim, SIMPROVIDER_DETAILS) +
           simprovider_count(p->sim, SIMPROVIDER_SEARCHES) +
           simprovider_count(p->sim, SIMPROVIDER_LIBRARIES);
}

/* A search's text is one parameter of the provider's request, whatever is in it. */
Test(catalog, a_search_can_not_add_parameters) {
    static const char *const texts[] = {
        "the%26num_results%3D1", "the%23", "the%0D%0AX-Header%3A%201", "the%00",
        "the%3Fquery%3Dthe",
    };
    struct platform p;
    platform_start(&p, NULL);
    cr_assert_eq(count_books(&p, "search?q=the"), 20);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char path[128];
        int64_t before = simprovider_count(p.sim, SIMPROVIDER_SEARCHES);
        snprintf(path, sizeof path, "search?q=%s", texts[i]);
        cr_assert_eq(count_books(&p, path), 0, "%s: no title holds that", texts[i]);
        cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_SEARCHES), before + 1, "%s", texts[i]);
    }
    platform_stop(&p);
    CHECK_LEAKS();
}

/* An id that is none is asked of nobody: it can't lead elsewhere on the provider's machine. */
Test(catalog, an_id_can_not_lead_elsewhere) {
    static const char *const ids[] = {
        "..",         "%2E%2E",      "..%2F..%2F1.0%2Flibrary",
        "B0%3Fx%3D1", "B0%23x",      "B0%2F..%2F1",
        "B0;x",       "B0%0D%0AX:y", "B0%00",
        "B0@host",    "%C2%B2",      "B0%20",
    };
    static const char *const routes[] = {"details", "play-url"};
    struct platform p;
    char token[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    for (size_t r = 0; r < 2; r++) {
        for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
            char path[128];
            snprintf(path, sizeof path, "%s/%s", ids[i], routes[r]);
            ask_expect(p.port, (struct ask){.path = path, .token = token}, 404,
                       "audiobook_not_found");
        }
    }
    cr_assert_eq(asked(&p), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

/* Search and details are a guest's: no account is needed, and no stored token is opened for them.
 */
Test(catalog, opens_no_stored_token) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    platform_link(&p, "user-2");
    static const char *const users[] = {"user-1", "user-2"};
    for (size_t i = 0; i < 2; i++) {
        ask_premium(token, users[i]);
        ask_expect(p.port, (struct ask){.path = "search?q=the", .token = token}, 200, NULL);
        ask_expect(p.port, (struct ask){.path = "ZZZZZZZZZZ/details", .token = token}, 404,
                   "audiobook_not_found");
    }
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"token_opened\""), 0);
    ask_expect(p.port, (struct ask){.path = "library", .token = token}, 200, NULL);
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"token_opened\""), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}

static void expect_unsaid(struct platform *p, struct ask one) {
    struct client_response response;
    int status = ask(p->port, one, &response);
    cr_assert(status == 400 || status == 503, "%s: %d", one.path, status);
    cr_assert_null(memmem(response.bytes.at, response.bytes.len, MARK, sizeof MARK - 1), "%s",
                   one.path);
    cr_assert_lt(response.body.len, 64, "%s: a code and no more", one.path);
    client_response_fini(&response);
}

Test(errors, what_the_provider_says_reaches_nobody) {
    static const struct {
        int64_t status;
        const char *text;
    } answers[] = {
        {500, "<html>" MARK "</html>"},
        {503, "{\"error\":\"" MARK "\"}"},
        {400, "{\"error\":\"invalid_grant\",\"error_description\":\"" MARK "\"}"},
        {403, "{\"error\":\"" MARK "\",\"error_uri\":\"http://" MARK "/\"}"},
        {200, "{\"access_token\":7,\"message\":\"" MARK "\"}"},
        {200, MARK},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct platform p;
        struct ask_grant grant;
        struct client_response response;
        char token[KIT_JWT_BYTES];
        platform_start(&p, NULL);
        platform_link(&p, "user-1");
        ask_premium(token, "user-1");
        ask_grant(p.port, p.sim, token, &grant);
        simprovider_fault(p.sim, &(struct simprovider_fault){.path = "*",
                                                             .kind = SIMPROVIDER_STATUS,
                                                             .number = answers[i].status,
                                                             .text = answers[i].text});
        int status = ask_callback(p.port, token, &grant, &response);
        cr_assert(status == 400 || status == 503, "%d", status);
        cr_assert_null(memmem(response.bytes.at, response.bytes.len, MARK, sizeof MARK - 1));
        client_response_fini(&response);
        if (answers[i].status != 200 || answers[i].text[0] != '{') {
            expect_unsaid(&p, (struct ask){.path = "library", .token = token});
            expect_unsaid(&p, (struct ask){.path = "search?q=the", .token = token});
            expect_unsaid(&p, (struct ask){.path = "B00ABC1234/details", .token = token});
            expect_unsaid(&p,
                          (struct ask){.method = "POST", .path = "library/sync", .token = token});
        }
        cr_assert_eq(kit_server_logged(p.server, MARK), 0, "%s", answers[i].text);
        platform_stop(&p);
    }
    CHECK_LEAKS();
}

/* {"detail": "<code>"}, and a validation error's fields: nothing else. */
Test(errors, every_error_has_the_one_form) {
    char premium[KIT_JWT_BYTES];
    char basic[KIT_JWT_BYTES];
    ask_premium(premium, "u");
    kit_jwt(basic, (struct kit_jwt){.sub = "u", .tier = "basic"});
    const struct ask asks[] = {
        {.path = "/nothing"},
        {.method = "DELETE", .path = "connected"},
        {.path = "connected"},
        {.path = "connected", .token = "x.y.z"},
        {.path = "connected", .token = basic},
        {.path = "library", .token = premium},
        {.path = "library?skip=x", .token = premium},
        {.path = "search", .token = premium},
        {.path = "search?q=a", .token = premium},
        {.path = "B-0/details", .token = premium},
        {.path = "B00ABC1234/play-url?platform=x", .token = premium},
        {.method = "POST", .path = "disconnect", .token = premium},
        {.method = "POST", .path = "oauth/authorize", .token = premium, .json = "{"},
        {.method = "POST", .path = "oauth/authorize", .token = premium, .json = "{}"},
        {.method = "POST",
         .path = "oauth/authorize",
         .token = premium,
         .headers = "Content-Type: text/plain\r\n"},
        {.method = "POST",
         .path = "oauth/callback",
         .token = premium,
         .json = "{\"code\":\"c\",\"state\":\"s\"}"},
        {.method = "POST", .path = "oauth/callback", .token = premium, .json = "[]"},
        {.method = "POST", .path = "library/sync", .token = premium},
        {.method = "POST",
         .path = "connected",
         .token = premium,
         .headers = "Content-Length: 70000\r\n"},
        {.path = "/healthz", .headers = "Host: twice\r\n"},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        struct client_response response;
        struct slice detail = SLICE_NULL;
        int status = ask(kit_server_port(server), asks[i], &response);
        cr_assert(status >= 400 && status < 500, "%s: %d", asks[i].path, status);
        cr_assert(slice_eq(client_header(&response, "content-type"), SLICE("application/json")));
        struct json_document *body = json_parse(response.body, JSON_UNIQUE);
        cr_assert_eq(json_kind_of(json_root(body)), JSON_KIND_OBJECT, "%s", asks[i].path);
        cr_assert(json_to_slice(json_member(json_root(body), "detail"), &detail) && detail.len > 0,
                  "%s", asks[i].path);
        bool is_validation = slice_eq(detail, SLICE("invalid_request"));
        const struct json *errors = json_member(json_root(body), "errors");
        cr_assert_eq(errors != NULL, is_validation, "%s: %.*s", asks[i].path,
                     SLICE_ARGS(response.body));
        cr_assert(!is_validation || json_length(errors) > 0);
        size_t colons = 0;
        for (size_t at = 0; at < response.body.len && !is_validation; at++) {
            colons += response.body.at[at] == ':';
        }
        cr_assert_leq(colons, 1, "%s: %.*s", asks[i].path, SLICE_ARGS(response.body));
        json_close(body);
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}
