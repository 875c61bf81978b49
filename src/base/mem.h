// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

#include "base/slice.h"

/* Allocation that aborts when the system has no memory left: there is no useful answer to it in a
 * process whose every table is capped. */
void *mem_alloc(size_t bytes);
void *mem_calloc(size_t count, size_t bytes);
void *mem_realloc(void *old, size_t bytes);
void mem_free(void *at);
char *mem_strdup(struct slice text); /* NUL-terminated copy */

/* Zeroes in a way that the compiler keeps. */
void mem_wipe(void *at, size_t bytes);

/* A secret that this owner holds: a NUL-terminated copy on the heap, wiped when freed. Never
 * printed; a log line or a message may say its length. All zero is "none". */
struct secret {
    char *at;
    size_t len;
};

struct secret secret_copy(struct slice text);
void secret_free(struct secret *secret); /* wipes; fine on an all-zero one */

static inline struct slice secret_slice(const struct secret *secret) {
    return (struct slice){secret->at, secret->len};
}
