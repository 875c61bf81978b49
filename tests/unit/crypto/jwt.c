// SPDX-License-Identifier: MIT
#include "crypto/jwt.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/b64.h"
#include "base/limits.h"
#include "kit/leaks.h"

/* RFC 7515 appendix A.1. */
#define A1_TOKEN                                                                                   \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."                                                    \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define A1_KEY                                                                                     \
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"

#define SECRET "a secret of more than thirty-two bytes"
#define OLD_SECRET "the secret that was in use before this"

enum { NOW_S = 1700000000 };

static const struct jwt_rules rules = {.now_s = NOW_S, .leeway_s = 30};

static struct jwt_key key_of(enum hash_hmac_alg alg, struct slice secret) {
    cr_assert_eq(hash_init(), RC_OK);
    struct jwt_key key = {alg, hash_hmac_key_new(alg, secret)};
    cr_assert_not_null(key.hmac);
    return key;
}

static void append_encoded(struct buf *out, struct slice bytes) {
    char *at = buf_reserve(out, B64_BYTES_UNPADDED(bytes.len));
    cr_assert_not_null(at);
    out->len += b64_encode_unpadded(at, bytes);
}

/* Ends a token whose first two parts stand in `out`: whatever they are, the signature is right. */
static void append_signature(struct buf *out, const struct jwt_key *key) {
    unsigned char mac[HASH_MAX_BYTES];
    cr_assert_eq(hash_hmac(key->hmac, buf_slice(out), mac), RC_OK);
    buf_append_char(out, '.');
    append_encoded(out, slice_make(mac, hash_hmac_bytes(key->alg)));
}

static void compose(struct buf *out, const struct jwt_key *key, struct slice header,
                    struct slice payload) {
    buf_init(out, 64 * 1024);
    append_encoded(out, header);
    buf_append_char(out, '.');
    append_encoded(out, payload);
    append_signature(out, key);
}

static const char *verify(struct slice token, const struct jwt_key *key,
                          const struct jwt_rules *with) {
    struct jwt jwt;
    enum jwt_reason reason = jwt_verify(token, key, 1, with, &jwt);
    cr_assert_eq(jwt.claims != NULL, reason == JWT_NONE, "claims of a refused token");
    cr_assert(reason == JWT_NONE || (slice_is_null(jwt.sub) && jwt.exp_s == 0));
    json_close(jwt.claims);
    return jwt_reason_text(reason);
}

#define HS256_HEADER "{\"alg\":\"HS256\"}"
#define GOOD_CLAIMS "\"sub\":\"u1\",\"exp\":1700000100"

/* A signed token with this header and these claims: what becomes of it. */
static void check(struct slice header, struct slice claims, const char *wanted) {
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    struct buf token;
    compose(&token, &key, header, claims);
    cr_expect_str_eq(verify(buf_slice(&token), &key, &rules), wanted, "%.*s . %.*s",
                     SLICE_ARGS(header), SLICE_ARGS(claims));
    buf_fini(&token);
    hash_hmac_key_free(key.hmac);
}

static void check_claims(const char *claims, const char *wanted) {
    check(SLICE(HS256_HEADER), slice_str(claims), wanted);
}

static void check_header(const char *header, const char *wanted) {
    check(slice_str(header), SLICE("{" GOOD_CLAIMS "}"), wanted);
}

Test(jwt, rfc7515_a1) {
    unsigned char secret[B64_DECODED_MAX(sizeof A1_KEY)];
    size_t n = 0;
    cr_assert(b64_decode_unpadded(secret, &n, SLICE(A1_KEY)));
    struct jwt_key key = key_of(HASH_HS256, slice_make(secret, n));
    struct slice payload;
    size_t index = 99;
    cr_assert_eq(jwt_verify_signature(SLICE(A1_TOKEN), &key, 1, &payload, &index), JWT_NONE);
    cr_assert_eq(index, 0);
    cr_assert(slice_starts(payload, SLICE("eyJpc3MiOiJqb2UiLA0K")));
    struct jwt_rules then = {.now_s = 1300819379};
    cr_assert_str_eq(verify(SLICE(A1_TOKEN), &key, &then), "subject", "it has no sub");
    then.now_s = 1300819380;
    cr_assert_str_eq(verify(SLICE(A1_TOKEN), &key, &then), "expired");
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

Test(jwt, what_a_token_says) {
    struct jwt_key key = key_of(HASH_HS512, SLICE(SECRET));
    struct buf token;
    struct jwt jwt;
    struct slice role;
    buf_init(&token, 1000);
    BUF_LIT(&token, "prefix ");
    cr_assert_eq(jwt_sign(&key,
                          SLICE("{\"sub\":\"u\\u00e4\",\"exp\":1700000100,\"nbf\":1699999999,"
                                "\"role\":\"admin\"}"),
                          &token),
                 RC_OK);
    struct slice text = slice_from(buf_slice(&token), 7);
    cr_assert(slice_starts(text, SLICE("eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.")));
    cr_assert_eq(jwt_verify(text, &key, 1, &rules, &jwt), JWT_NONE);
    cr_assert(slice_eq(jwt.sub, SLICE("u\xC3\xA4")));
    cr_assert_eq(jwt.exp_s, 1700000100);
    cr_assert_eq(jwt.not_before_s, 1699999999);
    cr_assert(json_to_slice(json_member(json_root(jwt.claims), "role"), &role));
    cr_assert(slice_eq(role, SLICE("admin")));
    json_close(jwt.claims);
    buf_fini(&token);
    buf_init(&token, 60);
    cr_assert_eq(jwt_sign(&key, SLICE("{}"), &token), RC_TOO_LARGE);
    buf_fini(&token);
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

Test(jwt, two_secrets_in_order) {
    struct jwt_key keys[2] = {key_of(HASH_HS256, SLICE(SECRET)),
                              key_of(HASH_HS256, SLICE(OLD_SECRET))};
    for (size_t signer = 0; signer < 2; signer++) {
        struct buf token;
        struct jwt jwt;
        compose(&token, &keys[signer], SLICE(HS256_HEADER), SLICE("{" GOOD_CLAIMS "}"));
        cr_assert_eq(jwt_verify(buf_slice(&token), keys, 2, &rules, &jwt), JWT_NONE);
        cr_assert_eq(jwt.key_index, signer);
        json_close(jwt.claims);
        cr_assert_eq(jwt_verify(buf_slice(&token), &keys[1 - signer], 1, &rules, &jwt),
                     JWT_SIGNATURE);
        cr_assert_eq(jwt_verify(buf_slice(&token), NULL, 0, &rules, &jwt), JWT_ALGORITHM);
        buf_fini(&token);
    }
    hash_hmac_key_free(keys[0].hmac);
    hash_hmac_key_free(keys[1].hmac);
    CHECK_LEAKS();
}

/* Each algorithm verifies under its own keys only, with the same secret. */
Test(jwt, algorithms_do_not_mix) {
    static const struct slice headers[] = {
        SLICE("{\"alg\":\"HS256\"}"), SLICE("{\"alg\":\"HS384\"}"), SLICE("{\"alg\":\"HS512\"}")};
    for (int signer = HASH_HS256; signer <= HASH_HS512; signer++) {
        struct jwt_key key = key_of((enum hash_hmac_alg)signer, SLICE(SECRET));
        for (int said = HASH_HS256; said <= HASH_HS512; said++) {
            for (int checker = HASH_HS256; checker <= HASH_HS512; checker++) {
                struct jwt_key other = key_of((enum hash_hmac_alg)checker, SLICE(SECRET));
                struct buf token;
                compose(&token, &key, headers[said], SLICE("{" GOOD_CLAIMS "}"));
                const char *wanted = said != checker  ? "algorithm"
                                     : said != signer ? "signature"
                                                      : "none";
                cr_expect_str_eq(verify(buf_slice(&token), &other, &rules), wanted,
                                 "signed %d, said %d, checked %d", signer, said, checker);
                buf_fini(&token);
                hash_hmac_key_free(other.hmac);
            }
        }
        hash_hmac_key_free(key.hmac);
    }
    CHECK_LEAKS();
}

/* Unsigned tokens, in every case of letters, with no signature and with one. */
Test(jwt, none_never) {
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    for (unsigned bits = 0; bits < 16; bits++) {
        char header[] = "{\"alg\":\"none\"}";
        struct buf token;
        for (unsigned i = 0; i < 4; i++) {
            if (bits >> i & 1) {
                header[8 + i] = (char)(header[8 + i] & ~0x20);
            }
        }
        check_header(header, "algorithm");
        buf_init(&token, 1000);
        append_encoded(&token, slice_str(header));
        buf_append_char(&token, '.');
        append_encoded(&token, SLICE("{" GOOD_CLAIMS "}"));
        cr_expect_str_eq(verify(buf_slice(&token), &key, &rules), "malformed", "two parts");
        buf_append_char(&token, '.');
        cr_expect_str_eq(verify(buf_slice(&token), &key, &rules), "algorithm", "%s", header);
        buf_fini(&token);
    }
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

Test(jwt, headers) {
    static const struct {
        const char *header;
        const char *wanted;
    } cases[] = {
        {"{\"alg\":\"HS256\"}", "none"},
        {"{\"typ\":\"JWT\",\"alg\":\"HS256\"}", "none"},
        {" {\"typ\":\"at+jwt\" , \"alg\":\"\\u0048S256\"}\r\n", "none"},
        /* what they say of keys is not read */
        {"{\"alg\":\"HS256\",\"kid\":\"../../../../dev/null\"}", "none"},
        {"{\"alg\":\"HS256\",\"kid\":\"x' UNION SELECT 'key\"}", "none"},
        {"{\"alg\":\"HS256\",\"kid\":{\"a\":[]},\"jku\":\"http://127.0.0.1/\",\"x5u\":1}", "none"},
        {"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}", "none"},
        /* nor are extensions that are not understood */
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", "malformed"},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "malformed"},
        {"{\"alg\":\"HS256\",\"crit\":[]}", "malformed"},
        {"{\"alg\":\"HS256\",\"crit\":null}", "malformed"},
        {"{\"alg\":\"hs256\"}", "algorithm"},
        {"{\"alg\":\"HS256 \"}", "algorithm"},
        {"{\"alg\":\"\"}", "algorithm"},
        {"{\"alg\":\"HS2\"}", "algorithm"},
        {"{\"alg\":\"RS256\"}", "algorithm"},
        {"{\"alg\":\"ES256\"}", "algorithm"},
        {"{\"alg\":\"PS256\"}", "algorithm"},
        {"{\"alg\":\"EdDSA\"}", "algorithm"},
        {"{\"alg\":\"HS256\\u0000\"}", "malformed"},
        {"{\"alg\":[\"HS256\"]}", "malformed"},
        {"{\"alg\":256}", "malformed"},
        {"{\"alg\":null}", "malformed"},
        {"{\"Alg\":\"HS256\"}", "malformed"},
        {"{}", "malformed"},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "malformed"},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", "malformed"},
        {"{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}", "malformed"},
        {"{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}", "malformed"},
        {"[\"alg\",\"HS256\"]", "malformed"},
        {"\"HS256\"", "malformed"},
        {"null", "malformed"},
        {"HS256", "malformed"},
        {"", "malformed"},
        {"{\"alg\":\"HS256\"}{}", "malformed"},
        {"{\"alg\":\"HS256\"}x", "malformed"},
        {"{\"alg\":\"HS256\"", "malformed"},
        {"{'alg':'HS256'}", "malformed"},
        {"{\"alg\":\"HS256\",\"kid\":\"\xFF\"}", "malformed"},
        {"{\"alg\":\"HS256\",\"kid\":\"\xC0\xAF\"}", "malformed"},
        {"\xEF\xBB\xBF{\"alg\":\"HS256\"}", "malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_header(cases[i].header, cases[i].wanted);
    }
    CHECK_LEAKS();
}

/* The public half of an RSA key, known to all, must be no HMAC secret: an HS256 token "signed" with
 * it is a wrong signature here, and an RS256 one no algorithm of ours. */
Test(jwt, confusion_of_key_kinds) {
    struct jwt_key ours = key_of(HASH_HS256, SLICE(SECRET));
    struct jwt_key public_pem =
        key_of(HASH_HS256, SLICE("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ==\n"));
    struct jwt_key empty = key_of(HASH_HS256, SLICE(""));
    const struct jwt_key *forgers[] = {&public_pem, &empty};
    for (size_t i = 0; i < 2; i++) {
        struct buf token;
        compose(&token, forgers[i], SLICE(HS256_HEADER), SLICE("{" GOOD_CLAIMS "}"));
        cr_expect_str_eq(verify(buf_slice(&token), &ours, &rules), "signature");
        buf_fini(&token);
        compose(&token, forgers[i], SLICE("{\"alg\":\"RS256\"}"), SLICE("{" GOOD_CLAIMS "}"));
        cr_expect_str_eq(verify(buf_slice(&token), &ours, &rules), "algorithm");
        buf_fini(&token);
    }
    hash_hmac_key_free(ours.hmac);
    hash_hmac_key_free(public_pem.hmac);
    hash_hmac_key_free(empty.hmac);
    CHECK_LEAKS();
}

Test(jwt, every_cut_and_every_changed_character) {
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    struct buf token;
    compose(&token, &key, SLICE(HS256_HEADER), SLICE("{" GOOD_CLAIMS "}"));
    struct slice whole = buf_slice(&token);
    cr_assert_str_eq(verify(whole, &key, &rules), "none");
    for (size_t i = 0; i < token.len; i++) {
        cr_expect_str_neq(verify(slice_head(whole, i), &key, &rules), "none", "%zu bytes", i);
        cr_expect_str_neq(verify(slice_from(whole, i + 1), &key, &rules), "none", "from %zu",
                          i + 1);
        char kept = token.at[i];
        for (int c = 0; c < 256; c++) {
            token.at[i] = (char)c;
            const char *found = verify(whole, &key, &rules);
            cr_expect_eq(strcmp(found, "none") == 0, (char)c == kept, "byte %d at %zu", c, i);
        }
        token.at[i] = kept;
    }
    buf_fini(&token);
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

/* What stands around or between the three parts. */
Test(jwt, parts_and_trailing_bytes) {
    static const char *const tails[] = {".", "..", ".AAAA", "=",   "==",   "A",   "\n",
                                        " ", "\t", ",x",    "%00", "AAAA", ".a.b"};
    static const struct slice bare[] = {SLICE_NULL,    SLICE(""),         SLICE("."),
                                        SLICE(".."),   SLICE("..."),      SLICE("a.b.c"),
                                        SLICE("a.b."), SLICE("\0.\0.\0"), SLICE("Bearer x.y.z")};
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    struct buf token;
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        compose(&token, &key, SLICE(HS256_HEADER), SLICE("{" GOOD_CLAIMS "}"));
        buf_append(&token, slice_str(tails[i]));
        cr_expect_str_neq(verify(buf_slice(&token), &key, &rules), "none", "\"%s\"", tails[i]);
        buf_fini(&token);
    }
    compose(&token, &key, SLICE(HS256_HEADER), SLICE("{" GOOD_CLAIMS "}"));
    buf_append_char(&token, '\0');
    cr_expect_str_neq(verify(buf_slice(&token), &key, &rules), "none", "a NUL");
    buf_fini(&token);
    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++) {
        cr_expect_str_eq(verify(bare[i], &key, &rules), "malformed", "case %zu", i);
    }
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

/* Other spellings of the same bytes, signed as they stand: base64 is strict in every part. */
Test(jwt, base64_is_strict) {
    static const struct {
        const char *text; /* of the first two parts */
        const char *wanted;
    } cases[] = {
        /* {"alg":"HS256"} . {"sub":"u1","exp":1700000100} */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "none"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0=", "malformed"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH1", "malformed"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0A", "malformed"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0\n", "malformed"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJz dWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "malformed"},
        {" eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "malformed"},
        {"eyJhbGciOiJIUzI1NiJ9====.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "malformed"},
        /* with blanks in the header, to have unused bits: {"alg":"HS256" } */
        {"eyJhbGciOiJIUzI1NiIgfQ.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "none"},
        {"eyJhbGciOiJIUzI1NiIgfR.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "malformed"},
        {"eyJhbGciOiJIUzI1NiIgfQ==.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "malformed"},
        /* the other alphabet: {"sub":"u1???>>>","exp":1700000100} */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MT8_Pz4-PiIsImV4cCI6MTcwMDAwMDEwMH0", "none"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MT8/Pz4+PiIsImV4cCI6MTcwMDAwMDEwMH0", "malformed"},
        {"eyJhbGciOiJIUzI1NiJ9.", "malformed"},
        {".eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0", "malformed"},
        {".", "malformed"},
    };
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf token;
        buf_init(&token, 1000);
        buf_append(&token, slice_str(cases[i].text));
        append_signature(&token, &key);
        cr_expect_str_eq(verify(buf_slice(&token), &key, &rules), cases[i].wanted, "%s",
                         cases[i].text);
        buf_fini(&token);
    }
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

/* Signatures of the wrong length: cut off, a zero more, another algorithm's. */
Test(jwt, signature_lengths) {
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    unsigned char mac[HASH_MAX_BYTES + 1] = {0};
    struct slice text = SLICE("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTcwMDAwMDEwMH0");
    cr_assert_eq(hash_hmac(key.hmac, text, mac), RC_OK);
    for (size_t n = 0; n <= sizeof mac; n++) {
        struct buf token;
        buf_init(&token, 1000);
        buf_append(&token, text);
        buf_append_char(&token, '.');
        append_encoded(&token, slice_make(mac, n));
        cr_expect_str_eq(verify(buf_slice(&token), &key, &rules), n == 32 ? "none" : "signature",
                         "%zu bytes", n);
        buf_fini(&token);
    }
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

Test(jwt, huge) {
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    static char claims[LIMIT_JWT_BYTES];
    static char dots[LIMIT_JWT_BYTES];
    size_t good = 0;
    for (size_t n = 6000; n < 6200; n++) {
        struct buf token;
        int head = snprintf(claims, sizeof claims, "{" GOOD_CLAIMS ",\"x\":\"");
        memset(claims + head, 'x', n - (size_t)head);
        claims[n - 2] = '"';
        claims[n - 1] = '}';
        compose(&token, &key, SLICE(HS256_HEADER), slice_make(claims, n));
        bool fits = token.len <= LIMIT_JWT_BYTES;
        cr_expect_str_eq(verify(buf_slice(&token), &key, &rules), fits ? "none" : "malformed",
                         "%zu bytes", token.len);
        good += fits;
        buf_fini(&token);
    }
    cr_assert(good > 0 && good < 200, "both sides of the limit were tried");

    memset(dots, '.', sizeof dots);
    cr_expect_str_eq(verify(slice_make(dots, sizeof dots), &key, &rules), "malformed");
    memset(claims, '[', 6000);
    struct buf token;
    compose(&token, &key, SLICE(HS256_HEADER), slice_make(claims, 6000));
    cr_expect_str_eq(verify(buf_slice(&token), &key, &rules), "malformed", "deeply nested");
    buf_fini(&token);
    hash_hmac_key_free(key.hmac);
    CHECK_LEAKS();
}

Test(jwt, payloads) {
    static const struct {
        const char *payload;
        const char *wanted;
    } cases[] = {
        {"{" GOOD_CLAIMS "}", "none"},
        {"{" GOOD_CLAIMS ",\"type\":\"access\",\"iat\":\"whenever\",\"jti\":7}", "none"},
        {"{" GOOD_CLAIMS ",\"sub\":\"admin\"}", "malformed"},
        {"{" GOOD_CLAIMS ",\"\\u0073ub\":\"u1\"}", "malformed"},
        {"{" GOOD_CLAIMS ",\"exp\":1700000100}", "malformed"},
        {"{" GOOD_CLAIMS ",\"x\":{\"a\":1,\"a\":1}}", "malformed"},
        {"[" GOOD_CLAIMS "]", "malformed"},
        {"[{" GOOD_CLAIMS "}]", "malformed"},
        {"\"u1\"", "malformed"},
        {"1700000100", "malformed"},
        {"null", "malformed"},
        {"", "malformed"},
        {"{" GOOD_CLAIMS "}{}", "malformed"},
        {"{" GOOD_CLAIMS ",}", "malformed"},
        {"{" GOOD_CLAIMS ",\"x\":\"\xFF\"}", "malformed"},
        {"{" GOOD_CLAIMS ",\"x\":\"\xED\xA0\x80\"}", "malformed"},
        {"{" GOOD_CLAIMS ",\"x\":NaN}", "malformed"},
        {"{" GOOD_CLAIMS ",\"x\":1e999}", "malformed"},
        {"{\"sub\":\"u1\"}", "no_expiry"},
        {"{" GOOD_CLAIMS ",\"type\":\"refresh\"}", "type"},
        {"{" GOOD_CLAIMS ",\"type\":\"Access\"}", "type"},
        {"{" GOOD_CLAIMS ",\"type\":\"\"}", "type"},
        {"{" GOOD_CLAIMS ",\"type\":null}", "type"},
        {"{" GOOD_CLAIMS ",\"type\":[\"access\"]}", "type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_claims(cases[i].payload, cases[i].wanted);
    }
    check(SLICE(HS256_HEADER), SLICE("{" GOOD_CLAIMS "}\0"), "malformed");
    CHECK_LEAKS();
}

/* now is 1700000000, the leeway 30 s. */
Test(jwt, times) {
    static const struct {
        const char *exp;
        const char *nbf; /* NULL: none */
        const char *wanted;
    } cases[] = {
        {"1700000001", NULL, "none"},
        {"1699999971", NULL, "none"},
        {"1699999970", NULL, "expired"}, /* on or after exp */
        {"1699999970.9", NULL, "expired"},
        {"1699999971.5", NULL, "none"},
        {"1.7000001e9", NULL, "none"},
        {"0", NULL, "expired"},
        {"-0.0", NULL, "expired"},
        {"253402300799", NULL, "none"},
        {"253402300800", NULL, "malformed"},
        {"1e15", NULL, "malformed"},
        {"1e308", NULL, "malformed"},
        {"1e309", NULL, "malformed"},
        {"9223372036854775807", NULL, "malformed"},
        {"9223372036854775808", NULL, "malformed"},
        {"99999999999999999999999999", NULL, "malformed"},
        {"-1", NULL, "malformed"},
        {"-9223372036854775808", NULL, "malformed"},
        {"\"1700000100\"", NULL, "malformed"},
        {"true", NULL, "malformed"},
        {"null", NULL, "malformed"},
        {"[1700000100]", NULL, "malformed"},
        {"1700000100", "1700000000", "none"},
        {"1700000100", "1700000030", "none"},
        {"1700000100", "1700000030.5", "not_yet_valid"},
        {"1700000100", "1700000031", "not_yet_valid"},
        {"1700000100", "0", "none"},
        {"1700000100", "1e300", "malformed"},
        {"1700000100", "-5", "malformed"},
        {"1700000100", "\"0\"", "malformed"},
        {"1700000100", "null", "malformed"},
        {"1700000100", "false", "malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char claims[200];
        snprintf(claims, sizeof claims, "{\"sub\":\"u1\",\"exp\":%s%s%s}", cases[i].exp,
                 cases[i].nbf != NULL ? ",\"nbf\":" : "", cases[i].nbf != NULL ? cases[i].nbf : "");
        check_claims(claims, cases[i].wanted);
    }
    CHECK_LEAKS();
}

Test(jwt, subjects) {
    static const struct {
        const char *sub;
        const char *wanted;
    } cases[] = {
        {"\"u\"", "none"},
        {"\"auth0|5f7c 8ec7-\\u00e4\\u20ac\\ud83d\\ude00\"", "none"},
        {"\"\"", "subject"},
        {"7", "subject"},
        {"null", "subject"},
        {"true", "subject"},
        {"[\"u\"]", "subject"},
        {"{\"u\":1}", "subject"},
        {"\"u\\n\"", "subject"},
        {"\"\\tu\"", "subject"},
        {"\"u\\u001fx\"", "subject"},
        {"\"u\\u007f\"", "subject"},
        {"\"\\u0080\"", "subject"},
        {"\"u\\u009f\"", "subject"},
        {"\"\\u00a0\"", "none"}, /* the first that is no control character */
        {"\"u\\u0000x\"", "malformed"},
        {"\"\\ud800\"", "malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char claims[200];
        snprintf(claims, sizeof claims, "{\"exp\":1700000100,\"sub\":%s}", cases[i].sub);
        check_claims(claims, cases[i].wanted);
    }
    check_claims("{\"exp\":1700000100}", "subject");
    for (int n = 254; n <= 257; n++) {
        char claims[400];
        char sub[258];
        memset(sub, 'u', sizeof sub);
        snprintf(claims, sizeof claims, "{\"exp\":1700000100,\"sub\":\"%.*s\"}", n, sub);
        check_claims(claims, n <= 255 ? "none" : "subject");
    }
    CHECK_LEAKS();
}

static void check_rules(const char *claims, const struct jwt_rules *with, const char *wanted) {
    struct jwt_key key = key_of(HASH_HS256, SLICE(SECRET));
    struct buf payload;
    struct buf token;
    buf_init(&payload, 1000);
    BUF_LIT(&payload, "{" GOOD_CLAIMS);
    buf_append(&payload, slice_str(claims));
    BUF_LIT(&payload, "}");
    compose(&token, &key, SLICE(HS256_HEADER), buf_slice(&payload));
    cr_expect_str_eq(verify(buf_slice(&token), &key, with), wanted, "%s", claims);
    buf_fini(&token);
    buf_fini(&payload);
    hash_hmac_key_free(key.hmac);
}

Test(jwt, issuer_and_audience) {
    struct jwt_rules with = rules;
    with.issuer = SLICE("https://platform.example");
    check_rules(",\"iss\":\"https://platform.example\"", &with, "none");
    check_rules(",\"iss\":\"https://platform.example/\"", &with, "issuer");
    check_rules(",\"iss\":\"https://platform.exampl\"", &with, "issuer");
    check_rules(",\"iss\":[\"https://platform.example\"]", &with, "issuer");
    check_rules(",\"iss\":null", &with, "issuer");
    check_rules("", &with, "issuer");

    with = rules;
    with.audience = SLICE("latchkey");
    check_rules(",\"aud\":\"latchkey\"", &with, "none");
    check_rules(",\"aud\":[\"other\",\"latchkey\"]", &with, "none");
    check_rules(",\"aud\":\"Latchkey\"", &with, "audience");
    check_rules(",\"aud\":\"latchkey,other\"", &with, "audience");
    check_rules(",\"aud\":[]", &with, "audience");
    check_rules(",\"aud\":[\"other\"]", &with, "audience");
    check_rules(",\"aud\":[\"latchkey\",7]", &with, "audience");
    check_rules(",\"aud\":[[\"latchkey\"]]", &with, "audience");
    check_rules(",\"aud\":{\"latchkey\":1}", &with, "audience");
    check_rules(",\"aud\":7", &with, "audience");
    check_rules("", &with, "audience");

    check_rules(",\"aud\":\"anyone\",\"iss\":7", &rules,
                "none"); /* not configured: not looked at */
    CHECK_LEAKS();
}

Test(jwt, leeway) {
    struct jwt_rules with = rules;
    with.leeway_s = 0;
    with.now_s = 1700000100;
    check_rules("", &with, "expired");
    with.now_s = 1700000099;
    check_rules("", &with, "none");
    check_rules(",\"nbf\":1700000100", &with, "not_yet_valid");
    with.leeway_s = 300;
    with.now_s = 1700000399;
    check_rules("", &with, "none");
    with.now_s = 1700000400;
    check_rules("", &with, "expired");
    CHECK_LEAKS();
}

Test(jwt, reasons_have_texts) {
    for (int i = 0; i < JWT_REASON_COUNT; i++) {
        cr_assert_not_null(jwt_reason_text((enum jwt_reason)i));
    }
    cr_assert_str_eq(jwt_reason_text((enum jwt_reason)99), "unknown");
}
