// SPDX-License-Identifier: MIT
#include "kit/published.h"

#include <criterion/criterion.h>
#include <psa/crypto.h>
#include <stdio.h>

#include "base/b64.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/keystore.h"

enum {
    DER_MAX_BYTES = 2048,
    RSA_N_AT = 9, /* in the DER of a 2048-bit RSAPublicKey (RFC 8017 appendix A.1.1) */
    RSA_N_BYTES = 256,
    EC_POINT_BYTES = 65,
};

/* RSAPrivateKey in DER, or the EC key's number: what PSA imports. */
static const char *const private_keys[PUBLISHED_KEYS] = {
    [PUBLISHED_RSA_1] =
        "MIIEpAIBAAKCAQEAwzbcJeS2AwduBt8bDKLSO7kkwMcuD0Lus4o8dgXoO_bmsRHa975DXfuAQdpa5OMirt1gKx0i"
        "8kbYXdldUmggqJamRAsvQ9BYP_inOSPg9cX2ZK-qVID1t0cvfaZVvnPUuxHE61x2zO-LxRNAg5aMxa1lqsWCpy1c"
        "2rxczM4WK5yi97gAekGiq9M-wwgSwxOD6JhxCo3Un8P1HLiQWIDqREfYjPt1S3EaH9G2m0Xwl0uBGE-Nl9rEYe54"
        "8qru70tXPEmANtZRSjbjF36onS3kdE4I5aQhbfFO8s2nJ7SmSdJyTKPr34GNd5S3R42m4DgCL5GFOLtbaCwznceS"
        "os1dQwIDAQABAoIBADxirXG5UEYal8HfZL4hZZfc2w4Y7toAsdbu1WoKxL47zzuJ0uqcu7kIMbHtKf2wdwuRZgyg"
        "HC3GlWpecRwrIqMTysW0kf_PpGTRdWTbANz1yhR2NGGkbJ2vkvSyrcZWjUD6q6fEd-lH1jv1ixjJSq1hSFgtdY9i"
        "HF17M9eUjk4ZwItH4vCmjx_ShsBU7f1bBh5zGHwcDNKpE4YZLgIIqNnso9owKwnT0wcFTWooAhkAyLXv4CQLT-0S"
        "uNmXt5XBNGUULzio6r8vkRopblvfnMBe2vG_rjax_vhIZiaHq4N-A33RF10sbJhtLnskge0a0f6B0UL4qaJ9HaTW"
        "y3CXF3ECgYEA88Cx-xDzM1x3o-0t5oOAxQzr4Uvt-kom38TRkBPbCkjaSAXQdI5PCleAWCdOOco33xCuoIhkvw0s"
        "JESCMX4JFuKWitfb_3DgVzqTBpQsgQ8dTiijYYjFn3uaSzBiKm5Hhoan-8gZSNXLP5xhAkzE07fw2Y1lEnsIjmoZ"
        "wJEmQXMCgYEAzQXVDbHfdPs_XIsjAB3LFd8MoSF2gOaSMH9f7mP-pP72w4C72U7ft10Twg5yPWO6xHNmlXySyAYc"
        "QvwNw7TLssZhZakgmj5iBx8XJ6dnhx60xQKDCfQObKQu2hat_d3Vk923oYrStKTLlXQxRShmVNIPB3OsjSP8TSD7"
        "7V2fQPECgYEAp4Z-TGGf5GLez0lJTK6Ap-1ziIpY6rZf9Vcd-HnNB0p-yxVD6XeNFzyANxX8i3dR4vtiKW7UXwI8"
        "nkh_emh28sWUVaR5zRvU896MAe-AjsrGh1sivvvzZuLabma4cRUOD4UomsExr39Qi0181snQVPqMi9jD6GmqvcZq"
        "IJEhy8UCgYEAmKHc6SMg7qAVnbnfxrhndtLlPhgBdxkwgHZzXrCG5SMDZqyyLKexmXrruK60kctrQdF_744cYFlc"
        "NOoc_TPd6iwSWnK82NfUduTIgjb4tflALuMd1w0gp_TbBHWZ9sNtu3V2vgbxspZ1EcC85XWcKU1w7uVI8pJ1xJ3n"
        "r-DhLKECgYBrSfJt1Y5FT27Btpzv1LN1c8fV_BjIeZDyQIhJ9kbqjGdIXQqezca0kf4NnJUMZRoElA3fpgBgIMDu"
        "iYtUcruAQ64lwZ-yn8Y7Pzbz8aMbCJ5t7vGE-RAvuzn-yWEEnvZ26IW-nRRyeJSEoBS1DiRD3475Hl0jPUF39Vcv"
        "f0jinw",
    [PUBLISHED_RSA_2] =
        "MIIEpAIBAAKCAQEAwhSZCZs6K-gqsCJFxyVhuVsfMr2oOL-8qQS03llPoqlfznI1JyyCly_k_qDRrx91HKZ8Juq2"
        "3DalvqbAFxjHV4a-EaW6by2Pliam4azOoOPqxWd4Xiipeb4ZAmnL8zqS9S9zno7pecJid_qsz2-P9z-FC1Dn536d"
        "bhcMuUaHvsAoxdU8rx9RI1QTfWFXGT5eYQn9L8wevbqLx-nVC1j9WgTVCZVR8UH1YRYPk92hBoN5c6qi0yyoMp-o"
        "naL4QoFt18jVqKrotEBp8oQCijFuLvNsu-EZB5qC1eEESC-shCI-PAj8LyL0eF5n0z2honp3dNCSDyeMqKcdf45S"
        "wI6haQIDAQABAoIBAAfqaFUg7JbGq9R_rbZvHdTspf_2epAwgt7snbexJo16JxbGarFiYDg9uRBO1x0QhVg52HH_"
        "5PqSl9T8TXTmnIA3syjDMSTpPGQ2DRbaDbHD7ODIWuQ0myyQMfjX0PxyNl3Aq5B-HWlifwCjRfHlk3OO_Idiwsey"
        "FKNo4eTVJ9EwpXXkdfwdX3kaAD8-Sr1lIoaoscoXmHCRfxypJmOGMMOKhUcGaNotShYg6zaioylcI1Nm948DdUVl"
        "zPEbu7UN0vfuqOK4UoPMoLp0JompHIHU4oPDlSQnGEYST7Z2M0n2znHFaUlBBk156_yS50mqvv-AagMTigCOhNhN"
        "KPC2CNcCgYEA4GrKp-YniY3jaUDtUndjhT1_U7vNF-5Lz6FYU5DcKQeIeTFV2LvlSVhC3KmgZQKH9WTkzy79Hye5"
        "85_r3wMBdPLhF4mfysE2pnCqAhJoZ8AYb6awj4obTsmfwKZdGigP6Sgp9TcW9Skg03bRTKyJmyqzQCWFTdSQQEEt"
        "REIkb-cCgYEA3WTZKi5fHI4nsNw_qEifbYn0kkLo7z4rx778PKt5DbU7b9kzac-dT8_SSoXCoMz72KlgYAoYtIHj"
        "zFV4nE8rRVmBuK_MmhL4Mfh3ZzQr_MCS_oSoNQ9nVQWT0gbJGdRb88bVrwqHEyJ72o0Ebzw6Jq_Jh4IF4vaSAj4l"
        "3wPmei8CgYEA17BMDor6PQ6OHz8z2Sq-D_VHRyccu39ghbJAvjBgKV8AH9r281PDz3Zw7LxrWCnSmlvaPfafeS4p"
        "Xqm5faHZ6Jj3FjRDzA9fgyCNhWhDyFOsKMNAtvS5wkOusu4yVU1j3Weoy_GiswZQcm2kQ9kgeG3V0jU9pcxCyD7c"
        "TtpzQskCgYEAgzzh4rhEV0gJTTTyY05Re3x4xy70p8Vh7HFRUqGPC8ov5piJeqLArOwTy2tJOUrpy8BzydqSVIZe"
        "w-Syr23ax6xMUm-byIWQLQcNuNbbcGOzfz6h-3obFfJNcwXktfQFYheu2alS8svRQXewdkPscLxpqXMxDB5_5OZ0"
        "SqQkPq8CgYA2GmSNtAgO2qzJXpBPr6ubmw-nMRPFPoVHOWnLc3DB4m6ekIIwWNDCc1On-AnmuoWEAhlH-RTozvsF"
        "FaSmaVz4-9MFAV4lrfKGi11rZcMhyq9WhJm4GgpS8OCHjtSs0qnqciNXvrvB1qmKpxRSkRh_4FTL2I6mry7axRv_"
        "R0WzyQ",
    [PUBLISHED_EC_1] = "R-Y-3hk7yGeNj-ZnkiAesdz82UmNrhEjmVBa0IIPBGM",
    [PUBLISHED_EC_2] = "ceaxVT3o-E2XqRSndPP3uSSsogwPmQIlNno8UtuR0P8",
};

static bool is_rsa(enum published_key key) {
    return key == PUBLISHED_RSA_1 || key == PUBLISHED_RSA_2;
}

static psa_algorithm_t algorithm(enum jwks_alg alg) {
    switch (alg) {
    case JWKS_RS256:
        return PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256);
    case JWKS_PS256:
        return PSA_ALG_RSA_PSS(PSA_ALG_SHA_256);
    default:
        return PSA_ALG_ECDSA(PSA_ALG_SHA_256);
    }
}

/* Between keystore_lock and keystore_unlock. */
static psa_key_id_t import(enum published_key key, enum jwks_alg alg) {
    unsigned char der[DER_MAX_BYTES];
    size_t n = 0;
    psa_key_id_t id = 0;
    psa_key_attributes_t attributes = psa_key_attributes_init();
    cr_assert(b64_decode_unpadded(der, &n, slice_str(private_keys[key])));
    psa_set_key_type(&attributes, is_rsa(key) ? PSA_KEY_TYPE_RSA_KEY_PAIR
                                              : PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_HASH);
    psa_set_key_algorithm(&attributes, algorithm(alg));
    cr_assert_eq(psa_import_key(&attributes, der, n, &id), PSA_SUCCESS);
    return id;
}

struct slice published_material(enum published_key key, char out[PUBLISHED_MATERIAL_BYTES]) {
    unsigned char der[DER_MAX_BYTES];
    size_t n = 0;
    cr_assert_eq(hash_init(), RC_OK);
    keystore_lock();
    psa_key_id_t id = import(key, is_rsa(key) ? JWKS_RS256 : JWKS_ES256);
    cr_assert_eq(psa_export_public_key(id, der, sizeof der, &n), PSA_SUCCESS);
    psa_destroy_key(id);
    keystore_unlock();
    size_t at = is_rsa(key) ? RSA_N_AT : 1;
    size_t bytes = is_rsa(key) ? RSA_N_BYTES : EC_POINT_BYTES - 1;
    memcpy(out, der + at, bytes);
    return slice_make(out, bytes);
}

static void append_b64(struct buf *out, struct slice bytes) {
    char *at = buf_reserve(out, B64_BYTES_UNPADDED(bytes.len));
    cr_assert_not_null(at);
    out->len += b64_encode_unpadded(at, bytes);
}

static void append_text(struct buf *out, const char *text) {
    buf_append(out, slice_str(text));
}

void published_jwk(struct buf *out, enum published_key key, const char *kid, const char *more) {
    char material_at[PUBLISHED_MATERIAL_BYTES];
    struct slice material = published_material(key, material_at);
    if (is_rsa(key)) {
        append_text(out, "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"");
        append_b64(out, material);
    } else {
        append_text(out, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
        append_b64(out, slice_head(material, material.len / 2));
        append_text(out, "\",\"y\":\"");
        append_b64(out, slice_from(material, material.len / 2));
    }
    append_text(out, "\"");
    if (kid != NULL) {
        append_text(out, ",\"kid\":\"");
        append_text(out, kid);
        append_text(out, "\"");
    }
    if (more != NULL) {
        append_text(out, ",");
        append_text(out, more);
    }
    append_text(out, "}");
}

void published_sign(struct buf *out, enum published_key key, enum jwks_alg alg, struct slice text) {
    unsigned char digest[HASH_SHA256_BYTES];
    unsigned char signature[PSA_SIGNATURE_MAX_SIZE];
    size_t n = 0;
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(hash_sha256(text, digest), RC_OK);
    keystore_lock();
    psa_key_id_t id = import(key, alg);
    psa_status_t status =
        psa_sign_hash(id, algorithm(alg), digest, sizeof digest, signature, sizeof signature, &n);
    psa_destroy_key(id);
    keystore_unlock();
    cr_assert_eq(status, PSA_SUCCESS);
    buf_append(out, slice_make(signature, n));
}

void published_token(struct buf *out, enum published_key key, enum jwks_alg alg, const char *header,
                     const char *payload) {
    struct buf signature;
    size_t start = out->len;
    buf_init(&signature, PSA_SIGNATURE_MAX_SIZE);
    append_b64(out, slice_str(header));
    buf_append_char(out, '.');
    append_b64(out, slice_str(payload));
    published_sign(&signature, key, alg, slice_from(buf_slice(out), start));
    buf_append_char(out, '.');
    append_b64(out, buf_slice(&signature));
    cr_assert(buf_ok(out), "the token is too large");
    buf_fini(&signature);
}

void published_jwt(char out[PUBLISHED_TOKEN_BYTES], enum published_key key, enum jwks_alg alg,
                   const char *kid, const char *payload) {
    char header[512];
    struct buf token;
    int n = kid != NULL
                ? snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\"}",
                           jwks_alg_names[alg].at, kid)
                : snprintf(header, sizeof header, "{\"alg\":\"%s\"}", jwks_alg_names[alg].at);
    cr_assert(n > 0 && (size_t)n < sizeof header);
    buf_init_fixed(&token, out, PUBLISHED_TOKEN_BYTES - 1);
    published_token(&token, key, alg, header, payload);
    out[token.len] = '\0';
}
