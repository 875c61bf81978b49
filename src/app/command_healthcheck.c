// SPDX-License-Identifier: MIT
#include "app/command_healthcheck.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/config.h"
#include "base/address.h"
#include "base/clock.h"
#include "crypto/hash.h"
#include "io/tls.h"

enum { DEADLINE_MS = 5000, ANSWER_BYTES_MAX = 4096 };

static const char request_text[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
                                   "User-Agent: latchkey-healthcheck\r\nConnection: close\r\n\r\n";

/* One try with one deadline for all of it. */
struct healthcheck {
    struct clock clock;
    int64_t deadline_ms;
    int fd;
    struct tls *tls;
    struct tls_session *session; /* NULL: in plain */
    bool is_broken;
    char answer[ANSWER_BYTES_MAX + TLS_HELD_BYTES_MAX];
    size_t length;
};

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* A server that listens everywhere is asked on loopback. */
static socklen_t to_sockaddr(const struct address *address, union any_address *out) {
    static const unsigned char anywhere[ADDRESS_BYTES_MAX] = {0};
    *out = (union any_address){0};
    switch (address->kind) {
    case ADDRESS_V4:
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(address->port);
        memcpy(&out->v4.sin_addr, address->bytes, 4);
        if (memcmp(address->bytes, anywhere, 4) == 0) {
            out->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        }
        return sizeof out->v4;
    case ADDRESS_V6:
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(address->port);
        memcpy(&out->v6.sin6_addr, address->bytes, 16);
        if (memcmp(address->bytes, anywhere, 16) == 0) {
            out->v6.sin6_addr = in6addr_loopback;
        }
        return sizeof out->v6;
    case ADDRESS_UNIX:
        out->local.sun_family = AF_UNIX;
        memcpy(out->local.sun_path, address->path.at, address->path.len);
        return sizeof out->local;
    }
    return 0;
}

/* False when the deadline passes first. */
static bool wait_for(const struct healthcheck *check, short events) {
    struct pollfd poll_fd = {.fd = check->fd, .events = events};
    for (;;) {
        int64_t left_ms = check->deadline_ms - clock_mono_ms(&check->clock);
        int n = left_ms > 0 ? poll(&poll_fd, 1, (int)left_ms) : 0;
        if (n >= 0 || errno != EINTR) {
            return n > 0;
        }
    }
}

static bool connect_to(const struct healthcheck *check, const union any_address *address,
                       socklen_t length) {
    int error = 0;
    socklen_t error_length = sizeof error;
    if (connect(check->fd, &address->any, length) == 0) {
        return true;
    }
    return (errno == EINPROGRESS || errno == EAGAIN) && wait_for(check, POLLOUT) &&
           getsockopt(check->fd, SOL_SOCKET, SO_ERROR, &error, &error_length) == 0 && error == 0;
}

static bool send_all(const struct healthcheck *check, struct slice left) {
    while (left.len > 0) {
        ssize_t n = send(check->fd, left.at, left.len, MSG_NOSIGNAL);
        if (n > 0) {
            left = slice_from(left, (size_t)n);
        } else if (errno != EAGAIN || !wait_for(check, POLLOUT)) {
            return false;
        }
    }
    return true;
}

/* More of the answer; false at its end, or at the deadline. */
static bool receive(struct healthcheck *check) {
    char bytes[ANSWER_BYTES_MAX];
    size_t n = 0;
    if (!wait_for(check, POLLIN)) {
        return false;
    }
    ssize_t got = recv(check->fd, bytes, sizeof bytes - check->length, 0);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    char *end = check->answer + check->length;
    if (check->session == NULL) {
        memcpy(end, bytes, (size_t)got);
        n = (size_t)got;
    } else if (tls_session_receive(check->session, slice_make(bytes, (size_t)got), end,
                                   sizeof check->answer - check->length, &n) == TLS_BROKEN) {
        return false;
    }
    check->length += n;
    return !check->is_broken;
}

static void on_records(void *owner, struct slice records) {
    struct healthcheck *check = owner;
    check->is_broken = check->is_broken || !send_all(check, records);
}

/* Whoever it is: what is asked is one's own address, and nothing secret is said. A certificate that
 * was made for another name, or that has just been renewed, makes no server sick. */
static bool shake(struct healthcheck *check) {
    check->tls = hash_init() == RC_OK ? tls_new_client() : NULL;
    check->session = check->tls != NULL ? tls_session_new(check->tls, on_records, check) : NULL;
    if (check->session == NULL) {
        return false;
    }
    tls_session_start(check->session);
    while (!check->is_broken && !tls_session_is_open(check->session)) {
        if (!receive(check)) {
            return false;
        }
    }
    return !check->is_broken;
}

static bool send_request(struct healthcheck *check) {
    struct slice request = slice_make(request_text, sizeof request_text - 1);
    return check->session != NULL ? tls_session_write(check->session, request) && !check->is_broken
                                  : send_all(check, request);
}

/* The status line is enough. */
static bool is_answered_200(struct healthcheck *check) {
    static const struct slice wanted = {"HTTP/1.1 200 ", sizeof "HTTP/1.1 200 " - 1};
    while (check->length < wanted.len) {
        if (!receive(check)) {
            return false;
        }
    }
    return slice_starts(slice_make(check->answer, check->length), wanted);
}

static int ask(const struct address *address, bool over_tls) {
    struct healthcheck check = {0};
    union any_address to;
    socklen_t length = to_sockaddr(address, &to);
    check.deadline_ms = clock_mono_ms(&check.clock) + DEADLINE_MS;
    check.fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const char *problem = NULL;
    if (check.fd < 0 || !connect_to(&check, &to, length)) {
        problem = "the server can't be reached";
    } else if (over_tls && !shake(&check)) {
        problem = "the server does not speak TLS";
    } else if (!send_request(&check) || !is_answered_200(&check)) {
        problem = "the server did not answer 200 within 5 s";
    }
    tls_session_free(check.session);
    tls_release(check.tls);
    if (check.fd >= 0) {
        close(check.fd);
    }
    if (problem != NULL) {
        fprintf(stderr, "latchkey healthcheck: %s\n", problem);
        return COMMAND_FAILED;
    }
    return COMMAND_GOOD;
}

int command_healthcheck_run(const struct command_line *line) {
    struct config *config;
    struct address address;
    char problem[ADDRESS_PROBLEM_BYTES];
    int code = command_line_none(line);
    if (code != COMMAND_GOOD) {
        return code;
    }
    code = command_line_config(line, &config);
    if (code == COMMAND_GOOD) {
        code = COMMAND_USAGE;
        if (address_parse(config->listen.at[0], &address, problem)) {
            bool over_tls = !slice_is_null(config->tls_cert) && address.kind != ADDRESS_UNIX;
            code = ask(&address, over_tls);
        }
        config_free(config);
    }
    return code;
}
