// SPDX-License-Identifier: MIT
#include "kit/users_stub.h"

#include <criterion/criterion.h>

static void look_up(struct users_source *source, struct users_lookup *lookup) {
    struct users_stub *stub = LIST_ENTRY(source, struct users_stub, source);
    cr_assert_lt(stub->open_count, USERS_STUB_LOOKUPS);
    stub->open[stub->open_count++] = lookup;
    stub->total++;
}

static void on_closed(struct loop_task *task) {
    struct users_stub *stub = LIST_ENTRY(task, struct users_stub, task);
    stub->is_closed = true;
    stub->closed(stub->owner);
}

static void close_stub(struct users_source *source, void (*closed)(void *owner), void *owner) {
    struct users_stub *stub = LIST_ENTRY(source, struct users_stub, source);
    cr_assert_eq(stub->open_count, 0, "closed with open questions");
    stub->closed = closed;
    stub->owner = owner;
    loop_later(stub->loop, &stub->task, on_closed);
}

void users_stub_init(struct users_stub *stub, struct loop *loop) {
    static const struct users_source_ops ops = {.look_up = look_up, .close = close_stub};
    *stub = (struct users_stub){.source.ops = &ops, .loop = loop};
}

static void answer(struct users_stub *stub, enum rc rc, const struct users_record *record) {
    cr_assert_gt(stub->open_count, 0, "no question is open");
    struct users_lookup *lookup = stub->open[0];
    stub->open_count--;
    memmove(&stub->open[0], &stub->open[1], stub->open_count * sizeof stub->open[0]);
    users_answer(lookup, rc, record);
}

void users_stub_answer(struct users_stub *stub, enum rc rc, const char *role, const char *tier) {
    const struct slice roles[] = {slice_str(role)};
    answer(stub, rc,
           &(struct users_record){.roles = roles,
                                  .role_count = 1,
                                  .subscription_tier = slice_str(tier),
                                  .is_active = true});
}

void users_stub_answer_inactive(struct users_stub *stub) {
    answer(stub, RC_OK, &(struct users_record){.subscription_tier = SLICE("premium")});
}
