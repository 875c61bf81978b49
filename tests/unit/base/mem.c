// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rc.h"
#include "kit/leaks.h"

Test(mem, nothing_is_something) {
    void *at = mem_alloc(0);
    cr_assert_not_null(at);
    at = mem_realloc(at, 0);
    cr_assert_not_null(at);
    mem_free(at);
    at = mem_calloc(0, 0);
    cr_assert_not_null(at);
    mem_free(at);
    mem_free(NULL);
    CHECK_LEAKS();
}

/* In a child of its own, because AddressSanitizer ends the process in its own way. */
Test(mem, aborts_when_there_is_none) {
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        close(STDERR_FILENO);
        mem_free(mem_calloc(SIZE_MAX / 2, 4));
        _exit(0);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_neq(status, 0, "went on without memory");
}

Test(mem, secret) {
    struct secret none = {0};
    secret_free(&none);
    struct secret secret = secret_copy(SLICE("hush"));
    cr_assert(slice_eq(secret_slice(&secret), SLICE("hush")));
    cr_assert_eq(secret.at[4], '\0');
    secret_free(&secret);
    cr_assert_null(secret.at);
    cr_assert_eq(secret.len, 0);
    secret_free(&secret);
    char *copy = mem_strdup(SLICE_NULL);
    cr_assert_str_eq(copy, "");
    mem_free(copy);
    CHECK_LEAKS();
}

Test(mem, wipe) {
    char at[4] = "hush";
    mem_wipe(at + 1, 2);
    cr_assert_arr_eq(at, "h\0\0h", 4);
    mem_wipe(NULL, 0);
}

Test(rc, every_code_has_a_name_and_a_text) {
    for (int rc = 0; rc < RC_COUNT; rc++) {
        cr_assert_not_null(rc_name((enum rc)rc));
        cr_assert_not_null(rc_text((enum rc)rc));
    }
    cr_assert_str_eq(rc_name(RC_NO_KEY_OPENS), "NO_KEY_OPENS");
    cr_assert_str_eq(rc_name((enum rc)9999), "UNKNOWN");
    cr_assert_str_eq(rc_text((enum rc) - 1), "unknown");
}
