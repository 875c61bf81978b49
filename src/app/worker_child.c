// SPDX-License-Identifier: MIT
#include "app/worker_child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum { WORDS_BYTES = 16, COUNT_BYTES = 24, STDIO_MAX = WORKER_SOCKETS_FD + WORKER_SOCKETS_MAX };

struct worker_child {
    uv_process_t process;
    uv_poll_t control;
    int control_fd;
    int open_handles;
    bool is_ready;
    const struct worker_child_events *events;
    void *owner;
};

static void on_closed(uv_handle_t *handle) {
    struct worker_child *child = handle->data;
    if (--child->open_handles == 0) {
        close(child->control_fd);
        mem_free(child);
    }
}

static void close_all(struct worker_child *child) {
    uv_close((uv_handle_t *)&child->control, on_closed);
    uv_close((uv_handle_t *)&child->process, on_closed);
}

/* True while there may be more. */
static bool take_words(struct worker_child *child) {
    char words[WORDS_BYTES];
    ssize_t n = recv(child->control_fd, words, sizeof words, MSG_DONTWAIT);
    if (n > 0 && !child->is_ready && memchr(words, WORKER_READY, (size_t)n) != NULL) {
        child->is_ready = true;
        child->events->ready(child->owner);
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* That it has ended is told by the system. */
static void on_word(uv_poll_t *poll, int status, int events) {
    (void)events;
    if (status < 0 || !take_words(poll->data)) {
        uv_poll_stop(poll);
    }
}

static void on_process_ended(uv_process_t *process, int64_t code, int signal) {
    struct worker_child *child = process->data;
    take_words(child); /* it may have served for a moment */
    close_all(child);
    child->events->ended(child->owner, (int)code, signal);
}

static void inherit(uv_stdio_container_t *container, int fd) {
    container->flags = UV_INHERIT_FD;
    container->data.fd = fd;
}

static int spawn(struct worker_child *child, struct loop *loop,
                 const struct worker_child_opts *opts, int control_fd) {
    char *argv[WORKER_ARGUMENTS_MAX + 3] = {0};
    char sockets[COUNT_BYTES];
    uv_stdio_container_t stdio[STDIO_MAX];
    size_t argc = 0;
    for (; argc < WORKER_ARGUMENTS_MAX && opts->argv[argc] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)opts->argv[argc];
    }
    argv[argc++] = (char *)(uintptr_t)opts->name;
    snprintf(sockets, sizeof sockets, "%zu", opts->socket_count);
    argv[argc] = sockets;
    inherit(&stdio[STDIN_FILENO], STDIN_FILENO);
    inherit(&stdio[STDOUT_FILENO], opts->output_fd);
    inherit(&stdio[STDERR_FILENO], STDERR_FILENO);
    inherit(&stdio[WORKER_CONTROL_FD], control_fd);
    inherit(&stdio[WORKER_METRICS_FD], opts->metrics_fd);
    for (size_t i = 0; i < opts->socket_count; i++) {
        inherit(&stdio[WORKER_SOCKETS_FD + i], opts->sockets[i]);
    }
    const uv_process_options_t options = {
        .exit_cb = on_process_ended,
        .file = opts->program,
        .args = argv,
        .env = (char **)(uintptr_t)opts->env,
        .stdio_count = WORKER_SOCKETS_FD + (int)opts->socket_count,
        .stdio = stdio,
    };
    return uv_spawn(&loop->uv, &child->process, &options);
}

/* The process's handle isn't one yet. */
static int listen_to(struct worker_child *child, struct loop *loop) {
    int failed = uv_poll_init(&loop->uv, &child->control, child->control_fd);
    if (failed != 0) {
        close(child->control_fd);
        mem_free(child);
        return failed;
    }
    child->open_handles = 1;
    failed = uv_poll_start(&child->control, UV_READABLE, on_word);
    if (failed != 0) {
        uv_close((uv_handle_t *)&child->control, on_closed);
    }
    return failed;
}

struct worker_child *worker_child_start(struct loop *loop, const struct worker_child_opts *opts,
                                        const char **problem) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        *problem = strerror(errno);
        return NULL;
    }
    struct worker_child *child = mem_calloc(1, sizeof *child);
    child->control_fd = ends[0];
    child->events = opts->events;
    child->owner = opts->owner;
    child->process.data = child;
    child->control.data = child;
    int failed = listen_to(child, loop);
    if (failed == 0) {
        child->open_handles = 2;
        failed = spawn(child, loop, opts, ends[1]);
        if (failed != 0) {
            close_all(child);
        }
    }
    close(ends[1]);
    *problem = failed != 0 ? uv_strerror(failed) : NULL;
    return failed == 0 ? child : NULL;
}

int worker_child_pid(const struct worker_child *child) {
    return uv_process_get_pid(&child->process);
}

bool worker_child_is_ready(const struct worker_child *child) {
    return child->is_ready;
}

void worker_child_tell(struct worker_child *child, enum worker_order order) {
    const char byte = (char)order;
    send(child->control_fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void worker_child_kill(struct worker_child *child) {
    uv_process_kill(&child->process, SIGKILL);
}
