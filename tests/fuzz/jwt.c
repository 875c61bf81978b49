// SPDX-License-Identifier: MIT
/* Bearer tokens and published keys.
 *   t<token>            any text: what verifies keeps every promise of the header
 *   h<header>\n<claims> the same behind a signature that is good
 *   c<claims>           signed by us, verified as it is read unsigned; a byte off is refused
 *   k<JWK set>          every key that is taken can be found and used; the same twice over
 *   p<token>            against keys whose private half nobody has: only the seeds' payload passes
 */
#include "crypto/jwt.h"
#include "base/b64.h"
#include "base/limits.h"
#include "crypto/jwks.h"
#include "fuzz/fuzz.h"

#define KEY_1 "0123456789abcdef0123456789abcdef"
#define KEY_2 "fedcba9876543210fedcba9876543210"
#define RSA_N                                                                                      \
    "vYf29RpdxKidaYXvvOltiTIHRhyefKGzU6dpzWHLO32EmqVapMU4rTruRSG77n6EXQlREr4ZLDRx9pgIQU7rKI5Qbh"   \
    "ydwHBhbv4uzuXV0DXjGeg2CsXcnkaQixiCgaY_c9FBhFx-2CwST1cRzbful3Nq5F-9XSywWoaf1svUVkD1OeBP63hC"   \
    "1ofczadwg3_rayd-tQkKae5oE36WNbF5heosUlHxXB1UtjAVwsrf2hqyl6P4jleZeG-xSx3Unlxbf4sFq2XxaZkSIY"   \
    "qLsYRy7xVTZWNlgUE7jzZCL54x-m9oKEZvUHz9h7aoNzCE0_vKTAauFLMC1J9Vq7XRGuzH7w"
#define EC_X "u3SAFAJmyUptyezjVu4LnUH8i3KjGYbfytdbuHcBy7s"
#define EC_Y "byi435_XRB_UPPxPN-x4vfMUhKiYLSF0URP-GSF5m4s"
#define PUBLISHED                                                                                  \
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"rsa\",\"e\":\"AQAB\",\"n\":\"" RSA_N                    \
    "\"},{\"kty\":\"EC\",\"kid\":\"ec\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y        \
    "\"}]}"
/* The payload of the seeds p_..., which those keys have signed. */
#define SIGNED_PAYLOAD                                                                             \
    "eyJzdWIiOiJ1c2VyLTEiLCJleHAiOjE4MDAwMDAwMDAsImlzcyI6Imh0dHBzOi8vaWQuZXhhbXBsZS5jb20vIiwiYXVk" \
    "IjoibGF0Y2hrZXkifQ"

enum { KEYS = 2, NOW_S = 1700000000, LEEWAY_S = 30, TOKEN_MAX = 1 << 20 };

static const struct jwt_rules loose = {.now_s = NOW_S, .leeway_s = LEEWAY_S};
static const struct jwt_rules strict = {
    .now_s = NOW_S,
    .leeway_s = LEEWAY_S,
    .issuer = {"https://id.example.com/", 23},
    .audience = {"latchkey", 8},
};

static void open_keys(struct jwt_key keys[KEYS]) {
    keys[0] = (struct jwt_key){HASH_HS256, hash_hmac_key_new(HASH_HS256, SLICE(KEY_1))};
    keys[1] = (struct jwt_key){HASH_HS512, hash_hmac_key_new(HASH_HS512, SLICE(KEY_2))};
    FUZZ_CHECK(keys[0].hmac != NULL && keys[1].hmac != NULL);
}

static void close_keys(struct jwt_key keys[KEYS]) {
    for (size_t i = 0; i < KEYS; i++) {
        hash_hmac_key_free(keys[i].hmac);
    }
}

/* What a verdict promises; closes the claims. */
static void check_verdict(enum jwt_reason reason, struct jwt *jwt) {
    FUZZ_CHECK((unsigned)reason < JWT_REASON_COUNT);
    if (reason != JWT_NONE) {
        FUZZ_CHECK(jwt->claims == NULL && slice_is_null(jwt->sub) && jwt->exp_s == 0);
        return;
    }
    FUZZ_CHECK(json_kind_of(json_root(jwt->claims)) == JSON_KIND_OBJECT && jwt->key_index < KEYS);
    FUZZ_CHECK(jwt->sub.len >= 1 && jwt->sub.len <= LIMIT_USER_ID_BYTES);
    FUZZ_CHECK(slice_is_utf8(jwt->sub) && slice_is_printable(jwt->sub));
    FUZZ_CHECK(jwt->exp_s > NOW_S - LEEWAY_S && jwt->not_before_s <= NOW_S + LEEWAY_S);
    json_close(jwt->claims);
}

static enum jwt_reason verify(struct slice token, const struct jwt_rules *rules) {
    struct jwt_key keys[KEYS];
    struct jwt jwt;
    open_keys(keys);
    memset(&jwt, 'x', sizeof jwt);
    enum jwt_reason reason = jwt_verify(token, keys, KEYS, rules, &jwt);
    check_verdict(reason, &jwt);
    close_keys(keys);
    return reason;
}

/* With fewer rules no token is refused that passes with all of them. */
static void check_token(struct slice token) {
    struct jwt_key keys[KEYS];
    struct slice payload = SLICE_NULL;
    size_t key_index = 99;
    enum jwt_reason with_all = verify(token, &strict);
    enum jwt_reason with_few = verify(token, &loose);
    FUZZ_CHECK(with_all != JWT_NONE || with_few == JWT_NONE);
    open_keys(keys);
    enum jwt_reason signature = jwt_verify_signature(token, keys, KEYS, &payload, &key_index);
    FUZZ_CHECK(with_few != JWT_NONE || signature == JWT_NONE);
    FUZZ_CHECK(signature != JWT_NONE || (fuzz_lies_in(payload, token) && key_index < KEYS));
    FUZZ_CHECK(signature == JWT_NONE || with_few == signature);
    close_keys(keys);
}

static void append_b64(struct buf *out, struct slice bytes) {
    char *at = buf_reserve(out, B64_BYTES_UNPADDED(bytes.len));
    FUZZ_CHECK(at != NULL);
    out->len += b64_encode_unpadded(at, bytes);
}

static void check_header(struct slice claims) {
    unsigned char mac[HASH_MAX_BYTES];
    struct jwt_key keys[KEYS];
    struct buf token;
    struct slice header = fuzz_line(&claims);
    buf_init(&token, TOKEN_MAX);
    append_b64(&token, header);
    buf_append_char(&token, '.');
    append_b64(&token, claims);
    open_keys(keys);
    FUZZ_CHECK(hash_hmac(keys[0].hmac, buf_slice(&token), mac) == RC_OK);
    close_keys(keys);
    buf_append_char(&token, '.');
    append_b64(&token, slice_make(mac, hash_hmac_bytes(HASH_HS256)));
    check_token(buf_slice(&token));
    buf_fini(&token);
}

static void check_claims(struct slice claims) {
    struct jwt_key keys[KEYS];
    struct jwt jwt;
    struct buf token;
    struct buf payload;
    buf_init(&token, TOKEN_MAX);
    buf_init(&payload, TOKEN_MAX);
    append_b64(&payload, claims);
    open_keys(keys);
    FUZZ_CHECK(jwt_sign(&keys[1], claims, &token) == RC_OK);
    close_keys(keys);
    bool fits = token.len <= LIMIT_JWT_BYTES;
    enum jwt_reason reason = JWT_MALFORMED;
    if (fits) {
        reason = jwt_read_claims(buf_slice(&payload), &strict, &jwt);
        check_verdict(reason, &jwt);
    }
    FUZZ_CHECK(verify(buf_slice(&token), &strict) == reason);
    check_token(buf_slice(&token));
    size_t at = claims.len > 0 ? (unsigned char)claims.at[0] * token.len / 256 : 0;
    token.at[at] = token.at[at] == 'A' ? 'B' : 'A';
    FUZZ_CHECK(verify(buf_slice(&token), &loose) != JWT_NONE);
    buf_fini(&payload);
    buf_fini(&token);
}

static void check_keys_of(const struct jwks *jwks, const struct jwks *again, enum jwks_alg alg) {
    static const char zeros[JWKS_SIGNATURE_MAX_BYTES];
    static const size_t lengths[] = {0, 63, 64, JWKS_RSA_BITS_MIN / 8, JWKS_RSA_BITS_MAX / 8};
    const struct jwks_key *key = jwks_next(jwks, NULL, alg, SLICE_NULL);
    const struct jwks_key *first = key;
    size_t n = 0;
    for (; key != NULL; key = jwks_next(jwks, key, alg, SLICE_NULL)) {
        uint64_t print = jwks_key_print(key);
        FUZZ_CHECK(print != 0 && jwks_has(jwks, print) && jwks_has(again, print));
        n++;
    }
    FUZZ_CHECK(n <= jwks_count(jwks) && (n > 0) == (first != NULL));
    for (size_t i = 0; first != NULL && i < sizeof lengths / sizeof lengths[0]; i++) {
        struct slice nothing = slice_make(zeros, lengths[i]);
        FUZZ_CHECK(!jwks_verify(first, alg, SLICE("text"), nothing));
    }
}

static void check_key_set(struct slice text) {
    struct jwks *jwks;
    struct jwks *again;
    enum rc rc = jwks_parse(text, &jwks);
    FUZZ_CHECK((rc == RC_OK) == (jwks != NULL));
    FUZZ_CHECK(rc == RC_OK || rc == RC_MALFORMED || rc == RC_TOO_LARGE);
    if (rc != RC_OK) {
        return;
    }
    FUZZ_CHECK(jwks_parse(text, &again) == RC_OK);
    struct json_document *document = json_parse(text, JSON_UNIQUE);
    size_t listed = json_length(json_member(json_root(document), "keys"));
    FUZZ_CHECK(jwks_count(jwks) <= LIMIT_JWKS_KEYS);
    FUZZ_CHECK(jwks_count(jwks) + jwks_skipped(jwks) == listed);
    FUZZ_CHECK(jwks_count(again) == jwks_count(jwks));
    for (int alg = 0; alg < JWKS_ALG_COUNT; alg++) {
        check_keys_of(jwks, again, (enum jwks_alg)alg);
    }
    json_close(document);
    jwks_free(again);
    jwks_free(jwks);
}

static void check_published(struct slice token) {
    struct jwt_published published;
    struct jwks *jwks;
    enum jwt_reason reason = jwt_read_published(token, &published);
    FUZZ_CHECK((unsigned)reason < JWT_REASON_COUNT);
    if (reason != JWT_NONE) {
        return;
    }
    FUZZ_CHECK(fuzz_lies_in(published.payload, token));
    FUZZ_CHECK(fuzz_lies_in(published.signed_text, token));
    FUZZ_CHECK(published.signature.len <= sizeof published.signature_at);
    FUZZ_CHECK(published.kid.len <= LIMIT_KID_BYTES && published.alg < JWKS_ALG_COUNT);
    FUZZ_CHECK(jwks_parse(SLICE(PUBLISHED), &jwks) == RC_OK && jwks_count(jwks) == 2);
    const struct jwks_key *key = jwks_next(jwks, NULL, published.alg, published.kid);
    bool is_good =
        key != NULL && jwks_verify(key, published.alg, published.signed_text, published.signature);
    FUZZ_CHECK(!is_good || slice_eq(published.payload, SLICE(SIGNED_PAYLOAD)));
    jwks_free(jwks);
    FUZZ_CHECK(verify(token, &loose) == JWT_ALGORITHM); /* never a published one with our keys */
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    FUZZ_CHECK(hash_init() == RC_OK);
    if (n == 0) {
        return 0;
    }
    struct slice rest = fuzz_exact(slice_make(bytes + 1, n - 1));
    switch (bytes[0]) {
    case 't':
        check_token(rest);
        break;
    case 'h':
        check_header(rest);
        break;
    case 'c':
        check_claims(rest);
        break;
    case 'k':
        check_key_set(rest);
        break;
    case 'p':
        check_published(rest);
        break;
    default:
        break;
    }
    fuzz_free(rest);
    return 0;
}
