// SPDX-License-Identifier: MIT
#include "kit/redis_rig.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "kit/leaks.h"

enum { ARGS_MAX = 16, WATCH_MS = 2 };

static void on_ready(void *owner) {
    struct redis_rig *rig = owner;
    rig->readies++;
}

static void on_watch(struct loop_timer *timer) {
    (void)timer;
}

struct redis_rig *redis_rig_new(const char *url, const struct redis_opts *given) {
    struct redis_rig *rig = mem_calloc(1, sizeof *rig);
    struct redis_opts opts = {.name = "test"};
    char problem[REDIS_URL_PROBLEM_BYTES];
    if (given != NULL) {
        opts = *given;
        opts.name = given->name != NULL ? given->name : "test";
    }
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    cr_assert_eq(redis_url_parse(slice_str(url), &rig->url, problem), RC_OK, "%s", problem);
    rig->log_file = tmpfile();
    rig->log = log_new(fileno(rig->log_file), LOG_DEBUG, &rig->clock, &rig->metrics);
    opts.loop = &rig->loop;
    opts.log = rig->log;
    opts.metrics = &rig->metrics;
    opts.url = &rig->url;
    loop_timer_init(&rig->loop, &rig->watch);
    rig->redis = redis_new(&opts);
    redis_on_ready(rig->redis, on_ready, rig);
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        rig->calls[i].rig = rig;
        rig->calls[i].done = 1;
    }
    return rig;
}

static void on_closed(void *owner) {
    struct redis_rig *rig = owner;
    rig->closed++;
    loop_timer_close(&rig->watch, NULL);
}

void redis_rig_end(struct redis_rig *rig) {
    redis_close(rig->redis, on_closed, rig);
    cr_assert_eq(rig->closed, 0, "closed was told before redis_close had returned");
    loop_run(&rig->loop);
    cr_assert_eq(rig->closed, 1);
    for (size_t i = 0; i < REDIS_RIG_CALLS; i++) {
        cr_assert_eq(rig->calls[i].done, 1, "call %zu was done %d times", i, rig->calls[i].done);
    }
    cr_assert_eq(loop_fini(&rig->loop), RC_OK, "a handle is still open");
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_UNANSWERED), 0);
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_CONNECTED), 0);
    redis_url_fini(&rig->url);
    log_free(rig->log);
    fclose(rig->log_file);
    mem_free(rig);
    CHECK_LEAKS();
}

/* -- calls -- */

static size_t write_value(const struct redis_value *value, char *out, size_t max) {
    size_t n = 0;
    switch (redis_kind(value)) {
    case REDIS_INTEGER:
        n = (size_t)snprintf(out, max, "%lld", (long long)redis_integer(value));
        break;
    case REDIS_TEXT:
    case REDIS_ERROR:
        n = (size_t)snprintf(out, max, "%.*s", SLICE_ARGS(slice_head(redis_text(value), max - 1)));
        break;
    case REDIS_NIL:
        n = (size_t)snprintf(out, max, "nil");
        break;
    case REDIS_LIST:
        n = (size_t)snprintf(out, max, "[");
        for (size_t i = 0; i < redis_count(value) && n + 2 < max; i++) {
            n += i > 0 ? (size_t)snprintf(out + n, max - n, " ") : 0;
            n += write_value(redis_at(value, i), out + n, max - n);
        }
        n += n < max ? (size_t)snprintf(out + n, max - n, "]") : 0;
    }
    return n < max ? n : max - 1;
}

static void on_done(struct redis_op *op) {
    struct redis_rig_call *call = LIST_ENTRY(op, struct redis_rig_call, op);
    cr_assert(!call->is_starting, "done was told before the call that started it had returned");
    call->done++;
    call->rc = op->rc;
    call->kind = redis_kind(op->value);
    cr_assert((op->rc == RC_OK) == (op->cause == NULL));
    cr_assert((op->rc == RC_OK) == (op->value != NULL));
    snprintf(call->cause, sizeof call->cause, "%s", op->cause != NULL ? op->cause : "");
    call->text[0] = '\0';
    if (op->value != NULL) {
        write_value(op->value, call->text, sizeof call->text);
    }
    call->took_ms = (clock_ns() - call->started_ns) / 1000000;
    /* The op is its owner's again: nobody may look at it after this. */
    memset(op, 0xA5, sizeof *op);
    if (call->then != NULL) {
        call->then(call);
    }
}

static struct redis_rig_call *prepare(struct redis_rig *rig, size_t i) {
    struct redis_rig_call *call = &rig->calls[i];
    cr_assert_eq(call->done, 1, "call %zu is still open", i);
    call->done = 0;
    call->started_ns = clock_ns();
    call->is_starting = true;
    return call;
}

struct redis_rig_call *redis_rig_start(struct redis_rig *rig, size_t i, const char *command) {
    struct redis_rig_call *call = prepare(rig, i);
    char words[REDIS_RIG_TEXT_BYTES];
    struct slice args[ARGS_MAX];
    size_t count = 0;
    snprintf(words, sizeof words, "%s", command);
    struct slice rest = slice_str(words);
    while (slice_split(&rest, ' ', &args[count])) {
        count++;
    }
    redis_command(rig->redis, &call->op, args, count, on_done);
    memset(words, 'x', sizeof words);
    call->is_starting = false;
    return call;
}

struct redis_rig_call *redis_rig_start_eval(struct redis_rig *rig, size_t i,
                                            const struct redis_script *script, const char *key,
                                            const char *arg) {
    struct redis_rig_call *call = prepare(rig, i);
    struct slice args[] = {slice_str(key), slice_str(arg)};
    redis_eval(rig->redis, &call->op, script, args, 1, 2, on_done);
    call->is_starting = false;
    return call;
}

/* -- waiting -- */

void redis_rig_until(struct redis_rig *rig, bool (*is_time)(struct redis_rig *rig, void *about),
                     void *about) {
    int64_t until_ns = clock_ns() + (int64_t)REDIS_RIG_WAIT_MS * 1000000;
    loop_timer_start(&rig->watch, WATCH_MS, WATCH_MS, on_watch);
    while (!is_time(rig, about)) {
        cr_assert_lt(clock_ns(), until_ns, "waited too long:\n%s", redis_rig_log(rig));
        uv_run(&rig->loop.uv, UV_RUN_ONCE);
    }
    loop_timer_stop(&rig->watch);
}

static bool is_done(struct redis_rig *rig, void *about) {
    (void)rig;
    return ((struct redis_rig_call *)about)->done > 0;
}

struct redis_rig_call *redis_rig_wait(struct redis_rig *rig, size_t i) {
    redis_rig_until(rig, is_done, &rig->calls[i]);
    return &rig->calls[i];
}

struct redis_rig_call *redis_rig_ask(struct redis_rig *rig, const char *command) {
    redis_rig_start(rig, 0, command);
    return redis_rig_wait(rig, 0);
}

static bool is_ready(struct redis_rig *rig, void *about) {
    (void)about;
    return redis_is_ready(rig->redis);
}

void redis_rig_wait_ready(struct redis_rig *rig) {
    redis_rig_until(rig, is_ready, NULL);
}

static bool is_ready_again(struct redis_rig *rig, void *about) {
    return rig->readies >= *(const int *)about && redis_is_ready(rig->redis);
}

void redis_rig_wait_readies(struct redis_rig *rig, int count) {
    redis_rig_until(rig, is_ready_again, &count);
}

static bool is_past(struct redis_rig *rig, void *about) {
    (void)rig;
    return clock_ns() >= *(const int64_t *)about;
}

void redis_rig_run_ms(struct redis_rig *rig, int64_t ms) {
    int64_t until_ns = clock_ns() + ms * 1000000;
    redis_rig_until(rig, is_past, &until_ns);
}

/* -- what it left -- */

const char *redis_rig_log(struct redis_rig *rig) {
    log_flush(rig->log);
    ssize_t n = pread(fileno(rig->log_file), rig->log_text, sizeof rig->log_text - 1, 0);
    rig->log_text[n > 0 ? n : 0] = '\0';
    return rig->log_text;
}

int64_t redis_rig_metric(const struct redis_rig *rig, enum metric metric) {
    return metrics_get(&rig->metrics, metric);
}
