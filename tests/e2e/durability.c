// SPDX-License-Identifier: MIT
/* A 200 means that the account is stored: whatever happens to the process or the disk next. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"
#include "kit/soak.h"

enum { ROUNDS = 50 };

struct rig {
    struct scratch folder;
    struct platform p; /* its server is the process */
    struct child child;
};

static void rig_start(struct rig *rig) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    rig->folder = scratch_new();
    rig->p.sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(rig->p.sim, "%s", problem);
    child_start(&rig->child, rig->folder.path, simprovider_url(rig->p.sim), NULL);
    rig->p.port = rig->child.port;
}

static void rig_restart(struct rig *rig) {
    child_start(&rig->child, rig->folder.path, simprovider_url(rig->p.sim), NULL);
    rig->p.port = rig->child.port;
}

static void rig_stop(struct rig *rig) {
    cr_assert_eq(child_stop(&rig->child), 0);
    cr_assert(simprovider_join(rig->p.sim));
    scratch_free(&rig->folder);
}

Test(durability, killed_directly_after_a_200_the_account_is_there, .timeout = 3600) {
    struct rig rig;
    char sub[32];
    int rounds = soak_times("TEST_SOAK_ROUNDS", ROUNDS);
    rig_start(&rig);
    for (int i = 0; i < rounds; i++) {
        snprintf(sub, sizeof sub, "user-%d", i);
        platform_link(&rig.p, sub);
        child_kill(&rig.child);
        rig_restart(&rig);
        cr_assert(platform_is_connected(&rig.p, sub), "round %d", i);
    }
    rig_stop(&rig);
    CHECK_LEAKS();
}

/* No file of the server's may grow any more: a full disk, as seen by one process. */
static void set_disk_full(struct rig *rig, bool full) {
    struct scratch wal = scratch_file(&rig->folder, "latchkey.db-wal");
    struct stat file = {0};
    stat(wal.path, &file);
    struct rlimit limit = {.rlim_cur = full ? (rlim_t)file.st_size : RLIM_INFINITY,
                           .rlim_max = RLIM_INFINITY};
    cr_assert_eq(prlimit(child_pid(&rig->child), RLIMIT_FSIZE, &limit, NULL), 0);
}

static int try_link(struct rig *rig, const char *sub, char detail[64]) {
    char token[KIT_JWT_BYTES];
    struct ask_grant grant;
    struct client_response response;
    ask_premium(token, sub);
    ask_grant(rig->p.port, rig->p.sim, token, &grant);
    int status = ask_callback(rig->p.port, token, &grant, &response);
    ask_member(&response, "detail", detail, 64);
    client_response_fini(&response);
    return status;
}

Test(durability, a_full_disk_is_said_and_got_over, .timeout = 120) {
    struct rig rig;
    char detail[64];
    char token[KIT_JWT_BYTES];
    rig_start(&rig);
    platform_link(&rig.p, "user-before");
    set_disk_full(&rig, true);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(try_link(&rig, "user-full", detail), 503);
        cr_assert_str_eq(detail, "storage_unavailable");
        cr_assert_not(platform_is_connected(&rig.p, "user-full"));
    }
    cr_assert(platform_is_connected(&rig.p, "user-before"));
    ask_premium(token, "user-before");
    ask_expect(rig.p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token},
               503, "storage_unavailable");
    cr_assert(platform_is_connected(&rig.p, "user-before"));
    set_disk_full(&rig, false);
    platform_link(&rig.p, "user-full");
    cr_assert(platform_is_connected(&rig.p, "user-full"));
    child_kill(&rig.child);
    rig_restart(&rig);
    cr_assert(platform_is_connected(&rig.p, "user-full"));
    cr_assert(platform_is_connected(&rig.p, "user-before"));
    rig_stop(&rig);
    CHECK_LEAKS();
}

Test(durability, one_server_a_file, .timeout = 60) {
    struct rig rig;
    char command[1024];
    rig_start(&rig);
    snprintf(command, sizeof command,
             "env -i SECRET_KEY='%s' LATCHKEY_LISTEN=127.0.0.1:0 "
             "LATCHKEY_ACCOUNT_STORE='sqlite:%s/latchkey.db' " TEST_BUILD_DIR
             "/latchkey serve >/dev/null 2>&1",
             KIT_SECRET_KEY, rig.folder.path);
    int status = system(command);
    cr_assert(WIFEXITED(status));
    cr_assert_neq(WEXITSTATUS(status), 0);
    platform_link(&rig.p, "user-1");
    rig_stop(&rig);
    CHECK_LEAKS();
}

Test(durability, files_are_the_owners_alone) {
    static const char *const names[] = {"latchkey.db", "latchkey.db-wal", "latchkey.db-shm"};
    struct rig rig;
    rig_start(&rig);
    platform_link(&rig.p, "user-1");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct scratch path = scratch_file(&rig.folder, names[i]);
        struct stat file;
        cr_assert_eq(stat(path.path, &file), 0, "%s", names[i]);
        cr_assert_eq(file.st_mode & 0777, 0600, "%s: %o", names[i], file.st_mode & 0777);
    }
    rig_stop(&rig);
    CHECK_LEAKS();
}
