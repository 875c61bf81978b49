// SPDX-License-Identifier: MIT
/* Rate limits of three servers with one Redis: they hold in total, and without it each by itself.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "kit/ask.h"
#include "kit/leaks.h"
#include "kit/redis_server.h"

enum { SERVERS = 3, LIMIT = 6, BURST = 30, MINUTE_MS = 60 * 1000, WAIT_MS = 10000 };

struct scene {
    struct redis_server redis;
    struct kit_server *servers[SERVERS];
    char token[KIT_JWT_BYTES];
};

static void open_scene(struct scene *scene) {
    char store[128];
    redis_server_start(&scene->redis, (struct redis_server_opts){0});
    snprintf(store, sizeof store, "LATCHKEY_STATE_STORE=%s", redis_server_url(&scene->redis));
    for (int i = 0; i < SERVERS; i++) {
        scene->servers[i] = kit_server_start_with((const char *const[]){
            store, "AUDIBLE_RATE_LIMIT_STORAGE=redis", "AUDIBLE_RATE_LIMIT_PER_MINUTE=6",
            "LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE=6", "LATCHKEY_RATE_LIMIT_PER_MINUTE=6",
            "LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=9", NULL});
    }
    ask_premium(scene->token, "u");
}

static void close_scene(struct scene *scene) {
    for (int i = 0; i < SERVERS; i++) {
        kit_server_stop(scene->servers[i]);
    }
    redis_server_free(&scene->redis);
    CHECK_LEAKS();
}

static int port_of(const struct scene *scene, int i) {
    return kit_server_port(scene->servers[i % SERVERS]);
}

static int64_t fallbacks(const struct scene *scene) {
    int64_t sum = 0;
    for (int i = 0; i < SERVERS; i++) {
        sum += kit_server_metric(scene->servers[i], METRIC_RATE_FALLBACKS);
    }
    return sum;
}

/* Before the first connection to Redis is there each counts for itself. */
static void wait_until_shared(const struct scene *scene) {
    for (int i = 0; i < SERVERS; i++) {
        for (int ms = 0;; ms++) {
            int64_t before = fallbacks(scene);
            char token[KIT_JWT_BYTES];
            char sub[32];
            snprintf(sub, sizeof sub, "waiter-%d-%d", i, ms);
            ask_premium(token, sub);
            ask_status(port_of(scene, i), (struct ask){.path = "B0/play-url", .token = token});
            if (fallbacks(scene) == before) {
                break;
            }
            cr_assert_lt(ms, WAIT_MS);
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
}

static int64_t number(const struct client_response *response, const char *name) {
    uint64_t value = 0;
    cr_assert(slice_to_u64(client_header(response, name), INT64_MAX, &value), "%s", name);
    return (int64_t)value;
}

static void expect_limited(int port, struct ask ask_) {
    struct client_response response;
    char detail[64];
    cr_assert_eq(ask(port, ask_, &response), 429, "%s: %d", ask_.path, response.status);
    ask_member(&response, "detail", detail, sizeof detail);
    cr_assert_str_eq(detail, "rate_limit_exceeded");
    cr_assert_eq(number(&response, "ratelimit-limit"), LIMIT);
    cr_assert_eq(number(&response, "ratelimit-remaining"), 0);
    int64_t retry_s = number(&response, "retry-after");
    int64_t reset_s = number(&response, "ratelimit-reset");
    cr_assert(retry_s >= 1 && retry_s <= MINUTE_MS / 1000 / LIMIT && reset_s > retry_s &&
                  reset_s <= MINUTE_MS / 1000,
              "%d %d", (int)retry_s, (int)reset_s);
    client_response_fini(&response);
}

Test(limits_redis, each_holds_over_all_servers) {
    static const struct {
        struct ask ask;
        int status; /* while allowed */
    } cases[] = {
        {{.method = "POST", .path = "oauth/authorize", .json = "{\"redirect_uri\":\"\"}"}, 200},
        {{.method = "POST", .path = "oauth/callback", .json = "{\"code\":\"c\",\"state\":\"s\"}"},
         400},
        {{.path = "search?q=a"}, 400},
        {{.path = "connected"}, 200},
    };
    struct scene scene;
    open_scene(&scene);
    wait_until_shared(&scene);
    int64_t before = fallbacks(&scene);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct ask one = cases[c].ask;
        one.token = scene.token;
        for (int i = 0; i < LIMIT; i++) {
            cr_assert_eq(ask_status(port_of(&scene, i), one), cases[c].status, "%s %d", one.path,
                         i);
        }
        for (int i = 0; i < SERVERS; i++) {
            expect_limited(port_of(&scene, i), one);
        }
    }
    cr_assert_eq(fallbacks(&scene), before);
    for (int i = 0; i < SERVERS; i++) {
        kit_server_advance_ms(scene.servers[i], MINUTE_MS);
    }
    cr_assert_eq(
        ask_status(port_of(&scene, 1), (struct ask){.path = "connected", .token = scene.token}),
        200);
    close_scene(&scene);
}

/* The callback's by address: users of one address, over all servers. */
Test(limits_redis, an_address_is_one_over_all_servers) {
    struct scene scene;
    open_scene(&scene);
    wait_until_shared(&scene);
    int refused = 0;
    for (int i = 0; i < 12; i++) {
        char token[KIT_JWT_BYTES];
        char sub[32];
        snprintf(sub, sizeof sub, "user-%d", i);
        ask_premium(token, sub);
        int status = ask_status(port_of(&scene, i),
                                (struct ask){.method = "POST",
                                             .path = "oauth/callback",
                                             .token = token,
                                             .json = "{\"code\":\"c\",\"state\":\"s\"}"});
        cr_assert(status == 400 || status == 429, "%d", status);
        refused += status == 429;
    }
    cr_assert(refused == 3 || refused == 2, "%d", refused); /* 9 a minute, and it takes a while */
    close_scene(&scene);
}

Test(limits_redis, a_burst_at_all_servers_at_once_is_counted_once) {
    struct scene scene;
    struct client clients[BURST];
    char text[KIT_JWT_BYTES + 256];
    int allowed = 0;
    open_scene(&scene);
    wait_until_shared(&scene);
    snprintf(text, sizeof text,
             "GET " ASK_API "/B0/play-url HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n",
             scene.token);
    for (int i = 0; i < BURST; i++) {
        cr_assert(client_connect(&clients[i], port_of(&scene, i)));
    }
    for (int i = 0; i < BURST; i++) {
        cr_assert(client_send(&clients[i], slice_str(text)));
    }
    for (int i = 0; i < BURST; i++) {
        struct client_response response;
        cr_assert(client_read(&clients[i], "GET", &response));
        cr_assert(response.status == 200 || response.status == 429, "%d", response.status);
        allowed += response.status == 200;
        client_response_fini(&response);
        client_fini(&clients[i]);
    }
    cr_assert_eq(allowed, LIMIT);
    close_scene(&scene);
}

Test(limits_redis, without_it_each_server_holds_its_own) {
    const struct ask play = {.path = "B0/play-url"};
    struct scene scene;
    open_scene(&scene);
    wait_until_shared(&scene);
    struct ask one = play;
    one.token = scene.token;
    cr_assert_eq(ask_status(port_of(&scene, 0), one), 200);
    redis_server_kill(&scene.redis);
    for (int s = 0; s < SERVERS; s++) {
        for (int i = 0; i < LIMIT; i++) {
            cr_assert_eq(ask_status(port_of(&scene, s), one), 200, "%d.%d", s, i);
        }
        expect_limited(port_of(&scene, s), one);
    }
    cr_assert_eq(
        ask_status(port_of(&scene, 0), (struct ask){.path = "connected", .token = scene.token}),
        429, "the same bucket");
    cr_assert_geq(fallbacks(&scene), SERVERS * (LIMIT + 1));
    cr_assert_geq(kit_server_logged(scene.servers[0], "\"event\":\"rate_limits_fall_back\""), 1U);
    redis_server_again(&scene.redis);
    wait_until_shared(&scene);
    int64_t before = fallbacks(&scene);
    for (int i = 0; i < LIMIT; i++) {
        cr_assert_eq(ask_status(port_of(&scene, i), one), 200, "%d", i);
    }
    for (int i = 0; i < SERVERS; i++) {
        expect_limited(port_of(&scene, i), one);
    }
    cr_assert_eq(fallbacks(&scene), before);
    close_scene(&scene);
}

Test(limits_redis, frozen_it_delays_the_first_ones_only) {
    struct scene scene;
    struct ask one = {.path = "B0/play-url"};
    open_scene(&scene);
    wait_until_shared(&scene);
    one.token = scene.token;
    redis_server_freeze(&scene.redis);
    for (int s = 0; s < SERVERS; s++) {
        for (int i = 0; i < LIMIT; i++) {
            cr_assert_eq(ask_status(port_of(&scene, s), one), 200, "%d.%d", s, i);
        }
        expect_limited(port_of(&scene, s), one);
    }
    cr_assert_geq(fallbacks(&scene), SERVERS * (LIMIT + 1));
    redis_server_thaw(&scene.redis);
    wait_until_shared(&scene);
    close_scene(&scene);
}
