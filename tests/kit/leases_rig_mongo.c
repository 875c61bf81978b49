// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdlib.h>

#include "kit/leases_rig.h"
#include "kit/mongo_server.h"
#include "store/leases_mongo.h"

struct place {
    struct mongo_server server;
    struct mongo *mongo;
    struct loop *loop;
};

static struct leases_backend *open_mongo(struct leases_rig *rig) {
    char problem[MONGO_PROBLEM_BYTES];
    struct place *place = calloc(1, sizeof *place);
    rig->server = place;
    place->loop = &rig->loop;
    mongo_server_start(&place->server);
    cr_assert_eq(mongo_open(&rig->loop, slice_str(place->server.url), &place->mongo, problem),
                 RC_OK, "%s", problem);
    return leases_mongo_new(place->mongo);
}

static void on_closed(void *owner) {
    loop_stop(((struct place *)owner)->loop);
}

static void close_mongo(struct leases_rig *rig) {
    struct place *place = rig->server;
    mongo_close(place->mongo, on_closed, place);
    loop_run(&rig->loop);
    mongo_server_free(&place->server);
    free(place);
}

static int64_t left_in_mongo(struct leases_rig *rig, const char *user_id) {
    struct place *place = rig->server;
    int64_t end_ms = mongo_server_ask_number(
        &place->server, "cursor.firstBatch.0.ends_at",
        "{\"find\": \"latchkey_leases\", \"filter\": {\"_id\": \"%s\"}}", user_id);
    int64_t left_ms = end_ms - clock_wall_ms(&rig->clock);
    return end_ms < 0 || left_ms <= 0 ? -1 : left_ms;
}

static void end_in_mongo(struct leases_rig *rig, const char *user_id, int64_t ms) {
    struct place *place = rig->server;
    /* judged by the clock of a turn, which may have begun before this */
    int64_t end_ms = loop_wall_ms(&rig->loop) + ms;
    cr_assert_eq(
        mongo_server_ask_number(
            &place->server, "n",
            "{\"update\": \"latchkey_leases\", \"updates\": [{\"q\": {\"_id\": \"%s\"}, "
            "\"u\": {\"$set\": {\"ends_at\": {\"$date\": {\"$numberLong\": \"%lld\"}}}}}]}",
            user_id, (long long)end_ms),
        1);
}

const struct leases_rig_kind leases_rig_mongo = {
    .name = "mongodb",
    .open = open_mongo,
    .close = close_mongo,
    .left_ms = left_in_mongo,
    .end_in = end_in_mongo,
};
