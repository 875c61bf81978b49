// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/metrics.h"
#include "io/upstream.h"
#include "io/work.h"
#include "provider/books.h"
#include "provider/provider.h"
#include "provider/simprovider.h"
#include "provider/token.h"

/* What src/provider needs around it, and a simulated provider on a thread of its own that it calls.
 * Retries come quickly; breakers never open unless a test says so. */
enum { RIG_CALLS = 16, RIG_TEXT_BYTES = 256, RIG_LOG_BYTES = 256 * 1024 };

/* One call, of any kind, and what its completion said. */
struct rig_call {
    struct rig *rig;
    enum provider_call_endpoint endpoint;
    union {
        struct token_op token;
        struct books_op books;
    } op;
    bool is_started;
    int done; /* how often */
    enum rc rc;
    bool was_sent;
    bool is_refusing_us;
    char access_token[RIG_TEXT_BYTES];
    char refresh_token[RIG_TEXT_BYTES]; /* "": none */
    char user_id[RIG_TEXT_BYTES];
    int64_t expires_in_s;
    struct buf json;
    size_t count;
    int64_t took_ms;
    int64_t started_ms;
};

struct rig {
    struct clock clock;
    struct loop loop;
    struct metrics metrics;
    struct log *log;
    int log_fd;
    struct upstream *upstream;
    struct work *work;
    struct provider provider;
    struct simprovider *sim;
    char auth_url[128];
    char api_base_url[128];
    char revoke_url[128];
    /* what calls send */
    char code[128];
    char verifier[RANDOM_TEXT_BYTES + 1];
    char access_token[RIG_TEXT_BYTES];
    char refresh_token[RIG_TEXT_BYTES];
    const char *query;
    const char *asin;
    uint64_t skip;
    uint64_t limit;
    bool is_counted_only;
    int64_t patience_ms; /* until a call's deadline */

    struct rig_call calls[RIG_CALLS];
    size_t open; /* calls not done */
    struct loop_timer watch;
    bool (*is_time)(struct rig *rig);
    void (*then)(struct rig *rig);
    bool then_ran;
    int closing;
};

struct rig_opts {
    size_t connections_max;
    size_t queue_max;
    size_t work_max;
    int64_t timeout_ms;
};
extern const struct rig_opts rig_usual;

struct rig *rig_new(const struct rig_opts *opts);
/* Closes and frees all of it, asserting that nothing stays. */
void rig_end(struct rig *rig);

/* The user consents: rig->code and verifier are new. */
void rig_consent(struct rig *rig);
/* ... and is linked: the tokens are new too. */
void rig_link(struct rig *rig);

struct rig_call *rig_start(struct rig *rig, size_t i, enum provider_call_endpoint endpoint);
void rig_cancel(struct rig_call *call);
/* Until all calls are done. */
void rig_run(struct rig *rig);
/* One call alone, to its end. */
struct rig_call *rig_ask(struct rig *rig, enum provider_call_endpoint endpoint);

/* In rig_run: looks every millisecond whether it is time, then runs `then` once. */
void rig_when(struct rig *rig, bool (*is_time)(struct rig *rig), void (*then)(struct rig *rig));

void rig_fault(struct rig *rig, enum provider_call_endpoint endpoint,
               struct simprovider_fault fault);
/* Requests of this kind that have reached the provider. */
int64_t rig_sends(struct rig *rig, enum provider_call_endpoint endpoint);
int64_t rig_metric(struct rig *rig, enum provider_call_endpoint endpoint,
                   enum provider_call_outcome outcome);
const char *rig_endpoint_name(enum provider_call_endpoint endpoint);
bool rig_is_post(enum provider_call_endpoint endpoint);

/* All log lines so far, NUL-terminated. */
void rig_log(struct rig *rig, char out[RIG_LOG_BYTES]);
