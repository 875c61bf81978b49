// SPDX-License-Identifier: MIT
#pragma once

#include "auth/users.h"

/* A source of users that answers when the test says so. */
enum { USERS_STUB_LOOKUPS = LIMIT_USER_LOOKUPS };

struct users_stub {
    struct users_source source;
    struct loop *loop;
    struct users_lookup *open[USERS_STUB_LOOKUPS];
    size_t open_count;
    size_t total; /* ever */
    bool is_closed;
    void (*closed)(void *owner);
    void *owner;
    struct loop_task task;
};

void users_stub_init(struct users_stub *stub, struct loop *loop);

/* Answers the first question that is open: with RC_OK a user of this role and tier. */
void users_stub_answer(struct users_stub *stub, enum rc rc, const char *role, const char *tier);
void users_stub_answer_inactive(struct users_stub *stub);
