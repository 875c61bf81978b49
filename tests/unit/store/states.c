// SPDX-License-Identifier: MIT
#include "store/states.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kit/states_rig.h"

/* What every store of states does; each test runs on each of them. */
enum { BEFORE_MS = 14 * 60 * 1000 + 59 * 1000, AFTER_MS = 15 * 60 * 1000 + 1000 };

static void brings_back_what_was_put_and_only_once(struct states_rig *rig) {
    struct state_new state = states_rig_state(7, "user-1");
    cr_assert_eq(states_rig_put(rig, &state), RC_OK);
    struct states_op op = states_rig_take_number(rig, 7, "user-1");
    states_rig_expect(rig, op, STATE_TAKEN, "first");
    cr_assert_eq(memcmp(op.verifier, state.verifier, RANDOM_BYTES), 0);
    cr_assert_str_eq(op.redirect_uri, "https://app.example/callback");
    cr_assert_eq(op.redirect_uri_len, strlen("https://app.example/callback"));
    cr_assert_str_eq(op.user_id, "user-1");
    cr_assert_eq(op.user_id_len, 6);
    for (int i = 0; i < 3; i++) {
        op = states_rig_take_number(rig, 7, "user-1");
        states_rig_expect(rig, op, STATE_USED, "again");
        cr_assert_eq(op.redirect_uri_len, 0);
    }
    states_rig_expect(rig, states_rig_take_number(rig, 8, "user-1"), STATE_UNKNOWN, "never made");
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES_CREATED), 1);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES_TAKEN), 1);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES_REPLAYED), 3);
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES_UNKNOWN), 1);
}

Test(states, brings_back_what_was_put_and_only_once) {
    states_rig_each(100, brings_back_what_was_put_and_only_once);
}

static void fifty_at_once_take_one(struct states_rig *rig) {
    struct states_rig_call calls[50];
    struct states_rig_text text = states_rig_text(7);
    cr_assert_eq(states_rig_put_number(rig, 7, "user-1"), RC_OK);
    int taken = 0;
    for (int i = 0; i < 50; i++) {
        calls[i] = (struct states_rig_call){.loop = &rig->loop};
        states_take(rig->states, &calls[i].op, slice_make(text.at, text.len),
                    &(struct state_claim){.user_id = SLICE("user-1")}, states_rig_done);
    }
    for (int i = 0; i < 50; i++) {
        states_rig_wait(&calls[i]);
        cr_assert_eq(calls[i].op.rc, RC_OK);
        taken += calls[i].op.outcome == STATE_TAKEN;
    }
    cr_assert_eq(taken, 1);
}

Test(states, fifty_at_once_take_one) {
    states_rig_each(100, fifty_at_once_take_one);
}

static void another_users_try_spends_nothing(struct states_rig *rig) {
    cr_assert_eq(states_rig_put_number(rig, 7, "user-1"), RC_OK);
    static const char *const others[] = {"user-2", "user-", "user-11", "", "USER-1"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct states_op op = states_rig_take_number(rig, 7, others[i]);
        states_rig_expect(rig, op, STATE_USER_MISMATCH, others[i]);
        cr_assert_str_eq(op.user_id, "user-1", "the log names whose it is");
        cr_assert_eq(op.redirect_uri_len, 0);
        for (size_t at = 0; at < RANDOM_BYTES; at++) {
            cr_assert_eq(op.verifier[at], 0, "the verifier stays here");
        }
    }
    states_rig_expect(rig, states_rig_take_by_cookie(rig, 7, 8), STATE_COOKIE_MISMATCH,
                      "another's cookie");
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES_MISMATCHED), 6);
    states_rig_expect(rig, states_rig_take_by_cookie(rig, 7, 7), STATE_TAKEN, "the browser's own");
}

Test(states, another_users_try_spends_nothing) {
    states_rig_each(100, another_users_try_spends_nothing);
}

static void long_user_ids_are_told_apart(struct states_rig *rig) {
    char id[LIMIT_USER_ID_BYTES + 1];
    for (size_t len = 1; len <= LIMIT_USER_ID_BYTES; len++) {
        memset(id, 'u', len);
        id[len] = '\0';
        cr_assert_eq(states_rig_put_number(rig, len, id), RC_OK);
    }
    for (size_t len = 1; len <= LIMIT_USER_ID_BYTES; len++) {
        memset(id, 'u', len);
        id[len] = '\0';
        id[len - 1] = 'x';
        struct states_op op = states_rig_take_number(rig, len, id);
        states_rig_expect(rig, op, STATE_USER_MISMATCH, id);
        cr_assert_eq(op.user_id_len, len);
        id[len - 1] = 'u';
        op = states_rig_take_number(rig, len, id);
        states_rig_expect(rig, op, STATE_TAKEN, id);
        cr_assert_str_eq(op.user_id, id);
    }
}

Test(states, long_user_ids_are_told_apart) {
    states_rig_each(1000, long_user_ids_are_told_apart);
}

static void what_is_no_state_of_ours_is_unknown(struct states_rig *rig) {
    cr_assert_eq(states_rig_put_number(rig, 7, "u"), RC_OK);
    struct states_rig_text ours = states_rig_text(7);
    char *text = ours.at;
    size_t len = ours.len;
    const struct state_claim claim = {.user_id = SLICE("u")};
    char long_text[LIMIT_STATE_BYTES];
    memset(long_text, 'A', sizeof long_text);
    states_rig_expect(rig, states_rig_take(rig, SLICE(""), &claim), STATE_UNKNOWN, "empty");
    states_rig_expect(rig, states_rig_take(rig, slice_make(long_text, sizeof long_text), &claim),
                      STATE_UNKNOWN, "long");
    states_rig_expect(rig, states_rig_take(rig, slice_make(text, len - 1), &claim), STATE_UNKNOWN,
                      "short");
    text[len] = '=';
    states_rig_expect(rig, states_rig_take(rig, slice_make(text, len + 1), &claim), STATE_UNKNOWN,
                      "padded");
    char last = text[len - 1];
    text[len - 1] = (char)(last + 1); /* the two bits that carry nothing */
    states_rig_expect(rig, states_rig_take(rig, slice_make(text, len), &claim), STATE_UNKNOWN,
                      "another spelling");
    text[len - 1] = last;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        text[i] = c == 'A' ? 'Q' : 'A';
        states_rig_expect(rig, states_rig_take(rig, slice_make(text, len), &claim), STATE_UNKNOWN,
                          "one character");
        text[i] = '+';
        states_rig_expect(rig, states_rig_take(rig, slice_make(text, len), &claim), STATE_UNKNOWN,
                          "alphabet");
        text[i] = c;
    }
    states_rig_expect(rig, states_rig_take(rig, slice_make(text, len), &claim), STATE_TAKEN,
                      "itself");
}

Test(states, what_is_no_state_of_ours_is_unknown) {
    states_rig_each(100, what_is_no_state_of_ours_is_unknown);
}

static void live_fifteen_minutes(struct states_rig *rig) {
    cr_assert_eq(states_rig_put_number(rig, 1, "u"), RC_OK);
    cr_assert_eq(states_rig_put_number(rig, 2, "u"), RC_OK);
    states_rig_advance(rig, BEFORE_MS);
    states_rig_expect(rig, states_rig_take_number(rig, 1, "u"), STATE_TAKEN, "at 14:59");
    states_rig_advance(rig, AFTER_MS - BEFORE_MS);
    states_rig_expect(rig, states_rig_take_number(rig, 2, "u"), STATE_EXPIRED,
                      "at 15:01, not yet swept");
    states_rig_expect(rig, states_rig_take_number(rig, 1, "u"), STATE_USED, "used 2 s ago");
    states_rig_advance(rig, AFTER_MS);
    states_rig_expect(rig, states_rig_take_number(rig, 1, "u"), STATE_UNKNOWN, "used long ago");
}

Test(states, live_fifteen_minutes) {
    states_rig_each(100, live_fifteen_minutes);
}

static void a_user_has_sixteen(struct states_rig *rig) {
    cr_assert_eq(states_rig_put_number(rig, 100, "other"), RC_OK);
    for (uint64_t i = 0; i < STATES_PER_USER + 2; i++) {
        cr_assert_eq(states_rig_put_number(rig, i, "u"), RC_OK);
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_STATES_DROPPED), 2);
    states_rig_expect(rig, states_rig_take_number(rig, 0, "u"), STATE_UNKNOWN, "the oldest");
    states_rig_expect(rig, states_rig_take_number(rig, 1, "u"), STATE_UNKNOWN, "the second oldest");
    states_rig_expect(rig, states_rig_take_number(rig, 100, "other"), STATE_TAKEN,
                      "another user's");
    for (uint64_t i = 2; i < STATES_PER_USER + 2; i++) {
        states_rig_expect(rig, states_rig_take_number(rig, i, "u"), STATE_TAKEN, "a newer one");
    }
}

Test(states, a_user_has_sixteen) {
    states_rig_each(100, a_user_has_sixteen);
}

static void ping_answers(struct states_rig *rig) {
    cr_assert_eq(states_rig_ping(rig), RC_OK);
}

Test(states, ping_answers) {
    states_rig_each(100, ping_answers);
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
    const struct states_rig_kind *kind; /* of the store */
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
    if (model->kind->has_max && live == MODEL_MAX) {
        return RC_OVERLOADED;
    }
    model->states[model->made] = (struct model_state){user, LIVE, now_ms, 0};
    return RC_OK;
}

static int64_t model_remembers_since(const struct model *model, const struct model_state *state) {
    return model->kind->remembers_since_made ? state->created_ms : state->used_ms;
}

static void check_take(struct model *model, size_t number, struct states_op op, int user,
                       int64_t now_ms) {
    struct model_state *state = &model->states[number];
    enum state_outcome expected = STATE_UNKNOWN;
    enum state_outcome or_else = STATE_UNKNOWN;
    if (is_live(state, now_ms)) {
        expected = or_else = state->user == user ? STATE_TAKEN : STATE_USER_MISMATCH;
    } else if (state->kind == LIVE) {
        expected = STATE_EXPIRED; /* or gone by now */
    } else if (state->kind == TAKEN) {
        bool remembered = now_ms - model_remembers_since(model, state) <= STATE_TTL_MS;
        expected = STATE_USED;
        or_else = remembered ? STATE_USED : STATE_UNKNOWN;
    }
    cr_assert(op.rc == RC_OK && (op.outcome == expected || op.outcome == or_else),
              "%s, state %zu: %s, expected %s", model->kind->name, number,
              state_outcome_text(op.outcome), state_outcome_text(expected));
    if (expected == STATE_TAKEN) {
        state->kind = TAKEN;
        state->used_ms = now_ms;
    }
}

/* A millisecond decides, and not every store reads the same clock. */
static bool is_at_the_edge(const struct model_state *state, int64_t now_ms) {
    int64_t left_ms = state->created_ms + STATE_TTL_MS - now_ms;
    return left_ms > -5 && left_ms < 5;
}

static void write_user(char out[300], int user) {
    /* every tenth has an id of several parts */
    snprintf(out, 300, "%0*d", user % 10 == 0 ? 200 : 36, user);
}

static void take_as_the_model(struct states_rig *rig, struct model *model, unsigned *seed,
                              bool is_its_user) {
    char user_id[300];
    size_t span = model->made < 300 ? model->made : 300;
    size_t number = model->made - 1 - (size_t)rand_r(seed) % span;
    int user = is_its_user ? model->states[number].user : rand_r(seed) % MODEL_USERS;
    int64_t now_ms = loop_now_ms(&rig->loop);
    write_user(user_id, user);
    if (!is_at_the_edge(&model->states[number], now_ms)) {
        check_take(model, number, states_rig_take_number(rig, number, user_id), user, now_ms);
    }
}

static void does_as_the_model_does(struct states_rig *rig) {
    char user_id[300];
    struct model model = {.kind = rig->kind,
                          .states = mem_calloc(MODEL_STATES, sizeof(struct model_state))};
    unsigned seed = 20260102;
    for (int i = 0; i < rig->kind->operations; i++) {
        int what = rand_r(&seed) % 1000;
        if (what < 3) {
            states_rig_advance(rig, rand_r(&seed) % 600000);
        } else if (what < 600) {
            int user = rand_r(&seed) % MODEL_USERS;
            write_user(user_id, user);
            enum rc expected = model_put(&model, user, loop_now_ms(&rig->loop));
            cr_assert_eq(states_rig_put_number(rig, model.made, user_id), expected,
                         "%s, operation %d", rig->kind->name, i);
            model.made += expected == RC_OK;
        } else if (model.made > 0) {
            take_as_the_model(rig, &model, &seed, what < 900);
        }
    }
    mem_free(model.states);
}

Test(states, does_as_the_model_does, .timeout = 120) {
    states_rig_each(MODEL_MAX, does_as_the_model_does);
}
