// SPDX-License-Identifier: MIT
#include "provider/simprovider.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/rng.h"
#include "http/server.h"
#include "provider/sim_authorize.h"
#include "provider/sim_books.h"
#include "provider/sim_delivery.h"

enum {
    CONNECTIONS_MAX = 10000,
    TIMEOUT_MS = 30 * 1000,
    IDLE_MS = 75 * 1000,
    ACCESS_TTL_S = 3600,
    LIBRARY_SIZE = 137,
    CONSENT_ARENA_BYTES = 64 * 1024,
};

struct simprovider {
    struct sim sim; /* under `lock` */
    pthread_mutex_t lock;
    pthread_cond_t counted;
    struct clock clock; /* where the opts give none */
    struct metrics metrics;
    int port;

    /* the loop's thread only */
    struct loop *loop;
    struct http_server *server;
    struct sim_delivery delivery;
    uv_async_t wake; /* for other threads' wishes, which are these two */
    bool wants_release;
    bool wants_stop;
    bool is_closing;
    bool server_closed;
    bool wake_closed;
    void (*closed)(void *owner);
    void *owner;

    /* of simprovider_spawn */
    bool has_thread;
    bool is_clean;
    pthread_t thread;
    struct loop own_loop;
};

static const char headers[] = "X-Content-Type-Options: nosniff\r\n"
                              "Referrer-Policy: no-referrer\r\n"
                              "X-Frame-Options: DENY\r\n"
                              "Cache-Control: no-store\r\n";

/* ----------------------------------------------------------------------------- requests */

static void report(void *owner, enum simprovider_counter counter) {
    struct simprovider *sim = owner;
    pthread_mutex_lock(&sim->lock);
    sim_count(&sim->sim, counter);
    pthread_cond_broadcast(&sim->counted);
    pthread_mutex_unlock(&sim->lock);
}

static void on_head(void *owner, struct http_request *request) {
    (void)owner;
    http_read_body(request);
}

static void on_body(void *owner, struct http_request *request) {
    struct simprovider *sim = owner;
    struct sim_fault fault;
    struct sim_answer answer = {.status = 500};
    buf_init(&answer.body, SIM_ANSWER_BYTES);
    buf_init(&answer.headers, LIMIT_HEAD_BYTES);
    buf_init(&answer.csp, LIMIT_URI_BYTES);
    struct sim_call call = {
        .sim = &sim->sim,
        .answer = &answer,
        .method = request->method,
        .path = request->path,
        .query = request->query,
        .host = http_header(request, HTTP_HEADER_HOST),
        .body = request->body,
        .authorization = http_header(request, HTTP_HEADER_AUTHORIZATION),
        .content_type = http_header(request, HTTP_HEADER_CONTENT_TYPE),
        .arena = request->arena,
    };
    pthread_mutex_lock(&sim->lock);
    call.now_ms = clock_wall_ms(sim->sim.clock);
    sim_arrived(&call);
    bool is_faulty = sim_faults_take(&sim->sim.faults, request->path, &fault);
    if (!is_faulty || !sim_fault_refuses(&fault)) {
        sim_serve(&call);
    }
    if (is_faulty) {
        sim_count(&sim->sim, SIMPROVIDER_FAULTS);
        sim_fault_spoil(&fault, &answer);
    }
    pthread_cond_broadcast(&sim->counted);
    pthread_mutex_unlock(&sim->lock);
    sim_delivery_send(&sim->delivery, request, &answer, is_faulty ? &fault : NULL);
}

static struct slice error_body(void *owner, int status) {
    (void)owner;
    (void)status;
    return SLICE("{\"error\":\"invalid_request\"}");
}

static const struct http_handler handler = {on_head, on_body, error_body};

/* -------------------------------------------------------------------------- coming and going */

static const char *or_default(const char *value, const char *preset) {
    return value != NULL && value[0] != '\0' ? value : preset;
}

static bool is_set(const char *value) {
    return value != NULL && value[0] != '\0';
}

static bool take_redirect_uris(struct sim *sim, const char *text, char *problem) {
    struct slice rest = slice_str(text);
    struct slice uri;
    while (slice_split(&rest, ',', &uri)) {
        uri = slice_trim(uri);
        if (sim->redirect_uri_count == SIM_REDIRECT_URIS_MAX || uri.len > LIMIT_URI_BYTES ||
            !(slice_starts(uri, SLICE("http://")) || slice_starts(uri, SLICE("https://")))) {
            snprintf(problem, SIMPROVIDER_PROBLEM_BYTES,
                     "redirect URIs are at most %d http:// or https:// URIs with commas between",
                     SIM_REDIRECT_URIS_MAX);
            return false;
        }
        sim->redirect_uris[sim->redirect_uri_count++] = mem_strdup(uri);
    }
    return true;
}

/* What the platform's page may do: its own files, and calls to Latchkey. */
static void write_page_csp(struct sim *sim) {
    buf_init(&sim->page_csp, LIMIT_URI_BYTES);
    BUF_LIT(&sim->page_csp, "default-src 'none'; script-src 'self'; style-src 'self'; "
                            "img-src 'self'; base-uri 'none'; form-action 'none'; "
                            "frame-ancestors 'none'; connect-src 'self' ");
    buf_append(&sim->page_csp, slice_str(sim->latchkey_url));
}

static bool set_up(struct simprovider *sim, const struct simprovider_opts *opts, char *problem) {
    struct sim *state = &sim->sim;
    state->client_id = mem_strdup(slice_str(or_default(opts->client_id, "sim-client")));
    state->client_secret = secret_copy(slice_str(or_default(opts->client_secret, "sim-secret")));
    state->latchkey_url =
        mem_strdup(slice_str(or_default(opts->latchkey_url, "http://127.0.0.1:8090")));
    state->user_id =
        mem_strdup(slice_str(or_default(opts->user_id, "amzn1.account.SAMPLELISTENER")));
    state->issuer = is_set(opts->issuer) ? mem_strdup(slice_str(opts->issuer)) : NULL;
    state->library_size = opts->library_size > 0 ? opts->library_size : LIBRARY_SIZE;
    state->clock = opts->clock != NULL ? opts->clock : &sim->clock;
    write_page_csp(state);
    int64_t ttl_s = opts->access_ttl_s > 0 ? opts->access_ttl_s : ACCESS_TTL_S;
    enum rc rc = hash_init();
    if (rc == RC_OK) {
        rc = sim_grants_init(&state->grants, ttl_s * 1000, opts->reuse_grace_s * 1000);
    }
    if (rc == RC_OK && is_set(opts->platform_secret)) {
        state->platform.alg = HASH_HS256;
        state->platform.hmac = hash_hmac_key_new(HASH_HS256, slice_str(opts->platform_secret));
        rc = state->platform.hmac != NULL ? RC_OK : RC_CRYPTO;
    }
    if (rc != RC_OK) {
        snprintf(problem, SIMPROVIDER_PROBLEM_BYTES, "%s", rc_text(rc));
        return false;
    }
    return take_redirect_uris(
        state,
        or_default(opts->redirect_uris, "http://127.0.0.1:8090/api/v1/user/audible/oauth/callback"),
        problem);
}

static void sim_free(struct simprovider *sim) {
    struct sim *state = &sim->sim;
    sim_faults_clear(&state->faults);
    sim_grants_fini(&state->grants);
    secret_free(&state->client_secret);
    secret_free(&state->revoked);
    hash_hmac_key_free(state->platform.hmac);
    for (size_t i = 0; i < state->redirect_uri_count; i++) {
        mem_free(state->redirect_uris[i]);
    }
    mem_free(state->client_id);
    mem_free(state->latchkey_url);
    mem_free(state->user_id);
    mem_free(state->issuer);
    mem_free(state->url);
    buf_fini(&state->page_csp);
    pthread_cond_destroy(&sim->counted);
    pthread_mutex_destroy(&sim->lock);
    mem_free(sim);
}

/* NULL with a problem. */
static struct simprovider *sim_new(const struct simprovider_opts *opts, char *problem) {
    struct simprovider *sim = mem_calloc(1, sizeof *sim);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sim->counted, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&sim->lock, NULL);
    if (!set_up(sim, opts, problem)) {
        sim_free(sim);
        return NULL;
    }
    return sim;
}

static void finish_when_idle(void *owner) {
    struct simprovider *sim = owner;
    if (!sim->server_closed || !sim->wake_closed || sim->delivery.open > 0) {
        return;
    }
    void (*closed)(void *) = sim->closed;
    void *closed_owner = sim->owner;
    if (!sim->has_thread) {
        sim_free(sim);
    }
    if (closed != NULL) {
        closed(closed_owner);
    }
}

static void on_server_closed(void *owner) {
    struct simprovider *sim = owner;
    sim->server_closed = true;
    finish_when_idle(sim);
}

static void on_wake_closed(uv_handle_t *handle) {
    struct simprovider *sim = handle->data;
    sim->wake_closed = true;
    finish_when_idle(sim);
}

void simprovider_close(struct simprovider *sim, void (*closed)(void *owner), void *owner) {
    if (sim->is_closing) {
        return;
    }
    sim->is_closing = true;
    sim->closed = closed;
    sim->owner = owner;
    sim_delivery_release(&sim->delivery, true);
    uv_close((uv_handle_t *)&sim->wake, on_wake_closed);
    http_server_close(sim->server, on_server_closed, sim);
}

static void on_wake(uv_async_t *wake) {
    struct simprovider *sim = wake->data;
    pthread_mutex_lock(&sim->lock);
    bool release = sim->wants_release;
    bool stop = sim->wants_stop;
    sim->wants_release = false;
    pthread_mutex_unlock(&sim->lock);
    if (release) {
        sim_delivery_release(&sim->delivery, false);
    }
    if (stop) {
        simprovider_close(sim, NULL, NULL);
    }
}

/* "http://<host>:<port>"; a wildcard is reached by its loopback. */
static char *url_of(struct slice listen, int port) {
    struct slice host = listen;
    char text[LIMIT_URI_BYTES];
    while (host.len > 0 && host.at[host.len - 1] != ':') {
        host.len--;
    }
    host.len -= host.len > 0;
    if (host.len == 0 || slice_eq(host, SLICE("0.0.0.0"))) {
        host = SLICE("127.0.0.1");
    }
    snprintf(text, sizeof text, "http://%.*s:%d", SLICE_ARGS(host), port);
    return mem_strdup(slice_str(text));
}

static uint64_t random_number(void) {
    uint64_t number = 0;
    rng_system(&number, sizeof number);
    return number;
}

static bool start_on(struct simprovider *sim, struct loop *loop, const char *listen,
                     char *problem) {
    struct slice address = slice_str(or_default(listen, "127.0.0.1:0"));
    const struct http_server_opts opts = {
        .handler = &handler,
        .owner = sim,
        .connections_max = CONNECTIONS_MAX,
        .head_timeout_ms = TIMEOUT_MS,
        .idle_timeout_ms = IDLE_MS,
        .write_timeout_ms = TIMEOUT_MS,
        .body_max = LIMIT_BODY_BYTES,
        .headers = slice_make(headers, sizeof headers - 1),
        .csp = SLICE("default-src 'none'; frame-ancestors 'none'"),
        .metrics = &sim->metrics,
        .id_prefix = random_number(),
    };
    sim->loop = loop;
    sim_delivery_init(&sim->delivery, loop, sim);
    sim->delivery.report = report;
    sim->delivery.idle = finish_when_idle;
    sim->server = http_server_new(loop, &opts);
    uv_async_init(&loop->uv, &sim->wake, on_wake);
    sim->wake.data = sim;
    bool good = http_server_listen(sim->server, address, &sim->port, problem) == RC_OK;
    sim->sim.url = url_of(address, sim->port);
    return good;
}

struct simprovider *simprovider_start(struct loop *loop, const struct simprovider_opts *opts,
                                      char problem[SIMPROVIDER_PROBLEM_BYTES]) {
    struct simprovider *sim = sim_new(opts, problem);
    if (sim != NULL && !start_on(sim, loop, opts->listen, problem)) {
        simprovider_close(sim, NULL, NULL); /* its memory goes when the loop runs on */
        return NULL;
    }
    return sim;
}

/* --------------------------------------------------------------------------- on a thread */

struct spawn {
    struct simprovider *sim;
    const char *listen;
    char *problem;
    bool is_done;
    bool is_good;
};

static void *run(void *argument) {
    struct spawn *spawn = argument;
    struct simprovider *sim = spawn->sim;
    bool has_loop = loop_init(&sim->own_loop, sim->sim.clock) == RC_OK;
    bool good = has_loop && start_on(sim, &sim->own_loop, spawn->listen, spawn->problem);
    if (has_loop && !good) {
        simprovider_close(sim, NULL, NULL);
    }
    pthread_mutex_lock(&sim->lock);
    spawn->is_good = good;
    spawn->is_done = true; /* and `spawn` is gone */
    pthread_cond_broadcast(&sim->counted);
    pthread_mutex_unlock(&sim->lock);
    if (has_loop) {
        loop_run(&sim->own_loop);
        sim->is_clean = loop_fini(&sim->own_loop) == RC_OK;
    }
    return NULL;
}

struct simprovider *simprovider_spawn(const struct simprovider_opts *opts,
                                      char problem[SIMPROVIDER_PROBLEM_BYTES]) {
    struct simprovider *sim = sim_new(opts, problem);
    if (sim == NULL) {
        return NULL;
    }
    struct spawn spawn = {.sim = sim, .listen = opts->listen, .problem = problem};
    sim->has_thread = true;
    snprintf(problem, SIMPROVIDER_PROBLEM_BYTES, "no thread or no loop to be had");
    if (pthread_create(&sim->thread, NULL, run, &spawn) != 0) {
        sim_free(sim);
        return NULL;
    }
    pthread_mutex_lock(&sim->lock);
    while (!spawn.is_done) {
        pthread_cond_wait(&sim->counted, &sim->lock);
    }
    pthread_mutex_unlock(&sim->lock);
    if (!spawn.is_good) {
        pthread_join(sim->thread, NULL);
        sim_free(sim);
        return NULL;
    }
    return sim;
}

bool simprovider_join(struct simprovider *sim) {
    pthread_mutex_lock(&sim->lock);
    sim->wants_stop = true;
    uv_async_send(&sim->wake);
    pthread_mutex_unlock(&sim->lock);
    pthread_join(sim->thread, NULL);
    bool is_clean = sim->is_clean;
    sim_free(sim);
    return is_clean;
}

/* ------------------------------------------------------------------------ from any thread */

int simprovider_port(const struct simprovider *sim) {
    return sim->port;
}

const char *simprovider_url(const struct simprovider *sim) {
    return sim->sim.url;
}

bool simprovider_consent(struct simprovider *sim, struct slice auth_url, bool allow,
                         struct simprovider_return *out) {
    struct arena arena;
    arena_init(&arena, CONSENT_ARENA_BYTES);
    pthread_mutex_lock(&sim->lock);
    struct sim_call call = {
        .sim = &sim->sim, .arena = &arena, .now_ms = clock_wall_ms(sim->sim.clock)};
    struct slice query = slice_from(auth_url, slice_find(auth_url, '?') + 1);
    bool good = sim_authorize_consent(&call, query, allow, out);
    pthread_cond_broadcast(&sim->counted);
    pthread_mutex_unlock(&sim->lock);
    arena_fini(&arena);
    return good;
}

bool simprovider_fault(struct simprovider *sim, const struct simprovider_fault *fault) {
    pthread_mutex_lock(&sim->lock);
    bool good = sim_faults_add(&sim->sim.faults, fault);
    pthread_mutex_unlock(&sim->lock);
    return good;
}

void simprovider_faults_clear(struct simprovider *sim) {
    pthread_mutex_lock(&sim->lock);
    sim_faults_clear(&sim->sim.faults);
    pthread_mutex_unlock(&sim->lock);
}

void simprovider_release(struct simprovider *sim) {
    pthread_mutex_lock(&sim->lock);
    sim->wants_release = true;
    uv_async_send(&sim->wake);
    pthread_mutex_unlock(&sim->lock);
}

int64_t simprovider_count(struct simprovider *sim, enum simprovider_counter counter) {
    pthread_mutex_lock(&sim->lock);
    int64_t n = sim->sim.counters[counter];
    pthread_mutex_unlock(&sim->lock);
    return n;
}

bool simprovider_wait(struct simprovider *sim, enum simprovider_counter counter, int64_t n,
                      int64_t timeout_ms) {
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&sim->lock);
    while (sim->sim.counters[counter] < n && error != ETIMEDOUT) {
        error = pthread_cond_timedwait(&sim->counted, &sim->lock, &until);
    }
    bool reached = sim->sim.counters[counter] >= n;
    pthread_mutex_unlock(&sim->lock);
    return reached;
}

bool simprovider_revoked(struct simprovider *sim, char out[LIMIT_TOKEN_BYTES + 1]) {
    pthread_mutex_lock(&sim->lock);
    struct slice token = secret_slice(&sim->sim.revoked);
    if (token.len > 0) {
        memcpy(out, token.at, token.len);
    }
    out[token.len] = '\0';
    pthread_mutex_unlock(&sim->lock);
    return !slice_is_null(token);
}

bool simprovider_is_live(struct simprovider *sim, struct slice token) {
    pthread_mutex_lock(&sim->lock);
    bool live = sim_grants_is_live(&sim->sim.grants, token, clock_wall_ms(sim->sim.clock));
    pthread_mutex_unlock(&sim->lock);
    return live;
}

void simprovider_reset(struct simprovider *sim) {
    pthread_mutex_lock(&sim->lock);
    sim_reset(&sim->sim);
    pthread_mutex_unlock(&sim->lock);
}
