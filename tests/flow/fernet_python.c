// SPDX-License-Identifier: MIT
/* Tokens that Python's cryptography sealed and wrote into the database open here. The other way
 * round is tests/interop/fernet.py. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/accounts_rig.h"
#include "kit/leaks.h"
#include "kit/scratch.h"

/* Around the cipher's blocks, and with more than ASCII in them. */
static const char *const texts[] = {
    "x",
    "fifteen bytes..",
    "a block of bytes",
    "more than a block",
    "forty-eight bytes, which is three whole blocks..",
    "W\xC3\xB6rter /+&=\"'\\ \xE2\x82\xAC \xF0\x9D\x84\x9E",
    "Atnr|EwICIDoN-4vYqmM8kN9QeS7h1VdYx0Zb3TuLw2fRcGaPjHsKtXoBnEi.yUqWzMvJl6D5C8A1F4G7H0",
};
enum { TEXTS = sizeof texts / sizeof *texts };

static void python_seals(const char *path, const char *key) {
    char *arguments[TEXTS + 5] = {"python3", TEST_SOURCE_DIR "/tests/interop/seal_rows.py",
                                  (char *)(uintptr_t)path, (char *)(uintptr_t)key};
    int status = -1;
    for (size_t i = 0; i < TEXTS; i++) {
        arguments[4 + i] = (char *)(uintptr_t)texts[i];
    }
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        execv("/usr/bin/python3", arguments);
        _exit(127);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "seal_rows.py ends with %d", status);
}

static void link_all(const struct accounts_rig_opts *opts) {
    struct accounts_rig rig;
    cr_assert_eq(accounts_rig_open(&rig, opts), RC_OK, "%s", rig.problem);
    for (size_t i = 0; i < TEXTS; i++) {
        char user[16];
        snprintf(user, sizeof user, "user%zu", i);
        cr_assert_eq(accounts_rig_link(&rig, user, "access", "refresh"), RC_OK);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

static void expect_all(const struct accounts_rig_opts *opts) {
    struct accounts_rig rig;
    cr_assert_eq(accounts_rig_open(&rig, opts), RC_OK, "%s", rig.problem);
    for (size_t i = 0; i < TEXTS; i++) {
        char user[16];
        snprintf(user, sizeof user, "user%zu", i);
        struct accounts_rig_result got = accounts_rig_ask(&rig, accounts_open, user);
        cr_assert_eq(got.rc, RC_OK, "text %zu: %s", i, rc_name(got.rc));
        cr_assert_str_eq(got.access_token, texts[i], "text %zu", i);
        cr_assert_str_eq(got.refresh_token, texts[i], "text %zu", i);
        cr_assert(got.sealed, "text %zu was taken for plaintext", i);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
}

Test(fernet_python, sealed_there_opens_here) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "accounts.db");
    struct accounts_rig_opts opts = {.path = file.path, .keys = ACCOUNTS_RIG_KEY};
    link_all(&opts);
    python_seals(file.path, ACCOUNTS_RIG_KEY);
    expect_all(&opts);

    /* under a key that is the second of two by now */
    opts.keys = ACCOUNTS_RIG_OTHER_KEY "," ACCOUNTS_RIG_KEY;
    expect_all(&opts);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(fernet_python, under_another_key_does_not) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "accounts.db");
    struct accounts_rig_opts opts = {.path = file.path, .keys = ACCOUNTS_RIG_KEY};
    struct accounts_rig rig;
    link_all(&opts);
    python_seals(file.path, ACCOUNTS_RIG_OTHER_KEY);
    cr_assert_eq(accounts_rig_open(&rig, &opts), RC_OK, "%s", rig.problem);
    for (size_t i = 0; i < TEXTS; i++) {
        char user[16];
        snprintf(user, sizeof user, "user%zu", i);
        struct accounts_rig_result got = accounts_rig_ask(&rig, accounts_open, user);
        cr_assert_eq(got.rc, RC_NO_KEY_OPENS, "text %zu: %s", i, rc_name(got.rc));
        cr_assert_str_empty(got.refresh_token, "text %zu", i);
    }
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    scratch_free(&folder);
    CHECK_LEAKS();
}
