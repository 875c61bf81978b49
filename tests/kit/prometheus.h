// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Reads Prometheus' text format 0.0.4 strictly. A failed expectation fails the test. */

/* Looks through the whole of it: HELP and TYPE once a family and before its samples, which stand
 * together; names, labels and values as the format has them; no series twice; counters that end
 * with _total and are not negative; histograms whose buckets rise to +Inf, which is their count.
 * Returns the number of families. */
size_t prometheus_check(struct slice text);

/* The value of the series that is written exactly so: "a_total{b=\"c\"}". */
bool prometheus_find(struct slice text, const char *series, double *value);
double prometheus_value(struct slice text, const char *series);
