// SPDX-License-Identifier: MIT
#include "store/states.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/b64.h"
#include "base/mem.h"
#include "kit/leaks.h"

enum { BEFORE_MS = 14 * 60 * 1000 + 59 * 1000, AFTER_MS = 15 * 60 * 1000 + 1000 };

struct rig {
    struct clock clock;
    struct loop loop;
    struct metrics metrics;
    struct states *states;
};

static void open_rig(struct rig *rig, size_t max) {
    *rig = (struct rig){0};
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    rig->states =
        states_new(&rig->loop, states_mem_new(&rig->loop, max, &rig->metrics), NULL, &rig->metrics);
}

static void close_rig(struct rig *rig) {
    states_close(rig->states);
    loop_run(&rig->loop);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), 0);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK);
    CHECK_LEAKS();
}

static void on_turn(struct loop_task *task) {
    (void)task;
}

/* The clock as rules see it is read once a turn, and a loop with nothing to do takes none. */
static void advance(struct rig *rig, int64_t ms) {
    struct loop_task task = {0};
    atomic_fetch_add(&rig->clock.offset_ms, ms);
    loop_later(&rig->loop, &task, on_turn);
    loop_run(&rig->loop);
}

struct call {
    struct states_op op;
    int calls;
};

static void on_done(struct states_op *op) {
    LIST_ENTRY(op, struct call, op)->calls++;
}

/* A state that is told by a number. */
static struct state_new make_state(uint64_t number, const char *user_id) {
    struct state_new state = {.user_id = slice_str(user_id),
                              .redirect_uri = SLICE("https://app.example/callback")};
    uint64_t spread = number * 0x9E3779B97F4A7C15U;
    memcpy(state.state, &spread, sizeof spread);
    memcpy(state.state + 16, &number, sizeof number);
    memcpy(state.verifier + 8, &number, sizeof number);
    memcpy(state.cookie_hash + 4, &number, sizeof number);
    return state;
}

static enum rc put(struct rig *rig, const struct state_new *state) {
    struct call call = {0};
    states_put(rig->states, &call.op, state, on_done);
    cr_assert_eq(call.calls, 0, "completed before the call returned");
    loop_run(&rig->loop);
    cr_assert_eq(call.calls, 1);
    return call.op.rc;
}

static enum rc put_number(struct rig *rig, uint64_t number, const char *user_id) {
    struct state_new state = make_state(number, user_id);
    return put(rig, &state);
}

static struct states_op take(struct rig *rig, struct slice text, const struct state_claim *claim) {
    struct call call = {0};
    states_take(rig->states, &call.op, text, claim, on_done);
    cr_assert_eq(call.calls, 0, "completed before the call returned");
    loop_run(&rig->loop);
    cr_assert_eq(call.calls, 1);
    cr_assert_eq(call.op.rc, RC_OK);
    return call.op;
}

static struct states_op take_number(struct rig *rig, uint64_t number, const char *user_id) {
    char text[B64_BYTES(RANDOM_BYTES)];
    struct state_new state = make_state(number, "");
    size_t len = b64_encode_unpadded(text, slice_make(state.state, RANDOM_BYTES));
    return take(rig, slice_make(text, len), &(struct state_claim){.user_id = slice_str(user_id)});
}

static struct states_op take_by_cookie(struct rig *rig, uint64_t number, uint64_t cookie) {
    char text[B64_BYTES(RANDOM_BYTES)];
    struct state_new state = make_state(number, "");
    struct state_new of_cookie = make_state(cookie, "");
    size_t len = b64_encode_unpadded(text, slice_make(state.state, RANDOM_BYTES));
    return take(rig, slice_make(text, len),
                &(struct state_claim){.cookie_hash = of_cookie.cookie_hash});
}

static void assert_outcome(struct states_op op, enum state_outcome expected, const char *what) {
    cr_assert_eq(op.outcome, expected, "%s: %s, expected %s", what, state_outcome_text(op.outcome),
                 state_outcome_text(expected));
}

Test(states, brings_back_what_was_put_and_only_once) {
    struct rig rig;
    open_rig(&rig, 100);
    struct state_new state = make_state(7, "user-1");
    cr_assert_eq(put(&rig, &state), RC_OK);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES), 1);
    struct states_op op = take_number(&rig, 7, "user-1");
    assert_outcome(op, STATE_TAKEN, "first");
    cr_assert_eq(memcmp(op.verifier, state.verifier, RANDOM_BYTES), 0);
    cr_assert_str_eq(op.redirect_uri, "https://app.example/callback");
    cr_assert_eq(op.redirect_uri_len, strlen("https://app.example/callback"));
    cr_assert_str_eq(op.user_id, "user-1");
    cr_assert_eq(op.user_id_len, 6);
    for (int i = 0; i < 3; i++) {
        op = take_number(&rig, 7, "user-1");
        assert_outcome(op, STATE_USED, "again");
        cr_assert_eq(op.redirect_uri_len, 0);
    }
    assert_outcome(take_number(&rig, 8, "user-1"), STATE_UNKNOWN, "never made");
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES), 0);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_CREATED), 1);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_TAKEN), 1);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_REPLAYED), 3);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_UNKNOWN), 1);
    close_rig(&rig);
}

Test(states, fifty_at_once_take_one) {
    struct rig rig;
    struct call calls[50] = {0};
    char text[B64_BYTES(RANDOM_BYTES)];
    open_rig(&rig, 100);
    struct state_new state = make_state(7, "user-1");
    cr_assert_eq(put(&rig, &state), RC_OK);
    size_t len = b64_encode_unpadded(text, slice_make(state.state, RANDOM_BYTES));
    int taken = 0;
    for (int i = 0; i < 50; i++) {
        states_take(rig.states, &calls[i].op, slice_make(text, len),
                    &(struct state_claim){.user_id = state.user_id}, on_done);
    }
    loop_run(&rig.loop);
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(calls[i].calls, 1, "%d", i);
        taken += calls[i].op.outcome == STATE_TAKEN;
    }
    cr_assert_eq(taken, 1);
    close_rig(&rig);
}

Test(states, another_users_try_spends_nothing) {
    struct rig rig;
    open_rig(&rig, 100);
    cr_assert_eq(put_number(&rig, 7, "user-1"), RC_OK);
    static const char *const others[] = {"user-2", "user-", "user-11", "", "USER-1"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct states_op op = take_number(&rig, 7, others[i]);
        assert_outcome(op, STATE_USER_MISMATCH, others[i]);
        cr_assert_str_eq(op.user_id, "user-1", "the log names whose it is");
        cr_assert_eq(op.redirect_uri_len, 0);
        for (size_t at = 0; at < RANDOM_BYTES; at++) {
            cr_assert_eq(op.verifier[at], 0, "the verifier stays here");
        }
    }
    assert_outcome(take_by_cookie(&rig, 7, 8), STATE_COOKIE_MISMATCH, "another's cookie");
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_MISMATCHED), 6);
    assert_outcome(take_by_cookie(&rig, 7, 7), STATE_TAKEN, "the browser's own");
    close_rig(&rig);
}

Test(states, long_user_ids_are_told_apart) {
    struct rig rig;
    char id[LIMIT_USER_ID_BYTES + 1];
    open_rig(&rig, 1000);
    for (size_t len = 1; len <= LIMIT_USER_ID_BYTES; len++) {
        memset(id, 'u', len);
        id[len] = '\0';
        cr_assert_eq(put_number(&rig, len, id), RC_OK);
    }
    for (size_t len = 1; len <= LIMIT_USER_ID_BYTES; len++) {
        memset(id, 'u', len);
        id[len] = '\0';
        id[len - 1] = 'x';
        struct states_op op = take_number(&rig, len, id);
        assert_outcome(op, STATE_USER_MISMATCH, id);
        cr_assert_eq(op.user_id_len, len);
        id[len - 1] = 'u';
        op = take_number(&rig, len, id);
        assert_outcome(op, STATE_TAKEN, id);
        cr_assert_str_eq(op.user_id, id);
    }
    close_rig(&rig);
}

Test(states, what_is_no_state_of_ours_is_unknown) {
    struct rig rig;
    open_rig(&rig, 100);
    cr_assert_eq(put_number(&rig, 7, "u"), RC_OK);
    char text[B64_BYTES(RANDOM_BYTES) + 2];
    struct state_new state = make_state(7, "u");
    size_t len = b64_encode_unpadded(text, slice_make(state.state, RANDOM_BYTES));
    const struct state_claim claim = {.user_id = SLICE("u")};
    char long_text[LIMIT_STATE_BYTES];
    memset(long_text, 'A', sizeof long_text);
    assert_outcome(take(&rig, SLICE(""), &claim), STATE_UNKNOWN, "empty");
    assert_outcome(take(&rig, slice_make(long_text, sizeof long_text), &claim), STATE_UNKNOWN,
                   "long");
    assert_outcome(take(&rig, slice_make(text, len - 1), &claim), STATE_UNKNOWN, "short");
    text[len] = '=';
    assert_outcome(take(&rig, slice_make(text, len + 1), &claim), STATE_UNKNOWN, "padded");
    char last = text[len - 1];
    text[len - 1] = (char)(last + 1); /* the two bits that carry nothing */
    assert_outcome(take(&rig, slice_make(text, len), &claim), STATE_UNKNOWN, "another spelling");
    text[len - 1] = last;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        text[i] = c == 'A' ? 'Q' : 'A';
        assert_outcome(take(&rig, slice_make(text, len), &claim), STATE_UNKNOWN, "one character");
        text[i] = '+';
        assert_outcome(take(&rig, slice_make(text, len), &claim), STATE_UNKNOWN, "alphabet");
        text[i] = c;
    }
    assert_outcome(take(&rig, slice_make(text, len), &claim), STATE_TAKEN, "itself");
    close_rig(&rig);
}

Test(states, live_fifteen_minutes) {
    struct rig rig;
    open_rig(&rig, 100);
    cr_assert_eq(put_number(&rig, 1, "u"), RC_OK);
    cr_assert_eq(put_number(&rig, 2, "u"), RC_OK);
    advance(&rig, BEFORE_MS);
    assert_outcome(take_number(&rig, 1, "u"), STATE_TAKEN, "at 14:59");
    advance(&rig, AFTER_MS - BEFORE_MS);
    assert_outcome(take_number(&rig, 2, "u"), STATE_EXPIRED, "at 15:01, not yet swept");
    assert_outcome(take_number(&rig, 1, "u"), STATE_USED, "used 2 s ago");
    advance(&rig, AFTER_MS);
    assert_outcome(take_number(&rig, 1, "u"), STATE_UNKNOWN, "used long ago");
    close_rig(&rig);
}

/* Keeps the loop in turns until no state is left, and fails after far longer than that takes. */
struct watch {
    struct loop_timer timer;
    struct rig *rig;
    int ticks;
};

static void on_tick(struct loop_timer *timer) {
    struct watch *watch = LIST_ENTRY(timer, struct watch, timer);
    bool gone = metrics_get(&watch->rig->metrics, METRIC_STATES) == 0;
    if (gone || ++watch->ticks == 30 * 100) {
        loop_timer_close(timer, NULL);
    }
}

static void run_until_gone(struct rig *rig) {
    struct watch watch = {.rig = rig};
    loop_timer_init(&rig->loop, &watch.timer);
    loop_timer_start(&watch.timer, 10, 10, on_tick);
    loop_run(&rig->loop);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), 0, "they stayed");
}

Test(states, never_taken_are_swept_unasked) {
    struct rig rig;
    open_rig(&rig, 20000);
    char user_id[16];
    for (uint64_t i = 0; i < 10000; i++) { /* more than one turn sweeps */
        snprintf(user_id, sizeof user_id, "user-%d", (int)i);
        cr_assert_eq(put_number(&rig, i, user_id), RC_OK);
    }
    advance(&rig, BEFORE_MS);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES), 10000);
    advance(&rig, AFTER_MS - BEFORE_MS);
    run_until_gone(&rig);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_EXPIRED), 10000);
    assert_outcome(take_number(&rig, 5, "user-5"), STATE_UNKNOWN, "swept");
    close_rig(&rig);
}

Test(states, a_user_has_sixteen) {
    struct rig rig;
    open_rig(&rig, 100);
    cr_assert_eq(put_number(&rig, 100, "other"), RC_OK);
    for (uint64_t i = 0; i < STATES_PER_USER + 2; i++) {
        cr_assert_eq(put_number(&rig, i, "u"), RC_OK);
    }
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES), STATES_PER_USER + 1);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_DROPPED), 2);
    assert_outcome(take_number(&rig, 0, "u"), STATE_UNKNOWN, "the oldest");
    assert_outcome(take_number(&rig, 1, "u"), STATE_UNKNOWN, "the second oldest");
    assert_outcome(take_number(&rig, 100, "other"), STATE_TAKEN, "another user's");
    for (uint64_t i = 2; i < STATES_PER_USER + 2; i++) {
        assert_outcome(take_number(&rig, i, "u"), STATE_TAKEN, "a newer one");
    }
    close_rig(&rig);
}

Test(states, a_full_store_says_so_until_there_is_room) {
    struct rig rig;
    char user_id[16];
    open_rig(&rig, 40);
    for (uint64_t i = 0; i < 40; i++) {
        snprintf(user_id, sizeof user_id, "u%d", (int)i / STATES_PER_USER);
        cr_assert_eq(put_number(&rig, i, user_id), RC_OK);
    }
    cr_assert_eq(put_number(&rig, 1000, "new"), RC_OVERLOADED);
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_CREATED), 40);
    cr_assert_eq(put_number(&rig, 1001, "u0"), RC_OK, "his own oldest makes room");
    assert_outcome(take_number(&rig, 39, "u2"), STATE_TAKEN, "one leaves");
    cr_assert_eq(put_number(&rig, 1002, "new"), RC_OK);
    cr_assert_eq(put_number(&rig, 1003, "new"), RC_OVERLOADED);
    advance(&rig, AFTER_MS);
    for (uint64_t i = 0; i < 40; i++) {
        snprintf(user_id, sizeof user_id, "v%d", (int)i);
        cr_assert_eq(put_number(&rig, 2000 + i, user_id), RC_OK, "expired ones make room");
    }
    cr_assert_eq(put_number(&rig, 3000, "v"), RC_OVERLOADED);
    close_rig(&rig);
}

/* What is remembered of used states is bounded: the oldest is forgotten first, and is then unknown,
 * which is as refused. */
Test(states, of_many_used_the_newest_are_remembered, .timeout = 60) {
    enum { REMEMBERED = 65536, MORE = 100 };
    struct rig rig;
    open_rig(&rig, 100);
    for (uint64_t i = 0; i < REMEMBERED + MORE; i++) {
        cr_assert_eq(put_number(&rig, i, "u"), RC_OK);
        assert_outcome(take_number(&rig, i, "u"), STATE_TAKEN, "first");
    }
    assert_outcome(take_number(&rig, MORE - 1, "u"), STATE_UNKNOWN, "the youngest of the oldest");
    assert_outcome(take_number(&rig, MORE, "u"), STATE_USED, "the oldest that is remembered");
    assert_outcome(take_number(&rig, REMEMBERED + MORE - 1, "u"), STATE_USED, "the newest");
    close_rig(&rig);
}

Test(states, redirect_uris_are_shared_bounded_and_let_go) {
    enum { URIS = 256 };
    struct rig rig;
    char uri[32];
    char user_id[16];
    open_rig(&rig, 1000);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i <= URIS; i++) {
            snprintf(uri, sizeof uri, "https://app.example/%d", (int)i);
            snprintf(user_id, sizeof user_id, "u%d", (int)i);
            struct state_new state = make_state((uint64_t)round * 1000 + i, user_id);
            state.redirect_uri = slice_str(uri);
            cr_assert_eq(put(&rig, &state), i < URIS ? RC_OK : RC_OVERLOADED, "%s", uri);
        }
        for (uint64_t i = 0; i < URIS; i++) {
            snprintf(uri, sizeof uri, "https://app.example/%d", (int)i);
            snprintf(user_id, sizeof user_id, "u%d", (int)i);
            struct states_op op = take_number(&rig, (uint64_t)round * 1000 + i, user_id);
            cr_assert_str_eq(op.redirect_uri, uri);
        }
    }
    close_rig(&rig);
}

Test(states, ping_answers) {
    struct rig rig;
    struct call call = {0};
    open_rig(&rig, 10);
    states_ping(rig.states, &call.op, on_done);
    cr_assert_eq(call.calls, 0);
    loop_run(&rig.loop);
    cr_assert_eq(call.calls, 1);
    cr_assert_eq(call.op.rc, RC_OK);
    close_rig(&rig);
}

/* -- against a reference that is too simple to be wrong -- */

enum { MODEL_STATES = 120000, MODEL_USERS = 40, MODEL_MAX = 200 };

struct model_state {
    int user;
    enum { FREE, LIVE, DROPPED, TAKEN } kind;
    int64_t created_ms;
    int64_t used_ms;
};

struct model {
    struct model_state *states;
    size_t made;
    size_t first; /* none before it is live */
};

static bool is_live(const struct model_state *state, int64_t now_ms) {
    return state->kind == LIVE && now_ms - state->created_ms <= STATE_TTL_MS;
}

static enum rc model_put(struct model *model, int user, int64_t now_ms) {
    size_t live = 0;
    size_t of_user = 0;
    struct model_state *oldest = NULL;
    while (model->first < model->made && !is_live(&model->states[model->first], now_ms)) {
        model->first++;
    }
    for (size_t i = model->first; i < model->made; i++) {
        struct model_state *state = &model->states[i];
        if (is_live(state, now_ms)) {
            live++;
            of_user += state->user == user;
            oldest = state->user == user && oldest == NULL ? state : oldest;
        }
    }
    if (of_user == STATES_PER_USER) {
        oldest->kind = DROPPED;
        live--;
    }
    if (live == MODEL_MAX) {
        return RC_OVERLOADED;
    }
    model->states[model->made] = (struct model_state){user, LIVE, now_ms, 0};
    return RC_OK;
}

static void check_take(struct model *model, size_t number, struct states_op op, int user,
                       int64_t now_ms) {
    struct model_state *state = &model->states[number];
    enum state_outcome expected = STATE_UNKNOWN;
    bool swept_is_fine = false;
    if (is_live(state, now_ms)) {
        expected = state->user == user ? STATE_TAKEN : STATE_USER_MISMATCH;
    } else if (state->kind == LIVE) {
        expected = STATE_EXPIRED;
        swept_is_fine = true;
    } else if (state->kind == TAKEN && now_ms - state->used_ms <= STATE_TTL_MS) {
        expected = STATE_USED;
    }
    cr_assert(op.outcome == expected || (swept_is_fine && op.outcome == STATE_UNKNOWN),
              "state %zu: %s, expected %s", number, state_outcome_text(op.outcome),
              state_outcome_text(expected));
    if (expected == STATE_TAKEN) {
        state->kind = TAKEN;
        state->used_ms = now_ms;
    }
}

Test(states, does_as_the_model_does) {
    enum { OPERATIONS = 100000 };
    struct rig rig;
    char user_id[300];
    struct model model = {.states = mem_calloc(MODEL_STATES, sizeof(struct model_state))};
    open_rig(&rig, MODEL_MAX);
    unsigned seed = 20260102;
    for (int i = 0; i < OPERATIONS; i++) {
        int user = rand_r(&seed) % MODEL_USERS;
        /* every tenth has an id of several parts */
        snprintf(user_id, sizeof user_id, "%0*d", user % 10 == 0 ? 200 : 36, user);
        int what = rand_r(&seed) % 1000;
        if (what < 3) {
            advance(&rig, rand_r(&seed) % 600000);
            continue;
        }
        int64_t now_ms = loop_now_ms(&rig.loop);
        if (what < 600) {
            enum rc expected = model_put(&model, user, now_ms);
            cr_assert_eq(put_number(&rig, model.made, user_id), expected, "operation %d", i);
            model.made += expected == RC_OK;
        } else if (model.made > 0) {
            size_t span = model.made < 300 ? model.made : 300;
            size_t number = model.made - 1 - (size_t)rand_r(&seed) % span;
            if (what < 900) {
                user = model.states[number].user;
                snprintf(user_id, sizeof user_id, "%0*d", user % 10 == 0 ? 200 : 36, user);
            }
            check_take(&model, number, take_number(&rig, number, user_id), user, now_ms);
        }
    }
    mem_free(model.states);
    close_rig(&rig);
}

/* -- memory -- */

static size_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert(file != NULL && fscanf(file, "%*u %lu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* A thousand a turn, with user ids of 36 bytes. */
static void fill(struct rig *rig, size_t states, size_t users) {
    static struct call calls[1000];
    char user_id[37];
    for (size_t i = 0; i < states; i++) {
        struct call *call = &calls[i % 1000];
        *call = (struct call){0};
        snprintf(user_id, sizeof user_id, "%036zu", i % users);
        struct state_new state = make_state(i, user_id);
        states_put(rig->states, &call->op, &state, on_done);
        if (i % 1000 == 999) {
            loop_run(&rig->loop);
        }
    }
    loop_run(&rig->loop);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES), (int64_t)states);
}

Test(states, a_million_cost_under_300_bytes_each_and_give_them_back, .timeout = 240) {
    enum { STATES = 1000000, STATE_BYTES_MAX = 300, LEFT_BYTES_MAX = 4 * 1024 * 1024 };
    static const size_t users[] = {100000, 1000000};
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        struct rig rig;
        open_rig(&rig, STATES);
        fill(&rig, 1000, 1000); /* so that what is made once is there */
        advance(&rig, AFTER_MS);
        run_until_gone(&rig);
        size_t before = resident_bytes();
        fill(&rig, STATES, users[i]);
        size_t full = resident_bytes();
        cr_assert_leq(full - before, (size_t)STATES * STATE_BYTES_MAX, "%zu users: %zu bytes each",
                      users[i], (full - before) / STATES);
        advance(&rig, AFTER_MS);
        run_until_gone(&rig);
        size_t after = full;
        for (int turn = 0; turn < 1000 && after > before + LEFT_BYTES_MAX; turn++) {
            advance(&rig, 0); /* it is given back in steps, a turn each */
            after = resident_bytes();
        }
        cr_assert_leq(after, before + LEFT_BYTES_MAX, "%zu users: %zu bytes stayed", users[i],
                      after - before);
        printf("%zu users: %zu bytes a pending state\n", users[i], (full - before) / STATES);
        close_rig(&rig);
    }
}
