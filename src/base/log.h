// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"

/* One JSON object a line. Lines are gathered in a bounded buffer that a thread of its own writes,
 * so that a slow reader of stdout never holds the loop. What does not fit is dropped and counted;
 * audit lines never are: their caller waits until there is room. Any thread. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log;

/* `fd` stays the caller's. Starts the writer thread: call it after any fork. NULL metrics: nothing
 * is counted. */
struct log *log_new(int fd, enum log_level level, const struct clock *clock,
                    struct metrics *metrics);

/* Other processes write to the same file: lines are whole all the same (and no longer than what a
 * pipe takes at once), and say from whom they are ("worker":<process>; 0: they don't). Before the
 * first line. */
void log_share(struct log *log, int process);

/* Writes what is buffered, ends the thread. */
void log_free(struct log *log);

bool log_level_parse(struct slice name, enum log_level *out);

/* A field of a line. Values are escaped; a secret is never given as one. */
struct log_field {
    const char *name;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_BOOL } kind;
    struct slice text; /* a null slice is written as null */
    int64_t number;
};

static inline struct log_field log_text(const char *name, struct slice text) {
    return (struct log_field){.name = name, .kind = LOG_FIELD_TEXT, .text = text};
}
static inline struct log_field log_int(const char *name, int64_t number) {
    return (struct log_field){.name = name, .kind = LOG_FIELD_INT, .number = number};
}
static inline struct log_field log_bool(const char *name, bool value) {
    return (struct log_field){.name = name, .kind = LOG_FIELD_BOOL, .number = value};
}

/* Cheap; for callers that would compute fields. */
bool log_on(const struct log *log, enum log_level level);

void log_write(struct log *log, enum log_level level, const char *event, struct slice request_id,
               const struct log_field *fields, size_t n);

/* An audit line ("audit":true), whatever the level. */
void log_audit(struct log *log, const char *event, struct slice request_id,
               const struct log_field *fields, size_t n);

/* Variadic front: LOG(log, LOG_INFO, "event", request_id, log_text("user_id", id), …). */
#define LOG_FIELDS(...)                                                                            \
    (const struct log_field[]){__VA_ARGS__},                                                       \
        sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)
#define LOG(log, level, event, request_id, ...)                                                    \
    do {                                                                                           \
        if (log_on(log, level)) {                                                                  \
            log_write(log, level, event, request_id, LOG_FIELDS(__VA_ARGS__));                     \
        }                                                                                          \
    } while (0)
#define LOG_AUDIT(log, event, request_id, ...)                                                     \
    log_audit(log, event, request_id, LOG_FIELDS(__VA_ARGS__))

/* Blocks until all lines so far are written (tests, shutdown). */
void log_flush(struct log *log);
