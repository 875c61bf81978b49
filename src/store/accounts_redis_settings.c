// SPDX-License-Identifier: MIT
#include "store/accounts_redis_settings.h"

#include "base/mem.h"

enum { VALUE_BYTES_MAX = 128 };

/* One a command: only Redis 7 takes several. */
enum setting {
    APPENDONLY,
    APPENDFSYNC,
    SAVE,
    MAXMEMORY,
    MAXMEMORY_POLICY,
    SETTING_COUNT,
};
static const struct slice setting_names[SETTING_COUNT] = {
    [APPENDONLY] = {"appendonly", sizeof "appendonly" - 1},
    [APPENDFSYNC] = {"appendfsync", sizeof "appendfsync" - 1},
    [SAVE] = {"save", sizeof "save" - 1},
    [MAXMEMORY] = {"maxmemory", sizeof "maxmemory" - 1},
    [MAXMEMORY_POLICY] = {"maxmemory-policy", sizeof "maxmemory-policy" - 1},
};

struct question {
    struct redis_op redis;
    struct accounts_redis_settings *settings;
    char value_at[VALUE_BYTES_MAX];
    struct slice value; /* null: not told */
};

/* What the server's settings come to. */
enum durability { DURABLE, SYNCS_BY_CHANCE, SNAPSHOTS_ONLY, NOTHING_KEPT };
struct finding {
    bool is_known;
    bool is_hidden;
    enum durability durability;
    bool may_evict;
};

struct accounts_redis_settings {
    struct loop *loop;
    struct redis *redis;
    struct log *log;
    struct question questions[SETTING_COUNT];
    size_t open; /* questions without an answer */
    struct finding said;
    struct loop_task task;
    void (*closed)(void *owner); /* NULL: not asked to close */
    void *closed_owner;
};

static struct slice value_of(const struct accounts_redis_settings *settings, enum setting which) {
    return settings->questions[which].value;
}

/* -- what it means -- */

static enum durability judge_durability(const struct accounts_redis_settings *settings) {
    if (slice_eq(value_of(settings, APPENDONLY), SLICE("yes"))) {
        return slice_eq(value_of(settings, APPENDFSYNC), SLICE("no")) ? SYNCS_BY_CHANCE : DURABLE;
    }
    return value_of(settings, SAVE).len > 0 ? SNAPSHOTS_ONLY : NOTHING_KEPT;
}

/* volatile-* takes only what has an end, which an account has not. */
static bool judge_eviction(const struct accounts_redis_settings *settings) {
    return slice_starts(value_of(settings, MAXMEMORY_POLICY), SLICE("allkeys-")) &&
           !slice_eq(value_of(settings, MAXMEMORY), SLICE("0"));
}

static struct finding judge(const struct accounts_redis_settings *settings) {
    struct finding finding = {.is_known = true};
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        finding.is_hidden = finding.is_hidden || slice_is_null(settings->questions[i].value);
    }
    if (!finding.is_hidden) {
        finding.durability = judge_durability(settings);
        finding.may_evict = judge_eviction(settings);
    }
    return finding;
}

static void say_durability(const struct accounts_redis_settings *settings,
                           enum durability durability) {
    static const char *const texts[] = {
        [DURABLE] = NULL,
        [SYNCS_BY_CHANCE] = "appendfsync is no: a crash of its machine loses accounts that were "
                            "linked or refreshed within the last minute",
        [SNAPSHOTS_ONLY] = "snapshots only: a crash loses accounts that were linked or refreshed "
                           "since the last one",
        [NOTHING_KEPT] = "no persistence: a restart loses all accounts",
    };
    if (durability != DURABLE) {
        LOG(settings->log, LOG_WARNING, "account_store_not_durable", SLICE_NULL,
            log_text("cause", slice_str(texts[durability])),
            log_text("advice", SLICE("set appendonly yes and appendfsync always in this Redis")));
    }
}

static void say(const struct accounts_redis_settings *settings, const struct finding *finding) {
    if (finding->is_hidden) {
        LOG(settings->log, LOG_INFO, "account_store_settings_hidden", SLICE_NULL,
            log_text("advice", SLICE("the Redis of the accounts does not tell how it is set; make "
                                     "sure that it writes to disk and evicts nothing")));
        return;
    }
    LOG(settings->log, LOG_INFO, "account_store_settings", SLICE_NULL,
        log_text("appendonly", value_of(settings, APPENDONLY)),
        log_text("appendfsync", value_of(settings, APPENDFSYNC)),
        log_text("save", value_of(settings, SAVE)),
        log_text("maxmemory", value_of(settings, MAXMEMORY)),
        log_text("maxmemory_policy", value_of(settings, MAXMEMORY_POLICY)));
    say_durability(settings, finding->durability);
    if (finding->may_evict) {
        LOG(settings->log, LOG_WARNING, "account_store_may_evict", SLICE_NULL,
            log_text("maxmemory_policy", value_of(settings, MAXMEMORY_POLICY)),
            log_text("advice", SLICE("accounts are deleted when its memory is full; set "
                                     "maxmemory-policy noeviction in this Redis")));
    }
}

static bool is_same(const struct finding *a, const struct finding *b) {
    return a->is_known == b->is_known && a->is_hidden == b->is_hidden &&
           a->durability == b->durability && a->may_evict == b->may_evict;
}

/* -- asking -- */

static void on_close(struct loop_task *task) {
    struct accounts_redis_settings *settings =
        LIST_ENTRY(task, struct accounts_redis_settings, task);
    void (*closed)(void *owner) = settings->closed;
    void *owner = settings->closed_owner;
    mem_free(settings);
    closed(owner);
}

/* Where the connection broke before all was told, the next one will be asked. */
static void end_round(struct accounts_redis_settings *settings, bool is_complete) {
    if (settings->closed != NULL) {
        loop_later(settings->loop, &settings->task, on_close);
    } else if (is_complete) {
        struct finding finding = judge(settings);
        if (!is_same(&finding, &settings->said)) {
            say(settings, &finding);
            settings->said = finding;
        }
    }
}

static bool is_refusal(enum rc rc) {
    return rc == RC_USAGE || rc == RC_MALFORMED;
}

static void keep_value(struct question *question) {
    struct slice value = redis_text(redis_at(question->redis.value, 1));
    if (!slice_is_null(value)) {
        value = slice_head(value, VALUE_BYTES_MAX);
        memcpy(question->value_at, value.at, value.len);
        question->value = slice_make(question->value_at, value.len);
    }
}

static void on_answer(struct redis_op *redis) {
    struct question *question = LIST_ENTRY(redis, struct question, redis);
    struct accounts_redis_settings *settings = question->settings;
    if (redis->rc == RC_OK) {
        keep_value(question);
    }
    if (--settings->open == 0) {
        /* answers come in order: with the last, all */
        end_round(settings, redis->rc == RC_OK || is_refusal(redis->rc));
    }
}

static void ask(struct accounts_redis_settings *settings) {
    settings->open = SETTING_COUNT;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        struct question *question = &settings->questions[i];
        const struct slice args[] = {SLICE("CONFIG"), SLICE("GET"), setting_names[i]};
        question->settings = settings;
        question->value = SLICE_NULL;
        redis_command(settings->redis, &question->redis, args, 3, on_answer);
    }
}

static void on_ready(void *owner) {
    struct accounts_redis_settings *settings = owner;
    if (settings->open == 0) { /* else the last connection's are still to be told */
        ask(settings);
    }
}

struct accounts_redis_settings *accounts_redis_settings_new(struct loop *loop, struct redis *redis,
                                                            struct log *log) {
    struct accounts_redis_settings *settings = mem_calloc(1, sizeof *settings);
    settings->loop = loop;
    settings->redis = redis;
    settings->log = log;
    redis_on_ready(redis, on_ready, settings);
    if (redis_is_ready(redis)) {
        ask(settings);
    }
    return settings;
}

void accounts_redis_settings_close(struct accounts_redis_settings *settings,
                                   void (*closed)(void *owner), void *owner) {
    redis_off_ready(settings->redis, settings);
    settings->closed = closed;
    settings->closed_owner = owner;
    if (settings->open == 0) {
        loop_later(settings->loop, &settings->task, on_close);
    }
}
