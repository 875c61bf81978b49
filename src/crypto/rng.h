// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

#include "base/rc.h"

/* Random bytes from the system's CSPRNG (getrandom), drawn in blocks and wiped as they are given
 * out. Loop thread only, made after any fork: two processes must never share a block. */
struct rng {
    unsigned char block[1024];
    size_t left;
};

void rng_init(struct rng *rng);
void rng_fini(struct rng *rng); /* wipes */

/* RC_CRYPTO where the system gives none (nothing of `out` may then be used). */
enum rc rng_bytes(struct rng *rng, void *out, size_t n);

/* The same straight from the system, one call each: any thread. */
enum rc rng_system(void *out, size_t n);
