// SPDX-License-Identifier: MIT
#pragma once

#include "auth/users.h"
#include "store/mongo.h"

/* The users of the accounts' MongoDB as auth/users asks for them (LATCHKEY_USERS=mongodb). `mongo`
 * is borrowed, and closed after it. Never NULL. */
struct users_source *users_source_new(struct mongo *mongo);
