// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/b64.h"
#include "crypto/hash.h"
#include "kit/redis_place.h"
#include "kit/states_rig.h"
#include "store/states.h"

/* What states in Redis do beyond what every store of them does (states.c), and what they do when
 * Redis does not. */
enum {
    KEEP_MS = STATE_TTL_MS + 60 * 1000,
    BEFORE_MS = 14 * 60 * 1000 + 59 * 1000,
    LATE_MS = 4000, /* a command's 2 s, on a busy machine */
};

static void open_rig(struct states_rig *rig) {
    states_rig_open(rig, &states_rig_redis, 0);
}

struct key {
    char text[80];
};

/* What lies at it: latchkey:state:<SHA-256 of the state>. */
static struct key key_of(uint64_t number) {
    struct key key;
    unsigned char hash[HASH_SHA256_BYTES];
    struct state_new state = states_rig_state(number, "");
    cr_assert_eq(hash_sha256(slice_make(state.state, RANDOM_BYTES), hash), RC_OK);
    size_t at = (size_t)snprintf(key.text, sizeof key.text, "latchkey:state:");
    at += b64_encode_unpadded(key.text + at, slice_make(hash, sizeof hash));
    key.text[at] = '\0';
    return key;
}

static int64_t keys(struct states_rig *rig) {
    return redis_place_ask_number(rig->redis, "DBSIZE");
}

static void expect_failure(const struct states_op *op, const char *what) {
    cr_assert_eq(op->rc, RC_STORAGE_UNAVAILABLE, "%s: %s, %s", what, rc_name(op->rc),
                 state_outcome_text(op->outcome));
    cr_assert_not_null(op->cause, "%s", what);
    cr_assert_eq(op->redirect_uri_len, 0, "%s", what);
    for (size_t i = 0; i < RANDOM_BYTES; i++) {
        cr_assert_eq(op->verifier[i], 0, "%s", what);
    }
}

Test(states_redis, who_reads_it_learns_no_state_and_no_verifier) {
    struct states_rig rig;
    char text[B64_BYTES(RANDOM_BYTES) + 1] = "";
    struct state_new state = {.user_id = SLICE("user-1"),
                              .redirect_uri = SLICE("https://app.example/callback")};
    memcpy(state.state, "the-bytes-of-a-state-in-a-test-1", RANDOM_BYTES);
    memcpy(state.verifier, "the-bytes-of-its-verifier-here-2", RANDOM_BYTES);
    memset(state.cookie_hash, 'c', STATE_COOKIE_HASH_BYTES);
    open_rig(&rig);
    cr_assert_eq(states_rig_put(&rig, &state), RC_OK);
    cr_assert(redis_place_finds(rig.redis, "user-1"), "what is there is found");
    cr_assert(redis_place_finds(rig.redis, "cccc"), "what is there is found");
    cr_assert_not(redis_place_finds(rig.redis, "-bytes-"));
    cr_assert_not(redis_place_finds(rig.redis, "app.example"));
    b64_encode_unpadded(text, slice_make(state.state, RANDOM_BYTES));
    cr_assert_not(redis_place_finds(rig.redis, text), "a state as clients have it");
    struct states_op op =
        states_rig_take(&rig, slice_str(text), &(struct state_claim){.user_id = state.user_id});
    states_rig_expect(&rig, op, STATE_TAKEN, "it");
    b64_encode_unpadded(text, slice_make(state.verifier, RANDOM_BYTES));
    cr_assert_not(redis_place_finds(rig.redis, text), "a verifier as the provider gets it");
    cr_assert_not(redis_place_finds(rig.redis, "user-1"), "nothing of a used one but its time");
    cr_assert_not(redis_place_finds(rig.redis, "cccc"));
    states_rig_close(&rig);
}

/* Processes of two versions share a Redis while one replaces the other: what a record looks like is
 * fixed. Written by Python's cryptography from the description in states_redis.c. */
Test(states_redis, a_record_of_another_process_is_taken) {
    static const char record[] =
        "503137363733323330343536373863636363636363636363636363636363636363636363636363636363"
        "6363636306757365722d31bc41eb641ca9e8c0c2f576801955a837931fa53b7db6facc2c2b1351d63f0f"
        "2d065378cc220ef646694cf6596b1d3d2d1e064e557edd853d2f8f62682c2c524898dedacce904914add"
        "e677c5";
    static const char script[] = "local record = string.gsub(ARGV[2], '%x%x', function(byte)\n"
                                 "  return string.char(tonumber(byte, 16)) end)\n"
                                 "return redis.call('SET', ARGV[1], record, 'PX', 900000)\n";
    static const char key[] = "latchkey:state:YkFdtTm0IJa8BndCxy4V0yj1j4ppqgk3D9pcIPhs-X4";
    static const int64_t made_ms = 1767323045678;
    struct states_rig rig;
    char text[B64_BYTES(RANDOM_BYTES) + 1] = "";
    open_rig(&rig);
    states_rig_advance(&rig, made_ms + 1000 - loop_wall_ms(&rig.loop));
    cr_assert_str_eq(redis_place_eval(rig.redis, script, (const char *const[]){key, record, NULL}),
                     "OK");
    b64_encode_unpadded(text, SLICE("the-bytes-of-a-state-in-a-test-1"));
    struct states_op op =
        states_rig_take(&rig, slice_str(text), &(struct state_claim){.user_id = SLICE("user-1")});
    states_rig_expect(&rig, op, STATE_TAKEN, "it");
    cr_assert_eq(memcmp(op.verifier, "the-bytes-of-its-verifier-here-2", RANDOM_BYTES), 0);
    cr_assert_str_eq(op.redirect_uri, "https://app.example/callback");
    cr_assert_str_eq(op.user_id, "user-1");
    states_rig_close(&rig);
}

Test(states_redis, all_ends_by_itself) {
    struct states_rig rig;
    open_rig(&rig);
    cr_assert_eq(states_rig_ping(&rig), RC_OK);
    cr_assert_eq(keys(&rig), 0, "a ping leaves nothing");
    for (uint64_t i = 0; i < 4; i++) {
        cr_assert_eq(states_rig_put_number(&rig, i, i < 3 ? "u" : "v"), RC_OK);
    }
    cr_assert_eq(keys(&rig), 6, "four states, two users");
    int64_t last_ms = redis_place_last_end_ms(rig.redis);
    cr_assert(last_ms > KEEP_MS - LATE_MS && last_ms <= KEEP_MS, "%d ms", (int)last_ms);
    states_rig_expect(&rig, states_rig_take_number(&rig, 3, "v"), STATE_TAKEN, "v's");
    cr_assert_eq(keys(&rig), 5, "who has none isn't known");
    states_rig_advance(&rig, BEFORE_MS);
    redis_place_pass(rig.redis, BEFORE_MS);
    cr_assert_eq(keys(&rig), 5);
    states_rig_expect(&rig, states_rig_take_number(&rig, 0, "u"), STATE_TAKEN, "at 14:59");
    cr_assert_eq(states_rig_put_number(&rig, 4, "u"), RC_OK);
    last_ms = redis_place_ask_number(rig.redis, "PTTL %s", key_of(0).text);
    cr_assert(last_ms > 0 && last_ms <= KEEP_MS - BEFORE_MS, "no longer than it would have been");
    redis_place_pass(rig.redis, KEEP_MS - BEFORE_MS);
    cr_assert_eq(keys(&rig), 2, "the last one, and whose it is");
    redis_place_pass(rig.redis, BEFORE_MS);
    cr_assert_eq(keys(&rig), 0);
    states_rig_close(&rig);
}

/* Redis's own time only sweeps: what it still has may be too old. */
Test(states_redis, the_servers_clock_decides) {
    struct states_rig rig;
    open_rig(&rig);
    cr_assert_eq(states_rig_put_number(&rig, 1, "u"), RC_OK);
    cr_assert_eq(states_rig_put_number(&rig, 2, "u"), RC_OK);
    states_rig_advance(&rig, -30 * 1000);
    states_rig_expect(&rig, states_rig_take_number(&rig, 1, "u"), STATE_TAKEN,
                      "by a clock that is behind the one that made it");
    cr_assert_leq(redis_place_last_end_ms(rig.redis), KEEP_MS);
    states_rig_advance(&rig, 30 * 1000 + STATE_TTL_MS + 1000);
    states_rig_expect(&rig, states_rig_take_number(&rig, 2, "u"), STATE_EXPIRED, "it is there");
    cr_assert_eq(redis_place_ask_number(rig.redis, "EXISTS %s", key_of(2).text), 1);
    states_rig_close(&rig);
}

Test(states_redis, of_ten_thousand_of_a_user_sixteen_stay, .timeout = 60) {
    enum { ALL = 10000, BATCH = 1000 };
    static struct states_rig_call calls[BATCH];
    struct states_rig rig;
    open_rig(&rig);
    for (uint64_t first = 0; first < ALL; first += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) {
            struct state_new state = states_rig_state(first + i, "u");
            calls[i] = (struct states_rig_call){.loop = &rig.loop};
            states_put(rig.states, &calls[i].op, &state, states_rig_done);
        }
        for (uint64_t i = 0; i < BATCH; i++) {
            states_rig_wait(&calls[i]);
            cr_assert_eq(calls[i].op.rc, RC_OK);
        }
        cr_assert_eq(keys(&rig), STATES_PER_USER + 1);
    }
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STATES_DROPPED), ALL - STATES_PER_USER);
    states_rig_expect(&rig, states_rig_take_number(&rig, ALL - STATES_PER_USER - 1, "u"),
                      STATE_UNKNOWN, "the seventeenth from the end");
    for (uint64_t i = ALL - STATES_PER_USER; i < ALL; i++) {
        states_rig_expect(&rig, states_rig_take_number(&rig, i, "u"), STATE_TAKEN, "a newest one");
    }
    cr_assert_eq(keys(&rig), STATES_PER_USER, "that they were used");
    states_rig_close(&rig);
}

Test(states_redis, of_fifty_takes_over_two_connections_one_succeeds) {
    enum { TAKES = 50, ROUNDS = 20 };
    struct states_rig rig;
    struct states *states[2];
    open_rig(&rig);
    struct redis *second = redis_place_connect(rig.redis);
    states[0] = rig.states;
    states[1] = states_new(&rig.loop, states_redis_new(&rig.loop, second, &rig.metrics), rig.log,
                           &rig.metrics);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct states_rig_call calls[TAKES];
        int outcomes[STATE_OUTCOME_COUNT] = {0};
        struct states_rig_text text = states_rig_text(round);
        cr_assert_eq(states_rig_put_number(&rig, round, "u"), RC_OK);
        for (int i = 0; i < TAKES; i++) {
            calls[i] = (struct states_rig_call){.loop = &rig.loop};
            states_take(states[i % 2], &calls[i].op, slice_make(text.at, text.len),
                        &(struct state_claim){.user_id = SLICE("u")}, states_rig_done);
        }
        for (int i = 0; i < TAKES; i++) {
            states_rig_wait(&calls[i]);
            cr_assert_eq(calls[i].op.rc, RC_OK);
            outcomes[calls[i].op.outcome]++;
        }
        cr_assert_eq(outcomes[STATE_TAKEN], 1);
        cr_assert_eq(outcomes[STATE_USED], TAKES - 1);
    }
    states_close(states[1]);
    redis_place_disconnect(rig.redis, second);
    states_rig_close(&rig);
}

/* -- what others write -- */

/* Changes a byte of what is stored at a key: XOR. */
static void change(struct states_rig *rig, struct key key, size_t at, int by) {
    static const char script[] =
        "local value, at = redis.call('GET', ARGV[1]), tonumber(ARGV[2])\n"
        "local byte = bit.bxor(string.byte(value, at + 1), tonumber(ARGV[3]))\n"
        "value = string.sub(value, 1, at) .. string.char(byte) .. string.sub(value, at + 2)\n"
        "redis.call('SET', ARGV[1], value, 'PX', 900000)\n"
        "return 'changed'\n";
    char at_text[24];
    char by_text[16];
    snprintf(at_text, sizeof at_text, "%zu", at);
    snprintf(by_text, sizeof by_text, "%d", by);
    cr_assert_str_eq(redis_place_eval(rig->redis, script,
                                      (const char *const[]){key.text, at_text, by_text, NULL}),
                     "changed");
}

static size_t length_of(struct states_rig *rig, struct key key) {
    return (size_t)redis_place_ask_number(rig->redis, "STRLEN %s", key.text);
}

/* Not by its user, nor by its browser. */
static void expect_not_taken(struct states_rig *rig, uint64_t number, size_t at) {
    char what[40];
    snprintf(what, sizeof what, "byte %zu", at);
    struct states_rig_text text = states_rig_text(number);
    struct state_new of_cookie = states_rig_state(number, "");
    const struct state_claim claims[] = {{.cookie_hash = of_cookie.cookie_hash},
                                         {.user_id = SLICE("user-1")}};
    for (int i = 0; i < 2; i++) {
        struct states_op op = states_rig_take(rig, slice_make(text.at, text.len), &claims[i]);
        if (op.rc == RC_OK) {
            cr_assert_neq(op.outcome, STATE_TAKEN, "%s", what);
        } else {
            expect_failure(&op, what);
        }
        cr_assert_eq(op.redirect_uri_len, 0, "%s", what);
    }
}

Test(states_redis, a_changed_record_is_not_taken, .timeout = 120) {
    struct states_rig rig;
    uint64_t number = 0;
    open_rig(&rig);
    cr_assert_eq(states_rig_put_number(&rig, number, "user-1"), RC_OK);
    size_t len = length_of(&rig, key_of(number));
    cr_assert_gt(len, 90);
    for (size_t at = 0; at < len; at++) {
        static const int changes[] = {1, 4, 5, 0x80, 0xFF};
        for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
            number++;
            cr_assert_eq(states_rig_put_number(&rig, number, "user-1"), RC_OK);
            change(&rig, key_of(number), at, changes[i]);
            expect_not_taken(&rig, number, at);
        }
    }
    for (size_t cut = 0; cut < len; cut++) {
        char cut_text[24];
        snprintf(cut_text, sizeof cut_text, "%zu", cut);
        number++;
        cr_assert_eq(states_rig_put_number(&rig, number, "user-1"), RC_OK);
        redis_place_eval(rig.redis,
                         "redis.call('SET', ARGV[1],"
                         " string.sub(redis.call('GET', ARGV[1]), 1, ARGV[2]), 'PX', 900000)",
                         (const char *const[]){key_of(number).text, cut_text, NULL});
        expect_not_taken(&rig, number, cut);
    }
    states_rig_close(&rig);
}

/* Who can write to Redis can't make a state his own: what stands before the box is bound to it. */
Test(states_redis, a_state_can_not_be_given_to_another) {
    enum { COOKIE_AT = 14, USER_AT = 47 };
    struct states_rig rig;
    open_rig(&rig);
    cr_assert_eq(states_rig_put_number(&rig, 1, "user-1"), RC_OK);
    change(&rig, key_of(1), USER_AT + 5, '1' ^ '2');
    struct states_op op = states_rig_take_number(&rig, 1, "user-1");
    states_rig_expect(&rig, op, STATE_USER_MISMATCH, "it says user-2 now");
    cr_assert_str_eq(op.user_id, "user-2");
    op = states_rig_take_number(&rig, 1, "user-2");
    expect_failure(&op, "another's");
    states_rig_expect(&rig, states_rig_take_number(&rig, 1, "user-2"), STATE_USED, "it is spent");

    cr_assert_eq(states_rig_put_number(&rig, 2, "user-1"), RC_OK);
    change(&rig, key_of(2), COOKIE_AT + 4, 1); /* the number in it: 2 becomes 3 */
    op = states_rig_take_by_cookie(&rig, 2, 3);
    expect_failure(&op, "another browser's");

    cr_assert_eq(states_rig_put_number(&rig, 4, "user-1"), RC_OK);
    cr_assert_eq(states_rig_put_number(&rig, 5, "user-1"), RC_OK);
    cr_assert_eq(
        redis_place_ask_number(rig.redis, "COPY %s %s REPLACE", key_of(4).text, key_of(5).text), 1);
    op = states_rig_take_number(&rig, 5, "user-1");
    expect_failure(&op, "another state's record");
    states_rig_expect(&rig, states_rig_take_number(&rig, 4, "user-1"), STATE_TAKEN, "its own");
    states_rig_close(&rig);
}

Test(states_redis, values_of_other_types_are_a_failure) {
    struct states_rig rig;
    open_rig(&rig);
    cr_assert_eq(redis_place_ask_number(rig.redis, "RPUSH %s x", key_of(1).text), 1);
    struct states_op op = states_rig_take_number(&rig, 1, "u");
    expect_failure(&op, "a list where a state would be");

    cr_assert_str_eq(redis_place_ask(rig.redis, "SET latchkey:states-of:u x"), "OK");
    cr_assert_eq(states_rig_put_number(&rig, 2, "u"), RC_STORAGE_UNAVAILABLE);
    cr_assert_eq(keys(&rig), 2, "nothing is half stored");
    states_rig_expect(&rig, states_rig_take_number(&rig, 2, "u"), STATE_UNKNOWN, "not stored");

    cr_assert_eq(states_rig_put_number(&rig, 3, "v"), RC_OK);
    cr_assert_eq(redis_place_ask_number(rig.redis, "DEL latchkey:states-of:v"), 1);
    cr_assert_str_eq(redis_place_ask(rig.redis, "SET latchkey:states-of:v x"), "OK");
    states_rig_expect(&rig, states_rig_take_number(&rig, 3, "v"), STATE_TAKEN,
                      "what only tidies up may fail");
    cr_assert_eq(metrics_get(&rig.metrics, METRIC_STORE_FAILURES), 2);
    states_rig_close(&rig);
}

/* -- when Redis can't -- */

Test(states_redis, out_of_memory_nothing_is_put_but_all_is_taken) {
    struct states_rig rig;
    open_rig(&rig);
    cr_assert_eq(states_rig_put_number(&rig, 1, "u"), RC_OK);
    cr_assert_str_eq(redis_place_ask(rig.redis, "CONFIG SET maxmemory 1"), "OK");
    for (int i = 0; i < 3; i++) {
        struct states_rig_call call = {.loop = &rig.loop};
        struct state_new state = states_rig_state(2, "u");
        states_put(rig.states, &call.op, &state, states_rig_done);
        states_rig_wait(&call);
        expect_failure(&call.op, "put");
        cr_assert_eq(states_rig_ping(&rig), RC_STORAGE_UNAVAILABLE);
        cr_assert_eq(keys(&rig), 2, "nothing is half stored");
    }
    states_rig_expect(&rig, states_rig_take_number(&rig, 1, "v"), STATE_USER_MISMATCH, "not his");
    states_rig_expect(&rig, states_rig_take_number(&rig, 1, "u"), STATE_TAKEN, "his");
    states_rig_expect(&rig, states_rig_take_number(&rig, 1, "u"), STATE_USED, "once");
    cr_assert_str_eq(redis_place_ask(rig.redis, "CONFIG SET maxmemory 0"), "OK");
    cr_assert_eq(states_rig_put_number(&rig, 2, "u"), RC_OK);
    cr_assert_eq(states_rig_ping(&rig), RC_OK);
    states_rig_close(&rig);
}

/* A put, a take of state 1 and a ping, all under way. */
struct three {
    struct states_rig_call put;
    struct states_rig_call take;
    struct states_rig_call ping;
};

static void start_three(struct states_rig *rig, struct three *three) {
    struct state_new state = states_rig_state(2, "u");
    struct states_rig_text text = states_rig_text(1);
    *three = (struct three){{.loop = &rig->loop}, {.loop = &rig->loop}, {.loop = &rig->loop}};
    states_put(rig->states, &three->put.op, &state, states_rig_done);
    states_take(rig->states, &three->take.op, slice_make(text.at, text.len),
                &(struct state_claim){.user_id = SLICE("u")}, states_rig_done);
    states_ping(rig->states, &three->ping.op, states_rig_done);
}

/* All fail, in time. */
static void expect_three_fail(struct states_rig *rig, struct three *three, const char *what) {
    int64_t start_ms = loop_timer_now_ms(&rig->loop);
    states_rig_wait(&three->put);
    states_rig_wait(&three->take);
    states_rig_wait(&three->ping);
    cr_assert_leq(loop_timer_now_ms(&rig->loop) - start_ms, LATE_MS, "%s", what);
    expect_failure(&three->put.op, what);
    expect_failure(&three->take.op, what);
    expect_failure(&three->ping.op, what);
}

Test(states_redis, frozen_in_the_middle_it_fails_in_time, .timeout = 60) {
    struct states_rig rig;
    struct three three;
    open_rig(&rig);
    cr_assert_eq(states_rig_put_number(&rig, 1, "u"), RC_OK);
    redis_server_freeze(&rig.redis->server);
    start_three(&rig, &three);
    expect_three_fail(&rig, &three, "frozen");
    redis_server_thaw(&rig.redis->server);
    redis_place_wait_ready(rig.redis, rig.redis->redis);
    cr_assert_eq(states_rig_ping(&rig), RC_OK);
    struct states_op op = states_rig_take_number(&rig, 1, "u");
    cr_assert(op.rc == RC_OK && (op.outcome == STATE_TAKEN || op.outcome == STATE_USED),
              "perhaps it did what nobody waited for: %s", state_outcome_text(op.outcome));
    cr_assert_eq(states_rig_put_number(&rig, 3, "u"), RC_OK);
    states_rig_expect(&rig, states_rig_take_number(&rig, 3, "u"), STATE_TAKEN, "afterwards");
    states_rig_close(&rig);
}

Test(states_redis, killed_in_the_middle_it_fails_at_once_and_comes_back_empty, .timeout = 60) {
    struct states_rig rig;
    struct three three;
    open_rig(&rig);
    cr_assert_eq(states_rig_put_number(&rig, 1, "u"), RC_OK);
    redis_server_freeze(&rig.redis->server);
    start_three(&rig, &three);
    states_rig_advance(&rig, 0); /* they are sent */
    redis_server_kill(&rig.redis->server);
    expect_three_fail(&rig, &three, "killed");
    start_three(&rig, &three);
    expect_three_fail(&rig, &three, "not there");
    redis_server_again(&rig.redis->server);
    redis_place_wait_ready(rig.redis, rig.redis->redis);
    states_rig_expect(&rig, states_rig_take_number(&rig, 1, "u"), STATE_UNKNOWN, "it was lost");
    cr_assert_eq(states_rig_put_number(&rig, 1, "u"), RC_OK, "scripts are sent again");
    states_rig_expect(&rig, states_rig_take_number(&rig, 1, "u"), STATE_TAKEN, "as ever");
    states_rig_close(&rig);
}

Test(states_redis, forgotten_scripts_are_sent_again) {
    struct states_rig rig;
    open_rig(&rig);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_str_eq(redis_place_ask(rig.redis, "SCRIPT FLUSH"), "OK");
        cr_assert_eq(states_rig_put_number(&rig, i, "u"), RC_OK);
        cr_assert_str_eq(redis_place_ask(rig.redis, "SCRIPT FLUSH"), "OK");
        states_rig_expect(&rig, states_rig_take_number(&rig, i, "u"), STATE_TAKEN, "it");
    }
    states_rig_close(&rig);
}
