// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "base/limits.h"
#include "kit/backend_rig.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"
#include "store/mongo_driver.h"

enum { SLACK_MS = 1500, SELECTION_MS = 2000, CROWD = 100, NS_PER_MS = 1000000 };

struct rig {
    struct account_place place;
    struct backend_rig backends;
};

static void rig_open(struct rig *rig) {
    account_place_make(&rig->place, &account_place_mongo);
    backend_rig_open(&rig->backends, &rig->place, 0);
}

static void rig_close(struct rig *rig) {
    backend_rig_close(&rig->backends);
    account_place_drop(&rig->place);
    CHECK_LEAKS();
}

/* Each holds a thread while the server says nothing: what has waited for long fails at once. */
Test(mongo_session, what_has_waited_for_too_long_does_not_begin) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    struct mongo_session session;
    rig_open(&rig);
    struct mongo *mongo = rig.backends.stores[0].mongo;
    struct work_op op = {.submitted_ns =
                             clock_ns() - (LIMIT_MONGO_WAIT_MS + 1) * (int64_t)NS_PER_MS};
    cr_assert(!mongo_session_begin(&session, mongo, &op));
    cr_assert_str_eq(session.cause, "it waited for too long behind others");
    op.submitted_ns = clock_ns() - (LIMIT_MONGO_WAIT_MS / 2) * (int64_t)NS_PER_MS;
    cr_assert(mongo_session_begin(&session, mongo, &op));
    mongo_session_end(&session);
    rig_close(&rig);
}

/* How long a crowd of reads takes; all must come to the same. */
static int64_t ask_many(struct rig *rig, enum rc wanted) {
    static struct backend_call calls[CROWD];
    int64_t start_ns = clock_ns();
    for (size_t i = 0; i < CROWD; i++) {
        calls[i] = (struct backend_call){.op.row.user_id = SLICE("u")};
        buf_init(&calls[i].op.bytes, BACKEND_RIG_ROW_BYTES);
        backend_rig_start(&rig->backends, 0, &calls[i], rig->backends.backends[0]->ops->get);
    }
    backend_rig_wait(&rig->backends);
    for (size_t i = 0; i < CROWD; i++) {
        cr_assert_eq(calls[i].op.rc, wanted, "%s", rc_name(calls[i].op.rc));
        buf_fini(&calls[i].op.bytes);
    }
    return (clock_ns() - start_ns) / NS_PER_MS;
}

/* Without a server each would hold its thread for two seconds. */
Test(mongo_session, while_no_server_is_in_reach_one_at_a_time_looks, .timeout = 60) {
    NEEDS_MONGO_SERVER();
    struct rig rig;
    rig_open(&rig);
    ask_many(&rig, RC_ABSENT);
    mongo_server_kill(rig.place.server);
    int looked = 0;
    for (int i = 0; looked < 3; i++) { /* once all of the first, then one now and then */
        int64_t took_ms = ask_many(&rig, RC_STORAGE_UNAVAILABLE);
        cr_assert_leq(took_ms, SELECTION_MS + SLACK_MS, "%d: %d ms", i, (int)took_ms);
        looked += took_ms >= SELECTION_MS / 2 ? 1 : 0;
    }
    mongo_server_restart(rig.place.server);
    cr_assert(backend_rig_ping_within(&rig.backends, 0, 2000));
    ask_many(&rig, RC_ABSENT);
    rig_close(&rig);
}
