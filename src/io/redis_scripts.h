// SPDX-License-Identifier: MIT
#pragma once

/* The `index` of every script that we have (io/redis.h): modules of several folders share one
 * connection, so their numbers are given out in one place. Below REDIS_SCRIPTS_MAX. */
enum redis_script_index {
    REDIS_SCRIPT_STATES_PUT,
    REDIS_SCRIPT_STATES_TAKE,
    REDIS_SCRIPT_STATES_PING,
    REDIS_SCRIPT_LEASES_ACQUIRE,
    REDIS_SCRIPT_LEASES_RENEW,
    REDIS_SCRIPT_LEASES_REST,
    REDIS_SCRIPT_LEASES_RELEASE,
    REDIS_SCRIPT_ACCOUNTS_PUT,
    REDIS_SCRIPT_ACCOUNTS_CHANGE,
    REDIS_SCRIPT_ACCOUNTS_REMOVE,
    REDIS_SCRIPT_ACCOUNTS_NEXT,
    REDIS_SCRIPT_LIMITER_TAKE,
};
