// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/hash.h"

/* Codes and tokens. All that comes of one consent is a family; a code or token names its family and
 * is authenticated, so that the table is a ring of fixed size that needs no look-up. The oldest
 * family makes room for a new one. */
enum { SIM_GRANTS_MAX = 65536, SIM_TOKEN_MAX = 96 };

struct sim_family {
    uint64_t id; /* 0: none */
    int64_t code_until_ms;
    int64_t rotated_ms;
    uint32_t generation; /* of the current refresh token; 0: the code is not used yet */
    uint32_t redirect_uri;
    bool revoked;
    char challenge[RANDOM_TEXT_BYTES];
};

struct sim_grants {
    struct sim_family *families;
    struct hash_hmac_key *key;
    uint64_t last_id;
    int64_t access_ttl_ms;
    int64_t reuse_grace_ms;
};

/* RC_CRYPTO where the crypto library fails. */
enum rc sim_grants_init(struct sim_grants *grants, int64_t access_ttl_ms, int64_t reuse_grace_ms);
void sim_grants_fini(struct sim_grants *grants);
void sim_grants_reset(struct sim_grants *grants);

/* Appends a code for this redirect URI (its index) and PKCE challenge. */
void sim_grants_consent(struct sim_grants *grants, size_t redirect_uri,
                        const char challenge[RANDOM_TEXT_BYTES], int64_t now_ms, struct buf *code);

/* What a use of a code or a refresh token comes to. */
enum sim_grant_result {
    SIM_GRANT_OK,
    SIM_GRANT_REFUSED, /* unknown, expired, revoked, another redirect URI or verifier */
    SIM_GRANT_REUSED,  /* a second use: the family is revoked */
};
enum sim_grant_result sim_grants_exchange(struct sim_grants *grants, struct slice code,
                                          size_t redirect_uri, struct slice verifier,
                                          int64_t now_ms, struct sim_family **family);
enum sim_grant_result sim_grants_refresh(struct sim_grants *grants, struct slice token,
                                         int64_t now_ms, struct sim_family **family);

/* Append the family's current tokens. */
void sim_grants_write_access(struct sim_grants *grants, const struct sim_family *family,
                             int64_t now_ms, struct buf *out);
void sim_grants_write_refresh(struct sim_grants *grants, const struct sim_family *family,
                              struct buf *out);

/* Ends the token's family; nothing happens for a token that is none of ours. */
void sim_grants_revoke(struct sim_grants *grants, struct slice token);

/* An access token within its time, the current refresh token or an unused code, not revoked. */
bool sim_grants_is_live(const struct sim_grants *grants, struct slice token, int64_t now_ms);
bool sim_grants_is_access(const struct sim_grants *grants, struct slice token, int64_t now_ms);
