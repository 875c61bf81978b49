// SPDX-License-Identifier: MIT
/* What the stores cost: bench_store <folder>. States with few and with a million pending, the
 * account cache's probe, links a second into a file of that folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/b64.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "io/loop.h"
#include "store/accounts.h"
#include "store/states.h"

enum { BATCH = 256, ROUNDS = 400, STATES_MAX = 1100000, USERS = 100000, LINKS = 50000 };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct rig {
    struct clock clock;
    struct loop loop;
    struct metrics metrics;
};

static void on_state(struct states_op *op) {
    (void)op;
}

static struct state_new make_state(size_t number, char user_id[40]) {
    uint64_t spread = number * 0x9E3779B97F4A7C15U;
    snprintf(user_id, 40, "%036zu", number % USERS);
    struct state_new state = {.user_id = slice_str(user_id),
                              .redirect_uri = SLICE("https://app.example/callback")};
    memcpy(state.state, &spread, sizeof spread);
    return state;
}

static void put_batch(struct rig *rig, struct states *states, size_t first) {
    static struct states_op ops[BATCH];
    char user_id[40];
    for (size_t i = 0; i < BATCH; i++) {
        struct state_new state = make_state(first + i, user_id);
        states_put(states, &ops[i], &state, on_state);
    }
    loop_run(&rig->loop);
}

static void take_batch(struct rig *rig, struct states *states, size_t first) {
    static struct states_op ops[BATCH];
    char user_id[40];
    char text[B64_BYTES(RANDOM_BYTES)];
    for (size_t i = 0; i < BATCH; i++) {
        struct state_new state = make_state(first + i, user_id);
        size_t len = b64_encode_unpadded(text, slice_make(state.state, RANDOM_BYTES));
        states_take(states, &ops[i], slice_make(text, len),
                    &(struct state_claim){.user_id = state.user_id}, on_state);
    }
    loop_run(&rig->loop);
}

static void bench_states(struct rig *rig, size_t pending) {
    struct states *states = states_new(
        &rig->loop, states_mem_new(&rig->loop, STATES_MAX, &rig->metrics), NULL, &rig->metrics);
    size_t next = 0;
    double put_ns = 0;
    double take_ns = 0;
    for (; next < pending; next += BATCH) {
        put_batch(rig, states, next);
    }
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        put_batch(rig, states, next);
        double middle = now_ns();
        take_batch(rig, states, next);
        put_ns += middle - start;
        take_ns += now_ns() - middle;
        next += BATCH;
    }
    printf("states, %7zu pending: put %4.0f ns, take %4.0f ns\n", pending,
           put_ns / (ROUNDS * BATCH), take_ns / (ROUNDS * BATCH));
    states_close(states);
    loop_run(&rig->loop);
}

static void on_account(struct accounts_op *op) {
    if (op->rc != RC_OK) {
        printf("link: %s\n", rc_text(op->rc));
        exit(1);
    }
}

static void link_all(struct rig *rig, struct accounts *accounts) {
    static struct accounts_op ops[BATCH];
    char user_id[40];
    for (size_t i = 0; i < LINKS; i += BATCH) {
        for (size_t k = 0; k < BATCH; k++) {
            snprintf(user_id, sizeof user_id, "%036zu", i + k);
            accounts_link(accounts, &ops[k],
                          &(struct account_link){.user_id = slice_str(user_id),
                                                 .audible_user_id = SLICE("amzn1.account.BENCH"),
                                                 .access_token = SLICE("an-access-token"),
                                                 .refresh_token = SLICE("a-refresh-token"),
                                                 .now_ms = 1},
                          on_account);
        }
        loop_run(&rig->loop);
    }
}

static void bench_cached(struct accounts *accounts) {
    enum { PROBES = 2000000 };
    char(*ids)[40] = mem_calloc(LINKS, sizeof *ids);
    struct account_view view;
    size_t known = 0;
    for (size_t i = 0; i < LINKS; i++) {
        snprintf(ids[i], sizeof ids[i], "%036zu", i * 7919 % LINKS);
    }
    double start = now_ns();
    for (size_t i = 0; i < PROBES; i++) {
        known += accounts_cached(accounts, slice_make(ids[i % LINKS], 36), &view);
    }
    printf("accounts_cached, %d users: %.0f ns (%zu%% known)\n", LINKS, (now_ns() - start) / PROBES,
           known * 100 / PROBES);
    mem_free(ids);
}

static int bench_accounts(struct rig *rig, const char *folder) {
    char path[512];
    char problem[ACCOUNTS_PROBLEM_BYTES];
    char key[FERNET_KEY_TEXT_BYTES + 1];
    struct fernet_keys *keys;
    struct accounts_backend *backend;
    snprintf(path, sizeof path, "%s/bench.db", folder);
    if (hash_init() != RC_OK || fernet_key_generate(key) != RC_OK ||
        fernet_keys_parse(slice_str(key), &keys, problem) != RC_OK ||
        accounts_sqlite_open(&rig->loop, path, &backend, problem) != RC_OK) {
        printf("%s\n", problem);
        return 1;
    }
    struct log *log = log_new(2, LOG_ERROR, &rig->clock, &rig->metrics);
    struct work *work = work_new(&rig->loop, LIMIT_FAST_QUEUE);
    struct accounts *accounts = accounts_new(&(struct accounts_opts){.loop = &rig->loop,
                                                                     .work = work,
                                                                     .backend = backend,
                                                                     .keys = keys,
                                                                     .log = log,
                                                                     .metrics = &rig->metrics,
                                                                     .cache_max = USERS});
    double start = now_ns();
    link_all(rig, accounts);
    printf("accounts_link, %d at once: %.0f a second\n", BATCH, LINKS / ((now_ns() - start) / 1e9));
    bench_cached(accounts);
    accounts_close(accounts, NULL, NULL);
    work_close(work, NULL, NULL);
    loop_run(&rig->loop);
    log_free(log);
    fernet_keys_free(keys);
    return 0;
}

int main(int argc, char **argv) {
    struct rig rig = {0};
    if (argc != 2 || loop_init(&rig.loop, &rig.clock) != RC_OK) {
        fprintf(stderr, "usage: bench_store <folder>\n");
        return 2;
    }
    bench_states(&rig, 1000);
    bench_states(&rig, 1000000);
    int code = bench_accounts(&rig, argv[1]);
    loop_run(&rig.loop);
    return loop_fini(&rig.loop) == RC_OK ? code : 1;
}
