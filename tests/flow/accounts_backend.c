// SPDX-License-Identifier: MIT
/* What every store of accounts must do (store/accounts_backend.h), the same for each kind of them.
 * What only one kind has is in a file of its own. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "kit/backend_rig.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"

enum {
    TOKEN_BYTES = LIMIT_TOKEN_BYTES * 4 / 3 + 256, /* of the largest, sealed */
    ANSWER_MS_MAX = 6000,                          /* of a store that doesn't answer */
    RETURN_MS_MAX = 2000,                          /* of a store that is there again */
    RACERS = 16,
    RACES = 40,
};

/* A fresh store of this kind, two connections to it, and one rule. */
static void run(const struct account_place_kind *kind,
                void (*rule)(struct backend_rig *rig, struct account_place *place)) {
    struct account_place place;
    struct backend_rig rig;
    account_place_make(&place, kind);
    backend_rig_open(&rig, &place, 0);
    rule(&rig, &place);
    backend_rig_close(&rig);
    account_place_drop(&place);
    CHECK_LEAKS();
}

static struct accounts_row make_row(const char *user_id, const char *refresh_token) {
    return (struct accounts_row){
        .user_id = slice_str(user_id),
        .audible_user_id = SLICE("amzn1.account.TEST"),
        .access_token = SLICE("an-access-token"),
        .refresh_token = slice_str(refresh_token),
        .last_sync_error = SLICE("provider_unavailable"),
        .expires_ms = 1764017145123,
        .connected_ms = 1764013545678,
        .synced_ms = 1764013545999,
        .sync_status = ACCOUNT_SYNC_FAILED,
    };
}

static void must_put(struct backend_rig *rig, size_t which, const struct accounts_row *row) {
    enum rc rc = backend_rig_put(rig, which, row);
    cr_assert_eq(rc, RC_OK, "%s", rc_name(rc));
}

static void expect_next(struct backend_rig *rig, size_t which, const char *after,
                        const char *wanted) {
    struct backend_call call;
    enum rc rc = backend_rig_next(rig, which, &call, slice_str(after));
    cr_assert_eq(rc, wanted != NULL ? RC_OK : RC_ABSENT, "after \"%s\": %s", after, rc_name(rc));
    if (wanted != NULL) {
        cr_assert(slice_eq(call.op.row.user_id, slice_str(wanted)), "after \"%s\": %.*s", after,
                  SLICE_ARGS(call.op.row.user_id));
    }
    buf_fini(&call.op.bytes);
}

/* -- rows -- */

/* Ids that patterns, paths, queries and sorting might take for something else. */
static const char *const odd_ids[] = {
    "!",
    "$where",
    "*",
    "..",
    "0",
    "A",
    "Z",
    "[a-z]?",
    "_id",
    "a",
    "a b",
    "a.b.c",
    "a:b",
    "aa",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "b",
    "user@example.com",
    "{\"$gt\":\"\"}",
    "\xC3\xA4",
    "\xC3\xA4\xC3\xB6",
    "\xE2\x82\xAC",
    "\xEF\xBF\xBD",
    "\xF0\x9F\x98\x80",
};
enum { ODD_IDS = sizeof odd_ids / sizeof odd_ids[0] };

static void rows_come_back(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    backend_rig_expect(rig, 0, SLICE("nobody"), NULL);
    for (int i = ODD_IDS - 1; i >= 0; i--) {
        struct accounts_row row = make_row(odd_ids[i], "r");
        row.audible_user_id = slice_str(odd_ids[i]);
        must_put(rig, (size_t)i % 2, &row);
    }
    for (size_t i = 0; i < ODD_IDS; i++) {
        struct accounts_row row = make_row(odd_ids[i], "r");
        row.audible_user_id = slice_str(odd_ids[i]);
        backend_rig_expect(rig, i % 2, row.user_id, &row);
    }
    backend_rig_expect(rig, 0, SLICE("a "), NULL);
    backend_rig_expect(rig, 0, SLICE("B"), NULL);
    char long_id[LIMIT_USER_ID_BYTES + 1];
    memset(long_id, 'x', LIMIT_USER_ID_BYTES);
    long_id[LIMIT_USER_ID_BYTES] = '\0';
    struct accounts_row row = make_row(long_id, "r");
    must_put(rig, 0, &row);
    backend_rig_expect(rig, 0, row.user_id, &row);
    backend_rig_expect(rig, 0, slice_head(row.user_id, LIMIT_USER_ID_BYTES - 1), NULL);
}

static void put_replaces_all(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    struct accounts_row full = make_row("u", "r1");
    struct accounts_row poor = {.user_id = SLICE("u"), .access_token = SLICE("a2")};
    struct accounts_row other = make_row("v", "r");
    must_put(rig, 0, &other);
    must_put(rig, 0, &full);
    must_put(rig, 1, &poor);
    backend_rig_expect(rig, 0, SLICE("u"), &poor);
    must_put(rig, 0, &full);
    backend_rig_expect(rig, 0, SLICE("u"), &full);
    backend_rig_expect(rig, 1, SLICE("v"), &other);
}

static void null_is_not_empty(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    for (int bits = 0; bits < 8; bits++) {
        struct accounts_row row = make_row("u", (bits & 1) != 0 ? "" : NULL);
        row.audible_user_id = (bits & 2) != 0 ? SLICE("") : SLICE_NULL;
        row.last_sync_error = (bits & 4) != 0 ? SLICE("") : SLICE_NULL;
        row.access_token = SLICE("");
        must_put(rig, 0, &row);
        backend_rig_expect(rig, 1, row.user_id, &row);
    }
}

static void times_are_kept_to_the_millisecond(struct backend_rig *rig,
                                              struct account_place *place) {
    (void)place;
    static const int64_t times[] = {1, 999, 1764017145123, 4102444800001, 253402300799999};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct accounts_row row = make_row("u", "r");
        row.expires_ms = times[i];
        row.connected_ms = times[i];
        row.synced_ms = i == 2 ? 0 : times[i]; /* never */
        row.sync_status = (enum account_sync)(i % 3);
        must_put(rig, 0, &row);
        backend_rig_expect(rig, 1, row.user_id, &row);
    }
}

static void large_tokens_come_back(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    char *text = malloc(2 * TOKEN_BYTES);
    cr_assert_not_null(text);
    for (size_t i = 0; i < 2 * TOKEN_BYTES; i++) {
        text[i] = (char)('A' + i * 7 % 26);
    }
    struct accounts_row row = make_row("u", NULL);
    row.access_token = slice_make(text, TOKEN_BYTES);
    row.refresh_token = slice_make(text + TOKEN_BYTES, TOKEN_BYTES);
    must_put(rig, 0, &row);
    backend_rig_expect(rig, 1, row.user_id, &row);
    struct backend_call call = {
        .op = {.row = row, .fence = row.refresh_token, .access_fence = row.access_token}};
    call.op.row.access_token = row.refresh_token;
    call.op.row.refresh_token = row.access_token;
    cr_assert_eq(backend_rig_run(rig, 1, &call, rig->backends[1]->ops->swap), RC_OK);
    backend_rig_expect(rig, 0, row.user_id, &call.op.row);
    text[0]++; /* of both fences one byte */
    cr_assert_eq(backend_rig_run(rig, 1, &call, rig->backends[1]->ops->swap), RC_CONFLICT);
    free(text);
}

static void a_row_beyond_its_buffer(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    struct accounts_row row = make_row("u", "a-refresh-token-of-some-length");
    backend_rig_fn *const fns[] = {rig->backends[0]->ops->get, rig->backends[0]->ops->remove,
                                   rig->backends[0]->ops->next};
    must_put(rig, 0, &row);
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        struct backend_call call = {.op.row.user_id = i < 2 ? SLICE("u") : SLICE("a")};
        buf_init(&call.op.bytes, 64);
        cr_assert_eq(backend_rig_run(rig, 0, &call, fns[i]), RC_STORAGE_UNAVAILABLE, "%zu", i);
        cr_assert_not_null(call.op.cause);
        buf_fini(&call.op.bytes);
    }
    backend_rig_expect(rig, 0, row.user_id, &row);
    expect_next(rig, 0, "", "u");
}

static void rows(struct backend_rig *rig, struct account_place *place) {
    rows_come_back(rig, place);
    put_replaces_all(rig, place);
    null_is_not_empty(rig, place);
    times_are_kept_to_the_millisecond(rig, place);
    large_tokens_come_back(rig, place);
}

/* -- fences -- */

static enum rc swap(struct backend_rig *rig, const char *refresh_token, const char *fence,
                    const char *access_fence) {
    struct backend_call call = {.op = {
                                    .row = make_row("u", refresh_token),
                                    .fence = slice_str(fence),
                                    .access_fence = slice_str(access_fence),
                                }};
    return backend_rig_run(rig, 1, &call, rig->backends[1]->ops->swap);
}

static void expect_refresh_token(struct backend_rig *rig, const char *wanted) {
    struct accounts_row row = make_row("u", wanted);
    backend_rig_expect(rig, 0, row.user_id, &row);
}

static void swap_is_fenced_by_the_refresh_token(struct backend_rig *rig,
                                                struct account_place *place) {
    (void)place;
    struct accounts_row row = make_row("u", "r0");
    cr_assert_eq(swap(rig, "r1", "r0", NULL), RC_ABSENT);
    cr_assert_eq(swap(rig, "r1", NULL, NULL), RC_ABSENT, "no token is not no account");
    expect_next(rig, 0, "", NULL);
    must_put(rig, 0, &row);
    cr_assert_eq(swap(rig, "r1", "r0", NULL), RC_OK);
    cr_assert_eq(swap(rig, "r2", "r0", NULL), RC_CONFLICT);
    cr_assert_eq(swap(rig, "r2", NULL, NULL), RC_CONFLICT);
    cr_assert_eq(swap(rig, "r2", "", NULL), RC_CONFLICT);
    cr_assert_eq(swap(rig, "r2", "R1", NULL), RC_CONFLICT);
    cr_assert_eq(swap(rig, "r2", "r", NULL), RC_CONFLICT);
    expect_refresh_token(rig, "r1");
    cr_assert_eq(swap(rig, NULL, "r1", NULL), RC_OK, "to no token");
    expect_refresh_token(rig, NULL);
    cr_assert_eq(swap(rig, "r3", "r1", NULL), RC_CONFLICT);
    cr_assert_eq(swap(rig, "r3", "", NULL), RC_CONFLICT, "null is not empty");
    cr_assert_eq(swap(rig, "", NULL, NULL), RC_OK, "from no token");
    expect_refresh_token(rig, "");
    cr_assert_eq(swap(rig, "r3", NULL, NULL), RC_CONFLICT, "empty is not null");
    cr_assert_eq(swap(rig, "r3", "", NULL), RC_OK);
    expect_refresh_token(rig, "r3");
}

static void swap_is_fenced_by_the_access_token_where_asked(struct backend_rig *rig,
                                                           struct account_place *place) {
    (void)place;
    struct accounts_row row = make_row("u", "r0");
    row.access_token = SLICE("a0");
    must_put(rig, 0, &row);
    cr_assert_eq(swap(rig, "r1", "r0", "a1"), RC_CONFLICT);
    cr_assert_eq(swap(rig, "r1", "r0", ""), RC_CONFLICT);
    cr_assert_eq(swap(rig, "r1", "r1", "a0"), RC_CONFLICT);
    backend_rig_expect(rig, 0, row.user_id, &row);
    cr_assert_eq(swap(rig, "r1", "r0", "a0"), RC_OK);
    expect_refresh_token(rig, "r1");
}

/* What is replaced, and what is not. */
static void swap_replaces_tokens_only(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    struct accounts_row row = make_row("u", "r0");
    must_put(rig, 0, &row);
    struct backend_call call = {.op = {.row = {.user_id = SLICE("u"),
                                               .access_token = SLICE("a1"),
                                               .refresh_token = SLICE("r1"),
                                               .expires_ms = 1888888888888},
                                       .fence = SLICE("r0")}};
    cr_assert_eq(backend_rig_run(rig, 1, &call, rig->backends[1]->ops->swap), RC_OK);
    row.access_token = SLICE("a1");
    row.refresh_token = SLICE("r1");
    row.expires_ms = 1888888888888;
    backend_rig_expect(rig, 0, row.user_id, &row);
}

static enum rc mark(struct backend_rig *rig, const char *fence, int64_t synced_ms,
                    const char *last_sync_error) {
    struct backend_call call = {.op = {.row = {.user_id = SLICE("u"),
                                               .synced_ms = synced_ms,
                                               .sync_status = ACCOUNT_SYNC_SYNCED,
                                               .last_sync_error = slice_str(last_sync_error)},
                                       .fence = slice_str(fence)}};
    return backend_rig_run(rig, 1, &call, rig->backends[1]->ops->mark);
}

static void mark_is_fenced_and_replaces_what_it_says(struct backend_rig *rig,
                                                     struct account_place *place) {
    (void)place;
    struct accounts_row row = make_row("u", "r0");
    struct backend_call call;
    cr_assert_eq(backend_rig_remove(rig, 0, &call, row.user_id), RC_OK);
    buf_fini(&call.op.bytes);
    cr_assert_eq(mark(rig, "r0", 5, NULL), RC_ABSENT);
    cr_assert_eq(mark(rig, NULL, 5, NULL), RC_ABSENT);
    expect_next(rig, 0, "", NULL);
    must_put(rig, 0, &row);
    cr_assert_eq(mark(rig, "r1", 5, NULL), RC_CONFLICT);
    cr_assert_eq(mark(rig, NULL, 5, NULL), RC_CONFLICT);
    cr_assert_eq(mark(rig, "", 5, NULL), RC_CONFLICT);
    backend_rig_expect(rig, 0, row.user_id, &row);
    cr_assert_eq(mark(rig, "r0", 0, "e"), RC_OK);
    row.sync_status = ACCOUNT_SYNC_SYNCED;
    row.last_sync_error = SLICE("e");
    backend_rig_expect(rig, 0, row.user_id, &row);
    cr_assert_eq(mark(rig, "r0", 1777777777777, NULL), RC_OK);
    row.synced_ms = 1777777777777;
    row.last_sync_error = SLICE_NULL;
    backend_rig_expect(rig, 0, row.user_id, &row);
    row.refresh_token = SLICE_NULL;
    must_put(rig, 0, &row);
    cr_assert_eq(mark(rig, NULL, 0, NULL), RC_OK, "an account without a refresh token");
}

static enum rc mark_unless(struct backend_rig *rig, enum account_sync status, const char *error,
                           const char *error_fence) {
    struct backend_call call = {.op = {.row = {.user_id = SLICE("u"),
                                               .sync_status = status,
                                               .last_sync_error = slice_str(error)},
                                       .fence = SLICE("r0"),
                                       .error_fence = slice_str(error_fence)}};
    return backend_rig_run(rig, 1, &call, rig->backends[1]->ops->mark);
}

/* What is FAILED with this error stays. */
static void mark_is_fenced_by_an_error_where_asked(struct backend_rig *rig,
                                                   struct account_place *place) {
    (void)place;
    struct accounts_row row = make_row("u", "r0");
    must_put(rig, 0, &row);
    cr_assert_eq(mark_unless(rig, ACCOUNT_SYNC_FAILED, NULL, "e"), RC_OK);
    cr_assert_eq(mark_unless(rig, ACCOUNT_SYNC_FAILED, "f", "e"), RC_OK, "no error");
    cr_assert_eq(mark_unless(rig, ACCOUNT_SYNC_PENDING, "e", "e"), RC_OK, "another error");
    cr_assert_eq(mark_unless(rig, ACCOUNT_SYNC_FAILED, "e", "e"), RC_OK, "not failed");
    row.sync_status = ACCOUNT_SYNC_FAILED;
    row.last_sync_error = SLICE("e");
    cr_assert_eq(mark_unless(rig, ACCOUNT_SYNC_SYNCED, NULL, "e"), RC_CONFLICT);
    cr_assert_eq(mark_unless(rig, ACCOUNT_SYNC_FAILED, "f", "e"), RC_CONFLICT);
    backend_rig_expect(rig, 0, row.user_id, &row);
    cr_assert_eq(mark_unless(rig, ACCOUNT_SYNC_SYNCED, NULL, NULL), RC_OK, "it isn't looked at");
    row.sync_status = ACCOUNT_SYNC_SYNCED;
    row.last_sync_error = SLICE_NULL;
    backend_rig_expect(rig, 0, row.user_id, &row);
}

static void fences(struct backend_rig *rig, struct account_place *place) {
    swap_is_fenced_by_the_refresh_token(rig, place);
    swap_is_fenced_by_the_access_token_where_asked(rig, place);
    swap_replaces_tokens_only(rig, place);
    mark_is_fenced_and_replaces_what_it_says(rig, place);
    mark_is_fenced_by_an_error_where_asked(rig, place);
}

/* -- scans and removals -- */

static void expect_scan(struct backend_rig *rig, size_t which, size_t skipped) {
    const char *after = "";
    for (size_t i = 0; i < ODD_IDS; i++) {
        if (i != skipped) {
            expect_next(rig, which, after, odd_ids[i]);
            after = odd_ids[i];
        }
    }
    expect_next(rig, which, after, NULL);
}

static void scans_go_by_bytes(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    struct backend_call call;
    expect_next(rig, 0, "", NULL);
    for (size_t i = 0; i < ODD_IDS; i++) {
        struct accounts_row row = make_row(odd_ids[(i * 5 + 3) % ODD_IDS], "r");
        must_put(rig, 0, &row);
        must_put(rig, 1, &row);
    }
    expect_scan(rig, 0, ODD_IDS);
    expect_next(rig, 0, "a a", "a b");
    expect_next(rig, 0, "zzz", "{\"$gt\":\"\"}");
    expect_next(rig, 0, "\xF4\x8F\xBF\xBF", NULL);
    cr_assert_eq(backend_rig_next(rig, 1, &call, SLICE("a ")), RC_OK);
    struct accounts_row row = make_row("a b", "r");
    backend_rig_expect_row(&call.op.row, &row);
    buf_fini(&call.op.bytes);
    cr_assert_eq(backend_rig_remove(rig, 1, &call, slice_str(odd_ids[9])), RC_OK);
    buf_fini(&call.op.bytes);
    expect_scan(rig, 0, 9);
}

/* A scan whose cursor lies in the buffer that the next row goes to. */
static void a_scan_goes_on_from_its_own_result(struct backend_rig *rig,
                                               struct account_place *place) {
    (void)place;
    struct backend_call call = {.op.row.user_id = SLICE("")};
    size_t count = 0;
    buf_init(&call.op.bytes, BACKEND_RIG_ROW_BYTES);
    while (backend_rig_run(rig, 0, &call, rig->backends[0]->ops->next) == RC_OK) {
        count++;
        cr_assert_eq(backend_rig_run(rig, 1, &call, rig->backends[1]->ops->get), RC_OK,
                     "and so does a look at it");
    }
    cr_assert_eq(call.op.rc, RC_ABSENT);
    cr_assert_eq(count, ODD_IDS - 1u);
    buf_fini(&call.op.bytes);
}

static void remove_returns_what_was_there(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    struct backend_call call;
    struct accounts_row row = make_row("b", "r1");
    struct accounts_row again = {.user_id = SLICE("b"), .access_token = SLICE("a")};
    must_put(rig, 0, &row);
    cr_assert_eq(backend_rig_remove(rig, 1, &call, row.user_id), RC_OK);
    backend_rig_expect_row(&call.op.row, &row);
    buf_fini(&call.op.bytes);
    backend_rig_expect(rig, 0, row.user_id, NULL);
    cr_assert_eq(backend_rig_remove(rig, 0, &call, row.user_id), RC_ABSENT);
    buf_fini(&call.op.bytes);
    expect_next(rig, 0, "auth0|5f7c8ec7c33c6c004bbafe82", "user@example.com");
    must_put(rig, 0, &again);
    backend_rig_expect(rig, 1, row.user_id, &again);
    expect_next(rig, 1, "auth0|5f7c8ec7c33c6c004bbafe82", "b");
}

/* Whoever keeps what was read asks so whether it may still. */
static void others_writes_are_told(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    struct backend_call call = {.calls = 0};
    struct accounts_row row = make_row("told", "r");
    backend_rig_run(rig, 0, &call, rig->backends[0]->ops->version);
    must_put(rig, 1, &row);
    cr_assert_eq(backend_rig_run(rig, 0, &call, rig->backends[0]->ops->version), RC_CONFLICT);
}

static void nobody_sees_a_ping(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    struct backend_call call;
    for (size_t i = 0; i < ODD_IDS; i++) {
        cr_assert_eq(backend_rig_ping(rig, i % 2), RC_OK);
    }
    cr_assert_eq(backend_rig_remove(rig, 0, &call, SLICE("told")), RC_OK);
    buf_fini(&call.op.bytes);
    expect_scan(rig, 1, 9);
}

static void scans(struct backend_rig *rig, struct account_place *place) {
    scans_go_by_bytes(rig, place);
    a_scan_goes_on_from_its_own_result(rig, place);
    remove_returns_what_was_there(rig, place);
    others_writes_are_told(rig, place);
    nobody_sees_a_ping(rig, place);
}

/* -- races: two connections, operations under way at once -- */

static void of_many_swaps_one_wins(struct backend_rig *rig, int race) {
    struct backend_call calls[RACERS];
    char tokens[RACERS][32];
    struct accounts_row row = make_row("u", race % 2 == 0 ? "r0" : NULL);
    int winner = -1;
    must_put(rig, 0, &row);
    for (int i = 0; i < RACERS; i++) {
        snprintf(tokens[i], sizeof tokens[i], "r-%d-%d", race, i);
        calls[i] = (struct backend_call){
            .op = {.row = make_row("u", tokens[i]), .fence = row.refresh_token}};
        backend_rig_start(rig, (size_t)i % 2, &calls[i], rig->backends[i % 2]->ops->swap);
    }
    backend_rig_wait(rig);
    for (int i = 0; i < RACERS; i++) {
        bool wins = calls[i].op.rc == RC_OK;
        cr_assert(wins || calls[i].op.rc == RC_CONFLICT, "%s", rc_name(calls[i].op.rc));
        cr_assert(!wins || winner < 0, "two have won");
        winner = wins ? i : winner;
    }
    cr_assert_geq(winner, 0, "none has won");
    row.refresh_token = slice_str(tokens[winner]);
    backend_rig_expect(rig, 1, row.user_id, &row);
}

/* A row that is gone stays gone, and what was swapped in just before is what is returned. */
static void a_removal_and_a_swap(struct backend_rig *rig, int race) {
    size_t first = (size_t)race % 2;
    struct accounts_row row = make_row("u", "r0");
    struct backend_call swapped = {.op = {.row = make_row("u", "r1"), .fence = SLICE("r0")}};
    struct backend_call removed = {.op.row.user_id = SLICE("u")};
    must_put(rig, 0, &row);
    buf_init(&removed.op.bytes, BACKEND_RIG_ROW_BYTES);
    for (int i = 0; i < 2; i++) {
        bool is_swap = (i + race / 2) % 2 == 0;
        backend_rig_start(rig, (first + (size_t)i) % 2, is_swap ? &swapped : &removed,
                          is_swap ? rig->backends[0]->ops->swap : rig->backends[0]->ops->remove);
    }
    backend_rig_wait(rig);
    cr_assert_eq(removed.op.rc, RC_OK, "%s", rc_name(removed.op.rc));
    cr_assert(swapped.op.rc == RC_OK || swapped.op.rc == RC_ABSENT, "%s", rc_name(swapped.op.rc));
    cr_assert(
        slice_eq(removed.op.row.refresh_token, swapped.op.rc == RC_OK ? SLICE("r1") : SLICE("r0")));
    buf_fini(&removed.op.bytes);
    backend_rig_expect(rig, 0, row.user_id, NULL);
    expect_next(rig, 0, "", NULL);
}

static void of_many_removals_one_gets_it(struct backend_rig *rig) {
    struct backend_call calls[RACERS];
    struct accounts_row row = make_row("u", "r0");
    int winners = 0;
    must_put(rig, 0, &row);
    for (int i = 0; i < RACERS; i++) {
        calls[i] = (struct backend_call){.op.row.user_id = SLICE("u")};
        buf_init(&calls[i].op.bytes, BACKEND_RIG_ROW_BYTES);
        backend_rig_start(rig, (size_t)i % 2, &calls[i], rig->backends[i % 2]->ops->remove);
    }
    backend_rig_wait(rig);
    for (int i = 0; i < RACERS; i++) {
        winners += calls[i].op.rc == RC_OK ? 1 : 0;
        cr_assert(calls[i].op.rc == RC_OK || calls[i].op.rc == RC_ABSENT, "%s",
                  rc_name(calls[i].op.rc));
        buf_fini(&calls[i].op.bytes);
    }
    cr_assert_eq(winners, 1);
}

/* One account a user, whole, whoever comes last. */
static void many_puts_leave_one_whole_row(struct backend_rig *rig) {
    struct backend_call calls[RACERS];
    struct backend_call read;
    char tokens[RACERS][32];
    for (int i = 0; i < RACERS; i++) {
        snprintf(tokens[i], sizeof tokens[i], "token-%d", i);
        calls[i] = (struct backend_call){.op.row = make_row("u", tokens[i])};
        calls[i].op.row.access_token = slice_str(tokens[i]);
        calls[i].op.row.expires_ms = 1000 + i;
        calls[i].op.row.last_sync_error = i % 2 == 0 ? SLICE_NULL : slice_str(tokens[i]);
        backend_rig_start(rig, (size_t)i % 2, &calls[i], rig->backends[i % 2]->ops->put);
    }
    backend_rig_wait(rig);
    for (int i = 0; i < RACERS; i++) {
        cr_assert_eq(calls[i].op.rc, RC_OK, "%s", rc_name(calls[i].op.rc));
    }
    cr_assert_eq(backend_rig_get(rig, 0, &read, SLICE("u")), RC_OK);
    int64_t last = read.op.row.expires_ms - 1000;
    cr_assert(last >= 0 && last < RACERS);
    backend_rig_expect_row(&read.op.row, &calls[last].op.row);
    buf_fini(&read.op.bytes);
    expect_next(rig, 0, "", "u");
    expect_next(rig, 0, "u", NULL);
    cr_assert_eq(backend_rig_remove(rig, 0, &read, SLICE("u")), RC_OK);
    buf_fini(&read.op.bytes);
    expect_next(rig, 0, "", NULL);
}

static void races(struct backend_rig *rig, struct account_place *place) {
    (void)place;
    for (int race = 0; race < RACES; race++) {
        of_many_swaps_one_wins(rig, race);
        a_removal_and_a_swap(rig, race);
        of_many_removals_one_gets_it(rig);
        many_puts_leave_one_whole_row(rig);
    }
}

/* -- a server that isn't there, or says nothing -- */

/* Every operation says so, and none takes it for an absent account. */
static void expect_unavailable(struct backend_rig *rig, const char *what) {
    const struct accounts_backend_ops *ops = rig->backends[0]->ops;
    backend_rig_fn *const fns[] = {ops->get,    ops->swap, ops->mark,
                                   ops->remove, ops->next, ops->ping};
    struct backend_call calls[sizeof fns / sizeof fns[0]];
    int64_t start_ns = clock_ns();
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        calls[i] =
            (struct backend_call){.op = {.row = make_row("u", "r0"), .fence = SLICE("another")}};
        buf_init(&calls[i].op.bytes, BACKEND_RIG_ROW_BYTES);
        backend_rig_start(rig, i % 2, &calls[i], fns[i]);
    }
    backend_rig_wait(rig);
    cr_assert_lt((clock_ns() - start_ns) / 1000000, ANSWER_MS_MAX, "%s", what);
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        cr_assert_eq(calls[i].op.rc, RC_STORAGE_UNAVAILABLE, "%s: %zu: %s", what, i,
                     rc_name(calls[i].op.rc));
        cr_assert_not_null(calls[i].op.cause, "%s: %zu", what, i);
        buf_fini(&calls[i].op.bytes);
    }
}

static void expect_service(struct backend_rig *rig, const char *what) {
    for (size_t i = 0; i < BACKEND_RIG_STORES; i++) {
        cr_assert(backend_rig_ping_within(rig, i, RETURN_MS_MAX), "%s: %zu", what, i);
    }
}

static void stopped(struct backend_rig *rig, struct account_place *place) {
    struct accounts_row row = make_row("u", "r0");
    must_put(rig, 0, &row);
    must_put(rig, 1, &row);
    place->kind->kill(place);
    expect_unavailable(rig, "stopped");
    expect_unavailable(rig, "stopped for a while");
    place->kind->start(place);
    expect_service(rig, "started");
    backend_rig_expect(rig, 0, row.user_id, &row);
}

/* A removal that was never answered may come to pass when the server goes on. */
static void frozen(struct backend_rig *rig, struct account_place *place) {
    struct accounts_row row = make_row("u", "r0");
    struct backend_call read;
    must_put(rig, 0, &row);
    must_put(rig, 1, &row);
    place->kind->freeze(place);
    expect_unavailable(rig, "frozen");
    place->kind->thaw(place);
    expect_service(rig, "thawed");
    enum rc rc = backend_rig_get(rig, 0, &read, row.user_id);
    cr_assert(rc == RC_OK || rc == RC_ABSENT, "%s", rc_name(rc));
    buf_fini(&read.op.bytes);
    must_put(rig, 1, &row);
    backend_rig_expect(rig, 0, row.user_id, &row);
}

/* -- a server that is killed -- */

static void what_was_answered_is_kept(struct backend_rig *rig, struct account_place *place) {
    struct backend_call calls[RACERS];
    struct backend_call call;
    char ids[RACERS][32];
    for (int i = 0; i < RACERS; i++) {
        snprintf(ids[i], sizeof ids[i], "user-%02d", i);
        calls[i] = (struct backend_call){.op.row = make_row(ids[i], "r0")};
        backend_rig_start(rig, (size_t)i % 2, &calls[i], rig->backends[i % 2]->ops->put);
    }
    backend_rig_wait(rig);
    cr_assert_eq(backend_rig_remove(rig, 0, &call, SLICE("user-00")), RC_OK);
    buf_fini(&call.op.bytes);
    call = (struct backend_call){.op = {.row = make_row("user-01", "r1"), .fence = SLICE("r0")}};
    cr_assert_eq(backend_rig_run(rig, 1, &call, rig->backends[1]->ops->swap), RC_OK);
    place->kind->kill(place);
    place->kind->start(place);
    expect_service(rig, "started");
    backend_rig_expect(rig, 0, SLICE("user-00"), NULL);
    backend_rig_expect(rig, 0, SLICE("user-01"), &call.op.row);
    expect_next(rig, 0, "", "user-01");
    for (int i = 2; i < RACERS; i++) {
        cr_assert_eq(calls[i].op.rc, RC_OK);
        backend_rig_expect(rig, 0, calls[i].op.row.user_id, &calls[i].op.row);
        expect_next(rig, 1, ids[i - 1], ids[i]);
    }
}

/* -- each kind -- */

Test(accounts_backend, sqlite_rows) {
    run(&account_place_sqlite, rows);
}
Test(accounts_backend, sqlite_rows_beyond_their_buffer) {
    run(&account_place_sqlite, a_row_beyond_its_buffer);
}
Test(accounts_backend, sqlite_fences) {
    run(&account_place_sqlite, fences);
}
Test(accounts_backend, sqlite_scans) {
    run(&account_place_sqlite, scans);
}
Test(accounts_backend, sqlite_races) {
    run(&account_place_sqlite, races);
}

Test(accounts_backend, redis_rows) {
    run(&account_place_redis, rows);
}
Test(accounts_backend, redis_rows_beyond_their_buffer) {
    run(&account_place_redis, a_row_beyond_its_buffer);
}
Test(accounts_backend, redis_fences) {
    run(&account_place_redis, fences);
}
Test(accounts_backend, redis_scans) {
    run(&account_place_redis, scans);
}
Test(accounts_backend, redis_races) {
    run(&account_place_redis, races);
}
Test(accounts_backend, redis_stopped) {
    run(&account_place_redis, stopped);
}
Test(accounts_backend, redis_frozen) {
    run(&account_place_redis, frozen);
}
Test(accounts_backend, redis_killed) {
    run(&account_place_redis, what_was_answered_is_kept);
}

Test(accounts_backend, mongodb_rows) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, rows);
}
Test(accounts_backend, mongodb_rows_beyond_their_buffer) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, a_row_beyond_its_buffer);
}
Test(accounts_backend, mongodb_fences) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, fences);
}
Test(accounts_backend, mongodb_scans) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, scans);
}
Test(accounts_backend, mongodb_races) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, races);
}
Test(accounts_backend, mongodb_stopped) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, stopped);
}
Test(accounts_backend, mongodb_frozen) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, frozen);
}
Test(accounts_backend, mongodb_killed) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo, what_was_answered_is_kept);
}
Test(accounts_backend, mongodb_primary_races) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo_primary, races);
}
Test(accounts_backend, mongodb_primary_stopped) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo_primary, stopped);
}
Test(accounts_backend, mongodb_primary_frozen) {
    NEEDS_MONGO_SERVER();
    run(&account_place_mongo_primary, frozen);
}
