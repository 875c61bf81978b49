// SPDX-License-Identifier: MIT
#include "store/leases_mongo.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "store/mongo_driver.h"

/* A document a lease: `_id` the user, `owner` its owner's random bytes, `ends_at`; and of one that
 * rests no owner, but `rests` true and `note`. */
#define LEASES "latchkey_leases"

enum {
    ACQUIRE_TRIES = 3, /* it may end just when it was found to be held */
    SWEPT_AFTER_S = 60,
};

struct leases_mongo {
    struct leases_backend backend;
    struct mongo *mongo;
    _Atomic uint64_t swept_at; /* by the server, what nobody has released: mongo_is_set_up */
    struct loop_task closing;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* What is under way: a lease_op's backend_op. */
struct call {
    struct work_op work;
    struct lease_op *op;
    struct leases_mongo *leases;
    int64_t now_ms; /* when it was asked: a lease ends early rather than late */
    enum rc rc;
    const char *cause;
};

/* -- on a thread of the lane: each is false where it failed, with session->cause -- */

/* Without it nothing is wrong, there is only more of it; so a server that has none of these
 * (FerretDB 1) is asked once. */
static void see_to_sweeping(struct leases_mongo *leases, struct mongo_session *session) {
    bson_t index = BSON_INITIALIZER;
    bson_append_utf8(&index, "name", -1, "ends_at_1", -1);
    bson_append_int32(&index, "expireAfterSeconds", -1, SWEPT_AFTER_S);
    if (mongo_make_index(session, LEASES, "ends_at", &index) || session->code != 0) {
        mongo_note_set_up(session, &leases->swept_at);
    }
    bson_destroy(&index);
}

static void add_id(bson_t *filter, const struct lease_op *op) {
    bson_init(filter);
    mongo_add_text(filter, "_id", slice_make(op->user_id, op->user_id_len));
}

static void add_owner(bson_t *document, const struct lease_op *op) {
    bson_append_binary(document, "owner", -1, BSON_SUBTYPE_BINARY, op->owner, LEASE_OWNER_BYTES);
}

/* Appends {ends_at: {$gt: now}}. */
static void add_lasts(bson_t *filter, int64_t now_ms) {
    bson_t condition;
    bson_append_document_begin(filter, "ends_at", -1, &condition);
    mongo_add_time(&condition, "$gt", now_ms);
    bson_append_document_end(filter, &condition);
}

/* Appends the opposite, which is also true of what has no end. */
static void add_ended(bson_t *filter, int64_t now_ms) {
    bson_t negated;
    bson_t condition;
    bson_append_document_begin(filter, "ends_at", -1, &negated);
    bson_append_document_begin(&negated, "$not", -1, &condition);
    mongo_add_time(&condition, "$gt", now_ms);
    bson_append_document_end(&negated, &condition);
    bson_append_document_end(filter, &negated);
}

static bool take(struct mongo_session *session, const struct call *call) {
    bson_t filter;
    bson_t update = BSON_INITIALIZER;
    bson_t set;
    add_id(&filter, call->op);
    add_ended(&filter, call->now_ms);
    bson_append_document_begin(&update, "$set", -1, &set);
    add_owner(&set, call->op);
    mongo_add_time(&set, "ends_at", call->now_ms + LEASE_TTL_MS);
    bson_append_bool(&set, "rests", -1, false);
    bson_append_int64(&set, "note", -1, 0);
    bson_append_document_end(&update, &set);
    bool good = mongo_update(session, LEASES, &filter, &update, true, NULL);
    bson_destroy(&update);
    bson_destroy(&filter);
    return good;
}

/* Of one that is held or rests. */
static void read_lease(const bson_t *document, struct call *call) {
    bson_iter_t at;
    call->op->left_ms = mongo_time(document, "ends_at") - call->now_ms;
    call->rc = RC_CONFLICT;
    if (bson_iter_init_find(&at, document, "rests") && bson_iter_as_bool(&at)) {
        call->rc = RC_RATE_LIMITED;
        call->op->note = bson_iter_init_find(&at, document, "note") ? bson_iter_as_int64(&at) : 0;
    }
}

static bool find_lease(struct mongo_session *session, struct call *call, bool *found) {
    bson_t filter;
    bson_t document;
    add_id(&filter, call->op);
    add_lasts(&filter, call->now_ms);
    bool good = mongo_find(session, LEASES, &filter, NULL, &document, found);
    if (*found) {
        read_lease(&document, call);
        bson_destroy(&document);
    }
    bson_destroy(&filter);
    return good;
}

/* What is there and has not ended isn't met by `take`, which then inserts: a duplicate. */
static bool acquire(struct mongo_session *session, struct call *call) {
    for (int i = 0; i < ACQUIRE_TRIES; i++) {
        bool found = false;
        if (take(session, call)) {
            return true;
        }
        if (session->code != MONGO_DUPLICATE_KEY || !find_lease(session, call, &found)) {
            return false;
        }
        if (found) {
            return true;
        }
    }
    return false;
}

static bool renew(struct mongo_session *session, struct call *call) {
    bson_t filter;
    bson_t update = BSON_INITIALIZER;
    bson_t set;
    int64_t matched = 0;
    add_id(&filter, call->op);
    add_owner(&filter, call->op);
    add_lasts(&filter, call->now_ms);
    bson_append_document_begin(&update, "$set", -1, &set);
    mongo_add_time(&set, "ends_at", call->now_ms + LEASE_TTL_MS);
    bson_append_document_end(&update, &set);
    bool good = mongo_update(session, LEASES, &filter, &update, false, &matched);
    call->rc = matched > 0 ? RC_OK : RC_ABSENT;
    bson_destroy(&update);
    bson_destroy(&filter);
    return good;
}

static bool rest(struct mongo_session *session, struct call *call) {
    bson_t filter;
    bson_t update = BSON_INITIALIZER;
    bson_t part;
    add_id(&filter, call->op);
    add_owner(&filter, call->op);
    add_lasts(&filter, call->now_ms);
    bson_append_document_begin(&update, "$set", -1, &part);
    mongo_add_time(&part, "ends_at", call->now_ms + call->op->rest_ms);
    bson_append_bool(&part, "rests", -1, true);
    bson_append_int64(&part, "note", -1, call->op->note);
    bson_append_document_end(&update, &part);
    bson_append_document_begin(&update, "$unset", -1, &part);
    bson_append_utf8(&part, "owner", -1, "", -1);
    bson_append_document_end(&update, &part);
    bool good = mongo_update(session, LEASES, &filter, &update, false, NULL);
    bson_destroy(&update);
    bson_destroy(&filter);
    return good;
}

static bool release(struct mongo_session *session, struct call *call) {
    bson_t filter;
    add_id(&filter, call->op);
    add_owner(&filter, call->op);
    bool good = mongo_delete(session, LEASES, &filter);
    bson_destroy(&filter);
    return good;
}

static bool (*const runners[])(struct mongo_session *session, struct call *call) = {
    [LEASES_ACQUIRE] = acquire,
    [LEASES_RENEW] = renew,
    [LEASES_REST] = rest,
    [LEASES_RELEASE] = release,
};

static void run_call(struct work_op *work) {
    struct call *call = LIST_ENTRY(work, struct call, work);
    struct mongo_session session;
    bool good = mongo_session_begin(&session, call->leases->mongo, work);
    if (good) {
        if (!mongo_is_set_up(&session, &call->leases->swept_at)) {
            see_to_sweeping(call->leases, &session);
        }
        good = runners[call->op->kind](&session, call);
        mongo_session_end(&session);
    }
    if (!good) {
        call->rc = RC_STORAGE_UNAVAILABLE;
        call->cause = session.cause;
    }
}

/* -- on the loop -- */

static void on_done(struct work_op *work, enum rc rc) {
    struct call *call = LIST_ENTRY(work, struct call, work);
    struct lease_op *op = call->op;
    enum rc result = rc == RC_OK ? call->rc : RC_STORAGE_UNAVAILABLE;
    op->cause = rc == RC_OK ? call->cause : rc_text(rc);
    op->backend_op = NULL;
    mem_free(call);
    leases_complete(op, result);
}

static void run(struct leases_backend *backend, struct lease_op *op) {
    struct leases_mongo *leases = LIST_ENTRY(backend, struct leases_mongo, backend);
    struct call *call = mem_calloc(1, sizeof *call);
    call->op = op;
    call->leases = leases;
    call->now_ms = loop_wall_ms(mongo_loop(leases->mongo));
    op->backend_op = call;
    mongo_submit(leases->mongo, &call->work, run_call, on_done);
}

static void on_closing(struct loop_task *task) {
    struct leases_mongo *leases = LIST_ENTRY(task, struct leases_mongo, closing);
    void (*closed)(void *owner) = leases->closed;
    void *closed_owner = leases->closed_owner;
    mem_free(leases);
    closed(closed_owner);
}

static void close_backend(struct leases_backend *backend, void (*closed)(void *owner),
                          void *owner) {
    struct leases_mongo *leases = LIST_ENTRY(backend, struct leases_mongo, backend);
    leases->closed = closed;
    leases->closed_owner = owner;
    loop_later(mongo_loop(leases->mongo), &leases->closing, on_closing);
}

static const struct leases_backend_ops backend_ops = {.run = run, .close = close_backend};

struct leases_backend *leases_mongo_new(struct mongo *mongo) {
    struct leases_mongo *leases = mem_calloc(1, sizeof *leases);
    leases->backend.ops = &backend_ops;
    leases->mongo = mongo;
    return &leases->backend;
}
