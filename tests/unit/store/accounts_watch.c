// SPDX-License-Identifier: MIT
/* What someone else writes into the file is noticed. */
#include <criterion/criterion.h>

#include "kit/accounts_rig.h"
#include "kit/leaks.h"
#include "kit/scratch.h"
#include "store/accounts_cache.h"

enum { BEAT_MS = LIMIT_STORE_WATCH_MS * 3 / 2 };

static void on_beat(struct loop_timer *timer) {
    loop_timer_close(timer, NULL);
}

/* The watch does not keep the loop alive by itself. */
static void let_pass(struct accounts_rig *rig, int64_t ms) {
    struct loop_timer timer;
    loop_timer_init(&rig->loop, &timer);
    loop_timer_start(&timer, ms, 0, on_beat);
    loop_run(&rig->loop);
}

static bool is_known(struct accounts_rig *rig, const char *user_id) {
    struct account_view view;
    return accounts_cached(rig->accounts, slice_str(user_id), &view);
}

static void on_put(struct accounts_backend_op *op) {
    cr_assert_eq(op->rc, RC_OK);
}

static void write_beside(struct accounts_rig *rig, const char *path) {
    char problem[ACCOUNTS_PROBLEM_BYTES];
    struct accounts_backend *beside;
    cr_assert_eq(accounts_sqlite_open_beside(&rig->loop, path, &beside, problem), RC_OK, "%s",
                 problem);
    struct accounts_backend_op put = {.done = on_put, .backend = beside};
    put.row = (struct accounts_row){.user_id = SLICE("bob"), .access_token = SLICE("plain")};
    beside->ops->put(beside, &put);
    loop_run(&rig->loop);
    beside->ops->close(beside, NULL, NULL);
    loop_run(&rig->loop);
}

Test(accounts_watch, what_others_write_empties_the_cache) {
    struct scratch folder = scratch_new();
    struct scratch path = scratch_file(&folder, "db");
    struct accounts_rig rig;
    cr_assert_eq(accounts_rig_open(&rig, &(const struct accounts_rig_opts){.path = path.path,
                                                                           .keys = ACCOUNTS_RIG_KEY,
                                                                           .cache_max = 10}),
                 RC_OK);
    let_pass(&rig, BEAT_MS); /* the first look */
    cr_assert_eq(accounts_rig_link(&rig, "ada", "access", "refresh"), RC_OK);
    cr_assert_eq(accounts_rig_ask(&rig, accounts_get, "bob").rc, RC_ABSENT);
    cr_assert(is_known(&rig, "ada") && is_known(&rig, "bob"));
    let_pass(&rig, BEAT_MS);
    cr_assert(is_known(&rig, "ada") && is_known(&rig, "bob"), "our own writes empty nothing");
    write_beside(&rig, path.path);
    let_pass(&rig, BEAT_MS);
    cr_assert(!is_known(&rig, "ada") && !is_known(&rig, "bob"));
    cr_assert(accounts_rig_ask(&rig, accounts_get, "bob").connected);
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(accounts_watch, closing_waits_for_the_question) {
    struct scratch folder = scratch_new();
    struct scratch path = scratch_file(&folder, "db");
    struct accounts_rig rig;
    cr_assert_eq(accounts_rig_open(
                     &rig, &(const struct accounts_rig_opts){.path = path.path, .cache_max = 10}),
                 RC_OK);
    let_pass(&rig, LIMIT_STORE_WATCH_MS); /* it is asked in the same turn, or nearly */
    cr_assert_eq(accounts_rig_close(&rig), RC_OK);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* A read that began before brings what may be old. */
Test(accounts_watch, a_read_under_way_is_forgotten_too) {
    struct accounts_cache *cache = accounts_cache_new(NULL, 10, 0);
    struct account_view view = {.connected = true};
    uint32_t started = accounts_cache_read_start(cache, SLICE("ada"));
    accounts_cache_clear(cache);
    accounts_cache_read_end(cache, SLICE("ada"), started, &view);
    cr_assert_not(accounts_cache_get(cache, SLICE("ada"), &view));
    started = accounts_cache_read_start(cache, SLICE("ada"));
    accounts_cache_read_end(cache, SLICE("ada"), started, &view);
    cr_assert(accounts_cache_get(cache, SLICE("ada"), &view));
    accounts_cache_clear(cache);
    cr_assert_not(accounts_cache_get(cache, SLICE("ada"), &view));
    accounts_cache_free(cache);
    CHECK_LEAKS();
}

static void put_into(struct accounts_cache *cache, struct slice user_id) {
    const struct account_view view = {.connected = true};
    uint32_t started = accounts_cache_read_start(cache, user_id);
    accounts_cache_read_end(cache, user_id, started, &view);
}

/* Where other processes write too. */
Test(accounts_cache, knows_for_its_time_only) {
    enum { KEEP_MS = 2000 };
    struct clock clock = {0};
    struct loop loop;
    struct account_view view;
    cr_assert_eq(loop_init(&loop, &clock), RC_OK);
    struct accounts_cache *cache = accounts_cache_new(&loop, 10, KEEP_MS);
    put_into(cache, SLICE("ada"));
    atomic_store(&clock.offset_ms, KEEP_MS - 1000);
    loop_run(&loop);
    cr_assert(accounts_cache_get(cache, SLICE("ada"), &view));
    put_into(cache, SLICE("bob"));
    atomic_store(&clock.offset_ms, KEEP_MS + 1);
    loop_run(&loop);
    cr_assert_not(accounts_cache_get(cache, SLICE("ada"), &view));
    cr_assert(accounts_cache_get(cache, SLICE("bob"), &view));
    put_into(cache, SLICE("ada"));
    cr_assert(accounts_cache_get(cache, SLICE("ada"), &view), "read anew");
    accounts_cache_free(cache);
    cr_assert_eq(loop_fini(&loop), RC_OK);
    CHECK_LEAKS();
}
