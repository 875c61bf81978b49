// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/redis.h"
#include "kit/faults.h"
#include "kit/leaks.h"
#include "kit/redis_rig.h"
#include "kit/redis_server.h"

/* Stands for the C library's in this program: "a-and-b" has both addresses, in that order,
 * "a-then-b" the first when it is resolved first and the second from then on, and "slow" is not
 * resolved before the test lets it. */
static sem_t let_go;
static atomic_int resolved;

typedef int getaddrinfo_function(const char *node, const char *service,
                                 const struct addrinfo *hints, struct addrinfo **result);

static struct addrinfo *resolve_part(getaddrinfo_function *real, const char *at, size_t len) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    char part[64];
    snprintf(part, sizeof part, "%.*s", (int)len, at);
    cr_assert_eq(real(part, NULL, &hints, &found), 0, "%s", part);
    return found;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict result) {
    getaddrinfo_function *real;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof real);
    if (node != NULL && strcmp(node, "slow") == 0) {
        while (sem_wait(&let_go) != 0 && errno == EINTR) {
        }
        node = "127.0.0.1";
    }
    const char *both = node != NULL ? strstr(node, "-and-") : NULL;
    const char *later = node != NULL ? strstr(node, "-then-") : NULL;
    if (both != NULL) {
        *result = resolve_part(real, node, (size_t)(both - node));
        (*result)->ai_next = resolve_part(real, both + 5, strlen(both + 5));
        return 0;
    }
    if (later != NULL) {
        bool is_first = atomic_fetch_add(&resolved, 1) == 0;
        *result = is_first ? resolve_part(real, node, (size_t)(later - node))
                           : resolve_part(real, later + 6, strlen(later + 6));
        return 0;
    }
    return real(node, service, hints, result);
}

static struct redis_rig *rig_new(const char *host, const struct redis_server *server,
                                 int64_t timeout_ms) {
    char url[128];
    snprintf(url, sizeof url, "redis://%s:%d", host, server->port);
    return redis_rig_new(url, &(struct redis_opts){.command_timeout_ms = timeout_ms});
}

/* Nobody listens at the first address: the second is tried within the same attempt. */
Test(redis_names, the_next_address) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = rig_new("127.0.0.2-and-127.0.0.1", &server, 5000);
    struct redis_rig_call *call = redis_rig_ask(rig, "PING");
    cr_assert_eq(call->rc, RC_OK, "%s, %s", rc_name(call->rc), call->cause);
    cr_assert_eq(redis_rig_metric(rig, METRIC_REDIS_CONNECTS_FAILED), 0);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* A listener at 127.0.0.3 whose row is full: it takes no further connection, and refuses none. */
struct full {
    int listener;
    int taken[8];
};

static void open_full(struct full *full, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    inet_pton(AF_INET, "127.0.0.3", &address.sin_addr);
    full->listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(full->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    cr_assert_eq(bind(full->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(full->listener, 0), 0);
    for (size_t i = 0; i < sizeof full->taken / sizeof full->taken[0]; i++) {
        full->taken[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(full->taken[i], (struct sockaddr *)&address, sizeof address);
    }
}

static void close_full(struct full *full) {
    for (size_t i = 0; i < sizeof full->taken / sizeof full->taken[0]; i++) {
        close(full->taken[i]);
    }
    close(full->listener);
}

/* An address that swallows what is sent there has its share of the time. */
Test(redis_names, an_address_that_swallows) {
    struct redis_server server;
    struct full full;
    redis_server_start(&server, (struct redis_server_opts){0});
    open_full(&full, server.port);
    struct redis_rig *rig = rig_new("127.0.0.3-and-127.0.0.1", &server, 10000);
    struct redis_rig_call *call = redis_rig_ask(rig, "PING");
    cr_assert_eq(call->rc, RC_OK, "%s, %s", rc_name(call->rc), call->cause);
    cr_assert(call->took_ms >= REDIS_CONNECT_TIMEOUT_MS / 2 - 20 &&
                  call->took_ms < REDIS_CONNECT_TIMEOUT_MS,
              "%d ms", (int)call->took_ms);
    redis_rig_end(rig);

    rig = rig_new("127.0.0.3", &server, 10000);
    call = redis_rig_ask(rig, "PING");
    cr_assert_eq(call->rc, RC_UNREACHABLE, "%s, %s", rc_name(call->rc), call->cause);
    cr_assert_leq(call->took_ms, REDIS_CONNECT_TIMEOUT_MS + 500);
    redis_rig_end(rig);
    close_full(&full);
    redis_server_free(&server);
}

/* After a failover the name stands for another machine. */
Test(redis_names, resolved_each_time) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    struct redis_rig *rig = rig_new("127.0.0.2-then-127.0.0.1", &server, 5000);
    cr_assert_eq(redis_rig_ask(rig, "PING")->rc, RC_UNREACHABLE);
    redis_rig_wait_ready(rig);
    cr_assert_eq(redis_rig_ask(rig, "PING")->rc, RC_OK);
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* A resolver that hangs holds neither the loop nor the commands, and closing waits for it. */
Test(redis_names, slow_resolver, .timeout = 20) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    sem_init(&let_go, 0, 0);
    struct redis_rig *rig = rig_new("slow", &server, 10000);
    struct redis_rig_call *call = redis_rig_ask(rig, "PING");
    cr_assert_eq(call->rc, RC_UNREACHABLE, "%s", rc_name(call->rc));
    cr_assert_str_eq(call->cause, "the name was not resolved in time");
    cr_assert(call->took_ms >= REDIS_CONNECT_TIMEOUT_MS - 20 &&
              call->took_ms < REDIS_CONNECT_TIMEOUT_MS + 500);
    redis_rig_run_ms(rig, 200); /* the next attempt waits for the same answer by now */
    sem_post(&let_go);
    redis_rig_wait_ready(rig);
    cr_assert_eq(redis_rig_ask(rig, "PING")->rc, RC_OK);
    redis_rig_end(rig);

    rig = rig_new("slow", &server, 10000);
    redis_rig_start(rig, 0, "PING");
    redis_rig_run_ms(rig, 50);
    sem_post(&let_go); /* it comes while it closes */
    redis_rig_end(rig);
    redis_server_free(&server);
}

/* -- calls that fail -- */

static void ask_with_fault(const struct redis_server *server, enum faults_family family, int n,
                           bool *is_over) {
    faults_arm(family, 0);
    struct redis_rig *rig = rig_new("localhost", server, 1000);
    faults_arm(family, n);
    redis_rig_start(rig, 0, "PING");
    redis_rig_start_eval(rig, 1, &(struct redis_script){"return 1", 0}, "k", "v");
    for (size_t i = 0; i < 2; i++) {
        enum rc rc = redis_rig_wait(rig, i)->rc;
        cr_assert(rc == RC_OK || rc == RC_UNREACHABLE, "%d: %s", n, rc_name(rc));
    }
    const char *met = faults_met(family);
    *is_over = met == NULL;
    faults_arm(family, 0);
    redis_rig_wait_ready(rig);
    cr_assert_eq(redis_rig_ask(rig, "PING")->rc, RC_OK, "%d: %s", n, met);
    redis_rig_end(rig);
}

Test(redis_names, each_call_that_can_fail) {
    struct redis_server server;
    redis_server_start(&server, (struct redis_server_opts){0});
    for (int family = 0; family < FAULTS_FAMILIES; family++) {
        bool is_over = false;
        for (int n = 1; !is_over && family != FAULTS_CURL; n++) {
            ask_with_fault(&server, (enum faults_family)family, n, &is_over);
            cr_assert_lt(n, 30);
            cr_assert(n > 3 || !is_over, "%d: too few calls were met", family);
        }
    }
    redis_server_free(&server);
}
