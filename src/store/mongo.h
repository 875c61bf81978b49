// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/work.h"

/* One MongoDB database: a pool of libmongoc's clients and a SLOW lane whose threads use them. What
 * is stored in it stands in accounts_mongo, leases_mongo and users_mongo, which share it. Nothing
 * of libmongoc runs before mongo_open; that is called after any fork. */
struct mongo;

enum { MONGO_PROBLEM_BYTES = 256 };

/* mongodb://[user:password@]host[:port][,...]/database[?options], user and password
 * percent-encoded. RC_USAGE with a sentence in `problem` that holds nothing of the URL but an
 * option's name. Asks no server and resolves no name. */
enum rc mongo_url_check(struct slice url, char problem[MONGO_PROBLEM_BYTES]);
/* Whether passwords and what is stored pass in the clear on the way to another machine. */
bool mongo_url_is_exposed(struct slice url);

/* Asks no server: the first operation does. RC_USAGE as above, RC_IO where the system has no
 * threads. */
enum rc mongo_open(struct loop *loop, struct slice url, struct mongo **out,
                   char problem[MONGO_PROBLEM_BYTES]);
/* No operation is open. `closed` (may be NULL) on a later turn; in the worst case after some
 * seconds, as what libmongoc has to end, it ends on a thread of the lane. */
void mongo_close(struct mongo *mongo, void (*closed)(void *owner), void *owner);

struct loop *mongo_loop(const struct mongo *mongo);

/* For the modules named above: `run` on a thread of the lane, then `done` on the loop. */
void mongo_submit(struct mongo *mongo, struct work_op *op, void (*run)(struct work_op *op),
                  void (*done)(struct work_op *op, enum rc rc));

/* Of the libmongoc that runs ("1.23.1"). */
const char *mongo_library_version(void);
