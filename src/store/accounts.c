// SPDX-License-Identifier: MIT
#include "store/accounts.h"

#include <assert.h>

#include "base/mem.h"
#include "store/accounts_cache.h"
#include "store/accounts_watch.h"

enum {
    TEXTS_BYTES_MAX = 3 * 256, /* user id, the provider's user id, last_sync_error */
    /* two of the longest tokens as Fernet makes them, and one more as a fence */
    ROW_BYTES_MAX = 3 * (LIMIT_TOKEN_BYTES * 4 / 3 + 256) + TEXTS_BYTES_MAX,
};

/* What work on another thread uses is not replaced under it: the one thing here that is counted. */
struct accounts_keyring {
    const struct fernet_keys *keys; /* NULL: none */
    struct fernet_keys *owned;      /* the same, where they are ours to free */
    size_t uses;                    /* by the accounts, and by each operation */
};

struct accounts {
    struct accounts_opts opts;
    struct accounts_keyring *ring; /* of the next operations */
    struct accounts_cache *cache;  /* NULL: none */
    struct accounts_watch watch;   /* of the cache */
    size_t open;                   /* operations */
    void (*closed)(void *owner);
    void *closed_owner;
};

static struct accounts_keyring *ring_new(const struct fernet_keys *keys,
                                         struct fernet_keys *owned) {
    struct accounts_keyring *ring = mem_alloc(sizeof *ring);
    *ring = (struct accounts_keyring){keys, owned, 1};
    return ring;
}

static void ring_release(struct accounts_keyring *ring) {
    if (--ring->uses == 0) {
        fernet_keys_free(ring->owned);
        mem_free(ring);
    }
}

void accounts_take_keys(struct accounts *accounts, struct fernet_keys *keys) {
    ring_release(accounts->ring);
    accounts->ring = ring_new(keys, keys);
}

const struct fernet_keys *accounts_keys(const struct accounts *accounts) {
    return accounts->ring->keys;
}

/* A cache that keeps nothing for ever needs nobody to tell it. */
static bool is_watched(const struct accounts *accounts) {
    return accounts->cache != NULL && accounts->opts.cache_keep_ms == 0;
}

struct accounts *accounts_new(const struct accounts_opts *opts) {
    struct accounts *accounts = mem_calloc(1, sizeof *accounts);
    accounts->opts = *opts;
    accounts->ring = ring_new(opts->keys, NULL);
    if (opts->cache_max > 0) {
        accounts->cache = accounts_cache_new(opts->loop, opts->cache_max, opts->cache_keep_ms);
    }
    if (is_watched(accounts)) {
        accounts->watch = (struct accounts_watch){
            .loop = opts->loop, .backend = opts->backend, .cache = accounts->cache};
        accounts_watch_start(&accounts->watch);
    }
    return accounts;
}

static void on_closed(void *owner) {
    struct accounts *accounts = owner;
    void (*closed)(void *closed_owner) = accounts->closed;
    void *closed_owner = accounts->closed_owner;
    accounts_cache_free(accounts->cache);
    ring_release(accounts->ring);
    mem_free(accounts);
    if (closed != NULL) {
        closed(closed_owner);
    }
}

static void close_backend(struct accounts *accounts) {
    accounts->opts.backend->ops->close(accounts->opts.backend, on_closed, accounts);
}

static void on_watch_closed(struct accounts_watch *watch) {
    close_backend(LIST_ENTRY(watch, struct accounts, watch));
}

void accounts_close(struct accounts *accounts, void (*closed)(void *owner), void *owner) {
    assert(accounts->open == 0);
    accounts->closed = closed;
    accounts->closed_owner = owner;
    if (is_watched(accounts)) {
        accounts_watch_close(&accounts->watch, on_watch_closed);
    } else {
        close_backend(accounts);
    }
}

/* -- what every operation does first and last -- */

static struct accounts_op *from_backend(struct accounts_backend_op *backend) {
    return LIST_ENTRY(backend, struct accounts_op, backend);
}

static struct accounts_op *from_work(struct work_op *work) {
    return LIST_ENTRY(work, struct accounts_op, work);
}

/* Tokens may have been anywhere in it, not only below its length. */
static void wipe(struct buf *buf) {
    if (buf->at != NULL) {
        mem_wipe(buf->at, buf->cap);
    }
    buf_fini(buf);
}

/* The operation is its owner's again once `done` runs; what its slices point to lives on for as
 * long as that takes. */
static void finish(struct accounts_op *op, enum rc rc) {
    struct accounts *accounts = op->accounts;
    struct buf tokens = op->tokens;
    struct buf bytes = op->backend.bytes;
    op->tokens = (struct buf){0};
    op->backend.bytes = (struct buf){0};
    op->rc = rc;
    accounts->open--;
    ring_release(op->ring);
    op->done(op);
    wipe(&tokens);
    wipe(&bytes);
}

static void on_later(struct loop_task *task) {
    struct accounts_op *op = LIST_ENTRY(task, struct accounts_op, task);
    finish(op, op->rc);
}

static void finish_later(struct accounts_op *op, enum rc rc) {
    op->rc = rc;
    loop_later(op->accounts->opts.loop, &op->task, on_later);
}

/* False: it is finished already, as no account of that name can be there. */
static bool start(struct accounts *accounts, struct accounts_op *op, enum accounts_kind kind,
                  struct slice user_id, void (*done)(struct accounts_op *op)) {
    struct slice request_id = op->request_id;
    *op = (struct accounts_op){
        .done = done, .request_id = request_id, .accounts = accounts, .kind = kind};
    buf_init(&op->tokens, ROW_BYTES_MAX);
    buf_init(&op->backend.bytes, ROW_BYTES_MAX);
    op->backend.backend = accounts->opts.backend;
    op->ring = accounts->ring;
    op->ring->uses++;
    accounts->open++;
    if (user_id.len > LIMIT_USER_ID_BYTES) {
        finish_later(op, kind == ACCOUNTS_LINK ? RC_STORAGE_UNAVAILABLE : RC_ABSENT);
        return false;
    }
    if (user_id.len > 0) {
        memcpy(op->user_id_at, user_id.at, user_id.len);
    }
    op->user_id = slice_make(op->user_id_at, user_id.len);
    op->backend.row.user_id = op->user_id;
    return true;
}

static const char *const kind_names[] = {
    [ACCOUNTS_LINK] = "link", [ACCOUNTS_GET] = "get",   [ACCOUNTS_OPEN] = "open",
    [ACCOUNTS_SWAP] = "swap", [ACCOUNTS_MARK] = "mark", [ACCOUNTS_REMOVE] = "remove",
    [ACCOUNTS_PING] = "ping",
};

static void note_failure(struct accounts_op *op, const char *cause) {
    const struct accounts_opts *opts = &op->accounts->opts;
    metrics_add(opts->metrics, METRIC_STORE_FAILURES, 1);
    LOG(opts->log, LOG_ERROR, "account_store_failed", op->request_id,
        log_text("user_id", op->user_id), log_text("operation", slice_str(kind_names[op->kind])),
        log_text("cause", slice_str(cause)));
}

static void show(struct accounts_op *op, bool connected) {
    const struct accounts_row *row = &op->backend.row;
    op->view = (struct account_view){.connected = connected};
    if (connected) {
        op->view.audible_user_id = row->audible_user_id;
        op->view.connected_ms = row->connected_ms;
        op->view.synced_ms = row->synced_ms;
        op->view.last_sync_error = row->last_sync_error;
        op->expires_ms = row->expires_ms;
        op->sync_status = row->sync_status;
    }
}

/* -- link and swap: seal both tokens, then store -- */

static enum rc seal(struct accounts_op *op) {
    const struct fernet_keys *keys = op->ring->keys;
    struct accounts_row *row = &op->backend.row;
    struct buf *out = &op->backend.bytes;
    int64_t now_s = row->connected_ms / 1000;
    enum rc rc = fernet_seal(keys, row->access_token, now_s, NULL, out);
    size_t access_len = out->len;
    if (rc == RC_OK && !slice_is_null(row->refresh_token)) {
        rc = fernet_seal(keys, row->refresh_token, now_s, NULL, out);
    }
    if (rc != RC_OK) {
        return rc;
    }
    row->access_token = slice_make(out->at, access_len);
    if (!slice_is_null(row->refresh_token)) {
        row->refresh_token = slice_make(out->at + access_len, out->len - access_len);
    }
    return RC_OK;
}

static void run_seal(struct work_op *work) {
    struct accounts_op *op = from_work(work);
    op->rc = seal(op);
}

static void note_plain(struct accounts_op *op) {
    const struct accounts_opts *opts = &op->accounts->opts;
    if (!op->sealed) {
        metrics_add(opts->metrics, METRIC_TOKENS_STORED_PLAIN,
                    slice_is_null(op->backend.row.refresh_token) ? 1 : 2);
        LOG(opts->log, LOG_WARNING, "token_stored_plain", op->request_id,
            log_text("user_id", op->user_id));
    }
}

static void on_put(struct accounts_backend_op *backend) {
    struct accounts_op *op = from_backend(backend);
    const struct accounts_opts *opts = &op->accounts->opts;
    show(op, backend->rc == RC_OK);
    if (op->accounts->cache != NULL) {
        accounts_cache_write_end(op->accounts->cache, op->user_id,
                                 backend->rc == RC_OK ? &op->view : NULL);
    }
    if (backend->rc != RC_OK) {
        note_failure(op, backend->cause);
        finish(op, RC_STORAGE_UNAVAILABLE);
        return;
    }
    metrics_add(opts->metrics, METRIC_LINKS, 1);
    note_plain(op);
    finish(op, RC_OK);
}

static void put(struct accounts_op *op) {
    if (op->accounts->cache != NULL) {
        accounts_cache_write_start(op->accounts->cache, op->user_id);
    }
    op->backend.done = on_put;
    op->backend.backend->ops->put(op->backend.backend, &op->backend);
}

static enum rc fenced_rc(struct accounts_op *op) {
    enum rc rc = op->backend.rc;
    if (rc == RC_OK || rc == RC_CONFLICT || rc == RC_ABSENT) {
        return rc;
    }
    note_failure(op, op->backend.cause);
    return RC_STORAGE_UNAVAILABLE;
}

/* Nothing that the cache shows has changed. */
static void on_swapped(struct accounts_backend_op *backend) {
    struct accounts_op *op = from_backend(backend);
    enum rc rc = fenced_rc(op);
    if (rc == RC_OK) {
        op->sealed_refresh = backend->row.refresh_token;
        op->expires_ms = backend->row.expires_ms;
        note_plain(op);
    }
    finish(op, rc);
}

static void swap(struct accounts_op *op) {
    op->backend.done = on_swapped;
    op->backend.backend->ops->swap(op->backend.backend, &op->backend);
}

static void store(struct accounts_op *op) {
    if (op->kind == ACCOUNTS_SWAP) {
        swap(op);
    } else {
        put(op);
    }
}

static void on_sealed(struct work_op *work, enum rc rc) {
    struct accounts_op *op = from_work(work);
    if (rc == RC_OK && op->rc == RC_OK) {
        op->sealed = true;
        store(op);
        return;
    }
    if (rc == RC_OK) {
        metrics_add(op->accounts->opts.metrics, METRIC_SEAL_FAILURES, 1);
    }
    note_failure(op, rc_text(rc == RC_OK ? op->rc : rc));
    finish(op, RC_STORAGE_UNAVAILABLE);
}

static void seal_and_store(struct accounts_op *op, bool fits) {
    if (!fits) {
        note_failure(op, rc_text(RC_TOO_LARGE));
        finish_later(op, RC_STORAGE_UNAVAILABLE);
    } else if (op->ring->keys == NULL) {
        store(op);
    } else {
        work_submit(op->accounts->opts.work, &op->work, run_seal, on_sealed);
    }
}

static struct slice keep(struct buf *buf, struct slice text) {
    if (slice_is_null(text)) {
        return text;
    }
    const char *at = buf->at + buf->len;
    buf_append(buf, text);
    return slice_make(at, text.len);
}

/* What the caller lent, copied. False: more than a cap. */
static bool keep_link(struct accounts_op *op, const struct account_link *link) {
    struct slice refresh = link->refresh_token.len > 0 ? link->refresh_token : SLICE_NULL;
    size_t bytes = link->audible_user_id.len + link->access_token.len + refresh.len;
    /* all at once, and one more so that there is memory to point to, as nothing may move later */
    if (link->access_token.len > LIMIT_TOKEN_BYTES || refresh.len > LIMIT_TOKEN_BYTES ||
        link->audible_user_id.len > LIMIT_PROVIDER_USER_ID_BYTES ||
        buf_reserve(&op->tokens, bytes + 1) == NULL) {
        return false;
    }
    op->backend.row = (struct accounts_row){
        .user_id = op->user_id,
        .audible_user_id = keep(&op->tokens, link->audible_user_id),
        .access_token = keep(&op->tokens, link->access_token),
        .refresh_token = keep(&op->tokens, refresh),
        .expires_ms = link->expires_ms,
        .connected_ms = link->now_ms,
        .synced_ms = link->now_ms,
        .sync_status = ACCOUNT_SYNC_SYNCED,
    };
    return true;
}

void accounts_link(struct accounts *accounts, struct accounts_op *op,
                   const struct account_link *link, void (*done)(struct accounts_op *op)) {
    if (!start(accounts, op, ACCOUNTS_LINK, link->user_id, done)) {
        return;
    }
    seal_and_store(op, keep_link(op, link));
}

/* -- swap and mark: writes under the fence of what was read -- */

static bool keep_tokens(struct accounts_op *op, const struct account_tokens *tokens) {
    struct slice refresh = tokens->refresh_token.len > 0 ? tokens->refresh_token : SLICE_NULL;
    if (tokens->access_token.len > LIMIT_TOKEN_BYTES || refresh.len > LIMIT_TOKEN_BYTES ||
        buf_reserve(&op->tokens, tokens->access_token.len + refresh.len + tokens->fence.len + 1) ==
            NULL) {
        return false;
    }
    op->backend.row = (struct accounts_row){
        .user_id = op->user_id,
        .access_token = keep(&op->tokens, tokens->access_token),
        .refresh_token = keep(&op->tokens, refresh),
        .expires_ms = tokens->expires_ms,
        .connected_ms = tokens->now_ms,
    };
    op->backend.fence = keep(&op->tokens, tokens->fence);
    return true;
}

void accounts_swap(struct accounts *accounts, struct accounts_op *op,
                   const struct account_tokens *tokens, void (*done)(struct accounts_op *op)) {
    if (start(accounts, op, ACCOUNTS_SWAP, tokens->user_id, done)) {
        seal_and_store(op, keep_tokens(op, tokens));
    }
}

static void on_marked(struct accounts_backend_op *backend) {
    struct accounts_op *op = from_backend(backend);
    if (op->accounts->cache != NULL) {
        accounts_cache_write_end(op->accounts->cache, op->user_id, NULL);
    }
    finish(op, fenced_rc(op));
}

void accounts_mark(struct accounts *accounts, struct accounts_op *op,
                   const struct account_mark *mark, void (*done)(struct accounts_op *op)) {
    if (!start(accounts, op, ACCOUNTS_MARK, mark->user_id, done)) {
        return;
    }
    size_t bytes = mark->fence.len + mark->last_sync_error.len + mark->error_fence.len;
    if (buf_reserve(&op->tokens, bytes + 1) == NULL) {
        note_failure(op, rc_text(RC_TOO_LARGE));
        finish_later(op, RC_STORAGE_UNAVAILABLE);
        return;
    }
    op->backend.fence = keep(&op->tokens, mark->fence);
    op->backend.error_fence = keep(&op->tokens, mark->error_fence);
    op->backend.row.last_sync_error = keep(&op->tokens, mark->last_sync_error);
    op->backend.row.synced_ms = mark->synced_ms;
    op->backend.row.sync_status = mark->sync_status;
    if (accounts->cache != NULL) {
        accounts_cache_write_start(accounts->cache, op->user_id);
    }
    op->backend.done = on_marked;
    op->backend.backend->ops->mark(op->backend.backend, &op->backend);
}

/* -- open: both tokens of a row that was read -- */

/* On another thread, as what calls it. */
static void count_opened(const struct accounts_op *op, size_t position) {
    size_t shown = position < METRICS_KEY_POSITIONS ? position : METRICS_KEY_POSITIONS - 1;
    metrics_add_to(op->accounts->opts.metrics, METRIC_TOKENS_OPENED_1 + (int)shown, 1);
}

/* Appends the plaintext to op->tokens; returns how many bytes. */
static size_t open_token(struct accounts_op *op, struct slice stored) {
    const struct fernet_keys *keys = op->ring->keys;
    size_t before = op->tokens.len;
    size_t position;
    if (stored.len == 0) {
        return 0;
    }
    if (!fernet_is_shaped(stored)) {
        op->plain++;
        buf_append(&op->tokens, stored);
        return op->tokens.len - before;
    }
    if (keys == NULL || fernet_open(keys, stored, 0, 0, &op->tokens, &position) != RC_OK) {
        op->unopened++;
    } else {
        count_opened(op, position);
    }
    return op->tokens.len - before;
}

static struct slice token_slice(const struct accounts_op *op, size_t start, size_t len) {
    return len > 0 ? slice_make(op->tokens.at + start, len) : SLICE_NULL;
}

static void run_open(struct work_op *work) {
    struct accounts_op *op = from_work(work);
    const struct accounts_row *row = &op->backend.row;
    size_t access_len = open_token(op, row->access_token);
    size_t refresh_len = open_token(op, row->refresh_token);
    op->access_token = token_slice(op, 0, access_len);
    op->refresh_token = token_slice(op, access_len, refresh_len);
    op->sealed = fernet_is_shaped(row->access_token);
}

static void on_opened(struct work_op *work, enum rc rc) {
    struct accounts_op *op = from_work(work);
    const struct accounts_opts *opts = &op->accounts->opts;
    if (rc != RC_OK) {
        /* not even tried; what was removed stays removed */
        note_failure(op, rc_text(rc));
        finish(op, op->kind == ACCOUNTS_REMOVE ? RC_NO_KEY_OPENS : RC_STORAGE_UNAVAILABLE);
        return;
    }
    if (op->plain > 0) {
        metrics_add(opts->metrics, METRIC_TOKENS_READ_PLAIN, op->plain);
        LOG(opts->log, LOG_WARNING, "plaintext_token_read", op->request_id,
            log_text("user_id", op->user_id));
    }
    metrics_add(opts->metrics, METRIC_OPEN_FAILURES, op->unopened);
    if (op->unopened > 0 && op->kind == ACCOUNTS_OPEN) {
        op->access_token = SLICE_NULL;
        op->refresh_token = SLICE_NULL;
    }
    finish(op, op->unopened > 0 ? RC_NO_KEY_OPENS : RC_OK);
}

static void open_tokens(struct accounts_op *op) {
    op->sealed_refresh = op->backend.row.refresh_token;
    work_submit(op->accounts->opts.work, &op->work, run_open, on_opened);
}

/* -- get, open, remove -- */

bool accounts_cached(struct accounts *accounts, struct slice user_id, struct account_view *out) {
    return accounts->cache != NULL && accounts_cache_get(accounts->cache, user_id, out);
}

/* The cache's own memory may be gone when `done` runs. */
static bool get_cached(struct accounts_op *op) {
    struct account_view view;
    struct buf *bytes = &op->backend.bytes;
    if (!accounts_cached(op->accounts, op->user_id, &view) ||
        buf_reserve(bytes, view.audible_user_id.len + view.last_sync_error.len + 1) == NULL) {
        return false;
    }
    op->view = view;
    op->view.audible_user_id = keep(bytes, view.audible_user_id);
    op->view.last_sync_error = keep(bytes, view.last_sync_error);
    return true;
}

static void on_got(struct accounts_backend_op *backend) {
    struct accounts_op *op = from_backend(backend);
    bool known = backend->rc == RC_OK || backend->rc == RC_ABSENT;
    show(op, backend->rc == RC_OK);
    if (op->accounts->cache != NULL) {
        accounts_cache_read_end(op->accounts->cache, op->user_id, op->read_started,
                                known ? &op->view : NULL);
    }
    if (!known) {
        note_failure(op, backend->cause);
        finish(op, RC_STORAGE_UNAVAILABLE);
    } else if (backend->rc == RC_OK && op->kind == ACCOUNTS_OPEN) {
        open_tokens(op);
    } else {
        op->sealed_refresh = op->backend.row.refresh_token;
        finish(op, backend->rc);
    }
}

static void fetch(struct accounts_op *op) {
    if (op->accounts->cache != NULL) {
        op->read_started = accounts_cache_read_start(op->accounts->cache, op->user_id);
    }
    op->backend.done = on_got;
    op->backend.backend->ops->get(op->backend.backend, &op->backend);
}

void accounts_get(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                  void (*done)(struct accounts_op *op)) {
    if (!start(accounts, op, ACCOUNTS_GET, user_id, done)) {
        return;
    }
    if (get_cached(op)) {
        finish_later(op, op->view.connected ? RC_OK : RC_ABSENT);
    } else {
        fetch(op);
    }
}

void accounts_read(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                   void (*done)(struct accounts_op *op)) {
    if (start(accounts, op, ACCOUNTS_GET, user_id, done)) {
        fetch(op);
    }
}

void accounts_open(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                   void (*done)(struct accounts_op *op)) {
    if (start(accounts, op, ACCOUNTS_OPEN, user_id, done)) {
        fetch(op);
    }
}

static void on_removed(struct accounts_backend_op *backend) {
    struct accounts_op *op = from_backend(backend);
    bool known = backend->rc == RC_OK || backend->rc == RC_ABSENT;
    if (op->accounts->cache != NULL) {
        const struct account_view none = {.connected = false};
        accounts_cache_write_end(op->accounts->cache, op->user_id, known ? &none : NULL);
    }
    if (!known) {
        note_failure(op, backend->cause);
        finish(op, RC_STORAGE_UNAVAILABLE);
    } else if (backend->rc == RC_ABSENT) {
        finish(op, RC_ABSENT);
    } else {
        metrics_add(op->accounts->opts.metrics, METRIC_UNLINKS, 1);
        show(op, true);
        open_tokens(op);
    }
}

void accounts_remove(struct accounts *accounts, struct accounts_op *op, struct slice user_id,
                     void (*done)(struct accounts_op *op)) {
    if (!start(accounts, op, ACCOUNTS_REMOVE, user_id, done)) {
        return;
    }
    if (accounts->cache != NULL) {
        accounts_cache_write_start(accounts->cache, op->user_id);
    }
    op->backend.done = on_removed;
    op->backend.backend->ops->remove(op->backend.backend, &op->backend);
}

static void on_pinged(struct accounts_backend_op *backend) {
    struct accounts_op *op = from_backend(backend);
    if (backend->rc != RC_OK) {
        note_failure(op, backend->cause);
    }
    finish(op, backend->rc == RC_OK ? RC_OK : RC_STORAGE_UNAVAILABLE);
}

void accounts_ping(struct accounts *accounts, struct accounts_op *op,
                   void (*done)(struct accounts_op *op)) {
    if (start(accounts, op, ACCOUNTS_PING, SLICE_NULL, done)) {
        op->backend.done = on_pinged;
        op->backend.backend->ops->ping(op->backend.backend, &op->backend);
    }
}
