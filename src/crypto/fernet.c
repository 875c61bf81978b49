// SPDX-License-Identifier: MIT
#include "crypto/fernet.h"

#include <psa/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/b64.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/keystore.h"
#include "crypto/rng.h"

enum {
    VERSION = 0x80,
    AES_KEY_BYTES = 16,
    SIGNING_KEY_BYTES = 16,
    BLOCK_BYTES = 16,
    TIME_AT = 1,
    IV_AT = 9,
    CIPHERTEXT_AT = IV_AT + FERNET_IV_BYTES,
    MAC_BYTES = HASH_SHA256_BYTES,
    OVERHEAD_BYTES = CIPHERTEXT_AT + MAC_BYTES,
    SKEW_MAX_S = 60,
};

struct fernet_key {
    struct hash_hmac_key *signing;
    unsigned char aes[AES_KEY_BYTES];
};

/* The AES key enters PSA's store for the length of one operation: it costs 0.1 µs, and the store
 * has 32 slots only, fewer than a list of old keys may have. */
struct fernet_keys {
    size_t count;
    struct fernet_key keys[];
};

/* ---- keys ---- */

static bool is_key_character(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static bool has_any(struct slice text, const char *characters) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] != '\0' && strchr(characters, text.at[i]) != NULL) {
            return true;
        }
    }
    return false;
}

#define KEY_FORM "a Fernet key is 44 characters of A-Z a-z 0-9 - _ that end in one '='"

/* What is wrong with a key's text, as the rest of a sentence that starts with "key 1 "; false where
 * nothing is. The key itself is never in it. */
static bool describe_problem(struct slice key, char *out, size_t out_bytes) {
    size_t body = key.len > 0 && key.at[key.len - 1] == '=' ? key.len - 1 : key.len;
    size_t bad = 0;
    while (bad < body && is_key_character(key.at[bad])) {
        bad++;
    }
    if (key.len == 0) {
        snprintf(out, out_bytes, "is empty; between commas stands one key, and " KEY_FORM);
    } else if (has_any(key, "\"'`")) {
        snprintf(out, out_bytes, "has quotes around or in it; write it without quotes");
    } else if (key.at[key.len - 1] == '\n' || key.at[key.len - 1] == '\r') {
        snprintf(out, out_bytes, "ends with a newline; write it without the newline");
    } else if (has_any(key, " \t\r\n")) {
        snprintf(out, out_bytes, "has white space in it; " KEY_FORM ", and commas separate keys");
    } else if (has_any(key, "+/")) {
        snprintf(out, out_bytes,
                 "is standard base64; write '-' for each '+' and '_' for each '/' (base64url)");
    } else if (bad < body && key.at[bad] != '=') {
        snprintf(out, out_bytes,
                 "has a character outside of the alphabet at position %zu; " KEY_FORM, bad + 1);
    } else if (key.len == FERNET_KEY_TEXT_BYTES - 1 && body == key.len) {
        snprintf(out, out_bytes, "is 43 characters long; the '=' at its end is missing");
    } else if (key.len != FERNET_KEY_TEXT_BYTES) {
        snprintf(out, out_bytes, "is %zu characters long; " KEY_FORM, key.len);
    } else if (bad < body || body == key.len) {
        snprintf(out, out_bytes, "is not the base64url of 32 bytes; " KEY_FORM);
    } else {
        return false;
    }
    return true;
}

/* `text` has the right form. The two bits that its last character has too many are ignored, as
 * Python's cryptography ignores them. */
static enum rc key_init(struct fernet_key *key, struct slice text) {
    char padded[FERNET_KEY_TEXT_BYTES];
    unsigned char bytes[B64_DECODED_MAX(FERNET_KEY_TEXT_BYTES)];
    size_t n = 0;
    memcpy(padded, text.at, FERNET_KEY_TEXT_BYTES - 1);
    padded[FERNET_KEY_TEXT_BYTES - 1] = 'A';
    bool decoded = b64_decode_unpadded(bytes, &n, slice_make(padded, sizeof padded));
    if (decoded) {
        key->signing = hash_hmac_key_new(HASH_HS256, slice_make(bytes, SIGNING_KEY_BYTES));
        memcpy(key->aes, bytes + SIGNING_KEY_BYTES, AES_KEY_BYTES);
    }
    mem_wipe(padded, sizeof padded);
    mem_wipe(bytes, sizeof bytes);
    return decoded && key->signing != NULL ? RC_OK : RC_CRYPTO;
}

enum rc fernet_keys_parse(struct slice text, struct fernet_keys **out,
                          char problem[FERNET_PROBLEM_BYTES]) {
    char what[FERNET_PROBLEM_BYTES - 32];
    struct slice part;
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++) {
        count += text.at[i] == ',';
    }
    struct fernet_keys *keys = mem_calloc(1, sizeof *keys + count * sizeof keys->keys[0]);
    enum rc rc = RC_OK;
    struct slice rest = text.len > 0 ? text : SLICE("");
    problem[0] = '\0';
    while (rc == RC_OK && slice_split(&rest, ',', &part)) {
        size_t number = keys->count + 1;
        part = slice_trim(part);
        if (describe_problem(part, what, sizeof what)) {
            snprintf(problem, FERNET_PROBLEM_BYTES, "key %zu %s", number, what);
            rc = RC_USAGE;
        } else {
            rc = key_init(&keys->keys[keys->count++], part);
        }
    }
    if (rc == RC_CRYPTO) {
        snprintf(problem, FERNET_PROBLEM_BYTES, "the crypto library took no key");
    }
    if (rc != RC_OK) {
        fernet_keys_free(keys);
        keys = NULL;
    }
    *out = keys;
    return rc;
}

void fernet_keys_free(struct fernet_keys *keys) {
    if (keys == NULL) {
        return;
    }
    for (size_t i = 0; i < keys->count; i++) {
        hash_hmac_key_free(keys->keys[i].signing);
        mem_wipe(&keys->keys[i], sizeof keys->keys[i]);
    }
    mem_free(keys);
}

size_t fernet_keys_count(const struct fernet_keys *keys) {
    return keys->count;
}

/* Of the signing half only its prepared state is kept: equal keys make equal codes. */
static bool key_equals(const struct fernet_key *a, const struct fernet_key *b) {
    unsigned char macs[2][HASH_MAX_BYTES];
    bool same = hash_hmac(a->signing, SLICE("equal"), macs[0]) == RC_OK &&
                hash_hmac(b->signing, SLICE("equal"), macs[1]) == RC_OK &&
                slice_eq_ct(slice_make(macs[0], MAC_BYTES), slice_make(macs[1], MAC_BYTES)) &&
                slice_eq_ct(slice_make(a->aes, AES_KEY_BYTES), slice_make(b->aes, AES_KEY_BYTES));
    mem_wipe(macs, sizeof macs);
    return same;
}

bool fernet_keys_equal(const struct fernet_keys *a, const struct fernet_keys *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = key_equals(&a->keys[i], &b->keys[i]);
    }
    return same;
}

enum rc fernet_key_generate(char out[FERNET_KEY_TEXT_BYTES + 1]) {
    unsigned char bytes[SIGNING_KEY_BYTES + AES_KEY_BYTES];
    out[0] = '\0';
    if (rng_system(bytes, sizeof bytes) != RC_OK) {
        return RC_CRYPTO;
    }
    out[b64_encode(out, slice_make(bytes, sizeof bytes))] = '\0';
    mem_wipe(bytes, sizeof bytes);
    return RC_OK;
}

/* ---- AES-128-CBC with PKCS #7 ---- */

struct cbc {
    const unsigned char *aes; /* AES_KEY_BYTES */
    const unsigned char *iv;
    psa_key_usage_t usage; /* encrypt or decrypt */
};

static psa_status_t run_cipher(psa_cipher_operation_t *op, const struct cbc *cbc, struct slice in,
                               unsigned char *out, size_t *out_len) {
    size_t out_bytes = in.len + BLOCK_BYTES;
    size_t head = 0;
    size_t tail = 0;
    psa_status_t status = psa_cipher_set_iv(op, cbc->iv, FERNET_IV_BYTES);
    if (status == PSA_SUCCESS) {
        const unsigned char *from = (const unsigned char *)(in.len > 0 ? in.at : "");
        status = psa_cipher_update(op, from, in.len, out, out_bytes, &head);
    }
    if (status == PSA_SUCCESS) {
        status = psa_cipher_finish(op, out + head, out_bytes - head, &tail);
    }
    *out_len = head + tail;
    return status;
}

/* `out` has room for a block more than `in`. */
static psa_status_t cbc_run(const struct cbc *cbc, struct slice in, unsigned char *out,
                            size_t *out_len) {
    psa_key_attributes_t attributes = psa_key_attributes_init();
    psa_cipher_operation_t op = psa_cipher_operation_init();
    psa_key_id_t key = 0;
    psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
    psa_set_key_usage_flags(&attributes, cbc->usage);
    psa_set_key_algorithm(&attributes, PSA_ALG_CBC_PKCS7);
    *out_len = 0;
    keystore_lock();
    psa_status_t status = psa_import_key(&attributes, cbc->aes, AES_KEY_BYTES, &key);
    if (status == PSA_SUCCESS) {
        status = cbc->usage == PSA_KEY_USAGE_ENCRYPT
                     ? psa_cipher_encrypt_setup(&op, key, PSA_ALG_CBC_PKCS7)
                     : psa_cipher_decrypt_setup(&op, key, PSA_ALG_CBC_PKCS7);
    }
    if (status == PSA_SUCCESS) {
        status = run_cipher(&op, cbc, in, out, out_len);
    }
    psa_cipher_abort(&op);
    psa_destroy_key(key);
    keystore_unlock();
    return status;
}

/* ---- tokens ---- */

static size_t ciphertext_bytes(size_t plain_bytes) {
    return (plain_bytes / BLOCK_BYTES + 1) * BLOCK_BYTES;
}

size_t fernet_token_bytes(size_t plain_bytes) {
    return B64_BYTES(OVERHEAD_BYTES + ciphertext_bytes(plain_bytes));
}

/* Version, time, vector, ciphertext and MAC into `raw`, which has OVERHEAD_BYTES and a block more
 * than the plaintext. */
static enum rc seal_raw(const struct fernet_key *key, struct slice plain, int64_t now_s,
                        unsigned char *raw, size_t *raw_len) {
    unsigned char mac[HASH_MAX_BYTES];
    size_t n = 0;
    raw[0] = VERSION;
    for (size_t i = 0; i < 8; i++) {
        raw[TIME_AT + i] = (unsigned char)((uint64_t)now_s >> (56 - 8 * i));
    }
    struct cbc cbc = {key->aes, raw + IV_AT, PSA_KEY_USAGE_ENCRYPT};
    if (cbc_run(&cbc, plain, raw + CIPHERTEXT_AT, &n) != PSA_SUCCESS) {
        return RC_CRYPTO;
    }
    n += CIPHERTEXT_AT;
    if (hash_hmac(key->signing, slice_make(raw, n), mac) != RC_OK) {
        return RC_CRYPTO;
    }
    memcpy(raw + n, mac, MAC_BYTES);
    *raw_len = n + MAC_BYTES;
    return RC_OK;
}

enum rc fernet_seal(const struct fernet_keys *keys, struct slice plain, int64_t now_s,
                    const unsigned char iv[FERNET_IV_BYTES], struct buf *out) {
    size_t raw_len = 0;
    char *at = buf_reserve(out, fernet_token_bytes(plain.len));
    if (at == NULL) {
        return RC_TOO_LARGE;
    }
    unsigned char *raw = mem_alloc(OVERHEAD_BYTES + plain.len + BLOCK_BYTES);
    enum rc rc = RC_OK;
    if (iv != NULL) {
        memcpy(raw + IV_AT, iv, FERNET_IV_BYTES);
    } else {
        rc = rng_system(raw + IV_AT, FERNET_IV_BYTES);
    }
    if (rc == RC_OK) {
        rc = seal_raw(&keys->keys[0], plain, now_s, raw, &raw_len);
    }
    if (rc == RC_OK) {
        out->len += b64_encode(at, slice_make(raw, raw_len));
    }
    mem_free(raw);
    return rc;
}

static bool is_in_time(const unsigned char *raw, int64_t now_s, int64_t ttl_s) {
    uint64_t sealed_s = 0;
    for (size_t i = 0; i < 8; i++) {
        sealed_s = sealed_s << 8 | raw[TIME_AT + i];
    }
    if (ttl_s == 0) {
        return true;
    }
    if (sealed_s > INT64_MAX || now_s < 0) {
        return false;
    }
    int64_t age_s = now_s - (int64_t)sealed_s;
    return age_s <= ttl_s && age_s >= -SKEW_MAX_S;
}

/* The key whose MAC this token carries, or NULL. */
static const struct fernet_key *find_key(const struct fernet_keys *keys, struct slice raw) {
    unsigned char mac[HASH_MAX_BYTES];
    const struct fernet_key *found = NULL;
    struct slice signed_part = slice_head(raw, raw.len - MAC_BYTES);
    struct slice carried = slice_from(raw, raw.len - MAC_BYTES);
    for (size_t i = 0; i < keys->count && found == NULL; i++) {
        if (hash_hmac(keys->keys[i].signing, signed_part, mac) == RC_OK &&
            slice_eq_ct(slice_make(mac, MAC_BYTES), carried)) {
            found = &keys->keys[i];
        }
    }
    mem_wipe(mac, sizeof mac);
    return found;
}

static bool is_raw_form(const unsigned char *raw, size_t len) {
    return len >= OVERHEAD_BYTES + BLOCK_BYTES && (len - OVERHEAD_BYTES) % BLOCK_BYTES == 0 &&
           raw[0] == VERSION;
}

/* Decrypts an authenticated token and appends what it held. */
static enum rc open_raw(const struct fernet_key *key, struct slice raw, struct buf *plain) {
    struct slice ciphertext = slice_make(raw.at + CIPHERTEXT_AT, raw.len - OVERHEAD_BYTES);
    struct cbc cbc = {key->aes, (const unsigned char *)raw.at + IV_AT, PSA_KEY_USAGE_DECRYPT};
    size_t room = ciphertext.len + BLOCK_BYTES;
    unsigned char *opened = mem_alloc(room);
    size_t n = 0;
    psa_status_t status = cbc_run(&cbc, ciphertext, opened, &n);
    enum rc rc = RC_OK;
    if (status != PSA_SUCCESS) {
        rc = status == PSA_ERROR_INVALID_PADDING ? RC_NO_KEY_OPENS : RC_CRYPTO;
    } else {
        buf_append(plain, slice_make(opened, n));
        rc = buf_ok(plain) ? RC_OK : RC_TOO_LARGE;
    }
    mem_wipe(opened, room);
    mem_free(opened);
    return rc;
}

enum rc fernet_open(const struct fernet_keys *keys, struct slice token, int64_t now_s,
                    int64_t ttl_s, struct buf *plain, size_t *position) {
    size_t n = 0;
    unsigned char *raw = mem_alloc(B64_DECODED_MAX(token.len));
    enum rc rc = RC_NO_KEY_OPENS;
    if (b64_decode(raw, &n, token) && is_raw_form(raw, n) && is_in_time(raw, now_s, ttl_s)) {
        const struct fernet_key *key = find_key(keys, slice_make(raw, n));
        if (key != NULL) {
            rc = open_raw(key, slice_make(raw, n), plain);
            *position = (size_t)(key - keys->keys);
        }
    }
    mem_free(raw);
    return rc;
}

/* The version, and the zeros that the time of each seal before 2106 begins with: one in 2^36 of
 * other texts has them. */
#define HEAD SLICE("gAAAAA")

/* More generous than fernet_open: cut, with a character too many, without its padding or with other
 * unused bits, a sealed token is spoilt, but still no plaintext. */
bool fernet_is_shaped(struct slice value) {
    struct slice body = value;
    if (slice_starts(value, HEAD)) {
        return true;
    }
    for (int i = 0; i < 2 && body.len > 0 && body.at[body.len - 1] == '='; i++) {
        body.len--;
    }
    size_t bytes = body.len / 4 * 3 + (body.len % 4 * 6) / 8;
    if (bytes < OVERHEAD_BYTES + BLOCK_BYTES || (bytes - OVERHEAD_BYTES) % BLOCK_BYTES != 0 ||
        body.len % 4 == 1) {
        return false;
    }
    for (size_t i = 0; i < body.len; i++) {
        if (!is_key_character(body.at[i])) {
            return false;
        }
    }
    /* 0x80 is a 'g' and the two zero bits at the head of the next character. */
    return body.at[0] == 'g' && body.at[1] >= 'A' && body.at[1] <= 'P';
}
