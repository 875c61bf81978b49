// SPDX-License-Identifier: MIT
#include "base/metrics_group.h"

#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "kit/leaks.h"

enum { PROCESSES = 3 };

static void group_init(struct metrics_group *group) {
    int fd;
    cr_assert_eq(metrics_group_new(group, PROCESSES, &fd), RC_OK);
    close(fd);
}

static int64_t sum_of(const struct metrics_group *group, int cell) {
    struct metrics *sum = mem_calloc(1, sizeof *sum);
    metrics_group_sum(group, sum);
    int64_t value = metrics_get(sum, (enum metric)cell);
    mem_free(sum);
    return value;
}

/* Every cell but those that are no sums. */
Test(metrics_group, what_is_counted_is_added_up) {
    struct metrics_group group;
    group_init(&group);
    for (int cell = 0; cell < METRICS_CELLS; cell++) {
        cr_assert_eq(sum_of(&group, cell), 0);
        for (size_t i = 0; i < PROCESSES; i++) {
            metrics_add_to(metrics_group_slot(&group, i), cell, (cell + 1) * ((int)i + 1));
        }
    }
    for (int cell = 0; cell < METRICS_CELLS; cell++) {
        int64_t wanted = cell == METRIC_JWKS_KEYS       ? 3 * (cell + 1)
                         : cell == METRIC_PROCESS_START ? cell + 1
                                                        : 6 * (cell + 1);
        cr_assert_eq(sum_of(&group, cell), wanted, "cell %d: %ld", cell,
                     (long)sum_of(&group, cell));
    }
    metrics_group_unmap(&group);
    CHECK_LEAKS();
}

/* The parent has the earliest start, whichever slot that is; one without any has none. */
Test(metrics_group, the_start_is_the_first_ones) {
    struct metrics_group group;
    group_init(&group);
    metrics_set(metrics_group_slot(&group, 1), METRIC_PROCESS_START, 2000);
    cr_assert_eq(sum_of(&group, METRIC_PROCESS_START), 2000);
    metrics_set(metrics_group_slot(&group, 2), METRIC_PROCESS_START, 1000);
    cr_assert_eq(sum_of(&group, METRIC_PROCESS_START), 1000);
    metrics_group_unmap(&group);
    CHECK_LEAKS();
}

Test(metrics_group, a_process_that_is_gone_leaves_what_it_counted) {
#define METRICS_TYPE(id, name, type, help) type,
    static const char *const types[] = {METRICS_MAP(METRICS_TYPE)};
#undef METRICS_TYPE
    struct metrics_group group;
    group_init(&group);
    struct metrics *slot = metrics_group_slot(&group, 1);
    for (int cell = 0; cell < METRICS_CELLS; cell++) {
        metrics_add_to(slot, cell, 7);
        metrics_add_to(metrics_group_slot(&group, 2), cell, 1);
    }
    metrics_group_forget(slot);
    for (int cell = 0; cell < METRICS_PROCESS_AT; cell++) {
        bool is_gauge = cell < METRIC_COUNT && types[cell][0] == 'g';
        cr_assert_eq(sum_of(&group, cell), is_gauge ? 1 : 8, "cell %d", cell);
    }
    /* Its processor time is spent; its memory is free again. */
    cr_assert_eq(sum_of(&group, METRICS_CPU_NS) + sum_of(&group, METRICS_CPU_GONE_NS), 7 + 7 + 2);
    cr_assert_eq(sum_of(&group, METRICS_RESIDENT_BYTES), 1);
    cr_assert_eq(sum_of(&group, METRICS_VIRTUAL_BYTES), 1);
    metrics_group_forget(slot);
    cr_assert_eq(sum_of(&group, METRICS_CPU_NS) + sum_of(&group, METRICS_CPU_GONE_NS), 7 + 7 + 2);
    cr_assert_eq(sum_of(&group, METRIC_REQUESTS), 8);
    metrics_group_unmap(&group);
    CHECK_LEAKS();
}

Test(metrics_group, the_memory_is_one) {
    struct metrics_group group;
    struct metrics_group other;
    int fd;
    cr_assert_eq(metrics_group_new(&group, PROCESSES, &fd), RC_OK);
    cr_assert_eq(metrics_group_map(&other, PROCESSES + 1, fd), RC_USAGE);
    cr_assert_eq(metrics_group_map(&other, PROCESSES - 1, fd), RC_USAGE);
    cr_assert_neq(ftruncate(fd, 1), 0, "others would die of it");
    pid_t child = fork();
    if (child == 0) {
        bool is_mapped = metrics_group_map(&other, PROCESSES, fd) == RC_OK;
        if (is_mapped) {
            metrics_add(metrics_group_slot(&other, 2), METRIC_LINKS, 5);
        }
        _exit(is_mapped ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(sum_of(&group, METRIC_LINKS), 5);
    cr_assert_eq(metrics_get(metrics_group_slot(&group, 2), METRIC_LINKS), 5);
    close(fd);
    cr_assert_eq(metrics_group_map(&other, PROCESSES, fd), RC_IO);
    metrics_group_unmap(&group);
    CHECK_LEAKS();
}

Test(metrics_group, a_process_knows_itself) {
    struct metrics *metrics = mem_calloc(1, sizeof *metrics);
    metrics_read_process(metrics);
    int64_t cpu_ns = metrics_get(metrics, (enum metric)METRICS_CPU_NS);
    cr_assert_gt(cpu_ns, 0);
    cr_assert_gt(metrics_get(metrics, (enum metric)METRICS_RESIDENT_BYTES), 1024 * 1024);
    cr_assert_gt(metrics_get(metrics, (enum metric)METRICS_VIRTUAL_BYTES),
                 metrics_get(metrics, (enum metric)METRICS_RESIDENT_BYTES));
    while (metrics_get(metrics, (enum metric)METRICS_CPU_NS) == cpu_ns) {
        metrics_read_process(metrics);
    }
    cr_assert_gt(metrics_get(metrics, (enum metric)METRICS_CPU_NS), cpu_ns);
    mem_free(metrics);
    CHECK_LEAKS();
}
