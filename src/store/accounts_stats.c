// SPDX-License-Identifier: MIT
#include "store/accounts_stats.h"

#include "base/limits.h"
#include "base/mem.h"

enum {
    TOKEN_BYTES_MAX = LIMIT_TOKEN_BYTES * 4 / 3 + 256, /* as Fernet makes it */
    ROW_BYTES_MAX = 2 * TOKEN_BYTES_MAX + 3 * 256,
};

struct walk {
    struct accounts_stats_opts opts;
    struct accounts_stats stats;
    struct accounts_backend_op op;
    struct work_op work;
    char cursor_at[LIMIT_USER_ID_BYTES + 1];
    struct slice cursor;
};

#define SYNC_NAME(name, text) [ACCOUNT_SYNC_##name] = text,
static const char *const sync_names[] = {ACCOUNT_SYNC_MAP(SYNC_NAME)};
_Static_assert(sizeof sync_names / sizeof sync_names[0] == ACCOUNTS_STATS_SYNCS,
               "a count for each");

const char *accounts_stats_sync_name(enum account_sync sync) {
    return sync_names[sync];
}

static void end(struct walk *walk, enum rc rc, const char *cause) {
    struct accounts_stats_opts opts = walk->opts;
    struct accounts_stats stats = walk->stats;
    buf_fini(&walk->op.bytes);
    mem_free(walk);
    opts.done(opts.owner, rc, cause, &stats);
}

static void count_token(struct walk *walk, struct slice stored) {
    struct accounts_stats *stats = &walk->stats;
    struct buf plain;
    size_t position = 0;
    if (stored.len == 0) {
        return;
    }
    if (!fernet_is_shaped(stored)) {
        stats->plain++;
        return;
    }
    buf_init(&plain, TOKEN_BYTES_MAX);
    bool opens = walk->opts.keys != NULL &&
                 fernet_open(walk->opts.keys, stored, 0, 0, &plain, &position) == RC_OK;
    if (plain.at != NULL) {
        mem_wipe(plain.at, plain.cap);
    }
    buf_fini(&plain);
    if (opens) {
        stats->by_key[position < ACCOUNTS_STATS_KEYS ? position : ACCOUNTS_STATS_KEYS - 1]++;
    } else {
        stats->closed++;
    }
}

/* On another thread; nobody looks at the counts meanwhile. */
static void run_count(struct work_op *work) {
    struct walk *walk = LIST_ENTRY(work, struct walk, work);
    const struct accounts_row *row = &walk->op.row;
    struct accounts_stats *stats = &walk->stats;
    stats->accounts++;
    stats->by_sync[row->sync_status]++;
    stats->without_refresh_token += row->refresh_token.len == 0 ? 1 : 0;
    stats->reauthorization_required +=
        slice_eq(row->last_sync_error, SLICE("reauthorization_required")) ? 1 : 0;
    count_token(walk, row->access_token);
    count_token(walk, row->refresh_token);
}

static void read_next(struct walk *walk);

static void on_counted(struct work_op *work, enum rc rc) {
    struct walk *walk = LIST_ENTRY(work, struct walk, work);
    if (rc != RC_OK) {
        end(walk, RC_STORAGE_UNAVAILABLE, rc_text(rc));
        return;
    }
    struct slice user_id = walk->op.row.user_id;
    memcpy(walk->cursor_at, user_id.at, user_id.len);
    walk->cursor = slice_make(walk->cursor_at, user_id.len);
    read_next(walk);
}

static void on_read(struct accounts_backend_op *op) {
    struct walk *walk = LIST_ENTRY(op, struct walk, op);
    if (op->rc == RC_ABSENT) {
        end(walk, RC_OK, NULL);
    } else if (op->rc != RC_OK) {
        end(walk, RC_STORAGE_UNAVAILABLE, op->cause);
    } else if (op->row.user_id.len > LIMIT_USER_ID_BYTES) {
        end(walk, RC_STORAGE_UNAVAILABLE, "a user id is too long");
    } else {
        work_submit(walk->opts.work, &walk->work, run_count, on_counted);
    }
}

static void read_next(struct walk *walk) {
    walk->op.row = (struct accounts_row){.user_id = walk->cursor};
    walk->op.done = on_read;
    walk->op.backend->ops->next(walk->op.backend, &walk->op);
}

void accounts_stats_start(const struct accounts_stats_opts *opts) {
    struct walk *walk = mem_calloc(1, sizeof *walk);
    walk->opts = *opts;
    walk->cursor = SLICE("");
    walk->op.backend = opts->backend;
    buf_init(&walk->op.bytes, ROW_BYTES_MAX);
    read_next(walk);
}
