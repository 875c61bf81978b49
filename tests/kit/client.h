// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

/* A raw HTTP client: sends the bytes it is told to, as they are, and reads responses. Blocking, for
 * tests whose server runs on another thread or in another process. Every wait ends after
 * CLIENT_TIMEOUT_MS, as if the other end had closed. */
struct client {
    int fd;
    struct client_tls *tls; /* NULL: in plain */
    struct buf got;         /* read, and not yet part of a response */
    bool closed;            /* the other end sent FIN, or reset */
    bool was_reset;
    bool timed_out;
    bool was_ended; /* over TLS: the other end said that nothing follows */
};

enum { CLIENT_TIMEOUT_MS = 20 * 1000, CLIENT_ANSWER_MAX = 64 * 1024 * 1024 };

/* False where nobody listens. The client needs a client_fini in any case. */
bool client_connect(struct client *client, int port); /* 127.0.0.1 */
bool client_connect_unix(struct client *client, const char *path);
/* Over TLS 1.2, believing any certificate; true once the handshake is over. */
bool client_connect_tls(struct client *client, int port);
/* From now on client_connect to this port is that. One port a test. */
void client_over_tls(int port);
void client_fini(struct client *client);

/* False when the connection is broken. */
bool client_send(struct client *client, struct slice bytes);
#define CLIENT_SEND(client, literal) client_send((client), SLICE(literal))

/* Sends what the kernel takes of the bytes after the first `*sent`, and adds it; false when it
 * takes nothing for `ms`. */
bool client_send_some(struct client *client, struct slice bytes, size_t *sent, int ms);

void client_shutdown(struct client *client); /* FIN; reading goes on */
void client_reset(struct client *client);    /* RST; the client is of no use afterwards */

struct client_response {
    struct buf bytes; /* head and body as they came */
    int status;
    struct slice head; /* up to the empty line, which is not part of it */
    struct slice body;
};

/* The next whole response: up to its Content-Length, a chunked body's end, or the close. `method`
 * is that of the request ("HEAD" has no body). False where none comes. Needs a client_response_fini
 * in any case. */
bool client_read(struct client *client, const char *method, struct client_response *response);
void client_response_fini(struct client_response *response);

/* The value of the first header of that name (any case); null where absent. */
struct slice client_header(const struct client_response *response, const char *name);
size_t client_header_count(const struct client_response *response, const char *name);

/* Connects, sends, reads one response, closes. The status, or 0 without one. */
int client_ask(int port, const char *method, struct slice bytes, struct client_response *response);

/* Waits until the other end closes; false if bytes come first, or nothing does. */
bool client_is_closed(struct client *client);

/* True while nothing comes and the connection is open, for `ms`. */
bool client_is_silent(struct client *client, int ms);
