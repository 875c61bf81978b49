// SPDX-License-Identifier: MIT
#include "store/accounts_sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    BUSY_TIMEOUT_MS = 5000, /* for rekey or backup beside the server */
    FILE_MODE = 0600,
    OTHERS_RIGHTS = 0077,
    FOLDER_MODE = 0700,
};

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)

/* The order of `enum column` below. */
#define COLUMNS                                                                                    \
    "user_id, audible_user_id, access_token, refresh_token, last_sync_error, expires_at_ms, "      \
    "connected_at_ms, synced_at_ms, sync_status"

enum column {
    USER_ID,
    AUDIBLE_USER_ID,
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    LAST_SYNC_ERROR,
    EXPIRES_AT_MS,
    CONNECTED_AT_MS,
    SYNCED_AT_MS,
    SYNC_STATUS,
    COLUMN_COUNT
};
enum { FENCE_PARAMETER = COLUMN_COUNT + 1, SECOND_FENCE_PARAMETER };

/* Ids compare by bytes (BINARY), which is the order of a scan. */
static const char schema[] =
    "CREATE TABLE accounts ("
    " user_id TEXT NOT NULL UNIQUE, audible_user_id TEXT, access_token TEXT NOT NULL,"
    " refresh_token TEXT, last_sync_error TEXT, expires_at_ms INTEGER NOT NULL,"
    " connected_at_ms INTEGER NOT NULL, synced_at_ms INTEGER NOT NULL,"
    " sync_status TEXT NOT NULL) STRICT;"
    "CREATE TABLE pulse (id INTEGER PRIMARY KEY CHECK (id = 1), beats INTEGER NOT NULL) STRICT;"
    "INSERT INTO pulse VALUES (1, 0);"
    "PRAGMA application_id = " STRING(
        ACCOUNTS_SQLITE_APPLICATION_ID) ";"
                                        "PRAGMA user_version = " STRING(ACCOUNTS_SQLITE_SCHEMA) ";";

static const char *const statement_texts[ACCOUNTS_SQLITE_STATEMENTS] = {
    [ACCOUNTS_SQLITE_BEGIN] = "BEGIN IMMEDIATE",
    [ACCOUNTS_SQLITE_COMMIT] = "COMMIT",
    [ACCOUNTS_SQLITE_ROLLBACK] = "ROLLBACK",
    [ACCOUNTS_SQLITE_GET] = "SELECT " COLUMNS " FROM accounts WHERE user_id = ?1",
    [ACCOUNTS_SQLITE_NEXT] =
        "SELECT " COLUMNS " FROM accounts WHERE user_id > ?1 ORDER BY user_id LIMIT 1",
    [ACCOUNTS_SQLITE_PUT] =
        "INSERT INTO accounts (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        " ON CONFLICT (user_id) DO UPDATE SET audible_user_id = excluded.audible_user_id,"
        " access_token = excluded.access_token, refresh_token = excluded.refresh_token,"
        " last_sync_error = excluded.last_sync_error, expires_at_ms = excluded.expires_at_ms,"
        " connected_at_ms = excluded.connected_at_ms, synced_at_ms = excluded.synced_at_ms,"
        " sync_status = excluded.sync_status",
    [ACCOUNTS_SQLITE_SWAP] =
        "UPDATE accounts SET access_token = ?3, refresh_token = ?4, expires_at_ms = ?6"
        " WHERE user_id = ?1 AND refresh_token IS ?10 AND (?11 IS NULL OR access_token = ?11)",
    [ACCOUNTS_SQLITE_MARK] = "UPDATE accounts SET last_sync_error = ?5, sync_status = ?9,"
                             " synced_at_ms = CASE ?8 WHEN 0 THEN synced_at_ms ELSE ?8 END"
                             " WHERE user_id = ?1 AND refresh_token IS ?10 AND (?11 IS NULL OR"
                             " sync_status <> 'failed' OR last_sync_error IS NOT ?11)",
    [ACCOUNTS_SQLITE_REMOVE] = "DELETE FROM accounts WHERE user_id = ?1 RETURNING " COLUMNS,
    [ACCOUNTS_SQLITE_PING] = "UPDATE pulse SET beats = beats + 1",
    /* changes with every commit of another connection, and by none of this one */
    [ACCOUNTS_SQLITE_VERSION] = "PRAGMA data_version",
};

/* For every connection. What a deleted token leaves behind is overwritten (secure_delete). */
static const char settings[] = "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                               "PRAGMA secure_delete = ON;"
                               "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;";

/* -- the file -- */

char *accounts_sqlite_db_path(const char *path) {
    const char *prefix = path[0] == '/' || strncmp(path, "./", 2) == 0 ? "" : "./";
    size_t bytes = strlen(prefix) + strlen(path) + 1;
    char *out = mem_alloc(bytes);
    snprintf(out, bytes, "%s%s", prefix, path);
    return out;
}

static enum rc fail(char problem[ACCOUNTS_PROBLEM_BYTES], const char *path, const char *what,
                    const char *why) {
    snprintf(problem, ACCOUNTS_PROBLEM_BYTES, "%s %s%s%s", path, what, why[0] != '\0' ? ": " : "",
             why);
    return RC_IO;
}

enum rc accounts_sqlite_db_make_folder(const char *path, char problem[ACCOUNTS_PROBLEM_BYTES]) {
    char *folder = mem_strdup(slice_str(path));
    *strrchr(folder, '/') = '\0'; /* there is one: accounts_sqlite_db_path */
    enum rc rc = RC_OK;
    if (folder[0] != '\0' && mkdir(folder, FOLDER_MODE) != 0 && errno != EEXIST) {
        rc = fail(problem, folder, "can't be made", strerror(errno));
    }
    mem_free(folder);
    return rc;
}

/* SQLite gives its -wal and -shm files the mode of the file itself. */
enum rc accounts_sqlite_db_prepare(const char *path, char problem[ACCOUNTS_PROBLEM_BYTES]) {
    struct stat status;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, FILE_MODE);
    if (fd < 0) {
        return fail(problem, path, "can't be opened for writing", strerror(errno));
    }
    enum rc rc = RC_OK;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        rc = fail(problem, path, "isn't a regular file", "");
    } else if ((status.st_mode & OTHERS_RIGHTS) != 0 && fchmod(fd, FILE_MODE) != 0) {
        rc = fail(problem, path, "can be read by others, and its mode can't be set to 0600",
                  strerror(errno));
    }
    close(fd);
    return rc;
}

/* A new file's name must be as durable as what is in it. */
static bool sync_folder(const char *path) {
    char *folder = mem_strdup(slice_str(path));
    strrchr(folder, '/')[1] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    mem_free(folder);
    return good;
}

/* -- connections -- */

/* After these the connection itself may be what is wrong. Always false. */
static bool note_failure(struct accounts_sqlite_db *db, int code) {
    switch (code & 0xFF) {
    case SQLITE_FULL:
    case SQLITE_BUSY:
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
        break;
    default:
        db->broken = true;
        break;
    }
    db->cause = sqlite3_errstr(code);
    return false;
}

static bool exec(struct accounts_sqlite_db *db, const char *sql) {
    int code = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);
    return code == SQLITE_OK || note_failure(db, code);
}

/* The one value of a query's one row, an integer or a text to compare with. */
static bool ask(struct accounts_sqlite_db *db, const char *sql, const char *expected, int *out) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    bool good = code == SQLITE_ROW || note_failure(db, code);
    if (good && expected != NULL) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        good = text != NULL && strcmp(text, expected) == 0;
    } else if (good) {
        *out = sqlite3_column_int(statement, 0);
    }
    sqlite3_finalize(statement);
    return good;
}

/* Ours, or empty (where it may be made ours). */
static enum rc check_schema(struct accounts_sqlite_db *db, bool *is_empty,
                            char problem[ACCOUNTS_PROBLEM_BYTES]) {
    int application_id;
    int version;
    int tables;
    if (!ask(db, "PRAGMA application_id", NULL, &application_id) ||
        !ask(db, "PRAGMA user_version", NULL, &version) ||
        !ask(db, "SELECT count(*) FROM sqlite_schema", NULL, &tables)) {
        return fail(problem, db->path, "can't be read", db->cause);
    }
    *is_empty = application_id == 0 && version == 0 && tables == 0;
    if (*is_empty) {
        return RC_OK;
    }
    if (application_id != ACCOUNTS_SQLITE_APPLICATION_ID || version < 1) {
        return fail(problem, db->path, "is a database of something else than Latchkey", "");
    }
    if (version > ACCOUNTS_SQLITE_SCHEMA) {
        snprintf(problem, ACCOUNTS_PROBLEM_BYTES,
                 "%s was written by a newer Latchkey (its schema is %d, this one knows up to %d)",
                 db->path, version, ACCOUNTS_SQLITE_SCHEMA);
        return RC_IO;
    }
    return RC_OK;
}

/* Write-ahead logging is a property of the file, and is on before there is anything in it. */
static enum rc set_up(struct accounts_sqlite_db *db, char problem[ACCOUNTS_PROBLEM_BYTES]) {
    bool is_empty = false;
    enum rc rc = check_schema(db, &is_empty, problem);
    if (rc != RC_OK || !db->writes) {
        return rc == RC_OK && is_empty ? fail(problem, db->path, "is empty", "") : rc;
    }
    if (sqlite3_db_readonly(db->sqlite, "main") != 0) {
        db->cause = sqlite3_errstr(SQLITE_READONLY);
        return fail(problem, db->path, "can't be written", "");
    }
    db->cause = "";
    if (!ask(db, "PRAGMA journal_mode = WAL", "wal", NULL)) {
        return fail(problem, db->path, "can't be switched to write-ahead logging", db->cause);
    }
    if (!is_empty) {
        return RC_OK;
    }
    bool made = exec(db, "BEGIN IMMEDIATE") && exec(db, schema) && exec(db, "COMMIT");
    return made && sync_folder(db->path) ? RC_OK
                                         : fail(problem, db->path, "can't be written", db->cause);
}

static bool prepare(struct accounts_sqlite_db *db) {
    for (int i = 0; i < ACCOUNTS_SQLITE_STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(db->sqlite, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &db->statements[i], NULL);
        if (code != SQLITE_OK) {
            return note_failure(db, code);
        }
    }
    return true;
}

static enum rc open_connection(struct accounts_sqlite_db *db,
                               char problem[ACCOUNTS_PROBLEM_BYTES]) {
    /* never made here: a file that vanished must not come back empty */
    int code =
        sqlite3_open_v2(db->path, &db->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        note_failure(db, code);
        return fail(problem, db->path, "can't be opened", db->cause);
    }
    sqlite3_extended_result_codes(db->sqlite, 1);
    sqlite3_busy_timeout(db->sqlite, BUSY_TIMEOUT_MS);
    sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    if (!exec(db, settings)) {
        return fail(problem, db->path, "can't be set up", db->cause);
    }
    enum rc rc = set_up(db, problem);
    if (rc == RC_OK && !prepare(db)) {
        rc = fail(problem, db->path, "can't be used", db->cause);
    }
    if (rc == RC_OK && !db->writes && !exec(db, "PRAGMA query_only = ON")) {
        rc = fail(problem, db->path, "can't be set up", db->cause);
    }
    return rc;
}

enum rc accounts_sqlite_db_open(struct accounts_sqlite_db *db, const char *path, bool writes,
                                char problem[ACCOUNTS_PROBLEM_BYTES]) {
    *db = (struct accounts_sqlite_db){.path = path, .writes = writes};
    enum rc rc = open_connection(db, problem);
    if (rc != RC_OK) {
        accounts_sqlite_db_close(db);
    }
    return rc;
}

void accounts_sqlite_db_close(struct accounts_sqlite_db *db) {
    for (int i = 0; i < ACCOUNTS_SQLITE_STATEMENTS; i++) {
        sqlite3_finalize(db->statements[i]);
        db->statements[i] = NULL;
    }
    sqlite3_close(db->sqlite);
    db->sqlite = NULL;
}

/* The old connection goes only when the new one stands. Were none open in between, SQLite would
 * read the log from the disk anew, and a transaction whose sync had failed could be found there
 * whole: committed after all, although its callers were told that it was not. */
bool accounts_sqlite_db_ready(struct accounts_sqlite_db *db) {
    char problem[ACCOUNTS_PROBLEM_BYTES];
    struct accounts_sqlite_db fresh;
    if (!db->broken) {
        return true;
    }
    if (accounts_sqlite_db_open(&fresh, db->path, db->writes, problem) != RC_OK) {
        db->cause = fresh.cause;
        return false;
    }
    accounts_sqlite_db_close(db);
    *db = fresh;
    return true;
}

bool accounts_sqlite_db_run(struct accounts_sqlite_db *db, enum accounts_sqlite_statement which) {
    int code = sqlite3_step(db->statements[which]);
    sqlite3_reset(db->statements[which]);
    return code == SQLITE_DONE || note_failure(db, code);
}

void accounts_sqlite_db_rollback(struct accounts_sqlite_db *db) {
    /* after some failures SQLite has rolled back already */
    if (sqlite3_get_autocommit(db->sqlite) == 0) {
        const char *cause = db->cause;
        accounts_sqlite_db_run(db, ACCOUNTS_SQLITE_ROLLBACK);
        db->cause = cause;
        db->broken = db->broken || sqlite3_get_autocommit(db->sqlite) == 0;
    }
}

/* -- operations -- */

#define SYNC_TEXT(name, text) [ACCOUNT_SYNC_##name] = text,
static const char *const sync_texts[] = {ACCOUNT_SYNC_MAP(SYNC_TEXT)};
enum { SYNC_COUNT = sizeof sync_texts / sizeof sync_texts[0] };

static int bind_text(sqlite3_stmt *statement, int parameter, struct slice text) {
    if (slice_is_null(text)) {
        return sqlite3_bind_null(statement, parameter);
    }
    return sqlite3_bind_text64(statement, parameter, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_row(sqlite3_stmt *statement, const struct accounts_row *row) {
    const struct {
        enum column column;
        struct slice text;
    } texts[] = {
        {AUDIBLE_USER_ID, row->audible_user_id},
        {ACCESS_TOKEN, row->access_token},
        {REFRESH_TOKEN, row->refresh_token},
        {LAST_SYNC_ERROR, row->last_sync_error},
        {SYNC_STATUS, slice_str(sync_texts[row->sync_status])},
    };
    const struct {
        enum column column;
        int64_t number;
    } numbers[] = {{EXPIRES_AT_MS, row->expires_ms},
                   {CONNECTED_AT_MS, row->connected_ms},
                   {SYNCED_AT_MS, row->synced_ms}};
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && code == SQLITE_OK; i++) {
        code = bind_text(statement, (int)texts[i].column + 1, texts[i].text);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && code == SQLITE_OK; i++) {
        code = sqlite3_bind_int64(statement, (int)numbers[i].column + 1, numbers[i].number);
    }
    return code;
}

static bool is_fenced(enum accounts_sqlite_statement which) {
    return which == ACCOUNTS_SQLITE_SWAP || which == ACCOUNTS_SQLITE_MARK;
}

static int bind_op(sqlite3_stmt *statement, const struct accounts_backend_op *op,
                   enum accounts_sqlite_statement which) {
    int code = SQLITE_OK;
    if (which != ACCOUNTS_SQLITE_PING && which != ACCOUNTS_SQLITE_VERSION) {
        /* copied: it may lie in op->bytes, where the result goes */
        code = sqlite3_bind_text64(statement, USER_ID + 1, op->row.user_id.at, op->row.user_id.len,
                                   SQLITE_TRANSIENT, SQLITE_UTF8);
    }
    if (code == SQLITE_OK && (which == ACCOUNTS_SQLITE_PUT || is_fenced(which))) {
        code = bind_row(statement, &op->row);
    }
    if (code == SQLITE_OK && is_fenced(which)) {
        code = bind_text(statement, FENCE_PARAMETER, op->fence);
    }
    if (code == SQLITE_OK && is_fenced(which)) {
        code = bind_text(statement, SECOND_FENCE_PARAMETER,
                         which == ACCOUNTS_SQLITE_SWAP ? op->access_fence : op->error_fence);
    }
    return code;
}

/* False: no memory, or more than op->bytes may hold. */
static bool read_text(sqlite3_stmt *statement, int column, struct buf *bytes, struct slice *out) {
    *out = SLICE_NULL;
    if (sqlite3_column_type(statement, column) == SQLITE_NULL) {
        return true;
    }
    const char *text = (const char *)sqlite3_column_text(statement, column);
    size_t len = (size_t)sqlite3_column_bytes(statement, column);
    if (text == NULL || len + 1 > bytes->cap - bytes->len) {
        return false;
    }
    *out = slice_make(bytes->at + bytes->len, len);
    buf_append(bytes, slice_make(text, len + 1)); /* with its NUL: even an empty one has a place */
    return true;
}

static enum account_sync read_sync(sqlite3_stmt *statement) {
    const char *text = (const char *)sqlite3_column_text(statement, SYNC_STATUS);
    for (int i = 0; text != NULL && i < SYNC_COUNT; i++) {
        if (strcmp(text, sync_texts[i]) == 0) {
            return (enum account_sync)i;
        }
    }
    return ACCOUNT_SYNC_PENDING;
}

static bool read_row(sqlite3_stmt *statement, struct accounts_backend_op *op) {
    struct buf *bytes = &op->bytes;
    struct accounts_row row = {0};
    size_t total = 0;
    buf_clear(bytes);
    for (int column = USER_ID; column <= LAST_SYNC_ERROR; column++) {
        total += (size_t)sqlite3_column_bytes(statement, column) + 1;
    }
    if (buf_reserve(bytes, total) == NULL || /* once, as nothing may move later */
        !read_text(statement, USER_ID, bytes, &row.user_id) ||
        !read_text(statement, AUDIBLE_USER_ID, bytes, &row.audible_user_id) ||
        !read_text(statement, ACCESS_TOKEN, bytes, &row.access_token) ||
        !read_text(statement, REFRESH_TOKEN, bytes, &row.refresh_token) ||
        !read_text(statement, LAST_SYNC_ERROR, bytes, &row.last_sync_error)) {
        return false;
    }
    row.expires_ms = sqlite3_column_int64(statement, EXPIRES_AT_MS);
    row.connected_ms = sqlite3_column_int64(statement, CONNECTED_AT_MS);
    row.synced_ms = sqlite3_column_int64(statement, SYNCED_AT_MS);
    row.sync_status = read_sync(statement);
    op->row = row;
    return true;
}

/* The user is there, but with another refresh token than the fence? */
static int tell_conflict(struct accounts_sqlite_db *db, struct accounts_backend_op *op) {
    sqlite3_stmt *get = db->statements[ACCOUNTS_SQLITE_GET];
    int code = bind_text(get, USER_ID + 1, op->row.user_id);
    if (code == SQLITE_OK) {
        code = sqlite3_step(get);
        op->rc = code == SQLITE_ROW ? RC_CONFLICT : RC_ABSENT;
    }
    sqlite3_reset(get);
    sqlite3_clear_bindings(get);
    return code == SQLITE_ROW ? SQLITE_DONE : code;
}

/* A connection that was opened again knows nothing of the time before. */
static int look_at_version(struct accounts_sqlite_db *db, struct accounts_backend_op *op,
                           sqlite3_stmt *statement) {
    int64_t version = sqlite3_column_int64(statement, 0);
    op->rc = version == db->version ? RC_OK : RC_CONFLICT;
    db->version = version;
    return sqlite3_step(statement);
}

/* SQLITE_DONE, or what went wrong. */
static int step(struct accounts_sqlite_db *db, struct accounts_backend_op *op,
                enum accounts_sqlite_statement which) {
    sqlite3_stmt *statement = db->statements[which];
    bool reads = which == ACCOUNTS_SQLITE_GET || which == ACCOUNTS_SQLITE_NEXT ||
                 which == ACCOUNTS_SQLITE_REMOVE;
    op->rc = reads ? RC_ABSENT : RC_OK;
    int code = sqlite3_step(statement);
    if (which == ACCOUNTS_SQLITE_VERSION) {
        return code == SQLITE_ROW ? look_at_version(db, op, statement) : code;
    }
    if (code == SQLITE_ROW) {
        if (!read_row(statement, op)) {
            return SQLITE_TOOBIG;
        }
        op->rc = RC_OK;
        code = sqlite3_step(statement);
    }
    if (code == SQLITE_DONE && is_fenced(which) && sqlite3_changes(db->sqlite) == 0) {
        code = tell_conflict(db, op);
    }
    return code;
}

bool accounts_sqlite_db_apply(struct accounts_sqlite_db *db, struct accounts_backend_op *op,
                              enum accounts_sqlite_statement which) {
    sqlite3_stmt *statement = db->statements[which];
    int code = bind_op(statement, op, which);
    if (code == SQLITE_OK) {
        code = step(db, op, which);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (code != SQLITE_DONE) {
        note_failure(db, code);
        op->rc = RC_STORAGE_UNAVAILABLE;
        op->cause = db->cause;
        return false;
    }
    return true;
}
