// SPDX-License-Identifier: MIT
#include "store/users_mongo.h"

#include <criterion/criterion.h>

#include "kit/leaks.h"
#include "kit/mongo_server.h"

struct rig {
    struct clock clock;
    struct loop loop;
    struct mongo_server server;
    struct mongo *mongo;
};

static void rig_open(struct rig *rig) {
    char problem[MONGO_PROBLEM_BYTES];
    *rig = (struct rig){.mongo = NULL};
    mongo_server_start(&rig->server);
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    cr_assert_eq(mongo_open(&rig->loop, slice_str(rig->server.url), &rig->mongo, problem), RC_OK,
                 "%s", problem);
}

static void rig_close(struct rig *rig) {
    mongo_close(rig->mongo, NULL, NULL);
    loop_run(&rig->loop);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK);
    mongo_server_free(&rig->server);
    CHECK_LEAKS();
}

struct question {
    struct users_mongo_op op;
    int calls;
};

static void on_found(struct users_mongo_op *op) {
    LIST_ENTRY(op, struct question, op)->calls++;
}

static enum rc find(struct rig *rig, struct question *question, const char *user_id) {
    question->calls = 0;
    users_mongo_find(rig->mongo, &question->op, slice_str(user_id), on_found);
    cr_assert_eq(question->calls, 0, "completed before the call returned");
    loop_run(&rig->loop);
    cr_assert_eq(question->calls, 1);
    return question->op.rc;
}

static void insert(struct rig *rig, const char *document) {
    cr_assert_eq(mongo_server_ask_number(&rig->server, "n",
                                         "{\"insert\": \"users\", \"documents\": [%s]}", document),
                 1, "%s", document);
}

#define ID "65a1b2c3d4e5f60718293a4b"
#define STRING_ID "65a1b2c3d4e5f60718293a4d"
#define OTHER_ID "65a1b2c3d4e5f60718293a4c"

Test(users_mongo, by_object_id_or_string) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct question question;
    rig_open(&rig);
    cr_assert_eq(find(&rig, &question, ID), RC_ABSENT, "there isn't even a collection");
    insert(&rig, "{\"_id\": {\"$oid\": \"" ID "\"}, \"role\": \"of an ObjectId\"}");
    cr_assert_eq(find(&rig, &question, ID), RC_OK);
    cr_assert(slice_eq(question.op.record.roles[0], SLICE("of an ObjectId")));
    insert(&rig, "{\"_id\": \"" STRING_ID "\", \"role\": \"of a string\"}");
    cr_assert_eq(find(&rig, &question, STRING_ID), RC_OK);
    cr_assert(slice_eq(question.op.record.roles[0], SLICE("of a string")));
    insert(&rig, "{\"_id\": \"auth0|abc\", \"role\": \"user\"}");
    cr_assert_eq(find(&rig, &question, "auth0|abc"), RC_OK);
    cr_assert_eq(find(&rig, &question, "auth0|ab"), RC_ABSENT);
    cr_assert_eq(find(&rig, &question, "Auth0|abc"), RC_ABSENT);
    cr_assert_eq(find(&rig, &question, OTHER_ID), RC_ABSENT);
    cr_assert_eq(find(&rig, &question, ""), RC_ABSENT);
    cr_assert_eq(find(&rig, &question, "{\"$gt\":\"\"}"), RC_ABSENT);
    cr_assert_eq(find(&rig, &question, "65a1b2c3d4e5f60718293a4"), RC_ABSENT, "23 digits");
    cr_assert_eq(find(&rig, &question, "65a1b2c3d4e5f60718293a4g"), RC_ABSENT, "no digit");
    rig_close(&rig);
}

/* What stands in a document, and what is made of it: roles with commas between. */
Test(users_mongo, what_a_document_says) {
    static const struct {
        const char *fields;
        const char *roles;
        const char *tier; /* NULL: none */
        bool is_active;
    } cases[] = {
        {"\"role\": \"admin\", \"subscription_tier\": \"premium\", \"is_active\": true", "admin",
         "premium", true},
        {"\"role\": \"user\", \"subscription_tier\": \"free\", \"is_active\": false", "user",
         "free", false},
        {"\"email\": \"someone@example.com\"", "", NULL, true},
        {"\"role\": null, \"subscription_tier\": null, \"is_active\": null", "", NULL, true},
        {"\"role\": 7, \"subscription_tier\": [\"premium\"], \"is_active\": 0", "", NULL, true},
        {"\"roles\": [\"user\", \"support\"]", "user,support", NULL, true},
        {"\"role\": \"user\", \"roles\": [\"a\", 5, null, \"b\"]", "user,a,b", NULL, true},
        {"\"roles\": \"admin\"", "", NULL, true},
        {"\"roles\": [{\"x\": \"admin\"}]", "", NULL, true},
        {"\"role\": \"\", \"subscription_tier\": \"\"", "", "", true},
        {"\"roles\": [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
         "\"13\",\"14\",\"15\",\"16\",\"17\"]",
         "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", NULL, true},
    };
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct question question;
    rig_open(&rig);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        char roles[256] = "";
        snprintf(text, sizeof text, "{\"_id\": \"user-%zu\", %s}", i, cases[i].fields);
        insert(&rig, text);
        snprintf(text, sizeof text, "user-%zu", i);
        cr_assert_eq(find(&rig, &question, text), RC_OK, "%zu", i);
        const struct users_mongo_record *record = &question.op.record;
        for (size_t k = 0; k < record->role_count; k++) {
            size_t used = strlen(roles);
            snprintf(roles + used, sizeof roles - used, "%s%.*s", k > 0 ? "," : "",
                     SLICE_ARGS(record->roles[k]));
        }
        cr_assert_str_eq(roles, cases[i].roles, "%zu", i);
        cr_assert_eq(slice_is_null(record->subscription_tier), cases[i].tier == NULL, "%zu", i);
        cr_assert(slice_eq(record->subscription_tier, slice_str(cases[i].tier)), "%zu", i);
        cr_assert_eq(record->is_active, cases[i].is_active, "%zu", i);
    }
    rig_close(&rig);
}

/* A tier that has no room is none. */
Test(users_mongo, texts_beyond_their_buffer) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct question question;
    char text[USERS_MONGO_BYTES + 1];
    char document[USERS_MONGO_BYTES + 128];
    rig_open(&rig);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    snprintf(document, sizeof document,
             "{\"_id\": \"u\", \"subscription_tier\": \"%s\", \"role\": \"admin\"}", text);
    insert(&rig, document);
    cr_assert_eq(find(&rig, &question, "u"), RC_OK);
    cr_assert(slice_is_null(question.op.record.subscription_tier));
    cr_assert_eq(question.op.record.role_count, 1u);
    cr_assert(slice_eq(question.op.record.roles[0], SLICE("admin")));
    rig_close(&rig);
}

/* Not to be told apart from "no such user" would let nobody in, or throw everyone out. */
Test(users_mongo, a_server_that_is_stopped_is_no_absent_user) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct question question;
    rig_open(&rig);
    insert(&rig, "{\"_id\": \"u\", \"role\": \"user\"}");
    cr_assert_eq(find(&rig, &question, "u"), RC_OK);
    mongo_server_kill(&rig.server);
    cr_assert_eq(find(&rig, &question, "u"), RC_STORAGE_UNAVAILABLE);
    cr_assert_not_null(question.op.cause);
    mongo_server_restart(&rig.server);
    while (find(&rig, &question, "u") == RC_STORAGE_UNAVAILABLE) {
    }
    cr_assert_eq(question.op.rc, RC_OK);
    rig_close(&rig);
}
