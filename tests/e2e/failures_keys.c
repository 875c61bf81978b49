// SPDX-License-Identifier: MIT
/* docs/failures.md: the endpoint of published keys fails. Whoever has a token under such a key
 * can't be judged, and isn't refused; everyone else doesn't notice. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "kit/key_host.h"
#include "kit/leaks.h"
#include "kit/secrets.h"
#include "kit/stage.h"

enum {
    SLACK_MS = 5000,
    FETCH_MS = 5000,
    RECOVERY_MS = 20 * 1000,
    SETTING_BYTES = 256,
    ASKED_MS = 31 * 1000
};

static const struct key_host_key keys[] = {{PUBLISHED_EC_1, "e1"}, {PUBLISHED_RSA_1, NULL}};

/* All that need a caller. */
static const struct ask asks[] = {
    {.method = "POST", .path = "oauth/authorize", .json = "{\"redirect_uri\":\"\"}"},
    {.method = "POST", .path = "oauth/callback", .json = "{\"code\":\"c\",\"state\":\"s\"}"},
    {.path = "connected"},
    {.method = "POST", .path = "disconnect"},
    {.method = "POST", .path = "library/sync"},
    {.path = "library"},
    {.path = "search?q=the"},
    {.path = "B00ABC1234/details"},
    {.path = "B00ABC1234/play-url"},
};
enum { ASKS = sizeof asks / sizeof asks[0] };

struct fixture {
    struct key_host *host;
    struct stage stage;
    char token[PUBLISHED_TOKEN_BYTES];
    char stranger[PUBLISHED_TOKEN_BYTES]; /* names a key that is never published */
};

static void start(struct fixture *f) {
    char url[SETTING_BYTES / 2];
    char setting[SETTING_BYTES];
    char payload[256];
    key_host_url(f->host, url, sizeof url);
    snprintf(setting, sizeof setting, "LATCHKEY_JWKS_URL=%s", url);
    stage_start(&f->stage, (struct stage_opts){.settings = (const char *const[]){setting, NULL},
                                               .before = (const char *const[]){NULL}});
    snprintf(payload, sizeof payload,
             "{\"sub\":\"u\",\"subscription_tier\":\"premium\",\"exp\":%" PRId64 "}",
             (int64_t)time(NULL) + 3600);
    published_jwt(f->token, PUBLISHED_EC_1, JWKS_ES256, "e1", payload);
    published_jwt(f->stranger, PUBLISHED_EC_1, JWKS_ES256, "e9", payload);
    secrets_add("a JWT", slice_str(f->token), SECRETS_NOWHERE);
    secrets_add("a JWT", slice_str(f->stranger), SECRETS_NOWHERE);
}

static void end(struct fixture *f) {
    stage_stop(&f->stage);
    key_host_free(f->host);
    CHECK_LEAKS();
}

static int ask_as_published(struct fixture *f, struct ask one) {
    one.token = f->token;
    return ask_status(f->stage.p.port, one);
}

/* Every endpoint by the token under a published key; those whose token is under SECRET_KEY, and
 * those without any, are served as always. */
static void expect_unjudged(struct fixture *f) {
    static const struct stage_exception unready[] = {{STAGE_READYZ, 503, ""}};
    static const struct clock clock;
    for (size_t i = 0; i < ASKS; i++) {
        struct ask one = asks[i];
        one.token = f->token;
        int64_t before_ms = clock_mono_ms(&clock);
        ask_expect(f->stage.p.port, one, 503, "storage_unavailable");
        cr_assert_leq(clock_mono_ms(&clock) - before_ms, FETCH_MS + SLACK_MS, "%s", one.path);
    }
    stage_expect(&f->stage, unready, 1, SLACK_MS);
}

static void expect_recovery(struct fixture *f) {
    static const struct clock clock;
    int64_t until_ms = clock_mono_ms(&clock) + RECOVERY_MS;
    int status = 503;
    key_host_publish(f->host, keys);
    while (status != 200 && clock_mono_ms(&clock) < until_ms) {
        status = ask_as_published(f, (struct ask){.path = "connected"});
    }
    cr_assert_eq(status, 200, "%d", status);
    cr_assert_eq(stage_ask(&f->stage, STAGE_READYZ).status, 200);
}

Test(failures_keys, the_endpoint_is_down_from_the_start, .timeout = 120) {
    struct fixture f = {.host = key_host_new()};
    key_host_drop(f.host);
    start(&f);
    expect_unjudged(&f);
    expect_recovery(&f);
    end(&f);
}

Test(failures_keys, the_endpoint_answers_nonsense_from_the_start, .timeout = 120) {
    static const char *const answers[] = {"<html>", "{}", "{\"keys\":7}"};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct fixture f = {.host = key_host_new()};
        key_host_answer(f.host, 200, answers[i]);
        start(&f);
        expect_unjudged(&f);
        end(&f);
    }
}

/* They wait for the fetch that is under way, all for the same one, and not longer than it. */
Test(failures_keys, the_endpoint_is_slow_from_the_start, .timeout = 120) {
    static const struct stage_exception unready[] = {{STAGE_READYZ, 503, ""}};
    static const struct clock clock;
    struct fixture f = {.host = key_host_new()};
    struct client clients[ASKS];
    key_host_hold(f.host);
    start(&f);
    int64_t before_ms = clock_mono_ms(&clock);
    for (size_t i = 0; i < ASKS; i++) {
        char request[PUBLISHED_TOKEN_BYTES + 512];
        const char *json = asks[i].json != NULL ? asks[i].json : "";
        snprintf(request, sizeof request,
                 "%s " ASK_API "/%s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 asks[i].method != NULL ? asks[i].method : "GET", asks[i].path, f.token,
                 strlen(json), json);
        cr_assert(client_connect(&clients[i], f.stage.p.port));
        cr_assert(client_send(&clients[i], slice_str(request)));
    }
    stage_expect(&f.stage, unready, 1, SLACK_MS);
    for (size_t i = 0; i < ASKS; i++) {
        struct client_response response;
        cr_assert(client_read(&clients[i], "GET", &response), "%s", asks[i].path);
        cr_assert_eq(response.status, 503, "%s: %d", asks[i].path, response.status);
        client_response_fini(&response);
        client_fini(&clients[i]);
    }
    cr_assert_leq(clock_mono_ms(&clock) - before_ms, FETCH_MS + 2 * SLACK_MS);
    cr_assert_leq(key_host_requests(f.host), 3, "not one for each who waits");
    expect_recovery(&f);
    end(&f);
}

/* What has come once stays. Only a key that isn't known is asked for, and for no longer than a
 * fetch takes. */
Test(failures_keys, the_endpoint_fails_later, .timeout = 120) {
    static const struct clock clock;
    struct fixture f = {.host = key_host_new()};
    key_host_publish(f.host, keys);
    start(&f);
    cr_assert_eq(ask_as_published(&f, (struct ask){.path = "connected"}), 200);
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0) {
            key_host_drop(f.host);
        } else if (kind == 1) {
            key_host_hold(f.host);
        } else {
            key_host_answer(f.host, 200, "{}");
        }
        kit_server_advance_ms(f.stage.p.server, ASKED_MS);
        size_t fetches = key_host_requests(f.host);
        int64_t before_ms = clock_mono_ms(&clock);
        ask_expect(f.stage.p.port, (struct ask){.path = "connected", .token = f.stranger}, 401,
                   "Could not validate credentials");
        cr_assert_leq(clock_mono_ms(&clock) - before_ms, FETCH_MS + SLACK_MS, "%d", kind);
        cr_assert_gt(key_host_requests(f.host), fetches, "%d", kind);
        cr_assert_eq(ask_as_published(&f, (struct ask){.path = "connected"}), 200, "%d", kind);
        cr_assert_eq(ask_as_published(&f, (struct ask){.path = "search?q=the"}), 200, "%d", kind);
        cr_assert_eq(ask_as_published(&f, (struct ask){.path = "library"}), 400, "%d", kind);
        cr_assert_eq(stage_ask(&f.stage, STAGE_READYZ).status, 200, "%d", kind);
    }
    end(&f);
}
