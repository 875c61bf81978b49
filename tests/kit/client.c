// SPDX-License-Identifier: MIT
#include "kit/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "kit/client_tls.h"

enum { READ_BYTES = 64 * 1024 };

static int tls_port; /* 0: none */

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool open_socket(struct client *client, const struct sockaddr *address, socklen_t length) {
    *client = (struct client){.fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&client->got, CLIENT_ANSWER_MAX);
    client->closed = client->fd < 0 || connect(client->fd, address, length) != 0;
    int one = 1; /* parts are sent as parts, at once; a unix socket does so anyway */
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return !client->closed;
}

void client_over_tls(int port) {
    tls_port = port;
}

static bool connect_plain(struct client *client, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return open_socket(client, (const struct sockaddr *)&address, sizeof address);
}

bool client_connect_unix(struct client *client, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return open_socket(client, (const struct sockaddr *)&address, sizeof address);
}

void client_fini(struct client *client) {
    client_tls_free(client->tls);
    client->tls = NULL;
    if (client->fd >= 0) {
        close(client->fd);
        client->fd = -1;
    }
    buf_fini(&client->got);
}

/* True when ready; false after the deadline. */
static bool wait_for(const struct client *client, short events, int64_t deadline_ms) {
    for (;;) {
        struct pollfd poller = {.fd = client->fd, .events = events};
        int64_t left_ms = deadline_ms - now_ms();
        int n = poll(&poller, 1, left_ms > 0 ? (int)left_ms : 0);
        if (n != -1 || errno != EINTR) {
            return n == 1;
        }
    }
}

static bool send_raw(struct client *client, struct slice bytes) {
    int64_t deadline_ms = now_ms() + CLIENT_TIMEOUT_MS;
    while (bytes.len > 0) {
        if (!wait_for(client, POLLOUT, deadline_ms)) {
            return false;
        }
        ssize_t n = send(client->fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        bytes = slice_from(bytes, n > 0 ? (size_t)n : 0);
    }
    return true;
}

bool client_send(struct client *client, struct slice bytes) {
    return client->tls != NULL ? client_tls_send(client->tls, bytes) : send_raw(client, bytes);
}

bool client_send_some(struct client *client, struct slice bytes, size_t *sent, int ms) {
    struct slice rest = slice_from(bytes, *sent);
    if (!wait_for(client, POLLOUT, now_ms() + ms)) {
        return false;
    }
    ssize_t n = send(client->fd, rest.at, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    *sent += n > 0 ? (size_t)n : 0;
    return n > 0 || errno == EAGAIN;
}

void client_shutdown(struct client *client) {
    if (client->tls != NULL) {
        client_tls_end(client->tls);
    }
    shutdown(client->fd, SHUT_WR);
}

void client_reset(struct client *client) {
    struct linger now = {.l_onoff = 1};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(client->fd);
    client->fd = -1;
    client->closed = true;
}

static bool take_records(struct client *client, const char *bytes, size_t n) {
    char records[READ_BYTES];
    memcpy(records, bytes, n);
    enum tls_state state = client_tls_receive(client->tls, slice_make(records, n), &client->got);
    client->was_ended |= state == TLS_ENDED;
    return state != TLS_BROKEN;
}

/* Appends what comes next. False at the end, or after the deadline. */
static bool read_more(struct client *client, int64_t deadline_ms) {
    if (client->closed) {
        return false;
    }
    if (!wait_for(client, POLLIN, deadline_ms)) {
        client->timed_out = true;
        return false;
    }
    char *at = buf_reserve(&client->got, READ_BYTES);
    ssize_t n = at != NULL ? read(client->fd, at, READ_BYTES) : -1;
    if (n > 0 && client->tls != NULL) {
        return take_records(client, at, (size_t)n);
    }
    if (n > 0) {
        client->got.len += (size_t)n;
        return true;
    }
    client->was_reset = n < 0 && errno == ECONNRESET;
    client->closed = true;
    return false;
}

bool client_connect_tls(struct client *client, int port) {
    int64_t deadline_ms = now_ms() + CLIENT_TIMEOUT_MS;
    if (!connect_plain(client, port)) {
        return false;
    }
    client->tls = client_tls_new(client, send_raw);
    while (!client_tls_is_open(client->tls)) {
        if (!read_more(client, deadline_ms)) {
            return false;
        }
    }
    return true;
}

bool client_connect(struct client *client, int port) {
    return tls_port != 0 && port == tls_port ? client_connect_tls(client, port)
                                             : connect_plain(client, port);
}

/* ---------------------------------------------------------------------------------- responses */

static struct slice next_line(struct slice *rest) {
    const char *end = rest->len > 0 ? memmem(rest->at, rest->len, "\r\n", 2) : NULL;
    size_t n = end != NULL ? (size_t)(end - rest->at) : rest->len;
    struct slice line = slice_head(*rest, n);
    *rest = slice_from(*rest, n + 2);
    return line;
}

static struct slice find_header(struct slice head, const char *name, size_t *count) {
    struct slice found = SLICE_NULL;
    struct slice rest = head;
    *count = 0;
    next_line(&rest);
    while (rest.len > 0) {
        struct slice line = next_line(&rest);
        size_t colon = slice_find(line, ':');
        if (slice_ieq(slice_head(line, colon), slice_str(name)) && (*count)++ == 0) {
            found = slice_trim(slice_from(line, colon + 1));
        }
    }
    return found;
}

struct slice client_header(const struct client_response *response, const char *name) {
    size_t count;
    return find_header(response->head, name, &count);
}

size_t client_header_count(const struct client_response *response, const char *name) {
    size_t count;
    find_header(response->head, name, &count);
    return count;
}

enum { UNTIL_CLOSE = -1, NOT_YET = -2 };

/* The length of the chunked body that `bytes` start with, or NOT_YET. */
static int64_t chunked_length(struct slice bytes) {
    struct slice rest = bytes;
    for (;;) {
        if (memmem(rest.at, rest.len, "\r\n", 2) == NULL) {
            return NOT_YET;
        }
        size_t size = strtoul(rest.at, NULL, 16);
        next_line(&rest);
        if (rest.len < size + 2) {
            return NOT_YET;
        }
        rest = slice_from(rest, size + 2);
        if (size == 0) {
            return rest.at - bytes.at;
        }
    }
}

static int status_of(struct slice head) {
    bool good = head.len >= 12 && slice_starts(head, SLICE("HTTP/1.")) && head.at[8] == ' ';
    uint64_t status = 0;
    return good && slice_to_u64(slice_make(head.at + 9, 3), 999, &status) ? (int)status : 0;
}

/* What follows the head, as far as it has come. */
static int64_t body_length(struct slice head, struct slice rest, const char *method) {
    size_t count;
    uint64_t length;
    int status = status_of(head);
    if (strcmp(method, "HEAD") == 0 || status / 100 == 1 || status == 204 || status == 304) {
        return 0;
    }
    if (slice_ieq(find_header(head, "transfer-encoding", &count), SLICE("chunked"))) {
        return chunked_length(rest);
    }
    struct slice declared = find_header(head, "content-length", &count);
    return slice_to_u64(declared, CLIENT_ANSWER_MAX, &length) ? (int64_t)length : UNTIL_CLOSE;
}

static void take(struct client *client, struct client_response *response, size_t head,
                 size_t body) {
    size_t n = head + 4 + body;
    buf_append(&response->bytes, slice_make(client->got.at, n));
    client->got.len -= n;
    memmove(client->got.at, client->got.at + n, client->got.len);
    response->head = slice_make(response->bytes.at, head);
    response->body = slice_make(response->bytes.at + head + 4, body);
    response->status = status_of(response->head);
}

/* True when a whole response was there. */
static bool take_whole(struct client *client, const char *method,
                       struct client_response *response) {
    struct slice got = buf_slice(&client->got);
    const char *end = got.len > 0 ? memmem(got.at, got.len, "\r\n\r\n", 4) : NULL;
    if (end == NULL) {
        return false;
    }
    size_t head = (size_t)(end - got.at);
    struct slice rest = slice_from(got, head + 4);
    int64_t body = body_length(slice_head(got, head), rest, method);
    if (body == UNTIL_CLOSE && client->closed) {
        body = (int64_t)rest.len;
    }
    if (body < 0 || (size_t)body > rest.len) {
        return false;
    }
    take(client, response, head, (size_t)body);
    return true;
}

bool client_read(struct client *client, const char *method, struct client_response *response) {
    int64_t deadline_ms = now_ms() + CLIENT_TIMEOUT_MS;
    *response = (struct client_response){0};
    buf_init(&response->bytes, CLIENT_ANSWER_MAX);
    while (!take_whole(client, method, response)) {
        if (!read_more(client, deadline_ms) &&
            (!client->closed || !take_whole(client, method, response))) {
            return false;
        }
    }
    return response->status != 0;
}

void client_response_fini(struct client_response *response) {
    buf_fini(&response->bytes);
    *response = (struct client_response){0};
}

int client_ask(int port, const char *method, struct slice bytes, struct client_response *response) {
    struct client client;
    *response = (struct client_response){0};
    bool good = client_connect(&client, port) && client_send(&client, bytes) &&
                client_read(&client, method, response);
    client_fini(&client);
    return good ? response->status : 0;
}

bool client_is_closed(struct client *client) {
    int64_t deadline_ms = now_ms() + CLIENT_TIMEOUT_MS;
    while (client->got.len == 0 && read_more(client, deadline_ms)) {
    }
    return client->got.len == 0 && client->closed;
}

bool client_is_silent(struct client *client, int ms) {
    return client->got.len == 0 && !read_more(client, now_ms() + ms) && !client->closed;
}
