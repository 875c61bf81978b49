// SPDX-License-Identifier: MIT
#include "kit/httpd.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

#include "base/mem.h"
#include "crypto/hash.h"
#include "http/server.h"
#include "io/loop.h"

enum { BIG_MAX = 64 * 1024 * 1024, LONG_HEADERS_BYTES = 60 * 1024, WAIT_MS = 10 * 1000 };
enum command { RELEASE = 1, DRAIN = 2, STOP = 4, REPLACE_TLS = 8 };

struct httpd {
    struct clock clock;
    struct loop loop;
    struct http_server *server;
    struct metrics metrics;
    pthread_t thread;
    uv_async_t async;
    struct list held; /* struct job */
    char *big;
    int port;
    enum rc fini;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    int counts[HTTPD_COUNTS];
    unsigned commands;
    int64_t drain_ms;
    struct tls *next_tls;
};

/* A request that is answered later; in its arena. */
struct job {
    struct loop_task task;
    struct list node;
    struct httpd *httpd;
    struct http_request *request;
    bool is_held;
};

static void count(struct httpd *httpd, enum httpd_count which) {
    pthread_mutex_lock(&httpd->lock);
    httpd->counts[which]++;
    pthread_cond_broadcast(&httpd->changed);
    pthread_mutex_unlock(&httpd->lock);
}

/* ------------------------------------------------------------------------------- the handler */

static void reply(struct httpd *httpd, struct http_request *request,
                  const struct http_reply *answer) {
    count(httpd, HTTPD_ANSWERED);
    http_reply(request, answer);
}

static void reply_text(struct httpd *httpd, struct http_request *request, struct slice body) {
    reply(httpd, request,
          &(struct http_reply){.status = 200, .content_type = SLICE("text/plain"), .body = body});
}

static void reply_ok(struct httpd *httpd, struct http_request *request) {
    reply(httpd, request,
          &(struct http_reply){.status = 200,
                               .content_type = SLICE("application/json"),
                               .body = SLICE("{\"status\":\"ok\"}")});
}

static struct job *make_job(struct httpd *httpd, struct http_request *request) {
    struct job *job = arena_calloc(request->arena, sizeof *job);
    job->httpd = httpd;
    job->request = request;
    request->owner = job;
    return job;
}

static void release_job(struct job *job) {
    list_remove(&job->node);
    job->is_held = false;
    reply_ok(job->httpd, job->request);
}

static void release_all(struct httpd *httpd) {
    while (!list_is_empty(&httpd->held)) {
        release_job(LIST_ENTRY(httpd->held.next, struct job, node));
    }
}

static void on_gone(struct http_request *request) {
    struct job *job = request->owner;
    count(job->httpd, HTTPD_GONE);
    release_job(job);
}

static void hold(struct httpd *httpd, struct http_request *request) {
    struct job *job = make_job(httpd, request);
    job->is_held = true;
    request->gone = on_gone;
    list_append(&httpd->held, &job->node);
    count(httpd, HTTPD_HELD);
}

static void on_later(struct loop_task *task) {
    struct job *job = LIST_ENTRY(task, struct job, task);
    reply_text(job->httpd, job->request, job->request->body);
}

static void on_read_later(struct loop_task *task) {
    http_read_body(LIST_ENTRY(task, struct job, task)->request);
}

static void reply_big(struct httpd *httpd, struct http_request *request) {
    uint64_t n = 0;
    slice_to_u64(request->query, BIG_MAX, &n);
    if (httpd->big == NULL) {
        httpd->big = mem_alloc(BIG_MAX);
        for (size_t i = 0; i < BIG_MAX; i++) {
            httpd->big[i] = (char)('a' + i % 23);
        }
    }
    reply_text(httpd, request, slice_make(httpd->big, (size_t)n));
}

static void reply_long_headers(struct httpd *httpd, struct http_request *request) {
    char *line = arena_alloc(request->arena, LONG_HEADERS_BYTES);
    memset(line, 'x', LONG_HEADERS_BYTES);
    memcpy(line, "X: ", 3);
    memcpy(line + LONG_HEADERS_BYTES - 2, "\r\n", 2);
    reply(httpd, request,
          &(struct http_reply){.status = 200, .headers = slice_make(line, LONG_HEADERS_BYTES)});
}

static void on_path_early(struct httpd *httpd, struct http_request *request) {
    reply(httpd, request,
          &(struct http_reply){.status = 403,
                               .content_type = SLICE("application/json"),
                               .body = SLICE("{\"detail\":\"early\"}")});
}

static void on_path_close(struct httpd *httpd, struct http_request *request) {
    reply(httpd, request, &(struct http_reply){.status = 200, .close = true});
}

static void on_path_nothing(struct httpd *httpd, struct http_request *request) {
    reply(httpd, request, &(struct http_reply){.status = 204});
}

static void on_path_csp(struct httpd *httpd, struct http_request *request) {
    reply(httpd, request, &(struct http_reply){.status = 200, .csp = SLICE("img-src 'self'")});
}

static void on_path_peer(struct httpd *httpd, struct http_request *request) {
    reply_text(httpd, request, request->peer);
}

static void on_path_release(struct httpd *httpd, struct http_request *request) {
    release_all(httpd);
    reply_ok(httpd, request);
}

static void on_path_read(struct httpd *httpd, struct http_request *request) {
    (void)httpd;
    http_read_body(request);
}

static void on_path_read_later(struct httpd *httpd, struct http_request *request) {
    loop_later(&httpd->loop, &make_job(httpd, request)->task, on_read_later);
}

static const struct {
    const char *path;
    void (*answer)(struct httpd *httpd, struct http_request *request);
} paths[] = {
    {"/ok", reply_ok},
    {"/echo", on_path_read},
    {"/later", on_path_read},
    {"/echo-later", on_path_read_later},
    {"/hold", on_path_read},
    {"/release", on_path_release},
    {"/big", reply_big},
    {"/early", on_path_early},
    {"/close", on_path_close},
    {"/nothing", on_path_nothing},
    {"/csp", on_path_csp},
    {"/peer", on_path_peer},
    {"/long-headers", reply_long_headers},
};

static void on_head(void *owner, struct http_request *request) {
    struct httpd *httpd = owner;
    count(httpd, HTTPD_HEADS);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (slice_eq(request->path, slice_str(paths[i].path))) {
            paths[i].answer(httpd, request);
            return;
        }
    }
    reply(httpd, request,
          &(struct http_reply){.status = 404,
                               .content_type = SLICE("application/json"),
                               .body = SLICE("{\"detail\":\"Not Found\"}")});
}

static void on_body(void *owner, struct http_request *request) {
    struct httpd *httpd = owner;
    count(httpd, HTTPD_BODIES);
    if (slice_eq(request->path, SLICE("/hold"))) {
        hold(httpd, request);
    } else if (slice_eq(request->path, SLICE("/echo"))) {
        reply_text(httpd, request, request->body);
    } else {
        loop_later(&httpd->loop, &make_job(httpd, request)->task, on_later);
    }
}

static struct slice error_body(void *owner, int status) {
    (void)owner;
    return status == 500 ? SLICE("{\"detail\":\"internal_error\"}")
                         : SLICE("{\"detail\":\"bad_request\"}");
}

static const struct http_handler handler = {on_head, on_body, error_body};

/* -------------------------------------------------------------------------------- the thread */

static void on_closed(void *owner) {
    struct httpd *httpd = owner;
    uv_close((uv_handle_t *)&httpd->async, NULL);
}

static void on_drained(void *owner) {
    count(owner, HTTPD_DRAINED);
}

static void on_command(uv_async_t *async) {
    struct httpd *httpd = async->data;
    pthread_mutex_lock(&httpd->lock);
    unsigned commands = httpd->commands;
    httpd->commands = 0;
    pthread_mutex_unlock(&httpd->lock);
    if (commands & RELEASE) {
        release_all(httpd);
    }
    if (commands & DRAIN) {
        http_server_drain(httpd->server, httpd->drain_ms, on_drained, httpd);
        count(httpd, HTTPD_DRAINING);
    }
    if (commands & REPLACE_TLS) {
        http_server_use_tls(httpd->server, httpd->next_tls);
    }
    if (commands & STOP) {
        http_server_close(httpd->server, on_closed, httpd);
        release_all(httpd); /* in the turn in which they were cut */
    }
}

static void *run(void *owner) {
    struct httpd *httpd = owner;
    loop_run(&httpd->loop);
    httpd->fini = loop_fini(&httpd->loop);
    return NULL;
}

static void command(struct httpd *httpd, enum command which) {
    pthread_mutex_lock(&httpd->lock);
    httpd->commands |= which;
    pthread_mutex_unlock(&httpd->lock);
    uv_async_send(&httpd->async);
}

static struct tls *make_tls(const struct tls_files *files) {
    struct tls *tls;
    struct tls_report report;
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(tls_new_server(files, &tls, &report), RC_OK, "%s %s", report.cert, report.key);
    return tls;
}

struct httpd *httpd_start(struct httpd_opts opts) {
    struct httpd *httpd = mem_calloc(1, sizeof *httpd);
    char problem[STREAM_PROBLEM_BYTES];
    pthread_mutex_init(&httpd->lock, NULL);
    pthread_cond_init(&httpd->changed, NULL);
    list_init(&httpd->held);
    cr_assert_eq(loop_init(&httpd->loop, &httpd->clock), RC_OK);
    httpd->loop.metrics = &httpd->metrics;
    uv_async_init(&httpd->loop.uv, &httpd->async, on_command);
    httpd->async.data = httpd;
    httpd->server = http_server_new(
        &httpd->loop,
        &(struct http_server_opts){
            .handler = &handler,
            .owner = httpd,
            .connections_max = opts.connections_max,
            .head_timeout_ms = opts.head_timeout_ms,
            .idle_timeout_ms = opts.idle_timeout_ms,
            .write_timeout_ms = opts.write_timeout_ms,
            .body_max = opts.body_max,
            .headers = SLICE("X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"),
            .csp = SLICE("default-src 'none'"),
            .tls_headers = SLICE("Strict-Transport-Security: max-age=31536000\r\n"),
            .handshake_timeout_ms = opts.handshake_timeout_ms,
            .handshakes_max = opts.handshakes_max,
            .metrics = &httpd->metrics,
            .id_prefix = 0xFEDCBA9876543210,
        });
    if (opts.tls != NULL) {
        http_server_use_tls(httpd->server, make_tls(opts.tls));
    }
    struct slice address = slice_str(opts.address != NULL ? opts.address : "127.0.0.1:0");
    cr_assert_eq(http_server_listen(httpd->server, address, &httpd->port, problem), RC_OK, "%s",
                 problem);
    cr_assert_eq(pthread_create(&httpd->thread, NULL, run, httpd), 0);
    return httpd;
}

void httpd_stop(struct httpd *httpd) {
    command(httpd, STOP);
    pthread_join(httpd->thread, NULL);
    cr_assert_eq(httpd->fini, RC_OK, "a handle is still open");
    cr_assert_eq(metrics_get(&httpd->metrics, METRIC_CONNECTIONS), 0);
    pthread_mutex_destroy(&httpd->lock);
    pthread_cond_destroy(&httpd->changed);
    mem_free(httpd->big);
    mem_free(httpd);
}

int httpd_port(const struct httpd *httpd) {
    return httpd->port;
}

void httpd_release(struct httpd *httpd) {
    command(httpd, RELEASE);
}

void httpd_replace_tls(struct httpd *httpd, const struct tls_files *files) {
    httpd->next_tls = make_tls(files);
    command(httpd, REPLACE_TLS);
}

void httpd_drain(struct httpd *httpd, int64_t timeout_ms) {
    httpd->drain_ms = timeout_ms;
    command(httpd, DRAIN);
}

int httpd_get(struct httpd *httpd, enum httpd_count which) {
    pthread_mutex_lock(&httpd->lock);
    int value = httpd->counts[which];
    pthread_mutex_unlock(&httpd->lock);
    return value;
}

static struct timespec deadline_in(int64_t ms) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

bool httpd_wait(struct httpd *httpd, enum httpd_count which, int at_least) {
    struct timespec deadline = deadline_in(WAIT_MS);
    pthread_mutex_lock(&httpd->lock);
    while (httpd->counts[which] < at_least &&
           pthread_cond_timedwait(&httpd->changed, &httpd->lock, &deadline) == 0) {
    }
    bool reached = httpd->counts[which] >= at_least;
    pthread_mutex_unlock(&httpd->lock);
    return reached;
}

int64_t httpd_metric(const struct httpd *httpd, enum metric metric) {
    return metrics_get(&httpd->metrics, metric);
}

bool httpd_wait_metric(struct httpd *httpd, enum metric metric, int64_t value) {
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int ms = 0; ms < WAIT_MS; ms++) {
        if (metrics_get(&httpd->metrics, metric) == value) {
            return true;
        }
        nanosleep(&pause, NULL); /* nothing tells of it: asked again */
    }
    return false;
}
