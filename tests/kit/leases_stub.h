// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/leases.h"

/* A store of leases in memory, with a backend for each of the processes that a test plays on one
 * loop, and calls that fail when told to. */
enum { LEASES_STUB_MAX = 8 };

enum leases_stub_fault {
    LEASES_STUB_REFUSED, /* it is not carried out */
    LEASES_STUB_UNHEARD, /* it is, but nobody hears of it */
};

struct leases_stub {
    struct loop *loop;
    struct {
        char user_id[LIMIT_USER_ID_BYTES + 1]; /* "": a free place */
        unsigned char owner[LEASE_OWNER_BYTES];
        int64_t until_ms;
        int64_t note;
        bool rests;
    } leases[LEASES_STUB_MAX];
    int calls[LEASES_RELEASE + 1]; /* by kind */
    bool is_down;                  /* every call is refused */
    int fail_at;                   /* 1: the next call fails, whatever it is; 0: none */
    enum leases_stub_fault fault;
};

struct leases_backend *leases_stub_backend(struct leases_stub *stub);

/* Another process, which is not there: has the user's lease for its whole time. */
void leases_stub_put_foreign(struct leases_stub *stub, const char *user_id);
/* Nobody has one, and none rests. */
void leases_stub_clear(struct leases_stub *stub);
bool leases_stub_is_held(const struct leases_stub *stub, const char *user_id);
