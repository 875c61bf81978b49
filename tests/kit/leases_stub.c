// SPDX-License-Identifier: MIT
#include "kit/leases_stub.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"

struct backend {
    struct leases_backend backend;
    struct leases_stub *stub;
    struct loop_task task;
    void (*closed)(void *owner);
    void *owner;
};

/* The place of the user's lease, or a free one; what has ended is gone. */
static int place_of(struct leases_stub *stub, const char *user_id) {
    int64_t now_ms = clock_mono_ms(stub->loop->clock);
    int place = -1;
    for (int i = 0; i < LEASES_STUB_MAX; i++) {
        if (stub->leases[i].until_ms <= now_ms) {
            stub->leases[i].user_id[0] = '\0';
        }
        if (strcmp(stub->leases[i].user_id, user_id) == 0) {
            return i;
        }
        if (stub->leases[i].user_id[0] == '\0') {
            place = i;
        }
    }
    cr_assert_geq(place, 0, "too many leases for the stub");
    return place;
}

static void set(struct leases_stub *stub, int place, const struct lease_op *op, int64_t ms) {
    memcpy(stub->leases[place].user_id, op->user_id, sizeof op->user_id);
    memcpy(stub->leases[place].owner, op->owner, LEASE_OWNER_BYTES);
    stub->leases[place].until_ms = clock_mono_ms(stub->loop->clock) + ms;
    stub->leases[place].rests = op->kind == LEASES_REST;
    stub->leases[place].note = op->note;
}

static enum rc acquire(struct leases_stub *stub, int place, struct lease_op *op) {
    if (stub->leases[place].user_id[0] == '\0') {
        set(stub, place, op, LEASE_TTL_MS);
        return RC_OK;
    }
    op->left_ms = stub->leases[place].until_ms - clock_mono_ms(stub->loop->clock);
    op->note = stub->leases[place].note;
    return stub->leases[place].rests ? RC_RATE_LIMITED : RC_CONFLICT;
}

static enum rc carry_out(struct leases_stub *stub, struct lease_op *op) {
    int place = place_of(stub, op->user_id);
    bool is_ours = stub->leases[place].user_id[0] != '\0' && !stub->leases[place].rests &&
                   memcmp(stub->leases[place].owner, op->owner, LEASE_OWNER_BYTES) == 0;
    switch (op->kind) {
    case LEASES_ACQUIRE:
        return acquire(stub, place, op);
    case LEASES_RENEW:
        if (is_ours) {
            set(stub, place, op, LEASE_TTL_MS);
        }
        return is_ours ? RC_OK : RC_ABSENT;
    case LEASES_REST:
        if (is_ours) {
            set(stub, place, op, op->rest_ms);
        }
        return RC_OK;
    default:
        if (is_ours) {
            stub->leases[place].user_id[0] = '\0';
        }
        return RC_OK;
    }
}

static void run(struct leases_backend *backend, struct lease_op *op) {
    struct leases_stub *stub = LIST_ENTRY(backend, struct backend, backend)->stub;
    bool fails = stub->is_down || (stub->fail_at > 0 && --stub->fail_at == 0);
    stub->calls[op->kind]++;
    enum rc rc = RC_STORAGE_UNAVAILABLE;
    if (!fails || (!stub->is_down && stub->fault == LEASES_STUB_UNHEARD)) {
        rc = carry_out(stub, op);
    }
    op->cause = "the stub was told to";
    leases_complete(op, fails ? RC_STORAGE_UNAVAILABLE : rc);
}

static void on_closed(struct loop_task *task) {
    struct backend *backend = LIST_ENTRY(task, struct backend, task);
    void (*closed)(void *owner) = backend->closed;
    void *owner = backend->owner;
    mem_free(backend);
    closed(owner);
}

static void close_backend(struct leases_backend *leases, void (*closed)(void *owner), void *owner) {
    struct backend *backend = LIST_ENTRY(leases, struct backend, backend);
    backend->closed = closed;
    backend->owner = owner;
    loop_later(backend->stub->loop, &backend->task, on_closed);
}

static const struct leases_backend_ops backend_ops = {.run = run, .close = close_backend};

struct leases_backend *leases_stub_backend(struct leases_stub *stub) {
    struct backend *backend = mem_calloc(1, sizeof *backend);
    backend->backend.ops = &backend_ops;
    backend->stub = stub;
    return &backend->backend;
}

void leases_stub_put_foreign(struct leases_stub *stub, const char *user_id) {
    struct lease_op op = {.kind = LEASES_ACQUIRE, .owner = "another process"};
    memcpy(op.user_id, user_id, strlen(user_id) + 1);
    int place = place_of(stub, user_id);
    set(stub, place, &op, LEASE_TTL_MS);
}

void leases_stub_clear(struct leases_stub *stub) {
    memset(stub->leases, 0, sizeof stub->leases);
}

bool leases_stub_is_held(const struct leases_stub *stub, const char *user_id) {
    for (int i = 0; i < LEASES_STUB_MAX; i++) {
        if (strcmp(stub->leases[i].user_id, user_id) == 0 && !stub->leases[i].rests) {
            return stub->leases[i].until_ms > clock_mono_ms(stub->loop->clock);
        }
    }
    return false;
}
