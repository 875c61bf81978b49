// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"

/* SipHash-1-3: a hash whose collisions nobody who doesn't know the seed can choose. For tables that
 * are keyed by what comes from outside. */
struct keyhash {
    uint64_t seed[2];
};

/* A fresh seed. RC_IO where the system gives no random bytes. */
enum rc keyhash_init(struct keyhash *hash);
uint64_t keyhash_of(const struct keyhash *hash, struct slice bytes);
