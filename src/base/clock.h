// SPDX-License-Identifier: MIT
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* The time, passed down so that tests can set it. `offset_ms` shifts both the wall clock and the
 * monotonic clock as seen by rules (expiry, leeway); timers run on real time. Any thread. */
struct clock {
    _Atomic int64_t offset_ms;
};

int64_t clock_wall_ms(const struct clock *clock); /* since 1970-01-01T00:00:00Z */
int64_t clock_mono_ms(const struct clock *clock);

/* What measuring takes: monotonic, real time whatever the offset. */
int64_t clock_ns(void);
/* clock_mono_ms at a moment of clock_ns. */
int64_t clock_mono_ms_at(const struct clock *clock, int64_t ns);

enum { CLOCK_TEXT_BYTES = 25 };

/* RFC 3339 in UTC with milliseconds, "2026-01-02T03:04:05.678Z", NUL-terminated. Times outside
 * of the years 0 to 9999 are written as the nearest inside. */
void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]);
