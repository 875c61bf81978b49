// SPDX-License-Identifier: MIT
#include "auth/users.h"

#include <assert.h>

#include "auth/tier.h"
#include "base/keyhash.h"
#include "base/limits.h"
#include "base/mem.h"

/* Sets of a few slots as in auth/bearer: a new user replaces the one of his set who expires first.
 */
enum { WAYS = 4, BUCKETS = LIMIT_USER_LOOKUPS, TICK_MS = 50 };

/* What the source said. */
struct verdict {
    enum rc rc; /* RC_OK, RC_ABSENT; RC_STORAGE_UNAVAILABLE: nothing */
    bool is_active;
    bool is_admin;
    bool has_premium;
};

struct known {
    uint64_t hash;
    int64_t until_ms;
    char *user_id; /* NULL: free */
    uint16_t user_id_len;
    struct verdict verdict;
};

/* A question that is open, and who waits for its answer. */
struct flight {
    struct users_lookup lookup;
    struct users *users;
    struct list node; /* in its bucket */
    struct list waiting;
    uint64_t hash;
    int64_t asked_ms;
    char user_id[LIMIT_USER_ID_BYTES];
};

struct users {
    struct users_opts opts;
    struct keyhash user_hash;
    struct known *table;
    size_t set_mask;
    struct list buckets[BUCKETS]; /* of flights */
    size_t flight_count;
    size_t waiting_count;
    struct loop_timer tick; /* while someone waits */
    bool is_ticking;
    bool is_closing;
    void (*closed)(void *owner);
    void *closed_owner;
    struct loop_task close_task;
};

/* --- what is known ---------------------------------------------------------------------------- */

static struct known *set_of(struct users *users, uint64_t hash) {
    return &users->table[(hash & users->set_mask) * WAYS];
}

static struct known *find(struct users *users, struct slice user_id, uint64_t hash) {
    struct known *set = set_of(users, hash);
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash && set[i].user_id != NULL &&
            slice_eq(slice_make(set[i].user_id, set[i].user_id_len), user_id)) {
            return &set[i];
        }
    }
    return NULL;
}

static struct known *place(struct users *users, struct slice user_id, uint64_t hash) {
    struct known *own = find(users, user_id, hash);
    struct known *set = set_of(users, hash);
    struct known *first = own != NULL ? own : &set[0];
    for (size_t i = 0; own == NULL && i < WAYS; i++) {
        if (set[i].until_ms < first->until_ms) {
            first = &set[i];
        }
    }
    return first;
}

static void remember(struct users *users, const struct flight *flight,
                     const struct verdict *verdict) {
    struct slice user_id = flight->lookup.user_id;
    struct known *known = place(users, user_id, flight->hash);
    mem_free(known->user_id);
    *known = (struct known){
        .hash = flight->hash,
        .until_ms =
            flight->asked_ms + (verdict->rc == RC_OK ? USERS_KEPT_MS : USERS_ABSENT_KEPT_MS),
        .user_id = mem_strdup(user_id),
        .user_id_len = (uint16_t)user_id.len,
        .verdict = *verdict,
    };
}

static enum rc apply(struct users *users, const struct verdict *verdict, struct caller *caller,
                     struct slice request_id) {
    if (verdict->rc == RC_ABSENT) {
        LOG(users->opts.log, LOG_INFO, "auth_rejected", request_id,
            log_text("reason", SLICE("unknown_user")));
        return RC_BAD_CREDENTIALS;
    }
    if (verdict->rc == RC_OK) {
        caller->is_active = verdict->is_active;
        caller->is_admin = verdict->is_admin;
        caller->has_premium = verdict->has_premium;
    }
    return verdict->rc;
}

bool users_cached(struct users *users, struct caller *caller, struct slice request_id,
                  enum rc *rc) {
    uint64_t hash = keyhash_of(&users->user_hash, caller->sub);
    const struct known *known = find(users, caller->sub, hash);
    if (known == NULL || loop_now_ms(users->opts.loop) >= known->until_ms) {
        return false;
    }
    *rc = apply(users, &known->verdict, caller, request_id);
    return true;
}

/* --- who waits -------------------------------------------------------------------------------- */

static void tell(struct users_op *op, enum rc rc) {
    op->rc = rc;
    op->done(op);
}

static void on_told(struct loop_task *task) {
    struct users_op *op = LIST_ENTRY(task, struct users_op, task);
    tell(op, op->rc);
}

static void tell_later(struct users_op *op, enum rc rc) {
    op->rc = rc;
    loop_later(op->users->opts.loop, &op->task, on_told);
}

static void leave(struct users_op *op) {
    list_remove(&op->node);
    op->users->waiting_count--;
}

static void fail(struct users *users, struct slice user_id, struct slice request_id, enum rc rc) {
    metrics_add(users->opts.metrics, METRIC_STORE_FAILURES, 1);
    LOG(users->opts.log, LOG_ERROR, "user_store_failed", request_id, log_text("user_id", user_id),
        log_text("cause", slice_str(rc_name(rc))));
}

/* Whoever waits too long; the question goes on. */
static void gather_due(struct flight *flight, int64_t now_ms, struct list *due) {
    struct list *next;
    for (struct list *node = flight->waiting.next; node != &flight->waiting; node = next) {
        struct users_op *op = LIST_ENTRY(node, struct users_op, node);
        next = node->next;
        if (now_ms >= op->deadline_ms) {
            list_remove(node);
            list_append(due, node);
        }
    }
}

static void stop_ticking(struct users *users) {
    if (users->is_ticking && users->waiting_count == 0) {
        users->is_ticking = false;
        loop_timer_stop(&users->tick);
    }
}

static void on_tick(struct loop_timer *timer) {
    struct users *users = LIST_ENTRY(timer, struct users, tick);
    int64_t now_ms = loop_now_ms(users->opts.loop);
    struct list due;
    list_init(&due);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct list *node = users->buckets[i].next; node != &users->buckets[i];
             node = node->next) {
            gather_due(LIST_ENTRY(node, struct flight, node), now_ms, &due);
        }
    }
    while (!list_is_empty(&due)) {
        struct users_op *op = LIST_ENTRY(due.next, struct users_op, node);
        fail(users, op->caller->sub, op->request_id, RC_TIMEOUT);
        leave(op);
        tell(op, RC_STORAGE_UNAVAILABLE);
    }
    stop_ticking(users);
}

static void join(struct flight *flight, struct users_op *op) {
    struct users *users = flight->users;
    list_append(&flight->waiting, &op->node);
    users->waiting_count++;
    if (!users->is_ticking) {
        users->is_ticking = true;
        loop_timer_start(&users->tick, TICK_MS, TICK_MS, on_tick);
    }
}

void users_cancel(struct users_op *op) {
    if (list_is_linked(&op->node)) {
        leave(op);
        stop_ticking(op->users);
        tell_later(op, RC_CANCELED);
    }
}

/* --- questions -------------------------------------------------------------------------------- */

static struct list *bucket_of(struct users *users, uint64_t hash) {
    return &users->buckets[hash % BUCKETS];
}

static struct flight *find_flight(struct users *users, struct slice user_id, uint64_t hash) {
    struct list *bucket = bucket_of(users, hash);
    for (struct list *node = bucket->next; node != bucket; node = node->next) {
        struct flight *flight = LIST_ENTRY(node, struct flight, node);
        if (flight->hash == hash && slice_eq(flight->lookup.user_id, user_id)) {
            return flight;
        }
    }
    return NULL;
}

static struct flight *flight_new(struct users *users, struct slice user_id, uint64_t hash) {
    struct flight *flight = mem_calloc(1, sizeof *flight);
    flight->users = users;
    flight->hash = hash;
    flight->asked_ms = loop_now_ms(users->opts.loop);
    memcpy(flight->user_id, user_id.at, user_id.len);
    flight->lookup.user_id = slice_make(flight->user_id, user_id.len);
    list_init(&flight->waiting);
    list_append(bucket_of(users, hash), &flight->node);
    users->flight_count++;
    return flight;
}

void users_find(struct users *users, struct users_op *op, struct caller *caller,
                struct slice request_id, int64_t deadline_ms, void (*done)(struct users_op *op)) {
    int64_t latest_ms = loop_now_ms(users->opts.loop) + USERS_WAIT_MS;
    uint64_t hash = keyhash_of(&users->user_hash, caller->sub);
    *op = (struct users_op){
        .done = done,
        .users = users,
        .caller = caller,
        .request_id = request_id,
        .deadline_ms = deadline_ms < latest_ms ? deadline_ms : latest_ms,
    };
    assert(caller->sub.len > 0 && caller->sub.len <= LIMIT_USER_ID_BYTES);
    struct flight *flight = find_flight(users, caller->sub, hash);
    if (flight != NULL) {
        join(flight, op);
    } else if (users->flight_count == LIMIT_USER_LOOKUPS) {
        tell_later(op, RC_OVERLOADED);
    } else {
        flight = flight_new(users, caller->sub, hash);
        join(flight, op);
        users->opts.source->ops->look_up(users->opts.source, &flight->lookup);
    }
}

static struct verdict judge(struct flight *flight, enum rc rc, const struct users_record *record) {
    struct users *users = flight->users;
    struct metrics *metrics = users->opts.metrics;
    struct caller caller;
    if (rc == RC_OK) {
        metrics_add(metrics, METRIC_USER_LOOKUPS_FOUND, 1);
        tier_read(record->roles, record->role_count, record->subscription_tier, &caller);
        return (struct verdict){RC_OK, record->is_active, caller.is_admin, caller.has_premium};
    }
    if (rc == RC_ABSENT) {
        metrics_add(metrics, METRIC_USER_LOOKUPS_ABSENT, 1);
        return (struct verdict){.rc = RC_ABSENT};
    }
    metrics_add(metrics, METRIC_USER_LOOKUPS_FAILED, 1);
    fail(users, flight->lookup.user_id, SLICE_NULL, rc);
    return (struct verdict){.rc = RC_STORAGE_UNAVAILABLE};
}

static void close_when_idle(struct users *users);

void users_answer(struct users_lookup *lookup, enum rc rc, const struct users_record *record) {
    struct flight *flight = LIST_ENTRY(lookup, struct flight, lookup);
    struct users *users = flight->users;
    const struct verdict verdict = judge(flight, rc, record);
    list_remove(&flight->node);
    users->flight_count--;
    if (verdict.rc != RC_STORAGE_UNAVAILABLE) {
        remember(users, flight, &verdict);
    }
    while (!list_is_empty(&flight->waiting)) {
        struct users_op *op = LIST_ENTRY(flight->waiting.next, struct users_op, node);
        leave(op);
        tell(op, apply(users, &verdict, op->caller, op->request_id));
    }
    mem_free(flight);
    stop_ticking(users);
    close_when_idle(users);
}

/* --- opening and closing ---------------------------------------------------------------------- */

static size_t set_count(size_t users_max) {
    size_t sets = 1;
    while (sets * WAYS < users_max) {
        sets *= 2;
    }
    return sets;
}

struct users *users_new(const struct users_opts *opts) {
    struct users *users = mem_calloc(1, sizeof *users);
    size_t sets = set_count(opts->cache_max);
    users->opts = *opts;
    if (keyhash_init(&users->user_hash) != RC_OK) {
        mem_free(users);
        return NULL;
    }
    users->set_mask = sets - 1;
    users->table = mem_calloc(sets * WAYS, sizeof *users->table);
    for (size_t i = 0; i < BUCKETS; i++) {
        list_init(&users->buckets[i]);
    }
    loop_timer_init(opts->loop, &users->tick);
    return users;
}

static void free_users(struct users *users) {
    for (size_t i = 0; i < (users->set_mask + 1) * WAYS; i++) {
        mem_free(users->table[i].user_id);
    }
    mem_free(users->table);
    mem_free(users);
}

static void on_source_closed(void *owner) {
    struct users *users = owner;
    void (*closed)(void *closed_owner) = users->closed;
    void *closed_owner = users->closed_owner;
    free_users(users);
    closed(closed_owner);
}

static void on_tick_closed(struct loop_timer *timer) {
    struct users *users = LIST_ENTRY(timer, struct users, tick);
    users->opts.source->ops->close(users->opts.source, on_source_closed, users);
}

static void on_close(struct loop_task *task) {
    struct users *users = LIST_ENTRY(task, struct users, close_task);
    loop_timer_close(&users->tick, on_tick_closed);
}

static void close_when_idle(struct users *users) {
    if (users->is_closing && users->flight_count == 0) {
        users->is_closing = false;
        loop_later(users->opts.loop, &users->close_task, on_close);
    }
}

void users_close(struct users *users, void (*closed)(void *owner), void *owner) {
    users->is_closing = true;
    users->closed = closed;
    users->closed_owner = owner;
    close_when_idle(users);
}
