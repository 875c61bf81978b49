// SPDX-License-Identifier: MIT
#include "store/accounts.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "kit/accounts_rig.h"
#include "kit/leaks.h"
#include "kit/scratch.h"

#define ACCESS "access-token-of-a-test"
#define REFRESH "refresh-token-of-a-test"

static void open_rig(struct accounts_rig *rig, const struct accounts_rig_opts *opts) {
    cr_assert_eq(accounts_rig_open(rig, opts), RC_OK, "%s", rig->problem);
}

static void close_rig(struct accounts_rig *rig) {
    cr_assert_eq(accounts_rig_close(rig), RC_OK, "something was left open");
}

static void assert_rc(enum rc got, enum rc expected, const char *what) {
    cr_assert_eq(got, expected, "%s: %s, expected %s", what, rc_name(got), rc_name(expected));
}

static int64_t metric(struct accounts_rig *rig, enum metric which) {
    return metrics_get(&rig->metrics, which);
}

/* Runs SQL beside the server; the one value that it brings is put into `out` where that is given.
 */
static void run_sql(const char *path, const char *sql, char *out, size_t bytes) {
    sqlite3 *db;
    sqlite3_stmt *statement;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(db));
    int code = sqlite3_step(statement);
    cr_assert(code == SQLITE_ROW || code == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
    if (out != NULL) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        snprintf(out, bytes, "%s", text != NULL ? text : "");
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

static bool file_holds(const char *path, const char *text) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    char *bytes = mem_alloc(16 * 1024 * 1024);
    size_t len = fread(bytes, 1, 16 * 1024 * 1024, file);
    fclose(file);
    bool found = memmem(bytes, len, text, strlen(text)) != NULL;
    mem_free(bytes);
    return found;
}

static size_t lines_with(const char *path, const char *text) {
    char line[LIMIT_LOG_LINE_BYTES + 2];
    size_t count = 0;
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        count += strstr(line, text) != NULL;
    }
    fclose(file);
    return count;
}

/* -- what is stored comes back, and only that -- */

Test(accounts, come_back_as_linked) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path, .keys = ACCOUNTS_RIG_KEY});
    assert_rc(accounts_rig_ask(&rig, accounts_get, "u1").rc, RC_ABSENT, "before");
    assert_rc(accounts_rig_link(&rig, "u1", ACCESS, REFRESH), RC_OK, "link");
    assert_rc(accounts_rig_link(&rig, "u2", "other", NULL), RC_OK, "link");

    struct accounts_rig_result got = accounts_rig_ask(&rig, accounts_get, "u1");
    assert_rc(got.rc, RC_OK, "get");
    cr_assert(got.connected && got.synced_ms > 0 && got.calls == 1);
    cr_assert_str_eq(got.audible_user_id, "amzn1.account.TEST");
    cr_assert_str_eq(got.access_token, "", "get opens nothing");

    got = accounts_rig_ask(&rig, accounts_open, "u1");
    assert_rc(got.rc, RC_OK, "open");
    cr_assert_str_eq(got.access_token, ACCESS);
    cr_assert_str_eq(got.refresh_token, REFRESH);
    cr_assert(fernet_is_shaped(slice_str(got.sealed_refresh)));
    cr_assert(got.sealed);

    struct accounts_rig_result read = accounts_rig_ask(&rig, accounts_read, "u1");
    assert_rc(read.rc, RC_OK, "read");
    cr_assert_str_eq(read.sealed_refresh, got.sealed_refresh);
    cr_assert_str_eq(read.audible_user_id, "amzn1.account.TEST");
    cr_assert_str_eq(read.access_token, "", "read opens nothing");

    assert_rc(accounts_rig_link(&rig, "u1", "second", ""), RC_OK, "link again");
    got = accounts_rig_ask(&rig, accounts_open, "u1");
    cr_assert_str_eq(got.access_token, "second");
    cr_assert_str_eq(got.refresh_token, "");
    cr_assert_str_eq(got.sealed_refresh, "");

    got = accounts_rig_ask(&rig, accounts_remove, "u2");
    assert_rc(got.rc, RC_OK, "remove");
    cr_assert_str_eq(got.access_token, "other");
    cr_assert_str_eq(got.audible_user_id, "amzn1.account.TEST");
    assert_rc(accounts_rig_ask(&rig, accounts_remove, "u2").rc, RC_ABSENT, "remove again");
    assert_rc(accounts_rig_ask(&rig, accounts_open, "u2").rc, RC_ABSENT, "open what is gone");
    assert_rc(accounts_rig_ping(&rig), RC_OK, "ping");
    cr_assert_eq(metric(&rig, METRIC_LINKS), 3);
    cr_assert_eq(metric(&rig, METRIC_UNLINKS), 1);
    cr_assert_eq(metric(&rig, METRIC_STORE_FAILURES), 0);
    close_rig(&rig);

    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path, .keys = ACCOUNTS_RIG_KEY});
    got = accounts_rig_ask(&rig, accounts_open, "u1");
    cr_assert_str_eq(got.access_token, "second", "after a restart");
    close_rig(&rig);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts, complete_once_and_never_inside_the_call) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    static struct accounts_rig_op ops[6];
    open_rig(&rig, &(struct accounts_rig_opts){
                       .path = file.path, .keys = ACCOUNTS_RIG_KEY, .cache_max = 10});
    assert_rc(accounts_rig_link(&rig, "cached", ACCESS, REFRESH), RC_OK, "link");
    char long_id[LIMIT_USER_ID_BYTES + 2];
    memset(long_id, 'x', sizeof long_id);
    long_id[sizeof long_id - 1] = '\0';
    accounts_rig_start_link(&rig, &ops[0], "u1", ACCESS);
    accounts_rig_start(&rig, &ops[1], accounts_get, "cached");
    accounts_rig_start(&rig, &ops[2], accounts_get, "u1");
    accounts_rig_start(&rig, &ops[3], accounts_open, "u1");
    accounts_rig_start(&rig, &ops[4], accounts_remove, long_id);
    accounts_rig_start_link(&rig, &ops[5], long_id, ACCESS);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(ops[i].result.calls, 0, "%zu completed inside its call", i);
    }
    loop_run(&rig.loop);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(ops[i].result.calls, 1, "%zu", i);
    }
    assert_rc(ops[1].result.rc, RC_OK, "a cached view");
    cr_assert_str_eq(ops[1].result.audible_user_id, "amzn1.account.TEST");
    assert_rc(ops[4].result.rc, RC_ABSENT, "no such id can be there");
    assert_rc(ops[5].result.rc, RC_STORAGE_UNAVAILABLE, "no such id can be stored");
    close_rig(&rig);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts, have_caps_that_are_answered) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    char *token = mem_alloc(LIMIT_TOKEN_BYTES + 2);
    memset(token, 't', LIMIT_TOKEN_BYTES + 1);
    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path, .keys = ACCOUNTS_RIG_KEY});
    token[LIMIT_TOKEN_BYTES + 1] = '\0';
    assert_rc(accounts_rig_link(&rig, "u", token, "r"), RC_STORAGE_UNAVAILABLE, "access");
    assert_rc(accounts_rig_link(&rig, "u", "a", token), RC_STORAGE_UNAVAILABLE, "refresh");
    assert_rc(accounts_rig_ask(&rig, accounts_get, "u").rc, RC_ABSENT, "nothing was stored");
    token[LIMIT_TOKEN_BYTES] = '\0';
    assert_rc(accounts_rig_link(&rig, "u", token, token), RC_OK, "the longest");
    assert_rc(accounts_rig_ask(&rig, accounts_open, "u").rc, RC_OK, "the longest, opened");
    close_rig(&rig);
    mem_free(token);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- sealed and plain -- */

Test(accounts, tokens_are_sealed_at_rest) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    static const char *const tokens[] = {ACCESS, REFRESH};
    struct accounts_rig rig;
    char stored[1024];
    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path, .keys = ACCOUNTS_RIG_KEY});
    assert_rc(accounts_rig_link(&rig, "u1", ACCESS, REFRESH), RC_OK, "link");
    for (int round = 0; round < 2; round++) {
        bool seen = false; /* the search itself works */
        for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
            char name[16];
            snprintf(name, sizeof name, "a.db%s", suffixes[i]);
            struct scratch part = scratch_file(&folder, name);
            seen = seen || file_holds(part.path, "amzn1.account.TEST");
            for (size_t t = 0; t < sizeof tokens / sizeof tokens[0]; t++) {
                cr_assert(!file_holds(part.path, tokens[t]), "%s holds %s", name, tokens[t]);
            }
        }
        cr_assert(seen, "the account is in one of the files");
        if (round == 0) {
            close_rig(&rig); /* all is in the file itself then */
        }
    }
    run_sql(file.path, "SELECT access_token FROM accounts", stored, sizeof stored);
    cr_assert(fernet_is_shaped(slice_str(stored)));
    run_sql(file.path, "SELECT refresh_token FROM accounts", stored, sizeof stored);
    cr_assert(fernet_is_shaped(slice_str(stored)));
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts, without_a_key_are_stored_plain_and_say_so) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct scratch lines = scratch_file(&folder, "log");
    FILE *log = fopen(lines.path, "w");
    struct accounts_rig rig;
    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path, .log_fd = fileno(log)});
    assert_rc(accounts_rig_link(&rig, "u1", ACCESS, REFRESH), RC_OK, "link");
    cr_assert_eq(metric(&rig, METRIC_TOKENS_STORED_PLAIN), 2);
    struct accounts_rig_result got = accounts_rig_ask(&rig, accounts_open, "u1");
    assert_rc(got.rc, RC_OK, "open");
    cr_assert_str_eq(got.access_token, ACCESS);
    cr_assert_str_eq(got.refresh_token, REFRESH);
    cr_assert(!got.sealed);
    cr_assert_eq(metric(&rig, METRIC_TOKENS_READ_PLAIN), 2);
    close_rig(&rig);
    fclose(log);
    cr_assert_eq(lines_with(lines.path, "\"token_stored_plain\""), 1);
    cr_assert_eq(lines_with(lines.path, "\"plaintext_token_read\""), 1);
    cr_assert_eq(lines_with(lines.path, "\"user_id\":\"u1\""), 2);
    cr_assert_eq(lines_with(lines.path, "-token-of-a-test"), 0, "no line holds a token");
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts, legacy_plaintext_is_used_but_what_looks_sealed_never_is) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path, .keys = ACCOUNTS_RIG_OTHER_KEY});
    assert_rc(accounts_rig_link(&rig, "sealed", ACCESS, REFRESH), RC_OK, "link");
    assert_rc(accounts_rig_link(&rig, "legacy", ACCESS, REFRESH), RC_OK, "link");
    assert_rc(accounts_rig_link(&rig, "half", ACCESS, REFRESH), RC_OK, "link");
    close_rig(&rig);
    run_sql(file.path,
            "UPDATE accounts SET access_token = 'plain-access', refresh_token = 'plain-refresh'"
            " WHERE user_id = 'legacy'",
            NULL, 0);
    run_sql(file.path, "UPDATE accounts SET access_token = 'plain' WHERE user_id = 'half'", NULL,
            0);

    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path, .keys = ACCOUNTS_RIG_KEY});
    struct accounts_rig_result got = accounts_rig_ask(&rig, accounts_open, "legacy");
    assert_rc(got.rc, RC_OK, "legacy");
    cr_assert_str_eq(got.access_token, "plain-access");
    cr_assert_str_eq(got.refresh_token, "plain-refresh");
    cr_assert_eq(metric(&rig, METRIC_TOKENS_READ_PLAIN), 2);
    static const char *const unopened[] = {"sealed", "half"};
    for (size_t i = 0; i < 2; i++) {
        got = accounts_rig_ask(&rig, accounts_open, unopened[i]);
        assert_rc(got.rc, RC_NO_KEY_OPENS, unopened[i]);
        cr_assert_str_eq(got.access_token, "");
        cr_assert_str_eq(got.refresh_token, "");
    }
    cr_assert_eq(metric(&rig, METRIC_OPEN_FAILURES), 3);
    assert_rc(accounts_rig_ask(&rig, accounts_remove, "sealed").rc, RC_NO_KEY_OPENS, "remove");
    assert_rc(accounts_rig_ask(&rig, accounts_get, "sealed").rc, RC_ABSENT, "is removed");
    close_rig(&rig);

    open_rig(&rig, &(struct accounts_rig_opts){.path = file.path}); /* no key at all */
    assert_rc(accounts_rig_ask(&rig, accounts_open, "half").rc, RC_NO_KEY_OPENS, "no key");
    close_rig(&rig);

    open_rig(&rig, &(struct accounts_rig_opts){
                       .path = file.path, .keys = ACCOUNTS_RIG_KEY "," ACCOUNTS_RIG_OTHER_KEY});
    got = accounts_rig_ask(&rig, accounts_open, "half");
    assert_rc(got.rc, RC_OK, "the second key opens");
    cr_assert_str_eq(got.refresh_token, REFRESH);
    close_rig(&rig);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- the cache, over a backend that answers when the test says so -- */

struct held {
    struct accounts_backend backend;
    struct accounts_backend_op *ops[8];
    int count;
};

static void hold(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct held *held = LIST_ENTRY(backend, struct held, backend);
    held->ops[held->count++] = op;
}

static void close_held(struct accounts_backend *backend, void (*closed)(void *owner), void *owner) {
    (void)backend;
    closed(owner);
}

static const struct accounts_backend_ops held_ops = {
    .get = hold, .put = hold, .remove = hold, .ping = hold, .close = close_held};

static void answer(struct held *held, int which, enum rc rc, const char *audible_user_id) {
    struct accounts_backend_op *op = held->ops[which];
    op->rc = rc;
    if (audible_user_id != NULL) {
        op->row.audible_user_id = slice_str(audible_user_id);
    }
    op->done(op);
}

static void open_held(struct accounts_rig *rig, struct held *held, struct scratch *file) {
    *held = (struct held){.backend.ops = &held_ops};
    open_rig(rig, &(struct accounts_rig_opts){.path = file->path});
    accounts_close(rig->accounts, NULL, NULL);
    loop_run(&rig->loop);
    rig->accounts = accounts_new(&(struct accounts_opts){.loop = &rig->loop,
                                                         .work = rig->work,
                                                         .backend = &held->backend,
                                                         .log = rig->log,
                                                         .metrics = &rig->metrics,
                                                         .cache_max = 4});
}

static const char *cached_text(struct accounts_rig *rig, const char *user_id) {
    static char text[256];
    struct account_view view;
    if (!accounts_cached(rig->accounts, slice_str(user_id), &view)) {
        return "unknown";
    }
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(view.audible_user_id));
    return view.connected ? text : "none";
}

Test(accounts_cache, never_holds_what_is_older_than_the_last_write) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    struct held held;
    static struct accounts_rig_op get, early, link, second, remove_op;
    open_held(&rig, &held, &file);

    accounts_rig_start(&rig, &early, accounts_get, "u"); /* 0: starts before the write */
    accounts_rig_start_link(&rig, &link, "u", ACCESS);   /* 1 */
    accounts_rig_start(&rig, &get, accounts_get, "u");   /* 2: starts within it */
    answer(&held, 0, RC_ABSENT, NULL);
    cr_assert_str_eq(cached_text(&rig, "u"), "unknown", "read before, told within the write");
    answer(&held, 1, RC_OK, "new");
    cr_assert_str_eq(cached_text(&rig, "u"), "new");
    answer(&held, 2, RC_ABSENT, NULL);
    cr_assert_str_eq(cached_text(&rig, "u"), "new", "read within, told after the write");

    held.count = 0;
    accounts_rig_start_link(&rig, &link, "u", ACCESS); /* 0 */
    cr_assert_str_eq(cached_text(&rig, "u"), "unknown", "a write is under way");
    accounts_rig_start(&rig, &remove_op, accounts_remove, "u"); /* 1 */
    accounts_rig_start_link(&rig, &second, "u", ACCESS);        /* 2 */
    answer(&held, 0, RC_OK, "first");
    cr_assert_str_eq(cached_text(&rig, "u"), "unknown", "others are under way");
    answer(&held, 1, RC_ABSENT, NULL);
    cr_assert_str_eq(cached_text(&rig, "u"), "unknown", "another is under way");
    answer(&held, 2, RC_OK, "last");
    cr_assert_str_eq(cached_text(&rig, "u"), "last");

    held.count = 0;
    accounts_rig_start_link(&rig, &link, "u", ACCESS);
    answer(&held, 0, RC_STORAGE_UNAVAILABLE, NULL);
    cr_assert_str_eq(cached_text(&rig, "u"), "unknown", "a failed write says nothing");
    assert_rc(link.result.rc, RC_STORAGE_UNAVAILABLE, "link");

    held.count = 0;
    accounts_rig_start(&rig, &get, accounts_get, "u");
    answer(&held, 0, RC_STORAGE_UNAVAILABLE, NULL);
    cr_assert_str_eq(cached_text(&rig, "u"), "unknown", "a failed read says nothing");
    accounts_rig_start(&rig, &get, accounts_get, "u");
    answer(&held, 1, RC_ABSENT, NULL);
    cr_assert_str_eq(cached_text(&rig, "u"), "none", "that there is none is known too");
    close_rig(&rig);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts_cache, is_bounded_and_keeps_what_is_asked_for) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    struct held held;
    static struct accounts_rig_op get;
    char user_id[16];
    open_held(&rig, &held, &file); /* of 4 */
    for (int i = 0; i < 100; i++) {
        held.count = 0;
        snprintf(user_id, sizeof user_id, "u%d", i);
        accounts_rig_start(&rig, &get, accounts_get, user_id);
        answer(&held, 0, RC_OK, user_id);
        if (i > 0) {
            cr_assert_str_eq(cached_text(&rig, "u0"), "u0", "asked for each time, %d", i);
        }
    }
    int known = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(user_id, sizeof user_id, "u%d", i);
        known += strcmp(cached_text(&rig, user_id), "unknown") != 0;
    }
    cr_assert_eq(known, 4);
    cr_assert_str_eq(cached_text(&rig, "u99"), "u99", "the newest");
    close_rig(&rig);
    scratch_free(&folder);
    CHECK_LEAKS();
}
