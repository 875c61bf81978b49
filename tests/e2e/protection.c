// SPDX-License-Identifier: MIT
/* Each endpoint against each kind of caller who may not use it: the contract's refusal and not a
 * byte more, and nothing happens to the account, the pending flow or the provider. The caller
 * always claims to be a user who is linked and is in the middle of a second flow. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/b64.h"
#include "kit/leaks.h"
#include "kit/platform.h"

#define VICTIM "victim"
#define STATE_BODY "{\"code\":\"%s\",\"state\":\"%s\"}"

struct target {
    const char *method;
    const char *path;
    bool takes_grant; /* the body is the victim's own code and state */
    const char *json;
};

static const struct target authorize = {"POST", "oauth/authorize", false,
                                        "{\"redirect_uri\":\"\"}"};
static const struct target callback = {"POST", "oauth/callback", true, NULL};
static const struct target connected = {"GET", "connected", false, NULL};
static const struct target connected_head = {"HEAD", "connected", false, NULL};
static const struct target disconnect = {"POST", "disconnect", false, NULL};
static const struct target walk = {"POST", "library/sync", false, NULL};
static const struct target library = {"GET", "library?limit=5", false, NULL};
static const struct target search = {"GET", "search?q=the", false, NULL};
static const struct target details = {"GET", "B00ABC1234/details", false, NULL};
static const struct target play_url = {"GET", "B00ABC1234/play-url", false, NULL};

/* What a refusal must leave as it was. */
struct before {
    int64_t counts[SIMPROVIDER_COUNTERS];
    int64_t states;
    int64_t links;
    int64_t unlinks;
};

struct scene {
    struct platform p;
    struct ask_grant grant; /* of the victim's second flow */
    char json[512];
    char premium[KIT_JWT_BYTES];
    struct before before;
};

static struct before look(struct scene *scene) {
    struct before now = {0};
    for (int i = 0; i < SIMPROVIDER_COUNTERS; i++) {
        now.counts[i] = simprovider_count(scene->p.sim, (enum simprovider_counter)i);
    }
    now.states = kit_server_metric(scene->p.server, METRIC_STATES);
    now.links = kit_server_metric(scene->p.server, METRIC_LINKS);
    now.unlinks = kit_server_metric(scene->p.server, METRIC_UNLINKS);
    return now;
}

static void scene_start(struct scene *scene) {
    platform_start(&scene->p, NULL);
    platform_link(&scene->p, VICTIM);
    ask_premium(scene->premium, VICTIM);
    ask_grant(scene->p.port, scene->p.sim, scene->premium, &scene->grant);
    snprintf(scene->json, sizeof scene->json, STATE_BODY, scene->grant.code, scene->grant.state);
    scene->before = look(scene);
    cr_assert_eq(scene->before.states, 1);
}

/* The account is there, the flow can still be ended by its owner, and the owner gets in. */
static void scene_end(struct scene *scene, const struct target *target) {
    struct before now = look(scene);
    struct client_response response;
    cr_assert_arr_eq(now.counts, scene->before.counts, sizeof now.counts,
                     "%s: the provider was asked something", target->path);
    cr_assert_eq(now.states, scene->before.states, "%s: a state was made or spent", target->path);
    cr_assert_eq(now.links, scene->before.links, "%s", target->path);
    cr_assert_eq(now.unlinks, scene->before.unlinks, "%s", target->path);
    cr_assert(platform_is_connected(&scene->p, VICTIM));
    int status = ask(scene->p.port,
                     (struct ask){.method = target->method,
                                  .path = target->path,
                                  .token = scene->premium,
                                  .json = target->takes_grant ? scene->json : target->json},
                     &response);
    cr_assert(status == 200 || status == 404, "%s: its owner gets %d", target->path, status);
    client_response_fini(&response);
    if (!target->takes_grant) {
        cr_assert_eq(ask_callback(scene->p.port, scene->premium, &scene->grant, &response), 200);
        client_response_fini(&response);
    }
    platform_stop(&scene->p);
    CHECK_LEAKS();
}

struct refusal {
    int status;
    const char *detail;
    const char *challenge;
};
static const struct refusal not_authenticated = {401, "Not authenticated", "Bearer"};
static const struct refusal bad_credentials = {401, "Could not validate credentials",
                                               "Bearer error=\"invalid_token\""};
static const struct refusal no_tier = {403, "audible_requires_premium", NULL};
static const struct refusal inactive = {400, "Inactive user", NULL};

/* The path is the target's unless the attempt has one of its own. */
static void expect_refusal(struct scene *scene, const struct target *target, const char *what,
                           struct ask attempt, const struct refusal *refusal) {
    struct client_response response;
    char body[128];
    attempt.method = target->method;
    attempt.path = attempt.path != NULL ? attempt.path : target->path;
    attempt.json = target->takes_grant ? scene->json : target->json;
    snprintf(body, sizeof body, "{\"detail\":\"%s\"}", refusal->detail);
    int status = ask(scene->p.port, attempt, &response);
    cr_assert_eq(status, refusal->status, "%s, %s: %d", target->path, what, status);
    if (strcmp(target->method, "HEAD") != 0) {
        cr_assert(slice_eq(response.body, slice_str(body)), "%s, %s: %.*s", target->path, what,
                  SLICE_ARGS(response.body));
    }
    struct slice challenge = client_header(&response, "www-authenticate");
    cr_assert(slice_eq(challenge, slice_str(refusal->challenge)), "%s, %s: %.*s", target->path,
              what, SLICE_ARGS(challenge));
    cr_assert(slice_is_null(client_header(&response, "set-cookie")), "%s, %s", target->path, what);
    client_response_fini(&response);
}

/* -- nobody: no bearer token, wherever else one may be -- */

static void keep_out_nobody(const struct target *target) {
    static const char *const headers[] = {
        "",
        "Authorization: \r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Basic dmljdGltOnB3\r\n",
        "Authorization: Token abc\r\n",
        "Authorization: Bearer.abc\r\n",
        "X-Forwarded-User: " VICTIM "\r\nX-User-Id: " VICTIM "\r\n",
    };
    struct scene scene;
    char text[KIT_JWT_BYTES + 128];
    scene_start(&scene);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        expect_refusal(&scene, target, headers[i], (struct ask){.headers = headers[i]},
                       &not_authenticated);
    }
    snprintf(text, sizeof text, "Cookie: access_token=%s; Authorization=Bearer %s\r\n", "x",
             scene.premium);
    expect_refusal(&scene, target, "a token in a cookie", (struct ask){.headers = text},
                   &not_authenticated);
    snprintf(text, sizeof text, "%s%saccess_token=%s", target->path,
             strchr(target->path, '?') != NULL ? "&" : "?", scene.premium);
    expect_refusal(&scene, target, "a token in the query", (struct ask){.path = text},
                   &not_authenticated);
    scene_end(&scene, target);
}

/* -- a forger: a token that is not, or no longer, good -- */

static size_t append_b64(char *out, const char *text) {
    return b64_encode_unpadded(out, slice_str(text));
}

/* The header that is wanted, the payload of a good token, and the signature that is given. */
static void forge(char out[KIT_JWT_BYTES], const char *header, const char *good,
                  const char *signature) {
    const char *payload = strchr(good, '.');
    size_t n = append_b64(out, header);
    int payload_bytes = (int)(strchr(payload + 1, '.') - payload);
    snprintf(out + n, KIT_JWT_BYTES - n, "%.*s.%s", payload_bytes, payload, signature);
}

static void keep_out_forger(const struct target *target) {
    static const struct kit_jwt jwts[] = {
        {.sub = VICTIM, .tier = "premium", .secret = "a secret that the server does not have"},
        {.sub = VICTIM, .tier = "premium", .algorithm = "HS384"},
        {.sub = VICTIM, .tier = "premium", .exp_in_s = -31},
        {.sub = VICTIM, .tier = "premium", .no_exp = true},
        {.sub = VICTIM, .tier = "premium", .more = "\"nbf\":99999999999"},
        {.sub = VICTIM, .tier = "premium", .more = "\"type\":\"refresh\""},
        {.tier = "premium", .more = "\"sub\":[\"" VICTIM "\"]"},
        {.sub = VICTIM, .tier = "basic", .more = "\"subscription_tier\":\"premium\""},
    };
    static const char *const forged_headers[] = {
        "{\"alg\":\"none\",\"typ\":\"JWT\"}",
        "{\"alg\":\"NONE\"}",
        "{\"alg\":\"RS256\"}",
        "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}",
    };
    struct scene scene;
    char token[KIT_JWT_BYTES];
    char line[2 * KIT_JWT_BYTES + 64];
    scene_start(&scene);
    for (size_t i = 0; i < sizeof jwts / sizeof jwts[0]; i++) {
        snprintf(line, sizeof line, "token %zu", i);
        kit_jwt(token, jwts[i]);
        expect_refusal(&scene, target, line, (struct ask){.token = token}, &bad_credentials);
    }
    const char *signature = strrchr(scene.premium, '.') + 1;
    for (size_t i = 0; i < sizeof forged_headers / sizeof forged_headers[0]; i++) {
        forge(token, forged_headers[i], scene.premium, signature);
        expect_refusal(&scene, target, forged_headers[i], (struct ask){.token = token},
                       &bad_credentials);
        forge(token, forged_headers[i], scene.premium, "");
        expect_refusal(&scene, target, forged_headers[i], (struct ask){.token = token},
                       &bad_credentials);
    }
    snprintf(token, sizeof token, "%.*s", (int)strlen(scene.premium) - 1, scene.premium);
    expect_refusal(&scene, target, "cut", (struct ask){.token = token}, &bad_credentials);
    snprintf(line, sizeof line, "Authorization: Bearer %s\r\nAuthorization: Bearer %s\r\n",
             scene.premium, scene.premium);
    expect_refusal(&scene, target, "two headers", (struct ask){.headers = line}, &bad_credentials);
    scene_end(&scene, target);
}

/* -- a member without the tier, and one who was locked out -- */

static void keep_out_member(const struct target *target) {
    static const struct kit_jwt members[] = {
        {.sub = VICTIM},
        {.sub = VICTIM, .tier = "basic"},
        {.sub = VICTIM, .tier = "basic", .role = "user"},
        {.sub = VICTIM, .tier = "Premium"},
        {.sub = VICTIM, .role = "premium"},
    };
    static const struct kit_jwt locked_out[] = {
        {.sub = VICTIM, .tier = "premium", .more = "\"is_active\":false"},
        {.sub = VICTIM, .role = "super_admin", .more = "\"is_active\":false"},
    };
    struct scene scene;
    char token[KIT_JWT_BYTES];
    char what[32];
    scene_start(&scene);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        snprintf(what, sizeof what, "member %zu", i);
        kit_jwt(token, members[i]);
        expect_refusal(&scene, target, what, (struct ask){.token = token}, &no_tier);
    }
    for (size_t i = 0; i < sizeof locked_out / sizeof locked_out[0]; i++) {
        snprintf(what, sizeof what, "locked out %zu", i);
        kit_jwt(token, locked_out[i]);
        expect_refusal(&scene, target, what, (struct ask){.token = token}, &inactive);
    }
    scene_end(&scene, target);
}

/* -- each endpoint by each of them -- */

Test(protection, authorize_by_nobody) {
    keep_out_nobody(&authorize);
}

Test(protection, authorize_by_a_forger) {
    keep_out_forger(&authorize);
}

Test(protection, authorize_by_a_member_without_the_tier) {
    keep_out_member(&authorize);
}

Test(protection, callback_by_nobody) {
    keep_out_nobody(&callback);
}

Test(protection, callback_by_a_forger) {
    keep_out_forger(&callback);
}

Test(protection, callback_by_a_member_without_the_tier) {
    keep_out_member(&callback);
}

Test(protection, connected_by_nobody) {
    keep_out_nobody(&connected);
}

Test(protection, connected_by_a_forger) {
    keep_out_forger(&connected);
}

Test(protection, connected_by_a_member_without_the_tier) {
    keep_out_member(&connected);
}

Test(protection, connected_by_head_by_nobody) {
    keep_out_nobody(&connected_head);
}

Test(protection, disconnect_by_nobody) {
    keep_out_nobody(&disconnect);
}

Test(protection, disconnect_by_a_forger) {
    keep_out_forger(&disconnect);
}

Test(protection, disconnect_by_a_member_without_the_tier) {
    keep_out_member(&disconnect);
}

Test(protection, sync_by_nobody) {
    keep_out_nobody(&walk);
}

Test(protection, sync_by_a_forger) {
    keep_out_forger(&walk);
}

Test(protection, sync_by_a_member_without_the_tier) {
    keep_out_member(&walk);
}

Test(protection, library_by_nobody) {
    keep_out_nobody(&library);
}

Test(protection, library_by_a_forger) {
    keep_out_forger(&library);
}

Test(protection, library_by_a_member_without_the_tier) {
    keep_out_member(&library);
}

Test(protection, search_by_nobody) {
    keep_out_nobody(&search);
}

Test(protection, search_by_a_forger) {
    keep_out_forger(&search);
}

Test(protection, search_by_a_member_without_the_tier) {
    keep_out_member(&search);
}

Test(protection, details_by_nobody) {
    keep_out_nobody(&details);
}

Test(protection, details_by_a_forger) {
    keep_out_forger(&details);
}

Test(protection, details_by_a_member_without_the_tier) {
    keep_out_member(&details);
}

Test(protection, play_url_by_nobody) {
    keep_out_nobody(&play_url);
}

Test(protection, play_url_by_a_forger) {
    keep_out_forger(&play_url);
}

Test(protection, play_url_by_a_member_without_the_tier) {
    keep_out_member(&play_url);
}

/* The browser's way back has no bearer token: a good one doesn't stand for the flow's cookie. */
Test(protection, the_way_back_by_another_browser) {
    struct scene scene;
    struct client_response response;
    char path[512];
    scene_start(&scene);
    snprintf(path, sizeof path, "oauth/callback?code=%s&state=%s", scene.grant.code,
             scene.grant.state);
    for (int with_token = 0; with_token < 2; with_token++) {
        const char *token = with_token ? scene.premium : NULL;
        cr_assert_eq(ask(scene.p.port, (struct ask){.path = path, .token = token}, &response), 400);
        cr_assert_not_null(
            memmem(response.body.at, response.body.len, "invalid_state_parameter", 23));
        cr_assert_null(memmem(response.body.at, response.body.len, VICTIM, strlen(VICTIM)));
        client_response_fini(&response);
    }
    scene_end(&scene, &callback);
}

/* What needs no token knows of nobody: the same bytes with a linked account and with none. */
Test(protection, what_is_open_says_nothing_of_anyone) {
    static const char *const paths[] = {"/healthz", "/health", "/readyz"};
    struct platform p;
    platform_start(&p, NULL);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct client_response none;
        struct client_response one;
        cr_assert_eq(ask(p.port, (struct ask){.path = paths[i]}, &none), 200);
        platform_link(&p, VICTIM);
        cr_assert_eq(ask(p.port, (struct ask){.path = paths[i]}, &one), 200);
        cr_assert(slice_eq(none.body, one.body), "%s: %.*s", paths[i], SLICE_ARGS(one.body));
        cr_assert_null(memmem(one.bytes.at, one.bytes.len, VICTIM, strlen(VICTIM)));
        client_response_fini(&none);
        client_response_fini(&one);
        char token[KIT_JWT_BYTES];
        ask_premium(token, VICTIM);
        ask_expect(p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token},
                   200, NULL);
    }
    platform_stop(&p);
    CHECK_LEAKS();
}

/* Two users whose ids look alike are two users: to the byte, in every place that keeps them. */
Test(protection, one_user_is_not_another_who_looks_alike) {
    static const char *const others[] = {
        "VICTIM",  "victim ", " victim", "victim\\u0000x", "v\\u0131ctim",
        "victim%", "vict_m",  "%",       "victim'--",      "victi",
    };
    struct scene scene;
    scene_start(&scene);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char token[KIT_JWT_BYTES];
        char claim[64];
        struct client_response response;
        snprintf(claim, sizeof claim, "\"sub\":\"%s\"", others[i]);
        kit_jwt(token, (struct kit_jwt){.tier = "premium", .more = claim});
        bool is_name = strstr(others[i], "u0000") == NULL;
        cr_assert_eq(
            ask(scene.p.port, (struct ask){.path = "connected", .token = token}, &response),
            is_name ? 200 : 401, "%s", others[i]);
        cr_assert(!is_name || slice_starts(response.body, SLICE("{\"connected\":false")), "%s",
                  others[i]);
        client_response_fini(&response);
        cr_assert_eq(ask_callback(scene.p.port, token, &scene.grant, &response),
                     is_name ? 400 : 401, "%s", others[i]);
        client_response_fini(&response);
        cr_assert_eq(
            ask_status(scene.p.port,
                       (struct ask){.method = "POST", .path = "disconnect", .token = token}),
            is_name ? 404 : 401, "%s", others[i]);
    }
    scene_end(&scene, &callback);
}
