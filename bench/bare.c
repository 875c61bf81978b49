// SPDX-License-Identifier: MIT
/* The yardstick: one libuv loop, llhttp, and a constant answer in one write. It checks nothing, has
 * no deadlines and no limits: what a server adds to this is the server's own cost.
 *
 * usage: bench_bare [--port N] [--answer-bytes N]
 * The answer, head included, is as long as the one it is compared with. */
#include <llhttp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { READ_BYTES = 64 * 1024, ANSWER_MAX = 1024 * 1024, BATCH = 64, HEAD_MAX = 128 };

struct bare {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_signal_t signals[2];
    llhttp_settings_t settings;
    uv_buf_t answer;
    char read_buffer[READ_BYTES];
};

struct client {
    uv_tcp_t tcp;
    llhttp_t parser;
    struct bare *bare;
    unsigned due; /* answers to what has been read */
};

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void close_client(struct client *client) {
    if (!uv_is_closing((uv_handle_t *)&client->tcp)) {
        uv_close((uv_handle_t *)&client->tcp, on_closed);
    }
}

static int on_message_complete(llhttp_t *parser) {
    struct client *client = parser->data;
    client->due++;
    return 0;
}

static int on_span(llhttp_t *parser, const char *at, size_t n) {
    (void)parser;
    (void)at;
    (void)n;
    return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    struct client *client = handle->data;
    (void)suggested;
    *out = uv_buf_init(client->bare->read_buffer, READ_BYTES);
}

static void answer(struct client *client) {
    uv_buf_t bufs[BATCH];
    while (client->due > 0) {
        unsigned n = client->due < BATCH ? client->due : BATCH;
        for (unsigned i = 0; i < n; i++) {
            bufs[i] = client->bare->answer;
        }
        int taken = uv_try_write((uv_stream_t *)&client->tcp, bufs, n);
        if (taken < 0 || (size_t)taken != client->bare->answer.len * n) {
            close_client(client); /* a benchmark's client takes what it asked for */
            return;
        }
        client->due -= n;
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct client *client = stream->data;
    if (n == 0) {
        return;
    }
    if (n < 0 || llhttp_execute(&client->parser, buf->base, (size_t)n) != HPE_OK) {
        close_client(client);
        return;
    }
    answer(client);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct bare *bare = listener->data;
    if (status < 0) {
        return;
    }
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        abort();
    }
    client->bare = bare;
    llhttp_init(&client->parser, HTTP_REQUEST, &bare->settings);
    client->parser.data = client;
    uv_tcp_init(&bare->loop, &client->tcp);
    client->tcp.data = client;
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) != 0) {
        close_client(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

static void on_walk(uv_handle_t *handle, void *unused) {
    (void)unused;
    if (!uv_is_closing(handle)) {
        uv_close(handle, handle->type == UV_TCP && handle->data != NULL ? on_closed : NULL);
    }
}

static void on_signal(uv_signal_t *signal, int number) {
    struct bare *bare = signal->data;
    (void)number;
    bare->listener.data = NULL;
    uv_walk(&bare->loop, on_walk, NULL);
}

static int write_head(char out[HEAD_MAX], size_t body_bytes) {
    return snprintf(out, HEAD_MAX,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    "Content-Length: %zu\r\n\r\n",
                    body_bytes);
}

/* `bytes` in all, of which the body, "{   }", takes what the head leaves. */
static uv_buf_t make_answer(size_t bytes) {
    char head[HEAD_MAX];
    size_t body = 2;
    while ((size_t)write_head(head, body) + body < bytes) {
        body++;
    }
    size_t n = (size_t)write_head(head, body);
    char *text = malloc(n + body);
    if (text == NULL) {
        abort();
    }
    memcpy(text, head, n);
    memset(text + n, ' ', body);
    text[n] = '{';
    text[n + body - 1] = '}';
    return uv_buf_init(text, (unsigned)(n + body));
}

static bool parse_size(const char *text, size_t max, size_t *out) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *out = value;
    return *text != '\0' && *end == '\0' && value <= max;
}

static int serve(struct bare *bare, int port) {
    static const int numbers[] = {SIGTERM, SIGINT};
    struct sockaddr_in address;
    uv_loop_init(&bare->loop);
    llhttp_settings_init(&bare->settings);
    bare->settings.on_url = on_span;
    bare->settings.on_header_field = on_span;
    bare->settings.on_header_value = on_span;
    bare->settings.on_message_complete = on_message_complete;
    uv_tcp_init(&bare->loop, &bare->listener);
    bare->listener.data = bare;
    uv_ip4_addr("127.0.0.1", port, &address);
    int error = uv_tcp_bind(&bare->listener, (const struct sockaddr *)&address, 0);
    if (error == 0) {
        error = uv_listen((uv_stream_t *)&bare->listener, 1024, on_connection);
    }
    if (error != 0) {
        fprintf(stderr, "bench_bare: cannot listen on port %d: %s\n", port, uv_strerror(error));
        return 1;
    }
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&bare->loop, &bare->signals[i]);
        bare->signals[i].data = bare;
        uv_signal_start(&bare->signals[i], on_signal, numbers[i]);
    }
    int length = sizeof address;
    uv_tcp_getsockname(&bare->listener, (struct sockaddr *)&address, &length);
    printf("127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    uv_run(&bare->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&bare->loop) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    size_t port = 0;
    size_t bytes = 0;
    bool good = argc % 2 == 1;
    for (int i = 1; good && i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0) {
            good = parse_size(argv[i + 1], 65535, &port);
        } else {
            good = strcmp(argv[i], "--answer-bytes") == 0 &&
                   parse_size(argv[i + 1], ANSWER_MAX, &bytes);
        }
    }
    if (!good) {
        fprintf(stderr, "usage: bench_bare [--port N] [--answer-bytes N]\n");
        return 2;
    }
    struct bare *bare = calloc(1, sizeof *bare);
    if (bare == NULL) {
        abort();
    }
    bare->answer = make_answer(bytes);
    int status = serve(bare, (int)port);
    free(bare->answer.base);
    free(bare);
    return status;
}
