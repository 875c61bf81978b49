// SPDX-License-Identifier: MIT
#include "store/mongo.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/mongo_driver.h"

struct mongo {
    struct loop *loop;
    struct work_lane *lane;
    mongoc_client_pool_t *pool;
    char *database;
    struct mongo_reach reach;
    struct work_op ending;
    void (*closed)(void *owner);
    void *closed_owner;
};

struct mongo_reach *mongo_reach(struct mongo *mongo) {
    return &mongo->reach;
}

mongoc_client_pool_t *mongo_pool(const struct mongo *mongo) {
    return mongo->pool;
}

const char *mongo_database(const struct mongo *mongo) {
    return mongo->database;
}

struct loop *mongo_loop(const struct mongo *mongo) {
    return mongo->loop;
}

const char *mongo_library_version(void) {
    return mongoc_get_version();
}

static void free_mongo(struct mongo *mongo) {
    mem_free(mongo->database);
    mem_free(mongo);
}

/* On a thread of libmongoc's: a server that restarts may do so while nobody asks it. */
static void on_heartbeat_failed(const mongoc_apm_server_heartbeat_failed_t *event) {
    struct mongo_reach *reach = mongoc_apm_server_heartbeat_failed_get_context(event);
    atomic_fetch_add(&reach->breaks, 1);
}

static void watch(struct mongo *mongo) {
    mongoc_apm_callbacks_t *callbacks = mongoc_apm_callbacks_new();
    mongoc_apm_set_server_heartbeat_failed_cb(callbacks, on_heartbeat_failed);
    mongoc_client_pool_set_apm_callbacks(mongo->pool, callbacks, &mongo->reach);
    mongoc_apm_callbacks_destroy(callbacks);
}

static enum rc start(struct mongo *mongo, const mongoc_uri_t *uri,
                     char problem[MONGO_PROBLEM_BYTES]) {
    mongo_start_driver();
    mongo->pool = mongoc_client_pool_new(uri);
    if (mongo->pool == NULL) {
        snprintf(problem, MONGO_PROBLEM_BYTES, "has options that don't go together");
        return RC_USAGE;
    }
    mongoc_client_pool_set_error_api(mongo->pool, MONGOC_ERROR_API_VERSION_2);
    watch(mongo);
    mongo->lane =
        work_lane_new(mongo->loop, &(const struct work_lane_opts){.threads = LIMIT_MONGO_THREADS,
                                                                  .queue_max = LIMIT_MONGO_QUEUE,
                                                                  .batch_max = 1,
                                                                  .name = "mongodb",
                                                                  .lane = METRICS_LANE_MONGO});
    if (mongo->lane == NULL) {
        mongoc_client_pool_destroy(mongo->pool);
        snprintf(problem, MONGO_PROBLEM_BYTES, "no thread can be started");
        return RC_IO;
    }
    return RC_OK;
}

enum rc mongo_open(struct loop *loop, struct slice url, struct mongo **out,
                   char problem[MONGO_PROBLEM_BYTES]) {
    mongoc_uri_t *uri = mongo_url_parse(url, problem);
    if (uri == NULL) {
        return RC_USAGE;
    }
    struct mongo *mongo = mem_calloc(1, sizeof *mongo);
    mongo->loop = loop;
    mongo->database = mem_strdup(slice_str(mongoc_uri_get_database(uri)));
    enum rc rc = start(mongo, uri, problem);
    mongoc_uri_destroy(uri);
    if (rc == RC_OK) {
        *out = mongo;
    } else {
        free_mongo(mongo);
    }
    return rc;
}

void mongo_submit(struct mongo *mongo, struct work_op *op, void (*run)(struct work_op *op),
                  void (*done)(struct work_op *op, enum rc rc)) {
    work_lane_submit(mongo->lane, op, run, done);
}

static void on_lane_closed(void *owner) {
    struct mongo *mongo = owner;
    void (*closed)(void *closed_owner) = mongo->closed;
    void *closed_owner = mongo->closed_owner;
    free_mongo(mongo);
    if (closed != NULL) {
        closed(closed_owner);
    }
}

/* It tells the servers, and waits for the threads that watch them. */
static void run_end(struct work_op *op) {
    mongoc_client_pool_destroy(LIST_ENTRY(op, struct mongo, ending)->pool);
}

static void on_ended(struct work_op *op, enum rc rc) {
    struct mongo *mongo = LIST_ENTRY(op, struct mongo, ending);
    if (rc != RC_OK) {
        run_end(op); /* nobody else was there to do it */
    }
    work_lane_close(mongo->lane, on_lane_closed, mongo);
}

void mongo_close(struct mongo *mongo, void (*closed)(void *owner), void *owner) {
    mongo->closed = closed;
    mongo->closed_owner = owner;
    work_lane_submit(mongo->lane, &mongo->ending, run_end, on_ended);
}
