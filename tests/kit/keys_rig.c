// SPDX-License-Identifier: MIT
#include "kit/keys_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "kit/leaks.h"

enum { PATIENCE_MS = 10000, FAST_QUEUE = 1000 };

const struct jwks_source_times keys_rig_times = {
    .refresh_ms = 10 * 60 * 1000,
    .retry_min_ms = 10,
    .retry_max_ms = 40,
    .asked_ms = 30 * 1000,
    .timeout_ms = 5000,
};

struct keys_rig *keys_rig_new(void) {
    static const struct upstream_opts upstream = {.connect_timeout_ms = 5000,
                                                  .timeout_ms = 10000,
                                                  .connections_max = 4,
                                                  .keepalive_max = 2,
                                                  .queue_max = 16,
                                                  .user_agent = "test/1"};
    struct keys_rig *rig = mem_calloc(1, sizeof *rig);
    const char *problem = NULL;
    cr_assert_eq(hash_init(), RC_OK);
    rig->log_fd = memfd_create("log", MFD_CLOEXEC);
    cr_assert_geq(rig->log_fd, 0);
    rig->log = log_new(rig->log_fd, LOG_DEBUG, &rig->clock, &rig->metrics);
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    rig->upstream = upstream_new(&rig->loop, &upstream, &problem);
    cr_assert_not_null(rig->upstream, "%s", problem);
    rig->work = work_new(&rig->loop, FAST_QUEUE);
    const struct work_lane_opts lane = {
        .threads = 2, .queue_max = LIMIT_SIGNATURE_QUEUE, .batch_max = 1, .name = "signatures"};
    rig->lane = work_lane_new(&rig->loop, &lane);
    cr_assert_not_null(rig->lane);
    rig->host = key_host_new();
    loop_timer_init(&rig->loop, &rig->watch);
    return rig;
}

void keys_rig_open_with(struct keys_rig *rig, const struct jwks_source_times *times,
                        struct bearer_opts opts) {
    char url[128];
    key_host_url(rig->host, url, sizeof url);
    rig->source = jwks_source_new(&(const struct jwks_source_opts){
        .loop = &rig->loop,
        .upstream = rig->upstream,
        .work = rig->work,
        .log = rig->log,
        .metrics = &rig->metrics,
        .url = slice_str(url),
        .times = *times,
    });
    cr_assert_not_null(rig->source);
    opts.leeway_s = 30;
    opts.cache_max = 64;
    opts.log = rig->log;
    opts.source = rig->source;
    opts.lane = rig->lane;
    opts.loop = &rig->loop;
    opts.metrics = &rig->metrics;
    rig->bearer = bearer_new(&opts);
    cr_assert_not_null(rig->bearer);
}

void keys_rig_open(struct keys_rig *rig, const struct jwks_source_times *times) {
    keys_rig_open_with(rig, times, (struct bearer_opts){.alg = HASH_HS256});
}

static void on_closed(void *owner) {
    struct keys_rig *rig = owner;
    rig->closing--;
}

static void on_source_closed(void *owner) {
    struct keys_rig *rig = owner;
    on_closed(rig);
    upstream_close(rig->upstream, on_closed, rig);
    work_close(rig->work, on_closed, rig);
}

void keys_rig_end(struct keys_rig *rig) {
    rig->closing = 4;
    loop_timer_close(&rig->watch, NULL);
    work_lane_close(rig->lane, on_closed, rig);
    if (rig->bearer != NULL) {
        bearer_free(rig->bearer);
        jwks_source_close(rig->source, on_source_closed, rig);
        cr_assert_eq(rig->closing, 4, "closed was told before jwks_source_close had returned");
    } else {
        on_source_closed(rig);
    }
    loop_run(&rig->loop);
    cr_assert_eq(rig->closing, 0);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK, "a handle is still open");
    key_host_free(rig->host);
    log_free(rig->log);
    close(rig->log_fd);
    mem_free(rig);
    CHECK_LEAKS();
}

static void on_watch(struct loop_timer *timer) {
    struct keys_rig *rig = LIST_ENTRY(timer, struct keys_rig, watch);
    if (rig->is_time(rig) || loop_timer_now_ms(&rig->loop) > rig->until_ms) {
        loop_stop(&rig->loop);
    }
}

static void run(struct keys_rig *rig, bool (*is_time)(struct keys_rig *rig), int64_t ms) {
    rig->is_time = is_time;
    rig->until_ms = loop_timer_now_ms(&rig->loop) + ms;
    loop_timer_start(&rig->watch, 0, 1, on_watch);
    loop_run(&rig->loop);
    loop_timer_stop(&rig->watch);
}

void keys_rig_run(struct keys_rig *rig, bool (*is_time)(struct keys_rig *rig)) {
    run(rig, is_time, PATIENCE_MS);
    cr_assert(is_time(rig), "not reached in %d ms", PATIENCE_MS);
}

static bool never(struct keys_rig *rig) {
    (void)rig;
    return false;
}

void keys_rig_run_ms(struct keys_rig *rig, int64_t ms) {
    run(rig, never, ms);
}

size_t keys_rig_fetches(struct keys_rig *rig) {
    return (size_t)(metrics_get(&rig->metrics, METRIC_JWKS_FETCHES_OK) +
                    metrics_get(&rig->metrics, METRIC_JWKS_FETCHES_FAILED));
}

static bool has_fetched(struct keys_rig *rig) {
    return keys_rig_fetches(rig) >= rig->wanted;
}

void keys_rig_run_fetches(struct keys_rig *rig, size_t fetches) {
    rig->wanted = fetches;
    keys_rig_run(rig, has_fetched);
}

size_t keys_rig_logged(struct keys_rig *rig, const char *text) {
    size_t count = 0;
    log_flush(rig->log);
    ssize_t n = pread(rig->log_fd, rig->logs, sizeof rig->logs - 1, 0);
    cr_assert(n >= 0 && (size_t)n < sizeof rig->logs - 1, "the log is too long for the kit");
    rig->logs[n] = '\0';
    for (const char *at = strstr(rig->logs, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}
