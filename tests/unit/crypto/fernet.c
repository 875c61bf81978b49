// SPDX-License-Identifier: MIT
#include "crypto/fernet.h"

#include <criterion/criterion.h>

#include "base/b64.h"
#include "crypto/hash.h"
#include "kit/leaks.h"

/* The vectors of the Fernet specification (github.com/fernet/spec: generate.json, verify.json,
 * invalid.json); their times in seconds since 1970. */
#define SPEC_KEY "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
#define SPEC_TOKEN                                                                                 \
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU" \
    "4IwqDA=="
enum { SPEC_NOW_S = 499162800 };

#define OTHER_KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static struct fernet_keys *parse(const char *text) {
    struct fernet_keys *keys = NULL;
    char problem[FERNET_PROBLEM_BYTES];
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(fernet_keys_parse(slice_str(text), &keys, problem), RC_OK, "%s", problem);
    cr_assert_str_eq(problem, "");
    return keys;
}

static enum rc open_at(const struct fernet_keys *keys, struct slice token, int64_t now_s,
                       int64_t ttl_s) {
    struct buf plain;
    size_t position = 0;
    buf_init(&plain, 100000);
    enum rc rc = fernet_open(keys, token, now_s, ttl_s, &plain, &position);
    cr_assert(rc == RC_OK || plain.len == 0, "something appended in spite of %s", rc_name(rc));
    buf_fini(&plain);
    return rc;
}

Test(fernet, spec_generate) {
    unsigned char iv[FERNET_IV_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct fernet_keys *keys = parse(SPEC_KEY);
    struct buf token;
    buf_init(&token, 1000);
    cr_assert_eq(fernet_seal(keys, SLICE("hello"), SPEC_NOW_S, iv, &token), RC_OK);
    cr_assert(slice_eq(buf_slice(&token), SLICE(SPEC_TOKEN)));
    buf_fini(&token);
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, spec_verify) {
    struct fernet_keys *keys = parse(SPEC_KEY);
    struct buf plain;
    size_t position = 99;
    buf_init(&plain, 5);
    cr_assert_eq(fernet_open(keys, SLICE(SPEC_TOKEN), SPEC_NOW_S + 1, 60, &plain, &position),
                 RC_OK);
    cr_assert(slice_eq(buf_slice(&plain), SLICE("hello")));
    cr_assert_eq(position, 0);
    buf_fini(&plain);
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, spec_invalid) {
    static const struct {
        const char *what;
        struct slice token;
        int64_t now_s;
    } cases[] = {
        {"incorrect mac",
         SLICE("gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1Yd"
               "ykQUFBQUFBQUFBQQ=="),
         SPEC_NOW_S + 1},
        {"too short", SLICE("gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA=="),
         SPEC_NOW_S + 1},
        {"invalid base64",
         SLICE("%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1Yd"
               "ykRtfsH-p1YsUD2Q=="),
         SPEC_NOW_S + 1},
        {"payload size not multiple of block size",
         SLICE("gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmx"
               "bx_v7mrfyudzUm"),
         SPEC_NOW_S + 1},
        {"payload padding error",
         SLICE("gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke"
               "6CnJNYIbkuKNqOhw=="),
         SPEC_NOW_S + 1},
        {"far-future TS (unacceptable clock skew)",
         SLICE("gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2"
               "a6kBd-iX9b_qXQcw=="),
         SPEC_NOW_S + 1},
        {"expired TTL",
         SLICE("gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1Yd"
               "ykRtfsH-p1YsUD2Q=="),
         SPEC_NOW_S + 91},
        {"incorrect IV (causes padding error)",
         SLICE("gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF"
               "2AUEZ1TIvcZjK1zQ=="),
         SPEC_NOW_S + 1},
    };
    struct fernet_keys *keys = parse(SPEC_KEY);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(open_at(keys, cases[i].token, cases[i].now_s, 60), RC_NO_KEY_OPENS, "%s",
                     cases[i].what);
    }
    cr_assert_eq(open_at(keys, cases[6].token, SPEC_NOW_S + 1, 60), RC_OK,
                 "the one that expired is good before that");
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, age) {
    struct fernet_keys *keys = parse(SPEC_KEY);
    static const struct {
        int64_t now_s;
        int64_t ttl_s;
        enum rc rc;
    } cases[] = {
        {SPEC_NOW_S + 60, 60, RC_OK},
        {SPEC_NOW_S + 61, 60, RC_NO_KEY_OPENS},
        {SPEC_NOW_S - 60, 60, RC_OK},
        {SPEC_NOW_S - 61, 60, RC_NO_KEY_OPENS},
        {-1, 60, RC_NO_KEY_OPENS},
        {INT64_MIN, 60, RC_NO_KEY_OPENS},
        {INT64_MAX, INT64_MAX, RC_OK},
        {INT64_MAX, 0, RC_OK}, /* no expiry */
        {0, 0, RC_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(open_at(keys, SLICE(SPEC_TOKEN), cases[i].now_s, cases[i].ttl_s), cases[i].rc,
                     "case %zu", i);
    }
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, every_length_comes_back) {
    static char text[16 * 1024];
    struct fernet_keys *keys = parse(OTHER_KEY);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)(i * 7);
    }
    for (size_t n = 0; n <= sizeof text; n = n < 70 ? n + 1 : n * 2 + 3) {
        struct buf token;
        struct buf plain;
        size_t position;
        buf_init(&token, fernet_token_bytes(n));
        buf_init(&plain, n);
        cr_assert_eq(fernet_seal(keys, slice_make(text, n), 1700000000, NULL, &token), RC_OK);
        cr_assert_eq(token.len, fernet_token_bytes(n));
        cr_assert(fernet_is_shaped(buf_slice(&token)), "%zu bytes", n);
        cr_assert_eq(fernet_open(keys, buf_slice(&token), 0, 0, &plain, &position), RC_OK);
        cr_assert(slice_eq(buf_slice(&plain), slice_make(text, n)), "%zu bytes", n);
        buf_fini(&token);
        buf_fini(&plain);
    }
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, caps) {
    struct fernet_keys *keys = parse(SPEC_KEY);
    struct buf out;
    size_t position;
    buf_init(&out, fernet_token_bytes(5) - 1);
    cr_assert_eq(fernet_seal(keys, SLICE("hello"), 0, NULL, &out), RC_TOO_LARGE);
    cr_assert_eq(out.len, 0);
    buf_fini(&out);
    buf_init(&out, 4);
    cr_assert_eq(fernet_open(keys, SLICE(SPEC_TOKEN), 0, 0, &out, &position), RC_TOO_LARGE);
    cr_assert_eq(out.len, 0);
    buf_fini(&out);
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, same_text_twice_differs) {
    struct fernet_keys *keys = parse(SPEC_KEY);
    struct buf tokens[2];
    for (int i = 0; i < 2; i++) {
        buf_init(&tokens[i], 1000);
        cr_assert_eq(fernet_seal(keys, SLICE("hello"), 0, NULL, &tokens[i]), RC_OK);
    }
    cr_assert(!slice_eq(buf_slice(&tokens[0]), buf_slice(&tokens[1])));
    buf_fini(&tokens[0]);
    buf_fini(&tokens[1]);
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

/* Each character replaced, each length short of the whole, and more than the whole. */
Test(fernet, tampered) {
    struct fernet_keys *keys = parse(SPEC_KEY);
    char text[] = SPEC_TOKEN "AAAA";
    size_t len = sizeof SPEC_TOKEN - 1;
    for (size_t i = 0; i < len; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        cr_expect_eq(open_at(keys, slice_make(text, len), 0, 0), RC_NO_KEY_OPENS, "at %zu", i);
        text[i] = '+';
        cr_expect_eq(open_at(keys, slice_make(text, len), 0, 0), RC_NO_KEY_OPENS, "at %zu", i);
        text[i] = kept;
        cr_expect_eq(open_at(keys, slice_make(text, i), 0, 0), RC_NO_KEY_OPENS, "%zu bytes", i);
    }
    cr_assert_eq(open_at(keys, slice_make(text, len), 0, 0), RC_OK);
    for (size_t more = 1; more <= 4; more++) {
        cr_expect_eq(open_at(keys, slice_make(text, len + more), 0, 0), RC_NO_KEY_OPENS);
    }
    cr_expect_eq(open_at(keys, SLICE_NULL, 0, 0), RC_NO_KEY_OPENS);
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

/* What becomes of a good token that is changed and then gets a right MAC again. */
static enum rc open_changed(const struct fernet_keys *keys, unsigned char version,
                            size_t ciphertext_bytes) {
    unsigned char raw[B64_DECODED_MAX(sizeof SPEC_TOKEN) + HASH_MAX_BYTES];
    char text[B64_BYTES(sizeof raw)];
    size_t n = 0;
    /* the first half of SPEC_KEY */
    struct slice secret = SLICE("\x73\x0f\xf4\xc7\xaf\x3d\x46\x92\x3e\x8e\xd4\x51\xee\x81\x3c\x87");
    struct hash_hmac_key *signing = hash_hmac_key_new(HASH_HS256, secret);
    cr_assert(b64_decode(raw, &n, SLICE(SPEC_TOKEN)));
    raw[0] = version;
    n = 25 + ciphertext_bytes;
    cr_assert_eq(hash_hmac(signing, slice_make(raw, n), raw + n), RC_OK);
    size_t chars = b64_encode(text, slice_make(raw, n + HASH_SHA256_BYTES));
    hash_hmac_key_free(signing);
    return open_at(keys, slice_make(text, chars), 0, 0);
}

/* A MAC by the right key over what is no token: another version, half a block, nothing inside. */
Test(fernet, authentic_but_wrong) {
    static const size_t wrong_bytes[] = {0, 8, 15, 17, 24, 31};
    struct fernet_keys *keys = parse(SPEC_KEY);
    cr_assert_eq(open_changed(keys, 0x80, 16), RC_OK);
    for (unsigned version = 0; version < 256; version++) {
        enum rc rc = open_changed(keys, (unsigned char)version, 16);
        cr_expect_eq(rc, version == 0x80 ? RC_OK : RC_NO_KEY_OPENS, "version %u", version);
    }
    for (size_t i = 0; i < sizeof wrong_bytes / sizeof wrong_bytes[0]; i++) {
        cr_expect_eq(open_changed(keys, 0x80, wrong_bytes[i]), RC_NO_KEY_OPENS, "%zu bytes",
                     wrong_bytes[i]);
    }
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, first_seals_all_open) {
    struct fernet_keys *old = parse(SPEC_KEY);
    struct fernet_keys *both = parse(" " OTHER_KEY " ,\t" SPEC_KEY " ");
    struct fernet_keys *fresh = parse(OTHER_KEY);
    struct buf token;
    struct buf plain;
    size_t position = 99;
    cr_assert_eq(fernet_keys_count(old), 1);
    cr_assert_eq(fernet_keys_count(both), 2);
    buf_init(&token, 1000);
    buf_init(&plain, 1000);
    cr_assert_eq(fernet_open(both, SLICE(SPEC_TOKEN), 0, 0, &plain, &position), RC_OK);
    cr_assert_eq(position, 1);
    cr_assert_eq(open_at(fresh, SLICE(SPEC_TOKEN), 0, 0), RC_NO_KEY_OPENS);
    cr_assert_eq(fernet_seal(both, SLICE("x"), 0, NULL, &token), RC_OK);
    cr_assert_eq(fernet_open(fresh, buf_slice(&token), 0, 0, &plain, &position), RC_OK);
    cr_assert_eq(position, 0);
    cr_assert_eq(open_at(old, buf_slice(&token), 0, 0), RC_NO_KEY_OPENS);
    cr_assert(slice_eq(buf_slice(&plain), SLICE("hellox")), "appended");
    buf_fini(&token);
    buf_fini(&plain);
    fernet_keys_free(old);
    fernet_keys_free(both);
    fernet_keys_free(fresh);
    fernet_keys_free(NULL);
    CHECK_LEAKS();
}

/* More keys than PSA's store has slots (32), in two lists at once as while keys are reloaded. */
Test(fernet, long_lists) {
    char text[100 * 45];
    for (size_t i = 0; i < 100; i++) {
        char key[FERNET_KEY_TEXT_BYTES + 1];
        cr_assert_eq(fernet_key_generate(key), RC_OK);
        memcpy(text + i * 45, key, 44);
        text[i * 45 + 44] = i < 99 ? ',' : '\0';
    }
    struct fernet_keys *first = parse(text);
    struct fernet_keys *second = parse(text);
    struct fernet_keys *last = parse(text + 99 * 45);
    struct buf token;
    struct buf plain;
    size_t position = 0;
    buf_init(&token, 1000);
    buf_init(&plain, 1000);
    cr_assert_eq(fernet_keys_count(first), 100);
    cr_assert_eq(fernet_seal(last, SLICE("x"), 0, NULL, &token), RC_OK);
    cr_assert_eq(fernet_open(second, buf_slice(&token), 0, 0, &plain, &position), RC_OK);
    cr_assert_eq(position, 99);
    buf_fini(&token);
    buf_fini(&plain);
    fernet_keys_free(first);
    fernet_keys_free(second);
    fernet_keys_free(last);
    CHECK_LEAKS();
}

/* What is wrong, and what would be right; the key itself never shows. */
Test(fernet, key_problems) {
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "key 1 is empty"},
        {"  ", "key 1 is empty"},
        {SPEC_KEY ",", "key 2 is empty"},
        {SPEC_KEY ",," OTHER_KEY, "key 2 is empty"},
        {"\"" SPEC_KEY "\"", "key 1 has quotes around or in it; write it without quotes"},
        {"'" SPEC_KEY "'", "key 1 has quotes"},
        {"b'" SPEC_KEY "'", "key 1 has quotes"},
        {SPEC_KEY ",'" OTHER_KEY "'", "key 2 has quotes"},
        {SPEC_KEY "\n", "key 1 ends with a newline; write it without the newline"},
        {SPEC_KEY "\r\n", "key 1 ends with a newline"},
        {SPEC_KEY "\n" OTHER_KEY, "key 1 has white space in it"},
        {SPEC_KEY " " OTHER_KEY, "key 1 has white space in it"},
        {"cw/0x689RpI+jtRR7oE8h/eQsKImvJapLeSbXpwF4e4=", "key 1 is standard base64"},
        {"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4", "key 1 is 43 characters long; the '='"},
        {"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4==", "key 1 is 45 characters long"},
        {"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4Q==", "key 1 is not the base64url of 32 bytes"},
        {"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4A", "key 1 is not the base64url of 32 bytes"},
        {"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF=e4=", "key 1 is not the base64url of 32 bytes"},
        {"shortened", "key 1 is 9 characters long; a Fernet key is 44 characters"},
        {"730ff4c7af3d46923e8ed451ee813c87f790b0a226bc96a92de49b5e9c05e1ee",
         "key 1 is 64 characters long; a Fernet key is 44"},
        {"cw_0x689RpI-jtRR7oE8h_eQsKImv.apLeSbXpwF4e4=",
         "key 1 has a character outside of the alphabet at position 30"},
        {"\xC2\xAB"
         "cw_0x689RpI",
         "key 1 has a character outside of the alphabet at position 1"},
    };
    cr_assert_eq(hash_init(), RC_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fernet_keys *keys = NULL;
        char problem[FERNET_PROBLEM_BYTES];
        enum rc rc = fernet_keys_parse(slice_str(cases[i].text), &keys, problem);
        cr_expect_eq(rc, RC_USAGE, "case %zu: %s", i, rc_name(rc));
        cr_expect_null(keys);
        cr_expect_eq(strncmp(problem, cases[i].says, strlen(cases[i].says)), 0, "case %zu: %s", i,
                     problem);
        cr_expect_null(strstr(problem, "x689"), "the key shows: %s", problem);
        cr_expect_lt(strlen(problem), FERNET_PROBLEM_BYTES - 40, "nearly cut off: %s", problem);
    }
    struct fernet_keys *keys = NULL;
    char problem[FERNET_PROBLEM_BYTES];
    struct slice with_nul = slice_make("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4\0", 44);
    cr_assert_eq(fernet_keys_parse(with_nul, &keys, problem), RC_USAGE);
    cr_assert_eq(fernet_keys_parse(SLICE_NULL, &keys, problem), RC_USAGE);
    CHECK_LEAKS();
}

/* Python's cryptography takes a key whose last character has bits too many; so it works here too,
 * and is the same key. */
Test(fernet, key_with_unused_bits) {
    struct fernet_keys *keys = parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e7=");
    cr_assert_eq(open_at(keys, SLICE(SPEC_TOKEN), 0, 0), RC_OK);
    fernet_keys_free(keys);
    CHECK_LEAKS();
}

Test(fernet, generated_keys) {
    char first[FERNET_KEY_TEXT_BYTES + 1];
    char second[FERNET_KEY_TEXT_BYTES + 1];
    cr_assert_eq(fernet_key_generate(first), RC_OK);
    cr_assert_eq(fernet_key_generate(second), RC_OK);
    cr_assert_eq(strlen(first), FERNET_KEY_TEXT_BYTES);
    cr_assert_str_neq(first, second);
    fernet_keys_free(parse(first));
    CHECK_LEAKS();
}

Test(fernet, shape) {
    static const struct {
        struct slice value;
        bool shaped;
    } cases[] = {
        {SLICE(SPEC_TOKEN), true},
        /* no key opens these, but plaintext they are not */
        {SLICE(
             "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1Ydyk"
             "QUFBQUFBQUFBQQ=="),
         true},
        {SLICE(
             "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDA"),
         true},
        {SLICE(
             "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDP=="),
         true},
        {SLICE_NULL, false},
        {SLICE(""), false},
        {SLICE("="), false},
        {SLICE("=="), false},
        {SLICE("Atza|IwEBIA-legacy_access_token"), false},
        {SLICE("gAAAA"), false},
        {SLICE("AgAAAAA"), false},
        /* the version is not 0x80 */
        {SLICE(
             "gQAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDA=="),
         false},
        {SLICE(
             "hAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDA=="),
         false},
        /* damaged: no whole number of blocks, a character that stands for no byte, cut, white
           space, another alphabet */
        {SLICE(
             "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx"
             "_v7mrfyudzUm"),
         true},
        {SLICE(
             "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
         true},
        {SLICE("gAAAAA"), true},
        {SLICE(SPEC_TOKEN "\n"), true},
        {SLICE(
             "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ/eEwCGM4BLLF/5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDA=="),
         true},
        /* after 2106: whole it is known by its form, damaged it is not */
        {SLICE(
             "gP_______J6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDA=="),
         true},
        {SLICE(
             "gP_______J6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR"
             "64jVmpU4IwqDA==\n"),
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(fernet_is_shaped(cases[i].value), cases[i].shaped, "case %zu", i);
    }
}

/* The shape agrees with what opens: no value that opens is taken for plaintext, whatever its bytes.
 */
Test(fernet, shape_by_version_and_length) {
    unsigned char raw[120];
    for (int version = 0; version < 256; version++) {
        for (size_t n = 1; n <= sizeof raw; n++) {
            char text[B64_BYTES(sizeof raw)];
            memset(raw, version * 3, sizeof raw);
            raw[0] = (unsigned char)version;
            bool wanted = version == 0x80 && (n == 73 || n == 89 || n == 105);
            size_t chars = b64_encode(text, slice_make(raw, n));
            cr_assert_eq(fernet_is_shaped(slice_make(text, chars)), wanted, "%d, %zu bytes",
                         version, n);
        }
    }
}
