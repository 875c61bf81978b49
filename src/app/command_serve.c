// SPDX-License-Identifier: MIT
#include "app/command_serve.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/app.h"
#include "app/process.h"
#include "app/supervisor.h"

/* It executes itself, so that a worker inherits nothing of a program that has run: no random
 * numbers, no threads, no addresses that an attacker has found out at its predecessor. */
#define PROGRAM "/proc/self/exe"

/* This process is the server. */
static int serve(const struct config *config, const struct app_hooks *hooks) {
    struct clock clock = {0};
    struct app *app;
    char threads[24];
    /* libuv reads it when its pool starts; no other thread is there yet. */
    snprintf(threads, sizeof threads, "%d", (int)config->work_threads);
    setenv("UV_THREADPOOL_SIZE", threads, 1);
    enum rc rc = app_start(&app, config, &clock, hooks);
    if (rc != RC_OK) {
        return rc == RC_USAGE ? COMMAND_USAGE : COMMAND_FAILED;
    }
    if (hooks->worker != NULL) {
        worker_say_ready(hooks->worker);
    }
    return app_run(app);
}

/* Other processes are. Takes the configuration, which is of no further use. */
static int supervise(const struct command_line *line, struct config *config,
                     const struct notes *notes) {
    static const char *const argv[] = {"latchkey", "worker", NULL};
    struct slice addresses[WORKER_SOCKETS_MAX];
    struct clock clock = {0};
    struct supervisor *supervisor;
    size_t count = 0;
    process_fill_stdio();
    process_harden();
    for (; count < config->listen.count && count < LIMIT_LISTENERS; count++) {
        addresses[count] = config->listen.at[count];
    }
    if (!slice_is_null(config->metrics_listen)) {
        addresses[count++] = config->metrics_listen;
    }
    const struct supervisor_opts opts = {
        .workers = (int)config->workers,
        .program = PROGRAM,
        .argv = argv,
        .env = line->env,
        .addresses = addresses,
        .address_count = count,
        .drain_ms = config->drain_delay_ms + config->drain_ms + config->request_timeout_ms +
                    LIMIT_WORKER_LATE_MS,
        .log_fd = STDOUT_FILENO,
        .log_level = config->log_level,
        .clock = &clock,
        .notes = notes,
    };
    enum rc rc = supervisor_start(&supervisor, &opts);
    config_free(config);
    if (rc != RC_OK) {
        return rc == RC_USAGE ? COMMAND_USAGE : COMMAND_FAILED;
    }
    return supervisor_run(supervisor);
}

int command_serve_run(const struct command_line *line) {
    struct notes notes;
    struct config *config;
    int code = command_line_none(line);
    if (code != COMMAND_GOOD) {
        return code;
    }
    notes_init(&notes);
    if (config_read(line->env, &notes, &config) != RC_OK) {
        command_line_say(stderr, &notes);
        code = COMMAND_USAGE;
    } else if (config->workers > 1) {
        code = supervise(line, config, &notes);
    } else {
        code = serve(config, &(const struct app_hooks){.log_fd = STDOUT_FILENO,
                                                       .owns_process = true,
                                                       .notes = &notes,
                                                       .env = line->env});
        config_free(config);
    }
    notes_fini(&notes);
    return code;
}

/* Its parent has logged what is unwise about the settings. */
static int run_worker(const struct command_line *line, const struct worker *worker) {
    struct notes notes;
    struct config *config;
    int code = COMMAND_USAGE;
    notes_init(&notes);
    if (config_read(line->env, &notes, &config) != RC_OK) {
        command_line_say(stderr, &notes);
    } else {
        code = serve(config, &(const struct app_hooks){.log_fd = STDOUT_FILENO,
                                                       .owns_process = true,
                                                       .env = line->env,
                                                       .worker = worker});
        config_free(config);
    }
    notes_fini(&notes);
    return code;
}

int command_worker_run(const struct command_line *line) {
    struct worker worker;
    process_harden();
    process_name("latchkey");
    if (line->argc != 3 || worker_init(&worker, line->argv[1], line->argv[2]) != RC_OK) {
        fprintf(stderr, "latchkey worker: is started by latchkey serve, with LATCHKEY_WORKERS\n");
        return COMMAND_USAGE;
    }
    int code = run_worker(line, &worker);
    worker_fini(&worker);
    return code;
}
