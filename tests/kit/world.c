// SPDX-License-Identifier: MIT
#include "kit/world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* -- waiting -- */

static void on_watch(struct loop_timer *timer) {
    struct world *world = LIST_ENTRY(timer, struct world, watch);
    if (world->is_time(world) || loop_timer_now_ms(&world->rig->loop) > world->until_ms) {
        loop_timer_stop(timer);
        loop_stop(&world->rig->loop);
    }
}

void world_wait_until(struct world *world, bool (*is_time)(struct world *world)) {
    world->is_time = is_time;
    world->until_ms = loop_timer_now_ms(&world->rig->loop) + WORLD_WAIT_MS;
    loop_timer_start(&world->watch, 1, 1, on_watch);
    loop_run(&world->rig->loop);
    cr_assert(is_time(world), "it never happens");
}

bool world_is_answered(struct world *world) {
    return world->answered == world->asked_count;
}

bool world_holds_nothing(struct world *world) {
    return !leases_stub_is_held(&world->stub, WORLD_USER);
}

static bool the_provider_is_asked(struct world *world) {
    return rig_sends(world->rig, PROVIDER_CALL_REFRESH) > 0;
}

bool world_watched_is_answered(struct world *world) {
    return world->watched->calls > 0;
}

static bool account_is_done(struct world *world) {
    return world->account_calls > 0;
}

void world_advance_ms(struct world *world, int64_t ms) {
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
void world_link(struct world *world, int64_t left_ms) {
    int64_t now_ms = loop_wall_ms(&world->rig->loop);
    rig_link(world->rig);
    world->account_calls = 0;
    accounts_link(world->accounts, &world->account,
                  &(const struct account_link){
                      .user_id = SLICE(WORLD_USER),
                      .audible_user_id = SLICE("amzn1.account.TEST"),
                      .access_token = slice_str(world->rig->access_token),
                      .refresh_token = slice_str(world->rig->refresh_token),
                      .expires_ms = now_ms + left_ms,
                      .now_ms = now_ms,
                  },
                  on_account);
    world_wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
}

void world_remove(struct world *world) {
    world->account_calls = 0;
    accounts_remove(world->accounts, &world->account, SLICE(WORLD_USER), on_account);
    world_wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
}

static void on_opened(struct accounts_op *op) {
    struct world *world = LIST_ENTRY(op, struct world, account);
    const struct account_tokens same = {
        .user_id = SLICE(WORLD_USER),
        .access_token = op->access_token,
        .refresh_token = op->refresh_token,
        .expires_ms = op->expires_ms,
        .now_ms = loop_wall_ms(&world->rig->loop),
        .fence = op->sealed_refresh,
    };
    accounts_swap(world->accounts, op, &same, on_account);
}

void world_seal_anew(struct world *world) {
    world->account_calls = 0;
    accounts_open(world->accounts, &world->account, SLICE(WORLD_USER), on_opened);
    world_wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
}

void world_expect_sync_error(struct world *world, const char *error) {
    world->account_calls = 0;
    accounts_get(world->accounts, &world->account, SLICE(WORLD_USER), on_account);
    world_wait_until(world, account_is_done);
    cr_assert_eq(world->account.rc, RC_OK);
    cr_assert_str_eq(world->sync_error, error);
}

/* -- the world -- */

static void open_process(struct world *world, struct world_process *process) {
    struct rig *rig = world->rig;
    process->leases = leases_new(&rig->loop, leases_stub_backend(&world->stub), &world->rng,
                                 rig->log, &rig->metrics);
    process->revocations =
        revocations_new(&(const struct revocations_opts){.loop = &rig->loop,
                                                         .provider = &rig->provider,
                                                         .log = rig->log,
                                                         .pending_max = 10,
                                                         .timeout_ms = WORLD_PATIENCE_MS});
    process->tokens =
        fresh_tokens_new(&(const struct fresh_tokens_opts){.loop = &rig->loop,
                                                           .provider = &rig->provider,
                                                           .accounts = world->accounts,
                                                           .leases = process->leases,
                                                           .log = rig->log,
                                                           .metrics = &rig->metrics,
                                                           .revocations = process->revocations,
                                                           .refresh_timeout_ms = WORLD_PATIENCE_MS,
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

void world_open_with(struct world *world, const struct rig_opts *opts, const char *keys) {
    memset(world, 0, sizeof *world);
    world->rig = rig_new(opts);
    world->folder = scratch_new();
    world->stub.loop = &world->rig->loop;
    rng_init(&world->rng);
    loop_timer_init(&world->rig->loop, &world->watch);
    open_accounts(world, keys);
    for (int i = 0; i < WORLD_PROCESSES; i++) {
        open_process(world, &world->processes[i]);
    }
}

void world_open(struct world *world) {
    world_open_with(world, &rig_usual, WORLD_KEY);
}

static void on_leases_closed(void *owner) {
    ((struct world_process *)owner)->is_closed = true;
}

static void on_revocations_closed(void *owner) {
    struct world_process *process = owner;
    leases_close(process->leases, on_leases_closed, process);
}

static void on_tokens_closed(void *owner) {
    struct world_process *process = owner;
    revocations_close(process->revocations, on_revocations_closed, process);
}

static bool all_are_closed(struct world *world) {
    for (int i = 0; i < WORLD_PROCESSES; i++) {
        if (!world->processes[i].is_closed) {
            return false;
        }
    }
    return true;
}

void world_close_processes(struct world *world) {
    for (int i = 0; i < WORLD_PROCESSES; i++) {
        fresh_tokens_close(world->processes[i].tokens, on_tokens_closed, &world->processes[i]);
    }
    world_wait_until(world, all_are_closed);
}

void world_close(struct world *world) {
    cr_assert(world_is_answered(world));
    if (!all_are_closed(world)) {
        world_close_processes(world);
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

static void on_token(struct fresh_token *op) {
    struct world_asked *asked = LIST_ENTRY(op, struct world_asked, op);
    asked->calls++;
    asked->rc = op->rc;
    snprintf(asked->token, sizeof asked->token, "%.*s", SLICE_ARGS(op->access_token));
    memset(op, 0xA5, sizeof *op);
    asked->world->answered++;
    if (asked->asks_again) {
        world_ask(asked->world, 0, NULL, WORLD_PATIENCE_MS / 2);
    }
    if (asked->is_slow) {
        nanosleep(&(struct timespec){.tv_nsec = 300 * 1000 * 1000}, NULL);
    }
}

struct world_asked *world_ask(struct world *world, int process, const char *refused,
                              int64_t patience_ms) {
    struct world_asked *asked = &world->asked[world->asked_count++];
    *asked = (struct world_asked){.world = world};
    snprintf(asked->refused, sizeof asked->refused, "%s", refused != NULL ? refused : "");
    asked->op = (struct fresh_token){
        .user_id = SLICE(WORLD_USER),
        .request_id = SLICE("request-1"),
        .client = SLICE("192.0.2.1"),
        .refused = refused != NULL ? slice_str(asked->refused) : SLICE_NULL,
        .deadline_ms = loop_now_ms(&world->rig->loop) + patience_ms,
    };
    fresh_token_get(world->processes[process].tokens, &asked->op, on_token);
    cr_assert_eq(asked->calls, 0, "done within the call");
    return asked;
}

void world_ask_all(struct world *world, int each) {
    for (int i = 0; i < each * WORLD_PROCESSES; i++) {
        world_ask(world, i % WORLD_PROCESSES, NULL, WORLD_PATIENCE_MS);
    }
}

/* Of all that were asked since the last time. */
void world_expect_all(struct world *world, enum rc rc) {
    world_wait_until(world, world_is_answered);
    for (size_t i = 0; i < world->asked_count; i++) {
        struct world_asked *asked = &world->asked[i];
        cr_assert_eq(asked->calls, 1);
        cr_assert_eq(asked->rc, rc, "%zu: %s", i, rc_name(asked->rc));
        cr_assert_str_eq(asked->token, rc == RC_OK ? world->asked[0].token : "");
        cr_assert_eq(asked->token[0] != '\0', rc == RC_OK);
    }
    world->asked_count = world->answered = 0;
}

void world_expect_one(struct world *world, int process, enum rc rc) {
    world_ask(world, process, NULL, WORLD_PATIENCE_MS);
    world_expect_all(world, rc);
}

int64_t world_refreshes(struct world *world) {
    return rig_sends(world->rig, PROVIDER_CALL_REFRESH);
}

static void hold_the_provider(struct world *world) {
    rig_fault(world->rig, PROVIDER_CALL_REFRESH,
              (struct simprovider_fault){.kind = SIMPROVIDER_HOLD, .count = 1});
}

void world_refuse(struct world *world, int status, const char *text, unsigned count) {
    rig_fault(world->rig, PROVIDER_CALL_REFRESH,
              (struct simprovider_fault){
                  .kind = SIMPROVIDER_STATUS, .number = status, .text = text, .count = count});
}

/* The first process asks the provider, which keeps it waiting. */
struct world_asked *world_ask_held(struct world *world) {
    hold_the_provider(world);
    struct world_asked *asked = world_ask(world, 0, NULL, WORLD_PATIENCE_MS);
    world_wait_until(world, the_provider_is_asked);
    return asked;
}
