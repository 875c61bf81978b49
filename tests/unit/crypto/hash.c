// SPDX-License-Identifier: MIT
#include "crypto/hash.h"

#include <criterion/criterion.h>

#include "kit/leaks.h"

static void to_hex(const unsigned char *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

static void check_sha256(struct slice message, const char *wanted) {
    unsigned char digest[HASH_SHA256_BYTES];
    char hex[2 * HASH_SHA256_BYTES + 1];
    cr_assert_eq(hash_sha256(message, digest), RC_OK);
    to_hex(digest, sizeof digest, hex);
    cr_assert_str_eq(hex, wanted);
}

/* The examples of FIPS 180-4 (NIST, "SHA-256 examples"). */
Test(hash, sha256_vectors) {
    static char million[1000000];
    cr_assert_eq(hash_init(), RC_OK);
    memset(million, 'a', sizeof million);
    check_sha256(SLICE("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_sha256(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check_sha256(SLICE(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_sha256(SLICE_NULL, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_sha256(slice_make(million, sizeof million),
                 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    CHECK_LEAKS();
}

/* RFC 7636 appendix B. */
Test(hash, pkce_vector) {
    char challenge[RANDOM_TEXT_BYTES];
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(
        hash_pkce_challenge(SLICE("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), challenge),
        RC_OK);
    cr_assert(slice_eq(slice_make(challenge, sizeof challenge),
                       SLICE("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")));
}

/* RFC 4231 section 4, but for case 5, which is about truncation. */
static const struct {
    size_t key_bytes;
    int key_byte; /* repeated; -1: counts from 1 */
    const char *key;
    struct slice message;
    const char *wanted[3];
} vectors[] = {
    {20,
     0x0b,
     NULL,
     SLICE("Hi There"),
     {"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa"
      "9"
      "cb6",
      "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3"
      "f"
      "4e4be9d914eeb61f1702e696c203a126854"}},
    {4,
     0,
     "Jefe",
     SLICE("what do ya want for nothing?"),
     {"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab2"
      "1"
      "649",
      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0"
      "e"
      "6fdcaeab1a34d4a6b4b636e070a38bce737"}},
    {20,
     0xaa,
     NULL,
     SLICE("\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd"
           "\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd"
           "\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd"),
     {"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
      "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a3"
      "4"
      "f27",
      "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67"
      "c"
      "807b946a337bee8942674278859e13292fb"}},
    {25,
     -1,
     NULL,
     SLICE("\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd"
           "\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd"
           "\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd"),
     {"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
      "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674"
      "c"
      "ffb",
      "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc578"
      "8"
      "063a5f19741120c4f2de2adebeb10a298dd"}},
    {131,
     0xaa,
     NULL,
     SLICE("Test Using Larger Than Block-Size Key - Hash Key First"),
     {"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f4"
      "4"
      "952",
      "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a"
      "1"
      "e5295e64f73f63f0aec8b915a985d786598"}},
    {131,
     0xaa,
     NULL,
     SLICE("This is a test using a larger than block-size key and a larger than block-size data. "
           "The key needs to be hashed before being used by the HMAC algorithm."),
     {"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
      "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860e6110c46"
      "5"
      "23e",
      "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4"
      "d"
      "e15134676fb6de0446065c97440fa8c6a58"}},
};

Test(hash, rfc4231_vectors) {
    cr_assert_eq(hash_init(), RC_OK);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        unsigned char key[131];
        for (size_t k = 0; k < vectors[i].key_bytes; k++) {
            int byte = vectors[i].key_byte < 0 ? (int)k + 1 : vectors[i].key_byte;
            key[k] = (unsigned char)(vectors[i].key != NULL ? vectors[i].key[k] : byte);
        }
        for (int alg = HASH_HS256; alg <= HASH_HS512; alg++) {
            unsigned char mac[HASH_MAX_BYTES];
            char hex[2 * HASH_MAX_BYTES + 1];
            struct hash_hmac_key *prepared =
                hash_hmac_key_new((enum hash_hmac_alg)alg, slice_make(key, vectors[i].key_bytes));
            cr_assert_not_null(prepared);
            for (int round = 0; round < 2; round++) { /* a key is not used up */
                cr_assert_eq(hash_hmac(prepared, vectors[i].message, mac), RC_OK);
                to_hex(mac, hash_hmac_bytes((enum hash_hmac_alg)alg), hex);
                cr_assert_str_eq(hex, vectors[i].wanted[alg], "case %zu", i);
            }
            hash_hmac_key_free(prepared);
        }
    }
    hash_hmac_key_free(NULL);
    CHECK_LEAKS();
}

/* HMAC pads the key with zeros to a block (64 bytes here): at that length and beyond, the edge. */
Test(hash, key_lengths_around_a_block) {
    char zeros[65] = {0};
    unsigned char macs[4][HASH_MAX_BYTES];
    static const size_t lengths[4] = {0, 63, 64, 65};
    cr_assert_eq(hash_init(), RC_OK);
    for (size_t i = 0; i < 4; i++) {
        struct hash_hmac_key *key = hash_hmac_key_new(HASH_HS256, slice_make(zeros, lengths[i]));
        cr_assert_eq(hash_hmac(key, SLICE_NULL, macs[i]), RC_OK);
        hash_hmac_key_free(key);
    }
    cr_assert_arr_eq(macs[0], macs[1], 32);
    cr_assert_arr_eq(macs[0], macs[2], 32);
    cr_assert_neq(memcmp(macs[0], macs[3], 32), 0, "65 zeros are hashed first");
    CHECK_LEAKS();
}
