// SPDX-License-Identifier: MIT
#include "kit/key_host.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { REQUEST_MAX = 16 * 1024, BODY_MAX = 1024 * 1024, BACKLOG = 64, WAIT_MS = 10000 };

enum behaviour { ANSWERS, HOLDS, DROPS };

struct key_host {
    int listener;
    int port;
    int stop[2]; /* a pipe: readable when it ends */
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t changed;
    enum behaviour behaviour;
    bool is_ending;
    int status;
    char *body;
    size_t requests;
};

/* Reads a request's head. False: the client left, or the host ends. */
static bool read_head(struct key_host *host, int fd) {
    char head[REQUEST_MAX + 1];
    size_t len = 0;
    while (len < REQUEST_MAX) {
        struct pollfd fds[] = {{fd, POLLIN, 0}, {host->stop[0], POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0) {
            return false;
        }
        ssize_t n = recv(fd, head + len, REQUEST_MAX - len, 0);
        if (n <= 0) {
            return false;
        }
        len += (size_t)n;
        head[len] = '\0';
        if (strstr(head, "\r\n\r\n") != NULL) {
            return true;
        }
    }
    return false;
}

/* The answer to be given, or NULL for none. */
static char *wait_for_answer(struct key_host *host) {
    char *answer = NULL;
    pthread_mutex_lock(&host->lock);
    host->requests++;
    pthread_cond_broadcast(&host->changed);
    while (host->behaviour == HOLDS && !host->is_ending) {
        pthread_cond_wait(&host->changed, &host->lock);
    }
    if (host->behaviour == ANSWERS && !host->is_ending) {
        size_t bytes = strlen(host->body) + 256;
        answer = mem_alloc(bytes);
        snprintf(answer, bytes,
                 "HTTP/1.1 %d x\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                 "Location: /elsewhere\r\nConnection: close\r\n\r\n%s",
                 host->status, strlen(host->body), host->body);
    }
    pthread_mutex_unlock(&host->lock);
    return answer;
}

static void send_all(int fd, struct slice bytes) {
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        bytes = slice_from(bytes, (size_t)n);
    }
}

static void *serve(void *arg) {
    struct key_host *host = arg;
    for (;;) {
        struct pollfd fds[] = {{host->listener, POLLIN, 0}, {host->stop[0], POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0) {
            return NULL;
        }
        int fd = accept(host->listener, NULL, NULL);
        if (fd < 0) {
            continue;
        }
        char *answer = read_head(host, fd) ? wait_for_answer(host) : NULL;
        send_all(fd, slice_str(answer));
        mem_free(answer);
        close(fd);
    }
}

struct key_host *key_host_new(void) {
    struct key_host *host = mem_calloc(1, sizeof *host);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    host->status = 404;
    host->body = mem_strdup(SLICE("none"));
    host->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(pipe(host->stop), 0);
    cr_assert_eq(bind(host->listener, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(host->listener, BACKLOG), 0);
    cr_assert_eq(getsockname(host->listener, (struct sockaddr *)&address, &bytes), 0);
    host->port = ntohs(address.sin_port);
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->changed, NULL);
    cr_assert_eq(pthread_create(&host->thread, NULL, serve, host), 0);
    return host;
}

void key_host_free(struct key_host *host) {
    pthread_mutex_lock(&host->lock);
    host->is_ending = true;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
    cr_assert_eq(write(host->stop[1], "x", 1), 1);
    pthread_join(host->thread, NULL);
    close(host->listener);
    close(host->stop[0]);
    close(host->stop[1]);
    pthread_cond_destroy(&host->changed);
    pthread_mutex_destroy(&host->lock);
    mem_free(host->body);
    mem_free(host);
}

int key_host_port(const struct key_host *host) {
    return host->port;
}

void key_host_url(const struct key_host *host, char *out, size_t size) {
    snprintf(out, size, "http://127.0.0.1:%d/keys?of=platform", host->port);
}

static void set(struct key_host *host, enum behaviour behaviour, int status, const char *body) {
    pthread_mutex_lock(&host->lock);
    host->behaviour = behaviour;
    if (body != NULL) {
        mem_free(host->body);
        host->body = mem_strdup(slice_str(body));
        host->status = status;
    }
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

void key_host_answer(struct key_host *host, int status, const char *body) {
    set(host, ANSWERS, status, body);
}

void key_host_hold(struct key_host *host) {
    set(host, HOLDS, 0, NULL);
}

void key_host_drop(struct key_host *host) {
    set(host, DROPS, 0, NULL);
}

void key_host_publish(struct key_host *host, const struct key_host_key *keys) {
    struct buf body;
    buf_init(&body, BODY_MAX);
    BUF_LIT(&body, "{\"keys\":[");
    for (size_t i = 0; keys[i].kid != NULL; i++) {
        if (i > 0) {
            buf_append_char(&body, ',');
        }
        published_jwk(&body, keys[i].key, keys[i].kid[0] != '\0' ? keys[i].kid : NULL, NULL);
    }
    BUF_LIT(&body, "]}");
    buf_append_char(&body, '\0');
    key_host_answer(host, 200, body.at);
    buf_fini(&body);
}

size_t key_host_requests(struct key_host *host) {
    pthread_mutex_lock(&host->lock);
    size_t requests = host->requests;
    pthread_mutex_unlock(&host->lock);
    return requests;
}

bool key_host_wait(struct key_host *host, size_t requests) {
    for (int ms = 0; ms < WAIT_MS; ms++) {
        if (key_host_requests(host) >= requests) {
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}
