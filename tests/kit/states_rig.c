// SPDX-License-Identifier: MIT
#include "kit/states_rig.h"

#include <criterion/criterion.h>

#include "base/b64.h"
#include "base/list.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "kit/leaks.h"
#include "kit/redis_place.h"

static struct states_backend *open_memory(struct states_rig *rig) {
    return states_mem_new(&rig->loop, rig->max, &rig->metrics);
}

static void close_memory(struct states_rig *rig) {
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), 0);
}

const struct states_rig_kind states_rig_memory = {
    .name = "memory",
    .open = open_memory,
    .close = close_memory,
    .has_max = true,
    .operations = 100000,
};

static struct states_backend *open_redis(struct states_rig *rig) {
    rig->redis = redis_place_open(&rig->loop, rig->log, &rig->metrics);
    return states_redis_new(&rig->loop, rig->redis->redis, &rig->metrics);
}

static void close_redis(struct states_rig *rig) {
    redis_place_close(rig->redis);
}

const struct states_rig_kind states_rig_redis = {
    .name = "redis",
    .open = open_redis,
    .close = close_redis,
    .remembers_since_made = true,
    .operations = 30000,
};

void states_rig_open(struct states_rig *rig, const struct states_rig_kind *kind, size_t max) {
    *rig = (struct states_rig){.kind = kind, .max = max};
    cr_assert_eq(hash_init(), RC_OK);
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    rig->log = log_new(-1, LOG_DEBUG, &rig->clock, &rig->metrics);
    struct states_backend *backend = kind->open(rig);
    rig->states = states_new(&rig->loop, backend, rig->log, &rig->metrics);
}

void states_rig_close(struct states_rig *rig) {
    states_close(rig->states);
    rig->kind->close(rig);
    loop_run(&rig->loop);
    log_free(rig->log);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK);
    CHECK_LEAKS();
}

void states_rig_each(size_t max, void (*test)(struct states_rig *rig)) {
    static const struct states_rig_kind *const kinds[] = {&states_rig_memory, &states_rig_redis};
    struct states_rig rig;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        states_rig_open(&rig, kinds[i], max);
        test(&rig);
        states_rig_close(&rig);
    }
}

struct turn {
    struct loop_task task;
    struct loop *loop;
};

static void on_turn(struct loop_task *task) {
    loop_stop(LIST_ENTRY(task, struct turn, task)->loop);
}

/* The clock as rules see it is read once a turn, and a loop with nothing to do takes none. */
void states_rig_advance(struct states_rig *rig, int64_t ms) {
    struct turn turn = {.loop = &rig->loop};
    atomic_fetch_add(&rig->clock.offset_ms, ms);
    loop_later(&rig->loop, &turn.task, on_turn);
    loop_run(&rig->loop);
}

void states_rig_done(struct states_op *op) {
    struct states_rig_call *call = LIST_ENTRY(op, struct states_rig_call, op);
    call->calls++;
    loop_stop(call->loop);
}

void states_rig_wait(struct states_rig_call *call) {
    while (call->calls == 0) {
        loop_run(call->loop);
    }
    cr_assert_eq(call->calls, 1);
}

struct state_new states_rig_state(uint64_t number, const char *user_id) {
    struct state_new state = {.user_id = slice_str(user_id),
                              .redirect_uri = SLICE("https://app.example/callback")};
    uint64_t spread = number * 0x9E3779B97F4A7C15U;
    memcpy(state.state, &spread, sizeof spread);
    memcpy(state.state + 16, &number, sizeof number);
    memcpy(state.verifier + 8, &number, sizeof number);
    memcpy(state.cookie_hash + 4, &number, sizeof number);
    return state;
}

struct states_rig_text states_rig_text(uint64_t number) {
    struct states_rig_text text = {0};
    struct state_new state = states_rig_state(number, "");
    text.len = b64_encode_unpadded(text.at, slice_make(state.state, RANDOM_BYTES));
    return text;
}

enum rc states_rig_put(struct states_rig *rig, const struct state_new *state) {
    struct states_rig_call call = {.loop = &rig->loop};
    states_put(rig->states, &call.op, state, states_rig_done);
    cr_assert_eq(call.calls, 0, "completed before the call returned");
    states_rig_wait(&call);
    return call.op.rc;
}

enum rc states_rig_put_number(struct states_rig *rig, uint64_t number, const char *user_id) {
    struct state_new state = states_rig_state(number, user_id);
    return states_rig_put(rig, &state);
}

struct states_op states_rig_take(struct states_rig *rig, struct slice text,
                                 const struct state_claim *claim) {
    struct states_rig_call call = {.loop = &rig->loop};
    states_take(rig->states, &call.op, text, claim, states_rig_done);
    cr_assert_eq(call.calls, 0, "completed before the call returned");
    states_rig_wait(&call);
    return call.op;
}

struct states_op states_rig_take_number(struct states_rig *rig, uint64_t number,
                                        const char *user_id) {
    struct states_rig_text text = states_rig_text(number);
    return states_rig_take(rig, slice_make(text.at, text.len),
                           &(struct state_claim){.user_id = slice_str(user_id)});
}

struct states_op states_rig_take_by_cookie(struct states_rig *rig, uint64_t number,
                                           uint64_t cookie) {
    struct states_rig_text text = states_rig_text(number);
    struct state_new of_cookie = states_rig_state(cookie, "");
    return states_rig_take(rig, slice_make(text.at, text.len),
                           &(struct state_claim){.cookie_hash = of_cookie.cookie_hash});
}

enum rc states_rig_ping(struct states_rig *rig) {
    struct states_rig_call call = {.loop = &rig->loop};
    states_ping(rig->states, &call.op, states_rig_done);
    cr_assert_eq(call.calls, 0, "completed before the call returned");
    states_rig_wait(&call);
    return call.op.rc;
}

void states_rig_expect(const struct states_rig *rig, struct states_op op,
                       enum state_outcome expected, const char *what) {
    cr_assert_eq(op.rc, RC_OK, "%s, %s: %s (%s)", rig->kind->name, what, rc_name(op.rc),
                 op.cause != NULL ? op.cause : "no cause");
    cr_assert_eq(op.outcome, expected, "%s, %s: %s, expected %s", rig->kind->name, what,
                 state_outcome_text(op.outcome), state_outcome_text(expected));
}
