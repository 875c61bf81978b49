// SPDX-License-Identifier: MIT
#include "base/metrics_group.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"

enum {
    STATM_BYTES = 128,
    LINE_BYTES = 64, /* so that no two processes write to one line of the processor's cache */
    SLOT_BYTES = (sizeof(struct metrics) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES,
};

/* How the values of one cell become one. */
enum merge { MERGE_SUM, MERGE_MAX, MERGE_MIN };

#define METRICS_MERGE(id, how) [METRIC_##id] = MERGE_##how,
static const enum merge merges[METRIC_COUNT] = {METRICS_NOT_ADDED(METRICS_MERGE)};
#undef METRICS_MERGE

#define METRICS_IS_GAUGE(id, name, type, help) sizeof(type) == sizeof "gauge",
static const bool gauges[METRIC_COUNT] = {METRICS_MAP(METRICS_IS_GAUGE)};
#undef METRICS_IS_GAUGE

static enum rc map(struct metrics_group *group, size_t count, int fd) {
    void *at = mmap(NULL, count * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        return RC_IO;
    }
    *group = (struct metrics_group){at, count};
    return RC_OK;
}

/* Sealed, so that nobody makes it shorter under the others. */
enum rc metrics_group_new(struct metrics_group *group, size_t count, int *fd) {
    *fd = memfd_create("latchkey-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0) {
        return RC_IO;
    }
    if (ftruncate(*fd, (off_t)(count * SLOT_BYTES)) != 0 ||
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        map(group, count, *fd) != RC_OK) {
        close(*fd);
        return RC_IO;
    }
    return RC_OK;
}

enum rc metrics_group_map(struct metrics_group *group, size_t count, int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return RC_IO;
    }
    return status.st_size == (off_t)(count * SLOT_BYTES) ? map(group, count, fd) : RC_USAGE;
}

void metrics_group_unmap(struct metrics_group *group) {
    munmap(group->at, group->count * SLOT_BYTES);
}

struct metrics *metrics_group_slot(const struct metrics_group *group, size_t i) {
    return (struct metrics *)(void *)(group->at + i * SLOT_BYTES);
}

/* Of a gauge that is not added up, zero is a process without it. */
static int64_t merged(enum merge merge, int64_t all, int64_t one) {
    switch (merge) {
    case MERGE_MAX:
        return one > all ? one : all;
    case MERGE_MIN:
        return all == 0 || (one != 0 && one < all) ? one : all;
    case MERGE_SUM:
        break;
    }
    return all + one;
}

void metrics_group_sum(const struct metrics_group *group, struct metrics *out) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < group->count; i++) {
        const struct metrics *slot = metrics_group_slot(group, i);
        for (int cell = 0; cell < METRICS_CELLS; cell++) {
            enum merge merge = cell < METRIC_COUNT ? merges[cell] : MERGE_SUM;
            metrics_set(out, (enum metric)cell,
                        merged(merge, metrics_get(out, (enum metric)cell),
                               metrics_get(slot, (enum metric)cell)));
        }
    }
}

void metrics_group_forget(struct metrics *slot) {
    for (int cell = 0; cell < METRIC_COUNT; cell++) {
        if (gauges[cell]) {
            metrics_set(slot, (enum metric)cell, 0);
        }
    }
    metrics_add_to(slot, METRICS_CPU_GONE_NS, metrics_get(slot, (enum metric)METRICS_CPU_NS));
    metrics_set(slot, (enum metric)METRICS_CPU_NS, 0);
    metrics_set(slot, (enum metric)METRICS_RESIDENT_BYTES, 0);
    metrics_set(slot, (enum metric)METRICS_VIRTUAL_BYTES, 0);
}

/* The first two numbers of /proc/self/statm (proc(5)): pages of address space, pages in memory. */
static bool read_pages(uint64_t *all, uint64_t *resident) {
    char at[STATM_BYTES];
    struct slice word;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, at, sizeof at);
    close(fd);
    struct slice rest = slice_make(at, n > 0 ? (size_t)n : 0);
    return slice_split(&rest, ' ', &word) && slice_to_u64(word, INT64_MAX / 65536, all) &&
           slice_split(&rest, ' ', &word) && slice_to_u64(word, INT64_MAX / 65536, resident);
}

void metrics_read_process(struct metrics *metrics) {
    struct timespec t = {0};
    uint64_t all;
    uint64_t resident;
    int64_t page_bytes = sysconf(_SC_PAGESIZE);
    if (read_pages(&all, &resident)) {
        metrics_set(metrics, (enum metric)METRICS_RESIDENT_BYTES, (int64_t)resident * page_bytes);
        metrics_set(metrics, (enum metric)METRICS_VIRTUAL_BYTES, (int64_t)all * page_bytes);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    metrics_set(metrics, (enum metric)METRICS_CPU_NS, (int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
}
