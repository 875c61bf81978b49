// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/redis.h"
#include "io/redis_scripts.h"
#include "store/accounts_backend.h"
#include "store/accounts_redis_settings.h"

/* A hash a user, and one sorted set of all user ids, of one score, which ZRANGEBYLEX walks in the
 * order of their bytes. A field that is not there is null; fields that are not ours stay. A hash
 * without an access token is no account: it has never been one, or was evicted and is what
 * something else has made since. What changes both, or depends on what is there, is one script. */
#define KEY_PREFIX "latchkey:account:"
#define KEY_INDEX "latchkey:accounts"
#define KEY_PULSE "latchkey:accounts:pulse"

/* Texts first: the order of a read's answer. */
#define FIELDS(X)                                                                                  \
    X(AUDIBLE_USER_ID, "audible_user_id")                                                          \
    X(ACCESS_TOKEN, "access_token")                                                                \
    X(REFRESH_TOKEN, "refresh_token")                                                              \
    X(LAST_SYNC_ERROR, "last_sync_error")                                                          \
    X(EXPIRES_AT_MS, "expires_at_ms")                                                              \
    X(CONNECTED_AT_MS, "connected_at_ms")                                                          \
    X(SYNCED_AT_MS, "synced_at_ms")                                                                \
    X(SYNC_STATUS, "sync_status")
#define FIELD_ENUM(id, name) FIELD_##id,
enum field { FIELDS(FIELD_ENUM) FIELD_COUNT };
#define FIELD_SLICE(id, name) [FIELD_##id] = {name, sizeof name - 1},
static const struct slice field_names[FIELD_COUNT] = {FIELDS(FIELD_SLICE)};
#define FIELD_LUA(id, name) ", '" name "'"
#define LUA_READ(key) "redis.call('HMGET', " key FIELDS(FIELD_LUA) ")"

#define SYNC_TEXT(name, text) [ACCOUNT_SYNC_##name] = {text, sizeof text - 1},
static const struct slice sync_texts[] = {ACCOUNT_SYNC_MAP(SYNC_TEXT)};
enum { SYNC_COUNT = sizeof sync_texts / sizeof sync_texts[0] };

enum {
    ARGS_MAX = 32,
    NUMBER_BYTES = 24,
    SPARE_CALLS_MAX = 1024,
    KEY_BYTES_MAX = sizeof KEY_PREFIX + LIMIT_USER_ID_BYTES,
};

/* -- scripts -- */

/* Values to set, as pairs behind their count, then the names of fields that become null. The first
 * command is one that a full server refuses, so that it refuses all of it. */
static const struct redis_script put_script = {
    .index = REDIS_SCRIPT_ACCOUNTS_PUT,
    .text = "redis.call('ZADD', KEYS[2], 0, ARGV[1]) "
            "local last = 2 + 2 * ARGV[2] "
            "redis.call('HSET', KEYS[1], unpack(ARGV, 3, last)) "
            "if last < #ARGV then redis.call('HDEL', KEYS[1], unpack(ARGV, last + 1)) end "
            "return 0"};

enum change_answer { CHANGE_DONE, CHANGE_CONFLICT, CHANGE_ABSENT };

/* The fences first: whether there is one, and which. A null refresh token is `false` here, and a
 * fence too. */
static const struct redis_script change_script = {
    .index = REDIS_SCRIPT_ACCOUNTS_CHANGE,
    .text = "local is = redis.call('HMGET', KEYS[1], 'access_token', 'refresh_token', "
            "'sync_status', 'last_sync_error') "
            "if not is[1] then return 2 end "
            "local fence = ARGV[1] == '1' and ARGV[2] "
            "if is[2] ~= fence then return 1 end "
            "if ARGV[3] == '1' and is[1] ~= ARGV[4] then return 1 end "
            "if ARGV[5] == '1' and is[3] == 'failed' and is[4] == ARGV[6] then return 1 end "
            "local last = 7 + 2 * ARGV[7] "
            "redis.call('HSET', KEYS[1], unpack(ARGV, 8, last)) "
            "if last < #ARGV then redis.call('HDEL', KEYS[1], unpack(ARGV, last + 1)) end "
            "return 0"};

/* What its caller could not take stays. */
static const struct redis_script remove_script = {
    .index = REDIS_SCRIPT_ACCOUNTS_REMOVE,
    .text = "local row = " LUA_READ(
        "KEYS[1]") " "
                   "local bytes = 0 "
                   "for i = 1, #row do bytes = bytes + (row[i] and #row[i] or 0) end "
                   "if bytes > tonumber(ARGV[2]) then return 'large' end "
                   "redis.call('ZREM', KEYS[2], ARGV[1]) "
                   "if row[2] then redis.call('DEL', KEYS[1]) end "
                   "return row"};

/* Past ids without an account, but not without end: then it says how far it came. */
static const struct redis_script next_script = {
    .index = REDIS_SCRIPT_ACCOUNTS_NEXT,
    .text = "local at = ARGV[1] "
            "for i = 1, 100 do "
            "local ids = redis.call('ZRANGEBYLEX', KEYS[1], '(' .. at, '+', 'LIMIT', 0, 1) "
            "if not ids[1] then return false end "
            "at = ids[1] "
            "local row = " LUA_READ(
                "'" KEY_PREFIX "' .. at") " "
                                          "if row[2] then table.insert(row, at) return row end "
                                          "end "
                                          "return at"};

/* -- calls -- */

struct accounts_redis {
    struct accounts_backend backend;
    struct loop *loop;
    struct redis *redis;
    struct accounts_redis_settings *settings;
    struct list spare; /* calls */
    size_t spare_count;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* One operation on its way. */
struct call {
    struct list node;
    struct redis_op redis;
    struct loop_task task;
    struct accounts_redis *store;
    struct accounts_backend_op *op;
    char key[KEY_BYTES_MAX]; /* of the user's hash */
    size_t key_len;
};

static struct accounts_redis *from_backend(struct accounts_backend *backend) {
    return LIST_ENTRY(backend, struct accounts_redis, backend);
}

static struct call *from_redis(struct redis_op *op) {
    return LIST_ENTRY(op, struct call, redis);
}

static struct call *take_call(struct accounts_redis *store, struct accounts_backend_op *op) {
    struct list *node = list_take_first(&store->spare);
    struct call *call =
        node != NULL ? LIST_ENTRY(node, struct call, node) : mem_calloc(1, sizeof *call);
    store->spare_count -= node != NULL ? 1 : 0;
    call->store = store;
    call->op = op;
    op->cause = NULL;
    return call;
}

static void give_call(struct call *call) {
    struct accounts_redis *store = call->store;
    if (store->spare_count == SPARE_CALLS_MAX) {
        mem_free(call);
        return;
    }
    list_append(&store->spare, &call->node);
    store->spare_count++;
}

static void complete(struct call *call, enum rc rc, const char *cause) {
    struct accounts_backend_op *op = call->op;
    op->rc = rc;
    op->cause = cause;
    give_call(call);
    op->done(op);
}

static void fail(struct call *call, const char *cause) {
    complete(call, RC_STORAGE_UNAVAILABLE, cause);
}

/* Whether the command was carried out is not known, but for some errors of the server's. */
static bool is_answered(struct call *call) {
    if (call->redis.rc == RC_OK) {
        return true;
    }
    fail(call, call->redis.cause != NULL ? call->redis.cause : rc_text(call->redis.rc));
    return false;
}

static void on_too_long(struct loop_task *task) {
    fail(LIST_ENTRY(task, struct call, task), "a user id is too long");
}

/* False: no such account can be, and the call fails. */
static bool set_key(struct call *call, struct slice user_id) {
    if (user_id.len > LIMIT_USER_ID_BYTES) {
        loop_later(call->store->loop, &call->task, on_too_long);
        return false;
    }
    memcpy(call->key, KEY_PREFIX, sizeof KEY_PREFIX - 1);
    if (user_id.len > 0) {
        memcpy(call->key + sizeof KEY_PREFIX - 1, user_id.at, user_id.len);
    }
    call->key_len = sizeof KEY_PREFIX - 1 + user_id.len;
    return true;
}

static struct slice key_of(const struct call *call) {
    return slice_make(call->key, call->key_len);
}

static struct slice user_id_of(const struct call *call) {
    return slice_from(key_of(call), sizeof KEY_PREFIX - 1);
}

/* -- rows in answers -- */

static struct slice copy(struct buf *bytes, struct slice text) {
    size_t start = bytes->len;
    if (slice_is_null(text)) {
        return SLICE_NULL;
    }
    buf_append(bytes, text);
    buf_append_char(bytes, '\0'); /* even an empty one has a place */
    return slice_make(bytes->at + start, text.len);
}

static bool read_number(const struct redis_value *value, int64_t *out) {
    struct slice text = redis_text(value);
    bool is_negative = text.len > 0 && text.at[0] == '-';
    uint64_t number = 0;
    *out = 0;
    if (redis_kind(value) == REDIS_NIL) {
        return true;
    }
    if (!slice_to_u64(slice_from(text, is_negative ? 1 : 0), INT64_MAX, &number)) {
        return false;
    }
    *out = is_negative ? -(int64_t)number : (int64_t)number;
    return true;
}

static enum account_sync read_sync(const struct redis_value *value) {
    for (int i = 0; i < SYNC_COUNT; i++) {
        if (slice_eq(redis_text(value), sync_texts[i])) {
            return (enum account_sync)i;
        }
    }
    return ACCOUNT_SYNC_PENDING;
}

/* NULL, or what is wrong with it. */
static const char *read_row(const struct redis_value *list, struct slice user_id,
                            struct accounts_backend_op *op) {
    struct buf *bytes = &op->bytes;
    struct accounts_row row = {0};
    size_t total = user_id.len + 1;
    for (size_t i = 0; i <= FIELD_LAST_SYNC_ERROR; i++) {
        total += redis_text(redis_at(list, i)).len + 1;
    }
    buf_clear(bytes);
    if (buf_reserve(bytes, total) == NULL) { /* once, as nothing may move later */
        return "a stored account is larger than its cap";
    }
    if (!read_number(redis_at(list, FIELD_EXPIRES_AT_MS), &row.expires_ms) ||
        !read_number(redis_at(list, FIELD_CONNECTED_AT_MS), &row.connected_ms) ||
        !read_number(redis_at(list, FIELD_SYNCED_AT_MS), &row.synced_ms)) {
        return "a stored account has a time that is no number";
    }
    row.user_id = copy(bytes, user_id);
    row.audible_user_id = copy(bytes, redis_text(redis_at(list, FIELD_AUDIBLE_USER_ID)));
    row.access_token = copy(bytes, redis_text(redis_at(list, FIELD_ACCESS_TOKEN)));
    row.refresh_token = copy(bytes, redis_text(redis_at(list, FIELD_REFRESH_TOKEN)));
    row.last_sync_error = copy(bytes, redis_text(redis_at(list, FIELD_LAST_SYNC_ERROR)));
    row.sync_status = read_sync(redis_at(list, FIELD_SYNC_STATUS));
    op->row = row;
    return NULL;
}

static void complete_with_row(struct call *call, const struct redis_value *list,
                              struct slice user_id) {
    const char *problem = read_row(list, user_id, call->op);
    complete(call, problem == NULL ? RC_OK : RC_STORAGE_UNAVAILABLE, problem);
}

/* -- get, remove, next -- */

static void on_row(struct redis_op *redis) {
    struct call *call = from_redis(redis);
    if (!is_answered(call)) {
        return;
    }
    const struct redis_value *list = redis->value;
    if (redis_count(list) != FIELD_COUNT) {
        fail(call, "a stored account is larger than its cap"); /* of remove_script */
    } else if (redis_kind(redis_at(list, FIELD_ACCESS_TOKEN)) != REDIS_TEXT) {
        complete(call, RC_ABSENT, NULL);
    } else {
        complete_with_row(call, list, user_id_of(call));
    }
}

static void get(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    struct slice args[2 + FIELD_COUNT] = {SLICE("HMGET")};
    if (!set_key(call, op->row.user_id)) {
        return;
    }
    args[1] = key_of(call);
    memcpy(args + 2, field_names, sizeof field_names);
    redis_command(call->store->redis, &call->redis, args, 2 + FIELD_COUNT, on_row);
}

static void remove_row(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    char cap[NUMBER_BYTES];
    if (!set_key(call, op->row.user_id)) {
        return;
    }
    /* as read_row counts: user id and texts, each with its NUL */
    size_t besides = op->row.user_id.len + FIELD_LAST_SYNC_ERROR + 2;
    snprintf(cap, sizeof cap, "%zu", op->bytes.max > besides ? op->bytes.max - besides : 0);
    const struct slice args[] = {key_of(call), SLICE(KEY_INDEX), user_id_of(call), slice_str(cap)};
    redis_eval(call->store->redis, &call->redis, &remove_script, args, 2, 4, on_row);
}

static void ask_next(struct call *call);

static void on_next(struct redis_op *redis) {
    struct call *call = from_redis(redis);
    const struct redis_value *value = redis->value;
    if (!is_answered(call)) {
        return;
    }
    switch (redis_kind(value)) {
    case REDIS_LIST:
        complete_with_row(call, value, redis_text(redis_at(value, FIELD_COUNT)));
        break;
    case REDIS_TEXT:
        if (set_key(call, redis_text(value))) {
            ask_next(call);
        }
        break;
    default:
        complete(call, RC_ABSENT, NULL);
        break;
    }
}

static void ask_next(struct call *call) {
    const struct slice args[] = {SLICE(KEY_INDEX), user_id_of(call)};
    redis_eval(call->store->redis, &call->redis, &next_script, args, 1, 2, on_next);
}

static void next(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    if (set_key(call, op->row.user_id)) {
        ask_next(call);
    }
}

/* -- put, swap, mark -- */

/* What a write does to fields: the arguments' tail, as the scripts take it. */
struct change {
    struct slice args[ARGS_MAX];
    size_t count;
    size_t nulls_count;
    struct slice nulls[FIELD_COUNT];
    char pairs_text[NUMBER_BYTES];
    char numbers[3][NUMBER_BYTES];
    size_t numbers_count;
    size_t pairs_at; /* the place of their count */
};

static void begin_pairs(struct change *change) {
    change->pairs_at = change->count++;
}

static void set_text(struct change *change, enum field field, struct slice text) {
    if (slice_is_null(text)) {
        change->nulls[change->nulls_count++] = field_names[field];
        return;
    }
    change->args[change->count++] = field_names[field];
    change->args[change->count++] = text;
}

static void set_number(struct change *change, enum field field, int64_t number) {
    char *text = change->numbers[change->numbers_count++];
    snprintf(text, NUMBER_BYTES, "%lld", (long long)number);
    set_text(change, field, slice_str(text));
}

static void set_sync(struct change *change, enum account_sync sync) {
    set_text(change, FIELD_SYNC_STATUS, sync_texts[sync]);
}

static void end_pairs(struct change *change) {
    size_t pairs = (change->count - change->pairs_at - 1) / 2;
    snprintf(change->pairs_text, NUMBER_BYTES, "%zu", pairs);
    change->args[change->pairs_at] = slice_str(change->pairs_text);
    memcpy(change->args + change->count, change->nulls, change->nulls_count * sizeof(struct slice));
    change->count += change->nulls_count;
}

static void set_fence(struct change *change, struct slice fence) {
    change->args[change->count++] = slice_is_null(fence) ? SLICE("0") : SLICE("1");
    change->args[change->count++] = slice_is_null(fence) ? SLICE("") : fence;
}

static void on_put(struct redis_op *redis) {
    struct call *call = from_redis(redis);
    if (is_answered(call)) {
        complete(call, RC_OK, NULL);
    }
}

static void put(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    const struct accounts_row *row = &op->row;
    struct change change = {.count = 0};
    if (!set_key(call, row->user_id)) {
        return;
    }
    change.args[change.count++] = key_of(call);
    change.args[change.count++] = SLICE(KEY_INDEX);
    change.args[change.count++] = user_id_of(call);
    begin_pairs(&change);
    set_text(&change, FIELD_AUDIBLE_USER_ID, row->audible_user_id);
    set_text(&change, FIELD_ACCESS_TOKEN, row->access_token);
    set_text(&change, FIELD_REFRESH_TOKEN, row->refresh_token);
    set_text(&change, FIELD_LAST_SYNC_ERROR, row->last_sync_error);
    set_number(&change, FIELD_EXPIRES_AT_MS, row->expires_ms);
    set_number(&change, FIELD_CONNECTED_AT_MS, row->connected_ms);
    set_number(&change, FIELD_SYNCED_AT_MS, row->synced_ms);
    set_sync(&change, row->sync_status);
    end_pairs(&change);
    redis_eval(call->store->redis, &call->redis, &put_script, change.args, 2, change.count, on_put);
}

static void on_changed(struct redis_op *redis) {
    struct call *call = from_redis(redis);
    if (!is_answered(call)) {
        return;
    }
    switch (redis_integer(redis->value)) {
    case CHANGE_DONE:
        complete(call, RC_OK, NULL);
        break;
    case CHANGE_CONFLICT:
        complete(call, RC_CONFLICT, NULL);
        break;
    default:
        complete(call, RC_ABSENT, NULL);
        break;
    }
}

static void begin_change(struct change *change, const struct call *call, struct slice access,
                         struct slice error) {
    change->args[change->count++] = key_of(call);
    set_fence(change, call->op->fence);
    set_fence(change, access);
    set_fence(change, error);
    begin_pairs(change);
}

static void send_change(struct call *call, struct change *change) {
    end_pairs(change);
    redis_eval(call->store->redis, &call->redis, &change_script, change->args, 1, change->count,
               on_changed);
}

static void swap(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    struct change change = {.count = 0};
    if (!set_key(call, op->row.user_id)) {
        return;
    }
    begin_change(&change, call, op->access_fence, SLICE_NULL);
    set_text(&change, FIELD_ACCESS_TOKEN, op->row.access_token);
    set_text(&change, FIELD_REFRESH_TOKEN, op->row.refresh_token);
    set_number(&change, FIELD_EXPIRES_AT_MS, op->row.expires_ms);
    send_change(call, &change);
}

static void mark(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    struct change change = {.count = 0};
    if (!set_key(call, op->row.user_id)) {
        return;
    }
    begin_change(&change, call, SLICE_NULL, op->error_fence);
    set_sync(&change, op->row.sync_status);
    set_text(&change, FIELD_LAST_SYNC_ERROR, op->row.last_sync_error);
    if (op->row.synced_ms != 0) {
        set_number(&change, FIELD_SYNCED_AT_MS, op->row.synced_ms);
    }
    send_change(call, &change);
}

/* -- version, ping, close -- */

static void on_version(struct loop_task *task) {
    complete(LIST_ENTRY(task, struct call, task), RC_CONFLICT, NULL);
}

/* Others write at any time; nobody may keep a copy by it. */
static void version(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    loop_later(call->store->loop, &call->task, on_version);
}

/* A server that is full, read-only or can't write its disk refuses this as it refuses a link. */
static void ping(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct call *call = take_call(from_backend(backend), op);
    const struct slice args[] = {SLICE("INCR"), SLICE(KEY_PULSE)};
    redis_command(call->store->redis, &call->redis, args, 2, on_put);
}

static void on_settings_closed(void *owner) {
    struct accounts_redis *store = owner;
    void (*closed)(void *closed_owner) = store->closed;
    void *closed_owner = store->closed_owner;
    for (struct list *node = list_take_first(&store->spare); node != NULL;
         node = list_take_first(&store->spare)) {
        mem_free(LIST_ENTRY(node, struct call, node));
    }
    mem_free(store);
    if (closed != NULL) {
        closed(closed_owner);
    }
}

static void close_backend(struct accounts_backend *backend, void (*closed)(void *owner),
                          void *owner) {
    struct accounts_redis *store = from_backend(backend);
    store->closed = closed;
    store->closed_owner = owner;
    accounts_redis_settings_close(store->settings, on_settings_closed, store);
}

static const struct accounts_backend_ops backend_ops = {
    .get = get,
    .put = put,
    .swap = swap,
    .mark = mark,
    .remove = remove_row,
    .next = next,
    .version = version,
    .ping = ping,
    .close = close_backend,
};

struct accounts_backend *accounts_redis_new(struct loop *loop, struct redis *redis,
                                            struct log *log) {
    struct accounts_redis *store = mem_calloc(1, sizeof *store);
    store->backend.ops = &backend_ops;
    store->loop = loop;
    store->redis = redis;
    list_init(&store->spare);
    store->settings = accounts_redis_settings_new(loop, redis, log);
    return &store->backend;
}
