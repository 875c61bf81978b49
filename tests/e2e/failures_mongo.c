// SPDX-License-Identifier: MIT
/* docs/failures.md, with accounts, leases and users in a MongoDB: it is stopped, or frozen, or
 * comes back. What doesn't need it doesn't notice; what does says so in time; and all is well
 * within 2 s of its return. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"
#include "kit/stage.h"

#define STORAGE "storage_unavailable"

enum {
    SLACK_MS = 3000,  /* of a busy machine under the sanitizers */
    ANSWER_MS = 5000, /* one operation with a server that says nothing */
    RETURN_MS = 2000,
    QUEUE_MS = 3000, /* LIMIT_MONGO_WAIT_MS */
    CROWD = 200,
};

struct scene {
    struct mongo_server mongo;
    struct stage stage;
};

static void open_scene(struct scene *scene, const char *more) {
    char store[160];
    mongo_server_start(&scene->mongo);
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", scene->mongo.url);
    stage_start(&scene->stage,
                (struct stage_opts){.settings = (const char *const[]){store, more, NULL}});
}

static void close_scene(struct scene *scene) {
    stage_stop(&scene->stage);
    mongo_server_free(&scene->mongo);
    CHECK_LEAKS();
}

static int64_t now_ms(void) {
    static const struct clock clock;
    return clock_mono_ms(&clock);
}

/* What is asked first may still find the driver without its server. */
static void expect_return(struct scene *scene, int64_t since_ms) {
    static const enum stage_endpoint endpoints[] = {STAGE_READYZ, STAGE_COLD, STAGE_LIBRARY,
                                                    STAGE_SYNC};
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        struct stage_answer answer = stage_ask(&scene->stage, endpoints[i]);
        while (answer.status != 200 && now_ms() - since_ms < RETURN_MS) {
            answer = stage_ask(&scene->stage, endpoints[i]);
        }
        cr_assert_eq(answer.status, 200, "%zu: %d %s", i, answer.status, answer.detail);
    }
    platform_link(&scene->stage.p, "afterwards");
    cr_assert(platform_is_connected(&scene->stage.p, "afterwards"));
}

static const struct stage_exception without[] = {
    {STAGE_CALLBACK, 503, STORAGE},   {STAGE_WAY_BACK, 400, STORAGE}, {STAGE_WARM, 503, STORAGE},
    {STAGE_COLD, 503, STORAGE},       {STAGE_LIBRARY, 503, STORAGE},  {STAGE_SYNC, 503, STORAGE},
    {STAGE_DISCONNECT, 503, STORAGE}, {STAGE_READYZ, 503, ""},
};

static void expect_without(struct scene *scene) {
    stage_expect(&scene->stage, without, sizeof without / sizeof without[0], ANSWER_MS + SLACK_MS);
}

Test(failures_mongo, the_server_is_down, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    struct scene scene;
    open_scene(&scene, NULL);
    mongo_server_kill(&scene.mongo);
    expect_without(&scene);
    mongo_server_restart(&scene.mongo);
    expect_return(&scene, now_ms());
    struct stage_answer answer = stage_ask(&scene.stage, STAGE_DISCONNECT);
    cr_assert_eq(answer.status, 200, "it was not deleted before");
    close_scene(&scene);
}

Test(failures_mongo, the_server_does_not_answer, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    struct scene scene;
    open_scene(&scene, NULL);
    mongo_server_freeze(&scene.mongo);
    expect_without(&scene);
    mongo_server_thaw(&scene.mongo);
    expect_return(&scene, now_ms());
    close_scene(&scene);
}

/* Each of the lane's threads is held for seconds; who comes after hundreds of others is answered
 * all the same. */
Test(failures_mongo, a_crowd_is_answered_in_time, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    static struct client clients[CROWD];
    struct scene scene;
    char request[STAGE_REQUEST_BYTES];
    open_scene(&scene, NULL);
    stage_request(&scene.stage, STAGE_COLD, request);
    mongo_server_freeze(&scene.mongo);
    int64_t since_ms = now_ms();
    for (int i = 0; i < CROWD; i++) {
        cr_assert(client_connect(&clients[i], scene.stage.p.port));
        cr_assert(client_send(&clients[i], slice_str(request)));
    }
    for (int i = 0; i < CROWD; i++) {
        struct client_response response;
        cr_assert(client_read(&clients[i], "GET", &response), "%d", i);
        cr_assert_eq(response.status, 503);
        client_response_fini(&response);
        client_fini(&clients[i]);
    }
    cr_assert_leq(now_ms() - since_ms, QUEUE_MS + ANSWER_MS + SLACK_MS);
    mongo_server_thaw(&scene.mongo);
    expect_return(&scene, now_ms());
    close_scene(&scene);
}

/* A refresh holds a lease of the same server, and what it brought is stored there. */
Test(failures_mongo, a_refresh_without_the_server, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    struct scene scene;
    open_scene(&scene, NULL);
    kit_server_advance_ms(scene.stage.p.server, 3600 * 1000);
    cr_assert_eq(stage_ask(&scene.stage, STAGE_LIBRARY).status, 200);
    cr_assert_eq(simprovider_count(scene.stage.p.sim, SIMPROVIDER_REFRESHES), 1);
    cr_assert_eq(mongo_server_ask_number(&scene.mongo, "n", "{\"count\": \"latchkey_leases\"}"), 0,
                 "the lease was released");
    kit_server_advance_ms(scene.stage.p.server, 3600 * 1000);
    mongo_server_kill(&scene.mongo);
    struct stage_answer answer = stage_ask(&scene.stage, STAGE_LIBRARY);
    cr_assert_eq(answer.status, 503);
    cr_assert_str_eq(answer.detail, STORAGE);
    cr_assert_eq(simprovider_count(scene.stage.p.sim, SIMPROVIDER_REFRESHES), 1, "none was sent");
    mongo_server_restart(&scene.mongo);
    expect_return(&scene, now_ms());
    cr_assert_eq(simprovider_count(scene.stage.p.sim, SIMPROVIDER_REFRESH_REUSES), 0);
    close_scene(&scene);
}

static void insert_user(struct mongo_server *mongo, const char *name) {
    cr_assert_eq(mongo_server_ask_number(mongo, "n",
                                         "{\"insert\": \"users\", \"documents\": [{\"_id\": "
                                         "\"%s\", \"subscription_tier\": \"premium\"}]}",
                                         name),
                 1);
}

/* Who can't be judged is neither refused nor let in. */
Test(failures_mongo, the_users_are_not_to_be_had, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    struct mongo_server mongo;
    char store[160];
    char token[KIT_JWT_BYTES];
    struct ask asked = {.path = "B00ABC1234/play-url", .token = token};
    mongo_server_start(&mongo);
    insert_user(&mongo, "known");
    insert_user(&mongo, "unknown");
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", mongo.url);
    struct kit_server *server =
        kit_server_start_with((const char *const[]){store, "LATCHKEY_USERS=mongodb", NULL});
    int port = kit_server_port(server);
    ask_premium(token, "known");
    ask_expect(port, asked, 200, NULL);
    mongo_server_kill(&mongo);
    ask_expect(port, asked, 200, NULL);
    ask_premium(token, "unknown");
    int64_t since_ms = now_ms();
    ask_expect(port, asked, 503, STORAGE);
    cr_assert_leq(now_ms() - since_ms, ANSWER_MS + SLACK_MS);
    mongo_server_restart(&mongo);
    since_ms = now_ms();
    while (ask_status(port, asked) != 200) {
        cr_assert_leq(now_ms() - since_ms, RETURN_MS);
    }
    kit_server_stop(server);
    mongo_server_free(&mongo);
    CHECK_LEAKS();
}

/* Whoever ends the server need not wait for one that says nothing. */
Test(failures_mongo, a_server_that_ends_meanwhile, .timeout = 120) {
    NEEDS_MONGO_SERVER();
    struct scene scene;
    open_scene(&scene, NULL);
    cr_assert_eq(stage_ask(&scene.stage, STAGE_COLD).status, 200);
    mongo_server_freeze(&scene.mongo);
    int64_t since_ms = now_ms();
    stage_stop(&scene.stage);
    cr_assert_leq(now_ms() - since_ms, ANSWER_MS + SLACK_MS);
    mongo_server_free(&scene.mongo);
    CHECK_LEAKS();
}
