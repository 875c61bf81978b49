// SPDX-License-Identifier: MIT
#include "store/accounts_rekey.h"

#include "base/limits.h"
#include "base/mem.h"

enum {
    BATCH = 64,
    TRIES_MAX = 5, /* of a row that others write at the same time */
    REST_MIN_MS = 2,
    TOKEN_BYTES_MAX = LIMIT_TOKEN_BYTES * 4 / 3 + 256, /* as Fernet makes it */
    ROW_BYTES_MAX = 2 * TOKEN_BYTES_MAX + 3 * 256,
};

/* What is found out of a row, and what came of it. */
enum finding { FINDING_CURRENT, FINDING_OTHER_KEY, FINDING_PLAIN, FINDING_CLOSED, FINDING_ERROR };

struct job {
    struct accounts_rekey *rekey;
    struct accounts_backend_op op;
    struct work_op work;
    char user_id_at[LIMIT_USER_ID_BYTES + 1];
    struct slice user_id;
    struct buf sealed; /* both tokens anew */
    size_t access_len;
    enum finding finding;
    int tries;
};

struct accounts_rekey {
    struct accounts_rekey_opts opts;
    struct accounts_rekey_counts counts;
    struct job jobs[BATCH];
    size_t count; /* of this batch */
    size_t open;  /* jobs that are under way */
    bool at_end;
    char cursor_at[LIMIT_USER_ID_BYTES + 1];
    struct slice cursor; /* all up to it are done, or in the batch */
    int64_t batch_began_ns;
    struct loop_timer rest;
    enum rc rc;
    const char *cause;
};

static struct job *from_backend(struct accounts_backend_op *op) {
    return LIST_ENTRY(op, struct job, op);
}

static struct job *from_work(struct work_op *work) {
    return LIST_ENTRY(work, struct job, work);
}

static void read_batch(struct accounts_rekey *rekey);

/* ------------------------------------------------------------------------------------- the end */

static void on_rest_closed(struct loop_timer *timer) {
    struct accounts_rekey *rekey = LIST_ENTRY(timer, struct accounts_rekey, rest);
    struct accounts_rekey_opts opts = rekey->opts;
    struct accounts_rekey_counts counts = rekey->counts;
    enum rc rc = rekey->rc;
    const char *cause = rekey->cause;
    mem_free(rekey);
    opts.done(opts.owner, rc, cause, &counts);
}

static void on_rested(struct loop_timer *timer) {
    read_batch(LIST_ENTRY(timer, struct accounts_rekey, rest));
}

/* Servers get the file twice as long as we had it. */
static void end_batch(struct accounts_rekey *rekey) {
    for (size_t i = 0; i < rekey->count; i++) {
        buf_fini(&rekey->jobs[i].sealed);
        buf_fini(&rekey->jobs[i].op.bytes);
    }
    if (rekey->opts.progress != NULL && rekey->count > 0) {
        rekey->opts.progress(rekey->opts.owner, &rekey->counts);
    }
    if (rekey->at_end || rekey->rc != RC_OK) {
        loop_timer_close(&rekey->rest, on_rest_closed);
        return;
    }
    int64_t took_ms = (clock_ns() - rekey->batch_began_ns) / 1000000;
    loop_timer_start(&rekey->rest, REST_MIN_MS + 2 * took_ms, 0, on_rested);
}

/* ------------------------------------------------------------------------------- one account */

static void audit(const struct job *job, const char *outcome, const char *cause) {
    bool is_plain = job->finding == FINDING_PLAIN && cause != NULL;
    LOG_AUDIT(job->rekey->opts.log, "token_rekeyed", SLICE_NULL, log_text("user_id", job->user_id),
              log_text("audible_user_id", job->op.row.audible_user_id),
              log_text("outcome", slice_str(outcome)), log_bool("sealed", !is_plain),
              log_text("cause", slice_str(cause)));
}

static void end_job(struct job *job) {
    struct accounts_rekey *rekey = job->rekey;
    if (--rekey->open == 0) {
        end_batch(rekey);
    }
}

static void fail_job(struct job *job, const char *cause) {
    job->rekey->counts.failed++;
    audit(job, "failed", cause);
    end_job(job);
}

static enum finding look_at(const struct job *job, struct slice stored, struct buf *plain) {
    size_t position = 0;
    if (stored.len == 0) {
        return FINDING_CURRENT;
    }
    if (!fernet_is_shaped(stored)) {
        buf_append(plain, stored);
        return buf_ok(plain) ? FINDING_PLAIN : FINDING_ERROR;
    }
    enum rc rc = fernet_open(job->rekey->opts.keys, stored, 0, 0, plain, &position);
    if (rc != RC_OK) {
        return rc == RC_NO_KEY_OPENS ? FINDING_CLOSED : FINDING_ERROR;
    }
    return position == 0 ? FINDING_CURRENT : FINDING_OTHER_KEY;
}

/* Tokens that are as they should be are sealed anew with those that are not: they change together.
 */
static enum rc seal_both(struct job *job, const struct buf *plain, size_t access_len) {
    const struct fernet_keys *keys = job->rekey->opts.keys;
    struct slice access = slice_head(buf_slice(plain), access_len);
    struct slice refresh = slice_from(buf_slice(plain), access_len);
    int64_t now_s = clock_wall_ms(job->rekey->opts.loop->clock) / 1000;
    enum rc rc = access.len > 0 ? fernet_seal(keys, access, now_s, NULL, &job->sealed) : RC_OK;
    job->access_len = job->sealed.len;
    if (rc == RC_OK && refresh.len > 0) {
        rc = fernet_seal(keys, refresh, now_s, NULL, &job->sealed);
    }
    return rc;
}

/* On another thread. */
static void run_seal(struct work_op *work) {
    struct job *job = from_work(work);
    const struct accounts_row *row = &job->op.row;
    struct buf plain;
    buf_init(&plain, 2 * TOKEN_BYTES_MAX);
    enum finding access = look_at(job, row->access_token, &plain);
    size_t access_len = plain.len;
    enum finding refresh = look_at(job, row->refresh_token, &plain);
    job->finding = access > refresh ? access : refresh; /* the worse of both */
    if (job->finding == FINDING_OTHER_KEY || job->finding == FINDING_PLAIN) {
        job->finding = seal_both(job, &plain, access_len) == RC_OK ? job->finding : FINDING_ERROR;
    }
    if (plain.at != NULL) {
        mem_wipe(plain.at, plain.cap);
    }
    buf_fini(&plain);
}

static void on_sealed(struct work_op *work, enum rc rc);

static void seal(struct job *job) {
    buf_clear(&job->sealed);
    work_submit(job->rekey->opts.work, &job->work, run_seal, on_sealed);
}

static void on_read_again(struct accounts_backend_op *op) {
    struct job *job = from_backend(op);
    if (op->rc == RC_OK) {
        seal(job);
    } else if (op->rc == RC_ABSENT) {
        job->rekey->counts.removed++;
        end_job(job);
    } else {
        fail_job(job, op->cause);
    }
}

/* Someone else has written it. */
static void try_again(struct job *job, const char *cause) {
    if (++job->tries == TRIES_MAX) {
        fail_job(job, cause);
        return;
    }
    job->op.row = (struct accounts_row){.user_id = job->user_id};
    job->op.done = on_read_again;
    job->op.backend->ops->get(job->op.backend, &job->op);
}

static void on_written(struct accounts_backend_op *op) {
    struct job *job = from_backend(op);
    struct accounts_rekey_counts *counts = &job->rekey->counts;
    switch (op->rc) {
    case RC_OK:
        counts->sealed += job->finding == FINDING_PLAIN ? 1 : 0;
        counts->resealed += job->finding == FINDING_OTHER_KEY ? 1 : 0;
        audit(job, job->finding == FINDING_PLAIN ? "sealed" : "resealed", NULL);
        end_job(job);
        break;
    case RC_ABSENT:
        counts->removed++;
        end_job(job);
        break;
    case RC_CONFLICT:
        try_again(job, "changed at each try");
        break;
    default:
        try_again(job, op->cause);
        break;
    }
}

static void write_row(struct job *job) {
    struct accounts_row *row = &job->op.row;
    struct slice sealed = buf_slice(&job->sealed);
    bool has_refresh = row->refresh_token.len > 0;
    job->op.fence = row->refresh_token;
    job->op.access_fence = row->access_token;
    row->access_token = job->access_len > 0 ? slice_head(sealed, job->access_len) : SLICE("");
    row->refresh_token = has_refresh ? slice_from(sealed, job->access_len) : row->refresh_token;
    job->op.done = on_written;
    job->op.backend->ops->swap(job->op.backend, &job->op);
}

static void on_sealed(struct work_op *work, enum rc rc) {
    struct job *job = from_work(work);
    struct accounts_rekey_counts *counts = &job->rekey->counts;
    if (rc != RC_OK) {
        fail_job(job, rc_text(rc));
        return;
    }
    switch (job->finding) {
    case FINDING_CURRENT:
        counts->current++;
        end_job(job);
        break;
    case FINDING_OTHER_KEY:
    case FINDING_PLAIN:
        write_row(job);
        break;
    case FINDING_CLOSED:
        counts->left++;
        audit(job, "left", rc_text(RC_NO_KEY_OPENS));
        end_job(job);
        break;
    case FINDING_ERROR:
        fail_job(job, rc_text(RC_CRYPTO));
        break;
    }
}

/* -------------------------------------------------------------------------------- one batch */

static void read_next(struct accounts_rekey *rekey);

static void seal_batch(struct accounts_rekey *rekey) {
    size_t count = rekey->count;
    rekey->open = count;
    for (size_t i = 0; i < count; i++) {
        seal(&rekey->jobs[i]);
    }
    if (count == 0) {
        end_batch(rekey);
    }
}

static void keep_id(char at[LIMIT_USER_ID_BYTES + 1], struct slice *out, struct slice id) {
    memcpy(at, id.at, id.len);
    *out = slice_make(at, id.len);
}

static void on_read(struct accounts_backend_op *op) {
    struct job *job = from_backend(op);
    struct accounts_rekey *rekey = job->rekey;
    if (op->rc != RC_OK || op->row.user_id.len > LIMIT_USER_ID_BYTES) {
        rekey->at_end = op->rc == RC_ABSENT;
        rekey->rc = rekey->at_end ? RC_OK : RC_STORAGE_UNAVAILABLE;
        rekey->cause = op->rc == RC_OK ? "a user id is too long" : op->cause;
        buf_fini(&op->bytes);
        seal_batch(rekey);
        return;
    }
    rekey->counts.accounts++;
    rekey->count++;
    keep_id(rekey->cursor_at, &rekey->cursor, op->row.user_id);
    keep_id(job->user_id_at, &job->user_id, op->row.user_id);
    if (rekey->count == BATCH) {
        seal_batch(rekey);
    } else {
        read_next(rekey);
    }
}

static void read_next(struct accounts_rekey *rekey) {
    struct job *job = &rekey->jobs[rekey->count];
    *job = (struct job){.rekey = rekey};
    buf_init(&job->sealed, 2 * TOKEN_BYTES_MAX);
    buf_init(&job->op.bytes, ROW_BYTES_MAX);
    job->op.backend = rekey->opts.backend;
    job->op.row.user_id = rekey->cursor;
    job->op.done = on_read;
    job->op.backend->ops->next(job->op.backend, &job->op);
}

static void read_batch(struct accounts_rekey *rekey) {
    rekey->count = 0;
    rekey->batch_began_ns = clock_ns();
    read_next(rekey);
}

void accounts_rekey_start(const struct accounts_rekey_opts *opts) {
    struct accounts_rekey *rekey = mem_calloc(1, sizeof *rekey);
    rekey->opts = *opts;
    rekey->cursor = SLICE("");
    loop_timer_init(opts->loop, &rekey->rest);
    read_batch(rekey);
}
