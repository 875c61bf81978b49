// SPDX-License-Identifier: MIT
#include "auth/bearer.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "auth/tier.h"
#include "base/limits.h"
#include "base/mem.h"
#include "crypto/jwt.h"

static const int64_t now_s = 1700000000;
static const char secret[] = "0123456789abcdef0123456789abcdef-new";
static const char secret_old[] = "0123456789abcdef0123456789abcdef-old";

/* A bearer with a log that lands in a pipe. */
struct fixture {
    struct clock clock;
    struct log *log;
    struct bearer *bearer;
    int pipe[2];
};

static void fixture_open(struct fixture *f, size_t cache_max) {
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(pipe2(f->pipe, O_NONBLOCK), 0);
    f->clock = (struct clock){0};
    f->log = log_new(f->pipe[1], LOG_DEBUG, &f->clock, NULL);
    f->bearer = bearer_new(&(struct bearer_opts){
        .alg = HASH_HS256,
        .secret = slice_str(secret),
        .secret_old = slice_str(secret_old),
        .leeway_s = 30,
        .cache_max = cache_max,
        .log = f->log,
    });
    cr_assert_not_null(f->bearer);
}

static void fixture_close(struct fixture *f) {
    bearer_free(f->bearer);
    log_free(f->log);
    close(f->pipe[0]);
    close(f->pipe[1]);
}

/* "Bearer <token>" over these claims. */
static void sign(char *out, size_t size, const char *key, const char *claims) {
    struct buf token;
    struct jwt_key jwt_key = {HASH_HS256, hash_hmac_key_new(HASH_HS256, slice_str(key))};
    buf_init(&token, LIMIT_JWT_BYTES);
    cr_assert_eq(jwt_sign(&jwt_key, slice_str(claims), &token), RC_OK);
    snprintf(out, size, "Bearer %.*s", SLICE_ARGS(buf_slice(&token)));
    buf_fini(&token);
    hash_hmac_key_free(jwt_key.hmac);
}

static enum rc check_at(struct fixture *f, const char *authorization, int64_t at_s,
                        struct caller *out) {
    return bearer_check(f->bearer, slice_str(authorization), at_s, SLICE("r1"), out);
}

Test(bearer, reads_the_caller_and_remembers_it) {
    struct fixture f;
    struct caller caller;
    char header[1024];
    fixture_open(&f, 64);
    sign(header, sizeof header, secret,
         "{\"sub\":\"user-1\",\"exp\":1700000100,\"subscription_tier\":\"family\"}");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(check_at(&f, header, now_s, &caller), RC_OK);
        cr_assert(slice_eq(caller.sub, SLICE("user-1")));
        cr_assert(caller.has_premium && caller.is_active && !caller.is_admin);
    }
    fixture_close(&f);
}

Test(bearer, header_forms) {
    static const struct {
        const char *header;
        enum rc rc;
    } cases[] = {
        {NULL, RC_NOT_AUTHENTICATED},
        {"", RC_NOT_AUTHENTICATED},
        {"Bearer", RC_NOT_AUTHENTICATED},
        {"Bearer ", RC_NOT_AUTHENTICATED},
        {"Basic dXNlcjpwYXNz", RC_NOT_AUTHENTICATED},
        {"Bearerx a.b.c", RC_NOT_AUTHENTICATED},
        {"Bearer a", RC_BAD_CREDENTIALS},
        {"bEaReR a.b.c", RC_BAD_CREDENTIALS},
        {"Bearer a.b.c d", RC_BAD_CREDENTIALS},
    };
    struct fixture f;
    struct caller caller;
    fixture_open(&f, 64);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(check_at(&f, cases[i].header, now_s, &caller), cases[i].rc, "%s",
                     cases[i].header);
    }
    fixture_close(&f);
}

Test(bearer, a_remembered_token_still_expires) {
    struct fixture f;
    struct caller caller;
    char header[1024];
    fixture_open(&f, 64);
    sign(header, sizeof header, secret, "{\"sub\":\"u\",\"exp\":1700000000}");
    cr_assert_eq(check_at(&f, header, now_s, &caller), RC_OK);
    cr_assert_eq(check_at(&f, header, now_s + 29, &caller), RC_OK);
    cr_assert_eq(check_at(&f, header, now_s + 31, &caller), RC_BAD_CREDENTIALS);
    cr_assert_eq(check_at(&f, header, now_s + 31, &caller), RC_BAD_CREDENTIALS);
    fixture_close(&f);
}

Test(bearer, the_edge_of_the_leeway_is_the_same_fresh_and_remembered) {
    struct fixture f;
    struct caller caller;
    char header[1024];
    for (int64_t at_s = now_s + 28; at_s < now_s + 33; at_s++) {
        fixture_open(&f, 64);
        sign(header, sizeof header, secret, "{\"sub\":\"u\",\"exp\":1700000000}");
        enum rc fresh = check_at(&f, header, at_s, &caller);
        check_at(&f, header, now_s, &caller);
        cr_assert_eq(check_at(&f, header, at_s, &caller), fresh, "%+d", (int)(at_s - now_s));
        fixture_close(&f);
    }
}

Test(bearer, an_inactive_user_is_found_out_every_time) {
    struct fixture f;
    struct caller caller;
    char header[1024];
    fixture_open(&f, 64);
    sign(header, sizeof header, secret,
         "{\"sub\":\"u\",\"exp\":1700000100,\"is_active\":false,\"role\":\"admin\"}");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(check_at(&f, header, now_s, &caller), RC_OK);
        cr_assert_eq(bearer_check_active(f.bearer, &caller, SLICE("r")), RC_INACTIVE_USER);
    }
    fixture_close(&f);
}

Test(bearer, the_old_secret_verifies_and_is_logged) {
    struct fixture f;
    struct caller caller;
    char header[1024];
    char logged[4096];
    fixture_open(&f, 64);
    sign(header, sizeof header, secret_old, "{\"sub\":\"user-9\",\"exp\":1700000100}");
    cr_assert_eq(check_at(&f, header, now_s, &caller), RC_OK);
    log_flush(f.log);
    ssize_t n = read(f.pipe[0], logged, sizeof logged - 1);
    cr_assert_gt(n, 0);
    logged[n] = '\0';
    cr_assert_not_null(strstr(logged, "\"old_secret_used\""), "%s", logged);
    cr_assert_not_null(strstr(logged, "\"user_id\":\"user-9\""), "%s", logged);
    cr_assert_null(strstr(logged, header + 7));
    fixture_close(&f);
}

Test(bearer, a_small_table_forgets_but_never_confuses) {
    struct fixture f;
    struct caller caller;
    char header[1024];
    char claims[256];
    char sub[32];
    fixture_open(&f, 8);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 200; i++) {
            snprintf(sub, sizeof sub, "user-%d", i);
            snprintf(claims, sizeof claims, "{\"sub\":\"%s\",\"exp\":%d}", sub, 1700000100 + i % 7);
            sign(header, sizeof header, secret, claims);
            cr_assert_eq(check_at(&f, header, now_s, &caller), RC_OK);
            cr_assert(slice_eq(caller.sub, slice_str(sub)), "%s", sub);
        }
    }
    fixture_close(&f);
}

Test(bearer, a_token_that_differs_in_one_byte_is_never_taken_for_a_remembered_one) {
    struct fixture f;
    struct caller caller;
    char header[1024];
    fixture_open(&f, 64);
    sign(header, sizeof header, secret, "{\"sub\":\"u\",\"exp\":1700000100}");
    cr_assert_eq(check_at(&f, header, now_s, &caller), RC_OK);
    for (size_t i = 7; header[i] != '\0'; i++) {
        char kept = header[i];
        header[i] = kept == 'A' ? 'B' : 'A';
        cr_assert_eq(check_at(&f, header, now_s, &caller), RC_BAD_CREDENTIALS, "byte %zu", i);
        header[i] = kept;
    }
    fixture_close(&f);
}

Test(tier, claims_to_access) {
    static const struct {
        const char *claims;
        bool active;
        enum rc tier;
    } cases[] = {
        {"{}", true, RC_TIER_REQUIRED},
        {"{\"subscription_tier\":\"basic\"}", true, RC_TIER_REQUIRED},
        {"{\"subscription_tier\":\"premium\"}", true, RC_OK},
        {"{\"subscription_tier\":\"family\"}", true, RC_OK},
        {"{\"subscription_tier\":\"Premium\"}", true, RC_TIER_REQUIRED},
        {"{\"subscription_tier\":[\"premium\"]}", true, RC_TIER_REQUIRED},
        {"{\"subscription_tier\":null}", true, RC_TIER_REQUIRED},
        {"{\"role\":\"super_admin\"}", true, RC_OK},
        {"{\"role\":\"admin\"}", true, RC_OK},
        {"{\"role\":\"content_manager\"}", true, RC_OK},
        {"{\"role\":\"billing_admin\"}", true, RC_OK},
        {"{\"role\":\"support\"}", true, RC_OK},
        {"{\"role\":\"user\"}", true, RC_TIER_REQUIRED},
        {"{\"role\":\"administrator\"}", true, RC_TIER_REQUIRED},
        {"{\"role\":[\"admin\"]}", true, RC_TIER_REQUIRED},
        {"{\"roles\":[\"user\",\"support\"]}", true, RC_OK},
        {"{\"roles\":[\"user\"]}", true, RC_TIER_REQUIRED},
        {"{\"roles\":\"admin\"}", true, RC_TIER_REQUIRED},
        {"{\"roles\":[[\"admin\"],7]}", true, RC_TIER_REQUIRED},
        {"{\"role\":\"admin\",\"subscription_tier\":\"basic\"}", true, RC_OK},
        {"{\"is_active\":false,\"role\":\"admin\"}", false, RC_OK},
        {"{\"is_active\":true}", true, RC_TIER_REQUIRED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct caller caller = {0};
        struct json_document *claims = json_parse(slice_str(cases[i].claims), JSON_UNIQUE);
        tier_read_claims(json_root(claims), &caller);
        cr_assert_eq(caller.is_active, cases[i].active, "%s", cases[i].claims);
        cr_assert_eq(tier_check(&caller), cases[i].tier, "%s", cases[i].claims);
        json_close(claims);
    }
}
