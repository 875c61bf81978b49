// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "app/config.h"
#include "app/notes.h"
#include "app/worker.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/rc.h"

/* The server as a whole: builds everything in order, serves, drains, and closes in reverse. */
struct app;

/* How it sits in its process. */
struct app_hooks {
    int log_fd;                /* stays the caller's */
    bool owns_process;         /* takes signals, raises the open-files limit, forbids core dumps */
    const struct notes *notes; /* warnings to be logged; may be NULL. Read by app_start only */
    char *const *env; /* that of the configuration: reloads read its files again. May be NULL */
    const struct worker *worker; /* NULL: a process of its own */
};

/* Listens when it returns RC_OK (and says so in the log, a line an address). Otherwise nothing is
 * left of it, and the log holds a line `start_failed`: RC_USAGE, or what failed. `config` and
 * `clock` are borrowed until app_run has returned. Call it after any fork. */
enum rc app_start(struct app **out, const struct config *config, const struct clock *clock,
                  const struct app_hooks *hooks);

/* Serves until it is stopped and drained, then closes and frees the app. May run on another thread
 * than app_start did. Returns the exit code: 0, or 1 where a handle of the loop was left open. */
int app_run(struct app *app);

/* Starts the drain; called again, cuts it short. Any thread, but not once app_run has returned. */
void app_stop(struct app *app);

/* What SIGHUP does, app/reload. Any thread, but not once app_run has returned. */
void app_reload(struct app *app);

/* The bound port of the index-th address of LATCHKEY_LISTEN; 0 for a unix socket. */
int app_port(const struct app *app, size_t index);

/* The same of LATCHKEY_METRICS_LISTEN. */
int app_metrics_port(const struct app *app);

/* Until app_run has returned; any thread. */
const struct metrics *app_metrics(const struct app *app);
/* Blocks until every log line so far is written; any thread, until app_run is told to end. */
void app_flush_log(struct app *app);
