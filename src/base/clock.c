// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

int64_t clock_wall_ms(const struct clock *clock) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 +
           atomic_load_explicit(&clock->offset_ms, memory_order_relaxed);
}

int64_t clock_mono_ms_at(const struct clock *clock, int64_t ns) {
    return ns / 1000000 + atomic_load_explicit(&clock->offset_ms, memory_order_relaxed);
}

int64_t clock_mono_ms(const struct clock *clock) {
    return clock_mono_ms_at(clock, clock_ns());
}

int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The years 0 to 9999, which is what the form can say. */
static const int64_t TEXT_MIN_MS = -62167219200000;
static const int64_t TEXT_MAX_MS = 253402300799999;

static void digits(char *at, int width, int value) {
    while (width-- > 0) {
        at[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]) {
    wall_ms = wall_ms < TEXT_MIN_MS ? TEXT_MIN_MS : wall_ms > TEXT_MAX_MS ? TEXT_MAX_MS : wall_ms;
    int64_t ms = wall_ms % 1000;
    time_t seconds = (time_t)(wall_ms / 1000);
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    struct tm t = {0};
    gmtime_r(&seconds, &t);
    snprintf(out, CLOCK_TEXT_BYTES, "0000-00-00T00:00:00.000Z");
    digits(out, 4, t.tm_year + 1900);
    digits(out + 5, 2, t.tm_mon + 1);
    digits(out + 8, 2, t.tm_mday);
    digits(out + 11, 2, t.tm_hour);
    digits(out + 14, 2, t.tm_min);
    digits(out + 17, 2, t.tm_sec);
    digits(out + 20, 3, (int)ms);
}
