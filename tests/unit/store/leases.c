// SPDX-License-Identifier: MIT
#include "store/leases.h"

#include <criterion/criterion.h>

#include "kit/leases_rig.h"

/* What every store of leases does; each test runs on each of them. */
enum { MOST_MS = LEASE_TTL_MS, SLACK_MS = 5000 /* what a busy machine may take */ };

static void expect_left(int64_t left_ms, int64_t of_ms) {
    cr_assert(left_ms > of_ms - SLACK_MS && left_ms <= of_ms, "%d of %d ms are left", (int)left_ms,
              (int)of_ms);
}

static void one_owner_at_a_time(struct leases_rig *rig) {
    struct leases_rig_lease first;
    struct leases_rig_lease second;
    struct leases_rig_lease of_another;
    for (int round = 0; round < 3; round++) {
        cr_assert_eq(leases_rig_acquire(rig, &first, "u"), RC_OK);
        cr_assert_eq(leases_rig_acquire(rig, &second, "u"), RC_CONFLICT);
        expect_left(second.op.left_ms, MOST_MS);
        cr_assert_eq(leases_rig_acquire(rig, &of_another, "v"), RC_OK, "another user's");
        cr_assert_eq(leases_rig_release(rig, &first), RC_OK);
        cr_assert_eq(leases_rig_release(rig, &of_another), RC_OK);
        cr_assert_eq(leases_rig_acquire(rig, &second, "u"), RC_OK, "it is free again");
        cr_assert_eq(leases_rig_release(rig, &second), RC_OK);
        cr_assert_eq(rig->kind->left_ms(rig, "u"), -1, "nothing stays");
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_LEASES_ACQUIRED), 9);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_LEASES_HELD), 3);
}

Test(leases, one_owner_at_a_time) {
    leases_rig_each(one_owner_at_a_time);
}

static void of_fifty_at_once_one_acquires(struct leases_rig *rig) {
    struct leases_rig_lease leases[50];
    int acquired = 0;
    for (int i = 0; i < 50; i++) {
        leases_rig_start_acquire(rig, &leases[i], "u");
    }
    for (int i = 0; i < 50; i++) {
        leases_rig_wait(&leases[i]);
        acquired += leases[i].op.rc == RC_OK;
        cr_assert(leases[i].op.rc == RC_OK || leases[i].op.rc == RC_CONFLICT);
        for (int k = 0; k < i; k++) {
            cr_assert_neq(memcmp(leases[i].op.owner, leases[k].op.owner, LEASE_OWNER_BYTES), 0);
        }
    }
    cr_assert_eq(acquired, 1);
}

Test(leases, of_fifty_at_once_one_acquires) {
    leases_rig_each(of_fifty_at_once_one_acquires);
}

static void ends_by_itself_unless_it_is_renewed(struct leases_rig *rig) {
    struct leases_rig_lease first;
    struct leases_rig_lease second;
    cr_assert_eq(leases_rig_acquire(rig, &first, "u"), RC_OK);
    expect_left(rig->kind->left_ms(rig, "u"), MOST_MS);
    rig->kind->end_in(rig, "u", 4000);
    cr_assert_eq(leases_rig_acquire(rig, &second, "u"), RC_CONFLICT);
    cr_assert_leq(second.op.left_ms, 4000);
    cr_assert_eq(leases_rig_renew(rig, &first), RC_OK);
    expect_left(rig->kind->left_ms(rig, "u"), MOST_MS);
    rig->kind->end_in(rig, "u", 0);
    cr_assert_eq(leases_rig_renew(rig, &first), RC_ABSENT, "renewed too late");
    cr_assert_eq(rig->kind->left_ms(rig, "u"), -1, "a late renewal makes none");
    cr_assert_eq(leases_rig_acquire(rig, &second, "u"), RC_OK);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_LEASES_LOST), 1);
}

Test(leases, ends_by_itself_unless_it_is_renewed) {
    leases_rig_each(ends_by_itself_unless_it_is_renewed);
}

static void who_lost_it_can_do_nothing_to_the_next(struct leases_rig *rig) {
    struct leases_rig_lease lost;
    struct leases_rig_lease next;
    struct leases_rig_lease third;
    cr_assert_eq(leases_rig_acquire(rig, &lost, "u"), RC_OK);
    rig->kind->end_in(rig, "u", 0);
    cr_assert_eq(leases_rig_release(rig, &lost), RC_OK, "there is none");
    cr_assert_eq(leases_rig_rest(rig, &lost, 60000, 5), RC_OK, "there is none");
    cr_assert_eq(leases_rig_acquire(rig, &next, "u"), RC_OK);
    cr_assert_eq(leases_rig_renew(rig, &lost), RC_ABSENT);
    cr_assert_eq(leases_rig_release(rig, &lost), RC_OK);
    cr_assert_eq(leases_rig_rest(rig, &lost, 60000, 5), RC_OK);
    cr_assert_eq(leases_rig_acquire(rig, &third, "u"), RC_CONFLICT, "it is the next one's");
    cr_assert_eq(leases_rig_renew(rig, &next), RC_OK);
}

Test(leases, who_lost_it_can_do_nothing_to_the_next) {
    leases_rig_each(who_lost_it_can_do_nothing_to_the_next);
}

static void rests_after_a_failure(struct leases_rig *rig) {
    static const int64_t notes[] = {0, 1, -1, 503, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        struct leases_rig_lease owner;
        struct leases_rig_lease other;
        cr_assert_eq(leases_rig_acquire(rig, &owner, "u"), RC_OK);
        cr_assert_eq(leases_rig_rest(rig, &owner, 60000, notes[i]), RC_OK);
        cr_assert_eq(leases_rig_acquire(rig, &other, "u"), RC_RATE_LIMITED);
        cr_assert_eq(other.op.note, notes[i]);
        expect_left(other.op.left_ms, 60000);
        cr_assert_eq(leases_rig_renew(rig, &owner), RC_ABSENT, "it was given up");
        cr_assert_eq(leases_rig_release(rig, &owner), RC_OK);
        cr_assert_eq(leases_rig_acquire(rig, &owner, "u"), RC_RATE_LIMITED, "also its last owner");
        expect_left(rig->kind->left_ms(rig, "u"), 60000);
        rig->kind->end_in(rig, "u", 0);
        cr_assert_eq(leases_rig_acquire(rig, &other, "u"), RC_OK);
        cr_assert_eq(leases_rig_release(rig, &other), RC_OK);
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_LEASES_RESTING), 12);
}

Test(leases, rests_after_a_failure) {
    leases_rig_each(rests_after_a_failure);
}

static void user_ids_of_every_length_are_told_apart(struct leases_rig *rig) {
    static struct leases_rig_lease leases[LIMIT_USER_ID_BYTES + 1];
    char id[LIMIT_USER_ID_BYTES + 1] = "";
    for (size_t len = 0; len <= LIMIT_USER_ID_BYTES; len++) {
        memset(id, 'u', len);
        cr_assert_eq(leases_rig_acquire(rig, &leases[len], id), RC_OK, "%zu", len);
    }
    for (size_t len = 0; len <= LIMIT_USER_ID_BYTES; len++) {
        cr_assert_eq(leases_rig_renew(rig, &leases[len]), RC_OK, "%zu", len);
        cr_assert_eq(leases_rig_release(rig, &leases[len]), RC_OK, "%zu", len);
    }
}

Test(leases, user_ids_of_every_length_are_told_apart) {
    leases_rig_each(user_ids_of_every_length_are_told_apart);
}
