// SPDX-License-Identifier: MIT
#include "crypto/jwks.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>

#include "base/b64.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "crypto/hash.h"

/* Signatures are verified with a context of mbedTLS that is made for the one verification, not with
 * PSA: PSA would want every key in its store, which no two threads may touch at once in mbedTLS
 * 2.28, so that a sealing thread would wait behind each ES256 for its whole length. A context on
 * the stack shares nothing: no lock, any number of threads. The calls below are the same in 2.28
 * and 3.6. Measured on one machine, in µs of processor time: ES256 1345 (2.28) and 820 (3.6), with
 * PSA 1400 and 830; RSA-2048 36 and 64, with PSA 45 and 74. A context that is kept would save
 * 2.28's ES256 a quarter (its table of the base point), for the price of a lock or of one context a
 * thread. */

enum {
    MODULUS_MAX_BYTES = JWKS_RSA_BITS_MAX / 8,
    EXPONENT_MAX_BYTES = 4,
    COORDINATE_BYTES = 32,
    POINT_BYTES = 1 + 2 * COORDINATE_BYTES,
    POINT_UNCOMPRESSED = 0x04,
    SALT_BYTES = HASH_SHA256_BYTES,
    MEMBER_MAX_BYTES = MODULUS_MAX_BYTES + 8, /* with some zeros before it */
};

struct jwks_key {
    unsigned algs; /* 1 << enum jwks_alg, each that it is for */
    uint64_t print;
    size_t kid_len;
    bool has_kid;
    char kid[LIMIT_KID_BYTES];
    size_t exponent_len;
    unsigned char exponent[EXPONENT_MAX_BYTES];
    size_t material_len; /* RSA: the modulus, without leading zeros; EC: the point */
    unsigned char material[MODULUS_MAX_BYTES];
};

struct jwks {
    size_t count;
    size_t skipped;
    struct jwks_key keys[];
};

enum { ALGS_RSA = 1 << JWKS_RS256 | 1 << JWKS_PS256, ALGS_EC = 1 << JWKS_ES256 };

const struct slice jwks_alg_names[JWKS_ALG_COUNT] = {
    [JWKS_RS256] = {"RS256", 5},
    [JWKS_PS256] = {"PS256", 5},
    [JWKS_ES256] = {"ES256", 5},
};

/* ---- contexts ---- */

/* To be freed with mbedtls_pk_free, whatever is returned. */
static bool open_rsa(mbedtls_pk_context *pk, const struct jwks_key *key) {
    mbedtls_pk_init(pk);
    if (mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA)) != 0) {
        return false;
    }
    mbedtls_rsa_context *rsa = mbedtls_pk_rsa(*pk);
    return mbedtls_rsa_import_raw(rsa, key->material, key->material_len, NULL, 0, NULL, 0, NULL, 0,
                                  key->exponent, key->exponent_len) == 0 &&
           mbedtls_rsa_complete(rsa) == 0 && mbedtls_rsa_check_pubkey(rsa) == 0;
}

struct curve {
    mbedtls_ecp_group group;
    mbedtls_ecp_point point;
};

static void curve_free(struct curve *curve) {
    mbedtls_ecp_point_free(&curve->point);
    mbedtls_ecp_group_free(&curve->group);
}

/* To be freed with curve_free, whatever is returned. */
static bool open_curve(struct curve *curve, const struct jwks_key *key) {
    mbedtls_ecp_group_init(&curve->group);
    mbedtls_ecp_point_init(&curve->point);
    return mbedtls_ecp_group_load(&curve->group, MBEDTLS_ECP_DP_SECP256R1) == 0 &&
           mbedtls_ecp_point_read_binary(&curve->group, &curve->point, key->material,
                                         key->material_len) == 0 &&
           mbedtls_ecp_check_pubkey(&curve->group, &curve->point) == 0;
}

/* ---- parsing ---- */

/* The bytes of a base64url member, at most MEMBER_MAX_BYTES. */
static bool read_bytes(const struct json *jwk, const char *name,
                       unsigned char out[B64_DECODED_MAX(B64_BYTES(MEMBER_MAX_BYTES))],
                       size_t *len) {
    struct slice text;
    return json_to_slice(json_member(jwk, name), &text) &&
           text.len <= B64_BYTES(MEMBER_MAX_BYTES) && b64_decode_unpadded(out, len, text);
}

/* Without leading zeros, which RFC 7518 section 6.3.1 forbids and some write. */
static bool read_number(const struct json *jwk, const char *name, unsigned char *out, size_t max,
                        size_t *len) {
    unsigned char bytes[B64_DECODED_MAX(B64_BYTES(MEMBER_MAX_BYTES))];
    size_t n = 0;
    size_t zeros = 0;
    if (!read_bytes(jwk, name, bytes, &n)) {
        return false;
    }
    while (zeros < n && bytes[zeros] == 0) {
        zeros++;
    }
    *len = n - zeros;
    if (*len == 0 || *len > max) {
        return false;
    }
    memcpy(out, bytes + zeros, *len);
    return true;
}

/* All its bytes, zeros too (RFC 7518 section 6.2.1.2). */
static bool read_coordinate(const struct json *jwk, const char *name,
                            unsigned char out[COORDINATE_BYTES]) {
    unsigned char bytes[B64_DECODED_MAX(B64_BYTES(MEMBER_MAX_BYTES))];
    size_t n = 0;
    if (!read_bytes(jwk, name, bytes, &n) || n != COORDINATE_BYTES) {
        return false;
    }
    memcpy(out, bytes, COORDINATE_BYTES);
    return true;
}

static size_t bit_count(const unsigned char *number, size_t len) {
    size_t bits = len * 8;
    for (unsigned top = number[0]; top < 0x80; top <<= 1) {
        bits--;
    }
    return bits;
}

static bool read_rsa(const struct json *jwk, struct jwks_key *key) {
    if (!read_number(jwk, "n", key->material, sizeof key->material, &key->material_len) ||
        !read_number(jwk, "e", key->exponent, sizeof key->exponent, &key->exponent_len)) {
        return false;
    }
    bool is_small = key->exponent_len == 1 && key->exponent[0] < 3;
    bool is_even = (key->exponent[key->exponent_len - 1] & 1) == 0;
    if (is_small || is_even ||
        bit_count(key->material, key->material_len) < JWKS_RSA_BITS_MIN) { /* the room is the max */
        return false;
    }
    mbedtls_pk_context pk;
    bool good = open_rsa(&pk, key);
    mbedtls_pk_free(&pk);
    return good;
}

static bool read_ec(const struct json *jwk, struct jwks_key *key) {
    struct slice name;
    key->material[0] = POINT_UNCOMPRESSED;
    key->material_len = POINT_BYTES;
    if (!json_to_slice(json_member(jwk, "crv"), &name) || !slice_eq(name, SLICE("P-256")) ||
        !read_coordinate(jwk, "x", key->material + 1) ||
        !read_coordinate(jwk, "y", key->material + 1 + COORDINATE_BYTES)) {
        return false;
    }
    struct curve curve;
    bool good = open_curve(&curve, key);
    curve_free(&curve);
    return good;
}

static bool lists(const struct json *list, struct slice wanted) {
    struct slice text;
    struct json_items items = json_items(list);
    while (items.left > 0) {
        if (json_to_slice(json_items_next(&items), &text) && slice_eq(text, wanted)) {
            return true;
        }
    }
    return false;
}

/* What it is for, as the JWK says: leaves of key->algs those that are allowed. */
static bool read_purpose(const struct json *jwk, struct jwks_key *key) {
    const struct json *use = json_member(jwk, "use");
    const struct json *ops = json_member(jwk, "key_ops");
    const struct json *alg = json_member(jwk, "alg");
    struct slice text;
    if (use != NULL && (!json_to_slice(use, &text) || !slice_eq(text, SLICE("sig")))) {
        return false;
    }
    if (ops != NULL && !lists(ops, SLICE("verify"))) {
        return false;
    }
    if (alg != NULL) {
        unsigned named = 0;
        for (size_t i = 0; i < JWKS_ALG_COUNT && json_to_slice(alg, &text); i++) {
            named |= slice_eq(text, jwks_alg_names[i]) ? 1U << i : 0;
        }
        key->algs &= named;
    }
    return key->algs != 0;
}

static bool read_kid(const struct json *jwk, struct jwks_key *key) {
    const struct json *kid = json_member(jwk, "kid");
    struct slice text;
    if (kid == NULL) {
        return true;
    }
    if (!json_to_slice(kid, &text) || text.len > sizeof key->kid) {
        return false;
    }
    key->has_kid = true;
    key->kid_len = text.len;
    memcpy(key->kid, text.at, text.len);
    return true;
}

static bool make_print(struct jwks_key *key) {
    char at[64 + sizeof key->kid + sizeof key->exponent + sizeof key->material];
    unsigned char digest[HASH_SHA256_BYTES];
    struct buf text;
    buf_init_fixed(&text, at, sizeof at);
    /* Every part is after its length, so that no two keys make the same text. */
    const uint64_t numbers[] = {key->algs, key->has_kid, key->kid_len, key->exponent_len,
                                key->material_len};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        buf_append_u64(&text, numbers[i]);
        buf_append_char(&text, ' ');
    }
    buf_append(&text, slice_make(key->kid, key->kid_len));
    buf_append(&text, slice_make(key->exponent, key->exponent_len));
    buf_append(&text, slice_make(key->material, key->material_len));
    if (!buf_ok(&text) || hash_sha256(buf_slice(&text), digest) != RC_OK) {
        return false;
    }
    memcpy(&key->print, digest, sizeof key->print);
    key->print |= 1; /* never 0 */
    return true;
}

static bool read_key(const struct json *jwk, struct jwks_key *key) {
    struct slice type;
    memset(key, 0, sizeof *key);
    if (json_member(jwk, "d") != NULL || !json_to_slice(json_member(jwk, "kty"), &type)) {
        return false;
    }
    if (slice_eq(type, SLICE("RSA"))) {
        key->algs = ALGS_RSA;
        return read_purpose(jwk, key) && read_kid(jwk, key) && read_rsa(jwk, key) &&
               make_print(key);
    }
    if (slice_eq(type, SLICE("EC"))) {
        key->algs = ALGS_EC;
        return read_purpose(jwk, key) && read_kid(jwk, key) && read_ec(jwk, key) && make_print(key);
    }
    return false;
}

enum rc jwks_parse(struct slice text, struct jwks **out) {
    *out = NULL;
    if (text.len > LIMIT_JWKS_BYTES) {
        return RC_TOO_LARGE;
    }
    struct json_document *document = json_parse(text, JSON_UNIQUE);
    const struct json *list = json_member(json_root(document), "keys");
    if (json_kind_of(list) != JSON_KIND_ARRAY) {
        json_close(document);
        return RC_MALFORMED;
    }
    size_t listed = json_length(list);
    size_t room = listed < LIMIT_JWKS_KEYS ? listed : LIMIT_JWKS_KEYS;
    struct jwks *jwks = mem_calloc(1, sizeof *jwks + room * sizeof jwks->keys[0]);
    struct json_items items = json_items(list);
    for (size_t i = 0; i < listed; i++) {
        const struct json *jwk = json_items_next(&items);
        if (jwks->count < room && read_key(jwk, &jwks->keys[jwks->count])) {
            jwks->count++;
        } else {
            jwks->skipped++;
        }
    }
    json_close(document);
    *out = jwks;
    return RC_OK;
}

void jwks_free(struct jwks *jwks) {
    mem_free(jwks);
}

size_t jwks_count(const struct jwks *jwks) {
    return jwks->count;
}

size_t jwks_skipped(const struct jwks *jwks) {
    return jwks->skipped;
}

/* ---- finding ---- */

static bool fits(const struct jwks_key *key, enum jwks_alg alg, struct slice kid) {
    bool is_named =
        slice_is_null(kid) || (key->has_kid && slice_eq(slice_make(key->kid, key->kid_len), kid));
    return is_named && (key->algs & 1U << alg) != 0;
}

const struct jwks_key *jwks_next(const struct jwks *jwks, const struct jwks_key *after,
                                 enum jwks_alg alg, struct slice kid) {
    size_t i = after != NULL ? (size_t)(after - jwks->keys) + 1 : 0;
    while (i < jwks->count && !fits(&jwks->keys[i], alg, kid)) {
        i++;
    }
    return i < jwks->count ? &jwks->keys[i] : NULL;
}

uint64_t jwks_key_print(const struct jwks_key *key) {
    return key->print;
}

bool jwks_has(const struct jwks *jwks, uint64_t print) {
    for (size_t i = 0; i < jwks->count; i++) {
        if (jwks->keys[i].print == print) {
            return true;
        }
    }
    return false;
}

/* ---- verifying ---- */

static const unsigned char *bytes_of(struct slice s) {
    return (const unsigned char *)s.at;
}

static bool verify_rsa(const struct jwks_key *key, enum jwks_alg alg, const unsigned char *digest,
                       struct slice signature) {
    static const mbedtls_pk_rsassa_pss_options pss = {MBEDTLS_MD_SHA256, SALT_BYTES};
    bool is_pss = alg == JWKS_PS256;
    if (signature.len != key->material_len) {
        return false;
    }
    mbedtls_pk_context pk;
    bool good = open_rsa(&pk, key) &&
                mbedtls_pk_verify_ext(is_pss ? MBEDTLS_PK_RSASSA_PSS : MBEDTLS_PK_RSA,
                                      is_pss ? &pss : NULL, &pk, MBEDTLS_MD_SHA256, digest,
                                      HASH_SHA256_BYTES, bytes_of(signature), signature.len) == 0;
    mbedtls_pk_free(&pk);
    return good;
}

static bool verify_ec(const struct jwks_key *key, const unsigned char *digest,
                      struct slice signature) {
    struct curve curve;
    mbedtls_mpi r;
    mbedtls_mpi s;
    if (signature.len != 2 * (size_t)COORDINATE_BYTES) {
        return false;
    }
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    bool good =
        open_curve(&curve, key) &&
        mbedtls_mpi_read_binary(&r, bytes_of(signature), COORDINATE_BYTES) == 0 &&
        mbedtls_mpi_read_binary(&s, bytes_of(signature) + COORDINATE_BYTES, COORDINATE_BYTES) ==
            0 &&
        mbedtls_ecdsa_verify(&curve.group, digest, HASH_SHA256_BYTES, &curve.point, &r, &s) == 0;
    mbedtls_mpi_free(&s);
    mbedtls_mpi_free(&r);
    curve_free(&curve);
    return good;
}

bool jwks_verify(const struct jwks_key *key, enum jwks_alg alg, struct slice text,
                 struct slice signature) {
    unsigned char digest[HASH_SHA256_BYTES];
    if ((key->algs & 1U << alg) == 0 || signature.len == 0 || hash_sha256(text, digest) != RC_OK) {
        return false;
    }
    return alg == JWKS_ES256 ? verify_ec(key, digest, signature)
                             : verify_rsa(key, alg, digest, signature);
}
