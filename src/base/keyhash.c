// SPDX-License-Identifier: MIT
#include "base/keyhash.h"

#include <string.h>
#include <sys/random.h>

enum rc keyhash_init(struct keyhash *hash) {
    return getrandom(hash->seed, sizeof hash->seed, 0) == sizeof hash->seed ? RC_OK : RC_IO;
}

static inline uint64_t rotate(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

static inline void mix(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline void absorb(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
}

uint64_t keyhash_of(const struct keyhash *hash, struct slice bytes) {
    uint64_t v[4] = {hash->seed[0] ^ 0x736f6d6570736575U, hash->seed[1] ^ 0x646f72616e646f6dU,
                     hash->seed[0] ^ 0x6c7967656e657261U, hash->seed[1] ^ 0x7465646279746573U};
    size_t i = 0;
    for (; i + 8 <= bytes.len; i += 8) {
        uint64_t word;
        memcpy(&word, bytes.at + i, 8);
        absorb(v, word);
    }
    uint64_t last = (uint64_t)bytes.len << 56;
    if (i < bytes.len) {
        uint64_t rest = 0;
        memcpy(&rest, bytes.at + i, bytes.len - i);
        last |= rest;
    }
    absorb(v, last);
    v[2] ^= 0xff;
    mix(v);
    mix(v);
    mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
