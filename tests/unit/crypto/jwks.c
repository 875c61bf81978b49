// SPDX-License-Identifier: MIT
#include "crypto/jwks.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/b64.h"
#include "base/mem.h"
#include "crypto/fernet.h"
#include "crypto/hash.h"
#include "crypto/jwt.h"
#include "kit/leaks.h"
#include "kit/published.h"

enum { SET_BYTES = 64 * 1024, NOW_S = 1700000000 };

/* RFC 7515 appendix A.2 and A.3, RFC 7520 section 4.1. */
#define A2_KEY                                                                                     \
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-"   \
    "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_"   \
    "7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3"  \
    "qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWy"  \
    "uXpoQ\",\"e\":\"AQAB\"}"
#define A2_TOKEN                                                                                   \
    "eyJhbGciOiJSUzI1NiJ9."                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ."                                                                                          \
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5" \
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb" \
    "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO" \
    "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define A3_KEY                                                                                     \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"
#define A3_TOKEN                                                                                   \
    "eyJhbGciOiJFUzI1NiJ9."                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ."                                                                                          \
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define RFC7520_KEY                                                                                \
    "{\"kty\":\"RSA\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"n\":\""         \
    "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmS" \
    "CpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-Of" \
    "VfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKw" \
    "uCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw\",\"e\":\"AQAB\"}"
#define RFC7520_TOKEN                                                                              \
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9."                    \
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250" \
    "byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hl" \
    "cmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4."                                                     \
    "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xugl" \
    "II7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x" \
    "8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE" \
    "_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"

static struct jwks *parse(const char *text) {
    struct jwks *jwks = NULL;
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(jwks_parse(slice_str(text), &jwks), RC_OK, "%s", text);
    return jwks;
}

/* A set of JWKs that stand between commas. */
static struct jwks *parse_keys(const char *keys) {
    struct buf text;
    buf_init(&text, SET_BYTES);
    BUF_LIT(&text, "{\"keys\":[");
    buf_append(&text, slice_str(keys));
    BUF_LIT(&text, "]}");
    buf_append_char(&text, '\0');
    struct jwks *jwks = parse(text.at);
    buf_fini(&text);
    return jwks;
}

static const char *jwk(char *out, size_t size, enum published_key key, const char *kid,
                       const char *more) {
    struct buf text;
    buf_init_fixed(&text, out, size - 1);
    published_jwk(&text, key, kid, more);
    out[text.len] = '\0';
    return out;
}

/* As the server does it: any of the set's keys that fits, NULL where it verifies, else why not. */
static const char *verify(const struct jwks *jwks, const char *token) {
    struct jwt_published published;
    enum jwt_reason reason = jwt_read_published(slice_str(token), &published);
    if (reason != JWT_NONE) {
        return jwt_reason_text(reason);
    }
    const struct jwks_key *key = jwks_next(jwks, NULL, published.alg, published.kid);
    const char *verdict = key == NULL ? "unknown_key" : "signature";
    for (; key != NULL; key = jwks_next(jwks, key, published.alg, published.kid)) {
        if (jwks_verify(key, published.alg, published.signed_text, published.signature)) {
            return NULL;
        }
    }
    return verdict;
}

static void expect(const struct jwks *jwks, const char *token, const char *verdict,
                   const char *name) {
    const char *said = verify(jwks, token);
    bool same = said == NULL ? verdict == NULL : verdict != NULL && strcmp(said, verdict) == 0;
    cr_assert(same, "%s: %s", name, said != NULL ? said : "verifies");
}

Test(jwks, the_specifications_tokens_and_every_bit_of_their_signatures) {
    static const struct {
        const char *name;
        const char *key;
        const char *token;
    } cases[] = {
        {"RFC 7515 A.2", A2_KEY, A2_TOKEN},
        {"RFC 7515 A.3", A3_KEY, A3_TOKEN},
        {"RFC 7520 4.1", RFC7520_KEY, RFC7520_TOKEN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct jwks *jwks = parse_keys(cases[i].key);
        struct jwt_published published;
        cr_assert_eq(jwks_count(jwks), 1);
        expect(jwks, cases[i].token, NULL, cases[i].name);
        cr_assert_eq(jwt_read_published(slice_str(cases[i].token), &published), JWT_NONE);
        const struct jwks_key *key = jwks_next(jwks, NULL, published.alg, published.kid);
        for (size_t bit = 0; bit < published.signature.len * 8; bit += 13) {
            published.signature_at[bit / 8] ^= (unsigned char)(1U << bit % 8);
            cr_assert_not(
                jwks_verify(key, published.alg, published.signed_text, published.signature),
                "%s, bit %zu", cases[i].name, bit);
            published.signature_at[bit / 8] ^= (unsigned char)(1U << bit % 8);
        }
        jwks_free(jwks);
    }
    CHECK_LEAKS();
}

Test(jwks, every_algorithm_verifies_what_it_signed_and_nothing_else) {
    static const struct {
        enum published_key key;
        enum jwks_alg alg;
    } signers[] = {
        {PUBLISHED_RSA_1, JWKS_RS256}, {PUBLISHED_RSA_2, JWKS_RS256}, {PUBLISHED_RSA_1, JWKS_PS256},
        {PUBLISHED_RSA_2, JWKS_PS256}, {PUBLISHED_EC_1, JWKS_ES256},  {PUBLISHED_EC_2, JWKS_ES256},
    };
    enum { SIGNERS = sizeof signers / sizeof signers[0] };
    for (size_t i = 0; i < SIGNERS; i++) {
        struct buf signature;
        buf_init(&signature, JWKS_SIGNATURE_MAX_BYTES);
        published_sign(&signature, signers[i].key, signers[i].alg, SLICE("text"));
        for (size_t k = 0; k < SIGNERS; k++) {
            char text[1024];
            struct jwks *jwks = parse_keys(jwk(text, sizeof text, signers[k].key, "k", NULL));
            const struct jwks_key *key = jwks_next(jwks, NULL, signers[k].alg, SLICE("k"));
            cr_assert_not_null(key);
            for (int alg = 0; alg < JWKS_ALG_COUNT; alg++) {
                bool good =
                    jwks_verify(key, (enum jwks_alg)alg, SLICE("text"), buf_slice(&signature));
                bool same =
                    signers[i].key == signers[k].key && signers[i].alg == (enum jwks_alg)alg;
                cr_assert_eq(good, same, "signed by %zu, verified by %zu as %d", i, k, alg);
            }
            cr_assert_not(jwks_verify(key, signers[i].alg, SLICE("texT"), buf_slice(&signature)));
            jwks_free(jwks);
        }
        buf_fini(&signature);
    }
    CHECK_LEAKS();
}

/* What JWKs of a set are taken: all of one key, RSA_1 or EC_1, with other members. */
Test(jwks, members_that_allow_and_forbid) {
    static const struct {
        enum published_key key;
        const char *more;
        bool rs256, ps256, es256;
    } cases[] = {
        {PUBLISHED_RSA_1, NULL, true, true, false},
        {PUBLISHED_RSA_1, "\"use\":\"sig\"", true, true, false},
        {PUBLISHED_RSA_1, "\"use\":\"enc\"", false, false, false},
        {PUBLISHED_RSA_1, "\"use\":\"SIG\"", false, false, false},
        {PUBLISHED_RSA_1, "\"use\":null", false, false, false},
        {PUBLISHED_RSA_1, "\"use\":7", false, false, false},
        {PUBLISHED_RSA_1, "\"alg\":\"RS256\"", true, false, false},
        {PUBLISHED_RSA_1, "\"alg\":\"PS256\"", false, true, false},
        {PUBLISHED_RSA_1, "\"alg\":\"ES256\"", false, false, false},
        {PUBLISHED_RSA_1, "\"alg\":\"HS256\"", false, false, false},
        {PUBLISHED_RSA_1, "\"alg\":\"RS512\"", false, false, false},
        {PUBLISHED_RSA_1, "\"alg\":\"RSA-OAEP\"", false, false, false},
        {PUBLISHED_RSA_1, "\"alg\":\"\"", false, false, false},
        {PUBLISHED_RSA_1, "\"alg\":[\"RS256\"]", false, false, false},
        {PUBLISHED_RSA_1, "\"key_ops\":[\"verify\"]", true, true, false},
        {PUBLISHED_RSA_1, "\"key_ops\":[\"sign\",\"verify\"]", true, true, false},
        {PUBLISHED_RSA_1, "\"key_ops\":[\"encrypt\"]", false, false, false},
        {PUBLISHED_RSA_1, "\"key_ops\":[]", false, false, false},
        {PUBLISHED_RSA_1, "\"key_ops\":\"verify\"", false, false, false},
        {PUBLISHED_RSA_1, "\"key_ops\":[[\"verify\"],1,null]", false, false, false},
        {PUBLISHED_RSA_1, "\"use\":\"sig\",\"key_ops\":[\"sign\"]", false, false, false},
        {PUBLISHED_RSA_1, "\"d\":\"AQ\"", false, false, false}, /* its private half */
        {PUBLISHED_RSA_1, "\"x5c\":[\"?\"],\"x5t\":1,\"more\":{}", true, true, false},
        {PUBLISHED_RSA_1, "\"kid\":\"k\"", true, true, false},
        {PUBLISHED_RSA_1, "\"kid\":1", false, false, false},
        {PUBLISHED_RSA_1, "\"kid\":null", false, false, false},
        {PUBLISHED_EC_1, NULL, false, false, true},
        {PUBLISHED_EC_1, "\"alg\":\"ES256\",\"use\":\"sig\"", false, false, true},
        {PUBLISHED_EC_1, "\"alg\":\"RS256\"", false, false, false},
        {PUBLISHED_EC_1, "\"alg\":\"ECDH-ES\"", false, false, false},
        {PUBLISHED_EC_1, "\"d\":\"AQ\"", false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        struct jwks *jwks = parse_keys(jwk(text, sizeof text, cases[i].key, NULL, cases[i].more));
        bool any = cases[i].rs256 || cases[i].ps256 || cases[i].es256;
        cr_assert_eq(jwks_next(jwks, NULL, JWKS_RS256, SLICE_NULL) != NULL, cases[i].rs256,
                     "%s: RS256", text);
        cr_assert_eq(jwks_next(jwks, NULL, JWKS_PS256, SLICE_NULL) != NULL, cases[i].ps256,
                     "%s: PS256", text);
        cr_assert_eq(jwks_next(jwks, NULL, JWKS_ES256, SLICE_NULL) != NULL, cases[i].es256,
                     "%s: ES256", text);
        cr_assert_eq(jwks_count(jwks), any ? 1 : 0, "%s", text);
        cr_assert_eq(jwks_skipped(jwks), any ? 0 : 1, "%s", text);
        jwks_free(jwks);
    }
    CHECK_LEAKS();
}

static void append_b64(struct buf *out, struct slice bytes) {
    char *at = buf_reserve(out, B64_BYTES_UNPADDED(bytes.len));
    cr_assert_not_null(at);
    out->len += b64_encode_unpadded(at, bytes);
}

static bool takes_rsa(struct slice modulus, struct slice exponent) {
    struct buf text;
    buf_init(&text, SET_BYTES);
    BUF_LIT(&text, "{\"kty\":\"RSA\",\"n\":\"");
    append_b64(&text, modulus);
    BUF_LIT(&text, "\",\"e\":\"");
    append_b64(&text, exponent);
    BUF_LIT(&text, "\"}");
    buf_append_char(&text, '\0');
    struct jwks *jwks = parse_keys(text.at);
    bool taken = jwks_count(jwks) == 1;
    jwks_free(jwks);
    buf_fini(&text);
    return taken;
}

Test(jwks, sizes_of_rsa_keys) {
    static const struct {
        size_t bits;
        bool taken;
    } cases[] = {{8, false},   {512, false}, {1024, false}, {2047, false}, {2048, true},
                 {3072, true}, {4096, true}, {4097, false}, {8192, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char modulus[1024];
        size_t bytes = (cases[i].bits + 7) / 8;
        memset(modulus, 0xA5, sizeof modulus);
        modulus[0] = (unsigned char)(1U << (cases[i].bits - 1) % 8);
        cr_assert_eq(takes_rsa(slice_make(modulus, bytes), slice_make("\1\0\1", 3)), cases[i].taken,
                     "%zu bits", cases[i].bits);
        modulus[bytes - 1] = 0xA4;
        cr_assert_not(takes_rsa(slice_make(modulus, bytes), slice_make("\1\0\1", 3)),
                      "%zu bits, even", cases[i].bits);
    }
    CHECK_LEAKS();
}

Test(jwks, exponents_and_leading_zeros) {
    static const struct {
        struct slice exponent;
        bool taken;
    } cases[] = {{{"", 0}, false},          {{"\0", 1}, false},
                 {{"\1", 1}, false},        {{"\2", 1}, false},
                 {{"\3", 1}, true},         {{"\4", 1}, false},
                 {{"\21", 1}, true},        {{"\1\0\1", 3}, true},
                 {{"\0\1\0\1", 4}, true},   {{"\0\0\0\0\0\3", 6}, true},
                 {{"\1\0\0", 3}, false},    {{"\1\0\0\1", 4}, true},
                 {{"\1\0\0\0\1", 5}, false}};
    unsigned char padded[PUBLISHED_MATERIAL_BYTES + 20] = {0};
    char modulus_at[PUBLISHED_MATERIAL_BYTES];
    struct slice modulus = published_material(PUBLISHED_RSA_1, modulus_at);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(takes_rsa(modulus, cases[i].exponent), cases[i].taken, "exponent %zu", i);
    }
    for (size_t zeros = 0; zeros < 4; zeros++) {
        memcpy(padded + zeros, modulus.at, modulus.len);
        cr_assert(takes_rsa(slice_make(padded, zeros + modulus.len), SLICE("\3")), "%zu zeros",
                  zeros);
    }
    CHECK_LEAKS();
}

Test(jwks, keys_that_are_none) {
    static const char *const cases[] = {
        "{}",
        "null",
        "[]",
        "1",
        "\"RSA\"",
        "{\"kty\":\"RSA\"}",
        "{\"kty\":7}",
        "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
        "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"rsa\",\"n\":\"ofgW\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":7,\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"????\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"ofgW==\",\"e\":\"AQAB\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\"}",
        /* another curve, and the right one's other names */
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
        "{\"kty\":\"EC\",\"crv\":\"secp256r1\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
        "\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
        /* not on the curve: y is one more; x and y swapped; zeros; the prime and more */
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"x\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"_____wAAAAEAAAAAAAAAAAAAAAD_______________8\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
        /* 31 and 33 bytes */
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEUA\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVA\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AH_Nzidw9sRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRF\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
    };
    struct buf mixed;
    buf_init(&mixed, SET_BYTES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct jwks *jwks = parse_keys(cases[i]);
        cr_assert_eq(jwks_count(jwks), 0, "%s", cases[i]);
        cr_assert_eq(jwks_skipped(jwks), 1, "%s", cases[i]);
        jwks_free(jwks);
        buf_append(&mixed, slice_str(cases[i]));
        buf_append_char(&mixed, ',');
    }
    /* ... and they don't hide a good one. */
    buf_append(&mixed, SLICE(A3_KEY));
    buf_append_char(&mixed, '\0');
    struct jwks *jwks = parse_keys(mixed.at);
    expect(jwks, A3_TOKEN, NULL, "after all that is skipped");
    jwks_free(jwks);
    buf_fini(&mixed);
    CHECK_LEAKS();
}

Test(jwks, sets_that_are_none) {
    static const char *const cases[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"keys\":null}",
        "{\"keys\":{}}",
        "{\"keys\":\"\"}",
        "{\"Keys\":[]}",
        "{\"keys\":[]}x",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"EC\"}]}",
        "<html></html>",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct jwks *jwks = NULL;
        cr_assert_eq(jwks_parse(slice_str(cases[i]), &jwks), RC_MALFORMED, "%s", cases[i]);
        cr_assert_null(jwks);
    }
    struct jwks *empty = parse("{\"keys\":[],\"more\":1}");
    cr_assert_eq(jwks_count(empty), 0);
    expect(empty, A3_TOKEN, "unknown_key", "an empty set");
    jwks_free(empty);
    CHECK_LEAKS();
}

Test(jwks, caps) {
    struct buf text;
    struct jwks *jwks = NULL;
    buf_init(&text, 1024 * 1024);
    BUF_LIT(&text, "{\"keys\":[");
    for (int i = 0; i < LIMIT_JWKS_KEYS + 5; i++) {
        char kid[16];
        snprintf(kid, sizeof kid, "k%d", i);
        published_jwk(&text, i % 2 == 0 ? PUBLISHED_EC_1 : PUBLISHED_RSA_1, kid, NULL);
        buf_append_char(&text, i < LIMIT_JWKS_KEYS + 4 ? ',' : ']');
    }
    BUF_LIT(&text, "}");
    cr_assert_eq(jwks_parse(buf_slice(&text), &jwks), RC_OK);
    cr_assert_eq(jwks_count(jwks), LIMIT_JWKS_KEYS);
    cr_assert_eq(jwks_skipped(jwks), 5);
    cr_assert_not_null(jwks_next(jwks, NULL, JWKS_RS256, SLICE("k63")));
    cr_assert_null(jwks_next(jwks, NULL, JWKS_ES256, SLICE("k64")));
    jwks_free(jwks);
    while (text.len <= LIMIT_JWKS_BYTES) {
        buf_append_char(&text, ' ');
    }
    cr_assert_eq(jwks_parse(buf_slice(&text), &jwks), RC_TOO_LARGE);
    cr_assert_null(jwks);
    text.len--;
    cr_assert_eq(jwks_parse(buf_slice(&text), &jwks), RC_OK);
    jwks_free(jwks);
    buf_fini(&text);
    CHECK_LEAKS();
}

Test(jwks, which_keys_a_kid_finds) {
    char keys[4][1024];
    char set[4 * 1024];
    snprintf(set, sizeof set, "%s,%s,%s,%s",
             jwk(keys[0], sizeof keys[0], PUBLISHED_RSA_1, "a", NULL),
             jwk(keys[1], sizeof keys[1], PUBLISHED_EC_1, "a", NULL),
             jwk(keys[2], sizeof keys[2], PUBLISHED_RSA_2, "b", "\"alg\":\"RS256\""),
             jwk(keys[3], sizeof keys[3], PUBLISHED_EC_2, NULL, NULL));
    static const struct {
        enum jwks_alg alg;
        struct slice kid;
        size_t found;
    } cases[] = {
        {JWKS_RS256, {"a", 1}, 1},  {JWKS_PS256, {"a", 1}, 1},  {JWKS_ES256, {"a", 1}, 1},
        {JWKS_RS256, {"b", 1}, 1},  {JWKS_PS256, {"b", 1}, 0},  {JWKS_ES256, {"b", 1}, 0},
        {JWKS_RS256, {NULL, 0}, 2}, {JWKS_PS256, {NULL, 0}, 1}, {JWKS_ES256, {NULL, 0}, 2},
        {JWKS_ES256, {"", 0}, 0},   {JWKS_RS256, {"A", 1}, 0},  {JWKS_RS256, {"a ", 2}, 0},
    };
    struct jwks *jwks = parse_keys(set);
    cr_assert_eq(jwks_count(jwks), 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t found = 0;
        for (const struct jwks_key *key = jwks_next(jwks, NULL, cases[i].alg, cases[i].kid);
             key != NULL; key = jwks_next(jwks, key, cases[i].alg, cases[i].kid)) {
            found++;
        }
        cr_assert_eq(found, cases[i].found, "case %zu", i);
    }
    jwks_free(jwks);
    CHECK_LEAKS();
}

Test(jwks, a_print_tells_the_same_key_from_another) {
    static const struct {
        enum published_key key;
        const char *kid;
        const char *more;
    } cases[] = {
        {PUBLISHED_RSA_1, "a", NULL},  {PUBLISHED_RSA_1, "b", NULL},
        {PUBLISHED_RSA_1, NULL, NULL}, {PUBLISHED_RSA_1, "", NULL},
        {PUBLISHED_RSA_2, "a", NULL},  {PUBLISHED_EC_1, "a", NULL},
        {PUBLISHED_EC_2, "a", NULL},   {PUBLISHED_RSA_1, "a", "\"alg\":\"RS256\""},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    struct jwks *sets[CASES];
    uint64_t prints[CASES];
    for (size_t i = 0; i < CASES; i++) {
        char text[1024];
        sets[i] = parse_keys(jwk(text, sizeof text, cases[i].key, cases[i].kid, cases[i].more));
        const struct jwks_key *key =
            jwks_next(sets[i], NULL, i == 5 || i == 6 ? JWKS_ES256 : JWKS_RS256, SLICE_NULL);
        prints[i] = jwks_key_print(key);
        cr_assert_neq(prints[i], 0);
    }
    for (size_t i = 0; i < CASES; i++) {
        for (size_t k = 0; k < CASES; k++) {
            cr_assert_eq(jwks_has(sets[i], prints[k]), i == k, "%zu in %zu", k, i);
        }
    }
    char text[1024];
    struct jwks *again =
        parse_keys(jwk(text, sizeof text, PUBLISHED_RSA_1, "a", "\"use\":\"sig\",\"x\":1"));
    cr_assert(jwks_has(again, prints[0]), "the same key in another set");
    jwks_free(again);
    for (size_t i = 0; i < CASES; i++) {
        jwks_free(sets[i]);
    }
    CHECK_LEAKS();
}

/* ---- attacks ---- */

static void append_part(struct buf *out, const char *text) {
    append_b64(out, slice_str(text));
    buf_append_char(out, '.');
}

#define CLAIMS "{\"sub\":\"u\",\"exp\":1700000100}"

Test(jwks, tokens_signed_with_what_is_public) {
    char set[1024];
    char token[PUBLISHED_TOKEN_BYTES];
    char material_at[PUBLISHED_MATERIAL_BYTES];
    struct jwks *jwks = parse_keys(jwk(set, sizeof set, PUBLISHED_RSA_1, "a", NULL));
    struct slice secrets[] = {slice_str(set), published_material(PUBLISHED_RSA_1, material_at)};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        struct jwt_key key = {HASH_HS256, hash_hmac_key_new(HASH_HS256, secrets[i])};
        struct buf out;
        buf_init_fixed(&out, token, sizeof token - 1);
        cr_assert_eq(jwt_sign(&key, SLICE(CLAIMS), &out), RC_OK);
        token[out.len] = '\0';
        expect(jwks, token, "algorithm", "HS256 under the public key");

        /* The same MAC, named RS256. */
        unsigned char mac[HASH_MAX_BYTES];
        buf_clear(&out);
        append_part(&out, "{\"alg\":\"RS256\",\"kid\":\"a\"}");
        append_b64(&out, SLICE(CLAIMS));
        cr_assert_eq(hash_hmac(key.hmac, buf_slice(&out), mac), RC_OK);
        buf_append_char(&out, '.');
        append_b64(&out, slice_make(mac, HASH_SHA256_BYTES));
        token[out.len] = '\0';
        expect(jwks, token, "signature", "an HMAC as RS256");
        hash_hmac_key_free(key.hmac);
    }
    jwks_free(jwks);
    CHECK_LEAKS();
}

Test(jwks, headers) {
    static const struct {
        const char *header;
        const char *verdict;
    } cases[] = {
        {"{\"alg\":\"RS256\",\"kid\":\"a\"}", NULL},
        {"{\"kid\":\"a\",\"typ\":\"JWT\",\"alg\":\"RS256\",\"x\":[]}", NULL},
        {"{\"alg\":\"RS256\"}", NULL},
        {"{\"alg\":\"PS256\",\"kid\":\"a\"}", "signature"}, /* swapped */
        {"{\"alg\":\"ES256\",\"kid\":\"a\"}", "unknown_key"},
        {"{\"alg\":\"RS256\",\"kid\":\"b\"}", "unknown_key"}, /* the EC key */
        {"{\"alg\":\"ES256\",\"kid\":\"b\"}", "signature"},
        {"{\"alg\":\"RS256\",\"kid\":\"c\"}", "unknown_key"},
        {"{\"alg\":\"RS256\",\"kid\":\"\"}", "unknown_key"},
        {"{\"alg\":\"RS256\",\"kid\":null}", "malformed"},
        {"{\"alg\":\"RS256\",\"kid\":7}", "malformed"},
        {"{\"alg\":\"RS256\",\"kid\":[\"a\"]}", "malformed"},
        {"{\"alg\":\"RS256\",\"kid\":\"a\",\"kid\":\"a\"}", "malformed"},
        {"{\"alg\":\"RS256\",\"alg\":\"RS256\",\"kid\":\"a\"}", "malformed"},
        {"{\"alg\":\"RS256\",\"kid\":\"a\",\"crit\":[\"exp\"]}", "malformed"},
        {"{\"alg\":\"RS256\",\"kid\":\"a\",\"jku\":\"http://127.0.0.1:1/\"}", NULL},
        {"{\"alg\":\"none\",\"kid\":\"a\"}", "algorithm"},
        {"{\"alg\":\"RS384\",\"kid\":\"a\"}", "algorithm"},
        {"{\"alg\":\"rs256\",\"kid\":\"a\"}", "algorithm"},
        {"{\"alg\":\"RS256 \",\"kid\":\"a\"}", "algorithm"},
        {"{\"alg\":\"HS256\",\"kid\":\"a\"}", "algorithm"},
        {"{\"alg\":[\"RS256\"],\"kid\":\"a\"}", "malformed"},
        {"{\"kid\":\"a\"}", "malformed"},
        {"[]", "malformed"},
        {"", "malformed"},
    };
    char keys[2][1024];
    char set[2 * 1024 + 2];
    snprintf(set, sizeof set, "%s,%s", jwk(keys[0], sizeof keys[0], PUBLISHED_RSA_1, "a", NULL),
             jwk(keys[1], sizeof keys[1], PUBLISHED_EC_1, "b", NULL));
    struct jwks *jwks = parse_keys(set);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char token[PUBLISHED_TOKEN_BYTES];
        struct buf out;
        buf_init_fixed(&out, token, sizeof token - 1);
        published_token(&out, PUBLISHED_RSA_1, JWKS_RS256, cases[i].header, CLAIMS);
        token[out.len] = '\0';
        expect(jwks, token, cases[i].verdict, cases[i].header);
    }
    jwks_free(jwks);
    CHECK_LEAKS();
}

Test(jwks, a_key_that_a_token_brings_is_not_used) {
    char keys[2][1024];
    char header[2048];
    char token[PUBLISHED_TOKEN_BYTES];
    struct buf out;
    struct jwks *jwks = parse_keys(jwk(keys[0], sizeof keys[0], PUBLISHED_RSA_1, "a", NULL));
    snprintf(header, sizeof header, "{\"alg\":\"RS256\",\"kid\":\"a\",\"jwk\":%s}",
             jwk(keys[1], sizeof keys[1], PUBLISHED_RSA_2, "a", NULL));
    buf_init_fixed(&out, token, sizeof token - 1);
    published_token(&out, PUBLISHED_RSA_2, JWKS_RS256, header, CLAIMS);
    token[out.len] = '\0';
    expect(jwks, token, "signature", "a jwk in the header");
    jwks_free(jwks);
    CHECK_LEAKS();
}

/* ---- threads ---- */

enum { THREADS = 6, ROUNDS = 20 };

struct shared {
    const struct jwks *jwks;
    struct fernet_keys *seals;
    atomic_int failures;
};

static void *verify_and_seal(void *arg) {
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct buf sealed;
        buf_init(&sealed, 4096);
        bool good = verify(shared->jwks, A2_TOKEN) == NULL &&
                    verify(shared->jwks, A3_TOKEN) == NULL &&
                    fernet_seal(shared->seals, SLICE("a token"), 1, NULL, &sealed) == RC_OK;
        atomic_fetch_add(&shared->failures, good ? 0 : 1);
        buf_fini(&sealed);
    }
    return NULL;
}

Test(jwks, many_threads_verify_with_one_set_while_others_seal) {
    pthread_t threads[THREADS];
    char problem[FERNET_PROBLEM_BYTES];
    struct shared shared = {.jwks = parse_keys(A2_KEY "," A3_KEY)};
    cr_assert_eq(fernet_keys_parse(SLICE("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="),
                                   &shared.seals, problem),
                 RC_OK);
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, verify_and_seal, &shared), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_eq(atomic_load(&shared.failures), 0);
    fernet_keys_free(shared.seals);
    jwks_free((struct jwks *)(uintptr_t)shared.jwks);
    CHECK_LEAKS();
}

/* ---- claims before the signature ---- */

Test(jwks, claims_of_an_unverified_token_are_held_to_the_same_rules) {
    static const struct {
        const char *payload;
        enum jwt_reason reason;
    } cases[] = {
        {CLAIMS, JWT_NONE},
        {"{\"sub\":\"u\",\"exp\":1699999970}", JWT_EXPIRED},
        {"{\"sub\":\"u\"}", JWT_NO_EXPIRY},
        {"{\"exp\":1700000100}", JWT_SUBJECT},
        {"{\"sub\":\"u\",\"sub\":\"v\",\"exp\":1700000100}", JWT_MALFORMED},
        {"{\"sub\":\"u\",\"exp\":1700000100,\"type\":\"refresh\"}", JWT_TYPE},
        {"[]", JWT_MALFORMED},
    };
    static const struct jwt_rules rules = {.now_s = NOW_S, .leeway_s = 30};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct jwt jwt;
        struct buf payload;
        buf_init(&payload, 1024);
        append_b64(&payload, slice_str(cases[i].payload));
        cr_assert_eq(jwt_read_claims(buf_slice(&payload), &rules, &jwt), cases[i].reason, "%s",
                     cases[i].payload);
        cr_assert_eq(jwt.claims != NULL, cases[i].reason == JWT_NONE, "%s", cases[i].payload);
        json_close(jwt.claims);
        buf_fini(&payload);
    }
    CHECK_LEAKS();
}

Test(jwks, tokens_of_other_forms) {
    static const char *const cases[] = {
        "",
        "a",
        "a.b",
        "a.b.c.d",
        "..",
        "eyJhbGciOiJFUzI1NiJ9..",
        "eyJhbGciOiJFUzI1NiJ9.e30",
        "eyJhbGciOiJFUzI1NiJ9.e30.",
        "eyJhbGciOiJFUzI1NiJ9.e30.?",
        "eyJhbGciOiJFUzI1NiJ9=.e30.AAAA",
        "eyJhbGciOiJFUzI1NiJ9.e30.AAA=",
    };
    struct jwks *jwks = parse_keys(A3_KEY);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_not_null(verify(jwks, cases[i]), "%s", cases[i]);
    }
    char huge[LIMIT_JWT_BYTES + 2];
    memset(huge, 'A', sizeof huge);
    memcpy(huge, A3_TOKEN, sizeof A3_TOKEN - 1);
    for (size_t len = sizeof A3_TOKEN; len < sizeof huge - 1; len += 97) {
        huge[len] = '\0';
        cr_assert_not_null(verify(jwks, huge), "%zu bytes", len);
        huge[len] = 'A';
    }
    jwks_free(jwks);
    CHECK_LEAKS();
}
