// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/hash.h"

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
    struct json *claims;
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

/* Appends a token with this header algorithm over the JSON text `payload`. RC_TOO_LARGE (out's cap)
 * or RC_CRYPTO: what was appended is no token. */
enum rc jwt_sign(const struct jwt_key *key, struct slice payload, struct buf *out);
