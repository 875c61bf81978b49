// SPDX-License-Identifier: MIT
#include "io/redis.h"

#include <hiredis/hiredis.h>

/* An answer is hiredis's own; nobody else sees its type. */
static const redisReply *reply_of(const struct redis_value *value) {
    return (const redisReply *)(const void *)value;
}

enum redis_kind redis_kind(const struct redis_value *value) {
    switch (value != NULL ? reply_of(value)->type : REDIS_REPLY_NIL) {
    case REDIS_REPLY_INTEGER:
        return REDIS_INTEGER;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return REDIS_TEXT;
    case REDIS_REPLY_ARRAY:
        return REDIS_LIST;
    case REDIS_REPLY_ERROR:
        return REDIS_ERROR;
    default:
        return REDIS_NIL;
    }
}

int64_t redis_integer(const struct redis_value *value) {
    return redis_kind(value) == REDIS_INTEGER ? reply_of(value)->integer : 0;
}

struct slice redis_text(const struct redis_value *value) {
    enum redis_kind kind = redis_kind(value);
    if (kind != REDIS_TEXT && kind != REDIS_ERROR) {
        return SLICE_NULL;
    }
    return slice_make(reply_of(value)->str, reply_of(value)->len);
}

size_t redis_count(const struct redis_value *value) {
    return redis_kind(value) == REDIS_LIST ? reply_of(value)->elements : 0;
}

const struct redis_value *redis_at(const struct redis_value *list, size_t index) {
    if (index >= redis_count(list)) {
        return NULL;
    }
    return (const struct redis_value *)(const void *)reply_of(list)->element[index];
}
