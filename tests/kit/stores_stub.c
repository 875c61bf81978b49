// SPDX-License-Identifier: MIT
#include "kit/stores_stub.h"

#include <criterion/criterion.h>

static void ping_states(struct states_backend *backend, struct states_op *op) {
    struct stores_stub *stub = LIST_ENTRY(backend, struct stores_stub, states);
    cr_assert_null(stub->state, "two questions at a time");
    stub->state = op;
    stub->state_total++;
}

static void close_states(struct states_backend *backend) {
    cr_assert_null(LIST_ENTRY(backend, struct stores_stub, states)->state);
}

static void ping_accounts(struct accounts_backend *backend, struct accounts_backend_op *op) {
    struct stores_stub *stub = LIST_ENTRY(backend, struct stores_stub, accounts);
    cr_assert_null(stub->account, "two questions at a time");
    stub->account = op;
    stub->account_total++;
}

static void on_closed(struct loop_task *task) {
    struct stores_stub *stub = LIST_ENTRY(task, struct stores_stub, task);
    stub->closed(stub->owner);
}

static void close_accounts(struct accounts_backend *backend, void (*closed)(void *owner),
                           void *owner) {
    struct stores_stub *stub = LIST_ENTRY(backend, struct stores_stub, accounts);
    cr_assert_null(stub->account);
    stub->closed = closed;
    stub->owner = owner;
    loop_later(stub->loop, &stub->task, on_closed);
}

void stores_stub_init(struct stores_stub *stub, struct loop *loop) {
    static const struct states_backend_ops states = {.ping = ping_states, .close = close_states};
    static const struct accounts_backend_ops accounts = {.ping = ping_accounts,
                                                         .close = close_accounts};
    *stub = (struct stores_stub){.states.ops = &states, .accounts.ops = &accounts, .loop = loop};
}

void stores_stub_answer_state(struct stores_stub *stub, enum rc rc) {
    struct states_op *op = stub->state;
    cr_assert_not_null(op, "no question is open");
    stub->state = NULL;
    states_complete(op, rc);
}

void stores_stub_answer_account(struct stores_stub *stub, enum rc rc) {
    struct accounts_backend_op *op = stub->account;
    cr_assert_not_null(op, "no question is open");
    stub->account = NULL;
    op->rc = rc;
    op->done(op);
}
