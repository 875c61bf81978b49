// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "api/endpoints.h"
#include "api/reply.h"
#include "base/metrics_text.h"

enum { METRICS_BYTES_MAX = 256 * 1024, STATM_BYTES = 128 };

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

/* What is looked up when it is asked for, under the names that every Prometheus client has. */
static void write_process(struct buf *out) {
    static const struct metrics_text_sample build = {"latchkey_build_info", "gauge", "always 1",
                                                     "{version=\"" LATCHKEY_VERSION "\"}"};
    static const struct metrics_text_sample resident_bytes = {
        "process_resident_memory_bytes", "gauge", "memory in use, without what is swapped out", ""};
    static const struct metrics_text_sample virtual_bytes = {
        "process_virtual_memory_bytes", "gauge", "address space, most of it never touched", ""};
    static const struct metrics_text_sample cpu = {"process_cpu_seconds_total", "counter",
                                                   "processor time, of all threads", ""};
    struct timespec t = {0};
    uint64_t all;
    uint64_t resident;
    int64_t page_bytes = sysconf(_SC_PAGESIZE);
    metrics_text_int(out, &build, 1);
    if (read_pages(&all, &resident)) {
        metrics_text_int(out, &resident_bytes, (int64_t)resident * page_bytes);
        metrics_text_int(out, &virtual_bytes, (int64_t)all * page_bytes);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    metrics_text_seconds(out, &cpu, (int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
}

void ep_metrics(struct call *call) {
    struct buf text;
    buf_init(&text, METRICS_BYTES_MAX);
    metrics_text_write(call->api->opts.metrics, &text);
    write_process(&text);
    if (buf_ok(&text)) {
        reply_open(call, &(struct reply){.status = 200,
                                         .content_type = SLICE(METRICS_TEXT_TYPE),
                                         .body = buf_slice(&text)});
    } else {
        reply_fail(call, RC_INTERNAL);
    }
    buf_fini(&text);
}
