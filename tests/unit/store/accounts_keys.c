// SPDX-License-Identifier: MIT
/* Keys that change while operations are under way. */
#include <criterion/criterion.h>

#include "kit/accounts_rig.h"
#include "kit/leaks.h"
#include "kit/scratch.h"

static struct fernet_keys *parse(const char *text) {
    struct fernet_keys *keys;
    char problem[FERNET_PROBLEM_BYTES];
    cr_assert_eq(fernet_keys_parse(slice_str(text), &keys, problem), RC_OK, "%s", problem);
    return keys;
}

struct two {
    struct accounts_rig rig;
    struct scratch folder;
    struct scratch file;
};

static void start(struct two *two) {
    two->folder = scratch_new();
    two->file = scratch_file(&two->folder, "db");
    cr_assert_eq(
        accounts_rig_open(&two->rig, &(const struct accounts_rig_opts){.path = two->file.path,
                                                                       .keys = ACCOUNTS_RIG_KEY}),
        RC_OK);
}

static void stop(struct two *two) {
    cr_assert_eq(accounts_rig_close(&two->rig), RC_OK);
    scratch_free(&two->folder);
    CHECK_LEAKS();
}

Test(accounts_keys, operations_end_with_the_keys_that_they_began_with) {
    struct two two;
    struct accounts_rig_op open_op = {0};
    struct accounts_rig_op link_op = {0};
    start(&two);
    cr_assert_eq(accounts_rig_link(&two.rig, "ada", "access", "refresh"), RC_OK);
    accounts_rig_start(&two.rig, &open_op, accounts_open, "ada");
    accounts_rig_start_link(&two.rig, &link_op, "bob", "access");
    accounts_take_keys(two.rig.accounts, parse(ACCOUNTS_RIG_OTHER_KEY));
    loop_run(&two.rig.loop);
    cr_assert_eq(open_op.result.rc, RC_OK, "the first key was let go too early");
    cr_assert_str_eq(open_op.result.access_token, "access");
    cr_assert_eq(link_op.result.rc, RC_OK);
    /* bob was sealed with the first key too */
    struct accounts_rig_result bob = accounts_rig_ask(&two.rig, accounts_open, "bob");
    cr_assert_eq(bob.rc, RC_NO_KEY_OPENS);
    accounts_take_keys(two.rig.accounts, parse(ACCOUNTS_RIG_OTHER_KEY "," ACCOUNTS_RIG_KEY));
    bob = accounts_rig_ask(&two.rig, accounts_open, "bob");
    cr_assert_eq(bob.rc, RC_OK);
    stop(&two);
}

Test(accounts_keys, none_is_plain_and_what_was_sealed_stays_closed) {
    struct two two;
    start(&two);
    cr_assert_eq(accounts_rig_link(&two.rig, "ada", "access", "refresh"), RC_OK);
    accounts_take_keys(two.rig.accounts, NULL);
    cr_assert_null(accounts_keys(two.rig.accounts));
    cr_assert_eq(accounts_rig_link(&two.rig, "bob", "access", "refresh"), RC_OK);
    struct accounts_rig_result bob = accounts_rig_ask(&two.rig, accounts_open, "bob");
    cr_assert(bob.rc == RC_OK && !bob.sealed);
    cr_assert_eq(accounts_rig_ask(&two.rig, accounts_open, "ada").rc, RC_NO_KEY_OPENS);
    stop(&two);
}

Test(accounts_keys, equal_lists) {
    static const struct {
        const char *a;
        const char *b;
        bool equal;
    } cases[] = {
        {ACCOUNTS_RIG_KEY, ACCOUNTS_RIG_KEY, true},
        {ACCOUNTS_RIG_KEY, " " ACCOUNTS_RIG_KEY " ", true},
        {ACCOUNTS_RIG_KEY, ACCOUNTS_RIG_OTHER_KEY, false},
        {ACCOUNTS_RIG_KEY, ACCOUNTS_RIG_KEY "," ACCOUNTS_RIG_OTHER_KEY, false},
        {ACCOUNTS_RIG_KEY "," ACCOUNTS_RIG_OTHER_KEY, ACCOUNTS_RIG_OTHER_KEY "," ACCOUNTS_RIG_KEY,
         false},
        /* one half differs */
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", false},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
         "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fernet_keys *a = parse(cases[i].a);
        struct fernet_keys *b = parse(cases[i].b);
        cr_assert_eq(fernet_keys_equal(a, b), cases[i].equal, "case %zu", i);
        fernet_keys_free(a);
        fernet_keys_free(b);
    }
    CHECK_LEAKS();
}
