// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "kit/program.h"
#include "kit/scratch.h"

/* A real redis-server of a test's own: on a free loopback port, in a folder of its own, ended by
 * its pid. It keeps nothing on disk unless asked. A failed expectation fails the test. */
struct redis_server_opts {
    bool appends;            /* --appendonly yes --appendfsync always */
    const char *password;    /* of the default user */
    const char *const *more; /* further arguments ("--maxmemory", "8mb", …, NULL); NULL: none */
    bool is_tls;             /* answers TLS only; more has the certificate's files */
};

struct redis_server {
    struct redis_server_opts opts; /* its strings must live as long */
    struct program *program;       /* NULL while it is stopped */
    struct scratch folder;
    int port;
    bool is_frozen;
};

/* Waits until it accepts connections and answers. Restarting keeps port and folder. */
void redis_server_start(struct redis_server *server, struct redis_server_opts opts);
void redis_server_free(struct redis_server *server);

void redis_server_stop(struct redis_server *server); /* SIGTERM, and reaps */
void redis_server_kill(struct redis_server *server); /* SIGKILL, and reaps */
void redis_server_again(struct redis_server *server);
void redis_server_freeze(struct redis_server *server); /* SIGSTOP; waits until it has stopped */
void redis_server_thaw(struct redis_server *server);

/* "redis://127.0.0.1:<port>/0", with the password where there is one. Static until the next call
 * of the same thread. */
const char *redis_server_url(const struct redis_server *server);

/* One command over a connection of its own, words split at spaces; what was answered as text: a
 * string's bytes, an integer's digits, "-" and an error's words, "(nil)", a list's elements one a
 * line. The same static buffer each time. */
const char *redis_server_ask(const struct redis_server *server, const char *command);
/* The same with arguments of any bytes. */
const char *redis_server_ask_args(const struct redis_server *server, const char *const *args);
