// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics_text.h"
#include "kit/leaks.h"
#include "kit/prometheus.h"

enum { TEXT_BYTES_MAX = 256 * 1024 };

static struct buf text_of(const struct metrics *metrics) {
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    metrics_text_write(metrics, &text);
    cr_assert(buf_ok(&text));
    return text;
}

Test(metrics, every_family_has_its_help_and_type_once) {
    struct metrics *metrics = mem_calloc(1, sizeof *metrics);
    struct buf text = text_of(metrics);
    size_t families = prometheus_check(buf_slice(&text));
    cr_assert_geq(families, (size_t)30, "%zu", families);
    buf_fini(&text);
    mem_free(metrics);
    CHECK_LEAKS();
}

/* Each cell of the array is one sample, and no sample is another's. */
Test(metrics, every_cell_is_shown_where_it_belongs) {
#define METRICS_NAME(id, name, type, help) name,
    static const char *const names[] = {METRICS_MAP(METRICS_NAME)};
#undef METRICS_NAME
    struct metrics *metrics = mem_calloc(1, sizeof *metrics);
    for (int i = 0; i < METRIC_COUNT; i++) {
        metrics_set(metrics, (enum metric)i, 1000 + i);
    }
    struct buf text = text_of(metrics);
    for (int i = 0; i < METRIC_COUNT; i++) {
        cr_assert_float_eq(prometheus_value(buf_slice(&text), names[i]), 1000 + i, 0, "%s",
                           names[i]);
    }
    buf_fini(&text);
    mem_free(metrics);
    CHECK_LEAKS();
}

Test(metrics, requests_are_counted_by_route_and_class) {
    struct metrics *metrics = mem_calloc(1, sizeof *metrics);
    static const struct {
        enum metrics_route route;
        int status;
        const char *series;
    } cases[] = {
        {METRICS_ROUTE_NONE, 404, "latchkey_http_requests_total{route=\"none\",status=\"4xx\"}"},
        {METRICS_ROUTE_AUTHORIZE, 200,
         "latchkey_http_requests_total{route=\"authorize\",status=\"2xx\"}"},
        {METRICS_ROUTE_RETURN, 303,
         "latchkey_http_requests_total{route=\"return\",status=\"3xx\"}"},
        {METRICS_ROUTE_DOCS, 599, "latchkey_http_requests_total{route=\"docs\",status=\"5xx\"}"},
        {METRICS_ROUTE_NONE, 100, "latchkey_http_requests_total{route=\"none\",status=\"1xx\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t n = 0; n <= i; n++) {
            metrics_count_request(metrics, cases[i].route, cases[i].status);
        }
    }
    struct buf text = text_of(metrics);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_float_eq(prometheus_value(buf_slice(&text), cases[i].series), (double)(i + 1), 0,
                           "%s", cases[i].series);
    }
    buf_fini(&text);
    mem_free(metrics);
    CHECK_LEAKS();
}

Test(metrics, a_histogram_adds_up) {
#define SERIES(suffix, le) "latchkey_lane_wait_seconds_" suffix "{lane=\"store_write\"" le "}"
    struct metrics *metrics = mem_calloc(1, sizeof *metrics);
    static const int64_t waits_ns[] = {0, 100000, 100001, 1500000000, 30000000000, 30000000001};
    static const struct {
        const char *series;
        double value;
    } cases[] = {
        {SERIES("bucket", ",le=\"0.0001\""), 2}, {SERIES("bucket", ",le=\"0.00025\""), 3},
        {SERIES("bucket", ",le=\"1\""), 3},      {SERIES("bucket", ",le=\"2.5\""), 4},
        {SERIES("bucket", ",le=\"30\""), 5},     {SERIES("bucket", ",le=\"+Inf\""), 6},
        {SERIES("sum", ""), 61.500200002},       {SERIES("count", ""), 6},
        {"latchkey_loop_lag_seconds_count", 0},  {"latchkey_loop_lag_seconds_sum", 0},
    };
    for (size_t i = 0; i < sizeof waits_ns / sizeof waits_ns[0]; i++) {
        metrics_observe(metrics, METRICS_LANE_WAIT_STORE_WRITE, waits_ns[i]);
    }
    struct buf text = text_of(metrics);
    prometheus_check(buf_slice(&text));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_float_eq(prometheus_value(buf_slice(&text), cases[i].series), cases[i].value,
                           1e-9, "%s", cases[i].series);
    }
    buf_fini(&text);
    mem_free(metrics);
    CHECK_LEAKS();
#undef SERIES
}

Test(metrics, single_samples) {
    char at[1024];
    struct buf text;
    buf_init_fixed(&text, at, sizeof at);
    metrics_text_int(&text, &(const struct metrics_text_sample){"a_bytes", "gauge", "how many", ""},
                     -1);
    metrics_text_seconds(
        &text, &(const struct metrics_text_sample){"b_seconds", "gauge", "h", "{c=\"d\"}"},
        61000000007);
    cr_assert(slice_eq(buf_slice(&text), SLICE("# HELP a_bytes how many\n# TYPE a_bytes gauge\n"
                                               "a_bytes -1\n"
                                               "# HELP b_seconds h\n# TYPE b_seconds gauge\n"
                                               "b_seconds{c=\"d\"} 61.000000007\n")),
              "%.*s", SLICE_ARGS(buf_slice(&text)));
}
