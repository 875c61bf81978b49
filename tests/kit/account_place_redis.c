// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>

#include "kit/account_place.h"
#include "kit/redis_server.h"

static void make_redis(struct account_place *place) {
    struct redis_server *server = calloc(1, sizeof *server);
    redis_server_start(server, (struct redis_server_opts){.appends = true});
    snprintf(place->url, sizeof place->url, "%s", redis_server_url(server));
    place->server = server;
}

static void drop_redis(struct account_place *place) {
    redis_server_free(place->server);
    free(place->server);
}

static void kill_redis(struct account_place *place) {
    redis_server_kill(place->server);
}

static void start_redis(struct account_place *place) {
    redis_server_again(place->server);
}

static void freeze_redis(struct account_place *place) {
    redis_server_freeze(place->server);
}

static void thaw_redis(struct account_place *place) {
    redis_server_thaw(place->server);
}

const struct account_place_kind account_place_redis = {
    .name = "redis",
    .make = make_redis,
    .drop = drop_redis,
    .kill = kill_redis,
    .start = start_redis,
    .freeze = freeze_redis,
    .thaw = thaw_redis,
};
