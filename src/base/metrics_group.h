// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

#include "base/metrics.h"
#include "base/rc.h"

/* The metrics of several processes, side by side in memory that they share: each counts in a slot
 * of its own, any of them shows what they are together. A slot outlives its process: whoever takes
 * the process's place counts on in it. */
struct metrics_group {
    char *at;
    size_t count;
};

/* Makes the memory, of `count` slots that are all zero, and a descriptor to hand to the others
 * (close-on-exec; the caller's). RC_IO where the system refuses. */
enum rc metrics_group_new(struct metrics_group *group, size_t count, int *fd);
/* In such a process; the descriptor may be closed then. RC_IO, or RC_USAGE where the memory is not
 * that of `count` slots. */
enum rc metrics_group_map(struct metrics_group *group, size_t count, int fd);
void metrics_group_unmap(struct metrics_group *group);

struct metrics *metrics_group_slot(const struct metrics_group *group, size_t i);

/* What they are together. Counters and histograms are added up, gauges too but for
 * METRICS_NOT_ADDED. */
void metrics_group_sum(const struct metrics_group *group, struct metrics *out);

/* The process of this slot is gone: what it counted stays, what it was is no more. */
void metrics_group_forget(struct metrics *slot);

/* Looks up what the system knows of this process: its memory, and its processor time. */
void metrics_read_process(struct metrics *metrics);
