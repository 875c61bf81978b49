// SPDX-License-Identifier: MIT
#include "io/redis_wire.h"

void redis_wire_head(struct buf *out, size_t arg_count) {
    buf_append_char(out, '*');
    buf_append_u64(out, arg_count);
    BUF_LIT(out, "\r\n");
}

void redis_wire_arg(struct buf *out, struct slice arg) {
    buf_append_char(out, '$');
    buf_append_u64(out, arg.len);
    BUF_LIT(out, "\r\n");
    buf_append(out, arg);
    BUF_LIT(out, "\r\n");
}

void redis_wire_command(struct buf *out, const struct slice *args, size_t arg_count) {
    redis_wire_head(out, arg_count);
    for (size_t i = 0; i < arg_count; i++) {
        redis_wire_arg(out, args[i]);
    }
}
