// SPDX-License-Identifier: MIT
#pragma once

#include <bson/bson.h>
#include <mongoc/mongoc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "store/mongo.h"

/* What the modules beside store/mongo share of libmongoc. */

/* With all that an operation's deadline, its durability and the recovery after a fault depend on.
 * NULL with a sentence in `problem`. mongoc_uri_destroy. */
mongoc_uri_t *mongo_url_parse(struct slice url, char problem[MONGO_PROBLEM_BYTES]);

/* Before any of its other functions but those of URLs. Does nothing where it was called before. */
void mongo_start_driver(void);

/* Once an operation has found no server in time, those behind it fail at once, all but one at a
 * time that looks again: otherwise each would hold its thread for as long. */
struct mongo_reach {
    _Atomic uint64_t breaks; /* connections that broke, or none was to be had: what is behind the
                                next may be another server, or an empty one */
    atomic_bool is_lost;
    atomic_bool is_probed; /* by an operation that is under way */
    _Atomic int64_t probe_at_ns;
};
struct mongo_reach *mongo_reach(struct mongo *mongo);

mongoc_client_pool_t *mongo_pool(const struct mongo *mongo);
const char *mongo_database(const struct mongo *mongo);

/* -- documents -- */

/* Appends a string, or null where it is null. */
void mongo_add_text(bson_t *document, const char *name, struct slice text);
/* Appends a UTC datetime. */
void mongo_add_time(bson_t *document, const char *name, int64_t wall_ms);
/* The same, or null where it is 0. */
void mongo_add_time_or_null(bson_t *document, const char *name, int64_t wall_ms);
/* Appends {name: {$ne: false}}. */
void mongo_add_not_false(bson_t *document, const char *name);
/* Wipes what is in it, and destroys it. */
void mongo_wipe(bson_t *document);
/* Null unless it is a string. Borrowed from the document. */
struct slice mongo_text(const bson_t *document, const char *name);
/* 0 unless it is a datetime. */
int64_t mongo_time(const bson_t *document, const char *name);

/* -- one operation, on a thread of the lane -- */

struct mongo_session {
    struct mongo *mongo;
    mongoc_client_t *client;
    const char *cause; /* of the last failure: static text */
    int code;          /* the server's, of the last failure; 0: not the server's */
    bool has_server;   /* one has answered */
    bool lacks_server; /* none was found in time */
    bool is_probe;
    uint64_t breaks; /* when it began */
};
enum { MONGO_UNAUTHORIZED = 13, MONGO_DUPLICATE_KEY = 11000 };

/* False: it has waited for too long already, or no server is in reach; session->cause says so.
 * True: mongo_session_end follows. */
bool mongo_session_begin(struct mongo_session *session, struct mongo *mongo,
                         const struct work_op *op);
void mongo_session_end(struct mongo_session *session);

/* Each is false where it failed, with session->cause: nothing can be said then of what the server
 * has done. Writes are those that a majority has, in its journals. */

/* The first document, copied into `out` (mongo_wipe) where `*found`. `opts`: as find takes them,
 * or NULL. */
bool mongo_find(struct mongo_session *session, const char *collection, const bson_t *filter,
                const bson_t *opts, bson_t *out, bool *found);
/* `*matched` (may be NULL): documents that the filter met, or the one that was inserted. */
bool mongo_update(struct mongo_session *session, const char *collection, const bson_t *filter,
                  const bson_t *update, bool upsert, int64_t *matched);
bool mongo_delete(struct mongo_session *session, const char *collection, const bson_t *filter);
/* Deletes one, of which `out` is a copy (mongo_wipe) where `*found`. */
bool mongo_take(struct mongo_session *session, const char *collection, const bson_t *filter,
                bson_t *out, bool *found);
/* An index of one field. */
bool mongo_make_index(struct mongo_session *session, const char *collection, const char *field,
                      const bson_t *index_opts);
/* What is set up before a collection is used, again after each break: `*done_at` is the caller's, 0
 * at first. True: it is set up. */
bool mongo_is_set_up(const struct mongo_session *session, const _Atomic uint64_t *done_at);
void mongo_note_set_up(const struct mongo_session *session, _Atomic uint64_t *done_at);
/* Whether the collection has one that keeps a value of the field to one document. */
bool mongo_is_unique(struct mongo_session *session, const char *collection, const char *field,
                     bool *out);
/* Whether strings are compared by their bytes there. */
bool mongo_compares_bytes(struct mongo_session *session, const char *collection, bool *out);
