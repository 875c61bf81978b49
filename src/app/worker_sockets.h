// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "app/worker.h"
#include "base/address.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/bind.h"

/* The addresses that workers serve on, and their parent's hold on the sockets. TCP: each worker has
 * a socket of its own, which outlives it, so that what waits in its queue is its successor's. Unix
 * sockets can't be had like that: one is everyone's. */
enum { WORKER_ADDRESS_BYTES = ADDRESS_UNIX_PATH_MAX + 8 };

struct worker_place {
    char address[WORKER_ADDRESS_BYTES]; /* with the port that "0" became */
    int unix_fd;                        /* -1: TCP */
    dev_t file_device;                  /* of the socket file that is ours */
    ino_t file_number;
};

struct worker_places {
    struct worker_place at[WORKER_SOCKETS_MAX];
    size_t count;
};

/* Those of one worker, -1 where it has none now; of unix sockets the places' own. */
struct worker_sockets {
    int fds[WORKER_SOCKETS_MAX];
};

/* The first worker's sockets, which must find each address free. RC_USAGE or RC_IO with a sentence;
 * both are to be ended all the same. */
enum rc worker_places_open(struct worker_places *places, struct worker_sockets *first,
                           const struct slice *addresses, size_t count,
                           char problem[BIND_PROBLEM_BYTES]);
/* Lets go of unix sockets: workers have them. */
void worker_places_close(struct worker_places *places);
/* Removes the files of unix sockets, unless someone else has put theirs there. */
void worker_places_remove(const struct worker_places *places);

void worker_sockets_init(struct worker_sockets *sockets);
/* Binds what isn't; RC_OK too where nothing is to be done. */
enum rc worker_sockets_open(struct worker_sockets *sockets, const struct worker_places *places,
                            char problem[BIND_PROBLEM_BYTES]);
/* Clients that wait in the queues are refused, unless a worker has the sockets too. */
void worker_sockets_close(struct worker_sockets *sockets, const struct worker_places *places);
