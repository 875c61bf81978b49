// SPDX-License-Identifier: MIT
/* One refresh for all processes that share an account, whatever becomes of who refreshes, of the
 * leases and of their store. */
#include <criterion/criterion.h>
#include <sqlite3.h>

#include "kit/faults_sqlite.h"
#include "kit/world.h"

enum { HOUR_MS = 3600 * 1000 };

/* -- who world_refreshes succeeds, fails, is refused -- */

Test(fresh_tokens, one_refresh_for_all_processes, .timeout = 60) {
    static const char *const keys[] = {WORLD_KEY, NULL};
    struct world world;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        world_open_with(&world, &rig_usual, keys[i]);
        world_link(&world, -1);
        world_ask_all(&world, WORLD_ASKS);
        world_expect_all(&world, RC_OK);
        cr_assert_eq(world_refreshes(&world), 1);
        cr_assert_eq(metrics_get(&world.rig->metrics, METRIC_REFRESH_OK), 1);
        world_wait_until(&world, world_holds_nothing);
        world_ask_all(&world, 1);
        world_expect_all(&world, RC_OK);
        cr_assert_eq(world_refreshes(&world), 1);
        world_close(&world);
    }
}

/* Without keys a token that the provider doesn't rotate is stored as it was: not even then does a
 * second process refresh. */
Test(fresh_tokens, one_refresh_where_the_stored_token_stays_the_same, .timeout = 60) {
    struct world world;
    world_open_with(&world, &rig_usual, NULL);
    world_link(&world, -1);
    world_refuse(&world, 200, "{\"access_token\":\"another\",\"expires_in\":3600}", 1);
    world_ask_all(&world, WORLD_ASKS);
    world_expect_all(&world, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
}

Test(fresh_tokens, a_failure_is_shared_and_rests, .timeout = 60) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    world_refuse(&world, 500, "{}", 0);
    world_ask_all(&world, WORLD_ASKS);
    world_expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(world_refreshes(&world), 1);
    world_ask_all(&world, 1);
    world_expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(world_refreshes(&world), 1, "nobody world_refreshes for two seconds");
    simprovider_faults_clear(world.rig->sim);
    world_advance_ms(&world, FRESH_TOKEN_PAUSE_MS);
    world_ask_all(&world, WORLD_ASKS);
    world_expect_all(&world, RC_OK);
    cr_assert_eq(world_refreshes(&world), 2);
    world_close(&world);
}

/* The rest's note is what the others say, also one of a release that we don't know. */
Test(fresh_tokens, the_failure_of_another_is_told_as_it_was) {
    static const struct {
        int64_t note;
        enum rc rc;
    } notes[] = {{1, RC_PROVIDER_UNAVAILABLE},
                 {2, RC_STORAGE_UNAVAILABLE},
                 {3, RC_OVERLOADED},
                 {99, RC_PROVIDER_UNAVAILABLE}};
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        leases_stub_put_foreign(&world.stub, WORLD_USER);
        for (int place = 0; place < LEASES_STUB_MAX; place++) {
            world.stub.leases[place].rests = true;
            world.stub.leases[place].note = notes[i].note;
        }
        int asked = world.stub.calls[LEASES_ACQUIRE];
        world_expect_one(&world, 1, notes[i].rc);
        world_expect_one(&world, 1, notes[i].rc);
        cr_assert_eq(world.stub.calls[LEASES_ACQUIRE], asked + 1, "its rest is remembered");
        world_advance_ms(&world, LEASE_TTL_MS);
    }
    cr_assert_eq(world_refreshes(&world), 0);
    world_expect_one(&world, 1, RC_OK);
    world_close(&world);
}

Test(fresh_tokens, a_refused_grant_is_known_to_all, .timeout = 60) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    world_refuse(&world, 400, "{\"error\":\"invalid_grant\"}", 0);
    world_ask_all(&world, WORLD_ASKS);
    world_expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    world_advance_ms(&world, 10 * FRESH_TOKEN_PAUSE_MS);
    world_ask_all(&world, 1);
    world_expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(world_refreshes(&world), 1);
    cr_assert(world_holds_nothing(&world));
    world_expect_sync_error(&world, "reauthorization_required");
    world_close(&world);
}

/* -- while another process world_refreshes -- */

Test(fresh_tokens, a_token_that_works_is_served_meanwhile) {
    struct world world;
    world_open(&world);
    world_link(&world, FRESH_TOKEN_AHEAD_MS / 2);
    struct world_asked *first = world_ask_held(&world);
    struct world_asked *second = world_ask(&world, 1, NULL, WORLD_PATIENCE_MS);
    struct world_asked *refused = world_ask(&world, 1, world.rig->access_token, WORLD_PATIENCE_MS);
    world.watched = second;
    world_wait_until(&world, world_watched_is_answered);
    cr_assert_eq(second->rc, RC_OK);
    cr_assert_str_eq(second->token, world.rig->access_token);
    cr_assert_eq(first->calls, 0);
    cr_assert_eq(refused->calls, 0, "it helps nobody for whom the provider refused it");
    simprovider_release(world.rig->sim);
    world_wait_until(&world, world_is_answered);
    cr_assert_eq(refused->rc, RC_OK);
    cr_assert_str_eq(refused->token, first->token);
    cr_assert_str_neq(first->token, second->token);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
}

Test(fresh_tokens, one_that_dies_is_waited_for_until_its_lease_ends, .timeout = 60) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    leases_stub_put_foreign(&world.stub, WORLD_USER);
    for (int i = 0; i < WORLD_PROCESSES; i++) {
        world_ask(&world, i, NULL, 300);
    }
    world_expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_gt(world.stub.calls[LEASES_ACQUIRE], WORLD_PROCESSES, "it is looked at again");
    cr_assert_lt(world.stub.calls[LEASES_ACQUIRE], WORLD_PROCESSES * 10, "now and then");
    for (int i = 0; i < WORLD_PROCESSES; i++) {
        world_ask(&world, i, NULL, 2 * LEASE_TTL_MS);
    }
    cr_assert_eq(world_refreshes(&world), 0);
    world_advance_ms(&world, LEASE_TTL_MS);
    world_expect_all(&world, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
}

/* Nobody waits any more for what another process does. */
Test(fresh_tokens, who_waits_for_another_process_may_leave) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    leases_stub_put_foreign(&world.stub, WORLD_USER);
    struct world_asked *first = world_ask(&world, 0, NULL, WORLD_PATIENCE_MS);
    world.watched = world_ask(&world, 1, NULL, 200);
    world_wait_until(&world, world_watched_is_answered);
    fresh_token_cancel(&first->op);
    world_wait_until(&world, world_is_answered);
    cr_assert_eq(first->rc, RC_CANCELED);
    world_close_processes(&world);
    cr_assert_eq(world_refreshes(&world), 0);
    world_close(&world);
}

Test(fresh_tokens, a_disconnect_during_the_refresh_of_another_wins) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    world_ask_held(&world);
    world_ask(&world, 1, NULL, WORLD_PATIENCE_MS);
    world_remove(&world);
    simprovider_release(world.rig->sim);
    world_expect_all(&world, RC_NOT_CONNECTED);
    cr_assert(simprovider_wait(world.rig->sim, SIMPROVIDER_REVOKES, 1, WORLD_WAIT_MS));
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
}

/* A rekey beside it: the fence is another, the token the same, so what was brought is stored. */
Test(fresh_tokens, a_record_that_is_sealed_anew_during_the_refresh) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    world_ask_held(&world);
    world_seal_anew(&world);
    simprovider_release(world.rig->sim);
    world_ask(&world, 1, NULL, WORLD_PATIENCE_MS);
    world_expect_all(&world, RC_OK);
    cr_assert_eq(metrics_get(&world.rig->metrics, METRIC_REFRESH_OK), 1);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
}

/* What a link brings meanwhile is what all get, and what the refresh brought is forgotten. */
Test(fresh_tokens, a_new_link_during_the_refresh_of_another_stands) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    world_ask_held(&world);
    world_link(&world, HOUR_MS);
    world_ask(&world, 1, NULL, WORLD_PATIENCE_MS);
    simprovider_release(world.rig->sim);
    world_expect_all(&world, RC_OK);
    world_expect_one(&world, 2, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
}

/* -- what was rotated and can't be stored -- */

/* The others must not send the old token, for as long as it takes. */
Test(fresh_tokens, the_lease_is_kept_until_what_was_rotated_is_stored, .timeout = 60) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    world_link(&world, -1);
    struct world_asked *first = world_ask_held(&world);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    world.watched = first;
    world_wait_until(&world, world_watched_is_answered);
    cr_assert_eq(first->rc, RC_STORAGE_UNAVAILABLE);
    cr_assert(leases_stub_is_held(&world.stub, WORLD_USER));
    struct world_asked *second = world_ask(&world, 1, NULL, WORLD_PATIENCE_MS);
    world.watched = world_ask(&world, 2, NULL, 10);
    world_wait_until(&world, world_watched_is_answered);
    faults_sqlite_heal(disk);
    world_wait_until(&world, world_is_answered);
    cr_assert_eq(second->rc, RC_OK);
    world_wait_until(&world, world_holds_nothing);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
    faults_sqlite_remove(disk);
}

/* While so many are told that it takes several turns, what is to be stored is due already: it waits
 * for its turn, and the loop turns. */
Test(fresh_tokens, what_is_to_be_stored_is_due_while_many_are_told, .timeout = 60) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    world_link(&world, -1);
    world_ask_held(&world)->is_slow = true;
    while (world.asked_count < sizeof world.asked / sizeof world.asked[0] - 1) {
        world_ask(&world, 0, NULL, WORLD_PATIENCE_MS);
    }
    world.asked[70].asks_again = true;
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    world_wait_until(&world, world_is_answered);
    faults_sqlite_heal(disk);
    world.asked_count = world.answered = 0;
    world_expect_one(&world, 0, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
    faults_sqlite_remove(disk);
}

static bool it_is_given_up(struct world *world) {
    return metrics_get(&world->rig->metrics, METRIC_REFRESH_STORAGE) == 1 &&
           world_holds_nothing(world);
}

Test(fresh_tokens, what_can_not_be_stored_for_five_minutes_is_given_up, .timeout = 60) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    world_link(&world, -1);
    world.watched = world_ask_held(&world);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    world_wait_until(&world, world_watched_is_answered);
    world_advance_ms(&world, 5 * 60 * 1000);
    world_wait_until(&world, it_is_given_up);
    faults_sqlite_heal(disk);
    world_close(&world);
    faults_sqlite_remove(disk);
}

Test(fresh_tokens, a_process_that_ends_gives_its_lease_back) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    world_link(&world, -1);
    world.watched = world_ask_held(&world);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    world_wait_until(&world, world_watched_is_answered);
    cr_assert(leases_stub_is_held(&world.stub, WORLD_USER));
    world_close_processes(&world);
    cr_assert(world_holds_nothing(&world));
    faults_sqlite_heal(disk);
    world_close(&world);
    faults_sqlite_remove(disk);
}

/* -- leases that fail -- */

Test(fresh_tokens, without_the_store_of_leases_nothing_is_sent) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    world.stub.is_down = true;
    world_ask_all(&world, 1);
    world_expect_all(&world, RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(world_refreshes(&world), 0);
    world.stub.is_down = false;
    world_ask_all(&world, 1);
    world_expect_all(&world, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);

    world_link(&world, FRESH_TOKEN_AHEAD_MS / 2);
    world.stub.is_down = true;
    world_expect_one(&world, 0, RC_OK);
    world_expect_one(&world, 1, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close_processes(&world);
    world_close(&world);
}

/* Every call of a refresh, in both ways: a token or the truth for whoever asks, at most one
 * refresh, and no lease that stays. */
static void fail_call(int n, enum leases_stub_fault fault, bool is_good, bool *was_met) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    if (!is_good) {
        world_refuse(&world, 500, "{}", 1);
    }
    world.stub.fail_at = n;
    world.stub.fault = fault;
    struct world_asked *first = world_ask(&world, 0, NULL, WORLD_PATIENCE_MS);
    struct world_asked *second = world_ask(&world, 1, NULL, WORLD_PATIENCE_MS);
    world_wait_until(&world, world_is_answered);
    cr_assert_eq(first->calls + second->calls, 2);
    for (int i = 0; i < 2; i++) {
        enum rc rc = i == 0 ? first->rc : second->rc;
        cr_assert(rc == RC_STORAGE_UNAVAILABLE || rc == (is_good ? RC_OK : RC_PROVIDER_UNAVAILABLE),
                  "call %d: %s", n, rc_name(rc));
    }
    cr_assert_leq(world_refreshes(&world), 1, "call %d", n);
    *was_met = world.stub.fail_at == 0;
    world.stub.fail_at = 0;
    world_wait_until(&world, world_holds_nothing);
    world.asked_count = world.answered = 0;
    world_advance_ms(&world, FRESH_TOKEN_PAUSE_MS);
    world_expect_one(&world, 2, RC_OK);
    world_close(&world);
}

Test(fresh_tokens, every_call_about_leases_may_fail, .timeout = 120) {
    for (int is_good = 0; is_good < 2; is_good++) {
        for (int fault = 0; fault < 2; fault++) {
            bool was_met = true;
            for (int n = 1; was_met; n++) {
                fail_call(n, (enum leases_stub_fault)fault, is_good == 1, &was_met);
                cr_assert(was_met || n > 3, "only %d calls", n - 1);
            }
        }
    }
}

/* -- leases that are lost -- */

static bool a_lease_is_lost(struct world *world) {
    return metrics_get(&world->rig->metrics, METRIC_LEASES_LOST) > 0;
}

static bool it_is_held_again(struct world *world) {
    return a_lease_is_lost(world) && leases_stub_is_held(&world->stub, WORLD_USER);
}

/* What was sent goes on, and nobody else begins. */
Test(fresh_tokens, a_lease_that_is_lost_after_sending_is_taken_again, .timeout = 60) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    world_ask_held(&world);
    leases_stub_clear(&world.stub);
    world_wait_until(&world, it_is_held_again);
    world_ask(&world, 1, NULL, WORLD_PATIENCE_MS);
    simprovider_release(world.rig->sim);
    world_expect_all(&world, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);
    world_wait_until(&world, world_holds_nothing);
    world_close(&world);
}

/* Another process has it by then: the fence decides, and both have the winner's token. */
Test(fresh_tokens, a_lease_that_another_has_by_now, .timeout = 60) {
    struct world world;
    world_open(&world);
    world_link(&world, -1);
    struct world_asked *first = world_ask_held(&world);
    leases_stub_clear(&world.stub);
    leases_stub_put_foreign(&world.stub, WORLD_USER);
    world_wait_until(&world, a_lease_is_lost);
    world_link(&world, HOUR_MS); /* what that process would store */
    simprovider_release(world.rig->sim);
    world_wait_until(&world, world_is_answered);
    cr_assert_eq(first->rc, RC_OK);
    cr_assert_str_eq(first->token, world.rig->access_token);
    cr_assert(leases_stub_is_held(&world.stub, WORLD_USER), "another's is not given back");
    world.asked_count = world.answered = 0;
    world_close(&world);
}

/* The provider refuses the token, but another process has the lease by then, and perhaps a newer
 * token: it is believed under the lease only, and not sent again. */
Test(fresh_tokens, a_refusal_after_the_lease_was_lost, .timeout = 60) {
    for (int is_overtaken = 0; is_overtaken < 2; is_overtaken++) {
        struct world world;
        world_open(&world);
        world_link(&world, -1);
        simprovider_reset(world.rig->sim); /* it knows the token no more */
        world_ask_held(&world);
        leases_stub_clear(&world.stub);
        leases_stub_put_foreign(&world.stub, WORLD_USER);
        world_wait_until(&world, a_lease_is_lost);
        int acquires = world.stub.calls[LEASES_ACQUIRE];
        simprovider_release(world.rig->sim);
        world.watched = world_ask(&world, 1, NULL, 500);
        world_wait_until(&world, world_watched_is_answered);
        cr_assert_geq(world.stub.calls[LEASES_ACQUIRE], acquires + 2);
        world_expect_sync_error(&world, "");
        if (is_overtaken) {
            world_link(&world, HOUR_MS); /* what the other process would store */
        }
        leases_stub_clear(&world.stub);
        world_wait_until(&world, world_is_answered);
        cr_assert_eq(world.asked[0].rc, is_overtaken ? RC_OK : RC_PROVIDER_UNAVAILABLE);
        world_expect_sync_error(&world, is_overtaken ? "" : "reauthorization_required");
        cr_assert_eq(world_refreshes(&world), 1);
        world.asked_count = world.answered = 0;
        world_close(&world);
    }
}

static bool one_waits_for_a_connection(struct world *world) {
    return world->stub.calls[LEASES_ACQUIRE] > 0 && world->stub.calls[LEASES_RENEW] > 0;
}

/* The refresh waits in the queue for a connection when its lease goes: it is not sent. */
Test(fresh_tokens, a_lease_that_is_lost_before_sending, .timeout = 60) {
    const struct rig_opts narrow = {
        .connections_max = 1, .queue_max = 10, .work_max = 100, .timeout_ms = WORLD_WAIT_MS};
    struct world world;
    world_open_with(&world, &narrow, WORLD_KEY);
    world_link(&world, -1);
    rig_fault(world.rig, PROVIDER_CALL_LIBRARY,
              (struct simprovider_fault){.kind = SIMPROVIDER_HOLD, .count = 1});
    rig_start(world.rig, 0, PROVIDER_CALL_LIBRARY);
    world_ask(&world, 0, NULL, WORLD_PATIENCE_MS);
    world_wait_until(&world, one_waits_for_a_connection);
    leases_stub_clear(&world.stub);
    leases_stub_put_foreign(&world.stub, WORLD_USER);
    world_wait_until(&world, a_lease_is_lost);
    simprovider_release(world.rig->sim);
    rig_run(world.rig);
    cr_assert_eq(world_refreshes(&world), 0);
    leases_stub_clear(&world.stub);
    world_expect_all(&world, RC_OK);
    cr_assert_eq(world_refreshes(&world), 1);
    world_close(&world);
}
