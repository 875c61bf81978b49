// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kit/scratch.h"

/* A place for accounts to be stored in, new and empty: a SQLite file, or a server of a kind with a
 * folder of its own. What is tested of every kind of store is written against this. */
struct account_place;

struct account_place_kind {
    const char *name;
    /* what each puts into place->url, and all that the server needs, in a new folder */
    void (*make)(struct account_place *place);
    void (*drop)(struct account_place *place); /* the folder is removed after it */
    /* A server's; NULL where there is none. */
    void (*kill)(struct account_place *place);   /* -9 */
    void (*start)(struct account_place *place);  /* again, with what it has kept */
    void (*freeze)(struct account_place *place); /* it keeps its connections, and says nothing */
    void (*thaw)(struct account_place *place);
};

struct account_place {
    const struct account_place_kind *kind;
    struct scratch folder;
    char url[256]; /* as LATCHKEY_ACCOUNT_STORE has it */
    void *server;  /* the kind's */
};

extern const struct account_place_kind account_place_sqlite;
extern const struct account_place_kind account_place_redis;
/* NEEDS_MONGO_SERVER() (kit/mongo_server.h) first */
extern const struct account_place_kind account_place_mongo;
extern const struct account_place_kind account_place_mongo_primary;

void account_place_make(struct account_place *place, const struct account_place_kind *kind);
void account_place_drop(struct account_place *place);
