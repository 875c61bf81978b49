// SPDX-License-Identifier: MIT
/* The program runs out of files: what can't be held is closed, what is held is served, it waits
 * rather than spins, and it goes on as soon as there are files again. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"

enum { FILES = 64, BEYOND = 200, IDLE_MS = 3000, BUSY_PERCENT_MAX = 20 };

static const char *const settings[] = {"LATCHKEY_IDLE_TIMEOUT_SECONDS=3", NULL};

struct rig {
    struct scratch folder;
    struct platform p; /* its server is the process */
    struct child child;
    rlim_t files_max;
    struct client held[FILES];
    size_t held_count;
};

static void rig_start(struct rig *rig) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    struct rlimit limit;
    *rig = (struct rig){.folder = scratch_new()};
    rig->p.sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(rig->p.sim, "%s", problem);
    child_start(&rig->child, rig->folder.path, simprovider_url(rig->p.sim), settings);
    rig->p.port = rig->child.port;
    cr_assert_eq(prlimit(child_pid(&rig->child), RLIMIT_NOFILE, NULL, &limit), 0);
    rig->files_max = limit.rlim_max;
}

static void rig_stop(struct rig *rig) {
    cr_assert_eq(child_stop(&rig->child), 0);
    cr_assert(simprovider_join(rig->p.sim));
    scratch_free(&rig->folder);
}

static void allow_files(const struct rig *rig, rlim_t files) {
    struct rlimit limit = {.rlim_cur = files, .rlim_max = rig->files_max};
    cr_assert_eq(prlimit(child_pid(&rig->child), RLIMIT_NOFILE, &limit, NULL), 0);
}

/* A request on a connection that stays; 0: it was closed instead. */
static int ask_on(struct client *client, const char *method, const char *request) {
    struct client_response response = {0};
    int status = 0;
    if (client_send(client, slice_str(request)) && client_read(client, method, &response)) {
        status = response.status;
    }
    cr_assert_not(client->timed_out);
    client_response_fini(&response);
    return status;
}

static int ask_health(struct client *client) {
    return ask_on(client, "GET", "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
}

/* Connects until one is closed. */
static void hold_all_it_can(struct rig *rig) {
    for (rig->held_count = 0; rig->held_count < FILES; rig->held_count++) {
        struct client *client = &rig->held[rig->held_count];
        cr_assert(client_connect(client, rig->child.port));
        if (ask_health(client) == 0) {
            client_fini(client);
            return;
        }
    }
    cr_assert_fail("%d connections with %d files", FILES, FILES);
}

static void let_go(struct rig *rig) {
    for (size_t i = 0; i < rig->held_count; i++) {
        client_fini(&rig->held[i]);
    }
    rig->held_count = 0;
}

/* Processor time since its start. */
static int64_t busy_ms(const struct rig *rig) {
    char path[64];
    char line[1024];
    unsigned long user;
    unsigned long system;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child_pid(&rig->child));
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    const char *after_name = strrchr(line, ')');
    int found =
        sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    cr_assert_eq(found, 2, "%s", line);
    return (int64_t)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

/* Until the server closes this idle connection: a wait that ends by itself, and takes long enough
 * for a loop that spins to show. */
static void assert_it_rests(const struct rig *rig, struct client *idle) {
    static const struct clock clock;
    int64_t since_ms = clock_mono_ms(&clock);
    int64_t busy_before_ms = busy_ms(rig);
    cr_assert(client_is_closed(idle));
    int64_t took_ms = clock_mono_ms(&clock) - since_ms;
    int64_t busy = busy_ms(rig) - busy_before_ms;
    cr_assert_geq(took_ms, IDLE_MS / 2, "too short to tell");
    cr_assert_leq(busy * 100, took_ms * BUSY_PERCENT_MAX, "busy for %d of %d ms", (int)busy,
                  (int)took_ms);
}

Test(files, what_is_held_is_served_and_what_is_beyond_is_closed, .timeout = 120) {
    struct rig rig;
    struct ask_grant grant;
    char token[KIT_JWT_BYTES];
    char request[ASK_CALLBACK_BYTES];
    rig_start(&rig);
    ask_premium(token, "user-1");
    ask_grant(rig.p.port, rig.p.sim, token, &grant);
    ask_callback_text(request, token, &grant);
    allow_files(&rig, FILES);
    hold_all_it_can(&rig);
    cr_assert_gt(rig.held_count, 10, "%zu", rig.held_count);
    for (int i = 0; i < BEYOND; i++) {
        struct client client;
        cr_assert(client_connect(&client, rig.child.port));
        cr_assert(client_is_closed(&client), "%d", i);
        client_fini(&client);
    }
    for (size_t i = 0; i < rig.held_count; i++) {
        cr_assert_eq(ask_health(&rig.held[i]), 200, "%zu", i);
    }
    cr_assert_eq(ask_on(&rig.held[0], "POST", request), 503, "no file for the provider either");
    cr_assert_eq(simprovider_count(rig.p.sim, SIMPROVIDER_EXCHANGES), 0);
    assert_it_rests(&rig, &rig.held[0]);
    allow_files(&rig, rig.files_max);
    platform_link(&rig.p, "user-1");
    cr_assert(platform_is_connected(&rig.p, "user-1"));
    let_go(&rig);
    rig_stop(&rig);
    CHECK_LEAKS();
}

/* Not even the file that it keeps in reserve: who connects waits, and is served afterwards. */
Test(files, none_at_all, .timeout = 120) {
    struct rig rig;
    struct client idle;
    struct client waiting;
    rig_start(&rig);
    cr_assert(client_connect(&idle, rig.child.port));
    cr_assert_eq(ask_health(&idle), 200);
    allow_files(&rig, 3);
    cr_assert(client_connect(&waiting, rig.child.port));
    cr_assert(CLIENT_SEND(&waiting, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_it_rests(&rig, &idle);
    allow_files(&rig, rig.files_max);
    struct client_response response;
    cr_assert(client_read(&waiting, "GET", &response));
    cr_assert_eq(response.status, 200);
    client_response_fini(&response);
    client_fini(&waiting);
    client_fini(&idle);
    platform_link(&rig.p, "user-1");
    rig_stop(&rig);
    CHECK_LEAKS();
}
