// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "base/slice.h"
#include "store/mongo.h"

/* What the platform itself knows of a user, read from the collection `users` beside its accounts:
 * by `_id`, which is an ObjectId where the user's name is its 24 hexadecimal digits, or that very
 * string. */
enum { USERS_MONGO_ROLES_MAX = 16, USERS_MONGO_BYTES = 1024 };

struct users_mongo_record {
    struct slice
        roles[USERS_MONGO_ROLES_MAX]; /* `role` where it is a string, then those of `roles` */
    size_t role_count;
    struct slice subscription_tier; /* null: none, or no string */
    bool is_active;                 /* true unless `is_active` is false */
};

/* The caller's until `done`; the record lies in it. */
struct users_mongo_op {
    void (*done)(struct users_mongo_op *op);
    enum rc rc;        /* RC_OK, RC_ABSENT: no such user, RC_STORAGE_UNAVAILABLE */
    const char *cause; /* static text, of RC_STORAGE_UNAVAILABLE */
    struct users_mongo_record record;
    /* ours */
    struct work_op work;
    struct mongo *mongo;
    size_t user_id_len;
    char user_id[LIMIT_USER_ID_BYTES + 1];
    size_t bytes_used;
    char bytes[USERS_MONGO_BYTES]; /* of the record's texts */
};

/* `user_id`, of at most LIMIT_USER_ID_BYTES, is borrowed until this returns. */
void users_mongo_find(struct mongo *mongo, struct users_mongo_op *op, struct slice user_id,
                      void (*done)(struct users_mongo_op *op));
