// SPDX-License-Identifier: MIT
/* What accounts in MongoDB share with the platform's own service (see accounts_backend.c for what
 * every store of accounts does). */
#include "store/accounts_mongo.h"

#include <criterion/criterion.h>
#include <string.h>

#include "kit/backend_rig.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"

#define DATE(ms) "{\"$date\": {\"$numberLong\": \"" #ms "\"}}"

struct rig {
    struct account_place place;
    struct backend_rig backends;
};

static void rig_open_at(struct rig *rig, const struct account_place_kind *kind) {
    account_place_make(&rig->place, kind);
    backend_rig_open(&rig->backends, &rig->place, 0);
}

static void rig_open(struct rig *rig) {
    rig_open_at(rig, &account_place_mongo);
}

static void rig_close(struct rig *rig) {
    backend_rig_close(&rig->backends);
    account_place_drop(&rig->place);
    CHECK_LEAKS();
}

static const struct mongo_server *server_of(const struct rig *rig) {
    return rig->place.server;
}

/* As the platform's service writes it. */
static void insert(struct rig *rig, const char *document) {
    cr_assert_eq(mongo_server_ask_number(
                     server_of(rig), "n",
                     "{\"insert\": \"user_audible_accounts\", \"documents\": [%s]}", document),
                 1, "%s", document);
}

/* The answer to a find of all, as JSON. */
static const char *stored(struct rig *rig) {
    return mongo_server_ask(server_of(rig), "{\"find\": \"user_audible_accounts\", "
                                            "\"projection\": {\"_id\": 0}}");
}

static void expect_stored(struct rig *rig, const char *text) {
    const char *all = stored(rig);
    cr_assert_not_null(strstr(all, text), "no %s in %s", text, all);
}

static struct accounts_row make_row(const char *user_id, const char *refresh_token) {
    return (struct accounts_row){.user_id = slice_str(user_id),
                                 .audible_user_id = SLICE("amzn1.account.TEST"),
                                 .access_token = SLICE("sealed-access"),
                                 .refresh_token = slice_str(refresh_token),
                                 .expires_ms = 1764017145123,
                                 .connected_ms = 1764013545678,
                                 .synced_ms = 1764013545999,
                                 .sync_status = ACCOUNT_SYNC_SYNCED};
}

static void put(struct rig *rig, const struct accounts_row *row) {
    cr_assert_eq(backend_rig_put(&rig->backends, 0, row), RC_OK);
}

/* Servers write fields in an order of their own. */
static void expect_document(struct rig *rig, const char *const *fields) {
    size_t length = strlen(stored(rig));
    size_t found = 0;
    for (size_t i = 0; fields[i] != NULL; i++) {
        expect_stored(rig, fields[i]);
        found += strlen(fields[i]) + 2; /* what is between two */
    }
    static const char around[] = "{ \"cursor\" : { \"firstBatch\" : [ {  } ], \"id\" : 0, \"ns\" : "
                                 "\"latchkey_test.user_audible_accounts\" }, \"ok\" : 1.0 }";
    cr_assert_eq(length, found - 2 + sizeof around - 1, "no other fields: %s", stored(rig));
}

Test(accounts_mongo, a_document_is_the_platforms) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct accounts_row row = make_row("u", "sealed-refresh");
    rig_open(&rig);
    put(&rig, &row);
    static const char *const full[] = {
        "\"user_id\" : \"u\"",
        "\"audible_user_id\" : \"amzn1.account.TEST\"",
        "\"access_token\" : \"sealed-access\"",
        "\"refresh_token\" : \"sealed-refresh\"",
        "\"expires_at\" : { \"$date\" : \"2025-11-24T20:45:45.123Z\" }",
        "\"connected_at\" : { \"$date\" : \"2025-11-24T19:45:45.678Z\" }",
        "\"synced_at\" : { \"$date\" : \"2025-11-24T19:45:45.999Z\" }",
        "\"state_token\" : null",
        "\"last_sync_error\" : null",
        "\"sync_status\" : \"synced\"",
        "\"is_active\" : true",
        NULL};
    expect_document(&rig, full);
    row.audible_user_id = SLICE_NULL;
    row.refresh_token = SLICE_NULL;
    row.synced_ms = 0;
    row.sync_status = ACCOUNT_SYNC_PENDING;
    row.last_sync_error = SLICE("reauthorization_required");
    put(&rig, &row);
    static const char *const poor[] = {
        "\"user_id\" : \"u\"",
        "\"audible_user_id\" : null",
        "\"access_token\" : \"sealed-access\"",
        "\"refresh_token\" : null",
        "\"expires_at\" : { \"$date\" : \"2025-11-24T20:45:45.123Z\" }",
        "\"connected_at\" : { \"$date\" : \"2025-11-24T19:45:45.678Z\" }",
        "\"synced_at\" : null",
        "\"state_token\" : null",
        "\"last_sync_error\" : \"reauthorization_required\"",
        "\"sync_status\" : \"pending\"",
        "\"is_active\" : true",
        NULL};
    expect_document(&rig, poor);
    rig_close(&rig);
}

#define UNKNOWN "\"profile\": {\"theme\": \"dark\"}, \"created_by\": \"python\""

Test(accounts_mongo, unknown_fields_are_kept) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct accounts_row row = make_row("u", "r1");
    struct backend_call call = {.op = {.row = make_row("u", "r2"), .fence = SLICE("r1")}};
    rig_open(&rig);
    insert(&rig, "{\"user_id\": \"u\", " UNKNOWN ", \"refresh_token\": \"r0\"}");
    put(&rig, &row);
    cr_assert_eq(backend_rig_run(&rig.backends, 1, &call, rig.backends.backends[1]->ops->swap),
                 RC_OK);
    call = (struct backend_call){.op = {.row = make_row("u", NULL), .fence = SLICE("r2")}};
    cr_assert_eq(backend_rig_run(&rig.backends, 0, &call, rig.backends.backends[0]->ops->mark),
                 RC_OK);
    expect_stored(&rig, "\"profile\" : { \"theme\" : \"dark\" }, \"created_by\" : \"python\"");
    expect_stored(&rig, "\"refresh_token\" : \"r2\"");
    row.refresh_token = SLICE("r2");
    backend_rig_expect(&rig.backends, 1, SLICE("u"), &row);
    rig_close(&rig);
}

/* Every operation but a new link takes one for none, and leaves it alone. */
Test(accounts_mongo, soft_deleted_is_no_account) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct backend_call call;
    struct accounts_row row = make_row("u", "r1");
    rig_open(&rig);
    const struct accounts_backend_ops *ops = rig.backends.backends[0]->ops;
    insert(&rig, "{\"user_id\": \"u\", " UNKNOWN ", \"access_token\": \"a\", "
                 "\"refresh_token\": \"r0\", \"is_active\": false}");
    backend_rig_expect(&rig.backends, 0, SLICE("u"), NULL);
    cr_assert_eq(backend_rig_next(&rig.backends, 0, &call, SLICE("")), RC_ABSENT);
    buf_fini(&call.op.bytes);
    cr_assert_eq(backend_rig_remove(&rig.backends, 0, &call, SLICE("u")), RC_ABSENT);
    buf_fini(&call.op.bytes);
    call = (struct backend_call){.op = {.row = row, .fence = SLICE("r0")}};
    cr_assert_eq(backend_rig_run(&rig.backends, 0, &call, ops->swap), RC_ABSENT);
    cr_assert_eq(backend_rig_run(&rig.backends, 0, &call, ops->mark), RC_ABSENT);
    expect_stored(&rig, "\"refresh_token\" : \"r0\", \"is_active\" : false }");
    put(&rig, &row);
    backend_rig_expect(&rig.backends, 1, SLICE("u"), &row);
    expect_stored(&rig, "\"created_by\" : \"python\"");
    cr_assert_eq(
        mongo_server_ask_number(server_of(&rig), "n", "{\"count\": \"user_audible_accounts\"}"), 1,
        "it is the same document");
    cr_assert_eq(backend_rig_remove(&rig.backends, 0, &call, SLICE("u")), RC_OK);
    buf_fini(&call.op.bytes);
    cr_assert_eq(
        mongo_server_ask_number(server_of(&rig), "n", "{\"count\": \"user_audible_accounts\"}"), 0,
        "what is disconnected is deleted");
    rig_close(&rig);
}

/* What is absent, null or of another type says nothing; it's no failure. */
Test(accounts_mongo, fields_of_other_types) {
    NEEDS_MONGO_SERVER();
    static const struct {
        const char *fields;
        struct accounts_row row;
    } cases[] = {
        {"\"x\": 1", {.access_token = SLICE("")}},
        {"\"is_active\": null, \"expires_at\": null, \"synced_at\": null, \"sync_status\": null, "
         "\"refresh_token\": null, \"access_token\": null, \"last_sync_error\": null",
         {.access_token = SLICE("")}},
        {"\"is_active\": true, \"refresh_token\": \"\", \"last_sync_error\": \"\", "
         "\"access_token\": \"plain\", \"sync_status\": \"failed\"",
         {.access_token = SLICE("plain"),
          .refresh_token = SLICE(""),
          .last_sync_error = SLICE(""),
          .sync_status = ACCOUNT_SYNC_FAILED}},
        {"\"expires_at\": \"2026-01-01\", \"connected_at\": 17, \"synced_at\": " DATE(
             1764013545999) ", \"sync_status\": \"running\", \"audible_user_id\": 5",
         {.access_token = SLICE(""), .synced_ms = 1764013545999}},
        {"\"expires_at\": " DATE(-1000) ", \"connected_at\": " DATE(253402300799999) "",
         {.access_token = SLICE(""), .expires_ms = -1000, .connected_ms = 253402300799999}},
    };
    struct rig rig;
    rig_open(&rig);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char document[1024];
        char user_id[16];
        snprintf(user_id, sizeof user_id, "u%zu", i);
        snprintf(document, sizeof document, "{\"user_id\": \"%s\", %s}", user_id, cases[i].fields);
        insert(&rig, document);
        struct accounts_row row = cases[i].row;
        row.user_id = slice_str(user_id);
        backend_rig_expect(&rig.backends, i % 2, row.user_id, &row);
    }
    rig_close(&rig);
}

/* A field that isn't there is fenced as one that is null. */
Test(accounts_mongo, a_missing_refresh_token_is_a_fence_too) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    rig_open(&rig);
    const struct accounts_backend_ops *ops = rig.backends.backends[0]->ops;
    struct backend_call call = {.op = {.row = make_row("u", "r1")}};
    insert(&rig, "{\"user_id\": \"u\", \"access_token\": \"a\"}");
    cr_assert_eq(backend_rig_run(&rig.backends, 0, &call, ops->swap), RC_OK);
    cr_assert_eq(backend_rig_run(&rig.backends, 1, &call, ops->swap), RC_CONFLICT);
    insert(&rig, "{\"user_id\": \"v\", \"access_token\": \"a\", \"refresh_token\": 17}");
    call.op.row = make_row("v", "r1");
    cr_assert_eq(backend_rig_run(&rig.backends, 0, &call, ops->swap), RC_CONFLICT,
                 "what isn't understood isn't replaced");
    rig_close(&rig);
}

/* -- the index -- */

static void make_index(struct rig *rig, const char *index) {
    mongo_server_ask(server_of(rig),
                     "{\"createIndexes\": \"user_audible_accounts\", \"indexes\": [%s]}", index);
}

static int64_t index_count(struct rig *rig) {
    const char *all =
        mongo_server_ask(server_of(rig), "{\"listIndexes\": \"user_audible_accounts\"}");
    int64_t count = 0;
    for (const char *at = all; (at = strstr(at, "\"key\"")) != NULL; at++) {
        count++;
    }
    return count;
}

Test(accounts_mongo, the_index_is_made_where_it_is_missing) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    rig_open(&rig);
    backend_rig_expect(&rig.backends, 0, SLICE("u"), NULL);
    const char *all =
        mongo_server_ask(server_of(&rig), "{\"listIndexes\": \"user_audible_accounts\"}");
    cr_assert_not_null(strstr(all, "\"key\" : { \"user_id\" : 1 }, \"name\" : \"user_id_1\", "
                                   "\"unique\" : true"),
                       "%s", all);
    rig_close(&rig);
}

Test(accounts_mongo, the_platforms_own_index_will_do) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct accounts_row row = make_row("u", "r");
    rig_open(&rig);
    make_index(&rig, "{\"key\": {\"user_id\": -1}, \"name\": \"mine\", \"unique\": true}");
    put(&rig, &row);
    backend_rig_expect(&rig.backends, 1, SLICE("u"), &row);
    cr_assert_eq(index_count(&rig), 2, "with that of _id");
    rig_close(&rig);
}

static void expect_refused(struct rig *rig, const char *sentence) {
    struct accounts_row row = make_row("u", "r");
    struct backend_call call = {.op.row = row};
    cr_assert_eq(backend_rig_run(&rig->backends, 0, &call, rig->backends.backends[0]->ops->put),
                 RC_STORAGE_UNAVAILABLE);
    cr_assert_not_null(call.op.cause);
    cr_assert_not_null(strstr(call.op.cause, sentence), "%s", call.op.cause);
}

/* Otherwise two documents could be of one user, and each process would see another. */
Test(accounts_mongo, without_a_unique_index_nothing_is_done) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    rig_open(&rig);
    make_index(&rig, "{\"key\": {\"user_id\": 1}, \"name\": \"user_id_1\"}");
    expect_refused(&rig, "an index that isn't unique");
    mongo_server_ask(server_of(&rig),
                     "{\"dropIndexes\": \"user_audible_accounts\", \"index\": \"user_id_1\"}");
    insert(&rig, "{\"user_id\": \"twice\"}");
    insert(&rig, "{\"user_id\": \"twice\"}");
    expect_refused(&rig, "is a user there twice?");
    cr_assert_eq(mongo_server_ask_number(server_of(&rig), "n",
                                         "{\"delete\": \"user_audible_accounts\", \"deletes\": "
                                         "[{\"q\": {\"user_id\": \"twice\"}, \"limit\": 0}]}"),
                 2);
    struct accounts_row row = make_row("u", "r");
    put(&rig, &row);
    cr_assert_eq(index_count(&rig), 2, "it is made as soon as it can be");
    rig_close(&rig);
}

Test(accounts_mongo, a_server_that_comes_back_empty_gets_the_index_again) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct accounts_row row = make_row("u", "r");
    rig_open(&rig);
    put(&rig, &row);
    mongo_server_restart_empty(rig.place.server);
    cr_assert(backend_rig_ping_within(&rig.backends, 0, 2000));
    backend_rig_expect(&rig.backends, 0, SLICE("u"), NULL);
    cr_assert_eq(index_count(&rig), 2, "with that of _id");
    put(&rig, &row);
    backend_rig_expect(&rig.backends, 0, SLICE("u"), &row);
    rig_close(&rig);
}

/* -- a connection that breaks in the middle of an answer -- */

/* What came of each operation when its answer was cut. Before it all is well. */
static void cut_each(struct rig *rig, enum rc read, enum rc write) {
    const struct accounts_backend_ops *ops = rig->backends.backends[0]->ops;
    const struct {
        backend_rig_fn *fn;
        enum rc rc;
        const char *name;
    } cases[] = {{ops->get, read, "get"},    {ops->next, read, "next"},
                 {ops->put, write, "put"},   {ops->ping, write, "ping"},
                 {ops->swap, write, "swap"}, {ops->mark, write, "mark"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct accounts_row row = make_row("u", "r");
        struct backend_call call = {.op = {.row = row, .fence = SLICE("r")}};
        put(rig, &row);
        buf_init(&call.op.bytes, BACKEND_RIG_ROW_BYTES);
        if (cases[i].fn == ops->next) {
            call.op.row.user_id = SLICE("a");
        }
        mongo_server_cut(rig->place.server);
        enum rc rc = backend_rig_run(&rig->backends, 0, &call, cases[i].fn);
        cr_assert_eq(rc, cases[i].rc, "%s: %s", cases[i].name, rc_name(rc));
        buf_fini(&call.op.bytes);
        cr_assert(backend_rig_ping_within(&rig->backends, 0, 2000));
        backend_rig_expect(&rig->backends, 0, SLICE("u"), &row);
    }
}

/* Reads are tried again; of a write nothing can be said. */
Test(accounts_mongo, an_answer_of_a_lone_server_that_breaks_off) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    rig_open(&rig);
    cut_each(&rig, RC_OK, RC_STORAGE_UNAVAILABLE);
    rig_close(&rig);
}

/* Writes as well: this server would carry out the second one as if it were another, which shows in
 * nothing here. */
Test(accounts_mongo, an_answer_of_a_replica_set_that_breaks_off) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    rig_open_at(&rig, &account_place_mongo_primary);
    cut_each(&rig, RC_OK, RC_OK);
    rig_close(&rig);
}
