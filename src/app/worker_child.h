// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "app/worker.h"
#include "io/loop.h"

/* A worker as its parent sees it: a process made by exec, and the socket to it. */
struct worker_child;

struct worker_child_events {
    /* It serves. At most once. */
    void (*ready)(void *owner);
    /* It is gone: by itself with `code`, or by a signal (0: by none). Once; the child's memory goes
       by itself afterwards. */
    void (*ended)(void *owner, int code, int signal);
};

/* Borrowed for the call. */
struct worker_child_opts {
    const char *program;     /* executed */
    const char *const *argv; /* NULL at the end; at most WORKER_ARGUMENTS_MAX */
    const char *name;        /* "2/4", appended to it, and then the number of sockets */
    char *const *env;
    int output_fd; /* its standard output */
    int metrics_fd;
    const int *sockets;
    size_t socket_count;
    const struct worker_child_events *events;
    void *owner;
};
enum { WORKER_ARGUMENTS_MAX = 6 };

/* NULL with a cause where the system refuses. Events come from the loop. */
struct worker_child *worker_child_start(struct loop *loop, const struct worker_child_opts *opts,
                                        const char **problem);
int worker_child_pid(const struct worker_child *child);
bool worker_child_is_ready(const struct worker_child *child);
void worker_child_tell(struct worker_child *child, enum worker_order order);
void worker_child_kill(struct worker_child *child); /* -9 */
