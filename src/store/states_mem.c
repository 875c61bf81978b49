// SPDX-License-Identifier: MIT
#include <assert.h>
#include <stdlib.h>

#include "base/keyhash.h"
#include "base/mem.h"
#include "store/slots.h"
#include "store/states.h"

enum {
    SWEEP_EACH_MS = 1000,
    SWEEP_TURN_MAX = 4096, /* records a turn: about a millisecond */
    TRIM_TURN_BYTES = 4 * 1024 * 1024,
    USED_MAX = 65536,
    USED_MARK_BYTES = 16,
    URIS_MAX = 256, /* different ones at a time: they come from the configuration */
    USER_ID_HEAD_BYTES = 46,
    USER_ID_PART_BYTES = 60,
    USER_PARTS_MAX = 1 + (LIMIT_USER_ID_BYTES - USER_ID_HEAD_BYTES + USER_ID_PART_BYTES - 1) /
                             USER_ID_PART_BYTES,
    STATES_MAX = 100 * 1000 * 1000,
};

/* A state that waits for its flow. In two rings without ends, both in the order of creation, which
 * is that of expiry too: everyone's and its user's. */
struct pending {
    uint32_t next;
    uint32_t older;
    uint32_t newer;
    uint32_t user_older;
    uint32_t user_newer;
    uint32_t user;
    uint32_t uri;
    int64_t created_ms;
    unsigned char state[RANDOM_BYTES];
    unsigned char verifier[RANDOM_BYTES];
    unsigned char cookie_hash[STATE_COOKIE_HASH_BYTES];
};

/* A user with pending states. An id that is longer than its head goes on in further records of the
 * same pool, so that most users cost one cache line. */
struct user {
    uint32_t next;
    uint32_t oldest;
    uint32_t newest;
    uint32_t more; /* struct user_part */
    uint8_t states;
    uint8_t id_len;
    char id[USER_ID_HEAD_BYTES];
};
struct user_part {
    uint32_t next;
    char id[USER_ID_PART_BYTES];
};
static_assert(sizeof(struct user) == 64 && sizeof(struct user_part) == 64, "one pool, one line");
static_assert(LIMIT_USER_ID_BYTES <= UINT8_MAX && STATES_PER_USER <= UINT8_MAX, "fit their fields");

/* A state that was taken: only for the log, so its first half will do. */
struct used {
    uint32_t next;
    uint32_t newer;
    int64_t used_ms;
    unsigned char mark[USED_MARK_BYTES];
};

struct uri {
    char *text; /* NULL: this place is free */
    size_t len;
    size_t states;
};

struct states_mem {
    struct states_backend backend;
    struct loop *loop;
    struct metrics *metrics;
    struct slots pending;
    struct slots_index by_state;
    uint32_t oldest;
    uint32_t newest;
    struct slots users; /* struct user, struct user_part */
    struct slots_index by_user;
    struct keyhash user_hash;
    struct slots used;
    struct slots_index by_mark;
    uint32_t used_oldest;
    uint32_t used_newest;
    struct uri uris[URIS_MAX];
    struct loop_timer timer;
    struct loop_task more;
    bool sweeping; /* the timer runs */
};

static struct states_mem *from_backend(struct states_backend *backend) {
    return LIST_ENTRY(backend, struct states_mem, backend);
}

static struct pending *pending_at(const struct states_mem *mem, uint32_t number) {
    return slots_at(&mem->pending, number);
}

static struct user *user_at(const struct states_mem *mem, uint32_t number) {
    return slots_at(&mem->users, number);
}

static struct used *used_at(const struct states_mem *mem, uint32_t number) {
    return slots_at(&mem->used, number);
}

/* A state is random: its own first bits spread it, and whoever offers other bits reads a chain. */
static uint64_t state_hash(const unsigned char *state) {
    uint64_t bits;
    memcpy(&bits, state, sizeof bits);
    return bits;
}

/* -- users -- */

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool user_is(const struct states_mem *mem, const struct user *user, struct slice id) {
    if (user->id_len != id.len) {
        return false;
    }
    size_t n = smaller(id.len, sizeof user->id);
    bool same = memcmp(user->id, id.at, n) == 0;
    for (uint32_t more = user->more; same && more != 0;) {
        const struct user_part *part = slots_at(&mem->users, more);
        size_t length = smaller(id.len - n, sizeof part->id);
        same = memcmp(part->id, id.at + n, length) == 0;
        n += length;
        more = part->next;
    }
    return same;
}

/* And a NUL; returns its length. */
static size_t copy_user_id(const struct states_mem *mem, const struct user *user,
                           char out[LIMIT_USER_ID_BYTES + 1]) {
    size_t n = smaller(user->id_len, sizeof user->id);
    memcpy(out, user->id, n);
    for (uint32_t more = user->more; more != 0;) {
        const struct user_part *part = slots_at(&mem->users, more);
        size_t length = smaller(user->id_len - n, sizeof part->id);
        memcpy(out + n, part->id, length);
        n += length;
        more = part->next;
    }
    out[n] = '\0';
    return n;
}

static uint32_t find_user(const struct states_mem *mem, struct slice id) {
    uint32_t number = *slots_index_head(&mem->by_user, keyhash_of(&mem->user_hash, id));
    while (number != 0 && !user_is(mem, user_at(mem, number), id)) {
        number = user_at(mem, number)->next;
    }
    return number;
}

/* The pool holds a user of the longest id for every state, so there is room. */
static uint32_t add_user(struct states_mem *mem, struct slice id) {
    uint32_t number = slots_take(&mem->users);
    struct user *user = user_at(mem, number);
    size_t n = smaller(id.len, sizeof user->id);
    user->id_len = (uint8_t)id.len;
    memcpy(user->id, id.at, n);
    uint32_t *link = &user->more;
    while (n < id.len) {
        *link = slots_take(&mem->users);
        struct user_part *part = slots_at(&mem->users, *link);
        size_t length = smaller(id.len - n, sizeof part->id);
        memcpy(part->id, id.at + n, length);
        n += length;
        link = &part->next;
    }
    slots_index_add(&mem->by_user, &mem->users, keyhash_of(&mem->user_hash, id), number);
    return number;
}

static void drop_user(struct states_mem *mem, uint32_t number) {
    char id[LIMIT_USER_ID_BYTES + 1];
    size_t id_len = copy_user_id(mem, user_at(mem, number), id);
    uint64_t hash = keyhash_of(&mem->user_hash, slice_make(id, id_len));
    slots_index_drop(&mem->by_user, &mem->users, hash, number);
    uint32_t more = user_at(mem, number)->more;
    slots_give(&mem->users, number);
    while (more != 0) {
        uint32_t next = ((struct user_part *)slots_at(&mem->users, more))->next;
        slots_give(&mem->users, more);
        more = next;
    }
}

/* -- redirect URIs: a few, shared by all states -- */

/* Its place, or a free one, or URIS_MAX. */
static uint32_t find_uri(const struct states_mem *mem, struct slice text) {
    uint32_t place = URIS_MAX;
    for (uint32_t i = 0; i < URIS_MAX; i++) {
        const struct uri *uri = &mem->uris[i];
        if (uri->text != NULL && slice_eq(slice_make(uri->text, uri->len), text)) {
            return i;
        }
        if (uri->text == NULL && place == URIS_MAX) {
            place = i;
        }
    }
    return place;
}

static uint32_t hold_uri(struct states_mem *mem, uint32_t place, struct slice text) {
    struct uri *uri = &mem->uris[place];
    if (uri->text == NULL) {
        *uri = (struct uri){mem_strdup(text), text.len, 0};
    }
    uri->states++;
    return place;
}

static void release_uri(struct states_mem *mem, uint32_t place) {
    struct uri *uri = &mem->uris[place];
    if (--uri->states == 0) {
        mem_free(uri->text);
        *uri = (struct uri){0};
    }
}

/* -- pending states -- */

static void append(struct states_mem *mem, uint32_t number) {
    struct pending *pending = pending_at(mem, number);
    struct user *user = user_at(mem, pending->user);
    pending->older = mem->newest;
    *(mem->newest != 0 ? &pending_at(mem, mem->newest)->newer : &mem->oldest) = number;
    mem->newest = number;
    pending->user_older = user->newest;
    *(user->newest != 0 ? &pending_at(mem, user->newest)->user_newer : &user->oldest) = number;
    user->newest = number;
    user->states++;
    slots_index_add(&mem->by_state, &mem->pending, state_hash(pending->state), number);
    metrics_add(mem->metrics, METRIC_STATES, 1);
}

/* Out of every list; its memory is wiped. */
static void drop(struct states_mem *mem, uint32_t number) {
    struct pending *pending = pending_at(mem, number);
    struct user *user = user_at(mem, pending->user);
    *(pending->older != 0 ? &pending_at(mem, pending->older)->newer : &mem->oldest) =
        pending->newer;
    *(pending->newer != 0 ? &pending_at(mem, pending->newer)->older : &mem->newest) =
        pending->older;
    *(pending->user_older != 0 ? &pending_at(mem, pending->user_older)->user_newer
                               : &user->oldest) = pending->user_newer;
    *(pending->user_newer != 0 ? &pending_at(mem, pending->user_newer)->user_older
                               : &user->newest) = pending->user_older;
    if (--user->states == 0) {
        drop_user(mem, pending->user);
    }
    release_uri(mem, pending->uri);
    slots_index_drop(&mem->by_state, &mem->pending, state_hash(pending->state), number);
    slots_give(&mem->pending, number);
    metrics_add(mem->metrics, METRIC_STATES, -1);
}

static bool is_expired(const struct states_mem *mem, int64_t since_ms) {
    return loop_now_ms(mem->loop) - since_ms > STATE_TTL_MS;
}

/* True: there are more. */
static bool expire(struct states_mem *mem, size_t max) {
    while (mem->oldest != 0 && is_expired(mem, pending_at(mem, mem->oldest)->created_ms)) {
        if (max-- == 0) {
            return true;
        }
        drop(mem, mem->oldest);
        metrics_add(mem->metrics, METRIC_STATES_EXPIRED, 1);
    }
    return false;
}

/* -- used states -- */

static void forget_oldest_used(struct states_mem *mem) {
    uint32_t number = mem->used_oldest;
    struct used *used = used_at(mem, number);
    mem->used_oldest = used->newer;
    if (mem->used_oldest == 0) {
        mem->used_newest = 0;
    }
    slots_index_drop(&mem->by_mark, &mem->used, state_hash(used->mark), number);
    slots_give(&mem->used, number);
}

static bool forget_used(struct states_mem *mem, size_t max) {
    while (mem->used_oldest != 0 && is_expired(mem, used_at(mem, mem->used_oldest)->used_ms)) {
        if (max-- == 0) {
            return true;
        }
        forget_oldest_used(mem);
    }
    return false;
}

static void remember_used(struct states_mem *mem, const unsigned char state[RANDOM_BYTES]) {
    uint32_t number = slots_take(&mem->used);
    if (number == 0) {
        forget_oldest_used(mem);
        number = slots_take(&mem->used);
    }
    struct used *used = used_at(mem, number);
    used->used_ms = loop_now_ms(mem->loop);
    memcpy(used->mark, state, USED_MARK_BYTES);
    *(mem->used_newest != 0 ? &used_at(mem, mem->used_newest)->newer : &mem->used_oldest) = number;
    mem->used_newest = number;
    slots_index_add(&mem->by_mark, &mem->used, state_hash(state), number);
}

static bool was_used(const struct states_mem *mem, const unsigned char state[RANDOM_BYTES]) {
    uint32_t number = *slots_index_head(&mem->by_mark, state_hash(state));
    while (number != 0 && memcmp(used_at(mem, number)->mark, state, USED_MARK_BYTES) != 0) {
        number = used_at(mem, number)->next;
    }
    return number != 0 && !is_expired(mem, used_at(mem, number)->used_ms);
}

/* -- housekeeping -- */

/* What is empty gives its memory back. True: there is more. */
static bool trim(struct states_mem *mem) {
    bool more = false;
    if (mem->pending.used == 0) {
        more = slots_trim(&mem->pending, TRIM_TURN_BYTES) ||
               slots_trim(&mem->users, TRIM_TURN_BYTES) ||
               slots_index_trim(&mem->by_state, TRIM_TURN_BYTES) ||
               slots_index_trim(&mem->by_user, TRIM_TURN_BYTES);
    }
    if (!more && mem->used.used == 0) {
        more = slots_trim(&mem->used, TRIM_TURN_BYTES) ||
               slots_index_trim(&mem->by_mark, TRIM_TURN_BYTES);
    }
    return more;
}

/* Bounded work a turn: a million states that expire at once don't hold the loop. */
static void sweep(struct states_mem *mem);

static void on_more(struct loop_task *task) {
    sweep(LIST_ENTRY(task, struct states_mem, more));
}

static void sweep(struct states_mem *mem) {
    bool more = expire(mem, SWEEP_TURN_MAX);
    more = forget_used(mem, SWEEP_TURN_MAX) || more;
    if (more || trim(mem)) {
        loop_later(mem->loop, &mem->more, on_more);
    } else if (mem->pending.used == 0 && mem->used.used == 0) {
        loop_timer_stop(&mem->timer);
        mem->sweeping = false;
    }
}

static void on_timer(struct loop_timer *timer) {
    struct states_mem *mem = LIST_ENTRY(timer, struct states_mem, timer);
    if (!list_is_linked(&mem->more.node)) {
        sweep(mem);
    }
}

static void start_sweeping(struct states_mem *mem) {
    if (!mem->sweeping) {
        mem->sweeping = true;
        loop_timer_start(&mem->timer, SWEEP_EACH_MS, SWEEP_EACH_MS, on_timer);
    }
}

/* -- the backend -- */

/* A user's own oldest state makes room for his newer one. */
static void drop_users_oldest(struct states_mem *mem, struct slice user_id) {
    uint32_t number = find_user(mem, user_id);
    if (number == 0 || user_at(mem, number)->states < STATES_PER_USER) {
        return;
    }
    uint32_t oldest = user_at(mem, number)->oldest;
    bool expired = is_expired(mem, pending_at(mem, oldest)->created_ms);
    drop(mem, oldest);
    metrics_add(mem->metrics, expired ? METRIC_STATES_EXPIRED : METRIC_STATES_DROPPED, 1);
}

static void put(struct states_backend *backend, struct states_op *op,
                const struct state_new *state) {
    struct states_mem *mem = from_backend(backend);
    drop_users_oldest(mem, state->user_id);
    if (mem->pending.used == mem->pending.max) {
        expire(mem, 1);
    }
    uint32_t uri = find_uri(mem, state->redirect_uri);
    if (mem->pending.used == mem->pending.max || uri == URIS_MAX) {
        states_complete(op, RC_OVERLOADED);
        return;
    }
    uint32_t number = slots_take(&mem->pending);
    struct pending *pending = pending_at(mem, number);
    pending->user = find_user(mem, state->user_id);
    if (pending->user == 0) {
        pending->user = add_user(mem, state->user_id);
    }
    pending->uri = hold_uri(mem, uri, state->redirect_uri);
    pending->created_ms = loop_now_ms(mem->loop);
    memcpy(pending->state, state->state, RANDOM_BYTES);
    memcpy(pending->verifier, state->verifier, RANDOM_BYTES);
    memcpy(pending->cookie_hash, state->cookie_hash, STATE_COOKIE_HASH_BYTES);
    append(mem, number);
    start_sweeping(mem);
    states_complete(op, RC_OK);
}

static uint32_t find(const struct states_mem *mem, const unsigned char state[RANDOM_BYTES]) {
    struct slice wanted = slice_make(state, RANDOM_BYTES);
    uint32_t number = *slots_index_head(&mem->by_state, state_hash(state));
    while (number != 0 &&
           !slice_eq_ct(slice_make(pending_at(mem, number)->state, RANDOM_BYTES), wanted)) {
        number = pending_at(mem, number)->next;
    }
    return number;
}

static enum state_outcome judge(const struct states_mem *mem, const struct pending *pending,
                                const struct state_claim *claim) {
    if (is_expired(mem, pending->created_ms)) {
        return STATE_EXPIRED;
    }
    if (claim->cookie_hash == NULL) {
        return user_is(mem, user_at(mem, pending->user), claim->user_id) ? STATE_TAKEN
                                                                         : STATE_USER_MISMATCH;
    }
    return slice_eq_ct(slice_make(pending->cookie_hash, STATE_COOKIE_HASH_BYTES),
                       slice_make(claim->cookie_hash, STATE_COOKIE_HASH_BYTES))
               ? STATE_TAKEN
               : STATE_COOKIE_MISMATCH;
}

static void take(struct states_backend *backend, struct states_op *op,
                 const unsigned char state[RANDOM_BYTES], const struct state_claim *claim) {
    struct states_mem *mem = from_backend(backend);
    uint32_t number = find(mem, state);
    if (number == 0) {
        op->outcome = was_used(mem, state) ? STATE_USED : STATE_UNKNOWN;
        states_complete(op, RC_OK);
        return;
    }
    const struct pending *pending = pending_at(mem, number);
    op->outcome = judge(mem, pending, claim);
    if (op->outcome != STATE_EXPIRED) {
        op->user_id_len = copy_user_id(mem, user_at(mem, pending->user), op->user_id);
    }
    if (op->outcome == STATE_TAKEN) {
        const struct uri *uri = &mem->uris[pending->uri];
        memcpy(op->verifier, pending->verifier, RANDOM_BYTES);
        memcpy(op->redirect_uri, uri->text, uri->len + 1);
        op->redirect_uri_len = uri->len;
        remember_used(mem, state);
        drop(mem, number);
    }
    states_complete(op, RC_OK);
}

static void ping(struct states_backend *backend, struct states_op *op) {
    (void)backend;
    states_complete(op, RC_OK);
}

static void on_timer_closed(struct loop_timer *timer) {
    mem_free(LIST_ENTRY(timer, struct states_mem, timer));
}

static void close_backend(struct states_backend *backend) {
    struct states_mem *mem = from_backend(backend);
    metrics_add(mem->metrics, METRIC_STATES, -(int64_t)mem->pending.used);
    loop_task_drop(&mem->more);
    slots_index_fini(&mem->by_state);
    slots_index_fini(&mem->by_user);
    slots_index_fini(&mem->by_mark);
    slots_fini(&mem->pending);
    slots_fini(&mem->users);
    slots_fini(&mem->used);
    for (size_t i = 0; i < URIS_MAX; i++) {
        mem_free(mem->uris[i].text);
    }
    loop_timer_close(&mem->timer, on_timer_closed);
}

static const struct states_backend_ops backend_ops = {
    .put = put, .take = take, .ping = ping, .close = close_backend};

struct states_backend *states_mem_new(struct loop *loop, size_t max, struct metrics *metrics) {
    assert(max > 0 && max <= STATES_MAX);
    struct states_mem *mem = mem_calloc(1, sizeof *mem);
    if (keyhash_init(&mem->user_hash) != RC_OK) {
        abort(); /* a table without a seed could be flooded, and no flow works without randomness */
    }
    uint32_t states = (uint32_t)max;
    mem->backend.ops = &backend_ops;
    mem->loop = loop;
    mem->metrics = metrics;
    slots_init(&mem->pending, sizeof(struct pending), states);
    slots_index_init(&mem->by_state, states);
    slots_init(&mem->users, sizeof(struct user), states * USER_PARTS_MAX);
    slots_index_init(&mem->by_user, states);
    slots_init(&mem->used, sizeof(struct used), USED_MAX);
    slots_index_init(&mem->by_mark, USED_MAX);
    loop_timer_init(loop, &mem->timer);
    loop_timer_unref(&mem->timer);
    return &mem->backend;
}
