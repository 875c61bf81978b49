// SPDX-License-Identifier: MIT
#include "crypto/box.h"

#include <mbedtls/gcm.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/hash.h"

enum { NONCE_BYTES = 12 };

static const unsigned char nonce[NONCE_BYTES];

static const unsigned char *bytes_of(struct slice s) {
    return (const unsigned char *)(s.len > 0 ? s.at : "");
}

enum rc box_key(struct slice secret, struct slice label, unsigned char key[BOX_KEY_BYTES]) {
    unsigned char mac[HASH_MAX_BYTES];
    struct hash_hmac_key *hmac = hash_hmac_key_new(HASH_HS256, secret);
    enum rc rc = hmac != NULL ? hash_hmac(hmac, label, mac) : RC_CRYPTO;
    hash_hmac_key_free(hmac);
    if (rc == RC_OK) {
        memcpy(key, mac, BOX_KEY_BYTES);
    }
    mem_wipe(mac, sizeof mac);
    return rc;
}

/* A context for the one call, as its key is: mbedTLS wipes it. To be freed, whatever is returned.
 */
static bool open_gcm(mbedtls_gcm_context *gcm, const unsigned char key[BOX_KEY_BYTES]) {
    mbedtls_gcm_init(gcm);
    return mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key, BOX_KEY_BYTES * 8) == 0;
}

enum rc box_seal(const unsigned char key[BOX_KEY_BYTES], struct slice beside, struct slice plain,
                 unsigned char *out) {
    mbedtls_gcm_context gcm;
    bool ok = open_gcm(&gcm, key) &&
              mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, plain.len, nonce, NONCE_BYTES,
                                        bytes_of(beside), beside.len, bytes_of(plain), out,
                                        BOX_TAG_BYTES, out + plain.len) == 0;
    mbedtls_gcm_free(&gcm);
    return ok ? RC_OK : RC_CRYPTO;
}

enum rc box_open(const unsigned char key[BOX_KEY_BYTES], struct slice beside, struct slice box,
                 unsigned char *out) {
    mbedtls_gcm_context gcm;
    enum rc rc = RC_NO_KEY_OPENS;
    if (box.len < BOX_TAG_BYTES) {
        return rc;
    }
    size_t len = box.len - BOX_TAG_BYTES;
    if (!open_gcm(&gcm, key)) {
        rc = RC_CRYPTO;
    } else {
        int code =
            mbedtls_gcm_auth_decrypt(&gcm, len, nonce, NONCE_BYTES, bytes_of(beside), beside.len,
                                     bytes_of(box) + len, BOX_TAG_BYTES, bytes_of(box), out);
        rc = code == 0 ? RC_OK : code == MBEDTLS_ERR_GCM_AUTH_FAILED ? RC_NO_KEY_OPENS : RC_CRYPTO;
    }
    mbedtls_gcm_free(&gcm);
    if (rc != RC_OK) {
        mem_wipe(out, len);
    }
    return rc;
}
