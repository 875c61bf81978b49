// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "kit/leases_rig.h"
#include "kit/redis_place.h"
#include "store/leases.h"

/* What leases in Redis do when Redis does not, and with what others write (see leases.c for what
 * every store of leases does). */
enum { LATE_MS = 4000 /* a command's 2 s, on a busy machine */ };

static void expect_failure(const struct lease_op *op, const char *what) {
    cr_assert_eq(op->rc, RC_STORAGE_UNAVAILABLE, "%s: %s", what, rc_name(op->rc));
    cr_assert_not_null(op->cause, "%s", what);
}

Test(leases_redis, all_ends_by_itself) {
    struct leases_rig rig;
    struct leases_rig_lease lease;
    leases_rig_open(&rig, &leases_rig_redis);
    cr_assert_eq(leases_rig_acquire(&rig, &lease, "u"), RC_OK);
    cr_assert_leq(redis_place_last_end_ms(rig.server), LEASE_TTL_MS);
    cr_assert_eq(leases_rig_renew(&rig, &lease), RC_OK);
    cr_assert_leq(redis_place_last_end_ms(rig.server), LEASE_TTL_MS);
    cr_assert_eq(leases_rig_rest(&rig, &lease, 20000, 5), RC_OK);
    int64_t left_ms = redis_place_last_end_ms(rig.server);
    cr_assert(left_ms > LEASE_TTL_MS && left_ms <= 20000);
    redis_place_pass(rig.server, 20000);
    cr_assert_eq(redis_place_ask_number(rig.server, "DBSIZE"), 0);
    leases_rig_close(&rig);
}

Test(leases_redis, out_of_memory_none_is_acquired_and_all_are_given_up) {
    struct leases_rig rig;
    struct leases_rig_lease leases[3];
    struct leases_rig_lease other;
    leases_rig_open(&rig, &leases_rig_redis);
    cr_assert_eq(leases_rig_acquire(&rig, &leases[0], "released"), RC_OK);
    cr_assert_eq(leases_rig_acquire(&rig, &leases[1], "rests"), RC_OK);
    cr_assert_eq(leases_rig_acquire(&rig, &leases[2], "renewed"), RC_OK);
    cr_assert_str_eq(redis_place_ask(rig.server, "CONFIG SET maxmemory 1"), "OK");
    leases_rig_acquire(&rig, &other, "new");
    expect_failure(&other.op, "a new one");
    leases_rig_acquire(&rig, &other, "renewed");
    expect_failure(&other.op, "one that is held");
    cr_assert_eq(leases_rig_renew(&rig, &leases[2]), RC_OK);
    cr_assert_eq(leases_rig_release(&rig, &leases[0]), RC_OK);
    cr_assert_eq(leases_rig_rest(&rig, &leases[1], 60000, 5), RC_OK);
    cr_assert_str_eq(redis_place_ask(rig.server, "CONFIG SET maxmemory 0"), "OK");
    cr_assert_eq(leases_rig_acquire(&rig, &other, "released"), RC_OK);
    cr_assert_eq(leases_rig_acquire(&rig, &other, "rests"), RC_RATE_LIMITED);
    cr_assert_eq(leases_rig_acquire(&rig, &other, "renewed"), RC_CONFLICT);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STORE_FAILURES), 2);
    leases_rig_close(&rig);
}

Test(leases_redis, values_of_others) {
    static const struct {
        const char *value;
        enum rc rc;
    } cases[] = {
        {"x", RC_CONFLICT},
        {"held:too-short", RC_CONFLICT},
        {"rest:17", RC_RATE_LIMITED},
        {"rest:", RC_STORAGE_UNAVAILABLE},
        {"rest:-", RC_STORAGE_UNAVAILABLE},
        {"rest:1x", RC_STORAGE_UNAVAILABLE},
        {"rest:9223372036854775808", RC_STORAGE_UNAVAILABLE},
        {"rest:-9223372036854775809", RC_STORAGE_UNAVAILABLE},
    };
    struct leases_rig rig;
    struct leases_rig_lease lease;
    leases_rig_open(&rig, &leases_rig_redis);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_str_eq(
            redis_place_ask(rig.server, "SET latchkey:lease:u %s PX 5000", cases[i].value), "OK");
        cr_assert_eq(leases_rig_acquire(&rig, &lease, "u"), cases[i].rc, "%s: %s", cases[i].value,
                     rc_name(lease.op.rc));
    }
    cr_assert_str_eq(redis_place_ask(rig.server, "SET latchkey:lease:u x"), "OK");
    cr_assert_eq(leases_rig_acquire(&rig, &lease, "u"), RC_CONFLICT);
    cr_assert_eq(lease.op.left_ms, LEASE_TTL_MS, "what had no end has one");
    int64_t left_ms = redis_place_last_end_ms(rig.server);
    cr_assert(left_ms > 0 && left_ms <= LEASE_TTL_MS);

    cr_assert_eq(redis_place_ask_number(rig.server, "DEL latchkey:lease:u"), 1);
    cr_assert_eq(leases_rig_acquire(&rig, &lease, "u"), RC_OK);
    cr_assert_eq(redis_place_ask_number(rig.server, "DEL latchkey:lease:u"), 1);
    cr_assert_eq(redis_place_ask_number(rig.server, "RPUSH latchkey:lease:u x"), 1);
    leases_rig_renew(&rig, &lease);
    expect_failure(&lease.op, "renew, with a list in its place");
    leases_rig_release(&rig, &lease);
    expect_failure(&lease.op, "release, with a list in its place");
    leases_rig_rest(&rig, &lease, 1000, 5);
    expect_failure(&lease.op, "rest, with a list in its place");
    leases_rig_acquire(&rig, &lease, "u");
    expect_failure(&lease.op, "acquire, with a list in its place");
    leases_rig_close(&rig);
}

Test(leases_redis, frozen_or_killed_it_fails_in_time, .timeout = 60) {
    struct leases_rig rig;
    struct leases_rig_lease held;
    struct leases_rig_lease other;
    leases_rig_open(&rig, &leases_rig_redis);
    struct redis_place *redis = rig.server;
    cr_assert_eq(leases_rig_acquire(&rig, &held, "u"), RC_OK);
    redis_server_freeze(&redis->server);
    int64_t start_ms = loop_timer_now_ms(&rig.loop);
    leases_rig_start_acquire(&rig, &other, "v");
    leases_rig_renew(&rig, &held);
    expect_failure(&held.op, "renew, frozen");
    leases_rig_wait(&other);
    expect_failure(&other.op, "acquire, frozen");
    cr_assert_leq(loop_timer_now_ms(&rig.loop) - start_ms, LATE_MS);
    redis_server_kill(&redis->server);
    leases_rig_release(&rig, &held);
    expect_failure(&held.op, "release, gone");
    redis_server_again(&redis->server);
    redis_place_wait_ready(redis, redis->redis);
    cr_assert_eq(leases_rig_renew(&rig, &held), RC_ABSENT, "it was lost");
    cr_assert_eq(leases_rig_acquire(&rig, &held, "u"), RC_OK);
    cr_assert_eq(leases_rig_release(&rig, &held), RC_OK);
    leases_rig_close(&rig);
}
