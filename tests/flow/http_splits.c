// SPDX-License-Identifier: MIT
/* Requests one after another on a connection, cut into pieces at random places and sent with random
 * pauses: the answers are those of each request alone. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "kit/client.h"
#include "kit/httpd.h"
#include "kit/leaks.h"
#include "kit/soak.h"

enum { ROUNDS = 400, TOGETHER_MAX = 5, BYTES_MAX = 64 * 1024, PAUSE_MAX_US = 300 };

#define HOST "Host: a\r\n"
#define CHUNKED "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

struct message {
    const char *method;
    const char *bytes;
    int status;
    const char *body; /* NULL: any */
};

/* The connection stays after these. */
static const struct message stays[] = {
    {"GET", "GET /ok HTTP/1.1\r\n" HOST "\r\n", 200, "{\"status\":\"ok\"}"},
    {"GET", "\r\nGET /later HTTP/1.1\r\n" HOST "\r\n", 200, ""},
    {"HEAD", "HEAD /ok HTTP/1.1\r\n" HOST "\r\n", 200, ""},
    {"GET", "GET /nothing HTTP/1.1\r\n" HOST "\r\n", 204, ""},
    {"GET", "GET /unknown HTTP/1.1\r\n" HOST "X: y\r\nZ:\t z \r\n\r\n", 404, NULL},
    {"GET", "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, NULL},
    {"POST", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 200, "hello"},
    {"POST", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n\r\n\r\n", 200, "\r\n\r\n"},
    {"POST", "POST /echo-later HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nlater", 200, "later"},
    {"POST", CHUNKED "1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n", 200, "a0123456789"},
    {"POST", CHUNKED "3;x=\"y\"\r\nabc\r\n0\r\nTrailer: t\r\n\r\n", 200, "abc"},
    {"POST", CHUNKED "0\r\n\r\n", 200, ""},
};
/* It closes after these. */
static const struct message ends[] = {
    {"GET", "GET /close HTTP/1.1\r\n" HOST "\r\n", 200, ""},
    {"GET", "GET /ok HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200, NULL},
    {"GET", "GET /ok HTTP/1.0\r\n\r\n", 200, NULL},
    {"GET", "GET /ok HTTP/1.1\r\n\r\n", 400, NULL},
    {"GET", "GET /ok HTTP/1.1\r\n" HOST HOST "\r\n", 400, NULL},
    {"GET", "GET /ok HTTP/1.1\n" HOST "\r\n", 400, NULL},
    {"GET", "GET /ok HTTP/1.1\r\n" HOST "a : b\r\n\r\n", 400, NULL},
    {"GET", "GET /ok HTTP/1.1\r\n" HOST "a: b\r\n c\r\n\r\n", 400, NULL},
    {"GET", "GET /ok HTTP/3.0\r\n" HOST "\r\n", 505, NULL},
    {"GET", "GET /ok\r\n\r\n", 400, NULL},
    {"POST", CHUNKED "g\r\n", 400, NULL},
    {"POST", CHUNKED "1\r\nab\r\n", 400, NULL},
    {"POST", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413, NULL},
    {"POST",
     "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     NULL},
    {"POST", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501, NULL},
};
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

struct round {
    int number;
    unsigned seed;
    const struct message *messages[TOGETHER_MAX];
    size_t count;
    bool closes;
    struct buf bytes;
};

static size_t draw(struct round *round, size_t below) {
    return (size_t)rand_r(&round->seed) % below;
}

static void add(struct round *round, const struct message *message) {
    round->messages[round->count++] = message;
    buf_append(&round->bytes, slice_str(message->bytes));
}

static void make_round(struct round *round, int number) {
    *round = (struct round){.number = number, .seed = (unsigned)number + 1};
    buf_init(&round->bytes, BYTES_MAX);
    size_t staying = draw(round, TOGETHER_MAX);
    round->closes = staying == 0 || draw(round, 2) == 0;
    for (size_t i = 0; i < staying; i++) {
        add(round, &stays[draw(round, COUNT(stays))]);
    }
    if (round->closes) {
        add(round, &ends[draw(round, COUNT(ends))]);
    }
}

/* A server that refuses may not take the rest. */
static void send_in_pieces(struct round *round, struct client *client) {
    struct slice rest = buf_slice(&round->bytes);
    size_t piece_max = 1 + draw(round, 40);
    while (rest.len > 0) {
        size_t n = 1 + draw(round, piece_max);
        if (!client_send(client, slice_head(rest, n < rest.len ? n : rest.len))) {
            return;
        }
        rest = slice_from(rest, n);
        if (draw(round, 4) == 0) {
            nanosleep(&(struct timespec){.tv_nsec = (long)draw(round, PAUSE_MAX_US) * 1000}, NULL);
        }
    }
}

static void expect_answers(const struct round *round, struct client *client) {
    for (size_t i = 0; i < round->count; i++) {
        const struct message *message = round->messages[i];
        struct client_response got;
        cr_assert(client_read(client, message->method, &got), "round %d: no answer to %s",
                  round->number, message->bytes);
        cr_assert_eq(got.status, message->status, "round %d: %d to %s", round->number, got.status,
                     message->bytes);
        cr_assert(message->body == NULL || slice_eq(got.body, slice_str(message->body)),
                  "round %d: \"%.*s\" to %s", round->number, SLICE_ARGS(got.body), message->bytes);
        client_response_fini(&got);
    }
    cr_assert_eq(client->got.len, 0u, "round %d: an answer too many", round->number);
    if (round->closes) {
        cr_assert(client_is_closed(client), "round %d", round->number);
        cr_assert_not(client->was_reset, "round %d", round->number);
    }
}

static void try_round(struct httpd *httpd, int number) {
    struct round round;
    struct client client;
    make_round(&round, number);
    cr_assert(client_connect(&client, httpd_port(httpd)));
    send_in_pieces(&round, &client);
    expect_answers(&round, &client);
    client_fini(&client);
    buf_fini(&round.bytes);
}

Test(http_splits, are_not_seen, .timeout = 3600) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    int rounds = soak_times("TEST_SOAK_SPLITS", ROUNDS);
    for (int i = 0; i < rounds; i++) {
        try_round(httpd, i);
    }
    httpd_stop(httpd);
    CHECK_LEAKS();
}
