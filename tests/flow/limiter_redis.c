// SPDX-License-Identifier: MIT
/* Limits in a real Redis: the same answers as in memory, and what happens without it. */
#include "auth/limiter_redis.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/hash.h"
#include "kit/leaks.h"
#include "kit/redis_server.h"

enum { BATCH = 50, SEQUENCES = 200, BUCKETS = 3, KEYS = 3, PER_MINUTE = 10, WAIT_MS = 250 };
enum { SLOW_MS = 5000, KEEP_MS = 60 * 1000, LOG_BYTES = 64 * 1024 };

static const char *const buckets[BUCKETS] = {"none", "first", "second"};

/* One process's. */
struct rig {
    struct clock clock;
    struct loop loop;
    struct metrics metrics;
    struct log *log;
    int pipe[2];
    struct redis_url url;
    struct redis *redis;
    struct limiter *local;
    struct limiter_redis *limiter;
    int closing;
    size_t done;
};

static bool wait_ready(struct rig *rig) {
    while (!redis_is_ready(rig->redis)) {
        uv_run(&rig->loop.uv, UV_RUN_ONCE);
    }
    return true;
}

struct rig_opts {
    int64_t wait_ms;
    int64_t keep_ms;
    int64_t command_timeout_ms;
    size_t queue_max;
    bool is_down; /* nothing is waited for */
};

static struct rig *open_rig(const struct redis_server *server, struct rig_opts opts) {
    struct rig *rig = calloc(1, sizeof *rig);
    char problem[REDIS_URL_PROBLEM_BYTES];
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    cr_assert_eq(pipe2(rig->pipe, O_NONBLOCK), 0);
    rig->log = log_new(rig->pipe[1], LOG_DEBUG, &rig->clock, &rig->metrics);
    cr_assert_eq(redis_url_parse(slice_str(redis_server_url(server)), &rig->url, problem), RC_OK);
    rig->redis = redis_new(&(const struct redis_opts){.loop = &rig->loop,
                                                      .log = rig->log,
                                                      .metrics = &rig->metrics,
                                                      .url = &rig->url,
                                                      .name = "rates",
                                                      .command_timeout_ms = opts.command_timeout_ms,
                                                      .queue_max = opts.queue_max});
    rig->local = limiter_new(1024);
    rig->limiter = limiter_redis_new(&(const struct limiter_redis_opts){.loop = &rig->loop,
                                                                        .log = rig->log,
                                                                        .metrics = &rig->metrics,
                                                                        .redis = rig->redis,
                                                                        .local = rig->local,
                                                                        .buckets = buckets,
                                                                        .wait_ms = opts.wait_ms,
                                                                        .keep_ms = opts.keep_ms});
    if (!opts.is_down) {
        wait_ready(rig);
    }
    return rig;
}

static void on_closed(void *owner) {
    ((struct rig *)owner)->closing--;
}

static void close_rig(struct rig *rig) {
    rig->closing = 2;
    limiter_redis_close(rig->limiter, on_closed, rig);
    redis_close(rig->redis, on_closed, rig);
    cr_assert_eq(rig->closing, 2, "closed before the call returned");
    loop_run(&rig->loop);
    cr_assert_eq(rig->closing, 0);
    limiter_free(rig->local);
    redis_url_fini(&rig->url);
    log_free(rig->log);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK);
    close(rig->pipe[0]);
    close(rig->pipe[1]);
    free(rig);
}

static int64_t fallbacks(const struct rig *rig) {
    return metrics_get(&rig->metrics, METRIC_RATE_FALLBACKS);
}

static bool has_logged(struct rig *rig, const char *text) {
    char logs[LOG_BYTES];
    log_flush(rig->log);
    ssize_t n = read(rig->pipe[0], logs, sizeof logs - 1);
    logs[n > 0 ? n : 0] = '\0';
    return strstr(logs, text) != NULL;
}

/* One request that counts against up to two limits. */
struct request {
    struct limiter_redis_op op;
    struct rig *rig;
    struct limiter_limit limits[2];
    size_t count;
    char keys[2][32];
    int done;
    size_t refused;
    struct limiter_answer answer;
    /* what it should be */
    size_t expected_refused;
    struct limiter_answer expected;
    int64_t now_ms;
};

static void on_done(struct limiter_redis_op *op) {
    struct request *request = LIST_ENTRY(op, struct request, op);
    request->done++;
    request->refused = op->refused;
    request->answer = op->answer;
    memset(op, 0xA5, sizeof *op);
    request->rig->done++;
}

static void start(struct rig *rig, struct request *request, int64_t wall_ms) {
    request->rig = rig;
    request->done = 0;
    limiter_redis_take(rig->limiter, &request->op, request->limits, request->count, wall_ms,
                       on_done);
    cr_assert_eq(request->done, 0, "done before the call returned");
}

static void run_until(struct rig *rig, size_t done) {
    while (rig->done < done) {
        uv_run(&rig->loop.uv, UV_RUN_ONCE);
    }
}

/* Against one limit of ten a minute. */
static struct request request_of(const char *key) {
    return (struct request){.limits = {{1, slice_str(key), PER_MINUTE}}, .count = 1};
}

/* Is one more allowed, by Redis or without it? */
static bool take(struct rig *rig, const char *key) {
    struct request request = request_of(key);
    if (!limiter_redis_fall_back(rig->limiter, request.limits, request.count, &request.refused,
                                 &request.answer)) {
        start(rig, &request, loop_wall_ms(&rig->loop));
        run_until(rig, rig->done + 1);
    }
    cr_assert_eq(request.answer.limit, PER_MINUTE);
    cr_assert_eq(request.refused, request.answer.is_allowed ? 1U : 0U);
    return request.answer.is_allowed;
}

static int take_many(struct rig *rig, const char *key, int n) {
    int allowed = 0;
    for (int i = 0; i < n; i++) {
        allowed += take(rig, key);
    }
    return allowed;
}

/* --- the same answers ------------------------------------------------------------------------- */

static unsigned draw(uint64_t *random, unsigned below) {
    *random = *random * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(*random >> 33) % below;
}

/* Nothing, a little, about one interval, back (another process's clock), or a long time. */
static int64_t draw_pause_ms(uint64_t *random, int64_t per_minute) {
    int64_t each_ms = 60 * 1000 / per_minute;
    switch (draw(random, 6)) {
    case 0:
        return draw(random, 10);
    case 1:
        return each_ms + (int64_t)draw(random, 5) - 2;
    case 2:
        return -(int64_t)draw(random, 2000);
    case 3:
        return draw(random, 90 * 1000);
    default:
        return 0;
    }
}

static void draw_request(struct request *request, uint64_t *random, int sequence,
                         const int64_t per_minute[BUCKETS]) {
    request->count = 1 + draw(random, 2);
    for (size_t i = 0; i < request->count; i++) {
        unsigned bucket = 1 + draw(random, BUCKETS - 1);
        snprintf(request->keys[i], sizeof request->keys[i], "%d-%u", sequence, draw(random, KEYS));
        request->limits[i] =
            (struct limiter_limit){bucket, slice_str(request->keys[i]), per_minute[bucket]};
    }
}

static void expect_same(const struct request *request, int sequence, int i) {
    const struct limiter_answer *got = &request->answer;
    const struct limiter_answer *wanted = &request->expected;
    cr_assert_eq(request->done, 1);
    cr_assert_eq(request->refused, request->expected_refused, "%d.%d", sequence, i);
    cr_assert(got->is_allowed == wanted->is_allowed && got->limit == wanted->limit &&
                  got->remaining == wanted->remaining && got->reset_s == wanted->reset_s &&
                  got->retry_after_s == wanted->retry_after_s,
              "%d.%d", sequence, i);
}

/* A whole sequence leaves in one turn, so that it takes no time that it doesn't say. */
static size_t run_sequence(struct rig *rig, struct request *requests, uint64_t *random,
                           int sequence) {
    static const int64_t limits[] = {1, 2, 3, 7, 10, 60, 100, 600, 999, 60000, 1000000};
    enum { LIMITS = sizeof limits / sizeof limits[0] };
    const int64_t per_minute[BUCKETS] = {0, limits[draw(random, LIMITS)],
                                         limits[draw(random, LIMITS)]};
    struct limiter *mirror = limiter_new(4096);
    int64_t now_ms = loop_wall_ms(&rig->loop);
    size_t done = rig->done;
    size_t refused = 0;
    for (int i = 0; i < BATCH; i++) {
        struct request *request = &requests[i];
        draw_request(request, random, sequence, per_minute);
        now_ms += draw_pause_ms(random, request->limits[0].per_minute);
        request->expected_refused =
            limiter_take_all(mirror, request->limits, request->count, now_ms, &request->expected);
        start(rig, request, now_ms);
    }
    run_until(rig, done + BATCH);
    for (int i = 0; i < BATCH; i++) {
        expect_same(&requests[i], sequence, i);
        refused += requests[i].refused < requests[i].count;
    }
    limiter_free(mirror);
    return refused;
}

Test(limiter_redis, the_answers_are_those_of_memory) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *rig = open_rig(
        &server,
        (struct rig_opts){.wait_ms = SLOW_MS, .command_timeout_ms = SLOW_MS, .keep_ms = KEEP_MS});
    struct request *requests = calloc(BATCH, sizeof *requests);
    uint64_t random = 4;
    size_t refused = 0;
    for (int sequence = 0; sequence < SEQUENCES; sequence++) {
        refused += run_sequence(rig, requests, &random, sequence);
    }
    cr_assert_eq(fallbacks(rig), 0);
    cr_assert(refused > 500 && refused < BATCH * SEQUENCES - 500, "%d were refused", (int)refused);
    free(requests);
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

Test(limiter_redis, processes_share_a_limit) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *one = open_rig(&server, (struct rig_opts){.wait_ms = SLOW_MS});
    struct rig *two = open_rig(&server, (struct rig_opts){.wait_ms = SLOW_MS});
    int allowed = 0;
    for (int i = 0; i < PER_MINUTE; i++) {
        allowed += take(one, "u");
        allowed += take(two, "u");
    }
    cr_assert(allowed == PER_MINUTE || allowed == PER_MINUTE + 1, "%d", allowed);
    cr_assert(take(two, "v"), "other keys are apart");
    cr_assert_eq(fallbacks(one) + fallbacks(two), 0);
    close_rig(one);
    close_rig(two);
    redis_server_free(&server);
    CHECK_LEAKS();
}

/* --- what it leaves there --------------------------------------------------------------------- */

Test(limiter_redis, a_key_names_nobody_and_ends) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *rig = open_rig(&server, (struct rig_opts){.wait_ms = SLOW_MS, .keep_ms = 100});
    char key[256];
    char command[300];
    cr_assert(take(rig, "192.0.2.77"));
    snprintf(key, sizeof key, "%s", redis_server_ask(&server, "KEYS *"));
    key[strcspn(key, "\n")] = '\0';
    cr_assert(slice_starts(slice_str(key), SLICE("latchkey:rate:first:")), "%s", key);
    cr_assert_null(strstr(key, "192.0.2"), "%s", key);
    cr_assert_null(strstr(key, "3139322e"), "as hexadecimal digits: %s", key);
    cr_assert_leq(strlen(key), 64);
    snprintf(command, sizeof command, "PTTL %s", key);
    int ttl_ms = 0;
    cr_assert_eq(sscanf(redis_server_ask(&server, command), "%d", &ttl_ms), 1);
    cr_assert(ttl_ms > 0 && ttl_ms <= 60 * 1000 / PER_MINUTE + 100, "%d", ttl_ms);
    /* of a whole minute's use, still no more than that */
    take_many(rig, "192.0.2.77", PER_MINUTE * 2);
    cr_assert_eq(sscanf(redis_server_ask(&server, command), "%d", &ttl_ms), 1);
    cr_assert(ttl_ms > 0 && ttl_ms <= 60 * 1000 + 100, "%d", ttl_ms);
    cr_assert_eq(redis_server_ask(&server, "DBSIZE")[0], '1');
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

/* --- without it ------------------------------------------------------------------------------- */

/* The process's own limit holds, at once. */
static void expect_local(struct rig *rig, const char *key) {
    struct request request = request_of(key);
    int64_t before = fallbacks(rig);
    for (int i = 0; i <= PER_MINUTE; i++) {
        cr_assert(limiter_redis_fall_back(rig->limiter, request.limits, 1, &request.refused,
                                          &request.answer));
        cr_assert_eq(request.answer.is_allowed, i < PER_MINUTE, "%d", i);
    }
    cr_assert_eq(request.answer.retry_after_s, 60 / PER_MINUTE);
    cr_assert_eq(fallbacks(rig), before + PER_MINUTE + 1);
}

static bool can_take(struct rig *rig) {
    struct request request = request_of("probe");
    return !limiter_redis_fall_back(rig->limiter, request.limits, 1, &request.refused,
                                    &request.answer);
}

Test(limiter_redis, while_it_is_down_the_process_counts_for_itself) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    redis_server_stop(&server);
    struct rig *rig = open_rig(&server, (struct rig_opts){.is_down = true});
    expect_local(rig, "u");
    cr_assert(has_logged(rig, "\"event\":\"rate_limits_fall_back\",\"request_id\":null,"
                              "\"cause\":\"down\""));
    redis_server_again(&server);
    wait_ready(rig);
    cr_assert(can_take(rig));
    int64_t before = fallbacks(rig);
    cr_assert_eq(take_many(rig, "v", PER_MINUTE), PER_MINUTE);
    cr_assert_not(take(rig, "v"));
    cr_assert_eq(fallbacks(rig), before);
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

Test(limiter_redis, one_that_stops_in_the_middle_is_done_without) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *rig = open_rig(&server, (struct rig_opts){.wait_ms = SLOW_MS});
    struct request request = request_of("u");
    cr_assert(take(rig, "u"));
    redis_server_freeze(&server);
    start(rig, &request, loop_wall_ms(&rig->loop));
    uv_run(&rig->loop.uv, UV_RUN_NOWAIT);
    redis_server_kill(&server);
    run_until(rig, rig->done + 1);
    cr_assert(request.done == 1 && request.answer.is_allowed);
    cr_assert_eq(fallbacks(rig), 1);
    expect_local(rig, "v");
    cr_assert_eq(take_many(rig, "u", PER_MINUTE), PER_MINUTE - 1, "it was counted locally");
    /* restarted, empty: it counts from nothing, and knows no script */
    redis_server_again(&server);
    wait_ready(rig);
    int64_t before = fallbacks(rig);
    cr_assert_eq(take_many(rig, "u", PER_MINUTE), PER_MINUTE);
    cr_assert_not(take(rig, "u"));
    cr_assert_eq(fallbacks(rig), before);
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

Test(limiter_redis, one_that_is_frozen_is_waited_for_once) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *rig =
        open_rig(&server, (struct rig_opts){.wait_ms = WAIT_MS, .command_timeout_ms = SLOW_MS * 2});
    struct request request = request_of("u");
    cr_assert(take(rig, "u"));
    redis_server_freeze(&server);
    int64_t started_ms = clock_mono_ms(&rig->clock);
    start(rig, &request, loop_wall_ms(&rig->loop));
    run_until(rig, rig->done + 1);
    int64_t took_ms = clock_mono_ms(&rig->clock) - started_ms;
    cr_assert(request.done == 1 && request.answer.is_allowed);
    /* since the turn began, which is before it was frozen; and not at the command's own end */
    cr_assert(took_ms >= WAIT_MS / 2 && took_ms < SLOW_MS, "%d ms", (int)took_ms);
    cr_assert(has_logged(rig, "\"cause\":\"slow\""));
    expect_local(rig, "v");
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_REDIS_UNANSWERED), 1);
    redis_server_thaw(&server);
    while (!can_take(rig)) {
        uv_run(&rig->loop.uv, UV_RUN_ONCE);
    }
    cr_assert_eq(request.done, 1, "told twice");
    /* what it answered late was counted there too */
    cr_assert_eq(take_many(rig, "u", PER_MINUTE), PER_MINUTE - 2);
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

Test(limiter_redis, one_that_refuses_or_talks_nonsense_is_done_without) {
    static const char *const no_memory[] = {"--maxmemory", "1", NULL};
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){.more = no_memory});
    struct rig *rig = open_rig(&server, (struct rig_opts){.wait_ms = SLOW_MS});
    cr_assert_eq(take_many(rig, "u", PER_MINUTE * 2), PER_MINUTE);
    cr_assert_eq(fallbacks(rig), PER_MINUTE * 2);
    redis_server_ask(&server, "CONFIG SET maxmemory 0");
    cr_assert(take(rig, "v"));
    cr_assert_eq(fallbacks(rig), PER_MINUTE * 2);
    /* a key that someone else has written */
    char command[512];
    char key[256];
    snprintf(key, sizeof key, "%s", redis_server_ask(&server, "KEYS *"));
    key[strcspn(key, "\n")] = '\0';
    snprintf(command, sizeof command, "SET %s no-number", key);
    redis_server_ask(&server, command);
    cr_assert_eq(take_many(rig, "v", PER_MINUTE * 2), PER_MINUTE);
    snprintf(command, sizeof command, "DEL %s", key);
    redis_server_ask(&server, command);
    snprintf(command, sizeof command, "LPUSH %s a", key);
    redis_server_ask(&server, command);
    cr_assert_not(take(rig, "v"));
    cr_assert_eq(fallbacks(rig), PER_MINUTE * 4 + 1);
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

/* A failover: each connection ends with the first refusal, and the next one is made. */
Test(limiter_redis, one_that_may_not_write_is_done_without) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *rig = open_rig(&server, (struct rig_opts){.wait_ms = SLOW_MS});
    redis_server_ask(&server, "REPLICAOF 127.0.0.1 1");
    cr_assert_eq(take_many(rig, "u", PER_MINUTE), PER_MINUTE);
    cr_assert_eq(fallbacks(rig), PER_MINUTE);
    wait_ready(rig);
    cr_assert_not(take(rig, "u"));
    redis_server_ask(&server, "REPLICAOF NO ONE");
    wait_ready(rig);
    cr_assert(take(rig, "u"));
    cr_assert_eq(fallbacks(rig), PER_MINUTE + 1);
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

Test(limiter_redis, too_many_questions_are_counted_here) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *rig = open_rig(&server, (struct rig_opts){.wait_ms = SLOW_MS, .queue_max = 4});
    struct request requests[8];
    for (size_t i = 0; i < 8; i++) {
        requests[i] = request_of("u");
        start(rig, &requests[i], loop_wall_ms(&rig->loop));
    }
    run_until(rig, 8);
    cr_assert_eq(fallbacks(rig), 4);
    for (size_t i = 0; i < 8; i++) {
        cr_assert(requests[i].done == 1 && requests[i].answer.is_allowed);
    }
    close_rig(rig);
    redis_server_free(&server);
    CHECK_LEAKS();
}

Test(limiter_redis, it_closes_with_late_questions) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct rig *rig = open_rig(&server, (struct rig_opts){.wait_ms = 10});
    struct request request = request_of("u");
    redis_server_freeze(&server);
    start(rig, &request, loop_wall_ms(&rig->loop));
    run_until(rig, 1);
    close_rig(rig);
    redis_server_thaw(&server);
    redis_server_free(&server);
    CHECK_LEAKS();
}
