// SPDX-License-Identifier: MIT
#include "store/accounts_migrate.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

enum {
    BATCH = 64,
    AT_ONCE = 16,     /* a slow store must not keep the last of them beyond its patience */
    FAILED_MAX = 100, /* of a store that takes little, not every account need be tried */
    TOKEN_BYTES_MAX = LIMIT_TOKEN_BYTES * 4 / 3 + 256, /* as Fernet makes it */
    ROW_BYTES_MAX = 2 * TOKEN_BYTES_MAX + 3 * 256,
};

/* One account on its way. `walked` is what the walk found, `other` the same user in the other
 * store. */
struct job {
    struct accounts_migrate *migrate;
    struct accounts_backend_op walked;
    struct accounts_backend_op other;
    bool is_replaced;
};

/* First the source's accounts, then whom the target has besides. */
enum walk { WALK_SOURCE, WALK_TARGET };

struct accounts_migrate {
    struct accounts_migrate_opts opts;
    struct accounts_migrate_counts counts;
    struct accounts_migrate_end end;
    enum walk walk;
    struct job jobs[BATCH];
    struct accounts_backend_op ping; /* of the target, before all */
    size_t count;                    /* of this batch */
    size_t started;                  /* jobs of it */
    size_t open;                     /* jobs that are under way */
    uint64_t failed_before;          /* this batch */
    bool at_end;                     /* of the walk */
    char cursor_at[LIMIT_USER_ID_BYTES + 1];
    struct slice cursor; /* all up to it are done, or in the batch */
};

static struct job *from_walked(struct accounts_backend_op *op) {
    return LIST_ENTRY(op, struct job, walked);
}

static struct job *from_other(struct accounts_backend_op *op) {
    return LIST_ENTRY(op, struct job, other);
}

static void read_batch(struct accounts_migrate *migrate);

/* -- the end -- */

static void note_failure(struct accounts_migrate *migrate, const char *cause, bool is_target) {
    if (migrate->end.cause == NULL) {
        migrate->end.cause = cause;
        migrate->end.is_target = is_target;
    }
}

static void finish(struct accounts_migrate *migrate) {
    struct accounts_migrate_opts opts = migrate->opts;
    migrate->end.behind = migrate->cursor;
    opts.done(opts.owner, &migrate->end, &migrate->counts);
    mem_free(migrate);
}

/* Of this batch. */
static uint64_t failed_now(const struct accounts_migrate *migrate) {
    return migrate->counts.failed - migrate->failed_before;
}

/* As many as were asked at once: the store does not answer. */
static bool is_hopeless(const struct accounts_migrate *migrate) {
    return failed_now(migrate) >= AT_ONCE;
}

static void end_batch(struct accounts_migrate *migrate) {
    for (size_t i = 0; i < migrate->count; i++) {
        buf_fini(&migrate->jobs[i].walked.bytes);
        buf_fini(&migrate->jobs[i].other.bytes);
    }
    if (migrate->opts.progress != NULL && migrate->count > 0) {
        migrate->opts.progress(migrate->opts.owner, &migrate->counts);
    }
    bool has_failed_whole = migrate->count > 0 && failed_now(migrate) == migrate->count;
    if (has_failed_whole || is_hopeless(migrate) || migrate->counts.failed >= FAILED_MAX) {
        migrate->end.rc = RC_STORAGE_UNAVAILABLE;
    }
    if (migrate->end.rc != RC_OK || (migrate->at_end && migrate->walk == WALK_TARGET)) {
        finish(migrate);
        return;
    }
    if (migrate->at_end) {
        migrate->walk = WALK_TARGET;
        migrate->cursor = SLICE("");
        migrate->at_end = false;
    }
    read_batch(migrate);
}

static void start_jobs(struct accounts_migrate *migrate);

static void end_job(struct job *job) {
    struct accounts_migrate *migrate = job->migrate;
    migrate->open--;
    start_jobs(migrate);
    if (migrate->open == 0) {
        end_batch(migrate);
    }
}

static void fail_job(struct job *job, const char *cause, bool is_target) {
    job->migrate->counts.failed++;
    note_failure(job->migrate, cause, is_target);
    LOG(job->migrate->opts.log, LOG_ERROR, "account_not_migrated", SLICE_NULL,
        log_text("user_id", job->walked.row.user_id), log_text("cause", slice_str(cause)));
    end_job(job);
}

/* -- two records of one user -- */

static bool is_same_text(struct slice a, struct slice b) {
    return slice_is_null(a) == slice_is_null(b) && slice_eq(a, b);
}

static bool is_same(const struct accounts_row *a, const struct accounts_row *b) {
    return slice_eq(a->user_id, b->user_id) &&
           is_same_text(a->audible_user_id, b->audible_user_id) &&
           is_same_text(a->access_token, b->access_token) &&
           is_same_text(a->refresh_token, b->refresh_token) &&
           is_same_text(a->last_sync_error, b->last_sync_error) && a->expires_ms == b->expires_ms &&
           a->connected_ms == b->connected_ms && a->synced_ms == b->synced_ms &&
           a->sync_status == b->sync_status;
}

static bool is_newer(const struct accounts_row *a, const struct accounts_row *b) {
    if (a->connected_ms != b->connected_ms) {
        return a->connected_ms > b->connected_ms;
    }
    if (a->expires_ms != b->expires_ms) {
        return a->expires_ms > b->expires_ms;
    }
    return a->synced_ms > b->synced_ms;
}

/* -- an account of the source -- */

static void on_read_back(struct accounts_backend_op *op) {
    struct job *job = from_other(op);
    struct accounts_migrate_counts *counts = &job->migrate->counts;
    if (op->rc != RC_OK) {
        fail_job(job, op->rc == RC_ABSENT ? "not there after it was written" : op->cause, true);
    } else if (!is_same(&op->row, &job->walked.row)) {
        fail_job(job, "not the same after it was written", true);
    } else {
        counts->copied += job->is_replaced ? 0 : 1;
        counts->replaced += job->is_replaced ? 1 : 0;
        end_job(job);
    }
}

static void look_at_other(struct job *job, struct accounts_backend *backend,
                          void (*done)(struct accounts_backend_op *op)) {
    job->other.backend = backend;
    job->other.row = (struct accounts_row){.user_id = job->walked.row.user_id};
    job->other.done = done;
    backend->ops->get(backend, &job->other);
}

static void on_put(struct accounts_backend_op *op) {
    struct job *job = from_other(op);
    if (op->rc != RC_OK) {
        fail_job(job, op->cause, true);
    } else {
        look_at_other(job, job->migrate->opts.to, on_read_back);
    }
}

static void on_looked_up(struct accounts_backend_op *op) {
    struct job *job = from_other(op);
    struct accounts_migrate_counts *counts = &job->migrate->counts;
    if (op->rc != RC_OK && op->rc != RC_ABSENT) {
        fail_job(job, op->cause, true);
    } else if (op->rc == RC_OK && is_same(&op->row, &job->walked.row)) {
        counts->equal++;
        end_job(job);
    } else if (op->rc == RC_OK && is_newer(&op->row, &job->walked.row)) {
        counts->kept++;
        end_job(job);
    } else {
        job->is_replaced = op->rc == RC_OK;
        op->row = job->walked.row;
        op->done = on_put;
        op->backend->ops->put(op->backend, op);
    }
}

/* -- an account of the target -- */

static void on_pruned(struct accounts_backend_op *op) {
    struct job *job = from_other(op);
    struct accounts_migrate_counts *counts = &job->migrate->counts;
    if (op->rc != RC_OK && op->rc != RC_ABSENT) {
        fail_job(job, op->cause, true);
        return;
    }
    counts->others--;
    counts->pruned++;
    LOG(job->migrate->opts.log, LOG_INFO, "account_pruned", SLICE_NULL,
        log_text("user_id", job->walked.row.user_id),
        log_text("audible_user_id", job->walked.row.audible_user_id));
    end_job(job);
}

static void on_source_looked_up(struct accounts_backend_op *op) {
    struct job *job = from_other(op);
    const struct accounts_migrate_opts *opts = &job->migrate->opts;
    if (op->rc != RC_OK && op->rc != RC_ABSENT) {
        fail_job(job, op->cause, false);
        return;
    }
    job->migrate->counts.others += op->rc == RC_ABSENT ? 1 : 0;
    /* an empty source is more likely the wrong one */
    if (op->rc == RC_OK || !opts->prunes || job->migrate->counts.accounts == 0) {
        end_job(job);
        return;
    }
    op->backend = opts->to;
    op->row = (struct accounts_row){.user_id = job->walked.row.user_id};
    op->done = on_pruned;
    op->backend->ops->remove(op->backend, op);
}

/* -- one batch -- */

static void start_jobs(struct accounts_migrate *migrate) {
    bool is_source = migrate->walk == WALK_SOURCE;
    while (migrate->open < AT_ONCE && migrate->started < migrate->count && !is_hopeless(migrate)) {
        struct job *job = &migrate->jobs[migrate->started++];
        migrate->open++;
        look_at_other(job, is_source ? migrate->opts.to : migrate->opts.from,
                      is_source ? on_looked_up : on_source_looked_up);
    }
}

static void start_batch(struct accounts_migrate *migrate) {
    start_jobs(migrate);
    if (migrate->count == 0) {
        end_batch(migrate);
    }
}

static void read_next(struct accounts_migrate *migrate);

static void on_read(struct accounts_backend_op *op) {
    struct job *job = from_walked(op);
    struct accounts_migrate *migrate = job->migrate;
    struct slice user_id = op->row.user_id;
    if (op->rc != RC_OK || user_id.len > LIMIT_USER_ID_BYTES) {
        migrate->at_end = op->rc == RC_ABSENT;
        if (!migrate->at_end) {
            migrate->end.rc = RC_STORAGE_UNAVAILABLE;
            note_failure(migrate, op->rc == RC_OK ? "a user id is too long" : op->cause,
                         migrate->walk == WALK_TARGET);
        }
        buf_fini(&op->bytes);
        start_batch(migrate);
        return;
    }
    migrate->counts.accounts += migrate->walk == WALK_SOURCE ? 1 : 0;
    migrate->count++;
    memcpy(migrate->cursor_at, user_id.at, user_id.len);
    migrate->cursor = slice_make(migrate->cursor_at, user_id.len);
    if (migrate->count == BATCH) {
        start_batch(migrate);
    } else {
        read_next(migrate);
    }
}

static void read_next(struct accounts_migrate *migrate) {
    struct job *job = &migrate->jobs[migrate->count];
    *job = (struct job){.migrate = migrate};
    buf_init(&job->walked.bytes, ROW_BYTES_MAX);
    buf_init(&job->other.bytes, ROW_BYTES_MAX);
    job->walked.backend = migrate->walk == WALK_SOURCE ? migrate->opts.from : migrate->opts.to;
    job->walked.row.user_id = migrate->cursor;
    job->walked.done = on_read;
    job->walked.backend->ops->next(job->walked.backend, &job->walked);
}

static void read_batch(struct accounts_migrate *migrate) {
    migrate->count = 0;
    migrate->started = 0;
    migrate->failed_before = migrate->counts.failed;
    read_next(migrate);
}

static void on_ping(struct accounts_backend_op *op) {
    struct accounts_migrate *migrate = LIST_ENTRY(op, struct accounts_migrate, ping);
    if (op->rc != RC_OK) {
        migrate->end.rc = RC_STORAGE_UNAVAILABLE;
        note_failure(migrate, op->cause, true);
        finish(migrate);
    } else {
        read_batch(migrate);
    }
}

void accounts_migrate_start(const struct accounts_migrate_opts *opts) {
    struct accounts_migrate *migrate = mem_calloc(1, sizeof *migrate);
    migrate->opts = *opts;
    migrate->cursor = SLICE("");
    migrate->ping.backend = opts->to;
    migrate->ping.done = on_ping;
    opts->to->ops->ping(opts->to, &migrate->ping);
}
