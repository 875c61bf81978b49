// SPDX-License-Identifier: MIT
#include "kit/redis_place.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"

enum { COMMAND_BYTES = 1024, ARGS_MAX = 16, READY_MAX_MS = 2000 };

struct redis_place *redis_place_open(struct loop *loop, struct log *log, struct metrics *metrics) {
    struct redis_place *place = mem_calloc(1, sizeof *place);
    char problem[REDIS_URL_PROBLEM_BYTES];
    redis_server_start(&place->server, (struct redis_server_opts){0});
    cr_assert_eq(redis_url_parse(slice_str(redis_server_url(&place->server)), &place->url, problem),
                 RC_OK, "%s", problem);
    place->loop = loop;
    place->log = log;
    place->metrics = metrics;
    place->redis = redis_place_connect(place);
    return place;
}

struct redis *redis_place_connect(struct redis_place *place) {
    return redis_new(&(const struct redis_opts){.loop = place->loop,
                                                .log = place->log,
                                                .metrics = place->metrics,
                                                .url = &place->url,
                                                .name = "test"});
}

static void on_closed(void *owner) {
    struct redis_place *place = owner;
    loop_stop(place->loop);
}

void redis_place_disconnect(struct redis_place *place, struct redis *redis) {
    redis_close(redis, on_closed, place);
    loop_run(place->loop);
}

void redis_place_close(struct redis_place *place) {
    redis_place_disconnect(place, place->redis);
    redis_url_fini(&place->url);
    redis_server_free(&place->server);
    mem_free(place);
}

struct ready {
    struct loop_timer timer;
    struct loop *loop;
    struct redis *redis;
    int64_t until_ms;
};

static void on_tick(struct loop_timer *timer) {
    struct ready *ready = LIST_ENTRY(timer, struct ready, timer);
    bool is_late = loop_timer_now_ms(ready->loop) > ready->until_ms;
    if (redis_is_ready(ready->redis) || is_late) {
        loop_timer_stop(timer);
        loop_stop(ready->loop);
    }
}

static void on_timer_closed(struct loop_timer *timer) {
    loop_stop(LIST_ENTRY(timer, struct ready, timer)->loop);
}

void redis_place_wait_ready(struct redis_place *place, struct redis *redis) {
    struct ready ready = {.loop = place->loop,
                          .redis = redis,
                          .until_ms = loop_timer_now_ms(place->loop) + READY_MAX_MS};
    loop_timer_init(place->loop, &ready.timer);
    loop_timer_start(&ready.timer, 1, 5, on_tick);
    loop_run(place->loop);
    loop_timer_close(&ready.timer, on_timer_closed);
    loop_run(place->loop);
    cr_assert(redis_is_ready(redis), "no connection within 2 s");
}

const char *redis_place_ask(struct redis_place *place, const char *format, ...) {
    char command[COMMAND_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    cr_assert(len > 0 && (size_t)len < sizeof command);
    return redis_server_ask(&place->server, command);
}

static int64_t read_number(const char *answer) {
    char *end;
    int64_t number = strtoll(answer, &end, 10);
    cr_assert(end != answer && *end == '\0', "%s", answer);
    return number;
}

int64_t redis_place_ask_number(struct redis_place *place, const char *format, ...) {
    char command[COMMAND_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    cr_assert(len > 0 && (size_t)len < sizeof command);
    return read_number(redis_server_ask(&place->server, command));
}

const char *redis_place_eval(struct redis_place *place, const char *script,
                             const char *const *args) {
    const char *all[ARGS_MAX + 1] = {"EVAL", script, "0"};
    size_t n = 3;
    for (size_t i = 0; args != NULL && args[i] != NULL; i++) {
        cr_assert_lt(n, (size_t)ARGS_MAX);
        all[n++] = args[i];
    }
    return redis_server_ask_args(&place->server, all);
}

static int64_t eval_number(struct redis_place *place, const char *script, const char *arg) {
    return read_number(redis_place_eval(place, script, (const char *const[]){arg, NULL}));
}

bool redis_place_finds(struct redis_place *place, const char *bytes) {
    static const char script[] =
        "for _, key in ipairs(redis.call('KEYS', '*')) do\n"
        "  local all = key\n"
        "  local type = redis.call('TYPE', key).ok\n"
        "  if type == 'string' then all = all .. ' ' .. redis.call('GET', key)\n"
        "  elseif type == 'list' then\n"
        "    all = all .. ' ' .. table.concat(redis.call('LRANGE', key, 0, -1), ' ')\n"
        "  else return redis.error_reply('a ' .. type) end\n"
        "  if string.find(all, ARGV[1], 1, true) then return 1 end\n"
        "end\n"
        "return 0\n";
    return eval_number(place, script, bytes) == 1;
}

int64_t redis_place_last_end_ms(struct redis_place *place) {
    static const char script[] = "local last = 0\n"
                                 "for _, key in ipairs(redis.call('KEYS', '*')) do\n"
                                 "  local left = redis.call('PTTL', key)\n"
                                 "  if left < 0 then return -1 end\n"
                                 "  last = math.max(last, left)\n"
                                 "end\n"
                                 "return last\n";
    return eval_number(place, script, "");
}

void redis_place_pass(struct redis_place *place, int64_t ms) {
    static const char script[] =
        "for _, key in ipairs(redis.call('KEYS', '*')) do\n"
        "  local left = redis.call('PTTL', key)\n"
        "  if left >= 0 then redis.call('PEXPIRE', key, left - tonumber(ARGV[1])) end\n"
        "end\n"
        "return 0\n";
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)ms);
    eval_number(place, script, text);
}
