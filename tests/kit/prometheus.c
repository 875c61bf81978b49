// SPDX-License-Identifier: MIT
#include "kit/prometheus.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_MAX = 4096, FAMILIES_MAX = 256, NUMBER_BYTES = 64 };

struct reader {
    struct slice family;
    struct slice type;
    bool has_help;
    bool has_samples;
    struct slice families[FAMILIES_MAX];
    size_t family_count;
    struct slice series[SERIES_MAX];
    size_t series_count;
    /* of the histogram that is being read: one bucket after the other, then sum, then count */
    struct slice labels; /* without le */
    double bound;
    double bucket;
    bool is_bucket_open;
    bool is_sum_read;
};

static bool is_name_byte(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
           (!first && c >= '0' && c <= '9');
}

static struct slice take_name(struct slice *rest) {
    size_t n = 0;
    while (n < rest->len && is_name_byte(rest->at[n], n == 0)) {
        n++;
    }
    cr_assert_gt(n, 0, "no name at: %.*s", SLICE_ARGS(*rest));
    struct slice name = slice_head(*rest, n);
    *rest = slice_from(*rest, n);
    return name;
}

static double number_of(struct slice text) {
    char copy[NUMBER_BYTES];
    char *end;
    cr_assert(text.len > 0 && text.len < sizeof copy, "no number: %.*s", SLICE_ARGS(text));
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    if (strcmp(copy, "+Inf") == 0) {
        return INFINITY;
    }
    double value = strtod(copy, &end);
    cr_assert(*end == '\0' && copy[0] != ' ', "no number: %s", copy);
    return value;
}

/* Reads `name="value",` one after the other; the value of le, NaN where there is none. */
static double read_labels(struct slice labels) {
    double bound = NAN;
    while (labels.len > 0) {
        struct slice name = take_name(&labels);
        cr_assert(slice_starts(labels, SLICE("=\"")), "no value: %.*s", SLICE_ARGS(labels));
        labels = slice_from(labels, 2);
        size_t end = slice_find(labels, '"');
        cr_assert_lt(end, labels.len, "an open label");
        struct slice value = slice_head(labels, end);
        cr_assert_eq(slice_find(value, '\\'), value.len, "an escape, which none of ours needs");
        if (slice_eq(name, SLICE("le"))) {
            bound = number_of(value);
        }
        labels = slice_from(labels, end + 1);
        if (labels.len > 0) {
            cr_assert(labels.at[0] == ',' && labels.len > 1, "labels end with: %.*s",
                      SLICE_ARGS(labels));
            labels = slice_from(labels, 1);
        }
    }
    return bound;
}

static void begin_family(struct reader *r, struct slice name) {
    cr_assert_not(r->is_bucket_open, "a histogram is not complete: %.*s", SLICE_ARGS(r->family));
    for (size_t i = 0; i < r->family_count; i++) {
        cr_assert_not(slice_eq(r->families[i], name), "a family twice: %.*s", SLICE_ARGS(name));
    }
    cr_assert_lt(r->family_count, (size_t)FAMILIES_MAX);
    r->families[r->family_count++] = name;
    r->family = name;
    r->type = SLICE_NULL;
    r->has_help = true;
    r->has_samples = false;
}

static void read_comment(struct reader *r, struct slice line) {
    bool is_help = slice_starts(line, SLICE("# HELP "));
    cr_assert(is_help || slice_starts(line, SLICE("# TYPE ")), "%.*s", SLICE_ARGS(line));
    struct slice rest = slice_from(line, 7);
    struct slice name = take_name(&rest);
    cr_assert(rest.len > 1 && rest.at[0] == ' ', "%.*s", SLICE_ARGS(line));
    rest = slice_from(rest, 1);
    if (is_help) {
        cr_assert(r->family_count == 0 || r->has_samples, "no sample of %.*s",
                  SLICE_ARGS(r->family));
        begin_family(r, name);
        return;
    }
    cr_assert(slice_eq(name, r->family) && slice_is_null(r->type) && !r->has_samples,
              "TYPE out of place: %.*s", SLICE_ARGS(line));
    cr_assert(slice_eq(rest, SLICE("counter")) || slice_eq(rest, SLICE("gauge")) ||
                  slice_eq(rest, SLICE("histogram")),
              "%.*s", SLICE_ARGS(line));
    bool is_total = name.len > 6 && slice_eq(slice_from(name, name.len - 6), SLICE("_total"));
    cr_assert_eq(slice_eq(rest, SLICE("counter")), is_total, "%.*s", SLICE_ARGS(line));
    r->type = rest;
}

static struct slice without_le(struct slice labels) {
    for (size_t i = 0; i < labels.len; i++) {
        if (slice_starts(slice_from(labels, i), SLICE("le=\""))) {
            return slice_head(labels, i > 0 ? i - 1 : 0);
        }
    }
    return labels;
}

static void read_histogram(struct reader *r, struct slice name, struct slice labels, double bound,
                           double value) {
    struct slice suffix = slice_from(name, r->family.len);
    if (slice_eq(suffix, SLICE("_bucket"))) {
        if (!r->is_bucket_open) {
            r->labels = without_le(labels);
            r->bound = -INFINITY;
            r->bucket = 0;
            r->is_bucket_open = true;
            r->is_sum_read = false;
        }
        cr_assert(slice_eq(without_le(labels), r->labels), "%.*s", SLICE_ARGS(labels));
        cr_assert(bound > r->bound && value >= r->bucket, "%.*s{%.*s}", SLICE_ARGS(name),
                  SLICE_ARGS(labels));
        r->bound = bound;
        r->bucket = value;
        return;
    }
    cr_assert(r->is_bucket_open && isinf(r->bound) && slice_eq(labels, r->labels), "%.*s",
              SLICE_ARGS(name));
    if (slice_eq(suffix, SLICE("_sum"))) {
        r->is_sum_read = true;
        return;
    }
    cr_assert(slice_eq(suffix, SLICE("_count")) && r->is_sum_read, "%.*s", SLICE_ARGS(name));
    cr_assert_float_eq(value, r->bucket, 0, "%.*s", SLICE_ARGS(name));
    r->is_bucket_open = false;
}

static void read_sample(struct reader *r, struct slice line) {
    struct slice rest = line;
    struct slice name = take_name(&rest);
    struct slice labels = SLICE_NULL;
    if (rest.len > 0 && rest.at[0] == '{') {
        size_t end = slice_find(rest, '}');
        cr_assert_lt(end, rest.len, "%.*s", SLICE_ARGS(line));
        labels = slice_make(rest.at + 1, end - 1);
        rest = slice_from(rest, end + 1);
    }
    struct slice series = slice_head(line, line.len - rest.len);
    double bound = read_labels(labels);
    cr_assert(rest.len > 1 && rest.at[0] == ' ', "%.*s", SLICE_ARGS(line));
    double value = number_of(slice_from(rest, 1));
    for (size_t i = 0; i < r->series_count; i++) {
        cr_assert_not(slice_eq(r->series[i], series), "twice: %.*s", SLICE_ARGS(series));
    }
    cr_assert_lt(r->series_count, (size_t)SERIES_MAX);
    r->series[r->series_count++] = series;
    cr_assert(r->has_help && !slice_is_null(r->type), "no HELP or TYPE: %.*s", SLICE_ARGS(line));
    cr_assert(slice_starts(name, r->family), "not of its family: %.*s", SLICE_ARGS(line));
    r->has_samples = true;
    if (slice_eq(r->type, SLICE("histogram"))) {
        read_histogram(r, name, labels, bound, value);
        return;
    }
    cr_assert(slice_eq(name, r->family), "not of its family: %.*s", SLICE_ARGS(line));
    cr_assert(value >= 0, "%.*s", SLICE_ARGS(line));
}

size_t prometheus_check(struct slice text) {
    struct reader *r = calloc(1, sizeof *r);
    struct slice line;
    cr_assert(text.len > 0 && text.at[text.len - 1] == '\n', "the last line has an end");
    text.len--;
    while (slice_split(&text, '\n', &line)) {
        cr_assert_gt(line.len, 0, "an empty line");
        if (line.at[0] == '#') {
            read_comment(r, line);
        } else {
            read_sample(r, line);
        }
    }
    cr_assert(r->has_samples && !r->is_bucket_open, "the last family is complete");
    size_t count = r->family_count;
    free(r);
    return count;
}

bool prometheus_find(struct slice text, const char *series, double *value) {
    struct slice wanted = slice_str(series);
    struct slice line;
    while (slice_split(&text, '\n', &line)) {
        struct slice rest = slice_from(line, wanted.len);
        if (slice_starts(line, wanted) && rest.len > 1 && rest.at[0] == ' ') {
            *value = number_of(slice_from(rest, 1));
            return true;
        }
    }
    return false;
}

double prometheus_value(struct slice text, const char *series) {
    double value = 0;
    cr_assert(prometheus_find(text, series, &value), "no series %s", series);
    return value;
}
