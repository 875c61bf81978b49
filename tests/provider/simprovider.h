// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/slice.h"
#include "io/loop.h"

/* A simulated OAuth 2.0 provider with an audiobook API, and a sample platform's page, on http/. It
 * is a program of its own (main.c) and, in tests, a guest on a loop: a test's own
 * (simprovider_start) or one on a thread that it makes (simprovider_spawn).
 *
 *   GET, POST /auth/oauth2/authorize   the consent page; its form answers 303 to the redirect URI
 *   POST /auth/oauth2/token, /revoke   RFC 6749 with RFC 7636; RFC 7009
 *   GET /api/1.0/library, /api/1.0/catalog/search, /api/1.0/catalog/{asin}, /covers/{asin}.svg
 *   GET /, POST /platform/session      the sample platform
 *   POST /sim/faults, /sim/reset, GET /sim/stats
 *
 * Codes live 60 s and work once; a second use revokes what came of the first. Refresh tokens
 * rotate; an old one that comes back ends the whole family, but for `reuse_grace_s`. Everything is
 * bounded. */
struct simprovider;

/* Copied by the call that takes them. NULL (or 0): the default, in brackets. */
struct simprovider_opts {
    const char *listen;        /* [127.0.0.1:0], port 0: any */
    const char *client_id;     /* [sim-client] */
    const char *client_secret; /* [sim-secret] */
    const char
        *redirect_uris; /* comma list; [http://127.0.0.1:8090/api/v1/user/audible/oauth/callback] */
    const char *platform_secret; /* signs the platform's JWTs (HS256); [none: no sign-in] */
    const char *latchkey_url;    /* for the page; [http://127.0.0.1:8090] */
    const char *issuer;          /* sent back as `iss`; [none sent] */
    const char *user_id;         /* of the token answer; [amzn1.account.SAMPLELISTENER] */
    int64_t access_ttl_s;        /* [3600] */
    int64_t reuse_grace_s;       /* [0] */
    size_t library_size;         /* [137] books; the catalogue has 1,200 more */
    const struct clock *clock;   /* [the system's] borrowed; of codes and tokens */
};

enum { SIMPROVIDER_PROBLEM_BYTES = 256 };

/* On the caller's loop. NULL with a sentence in `problem`. */
struct simprovider *simprovider_start(struct loop *loop, const struct simprovider_opts *opts,
                                      char problem[SIMPROVIDER_PROBLEM_BYTES]);
/* Cuts what is open. `closed` runs when all is gone, memory too; the loop must run until then. */
void simprovider_close(struct simprovider *sim, void (*closed)(void *owner), void *owner);

/* On a loop of its own, on a thread that ends with simprovider_join. */
struct simprovider *simprovider_spawn(const struct simprovider_opts *opts,
                                      char problem[SIMPROVIDER_PROBLEM_BYTES]);
/* False: a handle was left open on its loop (a leak). */
bool simprovider_join(struct simprovider *sim);

/* All that follows may be called from any thread. */

int simprovider_port(const struct simprovider *sim);
/* "http://127.0.0.1:<port>": AUDIBLE_AUTH_URL is this + "/auth/oauth2", AUDIBLE_API_BASE_URL this +
 * "/api", AUDIBLE_REVOKE_URL this + "/auth/oauth2/revoke". */
const char *simprovider_url(const struct simprovider *sim);

/* Plays the user at the consent page: what a browser would be sent back with. `auth_url` is checked
 * as GET authorize does. */
struct simprovider_return {
    char redirect_uri[LIMIT_URI_BYTES + 1];
    char location[2 * LIMIT_URI_BYTES + LIMIT_STATE_BYTES]; /* all of it, as in the 303 */
    char state[LIMIT_STATE_BYTES + 1];
    char code[128];
    char error[64]; /* "access_denied" and such; empty with a code */
};
/* False: not a request that the provider would show a consent page for; `out->error` says why, and
 * `out->location` is empty where the browser would not be sent back at all. */
bool simprovider_consent(struct simprovider *sim, struct slice auth_url, bool allow,
                         struct simprovider_return *out);

/* Faults on command. The request is counted in any case. STATUS, RATELIMIT, REDIRECT and NOISE
 * refuse it; under all others it is carried out and its answer spoilt: that is how it is when an
 * answer is lost. */
#define SIMPROVIDER_FAULT_MAP(X)                                                                   \
    X(DELAY, "delay")       /* the answer comes after `number` ms */                               \
    X(HOLD, "hold")         /* ... or at simprovider_release */                                    \
    X(STATUS, "status")     /* status `number` [500] with the body `text` [an OAuth error] */      \
    X(GARBAGE, "garbage")   /* 200, said to be JSON, and isn't */                                  \
    X(NOISE, "noise")       /* bytes that aren't HTTP, then FIN */                                 \
    X(TRUNCATE, "truncate") /* FIN in the middle of the body */                                    \
    X(WRONG_TYPES, "wrong_types") /* 200 and every member of a type that it shouldn't have */      \
    X(DROP, "drop")               /* a reset instead of an answer */                               \
    X(HUGE, "huge")               /* a JSON body of `number` bytes [20 MiB] */                     \
    X(RATELIMIT, "ratelimit")     /* 429 with Retry-After: `number` [1] */                         \
    X(REDIRECT, "redirect")       /* 302 to `text` [/sim/redirected, which counts] */              \
    X(TRICKLE, "trickle")         /* the answer a byte every `number` ms [200] */
#define SIMPROVIDER_FAULT_ENUM(id, name) SIMPROVIDER_##id,
enum simprovider_fault_kind {
    SIMPROVIDER_FAULT_MAP(SIMPROVIDER_FAULT_ENUM) SIMPROVIDER_FAULT_KINDS
};
#undef SIMPROVIDER_FAULT_ENUM

struct simprovider_fault {
    const char *path; /* exact ("/auth/oauth2/token"), or a prefix that ends with "*" */
    enum simprovider_fault_kind kind;
    int64_t number;   /* 0: the default */
    const char *text; /* NULL: the default */
    unsigned count;   /* for so many requests; 0: until cleared */
};
/* The first fault that fits a request's path is used. False: 32 are set already, or a text longer
 * than 4,095 bytes. */
bool simprovider_fault(struct simprovider *sim, const struct simprovider_fault *fault);
void simprovider_faults_clear(struct simprovider *sim);
/* Lets go of every answer that HOLD holds now. */
void simprovider_release(struct simprovider *sim);

/* Requests as they arrived, and what became of some. */
#define SIMPROVIDER_COUNTER_MAP(X)                                                                 \
    X(AUTHORIZES, "authorizes") /* GET of the consent page */                                      \
    X(CONSENTS, "consents")     /* codes given out */                                              \
    X(DENIALS, "denials")                                                                          \
    X(EXCHANGES, "exchanges") /* POST token with a code */                                         \
    X(EXCHANGES_OK, "exchanges_ok")                                                                \
    X(REFRESHES, "refreshes")                                                                      \
    X(REFRESHES_OK, "refreshes_ok")                                                                \
    X(TOKENS_OTHER, "tokens_other") /* POST token with neither */                                  \
    X(CODE_REUSES, "code_reuses")   /* each ended the tokens of the first use */                   \
    X(REFRESH_REUSES, "refresh_reuses")                                                            \
    X(REVOKES, "revokes")                                                                          \
    X(LIBRARIES, "libraries")                                                                      \
    X(SEARCHES, "searches")                                                                        \
    X(DETAILS, "details")                                                                          \
    X(REDIRECTED, "redirected") /* someone followed a REDIRECT */                                  \
    X(FAULTS, "faults")         /* answers spoilt */                                               \
    X(ANSWERED, "answered")     /* answers given, spoilt or not */                                 \
    X(ABANDONED, "abandoned")   /* the client left before its answer */
#define SIMPROVIDER_COUNTER_ENUM(id, name) SIMPROVIDER_##id,
enum simprovider_counter { SIMPROVIDER_COUNTER_MAP(SIMPROVIDER_COUNTER_ENUM) SIMPROVIDER_COUNTERS };
#undef SIMPROVIDER_COUNTER_ENUM

int64_t simprovider_count(struct simprovider *sim, enum simprovider_counter counter);
/* Blocks the calling thread until the counter is at least `n`; false after `timeout_ms`. Not for
 * the thread whose loop the provider is on. */
bool simprovider_wait(struct simprovider *sim, enum simprovider_counter counter, int64_t n,
                      int64_t timeout_ms);

/* The token of the last POST revoke; false where there was none. */
bool simprovider_revoked(struct simprovider *sim, char out[LIMIT_TOKEN_BYTES + 1]);
/* Whether a token that this provider made still works. */
bool simprovider_is_live(struct simprovider *sim, struct slice token);

/* No faults, counters at zero, every code and token forgotten. */
void simprovider_reset(struct simprovider *sim);
