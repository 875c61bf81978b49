// SPDX-License-Identifier: MIT
#include "kit/faults_sqlite.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

struct faults_sqlite {
    sqlite3_vfs vfs;
    sqlite3_vfs *below;
    _Atomic unsigned kinds;
    _Atomic int code;
    _Atomic int64_t wait; /* calls before the first that fails */
    _Atomic int64_t left; /* calls that fail */
    _Atomic bool met;
    _Atomic int64_t syncs;
    _Atomic unsigned held_kinds;
    pthread_mutex_t mutex; /* of a change of held_kinds */
    pthread_cond_t released;
};

/* The file below lies behind it, in the memory that SQLite gave. */
struct file {
    sqlite3_file base;
    struct faults_sqlite *faults;
};

static sqlite3_file *below(sqlite3_file *base) {
    return (sqlite3_file *)(void *)((char *)base + sizeof(struct file));
}

static struct faults_sqlite *faults_of(sqlite3_file *base) {
    return ((struct file *)(void *)base)->faults;
}

static void wait_for_release(struct faults_sqlite *faults, unsigned kind) {
    pthread_mutex_lock(&faults->mutex);
    while ((faults->held_kinds & kind) != 0) {
        atomic_store(&faults->met, true);
        pthread_cond_wait(&faults->released, &faults->mutex);
    }
    pthread_mutex_unlock(&faults->mutex);
}

static int fault(struct faults_sqlite *faults, unsigned kind, int fitting) {
    if ((atomic_load(&faults->held_kinds) & kind) != 0) {
        wait_for_release(faults, kind);
    }
    if ((atomic_load(&faults->kinds) & kind) == 0 || atomic_fetch_sub(&faults->wait, 1) > 0 ||
        atomic_fetch_sub(&faults->left, 1) <= 0) {
        return SQLITE_OK;
    }
    atomic_store(&faults->met, true);
    int code = atomic_load(&faults->code);
    return code != 0 ? code : fitting;
}

#define CHECK(file, kind, fitting)                                                                 \
    do {                                                                                           \
        int code_ = fault(faults_of(file), FAULTS_SQLITE_##kind, (fitting));                       \
        if (code_ != SQLITE_OK) {                                                                  \
            return code_;                                                                          \
        }                                                                                          \
    } while (0)

static int file_close(sqlite3_file *file) {
    return below(file)->pMethods->xClose(below(file));
}

static int file_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at) {
    CHECK(file, READ, SQLITE_IOERR_READ);
    return below(file)->pMethods->xRead(below(file), out, n, at);
}

static int file_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at) {
    CHECK(file, WRITE, SQLITE_FULL);
    return below(file)->pMethods->xWrite(below(file), bytes, n, at);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
    CHECK(file, TRUNCATE, SQLITE_IOERR_TRUNCATE);
    return below(file)->pMethods->xTruncate(below(file), size);
}

static int file_sync(sqlite3_file *file, int flags) {
    atomic_fetch_add(&faults_of(file)->syncs, 1);
    CHECK(file, SYNC, SQLITE_IOERR_FSYNC);
    return below(file)->pMethods->xSync(below(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *out) {
    CHECK(file, SIZE, SQLITE_IOERR_FSTAT);
    return below(file)->pMethods->xFileSize(below(file), out);
}

static int file_lock(sqlite3_file *file, int level) {
    CHECK(file, LOCK, SQLITE_IOERR_LOCK);
    return below(file)->pMethods->xLock(below(file), level);
}

static int file_unlock(sqlite3_file *file, int level) {
    return below(file)->pMethods->xUnlock(below(file), level);
}

static int file_reserved(sqlite3_file *file, int *out) {
    return below(file)->pMethods->xCheckReservedLock(below(file), out);
}

static int file_control(sqlite3_file *file, int op, void *arg) {
    return below(file)->pMethods->xFileControl(below(file), op, arg);
}

static int file_sector(sqlite3_file *file) {
    return below(file)->pMethods->xSectorSize(below(file));
}

static int file_device(sqlite3_file *file) {
    return below(file)->pMethods->xDeviceCharacteristics(below(file));
}

static int file_shm_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **out) {
    CHECK(file, SHM, SQLITE_IOERR_SHMMAP);
    return below(file)->pMethods->xShmMap(below(file), page, bytes, extend, out);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    if ((flags & SQLITE_SHM_UNLOCK) == 0) {
        CHECK(file, SHM, SQLITE_IOERR_SHMLOCK);
    }
    return below(file)->pMethods->xShmLock(below(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file) {
    below(file)->pMethods->xShmBarrier(below(file));
}

static int file_shm_unmap(sqlite3_file *file, int drop) {
    return below(file)->pMethods->xShmUnmap(below(file), drop);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    struct faults_sqlite *faults = vfs->pAppData;
    file->pMethods = NULL; /* xClose follows only where it is set */
    int code = fault(faults, FAULTS_SQLITE_OPEN, SQLITE_CANTOPEN);
    if (code == SQLITE_OK) {
        code = faults->below->xOpen(faults->below, name, below(file), flags, out);
    }
    if (code == SQLITE_OK) {
        ((struct file *)(void *)file)->faults = faults;
        file->pMethods = &methods;
    }
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder) {
    struct faults_sqlite *faults = vfs->pAppData;
    int code = fault(faults, FAULTS_SQLITE_DELETE, SQLITE_IOERR_DELETE);
    return code != SQLITE_OK ? code : faults->below->xDelete(faults->below, name, sync_folder);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
    struct faults_sqlite *faults = vfs->pAppData;
    int code = fault(faults, FAULTS_SQLITE_ACCESS, SQLITE_IOERR_ACCESS);
    return code != SQLITE_OK ? code : faults->below->xAccess(faults->below, name, flags, out);
}

struct faults_sqlite *faults_sqlite_install(void) {
    struct faults_sqlite *faults = mem_calloc(1, sizeof *faults);
    pthread_mutex_init(&faults->mutex, NULL);
    pthread_cond_init(&faults->released, NULL);
    faults->below = sqlite3_vfs_find(NULL);
    faults->vfs = *faults->below; /* what is not replaced knows nothing of the files */
    faults->vfs.zName = "faults";
    faults->vfs.pAppData = faults;
    faults->vfs.szOsFile = (int)sizeof(struct file) + faults->below->szOsFile;
    faults->vfs.xOpen = vfs_open;
    faults->vfs.xDelete = vfs_delete;
    faults->vfs.xAccess = vfs_access;
    sqlite3_vfs_register(&faults->vfs, 1);
    return faults;
}

void faults_sqlite_remove(struct faults_sqlite *faults) {
    sqlite3_vfs_unregister(&faults->vfs);
    sqlite3_vfs_register(faults->below, 1);
    pthread_cond_destroy(&faults->released);
    pthread_mutex_destroy(&faults->mutex);
    mem_free(faults);
}

static void set(struct faults_sqlite *faults, unsigned kinds, int code, int64_t wait,
                int64_t left) {
    atomic_store(&faults->kinds, 0);
    atomic_store(&faults->met, false);
    atomic_store(&faults->code, code);
    atomic_store(&faults->wait, wait);
    atomic_store(&faults->left, left);
    atomic_store(&faults->kinds, kinds);
}

void faults_sqlite_fail(struct faults_sqlite *faults, unsigned kinds, int code) {
    set(faults, kinds, code, 0, INT64_MAX);
}

void faults_sqlite_fail_nth(struct faults_sqlite *faults, unsigned kinds, int64_t n, int64_t more) {
    set(faults, kinds, 0, n - 1, 1 + more);
}

static void set_held(struct faults_sqlite *faults, unsigned kinds) {
    pthread_mutex_lock(&faults->mutex);
    atomic_store(&faults->held_kinds, kinds);
    pthread_cond_broadcast(&faults->released);
    pthread_mutex_unlock(&faults->mutex);
}

void faults_sqlite_hold(struct faults_sqlite *faults, unsigned kinds) {
    atomic_store(&faults->met, false);
    set_held(faults, kinds);
}

void faults_sqlite_heal(struct faults_sqlite *faults) {
    set(faults, 0, 0, 0, 0);
    set_held(faults, 0);
}

bool faults_sqlite_met(const struct faults_sqlite *faults) {
    return atomic_load(&faults->met);
}

int64_t faults_sqlite_syncs(const struct faults_sqlite *faults) {
    return atomic_load(&faults->syncs);
}
