// SPDX-License-Identifier: MIT
#include "kit/account_place.h"

#include <stdio.h>

void account_place_make(struct account_place *place, const struct account_place_kind *kind) {
    *place = (struct account_place){.kind = kind, .folder = scratch_new()};
    kind->make(place);
}

void account_place_drop(struct account_place *place) {
    if (place->kind->drop != NULL) {
        place->kind->drop(place);
    }
    scratch_free(&place->folder);
}

static void make_sqlite(struct account_place *place) {
    snprintf(place->url, sizeof place->url, "sqlite:%s/accounts.db", place->folder.path);
}

const struct account_place_kind account_place_sqlite = {.name = "sqlite", .make = make_sqlite};
