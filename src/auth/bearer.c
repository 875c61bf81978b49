// SPDX-License-Identifier: MIT
#include "auth/bearer.h"

#include "auth/tier.h"
#include "base/keyhash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "crypto/jwt.h"
#include <arpa/inet.h>

/* A set of four slots for each bucket: a new token replaces the one of its bucket that expires
 * first, so a hit costs one hash and one comparison, and nothing is ever moved. */
enum { WAYS = 4, KEYS_MAX = 2 };

/* What a token was verified under. */
struct signer {
    uint64_t key_print; /* of the published key; 0: a secret */
    uint32_t secret_number;
};

struct verified {
    uint64_t hash;
    int64_t exp_s;
    struct signer signer;
    char *bytes; /* the token, then the sub; NULL: free */
    uint32_t token_len;
    uint16_t sub_len;
    bool is_active;
    bool is_admin;
    bool has_premium;
};

/* SECRET_KEY and SECRET_KEY_OLD. A secret keeps its number when they are replaced and it stays. */
struct secrets {
    struct jwt_key keys[KEYS_MAX];
    uint32_t numbers[KEYS_MAX];
    size_t count;
};

struct bearer {
    enum hash_hmac_alg alg;
    struct secrets secrets;
    uint32_t last_secret_number;
    char *issuer;
    char *audience;
    int64_t leeway_s;
    struct log *log;
    struct jwks_source *source; /* NULL: no published keys */
    struct work_lane *lane;
    struct loop *loop;
    struct metrics *metrics;
    struct limiter *failures; /* signatures that were wrong, by client address */
    struct keyhash token_hash;
    struct verified *table;
    size_t bucket_mask;
    char fresh_sub[LIMIT_USER_ID_BYTES];
};

/* The same secret makes the same code. */
static bool is_same_secret(const struct jwt_key *a, const struct jwt_key *b) {
    unsigned char macs[2][HASH_MAX_BYTES];
    size_t bytes = hash_hmac_bytes(a->alg);
    bool same = hash_hmac(a->hmac, SLICE("same"), macs[0]) == RC_OK &&
                hash_hmac(b->hmac, SLICE("same"), macs[1]) == RC_OK &&
                slice_eq_ct(slice_make(macs[0], bytes), slice_make(macs[1], bytes));
    mem_wipe(macs, sizeof macs);
    return same;
}

static uint32_t number_of(struct bearer *bearer, const struct jwt_key *key) {
    for (size_t i = 0; i < bearer->secrets.count; i++) {
        if (is_same_secret(&bearer->secrets.keys[i], key)) {
            return bearer->secrets.numbers[i];
        }
    }
    return ++bearer->last_secret_number;
}

/* A null secret is none. */
static bool add_secret(struct bearer *bearer, struct secrets *secrets, struct slice secret) {
    if (slice_is_null(secret)) {
        return true;
    }
    struct jwt_key key = {.alg = bearer->alg, .hmac = hash_hmac_key_new(bearer->alg, secret)};
    if (key.hmac == NULL) {
        return false;
    }
    secrets->keys[secrets->count] = key;
    secrets->numbers[secrets->count++] = number_of(bearer, &key);
    return true;
}

static void free_secrets(struct secrets *secrets) {
    for (size_t i = 0; i < secrets->count; i++) {
        hash_hmac_key_free(secrets->keys[i].hmac);
    }
    secrets->count = 0;
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
    bearer->alg = opts->alg;
    bearer->leeway_s = opts->leeway_s;
    bearer->log = opts->log;
    bearer->source = opts->source;
    bearer->lane = opts->lane;
    bearer->loop = opts->loop;
    bearer->metrics = opts->metrics;
    bearer->failures = limiter_new(opts->source != NULL ? LIMIT_SIGNATURE_FAILURE_KEYS : 1);
    bearer->issuer = copy_or_null(opts->issuer);
    bearer->audience = copy_or_null(opts->audience);
    bearer->bucket_mask = buckets - 1;
    bearer->table = mem_calloc(buckets * WAYS, sizeof *bearer->table);
    bool good = bearer->failures != NULL && keyhash_init(&bearer->token_hash) == RC_OK &&
                bearer_set_secrets(bearer, opts->secret, opts->secret_old) == RC_OK;
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
    free_secrets(&bearer->secrets);
    if (bearer->failures != NULL) {
        limiter_free(bearer->failures);
    }
    mem_free(bearer->table);
    mem_free(bearer->issuer);
    mem_free(bearer->audience);
    mem_free(bearer);
}

static bool has_secret(const struct bearer *bearer, uint32_t number) {
    for (size_t i = 0; i < bearer->secrets.count; i++) {
        if (bearer->secrets.numbers[i] == number) {
            return true;
        }
    }
    return false;
}

enum rc bearer_set_secrets(struct bearer *bearer, struct slice secret, struct slice secret_old) {
    struct secrets fresh = {.count = 0};
    if (!add_secret(bearer, &fresh, secret) || !add_secret(bearer, &fresh, secret_old)) {
        free_secrets(&fresh);
        return RC_CRYPTO;
    }
    free_secrets(&bearer->secrets);
    bearer->secrets = fresh;
    for (size_t i = 0; i < (bearer->bucket_mask + 1) * WAYS; i++) {
        struct verified *slot = &bearer->table[i];
        if (slot->bytes != NULL && slot->signer.key_print == 0 &&
            !has_secret(bearer, slot->signer.secret_number)) {
            forget(slot);
        }
    }
    return RC_OK;
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

static void remember(struct bearer *bearer, struct slice token, int64_t exp_s,
                     const struct signer *signer, const struct caller *caller) {
    uint64_t hash = keyhash_of(&bearer->token_hash, token);
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
        .signer = *signer,
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

static struct jwt_rules rules_at(const struct bearer *bearer, int64_t now_s) {
    return (struct jwt_rules){
        .now_s = now_s,
        .leeway_s = bearer->leeway_s,
        .issuer = slice_str(bearer->issuer),
        .audience = slice_str(bearer->audience),
    };
}

/* Under SECRET_KEY and SECRET_KEY_OLD, which verify their own algorithm only. */
static enum rc verify(struct bearer *bearer, struct slice token, int64_t now_s,
                      struct slice request_id, struct caller *out) {
    struct jwt_rules rules = rules_at(bearer, now_s);
    struct jwt jwt;
    const struct secrets *secrets = &bearer->secrets;
    enum jwt_reason reason = jwt_verify(token, secrets->keys, secrets->count, &rules, &jwt);
    if (reason == JWT_ALGORITHM && bearer->source != NULL) {
        return RC_UNVERIFIED;
    }
    if (reason != JWT_NONE) {
        return reject(bearer, request_id, jwt_reason_text(reason), RC_BAD_CREDENTIALS);
    }
    tier_read_claims(json_root(jwt.claims), out);
    memcpy(bearer->fresh_sub, jwt.sub.at, jwt.sub.len);
    out->sub = slice_make(bearer->fresh_sub, jwt.sub.len);
    if (jwt.key_index > 0) {
        LOG(bearer->log, LOG_WARNING, "old_secret_used", request_id, log_text("user_id", out->sub));
    }
    struct signer signer = {.secret_number = secrets->numbers[jwt.key_index]};
    remember(bearer, token, jwt.exp_s, &signer, out);
    json_close(jwt.claims);
    return RC_OK;
}

/* A token that was verified under a published key is good for as long as the key is. */
static bool is_withdrawn(const struct bearer *bearer, const struct verified *slot) {
    uint64_t print = slot->signer.key_print;
    const struct jwks *keys = print != 0 ? jwks_source_keys(bearer->source) : NULL;
    return print != 0 && (keys == NULL || !jwks_has(keys, print));
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
    uint64_t hash = keyhash_of(&bearer->token_hash, token);
    struct verified *slot = find(bearer, token, hash);
    if (slot != NULL && is_withdrawn(bearer, slot)) {
        forget(slot);
        slot = NULL;
    }
    if (slot != NULL && now_s >= slot->exp_s + bearer->leeway_s) {
        forget(slot);
        return reject(bearer, request_id, jwt_reason_text(JWT_EXPIRED), RC_BAD_CREDENTIALS);
    }
    if (slot == NULL) {
        return verify(bearer, token, now_s, request_id, out);
    }
    *out = (struct caller){slice_make(slot->bytes + slot->token_len, slot->sub_len),
                           slot->is_active, slot->is_admin, slot->has_premium};
    return RC_OK;
}

enum rc bearer_check_active(struct bearer *bearer, const struct caller *caller,
                            struct slice request_id) {
    return caller->is_active ? RC_OK : reject(bearer, request_id, "inactive", RC_INACTIVE_USER);
}

bool bearer_is_ready(const struct bearer *bearer) {
    return bearer->source == NULL || jwks_source_keys(bearer->source) != NULL;
}

/* --- published keys --------------------------------------------------------------------------- */

enum { ADDRESS_BYTES = 48, PREFIX_BYTES = 8 };

static enum rc reject_op(struct bearer_op *op, enum jwt_reason reason) {
    return reject(op->bearer, op->request.request_id, jwt_reason_text(reason), RC_BAD_CREDENTIALS);
}

static void finish(struct bearer_op *op, enum rc rc) {
    json_close(op->jwt.claims);
    op->jwt = (struct jwt){0};
    if (op->set != NULL) {
        jwks_source_give_back(op->set);
        op->set = NULL;
    }
    op->rc = rc;
    op->done(op);
}

static void on_known(struct loop_task *task) {
    struct bearer_op *op = LIST_ENTRY(task, struct bearer_op, task);
    finish(op, op->rc);
}

/* For what is known inside the starting call. */
static void finish_later(struct bearer_op *op, enum rc rc) {
    op->rc = rc;
    loop_later(op->bearer->loop, &op->task, on_known);
}

/* Whoever has an IPv6 address has the 64 bits after its prefix for itself. */
static struct slice failure_key(struct slice client, char prefix[sizeof(struct in6_addr)]) {
    char text[ADDRESS_BYTES];
    struct in6_addr address;
    if (client.len >= sizeof text) {
        return client;
    }
    memcpy(text, client.at, client.len);
    text[client.len] = '\0';
    if (inet_pton(AF_INET6, text, &address) != 1 || IN6_IS_ADDR_V4MAPPED(&address)) {
        return client;
    }
    memcpy(prefix, &address, sizeof address);
    return slice_make(prefix, PREFIX_BYTES);
}

/* How the address stands with its failures; one more is counted where `failed`. */
static struct limiter_answer count_failure(struct bearer_op *op, bool failed) {
    struct bearer *bearer = op->bearer;
    char prefix[sizeof(struct in6_addr)];
    if (op->request.client.len == 0) {
        return (struct limiter_answer){.is_allowed = true};
    }
    struct slice key = failure_key(op->request.client, prefix);
    int64_t now_ms = loop_now_ms(bearer->loop);
    return failed ? limiter_take(bearer->failures, 0, key, LIMIT_SIGNATURE_FAILURES_MINUTE, now_ms)
                  : limiter_look(bearer->failures, 0, key, LIMIT_SIGNATURE_FAILURES_MINUTE, now_ms);
}

/* On a thread of the lane. A token that names no key is tried with a few. */
static void run_verify(struct work_op *work) {
    struct bearer_op *op = LIST_ENTRY(work, struct bearer_op, work);
    const struct jwt_published *token = &op->published;
    const struct jwks *keys = jwks_source_set_keys(op->set);
    for (int tries = 0; op->key != NULL; tries++) {
        if (tries == LIMIT_KEYS_TRIED) {
            op->key = NULL;
        } else if (jwks_verify(op->key, token->alg, token->signed_text, token->signature)) {
            return;
        } else {
            op->key = jwks_next(keys, op->key, token->alg, token->kid);
        }
    }
}

static void take_caller(struct bearer_op *op) {
    tier_read_claims(json_root(op->jwt.claims), &op->caller);
    memcpy(op->sub, op->jwt.sub.at, op->jwt.sub.len);
    op->caller.sub = slice_make(op->sub, op->jwt.sub.len);
    struct signer signer = {.key_print = jwks_key_print(op->key)};
    remember(op->bearer, op->token, op->jwt.exp_s, &signer, &op->caller);
}

static void on_verified(struct work_op *work, enum rc rc) {
    struct bearer_op *op = LIST_ENTRY(work, struct bearer_op, work);
    struct bearer *bearer = op->bearer;
    if (rc != RC_OK) {
        metrics_add(bearer->metrics, METRIC_SIGNATURES_OVERLOADED, 1);
        finish(op, rc == RC_FULL ? RC_OVERLOADED : rc);
        return;
    }
    metrics_add(bearer->metrics, op->key != NULL ? METRIC_SIGNATURES_GOOD : METRIC_SIGNATURES_BAD,
                1);
    if (op->key != NULL) {
        take_caller(op);
        finish(op, RC_OK);
        return;
    }
    count_failure(op, true);
    if (slice_is_null(op->published.kid)) {
        jwks_source_ask(bearer->source); /* it may be signed with a key that we don't know */
    }
    finish(op, reject_op(op, JWT_SIGNATURE));
}

static void on_waited(struct jwks_wait *wait);

/* All that is known without the signature: RC_OK where it is under way, or a key is waited for. */
static enum rc find_key(struct bearer_op *op) {
    struct bearer *bearer = op->bearer;
    const struct jwks *keys = jwks_source_keys(bearer->source);
    op->key = keys != NULL ? jwks_next(keys, NULL, op->published.alg, op->published.kid) : NULL;
    if (op->key == NULL && !op->has_waited) {
        op->has_waited = true;
        jwks_source_wait(bearer->source, &op->wait, op->request.deadline_ms, on_waited);
        return RC_OK;
    }
    if (keys == NULL) {
        return reject(bearer, op->request.request_id, "no_keys", RC_STORAGE_UNAVAILABLE);
    }
    if (op->key == NULL) {
        return reject_op(op, JWT_KEY);
    }
    op->limited = count_failure(op, false);
    if (!op->limited.is_allowed) {
        metrics_add(bearer->metrics, METRIC_SIGNATURES_LIMITED, 1);
        return reject(bearer, op->request.request_id, "too_many_failures", RC_RATE_LIMITED);
    }
    op->set = jwks_source_hold(bearer->source);
    work_lane_submit(bearer->lane, &op->work, run_verify, on_verified);
    return RC_OK;
}

static void on_waited(struct jwks_wait *wait) {
    struct bearer_op *op = LIST_ENTRY(wait, struct bearer_op, wait);
    enum rc rc = op->is_canceled ? RC_CANCELED : find_key(op);
    if (rc != RC_OK) {
        finish(op, rc);
    }
}

void bearer_verify(struct bearer *bearer, struct bearer_op *op,
                   const struct bearer_request *request, void (*done)(struct bearer_op *op)) {
    *op = (struct bearer_op){.done = done, .bearer = bearer, .request = *request};
    struct jwt_rules rules = rules_at(bearer, loop_wall_ms(bearer->loop) / 1000);
    if (!bearer_token(request->authorization, &op->token)) {
        finish_later(op, reject(bearer, request->request_id, "no_token", RC_NOT_AUTHENTICATED));
        return;
    }
    enum jwt_reason reason = jwt_read_published(op->token, &op->published);
    if (reason == JWT_NONE) {
        reason = jwt_read_claims(op->published.payload, &rules, &op->jwt);
    }
    enum rc rc = reason == JWT_NONE ? find_key(op) : reject_op(op, reason);
    if (rc != RC_OK) {
        finish_later(op, rc);
    }
}

void bearer_cancel(struct bearer_op *op) {
    op->is_canceled = true;
    if (op->has_waited) {
        jwks_source_cancel(&op->wait);
    }
}
