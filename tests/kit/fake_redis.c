// SPDX-License-Identifier: MIT
#include "kit/fake_redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    INPUT_BYTES = 1024 * 1024,
    CONNECTIONS_MAX = 256,
    RULES_MAX = 32,
    COMMANDS_MAX = 64,
    NAME_BYTES = 32
};

#define LOADED "$40\r\n0123456789abcdef0123456789abcdef01234567\r\n"

struct connection {
    struct fake_redis *fake;
    int fd;
    pthread_t thread;
    size_t len;
    char bytes[INPUT_BYTES + 1];
};

struct counted {
    char name[NAME_BYTES];
    size_t count;
};

struct fake_redis {
    int listener;
    int port;
    int stop[2]; /* a pipe: readable for everyone when it ends */
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest */
    struct fake_redis_rule rules[RULES_MAX];
    size_t rule_count;
    struct counted commands[COMMANDS_MAX];
    size_t accepts, open, reads;
    struct connection *connections[CONNECTIONS_MAX];
};

/* Waits for `events`; false when the server ends. */
static bool wait_for(struct connection *c, short events) {
    struct pollfd fds[] = {{c->fd, events, 0}, {c->fake->stop[0], POLLIN, 0}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    return fds[1].revents == 0;
}

static bool send_text(struct connection *c, const char *text) {
    struct slice bytes = slice_str(text);
    while (bytes.len > 0) {
        if (!wait_for(c, POLLOUT)) {
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

static bool receive(struct connection *c) {
    if (c->len == INPUT_BYTES || !wait_for(c, POLLIN)) {
        return false;
    }
    ssize_t n = recv(c->fd, c->bytes + c->len, INPUT_BYTES - c->len, 0);
    if (n <= 0) {
        return false;
    }
    pthread_mutex_lock(&c->fake->lock);
    c->fake->reads++;
    pthread_mutex_unlock(&c->fake->lock);
    c->len += (size_t)n;
    c->bytes[c->len] = '\0';
    return true;
}

/* "*2\r\n", "$4\r\n": the number, and the rest moved behind it. */
static bool take_number(struct slice *rest, char mark, size_t *out) {
    const char *end = memmem(rest->at, rest->len, "\r\n", 2);
    if (end == NULL || rest->at[0] != mark) {
        return false;
    }
    *out = strtoul(rest->at + 1, NULL, 10);
    *rest = slice_from(*rest, (size_t)(end - rest->at) + 2);
    return true;
}

/* The bytes of the first command, or 0 where it is not there whole; its name. */
static size_t command_bytes(const struct connection *c, struct slice *name) {
    struct slice rest = slice_make(c->bytes, c->len);
    size_t args = 0;
    if (!take_number(&rest, '*', &args)) {
        return 0;
    }
    for (size_t i = 0; i < args; i++) {
        size_t len = 0;
        if (!take_number(&rest, '$', &len) || rest.len < len + 2) {
            return 0;
        }
        *name = i == 0 ? slice_head(rest, len) : *name;
        rest = slice_from(rest, len + 2);
    }
    return c->len - rest.len;
}

/* With the lock. */
static void count_command(struct fake_redis *fake, struct slice name) {
    size_t i = 1;
    while (i < COMMANDS_MAX - 1 && fake->commands[i].count > 0 &&
           !slice_eq(slice_str(fake->commands[i].name), name)) {
        i++;
    }
    name = slice_head(name, NAME_BYTES - 1);
    memcpy(fake->commands[i].name, name.at, name.len);
    fake->commands[i].count++;
    fake->commands[0].count++;
}

static struct fake_redis_rule usual(struct slice name) {
    struct fake_redis_rule rule = {.bytes = "+OK\r\n"};
    if (slice_eq(name, SLICE("PING"))) {
        rule.bytes = "+PONG\r\n";
    } else if (slice_eq(name, SLICE("SCRIPT"))) {
        rule.bytes = LOADED;
    } else if (name.len == 0) {
        rule.bytes = NULL;
    }
    return rule;
}

static struct fake_redis_rule find_rule(struct fake_redis *fake, struct slice name) {
    struct fake_redis_rule found = usual(name);
    pthread_mutex_lock(&fake->lock);
    if (name.len > 0) {
        count_command(fake, name);
    }
    for (size_t i = fake->rule_count; i-- > 0;) {
        struct fake_redis_rule *rule = &fake->rules[i];
        if (slice_eq(slice_str(rule->command), name) && rule->times >= 0) {
            found = *rule;
            rule->times = rule->times == 1 ? -1 : rule->times - (rule->times > 0);
            break;
        }
    }
    pthread_mutex_unlock(&fake->lock);
    return found;
}

/* False: the connection is over. */
static bool behave(struct connection *c, struct slice name) {
    struct fake_redis_rule rule = find_rule(c->fake, name);
    if (rule.bytes != NULL && !send_text(c, rule.bytes)) {
        return false;
    }
    while (rule.repeat != NULL && send_text(c, rule.repeat)) {
    }
    if (rule.then == FAKE_REDIS_SILENT) {
        do {
            c->len = 0;
        } while (receive(c));
    } else if (rule.then == FAKE_REDIS_RESET) {
        struct linger linger = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    return rule.then == FAKE_REDIS_STAY && rule.repeat == NULL;
}

static void *serve(void *arg) {
    struct connection *c = arg;
    bool goes_on = behave(c, SLICE(""));
    while (goes_on) {
        struct slice name = SLICE_NULL;
        size_t bytes = command_bytes(c, &name);
        if (bytes == 0) {
            goes_on = receive(c);
            continue;
        }
        goes_on = behave(c, name);
        if (goes_on) {
            c->len -= bytes;
            memmove(c->bytes, c->bytes + bytes, c->len + 1);
        }
    }
    pthread_mutex_lock(&c->fake->lock);
    close(c->fd);
    c->fake->open--;
    pthread_mutex_unlock(&c->fake->lock);
    return NULL;
}

static void *accept_all(void *arg) {
    struct fake_redis *fake = arg;
    struct connection self = {.fake = fake, .fd = fake->listener};
    while (wait_for(&self, POLLIN)) {
        int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0 || fake->accepts == CONNECTIONS_MAX) {
            continue;
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = mem_calloc(1, sizeof *c);
        c->fake = fake;
        c->fd = fd;
        pthread_mutex_lock(&fake->lock);
        fake->connections[fake->accepts++] = c;
        fake->open++;
        pthread_create(&c->thread, NULL, serve, c);
        pthread_mutex_unlock(&fake->lock);
    }
    return NULL;
}

struct fake_redis *fake_redis_new(void) {
    struct fake_redis *fake = mem_calloc(1, sizeof *fake);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    fake->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (pipe(fake->stop) != 0 || bind(fake->listener, (struct sockaddr *)&address, bytes) != 0 ||
        listen(fake->listener, CONNECTIONS_MAX) != 0 ||
        getsockname(fake->listener, (struct sockaddr *)&address, &bytes) != 0) {
        mem_free(fake);
        return NULL;
    }
    fake->port = ntohs(address.sin_port);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_create(&fake->thread, NULL, accept_all, fake);
    return fake;
}

void fake_redis_free(struct fake_redis *fake) {
    if (write(fake->stop[1], "x", 1) != 1) {
        abort();
    }
    pthread_join(fake->thread, NULL);
    for (size_t i = 0; i < fake->accepts; i++) {
        pthread_join(fake->connections[i]->thread, NULL);
        mem_free(fake->connections[i]);
    }
    close(fake->listener);
    close(fake->stop[0]);
    close(fake->stop[1]);
    pthread_mutex_destroy(&fake->lock);
    mem_free(fake);
}

int fake_redis_port(const struct fake_redis *fake) {
    return fake->port;
}

void fake_redis_set(struct fake_redis *fake, struct fake_redis_rule rule) {
    pthread_mutex_lock(&fake->lock);
    if (fake->rule_count == RULES_MAX) {
        abort();
    }
    fake->rules[fake->rule_count++] = rule;
    pthread_mutex_unlock(&fake->lock);
}

void fake_redis_unset(struct fake_redis *fake) {
    pthread_mutex_lock(&fake->lock);
    fake->rule_count = 0;
    pthread_mutex_unlock(&fake->lock);
}

static size_t read_count(struct fake_redis *fake, const size_t *what) {
    pthread_mutex_lock(&fake->lock);
    size_t n = *what;
    pthread_mutex_unlock(&fake->lock);
    return n;
}

size_t fake_redis_accepts(struct fake_redis *fake) {
    return read_count(fake, &fake->accepts);
}

size_t fake_redis_open(struct fake_redis *fake) {
    return read_count(fake, &fake->open);
}

size_t fake_redis_reads(struct fake_redis *fake) {
    return read_count(fake, &fake->reads);
}

size_t fake_redis_count(struct fake_redis *fake, const char *command) {
    size_t n = 0;
    pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < COMMANDS_MAX; i++) {
        if (fake->commands[i].count > 0 && strcmp(fake->commands[i].name, command) == 0) {
            n = fake->commands[i].count;
        }
    }
    pthread_mutex_unlock(&fake->lock);
    return n;
}
