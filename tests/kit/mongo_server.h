// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kit/program.h"
#include "kit/scratch.h"

/* A real server that speaks MongoDB's protocol, as third_party/install builds it (FerretDB over
 * SQLite), on a loopback port, with a folder of its own: it keeps what is in it over a restart. A
 * failed expectation fails the test. */
struct mongo_server {
    struct program *program; /* NULL: it is stopped */
    struct scratch folder;
    char address[64];
    char url[128];           /* mongodb://<address>/latchkey_test[?replicaSet=<replica_set>] */
    const char *replica_set; /* NULL: a lone server */
    int cuts;
};

/* False where this machine has none, which is said in the way that tests/run counts; where CI is
 * set that fails the test. */
bool mongo_server_is_there(void);
#define NEEDS_MONGO_SERVER()                                                                       \
    do {                                                                                           \
        if (!mongo_server_is_there()) {                                                            \
            cr_skip_test("no MongoDB server");                                                     \
        }                                                                                          \
    } while (0)

void mongo_server_start(struct mongo_server *server);
/* One that says that it is the primary of a replica set, all that there is of it. */
void mongo_server_start_primary(struct mongo_server *server);
void mongo_server_free(struct mongo_server *server); /* ends it, removes its folder */

void mongo_server_kill(struct mongo_server *server); /* -9, and reaps */
/* On the same port, with what was stored. Waits until it listens. */
void mongo_server_restart(struct mongo_server *server);
/* The same with nothing stored. */
void mongo_server_restart_empty(struct mongo_server *server);
void mongo_server_freeze(struct mongo_server *server); /* SIGSTOP; waits until it has stopped */
void mongo_server_thaw(struct mongo_server *server);

/* What the server answers to a command of its protocol on the test's database, both as extended
 * JSON ({"find": "users", …}); over a connection of its own. printf-like. The same static buffer
 * each time. */
const char *mongo_server_ask(const struct mongo_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A number of the answer, where it stands at a dotted path ("cursor.firstBatch.0.n"); -1: nothing
 * stands there. */
int64_t mongo_server_ask_number(const struct mongo_server *server, const char *path,
                                const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The next command of a client is carried out, but its connection closes in the middle of the
 * answer. */
void mongo_server_cut(struct mongo_server *server);
