// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#include "crypto/fernet.h"
#include "crypto/hash.h"
#include "crypto/jwt.h"
#include "crypto/rng.h"
#include "kit/leaks.h"

/* As in the server: pool threads seal and open while the loop verifies, and new key lists are read
 * meanwhile. mbedTLS 2.28's key store breaks within a few hundred rounds of this without the lock
 * of crypto/keystore. */
enum { THREADS = 8, ROUNDS = 400 };

#define KEYS                                                                                       \
    "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=,MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

struct shared {
    const struct fernet_keys *keys;
    struct jwt_key jwt;
    struct slice token;
    atomic_int failures;
};

static bool seals_and_opens(const struct fernet_keys *keys, size_t round) {
    static const char text[700] = "the same for all";
    struct slice plain = slice_make(text, round % sizeof text);
    struct buf token;
    struct buf opened;
    size_t position;
    buf_init(&token, 4096);
    buf_init(&opened, 4096);
    bool good = fernet_seal(keys, plain, 1, NULL, &token) == RC_OK &&
                fernet_open(keys, buf_slice(&token), 1, 60, &opened, &position) == RC_OK &&
                slice_eq(buf_slice(&opened), plain);
    buf_fini(&token);
    buf_fini(&opened);
    return good;
}

static bool verifies(const struct shared *shared) {
    struct jwt jwt;
    const struct jwt_rules rules = {.now_s = 1};
    enum jwt_reason reason = jwt_verify(shared->token, &shared->jwt, 1, &rules, &jwt);
    json_close(jwt.claims);
    return reason == JWT_NONE;
}

static bool reads_keys(size_t round) {
    struct fernet_keys *keys = NULL;
    char problem[FERNET_PROBLEM_BYTES];
    bool good =
        fernet_keys_parse(SLICE(KEYS), &keys, problem) == RC_OK && seals_and_opens(keys, round);
    fernet_keys_free(keys);
    return good;
}

static bool hashes(void) {
    unsigned char digest[HASH_SHA256_BYTES];
    char key[FERNET_KEY_TEXT_BYTES + 1];
    return fernet_key_generate(key) == RC_OK &&
           hash_sha256(slice_make(key, FERNET_KEY_TEXT_BYTES), digest) == RC_OK;
}

static void *run(void *arg) {
    struct shared *shared = arg;
    for (size_t i = 0; i < ROUNDS; i++) {
        if (!seals_and_opens(shared->keys, i) || !verifies(shared) || !reads_keys(i) || !hashes()) {
            atomic_fetch_add(&shared->failures, 1);
        }
    }
    return NULL;
}

Test(threads, all_at_once) {
    pthread_t threads[THREADS];
    struct shared shared = {.jwt = {.alg = HASH_HS256}};
    struct fernet_keys *keys = NULL;
    struct buf token;
    char problem[FERNET_PROBLEM_BYTES];
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(fernet_keys_parse(SLICE(KEYS), &keys, problem), RC_OK);
    shared.keys = keys;
    shared.jwt.hmac = hash_hmac_key_new(HASH_HS256, SLICE("a secret that all threads share"));
    buf_init(&token, 1000);
    cr_assert_eq(jwt_sign(&shared.jwt, SLICE("{\"sub\":\"u\",\"exp\":100}"), &token), RC_OK);
    shared.token = buf_slice(&token);

    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, run, &shared), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_eq(atomic_load(&shared.failures), 0);
    buf_fini(&token);
    hash_hmac_key_free(shared.jwt.hmac);
    fernet_keys_free(keys);
    CHECK_LEAKS();
}
