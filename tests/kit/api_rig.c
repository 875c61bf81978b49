// SPDX-License-Identifier: MIT
#include "kit/api_rig.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kit/ask.h"

enum { STATES = 64, CONNECTIONS = 100, REQUEST_BYTES = 8192, TIMEOUT_MS = 10000 };

static const struct key_host_key published[] = {{PUBLISHED_RSA_1, "r1"}, {PUBLISHED_RSA_1, NULL}};

static void fill_provider(struct api_rig *rig) {
    rig->provider = (struct provider){
        .auth_url = SLICE("http://127.0.0.1:1"),
        .api_base_url = SLICE("http://127.0.0.1:1"),
        .client_id = SLICE("client"),
        .client_secret = SLICE("secret"),
        .redirect_uri = SLICE("https://app.example/callback"),
        .names = &provider_audible,
        .loop = &rig->keys->loop,
        .upstream = rig->keys->upstream,
        .metrics = &rig->keys->metrics,
        .log = rig->keys->log,
    };
}

static bool is_redis_ready(struct api_rig *rig) {
    return redis_is_ready(rig->redis);
}

static void open_redis(struct api_rig *rig, const char *url) {
    char problem[REDIS_URL_PROBLEM_BYTES];
    cr_assert_eq(redis_url_parse(slice_str(url), &rig->url, problem), RC_OK, "%s", problem);
    rig->redis = redis_new(&(const struct redis_opts){
        .loop = &rig->keys->loop,
        .log = rig->keys->log,
        .metrics = &rig->keys->metrics,
        .url = &rig->url,
        .name = "rates",
    });
    api_rig_run(rig, is_redis_ready);
}

static void open_stores(struct api_rig *rig, bool has_stubs) {
    struct keys_rig *keys = rig->keys;
    stores_stub_init(&rig->stores, &keys->loop);
    struct states_backend *states =
        has_stubs ? &rig->stores.states : states_mem_new(&keys->loop, STATES, &keys->metrics);
    rig->states = states_new(&keys->loop, states, keys->log, &keys->metrics);
    rig->accounts = accounts_new(&(const struct accounts_opts){.loop = &keys->loop,
                                                               .work = keys->work,
                                                               .backend = &rig->stores.accounts,
                                                               .log = keys->log,
                                                               .metrics = &keys->metrics});
}

static void open_users(struct api_rig *rig) {
    users_stub_init(&rig->stub, &rig->keys->loop);
    rig->users = users_new(&(const struct users_opts){
        .loop = &rig->keys->loop,
        .log = rig->keys->log,
        .metrics = &rig->keys->metrics,
        .source = &rig->stub.source,
        .cache_max = 64,
    });
    cr_assert_not_null(rig->users);
}

static void open_api(struct api_rig *rig, const struct api_rig_opts *opts) {
    struct keys_rig *keys = rig->keys;
    rig->api = api_new(&(const struct api_opts){
        .loop = &keys->loop,
        .log = keys->log,
        .metrics = &keys->metrics,
        .rng = &rig->rng,
        .bearer = keys->bearer,
        .has_published_keys = true,
        .users = rig->users,
        .provider = &rig->provider,
        .states = rig->states,
        .accounts = rig->accounts,
        .prefix = SLICE("/api/v1"),
        .return_url = slice_str(opts->return_url),
        .rates = opts->rates,
        .rates_redis = rig->redis,
        .body_max = LIMIT_BODY_BYTES,
        .request_timeout_ms = TIMEOUT_MS,
        .provider_timeout_ms = TIMEOUT_MS,
    });
    cr_assert_not_null(rig->api);
}

static void open_server(struct api_rig *rig) {
    char problem[STREAM_PROBLEM_BYTES];
    rig->server = http_server_new(&rig->keys->loop, &(const struct http_server_opts){
                                                        .handler = &api_handler,
                                                        .owner = rig->api,
                                                        .connections_max = CONNECTIONS,
                                                        .head_timeout_ms = TIMEOUT_MS,
                                                        .idle_timeout_ms = TIMEOUT_MS,
                                                        .write_timeout_ms = TIMEOUT_MS,
                                                        .body_max = LIMIT_BODY_BYTES,
                                                        .headers = slice_str(api_headers),
                                                        .csp = slice_str(api_csp),
                                                        .metrics = &rig->keys->metrics,
                                                    });
    cr_assert_not_null(rig->server);
    cr_assert_eq(http_server_listen(rig->server, SLICE("127.0.0.1:0"), &rig->port, problem), RC_OK,
                 "%s", problem);
}

struct api_rig *api_rig_open(const struct api_rig_opts *opts) {
    struct api_rig *rig = mem_calloc(1, sizeof *rig);
    rig->keys = keys_rig_new();
    rig->keys->owner = rig;
    key_host_publish(rig->keys->host, published);
    keys_rig_open_with(rig->keys, &keys_rig_times,
                       (struct bearer_opts){.alg = HASH_HS256, .secret = SLICE(KIT_SECRET_KEY)});
    keys_rig_run_fetches(rig->keys, 1);
    rng_init(&rig->rng);
    fill_provider(rig);
    open_stores(rig, opts->has_stubs);
    if (opts->redis_url != NULL) {
        open_redis(rig, opts->redis_url);
    }
    if (opts->has_users) {
        open_users(rig);
    }
    open_api(rig, opts);
    open_server(rig);
    return rig;
}

/* In the order in which app does it. */
static void close_next(void *owner) {
    struct api_rig *rig = owner;
    switch (rig->closing++) {
    case 0:
        http_server_close(rig->server, close_next, rig);
        break;
    case 1:
        api_close(rig->api, close_next, rig);
        break;
    case 2:
        if (rig->users != NULL) {
            users_close(rig->users, close_next, rig);
            break;
        }
        rig->closing++;
        /* fall through */
    case 3:
        if (rig->redis != NULL) {
            redis_close(rig->redis, close_next, rig);
            break;
        }
        rig->closing++;
        /* fall through */
    case 4:
        accounts_close(rig->accounts, close_next, rig);
        break;
    default:
        states_close(rig->states);
        break;
    }
}

static bool is_closed(struct api_rig *rig) {
    return rig->closing == 6;
}

void api_rig_close_begin(struct api_rig *rig) {
    close_next(rig);
}

void api_rig_close_end(struct api_rig *rig) {
    api_rig_run(rig, is_closed);
    rng_fini(&rig->rng);
    redis_url_fini(&rig->url);
    keys_rig_end(rig->keys);
    mem_free(rig);
}

void api_rig_close(struct api_rig *rig) {
    api_rig_close_begin(rig);
    api_rig_close_end(rig);
}

static bool is_time(struct keys_rig *keys) {
    struct api_rig *rig = keys->owner;
    return rig->is_time(rig);
}

void api_rig_run(struct api_rig *rig, bool (*is_time_)(struct api_rig *rig)) {
    rig->is_time = is_time_;
    keys_rig_run(rig->keys, is_time);
}

void api_rig_run_ms(struct api_rig *rig, int64_t ms) {
    keys_rig_run_ms(rig->keys, ms);
}

int64_t api_rig_metric(const struct api_rig *rig, enum metric metric) {
    return metrics_get(&rig->keys->metrics, metric);
}

void api_rig_send(struct api_rig *rig, struct client *client, const char *method, const char *path,
                  const char *token, const char *more) {
    char text[REQUEST_BYTES];
    int n = snprintf(text, sizeof text, "%s %s%s HTTP/1.1\r\nHost: a\r\n%s%s%s%s", method,
                     path[0] == '/' ? "" : ASK_API "/", path,
                     token != NULL ? "Authorization: Bearer " : "", token != NULL ? token : "",
                     token != NULL ? "\r\n" : "", more != NULL ? more : "\r\n");
    cr_assert_lt(n, REQUEST_BYTES);
    cr_assert(client_connect(client, rig->port));
    cr_assert(client_send(client, slice_make(text, (size_t)n)));
}

bool api_rig_is_silent(const struct client *client) {
    struct pollfd fd = {.fd = client->fd, .events = POLLIN};
    return poll(&fd, 1, 0) == 0;
}

static bool is_answered(struct api_rig *rig) {
    return !api_rig_is_silent(rig->asking);
}

int api_rig_answer(struct api_rig *rig, struct client *client, const char *method,
                   struct client_response *response) {
    rig->asking = client;
    if (client->got.len == 0) {
        api_rig_run(rig, is_answered);
    }
    cr_assert(client_read(client, method, response), "no answer");
    return response->status;
}

void api_rig_expect(struct api_rig *rig, const char *path, const char *token, int status,
                    const char *detail) {
    struct client client;
    struct client_response response;
    api_rig_send(rig, &client, "GET", path, token, NULL);
    cr_assert_eq(api_rig_answer(rig, &client, "GET", &response), status, "%s: %d, not %d", path,
                 response.status, status);
    if (detail != NULL) {
        char got[128];
        ask_member(&response, "detail", got, sizeof got);
        cr_assert_str_eq(got, detail);
    }
    client_response_fini(&response);
    client_fini(&client);
}
