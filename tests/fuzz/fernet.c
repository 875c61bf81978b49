// SPDX-License-Identifier: MIT
/* Fernet: key lists, foreign tokens, tokens of ours with anything sealed in them.
 *   k<list>   what is taken for a list of keys seals and opens; what isn't, is explained without it
 *   o<token>  what opens has the form of a token; what doesn't, leaves nothing behind
 *   m<bytes>  the same with a good MAC after any version, time, vector and ciphertext
 *   r<plain>  sealed and opened is the same; one bit off opens nothing
 *   b<text>   base64url that is read is written as it was */
#include "crypto/fernet.h"
#include "base/b64.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "fuzz/fuzz.h"

#define KEY_A "QUFBQUFBQUFBQUFBQUFBQUJCQkJCQkJCQkJCQkJCQkI="
#define KEY_C "Q0NDQ0NDQ0NDQ0NDQ0NDQ0RERERERERERERERERERES="
#define SIGNING_A "AAAAAAAAAAAAAAAA"

enum { NOW_S = 1700000000, TEXT_MAX = 1 << 20, MAC_BYTES = 32, SECRET_BYTES = 8, EACH_MAX = 200 };

static struct fernet_keys *keys_of(struct slice text) {
    struct fernet_keys *keys = NULL;
    char problem[FERNET_PROBLEM_BYTES];
    FUZZ_CHECK(fernet_keys_parse(text, &keys, problem) == RC_OK);
    return keys;
}

/* Opens with all that can be asked; nothing may be left behind where it fails. */
static bool opens(const struct fernet_keys *keys, struct slice token, struct buf *plain,
                  size_t *position) {
    enum rc rc = fernet_open(keys, token, NOW_S, 0, plain, position);
    FUZZ_CHECK(rc == RC_OK || (rc == RC_NO_KEY_OPENS && plain->len == 0));
    FUZZ_CHECK(rc != RC_OK || (fernet_is_shaped(token) && *position < fernet_keys_count(keys)));
    return rc == RC_OK;
}

static void check_round_trip(const struct fernet_keys *keys, struct slice plain) {
    struct buf token;
    struct buf opened;
    size_t position = 99;
    buf_init(&token, TEXT_MAX);
    buf_init(&opened, TEXT_MAX);
    FUZZ_CHECK(fernet_seal(keys, plain, NOW_S, NULL, &token) == RC_OK);
    FUZZ_CHECK(token.len == fernet_token_bytes(plain.len));
    FUZZ_CHECK(opens(keys, buf_slice(&token), &opened, &position));
    FUZZ_CHECK(slice_eq(buf_slice(&opened), plain));
    buf_fini(&opened);
    buf_fini(&token);
}

static void check_key_list(struct slice text) {
    struct fernet_keys *keys = NULL;
    char problem[FERNET_PROBLEM_BYTES];
    size_t commas = 0;
    memset(problem, 'x', sizeof problem);
    enum rc rc = fernet_keys_parse(text, &keys, problem);
    for (size_t i = 0; i < text.len; i++) {
        commas += text.at[i] == ',';
    }
    FUZZ_CHECK(rc == RC_OK || rc == RC_USAGE);
    FUZZ_CHECK((rc == RC_OK) == (keys != NULL));
    FUZZ_CHECK(memchr(problem, '\0', sizeof problem) != NULL);
    FUZZ_CHECK((rc == RC_OK) == (problem[0] == '\0'));
    if (rc == RC_OK) {
        FUZZ_CHECK(fernet_keys_count(keys) == commas + 1);
        FUZZ_CHECK(fernet_keys_equal(keys, keys));
        check_round_trip(keys, SLICE("a token"));
    }
    struct slice part;
    while (rc == RC_USAGE && slice_split(&text, ',', &part)) {
        FUZZ_CHECK(part.len < 4 * SECRET_BYTES || !fuzz_holds(slice_str(problem), part));
    }
    fernet_keys_free(keys);
}

static void check_open(struct slice token) {
    struct fernet_keys *keys = keys_of(SLICE(KEY_C "," KEY_A));
    struct buf plain;
    size_t position = 99;
    buf_init(&plain, TEXT_MAX);
    opens(keys, token, &plain, &position);
    buf_clear(&plain);
    /* With a time to live never more than without. */
    if (fernet_open(keys, token, NOW_S, 60, &plain, &position) == RC_OK) {
        buf_clear(&plain);
        FUZZ_CHECK(opens(keys, token, &plain, &position));
    }
    buf_fini(&plain);
    fernet_keys_free(keys);
}

/* The key's own MAC over bytes that no fernet_seal would write. */
static void check_signed(struct slice bytes) {
    unsigned char mac[HASH_MAX_BYTES];
    struct hash_hmac_key *key = hash_hmac_key_new(HASH_HS256, SLICE(SIGNING_A));
    struct buf raw;
    FUZZ_CHECK(key != NULL && hash_hmac(key, bytes, mac) == RC_OK);
    buf_init(&raw, TEXT_MAX);
    buf_append(&raw, bytes);
    buf_append(&raw, slice_make(mac, MAC_BYTES));
    char *text = malloc(B64_BYTES(raw.len));
    FUZZ_CHECK(text != NULL);
    struct slice exact = slice_make(text, b64_encode(text, buf_slice(&raw)));
    check_open(exact);
    free(text);
    buf_fini(&raw);
    hash_hmac_key_free(key);
}

/* Any character off opens nothing. */
static void check_each_off(const struct fernet_keys *keys, struct buf *token) {
    struct buf opened;
    size_t position = 99;
    size_t step = 1 + token->len / EACH_MAX;
    buf_init(&opened, TEXT_MAX);
    for (size_t at = 0; at < token->len; at += step) {
        char kept = token->at[at];
        token->at[at] = kept == 'A' ? 'B' : 'A';
        FUZZ_CHECK(!opens(keys, buf_slice(token), &opened, &position));
        token->at[at] = kept;
    }
    buf_fini(&opened);
}

static void check_sealed(struct slice plain) {
    struct fernet_keys *one = keys_of(SLICE(KEY_A));
    struct fernet_keys *both = keys_of(SLICE(KEY_C "," KEY_A));
    struct fernet_keys *other = keys_of(SLICE(KEY_C));
    struct buf token;
    struct buf opened;
    size_t position = 99;
    FUZZ_CHECK(!fernet_keys_equal(one, other) && !fernet_keys_equal(one, both));
    buf_init(&token, TEXT_MAX);
    buf_init(&opened, TEXT_MAX);
    FUZZ_CHECK(fernet_seal(one, plain, NOW_S, NULL, &token) == RC_OK);
    FUZZ_CHECK(opens(both, buf_slice(&token), &opened, &position) && position == 1);
    FUZZ_CHECK(slice_eq(buf_slice(&opened), plain));
    buf_clear(&opened);
    FUZZ_CHECK(!opens(other, buf_slice(&token), &opened, &position));
    check_each_off(one, &token);
    buf_fini(&opened);
    buf_fini(&token);
    fernet_keys_free(other);
    fernet_keys_free(both);
    fernet_keys_free(one);
}

static void check_b64(struct slice text) {
    unsigned char *bytes = malloc(B64_DECODED_MAX(text.len));
    char *again = malloc(B64_BYTES(B64_DECODED_MAX(text.len)));
    size_t n = 0;
    FUZZ_CHECK(bytes != NULL && again != NULL);
    if (b64_decode(bytes, &n, text)) {
        FUZZ_CHECK(n <= B64_DECODED_MAX(text.len));
        size_t len = b64_encode(again, slice_make(bytes, n));
        FUZZ_CHECK(slice_eq(slice_make(again, len), text));
    }
    if (b64_decode_unpadded(bytes, &n, text)) {
        FUZZ_CHECK(n <= B64_DECODED_MAX(text.len));
        size_t len = b64_encode_unpadded(again, slice_make(bytes, n));
        FUZZ_CHECK(slice_eq(slice_make(again, len), text));
    }
    free(again);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    FUZZ_CHECK(hash_init() == RC_OK);
    if (n == 0) {
        return 0;
    }
    struct slice rest = fuzz_exact(slice_make(bytes + 1, n - 1));
    fernet_is_shaped(rest);
    switch (bytes[0]) {
    case 'k':
        check_key_list(rest);
        break;
    case 'o':
        check_open(rest);
        break;
    case 'm':
        check_signed(rest);
        break;
    case 'r':
        check_sealed(rest);
        break;
    case 'b':
        check_b64(rest);
        break;
    default:
        break;
    }
    fuzz_free(rest);
    return 0;
}
