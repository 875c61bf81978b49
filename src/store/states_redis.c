// SPDX-License-Identifier: MIT
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/b64.h"
#include "base/list.h"
#include "base/mem.h"
#include "crypto/box.h"
#include "crypto/hash.h"
#include "io/redis.h"
#include "io/redis_scripts.h"
#include "store/states.h"

/* What lies in Redis, all of it with an end of its own:
 *
 * latchkey:state:<hash>        a pending state, or that there was one
 * latchkey:states-of:<user id> the hashes of a user's pending states, the oldest first
 *
 * <hash> is SHA-256 of the state, as base64url: who reads Redis learns no state that he could
 * offer. A pending state is
 *
 *   'P', when it was made (13 digits, ms), SHA-256 of the cookie (32), the user id's length (1),
 * the user id, and a box (crypto/box.h) with the verifier and the redirect URI
 *
 * whose key is made from the state, which only its bearer brings: who reads Redis can open none of
 * them. What stands before the box is authenticated with it, so that who can write to Redis can't
 * turn a state of someone's into another user's or browser's (he can make one of his own). A used
 * state is 'U' and when it was made.
 *
 * Whether a state is too old is decided by our clock, which is given; Redis's own only removes what
 * nobody asks for, a minute later, so that the clocks may differ by as much. */
enum {
    MARGIN_MS = 60 * 1000,
    KEEP_MS = STATE_TTL_MS + MARGIN_MS,
    TIME_BYTES = 13,
    HEAD_BYTES = 1 + TIME_BYTES + STATE_COOKIE_HASH_BYTES + 1,
    PLAIN_MAX = RANDOM_BYTES + LIMIT_URI_BYTES,
    RECORD_MAX = HEAD_BYTES + LIMIT_USER_ID_BYTES + PLAIN_MAX + BOX_TAG_BYTES,
    NUMBER_BYTES = 21,
    SPARE_MAX = 1024,
};

#define STATE_KEY "latchkey:state:"
#define USER_KEY "latchkey:states-of:"
enum {
    STATE_KEY_BYTES = sizeof STATE_KEY - 1 + RANDOM_TEXT_BYTES,
    USER_KEY_MAX = sizeof USER_KEY - 1 + LIMIT_USER_ID_BYTES,
};
static_assert((int)HASH_SHA256_BYTES == (int)RANDOM_BYTES, "a hash's text is as long as a state's");
static_assert(LIMIT_USER_ID_BYTES <= UINT8_MAX, "its length is a byte");

/* Scripts write nothing before a first command that Redis refuses where it can't write, is out of
 * memory or finds another type: after that one the others pass. So nothing is half done. */

/* KEYS: state, user. ARGV: hash, record, keep_ms, states a user may have. The number of those that
 * made room. */
static const struct redis_script put_script = {
    .index = REDIS_SCRIPT_STATES_PUT,
    .text = "local states = redis.call('RPUSH', KEYS[2], ARGV[1])\n"
            "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\n"
            "redis.call('PEXPIRE', KEYS[2], ARGV[3])\n"
            "local dropped = 0\n"
            "while states > tonumber(ARGV[4]) do\n"
            "  local oldest = redis.call('LPOP', KEYS[2])\n"
            "  dropped = dropped + redis.call('DEL', '" STATE_KEY "' .. oldest)\n"
            "  states = states - 1\n"
            "end\n"
            "return dropped\n",
};

/* KEYS: state. ARGV: hash, now_ms, ttl_ms, keep_ms, who claims it ('user', 'cookie'), what he
 * claims. Nil: unknown; else 'T' and the record, 'U', 'E', or 'M' and the user id. A state is
 * deleted first, which Redis does even where it has no memory left; what comes after that only
 * tidies up and remembers for a log line, and may fail. */
static const struct redis_script take_script = {
    .index = REDIS_SCRIPT_STATES_TAKE,
    .text = "local record = redis.call('GET', KEYS[1])\n"
            "if not record then return false end\n"
            "local made = string.sub(record, 2, 14)\n"
            "local age = tonumber(ARGV[2]) - tonumber(made)\n"
            "local left = math.min(tonumber(ARGV[4]) - age, tonumber(ARGV[4]))\n"
            "if string.byte(record) == 85 then\n"
            "  if left < 0 then return false end\n"
            "  return 'U'\n"
            "end\n"
            "if age > tonumber(ARGV[3]) then return 'E' end\n"
            "local user = string.sub(record, 48, 47 + string.byte(record, 47))\n"
            "local owner = user\n"
            "if ARGV[5] == 'cookie' then owner = string.sub(record, 15, 46) end\n"
            "if owner ~= ARGV[6] then return 'M' .. user end\n"
            "redis.call('DEL', KEYS[1])\n"
            "redis.pcall('LREM', '" USER_KEY "' .. user, 1, ARGV[1])\n"
            "redis.pcall('SET', KEYS[1], 'U' .. made, 'PX', left)\n"
            "return 'T' .. record\n",
};

/* KEYS: a key of its own. ARGV: a value. 1: it was written and read. */
static const struct redis_script ping_script = {
    .index = REDIS_SCRIPT_STATES_PING,
    .text = "redis.call('SET', KEYS[1], ARGV[1])\n"
            "local is_there = redis.call('GET', KEYS[1]) == ARGV[1]\n"
            "redis.call('DEL', KEYS[1])\n"
            "return is_there and 1 or 0\n",
};

struct states_redis {
    struct states_backend backend;
    struct loop *loop;
    struct redis *redis;
    struct metrics *metrics;
    struct list spare; /* calls, for the next ones */
    size_t spare_count;
};

/* A command that is under way. */
struct call {
    struct list node;
    struct redis_op redis;
    struct states_redis *owner;
    struct states_op *op;
    bool is_by_cookie;                 /* of a take */
    unsigned char state[RANDOM_BYTES]; /* the same: opens the record */
};

static struct states_redis *from_backend(struct states_backend *backend) {
    return LIST_ENTRY(backend, struct states_redis, backend);
}

static struct call *take_call(struct states_redis *states, struct states_op *op) {
    struct call *call;
    if (states->spare_count > 0) {
        call = LIST_ENTRY(list_take_first(&states->spare), struct call, node);
        states->spare_count--;
    } else {
        call = mem_calloc(1, sizeof *call);
    }
    call->owner = states;
    call->op = op;
    return call;
}

static void give_call(struct call *call) {
    struct states_redis *states = call->owner;
    mem_wipe(call, sizeof *call);
    if (states->spare_count < SPARE_MAX) {
        list_append(&states->spare, &call->node);
        states->spare_count++;
    } else {
        mem_free(call);
    }
}

/* The call is over, whatever came of it. */
static void complete(struct call *call, const char *cause) {
    struct states_op *op = call->op;
    give_call(call);
    op->cause = cause;
    states_complete(op, cause == NULL ? RC_OK : RC_STORAGE_UNAVAILABLE);
}

static void fail(struct states_op *op, const char *cause) {
    op->cause = cause;
    states_complete(op, RC_STORAGE_UNAVAILABLE);
}

static const char *const cause_odd = "Redis gave an unexpected answer";
static const char *const cause_crypto = "the crypto library failed";

/* What is wrong with the command itself; NULL: there is an answer. */
static const char *cause_of(const struct redis_op *redis) {
    if (redis->rc == RC_OK) {
        return NULL;
    }
    return redis->cause != NULL ? redis->cause : rc_text(redis->rc);
}

/* -- keys and records -- */

static enum rc write_state_key(const unsigned char state[RANDOM_BYTES], char key[STATE_KEY_BYTES]) {
    unsigned char hash[HASH_SHA256_BYTES];
    if (hash_sha256(slice_make(state, RANDOM_BYTES), hash) != RC_OK) {
        return RC_CRYPTO;
    }
    memcpy(key, STATE_KEY, sizeof STATE_KEY - 1);
    b64_encode_unpadded(key + sizeof STATE_KEY - 1, slice_make(hash, sizeof hash));
    return RC_OK;
}

static struct slice hash_of_key(const char key[STATE_KEY_BYTES]) {
    return slice_make(key + sizeof STATE_KEY - 1, RANDOM_TEXT_BYTES);
}

static struct slice write_user_key(struct slice user_id, char key[USER_KEY_MAX]) {
    memcpy(key, USER_KEY, sizeof USER_KEY - 1);
    memcpy(key + sizeof USER_KEY - 1, user_id.len > 0 ? user_id.at : "", user_id.len);
    return slice_make(key, sizeof USER_KEY - 1 + user_id.len);
}

struct number {
    char text[NUMBER_BYTES];
};

static struct slice write_number(int64_t value, struct number *number) {
    int len = snprintf(number->text, sizeof number->text, "%" PRId64, value);
    return slice_make(number->text, (size_t)len);
}

static enum rc key_of(const unsigned char state[RANDOM_BYTES], unsigned char key[BOX_KEY_BYTES]) {
    return box_key(slice_make(state, RANDOM_BYTES), SLICE("latchkey pending state"), key);
}

/* What stands before the box; how long it is. */
static size_t write_head(const struct state_new *state, int64_t now_ms, char *out) {
    char made[NUMBER_BYTES];
    snprintf(made, sizeof made, "%013" PRId64, now_ms);
    out[0] = 'P';
    memcpy(out + 1, made, TIME_BYTES);
    memcpy(out + 1 + TIME_BYTES, state->cookie_hash, STATE_COOKIE_HASH_BYTES);
    out[HEAD_BYTES - 1] = (char)state->user_id.len;
    memcpy(out + HEAD_BYTES, state->user_id.len > 0 ? state->user_id.at : "", state->user_id.len);
    return HEAD_BYTES + state->user_id.len;
}

static enum rc write_record(const struct state_new *state, int64_t now_ms, char out[RECORD_MAX],
                            size_t *len) {
    unsigned char key[BOX_KEY_BYTES];
    char plain[PLAIN_MAX];
    size_t plain_len = RANDOM_BYTES + state->redirect_uri.len;
    size_t head_len = write_head(state, now_ms, out);
    memcpy(plain, state->verifier, RANDOM_BYTES);
    memcpy(plain + RANDOM_BYTES, state->redirect_uri.at, state->redirect_uri.len);
    enum rc rc = key_of(state->state, key);
    if (rc == RC_OK) {
        rc = box_seal(key, slice_make(out, head_len), slice_make(plain, plain_len),
                      (unsigned char *)out + head_len);
    }
    *len = head_len + plain_len + BOX_TAG_BYTES;
    mem_wipe(key, sizeof key);
    mem_wipe(plain, sizeof plain);
    return rc;
}

/* The parts of a record; false where it has another form. */
static bool split_record(struct slice record, struct slice *head, struct slice *user_id,
                         struct slice *box) {
    if (record.len < HEAD_BYTES || record.at[0] != 'P') {
        return false;
    }
    size_t user_len = (unsigned char)record.at[HEAD_BYTES - 1];
    *head = slice_head(record, HEAD_BYTES + user_len);
    *user_id = slice_from(*head, HEAD_BYTES);
    *box = slice_from(record, HEAD_BYTES + user_len);
    return box->len >= RANDOM_BYTES + BOX_TAG_BYTES && box->len <= PLAIN_MAX + BOX_TAG_BYTES;
}

static void copy_user_id(struct states_op *op, struct slice user_id) {
    memcpy(op->user_id, user_id.at, user_id.len);
    op->user_id[user_id.len] = '\0';
    op->user_id_len = user_id.len;
}

/* NULL: it is opened, into `op`. */
static const char *open_record(const struct call *call, struct slice record) {
    unsigned char key[BOX_KEY_BYTES];
    unsigned char plain[PLAIN_MAX];
    struct states_op *op = call->op;
    struct slice head;
    struct slice user_id;
    struct slice box;
    if (!split_record(record, &head, &user_id, &box)) {
        return "a state's record in Redis is malformed";
    }
    enum rc rc = key_of(call->state, key);
    if (rc == RC_OK) {
        rc = box_open(key, head, box, plain);
    }
    if (rc == RC_OK) {
        memcpy(op->verifier, plain, RANDOM_BYTES);
        op->redirect_uri_len = box.len - BOX_TAG_BYTES - RANDOM_BYTES;
        memcpy(op->redirect_uri, plain + RANDOM_BYTES, op->redirect_uri_len);
        op->redirect_uri[op->redirect_uri_len] = '\0';
        copy_user_id(op, user_id);
    }
    mem_wipe(key, sizeof key);
    mem_wipe(plain, sizeof plain);
    return rc == RC_OK             ? NULL
           : rc == RC_NO_KEY_OPENS ? "a state's record in Redis was changed"
                                   : cause_crypto;
}

/* -- put -- */

static void on_put(struct redis_op *redis) {
    struct call *call = LIST_ENTRY(redis, struct call, redis);
    const char *cause = cause_of(redis);
    if (cause == NULL && redis_kind(redis->value) != REDIS_INTEGER) {
        cause = cause_odd;
    }
    if (cause == NULL) {
        metrics_add(call->owner->metrics, METRIC_STATES_DROPPED, redis_integer(redis->value));
    }
    complete(call, cause);
}

static void put(struct states_backend *backend, struct states_op *op,
                const struct state_new *state) {
    struct states_redis *states = from_backend(backend);
    char key[STATE_KEY_BYTES];
    char user_key[USER_KEY_MAX];
    char record[RECORD_MAX];
    size_t record_len = 0;
    struct number keep_ms;
    struct number most;
    if (write_state_key(state->state, key) != RC_OK ||
        write_record(state, loop_wall_ms(states->loop), record, &record_len) != RC_OK) {
        fail(op, cause_crypto);
        return;
    }
    const struct slice args[] = {
        slice_make(key, sizeof key),
        write_user_key(state->user_id, user_key),
        hash_of_key(key),
        slice_make(record, record_len),
        write_number(KEEP_MS, &keep_ms),
        write_number(STATES_PER_USER, &most),
    };
    redis_eval(states->redis, &take_call(states, op)->redis, &put_script, args, 2,
               sizeof args / sizeof args[0], on_put);
}

/* -- take -- */

/* NULL: it is understood. */
static const char *read_taken(struct call *call, struct slice answer) {
    struct states_op *op = call->op;
    struct slice rest = slice_from(answer, 1);
    const char *cause = NULL;
    switch (answer.len > 0 ? answer.at[0] : '\0') {
    case 'T':
        cause = open_record(call, rest);
        op->outcome = cause == NULL ? STATE_TAKEN : STATE_UNKNOWN;
        return cause;
    case 'U':
        op->outcome = STATE_USED;
        return NULL;
    case 'E':
        op->outcome = STATE_EXPIRED;
        return NULL;
    case 'M':
        if (rest.len > LIMIT_USER_ID_BYTES) {
            return cause_odd;
        }
        op->outcome = call->is_by_cookie ? STATE_COOKIE_MISMATCH : STATE_USER_MISMATCH;
        copy_user_id(op, rest);
        return NULL;
    default:
        return cause_odd;
    }
}

static void on_taken(struct redis_op *redis) {
    struct call *call = LIST_ENTRY(redis, struct call, redis);
    const char *cause = cause_of(redis);
    if (cause == NULL && redis_kind(redis->value) == REDIS_NIL) {
        call->op->outcome = STATE_UNKNOWN;
    } else if (cause == NULL) {
        cause = read_taken(call, redis_text(redis->value));
    }
    complete(call, cause);
}

static void take(struct states_backend *backend, struct states_op *op,
                 const unsigned char state[RANDOM_BYTES], const struct state_claim *claim) {
    struct states_redis *states = from_backend(backend);
    bool is_by_cookie = claim->cookie_hash != NULL;
    char key[STATE_KEY_BYTES];
    struct number now_ms;
    struct number ttl_ms;
    struct number keep_ms;
    if (write_state_key(state, key) != RC_OK) {
        fail(op, cause_crypto);
        return;
    }
    const struct slice args[] = {
        slice_make(key, sizeof key),
        hash_of_key(key),
        write_number(loop_wall_ms(states->loop), &now_ms),
        write_number(STATE_TTL_MS, &ttl_ms),
        write_number(KEEP_MS, &keep_ms),
        is_by_cookie ? SLICE("cookie") : SLICE("user"),
        is_by_cookie ? slice_make(claim->cookie_hash, STATE_COOKIE_HASH_BYTES) : claim->user_id,
    };
    struct call *call = take_call(states, op);
    call->is_by_cookie = is_by_cookie;
    memcpy(call->state, state, RANDOM_BYTES);
    redis_eval(states->redis, &call->redis, &take_script, args, 1, sizeof args / sizeof args[0],
               on_taken);
}

/* -- the rest -- */

static void on_pong(struct redis_op *redis) {
    const char *cause = cause_of(redis);
    if (cause == NULL && redis_integer(redis->value) != 1) {
        cause = cause_odd;
    }
    complete(LIST_ENTRY(redis, struct call, redis), cause);
}

static void ping(struct states_backend *backend, struct states_op *op) {
    struct states_redis *states = from_backend(backend);
    struct number now_ms;
    const struct slice args[] = {SLICE("latchkey:ping:states"),
                                 write_number(loop_wall_ms(states->loop), &now_ms)};
    redis_eval(states->redis, &take_call(states, op)->redis, &ping_script, args, 1,
               sizeof args / sizeof args[0], on_pong);
}

static void close_backend(struct states_backend *backend) {
    struct states_redis *states = from_backend(backend);
    while (states->spare_count > 0) {
        mem_free(LIST_ENTRY(list_take_first(&states->spare), struct call, node));
        states->spare_count--;
    }
    mem_free(states);
}

static const struct states_backend_ops backend_ops = {
    .put = put, .take = take, .ping = ping, .close = close_backend};

struct states_backend *states_redis_new(struct loop *loop, struct redis *redis,
                                        struct metrics *metrics) {
    struct states_redis *states = mem_calloc(1, sizeof *states);
    states->backend.ops = &backend_ops;
    states->loop = loop;
    states->redis = redis;
    states->metrics = metrics;
    list_init(&states->spare);
    return &states->backend;
}
