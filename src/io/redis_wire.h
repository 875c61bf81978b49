// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

/* Commands as Redis reads them: an array of bulk strings (RESP2). Pure. */
void redis_wire_head(struct buf *out, size_t arg_count);
void redis_wire_arg(struct buf *out, struct slice arg);
void redis_wire_command(struct buf *out, const struct slice *args, size_t arg_count);
