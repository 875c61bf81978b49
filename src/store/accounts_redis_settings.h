// SPDX-License-Identifier: MIT
#pragma once

#include "base/log.h"
#include "io/loop.h"
#include "io/redis.h"

/* Asks a Redis that holds accounts, each time that a connection to it is ready, whether it keeps
 * what it is given, and says in the log what it finds, once a change: account_store_settings
 * (info), account_store_not_durable and account_store_may_evict (warning). Managed servers hide
 * their settings: account_store_settings_hidden (info). Part of accounts_redis. */
struct accounts_redis_settings;

struct accounts_redis_settings *accounts_redis_settings_new(struct loop *loop, struct redis *redis,
                                                            struct log *log);
/* `closed` on a later turn, once no question is open. */
void accounts_redis_settings_close(struct accounts_redis_settings *settings,
                                   void (*closed)(void *owner), void *owner);
