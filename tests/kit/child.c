// SPDX-License-Identifier: MIT
#include "kit/child.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENV_MAX = 64, START_TIMEOUT_MS = 20 * 1000, LINE_BYTES = 4096 };

struct env {
    char *entries[ENV_MAX];
    size_t n;
};

static void env_add(struct env *env, const char *name, const char *value) {
    cr_assert_lt(env->n, ENV_MAX - 1);
    cr_assert_geq(asprintf(&env->entries[env->n++], "%s%s", name, value), 0);
}

static void env_fill(struct env *env, const char *folder, const char *provider_url,
                     const char *const *settings) {
    char url[512];
    env_add(env, "LATCHKEY_LISTEN=", "127.0.0.1:0");
    env_add(env, "LATCHKEY_LOG_LEVEL=", "debug");
    env_add(env, "SECRET_KEY=", KIT_SECRET_KEY);
    env_add(env, "AUDIBLE_TOKEN_ENCRYPTION_KEY=", KIT_FERNET_KEY);
    env_add(env, "AUDIBLE_CLIENT_ID=", KIT_CLIENT_ID);
    env_add(env, "AUDIBLE_CLIENT_SECRET=", KIT_CLIENT_SECRET);
    env_add(env, "AUDIBLE_REDIRECT_URI=", KIT_REDIRECT_URI);
    snprintf(url, sizeof url, "%s/auth/oauth2", provider_url);
    env_add(env, "AUDIBLE_AUTH_URL=", url);
    snprintf(url, sizeof url, "sqlite:%s/latchkey.db", folder);
    env_add(env, "LATCHKEY_ACCOUNT_STORE=", url);
    for (const char *asan = getenv("ASAN_OPTIONS"); asan != NULL; asan = NULL) {
        env_add(env, "ASAN_OPTIONS=", asan);
    }
    for (size_t i = 0; settings != NULL && settings[i] != NULL; i++) {
        env_add(env, settings[i], "");
    }
}

/* The port of the line that says it listens. Lines before it are passed over. */
static int read_port(int out) {
    char got[LINE_BYTES * 4];
    size_t n = 0;
    for (;;) {
        struct pollfd pollfd = {.fd = out, .events = POLLIN};
        cr_assert_eq(poll(&pollfd, 1, START_TIMEOUT_MS), 1, "it does not start");
        ssize_t more = read(out, got + n, sizeof got - 1 - n);
        cr_assert_gt(more, 0, "it ended before it listened: %.*s", (int)n, got);
        n += (size_t)more;
        got[n] = '\0';
        const char *listening = strstr(got, "\"event\":\"listening\"");
        const char *port = listening != NULL ? strstr(listening, "\"address\":\"127.0.0.1:") : NULL;
        if (port != NULL) {
            return (int)strtol(port + strlen("\"address\":\"127.0.0.1:"), NULL, 10);
        }
    }
}

void child_start(struct child *child, const char *folder, const char *provider_url,
                 const char *const *settings) {
    int ends[2];
    struct env env = {0};
    env_fill(&env, folder, provider_url, settings);
    cr_assert_eq(pipe(ends), 0);
    child->pid = fork();
    cr_assert_geq(child->pid, 0);
    if (child->pid == 0) {
        signal(SIGXFSZ, SIG_DFL); /* whatever runs the tests may ignore it */
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        char *const argv[] = {"latchkey", "serve", NULL};
        execve(TEST_BUILD_DIR "/latchkey", argv, env.entries);
        _exit(127);
    }
    close(ends[1]);
    child->out = ends[0];
    child->port = read_port(child->out);
    for (size_t i = 0; i < env.n; i++) {
        free(env.entries[i]);
    }
}

static int reap(struct child *child) {
    int status;
    cr_assert_eq(waitpid(child->pid, &status, 0), child->pid);
    close(child->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void child_kill(struct child *child) {
    cr_assert_eq(kill(child->pid, SIGKILL), 0);
    reap(child);
}

int child_stop(struct child *child) {
    cr_assert_eq(kill(child->pid, SIGTERM), 0);
    return reap(child);
}
