// SPDX-License-Identifier: MIT
#include "provider/breaker.h"

const struct breaker_opts breaker_usual = {
    .failures_max = 10,
    .pause_first_ms = 1000,
    .pause_max_ms = 30 * 1000,
};

static void change(struct breaker *breaker, enum breaker_state state) {
    breaker->state = state;
    breaker->turn++;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void open_for(struct breaker *breaker, int64_t pause_ms, int64_t now_ms, uint32_t random) {
    int64_t half_ms = pause_ms / 2;
    breaker->pause_ms = pause_ms;
    breaker->open_until_ms = now_ms + pause_ms - (int64_t)(random % (uint64_t)(half_ms + 1));
    change(breaker, BREAKER_OPEN);
}

bool breaker_admit(struct breaker *breaker, int64_t now_ms, uint64_t *turn) {
    if (breaker->state == BREAKER_HALF_OPEN ||
        (breaker->state == BREAKER_OPEN && now_ms < breaker->open_until_ms)) {
        return false;
    }
    if (breaker->state == BREAKER_OPEN) {
        change(breaker, BREAKER_HALF_OPEN);
    }
    *turn = breaker->turn;
    return true;
}

static void report_closed(struct breaker *breaker, enum breaker_result result, int64_t now_ms,
                          uint32_t random) {
    if (result == BREAKER_SUCCESS) {
        breaker->failures = 0;
    } else if (result == BREAKER_FAILURE && breaker->opts.failures_max > 0 &&
               ++breaker->failures >= breaker->opts.failures_max) {
        open_for(breaker, least(breaker->opts.pause_first_ms, breaker->opts.pause_max_ms), now_ms,
                 random);
    }
}

static void report_probe(struct breaker *breaker, enum breaker_result result, int64_t now_ms,
                         uint32_t random) {
    switch (result) {
    case BREAKER_SUCCESS:
        breaker->failures = 0;
        change(breaker, BREAKER_CLOSED);
        break;
    case BREAKER_FAILURE:
        /* Halved first: doubling can't overflow. */
        open_for(breaker,
                 breaker->pause_ms > breaker->opts.pause_max_ms / 2 ? breaker->opts.pause_max_ms
                                                                    : 2 * breaker->pause_ms,
                 now_ms, random);
        break;
    case BREAKER_NEUTRAL:
        breaker->open_until_ms = now_ms;
        change(breaker, BREAKER_OPEN);
        break;
    }
}

void breaker_report(struct breaker *breaker, uint64_t turn, enum breaker_result result,
                    int64_t now_ms, uint32_t random) {
    if (turn != breaker->turn) {
        return;
    }
    if (breaker->state == BREAKER_CLOSED) {
        report_closed(breaker, result, now_ms, random);
    } else if (breaker->state == BREAKER_HALF_OPEN) {
        report_probe(breaker, result, now_ms, random);
    }
}
