// SPDX-License-Identifier: MIT
#pragma once

#include "base/rc.h"
#include "store/accounts_backend.h"

/* Copies the accounts' file as it is at one moment, while others read and write it. The target must
 * not be there yet; it comes into being whole and synced, or not at all. RC_USAGE or RC_IO with a
 * sentence in `problem`. Blocks for as long as it takes. */
enum rc accounts_sqlite_backup(const char *path, const char *target,
                               char problem[ACCOUNTS_PROBLEM_BYTES]);
