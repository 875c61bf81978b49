// SPDX-License-Identifier: MIT
#include "auth/limiter_redis.h"

#include <assert.h>

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "io/redis_scripts.h"

enum {
    KEY_HASH_BYTES = 16, /* of a SHA-256 */
    KEY_BYTES = 128,
    NUMBER_BYTES = 24,
    SPARE_FLIGHTS = 1024,
    WARNED_EACH_MS = 60 * 1000,
    SECOND_LOOK_MS = 1,
    ARGS_EACH = 2, /* of each limit, behind the two of all */
    ARGS_MAX = 2 + LIMITER_REDIS_LIMITS_MAX * (1 + ARGS_EACH),
};

/* GCRA as in auth/limiter, which makes the answers of the times that this returns: each limit's
 * before the request, up to the first that refuses it. Microseconds since 1970 are whole numbers
 * that a double holds until 2255; "%.0f", as Lua itself writes 14 digits of them. */
static const struct redis_script script = {
    .text = "local now, keep = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
            "local before = {}\n"
            "for i, key in ipairs(KEYS) do\n"
            "  local each, limit = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])\n"
            "  before[i] = tonumber(redis.call('GET', key) or 0)\n"
            "  local used = math.max(before[i] - now, 0) + each\n"
            "  if used > each * limit then break end\n"
            "  redis.call('SET', key, string.format('%.0f', now + used),\n"
            "             'PX', string.format('%.0f', math.ceil(used / 1000) + keep))\n"
            "end\n"
            "return before\n",
    .index = REDIS_SCRIPT_LIMITER_TAKE,
};

/* A question that is on its way. It may outlive the op, whose owner doesn't wait for ever. */
struct flight {
    struct redis_op redis;
    struct list node; /* in `waiting`, with an op; or in `spare` */
    struct limiter_redis *limiter;
    struct limiter_redis_op *op; /* NULL: judged already */
    int64_t now_us;
    int64_t until_ms; /* loop_timer_now_ms */
};

struct limiter_redis {
    struct limiter_redis_opts opts;
    struct list waiting; /* flights, the first one's deadline first */
    struct list spare;
    size_t spare_count;
    size_t flight_count;
    struct loop_timer deadline; /* the first one's, or an earlier one */
    bool is_timed;
    bool is_second_look;
    bool is_silent; /* an answer is late, and none has come since */
    bool was_warned;
    int64_t warned_ms;
    bool is_closing;
    void (*closed)(void *owner);
    void *closed_owner;
    struct loop_task close_task;
};

/* --- in this process's memory ----------------------------------------------------------------- */

static void warn(struct limiter_redis *limiter, const char *cause) {
    int64_t now_ms = loop_now_ms(limiter->opts.loop);
    if (limiter->was_warned && now_ms - limiter->warned_ms < WARNED_EACH_MS) {
        return;
    }
    limiter->was_warned = true;
    limiter->warned_ms = now_ms;
    LOG(limiter->opts.log, LOG_WARNING, "rate_limits_fall_back", SLICE_NULL,
        log_text("cause", slice_str(cause)));
}

static size_t take_local(struct limiter_redis *limiter, const struct limiter_limit *limits,
                         size_t count, const char *cause, struct limiter_answer *answer) {
    metrics_add(limiter->opts.metrics, METRIC_RATE_FALLBACKS, 1);
    warn(limiter, cause);
    return limiter_take_all(limiter->opts.local, limits, count, loop_now_ms(limiter->opts.loop),
                            answer);
}

bool limiter_redis_fall_back(struct limiter_redis *limiter, const struct limiter_limit *limits,
                             size_t count, size_t *refused, struct limiter_answer *answer) {
    bool is_ready = redis_is_ready(limiter->opts.redis);
    if (is_ready && !limiter->is_silent) {
        return false;
    }
    *refused = take_local(limiter, limits, count, is_ready ? "silent" : "down", answer);
    return true;
}

/* The last thing that is done with the op. */
static void end_local(struct limiter_redis *limiter, struct limiter_redis_op *op,
                      const char *cause) {
    op->refused = take_local(limiter, op->limits, op->count, cause, &op->answer);
    op->done(op);
}

/* --- in Redis --------------------------------------------------------------------------------- */

static void set_deadline(struct limiter_redis *limiter);

static bool is_due(const struct limiter_redis *limiter) {
    const struct list *first = limiter->waiting.next;
    return first != &limiter->waiting && loop_timer_now_ms(limiter->opts.loop) >=
                                             LIST_ENTRY(first, struct flight, node)->until_ms;
}

static void end_due(struct limiter_redis *limiter) {
    while (is_due(limiter)) {
        struct list *first = list_take_first(&limiter->waiting);
        struct flight *flight = LIST_ENTRY(first, struct flight, node);
        struct limiter_redis_op *op = flight->op;
        flight->op = NULL;
        limiter->is_silent = true;
        end_local(limiter, op, "slow");
    }
}

/* Not moved by those that end in time: it fires, finds nothing due, and is set for the next. Looks
 * twice: after a turn in which the loop itself was late, answers may have come and not been read.
 */
static void on_deadline(struct loop_timer *timer) {
    struct limiter_redis *limiter = LIST_ENTRY(timer, struct limiter_redis, deadline);
    if (is_due(limiter) && !limiter->is_second_look) {
        limiter->is_second_look = true;
        loop_timer_start(timer, SECOND_LOOK_MS, 0, on_deadline);
        return;
    }
    limiter->is_second_look = false;
    limiter->is_timed = false;
    end_due(limiter);
    set_deadline(limiter);
}

static void set_deadline(struct limiter_redis *limiter) {
    if (limiter->is_timed || list_is_empty(&limiter->waiting)) {
        return;
    }
    const struct flight *first = LIST_ENTRY(limiter->waiting.next, struct flight, node);
    int64_t left_ms = first->until_ms - loop_timer_now_ms(limiter->opts.loop);
    limiter->is_timed = true;
    loop_timer_start(&limiter->deadline, left_ms > 0 ? left_ms : 0, 0, on_deadline);
}

/* From the times before the request to its answers. False: not what the script returns. */
static bool read_answer(const struct flight *flight, const struct redis_value *value) {
    struct limiter_redis_op *op = flight->op;
    for (op->refused = 0; op->refused < op->count; op->refused++) {
        const struct redis_value *before = redis_at(value, op->refused);
        int64_t full_us = redis_integer(before);
        if (redis_kind(before) != REDIS_INTEGER) {
            return false;
        }
        op->answer = limiter_judge(&full_us, op->limits[op->refused].per_minute, flight->now_us);
        if (!op->answer.is_allowed) {
            break;
        }
    }
    return true;
}

static void close_when_idle(struct limiter_redis *limiter);

static void give_back(struct flight *flight) {
    struct limiter_redis *limiter = flight->limiter;
    limiter->flight_count--;
    if (limiter->spare_count < SPARE_FLIGHTS) {
        limiter->spare_count++;
        list_append(limiter->spare.next, &flight->node); /* the warmest first */
    } else {
        mem_free(flight);
    }
}

static void on_answer(struct redis_op *redis) {
    struct flight *flight = LIST_ENTRY(redis, struct flight, redis);
    struct limiter_redis *limiter = flight->limiter;
    struct limiter_redis_op *op = flight->op;
    const char *cause = redis->rc == RC_OK ? "malformed" : rc_name(redis->rc);
    bool is_good = op != NULL && redis->rc == RC_OK && read_answer(flight, redis->value);
    limiter->is_silent = false;
    if (op != NULL) {
        list_remove(&flight->node);
    }
    give_back(flight);
    if (is_good) {
        op->done(op);
    } else if (op != NULL) {
        end_local(limiter, op, cause);
    }
    close_when_idle(limiter);
}

static struct flight *flight_new(struct limiter_redis *limiter, struct limiter_redis_op *op,
                                 int64_t wall_ms) {
    struct list *spare = list_take_first(&limiter->spare);
    struct flight *flight =
        spare != NULL ? LIST_ENTRY(spare, struct flight, node) : mem_alloc(sizeof *flight);
    limiter->spare_count -= spare != NULL;
    limiter->flight_count++;
    *flight = (struct flight){
        .limiter = limiter,
        .op = op,
        .now_us = wall_ms * 1000,
        .until_ms = loop_timer_now_ms(limiter->opts.loop) + limiter->opts.wait_ms,
    };
    list_append(&limiter->waiting, &flight->node);
    set_deadline(limiter);
    return flight;
}

/* No one's address or id stands in it. Without a hash (the crypto library failed) all share one. */
static struct slice write_key(const struct limiter_redis *limiter,
                              const struct limiter_limit *limit, char at[KEY_BYTES]) {
    static const char hex[] = "0123456789abcdef";
    unsigned char hash[HASH_SHA256_BYTES] = {0};
    struct buf key;
    buf_init_fixed(&key, at, KEY_BYTES);
    BUF_LIT(&key, "latchkey:rate:");
    buf_append(&key, slice_str(limiter->opts.buckets[limit->bucket]));
    buf_append_char(&key, ':');
    hash_sha256(limit->key, hash);
    for (size_t i = 0; i < KEY_HASH_BYTES; i++) {
        buf_append_char(&key, hex[hash[i] >> 4]);
        buf_append_char(&key, hex[hash[i] & 15]);
    }
    assert(buf_ok(&key));
    return buf_slice(&key);
}

struct arguments {
    struct slice at[ARGS_MAX];
    size_t count;
    char keys[LIMITER_REDIS_LIMITS_MAX][KEY_BYTES];
    char numbers[ARGS_MAX][NUMBER_BYTES];
};

static void add_number(struct arguments *arguments, int64_t number) {
    struct buf text;
    buf_init_fixed(&text, arguments->numbers[arguments->count], NUMBER_BYTES);
    buf_append_i64(&text, number);
    arguments->at[arguments->count++] = buf_slice(&text);
}

void limiter_redis_take(struct limiter_redis *limiter, struct limiter_redis_op *op,
                        const struct limiter_limit *limits, size_t count, int64_t wall_ms,
                        void (*done)(struct limiter_redis_op *op)) {
    struct arguments arguments;
    arguments.count = 0;
    assert(count > 0 && count <= LIMITER_REDIS_LIMITS_MAX);
    *op = (struct limiter_redis_op){.done = done, .limits = limits, .count = count};
    struct flight *flight = flight_new(limiter, op, wall_ms);
    for (size_t i = 0; i < count; i++) {
        arguments.at[arguments.count++] = write_key(limiter, &limits[i], arguments.keys[i]);
    }
    add_number(&arguments, flight->now_us);
    add_number(&arguments, limiter->opts.keep_ms);
    for (size_t i = 0; i < count; i++) {
        add_number(&arguments, limiter_each_us(limits[i].per_minute));
        add_number(&arguments, limits[i].per_minute);
    }
    redis_eval(limiter->opts.redis, &flight->redis, &script, arguments.at, count, arguments.count,
               on_answer);
}

/* --- opening and closing ---------------------------------------------------------------------- */

struct limiter_redis *limiter_redis_new(const struct limiter_redis_opts *opts) {
    struct limiter_redis *limiter = mem_calloc(1, sizeof *limiter);
    limiter->opts = *opts;
    limiter->opts.wait_ms = opts->wait_ms > 0 ? opts->wait_ms : LIMITER_REDIS_WAIT_MS;
    limiter->opts.keep_ms = opts->keep_ms > 0 ? opts->keep_ms : LIMITER_REDIS_KEEP_MS;
    list_init(&limiter->waiting);
    list_init(&limiter->spare);
    loop_timer_init(opts->loop, &limiter->deadline);
    return limiter;
}

static void on_deadline_closed(struct loop_timer *timer) {
    struct limiter_redis *limiter = LIST_ENTRY(timer, struct limiter_redis, deadline);
    void (*closed)(void *owner) = limiter->closed;
    void *owner = limiter->closed_owner;
    struct list *node;
    while ((node = list_take_first(&limiter->spare)) != NULL) {
        mem_free(LIST_ENTRY(node, struct flight, node));
    }
    mem_free(limiter);
    closed(owner);
}

static void on_close(struct loop_task *task) {
    struct limiter_redis *limiter = LIST_ENTRY(task, struct limiter_redis, close_task);
    loop_timer_close(&limiter->deadline, on_deadline_closed);
}

static void close_when_idle(struct limiter_redis *limiter) {
    if (limiter->is_closing && limiter->flight_count == 0) {
        limiter->is_closing = false;
        loop_later(limiter->opts.loop, &limiter->close_task, on_close);
    }
}

void limiter_redis_close(struct limiter_redis *limiter, void (*closed)(void *owner), void *owner) {
    limiter->is_closing = true;
    limiter->closed = closed;
    limiter->closed_owner = owner;
    close_when_idle(limiter);
}
