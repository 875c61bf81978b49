// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "base/mem.h"

struct log {
    int fd;
    enum log_level level;
    const struct clock *clock;
    struct metrics *metrics;
    bool is_shared; /* others write to it too */
    int process;    /* which one of them this is; 0: not said */
    pthread_t writer;
    pthread_mutex_t mutex; /* what follows */
    pthread_cond_t filled;
    pthread_cond_t emptied;
    struct buf pending;
    bool writing;
    bool closing;
    uint64_t dropped; /* since the last line that said so */
};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

bool log_level_parse(struct slice name, enum log_level *out) {
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (slice_eq(name, slice_str(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* A reader that is gone (EPIPE) loses the lines; nothing else can be done with them. */
static void write_all(int fd, struct slice bytes) {
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.at, bytes.len);
        if (n > 0) {
            bytes = slice_from(bytes, (size_t)n);
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return;
        }
    }
}

/* As many whole lines as the system writes in one piece, whoever else writes: pipe(7). */
static void write_lines(int fd, struct slice lines) {
    while (lines.len > 0) {
        size_t n = lines.len < PIPE_BUF ? lines.len : PIPE_BUF;
        while (lines.at[n - 1] != '\n') {
            n--;
        }
        write_all(fd, slice_head(lines, n));
        lines = slice_from(lines, n);
    }
}

static void say_dropped(struct log *log);

static void *writer_main(void *arg) {
    struct log *log = arg;
    struct buf batch;
    buf_init(&batch, LIMIT_LOG_BUFFER_BYTES);
    pthread_mutex_lock(&log->mutex);
    for (;;) {
        while (log->pending.len == 0 && !log->closing) {
            pthread_cond_wait(&log->filled, &log->mutex);
        }
        if (log->pending.len == 0) {
            break;
        }
        struct buf full = log->pending;
        log->pending = batch;
        batch = full;
        log->writing = true;
        pthread_mutex_unlock(&log->mutex);
        if (log->is_shared) {
            write_lines(log->fd, buf_slice(&batch));
        } else {
            write_all(log->fd, buf_slice(&batch));
        }
        buf_clear(&batch);
        pthread_mutex_lock(&log->mutex);
        log->writing = false;
        say_dropped(log);
        pthread_cond_broadcast(&log->emptied);
    }
    pthread_mutex_unlock(&log->mutex);
    buf_fini(&batch);
    return NULL;
}

/* The writer takes no signal: those of the process are the loop's, and a reader that is gone shall
 * be an EPIPE even where nobody ignores SIGPIPE. */
static int start_writer(struct log *log) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&log->writer, NULL, writer_main, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static void destroy(struct log *log) {
    pthread_cond_destroy(&log->emptied);
    pthread_cond_destroy(&log->filled);
    pthread_mutex_destroy(&log->mutex);
    buf_fini(&log->pending);
    mem_free(log);
}

struct log *log_new(int fd, enum log_level level, const struct clock *clock,
                    struct metrics *metrics) {
    struct log *log = mem_calloc(1, sizeof *log);
    log->fd = fd;
    log->level = level;
    log->clock = clock;
    log->metrics = metrics;
    pthread_mutex_init(&log->mutex, NULL);
    pthread_cond_init(&log->filled, NULL);
    pthread_cond_init(&log->emptied, NULL);
    buf_init(&log->pending, LIMIT_LOG_BUFFER_BYTES);
    if (start_writer(log) != 0) {
        destroy(log);
        return NULL;
    }
    return log;
}

void log_share(struct log *log, int process) {
    pthread_mutex_lock(&log->mutex);
    log->is_shared = true;
    log->process = process;
    pthread_mutex_unlock(&log->mutex);
}

void log_free(struct log *log) {
    if (log == NULL) {
        return;
    }
    pthread_mutex_lock(&log->mutex);
    log->closing = true;
    pthread_cond_signal(&log->filled);
    pthread_mutex_unlock(&log->mutex);
    pthread_join(log->writer, NULL);
    destroy(log);
}

void log_flush(struct log *log) {
    pthread_mutex_lock(&log->mutex);
    while (log->pending.len > 0 || log->writing) {
        pthread_cond_wait(&log->emptied, &log->mutex);
    }
    pthread_mutex_unlock(&log->mutex);
}

bool log_on(const struct log *log, enum log_level level) {
    return level >= log->level;
}

/* What a line says, as its caller gave it. */
struct line {
    const char *level;
    const char *event;
    struct slice request_id;
    const struct log_field *fields;
    size_t n;
    bool audit;
};

/* A text of a line that would be too long keeps this much. */
enum { CLIPPED_BYTES = 256 };

static void write_field(struct jsonw *w, const struct log_field *field, size_t text_max) {
    jsonw_name(w, field->name);
    switch (field->kind) {
    case LOG_FIELD_TEXT:
        jsonw_slice(w, slice_head(field->text, text_max));
        break;
    case LOG_FIELD_INT:
        jsonw_i64(w, field->number);
        break;
    case LOG_FIELD_BOOL:
        jsonw_bool(w, field->number != 0);
        break;
    }
}

static void format(const struct log *log, struct buf *out, const struct line *line,
                   size_t text_max) {
    struct jsonw w = jsonw_start(out);
    jsonw_open(&w, '{');
    jsonw_name(&w, "time");
    jsonw_time(&w, clock_wall_ms(log->clock));
    jsonw_member(&w, "level", slice_str(line->level));
    jsonw_member(&w, "event", slice_head(slice_str(line->event), text_max));
    jsonw_member(&w, "request_id", slice_head(line->request_id, text_max));
    if (line->audit) {
        jsonw_name(&w, "audit");
        jsonw_bool(&w, true);
    }
    for (size_t i = 0; i < line->n; i++) {
        write_field(&w, &line->fields[i], text_max);
    }
    if (log->process != 0) {
        jsonw_name(&w, "worker");
        jsonw_i64(&w, log->process);
    }
    if (text_max != SIZE_MAX) {
        jsonw_name(&w, "clipped");
        jsonw_bool(&w, true);
    }
    jsonw_close(&w, '}');
    buf_append_char(out, '\n');
}

/* A line that is too long is written all the same: its texts clipped, at last without its fields.
 */
static void format_line(const struct log *log, struct buf *out, const struct line *line) {
    format(log, out, line, SIZE_MAX);
    if (!buf_ok(out)) {
        buf_clear(out);
        format(log, out, line, CLIPPED_BYTES);
    }
    if (!buf_ok(out)) {
        struct line bare = *line;
        bare.n = 0;
        buf_clear(out);
        format(log, out, &bare, CLIPPED_BYTES);
    }
}

static bool fits(const struct log *log, size_t bytes) {
    return bytes <= log->pending.max - log->pending.len;
}

static void say_dropped(struct log *log) {
    char at[256];
    struct buf out;
    if (log->dropped == 0) {
        return;
    }
    buf_init_fixed(&out, at, sizeof at);
    struct log_field count = log_int("count", (int64_t)log->dropped);
    struct line line = {.level = "warning", .event = "log_lines_dropped", .fields = &count, .n = 1};
    format(log, &out, &line, SIZE_MAX);
    if (fits(log, out.len)) {
        buf_append(&log->pending, buf_slice(&out));
        log->dropped = 0;
    }
}

static void enqueue(struct log *log, const struct line *line) {
    char at[LIMIT_LOG_LINE_BYTES];
    struct buf out;
    buf_init_fixed(&out, at, log->is_shared ? PIPE_BUF : sizeof at);
    format_line(log, &out, line);
    pthread_mutex_lock(&log->mutex);
    while (line->audit && !fits(log, out.len)) {
        pthread_cond_wait(&log->emptied, &log->mutex);
    }
    say_dropped(log);
    if (fits(log, out.len)) {
        buf_append(&log->pending, buf_slice(&out));
        pthread_cond_signal(&log->filled);
    } else {
        log->dropped++;
        if (log->metrics != NULL) {
            metrics_add(log->metrics, METRIC_LOG_LINES_DROPPED, 1);
        }
    }
    pthread_mutex_unlock(&log->mutex);
}

void log_write(struct log *log, enum log_level level, const char *event, struct slice request_id,
               const struct log_field *fields, size_t n) {
    struct line line = {level_names[level], event, request_id, fields, n, false};
    if (log_on(log, level)) {
        enqueue(log, &line);
    }
}

void log_audit(struct log *log, const char *event, struct slice request_id,
               const struct log_field *fields, size_t n) {
    struct line line = {"info", event, request_id, fields, n, true};
    enqueue(log, &line);
}
