// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A disk that fails when told to: a SQLite VFS in front of the system's. It is the default from
 * install on, so that the code under test opens its files through it without knowing. Any thread.
 */
struct faults_sqlite;

/* A bit for each kind of call that can fail. */
enum {
    FAULTS_SQLITE_OPEN = 1 << 0,
    FAULTS_SQLITE_READ = 1 << 1,
    FAULTS_SQLITE_WRITE = 1 << 2,
    FAULTS_SQLITE_SYNC = 1 << 3,
    FAULTS_SQLITE_TRUNCATE = 1 << 4,
    FAULTS_SQLITE_SIZE = 1 << 5,
    FAULTS_SQLITE_LOCK = 1 << 6,
    FAULTS_SQLITE_SHM = 1 << 7, /* shared memory of the log's index: map and lock */
    FAULTS_SQLITE_DELETE = 1 << 8,
    FAULTS_SQLITE_ACCESS = 1 << 9,
    FAULTS_SQLITE_ALL = (1 << 10) - 1,
};

struct faults_sqlite *faults_sqlite_install(void);
/* No file may be open. */
void faults_sqlite_remove(struct faults_sqlite *faults);

/* Every call of these kinds returns `code` (0: the one that fits the call) until heal. */
void faults_sqlite_fail(struct faults_sqlite *faults, unsigned kinds, int code);
/* Only the n-th (from 1) of these from now on, and the `more` that follow it. */
void faults_sqlite_fail_nth(struct faults_sqlite *faults, unsigned kinds, int64_t n, int64_t more);
/* Every call of these kinds waits, until heal: a disk that does not answer. */
void faults_sqlite_hold(struct faults_sqlite *faults, unsigned kinds);
void faults_sqlite_heal(struct faults_sqlite *faults);

/* True: a fault was met since it was last set. */
bool faults_sqlite_met(const struct faults_sqlite *faults);
int64_t faults_sqlite_syncs(const struct faults_sqlite *faults); /* ever */
