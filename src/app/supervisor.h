// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/notes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rc.h"
#include "base/slice.h"

/* The parent of LATCHKEY_WORKERS processes that serve on the same addresses. It opens the sockets,
 * starts the workers and starts them again, passes signals on, and ends when they have. It computes
 * nothing, knows no secret, and serves nobody. */
struct supervisor;

/* Borrowed for supervisor_start, but for what is said. */
struct supervisor_opts {
    int workers;
    const char *program;     /* until the end: what a worker is, and its arguments; see */
    const char *const *argv; /* app/worker_child */
    char *const *env;        /* until the end */
    const struct slice *addresses;
    size_t address_count;
    int64_t drain_ms; /* how long workers may take to end before they are hurried */
    int log_fd;       /* until the end; the workers' standard output as well */
    enum log_level log_level;
    const struct clock *clock; /* until the end */
    const struct notes *notes; /* warnings to be logged; may be NULL */
};

/* RC_OK: all addresses are bound. Otherwise nothing is left of it, and the log holds a line
 * `start_failed`: RC_USAGE, or what failed. */
enum rc supervisor_start(struct supervisor **out, const struct supervisor_opts *opts);

/* Runs until SIGTERM or SIGINT and then until all workers have ended, and frees it. The exit code:
 * 0, or 1 where a worker did not end well; or that of the first worker, where that never served. */
int supervisor_run(struct supervisor *supervisor);
