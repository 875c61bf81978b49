// SPDX-License-Identifier: MIT
#include "kit/stage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"

static const char *const names[] = {
#define STAGE_NAME(id, name) [STAGE_##id] = name,
    STAGE_ENDPOINTS_MAP(STAGE_NAME)
#undef STAGE_NAME
};

static void serve(struct stage *stage, const char *const *settings) {
    stage->p.server = kit_server_start((struct kit_server_opts){
        .settings = settings,
        .provider_url = simprovider_url(stage->p.sim),
        .folder = stage->folder.path,
    });
    stage->p.port = kit_server_port(stage->p.server);
}

static void link_all(struct stage *stage, const char *const *settings) {
    static const char *const users[] = {"warm", "cold", "reader", "syncer", "leaver"};
    serve(stage, settings);
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        platform_link(&stage->p, users[i]);
    }
    kit_server_stop(stage->p.server);
}

static void find_asin(struct stage *stage) {
    struct client_response response;
    char token[KIT_JWT_BYTES];
    struct slice asin = SLICE_NULL;
    ask_premium(token, "warm");
    cr_assert_eq(
        ask(stage->p.port, (struct ask){.path = "search?q=the&limit=1", .token = token}, &response),
        200);
    struct json_document *books = json_parse(response.body, JSON_UNIQUE);
    cr_assert(json_to_slice(json_member(json_at(json_root(books), 0), "asin"), &asin));
    snprintf(stage->asin, sizeof stage->asin, "%.*s", SLICE_ARGS(asin));
    json_close(books);
    client_response_fini(&response);
}

static void grant(struct stage *stage, const char *sub, struct ask_grant *out) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, sub);
    ask_grant(stage->p.port, stage->p.sim, token, out);
}

void stage_start(struct stage *stage, struct stage_opts opts) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    *stage = (struct stage){.folder = scratch_new()};
    stage->p.sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(stage->p.sim, "%s", problem);
    link_all(stage, opts.before != NULL ? opts.before : opts.settings);
    serve(stage, opts.settings);
    kit_server_advance_ms(stage->p.server, opts.late_ms);
    find_asin(stage);
    cr_assert(platform_is_connected(&stage->p, "warm"));
    grant(stage, "newcomer", &stage->newcomer);
    grant(stage, "browser", &stage->browser);
}

void stage_stop(struct stage *stage) {
    platform_stop(&stage->p);
    scratch_free(&stage->folder);
}

/* -- the requests -- */

struct part {
    const char *user; /* NULL: no token */
    struct ask ask;
    char path[512];
    char json[512];
    char cookie[256];
};

static void set_part(const struct stage *stage, enum stage_endpoint endpoint, struct part *part) {
    static const struct {
        const char *user;
        struct ask ask;
    } parts[] = {
        [STAGE_AUTHORIZE] = {"warm",
                             {.method = "POST",
                              .path = "oauth/authorize",
                              .json = "{\"redirect_uri\":\"\"}"}},
        [STAGE_CALLBACK] = {"newcomer", {.method = "POST", .path = "oauth/callback"}},
        [STAGE_WAY_BACK] = {NULL, {.method = "GET", .path = "oauth/callback"}},
        [STAGE_WARM] = {"warm", {.method = "GET", .path = "connected"}},
        [STAGE_COLD] = {"cold", {.method = "GET", .path = "connected"}},
        [STAGE_LIBRARY] = {"reader", {.method = "GET", .path = "library?limit=5"}},
        [STAGE_SYNC] = {"syncer", {.method = "POST", .path = "library/sync"}},
        [STAGE_DISCONNECT] = {"leaver", {.method = "POST", .path = "disconnect"}},
        [STAGE_SEARCH] = {"warm", {.method = "GET", .path = "search?q=the&limit=3"}},
        [STAGE_DETAILS] = {"warm", {.method = "GET", .path = "details"}},
        [STAGE_PLAY_URL] = {"warm", {.method = "GET", .path = "B00ABC1234/play-url"}},
        [STAGE_HEALTHZ] = {NULL, {.method = "GET", .path = "/healthz"}},
        [STAGE_READYZ] = {NULL, {.method = "GET", .path = "/readyz"}},
        [STAGE_METRICS] = {NULL, {.method = "GET", .path = "/metrics"}},
        [STAGE_OPENAPI] = {NULL, {.method = "GET", .path = "/openapi.json"}},
    };
    part->user = parts[endpoint].user;
    part->ask = parts[endpoint].ask;
    if (endpoint == STAGE_CALLBACK) {
        snprintf(part->json, sizeof part->json, "{\"code\":\"%s\",\"state\":\"%s\"}",
                 stage->newcomer.code, stage->newcomer.state);
        part->ask.json = part->json;
    } else if (endpoint == STAGE_WAY_BACK) {
        snprintf(part->path, sizeof part->path, "oauth/callback?code=%s&state=%s",
                 stage->browser.code, stage->browser.state);
        snprintf(part->cookie, sizeof part->cookie, "Cookie: %s\r\n", stage->browser.cookie);
        part->ask.path = part->path;
        part->ask.headers = part->cookie;
    } else if (endpoint == STAGE_DETAILS) {
        snprintf(part->path, sizeof part->path, "%s/details", stage->asin);
        part->ask.path = part->path;
    }
}

void stage_request(struct stage *stage, enum stage_endpoint endpoint,
                   char out[STAGE_REQUEST_BYTES]) {
    struct part part;
    char token[KIT_JWT_BYTES] = "";
    char authorization[KIT_JWT_BYTES + 32] = "";
    set_part(stage, endpoint, &part);
    if (part.user != NULL) {
        ask_premium(token, part.user);
        snprintf(authorization, sizeof authorization, "Authorization: Bearer %s\r\n", token);
    }
    const char *json = part.ask.json != NULL ? part.ask.json : "";
    int n =
        snprintf(out, STAGE_REQUEST_BYTES,
                 "%s %s%s HTTP/1.1\r\nHost: h\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
                 part.ask.method, part.ask.path[0] == '/' ? "" : ASK_API "/", part.ask.path,
                 authorization, part.ask.headers != NULL ? part.ask.headers : "",
                 json[0] != '\0' ? "Content-Type: application/json\r\n" : "", strlen(json), json);
    cr_assert_lt(n, STAGE_REQUEST_BYTES);
}

/* The page of the browser's way back names its reason. */
static void read_page(struct slice page, char detail[64]) {
    static const char mark[] = "<code>";
    const char *at = memmem(page.at, page.len, mark, sizeof mark - 1);
    if (at == NULL) {
        snprintf(detail, 64, "%s",
                 memmem(page.at, page.len, "is connected", 12) != NULL ? "connected" : "");
        return;
    }
    struct slice reason = slice_from(page, (size_t)(at - page.at) + sizeof mark - 1);
    snprintf(detail, 64, "%.*s", SLICE_ARGS(slice_head(reason, slice_find(reason, '<'))));
}

struct stage_answer stage_ask(struct stage *stage, enum stage_endpoint endpoint) {
    static const struct clock clock;
    struct stage_answer answer = {.endpoint = endpoint};
    struct client_response response;
    struct part part;
    char token[KIT_JWT_BYTES];
    set_part(stage, endpoint, &part);
    if (part.user != NULL) {
        ask_premium(token, part.user);
        part.ask.token = token;
    }
    int64_t before_ms = clock_mono_ms(&clock);
    answer.status = ask(stage->p.port, part.ask, &response);
    answer.took_ms = clock_mono_ms(&clock) - before_ms;
    if (endpoint == STAGE_WAY_BACK) {
        read_page(response.body, answer.detail);
    } else if (answer.status >= 400) {
        ask_member(&response, "detail", answer.detail, sizeof answer.detail);
    }
    struct slice retry_after = client_header(&response, "retry-after");
    snprintf(answer.retry_after, sizeof answer.retry_after, "%.*s", SLICE_ARGS(retry_after));
    client_response_fini(&response);
    return answer;
}

static struct stage_exception good(enum stage_endpoint endpoint) {
    return (struct stage_exception){endpoint, 200, endpoint == STAGE_WAY_BACK ? "connected" : ""};
}

void stage_expect(struct stage *stage, const struct stage_exception *exceptions, size_t count,
                  int64_t within_ms) {
    for (int i = 0; i < STAGE_ENDPOINTS; i++) {
        struct stage_exception wanted = good((enum stage_endpoint)i);
        for (size_t e = 0; e < count; e++) {
            wanted = (int)exceptions[e].endpoint == i ? exceptions[e] : wanted;
        }
        if (wanted.status == 0) {
            continue;
        }
        struct stage_answer got = stage_ask(stage, wanted.endpoint);
        cr_assert(got.status == wanted.status && strcmp(got.detail, wanted.detail) == 0,
                  "%s: %d %s instead of %d %s", names[i], got.status, got.detail, wanted.status,
                  wanted.detail);
        cr_assert_leq(got.took_ms, within_ms, "%s: %d ms", names[i], (int)got.took_ms);
    }
}
