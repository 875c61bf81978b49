// SPDX-License-Identifier: MIT
#pragma once

/* A folder of a test's own, in the system's place for temporary files. */
enum { SCRATCH_BYTES = 128 };

struct scratch {
    char path[SCRATCH_BYTES];
};

struct scratch scratch_new(void);
/* Removes it and all that is in it. */
void scratch_free(const struct scratch *scratch);
/* "<folder>/<name>" */
struct scratch scratch_file(const struct scratch *scratch, const char *name);
