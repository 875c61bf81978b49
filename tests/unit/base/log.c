// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "kit/leaks.h"

/* A log that writes into a pipe, and all that came out of it. */
struct piped {
    int ends[2];
    struct clock clock;
    struct metrics metrics;
    struct log *log;
    struct buf out;
};

static void piped_init(struct piped *p, enum log_level level) {
    *p = (struct piped){0};
    cr_assert_eq(pipe(p->ends), 0);
    buf_init(&p->out, 64 * 1024 * 1024);
    p->log = log_new(p->ends[1], level, &p->clock, &p->metrics);
    cr_assert_not_null(p->log);
}

static void *read_all(void *arg) {
    struct piped *p = arg;
    ssize_t n;
    do {
        char *at = buf_reserve(&p->out, 64 * 1024);
        n = read(p->ends[0], at, 64 * 1024);
        p->out.len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    return NULL;
}

/* Ends the log while a reader takes all that it still writes. */
static void piped_finish(struct piped *p) {
    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, read_all, p), 0);
    log_free(p->log);
    close(p->ends[1]);
    pthread_join(reader, NULL);
    close(p->ends[0]);
}

/* The next line as JSON; NULL at the end. Every line must be JSON, one object, ended by a newline.
 */
static struct json_document *next_line(struct slice *rest) {
    if (rest->len == 0) {
        return NULL;
    }
    size_t end = slice_find(*rest, '\n');
    cr_assert_lt(end, rest->len, "a line without its newline");
    struct json_document *line = json_parse(slice_head(*rest, end), JSON_UNIQUE);
    cr_assert_eq(json_kind_of(json_root(line)), JSON_KIND_OBJECT, "no JSON: %.*s", (int)end,
                 rest->at);
    *rest = slice_from(*rest, end + 1);
    return line;
}

static struct slice text_of(const struct json_document *line, const char *name) {
    struct slice text = SLICE_NULL;
    json_to_slice(json_member(json_root(line), name), &text);
    return text;
}

Test(log, line) {
    struct piped p;
    piped_init(&p, LOG_INFO);
    LOG(p.log, LOG_WARNING, "state_rejected", SLICE("req-1"),
        log_text("user_id", SLICE("u\"1\n\xFF")), log_int("count", -3), log_bool("sealed", true),
        log_text("cause", SLICE_NULL));
    LOG_AUDIT(p.log, "token_linked", SLICE_NULL, log_text("user_id", SLICE("u1")));
    piped_finish(&p);
    struct slice rest = buf_slice(&p.out);

    struct json_document *line = next_line(&rest);
    int64_t number = 0;
    bool truth = false;
    cr_assert_eq(text_of(line, "time").len, 24);
    cr_assert(slice_eq(text_of(line, "level"), SLICE("warning")));
    cr_assert(slice_eq(text_of(line, "event"), SLICE("state_rejected")));
    cr_assert(slice_eq(text_of(line, "request_id"), SLICE("req-1")));
    cr_assert(slice_eq(text_of(line, "user_id"), SLICE("u\"1\n\xEF\xBF\xBD")));
    cr_assert(json_to_i64(json_member(json_root(line), "count"), &number));
    cr_assert_eq(number, -3);
    cr_assert(json_to_bool(json_member(json_root(line), "sealed"), &truth));
    cr_assert(truth);
    cr_assert_not_null(json_member(json_root(line), "cause"));
    cr_assert_eq(json_kind_of(json_member(json_root(line), "cause")), JSON_KIND_NULL);
    cr_assert_null(json_member(json_root(line), "audit"));
    json_close(line);

    line = next_line(&rest);
    cr_assert(json_to_bool(json_member(json_root(line), "audit"), &truth));
    cr_assert(truth);
    cr_assert(slice_eq(text_of(line, "level"), SLICE("info")));
    json_close(line);
    cr_assert_null(next_line(&rest));
    buf_fini(&p.out);
    CHECK_LEAKS();
}

Test(log, levels) {
    static const char *const names[] = {"debug", "info", "warning", "error"};
    for (int least = LOG_DEBUG; least <= LOG_ERROR; least++) {
        struct piped p;
        enum log_level parsed;
        struct json_document *line;
        int seen = 0;
        cr_assert(log_level_parse(slice_str(names[least]), &parsed));
        cr_assert_eq((int)parsed, least);
        piped_init(&p, parsed);
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
            cr_assert_eq(log_on(p.log, (enum log_level)level), level >= least);
            LOG(p.log, (enum log_level)level, "x", SLICE_NULL, log_int("level_number", level));
            log_write(p.log, (enum log_level)level, "y", SLICE_NULL, NULL, 0);
        }
        LOG_AUDIT(p.log, "z", SLICE_NULL, log_int("n", 1));
        piped_finish(&p);
        struct slice rest = buf_slice(&p.out);
        for (; (line = next_line(&rest)) != NULL; seen++) {
            json_close(line);
        }
        cr_assert_eq(seen, 2 * (LOG_ERROR - least + 1) + 1, "from %s", names[least]);
        buf_fini(&p.out);
    }
    enum log_level level;
    cr_assert(!log_level_parse(SLICE("Info"), &level));
    cr_assert(!log_level_parse(SLICE(""), &level));
    cr_assert(!log_level_parse(SLICE("inf"), &level));
    CHECK_LEAKS();
}

Test(log, flush_means_written) {
    struct piped p;
    char at[4096];
    piped_init(&p, LOG_INFO);
    for (int i = 0; i < 100; i++) {
        LOG(p.log, LOG_INFO, "x", SLICE_NULL, log_int("i", i));
        log_flush(p.log);
        cr_assert_gt(read(p.ends[0], at, sizeof at), 0, "line %d", i);
    }
    log_flush(p.log);
    piped_finish(&p);
    buf_fini(&p.out);
    CHECK_LEAKS();
}

/* A line that no buffer holds loses the ends of its texts, at worst its fields; it is still a line.
 */
Test(log, too_long) {
    static char text[LIMIT_LOG_LINE_BYTES];
    struct log_field many[200];
    struct piped p;
    memset(text, '\x01', sizeof text); /* six bytes each, once escaped */
    for (size_t i = 0; i < 200; i++) {
        many[i] = log_text("many", slice_make(text, sizeof text));
    }
    piped_init(&p, LOG_INFO);
    LOG(p.log, LOG_INFO, "long", SLICE("r"), log_text("t", slice_make(text, sizeof text)));
    log_write(p.log, LOG_INFO, "many", SLICE("r"), many, 200);
    LOG_AUDIT(p.log, "long", SLICE("r"), log_text("t", slice_make(text, sizeof text)));
    log_audit(p.log, "many", SLICE("r"), many, 200);
    piped_finish(&p);
    struct slice rest = buf_slice(&p.out);
    for (int i = 0; i < 4; i++) {
        struct json_document *line = next_line(&rest);
        bool clipped = false;
        cr_assert(slice_eq(text_of(line, "event"), i % 2 == 0 ? SLICE("long") : SLICE("many")));
        cr_assert(slice_eq(text_of(line, "request_id"), SLICE("r")));
        cr_assert_eq(json_member(json_root(line), "audit") != NULL, i >= 2, "line %d", i);
        cr_assert_eq(text_of(line, "t").len, i % 2 == 0 ? 256 : 0, "line %d", i);
        cr_assert(json_to_bool(json_member(json_root(line), "clipped"), &clipped));
        cr_assert(clipped);
        json_close(line);
    }
    cr_assert_null(next_line(&rest));
    buf_fini(&p.out);
    CHECK_LEAKS();
}

enum { AUDITS = 40 };

static void *write_audits(void *arg) {
    struct piped *p = arg;
    static char filler[8000];
    memset(filler, 'a', sizeof filler);
    for (int i = 0; i < AUDITS; i++) {
        LOG_AUDIT(p->log, "token_linked", SLICE_NULL, log_int("number", i),
                  log_text("filler", slice_make(filler, sizeof filler)));
    }
    return NULL;
}

/* What came out of a log whose reader stood still. */
struct tally {
    int64_t plain;
    int64_t audits;
    int64_t dropped;
};

static struct tally count_lines(struct slice rest) {
    struct tally tally = {0};
    struct json_document *line;
    while ((line = next_line(&rest)) != NULL) {
        int64_t number = -1;
        if (slice_eq(text_of(line, "event"), SLICE("token_linked"))) {
            json_to_i64(json_member(json_root(line), "number"), &number);
            cr_assert_eq(number, tally.audits, "audit lines in order");
            tally.audits++;
        } else if (slice_eq(text_of(line, "event"), SLICE("log_lines_dropped"))) {
            json_to_i64(json_member(json_root(line), "count"), &number);
            cr_assert_gt(number, 0);
            tally.dropped += number;
        } else {
            tally.plain++;
        }
        json_close(line);
    }
    return tally;
}

Test(log, stalled_reader) {
    static char filler[8000];
    struct piped p;
    pthread_t auditor;
    int64_t written = 0;
    memset(filler, 'f', sizeof filler);
    piped_init(&p, LOG_INFO);
    while (metrics_get(&p.metrics, METRIC_LOG_LINES_DROPPED) < 10) {
        LOG(p.log, LOG_INFO, "x", SLICE_NULL,
            log_text("filler", slice_make(filler, sizeof filler)));
        written++;
        cr_assert_lt(written, 10000, "the buffer has no end");
    }
    cr_assert_eq(pthread_create(&auditor, NULL, write_audits, &p), 0);

    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, read_all, &p), 0);
    pthread_join(auditor, NULL);
    log_free(p.log);
    close(p.ends[1]);
    pthread_join(reader, NULL);
    close(p.ends[0]);

    struct tally tally = count_lines(buf_slice(&p.out));
    cr_assert_eq(tally.audits, AUDITS);
    cr_assert_eq(tally.dropped, metrics_get(&p.metrics, METRIC_LOG_LINES_DROPPED));
    cr_assert_eq(tally.plain + tally.dropped, written);
    buf_fini(&p.out);
    CHECK_LEAKS();
}

/* With the buffer full an audit line waits: it isn't taken, and its caller does not go on. */
Test(log, audit_waits_for_room, .timeout = 60) {
    static char filler[8000];
    struct piped p;
    pthread_t auditor;
    memset(filler, 'f', sizeof filler);
    piped_init(&p, LOG_INFO);
    while (metrics_get(&p.metrics, METRIC_LOG_LINES_DROPPED) == 0) {
        LOG(p.log, LOG_INFO, "x", SLICE_NULL,
            log_text("filler", slice_make(filler, sizeof filler)));
    }
    cr_assert_eq(pthread_create(&auditor, NULL, write_audits, &p), 0);
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += 200 * 1000 * 1000;
    deadline.tv_sec += deadline.tv_nsec / 1000000000;
    deadline.tv_nsec %= 1000000000;
    cr_assert_neq(pthread_timedjoin_np(auditor, NULL, &deadline), 0);

    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, read_all, &p), 0);
    pthread_join(auditor, NULL);
    log_free(p.log);
    close(p.ends[1]);
    pthread_join(reader, NULL);
    close(p.ends[0]);
    cr_assert_eq(count_lines(buf_slice(&p.out)).audits, AUDITS);
    buf_fini(&p.out);
    CHECK_LEAKS();
}

/* A reader that went away costs its lines, not the process, whatever SIGPIPE is set to. */
Test(log, reader_is_gone) {
    struct piped p;
    piped_init(&p, LOG_INFO);
    signal(SIGPIPE, SIG_DFL);
    close(p.ends[0]);
    LOG(p.log, LOG_INFO, "x", SLICE_NULL, log_int("n", 1));
    LOG_AUDIT(p.log, "y", SLICE_NULL, log_int("n", 1));
    log_flush(p.log);
    log_free(p.log);
    close(p.ends[1]);
    buf_fini(&p.out);
    CHECK_LEAKS();
}

/* A pipe that another program set to non-blocking, as shells' children share them. */
Test(log, non_blocking_pipe) {
    static char filler[8000];
    struct piped p;
    memset(filler, 'f', sizeof filler);
    piped_init(&p, LOG_INFO);
    cr_assert_eq(fcntl(p.ends[1], F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 100; i++) {
        LOG(p.log, LOG_INFO, "x", SLICE_NULL,
            log_text("filler", slice_make(filler, sizeof filler)));
    }
    piped_finish(&p);
    cr_assert_eq(count_lines(buf_slice(&p.out)).plain, 100);
    buf_fini(&p.out);
    CHECK_LEAKS();
}

enum { WRITERS = 8, LINES = 500 };

static void *write_lines(void *arg) {
    for (int i = 0; i < LINES; i++) {
        LOG((struct log *)arg, LOG_INFO, "x", SLICE_NULL, log_int("i", i));
    }
    return NULL;
}

Test(log, many_threads) {
    struct piped p;
    pthread_t writers[WRITERS];
    piped_init(&p, LOG_INFO);
    for (int i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_create(&writers[i], NULL, write_lines, p.log), 0);
    }
    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, read_all, &p), 0);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i], NULL);
    }
    log_free(p.log);
    log_free(NULL);
    close(p.ends[1]);
    pthread_join(reader, NULL);
    close(p.ends[0]);
    cr_assert_eq(count_lines(buf_slice(&p.out)).plain, WRITERS * LINES);
    buf_fini(&p.out);
    CHECK_LEAKS();
}

/* Several processes with one pipe: here several logs, since each has a thread that writes. */
enum { SHARERS = 4, SHARED_LINES = 300 };

static void *write_shared(void *arg) {
    static char filler[3 * PIPE_BUF];
    memset(filler, 's', sizeof filler);
    for (int i = 0; i < SHARED_LINES; i++) {
        size_t n = (size_t)i * 97 % (i % 10 == 0 ? sizeof filler : PIPE_BUF);
        LOG_AUDIT((struct log *)arg, "x", SLICE_NULL, log_int("number", i),
                  log_text("filler", slice_make(filler, n)));
    }
    return NULL;
}

static void expect_whole_lines(struct slice rest) {
    int next[SHARERS] = {0};
    struct json_document *line;
    while ((line = next_line(&rest)) != NULL) {
        int64_t process = 0;
        int64_t number = -1;
        cr_assert(json_to_i64(json_member(json_root(line), "worker"), &process));
        cr_assert(process >= 1 && process <= SHARERS, "%ld", (long)process);
        cr_assert(json_to_i64(json_member(json_root(line), "number"), &number));
        cr_assert_eq(number, next[process - 1]++, "in order");
        json_close(line);
    }
    for (int i = 0; i < SHARERS; i++) {
        cr_assert_eq(next[i], SHARED_LINES, "%d", next[i]);
    }
}

Test(log, lines_stay_whole_where_others_write_too) {
    struct piped p;
    struct log *logs[SHARERS];
    pthread_t writers[SHARERS];
    pthread_t reader;
    piped_init(&p, LOG_INFO);
    for (int i = 0; i < SHARERS; i++) {
        logs[i] = log_new(p.ends[1], LOG_INFO, &p.clock, NULL);
        log_share(logs[i], i + 1);
        cr_assert_eq(pthread_create(&writers[i], NULL, write_shared, logs[i]), 0);
    }
    cr_assert_eq(pthread_create(&reader, NULL, read_all, &p), 0);
    for (int i = 0; i < SHARERS; i++) {
        pthread_join(writers[i], NULL);
        log_free(logs[i]);
    }
    log_free(p.log);
    close(p.ends[1]);
    pthread_join(reader, NULL);
    close(p.ends[0]);
    expect_whole_lines(buf_slice(&p.out));
    buf_fini(&p.out);
    CHECK_LEAKS();
}
