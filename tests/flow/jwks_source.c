// SPDX-License-Identifier: MIT
#include "auth/jwks_source.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kit/faults.h"
#include "kit/keys_rig.h"

static const struct key_host_key both[] = {
    {PUBLISHED_RSA_1, "r1"}, {PUBLISHED_EC_1, "e1"}, {PUBLISHED_RSA_1, NULL}};
static const struct key_host_key others[] = {
    {PUBLISHED_RSA_2, "r2"}, {PUBLISHED_EC_1, "e1"}, {PUBLISHED_RSA_1, NULL}};

static bool has(struct keys_rig *rig, enum jwks_alg alg, const char *kid) {
    const struct jwks *keys = jwks_source_keys(rig->source);
    return keys != NULL && jwks_next(keys, NULL, alg, slice_str(kid)) != NULL;
}

Test(jwks_source, fetches_at_start) {
    struct keys_rig *rig = keys_rig_new();
    key_host_publish(rig->host, both);
    keys_rig_open(rig, &jwks_source_usual);
    cr_assert_null(jwks_source_keys(rig->source));
    cr_assert_not(bearer_is_ready(rig->bearer));
    keys_rig_run_fetches(rig, 1);
    cr_assert(has(rig, JWKS_RS256, "r1") && has(rig, JWKS_ES256, "e1"));
    cr_assert(bearer_is_ready(rig->bearer));
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_JWKS_KEYS), 2);
    cr_assert_eq(keys_rig_logged(rig, "\"jwks_fetched\""), 1);
    cr_assert_eq(keys_rig_logged(rig, "\"keys\":2,\"skipped\":0"), 1);
    cr_assert_eq(keys_rig_logged(rig, "of=platform"), 0, "the URL may hold a secret");
    cr_assert_eq(key_host_requests(rig->host), 1);
    keys_rig_end(rig);
}

static bool has_keys(struct keys_rig *rig) {
    return jwks_source_keys(rig->source) != NULL;
}

/* What an endpoint may do wrong, at the start and later: tried again, told of once a change. */
Test(jwks_source, fails_at_start_and_is_fine_later) {
    static const struct {
        const char *name;
        int status; /* 0: drops the connection */
        const char *body;
        const char *logged;
    } cases[] = {
        {"drops", 0, NULL, "\"error_code\":\"UNREACHABLE\",\"status\":0"},
        {"an error", 500, "{\"keys\":[]}", "\"error_code\":\"OK\",\"status\":500"},
        {"absent", 404, "none", "\"error_code\":\"OK\",\"status\":404"},
        {"a redirect", 302, "", "\"error_code\":\"OK\",\"status\":302"},
        {"no content", 203, "{\"keys\":[]}", "\"error_code\":\"OK\",\"status\":203"},
        {"no JSON", 200, "<html>", "\"error_code\":\"MALFORMED\",\"status\":200"},
        {"empty", 200, "", "\"error_code\":\"MALFORMED\",\"status\":200"},
        {"no set", 200, "{\"kty\":\"RSA\"}", "\"error_code\":\"MALFORMED\",\"status\":200"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct keys_rig *rig = keys_rig_new();
        if (cases[i].status == 0) {
            key_host_drop(rig->host);
        } else {
            key_host_answer(rig->host, cases[i].status, cases[i].body);
        }
        keys_rig_open(rig, &keys_rig_times);
        keys_rig_run_fetches(rig, 3);
        cr_assert_null(jwks_source_keys(rig->source), "%s", cases[i].name);
        cr_assert_eq(keys_rig_logged(rig, "\"jwks_failed\""), 1, "%s: %s", cases[i].name,
                     rig->logs);
        cr_assert_eq(keys_rig_logged(rig, cases[i].logged), 1, "%s: %s", cases[i].name, rig->logs);
        key_host_publish(rig->host, both);
        keys_rig_run(rig, has_keys);
        cr_assert(has(rig, JWKS_RS256, "r1"), "%s", cases[i].name);
        cr_assert_eq(keys_rig_logged(rig, "\"jwks_fetched\""), 1, "%s", cases[i].name);
        keys_rig_end(rig);
    }
}

Test(jwks_source, an_answer_is_bounded) {
    struct keys_rig *rig = keys_rig_new();
    char *huge = mem_alloc(LIMIT_JWKS_BYTES + 2);
    memset(huge, ' ', LIMIT_JWKS_BYTES + 1);
    huge[LIMIT_JWKS_BYTES + 1] = '\0';
    memcpy(huge, "{\"keys\":[]}", 11);
    key_host_answer(rig->host, 200, huge);
    keys_rig_open(rig, &keys_rig_times);
    keys_rig_run_fetches(rig, 1);
    cr_assert_null(jwks_source_keys(rig->source));
    cr_assert_eq(keys_rig_logged(rig, "TOO_LARGE"), 1);
    huge[LIMIT_JWKS_BYTES] = '\0';
    key_host_answer(rig->host, 200, huge);
    keys_rig_run(rig, has_keys);
    mem_free(huge);
    keys_rig_end(rig);
}

Test(jwks_source, keeps_the_old_set_when_the_endpoint_fails) {
    struct jwks_source_times times = keys_rig_times;
    struct keys_rig *rig = keys_rig_new();
    times.refresh_ms = 10;
    key_host_publish(rig->host, both);
    keys_rig_open(rig, &times);
    keys_rig_run_fetches(rig, 1);
    key_host_drop(rig->host);
    keys_rig_run_fetches(rig, keys_rig_fetches(rig) + 4);
    cr_assert(has(rig, JWKS_RS256, "r1"));
    cr_assert_eq(keys_rig_logged(rig, "\"jwks_failed\""), 1);
    cr_assert_eq(keys_rig_logged(rig, "\"keys_kept\":2"), 1);
    key_host_answer(rig->host, 200, "nonsense");
    keys_rig_run_fetches(rig, keys_rig_fetches(rig) + 4);
    cr_assert(has(rig, JWKS_RS256, "r1"));
    cr_assert_eq(keys_rig_logged(rig, "\"jwks_failed\""), 2, "another cause is told of");
    key_host_publish(rig->host, both);
    keys_rig_run_fetches(rig, keys_rig_fetches(rig) + 4);
    cr_assert_eq(keys_rig_logged(rig, "\"jwks_fetched\""), 2, "that it is well again, once");
    keys_rig_end(rig);
}

Test(jwks_source, a_new_set_replaces_the_old_one_that_may_still_be_held) {
    struct jwks_source_times times = keys_rig_times;
    struct keys_rig *rig = keys_rig_new();
    times.refresh_ms = 10;
    key_host_publish(rig->host, both);
    keys_rig_open(rig, &times);
    keys_rig_run_fetches(rig, 1);
    struct jwks_source_set *held = jwks_source_hold(rig->source);
    struct jwks_source_set *again = jwks_source_hold(rig->source);
    key_host_publish(rig->host, others);
    keys_rig_run_fetches(rig, keys_rig_fetches(rig) + 2);
    cr_assert(has(rig, JWKS_RS256, "r2") && has(rig, JWKS_ES256, "e1"));
    cr_assert_not(has(rig, JWKS_RS256, "r1"));
    cr_assert_eq(keys_rig_logged(rig, "\"jwks_fetched\""), 2, "a line a change");
    jwks_source_give_back(again);
    const struct jwks *old = jwks_source_set_keys(held);
    cr_assert_not_null(jwks_next(old, NULL, JWKS_RS256, SLICE("r1")));
    jwks_source_give_back(held);
    keys_rig_end(rig);
}

/* So a platform withdraws all of its keys. */
Test(jwks_source, an_empty_set_is_taken) {
    struct jwks_source_times times = keys_rig_times;
    struct keys_rig *rig = keys_rig_new();
    times.refresh_ms = 10;
    key_host_publish(rig->host, both);
    keys_rig_open(rig, &times);
    keys_rig_run_fetches(rig, 1);
    key_host_answer(rig->host, 200, "{\"keys\":[]}");
    keys_rig_run_fetches(rig, keys_rig_fetches(rig) + 2);
    cr_assert_not_null(jwks_source_keys(rig->source));
    cr_assert_eq(jwks_count(jwks_source_keys(rig->source)), 0);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_JWKS_KEYS), 0);
    cr_assert_eq(keys_rig_logged(rig, "\"level\":\"warning\",\"event\":\"jwks_fetched\""), 1);
    keys_rig_end(rig);
}

/* --- waits ------------------------------------------------------------------------------------ */

enum { WAITS = 1000 };

struct storm {
    struct keys_rig *rig;
    struct jwks_wait waits[WAITS];
    int done[WAITS];
    size_t total;
    bool saw_keys; /* the last one that was told */
    bool asks_again;
};
static struct storm storm;

static void on_done(struct jwks_wait *wait) {
    storm.done[wait - storm.waits]++;
    storm.total++;
    storm.saw_keys = has(storm.rig, JWKS_RS256, "r2");
    memset(wait, 0xA5, sizeof *wait);
    if (storm.asks_again) {
        jwks_source_ask(storm.rig->source);
    }
}

static void wait_for_keys(struct keys_rig *rig, size_t i, int64_t ms) {
    size_t before = storm.total;
    storm.rig = rig;
    storm.done[i] = 0;
    jwks_source_wait(rig->source, &storm.waits[i], loop_now_ms(&rig->loop) + ms, on_done);
    cr_assert_eq(storm.total, before, "done was told before jwks_source_wait had returned");
}

static bool all_are_told(struct keys_rig *rig) {
    return storm.total >= rig->wanted;
}

static void run_told(struct keys_rig *rig, size_t total) {
    rig->wanted = total;
    keys_rig_run(rig, all_are_told);
    cr_assert_eq(storm.total, total);
}

Test(jwks_source, a_storm_of_unknown_kids_is_one_fetch) {
    struct keys_rig *rig = keys_rig_new();
    key_host_publish(rig->host, both);
    keys_rig_open(rig, &keys_rig_times);
    keys_rig_run_fetches(rig, 1);
    key_host_publish(rig->host, others);
    storm.asks_again = true;
    for (size_t i = 0; i < WAITS; i++) {
        wait_for_keys(rig, i, 5000);
    }
    run_told(rig, WAITS);
    for (size_t i = 0; i < WAITS; i++) {
        cr_assert_eq(storm.done[i], 1, "%zu", i);
    }
    cr_assert(storm.saw_keys, "they are told when the new set is there");
    cr_assert_eq(key_host_requests(rig->host), 2);
    /* For the next 30 s they are told at once ... */
    rig->clock.offset_ms = 29900;
    keys_rig_run_ms(rig, 5);
    for (size_t i = 0; i < WAITS; i++) {
        wait_for_keys(rig, i, 5000);
    }
    run_told(rig, 2 * WAITS);
    cr_assert_eq(key_host_requests(rig->host), 2);
    /* ... and then comes one more. */
    rig->clock.offset_ms = 30100;
    keys_rig_run_ms(rig, 5);
    wait_for_keys(rig, 0, 5000);
    run_told(rig, 2 * WAITS + 1);
    cr_assert_eq(key_host_requests(rig->host), 3);
    keys_rig_end(rig);
}

Test(jwks_source, a_wait_joins_the_fetch_that_is_under_way) {
    struct keys_rig *rig = keys_rig_new();
    key_host_hold(rig->host);
    keys_rig_open(rig, &keys_rig_times);
    wait_for_keys(rig, 0, 5000);
    keys_rig_run_ms(rig, 30);
    cr_assert_eq(storm.total, 0);
    key_host_publish(rig->host, others);
    run_told(rig, 1);
    cr_assert(storm.saw_keys);
    cr_assert_eq(key_host_requests(rig->host), 1);
    /* It did not use up what requests may ask for. */
    wait_for_keys(rig, 1, 5000);
    run_told(rig, 2);
    cr_assert_eq(key_host_requests(rig->host), 2);
    keys_rig_end(rig);
}

Test(jwks_source, a_wait_ends_at_its_deadline_or_when_it_is_canceled) {
    struct keys_rig *rig = keys_rig_new();
    key_host_hold(rig->host);
    keys_rig_open(rig, &keys_rig_times);
    keys_rig_run_ms(rig, 5);
    int64_t started_ms = loop_timer_now_ms(&rig->loop);
    wait_for_keys(rig, 0, 100);
    wait_for_keys(rig, 1, 60000);
    wait_for_keys(rig, 2, 60000);
    run_told(rig, 1);
    cr_assert_eq(storm.done[0], 1);
    int64_t took_ms = loop_timer_now_ms(&rig->loop) - started_ms;
    cr_assert(took_ms >= 90 && took_ms < 2000, "%d ms", (int)took_ms);
    jwks_source_cancel(&storm.waits[1]);
    jwks_source_cancel(&storm.waits[1]);
    cr_assert_eq(storm.total, 1, "done was told inside jwks_source_cancel");
    run_told(rig, 2);
    cr_assert_eq(storm.done[1], 1);
    wait_for_keys(rig, 3, -5); /* late already */
    run_told(rig, 3);
    /* The last one has the fetch's own deadline, although it would wait longer. */
    rig->clock.offset_ms = 5100;
    run_told(rig, 4);
    cr_assert_eq(storm.done[2], 1);
    cr_assert_eq(keys_rig_fetches(rig), 0, "the fetch goes on");
    keys_rig_end(rig);
}

Test(jwks_source, a_failed_fetch_ends_its_waits) {
    struct keys_rig *rig = keys_rig_new();
    key_host_drop(rig->host);
    keys_rig_open(rig, &jwks_source_usual);
    wait_for_keys(rig, 0, 5000);
    run_told(rig, 1);
    cr_assert_not(storm.saw_keys);
    cr_assert_null(jwks_source_keys(rig->source));
    keys_rig_end(rig);
}

Test(jwks_source, a_fetch_that_is_not_answered_ends) {
    struct jwks_source_times times = keys_rig_times;
    struct keys_rig *rig = keys_rig_new();
    times.timeout_ms = 100;
    key_host_hold(rig->host);
    keys_rig_open(rig, &times);
    keys_rig_run_fetches(rig, 2);
    cr_assert_eq(keys_rig_logged(rig, "\"error_code\":\"TIMEOUT\""), 1);
    keys_rig_end(rig);
}

static bool is_sent(struct keys_rig *rig) {
    return key_host_requests(rig->host) >= 1;
}

/* At each wait of a fetch: before it is sent, sent, answered, being read, done, waiting for the
 * next. keys_rig_end asserts that nothing is left and everyone was told. */
Test(jwks_source, closes_at_any_time) {
    for (int turns = 0; turns < 12; turns++) {
        struct keys_rig *rig = keys_rig_new();
        storm.total = 0;
        storm.asks_again = turns % 2 == 0;
        key_host_publish(rig->host, both);
        keys_rig_open(rig, &keys_rig_times);
        wait_for_keys(rig, 0, 5000);
        for (int i = 0; i < turns; i++) {
            keys_rig_run_ms(rig, 0);
        }
        keys_rig_end(rig);
        cr_assert_eq(storm.total, 1, "after %d turns", turns);
    }
    for (int late = 0; late < 2; late++) {
        struct keys_rig *rig = keys_rig_new();
        storm.total = 0;
        key_host_hold(rig->host);
        keys_rig_open(rig, &keys_rig_times);
        wait_for_keys(rig, 0, 5000);
        keys_rig_run(rig, is_sent);
        if (late) {
            jwks_source_cancel(&storm.waits[0]);
        }
        int64_t started_ns = clock_ns();
        keys_rig_end(rig);
        cr_assert_lt(clock_ns() - started_ns, INT64_C(4000000000), "it waited for the answer");
        cr_assert_eq(storm.total, 1);
    }
}

/* The n-th call to libcurl or libuv fails while a fetch is under way: the fetch ends, well or not,
 * whoever waits is told, and the next one is fine. */
static void fail_each(enum faults_family family, int least) {
    struct jwks_source_times times = keys_rig_times;
    struct keys_rig *rig = keys_rig_new();
    const char *met;
    int n = 0;
    times.timeout_ms = 500;
    times.asked_ms = 0;
    key_host_publish(rig->host, both);
    keys_rig_open(rig, &times);
    keys_rig_run_fetches(rig, 1);
    do {
        faults_arm(family, ++n);
        wait_for_keys(rig, 0, 5000);
        run_told(rig, storm.total + 1);
        met = faults_met(family);
        faults_arm(family, 0);
        int64_t good = metrics_get(&rig->metrics, METRIC_JWKS_FETCHES_OK);
        wait_for_keys(rig, 0, 5000);
        run_told(rig, storm.total + 1);
        cr_assert_eq(metrics_get(&rig->metrics, METRIC_JWKS_FETCHES_OK), good + 1, "call %d, %s", n,
                     met);
    } while (met != NULL);
    cr_assert_gt(n, least, "only %d", n);
    keys_rig_end(rig);
}

Test(jwks_source, each_call_to_libcurl_fails_in_turn, .timeout = 120) {
    fail_each(FAULTS_CURL, 20);
}

Test(jwks_source, each_call_to_libuv_fails_in_turn, .timeout = 120) {
    fail_each(FAULTS_UV, 2);
}
