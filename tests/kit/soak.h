// SPDX-License-Identifier: MIT
#pragma once

#include <stdlib.h>

/* How often a campaign goes round: `usual` times in a test run, as often as the variable says in
 * tests/soak. */
static inline int soak_times(const char *variable, int usual) {
    const char *wanted = getenv(variable);
    long times = wanted != NULL ? strtol(wanted, NULL, 10) : usual;
    return times > 0 && times < 1000000 ? (int)times : usual;
}
