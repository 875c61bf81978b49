// SPDX-License-Identifier: MIT
/* latchkey rekey: alone, beside a server under load, killed in the middle. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "kit/accounts_rig.h"
#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"
#include "kit/secrets.h"
#include "kit/soak.h"

#define KEY_A KIT_FERNET_KEY
#define KEY_B "ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s="
#define KEY_C "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M="
#define QUIET "LATCHKEY_LOG_LEVEL=info"
#define KEYS "AUDIBLE_TOKEN_ENCRYPTION_KEY="

enum { AT_ONCE = 256 };

static struct scratch database(const struct scratch *folder) {
    return scratch_file(folder, "latchkey.db");
}

static void rig_open(struct accounts_rig *rig, const struct scratch *folder, const char *keys) {
    struct scratch path = database(folder);
    cr_assert_eq(
        accounts_rig_open(rig, &(const struct accounts_rig_opts){.path = path.path, .keys = keys}),
        RC_OK, "%s", rig->problem);
}

/* Accounts "<prefix>-<number>", whose tokens say which they are. */
static void fill(const struct scratch *folder, const char *keys, const char *prefix, int count) {
    struct accounts_rig rig;
    struct accounts_rig_op *ops = calloc(AT_ONCE, sizeof *ops);
    rig_open(&rig, folder, keys);
    for (int done = 0; done < count; done += AT_ONCE) {
        for (int i = done; i < count && i < done + AT_ONCE; i++) {
            char user_id[64];
            char token[96];
            snprintf(user_id, sizeof user_id, "%s-%05d", prefix, i);
            snprintf(token, sizeof token, "access of %s", user_id);
            accounts_rig_start_link(&rig, &ops[i - done], user_id, token);
        }
        loop_run(&rig.loop);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    free(ops);
}

/* All of these open under these keys, and hold what they held. */
static void check(const struct scratch *folder, const char *keys, const char *prefix, int count) {
    struct accounts_rig rig;
    rig_open(&rig, folder, keys);
    for (int i = 0; i < count; i++) {
        char user_id[64];
        char token[96];
        snprintf(user_id, sizeof user_id, "%s-%05d", prefix, i);
        snprintf(token, sizeof token, "access of %s", user_id);
        struct accounts_rig_result result = accounts_rig_ask(&rig, accounts_open, user_id);
        cr_assert_eq(result.rc, RC_OK, "%s: %s", user_id, rc_name(result.rc));
        cr_assert(result.sealed, "%s", user_id);
        cr_assert_str_eq(result.access_token, token);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

/* "latchkey rekey" under these keys. */
static struct program *start_rekey(const struct scratch *folder, const char *keys) {
    const char *const argv[] = {TEST_BUILD_DIR "/latchkey", "rekey", NULL};
    struct kit_settings all;
    char setting[256];
    const char *over[] = {setting, NULL};
    snprintf(setting, sizeof setting, KEYS "%s", keys);
    kit_settings_init(&all, folder->path, "http://127.0.0.1:1", over);
    struct program *program = program_start(argv, (const char *const *)all.env);
    kit_settings_fini(&all);
    return program;
}

static size_t times(const char *text, const char *wanted) {
    size_t count = 0;
    while ((text = strstr(text, wanted)) != NULL) {
        text += strlen(wanted);
        count++;
    }
    return count;
}

static void add_secrets(void) {
    secrets_add("key A", slice_str(KEY_A), SECRETS_NOWHERE);
    secrets_add("key B", slice_str(KEY_B), SECRETS_NOWHERE);
    secrets_add("key C", slice_str(KEY_C), SECRETS_NOWHERE);
    secrets_add("a token", SLICE("access of "), SECRETS_NOWHERE);
    secrets_add("a sealed token", SLICE("gAAAAA"), SECRETS_NOWHERE);
}

/* Runs it to its end, which must say this. */
static void expect_rekey(const struct scratch *folder, const char *keys, int code,
                         const char *says) {
    struct program *program = start_rekey(folder, keys);
    cr_assert_eq(program_wait(program), code, "%s", program->err.text);
    cr_assert_not_null(strstr(program->err.text, says), "wanted %s: %s", says, program->err.text);
    secrets_expect_none(slice_str(program->out.text), "stdout", true);
    secrets_expect_none(slice_str(program->err.text), "stderr", true);
    program_free(program);
}

Test(rekey, brings_all_under_the_first_key) {
    struct scratch folder = scratch_new();
    add_secrets();
    fill(&folder, KEY_A, "old", 150);
    fill(&folder, KEY_B, "new", 70);
    fill(&folder, NULL, "plain", 5);
    struct program *program = start_rekey(&folder, KEY_B "," KEY_A);
    cr_assert_eq(program_wait(program), 0, "%s", program->err.text);
    cr_assert_not_null(strstr(program->err.text,
                              "done: 225 accounts: 150 resealed, 5 were in plain, 70 had the first "
                              "key already, 0 left (no key opens them), 0 failed"),
                       "%s", program->err.text);
    const char *audit = program->out.text;
    cr_assert_eq(times(audit, "\"event\":\"token_rekeyed\""), 155u);
    cr_assert_eq(times(audit, "\"audit\":true"), 155u);
    cr_assert_eq(times(audit, "\"outcome\":\"resealed\",\"sealed\":true"), 150u);
    cr_assert_eq(times(audit, "\"outcome\":\"sealed\",\"sealed\":true"), 5u);
    cr_assert_eq(times(audit, "\"user_id\":\"plain-00004\""), 1u);
    secrets_expect_none(slice_str(audit), "the audit", true);
    program_free(program);
    check(&folder, KEY_B, "old", 150);
    check(&folder, KEY_B, "new", 70);
    check(&folder, KEY_B, "plain", 5);
    expect_rekey(&folder, KEY_B "," KEY_A, 0, "0 resealed, 0 were in plain, 225 had the first key");
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(rekey, what_no_key_opens_is_left_and_counted) {
    struct scratch folder = scratch_new();
    add_secrets();
    fill(&folder, KEY_A, "old", 10);
    fill(&folder, KEY_C, "lost", 3);
    expect_rekey(&folder, KEY_B "," KEY_A, 1,
                 "10 resealed, 0 were in plain, 0 had the first key "
                 "already, 3 left (no key opens them), 0 failed");
    check(&folder, KEY_C, "lost", 3);
    expect_rekey(&folder, KEY_B "," KEY_C, 0, "3 resealed");
    check(&folder, KEY_B, "lost", 3);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(rekey, says_what_it_needs) {
    struct scratch folder = scratch_new();
    expect_rekey(&folder, "", 2, "AUDIBLE_TOKEN_ENCRYPTION_KEY is not set");
    expect_rekey(&folder, KEY_A, 1, "can't be opened");
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(rekey, an_empty_store_is_done) {
    struct scratch folder = scratch_new();
    fill(&folder, KEY_A, "none", 0);
    expect_rekey(&folder, KEY_A, 0, "done: 0 accounts");
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- beside a server under load -- */

enum { FILLED_PER_KILL = 200, REFRESHERS = 3, KILLS = 6 };

struct load {
    struct platform *p;
    atomic_bool stop;
    atomic_int refreshes;
    atomic_int links;
    atomic_int wrong;
};

struct refresher {
    pthread_t thread;
    struct load *load;
    char token[KIT_JWT_BYTES];
};

static void wait_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Each page is a refresh: access tokens are within a minute of their end at once. */
static void *refresh_on(void *owner) {
    struct refresher *refresher = owner;
    struct load *load = refresher->load;
    while (!load->stop) {
        int status = ask_status(load->p->port,
                                (struct ask){.path = "library?limit=1", .token = refresher->token});
        load->refreshes++;
        load->wrong += status != 200;
        wait_ms(5); /* what the server logs of it has to fit */
    }
    return NULL;
}

static void link_on(struct load *load, int number) {
    char user_id[32];
    snprintf(user_id, sizeof user_id, "live-%d", number);
    platform_link(load->p, user_id);
    load->links++;
}

static void expect_all_served(struct platform *p, int links) {
    for (int i = 0; i < links; i++) {
        char user_id[32];
        char token[KIT_JWT_BYTES];
        snprintf(user_id, sizeof user_id, "live-%d", i);
        ask_premium(token, user_id);
        ask_expect(p->port, (struct ask){.path = "library?limit=1", .token = token}, 200, NULL);
    }
}

/* All rows of the store, whoever they are, are under this key. */
static void expect_all_open(const struct scratch *folder, const char *key) {
    expect_rekey(folder, key, 0, "0 resealed, 0 were in plain");
}

Test(rekey, beside_a_server_under_load_and_killed_in_the_middle, .timeout = 600) {
    struct scratch folder = scratch_new();
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    struct platform p = {
        .sim = simprovider_spawn(&(struct simprovider_opts){.access_ttl_s = 30}, problem)};
    struct child child;
    struct load load = {.p = &p};
    static struct refresher refreshers[REFRESHERS];
    int kills = soak_times("TEST_SOAK_KILLS", KILLS);
    cr_assert_not_null(p.sim, "%s", problem);
    add_secrets();
    fill(&folder, KEY_A, "filled", FILLED_PER_KILL * kills);
    /* users with tokens of the provider's, sealed under the old key */
    child_start(&child, folder.path, simprovider_url(p.sim), NULL);
    p.port = child.port;
    for (int i = 0; i < REFRESHERS; i++) {
        link_on(&load, i);
    }
    cr_assert_eq(child_stop(&child), 0);
    child_start(&child, folder.path, simprovider_url(p.sim),
                (const char *const[]){KEYS KEY_B "," KEY_A, QUIET, NULL});
    p.port = child.port;
    for (int i = 0; i < REFRESHERS; i++) {
        char user_id[32];
        snprintf(user_id, sizeof user_id, "live-%d", i);
        refreshers[i].load = &load;
        ask_premium(refreshers[i].token, user_id);
        cr_assert_eq(pthread_create(&refreshers[i].thread, NULL, refresh_on, &refreshers[i]), 0);
    }
    int links = REFRESHERS;
    int killed = 0;
    for (int i = 0; i < kills; i++) {
        struct program *program = start_rekey(&folder, KEY_B "," KEY_A);
        link_on(&load, links++);
        bool ended = program_ends_within(program, (int)(random() % 60));
        if (!ended) {
            program_signal(program, SIGKILL);
            program_wait(program);
            killed += strstr(program->out.text, "\"token_rekeyed\"") != NULL;
        }
        program_free(program);
    }
    cr_assert_gt(killed, 0, "none was killed in the middle");
    expect_rekey(&folder, KEY_B "," KEY_A, 0, "0 left (no key opens them), 0 failed");
    link_on(&load, links++);
    load.stop = true;
    for (int i = 0; i < REFRESHERS; i++) {
        pthread_join(refreshers[i].thread, NULL);
    }
    cr_assert_gt(load.refreshes, 10);
    cr_assert_eq(load.wrong, 0, "%d of %d", load.wrong, load.refreshes);
    expect_all_served(&p, links);
    expect_all_open(&folder, KEY_B);
    cr_assert_eq(child_stop(&child), 0);
    cr_assert(simprovider_join(p.sim));
    check(&folder, KEY_B, "filled", FILLED_PER_KILL * kills);
    expect_all_open(&folder, KEY_B);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* A server that still has the old list seals under the old key: it is said. */
Test(rekey, a_server_with_another_list_is_noticed) {
    struct scratch folder = scratch_new();
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    struct platform p = {
        .sim = simprovider_spawn(&(struct simprovider_opts){.access_ttl_s = 30}, problem)};
    struct child child;
    struct load load = {.p = &p};
    static struct refresher refreshers[REFRESHERS];
    cr_assert_not_null(p.sim, "%s", problem);
    add_secrets();
    fill(&folder, KEY_A, "filled", 300);
    child_start(&child, folder.path, simprovider_url(p.sim),
                (const char *const[]){KEYS KEY_A "," KEY_B, QUIET, NULL});
    p.port = child.port;
    for (int i = 0; i < REFRESHERS; i++) {
        char user_id[32];
        snprintf(user_id, sizeof user_id, "live-%d", i);
        link_on(&load, i);
        refreshers[i].load = &load;
        ask_premium(refreshers[i].token, user_id);
        cr_assert_eq(pthread_create(&refreshers[i].thread, NULL, refresh_on, &refreshers[i]), 0);
    }
    expect_rekey(&folder, KEY_B "," KEY_A, 1, "");
    load.stop = true;
    for (int i = 0; i < REFRESHERS; i++) {
        pthread_join(refreshers[i].thread, NULL);
    }
    cr_assert_eq(load.wrong, 0, "%d of %d", load.wrong, load.refreshes);
    expect_rekey(&folder, KEY_B "," KEY_A, 0, "0 failed");
    cr_assert_eq(child_stop(&child), 0);
    cr_assert(simprovider_join(p.sim));
    scratch_free(&folder);
    CHECK_LEAKS();
}
