// SPDX-License-Identifier: MIT
/* /docs and /openapi.json over HTTP. The page itself is tried in a browser: tests/browser/docs.mjs.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/docs.h"
#include "base/json.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"

#define DOCS_ROW(id, path, file, type) {path, file, type},
static const struct {
    const char *path;
    const char *file;
    const char *type;
} files[] = {DOCS_MAP(DOCS_ROW)};
#undef DOCS_ROW

static const char csp[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "
    "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static void write_file(const struct scratch *folder, const char *name, size_t bytes) {
    struct scratch path = scratch_file(folder, name);
    FILE *file = fopen(path.path, "w");
    cr_assert_not_null(file);
    for (size_t i = 0; i < bytes; i++) {
        putc("0123456789abcdef"[i % 16], file);
    }
    cr_assert_eq(fclose(file), 0);
}

static struct kit_server *start_on(const struct scratch *folder) {
    char setting[SCRATCH_BYTES + 32];
    snprintf(setting, sizeof setting, "LATCHKEY_DOCS_DIR=%s", folder->path);
    return kit_server_start_with((const char *const[]){setting, NULL});
}

Test(docs, files_as_they_are_with_their_types_and_a_policy) {
    struct scratch folder = scratch_new();
    for (size_t i = 0; i < DOCS_FILES; i++) {
        write_file(&folder, files[i].file, 1000 + i);
    }
    write_file(&folder, files[DOCS_SWAGGER_SCRIPT].file, 2 * 1024 * 1024);
    struct kit_server *server = start_on(&folder);
    for (size_t i = 0; i < DOCS_FILES; i++) {
        struct client_response response;
        size_t bytes = i == DOCS_SWAGGER_SCRIPT ? 2 * 1024 * 1024 : 1000 + i;
        cr_assert_eq(ask(kit_server_port(server),
                         (struct ask){.path = files[i].path, .token = "no token"}, &response),
                     200);
        struct slice type = client_header(&response, "content-type");
        struct slice policy = client_header(&response, "content-security-policy");
        cr_assert(slice_eq(type, slice_str(files[i].type)), "%.*s", SLICE_ARGS(type));
        cr_assert(slice_eq(policy, slice_str(csp)), "%.*s", SLICE_ARGS(policy));
        cr_assert_eq(client_header_count(&response, "content-security-policy"), (size_t)1);
        cr_assert_eq(response.body.len, bytes, "%s", files[i].path);
        client_response_fini(&response);
        int status = ask_status(kit_server_port(server),
                                (struct ask){.method = "HEAD", .path = files[i].path});
        cr_assert_eq(status, 200);
    }
    /* Only what is in the table: not the folder. */
    static const char *const others[] = {"/docs/", "/docs/index.html", "/docs/../healthz",
                                         "/docs/LICENSE"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        cr_assert_eq(ask_status(kit_server_port(server), (struct ask){.path = others[i]}), 404,
                     "%s", others[i]);
    }
    cr_assert_eq(kit_server_logged(server, "docs_not_installed"), 0);
    kit_server_stop(server);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* Whatever of it is missing, empty or too large: no page, a line in the log, and a server. */
Test(docs, without_the_files_there_is_no_such_page) {
    static const size_t sizes[] = {SIZE_MAX, 0, 4 * 1024 * 1024 + 1};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct scratch folder = scratch_new();
        for (size_t i = 0; i < DOCS_FILES; i++) {
            write_file(&folder, files[i].file, 10);
        }
        struct scratch last = scratch_file(&folder, files[DOCS_FILES - 1].file);
        cr_assert_eq(remove(last.path), 0);
        if (sizes[k] != SIZE_MAX) {
            write_file(&folder, files[DOCS_FILES - 1].file, sizes[k]);
        }
        struct kit_server *server = start_on(&folder);
        for (size_t i = 0; i < DOCS_FILES; i++) {
            ask_expect(kit_server_port(server), (struct ask){.path = files[i].path}, 404,
                       "Not Found");
        }
        cr_assert_eq(kit_server_logged(server, "docs_not_installed"), 1, "%zu", k);
        kit_server_stop(server);
        scratch_free(&folder);
    }
    CHECK_LEAKS();
}

/* Clients that ask for a large file and don't read it: at some point the next is told 503, and once
 * they are gone all is well again. */
Test(docs, answers_that_nobody_takes_are_bounded) {
    enum { CLIENTS = 200, FILE_BYTES = 4 * 1024 * 1024 };
    struct client *clients = calloc(CLIENTS, sizeof *clients);
    struct scratch folder = scratch_new();
    for (size_t i = 0; i < DOCS_FILES; i++) {
        write_file(&folder, files[i].file, i == DOCS_SWAGGER_SCRIPT ? FILE_BYTES : 10);
    }
    struct kit_server *server = start_on(&folder);
    int port = kit_server_port(server);
    size_t count = 0;
    int status = 200;
    while (status == 200 && count < CLIENTS) {
        cr_assert(client_connect(&clients[count], port));
        CLIENT_SEND(&clients[count], "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: h\r\n\r\n");
        count++;
        cr_assert(kit_server_wait_metric(server, METRIC_CONNECTIONS, (int64_t)count));
        status = ask_status(port, (struct ask){.path = "/docs"});
        cr_assert(kit_server_wait_metric(server, METRIC_CONNECTIONS, (int64_t)count));
    }
    int64_t unsent = kit_server_metric(server, METRIC_UNSENT_BYTES);
    cr_assert_eq(status, 503, "%zu clients leave %lld bytes", count, (long long)unsent);
    cr_assert_leq(unsent, (int64_t)(32 + 8) * 1024 * 1024);
    ask_expect(port, (struct ask){.path = "/openapi.json"}, 503, "overloaded");
    ask_expect(port, (struct ask){.path = "/metrics"}, 503, "overloaded");
    cr_assert_eq(ask_status(port, (struct ask){.path = "/healthz"}), 200);
    for (size_t i = 0; i < count; i++) {
        client_fini(&clients[i]);
    }
    cr_assert(kit_server_wait_metric(server, METRIC_UNSENT_BYTES, 0));
    cr_assert_eq(ask_status(port, (struct ask){.path = "/docs"}), 200);
    kit_server_stop(server);
    scratch_free(&folder);
    free(clients);
    CHECK_LEAKS();
}

Test(docs, the_document_and_its_other_name) {
    static const char *const prefixes[] = {"/api/v1", "/other"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        char setting[64];
        char alias[64];
        struct client_response one;
        struct client_response two;
        snprintf(setting, sizeof setting, "LATCHKEY_API_PREFIX=%s", prefixes[i]);
        snprintf(alias, sizeof alias, "%s/openapi.json", prefixes[i]);
        struct kit_server *server = kit_server_start_with((const char *const[]){setting, NULL});
        cr_assert_eq(ask(kit_server_port(server), (struct ask){.path = "/openapi.json"}, &one),
                     200);
        cr_assert_eq(ask(kit_server_port(server), (struct ask){.path = alias}, &two), 200);
        cr_assert(slice_eq(one.body, two.body));
        cr_assert(slice_eq(client_header(&one, "content-type"), SLICE("application/json")));
        client_response_fini(&one);
        client_response_fini(&two);
        kit_server_stop(server);
    }
    CHECK_LEAKS();
}

/* What is answered is documented: status and, of an error, its detail. */
static void expect_documented(const struct json *document, const char *path, const char *method,
                              const struct client_response *response) {
    char status[16];
    struct slice detail;
    bool found = false;
    snprintf(status, sizeof status, "%d", response->status);
    const struct json *operation =
        json_member(json_member(json_member(document, "paths"), path), method);
    const struct json *answer = json_member(json_member(operation, "responses"), status);
    cr_assert_not_null(answer, "%s %s: %s is not documented", method, path, status);
    struct json_document *body = json_parse(response->body, JSON_UNIQUE);
    if (json_to_slice(json_member(json_root(body), "detail"), &detail)) {
        struct slice description;
        cr_assert(json_to_slice(json_member(answer, "description"), &description));
        for (size_t i = 0; i < description.len; i++) {
            struct slice rest = slice_from(description, i);
            found |= rest.len > detail.len + 1 && rest.at[0] == '`' &&
                     slice_starts(slice_from(rest, 1), detail) && rest.at[detail.len + 1] == '`';
        }
        cr_assert(found, "%s %s %s: %.*s is not in \"%.*s\"", method, path, status,
                  SLICE_ARGS(detail), SLICE_ARGS(description));
    }
    json_close(body);
}

struct documented {
    const char *method;
    const char *path;
    const char *target; /* NULL: the path */
    const char *json;
};

#define USER "/api/v1/user/audible"
static const struct documented requests[] = {
    {"post", USER "/oauth/authorize", NULL, "{\"redirect_uri\":\"\"}"},
    {"post", USER "/oauth/authorize", NULL, "{"},
    {"post", USER "/oauth/authorize", NULL, "{}"},
    {"post", USER "/oauth/authorize", NULL, NULL},
    {"post", USER "/oauth/callback", NULL, "{\"code\":\"c\",\"state\":\"s\"}"},
    {"post", USER "/oauth/callback", NULL, "{\"code\":\"\",\"state\":\"s\"}"},
    {"get", USER "/connected", NULL, NULL},
    {"post", USER "/disconnect", NULL, NULL},
    {"post", USER "/library/sync", NULL, NULL},
    {"get", USER "/library", NULL, NULL},
    {"get", USER "/library", USER "/library?limit=0", NULL},
    {"get", USER "/search", USER "/search?q=a", NULL},
    {"get", USER "/search", USER "/search", NULL},
    {"get", USER "/search", USER "/search?q=abc", NULL},
    {"get", USER "/{asin}/details", USER "/B00/details", NULL},
    {"get", USER "/{asin}/details", USER "/B-/details", NULL},
    {"get", USER "/{asin}/play-url", USER "/B00/play-url", NULL},
    {"get", USER "/{asin}/play-url", USER "/B00/play-url?platform=x", NULL},
    {"get", "/healthz", NULL, NULL},
    {"get", "/health", NULL, NULL},
    {"get", "/readyz", NULL, NULL},
    {"get", "/metrics", NULL, NULL},
    {"get", "/openapi.json", NULL, NULL},
};

static void ask_all(int port, const struct json *document, const char *token) {
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        const struct documented *request = &requests[i];
        struct client_response response;
        ask(port,
            (struct ask){.method = strcmp(request->method, "post") == 0 ? "POST" : "GET",
                         .path = request->target != NULL ? request->target : request->path,
                         .token = token,
                         .json = request->json},
            &response);
        expect_documented(document, request->path, request->method, &response);
        client_response_fini(&response);
    }
}

Test(docs, what_is_answered_is_documented) {
    static const char *const settings[] = {"AUDIBLE_CLIENT_ID=" KIT_CLIENT_ID,
                                           "AUDIBLE_CLIENT_ID="};
    static const char *const tiers[] = {NULL, "basic", "premium"};
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
        struct client_response response;
        struct kit_server *server = kit_server_start_with(
            (const char *const[]){settings[s], "LATCHKEY_RATE_LIMIT_PER_MINUTE=8", NULL});
        int port = kit_server_port(server);
        cr_assert_eq(ask(port, (struct ask){.path = "/openapi.json"}, &response), 200);
        struct json_document *document = json_parse(response.body, JSON_UNIQUE);
        client_response_fini(&response);
        for (size_t t = 0; t < sizeof tiers / sizeof tiers[0]; t++) {
            char token[KIT_JWT_BYTES];
            kit_jwt(token, (struct kit_jwt){.sub = "u", .tier = tiers[t]});
            ask_all(port, json_root(document), tiers[t] != NULL ? token : NULL);
        }
        json_close(document);
        kit_server_stop(server);
    }
    CHECK_LEAKS();
}
