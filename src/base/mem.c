// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t bytes) {
    void *at = malloc(bytes > 0 ? bytes : 1);
    if (at == NULL) {
        abort();
    }
    return at;
}

void *mem_calloc(size_t count, size_t bytes) {
    void *at = calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1);
    if (at == NULL) {
        abort();
    }
    return at;
}

void *mem_realloc(void *old, size_t bytes) {
    void *at = realloc(old, bytes > 0 ? bytes : 1);
    if (at == NULL) {
        abort();
    }
    return at;
}

void mem_free(void *at) {
    free(at);
}

char *mem_strdup(struct slice text) {
    char *copy = mem_alloc(text.len + 1);
    if (text.len > 0) {
        memcpy(copy, text.at, text.len);
    }
    copy[text.len] = '\0';
    return copy;
}

void mem_wipe(void *at, size_t bytes) {
    if (bytes > 0) {
        explicit_bzero(at, bytes);
    }
}

struct secret secret_copy(struct slice text) {
    return (struct secret){mem_strdup(text), text.len};
}

void secret_free(struct secret *secret) {
    if (secret->at != NULL) {
        mem_wipe(secret->at, secret->len);
        mem_free(secret->at);
    }
    *secret = (struct secret){0};
}
