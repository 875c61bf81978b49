// SPDX-License-Identifier: MIT
#include "base/hash64.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int n) {
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s) {
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word) {
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t hash64(const struct hash64_seed *seed, struct slice bytes) {
    struct sip s = {seed->k0 ^ 0x736f6d6570736575, seed->k1 ^ 0x646f72616e646f6d,
                    seed->k0 ^ 0x6c7967656e657261, seed->k1 ^ 0x7465646279746573};
    size_t whole = bytes.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, bytes.at + i, 8);
        sip_word(&s, word);
    }
    uint64_t last = (uint64_t)bytes.len << 56;
    if (bytes.len > whole) {
        uint64_t rest = 0;
        memcpy(&rest, bytes.at + whole, bytes.len - whole);
        last |= rest;
    }
    sip_word(&s, last);
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
