// SPDX-License-Identifier: MIT
/* A load at a fixed rate: request k is due at the start plus k intervals, whatever has become of
 * those before it, and its latency counts from then. A server that stands still for a second shows
 * as latencies of up to a second, not as fewer requests (coordinated omission).
 *
 * usage: bench_steady --port N --rate N [--seconds N] [--connections N] [--method M] [--path P]
 *                     [--body B] [--headers FILE]
 * FILE has a header line for each user, "Authorization: Bearer ...": every request bears the next.
 * Prints JSON: how many were answered below 400, with something else, and never; latencies in µs;
 * and the histogram, [upper µs, count] each. It spins, so that it is on time: give it a processor
 * of its own. */
#include <llhttp.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
    READ_BYTES = 64 * 1024,
    CONNECTIONS_MAX = 20000,
    REQUESTS_MAX = 1000000,
    HEADER_BYTES_MAX = 8192,
    GRACE_S = 30,
    SUB_BITS = 6, /* buckets of a power of two: 64, so within 1.6 % */
    BUCKETS = 64 << SUB_BITS,
};
#define NS 1000000000ull

struct options {
    uint64_t port, rate, seconds, connections;
    const char *method, *path, *body, *headers;
};

struct connection {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    llhttp_t parser;
    struct steady *steady;
    struct connection *next_free;
    uint64_t number; /* of the request that is under way */
};

struct steady {
    uv_loop_t loop;
    llhttp_settings_t settings;
    struct options options;
    uv_buf_t *requests;
    size_t request_count;
    struct connection *connections;
    struct connection *free;
    uint64_t connected, start_ns, interval_ns, wanted, sent, answered, good, bad, worst_ns;
    uint64_t *histogram;
    char read_buffer[READ_BYTES];
};

static void *make(size_t count, size_t bytes) {
    void *at = calloc(count, bytes);
    if (at == NULL) {
        abort();
    }
    return at;
}

static void die(const char *what) {
    fprintf(stderr, "bench_steady: %s\n", what);
    exit(1);
}

/* --- latencies: log-linear buckets ------------------------------------------------------------ */

static size_t bucket_of(uint64_t ns) {
    if (ns < (1u << SUB_BITS)) {
        return (size_t)ns;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    return ((size_t)(shift + 1) << SUB_BITS) + (size_t)((ns >> shift) & ((1u << SUB_BITS) - 1));
}

static double upper_us(size_t bucket) {
    uint64_t low = bucket & ((1u << SUB_BITS) - 1);
    uint64_t power = bucket >> SUB_BITS;
    uint64_t ns = power == 0 ? low : ((low | (1u << SUB_BITS)) + 1) << (power - 1);
    return (double)ns / 1000.0;
}

static double percentile_us(const struct steady *steady, double share) {
    uint64_t wanted = (uint64_t)(share * (double)steady->answered);
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += steady->histogram[i];
        if (seen > wanted) {
            return upper_us(i);
        }
    }
    return (double)steady->worst_ns / 1000.0;
}

/* --- requests --------------------------------------------------------------------------------- */

static void add_request(struct steady *steady, const char *header) {
    const struct options *options = &steady->options;
    size_t body = strlen(options->body);
    size_t room = 512 + strlen(options->path) + strlen(header) + body;
    char length[96] = "";
    char *text = make(1, room);
    if (body > 0) {
        snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 body);
    }
    int n = snprintf(text, room, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%llu\r\n%s%s%s\r\n%s",
                     options->method, options->path, (unsigned long long)options->port, header,
                     *header ? "\r\n" : "", length, options->body);
    steady->requests[steady->request_count++] = uv_buf_init(text, (unsigned)n);
}

static void read_headers(struct steady *steady) {
    char line[HEADER_BYTES_MAX];
    FILE *file = steady->options.headers != NULL ? fopen(steady->options.headers, "re") : NULL;
    while (file != NULL && steady->request_count < REQUESTS_MAX &&
           fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        add_request(steady, line);
    }
    if (file != NULL) {
        fclose(file);
    }
    if (steady->options.headers == NULL) {
        add_request(steady, "");
    }
    if (steady->request_count == 0) {
        die("no headers");
    }
}

/* --- connections ------------------------------------------------------------------------------ */

static int on_message_complete(llhttp_t *parser) {
    struct connection *connection = parser->data;
    struct steady *steady = connection->steady;
    uint64_t due_ns = steady->start_ns + connection->number * steady->interval_ns;
    uint64_t taken_ns = uv_hrtime() - due_ns;
    size_t bucket = bucket_of(taken_ns);
    steady->histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    steady->worst_ns = taken_ns > steady->worst_ns ? taken_ns : steady->worst_ns;
    steady->answered++;
    *(parser->status_code < 400 ? &steady->good : &steady->bad) += 1;
    connection->next_free = steady->free;
    steady->free = connection;
    return 0;
}

static int on_span(llhttp_t *parser, const char *at, size_t n) {
    (void)parser;
    (void)at;
    (void)n;
    return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    struct connection *connection = handle->data;
    (void)suggested;
    *out = uv_buf_init(connection->steady->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct connection *connection = stream->data;
    if (n < 0 || (n > 0 && llhttp_execute(&connection->parser, buf->base, (size_t)n) != HPE_OK)) {
        die("a connection broke");
    }
}

static void on_connected(uv_connect_t *connect, int status) {
    struct connection *connection = connect->data;
    struct steady *steady = connection->steady;
    if (status != 0) {
        die("can't connect");
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
    connection->next_free = steady->free;
    steady->free = connection;
    steady->connected++;
}

static void connect_all(struct steady *steady) {
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", (int)steady->options.port, &address);
    for (uint64_t i = 0; i < steady->options.connections; i++) {
        struct connection *connection = &steady->connections[i];
        connection->steady = steady;
        connection->connect.data = connection;
        llhttp_init(&connection->parser, HTTP_RESPONSE, &steady->settings);
        connection->parser.data = connection;
        uv_tcp_init(&steady->loop, &connection->tcp);
        connection->tcp.data = connection;
        uv_tcp_connect(&connection->connect, &connection->tcp, (struct sockaddr *)&address,
                       on_connected);
    }
    while (steady->connected < steady->options.connections) {
        uv_run(&steady->loop, UV_RUN_ONCE);
    }
}

/* --- the load --------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status) {
    (void)write;
    if (status != 0) {
        die("a connection broke");
    }
}

static void send_next(struct steady *steady) {
    struct connection *connection = steady->free;
    uv_buf_t *request = &steady->requests[steady->sent % steady->request_count];
    steady->free = connection->next_free;
    connection->number = steady->sent++;
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    int taken = uv_try_write(stream, request, 1);
    if (taken == (int)request->len) {
        return;
    }
    size_t from = taken > 0 ? (size_t)taken : 0;
    uv_buf_t rest = uv_buf_init(request->base + from, (unsigned)(request->len - from));
    uv_write(&connection->write, stream, &rest, 1, on_written);
}

static void run(struct steady *steady) {
    steady->wanted = steady->options.rate * steady->options.seconds;
    steady->interval_ns = NS / steady->options.rate;
    steady->start_ns = uv_hrtime();
    uint64_t end_ns = steady->start_ns + (steady->options.seconds + GRACE_S) * NS;
    while (steady->answered < steady->wanted && uv_hrtime() < end_ns) {
        uint64_t due = (uv_hrtime() - steady->start_ns) / steady->interval_ns + 1;
        due = due < steady->wanted ? due : steady->wanted;
        while (steady->sent < due && steady->free != NULL) {
            send_next(steady);
        }
        uv_run(&steady->loop, UV_RUN_NOWAIT);
    }
}

static void report(const struct steady *steady) {
    const char *comma = "";
    printf("{\"good\":%llu,\"bad\":%llu,\"unanswered\":%llu", (unsigned long long)steady->good,
           (unsigned long long)steady->bad,
           (unsigned long long)(steady->wanted - steady->answered));
    static const struct {
        const char *name;
        double share;
    } shown[] = {{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}, {"p999_us", 0.999}};
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        printf(",\"%s\":%.1f", shown[i].name, percentile_us(steady, shown[i].share));
    }
    printf(",\"max_us\":%.1f,\"histogram\":[", (double)steady->worst_ns / 1000.0);
    for (size_t i = 0; i < BUCKETS; i++) {
        if (steady->histogram[i] > 0) {
            printf("%s[%.1f,%llu]", comma, upper_us(i), (unsigned long long)steady->histogram[i]);
            comma = ",";
        }
    }
    printf("]}\n");
}

/* --- the command line ------------------------------------------------------------------------- */

static bool read_number(const char *text, uint64_t max, uint64_t *out) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return *text != '\0' && *end == '\0' && value > 0 && value <= max;
}

static bool read_options(int argc, char **argv, struct options *out) {
    bool good = argc % 2 == 1;
    for (int i = 1; good && i + 1 < argc; i += 2) {
        const char *name = argv[i];
        const char *value = argv[i + 1];
        if (strcmp(name, "--port") == 0) {
            good = read_number(value, 65535, &out->port);
        } else if (strcmp(name, "--rate") == 0) {
            good = read_number(value, 10000000, &out->rate);
        } else if (strcmp(name, "--seconds") == 0) {
            good = read_number(value, 3600, &out->seconds);
        } else if (strcmp(name, "--connections") == 0) {
            good = read_number(value, CONNECTIONS_MAX, &out->connections);
        } else {
            const char **text = strcmp(name, "--method") == 0    ? &out->method
                                : strcmp(name, "--path") == 0    ? &out->path
                                : strcmp(name, "--body") == 0    ? &out->body
                                : strcmp(name, "--headers") == 0 ? &out->headers
                                                                 : NULL;
            good = text != NULL;
            if (good) {
                *text = value;
            }
        }
    }
    return good && out->port > 0 && out->rate > 0;
}

int main(int argc, char **argv) {
    struct steady *steady = make(1, sizeof *steady);
    steady->options = (struct options){
        .seconds = 5, .connections = 64, .method = "GET", .path = "/healthz", .body = ""};
    if (!read_options(argc, argv, &steady->options)) {
        fprintf(stderr, "usage: bench_steady --port N --rate N [--seconds N] [--connections N] "
                        "[--method M] [--path P] [--body B] [--headers FILE]\n");
        return 2;
    }
    steady->requests = make(REQUESTS_MAX, sizeof *steady->requests);
    steady->connections = make(steady->options.connections, sizeof *steady->connections);
    steady->histogram = make(BUCKETS, sizeof *steady->histogram);
    read_headers(steady);
    uv_loop_init(&steady->loop);
    llhttp_settings_init(&steady->settings);
    steady->settings.on_header_field = on_span;
    steady->settings.on_header_value = on_span;
    steady->settings.on_body = on_span;
    steady->settings.on_message_complete = on_message_complete;
    connect_all(steady);
    run(steady);
    report(steady);
    return steady->bad == 0 && steady->answered == steady->wanted ? 0 : 1;
}
