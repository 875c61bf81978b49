// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/b64.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/hash.h"
#include "crypto/jwks.h"

/* JSON Web Tokens in the compact serialisation (RFC 7515, 7519, 8725). Strict: unpadded base64url,
 * exactly three parts, no `crit`, one `alg` that the key is for, no doubled member, `none` never,
 * at most LIMIT_JWT_BYTES. */
struct jwt_key {
    enum hash_hmac_alg alg;
    struct hash_hmac_key *hmac;
};

struct jwt_rules {
    int64_t now_s;
    int64_t leeway_s;
    struct slice issuer;   /* null: not checked */
    struct slice audience; /* null: not checked; `aud` may be a string or a list */
};

/* Why a token was refused: goes to the log, never to the client. */
#define JWT_REASON_MAP(X)                                                                          \
    X(NONE, "none")                                                                                \
    X(MALFORMED, "malformed")                                                                      \
    X(ALGORITHM, "algorithm")                                                                      \
    X(KEY, "unknown_key")                                                                          \
    X(SIGNATURE, "signature")                                                                      \
    X(EXPIRED, "expired")                                                                          \
    X(NOT_YET_VALID, "not_yet_valid")                                                              \
    X(ISSUER, "issuer")                                                                            \
    X(AUDIENCE, "audience")                                                                        \
    X(SUBJECT, "subject")                                                                          \
    X(NO_EXPIRY, "no_expiry")                                                                      \
    X(TYPE, "type")
#define JWT_REASON_ENUM(name, text) JWT_##name,
enum jwt_reason { JWT_REASON_MAP(JWT_REASON_ENUM) JWT_REASON_COUNT };
#undef JWT_REASON_ENUM
const char *jwt_reason_text(enum jwt_reason reason);

/* What a verified token says. `claims` is the whole payload, owned by the receiver (json_close). */
struct jwt {
    struct json_document *claims;
    struct slice sub; /* 1-255 bytes, no control characters */
    int64_t exp_s;
    int64_t not_before_s; /* 0: none */
    size_t key_index;     /* of the key that verified it */
};

/* Tries `keys` in order (SECRET_KEY, then SECRET_KEY_OLD). JWT_NONE: good, and `*out` is filled.
 * Signature before claims; the signature is compared in constant time. On refusal `*out` is all
 * zero. Any thread. */
enum jwt_reason jwt_verify(struct slice token, const struct jwt_key *keys, size_t key_count,
                           const struct jwt_rules *rules, struct jwt *out);

/* The first half alone: form, header and signature of any JWS in the compact form. JWT_NONE: good;
 * `*payload` is then the middle part, still encoded, within `token`. Any thread. */
enum jwt_reason jwt_verify_signature(struct slice token, const struct jwt_key *keys,
                                     size_t key_count, struct slice *payload, size_t *key_index);

/* A token that a published key is to verify (crypto/jwks), taken apart. Points into itself: not to
 * be copied. */
struct jwt_published {
    enum jwks_alg alg;
    struct slice kid;         /* null: the token names no key */
    struct slice payload;     /* within the token, still encoded */
    struct slice signed_text; /* within the token */
    struct slice signature;
    char kid_at[LIMIT_KID_BYTES];
    unsigned char signature_at[B64_DECODED_MAX(B64_BYTES(JWKS_SIGNATURE_MAX_BYTES))];
};

/* Form and header: all that there is before a key is needed. JWT_KEY: a kid that no key can have.
 * JWT_ALGORITHM: another one than RS256, PS256 and ES256. Any thread. */
enum jwt_reason jwt_read_published(struct slice token, struct jwt_published *out);

/* The second half of jwt_verify: the claims of a payload, still encoded, whoever signed it. As it
 * costs next to nothing it may come before a signature that costs milliseconds. Any thread. */
enum jwt_reason jwt_read_claims(struct slice payload, const struct jwt_rules *rules,
                                struct jwt *out);

/* Appends a token with this header algorithm over the JSON text `payload`. RC_TOO_LARGE (out's cap)
 * or RC_CRYPTO: what was appended is no token. */
enum rc jwt_sign(const struct jwt_key *key, struct slice payload, struct buf *out);
