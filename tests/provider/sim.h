// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "crypto/jwt.h"
#include "http/msg.h"
#include "provider/sim_faults.h"
#include "provider/sim_grants.h"
#include "provider/simprovider.h"

/* What the simulated provider knows, apart from its sockets: its endpoints are plain functions from
 * a request to an answer over this. simprovider.c calls them under its lock. */
enum { SIM_REDIRECT_URIS_MAX = 16, SIM_ANSWER_BYTES = 64 * 1024 * 1024 };

struct sim {
    char *client_id;
    struct secret client_secret;
    char *redirect_uris[SIM_REDIRECT_URIS_MAX];
    size_t redirect_uri_count;
    struct jwt_key platform; /* hmac NULL: no sign-in */
    char *latchkey_url;
    char *issuer; /* NULL: not sent */
    char *user_id;
    char *url; /* of this provider, as browsers see it */
    struct buf page_csp;
    size_t library_size;
    const struct clock *clock;
    struct sim_grants grants;
    struct sim_faults faults;
    int64_t counters[SIMPROVIDER_COUNTERS];
    struct secret revoked; /* the token of the last revoke request */
};

struct sim_answer {
    int status;
    const char *content_type; /* NULL: no body */
    struct buf body;
    struct buf headers;
    struct buf csp; /* empty: default-src 'none' */
};

struct sim_call {
    struct sim *sim;
    struct sim_answer *answer;
    enum http_method method;
    struct slice path;
    struct slice query;
    struct slice host;
    struct slice body;
    struct slice authorization;
    struct slice content_type;
    struct arena *arena;
    int64_t now_ms;
};

/* Counts the request; then, unless a fault refuses it, it goes to its endpoint. */
void sim_arrived(struct sim_call *call);
void sim_serve(struct sim_call *call);

/* Faults, counters, codes and tokens. */
void sim_reset(struct sim *sim);

/* A parameter of a query or a form: null where it is absent or stands there twice. */
struct slice sim_parameter(struct sim_call *call, struct slice form, const char *name);

static inline void sim_count(struct sim *sim, enum simprovider_counter counter) {
    sim->counters[counter]++;
}

/* {"error":"<error>"} */
void sim_answer_error(struct sim_answer *answer, int status, const char *error);
