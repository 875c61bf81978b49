// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/redis.h"
#include "store/accounts_backend.h"
#include "store/mongo.h"

/* The account store that a URL names, opened for the server or for a command: sqlite:<path>,
 * redis://…, rediss://…, mongodb://… */
struct account_store_opts {
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
    struct slice url;    /* with a NUL beyond its end; borrowed until account_store_close */
    const char *ca_file; /* of a rediss:// server; NULL: the system's */
    /* a command's: beside the server whose SQLite file it is, which must be there */
    bool is_beside;
    /* a connection to the same Redis that the owner has and closes later; NULL: one of the store's
       own is made where the URL names a Redis */
    struct redis *redis;
};

struct account_store {
    struct accounts_backend *backend; /* accounts_new takes it over; the owner of both sees to it
                                         that it is closed before the store */
    bool is_shared;                   /* other servers may write to it: leases, no exact cache */
    struct redis *redis;              /* its connection; NULL: none, or the owner's */
    struct mongo *mongo;              /* what mongodb:// names, for the leases and users in it,
                                         which are closed before the store; else NULL */
    /* ours */
    struct redis_url redis_url;
    void (*closed)(void *owner);
    void *closed_owner;
};

enum { ACCOUNT_STORE_PROBLEM_BYTES = 256 };

/* RC_USAGE or RC_IO with a sentence in `problem` that holds no secret; nothing is open then. A
 * server that can't be reached is no failure: operations will tell. */
enum rc account_store_open(const struct account_store_opts *opts, struct account_store *out,
                           char problem[ACCOUNT_STORE_PROBLEM_BYTES]);

/* What is beside the backend, which is closed already. `closed` (may be NULL) runs at once where
 * nothing has to be waited for. */
void account_store_close(struct account_store *store, void (*closed)(void *owner), void *owner);

/* Whether the URL names what other processes can open too (anything but a SQLite file). */
bool account_store_is_shared(struct slice url);
