// SPDX-License-Identifier: MIT
#pragma once

#include "store/accounts_backend.h"
#include "store/mongo.h"

/* Accounts as the platform's own service keeps them, so that both can run side by side: a document
 * a user in `user_audible_accounts`, `user_id` unique. Fields that are not ours are kept. A
 * document with `is_active` false is none: nothing but a new link changes it, and makes it active
 * again.
 *
 * The unique index is made where it is missing, before the first write; a collection that compares
 * other than by bytes is refused. */

/* `mongo` is borrowed, and closed after it. Never NULL. */
struct accounts_backend *accounts_mongo_new(struct mongo *mongo);
