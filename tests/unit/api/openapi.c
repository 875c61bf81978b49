// SPDX-License-Identifier: MIT
/* The route table and what openapi.json and metrics say of it. */
#include "api/openapi.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api/docs.h"
#include "api/endpoints.h"
#include "api/reply.h"
#include "base/json.h"
#include "kit/leaks.h"

enum { DOCUMENT_BYTES = 256 * 1024 };

static struct json_document *document_of(const char *prefix, struct slice **paths) {
    struct buf text;
    buf_init(&text, DOCUMENT_BYTES);
    *paths = routes_paths(slice_str(prefix));
    openapi_write(*paths, &text);
    cr_assert(buf_ok(&text));
    struct json_document *document = json_parse(buf_slice(&text), JSON_UNIQUE);
    cr_assert_not_null(document, "it is not JSON, or a name is there twice: %.*s",
                       SLICE_ARGS(buf_slice(&text)));
    buf_fini(&text);
    return document;
}

static const struct json *operation_in(const struct json *document, struct slice path,
                                       enum http_method method) {
    char name[256];
    snprintf(name, sizeof name, "%.*s", SLICE_ARGS(path));
    return json_member(json_member(json_member(document, "paths"), name),
                       method == HTTP_POST ? "post" : "get");
}

Test(openapi, every_route_is_documented_and_has_a_name_in_metrics) {
    for (size_t i = 0; i < route_count; i++) {
        const struct openapi_operation *operation = openapi_operation_of(&routes[i]);
        cr_assert_not_null(operation, "%s is not in openapi_operations.c", routes[i].path);
        cr_assert_neq(operation->metric, METRICS_ROUTE_NONE, "%s", routes[i].path);
        bool is_asset = slice_starts(slice_str(routes[i].path), SLICE("/docs/"));
        cr_assert_eq(operation->id == NULL, is_asset, "%s", routes[i].path);
    }
}

Test(openapi, nothing_is_documented_that_is_no_route) {
    for (size_t i = 0; i < openapi_operation_count; i++) {
        bool found = false;
        for (size_t k = 0; k < route_count; k++) {
            found |= openapi_operation_of(&routes[k]) == &openapi_operations[i];
        }
        cr_assert(found, "%s", openapi_operations[i].path);
    }
}

Test(openapi, what_the_checks_answer_is_there) {
    static const struct {
        unsigned need;
        const char *status;
    } cases[] = {
        {ROUTE_CALLER, "401"}, {ROUTE_CALLER, "429"}, {ROUTE_CALLER, "500"}, {ROUTE_TIER, "403"},
        {ROUTE_CONFIG, "503"}, {ROUTE_JSON, "415"},   {ROUTE_JSON, "400"},
    };
    struct slice *paths;
    struct json_document *document = document_of("/api/v1", &paths);
    for (size_t i = 0; i < route_count; i++) {
        const struct json *operation =
            operation_in(json_root(document), paths[i], routes[i].method);
        const struct json *responses = json_member(operation, "responses");
        if (operation == NULL || routes[i].run == ep_return) {
            continue;
        }
        cr_assert_not_null(json_member(responses, "413"), "%s", routes[i].path);
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            if (routes[i].needs & cases[k].need) {
                cr_assert_not_null(json_member(responses, cases[k].status), "%s: %s",
                                   routes[i].path, cases[k].status);
            }
        }
        cr_assert_eq(json_length(json_member(operation, "security")),
                     (routes[i].needs & ROUTE_CALLER) ? (size_t)1 : (size_t)0, "%s",
                     routes[i].path);
    }
    json_close(document);
    routes_free_paths(paths);
    CHECK_LEAKS();
}

/* With an empty prefix two routes have one path; a route without a path is not served. */
Test(openapi, other_prefixes_and_routes_that_are_not_served) {
    static const char *const prefixes[] = {"", "/x/y"};
    struct slice *paths;
    for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++) {
        char name[64];
        struct json_document *document = document_of(prefixes[p], &paths);
        snprintf(name, sizeof name, "%s/user/audible/{asin}/details", prefixes[p]);
        cr_assert_not_null(operation_in(json_root(document), slice_str(name), HTTP_GET), "%s",
                           name);
        cr_assert_not_null(operation_in(json_root(document), SLICE("/openapi.json"), HTTP_GET));
        cr_assert_null(operation_in(json_root(document), SLICE("/x/y/openapi.json"), HTTP_GET));
        json_close(document);
        routes_free_paths(paths);
    }
    struct buf text;
    buf_init(&text, DOCUMENT_BYTES);
    paths = routes_paths(SLICE("/api"));
    for (size_t i = 0; i < route_count; i++) {
        paths[i].len = strcmp(routes[i].path, "/metrics") == 0 ? 0 : paths[i].len;
    }
    openapi_write(paths, &text);
    struct json_document *document = json_parse(buf_slice(&text), JSON_UNIQUE);
    cr_assert_null(operation_in(json_root(document), SLICE("/metrics"), HTTP_GET));
    cr_assert_null(operation_in(json_root(document), SLICE(""), HTTP_GET));
    cr_assert_not_null(operation_in(json_root(document), SLICE("/healthz"), HTTP_GET));
    json_close(document);
    buf_fini(&text);
    routes_free_paths(paths);
    CHECK_LEAKS();
}

Test(openapi, the_route_table_and_the_files_of_docs_are_the_same) {
#define DOCS_PATH(id, path, file, type) path,
    static const char *const files[] = {DOCS_MAP(DOCS_PATH)};
#undef DOCS_PATH
    size_t found = 0;
    for (size_t i = 0; i < route_count; i++) {
        bool is_file = false;
        for (size_t k = 0; k < DOCS_FILES; k++) {
            is_file |= strcmp(routes[i].path, files[k]) == 0;
        }
        cr_assert_eq(is_file, routes[i].run == ep_docs, "%s", routes[i].path);
        found += is_file ? 1 : 0;
    }
    cr_assert_eq(found, (size_t)DOCS_FILES);
}
