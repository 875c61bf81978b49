// SPDX-License-Identifier: MIT
/* Tokens under published keys: what is checked, in which order, and what it may cost. */
#include "auth/bearer.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kit/keys_rig.h"

static const struct key_host_key two[] = {
    {PUBLISHED_RSA_1, "r1"}, {PUBLISHED_EC_1, "e1"}, {PUBLISHED_RSA_1, NULL}};
static const struct key_host_key rotated[] = {{PUBLISHED_RSA_2, "r2"}, {PUBLISHED_RSA_1, NULL}};

enum { OPS = 400, LONG_MS = 30000, HEADER_BYTES = PUBLISHED_TOKEN_BYTES + 16 };

struct call {
    struct bearer_op op;
    int done;
    enum rc rc;
    bool has_premium;
    bool is_active;
    int64_t retry_after_s;
    char sub[LIMIT_USER_ID_BYTES + 1];
};

struct calls {
    struct call at[OPS];
    size_t total;
};
static struct calls calls;

static const char *claims(char out[256], const char *sub, int64_t exp_in_s) {
    snprintf(out, 256, "{\"sub\":\"%s\",\"exp\":%" PRId64 ",\"subscription_tier\":\"premium\"}",
             sub, (int64_t)time(NULL) + exp_in_s);
    return out;
}

static void header_of(char out[HEADER_BYTES], enum published_key key, enum jwks_alg alg,
                      const char *kid, const char *payload) {
    snprintf(out, HEADER_BYTES, "Bearer ");
    published_jwt(out + 7, key, alg, kid, payload);
}

/* The usual, of this user. */
static void usual(char out[HEADER_BYTES], enum published_key key, const char *kid,
                  const char *sub) {
    char payload[256];
    header_of(out, key, key >= PUBLISHED_EC_1 ? JWKS_ES256 : JWKS_RS256, kid,
              claims(payload, sub, 3600));
}

/* Spoils the signature, not its form. */
static void spoil(char header[HEADER_BYTES]) {
    char *at = strrchr(header, '.') + 10;
    *at = *at == 'A' ? 'B' : 'A';
}

static enum rc check(struct keys_rig *rig, const char *header, struct caller *caller) {
    return bearer_check(rig->bearer, slice_str(header), loop_wall_ms(&rig->loop) / 1000,
                        SLICE("r1"), caller);
}

static void on_done(struct bearer_op *op) {
    struct call *call = LIST_ENTRY(op, struct call, op);
    call->done++;
    call->rc = op->rc;
    call->retry_after_s = op->limited.retry_after_s;
    if (op->rc == RC_OK) {
        call->has_premium = op->caller.has_premium;
        call->is_active = op->caller.is_active;
        memcpy(call->sub, op->caller.sub.at, op->caller.sub.len);
        call->sub[op->caller.sub.len] = '\0';
    }
    memset(op, 0xA5, sizeof *op);
    calls.total++;
}

/* `client` NULL: some address. */
static struct call *start(struct keys_rig *rig, size_t i, const char *header, const char *client,
                          int64_t wait_ms) {
    struct call *call = &calls.at[i];
    const struct bearer_request request = {
        .authorization = slice_str(header),
        .request_id = SLICE("r1"),
        .client = slice_str(client != NULL ? client : "192.0.2.1"),
        .deadline_ms = loop_now_ms(&rig->loop) + wait_ms,
    };
    size_t before = calls.total;
    memset(call, 0, sizeof *call);
    bearer_verify(rig->bearer, &call->op, &request, on_done);
    cr_assert_eq(calls.total, before, "done was told before bearer_verify had returned");
    return call;
}

static bool all_are_done(struct keys_rig *rig) {
    return calls.total >= rig->wanted;
}

static void run_done(struct keys_rig *rig, size_t total) {
    rig->wanted = total;
    keys_rig_run(rig, all_are_done);
    cr_assert_eq(calls.total, total);
}

static enum rc verdict(struct keys_rig *rig, struct call *call) {
    run_done(rig, calls.total + 1);
    cr_assert_eq(call->done, 1);
    return call->rc;
}

static enum rc verify_from(struct keys_rig *rig, const char *header, const char *client) {
    return verdict(rig, start(rig, 0, header, client, LONG_MS));
}

static enum rc verify(struct keys_rig *rig, const char *header) {
    return verify_from(rig, header, NULL);
}

static int64_t checked(struct keys_rig *rig) {
    return metrics_get(&rig->metrics, METRIC_SIGNATURES_GOOD) +
           metrics_get(&rig->metrics, METRIC_SIGNATURES_BAD);
}

static struct keys_rig *open_two(void) {
    struct keys_rig *rig = keys_rig_new();
    key_host_publish(rig->host, two);
    keys_rig_open(rig, &keys_rig_times);
    keys_rig_run_fetches(rig, 1);
    return rig;
}

Test(bearer, every_algorithm_is_verified_once_and_remembered) {
    static const struct {
        enum published_key key;
        enum jwks_alg alg;
        const char *kid;
    } cases[] = {{PUBLISHED_RSA_1, JWKS_RS256, "r1"}, {PUBLISHED_RSA_1, JWKS_PS256, "r1"},
                 {PUBLISHED_EC_1, JWKS_ES256, "e1"},  {PUBLISHED_RSA_1, JWKS_RS256, NULL},
                 {PUBLISHED_RSA_1, JWKS_PS256, NULL}, {PUBLISHED_EC_1, JWKS_ES256, NULL}};
    struct keys_rig *rig = open_two();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[HEADER_BYTES];
        char payload[256];
        char sub[16];
        struct caller caller = {0};
        snprintf(sub, sizeof sub, "user-%zu", i);
        header_of(header, cases[i].key, cases[i].alg, cases[i].kid, claims(payload, sub, 3600));
        cr_assert_eq(check(rig, header, &caller), RC_UNVERIFIED, "case %zu", i);
        cr_assert_eq(verify(rig, header), RC_OK, "case %zu", i);
        cr_assert_str_eq(calls.at[0].sub, sub);
        cr_assert(calls.at[0].has_premium);
        for (int again = 0; again < 3; again++) {
            cr_assert_eq(check(rig, header, &caller), RC_OK, "case %zu", i);
            cr_assert(slice_eq(caller.sub, slice_str(sub)) && caller.has_premium);
        }
        cr_assert_eq(checked(rig), (int64_t)i + 1);
    }
    keys_rig_end(rig);
}

Test(bearer, a_remembered_token_still_expires) {
    struct keys_rig *rig = open_two();
    char header[HEADER_BYTES];
    char payload[256];
    struct caller caller;
    header_of(header, PUBLISHED_EC_1, JWKS_ES256, "e1", claims(payload, "u", 100));
    cr_assert_eq(verify(rig, header), RC_OK);
    rig->clock.offset_ms = 128 * 1000;
    keys_rig_run_ms(rig, 5);
    cr_assert_eq(check(rig, header, &caller), RC_OK);
    rig->clock.offset_ms = 132 * 1000;
    keys_rig_run_ms(rig, 5);
    cr_assert_eq(check(rig, header, &caller), RC_BAD_CREDENTIALS);
    cr_assert_eq(check(rig, header, &caller), RC_UNVERIFIED);
    cr_assert_eq(verify(rig, header), RC_BAD_CREDENTIALS);
    keys_rig_end(rig);
}

/* Whatever is wrong with it besides its signature is seen before the signature is looked at: it
 * costs the lane nothing. */
Test(bearer, cheap_checks_come_first) {
    static const struct {
        const char *payload;
        const char *reason;
    } cases[] = {
        {"{\"sub\":\"u\",\"exp\":1000000000}", "expired"},
        {"{\"sub\":\"u\"}", "no_expiry"},
        {"{\"sub\":\"u\",\"exp\":9000000000,\"nbf\":8999999999}", "not_yet_valid"},
        {"{\"sub\":\"\",\"exp\":9000000000,\"iss\":\"us\",\"aud\":\"here\"}", "subject"},
        {"{\"sub\":\"u\",\"exp\":9000000000,\"iss\":\"us\",\"aud\":\"here\","
         "\"type\":\"refresh\"}",
         "type"},
        {"{\"sub\":\"u\",\"exp\":9000000000,\"iss\":\"other\"}", "issuer"},
        {"{\"sub\":\"u\",\"exp\":9000000000,\"iss\":\"us\",\"aud\":\"other\"}", "audience"},
        {"[]", "malformed"},
    };
    struct keys_rig *rig = keys_rig_new();
    key_host_publish(rig->host, two);
    keys_rig_open_with(rig, &keys_rig_times,
                       (struct bearer_opts){.issuer = SLICE("us"), .audience = SLICE("here")});
    keys_rig_run_fetches(rig, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[HEADER_BYTES];
        char wanted[64];
        header_of(header, PUBLISHED_EC_1, JWKS_ES256, "e1", cases[i].payload);
        cr_assert_eq(verify(rig, header), RC_BAD_CREDENTIALS, "%s", cases[i].payload);
        snprintf(wanted, sizeof wanted, "\"reason\":\"%s\"", cases[i].reason);
        cr_assert_eq(keys_rig_logged(rig, wanted), 1, "%s", cases[i].payload);
    }
    cr_assert_eq(checked(rig), 0);
    keys_rig_end(rig);
}

Test(bearer, keys_and_algorithms_are_never_confused) {
    struct keys_rig *rig = keys_rig_new();
    static const char secret[] = "a secret of more than thirty-two bytes";
    char header[HEADER_BYTES];
    char payload[256];
    char jwk[1024];
    struct caller caller;
    struct buf text;
    key_host_publish(rig->host, two);
    keys_rig_open_with(rig, &keys_rig_times,
                       (struct bearer_opts){.alg = HASH_HS256, .secret = slice_str(secret)});
    keys_rig_run_fetches(rig, 1);

    /* SECRET_KEY's own, at once. */
    struct jwt_key key = {HASH_HS256, hash_hmac_key_new(HASH_HS256, slice_str(secret))};
    memcpy(header, "Bearer ", 8);
    buf_init_fixed(&text, header + 7, sizeof header - 8);
    cr_assert_eq(jwt_sign(&key, slice_str(claims(payload, "u", 60)), &text), RC_OK);
    header[7 + text.len] = '\0';
    cr_assert_eq(check(rig, header, &caller), RC_OK);
    cr_assert_eq(verify(rig, header), RC_BAD_CREDENTIALS, "no published key is for HS256");
    hash_hmac_key_free(key.hmac);

    /* HS256 under what is published. */
    char material_at[PUBLISHED_MATERIAL_BYTES];
    buf_init_fixed(&text, jwk, sizeof jwk);
    published_jwk(&text, PUBLISHED_RSA_1, "r1", NULL);
    struct slice publics[] = {buf_slice(&text), published_material(PUBLISHED_RSA_1, material_at)};
    for (size_t i = 0; i < 2; i++) {
        key = (struct jwt_key){HASH_HS256, hash_hmac_key_new(HASH_HS256, publics[i])};
        buf_init_fixed(&text, header + 7, sizeof header - 8);
        cr_assert_eq(jwt_sign(&key, slice_str(payload), &text), RC_OK);
        header[7 + text.len] = '\0';
        cr_assert_eq(check(rig, header, &caller), RC_BAD_CREDENTIALS);
        cr_assert_eq(verify(rig, header), RC_BAD_CREDENTIALS);
        hash_hmac_key_free(key.hmac);
    }
    cr_assert_eq(checked(rig), 0);

    /* Another algorithm than was signed with, another key's kid. */
    static const struct {
        enum published_key key;
        enum jwks_alg alg;
        const char *header;
        int64_t checked;
    } cases[] = {
        {PUBLISHED_RSA_1, JWKS_RS256, "{\"alg\":\"PS256\",\"kid\":\"r1\"}", 1},
        {PUBLISHED_RSA_1, JWKS_RS256, "{\"alg\":\"RS256\",\"kid\":\"e1\"}", 0},
        {PUBLISHED_RSA_1, JWKS_RS256, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", 1},
        {PUBLISHED_EC_1, JWKS_ES256, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", 1},
        {PUBLISHED_RSA_2, JWKS_RS256, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", 1},
        {PUBLISHED_RSA_2, JWKS_RS256, "{\"alg\":\"RS256\"}", 1},
        {PUBLISHED_RSA_1, JWKS_RS256, "{\"alg\":\"none\",\"kid\":\"r1\"}", 0},
        {PUBLISHED_RSA_1, JWKS_RS256, "{\"alg\":\"RS512\",\"kid\":\"r1\"}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t before = checked(rig);
        buf_init_fixed(&text, header + 7, sizeof header - 8);
        published_token(&text, cases[i].key, cases[i].alg, cases[i].header, payload);
        header[7 + text.len] = '\0';
        cr_assert_eq(check(rig, header, &caller), RC_UNVERIFIED, "%s", cases[i].header);
        cr_assert_eq(verify(rig, header), RC_BAD_CREDENTIALS, "%s", cases[i].header);
        cr_assert_eq(checked(rig) - before, cases[i].checked, "%s", cases[i].header);
        cr_assert_eq(check(rig, header, &caller), RC_UNVERIFIED, "a refused token is remembered");
    }
    keys_rig_end(rig);
}

Test(bearer, without_a_header_or_a_token) {
    static const struct {
        const char *header;
        enum rc rc;
    } cases[] = {{"", RC_NOT_AUTHENTICATED},
                 {"Basic abc", RC_NOT_AUTHENTICATED},
                 {"Bearer a.b.c", RC_BAD_CREDENTIALS},
                 {"Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA", RC_BAD_CREDENTIALS}};
    struct keys_rig *rig = open_two();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(verify(rig, cases[i].header), cases[i].rc, "%s", cases[i].header);
    }
    keys_rig_end(rig);
}

Test(bearer, an_inactive_user_is_found_out_every_time) {
    struct keys_rig *rig = open_two();
    char header[HEADER_BYTES];
    struct caller caller;
    header_of(header, PUBLISHED_RSA_1, JWKS_RS256, "r1",
              "{\"sub\":\"u\",\"exp\":9000000000,\"is_active\":false}");
    cr_assert_eq(verify(rig, header), RC_OK);
    cr_assert_not(calls.at[0].is_active);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(check(rig, header, &caller), RC_OK);
        cr_assert_eq(bearer_check_active(rig->bearer, &caller, SLICE("r1")), RC_INACTIVE_USER);
    }
    keys_rig_end(rig);
}

Test(bearer, a_withdrawn_keys_tokens_are_forgotten) {
    struct jwks_source_times times = keys_rig_times;
    struct keys_rig *rig = keys_rig_new();
    char old[HEADER_BYTES];
    char kept[HEADER_BYTES];
    struct caller caller;
    static const struct key_host_key both[] = {
        {PUBLISHED_RSA_1, "r1"}, {PUBLISHED_RSA_2, "r2"}, {PUBLISHED_RSA_1, NULL}};
    times.refresh_ms = 10;
    key_host_publish(rig->host, both);
    keys_rig_open(rig, &times);
    keys_rig_run_fetches(rig, 1);
    usual(old, PUBLISHED_RSA_1, "r1", "u");
    usual(kept, PUBLISHED_RSA_2, "r2", "v");
    cr_assert_eq(verify(rig, old), RC_OK);
    cr_assert_eq(verify(rig, kept), RC_OK);
    key_host_publish(rig->host, rotated);
    keys_rig_run_fetches(rig, keys_rig_fetches(rig) + 2);
    cr_assert_eq(check(rig, kept, &caller), RC_OK);
    cr_assert_eq(check(rig, old, &caller), RC_UNVERIFIED);
    cr_assert_eq(verify(rig, old), RC_BAD_CREDENTIALS);
    /* The same kid for another key doesn't bring it back. */
    static const struct key_host_key renamed[] = {{PUBLISHED_RSA_2, "r1"}, {PUBLISHED_RSA_1, NULL}};
    key_host_publish(rig->host, renamed);
    keys_rig_run_fetches(rig, keys_rig_fetches(rig) + 2);
    cr_assert_eq(verify(rig, old), RC_BAD_CREDENTIALS);
    cr_assert_eq(check(rig, kept, &caller), RC_UNVERIFIED);
    keys_rig_end(rig);
}

Test(bearer, an_unknown_kid_fetches_once_and_waits_for_it) {
    struct keys_rig *rig = open_two();
    char header[HEADER_BYTES];
    key_host_publish(rig->host, rotated);
    for (size_t i = 0; i < 100; i++) {
        char sub[16];
        snprintf(sub, sizeof sub, "u%zu", i);
        usual(header, PUBLISHED_RSA_2, "r2", sub);
        cr_assert_eq(verify(rig, header), RC_OK, "%zu", i);
    }
    usual(header, PUBLISHED_RSA_2, "nobody's", "u");
    for (size_t i = 0; i < OPS; i++) {
        start(rig, i, header, NULL, LONG_MS);
    }
    run_done(rig, calls.total + OPS);
    for (size_t i = 0; i < OPS; i++) {
        cr_assert_eq(calls.at[i].rc, RC_BAD_CREDENTIALS);
    }
    cr_assert_eq(key_host_requests(rig->host), 2);
    cr_assert_eq(keys_rig_logged(rig, "\"reason\":\"unknown_key\""), OPS);
    keys_rig_end(rig);
}

/* Of a token without a kid no one can say that its key is unknown before all have been tried. */
Test(bearer, a_wrong_signature_without_a_kid_asks_for_the_newest_keys) {
    struct keys_rig *rig = open_two();
    char header[HEADER_BYTES];
    usual(header, PUBLISHED_RSA_2, NULL, "u");
    key_host_publish(rig->host, rotated);
    cr_assert_eq(verify(rig, header), RC_BAD_CREDENTIALS);
    keys_rig_run_fetches(rig, 2);
    cr_assert_eq(verify(rig, header), RC_OK);
    keys_rig_end(rig);
}

Test(bearer, a_token_without_a_kid_is_tried_with_a_few_keys_only) {
    for (int before = 0; before <= LIMIT_KEYS_TRIED; before++) {
        struct key_host_key keys[LIMIT_KEYS_TRIED + 2] = {{0}};
        char header[HEADER_BYTES];
        for (int i = 0; i < before; i++) {
            keys[i] = (struct key_host_key){PUBLISHED_EC_1, "other"};
        }
        keys[before] = (struct key_host_key){PUBLISHED_EC_2, "right"};
        struct keys_rig *rig = keys_rig_new();
        key_host_publish(rig->host, keys);
        keys_rig_open(rig, &keys_rig_times);
        keys_rig_run_fetches(rig, 1);
        usual(header, PUBLISHED_EC_2, NULL, "u");
        cr_assert_eq(verify(rig, header), before < LIMIT_KEYS_TRIED ? RC_OK : RC_BAD_CREDENTIALS,
                     "after %d", before);
        usual(header, PUBLISHED_EC_2, "right", "u");
        cr_assert_eq(verify(rig, header), RC_OK, "after %d, by its kid", before);
        keys_rig_end(rig);
    }
}

Test(bearer, before_any_key_has_come) {
    struct keys_rig *rig = keys_rig_new();
    char header[HEADER_BYTES];
    struct caller caller;
    usual(header, PUBLISHED_RSA_1, "r1", "u");
    key_host_hold(rig->host);
    keys_rig_open(rig, &keys_rig_times);
    cr_assert_eq(check(rig, header, &caller), RC_UNVERIFIED);
    /* Waits for the first fetch, but not past its deadline. */
    cr_assert_eq(verdict(rig, start(rig, 0, header, NULL, 100)), RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(keys_rig_logged(rig, "\"reason\":\"no_keys\""), 1);
    struct call *waits = start(rig, 1, header, NULL, LONG_MS);
    keys_rig_run_ms(rig, 20);
    cr_assert_eq(waits->done, 0);
    key_host_publish(rig->host, two);
    run_done(rig, calls.total + 1);
    cr_assert_eq(waits->rc, RC_OK);
    keys_rig_end(rig);
}

Test(bearer, a_failed_first_fetch_is_no_verdict) {
    struct keys_rig *rig = keys_rig_new();
    char header[HEADER_BYTES];
    usual(header, PUBLISHED_RSA_1, "r1", "u");
    key_host_drop(rig->host);
    keys_rig_open(rig, &jwks_source_usual);
    cr_assert_eq(verify(rig, header), RC_STORAGE_UNAVAILABLE);
    keys_rig_end(rig);
}

/* Wrong signatures until no more are checked; how many were. */
static int fail_until_limited(struct keys_rig *rig, const char *bad, const char *client) {
    int failures = 0;
    while (verify_from(rig, bad, client) == RC_BAD_CREDENTIALS) {
        failures++;
        cr_assert_lt(failures, 10 * LIMIT_SIGNATURE_FAILURES_MINUTE, "never limited");
    }
    cr_assert_eq(calls.at[0].rc, RC_RATE_LIMITED);
    cr_assert_geq(calls.at[0].retry_after_s, 1);
    return failures;
}

/* One more is checked each second: so on a slow machine a try may fall on it. */
static bool is_limited(struct keys_rig *rig, const char *header, const char *client) {
    for (int tries = 0; tries < 3; tries++) {
        if (verify_from(rig, header, client) == RC_RATE_LIMITED) {
            return true;
        }
    }
    return false;
}

Test(bearer, failures_are_limited_by_address) {
    struct keys_rig *rig = open_two();
    char bad[HEADER_BYTES];
    char good[HEADER_BYTES];
    char other[HEADER_BYTES];
    struct caller caller;
    usual(bad, PUBLISHED_EC_1, "e1", "u");
    spoil(bad);
    usual(good, PUBLISHED_RSA_1, "r1", "u");
    usual(other, PUBLISHED_RSA_1, "r1", "v");
    cr_assert_eq(verify(rig, good), RC_OK);
    int64_t started_ms = loop_now_ms(&rig->loop);
    int failures = fail_until_limited(rig, bad, NULL);
    int64_t took_s = (loop_now_ms(&rig->loop) - started_ms) / 1000 + 1;
    cr_assert(failures >= LIMIT_SIGNATURE_FAILURES_MINUTE &&
                  failures <= LIMIT_SIGNATURE_FAILURES_MINUTE + took_s,
              "%d failures", failures);
    cr_assert_eq(checked(rig), failures + 1, "a refused one costs no signature");
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_SIGNATURES_LIMITED), 1);
    cr_assert(is_limited(rig, other, NULL), "nor is a good one checked");
    cr_assert_eq(check(rig, good, &caller), RC_OK, "what is remembered is not limited");
    cr_assert_eq(verify_from(rig, other, "192.0.2.2"), RC_OK, "another address");
    rig->clock.offset_ms = 2000;
    keys_rig_run_ms(rig, 5);
    cr_assert_eq(verify(rig, bad), RC_BAD_CREDENTIALS, "one more each second");
    keys_rig_end(rig);
}

Test(bearer, whose_failures_they_are) {
    static const struct {
        const char *failed;
        const char *asks;
        bool same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.10", false},
        {"2001:db8::1", "2001:db8::ffff", true}, /* one subscriber has all 64 bits */
        {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
    };
    char bad[HEADER_BYTES];
    usual(bad, PUBLISHED_RSA_1, "r1", "u");
    spoil(bad);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct keys_rig *rig = open_two();
        fail_until_limited(rig, bad, cases[i].failed);
        cr_assert_eq(is_limited(rig, bad, cases[i].asks), cases[i].same, "%s and %s",
                     cases[i].failed, cases[i].asks);
        keys_rig_end(rig);
    }
}

/* Over a unix socket there is no address: what is behind it limits. */
Test(bearer, failures_without_an_address_are_not_limited) {
    struct keys_rig *rig = open_two();
    char bad[HEADER_BYTES];
    usual(bad, PUBLISHED_RSA_1, "r1", "u");
    spoil(bad);
    for (int i = 0; i < 4 * LIMIT_SIGNATURE_FAILURES_MINUTE; i++) {
        cr_assert_eq(verify_from(rig, bad, ""), RC_BAD_CREDENTIALS, "%d", i);
    }
    keys_rig_end(rig);
}

Test(bearer, a_full_lane_says_overloaded) {
    struct keys_rig *rig = open_two();
    size_t verdicts[RC_COUNT] = {0};
    char header[HEADER_BYTES];
    usual(header, PUBLISHED_EC_1, "e1", "u");
    for (size_t i = 0; i < OPS; i++) {
        start(rig, i, header, NULL, LONG_MS);
    }
    run_done(rig, OPS);
    for (size_t i = 0; i < OPS; i++) {
        cr_assert_eq(calls.at[i].done, 1);
        verdicts[calls.at[i].rc]++;
    }
    cr_assert_eq(verdicts[RC_OK], LIMIT_SIGNATURE_QUEUE);
    cr_assert_eq(verdicts[RC_OVERLOADED], OPS - LIMIT_SIGNATURE_QUEUE);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_SIGNATURES_OVERLOADED),
                 OPS - LIMIT_SIGNATURE_QUEUE);
    keys_rig_end(rig);
}

/* The set is replaced, and the endpoint's keys with it, while signatures are checked with it. */
Test(bearer, keys_change_while_signatures_are_checked) {
    struct jwks_source_times times = keys_rig_times;
    struct keys_rig *rig = keys_rig_new();
    char header[HEADER_BYTES];
    times.refresh_ms = 2;
    key_host_publish(rig->host, two);
    keys_rig_open(rig, &times);
    keys_rig_run_fetches(rig, 1);
    usual(header, PUBLISHED_EC_1, "e1", "u");
    for (size_t i = 0; i < LIMIT_SIGNATURE_QUEUE; i++) {
        start(rig, i, header, NULL, LONG_MS);
    }
    key_host_publish(rig->host, rotated);
    run_done(rig, LIMIT_SIGNATURE_QUEUE);
    for (size_t i = 0; i < LIMIT_SIGNATURE_QUEUE; i++) {
        cr_assert_eq(calls.at[i].rc, RC_OK);
    }
    keys_rig_end(rig);
}

Test(bearer, canceling_hurries_a_wait_and_nothing_else) {
    struct keys_rig *rig = keys_rig_new();
    char header[HEADER_BYTES];
    usual(header, PUBLISHED_EC_1, "e1", "u");
    key_host_hold(rig->host);
    keys_rig_open(rig, &keys_rig_times);
    struct call *waits = start(rig, 0, header, NULL, LONG_MS);
    keys_rig_run_ms(rig, 5);
    bearer_cancel(&waits->op);
    bearer_cancel(&waits->op);
    cr_assert_eq(waits->done, 0);
    run_done(rig, 1);
    cr_assert_eq(waits->rc, RC_CANCELED);
    key_host_publish(rig->host, two);
    keys_rig_run_fetches(rig, 1);
    struct call *checks = start(rig, 0, header, NULL, LONG_MS);
    bearer_cancel(&checks->op);
    run_done(rig, 2);
    cr_assert_eq(checks->rc, RC_OK);
    keys_rig_end(rig);
}
