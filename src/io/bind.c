// SPDX-License-Identifier: MIT
#include "io/bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HOST_BYTES = 48 };

struct bind_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    };
    socklen_t length;
};

static bool parse_port(struct slice text, uint16_t *out) {
    uint64_t port;
    if (!slice_to_u64(text, UINT16_MAX, &port)) {
        return false;
    }
    *out = htons((uint16_t)port);
    return true;
}

static bool parse_tcp(struct slice text, struct bind_address *out) {
    char host[HOST_BYTES];
    size_t colon = text.len;
    while (colon > 0 && text.at[colon - 1] != ':') {
        colon--;
    }
    if (colon < 2 || colon - 1 >= sizeof host) {
        return false;
    }
    struct slice name = slice_head(text, colon - 1);
    bool is_v6 = name.len > 2 && name.at[0] == '[' && name.at[name.len - 1] == ']';
    if (is_v6) {
        name = slice_make(name.at + 1, name.len - 2);
    }
    memcpy(host, name.at, name.len);
    host[name.len] = '\0';
    struct slice port = slice_from(text, colon);
    if (is_v6) {
        out->v6.sin6_family = AF_INET6;
        out->length = sizeof out->v6;
        return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1 &&
               parse_port(port, &out->v6.sin6_port);
    }
    out->v4.sin_family = AF_INET;
    out->length = sizeof out->v4;
    return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1 && parse_port(port, &out->v4.sin_port);
}

static bool parse_unix(struct slice path, struct bind_address *out) {
    if (path.len == 0 || path.len >= sizeof out->local.sun_path ||
        memchr(path.at, '\0', path.len) != NULL) {
        return false;
    }
    out->local.sun_family = AF_UNIX;
    memcpy(out->local.sun_path, path.at, path.len);
    out->length = sizeof out->local;
    return true;
}

static bool parse_address(struct slice text, struct bind_address *out) {
    struct slice prefix = SLICE("unix:");
    return slice_starts(text, prefix) ? parse_unix(slice_from(text, prefix.len), out)
                                      : parse_tcp(text, out);
}

/* Removes a socket file that nobody listens on any more. 0, or an errno. */
static int remove_stale(const struct bind_address *address) {
    struct stat st;
    if (lstat(address->local.sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int error = connect(fd, &address->any, address->length) == 0 ? EADDRINUSE : errno;
    close(fd);
    if (error == ECONNREFUSED) {
        return unlink(address->local.sun_path) == 0 ? 0 : errno;
    }
    return error == ENOENT ? 0 : EADDRINUSE;
}

/* The socket, or an errno below zero. */
static int open_bound(const struct bind_address *address, bool is_shared) {
    int one = 1;
    int family = address->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (family != AF_UNIX && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
                              setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)) {
        goto failed;
    }
    if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) {
        goto failed;
    }
    if (bind(fd, &address->any, address->length) == 0) {
        return fd;
    }

failed:
    one = errno;
    close(fd);
    return -one;
}

static int open_address(const struct bind_address *address, enum bind_sharing sharing) {
    if (address->any.sa_family == AF_UNIX) {
        int error = remove_stale(address);
        return error != 0 ? -error : open_bound(address, false);
    }
    if (sharing == BIND_SHARED_FIRST) {
        int probe = open_bound(address, false);
        if (probe < 0) {
            return probe;
        }
        close(probe);
    }
    return open_bound(address, sharing != BIND_ALONE);
}

void bind_tell(char problem[BIND_PROBLEM_BYTES], struct slice address, const char *cause) {
    snprintf(problem, BIND_PROBLEM_BYTES, "cannot listen on %.*s: %s",
             SLICE_ARGS(slice_head(address, 150)), cause);
}

enum rc bind_socket(struct slice address, enum bind_sharing sharing, int *fd,
                    char problem[BIND_PROBLEM_BYTES]) {
    struct bind_address parsed = {0};
    if (!parse_address(address, &parsed)) {
        snprintf(problem, BIND_PROBLEM_BYTES,
                 "\"%.*s\" is no address: write 127.0.0.1:8090, [::1]:8090 or unix:/path",
                 SLICE_ARGS(slice_head(address, 100)));
        return RC_USAGE;
    }
    *fd = open_address(&parsed, sharing);
    if (*fd < 0) {
        bind_tell(problem, address, strerror(-*fd));
        return RC_IO;
    }
    return RC_OK;
}

static struct bind_address name_of(int fd) {
    struct bind_address address = {.length = sizeof address};
    if (getsockname(fd, &address.any, &address.length) != 0) {
        address.any.sa_family = AF_UNSPEC;
    }
    return address;
}

int bind_port(int fd) {
    struct bind_address address = name_of(fd);
    if (address.any.sa_family == AF_INET) {
        return ntohs(address.v4.sin_port);
    }
    return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}

bool bind_is_unix(int fd) {
    return name_of(fd).any.sa_family == AF_UNIX;
}
