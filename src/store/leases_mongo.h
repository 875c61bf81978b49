// SPDX-License-Identifier: MIT
#pragma once

#include "store/leases.h"
#include "store/mongo.h"

/* Leases in the accounts' MongoDB, in the collection `latchkey_leases`: where no Redis is. Ends are
 * compared with the clock of the process that asks, so that the clocks of all must agree within
 * seconds: one that is ahead takes over early what others still hold, and then the fence of the
 * write decides. `mongo` is borrowed, and closed after the leases. Never NULL. */
struct leases_backend *leases_mongo_new(struct mongo *mongo);
