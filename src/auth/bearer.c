// SPDX-License-Identifier: MIT
#include "auth/bearer.h"

#include <sys/random.h>

#include "auth/tier.h"
#include "base/hash64.h"
#include "base/limits.h"
#include "base/mem.h"
#include "crypto/jwt.h"

/* A set of four slots for each bucket: a new token replaces the one of its bucket that expires
 * first, so a hit costs one hash and one comparison, and nothing is ever moved. */
enum { WAYS = 4, KEYS_MAX = 2 };

struct verified {
    uint64_t hash;
    int64_t exp_s;
    char *bytes; /* the token, then the sub; NULL: free */
    uint32_t token_len;
    uint16_t sub_len;
    bool is_active;
    bool is_admin;
    bool has_premium;
};

struct bearer {
    struct jwt_key keys[KEYS_MAX];
    size_t key_count;
    char *issuer;
    char *audience;
    int64_t leeway_s;
    struct log *log;
    struct hash64_seed seed;
    struct verified *table;
    size_t bucket_mask;
    char fresh_sub[LIMIT_USER_ID_BYTES];
};

static bool add_key(struct bearer *bearer, enum hash_hmac_alg alg, struct slice secret) {
    struct hash_hmac_key *key = hash_hmac_key_new(alg, secret);
    if (key == NULL) {
        return false;
    }
    bearer->keys[bearer->key_count++] = (struct jwt_key){.alg = alg, .hmac = key};
    return true;
}

static size_t bucket_count(size_t tokens) {
    size_t buckets = 1;
    while (buckets * WAYS < tokens) {
        buckets *= 2;
    }
    return buckets;
}

static char *copy_or_null(struct slice text) {
    return slice_is_null(text) ? NULL : mem_strdup(text);
}

struct bearer *bearer_new(const struct bearer_opts *opts) {
    struct bearer *bearer = mem_calloc(1, sizeof *bearer);
    size_t buckets = bucket_count(opts->cache_max);
    bearer->leeway_s = opts->leeway_s;
    bearer->log = opts->log;
    bearer->issuer = copy_or_null(opts->issuer);
    bearer->audience = copy_or_null(opts->audience);
    bearer->bucket_mask = buckets - 1;
    bearer->table = mem_calloc(buckets * WAYS, sizeof *bearer->table);
    bool good = getrandom(&bearer->seed, sizeof bearer->seed, 0) == sizeof bearer->seed &&
                add_key(bearer, opts->alg, opts->secret) &&
                (slice_is_null(opts->secret_old) || add_key(bearer, opts->alg, opts->secret_old));
    if (!good) {
        bearer_free(bearer);
        return NULL;
    }
    return bearer;
}

static void forget(struct verified *slot) {
    if (slot->bytes != NULL) {
        mem_wipe(slot->bytes, (size_t)slot->token_len + slot->sub_len);
        mem_free(slot->bytes);
    }
    *slot = (struct verified){0};
}

void bearer_free(struct bearer *bearer) {
    for (size_t i = 0; i < (bearer->bucket_mask + 1) * WAYS; i++) {
        if (bearer->table[i].bytes != NULL) {
            forget(&bearer->table[i]);
        }
    }
    for (size_t i = 0; i < bearer->key_count; i++) {
        hash_hmac_key_free(bearer->keys[i].hmac);
    }
    mem_free(bearer->table);
    mem_free(bearer->issuer);
    mem_free(bearer->audience);
    mem_free(bearer);
}

/* The token of "Bearer <token>"; the scheme is case-insensitive (RFC 9110 section 11.1). */
static bool bearer_token(struct slice authorization, struct slice *token) {
    size_t scheme = slice_find(authorization, ' ');
    if (!slice_ieq(slice_head(authorization, scheme), SLICE("bearer"))) {
        return false;
    }
    *token = slice_trim(slice_from(authorization, scheme));
    return token->len > 0;
}

static struct slice token_of(const struct verified *slot) {
    return slice_make(slot->bytes, slot->token_len);
}

static struct verified *find(struct bearer *bearer, struct slice token, uint64_t hash) {
    struct verified *bucket = &bearer->table[(hash & bearer->bucket_mask) * WAYS];
    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].hash == hash && bucket[i].bytes != NULL &&
            slice_eq_ct(token_of(&bucket[i]), token)) {
            return &bucket[i];
        }
    }
    return NULL;
}

static void remember(struct bearer *bearer, struct slice token, uint64_t hash, int64_t exp_s,
                     const struct caller *caller) {
    struct verified *bucket = &bearer->table[(hash & bearer->bucket_mask) * WAYS];
    struct verified *slot = &bucket[0];
    for (size_t i = 1; i < WAYS; i++) {
        if (bucket[i].exp_s < slot->exp_s) {
            slot = &bucket[i];
        }
    }
    forget(slot);
    *slot = (struct verified){
        .hash = hash,
        .exp_s = exp_s,
        .bytes = mem_alloc(token.len + caller->sub.len),
        .token_len = (uint32_t)token.len,
        .sub_len = (uint16_t)caller->sub.len,
        .is_active = caller->is_active,
        .is_admin = caller->is_admin,
        .has_premium = caller->has_premium,
    };
    memcpy(slot->bytes, token.at, token.len);
    memcpy(slot->bytes + token.len, caller->sub.at, caller->sub.len);
}

static enum rc reject(struct bearer *bearer, struct slice request_id, const char *reason,
                      enum rc rc) {
    LOG(bearer->log, LOG_INFO, "auth_rejected", request_id, log_text("reason", slice_str(reason)));
    return rc;
}

static enum rc verify(struct bearer *bearer, struct slice token, uint64_t hash, int64_t now_s,
                      struct slice request_id, struct caller *out) {
    struct jwt_rules rules = {
        .now_s = now_s,
        .leeway_s = bearer->leeway_s,
        .issuer = slice_str(bearer->issuer),
        .audience = slice_str(bearer->audience),
    };
    struct jwt jwt;
    enum jwt_reason reason = jwt_verify(token, bearer->keys, bearer->key_count, &rules, &jwt);
    if (reason != JWT_NONE) {
        return reject(bearer, request_id, jwt_reason_text(reason), RC_BAD_CREDENTIALS);
    }
    tier_read_claims(jwt.claims, out);
    memcpy(bearer->fresh_sub, jwt.sub.at, jwt.sub.len);
    out->sub = slice_make(bearer->fresh_sub, jwt.sub.len);
    if (jwt.key_index > 0) {
        LOG(bearer->log, LOG_WARNING, "old_secret_used", request_id, log_text("user_id", out->sub));
    }
    remember(bearer, token, hash, jwt.exp_s, out);
    json_close(jwt.claims);
    return RC_OK;
}

enum rc bearer_check(struct bearer *bearer, struct slice authorization, int64_t now_s,
                     struct slice request_id, struct caller *out) {
    struct slice token;
    if (!bearer_token(authorization, &token)) {
        return reject(bearer, request_id, "no_token", RC_NOT_AUTHENTICATED);
    }
    if (token.len > LIMIT_JWT_BYTES) {
        return reject(bearer, request_id, jwt_reason_text(JWT_MALFORMED), RC_BAD_CREDENTIALS);
    }
    uint64_t hash = hash64(&bearer->seed, token);
    struct verified *slot = find(bearer, token, hash);
    if (slot != NULL && now_s >= slot->exp_s + bearer->leeway_s) {
        forget(slot);
        return reject(bearer, request_id, jwt_reason_text(JWT_EXPIRED), RC_BAD_CREDENTIALS);
    }
    if (slot != NULL) {
        *out = (struct caller){slice_make(slot->bytes + slot->token_len, slot->sub_len),
                               slot->is_active, slot->is_admin, slot->has_premium};
    } else {
        enum rc rc = verify(bearer, token, hash, now_s, request_id, out);
        if (rc != RC_OK) {
            return rc;
        }
    }
    return out->is_active ? RC_OK : reject(bearer, request_id, "inactive", RC_INACTIVE_USER);
}
