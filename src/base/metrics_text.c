// SPDX-License-Identifier: MIT
#include "base/metrics_text.h"

enum { NS_PER_S = 1000000000, NS_DIGITS = 9 };

struct cell {
    const char *name; /* with its labels */
    const char *type;
    const char *help;
};

#define METRICS_CELL(id, name, type, help) {name, type, help},
static const struct cell cells[] = {METRICS_MAP(METRICS_CELL)};
#undef METRICS_CELL

#define METRICS_TEXT(id, text) text,
static const char *const routes[] = {METRICS_ROUTES(METRICS_TEXT)};
static const char *const endpoints[] = {METRICS_PROVIDER_ENDPOINTS(METRICS_TEXT)};
#undef METRICS_TEXT
#define METRICS_TEXT(X, id, text) text,
static const char *const lanes[] = {METRICS_LANES(METRICS_TEXT, )};
#undef METRICS_TEXT
#define METRICS_TEXT(ns, text) text,
static const char *const bounds[] = {METRICS_BOUNDS(METRICS_TEXT)};
#undef METRICS_TEXT
_Static_assert(sizeof bounds / sizeof bounds[0] == METRICS_BOUND_COUNT, "a text for each bound");

static void put(struct buf *out, const char *text) {
    buf_append(out, slice_str(text));
}

static void put_seconds(struct buf *out, int64_t ns) {
    char digits[NS_DIGITS];
    int64_t rest = ns % NS_PER_S;
    for (size_t i = NS_DIGITS; i-- > 0; rest /= 10) {
        digits[i] = (char)('0' + rest % 10);
    }
    buf_append_i64(out, ns / NS_PER_S);
    buf_append_char(out, '.');
    buf_append(out, slice_make(digits, sizeof digits));
}

static void put_family(struct buf *out, struct slice name, const char *type, const char *help) {
    BUF_LIT(out, "# HELP ");
    buf_append(out, name);
    buf_append_char(out, ' ');
    put(out, help);
    BUF_LIT(out, "\n# TYPE ");
    buf_append(out, name);
    buf_append_char(out, ' ');
    put(out, type);
    buf_append_char(out, '\n');
}

static struct slice family_of(struct slice name) {
    return slice_head(name, slice_find(name, '{'));
}

static void write_cells(const struct metrics *metrics, struct buf *out) {
    struct slice family = SLICE_NULL;
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        struct slice name = slice_str(cells[i].name);
        if (!slice_eq(family_of(name), family)) {
            family = family_of(name);
            put_family(out, family, cells[i].type, cells[i].help);
        }
        buf_append(out, name);
        buf_append_char(out, ' ');
        buf_append_i64(out, metrics_get(metrics, (enum metric)i));
        buf_append_char(out, '\n');
    }
}

static int64_t cell_at(const struct metrics *metrics, int cell) {
    return metrics_get(metrics, (enum metric)cell);
}

static void write_requests(const struct metrics *metrics, struct buf *out) {
    put_family(out, SLICE("latchkey_http_requests_total"), "counter",
               "requests answered, by route and class of status");
    for (int route = 0; route < METRICS_ROUTE_COUNT; route++) {
        for (int status = 1; status <= METRICS_STATUS_CLASSES; status++) {
            int cell = metrics_request_cell((enum metrics_route)route, status * 100);
            BUF_LIT(out, "latchkey_http_requests_total{route=\"");
            put(out, routes[route]);
            BUF_LIT(out, "\",status=\"");
            buf_append_i64(out, status);
            BUF_LIT(out, "xx\"} ");
            buf_append_i64(out, cell_at(metrics, cell));
            buf_append_char(out, '\n');
        }
    }
}

/* Histograms that differ in the value of one label. */
struct family {
    const char *name;
    const char *help;
    const char *label; /* NULL: one histogram without a label */
    const char *const *values;
    int count;
    enum metrics_histogram first;
};

static const struct family families[] = {
    {"latchkey_http_request_duration_seconds", "from a request's head to its answer, by route",
     "route", routes, METRICS_ROUTE_COUNT, METRICS_REQUEST_NONE},
    {"latchkey_provider_call_duration_seconds",
     "one call to the provider, answered or not, without retries", "endpoint", endpoints,
     METRICS_LANE_WAIT_FAST - METRICS_PROVIDER_TOKEN, METRICS_PROVIDER_TOKEN},
    {"latchkey_lane_wait_seconds", "how long operations waited for a thread", "lane", lanes,
     METRICS_LOOP_LAG - METRICS_LANE_WAIT_FAST, METRICS_LANE_WAIT_FAST},
    {"latchkey_loop_lag_seconds",
     "turns of the event loop: for so long whatever came meanwhile had to wait", NULL, NULL, 1,
     METRICS_LOOP_LAG},
};

/* `name_suffix{label="value",le="bound"} `, each part where there is one. */
static void put_sample(struct buf *out, const struct family *family, int i, const char *suffix,
                       const char *bound) {
    put(out, family->name);
    put(out, suffix);
    if (family->label != NULL || bound != NULL) {
        buf_append_char(out, '{');
    }
    if (family->label != NULL) {
        put(out, family->label);
        BUF_LIT(out, "=\"");
        put(out, family->values[i]);
        put(out, bound != NULL ? "\"," : "\"} ");
    }
    if (bound != NULL) {
        BUF_LIT(out, "le=\"");
        put(out, bound);
        BUF_LIT(out, "\"} ");
    }
    if (family->label == NULL && bound == NULL) {
        buf_append_char(out, ' ');
    }
}

/* The count is that of the last bucket, whatever is counted meanwhile: a reader may rely on it. */
static void write_histogram(const struct metrics *metrics, const struct family *family, int i,
                            struct buf *out) {
    int cell = METRICS_HISTOGRAMS_AT + ((int)family->first + i) * METRICS_HISTOGRAM_CELLS;
    int64_t count = 0;
    for (int bucket = 0; bucket <= METRICS_BOUND_COUNT; bucket++) {
        count += cell_at(metrics, cell + bucket);
        put_sample(out, family, i, "_bucket",
                   bucket < METRICS_BOUND_COUNT ? bounds[bucket] : "+Inf");
        buf_append_i64(out, count);
        buf_append_char(out, '\n');
    }
    put_sample(out, family, i, "_sum", NULL);
    put_seconds(out, cell_at(metrics, cell + METRICS_BOUND_COUNT + 1));
    buf_append_char(out, '\n');
    put_sample(out, family, i, "_count", NULL);
    buf_append_i64(out, count);
    buf_append_char(out, '\n');
}

void metrics_text_write(const struct metrics *metrics, struct buf *out) {
    write_cells(metrics, out);
    write_requests(metrics, out);
    for (size_t k = 0; k < sizeof families / sizeof families[0]; k++) {
        put_family(out, slice_str(families[k].name), "histogram", families[k].help);
        for (int i = 0; i < families[k].count; i++) {
            write_histogram(metrics, &families[k], i, out);
        }
    }
}

static void put_start(struct buf *out, const struct metrics_text_sample *sample) {
    put_family(out, slice_str(sample->name), sample->type, sample->help);
    put(out, sample->name);
    put(out, sample->labels);
    buf_append_char(out, ' ');
}

void metrics_text_int(struct buf *out, const struct metrics_text_sample *sample, int64_t value) {
    put_start(out, sample);
    buf_append_i64(out, value);
    buf_append_char(out, '\n');
}

void metrics_text_seconds(struct buf *out, const struct metrics_text_sample *sample, int64_t ns) {
    put_start(out, sample);
    put_seconds(out, ns);
    buf_append_char(out, '\n');
}
