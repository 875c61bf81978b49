// SPDX-License-Identifier: MIT
/* Which record stands where two stores know a user, and what a migration does where a store fails
 * it. The command, kills and all kinds of stores are in tests/e2e/migrate.c. */
#include "store/accounts_migrate.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/backend_rig.h"
#include "kit/leaks.h"

enum { FROM, TO };

/* Two stores, of which the second may be one that meddles. */
struct migration {
    struct account_place from;
    struct account_place to;
    struct backend_rig rig;
    struct meddler {
        struct accounts_backend backend;
        struct accounts_backend *real;
        bool fails_ping;
        bool fails_get;
        bool loses_writes;     /* says that it has written, and has not */
        size_t puts;           /* asked of it */
        size_t puts_fail_from; /* this one and all later ones fail; 0: none */
        size_t fails_each_put; /* each n-th; 0: none */
        const char *fails_put_of;
        const char *changes_put_of;
        size_t reads;
        size_t fails_read_at; /* the n-th next; 0: none */
        bool fails_remove;
    } meddler;
    int done;
    struct accounts_migrate_end end;
    char behind[256];
    struct accounts_migrate_counts counts;
};

static struct meddler *from_backend(struct accounts_backend *backend) {
    return LIST_ENTRY(backend, struct meddler, backend);
}

/* By an operation of the real store, so that it ends on a later turn. */
struct answer {
    struct accounts_backend_op ping;
    struct accounts_backend_op *op;
    enum rc rc;
};

static void on_meddled(struct accounts_backend_op *ping) {
    struct answer *answer = LIST_ENTRY(ping, struct answer, ping);
    struct accounts_backend_op *op = answer->op;
    op->rc = answer->rc;
    op->cause = "meddled";
    free(answer);
    op->done(op);
}

static void answer(struct meddler *meddler, struct accounts_backend_op *op, enum rc rc) {
    struct answer *later = calloc(1, sizeof *later);
    later->op = op;
    later->rc = rc;
    later->ping.done = on_meddled;
    meddler->real->ops->ping(meddler->real, &later->ping);
}

static void meddle_ping(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    answer(meddler, op, meddler->fails_ping ? RC_STORAGE_UNAVAILABLE : RC_OK);
}

static void meddle_get(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    if (meddler->fails_get) {
        answer(meddler, op, RC_STORAGE_UNAVAILABLE);
    } else {
        meddler->real->ops->get(meddler->real, op);
    }
}

static bool is_of(struct accounts_backend_op *op, const char *user_id) {
    return user_id != NULL && slice_eq(op->row.user_id, slice_str(user_id));
}

static void meddle_put(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    size_t n = ++meddler->puts;
    if (is_of(op, meddler->fails_put_of) ||
        (meddler->fails_each_put > 0 && n % meddler->fails_each_put == 0) ||
        (meddler->puts_fail_from > 0 && n >= meddler->puts_fail_from)) {
        answer(meddler, op, RC_STORAGE_UNAVAILABLE);
    } else if (meddler->loses_writes) {
        answer(meddler, op, RC_OK);
    } else {
        op->row.synced_ms += is_of(op, meddler->changes_put_of) ? 1 : 0;
        meddler->real->ops->put(meddler->real, op);
    }
}

static void meddle_next(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    if (++meddler->reads == meddler->fails_read_at) {
        answer(meddler, op, RC_STORAGE_UNAVAILABLE);
    } else {
        meddler->real->ops->next(meddler->real, op);
    }
}

static void meddle_remove(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct meddler *meddler = from_backend(backend);
    if (meddler->fails_remove) {
        answer(meddler, op, RC_STORAGE_UNAVAILABLE);
    } else {
        meddler->real->ops->remove(meddler->real, op);
    }
}

static const struct accounts_backend_ops meddling = {.ping = meddle_ping,
                                                     .get = meddle_get,
                                                     .put = meddle_put,
                                                     .next = meddle_next,
                                                     .remove = meddle_remove};

static void start(struct migration *migration) {
    struct backend_rig maker;
    *migration = (struct migration){.done = 0};
    account_place_make(&migration->from, &account_place_sqlite);
    account_place_make(&migration->to, &account_place_sqlite);
    backend_rig_open(&maker, &migration->from, 0); /* a command makes no file */
    backend_rig_close(&maker);
    backend_rig_open_both(&migration->rig, &migration->from, &migration->to);
    migration->meddler.backend.ops = &meddling;
    migration->meddler.real = migration->rig.backends[TO];
}

static void finish(struct migration *migration) {
    backend_rig_close(&migration->rig);
    account_place_drop(&migration->from);
    account_place_drop(&migration->to);
    CHECK_LEAKS();
}

static void on_done(void *owner, const struct accounts_migrate_end *end,
                    const struct accounts_migrate_counts *counts) {
    struct migration *migration = owner;
    migration->done++;
    migration->end = *end;
    migration->counts = *counts;
    snprintf(migration->behind, sizeof migration->behind, "%.*s", SLICE_ARGS(end->behind));
    loop_stop(&migration->rig.loop);
}

static struct accounts_migrate_opts opts_of(struct migration *migration, bool prunes) {
    return (struct accounts_migrate_opts){
        .loop = &migration->rig.loop,
        .from = migration->rig.backends[FROM],
        .to = &migration->meddler.backend,
        .log = migration->rig.log,
        .prunes = prunes,
        .done = on_done,
        .owner = migration,
    };
}

static enum rc run_opts(struct migration *migration, const struct accounts_migrate_opts *opts) {
    migration->done = 0;
    accounts_migrate_start(opts);
    cr_assert_eq(migration->done, 0, "done before the call has returned");
    loop_run(&migration->rig.loop);
    cr_assert_eq(migration->done, 1);
    return migration->end.rc;
}

static enum rc run(struct migration *migration, bool prunes) {
    struct accounts_migrate_opts opts = opts_of(migration, prunes);
    return run_opts(migration, &opts);
}

static struct accounts_row make_row(const char *user_id) {
    return (struct accounts_row){
        .user_id = slice_str(user_id),
        .audible_user_id = SLICE("amzn1.account.TEST"),
        .access_token = SLICE("sealed-access"),
        .refresh_token = SLICE("sealed-refresh"),
        .expires_ms = 3000,
        .connected_ms = 1000,
        .synced_ms = 2000,
        .sync_status = ACCOUNT_SYNC_SYNCED,
    };
}

static void put(struct migration *migration, size_t which, const struct accounts_row *row) {
    cr_assert_eq(backend_rig_put(&migration->rig, which, row), RC_OK);
}

static void fill(struct migration *migration, size_t which, int count) {
    for (int i = 0; i < count; i++) {
        char user_id[32];
        snprintf(user_id, sizeof user_id, "user-%03d", i);
        struct accounts_row row = make_row(user_id);
        put(migration, which, &row);
    }
}

#define EXPECT_COUNTS(...)                                                                         \
    do {                                                                                           \
        const struct accounts_migrate_counts wanted = {__VA_ARGS__};                               \
        cr_assert_arr_eq(&migration.counts, &wanted, sizeof wanted, "%d %d %d %d %d %d %d %d",     \
                         (int)migration.counts.accounts, (int)migration.counts.copied,             \
                         (int)migration.counts.replaced, (int)migration.counts.equal,              \
                         (int)migration.counts.kept, (int)migration.counts.failed,                 \
                         (int)migration.counts.others, (int)migration.counts.pruned);              \
    } while (0)

/* -- which record stands -- */

Test(accounts_migrate, the_newer_record_stands) {
    struct migration migration;
    const struct {
        const char *user_id;
        int64_t connected_ms, expires_ms, synced_ms; /* added to the target's */
        bool stands;                                 /* the target's */
    } cases[] = {
        {"connected-later", 1, 0, 0, true},    {"connected-later-all-else-older", 1, -1, -1, true},
        {"connected-before", -1, 0, 0, false}, {"connected-before-all-else-newer", -1, 1, 1, false},
        {"refreshed-later", 0, 1, 0, true},    {"refreshed-later-synced-before", 0, 1, -1, true},
        {"refreshed-before", 0, -1, 0, false}, {"refreshed-before-synced-later", 0, -1, 1, false},
        {"synced-later", 0, 0, 1, true},       {"synced-before", 0, 0, -1, false},
        {"other-tokens-only", 0, 0, 0, false},
    };
    enum { CASES = sizeof cases / sizeof cases[0], STAND = 4 };
    start(&migration);
    for (size_t i = 0; i < CASES; i++) {
        struct accounts_row row = make_row(cases[i].user_id);
        put(&migration, FROM, &row);
        row.access_token = SLICE("other-access");
        row.connected_ms += cases[i].connected_ms;
        row.expires_ms += cases[i].expires_ms;
        row.synced_ms += cases[i].synced_ms;
        put(&migration, TO, &row);
    }
    cr_assert_eq(run(&migration, false), RC_OK);
    EXPECT_COUNTS(.accounts = CASES, .replaced = CASES - STAND - 1, .kept = STAND + 1);
    for (size_t i = 0; i < CASES; i++) {
        struct backend_call call;
        cr_assert_eq(backend_rig_get(&migration.rig, TO, &call, slice_str(cases[i].user_id)),
                     RC_OK);
        cr_assert_eq(slice_eq(call.op.row.access_token, SLICE("other-access")), cases[i].stands,
                     "%s", cases[i].user_id);
        if (!cases[i].stands) {
            struct accounts_row row = make_row(cases[i].user_id);
            backend_rig_expect_row(&call.op.row, &row);
        }
        buf_fini(&call.op.bytes);
    }
    cr_assert_eq(run(&migration, false), RC_OK);
    EXPECT_COUNTS(.accounts = CASES, .equal = CASES - STAND - 1, .kept = STAND + 1);
    finish(&migration);
}

/* Any field that differs makes a record another one. */
Test(accounts_migrate, equal_is_equal_in_every_field) {
    struct migration migration;
    start(&migration);
    struct accounts_row rows[9];
    for (size_t i = 0; i < 9; i++) {
        static const char *const ids[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8"};
        rows[i] = make_row(ids[i]);
        rows[i].last_sync_error = SLICE("");
        put(&migration, FROM, &rows[i]);
    }
    rows[0].audible_user_id = SLICE_NULL;
    rows[1].access_token = SLICE("sealed-Access");
    rows[2].refresh_token = SLICE_NULL;
    rows[3].last_sync_error = SLICE_NULL;
    rows[4].expires_ms--;
    rows[5].connected_ms--;
    rows[6].synced_ms--;
    rows[7].sync_status = ACCOUNT_SYNC_FAILED;
    for (size_t i = 0; i < 9; i++) {
        put(&migration, TO, &rows[i]);
    }
    cr_assert_eq(run(&migration, false), RC_OK);
    EXPECT_COUNTS(.accounts = 9, .replaced = 8, .equal = 1);
    cr_assert_eq(run(&migration, false), RC_OK);
    EXPECT_COUNTS(.accounts = 9, .equal = 9);
    finish(&migration);
}

/* -- whom only the target knows -- */

Test(accounts_migrate, others_are_counted_and_pruned_where_asked) {
    struct migration migration;
    start(&migration);
    struct accounts_row first = make_row("an-other");
    struct accounts_row last = make_row("with-another");
    fill(&migration, FROM, 70);
    put(&migration, TO, &first);
    put(&migration, TO, &last);
    cr_assert_eq(run(&migration, false), RC_OK);
    EXPECT_COUNTS(.accounts = 70, .copied = 70, .others = 2);
    backend_rig_expect(&migration.rig, TO, first.user_id, &first);
    migration.meddler.fails_remove = true;
    cr_assert_eq(run(&migration, true), RC_OK);
    EXPECT_COUNTS(.accounts = 70, .equal = 70, .failed = 2, .others = 2);
    migration.meddler.fails_remove = false;
    cr_assert_eq(run(&migration, true), RC_OK);
    EXPECT_COUNTS(.accounts = 70, .equal = 70, .pruned = 2);
    backend_rig_expect(&migration.rig, TO, first.user_id, NULL);
    backend_rig_expect(&migration.rig, TO, last.user_id, NULL);
    struct accounts_row row = make_row("user-069");
    backend_rig_expect(&migration.rig, TO, row.user_id, &row);
    finish(&migration);
}

Test(accounts_migrate, an_empty_source_prunes_nothing) {
    struct migration migration;
    start(&migration);
    fill(&migration, TO, 3);
    cr_assert_eq(run(&migration, true), RC_OK);
    EXPECT_COUNTS(.others = 3);
    finish(&migration);
}

/* No answer is not "no such account". */
Test(accounts_migrate, a_source_that_does_not_answer_prunes_nothing) {
    struct migration migration;
    start(&migration);
    struct accounts_row other = make_row("an-other");
    fill(&migration, FROM, 3);
    put(&migration, TO, &other);
    struct accounts_migrate_opts opts = opts_of(&migration, true);
    migration.meddler.real = opts.from;
    migration.meddler.fails_get = true;
    opts.from = &migration.meddler.backend;
    opts.to = migration.rig.backends[TO];
    cr_assert_eq(run_opts(&migration, &opts), RC_STORAGE_UNAVAILABLE);
    EXPECT_COUNTS(.accounts = 3, .copied = 3, .failed = 4);
    cr_assert_not(migration.end.is_target);
    backend_rig_expect(&migration.rig, TO, other.user_id, &other);
    finish(&migration);
}

/* -- stores that fail -- */

static void on_progress(void *owner, const struct accounts_migrate_counts *counts) {
    struct migration *migration = owner;
    cr_assert_leq(counts->accounts, 200u);
    migration->meddler.puts_fail_from = counts->accounts >= 64 ? 1 : 0;
}

Test(accounts_migrate, a_target_that_is_not_there) {
    struct migration migration;
    start(&migration);
    fill(&migration, FROM, 200);
    migration.meddler.fails_ping = true;
    cr_assert_eq(run(&migration, false), RC_STORAGE_UNAVAILABLE);
    cr_assert(migration.end.is_target);
    cr_assert_str_eq(migration.end.cause, "meddled");
    EXPECT_COUNTS(.accounts = 0);
    migration.meddler.fails_ping = false;
    migration.meddler.fails_get = true;
    cr_assert_eq(run(&migration, false), RC_STORAGE_UNAVAILABLE);
    cr_assert(migration.end.is_target);
    EXPECT_COUNTS(.accounts = 64, .failed = 31); /* sixteen, and who came in their places */
    migration.meddler.fails_get = false;
    struct accounts_migrate_opts opts = opts_of(&migration, false);
    opts.progress = on_progress; /* goes away after a batch */
    cr_assert_eq(run_opts(&migration, &opts), RC_STORAGE_UNAVAILABLE);
    EXPECT_COUNTS(.accounts = 128, .copied = 64, .failed = 31);
    cr_assert_str_eq(migration.behind, "user-127");
    migration.meddler.puts_fail_from = 0;
    cr_assert_eq(run(&migration, false), RC_OK, "and is there again");
    EXPECT_COUNTS(.accounts = 200, .copied = 136, .equal = 64);
    finish(&migration);
}

Test(accounts_migrate, accounts_that_can_not_be_written_keep_no_others) {
    struct migration migration;
    start(&migration);
    fill(&migration, FROM, 130);
    migration.meddler.fails_put_of = "user-007";
    migration.meddler.changes_put_of = "user-100";
    cr_assert_eq(run(&migration, false), RC_OK);
    EXPECT_COUNTS(.accounts = 130, .copied = 128, .failed = 2);
    cr_assert_str_eq(migration.end.cause, "meddled", "the first");
    migration.meddler.fails_put_of = NULL;
    cr_assert_eq(run(&migration, false), RC_OK);
    EXPECT_COUNTS(.accounts = 130, .copied = 1, .equal = 128, .kept = 1);
    finish(&migration);
}

Test(accounts_migrate, a_target_that_takes_little_is_given_up) {
    struct migration migration;
    start(&migration);
    fill(&migration, FROM, 640);
    migration.meddler.fails_each_put = 5;
    cr_assert_eq(run(&migration, false), RC_STORAGE_UNAVAILABLE);
    EXPECT_COUNTS(.accounts = 512, .copied = 410, .failed = 102);
    finish(&migration);
}

Test(accounts_migrate, what_was_not_written_is_noticed) {
    struct migration migration;
    start(&migration);
    fill(&migration, FROM, 10);
    struct accounts_row row = make_row("user-003");
    row.connected_ms--;
    put(&migration, TO, &row);
    migration.meddler.loses_writes = true;
    cr_assert_eq(run(&migration, false), RC_STORAGE_UNAVAILABLE);
    EXPECT_COUNTS(.accounts = 10, .failed = 10);
    cr_assert_not_null(strstr(migration.end.cause, "after it was written"));
    finish(&migration);
}

Test(accounts_migrate, a_walk_that_can_not_go_on_says_where) {
    struct migration migration;
    start(&migration);
    fill(&migration, FROM, 100);
    migration.meddler.fails_read_at = 33; /* of the second walk, over the target */
    cr_assert_eq(run(&migration, false), RC_STORAGE_UNAVAILABLE);
    EXPECT_COUNTS(.accounts = 100, .copied = 100);
    cr_assert(migration.end.is_target);
    cr_assert_str_eq(migration.behind, "user-031");
    /* the other way round: the first walk */
    migration.meddler.reads = 0;
    struct accounts_migrate_opts opts = opts_of(&migration, false);
    opts.to = opts.from;
    opts.from = &migration.meddler.backend;
    cr_assert_eq(run_opts(&migration, &opts), RC_STORAGE_UNAVAILABLE);
    EXPECT_COUNTS(.accounts = 32, .equal = 32);
    cr_assert_not(migration.end.is_target);
    cr_assert_str_eq(migration.behind, "user-031");
    finish(&migration);
}
