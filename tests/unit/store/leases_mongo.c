// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "kit/leases_rig.h"
#include "kit/mongo_server.h"
#include "store/leases.h"

/* What leases in MongoDB do when it does not, and with what others write (see leases.c for what
 * every store of leases does). */
enum { LATE_MS = 8000 /* an operation's 5 s, on a busy machine */, RETURN_MS = 2000 };

/* The place of tests/kit/leases_rig_mongo.c begins with it. */
static struct mongo_server *server_of(struct leases_rig *rig) {
    return rig->server;
}

static void expect_failure(const struct lease_op *op, const char *what) {
    cr_assert_eq(op->rc, RC_STORAGE_UNAVAILABLE, "%s: %s", what, rc_name(op->rc));
    cr_assert_not_null(op->cause, "%s", what);
}

Test(leases_mongo, documents_of_others) {
    NEEDS_MONGO_SERVER();
    static const struct {
        const char *fields;
        enum rc rc;
        int64_t note;
    } cases[] = {
        {"\"x\": 1", RC_OK, 0},
        {"\"ends_at\": null", RC_OK, 0},
        {"\"ends_at\": \"2099-01-01\"", RC_OK, 0},
        {"\"ends_at\": {\"$date\": \"2001-01-01T00:00:00Z\"}, \"rests\": true", RC_OK, 0},
        {"\"ends_at\": {\"$date\": \"2099-01-01T00:00:00Z\"}", RC_CONFLICT, 0},
        {"\"ends_at\": {\"$date\": \"2099-01-01T00:00:00Z\"}, \"rests\": null", RC_CONFLICT, 0},
        {"\"ends_at\": {\"$date\": \"2099-01-01T00:00:00Z\"}, \"rests\": true", RC_RATE_LIMITED, 0},
        {"\"ends_at\": {\"$date\": \"2099-01-01T00:00:00Z\"}, \"rests\": true, \"note\": \"x\"",
         RC_RATE_LIMITED, 0},
        {"\"ends_at\": {\"$date\": \"2099-01-01T00:00:00Z\"}, \"rests\": true, \"note\": 17",
         RC_RATE_LIMITED, 17},
    };
    struct leases_rig rig;
    struct leases_rig_lease lease;
    struct leases_rig_lease other;
    leases_rig_open(&rig, &leases_rig_mongo);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char user_id[16];
        snprintf(user_id, sizeof user_id, "u%zu", i);
        cr_assert_eq(mongo_server_ask_number(server_of(&rig), "n",
                                             "{\"insert\": \"latchkey_leases\", \"documents\": "
                                             "[{\"_id\": \"%s\", %s}]}",
                                             user_id, cases[i].fields),
                     1);
        cr_assert_eq(leases_rig_acquire(&rig, &lease, user_id), cases[i].rc, "%s: %s",
                     cases[i].fields, rc_name(lease.op.rc));
        cr_assert_eq(lease.op.note, cases[i].note, "%s", cases[i].fields);
        if (cases[i].rc == RC_OK) {
            cr_assert_eq(leases_rig_acquire(&rig, &other, user_id), RC_CONFLICT, "%s",
                         cases[i].fields);
            cr_assert_eq(leases_rig_renew(&rig, &lease), RC_OK, "%s", cases[i].fields);
        }
    }
    leases_rig_close(&rig);
}

Test(leases_mongo, frozen_or_killed_it_fails_in_time, .timeout = 60) {
    NEEDS_MONGO_SERVER();
    struct leases_rig rig;
    struct leases_rig_lease held;
    struct leases_rig_lease other;
    leases_rig_open(&rig, &leases_rig_mongo);
    cr_assert_eq(leases_rig_acquire(&rig, &held, "u"), RC_OK);
    mongo_server_freeze(server_of(&rig));
    int64_t start_ms = loop_timer_now_ms(&rig.loop);
    leases_rig_start_acquire(&rig, &other, "v");
    leases_rig_renew(&rig, &held);
    expect_failure(&held.op, "renew, frozen");
    leases_rig_wait(&other);
    expect_failure(&other.op, "acquire, frozen");
    cr_assert_leq(loop_timer_now_ms(&rig.loop) - start_ms, LATE_MS);
    mongo_server_kill(server_of(&rig));
    leases_rig_release(&rig, &held);
    expect_failure(&held.op, "release, gone");
    mongo_server_restart(server_of(&rig));
    int64_t back_ms = loop_timer_now_ms(&rig.loop);
    while (leases_rig_renew(&rig, &held) == RC_STORAGE_UNAVAILABLE) {
        cr_assert_leq(loop_timer_now_ms(&rig.loop) - back_ms, RETURN_MS);
    }
    cr_assert(held.op.rc == RC_OK || held.op.rc == RC_ABSENT, "%s", rc_name(held.op.rc));
    cr_assert_eq(leases_rig_release(&rig, &held), RC_OK);
    cr_assert_eq(leases_rig_acquire(&rig, &other, "u"), RC_OK);
    leases_rig_close(&rig);
}
