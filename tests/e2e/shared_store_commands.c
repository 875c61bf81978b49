// SPDX-License-Identifier: MIT
/* The commands that work on the accounts, where these are in a store that servers share: what they
 * do in a SQLite file is in store_commands.c and rekey.c, and is the same here. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kit/account_place.h"
#include "kit/accounts_rig.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"
#include "kit/program.h"
#include "kit/secrets.h"
#include "kit/settings.h"

#define KEY_A KIT_FERNET_KEY
#define KEY_B "ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s="
#define KEY_C "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M="
#define KEYS "AUDIBLE_TOKEN_ENCRYPTION_KEY="

/* The store, and a file beside it that accounts come from and are looked at in. */
struct bench {
    struct account_place shared;
    struct account_place file;
};

static struct program *run(const struct bench *bench, const char *keys,
                           const char *const *arguments) {
    const char *argv[8] = {TEST_BUILD_DIR "/latchkey"};
    struct kit_settings all;
    char store[300];
    char key_setting[256];
    const char *over[] = {store, key_setting, NULL};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        cr_assert_lt(i, 6u);
        argv[i + 1] = arguments[i];
    }
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", bench->shared.url);
    snprintf(key_setting, sizeof key_setting, KEYS "%s", keys);
    kit_settings_init(&all, bench->file.folder.path, "http://127.0.0.1:1", over);
    struct program *program = program_run(argv, (const char *const *)all.env);
    kit_settings_fini(&all);
    secrets_expect_none(slice_str(program->out.text), "stdout", true);
    secrets_expect_none(slice_str(program->err.text), "stderr", true);
    return program;
}
#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* `says` in what it wrote on either. */
static void expect(const struct bench *bench, const char *keys, const char *const *arguments,
                   int code, const char *says) {
    struct program *program = run(bench, keys, arguments);
    cr_assert_eq(program->code, code, "%s: %d %s", arguments[0], program->code, program->err.text);
    cr_assert(strstr(program->out.text, says) != NULL || strstr(program->err.text, says) != NULL,
              "%s: wanted %s: %s%s", arguments[0], says, program->out.text, program->err.text);
    program_free(program);
}

static void fill(const struct bench *bench, const char *keys, const char *prefix, int count,
                 const char *refresh_token) {
    struct accounts_rig rig;
    const char *path = bench->file.url + strlen("sqlite:");
    cr_assert_eq(
        accounts_rig_open(&rig, &(const struct accounts_rig_opts){.path = path, .keys = keys}),
        RC_OK, "%s", rig.problem);
    for (int i = 0; i < count; i++) {
        char user_id[64];
        snprintf(user_id, sizeof user_id, "%s-%d", prefix, i);
        cr_assert_eq(accounts_rig_link(&rig, user_id, "access-of-someone", refresh_token), RC_OK);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

/* All that open under this key hold what was linked. */
static void check(const struct bench *bench, const char *keys, const char *prefix, int count) {
    struct accounts_rig rig;
    const char *path = bench->file.url + strlen("sqlite:");
    cr_assert_eq(
        accounts_rig_open(&rig, &(const struct accounts_rig_opts){.path = path, .keys = keys}),
        RC_OK, "%s", rig.problem);
    for (int i = 0; i < count; i++) {
        char user_id[64];
        snprintf(user_id, sizeof user_id, "%s-%d", prefix, i);
        struct accounts_rig_result result = accounts_rig_ask(&rig, accounts_open, user_id);
        cr_assert_eq(result.rc, RC_OK, "%s: %s", user_id, rc_name(result.rc));
        cr_assert(result.sealed, "%s", user_id);
        cr_assert_str_eq(result.access_token, "access-of-someone");
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

/* Accounts under three keys and in plain, in the shared store. */
static void begin(struct bench *bench, const struct account_place_kind *kind) {
    account_place_make(&bench->shared, kind);
    account_place_make(&bench->file, &account_place_sqlite);
    secrets_add("a token", SLICE("access-of-someone"), SECRETS_NOWHERE);
    secrets_add("a sealed token", SLICE("gAAAAA"), SECRETS_NOWHERE);
    fill(bench, KEY_A, "first", 5, "refresh-of-someone");
    fill(bench, KEY_B, "second", 3, "refresh-of-someone");
    fill(bench, KEY_B, "poor", 1, "");
    fill(bench, KEY_C, "lost", 2, "refresh-of-someone");
    fill(bench, NULL, "plain", 1, "refresh-of-someone");
    expect(bench, KEY_A, ARGUMENTS("migrate", bench->file.url, "-"), 0, "12 copied");
}

static void end(struct bench *bench) {
    account_place_drop(&bench->shared);
    account_place_drop(&bench->file);
    CHECK_LEAKS();
}

static void all_commands(const struct account_place_kind *kind) {
    struct bench bench;
    begin(&bench, kind);
    struct program *program = run(&bench, KEY_A "," KEY_B, ARGUMENTS("stats"));
    cr_assert_eq(program->code, 0, "%s", program->err.text);
    cr_assert_str_eq(program->out.text, "accounts 12\n"
                                        "accounts_pending 0\n"
                                        "accounts_synced 12\n"
                                        "accounts_failed 0\n"
                                        "accounts_reauthorization_required 0\n"
                                        "accounts_without_refresh_token 1\n"
                                        "tokens_key_1 10\n"
                                        "tokens_key_2 7\n"
                                        "tokens_in_plain 2\n"
                                        "tokens_no_key_opens 4\n");
    program_free(program);
    expect(&bench, KEY_B "," KEY_A, ARGUMENTS("rekey"), 1,
           "done: 12 accounts: 5 resealed, 1 were in plain, 4 had the first key already, 2 left");
    expect(&bench, KEY_A, ARGUMENTS("unlink", "--sub", "lost-0"), 0, "token_disconnected");
    expect(&bench, KEY_A, ARGUMENTS("unlink", "--sub", "lost-0"), 1, "no account");
    expect(&bench, KEY_A, ARGUMENTS("unlink", "--sub", "lost-1"), 0, "token_disconnected");
    expect(&bench, KEY_B "," KEY_A, ARGUMENTS("rekey"), 0, "10 had the first key already, 0 left");
    expect(&bench, KEY_A, ARGUMENTS("backup", "copy.db"), 2, "is no SQLite file");
    expect(&bench, KEY_A, ARGUMENTS("migrate", "--prune", "-", bench.file.url), 0,
           "6 replaced (TO had an older one), 4 equal already, 0 kept (TO has a newer one), 0 "
           "failed; in TO only: 0, pruned: 2");
    check(&bench, KEY_B, "first", 5);
    check(&bench, KEY_B, "second", 3);
    check(&bench, KEY_B, "poor", 1);
    check(&bench, KEY_B, "plain", 1);
    kind->kill(&bench.shared);
    expect(&bench, KEY_A, ARGUMENTS("stats"), 1, "the accounts can't be read");
    expect(&bench, KEY_A, ARGUMENTS("rekey"), 1, "the accounts can't be read");
    expect(&bench, KEY_A, ARGUMENTS("unlink", "--sub", "first-0"), 1, "account_store_failed");
    kind->start(&bench.shared);
    end(&bench);
}

Test(shared_store_commands, in_redis) {
    all_commands(&account_place_redis);
}
Test(shared_store_commands, in_mongodb) {
    NEEDS_MONGO_SERVER();
    all_commands(&account_place_mongo);
}
