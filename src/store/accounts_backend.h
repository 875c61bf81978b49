// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/work.h"

/* What a store of accounts does. It knows rows with sealed tokens and nothing of their meaning.
 * Only store/accounts calls it. */
#define ACCOUNT_SYNC_MAP(X) X(PENDING, "pending") X(SYNCED, "synced") X(FAILED, "failed")
#define ACCOUNT_SYNC_ENUM(name, text) ACCOUNT_SYNC_##name,
enum account_sync { ACCOUNT_SYNC_MAP(ACCOUNT_SYNC_ENUM) };
#undef ACCOUNT_SYNC_ENUM

struct accounts_row {
    struct slice user_id;
    struct slice audible_user_id; /* null: unknown */
    struct slice access_token;    /* sealed, or plain where no key is set */
    struct slice refresh_token;   /* the same; null: none */
    struct slice last_sync_error; /* null: none */
    int64_t expires_ms;
    int64_t connected_ms;
    int64_t synced_ms; /* 0: never */
    enum account_sync sync_status;
};

struct accounts_backend;

/* Part of an accounts_op. `done` on the loop, never before the starting call has returned. */
struct accounts_backend_op {
    void (*done)(struct accounts_backend_op *op);
    enum rc rc;                /* RC_OK, RC_ABSENT, RC_CONFLICT, RC_STORAGE_UNAVAILABLE */
    const char *cause;         /* static text, of RC_STORAGE_UNAVAILABLE; may be NULL */
    struct accounts_row row;   /* input of put, swap and mark; result of get, remove and next */
    struct slice fence;        /* swap, mark: the stored refresh token that was read (null: none) */
    struct slice access_fence; /* swap: the stored access token too; null: it is not looked at */
    struct slice error_fence;  /* mark: RC_CONFLICT where sync_status is FAILED with this
                                  last_sync_error; null: they are not looked at */
    struct buf bytes;          /* backs a result's slices; made and freed by the front */
    struct accounts_backend *backend;
    struct work_op work;
    int kind;
};

struct accounts_backend_ops {
    /* the row of op->row.user_id */
    void (*get)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* insert or replace; RC_OK: committed durably */
    void (*put)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* replaces both tokens and expires_ms, only where the refresh token is still `fence`:
       RC_CONFLICT otherwise, RC_ABSENT where the row is gone; access_fence in the same way */
    void (*swap)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* the same fence; replaces sync_status and last_sync_error, and synced_ms where it isn't 0 */
    void (*mark)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* deletes and returns what was there */
    void (*remove)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* the first row with a user_id above op->row.user_id (byte order), RC_ABSENT at the end: a scan
       that can be resumed */
    void (*next)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* RC_OK: no one else has written since it was asked last; RC_CONFLICT: perhaps */
    void (*version)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* reads and writes something that nobody sees */
    void (*ping)(struct accounts_backend *backend, struct accounts_backend_op *op);
    /* No operation is open; frees the backend, then `closed` on a later turn. */
    void (*close)(struct accounts_backend *backend, void (*closed)(void *owner), void *owner);
};

struct accounts_backend {
    const struct accounts_backend_ops *ops;
};

enum { ACCOUNTS_PROBLEM_BYTES = 256 };

/* SQLite: one file of one server (locked against a second one), WAL, synchronous=FULL, mode 0600,
 * schema versioned, prepared statements; writes gathered into one transaction on a thread of its
 * own, reads on another. RC_USAGE or RC_IO with a sentence in `problem`. */
enum rc accounts_sqlite_open(struct loop *loop, const char *path, struct accounts_backend **out,
                             char problem[ACCOUNTS_PROBLEM_BYTES]);

/* The same file for a command, beside the server that owns it or without one: takes no lock and
 * makes no file. Each waits for the other's transactions. */
enum rc accounts_sqlite_open_beside(struct loop *loop, const char *path,
                                    struct accounts_backend **out,
                                    char problem[ACCOUNTS_PROBLEM_BYTES]);

struct redis;
struct log;

/* Redis, over a connection that its owner made and closes after it; others may use it too. A write
 * is as durable as that server is set to be: one that forgets or evicts is warned of in the log,
 * each time that its settings are found to have changed. Others write to it as well, so nothing
 * read may be kept (version always says RC_CONFLICT). */
struct accounts_backend *accounts_redis_new(struct loop *loop, struct redis *redis,
                                            struct log *log);

/* Of the SQLite library that runs ("3.40.1"). */
const char *accounts_sqlite_library_version(void);
