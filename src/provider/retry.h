// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

/* When a call that may be made again is made again: after a pause that doubles and is shortened at
 * random by up to a half; later where the peer asks for it; never where it would not fit. Pure. */
struct retry_opts {
    unsigned retries_max; /* of one call; 0: none */
    int64_t pause_first_ms;
    int64_t pause_max_ms; /* of ours; not of what the peer asks for */
};

extern const struct retry_opts retry_usual;

struct retry_case {
    unsigned retries;      /* made already */
    int64_t retry_after_s; /* what the peer asks for; -1: nothing */
    int64_t left_ms;       /* until the deadline */
    int64_t left_min_ms;   /* what a call needs of it */
    uint32_t random;
};

/* The pause before the next try; -1: no more tries. What the peer asks for is a minimum, our own
 * pause comes on top, so that all who were sent away don't come back at once. */
int64_t retry_pause_ms(const struct retry_opts *opts, const struct retry_case *now);
