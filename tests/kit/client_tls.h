// SPDX-License-Identifier: MIT
#pragma once

#include "io/tls.h"
#include "kit/client.h"

/* The TLS half of kit/client. */
struct client_tls;

/* Begins the handshake. `send` writes to the socket. */
struct client_tls *client_tls_new(struct client *client,
                                  bool (*send)(struct client *client, struct slice records));
void client_tls_free(struct client_tls *tls);
bool client_tls_send(struct client_tls *tls, struct slice bytes);
/* Appends what it means. */
enum tls_state client_tls_receive(struct client_tls *tls, struct slice records, struct buf *plain);
bool client_tls_is_open(const struct client_tls *tls);
void client_tls_end(struct client_tls *tls);
