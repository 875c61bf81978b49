// SPDX-License-Identifier: MIT
#include "kit/program.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ENV_MAX = 64 };

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void open_pipe(int fds[2]) {
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
}

/* Only what is given, so that settings of the machine change nothing. */
static void fill_env(const char *const *env, char *out[ENV_MAX + 1]) {
    static const char *const kept[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};
    size_t count = 0;
    for (size_t i = 0; env[i] != NULL; i++) {
        cr_assert_lt(count, (size_t)ENV_MAX - 3);
        out[count++] = strdup(env[i]);
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const char *value = getenv(kept[i]);
        if (value != NULL) {
            size_t size = strlen(kept[i]) + strlen(value) + 2;
            out[count] = malloc(size);
            snprintf(out[count++], size, "%s=%s", kept[i], value);
        }
    }
    out[count] = NULL;
}

struct program *program_start(const char *const *argv, const char *const *env) {
    struct program *program = calloc(1, sizeof *program);
    char *child_env[ENV_MAX + 1];
    int out[2];
    int err[2];
    open_pipe(out);
    open_pipe(err);
    fill_env(env, child_env);
    program->pid = fork();
    cr_assert_geq(program->pid, 0);
    if (program->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
        signal(SIGXFSZ, SIG_DFL);         /* whatever runs the tests may ignore it */
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        execve(argv[0], (char *const *)(uintptr_t)argv, child_env);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    program->out.fd = out[0];
    program->err.fd = err[0];
    for (size_t i = 0; child_env[i] != NULL; i++) {
        free(child_env[i]);
    }
    return program;
}

/* What is there now. */
static void gather(struct program_output *output) {
    while (output->fd >= 0) {
        cr_assert_lt(output->length, (size_t)PROGRAM_TEXT_BYTES - 1, "too much output");
        ssize_t n = read(output->fd, output->text + output->length,
                         PROGRAM_TEXT_BYTES - 1 - output->length);
        if (n > 0) {
            output->length += (size_t)n;
        } else if (n == 0) {
            close(output->fd);
            output->fd = -1;
        } else if (errno != EINTR) {
            return;
        }
    }
}

/* Waits for more output of either kind. False at the deadline, or when both have ended. */
static bool gather_more(struct program *program, int64_t deadline_ms) {
    struct pollfd polls[] = {{.fd = program->out.fd, .events = POLLIN},
                             {.fd = program->err.fd, .events = POLLIN}};
    int64_t left_ms = deadline_ms - now_ms();
    if (left_ms <= 0 || (program->out.fd < 0 && program->err.fd < 0)) {
        return false;
    }
    poll(polls, 2, (int)left_ms);
    gather(&program->out);
    gather(&program->err);
    return true;
}

size_t program_count(const struct program *program, const char *text) {
    size_t count = 0;
    for (const char *at = strstr(program->out.text, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

void program_wait_for_times(struct program *program, const char *text, size_t times) {
    int64_t deadline_ms = now_ms() + PROGRAM_TIMEOUT_MS;
    while (program_count(program, text) < times) {
        cr_assert(gather_more(program, deadline_ms), "\"%s\" does not come:\n%s%s", text,
                  program->out.text, program->err.text);
    }
}

void program_wait_for(struct program *program, const char *text) {
    program_wait_for_times(program, text, 1);
}

void program_signal(struct program *program, int number) {
    cr_assert_eq(kill(program->pid, number), 0);
}

static void reap(struct program *program) {
    int status;
    cr_assert_eq(waitpid(program->pid, &status, 0), program->pid);
    program->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    program->pid = 0;
}

/* Its pipes close when it ends: it starts no process of its own. */
bool program_ends_within(struct program *program, int ms) {
    int64_t deadline_ms = now_ms() + ms;
    while (gather_more(program, deadline_ms)) {
    }
    if (program->out.fd >= 0 || program->err.fd >= 0) {
        return false;
    }
    reap(program);
    return true;
}

int program_wait(struct program *program) {
    cr_assert(program_ends_within(program, PROGRAM_TIMEOUT_MS), "it does not end:\n%s%s",
              program->out.text, program->err.text);
    return program->code;
}

struct program *program_run(const char *const *argv, const char *const *env) {
    struct program *program = program_start(argv, env);
    program_wait(program);
    return program;
}

void program_free(struct program *program) {
    if (program->pid != 0) {
        kill(program->pid, SIGKILL);
        waitpid(program->pid, NULL, 0);
    }
    if (program->out.fd >= 0) {
        close(program->out.fd);
    }
    if (program->err.fd >= 0) {
        close(program->err.fd);
    }
    free(program);
}
