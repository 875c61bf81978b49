// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "kit/leaks.h"
#include "kit/peer.h"
#include "kit/provider_rig.h"

/* --- all goes well ---------------------------------------------------------------------------- */

static struct json_document *parse(const struct rig_call *call) {
    struct json_document *document = json_parse(buf_slice(&call->json), JSON_UNIQUE);
    cr_assert_not_null(document, "not JSON: %.*s", SLICE_ARGS(buf_slice(&call->json)));
    return document;
}

static void copy_asin(const struct json *book, char out[RIG_TEXT_BYTES]) {
    struct slice asin;
    cr_assert(json_to_slice(json_member(book, "asin"), &asin));
    cr_assert(asin.len > 0 && asin.len <= LIMIT_BOOK_ASIN_BYTES);
    memcpy(out, asin.at, asin.len);
    out[asin.len] = '\0';
}

static void assert_owned(const struct json *book, bool expected) {
    bool is_owned;
    cr_assert(json_to_bool(json_member(book, "is_owned"), &is_owned));
    cr_assert_eq(is_owned, expected);
}

Test(provider, link_refresh_read_and_revoke) {
    struct rig *rig = rig_new(&rig_usual);
    char asin[RIG_TEXT_BYTES];
    rig_link(rig);
    cr_assert_str_neq(rig->access_token, "");
    cr_assert_str_neq(rig->refresh_token, "");
    cr_assert_str_eq(rig->calls[0].user_id, "amzn1.account.SAMPLELISTENER");
    cr_assert_eq(rig->calls[0].expires_in_s, 3600);
    cr_assert(rig->calls[0].was_sent);

    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_REFRESH);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_str_neq(call->refresh_token, "");
    cr_assert_str_neq(call->refresh_token, rig->refresh_token, "not rotated");
    memcpy(rig->access_token, call->access_token, RIG_TEXT_BYTES);
    memcpy(rig->refresh_token, call->refresh_token, RIG_TEXT_BYTES);

    call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_eq(call->count, 20);
    struct json_document *books = parse(call);
    cr_assert_eq(json_length(json_root(books)), 20);
    copy_asin(json_at(json_root(books), 0), asin);
    assert_owned(json_at(json_root(books), 0), true);
    json_close(books);

    rig->asin = asin;
    call = rig_ask(rig, PROVIDER_CALL_DETAILS);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_eq(call->count, 1);
    struct json_document *book = parse(call);
    assert_owned(json_root(book), false);
    json_close(book);

    call = rig_ask(rig, PROVIDER_CALL_SEARCH);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    books = parse(call);
    cr_assert(json_length(json_root(books)) > 0 && json_length(json_root(books)) == call->count);
    assert_owned(json_at(json_root(books), 0), false);
    json_close(books);

    call = rig_ask(rig, PROVIDER_CALL_REVOKE);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_not(simprovider_is_live(rig->sim, slice_str(rig->refresh_token)));
    for (enum provider_call_endpoint i = PROVIDER_CALL_TOKEN; i < PROVIDER_CALL_ENDPOINTS; i++) {
        cr_assert_eq(rig_metric(rig, i, PROVIDER_CALL_2XX), 1, "%s", rig_endpoint_name(i));
        cr_assert_eq(rig_sends(rig, i), 1, "%s", rig_endpoint_name(i));
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_FAILURES), 0);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_RETRIES), 0);
    rig_end(rig);
}

Test(provider, pages) {
    static const struct {
        uint64_t skip;
        uint64_t limit;
        size_t count;
    } cases[] = {
        {0, 1, 1},      {0, 100, 100}, {0, 101, 100}, {0, UINT64_MAX, 100},
        {100, 100, 37}, {136, 100, 1}, {137, 100, 0}, {4000000000, 100, 0},
    };
    struct rig *rig = rig_new(&rig_usual);
    rig_link(rig);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig->skip = cases[i].skip;
        rig->limit = cases[i].limit;
        rig->is_counted_only = i % 2 == 1;
        struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
        cr_assert_eq(call->rc, RC_OK, "case %zu: %s", i, rc_name(call->rc));
        cr_assert_eq(call->count, cases[i].count, "case %zu: %zu", i, call->count);
        cr_assert(rig->is_counted_only ? call->json.len == 0 : call->json.len >= 2, "case %zu", i);
    }
    rig_end(rig);
}

/* The same text, whether it is read in the lane or on the loop. */
Test(provider, large_answers_are_read_in_the_lane) {
    struct rig *rig = rig_new(&rig_usual);
    rig_link(rig);
    rig->limit = 100;
    rig_start(rig, 0, PROVIDER_CALL_LIBRARY);
    rig_run(rig);
    cr_assert_eq(rig->calls[0].rc, RC_OK);
    cr_assert_gt(rig->calls[0].json.len, LIMIT_PARSED_INLINE_BYTES, "not a large one");
    rig->provider.work = NULL;
    rig_start(rig, 1, PROVIDER_CALL_LIBRARY);
    rig_run(rig);
    cr_assert_eq(rig->calls[1].rc, RC_OK);
    cr_assert(slice_eq(buf_slice(&rig->calls[0].json), buf_slice(&rig->calls[1].json)));
    rig_end(rig);
}

Test(provider, too_much_to_do) {
    struct rig_opts opts = rig_usual;
    opts.work_max = 0;
    opts.queue_max = 0;
    opts.connections_max = 1;
    struct rig *rig = rig_new(&opts);
    rig_link(rig);
    rig->limit = 100;
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert_eq(call->rc, RC_OVERLOADED, "the lane is full: %s", rc_name(call->rc));
    rig->limit = 1;
    for (enum provider_call_endpoint i = PROVIDER_CALL_TOKEN; i < PROVIDER_CALL_ENDPOINTS; i++) {
        int64_t sends = rig_sends(rig, i);
        rig_start(rig, 0, PROVIDER_CALL_LIBRARY);
        rig_start(rig, 1, i);
        rig_run(rig);
        call = &rig->calls[1];
        cr_assert_eq(rig->calls[0].rc, RC_OK);
        cr_assert_eq(call->rc, RC_OVERLOADED, "%s: %s", rig_endpoint_name(i), rc_name(call->rc));
        cr_assert_not(call->was_sent);
        sends += i == PROVIDER_CALL_LIBRARY;
        cr_assert_eq(rig_sends(rig, i), sends, "%s was sent", rig_endpoint_name(i));
        cr_assert_eq(rig_metric(rig, i, PROVIDER_CALL_QUEUE_FULL), 1, "%s", rig_endpoint_name(i));
    }
    rig_end(rig);
}

/* --- every fault at every call ---------------------------------------------------------------- */

struct fault_case {
    struct simprovider_fault fault;
    enum rc rc[PROVIDER_CALL_ENDPOINTS];
    int sends_of_get;
    enum provider_call_outcome outcome;
    bool lasts; /* to the deadline */
};

#define ALL(rc)                                                                                    \
    { rc, rc, rc, rc, rc, rc }
#define DOWN ALL(RC_PROVIDER_UNAVAILABLE)
/* The answer to a revocation is its status. */
#define DOWN_BUT_REVOKED                                                                           \
    {                                                                                              \
        RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE, RC_OK, RC_PROVIDER_UNAVAILABLE,          \
            RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE                                       \
    }

static const struct fault_case faults[] = {
    {{.kind = SIMPROVIDER_DELAY, .number = 50}, ALL(RC_OK), 1, PROVIDER_CALL_2XX, false},
    {{.kind = SIMPROVIDER_HOLD}, DOWN, 1, PROVIDER_CALL_TIMEOUT, true},
    {{.kind = SIMPROVIDER_STATUS}, DOWN, 3, PROVIDER_CALL_5XX, false},
    {{.kind = SIMPROVIDER_STATUS, .number = 503}, DOWN, 3, PROVIDER_CALL_5XX, false},
    {{.kind = SIMPROVIDER_STATUS, .number = 418}, DOWN, 1, PROVIDER_CALL_4XX, false},
    {{.kind = SIMPROVIDER_STATUS,
      .number = 201,
      .text = "{\"access_token\":\"a\",\"items\":[],"
              "\"products\":[],\"product\":{\"a\":1}}"},
     DOWN,
     1,
     PROVIDER_CALL_2XX,
     false},
    {{.kind = SIMPROVIDER_GARBAGE}, DOWN_BUT_REVOKED, 1, PROVIDER_CALL_2XX, false},
    {{.kind = SIMPROVIDER_NOISE}, DOWN, 3, PROVIDER_CALL_UNREACHABLE, false},
    {{.kind = SIMPROVIDER_TRUNCATE}, DOWN, 3, PROVIDER_CALL_UNREACHABLE, false},
    {{.kind = SIMPROVIDER_WRONG_TYPES},
     {RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE, RC_OK, RC_PROVIDER_UNAVAILABLE,
      RC_PROVIDER_UNAVAILABLE, RC_BOOK_ABSENT},
     1,
     PROVIDER_CALL_2XX,
     false},
    {{.kind = SIMPROVIDER_DROP}, DOWN, 3, PROVIDER_CALL_UNREACHABLE, false},
    {{.kind = SIMPROVIDER_HUGE}, DOWN, 1, PROVIDER_CALL_TOO_LARGE, false},
    {{.kind = SIMPROVIDER_RATELIMIT, .number = 60}, DOWN, 1, PROVIDER_CALL_429, false},
    {{.kind = SIMPROVIDER_REDIRECT}, DOWN, 1, PROVIDER_CALL_3XX, false},
    {{.kind = SIMPROVIDER_TRICKLE}, DOWN, 1, PROVIDER_CALL_TIMEOUT, true},
};

static void assert_fault(struct rig *rig, size_t n, enum provider_call_endpoint endpoint) {
    const struct fault_case *c = &faults[n];
    const char *name = rig_endpoint_name(endpoint);
    int expected = rig_is_post(endpoint) ? 1 : c->sends_of_get;
    rig_link(rig);
    if (endpoint == PROVIDER_CALL_TOKEN) {
        rig_consent(rig);
    }
    int64_t sends = rig_sends(rig, endpoint);
    int64_t outcomes = rig_metric(rig, endpoint, c->outcome);
    rig->patience_ms = c->lasts ? 300 : 10000;
    rig_fault(rig, endpoint, c->fault);
    struct rig_call *call = rig_ask(rig, endpoint);
    simprovider_faults_clear(rig->sim);
    simprovider_release(rig->sim);
    rig->patience_ms = 10000;
    cr_assert_eq(call->rc, c->rc[endpoint], "fault %zu, %s: %s", n, name, rc_name(call->rc));
    /* A GET that finds its kept connection closed is sent again by libcurl, on a new one. */
    sends += rig_sends(rig, endpoint) - sends == expected + 1 && !rig_is_post(endpoint) &&
             c->fault.kind == SIMPROVIDER_DROP;
    cr_assert_eq(rig_sends(rig, endpoint) - sends, expected, "fault %zu, %s: sent %d times", n,
                 name, (int)(rig_sends(rig, endpoint) - sends));
    cr_assert_eq(rig_metric(rig, endpoint, c->outcome) - outcomes, expected,
                 "fault %zu, %s: counted %d times", n, name,
                 (int)(rig_metric(rig, endpoint, c->outcome) - outcomes));
    cr_assert_lt(call->took_ms, c->lasts ? 1500 : 5000, "fault %zu, %s: %d ms", n, name,
                 (int)call->took_ms);
    cr_assert(!c->lasts || call->took_ms >= 280, "fault %zu, %s: %d ms", n, name,
              (int)call->took_ms);
    cr_assert(call->rc != RC_PROVIDER_UNAVAILABLE || !rig_is_post(endpoint) || call->was_sent,
              "fault %zu, %s: the code may be spent", n, name);
}

static void assert_works(struct rig *rig, enum provider_call_endpoint endpoint) {
    rig_link(rig);
    if (endpoint == PROVIDER_CALL_TOKEN) {
        rig_consent(rig);
    }
    enum rc rc = rig_ask(rig, endpoint)->rc;
    cr_assert_eq(rc, RC_OK, "%s does not work afterwards: %s", rig_endpoint_name(endpoint),
                 rc_name(rc));
}

static char any_asin[RIG_TEXT_BYTES];

static struct rig *linked(void) {
    struct rig *rig = rig_new(&rig_usual);
    rig_link(rig);
    rig->limit = 1;
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert_eq(call->rc, RC_OK);
    struct json_document *books = parse(call);
    copy_asin(json_at(json_root(books), 0), any_asin);
    json_close(books);
    rig->asin = any_asin;
    return rig;
}

static void assert_all_faults(enum provider_call_endpoint endpoint) {
    struct rig *rig = linked();
    for (size_t n = 0; n < sizeof faults / sizeof faults[0]; n++) {
        /* The answer to a revocation has no body that could be cut. */
        if (endpoint == PROVIDER_CALL_REVOKE && faults[n].fault.kind == SIMPROVIDER_TRUNCATE) {
            continue;
        }
        assert_fault(rig, n, endpoint);
        assert_works(rig, endpoint);
    }
    cr_assert_eq(simprovider_count(rig->sim, SIMPROVIDER_REDIRECTED), 0);
    cr_assert(!rig_is_post(endpoint) || metrics_get(&rig->metrics, METRIC_PROVIDER_RETRIES) == 0);
    rig_end(rig);
}

Test(provider, faults_of_exchange) {
    assert_all_faults(PROVIDER_CALL_TOKEN);
}
Test(provider, faults_of_refresh) {
    assert_all_faults(PROVIDER_CALL_REFRESH);
}
Test(provider, faults_of_revoke) {
    assert_all_faults(PROVIDER_CALL_REVOKE);
}
Test(provider, faults_of_library) {
    assert_all_faults(PROVIDER_CALL_LIBRARY);
}
Test(provider, faults_of_search) {
    assert_all_faults(PROVIDER_CALL_SEARCH);
}
Test(provider, faults_of_details) {
    assert_all_faults(PROVIDER_CALL_DETAILS);
}

/* --- refusals --------------------------------------------------------------------------------- */

Test(provider, refusals_of_tokens) {
    static const struct {
        int status;
        const char *text;
        enum rc exchange;
        enum rc refresh;
        bool is_refusing_us;
    } cases[] = {
        {400, "{\"error\":\"invalid_grant\"}", RC_CODE_REFUSED, RC_GRANT_REFUSED, false},
        {403, "{\"error\":\"invalid_grant\"}", RC_CODE_REFUSED, RC_GRANT_REFUSED, false},
        {400, "{\"error\":\"invalid_request\"}", RC_CODE_REFUSED, RC_PROVIDER_UNAVAILABLE, false},
        {400, "{\"error\":\"invalid_scope\"}", RC_CODE_REFUSED, RC_PROVIDER_UNAVAILABLE, false},
        {403, "{\"error\":\"made_up\"}", RC_CODE_REFUSED, RC_PROVIDER_UNAVAILABLE, false},
        {400, "{\"error\":\"invalid_client\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE,
         true},
        {403, "{\"error\":\"unauthorized_client\"}", RC_PROVIDER_UNAVAILABLE,
         RC_PROVIDER_UNAVAILABLE, true},
        {401, "{\"error\":\"invalid_client\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE,
         true},
        {401, "{\"error\":\"invalid_grant\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE,
         true},
        {401, "", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE, true},
        {404, "{\"error\":\"invalid_grant\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE,
         false},
        {400, "{\"error\":7}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE, false},
        {400, "{\"error\":\"\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE, false},
        {400, "invalid_grant", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE, false},
        {429, "{\"error\":\"invalid_grant\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE,
         false},
        {500, "{\"error\":\"invalid_grant\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE,
         false},
        {500, "{\"error\":\"invalid_client\"}", RC_PROVIDER_UNAVAILABLE, RC_PROVIDER_UNAVAILABLE,
         false},
    };
    struct rig *rig = linked();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e <= PROVIDER_CALL_REVOKE; e++) {
            enum rc wanted = e == PROVIDER_CALL_TOKEN     ? cases[i].exchange
                             : e == PROVIDER_CALL_REFRESH ? cases[i].refresh
                                                          : RC_PROVIDER_UNAVAILABLE;
            rig_fault(rig, e,
                      (struct simprovider_fault){.kind = SIMPROVIDER_STATUS,
                                                 .number = cases[i].status,
                                                 .text = cases[i].text,
                                                 .count = 1});
            struct rig_call *call = rig_ask(rig, e);
            cr_assert_eq(call->rc, wanted, "case %zu, %s: %s", i, rig_endpoint_name(e),
                         rc_name(call->rc));
            cr_assert_eq(call->is_refusing_us, cases[i].is_refusing_us, "case %zu, %s", i,
                         rig_endpoint_name(e));
        }
    }
    rig_end(rig);
}

Test(provider, answers_to_refreshes) {
    static const struct {
        const char *text;
        enum rc rc;
        const char *refresh_token;
        int64_t expires_in_s;
    } cases[] = {
        {"{\"access_token\":\"a\"}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"refresh_token\":\"\"}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"refresh_token\":null}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"refresh_token\":7}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":1}", RC_OK, "r", 1},
        {"{\"access_token\":\"a\",\"expires_in\":\"120\"}", RC_OK, "", 120},
        {"{\"access_token\":\"a\",\"expires_in\":0}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"expires_in\":315360000}", RC_OK, "", 315360000},
        {"{\"access_token\":\"a\",\"expires_in\":315360001}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"expires_in\":\"-5\"}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"token_type\":\"bEARER\"}", RC_OK, "", 3600},
        {"{\"access_token\":\"a\",\"token_type\":\"mac\"}", RC_PROVIDER_UNAVAILABLE, "", 0},
        {"{\"access_token\":\"a\",\"token_type\":7}", RC_PROVIDER_UNAVAILABLE, "", 0},
        {"{\"access_token\":\"\"}", RC_PROVIDER_UNAVAILABLE, "", 0},
        {"{}", RC_PROVIDER_UNAVAILABLE, "", 0},
        {"[\"access_token\"]", RC_PROVIDER_UNAVAILABLE, "", 0},
        {"{\"access_token\":\"a\"} x", RC_PROVIDER_UNAVAILABLE, "", 0},
        {"{\"error\":\"invalid_grant\"}", RC_PROVIDER_UNAVAILABLE, "", 0},
    };
    struct rig *rig = linked();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_fault(
            rig, PROVIDER_CALL_REFRESH,
            (struct simprovider_fault){
                .kind = SIMPROVIDER_STATUS, .number = 200, .text = cases[i].text, .count = 1});
        struct rig_call *call = rig_ask(rig, PROVIDER_CALL_REFRESH);
        cr_assert_eq(call->rc, cases[i].rc, "case %zu: %s", i, rc_name(call->rc));
        cr_assert_str_eq(call->refresh_token, cases[i].refresh_token, "case %zu", i);
        cr_assert_eq(call->expires_in_s, cases[i].expires_in_s, "case %zu: %d", i,
                     (int)call->expires_in_s);
    }
    rig_end(rig);
}

/* What the API's answers come to. `json` NULL: none. */
Test(provider, answers_of_the_api) {
#define EMPTY_BOOK(owned)                                                                          \
    "{\"asin\":\"\",\"title\":\"t\",\"author\":\"\",\"narrator\":null,\"image\":null,"             \
    "\"description\":null,\"duration_minutes\":0,\"rating\":null,\"is_owned\":" owned              \
    ",\"source\":\"audible\"}"
    static const struct {
        enum provider_call_endpoint endpoint;
        int status;
        const char *text;
        enum rc rc;
        size_t count;
        const char *json;
        int64_t defaults;
    } cases[] = {
        {PROVIDER_CALL_LIBRARY, 200, "{\"items\":[]}", RC_OK, 0, "[]", 0},
        {PROVIDER_CALL_LIBRARY, 200, "{}", RC_OK, 0, "[]", 1},
        {PROVIDER_CALL_LIBRARY, 200, "{\"items\":null}", RC_OK, 0, "[]", 1},
        {PROVIDER_CALL_LIBRARY, 200, "{\"items\":{}}", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200, "{\"items\":\"none\"}", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200, "[]", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200, "null", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200, "", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200, "{\"items\":[{\"product\":{\"asin\":\"A\"}}",
         RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200, "{\"items\":[{\"product\":{\"rating\":1e999}}]}",
         RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200, "{\"items\":[{\"product\":{\"rating\":NaN}}]}",
         RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 200,
         "{\"items\":[7,{},{\"product\":null},{\"product\":[]},{\"product\":{\"title\":\"t\"}}]}",
         RC_OK, 5, "[" EMPTY_BOOK("true") "]", 11},
        {PROVIDER_CALL_LIBRARY, 204, "", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 401, "", RC_TOKEN_REFUSED, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 403, "{}", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_LIBRARY, 404, "{}", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_SEARCH, 200, "{\"products\":[]}", RC_OK, 0, "[]", 0},
        {PROVIDER_CALL_SEARCH, 200, "{\"items\":[]}", RC_OK, 0, "[]", 1},
        {PROVIDER_CALL_SEARCH, 200, "{\"products\":[null,{\"title\":\"t\"},[]]}", RC_OK, 3,
         "[" EMPTY_BOOK("false") "]", 9},
        {PROVIDER_CALL_SEARCH, 401, "", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_SEARCH, 404, "", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 200, "{\"product\":{\"title\":\"t\"}}", RC_OK, 1,
         EMPTY_BOOK("false"), 7},
        {PROVIDER_CALL_DETAILS, 200, "{\"product\":{}}", RC_BOOK_ABSENT, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 200, "{\"product\":[]}", RC_BOOK_ABSENT, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 200, "{\"product\":null}", RC_BOOK_ABSENT, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 200, "{}", RC_BOOK_ABSENT, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 200, "{\"product\":\"x\"}", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 200, "{\"product\":[1]}", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 404, "nothing", RC_BOOK_ABSENT, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 401, "", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
        {PROVIDER_CALL_DETAILS, 410, "", RC_PROVIDER_UNAVAILABLE, 0, NULL, 0},
    };
    struct rig *rig = linked();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t defaults = metrics_get(&rig->metrics, METRIC_DEFAULTS_TAKEN);
        rig_fault(rig, cases[i].endpoint,
                  (struct simprovider_fault){.kind = SIMPROVIDER_STATUS,
                                             .number = cases[i].status,
                                             .text = cases[i].text,
                                             .count = 1});
        struct rig_call *call = rig_ask(rig, cases[i].endpoint);
        cr_assert_eq(call->rc, cases[i].rc, "case %zu: %s", i, rc_name(call->rc));
        cr_assert_eq(call->count, cases[i].count, "case %zu: %zu", i, call->count);
        cr_assert(cases[i].json == NULL ||
                      slice_eq(buf_slice(&call->json), slice_str(cases[i].json)),
                  "case %zu: %.*s", i, SLICE_ARGS(buf_slice(&call->json)));
        cr_assert_eq(metrics_get(&rig->metrics, METRIC_DEFAULTS_TAKEN) - defaults,
                     cases[i].defaults, "case %zu: %d defaults", i,
                     (int)(metrics_get(&rig->metrics, METRIC_DEFAULTS_TAKEN) - defaults));
    }
    rig_end(rig);
}

/* --- once ------------------------------------------------------------------------------------- */

/* The server closes a kept connection when the next request comes, as it does with one that has
 * idled too long: libcurl would send it again on a new one. */
Test(provider, a_post_is_not_sent_again_on_a_new_connection) {
    struct rig *rig = rig_new(&rig_usual);
    struct peer *peer = peer_new();
    char url[128];
    cr_assert_not_null(peer);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/second-drops", peer_port(peer));
    rig->provider.revoke_url = slice_str(url);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_REVOKE)->rc, RC_OK);
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_REVOKE);
    cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
    cr_assert(call->was_sent);
    cr_assert_eq(peer_requests(peer), 2, "sent %zu times", peer_requests(peer) - 1);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_REVOKE)->rc, RC_OK);
    rig_end(rig);
    peer_free(peer);
}

Test(provider, used_codes_and_tokens_are_refused) {
    struct rig *rig = linked();
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_TOKEN)->rc, RC_CODE_REFUSED);
    rig_link(rig);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_REFRESH)->rc, RC_OK);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_REFRESH)->rc, RC_GRANT_REFUSED);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_LIBRARY)->rc, RC_TOKEN_REFUSED);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_REVOKE)->rc, RC_OK, "of one that works no more");
    rig->asin = "NOSUCHBOOK";
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_DETAILS)->rc, RC_BOOK_ABSENT);
    rig_end(rig);
}

/* --- what is logged --------------------------------------------------------------------------- */

Test(provider, failures_are_logged_without_what_was_said) {
    struct rig *rig = linked();
    char *log = malloc(RIG_LOG_BYTES);
    static const struct {
        enum provider_call_endpoint endpoint;
        struct simprovider_fault fault;
        const char *expected;
    } cases[] = {
        {PROVIDER_CALL_TOKEN,
         {.kind = SIMPROVIDER_STATUS, .number = 400, .text = "{\"error\":\"invalid_grant\"}"},
         "\"endpoint\":\"token\",\"error_code\":\"invalid_grant\",\"status\":400,\"duration_ms\":"},
        {PROVIDER_CALL_REFRESH,
         {.kind = SIMPROVIDER_STATUS, .number = 400, .text = "{\"error\":\"SECRETWORDS\"}"},
         "\"endpoint\":\"refresh\",\"error_code\":\"other\",\"status\":400,\"duration_ms\":"},
        {PROVIDER_CALL_REVOKE,
         {.kind = SIMPROVIDER_DROP},
         "\"endpoint\":\"revoke\",\"error_code\":\"unreachable\",\"status\":0,\"duration_ms\":"},
        {PROVIDER_CALL_LIBRARY,
         {.kind = SIMPROVIDER_STATUS, .number = 503, .text = "SECRETWORDS"},
         "\"endpoint\":\"library\",\"error_code\":\"http_status\",\"status\":503,\"duration_ms\":"},
        {PROVIDER_CALL_SEARCH,
         {.kind = SIMPROVIDER_GARBAGE},
         "\"endpoint\":\"search\",\"error_code\":\"unusable_answer\",\"status\":200,"
         "\"duration_ms\":"},
        {PROVIDER_CALL_DETAILS,
         {.kind = SIMPROVIDER_HUGE},
         "\"endpoint\":\"details\",\"error_code\":\"too_large\",\"status\":0,\"duration_ms\":"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_fault(rig, cases[i].endpoint, cases[i].fault);
        cr_assert_neq(rig_ask(rig, cases[i].endpoint)->rc, RC_OK);
        simprovider_faults_clear(rig->sim);
    }
    rig_log(rig, log);
    const char *line = log;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *end = strchr(line, '\n');
        cr_assert_not_null(end, "%zu lines", i);
        struct slice one = slice_make(line, (size_t)(end - line));
        cr_assert_not_null(memmem(one.at, one.len, cases[i].expected, strlen(cases[i].expected)),
                           "line %zu: %.*s", i, SLICE_ARGS(one));
        cr_assert_not_null(memmem(one.at, one.len, "\"level\":\"error\"", 15));
        cr_assert_not_null(memmem(one.at, one.len, "\"event\":\"provider_failed\"", 25));
        cr_assert_not_null(memmem(one.at, one.len, "\"request_id\":\"request-1\"", 24));
        cr_assert_not_null(memmem(one.at, one.len, "\"user_id\":\"user-1\"", 18));
        line = end + 1;
    }
    cr_assert_str_eq(line, "", "more lines: one a failure, its retries included");
    const char *secrets[] = {rig->code,          rig->verifier, rig->access_token,
                             rig->refresh_token, "sim-secret",  "SECRETWORDS"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        cr_assert_null(strstr(log, secrets[i]), "secret %zu is logged", i);
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_FAILURES), 6);
    free(log);
    rig_end(rig);
}
