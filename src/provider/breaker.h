// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A circuit breaker: keeps calls from a peer that fails. It opens after so many failures in a row
 * and refuses calls for a pause; then it is half open and lets exactly one through, the probe. The
 * probe's success closes it, its failure opens it again for twice the pause, up to a cap. Pauses
 * are shortened at random by up to a half, so that many processes don't probe in step.
 *
 * Pure: time and randomness are arguments. One that is zeroed but for its opts is closed; with
 * zeroed opts too it never opens. */
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

enum breaker_result {
    BREAKER_SUCCESS,
    BREAKER_FAILURE,
    BREAKER_NEUTRAL /* says nothing about the peer; a neutral probe is followed by another */
};

struct breaker_opts {
    unsigned failures_max; /* in a row, then it opens; 0: never */
    int64_t pause_first_ms;
    int64_t pause_max_ms;
};

struct breaker {
    struct breaker_opts opts;
    enum breaker_state state; /* as of the last call of this header */
    unsigned failures;        /* in a row */
    uint64_t turn;            /* counts changes of the state */
    int64_t pause_ms;         /* of the last opening, before it was shortened; 0: never opened */
    int64_t open_until_ms;
};

extern const struct breaker_opts breaker_usual;

/* Whether a call may be made now. True: exactly one breaker_report with `*turn` must follow. */
bool breaker_admit(struct breaker *breaker, int64_t now_ms, uint64_t *turn);

/* What came of it. A call that was let in before the state last changed is not listened to: it says
 * how the peer was, and only the probe decides how it is. */
void breaker_report(struct breaker *breaker, uint64_t turn, enum breaker_result result,
                    int64_t now_ms, uint32_t random);
