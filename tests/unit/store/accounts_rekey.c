// SPDX-License-Identifier: MIT
/* What a rekey does where others write, and where the store fails: the answers of a store that
 * meddles. The rest is in tests/e2e/rekey.c. */
#include "store/accounts_rekey.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/hash.h"
#include "kit/accounts_rig.h"
#include "kit/leaks.h"
#include "kit/scratch.h"

enum { ACCOUNTS = 100, SWAPS_MAX = 16 };

/* Stands before the real store: the first swaps and gets end as it says. */
struct meddler {
    struct accounts_backend backend;
    struct accounts_backend *real;
    struct loop *loop;
    enum rc swaps[SWAPS_MAX]; /* RC_COUNT: the real store's */
    size_t swap_count;
    enum rc get;          /* RC_COUNT: the real store's */
    size_t fails_read_at; /* the n-th next fails; 0: none */
    size_t reads;
};

struct answer {
    struct loop_task task;
    struct accounts_backend_op *op;
};

static void on_answer(struct loop_task *task) {
    struct answer *answer = LIST_ENTRY(task, struct answer, task);
    struct accounts_backend_op *op = answer->op;
    free(answer);
    op->done(op);
}

static void answer(struct meddler *meddler, struct accounts_backend_op *op, enum rc rc) {
    struct answer *later = calloc(1, sizeof *later);
    op->rc = rc;
    op->cause = "meddled";
    later->op = op;
    loop_later(meddler->loop, &later->task, on_answer);
}

static struct meddler *from_backend(struct accounts_backend *backend) {
    return LIST_ENTRY(backend, struct meddler, backend);
}

static void get(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    if (meddler->get != RC_COUNT) {
        answer(meddler, op, meddler->get);
    } else {
        meddler->real->ops->get(meddler->real, op);
    }
}

static void next(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    if (++meddler->reads == meddler->fails_read_at) {
        answer(meddler, op, RC_STORAGE_UNAVAILABLE);
    } else {
        meddler->real->ops->next(meddler->real, op);
    }
}

static void swap(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    size_t i = meddler->swap_count++;
    if (i < SWAPS_MAX && meddler->swaps[i] != RC_COUNT) {
        answer(meddler, op, meddler->swaps[i]);
    } else {
        meddler->real->ops->swap(meddler->real, op);
    }
}

static const struct accounts_backend_ops meddling = {.get = get, .next = next, .swap = swap};

struct rekey {
    struct scratch folder;
    struct scratch file;
    struct clock clock;
    struct loop loop;
    struct work *work;
    struct log *log;
    struct fernet_keys *keys;
    struct meddler meddler;
    int done;
    enum rc rc;
    const char *cause;
    struct accounts_rekey_counts counts;
};

static void start(struct rekey *rekey, int accounts) {
    char problem[ACCOUNTS_PROBLEM_BYTES];
    struct accounts_rig rig;
    *rekey = (struct rekey){.folder = scratch_new()};
    rekey->file = scratch_file(&rekey->folder, "db");
    cr_assert_eq(
        accounts_rig_open(&rig, &(const struct accounts_rig_opts){.path = rekey->file.path,
                                                                  .keys = ACCOUNTS_RIG_KEY}),
        RC_OK);
    for (int i = 0; i < accounts; i++) {
        char user_id[32];
        snprintf(user_id, sizeof user_id, "user-%03d", i);
        /* half of them without a refresh token */
        cr_assert_eq(accounts_rig_link(&rig, user_id, user_id, i % 2 == 0 ? "refresh" : ""), RC_OK);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    cr_assert_eq(loop_init(&rekey->loop, &rekey->clock), RC_OK);
    rekey->work = work_new(&rekey->loop, 1000);
    rekey->log = log_new(-1, LOG_ERROR, &rekey->clock, NULL);
    cr_assert_eq(fernet_keys_parse(SLICE(ACCOUNTS_RIG_OTHER_KEY "," ACCOUNTS_RIG_KEY), &rekey->keys,
                                   problem),
                 RC_OK);
    struct meddler *meddler = &rekey->meddler;
    *meddler = (struct meddler){.backend.ops = &meddling, .loop = &rekey->loop, .get = RC_COUNT};
    for (int i = 0; i < SWAPS_MAX; i++) {
        meddler->swaps[i] = RC_COUNT;
    }
    cr_assert_eq(
        accounts_sqlite_open_beside(&rekey->loop, rekey->file.path, &meddler->real, problem), RC_OK,
        "%s", problem);
}

static void on_done(void *owner, enum rc rc, const char *cause,
                    const struct accounts_rekey_counts *counts) {
    struct rekey *rekey = owner;
    rekey->done++;
    rekey->rc = rc;
    rekey->cause = cause;
    rekey->counts = *counts;
}

static void run(struct rekey *rekey) {
    rekey->done = 0;
    accounts_rekey_start(&(const struct accounts_rekey_opts){.loop = &rekey->loop,
                                                             .work = rekey->work,
                                                             .backend = &rekey->meddler.backend,
                                                             .keys = rekey->keys,
                                                             .log = rekey->log,
                                                             .done = on_done,
                                                             .owner = rekey});
    cr_assert_eq(rekey->done, 0, "never inside of the call");
    loop_run(&rekey->loop);
    cr_assert_eq(rekey->done, 1);
}

static void stop(struct rekey *rekey) {
    rekey->meddler.real->ops->close(rekey->meddler.real, NULL, NULL);
    work_close(rekey->work, NULL, NULL);
    loop_run(&rekey->loop);
    log_free(rekey->log);
    fernet_keys_free(rekey->keys);
    cr_assert_eq(loop_fini(&rekey->loop), RC_OK);
    scratch_free(&rekey->folder);
    CHECK_LEAKS();
}

Test(accounts_rekey, walks_over_all_of_it) {
    static const int sizes[] = {0, 1, 63, 64, 65, 128, 130};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct rekey rekey;
        start(&rekey, sizes[i]);
        run(&rekey);
        cr_assert_eq(rekey.rc, RC_OK);
        cr_assert_eq(rekey.counts.accounts, (uint64_t)sizes[i]);
        cr_assert_eq(rekey.counts.resealed, (uint64_t)sizes[i]);
        run(&rekey);
        cr_assert_eq(rekey.counts.resealed, 0u);
        cr_assert_eq(rekey.counts.current, (uint64_t)sizes[i]);
        stop(&rekey);
    }
}

Test(accounts_rekey, a_row_that_others_write_is_read_again) {
    static const enum rc answers[] = {RC_CONFLICT, RC_STORAGE_UNAVAILABLE};
    for (size_t i = 0; i < 2; i++) {
        struct rekey rekey;
        start(&rekey, 1);
        for (int k = 0; k < 4; k++) {
            rekey.meddler.swaps[k] = answers[i];
        }
        run(&rekey);
        cr_assert_eq(rekey.counts.resealed, 1u, "at the fifth try");
        cr_assert_eq(rekey.counts.failed, 0u);
        stop(&rekey);
    }
}

Test(accounts_rekey, a_row_that_can_never_be_written_is_counted) {
    struct rekey rekey;
    start(&rekey, ACCOUNTS);
    for (int k = 0; k < SWAPS_MAX; k++) {
        rekey.meddler.swaps[k] = RC_CONFLICT;
    }
    rekey.meddler.swap_count = 0;
    run(&rekey);
    cr_assert_eq(rekey.counts.resealed, (uint64_t)ACCOUNTS, "each had more tries");
    stop(&rekey);

    start(&rekey, 1);
    for (int k = 0; k < 5; k++) {
        rekey.meddler.swaps[k] = RC_CONFLICT;
    }
    run(&rekey);
    cr_assert_eq(rekey.counts.failed, 1u);
    cr_assert_eq(rekey.counts.resealed, 0u);
    stop(&rekey);
}

Test(accounts_rekey, a_row_that_is_gone_meanwhile_is_no_failure) {
    struct rekey rekey;
    start(&rekey, 2);
    rekey.meddler.swaps[0] = RC_ABSENT;
    rekey.meddler.swaps[1] = RC_CONFLICT;
    rekey.meddler.get = RC_ABSENT;
    run(&rekey);
    cr_assert_eq(rekey.counts.removed, 2u);
    cr_assert_eq(rekey.counts.failed, 0u);
    stop(&rekey);
}

Test(accounts_rekey, a_row_that_cannot_be_read_again_is_counted) {
    struct rekey rekey;
    start(&rekey, 1);
    rekey.meddler.swaps[0] = RC_CONFLICT;
    rekey.meddler.get = RC_STORAGE_UNAVAILABLE;
    run(&rekey);
    cr_assert_eq(rekey.counts.failed, 1u);
    stop(&rekey);
}

/* What was read by then is still written. */
Test(accounts_rekey, a_store_that_cannot_be_read_ends_it) {
    struct rekey rekey;
    start(&rekey, ACCOUNTS);
    rekey.meddler.fails_read_at = 11;
    run(&rekey);
    cr_assert_eq(rekey.rc, RC_STORAGE_UNAVAILABLE);
    cr_assert_str_eq(rekey.cause, "meddled");
    cr_assert_eq(rekey.counts.resealed, 10u);
    rekey.meddler.fails_read_at = 0;
    run(&rekey);
    cr_assert_eq(rekey.rc, RC_OK);
    cr_assert_eq(rekey.counts.current, 10u);
    cr_assert_eq(rekey.counts.resealed, (uint64_t)ACCOUNTS - 10);
    stop(&rekey);
}

/* The fence looks at both tokens: an account without a refresh token that was linked anew keeps its
 * new access token. */
struct fenced {
    struct accounts_backend_op op;
    int done;
};

static void on_fenced(struct accounts_backend_op *op) {
    LIST_ENTRY(op, struct fenced, op)->done++;
}

Test(accounts_rekey, the_fence_holds_without_a_refresh_token) {
    static const struct {
        const char *access_fence;
        enum rc rc;
    } cases[] = {{"another", RC_CONFLICT}, {"access", RC_OK}, {NULL, RC_OK}};
    struct rekey rekey;
    start(&rekey, 0);
    struct accounts_backend *real = rekey.meddler.real;
    struct fenced put = {.op = {.done = on_fenced, .backend = real}};
    put.op.row = (struct accounts_row){.user_id = SLICE("ada"), .access_token = SLICE("access")};
    real->ops->put(real, &put.op);
    loop_run(&rekey.loop);
    cr_assert_eq(put.op.rc, RC_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fenced fenced = {.op = {.done = on_fenced, .backend = real}};
        fenced.op.row =
            (struct accounts_row){.user_id = SLICE("ada"), .access_token = SLICE("access")};
        fenced.op.access_fence = slice_str(cases[i].access_fence);
        real->ops->swap(real, &fenced.op);
        loop_run(&rekey.loop);
        cr_assert_eq(fenced.done, 1);
        cr_assert_eq(fenced.op.rc, cases[i].rc, "case %zu: %s", i, rc_name(fenced.op.rc));
    }
    stop(&rekey);
}
