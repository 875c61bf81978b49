// SPDX-License-Identifier: MIT
/* LATCHKEY_USERS=mongodb: callers are judged by the platform's own collection, and what becomes of
 * them without it. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/ask.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"

enum {
    KEPT_MS = 30 * 1000,
    ABSENT_MS = 2 * 1000,
    SLOW_MS = 5 * 1000,
    GRACE_MS = 3 * 1000,
    RETURN_MS = 2 * 1000
};

struct scene {
    struct mongo_server mongo;
    struct kit_server *server;
    int port;
};

static void open_scene(struct scene *scene) {
    char store[256];
    mongo_server_start(&scene->mongo);
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", scene->mongo.url);
    scene->server =
        kit_server_start_with((const char *const[]){store, "LATCHKEY_USERS=mongodb", NULL});
    scene->port = kit_server_port(scene->server);
}

static void close_scene(struct scene *scene) {
    kit_server_stop(scene->server);
    mongo_server_free(&scene->mongo);
    CHECK_LEAKS();
}

static void put_user(struct scene *scene, const char *id, const char *tier, bool is_active) {
    cr_assert_eq(mongo_server_ask_number(
                     &scene->mongo, "n",
                     "{\"update\": \"users\", \"updates\": [{\"q\": {\"_id\": \"%s\"}, \"u\": {"
                     "\"_id\": \"%s\", \"role\": \"user\", \"subscription_tier\": \"%s\", "
                     "\"is_active\": %s}, \"upsert\": true}]}",
                     id, id, tier, is_active ? "true" : "false"),
                 1);
}

static void drop_user(struct scene *scene, const char *id) {
    cr_assert_eq(mongo_server_ask_number(&scene->mongo, "n",
                                         "{\"delete\": \"users\", \"deletes\": [{\"q\": "
                                         "{\"_id\": \"%s\"}, \"limit\": 1}]}",
                                         id),
                 1);
}

/* Of a token that claims the tier; nothing of it is believed but the name. */
static void expect(struct scene *scene, const char *id, int status, const char *detail) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, id);
    ask_expect(scene->port, (struct ask){.path = "B0/play-url", .token = token}, status, detail);
}

/* Well again within RETURN_MS: what is asked first may still find the driver without its server. */
static void expect_return(struct scene *scene, const char *id) {
    static const struct clock clock;
    int64_t until_ms = clock_mono_ms(&clock) + RETURN_MS;
    char token[KIT_JWT_BYTES];
    int status;
    ask_premium(token, id);
    do {
        status = ask_status(scene->port, (struct ask){.path = "B0/play-url", .token = token});
    } while (status == 503 && clock_mono_ms(&clock) < until_ms);
    cr_assert_eq(status, 200);
}

static int64_t lookups(const struct scene *scene) {
    return kit_server_metric(scene->server, METRIC_USER_LOOKUPS_FOUND) +
           kit_server_metric(scene->server, METRIC_USER_LOOKUPS_ABSENT) +
           kit_server_metric(scene->server, METRIC_USER_LOOKUPS_FAILED);
}

Test(platform_users, a_change_is_seen_within_thirty_seconds) {
    struct scene scene;
    NEEDS_MONGO_SERVER();
    open_scene(&scene);
    put_user(&scene, "u", "premium", true);
    expect(&scene, "u", 200, NULL);
    put_user(&scene, "u", "free", true);
    kit_server_advance_ms(scene.server, KEPT_MS / 2);
    expect(&scene, "u", 200, NULL);
    cr_assert_eq(lookups(&scene), 1);
    kit_server_advance_ms(scene.server, KEPT_MS / 2 + 1);
    expect(&scene, "u", 403, "audible_requires_premium");
    put_user(&scene, "u", "premium", false);
    kit_server_advance_ms(scene.server, KEPT_MS + 1);
    expect(&scene, "u", 400, "Inactive user");
    drop_user(&scene, "u");
    kit_server_advance_ms(scene.server, KEPT_MS + 1);
    expect(&scene, "u", 401, "Could not validate credentials");
    expect(&scene, "u", 401, "Could not validate credentials");
    cr_assert_eq(lookups(&scene), 4);
    put_user(&scene, "u", "family", true);
    kit_server_advance_ms(scene.server, ABSENT_MS + 1);
    expect(&scene, "u", 200, NULL);
    close_scene(&scene);
}

/* Users who are known go on, as does whoever needs no record. */
Test(platform_users, the_store_does_not_answer) {
    struct scene scene;
    NEEDS_MONGO_SERVER();
    for (int kind = 0; kind < 2; kind++) {
        open_scene(&scene);
        put_user(&scene, "known", "premium", true);
        put_user(&scene, "unknown", "premium", true);
        expect(&scene, "known", 200, NULL);
        if (kind == 0) {
            mongo_server_freeze(&scene.mongo);
        } else {
            mongo_server_kill(&scene.mongo);
        }
        struct clock clock = {0};
        int64_t before_ms = clock_mono_ms(&clock);
        expect(&scene, "unknown", 503, "storage_unavailable");
        cr_assert_lt(clock_mono_ms(&clock) - before_ms, SLOW_MS + GRACE_MS);
        expect(&scene, "known", 200, NULL);
        ask_expect(scene.port, (struct ask){.path = "/healthz"}, 200, NULL);
        cr_assert_geq(kit_server_logged(scene.server, "\"event\":\"user_store_failed\""), 1U);
        if (kind == 0) {
            mongo_server_thaw(&scene.mongo);
        } else {
            mongo_server_restart(&scene.mongo);
        }
        expect_return(&scene, "unknown");
        close_scene(&scene);
    }
}
