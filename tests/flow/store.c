// SPDX-License-Identifier: MIT
/* Accounts on a disk that fails, and in a process that is killed. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/accounts_rig.h"
#include "kit/faults_sqlite.h"
#include "kit/leaks.h"
#include "kit/scratch.h"
#include "kit/soak.h"

static void open_rig(struct accounts_rig *rig, const char *path) {
    const struct accounts_rig_opts opts = {
        .path = path, .keys = ACCOUNTS_RIG_KEY, .cache_max = 100};
    cr_assert_eq(accounts_rig_open(rig, &opts), RC_OK, "%s", rig->problem);
}

static void close_rig(struct accounts_rig *rig) {
    cr_assert_eq(accounts_rig_close(rig), RC_OK, "something was left open");
}

static void assert_rc(enum rc got, enum rc expected, const char *what) {
    cr_assert_eq(got, expected, "%s: %s, expected %s", what, rc_name(got), rc_name(expected));
}

/* -- kill -9 right after an answer -- */

enum { CRASH_ROUNDS = 20, AT_ONCE = 4 };

static void user_of(char out[32], int round, int number) {
    snprintf(out, 32, "user-%d-%d", round, number);
}

/* Links users without end and reports each that is committed. Never returns. */
static void link_until_killed(const char *path, int round, int pipe_fd) {
    struct accounts_rig rig;
    static struct accounts_rig_op ops[AT_ONCE];
    char user_id[32];
    if (accounts_rig_open(
            &rig, &(struct accounts_rig_opts){.path = path, .keys = ACCOUNTS_RIG_KEY}) != RC_OK) {
        _exit(1);
    }
    for (int number = 0;; number += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            user_of(user_id, round, number + i);
            accounts_rig_start_link(&rig, &ops[i], user_id, user_id);
        }
        loop_run(&rig.loop);
        for (int i = 0; i < AT_ONCE; i++) {
            int acked = number + i;
            if (ops[i].result.rc != RC_OK || write(pipe_fd, &acked, sizeof acked) < 0) {
                _exit(1);
            }
        }
    }
}

/* Kills after so many answers; returns how many had come. */
static int run_and_kill(const char *path, int round, int answers) {
    int fds[2];
    int acked = -1;
    int last = -1;
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        close(fds[0]);
        link_until_killed(path, round, fds[1]);
    }
    close(fds[1]);
    while (last + 1 < answers && read(fds[0], &acked, sizeof acked) == (ssize_t)sizeof acked) {
        last = acked;
    }
    kill(pid, SIGKILL);
    while (read(fds[0], &acked, sizeof acked) == (ssize_t)sizeof acked) {
        last = acked;
    }
    close(fds[0]);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status), "round %d: it ended by itself, status %d", round, status);
    return last + 1;
}

Test(store, what_was_answered_survives_kill_9, .timeout = 3600) {
    int rounds = soak_times("TEST_SOAK_ROUNDS", CRASH_ROUNDS);
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    char user_id[32];
    for (int round = 0; round < rounds; round++) {
        int acked = run_and_kill(file.path, round, 1 + round % 11);
        cr_assert_gt(acked, 0, "round %d", round);
        struct accounts_rig rig;
        open_rig(&rig, file.path);
        for (int number = 0; number < acked; number++) {
            user_of(user_id, round, number);
            struct accounts_rig_result got = accounts_rig_ask(&rig, accounts_open, user_id);
            assert_rc(got.rc, RC_OK, user_id);
            cr_assert_str_eq(got.access_token, user_id);
        }
        close_rig(&rig);
    }
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- one transaction for what comes together -- */

Test(store, links_of_one_turn_share_commits) {
    enum { LINKS = 2000 };
    struct faults_sqlite *faults = faults_sqlite_install();
    struct scratch folder = scratch_new();
    struct accounts_rig rig;
    struct accounts_rig_op *ops = calloc(LINKS, sizeof *ops);
    char user_id[32];
    open_rig(&rig, scratch_file(&folder, "a.db").path);
    int64_t before = faults_sqlite_syncs(faults);
    for (int i = 0; i < LINKS; i++) {
        user_of(user_id, 0, i);
        accounts_rig_start_link(&rig, &ops[i], user_id, user_id);
    }
    loop_run(&rig.loop);
    int64_t syncs = faults_sqlite_syncs(faults) - before;
    for (int i = 0; i < LINKS; i++) {
        cr_assert_eq(ops[i].result.calls, 1, "%d", i);
        assert_rc(ops[i].result.rc, RC_OK, "link");
    }
    cr_assert_gt(syncs, 0, "nothing was made durable");
    cr_assert_lt(syncs, LINKS / 10, "%d syncs for %d links", (int)syncs, LINKS);
    before = faults_sqlite_syncs(faults);
    for (int i = 0; i < 5; i++) {
        assert_rc(accounts_rig_link(&rig, "one", "by", "one"), RC_OK, "link");
    }
    cr_assert_geq(faults_sqlite_syncs(faults) - before, 5, "each answer waits for the disk");
    close_rig(&rig);
    free(ops);
    scratch_free(&folder);
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}

/* -- a disk that takes nothing -- */

/* `u` is linked with the token "old"; nothing else may ever be read of it. */
static void assert_unavailable_and_unchanged(struct accounts_rig *rig, const char *what) {
    static struct accounts_rig_op ops[20];
    char user_id[32];
    for (int i = 0; i < 20; i++) {
        user_of(user_id, 0, i);
        accounts_rig_start_link(rig, &ops[i], i % 2 == 0 ? "u" : user_id, "new");
    }
    loop_run(&rig->loop);
    for (int i = 0; i < 20; i++) {
        assert_rc(ops[i].result.rc, RC_STORAGE_UNAVAILABLE, what);
    }
    assert_rc(accounts_rig_ask(rig, accounts_remove, "u").rc, RC_STORAGE_UNAVAILABLE, what);
    assert_rc(accounts_rig_ping(rig), RC_STORAGE_UNAVAILABLE, what);
}

static void assert_recovered(struct accounts_rig *rig, const char *what) {
    assert_rc(accounts_rig_ping(rig), RC_OK, what);
    struct accounts_rig_result got = accounts_rig_ask(rig, accounts_open, "u");
    assert_rc(got.rc, RC_OK, what);
    cr_assert_str_eq(got.access_token, "old", "%s: %s", what, got.access_token);
    assert_rc(accounts_rig_ask(rig, accounts_get, "user-0-1").rc, RC_ABSENT, what);
    assert_rc(accounts_rig_link(rig, "after", "token", NULL), RC_OK, what);
}

Test(store, recovers_without_a_restart_from_every_kind_of_failure) {
    static const struct {
        const char *what;
        unsigned kinds;
        int code;
    } cases[] = {
        {"disk full", FAULTS_SQLITE_WRITE, SQLITE_FULL},
        {"read-only", FAULTS_SQLITE_WRITE, SQLITE_READONLY},
        {"read-only at open", FAULTS_SQLITE_WRITE | FAULTS_SQLITE_OPEN, SQLITE_READONLY},
        {"write error", FAULTS_SQLITE_WRITE, SQLITE_IOERR_WRITE},
        {"sync error", FAULTS_SQLITE_SYNC, SQLITE_IOERR_FSYNC},
        {"lock error", FAULTS_SQLITE_SHM, SQLITE_IOERR_SHMLOCK},
        {"everything", FAULTS_SQLITE_ALL, SQLITE_IOERR},
        {"corrupt", FAULTS_SQLITE_WRITE, SQLITE_CORRUPT},
    };
    struct faults_sqlite *faults = faults_sqlite_install();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scratch folder = scratch_new();
        struct scratch file = scratch_file(&folder, "a.db");
        struct accounts_rig rig;
        open_rig(&rig, file.path);
        assert_rc(accounts_rig_link(&rig, "u", "old", "r"), RC_OK, "before");
        for (int round = 0; round < 2; round++) {
            faults_sqlite_fail(faults, cases[i].kinds, cases[i].code);
            assert_unavailable_and_unchanged(&rig, cases[i].what);
            faults_sqlite_heal(faults);
            assert_recovered(&rig, cases[i].what);
        }
        close_rig(&rig);
        open_rig(&rig, file.path);
        assert_recovered(&rig, "after a restart");
        close_rig(&rig);
        scratch_free(&folder);
    }
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}

/* The system's own refusal, not one that the kit invents. */
Test(store, a_file_size_limit_is_a_full_disk) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    struct rlimit before;
    struct stat status;
    signal(SIGXFSZ, SIG_IGN);
    open_rig(&rig, file.path);
    assert_rc(accounts_rig_link(&rig, "u", "old", "r"), RC_OK, "before");
    cr_assert_eq(stat(scratch_file(&folder, "a.db-wal").path, &status), 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit tight = {(rlim_t)status.st_size + 100, before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_unavailable_and_unchanged(&rig, "limit");
    assert_rc(accounts_rig_ask(&rig, accounts_open, "u").rc, RC_OK, "reading goes on");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_recovered(&rig, "limit");
    close_rig(&rig);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* One that is too large for the disk doesn't take the others of its batch with it. */
Test(store, each_of_a_batch_fails_on_its_own) {
    enum { SMALL = 10 };
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    struct rlimit before;
    struct stat status;
    static struct accounts_rig_op ops[SMALL + 1];
    static char large[LIMIT_TOKEN_BYTES + 1];
    char user_id[32];
    signal(SIGXFSZ, SIG_IGN);
    memset(large, 'x', LIMIT_TOKEN_BYTES);
    open_rig(&rig, file.path);
    assert_rc(accounts_rig_link(&rig, "u", "old", "r"), RC_OK, "before");
    cr_assert_eq(stat(scratch_file(&folder, "a.db-wal").path, &status), 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    /* a page or two for each small one, fewer than the large one's */
    struct rlimit tight = {(rlim_t)status.st_size, before.rlim_max};
    bool apart = false;
    for (int pages = 4; pages < 200 && !apart; pages += 4) {
        tight.rlim_cur = (rlim_t)status.st_size + (rlim_t)pages * 4200;
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
        for (int i = 0; i <= SMALL; i++) {
            user_of(user_id, pages, i);
            accounts_rig_start_link(&rig, &ops[i], user_id, i == SMALL / 2 ? large : "small");
        }
        loop_run(&rig.loop);
        int good = 0;
        for (int i = 0; i <= SMALL; i++) {
            good += i != SMALL / 2 && ops[i].result.rc == RC_OK;
        }
        apart = good > 0 && ops[SMALL / 2].result.rc == RC_STORAGE_UNAVAILABLE;
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
        for (int i = 0; i <= SMALL; i++) {
            user_of(user_id, pages, i);
            assert_rc(accounts_rig_ask(&rig, accounts_get, user_id).rc,
                      ops[i].result.rc == RC_OK ? RC_OK : RC_ABSENT, user_id);
        }
    }
    cr_assert(apart, "the small ones never came through without the large one");
    close_rig(&rig);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- every n-th call of SQLite to the system fails -- */

static const char *token_of(struct accounts_rig *rig, const char *user_id) {
    static struct accounts_rig_result got;
    got = accounts_rig_ask(rig, accounts_open, user_id);
    if (got.rc == RC_ABSENT) {
        return "none";
    }
    assert_rc(got.rc, RC_OK, user_id);
    return got.access_token;
}

static void assert_token(struct accounts_rig *rig, const char *user_id, enum rc rc,
                         const char *done, const char *undone, int64_t n) {
    const char *token = token_of(rig, user_id);
    cr_assert_str_eq(token, rc == RC_OK ? done : undone, "fault %d: %s has %s after %s", (int)n,
                     user_id, token, rc_name(rc));
}

/* False: there were fewer calls than n. */
static bool work_with_fault(struct faults_sqlite *faults, int64_t n, int64_t more) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    static struct accounts_rig_op ops[6];
    open_rig(&rig, file.path);
    assert_rc(accounts_rig_link(&rig, "u1", "old", "r"), RC_OK, "before");
    assert_rc(accounts_rig_link(&rig, "u3", "old", "r"), RC_OK, "before");
    faults_sqlite_fail_nth(faults, FAULTS_SQLITE_ALL, n, more);
    accounts_rig_start_link(&rig, &ops[0], "u1", "new");
    accounts_rig_start_link(&rig, &ops[1], "u2", "new");
    accounts_rig_start(&rig, &ops[2], accounts_remove, "u3");
    accounts_rig_start(&rig, &ops[3], accounts_open, "u3");
    accounts_rig_start(&rig, &ops[4], accounts_get, "u4");
    loop_run(&rig.loop);
    bool met = faults_sqlite_met(faults);
    faults_sqlite_heal(faults);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(ops[i].result.calls, 1, "fault %d, operation %d", (int)n, i);
    }
    for (int round = 0; round < 2; round++) {
        assert_token(&rig, "u1", ops[0].result.rc, "new", "old", n);
        assert_token(&rig, "u2", ops[1].result.rc, "new", "none", n);
        assert_token(&rig, "u3", ops[2].result.rc, "none", "old", n);
        if (round == 0) {
            close_rig(&rig);
            open_rig(&rig, file.path);
        }
    }
    assert_rc(accounts_rig_link(&rig, "u5", "token", "r"), RC_OK, "afterwards");
    close_rig(&rig);
    scratch_free(&folder);
    return met;
}

Test(store, every_nth_failing_call_leaves_all_whole, .timeout = 240) {
    static const int64_t more[] = {0, 4};
    struct faults_sqlite *faults = faults_sqlite_install();
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        int64_t n = 1;
        while (work_with_fault(faults, n, more[i])) {
            n++;
        }
        cr_assert_gt(n, 10, "hardly a call was seen");
    }
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}

static bool open_with_fault(struct faults_sqlite *faults, int64_t n) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "a.db");
    struct accounts_rig rig;
    faults_sqlite_fail_nth(faults, FAULTS_SQLITE_ALL, n, 0);
    enum rc rc = accounts_rig_open(&rig, &(struct accounts_rig_opts){.path = file.path});
    bool met = faults_sqlite_met(faults);
    faults_sqlite_heal(faults);
    cr_assert(rc == RC_OK || rc == RC_IO, "fault %d: %s", (int)n, rc_name(rc));
    cr_assert(rc == RC_OK || rig.problem[0] != '\0', "fault %d: no word about it", (int)n);
    close_rig(&rig);
    open_rig(&rig, file.path);
    assert_rc(accounts_rig_link(&rig, "u", "token", "r"), RC_OK, "afterwards");
    close_rig(&rig);
    scratch_free(&folder);
    return met;
}

Test(store, every_nth_failing_call_at_the_start_is_told, .timeout = 240) {
    struct faults_sqlite *faults = faults_sqlite_install();
    int64_t n = 1;
    while (open_with_fault(faults, n)) {
        n++;
    }
    cr_assert_gt(n, 10, "hardly a call was seen");
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}
