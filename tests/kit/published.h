// SPDX-License-Identifier: MIT
#pragma once

#include "base/buf.h"
#include "crypto/jwks.h"

/* A platform's key pairs: shows the published half as a JWK, signs tokens with the other. The keys
 * were made for these tests and are good for nothing else. Any thread. */
enum published_key {
    PUBLISHED_RSA_1, /* of 2048 bits */
    PUBLISHED_RSA_2,
    PUBLISHED_EC_1, /* of P-256 */
    PUBLISHED_EC_2,
    PUBLISHED_KEYS
};

/* Appends {"kty":…,"kid":…}; `kid` NULL: none. `more`: further members, "\"use\":\"sig\"", or NULL.
 */
void published_jwk(struct buf *out, enum published_key key, const char *kid, const char *more);

/* The bytes of n, or of x and y. */
enum { PUBLISHED_MATERIAL_BYTES = 256 };
struct slice published_material(enum published_key key, char out[PUBLISHED_MATERIAL_BYTES]);

/* Appends a signature of `text`, not encoded. */
void published_sign(struct buf *out, enum published_key key, enum jwks_alg alg, struct slice text);

/* Appends header.payload.signature of two JSON texts. */
void published_token(struct buf *out, enum published_key key, enum jwks_alg alg, const char *header,
                     const char *payload);

/* The usual: {"alg":…,"kid":…} over these claims, and a NUL. */
enum { PUBLISHED_TOKEN_BYTES = 4096 };
void published_jwt(char out[PUBLISHED_TOKEN_BYTES], enum published_key key, enum jwks_alg alg,
                   const char *kid, const char *payload);
