// SPDX-License-Identifier: MIT
/* kill -9 at random moments of refreshes: what a client was given with a 200 is never lost. Only a
 * kill between the provider's rotation and our commit can cost an account its link; that account
 * then says so, and with a provider that grants a grace period not even that one is lost. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"
#include "kit/soak.h"

enum { ROUNDS = 25, CALLERS = 4, MOMENT_MAX_US = 12 * 1000 };

struct rig {
    struct scratch folder;
    struct platform p;
    struct child child;
};

/* Access tokens that are within a minute of their end at once: every page is a refresh. */
static void rig_start(struct rig *rig, int64_t grace_s) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    rig->folder = scratch_new();
    rig->p.sim = simprovider_spawn(
        &(struct simprovider_opts){.access_ttl_s = 30, .reuse_grace_s = grace_s}, problem);
    cr_assert_not_null(rig->p.sim, "%s", problem);
}

static void rig_serve(struct rig *rig) {
    child_start(&rig->child, rig->folder.path, simprovider_url(rig->p.sim), NULL);
    rig->p.port = rig->child.port;
}

struct caller {
    pthread_t thread;
    int port;
    char token[KIT_JWT_BYTES];
    int served; /* answers of 200 */
};

static int ask_library(int port, const char *token) {
    return ask_status(port, (struct ask){.path = "library?limit=1", .token = token});
}

/* Until the server is killed. */
static void *caller_main(void *arg) {
    struct caller *caller = arg;
    int status;
    do {
        status = ask_library(caller->port, caller->token);
        caller->served += status == 200;
    } while (status != 0);
    return NULL;
}

static void wait_for_a_random_moment(void) {
    nanosleep(&(struct timespec){.tv_nsec = (random() % MOMENT_MAX_US) * 1000}, NULL);
}

static void kill_in_the_middle(struct rig *rig, const char *token) {
    static struct caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i].port = rig->p.port;
        callers[i].served = 0;
        snprintf(callers[i].token, sizeof callers[i].token, "%s", token);
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]), 0);
    }
    wait_for_a_random_moment();
    child_kill(&rig->child);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
    }
}

static bool needs_reauthorization(struct rig *rig, const char *token) {
    char error[64];
    struct client_response response;
    cr_assert_eq(ask(rig->p.port, (struct ask){.path = "connected", .token = token}, &response),
                 200);
    ask_member(&response, "last_sync_error", error, sizeof error);
    client_response_fini(&response);
    return strcmp(error, "reauthorization_required") == 0;
}

/* How many accounts were lost. */
static int campaign(struct rig *rig, int rounds) {
    int lost = 0;
    char token[KIT_JWT_BYTES];
    ask_premium(token, "user-1");
    rig_serve(rig);
    platform_link(&rig->p, "user-1");
    for (int i = 0; i < rounds; i++) {
        int64_t rotations = simprovider_count(rig->p.sim, SIMPROVIDER_REFRESHES_OK);
        kill_in_the_middle(rig, token);
        rig_serve(rig);
        int status = ask_library(rig->p.port, token);
        if (status != 200) {
            cr_assert_eq(status, 503, "round %d: %d", i, status);
            cr_assert(needs_reauthorization(rig, token), "round %d", i);
            /* What was on its way at the kill is carried out after it. */
            cr_assert_gt(simprovider_count(rig->p.sim, SIMPROVIDER_REFRESHES_OK), rotations,
                         "round %d: lost although nothing had been rotated", i);
            lost++;
            platform_link(&rig->p, "user-1");
        }
        cr_assert_eq(ask_library(rig->p.port, token), 200, "round %d", i);
    }
    cr_assert_eq(child_stop(&rig->child), 0);
    return lost;
}

Test(refresh_kills, with_a_grace_period_no_account_is_lost, .timeout = 3600) {
    struct rig rig;
    int rounds = soak_times("TEST_SOAK_ROUNDS", ROUNDS);
    rig_start(&rig, 60);
    cr_assert_eq(campaign(&rig, rounds), 0);
    cr_assert(simprovider_join(rig.p.sim));
    scratch_free(&rig.folder);
    CHECK_LEAKS();
}

/* A token goes out twice only where a kill took the knowledge of the first time. */
Test(refresh_kills, without_one_only_the_account_between_rotation_and_commit_is, .timeout = 3600) {
    struct rig rig;
    int rounds = soak_times("TEST_SOAK_ROUNDS", ROUNDS);
    rig_start(&rig, 0);
    int lost = campaign(&rig, rounds);
    int64_t reuses = simprovider_count(rig.p.sim, SIMPROVIDER_REFRESH_REUSES);
    printf("%d rounds: %d accounts lost between rotation and commit\n", rounds, lost);
    cr_assert_eq(reuses, lost, "%d tokens were sent twice, %d accounts lost", (int)reuses, lost);
    cr_assert(simprovider_join(rig.p.sim));
    scratch_free(&rig.folder);
    CHECK_LEAKS();
}
