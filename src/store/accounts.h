// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/fernet.h"
#include "io/loop.h"
#include "io/work.h"
#include "store/accounts_backend.h"

/* Linked accounts, one a user. This front is the only way to them: it seals tokens on the way in
 * and opens them on the way out (in the FAST lane), so that no caller can forget; it counts, warns
 * of plaintext, and keeps a bounded cache of views (no tokens), exact where one process owns the
 * store, else off or for seconds. */
struct accounts;

struct accounts_opts {
    struct loop *loop;
    struct work *work;
    struct accounts_backend *backend; /* taken over */
    const struct fernet_keys *keys; /* NULL: tokens are stored plain, with a warning and a count */
    struct log *log;
    struct metrics *metrics;
    size_t cache_max;      /* rows; 0: no cache */
    int64_t cache_keep_ms; /* 0: for ever, as no other process serves from the store; else for so
                              long a view may be behind what another process wrote */
};

/* Keys, and the operations that began with them: they end with them too. */
struct accounts_keyring;

struct accounts *accounts_new(const struct accounts_opts *opts);
/* No operation may be open. `closed` runs when the backend is closed. */
void accounts_close(struct accounts *accounts, void (*closed)(void *owner), void *owner);

/* Seals and opens with these from now on (NULL: stores in plain); operations under way go on with
 * those that they began with. Takes over `keys`. */
void accounts_take_keys(struct accounts *accounts, struct fernet_keys *keys);
const struct fernet_keys *accounts_keys(const struct accounts *accounts);

/* What clients may see of an account. Borrowed from the operation, or from the cache until the next
 * call into this module. */
struct account_view {
    bool connected;
    struct slice audible_user_id; /* null: unknown */
    int64_t connected_ms;
    int64_t synced_ms;            /* 0: never */
    struct slice last_sync_error; /* null: none */
};

/* What authorization or a refresh brought. Borrowed until the call returns. */
struct account_link {
    struct slice user_id;
    struct slice audible_user_id; /* null: unknown */
    struct slice access_token;
    struct slice refresh_token; /* null or empty: stored as none */
    int64_t expires_ms;         /* wall clock */
    int64_t now_ms;             /* becomes connected_at and synced_at */
};

/* The caller's until `done` is called, and not touched after that. Results are borrowed during
 * `done`; memory that held tokens is wiped by us afterwards. */
struct accounts_op {
    void (*done)(struct accounts_op *op);
    struct slice request_id; /* for log lines; set by the caller before the call, may be null */
    /* RC_OK; RC_ABSENT (get, read, open, swap, mark, remove: no account); RC_CONFLICT (swap, mark:
       another refresh token is stored; mark: its error_fence); RC_STORAGE_UNAVAILABLE (nothing
       changed, or nothing can be said); RC_NO_KEY_OPENS (open, remove: a sealed token that no key
       opens; remove has removed all the same) */
    enum rc rc;
    struct account_view view;
    struct slice access_token;  /* open, remove: in plaintext */
    struct slice refresh_token; /* open, remove: in plaintext; null: none */
    struct slice
        sealed_refresh; /* read, open: as stored, the fence of a later write; swap: the new one */
    int64_t expires_ms;
    enum account_sync sync_status; /* read, open */
    bool sealed; /* link, open, swap, remove: the stored tokens are (were) encrypted */
    /* the front's */
    struct accounts *accounts;
    struct accounts_keyring *ring;
    struct accounts_backend_op backend;
    struct work_op work;
    struct loop_task task;
    struct buf tokens; /* plaintext in transit: wiped */
    struct slice user_id;
    char user_id_at[LIMIT_USER_ID_BYTES + 1];
    enum accounts_kind {
        ACCOUNTS_LINK,
        ACCOUNTS_GET,
        ACCOUNTS_OPEN,
        ACCOUNTS_SWAP,
        ACCOUNTS_MARK,
        ACCOUNTS_REMOVE,
        ACCOUNTS_PING
    } kind;
    uint32_t read_started; /* the cache's mark */
    int plain;             /* stored tokens that were legacy plaintext */
    int unopened;          /* stored tokens that no key opens */
};

/* Upserts: a user has one account, and what was there is replaced. RC_OK means committed durably.
 */
void accounts_link(struct accounts *accounts, struct accounts_op *op,
                   const struct account_link *link, void (*done)(struct accounts_op *op));

/* The explicit synchronous probe of the hot path: true where the cache knows (also "no account").
 */
bool accounts_cached(struct accounts *accounts, struct slice user_id, struct account_view *out);

/* The view, no token opened. RC_ABSENT is a result, with view.connected false. */
void accounts_get(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                  void (*done)(struct accounts_op *op));

/* The same from the store, past the cache, with the fence of a mark. */
void accounts_read(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                   void (*done)(struct accounts_op *op));

/* The view and both tokens opened. */
void accounts_open(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                   void (*done)(struct accounts_op *op));

/* What a refresh brought. Borrowed until the call returns. */
struct account_tokens {
    struct slice user_id;
    struct slice access_token;
    struct slice refresh_token; /* null: none */
    int64_t expires_ms;
    int64_t now_ms;
    struct slice fence; /* sealed_refresh of the open that it started from */
};

/* Stores them in place of what was opened, only where that is still what is stored: otherwise
 * RC_CONFLICT, or RC_ABSENT. RC_OK means committed durably; sealed_refresh is then the new fence.
 */
void accounts_swap(struct accounts *accounts, struct accounts_op *op,
                   const struct account_tokens *tokens, void (*done)(struct accounts_op *op));

/* What became of a sync or a refresh. Borrowed until the call returns. */
struct account_mark {
    struct slice user_id;
    struct slice fence;
    int64_t synced_ms; /* 0: as it was */
    enum account_sync sync_status;
    struct slice last_sync_error; /* null: none */
    struct slice error_fence;     /* RC_CONFLICT where the account is FAILED with this error, which
                                     stays then; null: what it says is replaced */
};

/* Notes it, under the same fence. */
void accounts_mark(struct accounts *accounts, struct accounts_op *op,
                   const struct account_mark *mark, void (*done)(struct accounts_op *op));

/* Deletes; what was there comes back with its tokens opened where they open. */
void accounts_remove(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                     void (*done)(struct accounts_op *op));

/* Can the store read and write? */
void accounts_ping(struct accounts *accounts, struct accounts_op *op,
                   void (*done)(struct accounts_op *op));
