// SPDX-License-Identifier: MIT
#include "app/process.h"

#include <criterion/criterion.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Criterion runs each test in a process of its own, which these change. */
Test(process, hardened_it_dumps_no_core_and_its_files_are_its_own) {
    umask(022);
    process_harden();
    struct rlimit core;
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    cr_assert_eq(getrlimit(RLIMIT_CORE, &core), 0);
    cr_assert_eq(core.rlim_cur, 0);
    cr_assert_eq(core.rlim_max, 0);
    cr_assert_eq(umask(0), 077);
}

Test(process, raises_the_open_files_limit_as_far_as_it_may) {
    struct rlimit files;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    rlim_t most = files.rlim_max < 4096 ? files.rlim_max : 4096;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){256, most}), 0);
    cr_assert_eq(process_raise_files(100), 256); /* never lowered */
    cr_assert_eq(process_raise_files((size_t)most), (size_t)most);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    cr_assert_eq(files.rlim_cur, most);
    size_t got = process_raise_files((size_t)most + 10);
    cr_assert(got == (size_t)most || got == (size_t)most + 10); /* the latter where it is root */
}
