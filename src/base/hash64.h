// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/slice.h"

/* SipHash-1-3 (Aumasson, Bernstein) under a random key: for tables whose keys come from outside, so
 * that nobody can choose their buckets. Not for authentication. */
struct hash64_seed {
    uint64_t k0;
    uint64_t k1;
};

uint64_t hash64(const struct hash64_seed *seed, struct slice bytes);
