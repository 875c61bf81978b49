// SPDX-License-Identifier: MIT
#pragma once

#include "api/api.h"
#include "auth/users.h"
#include "kit/client.h"
#include "kit/keys_rig.h"
#include "kit/stores_stub.h"
#include "kit/users_stub.h"

/* The API behind an HTTP server, on the test's own loop and thread, so that a test holds each thing
 * that a request's checks wait for: published keys (a host of the test's), users (a stub), limits
 * (a Redis). States are kept in memory; the account store keeps nothing, and the provider is
 * nowhere: what the checks let pass asks for a play-url, authorizes, or spends a state that isn't
 * there. */
struct api_rig_opts {
    bool has_users;
    bool has_stubs;        /* for the state store too: the test holds what both answer to /readyz */
    const char *redis_url; /* NULL: limits in memory */
    struct api_rates rates;
    const char *return_url; /* NULL: none */
};

struct api_rig {
    struct keys_rig *keys; /* loop, clock, metrics, log, key host, bearer */
    struct rng rng;
    struct provider provider;
    struct stores_stub stores;
    struct states *states;
    struct accounts *accounts;
    struct users_stub stub;
    struct users *users; /* NULL without */
    struct redis_url url;
    struct redis *redis; /* NULL without */
    struct api *api;
    struct http_server *server;
    int port;
    int closing;
    bool (*is_time)(struct api_rig *rig);
    const struct client *asking;
};

/* With a Redis: it is ready, where there is one. */
struct api_rig *api_rig_open(const struct api_rig_opts *opts);
/* Closes and frees all of it, asserting that nothing stays. */
void api_rig_close(struct api_rig *rig);
/* The two halves of it. */
void api_rig_close_begin(struct api_rig *rig);
void api_rig_close_end(struct api_rig *rig);

/* Runs the loop until then; fails the test after 10 s. */
void api_rig_run(struct api_rig *rig, bool (*is_time)(struct api_rig *rig));
void api_rig_run_ms(struct api_rig *rig, int64_t ms);
int64_t api_rig_metric(const struct api_rig *rig, enum metric metric);

/* A request on a connection of its own; `more` are further header lines and the body, or NULL: an
 * empty line. Sent, and not waited for. */
void api_rig_send(struct api_rig *rig, struct client *client, const char *method, const char *path,
                  const char *token, const char *more);
/* Runs the loop until the client has been answered: the status. The response needs a
 * client_response_fini. */
int api_rig_answer(struct api_rig *rig, struct client *client, const char *method,
                   struct client_response *response);
/* Both; expects this status and, unless NULL, this detail. The connection is closed. */
void api_rig_expect(struct api_rig *rig, const char *path, const char *token, int status,
                    const char *detail);
/* Has nothing been answered so far? */
bool api_rig_is_silent(const struct client *client);
