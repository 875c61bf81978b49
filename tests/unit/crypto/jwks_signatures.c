// SPDX-License-Identifier: MIT
/* Signatures that are almost right. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/b64.h"
#include "crypto/hash.h"
#include "crypto/jwks.h"
#include "kit/leaks.h"
#include "kit/published.h"

enum { SET_BYTES = 1024 };

/* A set of that key alone. */
static struct jwks *set_of(enum published_key key, const char *more) {
    char at[SET_BYTES];
    struct buf text;
    struct jwks *jwks = NULL;
    cr_assert_eq(hash_init(), RC_OK);
    buf_init_fixed(&text, at, sizeof at);
    BUF_LIT(&text, "{\"keys\":[");
    published_jwk(&text, key, "a", more);
    BUF_LIT(&text, "]}");
    cr_assert_eq(jwks_parse(buf_slice(&text), &jwks), RC_OK);
    cr_assert_eq(jwks_count(jwks), 1);
    return jwks;
}

/* The order of the curve's base point. */
static const unsigned char order[32] = {
    0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51};

static size_t append_integer(unsigned char *out, const char *number) {
    size_t pad = (unsigned char)number[0] >= 0x80 ? 1 : 0;
    out[0] = 0x02;
    out[1] = (unsigned char)(32 + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, number, 32);
    return 2 + pad + 32;
}

Test(jwks, es256_signatures_of_other_forms) {
    unsigned char forms[16][160];
    size_t lengths[16];
    size_t count = 0;
    struct buf good;
    buf_init(&good, JWKS_SIGNATURE_MAX_BYTES);
    struct jwks *jwks = set_of(PUBLISHED_EC_1, NULL);
    const struct jwks_key *key = jwks_next(jwks, NULL, JWKS_ES256, SLICE("a"));
    published_sign(&good, PUBLISHED_EC_1, JWKS_ES256, SLICE("text"));
    cr_assert(jwks_verify(key, JWKS_ES256, SLICE("text"), buf_slice(&good)));

    memset(forms, 0, sizeof forms);
#define FORM(len) (lengths[count] = (len), forms[count++])
    FORM(64);                                /* R and S zero */
    memcpy(FORM(64), good.at, 32);           /* S zero */
    memcpy(FORM(64) + 32, good.at + 32, 32); /* R zero */
    memcpy(FORM(63), good.at, 63);           /* short */
    memcpy(FORM(65), good.at, 64);           /* long */
    memcpy(FORM(66) + 1, good.at, 64);       /* R with a zero before it … */
    memcpy(FORM(128), good.at, 64);          /* twice as long */
    unsigned char *at = FORM(64);            /* the order for both */
    memcpy(at, order, 32);
    memcpy(at + 32, order, 32);
    at = FORM(64); /* R and S swapped */
    memcpy(at, good.at + 32, 32);
    memcpy(at + 32, good.at, 32);
    memset(FORM(64), 0xFF, 64);
    at = FORM(64); /* one each: the forgery of libraries that don't look */
    at[31] = 1;
    at[63] = 1;
    at = forms[count]; /* DER */
    size_t n = 2 + append_integer(at + 2, good.at);
    n += append_integer(at + n, good.at + 32);
    at[0] = 0x30;
    at[1] = (unsigned char)(n - 2);
    lengths[count++] = n;
#undef FORM
    for (size_t i = 0; i < count; i++) {
        cr_assert_not(jwks_verify(key, JWKS_ES256, SLICE("text"), slice_make(forms[i], lengths[i])),
                      "form %zu", i);
    }
    cr_assert_not(jwks_verify(key, JWKS_ES256, SLICE("text"), SLICE_NULL));
    jwks_free(jwks);
    buf_fini(&good);
    CHECK_LEAKS();
}

Test(jwks, rsa_signatures_of_other_forms) {
    struct jwks *jwks = set_of(PUBLISHED_RSA_1, NULL);
    const struct jwks_key *key = jwks_next(jwks, NULL, JWKS_RS256, SLICE("a"));
    for (int alg = JWKS_RS256; alg <= JWKS_PS256; alg++) {
        unsigned char longer[JWKS_SIGNATURE_MAX_BYTES] = {0};
        char modulus_at[PUBLISHED_MATERIAL_BYTES];
        struct buf good;
        buf_init(&good, JWKS_SIGNATURE_MAX_BYTES);
        published_sign(&good, PUBLISHED_RSA_1, (enum jwks_alg)alg, SLICE("text"));
        memcpy(longer, good.at, good.len);
        const struct slice forms[] = {
            SLICE_NULL,
            SLICE("x"),
            slice_head(buf_slice(&good), good.len - 1),
            slice_from(buf_slice(&good), 1),
            slice_make(longer, good.len + 1),
            slice_make(longer, sizeof longer),
            slice_make(longer + good.len, good.len),         /* zero */
            published_material(PUBLISHED_RSA_1, modulus_at), /* the modulus: zero again */
        };
        for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            cr_assert_not(jwks_verify(key, (enum jwks_alg)alg, SLICE("text"), forms[i]),
                          "algorithm %d, form %zu", alg, i);
        }
        cr_assert(jwks_verify(key, (enum jwks_alg)alg, SLICE("text"), buf_slice(&good)));
        buf_fini(&good);
    }
    jwks_free(jwks);
    CHECK_LEAKS();
}

/* Of PUBLISHED_RSA_1 over "text", made with another library. */
Test(jwks, ps256_has_a_salt_of_32_bytes_and_one_hash) {
    static const struct {
        const char *name;
        const char *signature;
        bool good;
    } cases[] = {
        {"no salt",
         "REdsIzMQ9P5svERuQ8ZikDDdIsrHAa0vLJRk9OO4zy4UWToybV0-9cCdcDeO8eTFqqw2NXl4-kv8V0qha_D-"
         "KbLbKS25NBevjbKha_esTKOIPtv_9mtnSMw7QlL085dUHJdeGzNMTvOdbczYYXXRtLXMeWacRCD4VkHQFyNj"
         "XgGBNgIzsK_q_FSNQXhNbRtzob0z1ItVceeVNNOoZP3NmkJVoBY_-Y1HSI2vtOwOYLRyyAmtn_nKuXNH88J8"
         "EiMtujUGNZ44f8NubajvtkBlBwFuaTv1XzGI18Kl5mq-iPEQ3Oi87MnsBZ9AYdbkqNlAW1roDBUEDndWHgP5"
         "iC74yw",
         false},
        {"a salt of 31 bytes",
         "NIe9bJcjp12uCvulM9_Rv6CYkvUYz6vYA4yFq7NYuTakftceOtwlnCclefSGTt5XYeykWPxiKqa9Dty56DGI"
         "5DICXYQEpjkk843twPNycLjN3jC1Zd3j6yXvq5ZPF7gNcQflWkbEw2SzwgV_U7A8Phm7MefOwopUuHmqnYQR"
         "WITwylklgrMTrXZpqT9Crj8elGC7jnvqw2P0RHhIYSw_RvDIHKWxkuI23OQ_Ao0zBXdIPkWgaw1pj9idO1ZC"
         "V8wyGeZdWAM8G0aKznyYxZSCmWUqDJ5pFQdNAsNV4IhjHXQH6GjrON4GJ7kY-GYLBYz6Rdh21pFZmnj3htBg"
         "_q1ilg",
         false},
        {"of as many as there is room for",
         "bHUSUAXnRYVB72xZfHFtnEYeSq55kUFgMUgCpwPqr_8kqcEbrqnsuLOC1W92c2nGijX353NHs5SN5uILOB_l"
         "yDyaQ20bM0-TdjOlELSXr2A0wokeBnsme8aGf8ToTktEYagokfc3kAyHYgQ1RaF2KxfxtN_Gg0U7JfOTJpLw"
         "Vp_Jp_jmOOjfb-yz3RMK7jyEjuBsAVqynuSOTiNbOAq_kYfcoPcWX_YliJY_7nZdy0c68l4xizuWu4-eNz8S"
         "fYsw4FnGpcLZeOcVM3l3HFvQ8OLASiKdJx2QFrLAlnTwtXpIee3AtHOfeFTQF2_GyAwx0lED0cgkD5uzyNW_"
         "15agLQ",
         false},
        {"MGF1 with SHA-1",
         "QP7dGlk7-2iSTD89j8dRRBiKax7ajT-T9a9nNc-bFlEkWWGw9-FLlz1XDBbaaIVqnmHr-Gq_0QGqmRU5rJ6t"
         "b6V4jxndSa9NcJp5PI5_CVLeAAz1bZ-ECphcZZR9mPkcFl3CkBq45P25uP0VS2cw9ojyj_9Px38jeRztvG6C"
         "VQl7xl_1UkEMAealUWHVZXnTBfab-ImdF_-ALEeWJZhMpsi5Gxk7I1sBvdjepwWjGQu6bEQK96enE_I1Zg80"
         "fNnzED8Re2cQzlR0LFYDNm0fXScIy755RGfnhSm9HbJZgxjNP7XL0PUHO1YvT8AROJ5JnKx3pDEtrpmDTtqb"
         "2Gd-JQ",
         false},
        {"as it should be",
         "jjoov5phWzr3fKzi7kXqnC1eC-I4YRoj7ftjzSpVdfUh6HBPLX3-HAPk0YnYVHNYP0S5cdgdSSj9fNIr3jhe"
         "XOYt_CLdHJrCb6FIRcBqGJsqudPN76ydYVu8AggXHHNm2rMJidN_GPMzwx8NED9gkhpTvQKDPso_yzNsJfwT"
         "8ItvFT3gJeX82whwtK1U9Qy2JGRqaj2Jxrkj6ibtlvp-tHZPnEGwmPbHfd5jreWLzaXs77KRorCDrMPhDX3L"
         "Q0-lZc_h161zsGcPnvNZ2fMembszoVIUF1kk5OiOgqRAGJ055MftNKf_H7hE2W7FQW7mYvYzrODL2yatJDcP"
         "YS7iPQ",
         true},
    };
    struct jwks *jwks = set_of(PUBLISHED_RSA_1, NULL);
    const struct jwks_key *key = jwks_next(jwks, NULL, JWKS_PS256, SLICE("a"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char signature[B64_DECODED_MAX(B64_BYTES(JWKS_SIGNATURE_MAX_BYTES))];
        size_t n = 0;
        cr_assert(b64_decode_unpadded(signature, &n, slice_str(cases[i].signature)));
        cr_assert_eq(jwks_verify(key, JWKS_PS256, SLICE("text"), slice_make(signature, n)),
                     cases[i].good, "%s", cases[i].name);
    }
    jwks_free(jwks);
    CHECK_LEAKS();
}

Test(jwks, a_key_for_one_algorithm_verifies_no_other) {
    static const char *const mores[] = {"\"alg\":\"RS256\"", "\"alg\":\"PS256\""};
    for (int own = JWKS_RS256; own <= JWKS_PS256; own++) {
        struct jwks *jwks = set_of(PUBLISHED_RSA_1, mores[own]);
        const struct jwks_key *key = jwks_next(jwks, NULL, (enum jwks_alg)own, SLICE_NULL);
        for (int alg = JWKS_RS256; alg <= JWKS_PS256; alg++) {
            struct buf signature;
            buf_init(&signature, JWKS_SIGNATURE_MAX_BYTES);
            published_sign(&signature, PUBLISHED_RSA_1, (enum jwks_alg)alg, SLICE("text"));
            cr_assert_eq(jwks_verify(key, (enum jwks_alg)alg, SLICE("text"), buf_slice(&signature)),
                         alg == own, "%d with a key for %d", alg, own);
            buf_fini(&signature);
        }
        jwks_free(jwks);
    }
    CHECK_LEAKS();
}
