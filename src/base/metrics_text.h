// SPDX-License-Identifier: MIT
#pragma once

#include "base/buf.h"
#include "base/metrics.h"

/* Metrics as text, in Prometheus' exposition format 0.0.4: every family with its HELP and TYPE,
 * once. Every name and label value is a constant of ours. */
#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* All cells: METRICS_MAP's, requests by route, histograms. */
void metrics_text_write(const struct metrics *metrics, struct buf *out);

/* One more family of one sample, for what is looked up when it is asked for. `labels` is "" or
 * "{name=\"value\"}". */
struct metrics_text_sample {
    const char *name;
    const char *type;
    const char *help;
    const char *labels;
};
void metrics_text_int(struct buf *out, const struct metrics_text_sample *sample, int64_t value);
void metrics_text_seconds(struct buf *out, const struct metrics_text_sample *sample, int64_t ns);
