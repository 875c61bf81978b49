// SPDX-License-Identifier: MIT
/* Limits that processes share by a Redis, seen by clients: two servers, one Redis, and what becomes
 * of it. */
#include "api/api.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kit/api_rig.h"
#include "kit/ask.h"
#include "kit/leaks.h"
#include "kit/redis_server.h"

enum { LIMIT = 5, ADDRESS_LIMIT = 8 };

static const struct api_rates rates = {
    .oauth_per_minute = LIMIT, .other_per_minute = LIMIT, .address_per_minute = ADDRESS_LIMIT};

static const char json_body[] = "Content-Type: application/json\r\nContent-Length: 25\r\n\r\n"
                                "{\"code\":\"a\",\"state\":\"b\"}  ";

/* Servers of one Redis. */
struct scene {
    struct redis_server redis;
    struct api_rig *one;
    struct api_rig *two;
    char token[KIT_JWT_BYTES];
};

static struct api_rig *open_one(struct scene *scene, const char *return_url, bool has_users) {
    return api_rig_open(&(const struct api_rig_opts){.has_users = has_users,
                                                     .redis_url = redis_server_url(&scene->redis),
                                                     .rates = rates,
                                                     .return_url = return_url});
}

static void open_scene(struct scene *scene) {
    redis_server_start(&scene->redis, (struct redis_server_opts){0});
    scene->one = open_one(scene, NULL, false);
    scene->two = open_one(scene, NULL, false);
    ask_premium(scene->token, "u");
}

static void close_scene(struct scene *scene) {
    api_rig_close(scene->one);
    if (scene->two != NULL) {
        api_rig_close(scene->two);
    }
    redis_server_free(&scene->redis);
    CHECK_LEAKS();
}

static int get(struct api_rig *rig, const char *path, const char *token,
               struct client_response *response) {
    struct client client;
    api_rig_send(rig, &client, "GET", path, token, NULL);
    int status = api_rig_answer(rig, &client, "GET", response);
    client_fini(&client);
    return status;
}

static int status_of(struct api_rig *rig, const char *path, const char *token) {
    struct client_response response;
    int status = get(rig, path, token, &response);
    client_response_fini(&response);
    return status;
}

static int post_callback(struct api_rig *rig, const char *token) {
    struct client client;
    struct client_response response;
    api_rig_send(rig, &client, "POST", "oauth/callback", token, json_body);
    int status = api_rig_answer(rig, &client, "POST", &response);
    client_response_fini(&response);
    client_fini(&client);
    return status;
}

static int64_t number(const struct client_response *response, const char *name) {
    uint64_t value = 0;
    cr_assert(slice_to_u64(client_header(response, name), 1000000, &value), "%s", name);
    return (int64_t)value;
}

/* The whole answer of one that is refused. */
static void expect_refused(struct api_rig *rig, const char *token) {
    struct client_response response;
    char detail[64];
    cr_assert_eq(get(rig, "B0/play-url", token, &response), 429);
    ask_member(&response, "detail", detail, sizeof detail);
    cr_assert_str_eq(detail, "rate_limit_exceeded");
    cr_assert_eq(number(&response, "RateLimit-Limit"), LIMIT);
    cr_assert_eq(number(&response, "RateLimit-Remaining"), 0);
    int64_t retry_s = number(&response, "Retry-After");
    int64_t reset_s = number(&response, "RateLimit-Reset");
    cr_assert(retry_s >= 1 && retry_s <= 60 / LIMIT && reset_s > retry_s && reset_s <= 60, "%d %d",
              (int)retry_s, (int)reset_s);
    client_response_fini(&response);
}

static int64_t fallbacks(const struct api_rig *rig) {
    return api_rig_metric(rig, METRIC_RATE_FALLBACKS);
}

static bool is_redis_gone(struct api_rig *rig) {
    return !redis_is_ready(rig->redis);
}

static bool is_redis_back(struct api_rig *rig) {
    return redis_is_ready(rig->redis);
}

static bool is_unanswered(struct api_rig *rig) {
    return api_rig_metric(rig, METRIC_REDIS_UNANSWERED) > 0;
}

static bool has_no_connection(struct api_rig *rig) {
    return http_server_connections(rig->server) == 0;
}

Test(dispatch_limits, servers_of_one_redis_share_them) {
    struct scene scene;
    open_scene(&scene);
    for (int i = 0; i < LIMIT; i++) {
        struct api_rig *rig = i % 2 == 0 ? scene.one : scene.two;
        cr_assert_eq(status_of(rig, "B0/play-url", scene.token), 200, "%d", i);
    }
    expect_refused(scene.one, scene.token);
    expect_refused(scene.two, scene.token);
    cr_assert_eq(fallbacks(scene.one) + fallbacks(scene.two), 0);
    cr_assert_eq(api_rig_metric(scene.one, METRIC_RATE_REFUSED_OTHER), 1);
    ask_premium(scene.token, "another");
    cr_assert_eq(status_of(scene.two, "B0/play-url", scene.token), 200);
    close_scene(&scene);
}

/* Who is refused as a user has counted for his address; who is refused by that has not as a user.
 */
Test(dispatch_limits, a_callback_counts_for_its_user_and_for_its_address) {
    struct scene scene;
    open_scene(&scene);
    for (int i = 0; i < LIMIT; i++) {
        cr_assert_eq(post_callback(i % 2 == 0 ? scene.one : scene.two, scene.token), 400);
    }
    cr_assert_eq(post_callback(scene.one, scene.token), 429);
    cr_assert_eq(api_rig_metric(scene.one, METRIC_RATE_REFUSED_CALLBACK), 1);
    ask_premium(scene.token, "another");
    for (int i = LIMIT + 1; i < ADDRESS_LIMIT; i++) {
        cr_assert_eq(post_callback(scene.two, scene.token), 400, "%d", i);
    }
    cr_assert_eq(post_callback(scene.two, scene.token), 429);
    cr_assert_eq(api_rig_metric(scene.two, METRIC_RATE_REFUSED_CALLBACK_ADDRESS), 1);
    cr_assert_eq(status_of(scene.one, "B0/play-url", scene.token), 200, "another bucket");
    close_scene(&scene);
}

Test(dispatch_limits, the_browser_is_refused_in_its_own_form) {
    static const char *const return_urls[] = {NULL, "https://app.example/done"};
    for (size_t i = 0; i < 2; i++) {
        struct scene scene = {.two = NULL};
        struct client_response response;
        redis_server_start(&scene.redis, (struct redis_server_opts){0});
        scene.one = open_one(&scene, return_urls[i], false);
        for (int n = 0; n < ADDRESS_LIMIT; n++) {
            status_of(scene.one, "oauth/callback?code=a&state=b", NULL);
        }
        int status = get(scene.one, "oauth/callback?code=a&state=b", NULL, &response);
        if (return_urls[i] == NULL) {
            cr_assert_eq(status, 400);
            cr_assert_not_null(
                memmem(response.body.at, response.body.len, "rate_limit_exceeded", 19));
        } else {
            cr_assert_eq(status, 303);
            cr_assert(slice_eq(client_header(&response, "Location"),
                               SLICE("https://app.example/done?audible=error&reason="
                                     "rate_limit_exceeded")));
        }
        client_response_fini(&response);
        close_scene(&scene);
    }
}

Test(dispatch_limits, without_the_redis_each_server_has_limits_of_its_own) {
    struct scene scene;
    open_scene(&scene);
    redis_server_kill(&scene.redis);
    api_rig_run(scene.one, is_redis_gone);
    for (int i = 0; i < LIMIT; i++) {
        cr_assert_eq(status_of(scene.one, "B0/play-url", scene.token), 200, "%d", i);
    }
    expect_refused(scene.one, scene.token);
    cr_assert_eq(fallbacks(scene.one), LIMIT + 1);
    cr_assert_eq(post_callback(scene.one, scene.token), 400);
    redis_server_again(&scene.redis);
    api_rig_run(scene.one, is_redis_back);
    int64_t before = fallbacks(scene.one);
    for (int i = 0; i < LIMIT; i++) {
        cr_assert_eq(status_of(scene.one, "B0/play-url", scene.token), 200, "%d", i);
    }
    expect_refused(scene.one, scene.token);
    cr_assert_eq(fallbacks(scene.one), before);
    close_scene(&scene);
}

Test(dispatch_limits, it_freezes_in_the_middle) {
    struct scene scene = {.two = NULL};
    struct client client;
    struct client_response response;
    redis_server_start(&scene.redis, (struct redis_server_opts){0});
    scene.one = open_one(&scene, NULL, false);
    ask_premium(scene.token, "u");
    redis_server_freeze(&scene.redis);
    api_rig_send(scene.one, &client, "GET", "B0/play-url", scene.token, NULL);
    api_rig_run(scene.one, is_unanswered);
    cr_assert(api_rig_is_silent(&client));
    cr_assert_eq(api_rig_answer(scene.one, &client, "GET", &response), 200);
    client_response_fini(&response);
    client_fini(&client);
    cr_assert_eq(fallbacks(scene.one), 1);
    for (int i = 1; i < LIMIT; i++) {
        cr_assert_eq(status_of(scene.one, "B0/play-url", scene.token), 200, "%d", i);
    }
    expect_refused(scene.one, scene.token);
    cr_assert_eq(api_rig_metric(scene.one, METRIC_REDIS_COMMANDS_TIMEOUT), 0, "only one waited");
    redis_server_thaw(&scene.redis);
    close_scene(&scene);
}

Test(dispatch_limits, it_dies_in_the_middle) {
    struct scene scene = {.two = NULL};
    struct client client;
    struct client_response response;
    redis_server_start(&scene.redis, (struct redis_server_opts){0});
    scene.one = open_one(&scene, NULL, false);
    ask_premium(scene.token, "u");
    redis_server_freeze(&scene.redis);
    api_rig_send(scene.one, &client, "GET", "B0/play-url", scene.token, NULL);
    api_rig_run(scene.one, is_unanswered);
    redis_server_kill(&scene.redis);
    cr_assert_eq(api_rig_answer(scene.one, &client, "GET", &response), 200);
    client_response_fini(&response);
    client_fini(&client);
    cr_assert_eq(fallbacks(scene.one), 1);
    close_scene(&scene);
}

Test(dispatch_limits, the_client_leaves_while_it_is_asked) {
    struct scene scene = {.two = NULL};
    struct client client;
    redis_server_start(&scene.redis, (struct redis_server_opts){0});
    scene.one = open_one(&scene, NULL, false);
    ask_premium(scene.token, "u");
    redis_server_freeze(&scene.redis);
    api_rig_send(scene.one, &client, "POST", "oauth/callback", scene.token, json_body);
    api_rig_run(scene.one, is_unanswered);
    client_reset(&client);
    client_fini(&client);
    api_rig_run(scene.one, has_no_connection);
    cr_assert_eq(api_rig_metric(scene.one, METRIC_STATES_UNKNOWN), 0,
                 "the work was done for no one");
    redis_server_thaw(&scene.redis);
    close_scene(&scene);
}

Test(dispatch_limits, the_server_ends_while_it_is_asked) {
    struct scene scene = {.two = NULL};
    struct client client;
    redis_server_start(&scene.redis, (struct redis_server_opts){0});
    scene.one = open_one(&scene, NULL, false);
    ask_premium(scene.token, "u");
    redis_server_freeze(&scene.redis);
    api_rig_send(scene.one, &client, "GET", "B0/play-url", scene.token, NULL);
    api_rig_run(scene.one, is_unanswered);
    close_scene(&scene);
    client_fini(&client);
}

static bool has_question(struct api_rig *rig) {
    return rig->stub.open_count > 0;
}

/* Who isn't known to be active counts for nothing. */
Test(dispatch_limits, they_come_after_the_platforms_record) {
    struct scene scene = {.two = NULL};
    struct client client;
    struct client_response response;
    redis_server_start(&scene.redis, (struct redis_server_opts){0});
    scene.one = open_one(&scene, NULL, true);
    for (int i = 0; i < 2 * LIMIT; i++) {
        char token[KIT_JWT_BYTES];
        ask_premium(token, "asleep");
        if (i == 0) {
            api_rig_send(scene.one, &client, "GET", "B0/play-url", token, NULL);
            api_rig_run(scene.one, has_question);
            users_stub_answer_inactive(&scene.one->stub);
            cr_assert_eq(api_rig_answer(scene.one, &client, "GET", &response), 400);
            client_response_fini(&response);
            client_fini(&client);
        } else {
            api_rig_expect(scene.one, "B0/play-url", token, 400, "Inactive user");
        }
    }
    cr_assert_eq(redis_server_ask(&scene.redis, "DBSIZE")[0], '0');
    ask_premium(scene.token, "u");
    api_rig_send(scene.one, &client, "GET", "B0/play-url", scene.token, NULL);
    api_rig_run(scene.one, has_question);
    users_stub_answer(&scene.one->stub, RC_OK, "user", "free");
    cr_assert_eq(api_rig_answer(scene.one, &client, "GET", &response), 403);
    client_response_fini(&response);
    client_fini(&client);
    for (int i = 1; i < LIMIT; i++) {
        cr_assert_eq(status_of(scene.one, "B0/play-url", scene.token), 403, "%d", i);
    }
    expect_refused(scene.one, scene.token);
    close_scene(&scene);
}
