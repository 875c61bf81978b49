// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "api/docs.h"

enum { DOCS_FILE_BYTES_MAX = 4 * 1024 * 1024, DOCS_PROBLEM_BYTES = 512 };

/* Reads the files of the page /docs from `folder`, or, where that is NULL, from where a build
 * (share/docs) or an installation (../share/latchkey/docs) puts them, as seen from the program.
 * False with what is missing in `problem`: nothing is left in `out`, and there is no such page. */
bool docs_files_read(const char *folder, struct docs *out, char problem[DOCS_PROBLEM_BYTES]);
void docs_files_free(struct docs *docs);
