// SPDX-License-Identifier: MIT
#include "crypto/hash.h"

#include <mbedtls/version.h>
#include <psa/crypto.h>
#include <string.h>

#include "base/b64.h"
#include "base/mem.h"

/* HMAC is built here over PSA's hashes, not with PSA's own HMAC: that one needs a key in the global
 * key store, which in mbedTLS 2.28 no thread may touch while another does. Keyless operations share
 * nothing, so a verification on the loop never waits for a sealing thread. It is also faster: the
 * states after the key's two blocks are kept, and each message starts from a copy of them. */
struct hash_hmac_key {
    enum hash_hmac_alg alg;
    psa_hash_operation_t inner;
    psa_hash_operation_t outer;
};

enum { BLOCK_MAX_BYTES = 128 };

static const struct hash {
    psa_algorithm_t psa;
    size_t bytes;
    size_t block_bytes;
} hashes[] = {
    [HASH_HS256] = {PSA_ALG_SHA_256, 32, 64},
    [HASH_HS384] = {PSA_ALG_SHA_384, 48, 128},
    [HASH_HS512] = {PSA_ALG_SHA_512, 64, 128},
};

static const unsigned char *bytes_of(struct slice s) {
    return (const unsigned char *)(s.len > 0 ? s.at : "");
}

enum rc hash_init(void) {
    return psa_crypto_init() == PSA_SUCCESS ? RC_OK : RC_CRYPTO;
}

enum rc hash_sha256(struct slice bytes, unsigned char out[HASH_SHA256_BYTES]) {
    size_t n = 0;
    psa_status_t status =
        psa_hash_compute(PSA_ALG_SHA_256, bytes_of(bytes), bytes.len, out, HASH_SHA256_BYTES, &n);
    return status == PSA_SUCCESS && n == HASH_SHA256_BYTES ? RC_OK : RC_CRYPTO;
}

enum rc hash_pkce_challenge(struct slice verifier, char out[RANDOM_TEXT_BYTES]) {
    unsigned char digest[HASH_SHA256_BYTES];
    if (hash_sha256(verifier, digest) != RC_OK) {
        return RC_CRYPTO;
    }
    b64_encode_unpadded(out, slice_make(digest, sizeof digest));
    return RC_OK;
}

/* The state of a hash that has taken the key's block, every byte of it XORed with `pad`. */
static psa_status_t start_padded(psa_hash_operation_t *op, const struct hash *hash,
                                 const unsigned char block[BLOCK_MAX_BYTES], unsigned char pad) {
    unsigned char padded[BLOCK_MAX_BYTES];
    for (size_t i = 0; i < hash->block_bytes; i++) {
        padded[i] = block[i] ^ pad;
    }
    psa_status_t status = psa_hash_setup(op, hash->psa);
    if (status == PSA_SUCCESS) {
        status = psa_hash_update(op, padded, hash->block_bytes);
    }
    mem_wipe(padded, sizeof padded);
    return status;
}

struct hash_hmac_key *hash_hmac_key_new(enum hash_hmac_alg alg, struct slice key) {
    const struct hash *hash = &hashes[alg];
    unsigned char block[BLOCK_MAX_BYTES] = {0};
    psa_status_t status = PSA_SUCCESS;
    size_t n = 0;
    if (key.len > hash->block_bytes) {
        /* Not the whole block as room: PSA fills what a hash leaves of it, and zeros belong there.
         */
        status = psa_hash_compute(hash->psa, bytes_of(key), key.len, block, hash->bytes, &n);
    } else {
        memcpy(block, bytes_of(key), key.len);
    }
    struct hash_hmac_key *made = mem_calloc(1, sizeof *made);
    made->alg = alg;
    made->inner = psa_hash_operation_init();
    made->outer = psa_hash_operation_init();
    if (status == PSA_SUCCESS) {
        status = start_padded(&made->inner, hash, block, 0x36);
    }
    if (status == PSA_SUCCESS) {
        status = start_padded(&made->outer, hash, block, 0x5C);
    }
    mem_wipe(block, sizeof block);
    if (status != PSA_SUCCESS) {
        hash_hmac_key_free(made);
        return NULL;
    }
    return made;
}

void hash_hmac_key_free(struct hash_hmac_key *key) {
    if (key == NULL) {
        return;
    }
    psa_hash_abort(&key->inner);
    psa_hash_abort(&key->outer);
    mem_wipe(key, sizeof *key);
    mem_free(key);
}

size_t hash_hmac_bytes(enum hash_hmac_alg alg) {
    return hashes[alg].bytes;
}

static psa_status_t finish_from(const psa_hash_operation_t *state, struct slice message,
                                unsigned char out[HASH_MAX_BYTES]) {
    psa_hash_operation_t op = psa_hash_operation_init();
    size_t n = 0;
    psa_status_t status = psa_hash_clone(state, &op);
    if (status == PSA_SUCCESS) {
        status = psa_hash_update(&op, bytes_of(message), message.len);
    }
    if (status == PSA_SUCCESS) {
        status = psa_hash_finish(&op, out, HASH_MAX_BYTES, &n);
    }
    psa_hash_abort(&op);
    return status;
}

enum rc hash_hmac(const struct hash_hmac_key *key, struct slice message,
                  unsigned char out[HASH_MAX_BYTES]) {
    unsigned char inner[HASH_MAX_BYTES];
    psa_status_t status = finish_from(&key->inner, message, inner);
    if (status == PSA_SUCCESS) {
        status = finish_from(&key->outer, slice_make(inner, hashes[key->alg].bytes), out);
    }
    mem_wipe(inner, sizeof inner);
    return status == PSA_SUCCESS ? RC_OK : RC_CRYPTO;
}

void hash_library_version(char out[HASH_VERSION_BYTES]) {
    mbedtls_version_get_string(out);
}
