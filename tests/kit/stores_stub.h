// SPDX-License-Identifier: MIT
#pragma once

#include "store/accounts.h"
#include "store/accounts_backend.h"
#include "store/states.h"

/* Both stores, of which each answers whether it is there when the test says so. They keep nothing:
 * no other operation is expected. */
struct stores_stub {
    struct states_backend states;
    struct accounts_backend accounts;
    struct loop *loop;
    struct states_op *state;             /* the question that is open, or NULL */
    struct accounts_backend_op *account; /* the same */
    size_t state_total;                  /* questions, ever */
    size_t account_total;
    void (*closed)(void *owner);
    void *owner;
    struct loop_task task;
};

void stores_stub_init(struct stores_stub *stub, struct loop *loop);
void stores_stub_answer_state(struct stores_stub *stub, enum rc rc);
void stores_stub_answer_account(struct stores_stub *stub, enum rc rc);
