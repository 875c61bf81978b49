// SPDX-License-Identifier: MIT
#include "crypto/rng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

#include "base/mem.h"

void rng_init(struct rng *rng) {
    *rng = (struct rng){0};
}

void rng_fini(struct rng *rng) {
    mem_wipe(rng, sizeof *rng);
}

enum rc rng_system(void *out, size_t n) {
    unsigned char *at = out;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        } else if (errno != EINTR) {
            return RC_CRYPTO;
        }
    }
    return RC_OK;
}

enum rc rng_bytes(struct rng *rng, void *out, size_t n) {
    if (n > sizeof rng->block) {
        return rng_system(out, n);
    }
    if (rng->left < n) {
        rng->left = 0;
        if (rng_system(rng->block, sizeof rng->block) != RC_OK) {
            return RC_CRYPTO;
        }
        rng->left = sizeof rng->block;
    }
    if (n > 0) {
        unsigned char *from = rng->block + (sizeof rng->block - rng->left);
        memcpy(out, from, n);
        mem_wipe(from, n);
        rng->left -= n;
    }
    return RC_OK;
}
