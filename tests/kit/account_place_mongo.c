// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>

#include "kit/account_place.h"
#include "kit/mongo_server.h"

static void make(struct account_place *place, void (*start)(struct mongo_server *server)) {
    struct mongo_server *server = calloc(1, sizeof *server);
    start(server);
    snprintf(place->url, sizeof place->url, "%s", server->url);
    place->server = server;
}

static void make_mongo(struct account_place *place) {
    make(place, mongo_server_start);
}

static void make_primary(struct account_place *place) {
    make(place, mongo_server_start_primary);
}

static void drop_mongo(struct account_place *place) {
    mongo_server_free(place->server);
    free(place->server);
}

static void kill_mongo(struct account_place *place) {
    mongo_server_kill(place->server);
}

static void start_mongo(struct account_place *place) {
    mongo_server_restart(place->server);
}

static void freeze_mongo(struct account_place *place) {
    mongo_server_freeze(place->server);
}

static void thaw_mongo(struct account_place *place) {
    mongo_server_thaw(place->server);
}

const struct account_place_kind account_place_mongo = {
    .name = "mongodb",
    .make = make_mongo,
    .drop = drop_mongo,
    .kill = kill_mongo,
    .start = start_mongo,
    .freeze = freeze_mongo,
    .thaw = thaw_mongo,
};

const struct account_place_kind account_place_mongo_primary = {
    .name = "mongodb, a replica set",
    .make = make_primary,
    .drop = drop_mongo,
    .kill = kill_mongo,
    .start = start_mongo,
    .freeze = freeze_mongo,
    .thaw = thaw_mongo,
};
