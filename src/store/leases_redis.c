// SPDX-License-Identifier: MIT
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "io/redis.h"
#include "io/redis_scripts.h"
#include "store/leases.h"

/* A lease is the value of latchkey:lease:<user id>: "held:" and its owner's random bytes, or
 * "rest:" and the note that its last owner left. It ends by itself in either case, by Redis's clock
 * alone. */
#define LEASE_KEY "latchkey:lease:"
#define HELD "held:"
enum {
    LEASE_KEY_MAX = sizeof LEASE_KEY - 1 + LIMIT_USER_ID_BYTES,
    HELD_BYTES = sizeof HELD - 1 + LEASE_OWNER_BYTES,
    NUMBER_BYTES = 21,
};

/* KEYS: lease. ARGV: held, ttl_ms. 1: acquired; else how long it is taken and, of one that rests,
 * its note. One without an end (who knows whose) gets one. */
static const struct redis_script acquire_script = {
    .index = REDIS_SCRIPT_LEASES_ACQUIRE,
    .text = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end\n"
            "local value = redis.call('GET', KEYS[1])\n"
            "local left = redis.call('PTTL', KEYS[1])\n"
            "if left < 0 then\n"
            "  redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
            "  left = tonumber(ARGV[2])\n"
            "end\n"
            "if string.sub(value, 1, 5) ~= 'rest:' then return {left} end\n"
            "return {left, string.sub(value, 6)}\n",
};

/* KEYS: lease. ARGV: held, ttl_ms. 1: it was ours, and still is; 0. */
static const struct redis_script renew_script = {
    .index = REDIS_SCRIPT_LEASES_RENEW,
    .text = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
            "return redis.call('PEXPIRE', KEYS[1], ARGV[2])\n",
};

/* KEYS: lease. ARGV: held, rest_ms, note. 1: it was ours; 0. It is deleted first, which Redis does
 * even where it has no memory left: then nothing rests, but nobody waits for its end either. */
static const struct redis_script rest_script = {
    .index = REDIS_SCRIPT_LEASES_REST,
    .text = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
            "redis.call('DEL', KEYS[1])\n"
            "redis.pcall('SET', KEYS[1], 'rest:' .. ARGV[3], 'PX', ARGV[2])\n"
            "return 1\n",
};

/* KEYS: lease. ARGV: held. 1: it was ours; 0. */
static const struct redis_script release_script = {
    .index = REDIS_SCRIPT_LEASES_RELEASE,
    .text = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
            "return redis.call('DEL', KEYS[1])\n",
};

struct leases_redis {
    struct leases_backend backend;
    struct redis *redis;
    struct loop *loop;
    struct loop_task closing;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* A command that is under way: a lease_op's backend_op. */
struct call {
    struct redis_op redis;
    struct lease_op *op;
};

static void complete(struct lease_op *op, enum rc rc, const char *cause) {
    mem_free(op->backend_op);
    op->backend_op = NULL;
    op->cause = cause;
    leases_complete(op, rc);
}

/* As rest wrote it: a decimal number. */
static bool parse_note(struct slice text, int64_t *note) {
    bool negative = text.len > 0 && text.at[0] == '-';
    uint64_t size = 0;
    if (!slice_to_u64(slice_from(text, negative), (uint64_t)INT64_MAX + negative, &size)) {
        return false;
    }
    *note = negative ? (int64_t)(0 - size) : (int64_t)size;
    return true;
}

/* RC_MALFORMED: no answer of ours. */
static enum rc read_acquired(struct lease_op *op, const struct redis_value *value) {
    const struct redis_value *left = redis_at(value, 0);
    if (redis_kind(value) == REDIS_INTEGER) {
        return RC_OK;
    }
    if (redis_kind(left) != REDIS_INTEGER) {
        return RC_MALFORMED;
    }
    op->left_ms = redis_integer(left);
    if (redis_count(value) == 1) {
        return RC_CONFLICT;
    }
    return parse_note(redis_text(redis_at(value, 1)), &op->note) ? RC_RATE_LIMITED : RC_MALFORMED;
}

static enum rc read_answer(struct lease_op *op, const struct redis_value *value) {
    if (op->kind == LEASES_ACQUIRE) {
        return read_acquired(op, value);
    }
    if (redis_kind(value) != REDIS_INTEGER) {
        return RC_MALFORMED;
    }
    return op->kind == LEASES_RENEW && redis_integer(value) == 0 ? RC_ABSENT : RC_OK;
}

static void on_done(struct redis_op *redis) {
    struct lease_op *op = LIST_ENTRY(redis, struct call, redis)->op;
    if (redis->rc != RC_OK) {
        complete(op, RC_STORAGE_UNAVAILABLE,
                 redis->cause != NULL ? redis->cause : rc_text(redis->rc));
        return;
    }
    enum rc rc = read_answer(op, redis->value);
    if (rc == RC_MALFORMED) {
        complete(op, RC_STORAGE_UNAVAILABLE, "Redis gave an unexpected answer");
    } else {
        complete(op, rc, NULL);
    }
}

struct number {
    char text[NUMBER_BYTES];
};

static struct slice write_number(int64_t value, struct number *number) {
    int len = snprintf(number->text, sizeof number->text, "%" PRId64, value);
    return slice_make(number->text, (size_t)len);
}

static const struct {
    const struct redis_script *script;
    size_t arg_count;
} commands[] = {
    [LEASES_ACQUIRE] = {&acquire_script, 3},
    [LEASES_RENEW] = {&renew_script, 3},
    [LEASES_REST] = {&rest_script, 4},
    [LEASES_RELEASE] = {&release_script, 2},
};

static void run(struct leases_backend *backend, struct lease_op *op) {
    struct leases_redis *leases = LIST_ENTRY(backend, struct leases_redis, backend);
    struct call *call = mem_calloc(1, sizeof *call);
    char key[LEASE_KEY_MAX];
    char held[HELD_BYTES];
    struct number ms;
    struct number note;
    memcpy(key, LEASE_KEY, sizeof LEASE_KEY - 1);
    memcpy(key + sizeof LEASE_KEY - 1, op->user_id, op->user_id_len);
    memcpy(held, HELD, sizeof HELD - 1);
    memcpy(held + sizeof HELD - 1, op->owner, LEASE_OWNER_BYTES);
    const struct slice args[] = {
        slice_make(key, sizeof LEASE_KEY - 1 + op->user_id_len),
        slice_make(held, sizeof held),
        write_number(op->kind == LEASES_REST ? op->rest_ms : LEASE_TTL_MS, &ms),
        write_number(op->note, &note),
    };
    call->op = op;
    op->backend_op = call;
    redis_eval(leases->redis, &call->redis, commands[op->kind].script, args, 1,
               commands[op->kind].arg_count, on_done);
}

static void on_closing(struct loop_task *task) {
    struct leases_redis *leases = LIST_ENTRY(task, struct leases_redis, closing);
    void (*closed)(void *) = leases->closed;
    void *owner = leases->closed_owner;
    mem_free(leases);
    closed(owner);
}

static void close_backend(struct leases_backend *backend, void (*closed)(void *owner),
                          void *owner) {
    struct leases_redis *leases = LIST_ENTRY(backend, struct leases_redis, backend);
    leases->closed = closed;
    leases->closed_owner = owner;
    loop_later(leases->loop, &leases->closing, on_closing);
}

static const struct leases_backend_ops backend_ops = {.run = run, .close = close_backend};

struct leases_backend *leases_redis_new(struct loop *loop, struct redis *redis) {
    struct leases_redis *leases = mem_calloc(1, sizeof *leases);
    leases->backend.ops = &backend_ops;
    leases->loop = loop;
    leases->redis = redis;
    return &leases->backend;
}
