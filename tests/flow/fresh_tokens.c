// SPDX-License-Identifier: MIT
/* Several processes that share accounts and leases, played on one loop: each has fresh tokens and a
 * keeper of its own. One refresh for all of them, whatever becomes of who refreshes, of the leases
 * and of their store. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "kit/faults_sqlite.h"
#include "kit/leases_stub.h"
#include "kit/provider_rig.h"
#include "kit/scratch.h"
#include "link/fresh_token.h"

#define USER "user-1"
#define KEY "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
enum { PROCESSES = 3, ASKS = 50, PATIENCE_MS = 10 * 1000, WAIT_MS = 20 * 1000, HOUR_MS = 3600000 };

struct process {
    struct leases *leases;
    struct revocations *revocations;
    struct fresh_tokens *tokens;
    bool is_closed;
};

struct asked {
    struct fresh_token op;
    struct world *world;
    int calls;
    bool is_slow; /* its owner takes long to hear it */
    bool asks_again;
    enum rc rc;
    char token[RIG_TEXT_BYTES];
    char refused[RIG_TEXT_BYTES];
};

struct world {
    struct rig *rig;
    struct scratch folder;
    struct fernet_keys *keys;
    struct accounts *accounts;
    struct leases_stub stub;
    struct rng rng;
    struct process processes[PROCESSES];
    struct asked asked[PROCESSES * ASKS];
    size_t asked_count;
    size_t answered;
    struct loop_timer watch;
    bool (*is_time)(struct world *world);
    int64_t until_ms;
    const struct asked *watched;
    struct accounts_op account;
    int account_calls;
    char sync_error[64]; /* what it showed */
};

/* -- waiting -- */

static void on_watch(struct loop_timer *timer) {
    struct world *world = LIST_ENTRY(timer, struct world, watch);
    if (world->is_time(world) || loop_timer_now_ms(&world->rig->loop) > world->until_ms) {
        loop_timer_stop(timer);
        loop_stop(&world->rig->loop);
    }
}

static void wait_until(struct world *world, bool (*is_time)(struct world *world)) {
    world->is_time = is_time;
    world->until_ms = loop_timer_now_ms(&world->rig->loop) + WAIT_MS;
    loop_timer_start(&world->watch, 1, 1, on_watch);
    loop_run(&world->rig->loop);
    cr_assert(is_time(world), "it never happens");
}

static bool all_are_answered(struct world *world) {
    return world->answered == world->asked_count;
}

static bool nothing_is_held(struct world *world) {
    return !leases_stub_is_held(&world->stub, USER);
}

static bool the_provider_is_asked(struct world *world) {
    return rig_sends(world->rig, PROVIDER_CALL_REFRESH) > 0;
}

static bool the_watched_is_answered(struct world *world) {
    return world->watched->calls > 0;
}

static bool account_is_done(struct world *world) {
    return world->account_calls > 0;
}

static void advance_ms(struct world *world, int64_t ms) {
    atomic_fetch_add(&world->rig->clock.offset_ms, ms);
}

/* -- the account -- */

static void on_account(struct accounts_op *op) {
    struct world *world = LIST_ENTRY(op, struct world, account);
    snprintf(world->sync_error, sizeof world->sync_error, "%.*s",
             SLICE_ARGS(op->view.last_sync_error));
    world->account_calls++;
}

/* With what the provider gave; the access token ends in so many ms. */
static void link_account(struct world *world, int64_t left_ms) {
    int64_t now_ms = loop_wall_ms(&world->rig->loop);
    rig_link(world->rig);
    world->account_calls = 0;
    accounts_link(world->accounts, &world->account,
                  &(const struct account_link){
                      .user_id = SLICE(USER),
                      .audible_user_id = SLICE("amzn1.account.TEST"),
                      .access_token = slice_str(world->rig->access_token),
                      .refresh_token = slice_str(world->rig->refresh_token),
                      .expires_ms = now_ms + left_ms,
                      .now_ms = now_ms,
                  },
                  on_account);
    wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
}

static void remove_account(struct world *world) {
    world->account_calls = 0;
    accounts_remove(world->accounts, &world->account, SLICE(USER), on_account);
    wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
}

static void on_opened(struct accounts_op *op) {
    struct world *world = LIST_ENTRY(op, struct world, account);
    const struct account_tokens same = {
        .user_id = SLICE(USER),
        .access_token = op->access_token,
        .refresh_token = op->refresh_token,
        .expires_ms = op->expires_ms,
        .now_ms = loop_wall_ms(&world->rig->loop),
        .fence = op->sealed_refresh,
    };
    accounts_swap(world->accounts, op, &same, on_account);
}

static void seal_anew(struct world *world) {
    world->account_calls = 0;
    accounts_open(world->accounts, &world->account, SLICE(USER), on_opened);
    wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
}

static void expect_sync_error(struct world *world, const char *error) {
    world->account_calls = 0;
    accounts_get(world->accounts, &world->account, SLICE(USER), on_account);
    wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
    cr_assert_str_eq(world->sync_error, error);
}

/* -- the world -- */

static void open_process(struct world *world, struct process *process) {
    struct rig *rig = world->rig;
    process->leases = leases_new(&rig->loop, leases_stub_backend(&world->stub), &world->rng,
                                 rig->log, &rig->metrics);
    process->revocations =
        revocations_new(&(const struct revocations_opts){.loop = &rig->loop,
                                                         .provider = &rig->provider,
                                                         .log = rig->log,
                                                         .pending_max = 10,
                                                         .timeout_ms = PATIENCE_MS});
    process->tokens =
        fresh_tokens_new(&(const struct fresh_tokens_opts){.loop = &rig->loop,
                                                           .provider = &rig->provider,
                                                           .accounts = world->accounts,
                                                           .leases = process->leases,
                                                           .log = rig->log,
                                                           .metrics = &rig->metrics,
                                                           .revocations = process->revocations,
                                                           .refresh_timeout_ms = PATIENCE_MS,
                                                           .flights_max = 100});
}

static void open_accounts(struct world *world, const char *keys) {
    char problem[ACCOUNTS_PROBLEM_BYTES];
    struct accounts_backend *backend;
    struct rig *rig = world->rig;
    if (keys != NULL) {
        cr_assert_eq(fernet_keys_parse(slice_str(keys), &world->keys, problem), RC_OK);
    }
    cr_assert_eq(accounts_sqlite_open(&rig->loop, scratch_file(&world->folder, "a.db").path,
                                      &backend, problem),
                 RC_OK, "%s", problem);
    world->accounts = accounts_new(&(const struct accounts_opts){.loop = &rig->loop,
                                                                 .work = rig->work,
                                                                 .backend = backend,
                                                                 .keys = world->keys,
                                                                 .log = rig->log,
                                                                 .metrics = &rig->metrics});
}

static void world_open_with(struct world *world, const struct rig_opts *opts, const char *keys) {
    memset(world, 0, sizeof *world);
    world->rig = rig_new(opts);
    world->folder = scratch_new();
    world->stub.loop = &world->rig->loop;
    rng_init(&world->rng);
    loop_timer_init(&world->rig->loop, &world->watch);
    open_accounts(world, keys);
    for (int i = 0; i < PROCESSES; i++) {
        open_process(world, &world->processes[i]);
    }
}

static void world_open(struct world *world) {
    world_open_with(world, &rig_usual, KEY);
}

static void on_leases_closed(void *owner) {
    ((struct process *)owner)->is_closed = true;
}

static void on_revocations_closed(void *owner) {
    struct process *process = owner;
    leases_close(process->leases, on_leases_closed, process);
}

static void on_tokens_closed(void *owner) {
    struct process *process = owner;
    revocations_close(process->revocations, on_revocations_closed, process);
}

static bool all_are_closed(struct world *world) {
    for (int i = 0; i < PROCESSES; i++) {
        if (!world->processes[i].is_closed) {
            return false;
        }
    }
    return true;
}

static void close_processes(struct world *world) {
    for (int i = 0; i < PROCESSES; i++) {
        fresh_tokens_close(world->processes[i].tokens, on_tokens_closed, &world->processes[i]);
    }
    wait_until(world, all_are_closed);
}

static void world_close(struct world *world) {
    cr_assert(all_are_answered(world));
    if (!all_are_closed(world)) {
        close_processes(world);
    }
    accounts_close(world->accounts, NULL, NULL);
    loop_timer_close(&world->watch, NULL);
    loop_run(&world->rig->loop);
    fernet_keys_free(world->keys);
    rng_fini(&world->rng);
    scratch_free(&world->folder);
    rig_end(world->rig);
}

/* -- asking for a token -- */

static struct asked *start_ask(struct world *world, int process, const char *refused,
                               int64_t patience_ms);

static void on_token(struct fresh_token *op) {
    struct asked *asked = LIST_ENTRY(op, struct asked, op);
    asked->calls++;
    asked->rc = op->rc;
    snprintf(asked->token, sizeof asked->token, "%.*s", SLICE_ARGS(op->access_token));
    memset(op, 0xA5, sizeof *op);
    asked->world->answered++;
    if (asked->asks_again) {
        start_ask(asked->world, 0, NULL, PATIENCE_MS / 2);
    }
    if (asked->is_slow) {
        nanosleep(&(struct timespec){.tv_nsec = 300 * 1000 * 1000}, NULL);
    }
}

static struct asked *start_ask(struct world *world, int process, const char *refused,
                               int64_t patience_ms) {
    struct asked *asked = &world->asked[world->asked_count++];
    *asked = (struct asked){.world = world};
    snprintf(asked->refused, sizeof asked->refused, "%s", refused != NULL ? refused : "");
    asked->op = (struct fresh_token){
        .user_id = SLICE(USER),
        .request_id = SLICE("request-1"),
        .client = SLICE("192.0.2.1"),
        .refused = refused != NULL ? slice_str(asked->refused) : SLICE_NULL,
        .deadline_ms = loop_now_ms(&world->rig->loop) + patience_ms,
    };
    fresh_token_get(world->processes[process].tokens, &asked->op, on_token);
    cr_assert_eq(asked->calls, 0, "done within the call");
    return asked;
}

static void start_all(struct world *world, int each) {
    for (int i = 0; i < each * PROCESSES; i++) {
        start_ask(world, i % PROCESSES, NULL, PATIENCE_MS);
    }
}

/* Of all that were asked since the last time. */
static void expect_all(struct world *world, enum rc rc) {
    wait_until(world, all_are_answered);
    for (size_t i = 0; i < world->asked_count; i++) {
        struct asked *asked = &world->asked[i];
        cr_assert_eq(asked->calls, 1);
        cr_assert_eq(asked->rc, rc, "%zu: %s", i, rc_name(asked->rc));
        cr_assert_str_eq(asked->token, rc == RC_OK ? world->asked[0].token : "");
        cr_assert_eq(asked->token[0] != '\0', rc == RC_OK);
    }
    world->asked_count = world->answered = 0;
}

static void expect_one(struct world *world, int process, enum rc rc) {
    start_ask(world, process, NULL, PATIENCE_MS);
    expect_all(world, rc);
}

static int64_t refreshes(struct world *world) {
    return rig_sends(world->rig, PROVIDER_CALL_REFRESH);
}

static void hold_the_provider(struct world *world) {
    rig_fault(world->rig, PROVIDER_CALL_REFRESH,
              (struct simprovider_fault){.kind = SIMPROVIDER_HOLD, .count = 1});
}

static void refuse(struct world *world, int status, const char *text, unsigned count) {
    rig_fault(world->rig, PROVIDER_CALL_REFRESH,
              (struct simprovider_fault){
                  .kind = SIMPROVIDER_STATUS, .number = status, .text = text, .count = count});
}

/* The first process asks the provider, which keeps it waiting. */
static struct asked *start_held(struct world *world) {
    hold_the_provider(world);
    struct asked *asked = start_ask(world, 0, NULL, PATIENCE_MS);
    wait_until(world, the_provider_is_asked);
    return asked;
}

/* -- who refreshes succeeds, fails, is refused -- */

Test(fresh_tokens, one_refresh_for_all_processes, .timeout = 60) {
    static const char *const keys[] = {KEY, NULL};
    struct world world;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        world_open_with(&world, &rig_usual, keys[i]);
        link_account(&world, -1);
        start_all(&world, ASKS);
        expect_all(&world, RC_OK);
        cr_assert_eq(refreshes(&world), 1);
        cr_assert_eq(metrics_get(&world.rig->metrics, METRIC_REFRESH_OK), 1);
        wait_until(&world, nothing_is_held);
        start_all(&world, 1);
        expect_all(&world, RC_OK);
        cr_assert_eq(refreshes(&world), 1);
        world_close(&world);
    }
}

/* Without keys a token that the provider doesn't rotate is stored as it was: not even then does a
 * second process refresh. */
Test(fresh_tokens, one_refresh_where_the_stored_token_stays_the_same, .timeout = 60) {
    struct world world;
    world_open_with(&world, &rig_usual, NULL);
    link_account(&world, -1);
    refuse(&world, 200, "{\"access_token\":\"another\",\"expires_in\":3600}", 1);
    start_all(&world, ASKS);
    expect_all(&world, RC_OK);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
}

Test(fresh_tokens, a_failure_is_shared_and_rests, .timeout = 60) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    refuse(&world, 500, "{}", 0);
    start_all(&world, ASKS);
    expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(refreshes(&world), 1);
    start_all(&world, 1);
    expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(refreshes(&world), 1, "nobody refreshes for two seconds");
    simprovider_faults_clear(world.rig->sim);
    advance_ms(&world, FRESH_TOKEN_PAUSE_MS);
    start_all(&world, ASKS);
    expect_all(&world, RC_OK);
    cr_assert_eq(refreshes(&world), 2);
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
    link_account(&world, -1);
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        leases_stub_put_foreign(&world.stub, USER);
        for (int place = 0; place < LEASES_STUB_MAX; place++) {
            world.stub.leases[place].rests = true;
            world.stub.leases[place].note = notes[i].note;
        }
        int asked = world.stub.calls[LEASES_ACQUIRE];
        expect_one(&world, 1, notes[i].rc);
        expect_one(&world, 1, notes[i].rc);
        cr_assert_eq(world.stub.calls[LEASES_ACQUIRE], asked + 1, "its rest is remembered");
        advance_ms(&world, LEASE_TTL_MS);
    }
    cr_assert_eq(refreshes(&world), 0);
    expect_one(&world, 1, RC_OK);
    world_close(&world);
}

Test(fresh_tokens, a_refused_grant_is_known_to_all, .timeout = 60) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    refuse(&world, 400, "{\"error\":\"invalid_grant\"}", 0);
    start_all(&world, ASKS);
    expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    advance_ms(&world, 10 * FRESH_TOKEN_PAUSE_MS);
    start_all(&world, 1);
    expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(refreshes(&world), 1);
    cr_assert(nothing_is_held(&world));
    expect_sync_error(&world, "reauthorization_required");
    world_close(&world);
}

/* -- while another process refreshes -- */

Test(fresh_tokens, a_token_that_works_is_served_meanwhile) {
    struct world world;
    world_open(&world);
    link_account(&world, FRESH_TOKEN_AHEAD_MS / 2);
    struct asked *first = start_held(&world);
    struct asked *second = start_ask(&world, 1, NULL, PATIENCE_MS);
    struct asked *refused = start_ask(&world, 1, world.rig->access_token, PATIENCE_MS);
    world.watched = second;
    wait_until(&world, the_watched_is_answered);
    cr_assert_eq(second->rc, RC_OK);
    cr_assert_str_eq(second->token, world.rig->access_token);
    cr_assert_eq(first->calls, 0);
    cr_assert_eq(refused->calls, 0, "it helps nobody for whom the provider refused it");
    simprovider_release(world.rig->sim);
    wait_until(&world, all_are_answered);
    cr_assert_eq(refused->rc, RC_OK);
    cr_assert_str_eq(refused->token, first->token);
    cr_assert_str_neq(first->token, second->token);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
}

Test(fresh_tokens, one_that_dies_is_waited_for_until_its_lease_ends, .timeout = 60) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    leases_stub_put_foreign(&world.stub, USER);
    for (int i = 0; i < PROCESSES; i++) {
        start_ask(&world, i, NULL, 300);
    }
    expect_all(&world, RC_PROVIDER_UNAVAILABLE);
    cr_assert_gt(world.stub.calls[LEASES_ACQUIRE], PROCESSES, "it is looked at again");
    cr_assert_lt(world.stub.calls[LEASES_ACQUIRE], PROCESSES * 10, "now and then");
    for (int i = 0; i < PROCESSES; i++) {
        start_ask(&world, i, NULL, 2 * LEASE_TTL_MS);
    }
    cr_assert_eq(refreshes(&world), 0);
    advance_ms(&world, LEASE_TTL_MS);
    expect_all(&world, RC_OK);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
}

/* Nobody waits any more for what another process does. */
Test(fresh_tokens, who_waits_for_another_process_may_leave) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    leases_stub_put_foreign(&world.stub, USER);
    struct asked *first = start_ask(&world, 0, NULL, PATIENCE_MS);
    world.watched = start_ask(&world, 1, NULL, 200);
    wait_until(&world, the_watched_is_answered);
    fresh_token_cancel(&first->op);
    wait_until(&world, all_are_answered);
    cr_assert_eq(first->rc, RC_CANCELED);
    close_processes(&world);
    cr_assert_eq(refreshes(&world), 0);
    world_close(&world);
}

Test(fresh_tokens, a_disconnect_during_the_refresh_of_another_wins) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    start_held(&world);
    start_ask(&world, 1, NULL, PATIENCE_MS);
    remove_account(&world);
    simprovider_release(world.rig->sim);
    expect_all(&world, RC_NOT_CONNECTED);
    cr_assert(simprovider_wait(world.rig->sim, SIMPROVIDER_REVOKES, 1, WAIT_MS));
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
}

/* A rekey beside it: the fence is another, the token the same, so what was brought is stored. */
Test(fresh_tokens, a_record_that_is_sealed_anew_during_the_refresh) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    start_held(&world);
    seal_anew(&world);
    simprovider_release(world.rig->sim);
    start_ask(&world, 1, NULL, PATIENCE_MS);
    expect_all(&world, RC_OK);
    cr_assert_eq(metrics_get(&world.rig->metrics, METRIC_REFRESH_OK), 1);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
}

/* What a link brings meanwhile is what all get, and what the refresh brought is forgotten. */
Test(fresh_tokens, a_new_link_during_the_refresh_of_another_stands) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    start_held(&world);
    link_account(&world, HOUR_MS);
    start_ask(&world, 1, NULL, PATIENCE_MS);
    simprovider_release(world.rig->sim);
    expect_all(&world, RC_OK);
    expect_one(&world, 2, RC_OK);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
}

/* -- what was rotated and can't be stored -- */

/* The others must not send the old token, for as long as it takes. */
Test(fresh_tokens, the_lease_is_kept_until_what_was_rotated_is_stored, .timeout = 60) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    link_account(&world, -1);
    struct asked *first = start_held(&world);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    world.watched = first;
    wait_until(&world, the_watched_is_answered);
    cr_assert_eq(first->rc, RC_STORAGE_UNAVAILABLE);
    cr_assert(leases_stub_is_held(&world.stub, USER));
    struct asked *second = start_ask(&world, 1, NULL, PATIENCE_MS);
    world.watched = start_ask(&world, 2, NULL, 10);
    wait_until(&world, the_watched_is_answered);
    faults_sqlite_heal(disk);
    wait_until(&world, all_are_answered);
    cr_assert_eq(second->rc, RC_OK);
    wait_until(&world, nothing_is_held);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
    faults_sqlite_remove(disk);
}

/* While so many are told that it takes several turns, what is to be stored is due already: it waits
 * for its turn, and the loop turns. */
Test(fresh_tokens, what_is_to_be_stored_is_due_while_many_are_told, .timeout = 60) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    link_account(&world, -1);
    start_held(&world)->is_slow = true;
    while (world.asked_count < sizeof world.asked / sizeof world.asked[0] - 1) {
        start_ask(&world, 0, NULL, PATIENCE_MS);
    }
    world.asked[70].asks_again = true;
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    wait_until(&world, all_are_answered);
    faults_sqlite_heal(disk);
    world.asked_count = world.answered = 0;
    expect_one(&world, 0, RC_OK);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
    faults_sqlite_remove(disk);
}

static bool it_is_given_up(struct world *world) {
    return metrics_get(&world->rig->metrics, METRIC_REFRESH_STORAGE) == 1 && nothing_is_held(world);
}

Test(fresh_tokens, what_can_not_be_stored_for_five_minutes_is_given_up, .timeout = 60) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    link_account(&world, -1);
    world.watched = start_held(&world);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    wait_until(&world, the_watched_is_answered);
    advance_ms(&world, 5 * 60 * 1000);
    wait_until(&world, it_is_given_up);
    faults_sqlite_heal(disk);
    world_close(&world);
    faults_sqlite_remove(disk);
}

Test(fresh_tokens, a_process_that_ends_gives_its_lease_back) {
    struct world world;
    struct faults_sqlite *disk = faults_sqlite_install();
    world_open(&world);
    link_account(&world, -1);
    world.watched = start_held(&world);
    faults_sqlite_fail(disk, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    simprovider_release(world.rig->sim);
    wait_until(&world, the_watched_is_answered);
    cr_assert(leases_stub_is_held(&world.stub, USER));
    close_processes(&world);
    cr_assert(nothing_is_held(&world));
    faults_sqlite_heal(disk);
    world_close(&world);
    faults_sqlite_remove(disk);
}

/* -- leases that fail -- */

Test(fresh_tokens, without_the_store_of_leases_nothing_is_sent) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    world.stub.is_down = true;
    start_all(&world, 1);
    expect_all(&world, RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(refreshes(&world), 0);
    world.stub.is_down = false;
    start_all(&world, 1);
    expect_all(&world, RC_OK);
    cr_assert_eq(refreshes(&world), 1);

    link_account(&world, FRESH_TOKEN_AHEAD_MS / 2);
    world.stub.is_down = true;
    expect_one(&world, 0, RC_OK);
    expect_one(&world, 1, RC_OK);
    cr_assert_eq(refreshes(&world), 1);
    close_processes(&world);
    world_close(&world);
}

/* Every call of a refresh, in both ways: a token or the truth for whoever asks, at most one
 * refresh, and no lease that stays. */
static void fail_call(int n, enum leases_stub_fault fault, bool is_good, bool *was_met) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    if (!is_good) {
        refuse(&world, 500, "{}", 1);
    }
    world.stub.fail_at = n;
    world.stub.fault = fault;
    struct asked *first = start_ask(&world, 0, NULL, PATIENCE_MS);
    struct asked *second = start_ask(&world, 1, NULL, PATIENCE_MS);
    wait_until(&world, all_are_answered);
    cr_assert_eq(first->calls + second->calls, 2);
    for (int i = 0; i < 2; i++) {
        enum rc rc = i == 0 ? first->rc : second->rc;
        cr_assert(rc == RC_STORAGE_UNAVAILABLE || rc == (is_good ? RC_OK : RC_PROVIDER_UNAVAILABLE),
                  "call %d: %s", n, rc_name(rc));
    }
    cr_assert_leq(refreshes(&world), 1, "call %d", n);
    *was_met = world.stub.fail_at == 0;
    world.stub.fail_at = 0;
    wait_until(&world, nothing_is_held);
    world.asked_count = world.answered = 0;
    advance_ms(&world, FRESH_TOKEN_PAUSE_MS);
    expect_one(&world, 2, RC_OK);
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
    return a_lease_is_lost(world) && leases_stub_is_held(&world->stub, USER);
}

/* What was sent goes on, and nobody else begins. */
Test(fresh_tokens, a_lease_that_is_lost_after_sending_is_taken_again, .timeout = 60) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    start_held(&world);
    leases_stub_clear(&world.stub);
    wait_until(&world, it_is_held_again);
    start_ask(&world, 1, NULL, PATIENCE_MS);
    simprovider_release(world.rig->sim);
    expect_all(&world, RC_OK);
    cr_assert_eq(refreshes(&world), 1);
    wait_until(&world, nothing_is_held);
    world_close(&world);
}

/* Another process has it by then: the fence decides, and both have the winner's token. */
Test(fresh_tokens, a_lease_that_another_has_by_now, .timeout = 60) {
    struct world world;
    world_open(&world);
    link_account(&world, -1);
    struct asked *first = start_held(&world);
    leases_stub_clear(&world.stub);
    leases_stub_put_foreign(&world.stub, USER);
    wait_until(&world, a_lease_is_lost);
    link_account(&world, HOUR_MS); /* what that process would store */
    simprovider_release(world.rig->sim);
    wait_until(&world, all_are_answered);
    cr_assert_eq(first->rc, RC_OK);
    cr_assert_str_eq(first->token, world.rig->access_token);
    cr_assert(leases_stub_is_held(&world.stub, USER), "another's is not given back");
    world.asked_count = world.answered = 0;
    world_close(&world);
}

/* The provider refuses the token, but another process has the lease by then, and perhaps a newer
 * token: it is believed under the lease only, and not sent again. */
Test(fresh_tokens, a_refusal_after_the_lease_was_lost, .timeout = 60) {
    for (int is_overtaken = 0; is_overtaken < 2; is_overtaken++) {
        struct world world;
        world_open(&world);
        link_account(&world, -1);
        simprovider_reset(world.rig->sim); /* it knows the token no more */
        start_held(&world);
        leases_stub_clear(&world.stub);
        leases_stub_put_foreign(&world.stub, USER);
        wait_until(&world, a_lease_is_lost);
        int acquires = world.stub.calls[LEASES_ACQUIRE];
        simprovider_release(world.rig->sim);
        world.watched = start_ask(&world, 1, NULL, 500);
        wait_until(&world, the_watched_is_answered);
        cr_assert_geq(world.stub.calls[LEASES_ACQUIRE], acquires + 2);
        expect_sync_error(&world, "");
        if (is_overtaken) {
            link_account(&world, HOUR_MS); /* what the other process would store */
        }
        leases_stub_clear(&world.stub);
        wait_until(&world, all_are_answered);
        cr_assert_eq(world.asked[0].rc, is_overtaken ? RC_OK : RC_PROVIDER_UNAVAILABLE);
        expect_sync_error(&world, is_overtaken ? "" : "reauthorization_required");
        cr_assert_eq(refreshes(&world), 1);
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
        .connections_max = 1, .queue_max = 10, .work_max = 100, .timeout_ms = WAIT_MS};
    struct world world;
    world_open_with(&world, &narrow, KEY);
    link_account(&world, -1);
    rig_fault(world.rig, PROVIDER_CALL_LIBRARY,
              (struct simprovider_fault){.kind = SIMPROVIDER_HOLD, .count = 1});
    rig_start(world.rig, 0, PROVIDER_CALL_LIBRARY);
    start_ask(&world, 0, NULL, PATIENCE_MS);
    wait_until(&world, one_waits_for_a_connection);
    leases_stub_clear(&world.stub);
    leases_stub_put_foreign(&world.stub, USER);
    wait_until(&world, a_lease_is_lost);
    simprovider_release(world.rig->sim);
    rig_run(world.rig);
    cr_assert_eq(refreshes(&world), 0);
    leases_stub_clear(&world.stub);
    expect_all(&world, RC_OK);
    cr_assert_eq(refreshes(&world), 1);
    world_close(&world);
}
