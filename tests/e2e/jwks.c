// SPDX-License-Identifier: MIT
/* Callers with tokens under published keys, against the whole server. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/limits.h"
#include "kit/ask.h"
#include "kit/key_host.h"
#include "kit/leaks.h"
#include "kit/secrets.h"

static const struct key_host_key two[] = {
    {PUBLISHED_RSA_1, "r1"}, {PUBLISHED_EC_1, "e1"}, {PUBLISHED_RSA_1, NULL}};
static const struct key_host_key rotated[] = {{PUBLISHED_RSA_2, "r2"}, {PUBLISHED_RSA_1, NULL}};

enum { URL_SETTING_BYTES = 256 };

struct fixture {
    struct key_host *host;
    struct kit_server *server;
    int port;
};

/* A server of published keys only, or of both kinds, and whatever the host says by then. */
static void start(struct fixture *f, bool with_secret) {
    char url[URL_SETTING_BYTES / 2];
    char setting[URL_SETTING_BYTES];
    key_host_url(f->host, url, sizeof url);
    snprintf(setting, sizeof setting, "LATCHKEY_JWKS_URL=%s", url);
    f->server = kit_server_start_with(
        (const char *const[]){setting, with_secret ? NULL : "SECRET_KEY=", NULL});
    f->port = kit_server_port(f->server);
}

static bool fetched(struct fixture *f, int64_t sets) {
    return kit_server_wait_metric(f->server, METRIC_JWKS_FETCHES_OK, sets);
}

static struct fixture open_two(bool with_secret) {
    struct fixture f = {.host = key_host_new()};
    key_host_publish(f.host, two);
    start(&f, with_secret);
    cr_assert(fetched(&f, 1));
    return f;
}

static void end(struct fixture *f) {
    kit_server_stop(f->server);
    key_host_free(f->host);
    CHECK_LEAKS();
}

static void sign(char token[PUBLISHED_TOKEN_BYTES], enum published_key key, const char *kid,
                 const char *claims) {
    char payload[512];
    enum jwks_alg alg = key >= PUBLISHED_EC_1 ? JWKS_ES256 : JWKS_RS256;
    snprintf(payload, sizeof payload, "{%s,\"exp\":%" PRId64 "}", claims,
             (int64_t)time(NULL) + 3600);
    published_jwt(token, key, alg, kid, payload);
    secrets_add("a JWT", slice_str(token), SECRETS_NOWHERE);
}

#define PREMIUM "\"sub\":\"u\",\"subscription_tier\":\"premium\""

static int connected(struct fixture *f, const char *token) {
    return ask_status(f->port, (struct ask){.path = "connected", .token = token});
}

static void spoil(char *token) {
    char *at = strrchr(token, '.') + 10;
    *at = *at == 'A' ? 'B' : 'A';
}

Test(jwks, each_algorithm_and_no_other) {
    struct fixture f = open_two(false);
    char payload[256];
    snprintf(payload, sizeof payload, "{" PREMIUM ",\"exp\":%" PRId64 "}",
             (int64_t)time(NULL) + 3600);
    for (int alg = 0; alg < JWKS_ALG_COUNT; alg++) {
        char token[PUBLISHED_TOKEN_BYTES];
        bool is_ec = alg == JWKS_ES256;
        published_jwt(token, is_ec ? PUBLISHED_EC_1 : PUBLISHED_RSA_1, (enum jwks_alg)alg,
                      is_ec ? "e1" : "r1", payload);
        for (int times = 0; times < 3; times++) {
            cr_assert_eq(connected(&f, token), 200, "%s", jwks_alg_names[alg].at);
        }
        spoil(token);
        ask_expect(f.port, (struct ask){.path = "connected", .token = token}, 401,
                   "Could not validate credentials");
    }
    cr_assert_eq(kit_server_metric(f.server, METRIC_SIGNATURES_GOOD), JWKS_ALG_COUNT);
    char token[KIT_JWT_BYTES];
    kit_jwt(token, (struct kit_jwt){.sub = "u", .tier = "premium"});
    cr_assert_eq(connected(&f, token), 401, "HS256, but there is no SECRET_KEY");
    end(&f);
}

Test(jwks, both_kinds_at_once) {
    struct fixture f = open_two(true);
    char published[PUBLISHED_TOKEN_BYTES];
    char shared[KIT_JWT_BYTES];
    sign(published, PUBLISHED_EC_1, "e1", PREMIUM);
    kit_jwt(shared, (struct kit_jwt){.sub = "v", .tier = "premium"});
    for (int times = 0; times < 2; times++) {
        cr_assert_eq(connected(&f, published), 200);
        cr_assert_eq(connected(&f, shared), 200);
    }
    kit_jwt(shared, (struct kit_jwt){.sub = "v", .tier = "premium", .algorithm = "HS512"});
    cr_assert_eq(connected(&f, shared), 401);
    end(&f);
}

/* The contract's order stands, although one of the checks has a wait in it. */
Test(jwks, who_may_call_what) {
    static const struct {
        const char *claims;
        struct ask ask;
        int status;
        const char *detail;
    } cases[] = {
        {PREMIUM,
         {.method = "POST", .path = "oauth/authorize", .json = "{\"redirect_uri\":\"\"}"},
         200,
         NULL},
        {PREMIUM,
         {.method = "POST", .path = "oauth/callback", .json = "{}"},
         400,
         "invalid_request"},
        {PREMIUM, {.method = "POST", .path = "oauth/authorize", .json = "{"}, 400, "invalid_json"},
        {PREMIUM, {.method = "POST", .path = "oauth/authorize"}, 415, "unsupported_media_type"},
        {PREMIUM, {.method = "HEAD", .path = "connected"}, 200, NULL},
        {PREMIUM, {.path = "nowhere/at/all"}, 404, "Not Found"},
        {PREMIUM, {.method = "PUT", .path = "connected"}, 405, "Method Not Allowed"},
        {"\"sub\":\"u\"", {.path = "connected"}, 403, "audible_requires_premium"},
        {"\"sub\":\"u\",\"role\":\"support\"", {.path = "connected"}, 200, NULL},
        {PREMIUM ",\"is_active\":false", {.path = "connected"}, 400, "Inactive user"},
        {PREMIUM ",\"type\":\"refresh\"",
         {.path = "connected"},
         401,
         "Could not validate credentials"},
        {"\"subscription_tier\":\"premium\"",
         {.path = "connected"},
         401,
         "Could not validate credentials"},
        {PREMIUM,
         {.method = "POST",
          .path = "oauth/authorize",
          .headers = "Content-Type: application/json\r\nContent-Length: 70000\r\n"},
         413,
         "payload_too_large"},
    };
    struct fixture f = open_two(false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char token[PUBLISHED_TOKEN_BYTES];
        char claims[256];
        struct ask ask = cases[i].ask;
        for (int times = 0; times < 2; times++) { /* first seen, and remembered */
            snprintf(claims, sizeof claims, "%s,\"case\":%zu", cases[i].claims, i);
            sign(token, PUBLISHED_RSA_1, "r1", claims);
            ask.token = token;
            ask_expect(f.port, ask, cases[i].status, cases[i].detail);
        }
    }
    end(&f);
}

Test(jwks, before_any_key_has_come) {
    struct fixture f = {.host = key_host_new()};
    char published[PUBLISHED_TOKEN_BYTES];
    char shared[KIT_JWT_BYTES];
    struct client_response response;
    start(&f, true); /* the host says 404 */
    sign(published, PUBLISHED_EC_1, "e1", PREMIUM);
    kit_jwt(shared, (struct kit_jwt){.sub = "v", .tier = "premium"});
    ask_expect(f.port, (struct ask){.path = "connected", .token = published}, 503,
               "storage_unavailable");
    cr_assert_eq(connected(&f, shared), 200, "SECRET_KEY's are not concerned");
    cr_assert_eq(ask(f.port, (struct ask){.path = "/readyz"}, &response), 503);
    cr_assert(slice_eq(response.body, SLICE("{\"status\":\"unavailable\",\"checks\":{\"state\":"
                                            "\"ok\",\"accounts\":\"ok\",\"keys\":\"failed\"}}")),
              "%.*s", SLICE_ARGS(response.body));
    client_response_fini(&response);
    key_host_publish(f.host, two);
    cr_assert(fetched(&f, 1), "it goes on trying");
    cr_assert_eq(connected(&f, published), 200);
    cr_assert_eq(ask(f.port, (struct ask){.path = "/readyz"}, &response), 200);
    cr_assert(slice_eq(response.body, SLICE("{\"status\":\"ok\",\"checks\":{\"state\":\"ok\","
                                            "\"accounts\":\"ok\",\"keys\":\"ok\"}}")),
              "%.*s", SLICE_ARGS(response.body));
    client_response_fini(&response);
    end(&f);
}

/* A new key is known by the first token that names it; the old one's tokens go with their key. */
Test(jwks, rotation) {
    struct fixture f = open_two(false);
    char old[PUBLISHED_TOKEN_BYTES];
    char new[PUBLISHED_TOKEN_BYTES];
    char nobody[PUBLISHED_TOKEN_BYTES];
    sign(old, PUBLISHED_RSA_1, "r1", PREMIUM);
    sign(new, PUBLISHED_RSA_2, "r2", PREMIUM);
    sign(nobody, PUBLISHED_RSA_2, "r3", PREMIUM);
    cr_assert_eq(connected(&f, old), 200);
    key_host_publish(f.host, rotated);
    cr_assert_eq(connected(&f, old), 200, "not noticed yet");
    cr_assert_eq(connected(&f, new), 200);
    ask_expect(f.port, (struct ask){.path = "connected", .token = old}, 401,
               "Could not validate credentials");
    cr_assert_eq(connected(&f, new), 200);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(connected(&f, nobody), 401);
    }
    cr_assert_eq(key_host_requests(f.host), 2);
    kit_server_advance_ms(f.server, 31000);
    cr_assert_eq(connected(&f, nobody), 401);
    cr_assert_eq(key_host_requests(f.host), 3, "one more, half a minute later");
    /* The host is down: what was there stays. */
    key_host_drop(f.host);
    kit_server_advance_ms(f.server, 31000);
    cr_assert_eq(connected(&f, nobody), 401);
    cr_assert_eq(connected(&f, new), 200);
    end(&f);
}

Test(jwks, wrong_signatures_are_limited_by_address) {
    struct fixture f = open_two(true);
    char good[PUBLISHED_TOKEN_BYTES];
    char bad[PUBLISHED_TOKEN_BYTES];
    char shared[KIT_JWT_BYTES];
    struct client_response response;
    int status = 401;
    sign(good, PUBLISHED_EC_1, "e1", PREMIUM);
    sign(bad, PUBLISHED_EC_1, "e1", PREMIUM ",\"x\":1");
    spoil(bad);
    cr_assert_eq(connected(&f, good), 200);
    for (int i = 0; i < 10 * LIMIT_SIGNATURE_FAILURES_MINUTE && status == 401; i++) {
        status = ask(f.port, (struct ask){.path = "connected", .token = bad}, &response);
        if (status == 401) {
            client_response_fini(&response);
        }
    }
    cr_assert_eq(status, 429);
    cr_assert(slice_eq(response.body, SLICE("{\"detail\":\"rate_limit_exceeded\"}")));
    cr_assert(slice_eq(client_header(&response, "Retry-After"), SLICE("1")));
    cr_assert(slice_eq(client_header(&response, "RateLimit-Limit"), SLICE("60")));
    client_response_fini(&response);
    cr_assert_geq(kit_server_metric(f.server, METRIC_SIGNATURES_BAD),
                  LIMIT_SIGNATURE_FAILURES_MINUTE);
    cr_assert_eq(connected(&f, good), 200, "what is remembered is not limited");
    kit_jwt(shared, (struct kit_jwt){.sub = "v", .tier = "premium"});
    cr_assert_eq(connected(&f, shared), 200, "nor is SECRET_KEY's");
    end(&f);
}

static void append_request(struct buf *out, const char *line, const char *token, const char *more) {
    buf_append(out, slice_str(line));
    BUF_LIT(out, " HTTP/1.1\r\nHost: x\r\n");
    if (token != NULL) {
        BUF_LIT(out, "Authorization: Bearer ");
        buf_append(out, slice_str(token));
        BUF_LIT(out, "\r\n");
    }
    buf_append(out, slice_str(more));
    BUF_LIT(out, "\r\n");
}

#define CONNECTED "GET " ASK_API "/connected"
#define AUTHORIZE "POST " ASK_API "/oauth/authorize"
#define JSON_BODY "{\"redirect_uri\":\"\"}"

static void expect_next(struct client *client, int status, const char *in_body) {
    struct client_response response;
    cr_assert(client_read(client, "GET", &response));
    cr_assert_eq(response.status, status, "%d", response.status);
    char body[2048];
    snprintf(body, sizeof body, "%.*s", SLICE_ARGS(response.body));
    cr_assert_not_null(strstr(body, in_body), "%s", body);
    client_response_fini(&response);
}

Test(jwks, pipelined_requests_are_answered_in_order) {
    struct fixture f = open_two(false);
    struct client client;
    struct buf bytes;
    char tokens[3][PUBLISHED_TOKEN_BYTES];
    buf_init(&bytes, 64 * 1024);
    sign(tokens[0], PUBLISHED_EC_1, "e1", PREMIUM);
    sign(tokens[1], PUBLISHED_RSA_1, "r1", "\"sub\":\"v\"");
    sign(tokens[2], PUBLISHED_RSA_1, "nobody's", PREMIUM);
    append_request(&bytes, CONNECTED, tokens[0], "");
    append_request(&bytes, "GET /healthz", NULL, "");
    append_request(&bytes, AUTHORIZE, tokens[0],
                   "Content-Type: application/json\r\nContent-Length: 19\r\n");
    BUF_LIT(&bytes, JSON_BODY);
    append_request(&bytes, CONNECTED, tokens[1], "");
    append_request(&bytes, CONNECTED, tokens[2], "");
    append_request(&bytes, CONNECTED, tokens[0], "");
    cr_assert(client_connect(&client, f.port));
    cr_assert(client_send(&client, buf_slice(&bytes)));
    expect_next(&client, 200, "\"connected\":false");
    expect_next(&client, 200, "\"status\":\"ok\"");
    expect_next(&client, 200, "\"auth_url\"");
    expect_next(&client, 403, "audible_requires_premium");
    expect_next(&client, 401, "Could not validate credentials");
    expect_next(&client, 200, "\"connected\":false");
    client_fini(&client);
    buf_fini(&bytes);
    end(&f);
}

Test(jwks, the_body_is_asked_for_once_the_caller_is_known) {
    struct fixture f = open_two(false);
    for (int good = 0; good < 2; good++) {
        struct client client;
        struct buf bytes;
        char token[PUBLISHED_TOKEN_BYTES];
        buf_init(&bytes, 16 * 1024);
        sign(token, PUBLISHED_EC_1, "e1", PREMIUM);
        if (!good) {
            spoil(token);
        }
        append_request(&bytes, AUTHORIZE, token,
                       "Content-Type: application/json\r\nContent-Length: 19\r\n"
                       "Expect: 100-continue\r\n");
        cr_assert(client_connect(&client, f.port));
        cr_assert(client_send(&client, buf_slice(&bytes)));
        expect_next(&client, good ? 100 : 401, good ? "" : "Could not validate credentials");
        if (good) {
            cr_assert(CLIENT_SEND(&client, JSON_BODY));
            expect_next(&client, 200, "\"auth_url\"");
        }
        client_fini(&client);
        buf_fini(&bytes);
    }
    end(&f);
}

/* Requests that wait for keys: their clients leave, or the server drains. Either way every request
 * ends, and the server with nothing left open. */
Test(jwks, clients_leave_and_the_server_stops_while_keys_are_waited_for) {
    enum { CLIENTS = 8 };
    for (int leave = 0; leave < 2; leave++) {
        struct fixture f = {.host = key_host_new()};
        struct client clients[CLIENTS];
        struct client_response response;
        key_host_hold(f.host);
        start(&f, false);
        for (size_t i = 0; i < CLIENTS; i++) {
            struct buf bytes;
            char token[PUBLISHED_TOKEN_BYTES];
            buf_init(&bytes, 16 * 1024);
            sign(token, PUBLISHED_EC_1, "e1", PREMIUM);
            append_request(&bytes, CONNECTED, token, "");
            cr_assert(client_connect(&clients[i], f.port));
            cr_assert(client_send(&clients[i], buf_slice(&bytes)));
            buf_fini(&bytes);
        }
        cr_assert(key_host_wait(f.host, 1));
        cr_assert_eq(ask(f.port, (struct ask){.path = "/healthz"}, &response), 200);
        client_response_fini(&response);
        if (leave) {
            for (size_t i = 0; i < CLIENTS; i++) {
                if (i % 2 == 0) {
                    client_fini(&clients[i]);
                } else {
                    client_reset(&clients[i]);
                }
            }
            cr_assert(kit_server_wait_metric(f.server, METRIC_CONNECTIONS, 0));
            key_host_publish(f.host, two);
            cr_assert(fetched(&f, 1));
        } else {
            kit_server_ask_stop(f.server);
            key_host_publish(f.host, two);
            for (size_t i = 0; i < CLIENTS; i++) {
                cr_assert(client_read(&clients[i], "GET", &response));
                cr_assert_eq(response.status, 200);
                client_response_fini(&response);
                client_fini(&clients[i]);
            }
        }
        kit_server_stop(f.server);
        key_host_free(f.host);
    }
    CHECK_LEAKS();
}

/* ... and the same where it is cut short, with the fetch still held. */
Test(jwks, the_server_is_cut_short_while_keys_are_waited_for) {
    struct fixture f = {.host = key_host_new()};
    struct client client;
    struct buf bytes;
    char token[PUBLISHED_TOKEN_BYTES];
    buf_init(&bytes, 16 * 1024);
    key_host_hold(f.host);
    start(&f, false);
    sign(token, PUBLISHED_EC_1, "e1", PREMIUM);
    append_request(&bytes, CONNECTED, token, "");
    cr_assert(client_connect(&client, f.port));
    cr_assert(client_send(&client, buf_slice(&bytes)));
    cr_assert(key_host_wait(f.host, 1));
    int64_t started_ns = clock_ns();
    kit_server_ask_stop(f.server);
    kit_server_ask_stop(f.server);
    kit_server_stop(f.server);
    cr_assert_lt(clock_ns() - started_ns, INT64_C(4000000000), "it waited for the keys");
    client_fini(&client);
    key_host_free(f.host);
    buf_fini(&bytes);
    CHECK_LEAKS();
}
