// SPDX-License-Identifier: MIT
#pragma once

#include "base/limits.h"
#include "base/rc.h"
#include "base/slice.h"

enum { HASH_SHA256_BYTES = 32, HASH_MAX_BYTES = 64 };

/* Once a process, before anything else of crypto/, after any fork. RC_CRYPTO when it fails. */
enum rc hash_init(void);

enum rc hash_sha256(struct slice bytes, unsigned char out[HASH_SHA256_BYTES]);

/* PKCE, RFC 7636 section 4.2: S256 of a verifier, as 43 base64url characters, no NUL. */
enum rc hash_pkce_challenge(struct slice verifier, char out[RANDOM_TEXT_BYTES]);

/* HMAC (RFC 2104) under a key that was prepared once. Any thread, many at once on one key. */
enum hash_hmac_alg { HASH_HS256, HASH_HS384, HASH_HS512 };

struct hash_hmac_key; /* opaque: wiped by the free */

struct hash_hmac_key *hash_hmac_key_new(enum hash_hmac_alg alg,
                                        struct slice key); /* NULL: failed */
void hash_hmac_key_free(struct hash_hmac_key *key);

size_t hash_hmac_bytes(enum hash_hmac_alg alg); /* 32, 48, 64 */
enum rc hash_hmac(const struct hash_hmac_key *key, struct slice message,
                  unsigned char out[HASH_MAX_BYTES]);

/* Of the crypto library that runs ("2.28.3"). */
enum { HASH_VERSION_BYTES = 16 };
void hash_library_version(char out[HASH_VERSION_BYTES]);
