// SPDX-License-Identifier: MIT
#include "store/accounts_mongo.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "store/accounts_mongo_row.h"
#include "store/mongo_driver.h"

#define ACCOUNTS "user_audible_accounts"
#define PULSE "latchkey_pulse"

enum {
    UPSERT_TRIES = 3, /* two that insert at the same moment: one of them finds the other's */
    PULSE_ID = 1,
};
_Static_assert((int)ACCOUNTS_PROBLEM_BYTES == (int)MONGO_PROBLEM_BYTES,
               "one is given as the other");

struct accounts_mongo {
    struct accounts_backend backend;
    struct mongo *mongo;
    _Atomic uint64_t set_up_at; /* the index is there: mongo_is_set_up */
    struct loop_task closing;
    void (*closed)(void *owner);
    void *closed_owner;
};

static struct accounts_mongo *from_backend(struct accounts_backend *backend) {
    return LIST_ENTRY(backend, struct accounts_mongo, backend);
}

/* -- on a thread of the lane: each is false where it failed, with session->cause -- */

static bool make_index(struct mongo_session *session) {
    bson_t index = BSON_INITIALIZER;
    bson_append_utf8(&index, "name", -1, "user_id_1", -1);
    bson_append_bool(&index, "unique", -1, true);
    bool good = mongo_make_index(session, ACCOUNTS, "user_id", &index);
    if (!good && session->code != 0 && session->code != MONGO_UNAUTHORIZED) {
        session->cause = "the unique index of user_id can't be made: is a user there twice?";
    }
    bson_destroy(&index);
    return good;
}

static bool set_up(struct accounts_mongo *store, struct mongo_session *session) {
    bool is_unique = false;
    bool is_simple = false;
    bool good = mongo_compares_bytes(session, ACCOUNTS, &is_simple) &&
                mongo_is_unique(session, ACCOUNTS, "user_id", &is_unique);
    if (good && !is_simple) {
        session->cause = "the collection has a collation: it would take one user for another";
        good = false;
    } else if (good && !is_unique) {
        good = make_index(session) && mongo_is_unique(session, ACCOUNTS, "user_id", &is_unique);
    }
    if (good && !is_unique) {
        session->cause = "user_id has an index that isn't unique";
        good = false;
    }
    if (good) {
        mongo_note_set_up(session, &store->set_up_at);
    }
    return good;
}

/* The user's document, where it counts. */
static void init_filter(bson_t *filter, struct slice user_id) {
    bson_init(filter);
    mongo_add_text(filter, "user_id", user_id);
    mongo_add_not_false(filter, "is_active");
}

static bool take_row(struct mongo_session *session, struct accounts_backend_op *op,
                     bson_t *document) {
    op->rc = accounts_mongo_row_read(document, op);
    session->cause = "a document larger than it may be";
    mongo_wipe(document);
    return op->rc == RC_OK;
}

static bool find_row(struct mongo_session *session, struct accounts_backend_op *op,
                     const bson_t *filter, const bson_t *opts) {
    bson_t document;
    bool found;
    if (!mongo_find(session, ACCOUNTS, filter, opts, &document, &found)) {
        return false;
    }
    op->rc = RC_ABSENT;
    return !found || take_row(session, op, &document);
}

static bool get(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t filter;
    bson_t opts = BSON_INITIALIZER;
    init_filter(&filter, op->row.user_id);
    accounts_mongo_row_project(&opts);
    bson_append_int64(&opts, "limit", -1, 1);
    bool good = find_row(session, op, &filter, &opts);
    bson_destroy(&opts);
    bson_destroy(&filter);
    return good;
}

static bool next(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t filter = BSON_INITIALIZER;
    bson_t opts = BSON_INITIALIZER;
    bson_t part;
    bson_append_document_begin(&filter, "user_id", -1, &part);
    mongo_add_text(&part, "$gt", op->row.user_id.len > 0 ? op->row.user_id : SLICE(""));
    bson_append_document_end(&filter, &part);
    mongo_add_not_false(&filter, "is_active");
    accounts_mongo_row_project(&opts);
    bson_append_document_begin(&opts, "sort", -1, &part);
    bson_append_int32(&part, "user_id", -1, 1);
    bson_append_document_end(&opts, &part);
    bson_append_int64(&opts, "limit", -1, 1);
    bool good = find_row(session, op, &filter, &opts);
    bson_destroy(&opts);
    bson_destroy(&filter);
    return good;
}

/* Soft-deleted or not, it is the one document of the user. */
static bool put(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t filter = BSON_INITIALIZER;
    bson_t update = BSON_INITIALIZER;
    bool good = false;
    mongo_add_text(&filter, "user_id", op->row.user_id);
    accounts_mongo_row_write(&update, &op->row);
    for (int i = 0; !good && i < UPSERT_TRIES && (i == 0 || session->code == MONGO_DUPLICATE_KEY);
         i++) {
        good = mongo_update(session, ACCOUNTS, &filter, &update, true, NULL);
    }
    op->rc = RC_OK;
    mongo_wipe(&update);
    bson_destroy(&filter);
    return good;
}

/* Where the update met nothing: is the user there, with another token? */
static bool tell_conflict(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t filter;
    bson_t opts = BSON_INITIALIZER;
    bson_t fields;
    bson_t document;
    bool found = false;
    init_filter(&filter, op->row.user_id);
    bson_append_document_begin(&opts, "projection", -1, &fields);
    bson_append_int32(&fields, "_id", -1, 1);
    bson_append_document_end(&opts, &fields);
    bool good = mongo_find(session, ACCOUNTS, &filter, &opts, &document, &found);
    op->rc = found ? RC_CONFLICT : RC_ABSENT;
    if (found) {
        bson_destroy(&document);
    }
    bson_destroy(&opts);
    bson_destroy(&filter);
    return good;
}

static bool update_fenced(struct mongo_session *session, struct accounts_backend_op *op,
                          const bson_t *update) {
    int64_t matched = 0;
    bson_t filter;
    init_filter(&filter, op->row.user_id);
    mongo_add_text(&filter, "refresh_token", op->fence);
    if (!slice_is_null(op->access_fence)) {
        mongo_add_text(&filter, "access_token", op->access_fence);
    }
    if (!slice_is_null(op->error_fence)) {
        accounts_mongo_row_exclude(&filter, op->error_fence);
    }
    bool good = mongo_update(session, ACCOUNTS, &filter, update, false, &matched);
    op->rc = RC_OK;
    if (good && matched == 0) {
        good = tell_conflict(session, op);
    }
    mongo_wipe(&filter);
    return good;
}

static bool swap(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t update = BSON_INITIALIZER;
    accounts_mongo_row_write_tokens(&update, &op->row);
    bool good = update_fenced(session, op, &update);
    mongo_wipe(&update);
    return good;
}

static bool mark(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t update = BSON_INITIALIZER;
    accounts_mongo_row_write_sync(&update, &op->row);
    bool good = update_fenced(session, op, &update);
    bson_destroy(&update);
    return good;
}

/* What can't be returned must not be deleted. */
static bool remove_row(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t filter;
    bson_t document;
    bool found = false;
    init_filter(&filter, op->row.user_id);
    bool good = get(session, op);
    if (good && op->rc == RC_OK) {
        good = mongo_take(session, ACCOUNTS, &filter, &document, &found);
        op->rc = RC_ABSENT;
    }
    if (good && found) {
        good = take_row(session, op, &document);
    }
    bson_destroy(&filter);
    return good;
}

static bool ping(struct mongo_session *session, struct accounts_backend_op *op) {
    bson_t filter = BSON_INITIALIZER;
    bson_t update = BSON_INITIALIZER;
    bson_t part;
    bson_append_int32(&filter, "_id", -1, PULSE_ID);
    bson_append_document_begin(&update, "$inc", -1, &part);
    bson_append_int64(&part, "beats", -1, 1);
    bson_append_document_end(&update, &part);
    bool good = mongo_update(session, PULSE, &filter, &update, true, NULL) ||
                session->code == MONGO_DUPLICATE_KEY; /* another's first was as early */
    op->rc = RC_OK;
    bson_destroy(&update);
    bson_destroy(&filter);
    return good;
}

enum kind { GET, NEXT, PUT, SWAP, MARK, REMOVE, PING, KIND_COUNT };
static bool (*const runners[KIND_COUNT])(struct mongo_session *session,
                                         struct accounts_backend_op *op) = {
    [GET] = get,   [NEXT] = next,         [PUT] = put,  [SWAP] = swap,
    [MARK] = mark, [REMOVE] = remove_row, [PING] = ping};

static void run(struct work_op *work) {
    struct accounts_backend_op *op = LIST_ENTRY(work, struct accounts_backend_op, work);
    struct accounts_mongo *store = from_backend(op->backend);
    struct mongo_session session;
    bool good = mongo_session_begin(&session, store->mongo, work);
    if (good) {
        good = (mongo_is_set_up(&session, &store->set_up_at) || set_up(store, &session)) &&
               runners[op->kind](&session, op);
        mongo_session_end(&session);
    }
    if (!good) {
        op->rc = RC_STORAGE_UNAVAILABLE;
        op->cause = session.cause;
    }
}

/* -- on the loop -- */

static void on_done(struct work_op *work, enum rc rc) {
    struct accounts_backend_op *op = LIST_ENTRY(work, struct accounts_backend_op, work);
    if (rc != RC_OK) {
        op->rc = RC_STORAGE_UNAVAILABLE;
        op->cause = rc_text(rc);
    }
    op->done(op);
}

static void submit(struct accounts_backend *backend, struct accounts_backend_op *op,
                   enum kind kind) {
    op->backend = backend;
    op->kind = (int)kind;
    op->cause = NULL;
    mongo_submit(from_backend(backend)->mongo, &op->work, run, on_done);
}

static void start_get(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(backend, op, GET);
}

static void start_next(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(backend, op, NEXT);
}

static void start_put(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(backend, op, PUT);
}

static void start_swap(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(backend, op, SWAP);
}

static void start_mark(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(backend, op, MARK);
}

static void start_remove(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(backend, op, REMOVE);
}

static void start_ping(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(backend, op, PING);
}

/* The database is not ours alone: others have perhaps written, always. */
static void run_version(struct work_op *work) {
    LIST_ENTRY(work, struct accounts_backend_op, work)->rc = RC_CONFLICT;
}

static void start_version(struct accounts_backend *backend, struct accounts_backend_op *op) {
    op->cause = NULL;
    mongo_submit(from_backend(backend)->mongo, &op->work, run_version, on_done);
}

static void on_closing(struct loop_task *task) {
    struct accounts_mongo *store = LIST_ENTRY(task, struct accounts_mongo, closing);
    void (*closed)(void *owner) = store->closed;
    void *closed_owner = store->closed_owner;
    mem_free(store);
    if (closed != NULL) {
        closed(closed_owner);
    }
}

static void close_backend(struct accounts_backend *backend, void (*closed)(void *owner),
                          void *owner) {
    struct accounts_mongo *store = from_backend(backend);
    store->closed = closed;
    store->closed_owner = owner;
    loop_later(mongo_loop(store->mongo), &store->closing, on_closing);
}

static const struct accounts_backend_ops backend_ops = {
    .get = start_get,
    .put = start_put,
    .swap = start_swap,
    .mark = start_mark,
    .remove = start_remove,
    .next = start_next,
    .version = start_version,
    .ping = start_ping,
    .close = close_backend,
};

struct accounts_backend *accounts_mongo_new(struct mongo *mongo) {
    struct accounts_mongo *store = mem_calloc(1, sizeof *store);
    store->backend.ops = &backend_ops;
    store->mongo = mongo;
    return &store->backend;
}
