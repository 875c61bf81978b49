// SPDX-License-Identifier: MIT
#pragma once

#include "auth/bearer.h"
#include "kit/key_host.h"

/* What published keys need around them: a loop, an upstream, both lanes, a log that can be read,
 * and a host that publishes. */
enum { KEYS_RIG_LOG_BYTES = 64 * 1024 };

struct keys_rig {
    struct clock clock;
    struct loop loop;
    struct metrics metrics;
    struct log *log;
    int log_fd;
    char logs[KEYS_RIG_LOG_BYTES];
    struct upstream *upstream;
    struct work *work;
    struct work_lane *lane;
    struct key_host *host;
    struct jwks_source *source; /* NULL until keys_rig_open */
    struct bearer *bearer;      /* likewise */
    struct loop_timer watch;
    bool (*is_time)(struct keys_rig *rig);
    size_t wanted; /* for is_time */
    int64_t until_ms;
    int closing;
    void *owner; /* a larger rig, for its is_time */
};

extern const struct jwks_source_times keys_rig_times; /* as usual, but quick to retry */

struct keys_rig *keys_rig_new(void);
/* Starts the source, and a bearer without a SECRET_KEY. */
void keys_rig_open(struct keys_rig *rig, const struct jwks_source_times *times);
/* The same with other options of the bearer's; what is the rig's is filled in. */
void keys_rig_open_with(struct keys_rig *rig, const struct jwks_source_times *times,
                        struct bearer_opts opts);
/* Closes and frees all of it, asserting that nothing stays. */
void keys_rig_end(struct keys_rig *rig);

/* Runs the loop until then; fails the test after 10 s. */
void keys_rig_run(struct keys_rig *rig, bool (*is_time)(struct keys_rig *rig));
/* ... until so many fetches have ended, well or not. */
void keys_rig_run_fetches(struct keys_rig *rig, size_t fetches);
/* ... for so long. */
void keys_rig_run_ms(struct keys_rig *rig, int64_t ms);

size_t keys_rig_fetches(struct keys_rig *rig);
/* How often `text` stands in the log. */
size_t keys_rig_logged(struct keys_rig *rig, const char *text);
