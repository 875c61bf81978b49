// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/accounts_rig.h"
#include "kit/leaks.h"
#include "kit/scratch.h"
#include "store/accounts_backend.h"

static void exec_sql(const char *path, const char *sql) {
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void assert_refused(const char *path, const char *sentence) {
    struct accounts_rig rig;
    enum rc rc = accounts_rig_open(&rig, &(struct accounts_rig_opts){.path = path});
    cr_assert_eq(rc, RC_IO, "%s", rc_name(rc));
    cr_assert_not_null(strstr(rig.problem, sentence), "'%s' says nothing of '%s'", rig.problem,
                       sentence);
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

static void assert_works(const char *path) {
    struct accounts_rig rig;
    enum rc rc = accounts_rig_open(&rig, &(struct accounts_rig_opts){.path = path});
    cr_assert_eq(rc, RC_OK, "%s: %s", path, rig.problem);
    cr_assert_eq(accounts_rig_link(&rig, "u", "a", "r"), RC_OK, "%s", path);
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0, "%s is not where it should be", path);
    cr_assert_gt(status.st_size, 0, "%s", path);
}

static unsigned mode_of(const char *path) {
    struct stat status;
    cr_assert_eq(stat(path, &status), 0, "%s", path);
    return status.st_mode & 07777;
}

Test(accounts_sqlite, files_are_their_owners_alone) {
    struct scratch folder = scratch_new();
    struct scratch data = scratch_file(&folder, "data");
    struct scratch file = scratch_file(&data, "a.db");
    static const char *const names[] = {"a.db", "a.db-wal", "a.db-shm", "a.db.lock"};
    struct accounts_rig rig;
    umask(0);
    cr_assert_eq(accounts_rig_open(&rig, &(struct accounts_rig_opts){.path = file.path}), RC_OK);
    cr_assert_eq(accounts_rig_link(&rig, "u", "a", "r"), RC_OK);
    cr_assert_eq(mode_of(data.path), 0700);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_eq(mode_of(scratch_file(&data, names[i]).path), 0600, "%s", names[i]);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    cr_assert_eq(chmod(file.path, 0664), 0);
    assert_works(file.path);
    cr_assert_eq(mode_of(file.path), 0600, "rights of others are taken away");
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts_sqlite, a_path_is_a_path) {
    struct scratch folder = scratch_new();
    static const char *const names[] = {"a?mode=memory", "b%41.db",  "c#d&e=f.db", "g h.db",
                                        "file:i.db",     ":memory:", "\xC3\xA4.db"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_works(scratch_file(&folder, names[i]).path);
    }
    cr_assert_eq(chdir(folder.path), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_eq(unlink(names[i]), 0);
        assert_works(names[i]);
    }
    cr_assert_eq(chdir("/"), 0);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts_sqlite, one_file_has_one_server) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    cr_assert_eq(accounts_rig_open(&rig, &(struct accounts_rig_opts){.path = file.path}), RC_OK);
    assert_refused(file.path, "another server");
    cr_assert_eq(accounts_rig_link(&rig, "u", "a", "r"), RC_OK, "the first is not disturbed");
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    assert_works(file.path);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts_sqlite, refuses_what_is_not_its_own_and_says_why) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "newer.db");
    assert_works(file.path);
    exec_sql(file.path, "PRAGMA user_version = 999");
    assert_refused(file.path, "newer Latchkey");
    exec_sql(file.path, "PRAGMA user_version = 1");
    assert_works(file.path);

    file = scratch_file(&folder, "foreign.db");
    exec_sql(file.path, "CREATE TABLE t (x)");
    assert_refused(file.path, "something else");

    file = scratch_file(&folder, "text.db");
    FILE *text = fopen(file.path, "w");
    for (int i = 0; i < 200; i++) {
        fputs("this is no database\n", text);
    }
    fclose(text);
    assert_refused(file.path, "not a database");

    file = scratch_file(&folder, "without_its_table.db");
    assert_works(file.path);
    exec_sql(file.path, "ALTER TABLE accounts RENAME TO others");
    assert_refused(file.path, "can't be used");

    file = scratch_file(&folder, "locked.db");
    cr_assert_eq(mkdir(scratch_file(&folder, "locked.db.lock").path, 0700), 0);
    assert_refused(file.path, "locked.db.lock can't be opened");

    assert_refused(folder.path, "can't be opened");
    assert_refused(scratch_file(&folder, "no/such/folder.db").path, "can't be made");
    assert_refused("/dev/null", "regular file");
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- what the front does not use yet: swap, next -- */

struct backend_call {
    struct accounts_backend_op op;
    int calls;
};

static void on_done(struct accounts_backend_op *op) {
    LIST_ENTRY(op, struct backend_call, op)->calls++;
}

struct raw {
    struct clock clock;
    struct loop loop;
    struct accounts_backend *backend;
};

static void open_raw(struct raw *raw, const char *path) {
    char problem[ACCOUNTS_PROBLEM_BYTES];
    *raw = (struct raw){0};
    cr_assert_eq(loop_init(&raw->loop, &raw->clock), RC_OK);
    cr_assert_eq(accounts_sqlite_open(&raw->loop, path, &raw->backend, problem), RC_OK, "%s",
                 problem);
}

static void close_raw(struct raw *raw) {
    raw->backend->ops->close(raw->backend, NULL, NULL);
    loop_run(&raw->loop);
    cr_assert_eq(loop_fini(&raw->loop), RC_OK);
}

typedef void backend_fn(struct accounts_backend *backend, struct accounts_backend_op *op);

static enum rc run(struct raw *raw, backend_fn *fn, struct backend_call *call) {
    call->op.done = on_done;
    call->calls = 0;
    fn(raw->backend, &call->op);
    cr_assert_eq(call->calls, 0);
    loop_run(&raw->loop);
    cr_assert_eq(call->calls, 1);
    return call->op.rc;
}

static struct accounts_row make_row(const char *user_id, const char *refresh_token) {
    return (struct accounts_row){
        .user_id = slice_str(user_id),
        .access_token = SLICE("access"),
        .refresh_token = slice_str(refresh_token),
        .last_sync_error = SLICE(""),
        .expires_ms = 123456789012345,
        .connected_ms = 1,
        .synced_ms = 2,
        .sync_status = ACCOUNT_SYNC_FAILED,
    };
}

static enum rc put(struct raw *raw, const char *user_id, const char *refresh_token) {
    struct backend_call call = {.op.row = make_row(user_id, refresh_token)};
    return run(raw, raw->backend->ops->put, &call);
}

static enum rc swap(struct raw *raw, const char *user_id, const char *refresh_token,
                    const char *fence) {
    struct backend_call call = {.op.row = make_row(user_id, refresh_token),
                                .op.fence = slice_str(fence)};
    return run(raw, raw->backend->ops->swap, &call);
}

Test(accounts_sqlite, swap_is_fenced_by_the_refresh_token) {
    struct scratch folder = scratch_new();
    struct raw raw;
    open_raw(&raw, scratch_file(&folder, "a.db").path);
    cr_assert_eq(swap(&raw, "u", "r1", "r0"), RC_ABSENT);
    cr_assert_eq(put(&raw, "u", "r0"), RC_OK);
    cr_assert_eq(swap(&raw, "u", "r1", "r0"), RC_OK);
    cr_assert_eq(swap(&raw, "u", "r2", "r0"), RC_CONFLICT);
    cr_assert_eq(swap(&raw, "u", "r2", NULL), RC_CONFLICT);
    cr_assert_eq(swap(&raw, "u", NULL, "r1"), RC_OK, "to no token");
    cr_assert_eq(swap(&raw, "u", "r3", "r1"), RC_CONFLICT);
    cr_assert_eq(swap(&raw, "u", "r3", NULL), RC_OK, "from no token");
    struct backend_call call = {.op.row.user_id = SLICE("u")};
    buf_init(&call.op.bytes, 4096);
    cr_assert_eq(run(&raw, raw.backend->ops->get, &call), RC_OK);
    cr_assert(slice_eq(call.op.row.refresh_token, SLICE("r3")));
    cr_assert(slice_is_null(call.op.row.audible_user_id));
    cr_assert(!slice_is_null(call.op.row.last_sync_error), "empty is not absent");
    cr_assert_eq(call.op.row.last_sync_error.len, 0);
    cr_assert_eq(call.op.row.expires_ms, 123456789012345);
    cr_assert_eq(call.op.row.sync_status, ACCOUNT_SYNC_FAILED);
    buf_fini(&call.op.bytes);
    close_raw(&raw);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts_sqlite, next_scans_all_in_the_order_of_bytes) {
    static const char *const ids[] = {"", "A", "Z", "a", "aa", "b", "\xC3\xA4"};
    struct scratch folder = scratch_new();
    struct raw raw;
    open_raw(&raw, scratch_file(&folder, "a.db").path);
    for (size_t i = sizeof ids / sizeof ids[0]; i-- > 1;) {
        cr_assert_eq(put(&raw, ids[i], "r"), RC_OK);
    }
    struct backend_call call = {.op.row.user_id = SLICE("")};
    buf_init(&call.op.bytes, 4096);
    for (size_t i = 1; i < sizeof ids / sizeof ids[0]; i++) {
        cr_assert_eq(run(&raw, raw.backend->ops->next, &call), RC_OK, "%zu", i);
        cr_assert(slice_eq(call.op.row.user_id, slice_str(ids[i])), "%zu: %.*s", i,
                  SLICE_ARGS(call.op.row.user_id));
    }
    cr_assert_eq(run(&raw, raw.backend->ops->next, &call), RC_ABSENT);
    buf_fini(&call.op.bytes);
    close_raw(&raw);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts_sqlite, a_row_that_is_larger_than_its_buffer_is_a_failure) {
    struct scratch folder = scratch_new();
    struct raw raw;
    open_raw(&raw, scratch_file(&folder, "a.db").path);
    cr_assert_eq(put(&raw, "u", "a-refresh-token-of-some-length"), RC_OK);
    struct backend_call call = {.op.row.user_id = SLICE("u")};
    buf_init(&call.op.bytes, 16);
    cr_assert_eq(run(&raw, raw.backend->ops->get, &call), RC_STORAGE_UNAVAILABLE);
    cr_assert_not_null(call.op.cause);
    buf_fini(&call.op.bytes);
    close_raw(&raw);
    scratch_free(&folder);
    CHECK_LEAKS();
}
