// SPDX-License-Identifier: MIT
#pragma once

#include "kit/platform.h"
#include "kit/scratch.h"

/* A platform on which every endpoint has something to do, so that a test can fail one thing that
 * they depend on and ask them all. Each user has one part:
 *
 *   warm      linked, and the server remembers it      reader, syncer, leaver   linked
 *   cold      linked, and the server must look         newcomer, browser        about to come back
 */
struct stage {
    struct scratch folder;
    struct platform p;
    struct ask_grant newcomer;
    struct ask_grant browser;
    char asin[64]; /* of a book of the catalogue */
};

#define STAGE_ENDPOINTS_MAP(X)                                                                     \
    X(AUTHORIZE, "POST oauth/authorize")                                                           \
    X(CALLBACK, "POST oauth/callback")                                                             \
    X(WAY_BACK, "GET oauth/callback")                                                              \
    X(WARM, "GET connected, remembered")                                                           \
    X(COLD, "GET connected")                                                                       \
    X(LIBRARY, "GET library")                                                                      \
    X(SYNC, "POST library/sync")                                                                   \
    X(DISCONNECT, "POST disconnect")                                                               \
    X(SEARCH, "GET search")                                                                        \
    X(DETAILS, "GET details")                                                                      \
    X(PLAY_URL, "GET play-url")                                                                    \
    X(HEALTHZ, "GET /healthz")                                                                     \
    X(READYZ, "GET /readyz")                                                                       \
    X(METRICS, "GET /metrics")                                                                     \
    X(OPENAPI, "GET /openapi.json")
#define STAGE_ENDPOINT(id, name) STAGE_##id,
enum stage_endpoint { STAGE_ENDPOINTS_MAP(STAGE_ENDPOINT) STAGE_ENDPOINTS };
#undef STAGE_ENDPOINT

/* Starts with `settings` (NULL: none); what must be linked before is linked under `before` (NULL:
 * the same), by a server that has stopped by now. `late_ms` is how much later it is then. */
struct stage_opts {
    const char *const *settings;
    const char *const *before;
    int64_t late_ms;
};
void stage_start(struct stage *stage, struct stage_opts opts);
void stage_stop(struct stage *stage);

/* What an endpoint answers. */
struct stage_answer {
    enum stage_endpoint endpoint;
    int status;
    char detail[64]; /* of an error; of the way back the reason, or "connected" */
    int64_t took_ms;
    char retry_after[16];
};
struct stage_answer stage_ask(struct stage *stage, enum stage_endpoint endpoint);

/* The part's request as bytes for a connection of the test's own. */
enum { STAGE_REQUEST_BYTES = ASK_CALLBACK_BYTES };
void stage_request(struct stage *stage, enum stage_endpoint endpoint,
                   char out[STAGE_REQUEST_BYTES]);

/* Asks all of them in that order: all are well, but for the `count` that are listed; each within
 * `within_ms`. */
struct stage_exception { /* status 0: not asked */
    enum stage_endpoint endpoint;
    int status;
    const char *detail;
};
void stage_expect(struct stage *stage, const struct stage_exception *exceptions, size_t count,
                  int64_t within_ms);
