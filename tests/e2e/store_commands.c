// SPDX-License-Identifier: MIT
/* The commands that work on the accounts beside a running server: stats, unlink, backup. (rekey has
 * a file of its own.) */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kit/accounts_rig.h"
#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/program.h"
#include "kit/scratch.h"
#include "kit/secrets.h"

#define KEY_A KIT_FERNET_KEY
#define KEY_B "ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s="
#define KEY_C "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M="
#define KEYS "AUDIBLE_TOKEN_ENCRYPTION_KEY="
#define BINARY TEST_BUILD_DIR "/latchkey"

/* The command's arguments from argv[1] on, NULL at the end. */
static struct program *run(const char *folder, const char *const *arguments,
                           const char *const *over) {
    const char *argv[8] = {BINARY};
    struct kit_settings all;
    for (size_t i = 0; arguments[i] != NULL; i++) {
        cr_assert_lt(i, 6u);
        argv[i + 1] = arguments[i];
    }
    kit_settings_init(&all, folder, "http://127.0.0.1:1", over);
    struct program *program = program_run(argv, (const char *const *)all.env);
    kit_settings_fini(&all);
    secrets_expect_none(slice_str(program->out.text), "stdout", true);
    secrets_expect_none(slice_str(program->err.text), "stderr", true);
    return program;
}
#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect(const char *folder, const char *const *arguments, int code, const char *says) {
    struct program *program = run(folder, arguments, NULL);
    cr_assert_eq(program->code, code, "%s: %d %s", arguments[0], program->code, program->err.text);
    cr_assert_not_null(strstr(code == 0 ? program->out.text : program->err.text, says),
                       "wanted %s: %s%s", says, program->out.text, program->err.text);
    program_free(program);
}

static void fill(const struct scratch *folder, const char *keys, const char *prefix, int count,
                 const char *refresh_token) {
    struct accounts_rig rig;
    struct scratch path = scratch_file(folder, "latchkey.db");
    cr_assert_eq(
        accounts_rig_open(&rig, &(const struct accounts_rig_opts){.path = path.path, .keys = keys}),
        RC_OK, "%s", rig.problem);
    for (int i = 0; i < count; i++) {
        char user_id[64];
        snprintf(user_id, sizeof user_id, "%s-%d", prefix, i);
        cr_assert_eq(accounts_rig_link(&rig, user_id, "access-of-someone", refresh_token), RC_OK);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

Test(store_commands, stats_count_accounts_and_keys) {
    struct scratch folder = scratch_new();
    struct child child;
    secrets_add("a token", SLICE("access-of-someone"), SECRETS_NOWHERE);
    expect(folder.path, ARGUMENTS("stats"), 1, "can't be opened");
    fill(&folder, KEY_A, "first", 5, "refresh-of-someone");
    fill(&folder, KEY_B, "second", 3, "refresh-of-someone");
    fill(&folder, KEY_B, "poor", 1, "");
    fill(&folder, KEY_C, "lost", 2, "refresh-of-someone");
    fill(&folder, NULL, "plain", 1, "refresh-of-someone");
    child_start(&child, folder.path, "http://127.0.0.1:1", NULL);
    struct program *program = run(folder.path, ARGUMENTS("stats"), ARGUMENTS(KEYS KEY_A "," KEY_B));
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
    program = run(folder.path, ARGUMENTS("stats"), ARGUMENTS(KEYS));
    cr_assert_not_null(strstr(program->out.text, "tokens_no_key_opens 21\n"), "%s",
                       program->out.text);
    program_free(program);
    cr_assert_eq(child_stop(&child), 0);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- unlink -- */

static bool is_connected_after(struct platform *p, const char *sub, int wait_ms) {
    for (int ms = 0; ms < wait_ms && platform_is_connected(p, sub); ms += 20) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return platform_is_connected(p, sub);
}

Test(store_commands, unlink_deletes_revokes_and_is_noticed_by_the_server) {
    struct platform p;
    char revoke_url[160];
    char auth_url[160];
    platform_start(&p, NULL);
    snprintf(revoke_url, sizeof revoke_url, "AUDIBLE_REVOKE_URL=%s/auth/oauth2/revoke",
             simprovider_url(p.sim));
    snprintf(auth_url, sizeof auth_url, "AUDIBLE_AUTH_URL=%s/auth/oauth2", simprovider_url(p.sim));
    platform_link(&p, "ada");
    platform_link(&p, "bob");
    cr_assert(platform_is_connected(&p, "ada")); /* and is in the cache now */
    cr_assert(platform_is_connected(&p, "bob"));
    struct program *program = run(kit_server_folder(p.server), ARGUMENTS("unlink", "--sub", "ada"),
                                  ARGUMENTS(revoke_url, auth_url));
    cr_assert_eq(program->code, 0, "%s", program->err.text);
    cr_assert_not_null(strstr(program->out.text, "\"event\":\"token_disconnected\""), "%s",
                       program->out.text);
    cr_assert_not_null(strstr(program->out.text, "\"event\":\"token_revoked\""), "%s",
                       program->out.text);
    program_free(program);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_REVOKES), 1);
    cr_assert_not(is_connected_after(&p, "ada", 5000), "the server has not noticed");
    cr_assert(platform_is_connected(&p, "bob"));
    expect(kit_server_folder(p.server), ARGUMENTS("unlink", "--sub", "ada"), 1,
           "there is no account to disconnect");
    platform_link(&p, "ada");
    cr_assert(platform_is_connected(&p, "ada"));
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(store_commands, unlink_without_the_provider) {
    struct scratch folder = scratch_new();
    fill(&folder, KEY_C, "lost", 1, "refresh");
    expect(folder.path, ARGUMENTS("unlink", "--sub", "lost-0"), 0, "token_disconnected");
    expect(folder.path, ARGUMENTS("unlink", "--sub", "lost-0"), 1, "no account");
    expect(folder.path, ARGUMENTS("unlink"), 2, "--sub ID is needed");
    expect(folder.path, ARGUMENTS("unlink", "--sub", ""), 2, "--sub ID is needed");
    expect(folder.path, ARGUMENTS("unlink", "ada"), 2, "an argument too many");
    expect(folder.path, ARGUMENTS("unlink", "--user", "ada"), 2, "the option --user");
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* -- backup -- */

static void check_backup(const struct scratch *file, const char *prefix, int count) {
    struct accounts_rig rig;
    struct stat status;
    cr_assert_eq(stat(file->path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600u);
    cr_assert_eq(accounts_rig_open(
                     &rig, &(const struct accounts_rig_opts){.path = file->path, .keys = KEY_A}),
                 RC_OK, "%s", rig.problem);
    for (int i = 0; i < count; i++) {
        char user_id[64];
        snprintf(user_id, sizeof user_id, "%s-%d", prefix, i);
        struct accounts_rig_result result = accounts_rig_ask(&rig, accounts_open, user_id);
        cr_assert(result.rc == RC_OK && result.sealed, "%s", user_id);
        cr_assert_str_eq(result.access_token, "access-of-someone");
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

Test(store_commands, backup_beside_a_server) {
    struct scratch folder = scratch_new();
    struct scratch other = scratch_new();
    struct scratch copy = scratch_file(&other, "copy.db");
    struct scratch part = scratch_file(&other, "copy.db.part");
    struct child child;
    fill(&folder, KEY_A, "user", 40, "refresh-of-someone");
    child_start(&child, folder.path, "http://127.0.0.1:1", NULL);
    FILE *left_over = fopen(part.path, "w"); /* of a backup that was killed */
    cr_assert_not_null(left_over);
    fclose(left_over);
    expect(folder.path, ARGUMENTS("backup", copy.path), 0, "");
    cr_assert_neq(access(part.path, F_OK), 0);
    expect(folder.path, ARGUMENTS("backup", copy.path), 1, "is there already");
    ask_expect(child.port, (struct ask){.path = "/readyz"}, 200, NULL);
    cr_assert_eq(child_stop(&child), 0);
    check_backup(&copy, "user", 40);
    scratch_free(&folder);
    scratch_free(&other);
    CHECK_LEAKS();
}

Test(store_commands, backup_says_what_is_wrong) {
    struct scratch folder = scratch_new();
    struct scratch copy = scratch_file(&folder, "copy.db");
    struct scratch nowhere = scratch_file(&folder, "no/such/folder");
    expect(folder.path, ARGUMENTS("backup"), 2, "FILE is needed");
    expect(folder.path, ARGUMENTS("backup", "--all"), 2, "--all");
    expect(folder.path, ARGUMENTS("backup", copy.path, "more"), 2, "too many");
    expect(folder.path, ARGUMENTS("backup", copy.path), 1, "can't be opened");
    fill(&folder, KEY_A, "user", 1, "");
    expect(folder.path, ARGUMENTS("backup", nowhere.path), 1, "can't be made");
    cr_assert_neq(access(copy.path, F_OK), 0);
    scratch_free(&folder);
    CHECK_LEAKS();
}
