// SPDX-License-Identifier: MIT
#include "kit/scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

struct scratch scratch_new(void) {
    struct scratch scratch;
    const char *folder = getenv("TMPDIR");
    snprintf(scratch.path, sizeof scratch.path, "%s/latchkey-XXXXXX",
             folder != NULL ? folder : "/tmp");
    if (mkdtemp(scratch.path) == NULL) {
        perror(scratch.path);
        abort();
    }
    return scratch;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void scratch_free(const struct scratch *scratch) {
    nftw(scratch->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct scratch scratch_file(const struct scratch *scratch, const char *name) {
    struct scratch file;
    if (snprintf(file.path, sizeof file.path, "%s/%s", scratch->path, name) >=
        (int)sizeof file.path) {
        abort();
    }
    return file;
}
