// SPDX-License-Identifier: MIT
#include "app/config_equal.h"

#include <string.h>

static bool are_texts_equal(const struct slice *a, const struct slice *b) {
    return slice_is_null(*a) == slice_is_null(*b) && slice_eq(*a, *b);
}

static bool are_secrets_equal(const struct secret *a, const struct secret *b) {
    return (a->at == NULL) == (b->at == NULL) && slice_eq_ct(secret_slice(a), secret_slice(b));
}

static bool are_lists_equal(const struct config_list *a, const struct config_list *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = slice_eq(a->at[i], b->at[i]);
    }
    return same;
}

static bool are_blocks_equal(const struct config_blocks *a, const struct config_blocks *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = a->at[i].kind == b->at[i].kind && a->at[i].bits == b->at[i].bits &&
               memcmp(a->at[i].bytes, b->at[i].bytes, sizeof a->at[i].bytes) == 0;
    }
    return same;
}

static bool are_keys_equal(struct fernet_keys *const *a, struct fernet_keys *const *b) {
    return *a == NULL || *b == NULL ? *a == *b : fernet_keys_equal(*a, *b);
}

bool config_equal(const struct config_var *var, const struct config *a, const struct config *b) {
    const void *x = (const char *)a + var->offset;
    const void *y = (const char *)b + var->offset;
    switch (var->type) {
    case CONFIG_SECRET:
        return are_secrets_equal(x, y);
    case CONFIG_INT:
    case CONFIG_SECONDS:
        return memcmp(x, y, sizeof(int64_t)) == 0;
    case CONFIG_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case CONFIG_CHOICE:
        return memcmp(x, y, sizeof(unsigned)) == 0;
    case CONFIG_URIS:
    case CONFIG_ORIGINS:
    case CONFIG_LISTENS:
        return are_lists_equal(x, y);
    case CONFIG_BLOCKS:
        return are_blocks_equal(x, y);
    case CONFIG_KEYS:
        return are_keys_equal(x, y);
    case CONFIG_TEXT:
    case CONFIG_URL:
    case CONFIG_BASE:
    case CONFIG_PROXY:
    case CONFIG_URI:
    case CONFIG_LISTEN:
    case CONFIG_STORE:
    case CONFIG_PATH:
        return are_texts_equal(x, y);
    }
    return false;
}
