// SPDX-License-Identifier: MIT
#pragma once

#include "base/buf.h"
#include "base/slice.h"

/* A regular file that holds one value, up to LIMIT_SECRET_FILE_BYTES of it: of a NAME_FILE, or
 * where a command takes one. `content` is made here and the caller's to free (buf_fini wipes it),
 * whatever comes of it; `value` is all of it but the newline at its end. NULL, or what is wrong
 * with the file. */
const char *value_file_read(struct slice path, struct buf *content, struct slice *value);
