// SPDX-License-Identifier: MIT
#include "store/accounts_sqlite_backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/accounts_sqlite_db.h"

static enum rc fail(char problem[ACCOUNTS_PROBLEM_BYTES], const char *path, const char *why) {
    snprintf(problem, ACCOUNTS_PROBLEM_BYTES, "%.150s can't be made: %s", path, why);
    return RC_IO;
}

/* SQLite does not sync what VACUUM INTO makes. */
static bool sync_path(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

static bool sync_folder(const char *path) {
    char *folder = mem_strdup(slice_str(path));
    char *slash = strrchr(folder, '/'); /* there is one: accounts_sqlite_db_path */
    slash[1] = '\0';
    bool good = sync_path(folder, O_RDONLY | O_DIRECTORY);
    mem_free(folder);
    return good;
}

/* One read transaction: writers go on. */
static bool copy(struct accounts_sqlite_db *db, const char *part) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->sqlite, "VACUUM INTO ?1", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_bind_text(statement, 1, part, -1, SQLITE_STATIC);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    db->cause = sqlite3_errstr(code);
    return code == SQLITE_DONE;
}

/* Never over a file that is there: link refuses what rename would replace. Not every file system
 * knows it. */
static bool give_name(const char *part, const char *target) {
    return link(part, target) == 0 ||
           ((errno == EPERM || errno == EOPNOTSUPP) && rename(part, target) == 0);
}

static enum rc put_in_place(const char *part, const char *target,
                            char problem[ACCOUNTS_PROBLEM_BYTES]) {
    if (!sync_path(part, O_RDONLY) || !give_name(part, target) || !sync_folder(target)) {
        return fail(problem, target, strerror(errno));
    }
    return RC_OK;
}

static enum rc back_up(struct accounts_sqlite_db *db, const char *target,
                       char problem[ACCOUNTS_PROBLEM_BYTES]) {
    size_t bytes = strlen(target) + sizeof ".part";
    char *part = mem_alloc(bytes);
    snprintf(part, bytes, "%s.part", target);
    unlink(part); /* of a backup that was killed */
    enum rc rc =
        copy(db, part) ? put_in_place(part, target, problem) : fail(problem, target, db->cause);
    unlink(part);
    mem_free(part);
    return rc;
}

enum rc accounts_sqlite_backup(const char *path, const char *target,
                               char problem[ACCOUNTS_PROBLEM_BYTES]) {
    char *from = accounts_sqlite_db_path(path);
    char *to = accounts_sqlite_db_path(target);
    struct accounts_sqlite_db db;
    enum rc rc = RC_OK;
    if (access(to, F_OK) == 0) {
        snprintf(problem, ACCOUNTS_PROBLEM_BYTES, "%.150s is there already; name a new file", to);
        rc = RC_USAGE;
    } else if ((rc = accounts_sqlite_db_open(&db, from, true, problem)) == RC_OK) {
        rc = back_up(&db, to, problem);
        accounts_sqlite_db_close(&db);
    }
    mem_free(from);
    mem_free(to);
    return rc;
}
