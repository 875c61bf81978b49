// SPDX-License-Identifier: MIT
/* The seeds of a fuzz target, each through its entry: what a campaign found stays found. */
#include <criterion/criterion.h>
#include <dirent.h>

#include "fuzz/fuzz.h"
#include "kit/leaks.h"

enum { SEED_MAX_BYTES = 1 << 20 };

static int is_seed(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static void replay(const char *name) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", FUZZ_CORPUS, name);
    cr_assert(n > 0 && (size_t)n < sizeof path);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    uint8_t *bytes = malloc(SEED_MAX_BYTES);
    cr_assert_not_null(bytes);
    size_t len = fread(bytes, 1, SEED_MAX_BYTES, file);
    cr_assert(len < SEED_MAX_BYTES && ferror(file) == 0, "%s", path);
    fclose(file);
    /* Where it breaks, it aborts: the last one named is the one. */
    fprintf(stderr, "seed %s: %zu bytes\n", name, len);
    cr_assert_eq(LLVMFuzzerTestOneInput(bytes, len), 0, "%s", path);
    free(bytes);
}

Test(replay, seeds) {
    struct dirent **seeds;
    int n = scandir(FUZZ_CORPUS, &seeds, is_seed, alphasort);
    cr_assert_gt(n, 0, "no seeds in %s", FUZZ_CORPUS);
    for (int i = 0; i < n; i++) {
        replay(seeds[i]->d_name);
        free(seeds[i]);
    }
    free(seeds);
    CHECK_LEAKS();
}

/* The shortest inputs, which no corpus keeps. */
Test(replay, shortest) {
    uint8_t byte = 0;
    cr_assert_eq(LLVMFuzzerTestOneInput(&byte, 0), 0);
    for (int i = 0; i <= UINT8_MAX; i++) {
        byte = (uint8_t)i;
        cr_assert_eq(LLVMFuzzerTestOneInput(&byte, 1), 0, "byte %d", i);
    }
    CHECK_LEAKS();
}
