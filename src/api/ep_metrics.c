// SPDX-License-Identifier: MIT
#include "api/endpoints.h"
#include "api/reply.h"
#include "base/metrics_group.h"
#include "base/metrics_text.h"

enum { METRICS_BYTES_MAX = 256 * 1024 };

static int64_t cell(const struct metrics *metrics, int at) {
    return metrics_get(metrics, (enum metric)at);
}

/* Under the names that every Prometheus client has. */
static void write_process(const struct metrics *metrics, struct buf *out) {
    static const struct metrics_text_sample build = {"latchkey_build_info", "gauge", "always 1",
                                                     "{version=\"" LATCHKEY_VERSION "\"}"};
    static const struct metrics_text_sample resident_bytes = {
        "process_resident_memory_bytes", "gauge", "memory in use, without what is swapped out", ""};
    static const struct metrics_text_sample virtual_bytes = {
        "process_virtual_memory_bytes", "gauge", "address space, most of it never touched", ""};
    static const struct metrics_text_sample cpu = {"process_cpu_seconds_total", "counter",
                                                   "processor time, of all threads", ""};
    metrics_text_int(out, &build, 1);
    if (cell(metrics, METRICS_RESIDENT_BYTES) > 0) {
        metrics_text_int(out, &resident_bytes, cell(metrics, METRICS_RESIDENT_BYTES));
        metrics_text_int(out, &virtual_bytes, cell(metrics, METRICS_VIRTUAL_BYTES));
    }
    metrics_text_seconds(out, &cpu,
                         cell(metrics, METRICS_CPU_NS) + cell(metrics, METRICS_CPU_GONE_NS));
}

static void write_all(const struct metrics *metrics, struct buf *out) {
    metrics_text_write(metrics, out);
    write_process(metrics, out);
}

void ep_metrics(struct call *call) {
    const struct api_opts *opts = &call->api->opts;
    struct buf text;
    buf_init(&text, METRICS_BYTES_MAX);
    metrics_read_process(opts->metrics);
    if (opts->metrics_group != NULL) {
        struct metrics sum;
        metrics_group_sum(opts->metrics_group, &sum);
        write_all(&sum, &text);
    } else {
        write_all(opts->metrics, &text);
    }
    if (buf_ok(&text)) {
        reply_open(call, &(struct reply){.status = 200,
                                         .content_type = SLICE(METRICS_TEXT_TYPE),
                                         .body = buf_slice(&text)});
    } else {
        reply_fail(call, RC_INTERNAL);
    }
    buf_fini(&text);
}
