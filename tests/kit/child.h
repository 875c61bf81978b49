// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "kit/server.h"

/* The real program, `latchkey serve`, as a child process: for what only a process can show (kill
 * -9, limits, start and stop). The same settings as kit_server's. */
struct child {
    pid_t pid;
    int port;
    int out; /* its stdout, read up to the line that says it listens */
};

/* Waits until it listens. `settings`: "NAME=value", NULL at the end, over the kit's. */
void child_start(struct child *child, const char *folder, const char *provider_url,
                 const char *const *settings);
void child_kill(struct child *child); /* -9, and reaps */
/* SIGTERM, and reaps; the exit code, or -1 where a signal ended it. */
int child_stop(struct child *child);
