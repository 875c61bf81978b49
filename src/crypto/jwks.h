// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/rc.h"
#include "base/slice.h"

/* A set of published keys (JWK Set, RFC 7517 and 7518). Immutable once parsed: any thread, many at
 * once. */
enum jwks_alg { JWKS_RS256, JWKS_PS256, JWKS_ES256, JWKS_ALG_COUNT };

extern const struct slice jwks_alg_names[JWKS_ALG_COUNT]; /* "RS256" … */

enum {
    JWKS_RSA_BITS_MIN = 2048,
    JWKS_RSA_BITS_MAX = 4096,
    JWKS_SIGNATURE_MAX_BYTES = JWKS_RSA_BITS_MAX / 8,
};

struct jwks;
struct jwks_key;

/* Takes the keys that can verify: RSA of 2048 to 4096 bits with an odd exponent of 3 or more, in at
 * most 32 bits; EC of P-256 with a point of the curve. `use`, `key_ops` and `alg` must allow it
 * where they stand there. All others are skipped, and so is one that shows its private half: anyone
 * can sign with it. A set without a usable key is a set. RC_MALFORMED: no JWK Set (a doubled member
 * makes it none); RC_TOO_LARGE. */
enum rc jwks_parse(struct slice text, struct jwks **out);
void jwks_free(struct jwks *jwks); /* fine on NULL */

size_t jwks_count(const struct jwks *jwks);
size_t jwks_skipped(const struct jwks *jwks);

/* The keys that a token with this `alg` and `kid` may be signed with, one after the other (`after`
 * NULL: the first). A null `kid`, which the token doesn't have, fits every key; one that it has
 * only a key of that very kid. */
const struct jwks_key *jwks_next(const struct jwks *jwks, const struct jwks_key *after,
                                 enum jwks_alg alg, struct slice kid);

/* Never 0; the same for the same key (material, kid and algorithms) in another set. */
uint64_t jwks_key_print(const struct jwks_key *key);
bool jwks_has(const struct jwks *jwks, uint64_t print);

/* Whether `signature` is one of `text` by `key`, which must be for `alg`. RS256: RSASSA-PKCS1-v1_5;
 * PS256: a salt of 32 bytes; ES256: the 64 bytes of R and S. Costs up to some milliseconds. */
bool jwks_verify(const struct jwks_key *key, enum jwks_alg alg, struct slice text,
                 struct slice signature);
