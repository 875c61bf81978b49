// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/accounts_backend.h"
#include "store/accounts_sqlite_db.h"

enum {
    BATCH_MAX = 512,           /* writes a transaction */
    FAILURES_IN_A_ROW_MAX = 3, /* one by one, before the rest is given up */
    LOCK_MODE = 0600,
};

/* Writes on a thread of their own, what was queued as one transaction; reads on another. */
struct accounts_sqlite {
    struct accounts_backend backend;
    struct work_lane *writer;
    struct work_lane *reader;
    struct accounts_sqlite_db write_db; /* the writer's thread's */
    struct accounts_sqlite_db read_db;  /* the reader's thread's */
    char *path;
    bool is_beside; /* another process owns the file */
    int lock_fd;
    int lanes_open;
    void (*closed)(void *owner);
    void *closed_owner;
};

static struct accounts_sqlite *from_backend(struct accounts_backend *backend) {
    return LIST_ENTRY(backend, struct accounts_sqlite, backend);
}

static struct accounts_backend_op *from_node(struct list *node) {
    return LIST_ENTRY(LIST_ENTRY(node, struct work_op, node), struct accounts_backend_op, work);
}

static void fail_op(struct accounts_backend_op *op, const char *cause) {
    op->rc = RC_STORAGE_UNAVAILABLE;
    op->cause = cause;
}

/* -- on the writer's thread -- */

static bool apply(struct accounts_sqlite_db *db, struct accounts_backend_op *op) {
    return accounts_sqlite_db_apply(db, op, (enum accounts_sqlite_statement)op->kind);
}

static bool begin(struct accounts_sqlite_db *db) {
    return accounts_sqlite_db_ready(db) && accounts_sqlite_db_run(db, ACCOUNTS_SQLITE_BEGIN);
}

/* What comes back from a failed COMMIT is not in the file. */
static bool commit(struct accounts_sqlite_db *db) {
    return accounts_sqlite_db_run(db, ACCOUNTS_SQLITE_COMMIT);
}

static bool write_together(struct accounts_sqlite_db *db, struct list *ops) {
    bool good = begin(db);
    for (struct list *node = ops->next; good && node != ops; node = node->next) {
        good = apply(db, from_node(node));
    }
    good = good && commit(db);
    if (!good) {
        accounts_sqlite_db_rollback(db);
    }
    return good;
}

static bool write_alone(struct accounts_sqlite_db *db, struct accounts_backend_op *op) {
    bool good = begin(db) && apply(db, op) && commit(db);
    if (!good) {
        accounts_sqlite_db_rollback(db);
        fail_op(op, db->cause);
    }
    return good;
}

/* One transaction for all. Where it fails they are tried one by one, so that each succeeds or fails
 * on its own; but not all of them against a disk that takes nothing. */
static void write_batch(void *owner, struct list *ops) {
    struct accounts_sqlite_db *db = &((struct accounts_sqlite *)owner)->write_db;
    bool is_one = ops->next->next == ops;
    if (!is_one && write_together(db, ops)) {
        return;
    }
    int failures = 0;
    for (struct list *node = ops->next; node != ops; node = node->next) {
        if (failures == FAILURES_IN_A_ROW_MAX) {
            fail_op(from_node(node), db->cause);
        } else {
            failures = write_alone(db, from_node(node)) ? 0 : failures + 1;
        }
    }
}

/* -- on the reader's thread -- */

static void read_batch(void *owner, struct list *ops) {
    struct accounts_sqlite_db *db = &((struct accounts_sqlite *)owner)->read_db;
    for (struct list *node = ops->next; node != ops; node = node->next) {
        struct accounts_backend_op *op = from_node(node);
        if (!accounts_sqlite_db_ready(db)) {
            fail_op(op, db->cause);
        } else {
            apply(db, op);
        }
    }
}

/* -- on the loop -- */

static void on_done(struct work_op *work, enum rc rc) {
    struct accounts_backend_op *op = LIST_ENTRY(work, struct accounts_backend_op, work);
    if (rc != RC_OK) {
        fail_op(op, rc_text(rc));
    }
    op->done(op);
}

static void submit(struct work_lane *lane, struct accounts_backend_op *op,
                   enum accounts_sqlite_statement which) {
    op->kind = (int)which;
    op->cause = NULL;
    work_lane_submit(lane, &op->work, NULL, on_done);
}

static void get(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->reader, op, ACCOUNTS_SQLITE_GET);
}

static void next(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->reader, op, ACCOUNTS_SQLITE_NEXT);
}

static void put(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->writer, op, ACCOUNTS_SQLITE_PUT);
}

static void swap(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->writer, op, ACCOUNTS_SQLITE_SWAP);
}

static void mark(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->writer, op, ACCOUNTS_SQLITE_MARK);
}

static void remove_row(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->writer, op, ACCOUNTS_SQLITE_REMOVE);
}

static void ping(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->writer, op, ACCOUNTS_SQLITE_PING);
}

static void version(struct accounts_backend *backend, struct accounts_backend_op *op) {
    submit(from_backend(backend)->writer, op, ACCOUNTS_SQLITE_VERSION);
}

/* No lane is left. The writer closes last, which moves the log into the file. */
static void free_store(struct accounts_sqlite *store) {
    accounts_sqlite_db_close(&store->read_db);
    accounts_sqlite_db_close(&store->write_db);
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    mem_free(store->path);
    mem_free(store);
}

static void on_lane_closed(void *owner) {
    struct accounts_sqlite *store = owner;
    void (*closed)(void *closed_owner) = store->closed;
    void *closed_owner = store->closed_owner;
    if (--store->lanes_open > 0) {
        return;
    }
    free_store(store);
    if (closed != NULL) {
        closed(closed_owner);
    }
}

static void close_backend(struct accounts_backend *backend, void (*closed)(void *owner),
                          void *owner) {
    struct accounts_sqlite *store = from_backend(backend);
    store->closed = closed;
    store->closed_owner = owner;
    store->lanes_open = 2;
    work_lane_close(store->writer, on_lane_closed, store);
    work_lane_close(store->reader, on_lane_closed, store);
}

static const struct accounts_backend_ops backend_ops = {
    .get = get,
    .put = put,
    .swap = swap,
    .mark = mark,
    .remove = remove_row,
    .next = next,
    .version = version,
    .ping = ping,
    .close = close_backend,
};

/* A lock of its own beside the file, as commands may work on the file beside the server. It belongs
 * to the open file, so that a second server in the same process is refused too. */
static enum rc lock(struct accounts_sqlite *store, char problem[ACCOUNTS_PROBLEM_BYTES]) {
    size_t bytes = strlen(store->path) + sizeof ".lock";
    char *path = mem_alloc(bytes);
    snprintf(path, bytes, "%s.lock", store->path);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    enum rc rc = RC_OK;
    if (store->lock_fd < 0) {
        snprintf(problem, ACCOUNTS_PROBLEM_BYTES, "%s can't be opened: %s", path, strerror(errno));
        rc = RC_IO;
    } else if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(problem, ACCOUNTS_PROBLEM_BYTES,
                 errno == EWOULDBLOCK ? "%s is in use by another server: one file has one server"
                                      : "%s can't be locked",
                 store->path);
        rc = RC_IO;
    }
    mem_free(path);
    return rc;
}

static bool open_lanes(struct accounts_sqlite *store, struct loop *loop) {
    const struct work_lane_opts writer = {.threads = 1,
                                          .queue_max = LIMIT_SLOW_QUEUE,
                                          .batch_max = BATCH_MAX,
                                          .run_batch = write_batch,
                                          .owner = store,
                                          .name = "sqlite-writer",
                                          .lane = METRICS_LANE_STORE_WRITE};
    struct work_lane_opts reader = writer;
    reader.run_batch = read_batch;
    reader.name = "sqlite-reader";
    reader.lane = METRICS_LANE_STORE_READ;
    store->writer = work_lane_new(loop, &writer);
    store->reader = store->writer != NULL ? work_lane_new(loop, &reader) : NULL;
    return store->reader != NULL;
}

static enum rc own_file(struct accounts_sqlite *store, char problem[ACCOUNTS_PROBLEM_BYTES]) {
    enum rc rc = accounts_sqlite_db_make_folder(store->path, problem);
    if (rc == RC_OK) {
        rc = lock(store, problem);
    }
    return rc == RC_OK ? accounts_sqlite_db_prepare(store->path, problem) : rc;
}

static enum rc open_store(struct accounts_sqlite *store, struct loop *loop,
                          char problem[ACCOUNTS_PROBLEM_BYTES]) {
    enum rc rc = store->is_beside ? RC_OK : own_file(store, problem);
    if (rc != RC_OK ||
        (rc = accounts_sqlite_db_open(&store->write_db, store->path, true, problem)) != RC_OK) {
        return rc;
    }
    rc = accounts_sqlite_db_open(&store->read_db, store->path, false, problem);
    if (rc == RC_OK && !open_lanes(store, loop)) {
        snprintf(problem, ACCOUNTS_PROBLEM_BYTES, "no thread can be started");
        rc = RC_IO;
    }
    return rc;
}

static enum rc open_as(struct loop *loop, const char *path, bool is_beside,
                       struct accounts_backend **out, char problem[ACCOUNTS_PROBLEM_BYTES]) {
    struct accounts_sqlite *store = mem_calloc(1, sizeof *store);
    store->is_beside = is_beside;
    store->backend.ops = &backend_ops;
    store->path = accounts_sqlite_db_path(path);
    store->lock_fd = -1;
    enum rc rc = open_store(store, loop, problem);
    if (rc == RC_OK) {
        *out = &store->backend;
    } else if (store->writer != NULL) {
        store->lanes_open = 1;
        work_lane_close(store->writer, on_lane_closed, store);
    } else {
        free_store(store);
    }
    return rc;
}

enum rc accounts_sqlite_open(struct loop *loop, const char *path, struct accounts_backend **out,
                             char problem[ACCOUNTS_PROBLEM_BYTES]) {
    return open_as(loop, path, false, out, problem);
}

enum rc accounts_sqlite_open_beside(struct loop *loop, const char *path,
                                    struct accounts_backend **out,
                                    char problem[ACCOUNTS_PROBLEM_BYTES]) {
    return open_as(loop, path, true, out, problem);
}

const char *accounts_sqlite_library_version(void) {
    return sqlite3_libversion();
}
