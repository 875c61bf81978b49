// SPDX-License-Identifier: MIT
#include "kit/leases_rig.h"

#include <criterion/criterion.h>

#include "base/list.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"
#include "kit/redis_place.h"

static struct leases_backend *open_redis(struct leases_rig *rig) {
    struct redis_place *redis = redis_place_open(&rig->loop, rig->log, &rig->metrics);
    rig->server = redis;
    return leases_redis_new(&rig->loop, redis->redis);
}

static void close_redis(struct leases_rig *rig) {
    redis_place_close(rig->server);
}

static int64_t left_in_redis(struct leases_rig *rig, const char *user_id) {
    int64_t left_ms = redis_place_ask_number(rig->server, "PTTL latchkey:lease:%s", user_id);
    return left_ms < 0 ? -1 : left_ms;
}

/* Redis deletes at once what would have ended by now. */
static void end_in_redis(struct leases_rig *rig, const char *user_id, int64_t ms) {
    cr_assert_eq(
        redis_place_ask_number(rig->server, "PEXPIRE latchkey:lease:%s %d", user_id, (int)ms), 1);
}

const struct leases_rig_kind leases_rig_redis = {
    .name = "redis",
    .open = open_redis,
    .close = close_redis,
    .left_ms = left_in_redis,
    .end_in = end_in_redis,
};

void leases_rig_open(struct leases_rig *rig, const struct leases_rig_kind *kind) {
    *rig = (struct leases_rig){.kind = kind};
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    rng_init(&rig->rng);
    rig->log = log_new(-1, LOG_DEBUG, &rig->clock, &rig->metrics);
    struct leases_backend *backend = kind->open(rig);
    rig->leases = leases_new(&rig->loop, backend, &rig->rng, rig->log, &rig->metrics);
}

struct closing {
    struct loop *loop;
    int calls;
};

static void on_closed(void *owner) {
    struct closing *closing = owner;
    closing->calls++;
    loop_stop(closing->loop);
}

void leases_rig_close(struct leases_rig *rig) {
    struct closing closing = {.loop = &rig->loop};
    leases_close(rig->leases, on_closed, &closing);
    cr_assert_eq(closing.calls, 0, "closed before the call returned");
    loop_run(&rig->loop);
    cr_assert_eq(closing.calls, 1);
    rig->kind->close(rig);
    loop_run(&rig->loop);
    log_free(rig->log);
    rng_fini(&rig->rng);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK);
    CHECK_LEAKS();
}

void leases_rig_each(void (*test)(struct leases_rig *rig)) {
    static const struct leases_rig_kind *const kinds[] = {&leases_rig_redis, &leases_rig_mongo};
    struct leases_rig rig;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i] == &leases_rig_mongo && !mongo_server_is_there()) {
            continue;
        }
        leases_rig_open(&rig, kinds[i]);
        test(&rig);
        leases_rig_close(&rig);
    }
}

static void on_done(struct lease_op *op) {
    struct leases_rig_lease *lease = LIST_ENTRY(op, struct leases_rig_lease, op);
    lease->calls++;
    loop_stop(lease->loop);
}

void leases_rig_start_acquire(struct leases_rig *rig, struct leases_rig_lease *lease,
                              const char *user_id) {
    *lease = (struct leases_rig_lease){.loop = &rig->loop};
    leases_acquire(rig->leases, &lease->op, slice_str(user_id), on_done);
    cr_assert_eq(lease->calls, 0, "completed before the call returned");
}

void leases_rig_wait(struct leases_rig_lease *lease) {
    while (lease->calls == 0) {
        loop_run(lease->loop);
    }
    cr_assert_eq(lease->calls, 1);
}

enum rc leases_rig_acquire(struct leases_rig *rig, struct leases_rig_lease *lease,
                           const char *user_id) {
    leases_rig_start_acquire(rig, lease, user_id);
    leases_rig_wait(lease);
    return lease->op.rc;
}

enum rc leases_rig_renew(struct leases_rig *rig, struct leases_rig_lease *lease) {
    lease->calls = 0;
    leases_renew(rig->leases, &lease->op, on_done);
    leases_rig_wait(lease);
    return lease->op.rc;
}

enum rc leases_rig_rest(struct leases_rig *rig, struct leases_rig_lease *lease, int64_t rest_ms,
                        int64_t note) {
    lease->calls = 0;
    leases_rest(rig->leases, &lease->op, rest_ms, note, on_done);
    leases_rig_wait(lease);
    return lease->op.rc;
}

enum rc leases_rig_release(struct leases_rig *rig, struct leases_rig_lease *lease) {
    lease->calls = 0;
    leases_release(rig->leases, &lease->op, on_done);
    leases_rig_wait(lease);
    return lease->op.rc;
}
