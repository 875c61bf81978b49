// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
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
        write_all(log->fd, buf_slice(&batch));
        buf_clear(&batch);
        pthread_mutex_lock(&log->mutex);
        log->writing = false;
        pthread_cond_broadcast(&log->emptied);
    }
    pthread_mutex_unlock(&log->mutex);
    buf_fini(&batch);
    return NULL;
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
    if (pthread_create(&log->writer, NULL, writer_main, log) != 0) {
        mem_free(log);
        return NULL;
    }
    return log;
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
    pthread_cond_destroy(&log->emptied);
    pthread_cond_destroy(&log->filled);
    pthread_mutex_destroy(&log->mutex);
    buf_fini(&log->pending);
    mem_free(log);
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

static void write_field(struct jsonw *w, const struct log_field *field) {
    jsonw_name(w, field->name);
    switch (field->kind) {
    case LOG_FIELD_TEXT:
        jsonw_slice(w, field->text);
        break;
    case LOG_FIELD_INT:
        jsonw_i64(w, field->number);
        break;
    case LOG_FIELD_BOOL:
        jsonw_bool(w, field->number != 0);
        break;
    }
}

static void format_line(const struct log *log, struct buf *line, const char *level,
                        const char *event, struct slice request_id, bool audit,
                        const struct log_field *fields, size_t n) {
    struct jsonw w = jsonw_start(line);
    jsonw_open(&w, '{');
    jsonw_name(&w, "time");
    jsonw_time(&w, clock_wall_ms(log->clock));
    jsonw_member(&w, "level", slice_str(level));
    jsonw_member(&w, "event", slice_str(event));
    jsonw_member(&w, "request_id", request_id);
    if (audit) {
        jsonw_name(&w, "audit");
        jsonw_bool(&w, true);
    }
    for (size_t i = 0; i < n; i++) {
        write_field(&w, &fields[i]);
    }
    jsonw_close(&w, '}');
    buf_append_char(line, '\n');
}

static bool fits(const struct log *log, size_t bytes) {
    return bytes <= log->pending.max - log->pending.len;
}

static void say_dropped(struct log *log) {
    char at[256];
    struct buf line;
    if (log->dropped == 0) {
        return;
    }
    buf_init_fixed(&line, at, sizeof at);
    struct log_field count = log_int("count", (int64_t)log->dropped);
    format_line(log, &line, "warning", "log_lines_dropped", SLICE_NULL, false, &count, 1);
    if (fits(log, line.len)) {
        buf_append(&log->pending, buf_slice(&line));
        log->dropped = 0;
    }
}

static void enqueue(struct log *log, struct slice line, bool must) {
    pthread_mutex_lock(&log->mutex);
    while (must && !fits(log, line.len)) {
        pthread_cond_wait(&log->emptied, &log->mutex);
    }
    say_dropped(log);
    if (fits(log, line.len)) {
        buf_append(&log->pending, line);
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
    char at[LIMIT_LOG_LINE_BYTES];
    struct buf line;
    buf_init_fixed(&line, at, sizeof at);
    format_line(log, &line, level_names[level], event, request_id, false, fields, n);
    if (buf_ok(&line)) {
        enqueue(log, buf_slice(&line), false);
    }
}

void log_audit(struct log *log, const char *event, struct slice request_id,
               const struct log_field *fields, size_t n) {
    char at[LIMIT_LOG_LINE_BYTES];
    struct buf line;
    buf_init_fixed(&line, at, sizeof at);
    format_line(log, &line, "info", event, request_id, true, fields, n);
    enqueue(log, buf_slice(&line), true);
}
