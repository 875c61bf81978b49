// SPDX-License-Identifier: MIT
#include <string.h>

#include "base/limits.h"
#include "store/mongo_driver.h"

enum { PROBE_PAUSE_MS = 250, NS_PER_MS = 1000000 };

/* True where a server may be in reach, or this operation is the one that looks. */
static bool enter(struct mongo_session *session) {
    struct mongo_reach *reach = mongo_reach(session->mongo);
    if (!atomic_load(&reach->is_lost)) {
        return true;
    }
    session->is_probe =
        clock_ns() >= atomic_load(&reach->probe_at_ns) && !atomic_exchange(&reach->is_probed, true);
    return session->is_probe;
}

static void leave(const struct mongo_session *session) {
    struct mongo_reach *reach = mongo_reach(session->mongo);
    if (session->lacks_server) {
        atomic_store(&reach->probe_at_ns, clock_ns() + (int64_t)PROBE_PAUSE_MS * NS_PER_MS);
        atomic_store(&reach->is_lost, true);
    } else if (session->has_server) {
        atomic_store(&reach->is_lost, false);
    }
    if (session->is_probe) {
        atomic_store(&reach->is_probed, false);
    }
}

bool mongo_session_begin(struct mongo_session *session, struct mongo *mongo,
                         const struct work_op *op) {
    *session = (struct mongo_session){.mongo = mongo};
    /* A server that takes everything and answers nothing holds each thread for seconds. What is
       queued must not wait for as often as there are operations before it. */
    if (clock_ns() - op->submitted_ns > (int64_t)LIMIT_MONGO_WAIT_MS * NS_PER_MS) {
        session->cause = "it waited for too long behind others";
        return false;
    }
    if (!enter(session)) {
        session->cause = "no server was in reach a moment ago";
        return false;
    }
    session->breaks = atomic_load(&mongo_reach(mongo)->breaks);
    session->client = mongoc_client_pool_pop(mongo_pool(mongo));
    if (session->client == NULL) {
        session->cause = "no client is free";
        leave(session);
    }
    return session->client != NULL;
}

void mongo_session_end(struct mongo_session *session) {
    leave(session);
    mongoc_client_pool_push(mongo_pool(session->mongo), session->client);
}

/* The server's words may quote a document, so they go nowhere. */
static const char *text_of(const bson_error_t *error) {
    switch (error->domain) {
    case MONGOC_ERROR_SERVER_SELECTION:
        return "no server that can be written to was found in time";
    case MONGOC_ERROR_STREAM:
        return "the connection broke, or there was no answer in time";
    case MONGOC_ERROR_CLIENT:
        return error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE ? "the server refuses the user"
                                                               : "the driver failed";
    case MONGOC_ERROR_WRITE_CONCERN:
        return "a majority did not confirm it in time";
    case MONGOC_ERROR_SERVER:
    case MONGOC_ERROR_QUERY:
    case MONGOC_ERROR_COMMAND:
        return error->code == MONGO_DUPLICATE_KEY  ? "the key is there already"
               : error->code == MONGO_UNAUTHORIZED ? "the user may not do that"
                                                   : "the server answered with an error";
    default:
        return "the driver failed";
    }
}

/* Always false. */
static bool fail(struct mongo_session *session, const bson_error_t *error) {
    session->cause = text_of(error);
    session->code = error->domain == MONGOC_ERROR_SERVER ? (int)error->code : 0;
    session->lacks_server = error->domain == MONGOC_ERROR_SERVER_SELECTION;
    session->has_server = !session->lacks_server && error->domain != MONGOC_ERROR_STREAM;
    if (!session->has_server) {
        atomic_fetch_add(&mongo_reach(session->mongo)->breaks, 1);
    }
    return false;
}

/* Always true. */
static bool succeed(struct mongo_session *session) {
    session->has_server = true;
    return true;
}

static mongoc_collection_t *open_collection(struct mongo_session *session, const char *name) {
    return mongoc_client_get_collection(session->client, mongo_database(session->mongo), name);
}

static bool is_confirmed(const bson_t *reply, bson_error_t *error) {
    bson_iter_t at;
    if (bson_iter_init_find(&at, reply, "writeConcernError") ||
        (bson_iter_init_find(&at, reply, "writeConcernErrors") && BSON_ITER_HOLDS_ARRAY(&at) &&
         bson_iter_recurse(&at, &at) && bson_iter_next(&at))) {
        error->domain = MONGOC_ERROR_WRITE_CONCERN;
        error->code = 0;
        return false;
    }
    return true;
}

bool mongo_find(struct mongo_session *session, const char *name, const bson_t *filter,
                const bson_t *opts, bson_t *out, bool *found) {
    mongoc_collection_t *collection = open_collection(session, name);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, opts, NULL);
    const bson_t *document;
    bson_error_t error = {0};
    *found = mongoc_cursor_next(cursor, &document);
    if (*found) {
        bson_copy_to(document, out);
    }
    bool good = mongoc_cursor_error(cursor, &error) ? fail(session, &error) : succeed(session);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    return good;
}

static int64_t number(const bson_t *reply, const char *name) {
    bson_iter_t at;
    return bson_iter_init_find(&at, reply, name) ? bson_iter_as_int64(&at) : 0;
}

bool mongo_update(struct mongo_session *session, const char *name, const bson_t *filter,
                  const bson_t *update, bool upsert, int64_t *matched) {
    mongoc_collection_t *collection = open_collection(session, name);
    bson_t opts = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t error = {0};
    bson_append_bool(&opts, "upsert", -1, upsert);
    bool good = mongoc_collection_update_one(collection, filter, update, &opts, &reply, &error) &&
                is_confirmed(&reply, &error);
    if (good && matched != NULL) {
        *matched = number(&reply, "matchedCount") + number(&reply, "upsertedCount");
    }
    good = good ? succeed(session) : fail(session, &error);
    bson_destroy(&reply);
    bson_destroy(&opts);
    mongoc_collection_destroy(collection);
    return good;
}

bool mongo_delete(struct mongo_session *session, const char *name, const bson_t *filter) {
    mongoc_collection_t *collection = open_collection(session, name);
    bson_t reply;
    bson_error_t error = {0};
    bool good = mongoc_collection_delete_one(collection, filter, NULL, &reply, &error) &&
                is_confirmed(&reply, &error);
    good = good ? succeed(session) : fail(session, &error);
    bson_destroy(&reply);
    mongoc_collection_destroy(collection);
    return good;
}

/* `value` of a findAndModify's reply. */
static bool copy_value(const bson_t *reply, bson_t *out) {
    bson_iter_t at;
    const uint8_t *bytes;
    uint32_t len;
    bson_t value;
    if (!bson_iter_init_find(&at, reply, "value") || !BSON_ITER_HOLDS_DOCUMENT(&at)) {
        return false;
    }
    bson_iter_document(&at, &len, &bytes);
    if (!bson_init_static(&value, bytes, len)) {
        return false;
    }
    bson_copy_to(&value, out);
    return true;
}

bool mongo_take(struct mongo_session *session, const char *name, const bson_t *filter, bson_t *out,
                bool *found) {
    mongoc_collection_t *collection = open_collection(session, name);
    mongoc_find_and_modify_opts_t *opts = mongoc_find_and_modify_opts_new();
    bson_t reply;
    bson_error_t error = {0};
    mongoc_find_and_modify_opts_set_flags(opts, MONGOC_FIND_AND_MODIFY_REMOVE);
    bool good =
        mongoc_collection_find_and_modify_with_opts(collection, filter, opts, &reply, &error) &&
        is_confirmed(&reply, &error);
    if (good) {
        *found = copy_value(&reply, out);
    }
    good = good ? succeed(session) : fail(session, &error);
    mongo_wipe(&reply);
    mongoc_find_and_modify_opts_destroy(opts);
    mongoc_collection_destroy(collection);
    return good;
}

bool mongo_make_index(struct mongo_session *session, const char *name, const char *field,
                      const bson_t *index_opts) {
    mongoc_database_t *database =
        mongoc_client_get_database(session->client, mongo_database(session->mongo));
    bson_error_t error = {0};
    bson_t command = BSON_INITIALIZER;
    bson_t indexes;
    bson_t index;
    bson_t key;
    bson_append_utf8(&command, "createIndexes", -1, name, -1);
    bson_append_array_begin(&command, "indexes", -1, &indexes);
    bson_append_document_begin(&indexes, "0", -1, &index);
    bson_append_document_begin(&index, "key", -1, &key);
    bson_append_int32(&key, field, -1, 1);
    bson_append_document_end(&index, &key);
    bson_concat(&index, index_opts);
    bson_append_document_end(&indexes, &index);
    bson_append_array_end(&command, &indexes);
    bool good = mongoc_database_write_command_with_opts(database, &command, NULL, NULL, &error)
                    ? succeed(session)
                    : fail(session, &error);
    bson_destroy(&command);
    mongoc_database_destroy(database);
    return good;
}

bool mongo_is_set_up(const struct mongo_session *session, const _Atomic uint64_t *done_at) {
    return atomic_load(done_at) == session->breaks + 1;
}

void mongo_note_set_up(const struct mongo_session *session, _Atomic uint64_t *done_at) {
    atomic_store(done_at, session->breaks + 1);
}

/* The first field of a key, where it is the only one. */
static bool is_of_field(const bson_iter_t *key, const char *field) {
    bson_iter_t at;
    return BSON_ITER_HOLDS_DOCUMENT(key) && bson_iter_recurse(key, &at) && bson_iter_next(&at) &&
           strcmp(bson_iter_key(&at), field) == 0 && !bson_iter_next(&at);
}

static bool makes_unique(const bson_t *index, const char *field) {
    bson_iter_t at;
    return bson_iter_init_find(&at, index, "unique") && bson_iter_as_bool(&at) &&
           !bson_iter_init_find(&at, index, "partialFilterExpression") &&
           bson_iter_init_find(&at, index, "key") && is_of_field(&at, field);
}

bool mongo_is_unique(struct mongo_session *session, const char *name, const char *field,
                     bool *out) {
    mongoc_collection_t *collection = open_collection(session, name);
    mongoc_cursor_t *cursor = mongoc_collection_find_indexes_with_opts(collection, NULL);
    const bson_t *index;
    bson_error_t error = {0};
    *out = false;
    while (!*out && mongoc_cursor_next(cursor, &index)) {
        *out = makes_unique(index, field);
    }
    bool good =
        !*out && mongoc_cursor_error(cursor, &error) ? fail(session, &error) : succeed(session);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    return good;
}

/* A collection may have been made with a collation, which every comparison in it then follows. */
static bool is_simple(const bson_t *collection) {
    bson_iter_t at;
    bson_iter_t locale;
    return !bson_iter_init(&at, collection) ||
           !bson_iter_find_descendant(&at, "options.collation.locale", &locale) ||
           !BSON_ITER_HOLDS_UTF8(&locale) || strcmp(bson_iter_utf8(&locale, NULL), "simple") == 0;
}

bool mongo_compares_bytes(struct mongo_session *session, const char *name, bool *out) {
    mongoc_database_t *database =
        mongoc_client_get_database(session->client, mongo_database(session->mongo));
    bson_t opts = BSON_INITIALIZER;
    bson_t filter;
    bson_append_document_begin(&opts, "filter", -1, &filter);
    bson_append_utf8(&filter, "name", -1, name, -1);
    bson_append_document_end(&opts, &filter);
    mongoc_cursor_t *cursor = mongoc_database_find_collections_with_opts(database, &opts);
    const bson_t *collection;
    bson_error_t error = {0};
    *out = !mongoc_cursor_next(cursor, &collection) || is_simple(collection);
    bool good = mongoc_cursor_error(cursor, &error) ? fail(session, &error) : succeed(session);
    mongoc_cursor_destroy(cursor);
    bson_destroy(&opts);
    mongoc_database_destroy(database);
    return good;
}
