// SPDX-License-Identifier: MIT
#include "store/users_mongo.h"

#include <assert.h>
#include <string.h>

#include "store/mongo_driver.h"

#define USERS "users"

enum { OBJECT_ID_DIGITS = 24 };

/* -- on a thread of the lane -- */

/* Null where there is no room left: such a text is no role and no tier that we know. */
static struct slice keep(struct users_mongo_op *op, struct slice text) {
    if (slice_is_null(text) || text.len + 1 > sizeof op->bytes - op->bytes_used) {
        return SLICE_NULL;
    }
    char *at = op->bytes + op->bytes_used;
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    op->bytes_used += text.len + 1;
    return slice_make(at, text.len);
}

static void add_role(struct users_mongo_op *op, struct slice text) {
    struct users_mongo_record *record = &op->record;
    if (record->role_count < USERS_MONGO_ROLES_MAX) {
        record->roles[record->role_count] = keep(op, text);
        record->role_count += slice_is_null(record->roles[record->role_count]) ? 0 : 1;
    }
}

static void read_roles(struct users_mongo_op *op, const bson_t *document) {
    bson_iter_t at;
    bson_iter_t role;
    add_role(op, mongo_text(document, "role"));
    if (!bson_iter_init_find(&at, document, "roles") || !BSON_ITER_HOLDS_ARRAY(&at) ||
        !bson_iter_recurse(&at, &role)) {
        return;
    }
    while (bson_iter_next(&role)) {
        uint32_t len;
        const char *text = BSON_ITER_HOLDS_UTF8(&role) ? bson_iter_utf8(&role, &len) : NULL;
        if (text != NULL) {
            add_role(op, slice_make(text, len));
        }
    }
}

static void read_user(struct users_mongo_op *op, const bson_t *document) {
    bson_iter_t at;
    op->record.subscription_tier = keep(op, mongo_text(document, "subscription_tier"));
    op->record.is_active = !bson_iter_init_find(&at, document, "is_active") ||
                           !BSON_ITER_HOLDS_BOOL(&at) || bson_iter_bool(&at);
    read_roles(op, document);
}

/* {_id: <string>}, or either where it may be an ObjectId. */
static void init_filter(bson_t *filter, const struct users_mongo_op *op) {
    bson_t in;
    bson_t list;
    bson_oid_t id;
    struct slice text = slice_make(op->user_id, op->user_id_len);
    bson_init(filter);
    if (text.len != OBJECT_ID_DIGITS || !bson_oid_is_valid(text.at, text.len)) {
        mongo_add_text(filter, "_id", text);
        return;
    }
    bson_oid_init_from_string(&id, op->user_id);
    bson_append_document_begin(filter, "_id", -1, &in);
    bson_append_array_begin(&in, "$in", -1, &list);
    bson_append_oid(&list, "0", -1, &id);
    mongo_add_text(&list, "1", text);
    bson_append_array_end(&in, &list);
    bson_append_document_end(filter, &in);
}

/* Of two an ObjectId's comes first: it sorts above strings. */
static void init_opts(bson_t *opts) {
    static const char *const fields[] = {"role", "roles", "subscription_tier", "is_active"};
    bson_t part;
    bson_init(opts);
    bson_append_document_begin(opts, "projection", -1, &part);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        bson_append_int32(&part, fields[i], -1, 1);
    }
    bson_append_document_end(opts, &part);
    bson_append_document_begin(opts, "sort", -1, &part);
    bson_append_int32(&part, "_id", -1, -1);
    bson_append_document_end(opts, &part);
    bson_append_int64(opts, "limit", -1, 1);
}

static bool find(struct mongo_session *session, struct users_mongo_op *op) {
    bson_t filter;
    bson_t opts;
    bson_t document;
    bool found;
    init_filter(&filter, op);
    init_opts(&opts);
    bool good = mongo_find(session, USERS, &filter, &opts, &document, &found);
    op->rc = found ? RC_OK : RC_ABSENT;
    if (found) {
        read_user(op, &document);
        bson_destroy(&document);
    }
    bson_destroy(&opts);
    bson_destroy(&filter);
    return good;
}

static void run(struct work_op *work) {
    struct users_mongo_op *op = LIST_ENTRY(work, struct users_mongo_op, work);
    struct mongo_session session;
    bool good = mongo_session_begin(&session, op->mongo, work);
    if (good) {
        good = find(&session, op);
        mongo_session_end(&session);
    }
    if (!good) {
        op->rc = RC_STORAGE_UNAVAILABLE;
        op->cause = session.cause;
    }
}

/* -- on the loop -- */

static void on_done(struct work_op *work, enum rc rc) {
    struct users_mongo_op *op = LIST_ENTRY(work, struct users_mongo_op, work);
    if (rc != RC_OK) {
        op->rc = RC_STORAGE_UNAVAILABLE;
        op->cause = rc_text(rc);
    }
    op->done(op);
}

void users_mongo_find(struct mongo *mongo, struct users_mongo_op *op, struct slice user_id,
                      void (*done)(struct users_mongo_op *op)) {
    assert(user_id.len <= LIMIT_USER_ID_BYTES);
    op->done = done;
    op->cause = NULL;
    op->record = (struct users_mongo_record){.is_active = true};
    op->work = (struct work_op){.rc = RC_OK};
    op->mongo = mongo;
    op->bytes_used = 0;
    op->user_id_len = user_id.len;
    memcpy(op->user_id, user_id.len > 0 ? user_id.at : "", user_id.len);
    op->user_id[user_id.len] = '\0';
    mongo_submit(mongo, &op->work, run, on_done);
}
