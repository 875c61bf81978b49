// SPDX-License-Identifier: MIT
#include "io/redis_url.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kit/leaks.h"

static struct redis_url parsed(const char *text) {
    struct redis_url url;
    char problem[REDIS_URL_PROBLEM_BYTES] = "";
    cr_assert_eq(redis_url_parse(slice_str(text), &url, problem), RC_OK, "%s: %s", text, problem);
    return url;
}

Test(redis_url, parts) {
    static const struct {
        const char *text;
        bool is_tls;
        const char *host;
        int port;
        int db;
        const char *user;
        const char *password;
    } rows[] = {
        {"redis://localhost", false, "localhost", 6379, 0, NULL, NULL},
        {"redis://localhost/", false, "localhost", 6379, 0, NULL, NULL},
        {"redis://127.0.0.1:7000/3", false, "127.0.0.1", 7000, 3, NULL, NULL},
        {"redis://[::1]:7000/15", false, "::1", 7000, 15, NULL, NULL},
        {"redis://[2001:db8::1.2.3.4]", false, "2001:db8::1.2.3.4", 6379, 0, NULL, NULL},
        {"rediss://redis.example.org", true, "redis.example.org", 6379, 0, NULL, NULL},
        {"redis://my_redis-1.internal:65535", false, "my_redis-1.internal", 65535, 0, NULL, NULL},
        {"redis://:secret@host", false, "host", 6379, 0, NULL, "secret"},
        {"redis://alice:secret@host:1/2", false, "host", 1, 2, "alice", "secret"},
        {"redis://a%3Ab:p%40s%25%2f%C3%A9@host", false, "host", 6379, 0, "a:b", "p@s%/\xC3\xA9"},
        {"redis://:p@ss:w/ord@host/1", false, "host", 6379, 1, NULL, "p@ss:w/ord"},
        {"redis://:a b?#&=+@host", false, "host", 6379, 0, NULL, "a b?#&=+"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_url url = parsed(rows[i].text);
        cr_assert_eq(url.is_tls, rows[i].is_tls, "%s", rows[i].text);
        cr_assert_str_eq(url.host, rows[i].host, "%s", rows[i].text);
        cr_assert_eq(url.port, rows[i].port, "%s", rows[i].text);
        cr_assert_eq(url.db, rows[i].db, "%s", rows[i].text);
        cr_assert_eq(url.user == NULL, rows[i].user == NULL, "%s", rows[i].text);
        cr_assert(url.user == NULL || strcmp(url.user, rows[i].user) == 0, "%s", rows[i].text);
        cr_assert(slice_eq(secret_slice(&url.password), slice_str(rows[i].password)), "%s: %s",
                  rows[i].text, url.password.at);
        redis_url_fini(&url);
        cr_assert(url.host == NULL && url.user == NULL && url.password.at == NULL);
        redis_url_fini(&url);
    }
    CHECK_LEAKS();
}

/* Whatever is wrong, nothing of the password is in what is said of it. */
Test(redis_url, refused) {
    static const char *const rows[] = {
        "",
        "localhost",
        "redis:localhost",
        "redis:/localhost",
        "REDIS://localhost",
        "http://localhost",
        "redis+sentinel://localhost",
        "unix:///run/redis.sock",
        "redis://",
        "redis:///0",
        "redis://:6379",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:-1",
        "redis://host:",
        "redis://host:6379x",
        "redis://host:6379/x",
        "redis://host:6379/-1",
        "redis://host:6379/1000001",
        "redis://host:6379/0/1",
        "redis://host/0?timeout=1",
        "redis://host?db=1",
        "redis://host#1",
        "redis://ho st",
        "redis://host,other",
        "redis://h\xC3\xB6st",
        "redis://[::1",
        "redis://[]",
        "redis://[host]",
        "redis://[::1]6379",
        "redis://[::1%25eth0]",
        "redis://::1",
        "redis://hunter2@host",
        "redis://:@host",
        "redis://user:@host",
        "redis://user:hunter2%@host",
        "redis://user:hunter2%4@host",
        "redis://user:hunter2%zz@host",
        "redis://user:hunter2%00@host",
        "redis://user:hunter2%0a@host",
        "redis://us%7Fer:hunter2@host",
        "redis://user:hunter2\n@host",
        "redis://user:hunter2@",
        "redis://user:hunter2@:6379",
        "redis://user:hunter2@host:hunter2",
        "redis://user:hunter2@host/hunter2",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_url url;
        char problem[REDIS_URL_PROBLEM_BYTES] = "";
        cr_assert_eq(redis_url_parse(slice_str(rows[i]), &url, problem), RC_USAGE, "%s", rows[i]);
        cr_assert_gt(strlen(problem), 20, "%s: %s", rows[i], problem);
        cr_assert_null(strstr(problem, "hunter2"), "%s: %s", rows[i], problem);
        cr_assert(url.host == NULL && url.user == NULL && url.password.at == NULL, "%s", rows[i]);
    }
    CHECK_LEAKS();
}

Test(redis_url, lengths) {
    char text[4096];
    struct redis_url url;
    char problem[REDIS_URL_PROBLEM_BYTES];
    for (int len = 1023; len <= 1025; len++) {
        snprintf(text, sizeof text, "redis://:%0*d@host", len, 7);
        cr_assert_eq(redis_url_parse(slice_str(text), &url, problem) == RC_OK, len <= 1024);
        redis_url_fini(&url);
        snprintf(text, sizeof text, "redis://%0*d:p@host", len, 7);
        cr_assert_eq(redis_url_parse(slice_str(text), &url, problem) == RC_OK, len <= 1024);
        redis_url_fini(&url);
    }
    for (int len = 252; len <= 254; len++) {
        snprintf(text, sizeof text, "redis://%0*d", len, 7);
        cr_assert_eq(redis_url_parse(slice_str(text), &url, problem) == RC_OK, len <= 253);
        redis_url_fini(&url);
    }
    snprintf(text, sizeof text, "redis://[%046d:]", 0);
    cr_assert_eq(redis_url_parse(slice_str(text), &url, problem), RC_USAGE);
    /* No byte behind the slice is looked at. */
    cr_assert_eq(redis_url_parse(slice_make("redis://:p%41@host:79", 18), &url, problem), RC_OK);
    cr_assert_str_eq(url.host, "host");
    cr_assert_eq(url.port, 6379);
    redis_url_fini(&url);
    cr_assert_eq(redis_url_parse(slice_make("redis://:p%4", 11), &url, problem), RC_USAGE);
    CHECK_LEAKS();
}

Test(redis_url, same_server) {
    static const struct {
        const char *a, *b;
        bool is_same;
    } rows[] = {
        {"redis://host", "redis://HOST:6379/0", true},
        {"redis://:a@host", "redis://:b@host", true},
        {"redis://u:a@host", "redis://u:b@host/0", true},
        {"redis://host", "redis://host/1", false},
        {"redis://host", "redis://host:6380", false},
        {"redis://host", "redis://hos", false},
        {"redis://host", "rediss://host", false},
        {"redis://u:a@host", "redis://:a@host", false},
        {"redis://u:a@host", "redis://v:a@host", false},
        {"redis://u:a@host", "redis://U:a@host", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_url a = parsed(rows[i].a);
        struct redis_url b = parsed(rows[i].b);
        cr_assert_eq(redis_url_eq(&a, &b), rows[i].is_same, "%s %s", rows[i].a, rows[i].b);
        cr_assert_eq(redis_url_eq(&b, &a), rows[i].is_same, "%s %s", rows[i].a, rows[i].b);
        redis_url_fini(&a);
        redis_url_fini(&b);
    }
    CHECK_LEAKS();
}

/* TLS came with 1.0. */
Test(redis_url, library) {
    const char *version = redis_library_version();
    int major = -1;
    int minor = -1;
    int patch = -1;
    cr_assert_eq(sscanf(version, "%d.%d.%d", &major, &minor, &patch), 3, "%s", version);
    cr_assert(major > 0 || minor >= 14, "%s", version);
    cr_assert(major > 0 || !redis_has_tls());
}
