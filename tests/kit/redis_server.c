// SPDX-License-Identifier: MIT
#include "kit/redis_server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ARGS_MAX = 64,
    TEXT_BYTES = 256 * 1024,
    START_TRIES = 5,
    LOOK_MS = 5,
    LOOKS_MAX = 4000,
    CONNECT_S = 5,
    PORT_MIN = 12000,
    PORT_COUNT = 20000
};

/* Below those that the system gives to outgoing connections, one of which could have it when the
 * server starts again. Some other program may take it before redis-server does: then another one is
 * tried. */
static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int port;
    do {
        port = PORT_MIN + (int)arc4random_uniform(PORT_COUNT);
        address.sin_port = htons((uint16_t)port);
    } while (bind(fd, (struct sockaddr *)&address, sizeof address) != 0);
    close(fd);
    return port;
}

static void start_program(struct redis_server *server) {
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    static const char *const quiet[] = {"--appendonly", "no"};
    static const char *const durable[] = {"--appendonly", "yes", "--appendfsync", "always"};
    const char *argv[ARGS_MAX + 1] = {"/usr/bin/redis-server",
                                      "--bind",
                                      "127.0.0.1",
                                      "--save",
                                      "",
                                      "--daemonize",
                                      "no",
                                      "--dir",
                                      server->folder.path,
                                      server->opts.is_tls ? "--tls-port" : "--port"};
    char port[8];
    size_t n = 10;
    snprintf(port, sizeof port, "%d", server->port);
    argv[n++] = port;
    if (server->opts.is_tls) {
        argv[n++] = "--port";
        argv[n++] = "0";
    }
    const char *const *kind = server->opts.appends ? durable : quiet;
    for (size_t i = 0; i < (server->opts.appends ? 4U : 2U); i++) {
        argv[n++] = kind[i];
    }
    if (server->opts.password != NULL) {
        argv[n++] = "--requirepass";
        argv[n++] = server->opts.password;
    }
    for (size_t i = 0; server->opts.more != NULL && server->opts.more[i] != NULL; i++) {
        cr_assert_lt(n, (size_t)ARGS_MAX);
        argv[n++] = server->opts.more[i];
    }
    server->program = program_start(argv, env);
    server->is_frozen = false;
}

static bool accepts(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_accepted = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_accepted;
}

/* Whether it is this very program that answers: another may have taken the port first. */
static bool is_it(const struct redis_server *server) {
    char pid[32];
    snprintf(pid, sizeof pid, "process_id:%d\r", (int)server->program->pid);
    return server->opts.is_tls || strstr(redis_server_ask(server, "INFO server"), pid) != NULL;
}

/* False where it ended instead. */
static bool wait_until_ready(struct redis_server *server) {
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (accepts(server->port)) {
            return is_it(server);
        }
        if (program_ends_within(server->program, LOOK_MS)) {
            return false;
        }
    }
    return false;
}

static void forget_program(struct redis_server *server) {
    program_free(server->program);
    server->program = NULL;
}

void redis_server_start(struct redis_server *server, struct redis_server_opts opts) {
    *server = (struct redis_server){.opts = opts, .folder = scratch_new()};
    for (int i = 0; i < START_TRIES; i++) {
        server->port = free_port();
        start_program(server);
        if (wait_until_ready(server)) {
            return;
        }
        fprintf(stderr, "%s%s", server->program->out.text, server->program->err.text);
        forget_program(server);
    }
    cr_assert_fail("redis-server does not start");
}

void redis_server_again(struct redis_server *server) {
    cr_assert_null(server->program);
    start_program(server);
    cr_assert(wait_until_ready(server), "%s%s", server->program->out.text,
              server->program->err.text);
}

void redis_server_stop(struct redis_server *server) {
    redis_server_thaw(server);
    program_signal(server->program, SIGTERM);
    program_wait(server->program);
    forget_program(server);
}

void redis_server_kill(struct redis_server *server) {
    forget_program(server);
}

void redis_server_free(struct redis_server *server) {
    if (server->program != NULL) {
        forget_program(server);
    }
    scratch_free(&server->folder);
}

void redis_server_freeze(struct redis_server *server) {
    int status;
    program_signal(server->program, SIGSTOP);
    cr_assert_eq(waitpid(server->program->pid, &status, WUNTRACED), server->program->pid);
    cr_assert(WIFSTOPPED(status));
    server->is_frozen = true;
}

void redis_server_thaw(struct redis_server *server) {
    if (server->is_frozen) {
        program_signal(server->program, SIGCONT);
        server->is_frozen = false;
    }
}

const char *redis_server_url(const struct redis_server *server) {
    static _Thread_local char url[256];
    bool has_password = server->opts.password != NULL;
    snprintf(url, sizeof url, "%s://%s%s%s127.0.0.1:%d/0", server->opts.is_tls ? "rediss" : "redis",
             has_password ? ":" : "", has_password ? server->opts.password : "",
             has_password ? "@" : "", server->port);
    return url;
}

/* -- asking -- */

static size_t write_reply(const redisReply *reply, char *out, size_t max) {
    int n = 0;
    size_t len = 0;
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        n = snprintf(out, max, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        n = snprintf(out, max, "(nil)");
        break;
    case REDIS_REPLY_ERROR:
        n = snprintf(out, max, "-%s", reply->str);
        break;
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            len += write_reply(reply->element[i], out + len, max - len);
            cr_assert_lt(len + 1, max);
            out[len++] = '\n';
        }
        out[len] = '\0';
        return len;
    default:
        cr_assert_lt(reply->len, max);
        memcpy(out, reply->str, reply->len + 1);
        n = (int)reply->len;
    }
    cr_assert_lt((size_t)n, max);
    return (size_t)n;
}

static redisContext *connect_to(const struct redis_server *server) {
    redisContext *context =
        redisConnectWithTimeout("127.0.0.1", server->port, (struct timeval){CONNECT_S, 0});
    cr_assert(context != NULL && context->err == 0, "%s", context != NULL ? context->errstr : "");
    redisSetTimeout(context, (struct timeval){CONNECT_S, 0});
    if (server->opts.password != NULL) {
        redisReply *reply = redisCommand(context, "AUTH %s", server->opts.password);
        cr_assert(reply != NULL && reply->type != REDIS_REPLY_ERROR);
        freeReplyObject(reply);
    }
    return context;
}

static const char *ask(const struct redis_server *server, int count, const char **args) {
    static _Thread_local char text[TEXT_BYTES];
    redisContext *context = connect_to(server);
    redisReply *reply = redisCommandArgv(context, count, args, NULL);
    cr_assert_not_null(reply, "%s: %s", args[0], context->errstr);
    write_reply(reply, text, sizeof text);
    freeReplyObject(reply);
    redisFree(context);
    return text;
}

const char *redis_server_ask_args(const struct redis_server *server, const char *const *args) {
    const char *copy[ARGS_MAX];
    int count = 0;
    for (; args[count] != NULL; count++) {
        cr_assert_lt(count, ARGS_MAX);
        copy[count] = args[count];
    }
    return ask(server, count, copy);
}

const char *redis_server_ask(const struct redis_server *server, const char *command) {
    char words[1024];
    const char *args[ARGS_MAX];
    int count = 0;
    char *rest = words;
    cr_assert_lt(strlen(command), sizeof words);
    memcpy(words, command, strlen(command) + 1);
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        cr_assert_lt(count, ARGS_MAX);
        args[count++] = word;
    }
    return ask(server, count, args);
}
