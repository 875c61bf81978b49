// SPDX-License-Identifier: MIT
/* Library, sync, search, details and play-url against the simulated provider. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/json.h"
#include "kit/leaks.h"
#include "kit/platform.h"

static struct json_document *ask_json(struct platform *p, const char *method, const char *path,
                                      const char *sub, int status) {
    struct client_response response;
    char token[KIT_JWT_BYTES];
    ask_premium(token, sub);
    int got = ask(p->port, (struct ask){.method = method, .path = path, .token = token}, &response);
    cr_assert_eq(got, status, "%s %s: %d %.*s", method, path, got, SLICE_ARGS(response.body));
    struct json_document *body = json_parse(response.body, JSON_UNIQUE);
    cr_assert_not_null(body);
    client_response_fini(&response);
    return body;
}

static void expect_detail(struct platform *p, const char *path, int status, const char *detail) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, "user-1");
    ask_expect(p->port, (struct ask){.path = path, .token = token}, status, detail);
}

static struct slice text_of(const struct json *object, const char *name) {
    struct slice text = SLICE_NULL;
    json_to_slice(json_member(object, name), &text);
    return text;
}

static void expect_book(const struct json *book, bool owned) {
    static const char *const names[] = {"asin",        "title",  "author",           "narrator",
                                        "image",       "rating", "duration_minutes", "is_owned",
                                        "description", "source"};
    bool is_owned = !owned;
    int64_t minutes;
    cr_assert_eq(json_kind_of(book), JSON_KIND_OBJECT);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_not_null(json_member(book, names[i]), "%s", names[i]);
    }
    cr_assert(text_of(book, "asin").len > 0);
    cr_assert(text_of(book, "title").len > 0);
    cr_assert(slice_eq(text_of(book, "source"), SLICE("audible")));
    cr_assert(json_to_bool(json_member(book, "is_owned"), &is_owned));
    cr_assert_eq(is_owned, owned);
    cr_assert(json_to_i64(json_member(book, "duration_minutes"), &minutes));
}

Test(library, pages_and_clamps) {
    static const struct {
        const char *path;
        size_t books;
    } cases[] = {
        {"library", 20},
        {"library?limit=1", 1},
        {"library?limit=100", 100},
        {"library?limit=101", 100},
        {"library?limit=99999999999999999999999999", 100},
        {"library?skip=130&limit=50", 7},
        {"library?skip=137", 0},
        {"library?skip=1000000", 0},
        {"library?skip=18446744073709551616", 0},
    };
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_document *books = ask_json(&p, "GET", cases[i].path, "user-1", 200);
        cr_assert_eq(json_kind_of(json_root(books)), JSON_KIND_ARRAY);
        cr_assert_eq(json_length(json_root(books)), cases[i].books, "%s: %zu", cases[i].path,
                     json_length(json_root(books)));
        for (size_t b = 0; b < json_length(json_root(books)); b++) {
            expect_book(json_at(json_root(books), b), true);
        }
        json_close(books);
    }
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(library, bad_parameters) {
    static const char *const paths[] = {
        "library?skip=-1",
        "library?skip=x",
        "library?skip=",
        "library?skip=1.5",
        "library?limit=0",
        "library?limit=-5",
        "library?limit=ten",
        "library?limit=%20",
        "search?q=ab&limit=0",
        "search?limit=5",
        "B00ABC1234/play-url?platform=windows",
        "B00ABC1234/play-url?platform=",
    };
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct json_document *body = ask_json(&p, "GET", paths[i], "user-1", 400);
        cr_assert(slice_eq(text_of(json_root(body), "detail"), SLICE("invalid_request")), "%s",
                  paths[i]);
        const struct json *errors = json_member(json_root(body), "errors");
        cr_assert_eq(json_length(errors), 1, "%s", paths[i]);
        struct slice where = SLICE_NULL;
        json_to_slice(json_at(json_member(json_at(errors, 0), "loc"), 0), &where);
        cr_assert(slice_eq(where, SLICE("query")), "%s", paths[i]);
        json_close(body);
    }
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_LIBRARIES), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(library, without_an_account) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    expect_detail(&p, "library", 400, "Audible account not connected");
    ask_expect(p.port, (struct ask){.method = "POST", .path = "library/sync", .token = token}, 400,
               "Audible account not connected");
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_LIBRARIES), 0);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(library, sync_walks_every_page_and_notes_it) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, 5000);
    struct json_document *synced = ask_json(&p, "POST", "library/sync", "user-1", 200);
    int64_t count = 0;
    cr_assert(slice_eq(text_of(json_root(synced), "status"), SLICE("synced")));
    cr_assert(json_to_i64(json_member(json_root(synced), "audiobooks_count"), &count));
    cr_assert_eq(count, 137);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_LIBRARIES), 3, "two pages and an empty one");
    struct json_document *connected = ask_json(&p, "GET", "connected", "user-1", 200);
    cr_assert(slice_eq(text_of(json_root(connected), "synced_at"),
                       text_of(json_root(synced), "synced_at")));
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"library_synced\""), 1);
    json_close(connected);
    json_close(synced);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(library, a_sync_that_fails_says_so_until_one_succeeds) {
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/api/1.0/library",
                                                         .kind = SIMPROVIDER_GARBAGE,
                                                         .count = 1});
    json_close(ask_json(&p, "POST", "library/sync", "user-1", 503));
    struct json_document *connected = ask_json(&p, "GET", "connected", "user-1", 200);
    cr_assert(slice_eq(text_of(json_root(connected), "last_sync_error"),
                       SLICE("audible_service_unavailable")));
    json_close(connected);
    json_close(ask_json(&p, "POST", "library/sync", "user-1", 200));
    connected = ask_json(&p, "GET", "connected", "user-1", 200);
    cr_assert_eq(json_kind_of(json_member(json_root(connected), "last_sync_error")),
                 JSON_KIND_NULL);
    json_close(connected);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(catalog, search) {
    static const struct {
        const char *path;
        size_t books_max;
    } cases[] = {
        {"search?q=the", 20},
        {"search?q=the&limit=3", 3},
        {"search?q=the&limit=500", 50},
        {"search?q=%20the%20", 20},
    };
    struct platform p;
    platform_start(&p, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_document *books = ask_json(&p, "GET", cases[i].path, "user-1", 200);
        cr_assert_eq(json_kind_of(json_root(books)), JSON_KIND_ARRAY);
        cr_assert(json_length(json_root(books)) > 0 &&
                      json_length(json_root(books)) <= cases[i].books_max,
                  "%s: %zu", cases[i].path, json_length(json_root(books)));
        expect_book(json_at(json_root(books), 0), false);
        json_close(books);
    }
    int64_t searches = simprovider_count(p.sim, SIMPROVIDER_SEARCHES);
    expect_detail(&p, "search?q=a", 400, "Search query must be at least 2 characters");
    expect_detail(&p, "search?q=%20a%20", 400, "Search query must be at least 2 characters");
    expect_detail(&p, "search?q=", 400, "Search query must be at least 2 characters");
    expect_detail(&p, "search?q=%C3%A9", 400, "Search query must be at least 2 characters");
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_SEARCHES), searches);
    expect_detail(&p, "search?q=%C3%A9%C3%A9", 200, NULL);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(catalog, details_and_play_url) {
    struct platform p;
    char path[128];
    platform_start(&p, NULL);
    struct json_document *found = ask_json(&p, "GET", "search?q=the&limit=1", "user-1", 200);
    struct slice asin = text_of(json_at(json_root(found), 0), "asin");
    snprintf(path, sizeof path, "%.*s/details", SLICE_ARGS(asin));
    struct json_document *book = ask_json(&p, "GET", path, "user-1", 200);
    cr_assert(slice_eq(text_of(json_root(book), "asin"), asin));
    expect_book(json_root(book), false);
    json_close(book);
    json_close(found);
    int64_t asked = simprovider_count(p.sim, SIMPROVIDER_DETAILS);
    expect_detail(&p, "B-00/details", 404, "audiobook_not_found");
    expect_detail(&p, "%42/details", 404, "audiobook_not_found");
    expect_detail(&p, "123456789012345678901234567890123/details", 404, "audiobook_not_found");
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_DETAILS), asked);
    expect_detail(&p, "ZZZZZZZZZZ/details", 404, "audiobook_not_found");
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_DETAILS), asked + 1);
    expect_detail(&p, "B-00/play-url", 404, "audiobook_not_found");
    struct json_document *play =
        ask_json(&p, "GET", "B00ABC1234/play-url?platform=ios", "user-1", 200);
    cr_assert(
        slice_eq(text_of(json_root(play), "url"), SLICE("https://www.audible.com/pd/B00ABC1234")));
    cr_assert(slice_eq(text_of(json_root(play), "platform"), SLICE("ios")));
    cr_assert(slice_eq(text_of(json_root(play), "action"), SLICE("redirect_to_audible")));
    json_close(play);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(catalog, the_providers_failures) {
    static const struct {
        const char *fault_path;
        const char *path;
    } calls[] = {
        {"/api/1.0/library", "library"},
        {"/api/1.0/catalog/search", "search?q=ab"},
        {"/api/1.0/catalog/*", "B00ABC1234/details"},
    };
    static const enum simprovider_fault_kind kinds[] = {
        SIMPROVIDER_STATUS, SIMPROVIDER_GARBAGE,   SIMPROVIDER_NOISE,    SIMPROVIDER_TRUNCATE,
        SIMPROVIDER_DROP,   SIMPROVIDER_RATELIMIT, SIMPROVIDER_REDIRECT, SIMPROVIDER_HUGE,
    };
    struct platform p;
    platform_start(&p, NULL);
    platform_link(&p, "user-1");
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++) {
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            simprovider_fault(
                p.sim, &(struct simprovider_fault){.path = calls[c].fault_path, .kind = kinds[k]});
            expect_detail(&p, calls[c].path, 503, "audible_service_unavailable");
            simprovider_faults_clear(p.sim);
        }
        expect_detail(&p, calls[c].path, c == 2 ? 404 : 200, NULL);
    }
    platform_stop(&p);
    CHECK_LEAKS();
}
