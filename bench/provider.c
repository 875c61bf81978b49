// SPDX-License-Identifier: MIT
/* A provider for benchmarks: every answer is right in form, made beforehand, and given at once. It
 * checks nothing, so that what is measured is whoever asks.
 *
 * usage: bench_provider [--port N] [--books N] [--slow-percent N] [--slow-ms N]
 * `--books`: of everyone's library, 200 where it isn't given. `--slow-percent`: of its answers,
 * evenly spread, come `--slow-ms` (500) late. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/loop.h"

enum { PAGE_MAX = 100, BODY_MAX = 1024 * 1024, TOKEN_BYTES = 360 };

struct provider {
    struct loop loop;
    struct http_server *server;
    uv_signal_t signals[2];
    uint64_t books;
    uint64_t slow_percent;
    uint64_t slow_ms;
    uint64_t asked;
    struct buf token;
    struct buf details;
    struct buf pages[PAGE_MAX + 1];    /* by the number of books */
    struct buf searches[PAGE_MAX + 1]; /* the same */
};

static void write_book(struct jsonw *w, uint64_t number) {
    char asin[16];
    snprintf(asin, sizeof asin, "B0%08u", (unsigned)(number % 100000000));
    jsonw_open(w, '{');
    jsonw_member(w, "asin", slice_str(asin));
    jsonw_member(w, "title", SLICE("The Wayward Lighthouse, and Other Stories of the Coast"));
    jsonw_member(w, "author_name", SLICE("Marguerite Ashdown"));
    jsonw_name(w, "narrators");
    jsonw_open(w, '[');
    jsonw_open(w, '{');
    jsonw_member(w, "name", SLICE("Jonathan Pell"));
    jsonw_close(w, '}');
    jsonw_close(w, ']');
    jsonw_name(w, "product_images");
    jsonw_open(w, '{');
    jsonw_member(w, "500", SLICE("https://images.example/51abcdefghi._SL500_.jpg"));
    jsonw_close(w, '}');
    jsonw_member(w, "product_desc",
                 SLICE("A keeper, a storm, and a ship that comes back every seventh year. Twelve "
                       "stories about those who wait, told by one of them. \"Read it with the "
                       "light on\", says the author, and means it."));
    jsonw_name(w, "runtime_length_ms");
    jsonw_i64(w, 36120000);
    jsonw_name(w, "rating");
    jsonw_i64(w, 4);
    jsonw_close(w, '}');
}

static void make_page(struct buf *out, size_t books) {
    struct jsonw w;
    buf_init(out, BODY_MAX);
    w = jsonw_start(out);
    jsonw_open(&w, '{');
    jsonw_name(&w, "items");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < books; i++) {
        jsonw_open(&w, '{');
        jsonw_name(&w, "product");
        write_book(&w, i);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
}

static void make_search(struct buf *out, size_t books) {
    struct jsonw w;
    buf_init(out, BODY_MAX);
    w = jsonw_start(out);
    jsonw_open(&w, '{');
    jsonw_name(&w, "products");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < books; i++) {
        write_book(&w, i);
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
}

static void make_details(struct buf *out) {
    struct jsonw w;
    buf_init(out, BODY_MAX);
    w = jsonw_start(out);
    jsonw_open(&w, '{');
    jsonw_name(&w, "product");
    write_book(&w, 1);
    jsonw_close(&w, '}');
}

static void make_token(struct buf *out) {
    struct jsonw w;
    char text[TOKEN_BYTES];
    memset(text, 'a', sizeof text);
    buf_init(out, BODY_MAX);
    w = jsonw_start(out);
    jsonw_open(&w, '{');
    jsonw_member(&w, "access_token", slice_make(text, sizeof text));
    memset(text, 'r', sizeof text);
    jsonw_member(&w, "refresh_token", slice_make(text, sizeof text));
    jsonw_member(&w, "token_type", SLICE("Bearer"));
    jsonw_name(&w, "expires_in");
    jsonw_i64(&w, 3600);
    jsonw_member(&w, "user_id", SLICE("amzn1.account.BENCHMARKLISTENER"));
    jsonw_close(&w, '}');
}

static void make_answers(struct provider *provider) {
    make_token(&provider->token);
    make_details(&provider->details);
    for (size_t i = 0; i <= PAGE_MAX; i++) {
        make_page(&provider->pages[i], i);
        make_search(&provider->searches[i], i);
    }
}

static void free_answers(struct provider *provider) {
    buf_fini(&provider->token);
    buf_fini(&provider->details);
    for (size_t i = 0; i <= PAGE_MAX; i++) {
        buf_fini(&provider->pages[i]);
        buf_fini(&provider->searches[i]);
    }
}

static uint64_t number(const struct http_request *request, const char *name, uint64_t preset) {
    uint64_t value = preset;
    slice_to_u64(http_query(request, name, NULL), UINT32_MAX, &value);
    return value;
}

static const struct buf *library_page(const struct provider *provider,
                                      const struct http_request *request) {
    uint64_t offset = number(request, "offset", 0);
    uint64_t limit = number(request, "limit", PAGE_MAX);
    uint64_t left = offset < provider->books ? provider->books - offset : 0;
    limit = limit < PAGE_MAX ? limit : PAGE_MAX;
    return &provider->pages[left < limit ? left : limit];
}

static const struct buf *answer_of(const struct provider *provider,
                                   const struct http_request *request) {
    if (slice_eq(request->path, SLICE("/auth/oauth2/token"))) {
        return &provider->token;
    }
    if (slice_eq(request->path, SLICE("/api/1.0/library"))) {
        return library_page(provider, request);
    }
    if (slice_eq(request->path, SLICE("/api/1.0/catalog/search"))) {
        uint64_t count = number(request, "num_results", PAGE_MAX);
        return &provider->searches[count < PAGE_MAX ? count : PAGE_MAX];
    }
    return &provider->details;
}

static void on_head(void *owner, struct http_request *request) {
    (void)owner;
    http_read_body(request);
}

static void reply(struct http_request *request, const struct buf *body) {
    http_reply(request, &(struct http_reply){.status = 200,
                                             .content_type = SLICE("application/json"),
                                             .body = buf_slice(body)});
}

/* An answer that comes late. */
struct late {
    struct loop_timer timer;
    struct http_request *request;
    const struct buf *body;
};

static void free_late(struct loop_timer *timer) {
    mem_free(timer);
}

static void on_late(struct loop_timer *timer) {
    struct late *late = (struct late *)timer;
    reply(late->request, late->body);
    loop_timer_close(timer, free_late);
}

static void on_body(void *owner, struct http_request *request) {
    struct provider *provider = owner;
    const struct buf *body = answer_of(provider, request);
    uint64_t before = provider->asked * provider->slow_percent / 100;
    provider->asked++;
    if (provider->asked * provider->slow_percent / 100 == before) {
        reply(request, body);
        return;
    }
    struct late *late = mem_calloc(1, sizeof *late);
    late->request = request;
    late->body = body;
    loop_timer_init(&provider->loop, &late->timer);
    loop_timer_start(&late->timer, (int64_t)provider->slow_ms, 0, on_late);
}

static struct slice error_body(void *owner, int status) {
    (void)owner;
    (void)status;
    return SLICE("{\"error\":\"invalid_request\"}");
}

static const struct http_handler handler = {on_head, on_body, error_body};

static void on_closed(void *owner) {
    (void)owner;
}

static void on_signal(uv_signal_t *signal, int received) {
    struct provider *provider = signal->data;
    (void)received;
    for (size_t i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&provider->signals[i], NULL);
    }
    http_server_close(provider->server, on_closed, NULL);
}

static void watch_signals(struct provider *provider) {
    static const int numbers[2] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&provider->loop.uv, &provider->signals[i]);
        provider->signals[i].data = provider;
        uv_signal_start_oneshot(&provider->signals[i], on_signal, numbers[i]);
    }
}

static bool serve(struct provider *provider, uint64_t port) {
    static const struct clock clock;
    char address[64];
    char problem[STREAM_PROBLEM_BYTES];
    int bound;
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
    if (loop_init(&provider->loop, &clock) != RC_OK) {
        return false;
    }
    provider->server =
        http_server_new(&provider->loop, &(const struct http_server_opts){
                                             .handler = &handler,
                                             .owner = provider,
                                             .connections_max = 10000,
                                             .head_timeout_ms = 60 * 1000,
                                             .idle_timeout_ms = 60 * 60 * 1000,
                                             .write_timeout_ms = LIMIT_WRITE_TIMEOUT_MS,
                                             .body_max = LIMIT_BODY_BYTES,
                                         });
    if (http_server_listen(provider->server, slice_str(address), &bound, problem) != RC_OK) {
        fprintf(stderr, "bench_provider: %s\n", problem);
        http_server_close(provider->server, on_closed, NULL);
        loop_run(&provider->loop);
        loop_fini(&provider->loop);
        return false;
    }
    watch_signals(provider);
    loop_run(&provider->loop);
    return loop_fini(&provider->loop) == RC_OK;
}

static bool read_options(int argc, char **argv, struct provider *provider, uint64_t *port) {
    const struct {
        const char *name;
        uint64_t *value;
    } options[] = {{"--port", port},
                   {"--books", &provider->books},
                   {"--slow-percent", &provider->slow_percent},
                   {"--slow-ms", &provider->slow_ms}};
    for (int i = 1; i < argc; i += 2) {
        uint64_t *value = NULL;
        for (size_t k = 0; k < sizeof options / sizeof options[0]; k++) {
            value = strcmp(argv[i], options[k].name) == 0 ? options[k].value : value;
        }
        if (value == NULL || i + 1 == argc ||
            !slice_to_u64(slice_str(argv[i + 1]), UINT32_MAX, value)) {
            return false;
        }
    }
    return *port <= UINT16_MAX && provider->slow_percent <= 100;
}

int main(int argc, char **argv) {
    static struct provider provider = {.books = 200, .slow_ms = 500};
    uint64_t port = 9400;
    if (!read_options(argc, argv, &provider, &port)) {
        fprintf(stderr, "usage: bench_provider [--port N] [--books N] [--slow-percent N] "
                        "[--slow-ms N]\n");
        return 2;
    }
    make_answers(&provider);
    bool good = serve(&provider, port);
    free_answers(&provider);
    return good ? 0 : 1;
}
