// SPDX-License-Identifier: MIT
#pragma once

#include "kit/program.h"
#include "kit/settings.h"

/* The real program, `latchkey serve`, as a child process: for what only a process can show (kill
 * -9, limits, memory). */
struct child {
    struct program *program;
    int port;
};

/* Waits until it listens. `settings` over kit/settings.h's, NULL: none. */
void child_start(struct child *child, const char *folder, const char *provider_url,
                 const char *const *settings);
pid_t child_pid(const struct child *child);
void child_kill(struct child *child); /* -9, and reaps */
/* SIGTERM, and reaps; the exit code, 128 + n where signal n ended it. */
int child_stop(struct child *child);
