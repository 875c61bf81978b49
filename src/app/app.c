// SPDX-License-Identifier: MIT
#include "app/app.h"

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "app/docs_files.h"
#include "app/process.h"
#include "app/provider_parts.h"
#include "app/reload.h"
#include "app/stores.h"
#include "auth/bearer.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "crypto/hash.h"
#include "crypto/rng.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/upstream.h"
#include "io/work.h"
#include "provider/provider.h"

enum {
    PROBLEM_BYTES = 512,
    /* files beside connections: the log, the database's, the loop's own */
    FILES_BESIDES = 128,
    SIGNALS = 3,
    METRICS_CONNECTIONS = 32,
};

enum phase { PHASE_SERVING, PHASE_DELAY, PHASE_DRAINING, PHASE_CLOSING };

struct app {
    const struct config *config;
    const struct clock *clock;
    struct app_hooks hooks;
    struct metrics *metrics; /* own_metrics, or a place beside those of other workers */
    struct metrics own_metrics;
    struct log *log;
    struct loop loop;
    struct rng rng;
    struct work *work;
    struct upstream *upstream;
    struct provider provider;
    struct stores stores;
    struct work_lane *signatures; /* NULL without LATCHKEY_JWKS_URL, as the next */
    struct jwks_source *keys;
    struct bearer *bearer;
    struct docs docs;
    bool has_docs;
    struct api *api;
    struct http_server *server;
    int ports[LIMIT_LISTENERS];
    struct http_server *metrics_server; /* NULL: it has no address of its own */
    int metrics_port;

    struct reload reload;
    uv_async_t wake; /* app_stop and app_reload from another thread */
    atomic_int stops;
    int stops_seen;
    atomic_bool wants_reload;
    uv_signal_t signals[SIGNALS];
    int signals_open;
    struct worker_link link; /* of a worker */
    struct loop_timer delay; /* before the drain */
    enum phase phase;
    size_t built; /* of `steps` */
    char problem[PROBLEM_BYTES];
};

__attribute__((format(printf, 3, 4))) static enum rc fail(struct app *app, enum rc rc,
                                                          const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(app->problem, sizeof app->problem, format, args);
    va_end(args);
    return rc;
}

static void close_next(void *owner);

/* --- stopping --------------------------------------------------------------------------------- */

static void on_drained(void *owner) {
    struct app *app = owner;
    app->phase = PHASE_CLOSING;
    close_next(app);
}

static void drain(struct app *app, int64_t timeout_ms) {
    app->phase = PHASE_DRAINING;
    loop_timer_stop(&app->delay);
    http_server_drain(app->server, timeout_ms, on_drained, app);
}

static void on_delay_over(struct loop_timer *timer) {
    struct app *app = LIST_ENTRY(timer, struct app, delay);
    drain(app, app->config->drain_ms);
}

/* The first asks for a drain, each further one hurries. */
static void on_stop(struct app *app) {
    switch (app->phase) {
    case PHASE_SERVING:
        LOG(app->log, LOG_INFO, "drain_started", SLICE_NULL,
            log_int("connections", (int64_t)http_server_connections(app->server)));
        api_drain(app->api);
        if (app->config->drain_delay_ms > 0) {
            app->phase = PHASE_DELAY;
            loop_timer_start(&app->delay, app->config->drain_delay_ms, 0, on_delay_over);
        } else {
            drain(app, app->config->drain_ms);
        }
        break;
    case PHASE_DELAY:
    case PHASE_DRAINING:
        LOG(app->log, LOG_WARNING, "drain_cut_short", SLICE_NULL,
            log_int("connections", (int64_t)http_server_connections(app->server)));
        drain(app, 0);
        break;
    case PHASE_CLOSING:
        /* What is left are calls to the provider whose code is spent: the account would be lost,
           and someone has asked three times. */
        if (app->hooks.owns_process) {
            log_flush(app->log);
            _exit(1);
        }
        break;
    }
}

/* A SIGHUP that comes before everything stands, or while it falls, finds nothing to do. */
static void on_reload(struct app *app) {
    if (app->reload.config != NULL && app->phase != PHASE_CLOSING) {
        reload_run(&app->reload);
    }
}

/* Wake-ups may be merged into one; stops are counted, reloads need not be. */
static void on_wake(uv_async_t *wake) {
    struct app *app = wake->data;
    if (atomic_exchange(&app->wants_reload, false)) {
        on_reload(app);
    }
    int stops = atomic_load(&app->stops);
    while (app->stops_seen < stops) {
        app->stops_seen++;
        on_stop(app);
    }
}

/* A worker's parent hears the same signals, and says what follows from them: a terminal, or
 * systemd, sends them to each process. */
static void on_signal(uv_signal_t *handle, int number) {
    struct app *app = handle->data;
    if (app->hooks.worker != NULL) {
        return;
    }
    if (number == SIGHUP) {
        on_reload(app);
    } else {
        on_stop(app);
    }
}

static void on_told(void *owner, enum worker_order order) {
    struct app *app = owner;
    if (order == WORKER_RELOAD) {
        on_reload(app);
    } else if (order == WORKER_HURRY || app->phase == PHASE_SERVING) {
        on_stop(app);
    }
}

void app_reload(struct app *app) {
    atomic_store(&app->wants_reload, true);
    uv_async_send(&app->wake);
}

void app_stop(struct app *app) {
    atomic_fetch_add(&app->stops, 1);
    uv_async_send(&app->wake);
}

/* --- building and closing, step by step ---------------------------------------------------------
 */

static void on_wake_closed(uv_handle_t *handle) {
    close_next(handle->data);
}

static enum rc build_wake(struct app *app) {
    if (uv_async_init(&app->loop.uv, &app->wake, on_wake) != 0) {
        return fail(app, RC_IO, "the event loop gives no handle");
    }
    app->wake.data = app;
    return RC_OK;
}

static bool close_wake(struct app *app) {
    uv_close((uv_handle_t *)&app->wake, on_wake_closed);
    return false;
}

static void on_signal_closed(uv_handle_t *handle) {
    struct app *app = handle->data;
    if (--app->signals_open == 0) {
        close_next(app);
    }
}

static enum rc build_signals(struct app *app) {
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (int i = 0; i < SIGNALS && app->hooks.owns_process; i++) {
        if (uv_signal_init(&app->loop.uv, &app->signals[i]) != 0) {
            return fail(app, RC_IO, "signals can't be received");
        }
        app->signals[i].data = app;
        app->signals_open++;
        if (uv_signal_start(&app->signals[i], on_signal, numbers[i]) != 0) {
            return fail(app, RC_IO, "signals can't be received");
        }
        uv_unref((uv_handle_t *)&app->signals[i]);
    }
    return RC_OK;
}

static bool close_signals(struct app *app) {
    int count = app->signals_open;
    for (int i = 0; i < count; i++) {
        uv_close((uv_handle_t *)&app->signals[i], on_signal_closed);
    }
    return count == 0;
}

static enum rc build_link(struct app *app) {
    const struct worker *worker = app->hooks.worker;
    return worker == NULL || worker_link_open(&app->link, &app->loop, worker, on_told, app) == RC_OK
               ? RC_OK
               : fail(app, RC_IO, "the parent can't be heard");
}

static bool close_link(struct app *app) {
    if (app->hooks.worker == NULL) {
        return true;
    }
    worker_link_close(&app->link, close_next);
    return false;
}

static void on_delay_closed(struct loop_timer *timer) {
    close_next(LIST_ENTRY(timer, struct app, delay));
}

static enum rc build_delay(struct app *app) {
    loop_timer_init(&app->loop, &app->delay);
    return RC_OK;
}

static bool close_delay(struct app *app) {
    loop_timer_close(&app->delay, on_delay_closed);
    return false;
}

static enum rc build_random(struct app *app) {
    if (hash_init() != RC_OK) {
        return fail(app, RC_CRYPTO, "the crypto library does not start");
    }
    rng_init(&app->rng);
    return RC_OK;
}

static bool close_random(struct app *app) {
    rng_fini(&app->rng);
    return true;
}

static enum rc build_work(struct app *app) {
    app->work = work_new(&app->loop, LIMIT_FAST_QUEUE);
    return app->work != NULL ? RC_OK : fail(app, RC_IO, "the work-queue does not start");
}

static bool close_work(struct app *app) {
    work_close(app->work, close_next, app);
    return false;
}

static enum rc build_upstream(struct app *app) {
    const char *problem;
    app->upstream = provider_parts_upstream(&app->loop, app->config, &problem);
    if (app->upstream == NULL) {
        return fail(app, RC_IO, "calls to the provider: %s", problem);
    }
    if (problem != NULL) {
        LOG(app->log, LOG_WARNING, "upstream_warning", SLICE_NULL,
            log_text("cause", slice_str(problem)));
    }
    return RC_OK;
}

static bool close_upstream(struct app *app) {
    upstream_close(app->upstream, close_next, app);
    return false;
}

/* A failed one is closed as well: it may have opened half. */
static enum rc build_stores(struct app *app) {
    char problem[STORES_PROBLEM_BYTES];
    app->stores.config = app->config;
    app->stores.loop = &app->loop;
    app->stores.work = app->work;
    app->stores.log = app->log;
    app->stores.metrics = app->metrics;
    app->stores.rng = &app->rng;
    enum rc rc = stores_open(&app->stores, problem);
    return rc == RC_OK ? RC_OK : fail(app, rc, "%s", problem);
}

static bool close_stores(struct app *app) {
    stores_close(&app->stores, close_next, app);
    return false;
}

static bool has_published_keys(const struct app *app) {
    return !slice_is_null(app->config->jwks_url);
}

/* Threads of its own: bogus tokens by the thousand keep neither the loop nor Fernet from theirs. */
static enum rc build_signatures(struct app *app) {
    if (!has_published_keys(app)) {
        return RC_OK;
    }
    size_t threads = (size_t)app->config->work_threads / 2;
    app->signatures = work_lane_new(&app->loop, &(const struct work_lane_opts){
                                                    .threads = threads > 0 ? threads : 1,
                                                    .queue_max = LIMIT_SIGNATURE_QUEUE,
                                                    .batch_max = 1,
                                                    .name = "signatures",
                                                    .lane = METRICS_LANE_SIGNATURE,
                                                });
    return app->signatures != NULL ? RC_OK : fail(app, RC_IO, "there is no thread for signatures");
}

static bool close_signatures(struct app *app) {
    if (app->signatures == NULL) {
        return true;
    }
    work_lane_close(app->signatures, close_next, app);
    return false;
}

static enum rc build_keys(struct app *app) {
    if (!has_published_keys(app)) {
        return RC_OK;
    }
    app->keys = jwks_source_new(&(const struct jwks_source_opts){
        .loop = &app->loop,
        .upstream = app->upstream,
        .work = app->work,
        .log = app->log,
        .metrics = app->metrics,
        .url = app->config->jwks_url,
        .times = jwks_source_usual,
    });
    return app->keys != NULL ? RC_OK : fail(app, RC_CRYPTO, "the system gives no random bytes");
}

static bool close_keys(struct app *app) {
    if (app->keys == NULL) {
        return true;
    }
    jwks_source_close(app->keys, close_next, app);
    return false;
}

static enum rc build_bearer(struct app *app) {
    const struct config *config = app->config;
    app->bearer = bearer_new(&(const struct bearer_opts){
        .alg = config->algorithm,
        .secret = secret_slice(&config->secret_key),
        .secret_old = secret_slice(&config->secret_key_old),
        .issuer = config->jwt_issuer,
        .audience = config->jwt_audience,
        .leeway_s = config->jwt_leeway_ms / 1000,
        .cache_max = LIMIT_BEARER_CACHE,
        .log = app->log,
        .source = app->keys,
        .lane = app->signatures,
        .loop = &app->loop,
        .metrics = app->metrics,
    });
    return app->bearer != NULL ? RC_OK : fail(app, RC_CRYPTO, "SECRET_KEY can't be used as a key");
}

static bool close_bearer(struct app *app) {
    bearer_free(app->bearer);
    return true;
}

/* Without the files there is no page /docs, and all else works. */
static enum rc build_docs(struct app *app) {
    char problem[DOCS_PROBLEM_BYTES];
    app->has_docs = docs_files_read(app->config->docs_dir.at, &app->docs, problem);
    if (!app->has_docs) {
        LOG(app->log, LOG_INFO, "docs_not_installed", SLICE_NULL,
            log_text("cause", slice_str(problem)));
    }
    return RC_OK;
}

static bool close_docs(struct app *app) {
    docs_files_free(&app->docs);
    return true;
}

/* Who may see metrics without being told so by LATCHKEY_METRICS_LISTEN is on this machine. */
static bool serves_metrics(const struct config *config) {
    bool is_local = slice_is_null(config->metrics_listen);
    for (size_t i = 0; i < config->listen.count && is_local; i++) {
        struct address address;
        char problem[ADDRESS_PROBLEM_BYTES];
        is_local =
            address_parse(config->listen.at[i], &address, problem) && address_is_local(&address);
    }
    return is_local;
}

static void fill_provider(struct app *app) {
    provider_parts_fill(&app->provider, app->config);
    app->provider.loop = &app->loop;
    app->provider.upstream = app->upstream;
    app->provider.work = app->work;
    app->provider.metrics = app->metrics;
    app->provider.log = app->log;
}

static enum rc build_api(struct app *app) {
    const struct config *config = app->config;
    fill_provider(app);
    app->api = api_new(&(const struct api_opts){
        .loop = &app->loop,
        .log = app->log,
        .metrics = app->metrics,
        .metrics_group = app->hooks.worker != NULL ? &app->hooks.worker->metrics : NULL,
        .rng = &app->rng,
        .bearer = app->bearer,
        .users = app->stores.users,
        .has_published_keys = has_published_keys(app),
        .provider = &app->provider,
        .states = app->stores.states,
        .accounts = app->stores.accounts,
        .leases = app->stores.leases,
        .prefix = config->api_prefix,
        .serves_metrics = serves_metrics(config),
        .docs = app->has_docs ? &app->docs : NULL,
        .return_url = config->return_url,
        .cors_origins = config->cors_origins.at,
        .cors_origin_count = config->cors_origins.count,
        .rates = {.oauth_per_minute = config->rate_oauth_per_minute,
                  .search_per_minute = config->rate_search_per_minute,
                  .other_per_minute = config->rate_other_per_minute,
                  .address_per_minute = config->rate_address_per_minute},
        .rates_redis = config->rate_storage == CONFIG_STORAGE_REDIS ? app->stores.redis : NULL,
        .trusted_proxies = config->trusted_proxies.at,
        .trusted_proxy_count = config->trusted_proxies.count,
        .body_max = LIMIT_BODY_BYTES,
        .request_timeout_ms = config->request_timeout_ms,
        .provider_timeout_ms = config->upstream_timeout_ms,
    });
    return app->api != NULL ? RC_OK : fail(app, RC_CRYPTO, "the crypto library failed");
}

static bool close_api(struct app *app) {
    api_close(app->api, close_next, app);
    return false;
}

static enum rc new_server(struct app *app, const struct http_handler *handler,
                          size_t connections_max, struct metrics *metrics,
                          struct http_server **out) {
    const struct config *config = app->config;
    uint64_t id_prefix;
    if (rng_bytes(&app->rng, &id_prefix, sizeof id_prefix) != RC_OK) {
        return fail(app, RC_CRYPTO, "the system gives no random bytes");
    }
    *out = http_server_new(&app->loop, &(const struct http_server_opts){
                                           .handler = handler,
                                           .owner = app->api,
                                           .connections_max = connections_max,
                                           .head_timeout_ms = config->head_timeout_ms,
                                           .idle_timeout_ms = config->idle_timeout_ms,
                                           .write_timeout_ms = config->write_timeout_ms,
                                           .body_max = LIMIT_BODY_BYTES,
                                           .headers = slice_str(api_headers),
                                           .csp = slice_str(api_csp),
                                           .tls_headers = slice_str(api_tls_headers),
                                           .handshake_timeout_ms = config->tls_handshake_timeout_ms,
                                           .handshakes_max = (size_t)config->tls_handshakes_max,
                                           .metrics = metrics,
                                           .id_prefix = id_prefix,
                                       });
    return *out != NULL ? RC_OK : fail(app, RC_IO, "the HTTP server does not start");
}

static enum rc build_server(struct app *app) {
    return new_server(app, &api_handler, (size_t)app->config->connections_max, app->metrics,
                      &app->server);
}

/* The check of the configuration has read the pair already, and said what there is to say. */
static enum rc build_tls(struct app *app) {
    const struct tls_files files = {app->config->tls_cert.at, app->config->tls_key.at};
    struct tls_report report;
    struct tls *tls;
    if (files.cert_path == NULL) {
        return RC_OK;
    }
    if (tls_new_server(&files, &tls, &report) != RC_OK) {
        return fail(app, RC_USAGE, "LATCHKEY_TLS_CERT %s; LATCHKEY_TLS_KEY %s", report.cert,
                    report.key);
    }
    http_server_use_tls(app->server, tls);
    return RC_OK;
}

static bool close_server(struct app *app) {
    http_server_close(app->server, close_next, app);
    return false;
}

/* It serves until the end: a drain can be watched. What it does is not counted as connections. */
static enum rc build_metrics_server(struct app *app) {
    return slice_is_null(app->config->metrics_listen)
               ? RC_OK
               : new_server(app, &api_metrics_handler, METRICS_CONNECTIONS, NULL,
                            &app->metrics_server);
}

static bool close_metrics_server(struct app *app) {
    if (app->metrics_server == NULL) {
        return true;
    }
    http_server_close(app->metrics_server, close_next, app);
    return false;
}

static enum rc build_reload(struct app *app) {
    app->reload = (struct reload){
        .env = app->hooks.env,
        .log = app->log,
        .accounts = app->stores.accounts,
        .bearer = app->bearer,
        .provider = &app->provider,
        .server = app->server,
    };
    reload_init(&app->reload, app->config);
    return RC_OK;
}

/* The provider's calls may have its texts until the end. */
static bool close_reload(struct app *app) {
    app->reload.config = NULL;
    return true;
}

/* As the client writes it: where any port was asked for, the one that it became. */
static void log_listening(struct app *app, const char *event, struct slice address, int port) {
    char at[ADDRESS_UNIX_PATH_MAX + 16];
    struct buf text;
    buf_init_fixed(&text, at, sizeof at);
    if (port != 0) {
        while (address.len > 0 && address.at[address.len - 1] != ':') {
            address.len--;
        }
        buf_append(&text, address);
        buf_append_u64(&text, (uint64_t)port);
    } else {
        buf_append(&text, address);
    }
    LOG(app->log, LOG_INFO, event, SLICE_NULL, log_text("address", buf_slice(&text)),
        log_text("version", slice_str(LATCHKEY_VERSION)), log_int("pid", getpid()));
}

/* A worker's sockets are made by its parent; whichever it has is what was configured then. */
static enum rc listen_at(struct app *app, struct http_server *server, size_t i, int *port) {
    const struct config *config = app->config;
    const struct worker *worker = app->hooks.worker;
    bool is_metrics = i == config->listen.count;
    size_t wanted = config->listen.count + (slice_is_null(config->metrics_listen) ? 0 : 1);
    struct slice address = is_metrics ? config->metrics_listen : config->listen.at[i];
    char problem[STREAM_PROBLEM_BYTES];
    enum rc rc;
    if (worker == NULL) {
        rc = http_server_listen(server, address, port, problem);
    } else if (worker->sockets == wanted) {
        rc = http_server_listen_bound(server, WORKER_SOCKETS_FD + (int)i, port, problem);
    } else {
        return fail(app, RC_USAGE, "there are more or fewer addresses than at the start of all");
    }
    return rc == RC_OK ? RC_OK
                       : fail(app, rc, "%s: %s",
                              is_metrics ? "LATCHKEY_METRICS_LISTEN" : "LATCHKEY_LISTEN", problem);
}

static enum rc build_listeners(struct app *app) {
    const struct config_list *addresses = &app->config->listen;
    for (size_t i = 0; i < addresses->count; i++) {
        enum rc rc = listen_at(app, app->server, i, &app->ports[i]);
        if (rc != RC_OK) {
            return rc;
        }
    }
    for (size_t i = 0; i < addresses->count; i++) {
        log_listening(app, "listening", addresses->at[i], app->ports[i]);
    }
    return RC_OK;
}

static enum rc build_metrics_listener(struct app *app) {
    if (app->metrics_server == NULL) {
        return RC_OK;
    }
    enum rc rc = listen_at(app, app->metrics_server, app->config->listen.count, &app->metrics_port);
    if (rc == RC_OK) {
        log_listening(app, "metrics_listening", app->config->metrics_listen, app->metrics_port);
    }
    return rc;
}

/* `close` says whether it is done; otherwise close_next is called when it is. NULL: nothing to do.
 */
static const struct {
    const char *name;
    enum rc (*build)(struct app *app);
    bool (*close)(struct app *app);
} steps[] = {
    {"wake", build_wake, close_wake},
    {"signals", NULL, close_signals}, /* so that half of them are closed too */
    {"signals", build_signals, NULL},
    {"link", build_link, close_link},
    {"delay", build_delay, close_delay},
    {"random", build_random, close_random},
    {"work", build_work, close_work},
    {"upstream", build_upstream, close_upstream},
    {"stores", NULL, close_stores}, /* as the signals */
    {"stores", build_stores, NULL},
    {"signatures", build_signatures, close_signatures},
    {"keys", build_keys, close_keys},
    {"bearer", build_bearer, close_bearer},
    {"docs", build_docs, close_docs},
    {"api", build_api, close_api},
    {"metrics", build_metrics_server, close_metrics_server},
    {"server", build_server, close_server},
    {"metrics", build_metrics_listener, NULL},
    {"tls", build_tls, NULL},
    {"reload", build_reload, close_reload},
    {"listeners", build_listeners, NULL},
};

static void close_next(void *owner) {
    struct app *app = owner;
    while (app->built > 0) {
        bool (*close_step)(struct app * app) = steps[--app->built].close;
        if (close_step != NULL && !close_step(app)) {
            return;
        }
    }
}

static enum rc build_all(struct app *app) {
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        enum rc rc = steps[i].build != NULL ? steps[i].build(app) : RC_OK;
        if (rc != RC_OK) {
            LOG(app->log, LOG_ERROR, "start_failed", SLICE_NULL,
                log_text("step", slice_str(steps[i].name)),
                log_text("cause", slice_str(app->problem)));
            return rc;
        }
        app->built = i + 1;
    }
    return RC_OK;
}

static void settle_process(struct app *app) {
    size_t wanted = (size_t)app->config->connections_max +
                    (size_t)app->config->upstream_connections_max + FILES_BESIDES;
    process_harden();
    size_t files = process_raise_files(wanted);
    if (files < wanted) {
        LOG(app->log, LOG_WARNING, "open_files_limit", SLICE_NULL, log_int("limit", (int64_t)files),
            log_int("wanted", (int64_t)wanted));
    }
}

/* Runs the loop to its end, which must leave nothing open in it. */
static int end(struct app *app) {
    loop_run(&app->loop);
    int code = loop_fini(&app->loop) == RC_OK ? 0 : 1;
    if (code != 0) {
        LOG(app->log, LOG_ERROR, "loop_not_empty", SLICE_NULL,
            log_text("cause", SLICE("a handle of the event loop was left open")));
    } else {
        LOG(app->log, LOG_INFO, "stopped", SLICE_NULL, log_int("code", code));
    }
    log_free(app->log);
    reload_fini(&app->reload);
    mem_free(app);
    return code;
}

enum rc app_start(struct app **out, const struct config *config, const struct clock *clock,
                  const struct app_hooks *hooks) {
    struct app *app = mem_calloc(1, sizeof *app);
    *out = NULL;
    app->config = config;
    app->clock = clock;
    app->hooks = *hooks;
    app->metrics = hooks->worker != NULL ? worker_metrics(hooks->worker) : &app->own_metrics;
    app->log = log_new(hooks->log_fd, config->log_level, clock, app->metrics);
    if (app->log == NULL) {
        mem_free(app);
        return RC_IO;
    }
    if (hooks->worker != NULL) {
        log_share(app->log, hooks->worker->number);
    }
    if (loop_init(&app->loop, clock) != RC_OK) {
        LOG(app->log, LOG_ERROR, "start_failed", SLICE_NULL, log_text("step", SLICE("loop")));
        log_free(app->log);
        mem_free(app);
        return RC_IO;
    }
    app->loop.metrics = app->metrics;
    metrics_set(app->metrics, METRIC_PROCESS_START, clock_wall_ms(clock) / 1000);
    if (hooks->owns_process) {
        settle_process(app);
    }
    notes_log(hooks->notes, app->log);
    enum rc rc = build_all(app);
    if (rc != RC_OK) {
        close_next(app);
        end(app);
        return rc;
    }
    metrics_set(app->metrics, METRIC_WORKERS, 1);
    *out = app;
    return RC_OK;
}

int app_run(struct app *app) {
    return end(app);
}

int app_port(const struct app *app, size_t index) {
    return index < LIMIT_LISTENERS ? app->ports[index] : 0;
}

int app_metrics_port(const struct app *app) {
    return app->metrics_port;
}

const struct metrics *app_metrics(const struct app *app) {
    return app->metrics;
}

void app_flush_log(struct app *app) {
    log_flush(app->log);
}
