// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rc.h"
#include "link/fresh_token.h"
#include "link/record.h"

/* Those who wait for one user's access token. For each something is decided once: a token or why
 * there is none; then it is told, some of them a turn, so that a thousand hold nobody else up. */
struct waiters {
    struct loop *loop;
    const struct record *record; /* whose token they get */
    void (*told)(struct waiters *waiters);
    struct list waiting;       /* fresh_token, of whom nothing is decided */
    struct list decided;       /* those whose `rc` is set, until they are told */
    struct list canceled;      /* the same, by their owner */
    int64_t first_deadline_ms; /* of those who wait; 0: none */
    struct loop_task task;
};

/* `told` runs whenever waiters_tell has nobody left to tell; it may free the waiters. */
void waiters_init(struct waiters *waiters, struct loop *loop, const struct record *record,
                  void (*told)(struct waiters *waiters));

/* True: its deadline is the first now. */
bool waiters_add(struct waiters *waiters, struct fresh_token *op);
void waiters_cancel(struct waiters *waiters, struct fresh_token *op);
/* NULL: nobody. */
const struct fresh_token *waiters_first(const struct waiters *waiters);

/* Gives the record's token to all whom it helps: not to those for whom the provider refused it.
 * True: nobody waits any more. */
bool waiters_serve(struct waiters *waiters);
void waiters_decide_all(struct waiters *waiters, enum rc rc);
/* Those whose deadline has passed. */
void waiters_expire(struct waiters *waiters, enum rc rc);

/* On later turns; told already or not, `told` follows. */
void waiters_tell(struct waiters *waiters);
bool waiters_are_told(const struct waiters *waiters); /* nothing of waiters_tell is under way */

/* The earlier of two moments of which 0 is never. */
int64_t waiters_earlier(int64_t a_ms, int64_t b_ms);
