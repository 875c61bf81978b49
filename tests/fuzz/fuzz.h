// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/slice.h"

/* What every target is: libFuzzer's entry (fuzz_<name>), and replay.c's over the seeds, compiled
 * like the tests (replay_<name>). Most inputs are a letter, which says what is tried, and the rest.
 */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* An invariant: stays in every build, unlike an assert, and is seen by the fuzzer. */
#define FUZZ_CHECK(good)                                                                           \
    do {                                                                                           \
        if (!(good)) {                                                                             \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #good);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Takes the next line off, without its end; empty when nothing is left. */
static inline struct slice fuzz_line(struct slice *rest) {
    struct slice line = SLICE("");
    slice_split(rest, '\n', &line);
    return line;
}

/* A copy with nothing behind it, so that the sanitizer sees a read past its end. To be freed. */
static inline struct slice fuzz_exact(struct slice bytes) {
    char *at = malloc(bytes.len > 0 ? bytes.len : 1);
    FUZZ_CHECK(at != NULL);
    if (bytes.len > 0) {
        memcpy(at, bytes.at, bytes.len);
    }
    return slice_make(at, bytes.len);
}

static inline void fuzz_free(struct slice exact) {
    free((void *)(uintptr_t)exact.at);
}

static inline bool fuzz_holds(struct slice text, struct slice part) {
    return part.len > 0 && text.len > 0 && memmem(text.at, text.len, part.at, part.len) != NULL;
}

static inline bool fuzz_lies_in(struct slice part, struct slice whole) {
    return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}
