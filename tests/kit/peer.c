// SPDX-License-Identifier: MIT
#include "kit/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

enum { REQUEST_MAX = 64 * 1024, CONNECTIONS_MAX = 512, TRICKLE_MS = 10 };

struct connection {
    struct peer *peer;
    int fd;
    pthread_t thread;
    size_t len; /* of `bytes`, one or more requests */
    bool will_drop;
    char bytes[REQUEST_MAX + 1];
};

struct peer {
    int listener;
    int port;
    int stop[2]; /* a pipe: readable for everyone when it ends */
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest */
    size_t accepts, open, requests, hellos, body_bytes;
    struct connection *connections[CONNECTIONS_MAX];
};

static void count(struct peer *peer, size_t *what, size_t n) {
    pthread_mutex_lock(&peer->lock);
    *what += n;
    pthread_mutex_unlock(&peer->lock);
}

static size_t read_count(struct peer *peer, const size_t *what) {
    pthread_mutex_lock(&peer->lock);
    size_t n = *what;
    pthread_mutex_unlock(&peer->lock);
    return n;
}

/* Waits for `events`; false when the peer ends, or after `wait_ms`. */
static bool wait_for(struct connection *c, short events, int wait_ms) {
    struct pollfd fds[] = {{c->fd, events, 0}, {c->peer->stop[0], POLLIN, 0}};
    while (poll(fds, 2, wait_ms) < 0 && errno == EINTR) {
    }
    return fds[1].revents == 0 && fds[0].revents != 0;
}

static bool send_all(struct connection *c, struct slice bytes) {
    while (bytes.len > 0) {
        if (!wait_for(c, POLLOUT, -1)) {
            return false;
        }
        ssize_t n = send(c->fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            return false;
        }
        bytes = slice_from(bytes, (size_t)n);
    }
    return true;
}

static bool send_text(struct connection *c, const char *text) {
    return send_all(c, slice_str(text));
}

/* True where more has come. */
static bool receive(struct connection *c) {
    if (c->len == REQUEST_MAX || !wait_for(c, POLLIN, -1)) {
        return false;
    }
    ssize_t n = recv(c->fd, c->bytes + c->len, REQUEST_MAX - c->len, 0);
    if (n <= 0) {
        return false;
    }
    if (c->len == 0) {
        count(c->peer, &c->peer->hellos, 1);
    }
    c->len += (size_t)n;
    c->bytes[c->len] = '\0';
    return true;
}

static size_t request_bytes(const struct connection *c) {
    const char *end = strstr(c->bytes, "\r\n\r\n");
    if (c->len == 0 || end == NULL) {
        return 0;
    }
    size_t bytes = (size_t)(end + 4 - c->bytes);
    const char *length = strcasestr(c->bytes, "\r\nContent-Length:");
    if (length != NULL && length < end) {
        bytes += strtoul(length + 17, NULL, 10);
    }
    return bytes <= c->len ? bytes : 0;
}

static void reset(struct connection *c) {
    struct linger linger = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static bool answer(struct connection *c, const char *more, struct slice body) {
    char head[512];
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", more,
                     body.len);
    return send_all(c, slice_make(head, (size_t)n)) && send_all(c, body);
}

static void flood(struct connection *c, const char *head, const char *piece, int pause_ms) {
    if (!send_text(c, head)) {
        return;
    }
    while (send_text(c, piece)) {
        count(c->peer, &c->peer->body_bytes, strlen(piece));
        if (pause_ms > 0 && wait_for(c, POLLIN, pause_ms)) {
            return;
        }
    }
}

#define HEAD_OPEN "HTTP/1.1 200 OK\r\n\r\n"
#define PIECE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* What ends the connection. True: it was that. */
static bool misbehave(struct connection *c, struct slice path) {
    if (slice_eq(path, SLICE("/silent"))) {
        c->len = 0;
        while (receive(c)) {
            c->len = 0;
        }
    } else if (slice_eq(path, SLICE("/reset"))) {
        reset(c);
    } else if (slice_eq(path, SLICE("/rest-reset"))) {
        answer(c, "", SLICE("hello"));
        reset(c);
    } else if (slice_eq(path, SLICE("/half"))) {
        send_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    } else if (slice_eq(path, SLICE("/half-chunk"))) {
        send_text(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    } else if (slice_eq(path, SLICE("/garbage"))) {
        send_text(c, "this is no HTTP\r\n\r\nat all\n");
    } else if (slice_eq(path, SLICE("/endless"))) {
        flood(c, HEAD_OPEN, PIECE PIECE PIECE PIECE PIECE PIECE PIECE PIECE, 0);
    } else if (slice_eq(path, SLICE("/endless-head"))) {
        flood(c, "HTTP/1.1 200 OK\r\n", "X-More: " PIECE "\r\n", 0);
    } else if (slice_eq(path, SLICE("/declared"))) {
        send_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        wait_for(c, POLLIN, -1);
    } else if (slice_eq(path, SLICE("/trickle"))) {
        flood(c, HEAD_OPEN, ".", TRICKLE_MS);
    } else if (slice_eq(path, SLICE("/bye"))) {
        answer(c, "Connection: close\r\n", SLICE("bye"));
    } else {
        return slice_eq(path, SLICE("/drop"));
    }
    return true;
}

static bool answer_header(struct connection *c, struct slice header) {
    char line[256];
    int n = snprintf(line, sizeof line, "%.*s\r\n", SLICE_ARGS(header));
    for (int i = 0; i < n; i++) {
        line[i] = line[i] == '_' ? ' ' : line[i];
    }
    return answer(c, line, SLICE("hello"));
}

static bool answer_status(struct connection *c, struct slice status) {
    char head[128];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %.*s Whatever\r\nContent-Length: 0\r\n\r\n",
                     SLICE_ARGS(status));
    return send_all(c, slice_make(head, (size_t)n));
}

/* False: the connection is over. */
static bool behave(struct connection *c, struct slice path, struct slice request) {
    if (c->will_drop || misbehave(c, path)) {
        return false;
    }
    c->will_drop = slice_eq(path, SLICE("/second-drops"));
    if (slice_eq(path, SLICE("/echo"))) {
        return answer(c, "", request);
    }
    if (slice_starts(path, SLICE("/status/"))) {
        return answer_status(c, slice_from(path, 8));
    }
    if (slice_starts(path, SLICE("/header/"))) {
        return answer_header(c, slice_from(path, 8));
    }
    if (slice_eq(path, SLICE("/redirect"))) {
        return send_text(c, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    }
    if (slice_eq(path, SLICE("/interim"))) {
        return send_text(c, "HTTP/1.1 103 Early Hints\r\nRetry-After: 7\r\n\r\n") &&
               answer(c, "", SLICE("hello"));
    }
    return answer(c, "", SLICE("hello"));
}

static void *serve(void *arg) {
    struct connection *c = arg;
    bool goes_on = true;
    while (goes_on) {
        size_t bytes = request_bytes(c);
        if (bytes == 0) {
            goes_on = receive(c);
            continue;
        }
        struct slice request = slice_make(c->bytes, bytes);
        struct slice rest = request;
        struct slice method;
        struct slice path;
        slice_split(&rest, ' ', &method);
        slice_split(&rest, ' ', &path);
        count(c->peer, &c->peer->requests, 1);
        goes_on = behave(c, path, request);
        if (goes_on) {
            c->len -= bytes;
            memmove(c->bytes, c->bytes + bytes, c->len + 1);
        }
    }
    pthread_mutex_lock(&c->peer->lock);
    close(c->fd);
    c->fd = -1;
    c->peer->open--;
    pthread_mutex_unlock(&c->peer->lock);
    return NULL;
}

static void *accept_all(void *arg) {
    struct peer *peer = arg;
    struct connection self = {.peer = peer, .fd = peer->listener};
    while (wait_for(&self, POLLIN, -1)) {
        int fd = accept(peer->listener, NULL, NULL);
        if (fd < 0 || peer->accepts == CONNECTIONS_MAX) {
            continue;
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = mem_calloc(1, sizeof *c);
        c->peer = peer;
        c->fd = fd;
        pthread_mutex_lock(&peer->lock);
        peer->connections[peer->accepts++] = c;
        peer->open++;
        pthread_create(&c->thread, NULL, serve, c);
        pthread_mutex_unlock(&peer->lock);
    }
    return NULL;
}

struct peer *peer_new(void) {
    struct peer *peer = mem_calloc(1, sizeof *peer);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (pipe(peer->stop) != 0 || bind(peer->listener, (struct sockaddr *)&address, bytes) != 0 ||
        listen(peer->listener, CONNECTIONS_MAX) != 0 ||
        getsockname(peer->listener, (struct sockaddr *)&address, &bytes) != 0) {
        mem_free(peer);
        return NULL;
    }
    peer->port = ntohs(address.sin_port);
    pthread_mutex_init(&peer->lock, NULL);
    pthread_create(&peer->thread, NULL, accept_all, peer);
    return peer;
}

void peer_free(struct peer *peer) {
    if (write(peer->stop[1], "x", 1) != 1) {
        abort();
    }
    pthread_join(peer->thread, NULL);
    for (size_t i = 0; i < peer->accepts; i++) {
        pthread_join(peer->connections[i]->thread, NULL);
        mem_free(peer->connections[i]);
    }
    close(peer->listener);
    close(peer->stop[0]);
    close(peer->stop[1]);
    pthread_mutex_destroy(&peer->lock);
    mem_free(peer);
}

int peer_port(const struct peer *peer) {
    return peer->port;
}

size_t peer_accepts(struct peer *peer) {
    return read_count(peer, &peer->accepts);
}

size_t peer_open(struct peer *peer) {
    return read_count(peer, &peer->open);
}

size_t peer_requests(struct peer *peer) {
    return read_count(peer, &peer->requests);
}

size_t peer_hellos(struct peer *peer) {
    return read_count(peer, &peer->hellos);
}

size_t peer_body_bytes(struct peer *peer) {
    return read_count(peer, &peer->body_bytes);
}
