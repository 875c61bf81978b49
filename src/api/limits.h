// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"
#include "base/buf.h"

/* The contract's rate limits, in this process's memory. */

/* Counts the call against its route's limits, once its caller is known. RC_OK or RC_RATE_LIMITED,
 * then with call->limited. */
enum rc limits_check(struct call *call);

/* Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset. */
void limits_write_headers(const struct limiter_answer *limited, struct buf *headers);
