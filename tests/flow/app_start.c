// SPDX-License-Identifier: MIT
/* A start that fails at any call leaves nothing; one that succeeds all the same stops cleanly. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "kit/faults.h"
#include "kit/leaks.h"
#include "kit/scratch.h"

enum { CALLS_MAX = 2000 };

struct start {
    struct scratch folder;
    struct notes notes;
    struct config *config;
    struct clock clock;
    struct app_hooks hooks;
};

static void start_init(struct start *start) {
    char store[256];
    char *env[] = {(char[]){"SECRET_KEY=c0ffee5ab1e5f00dba11ad0123456789"},
                   (char[]){"LATCHKEY_LISTEN=127.0.0.1:0,[::1]:0"},
                   (char[]){"LATCHKEY_JWKS_URL=http://127.0.0.1:1/keys"}, store, NULL};
    *start = (struct start){.folder = scratch_new()};
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=sqlite:%s/data/latchkey.db",
             start->folder.path);
    notes_init(&start->notes);
    cr_assert_eq(config_read(env, &start->notes, &start->config), RC_OK);
    struct scratch log = scratch_file(&start->folder, "log");
    start->hooks.log_fd = open(log.path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    start->hooks.owns_process = true; /* signals too */
    cr_assert_geq(start->hooks.log_fd, 0);
}

static void start_fini(struct start *start) {
    close(start->hooks.log_fd);
    config_free(start->config);
    notes_fini(&start->notes);
    scratch_free(&start->folder);
}

static int count_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static int count_lines(const struct start *start, const char *text) {
    static char log[1024 * 1024];
    int count = 0;
    ssize_t n = pread(start->hooks.log_fd, log, sizeof log - 1, 0);
    cr_assert(n > 0 && n < (ssize_t)sizeof log - 1);
    log[n] = '\0';
    for (const char *at = strstr(log, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

/* True while there is an n-th call. */
static bool start_with_fault(struct start *start, enum faults_family family, int n, int *refused) {
    struct app *app;
    faults_arm(family, n);
    enum rc rc = app_start(&app, start->config, &start->clock, &start->hooks);
    if (rc == RC_OK) {
        app_stop(app);
        cr_assert_eq(app_run(app), 0, "call %d, %s: a handle was left open", n, faults_met(family));
    } else {
        cr_assert_null(app);
        ++*refused;
    }
    const char *met = faults_met(family);
    faults_arm(family, 0);
    return met != NULL;
}

static void start_with_faults(enum faults_family family) {
    struct start start;
    int refused = 0;
    int n = 1;
    start_init(&start);
    start_with_fault(&start, family, 0, &refused); /* the pool's threads and their files */
    cr_assert_eq(refused, 0);
    int files = count_files();
    while (start_with_fault(&start, family, n, &refused)) {
        cr_assert_eq(count_files(), files, "call %d leaves a file open", n);
        cr_assert_lt(++n, CALLS_MAX);
    }
    cr_assert_gt(refused, 0, "no fault stopped it");
    cr_assert_eq(count_lines(&start, "\"event\":\"start_failed\""), refused);
    cr_assert_eq(count_lines(&start, "\"event\":\"loop_not_empty\""), 0);
    start_fini(&start);
    CHECK_LEAKS();
}

Test(app_start, leaves_nothing_where_a_call_to_libuv_fails) {
    start_with_faults(FAULTS_UV);
}

Test(app_start, leaves_nothing_where_a_call_to_libcurl_fails) {
    start_with_faults(FAULTS_CURL);
}
