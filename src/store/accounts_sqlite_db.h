// SPDX-License-Identifier: MIT
#pragma once

#include <sqlite3.h>
#include <stdbool.h>

#include "base/rc.h"
#include "store/accounts_backend.h"

/* The file of accounts_sqlite and connections to it: where all the SQL is. A connection belongs to
 * one thread at a time. */
#define ACCOUNTS_SQLITE_APPLICATION_ID 0x4C4B4559 /* "LKEY" */
#define ACCOUNTS_SQLITE_SCHEMA 1

enum accounts_sqlite_statement {
    ACCOUNTS_SQLITE_BEGIN,
    ACCOUNTS_SQLITE_COMMIT,
    ACCOUNTS_SQLITE_ROLLBACK,
    ACCOUNTS_SQLITE_GET,
    ACCOUNTS_SQLITE_NEXT,
    ACCOUNTS_SQLITE_PUT,
    ACCOUNTS_SQLITE_SWAP,
    ACCOUNTS_SQLITE_MARK,
    ACCOUNTS_SQLITE_REMOVE,
    ACCOUNTS_SQLITE_PING,
    ACCOUNTS_SQLITE_VERSION,
    ACCOUNTS_SQLITE_STATEMENTS
};

struct accounts_sqlite_db {
    const char *path; /* borrowed */
    bool writes;
    bool broken;       /* opened again before the next use */
    const char *cause; /* of the last failure: static text */
    int64_t version;   /* that was seen last; 0: none */
    sqlite3 *sqlite;
    sqlite3_stmt *statements[ACCOUNTS_SQLITE_STATEMENTS];
};

/* The path as SQLite takes it to the letter: never a URI, never ":memory:". On the heap. */
char *accounts_sqlite_db_path(const char *path);

/* Makes the last folder (0700) where it is missing. */
enum rc accounts_sqlite_db_make_folder(const char *path, char problem[ACCOUNTS_PROBLEM_BYTES]);

/* Makes the file (0600) where it is missing, takes group's and others' rights from one that is
 * there. Before any connection to it: closing a file drops the process's locks on it. */
enum rc accounts_sqlite_db_prepare(const char *path, char problem[ACCOUNTS_PROBLEM_BYTES]);

/* Makes the schema in an empty file, and refuses one that isn't ours. Only a connection that writes
 * may be the first. */
enum rc accounts_sqlite_db_open(struct accounts_sqlite_db *db, const char *path, bool writes,
                                char problem[ACCOUNTS_PROBLEM_BYTES]);
void accounts_sqlite_db_close(struct accounts_sqlite_db *db);

/* Opens it again if it broke. False: it can't be used now. */
bool accounts_sqlite_db_ready(struct accounts_sqlite_db *db);

/* Runs a statement without parameters and without result. */
bool accounts_sqlite_db_run(struct accounts_sqlite_db *db, enum accounts_sqlite_statement which);

/* No transaction is open afterwards. */
void accounts_sqlite_db_rollback(struct accounts_sqlite_db *db);

/* One operation's statement; it may be applied again after a rollback. op->rc says how it went,
 * op->row and op->bytes what it found. False: it failed (RC_STORAGE_UNAVAILABLE with op->cause),
 * and the transaction should be rolled back. */
bool accounts_sqlite_db_apply(struct accounts_sqlite_db *db, struct accounts_backend_op *op,
                              enum accounts_sqlite_statement which);
