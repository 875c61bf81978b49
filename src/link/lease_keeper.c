// SPDX-License-Identifier: MIT
#include "link/lease_keeper.h"

enum { RETRY_MS = 500 }; /* after a call that failed; to give back: twice as long each time */

static void next(struct lease_keeper *keeper);
static void on_timer(struct loop_timer *timer);

static int64_t now_ms(const struct lease_keeper *keeper) {
    return loop_now_ms(keeper->loop);
}

void lease_keeper_open(struct lease_keeper *keeper, struct leases *leases, struct loop *loop,
                       struct slice user_id) {
    keeper->leases = leases;
    keeper->loop = loop;
    keeper->user_id = user_id;
    loop_timer_init(loop, &keeper->timer);
}

static void on_timer_closed(struct loop_timer *timer) {
    struct lease_keeper *keeper = LIST_ENTRY(timer, struct lease_keeper, timer);
    keeper->closed(keeper);
}

void lease_keeper_close(struct lease_keeper *keeper, void (*closed)(struct lease_keeper *keeper)) {
    keeper->closed = closed;
    loop_timer_close(&keeper->timer, on_timer_closed);
}

bool lease_keeper_is_sure(const struct lease_keeper *keeper) {
    return keeper->state == LEASE_KEEPER_HELD &&
           now_ms(keeper) + LEASE_RENEW_MS < keeper->sure_until_ms;
}

bool lease_keeper_is_idle(const struct lease_keeper *keeper) {
    return keeper->state == LEASE_KEEPER_NONE && !keeper->is_busy && !keeper->owes_taken;
}

/* -- one call at a time -- */

static void ask(struct lease_keeper *keeper) {
    keeper->is_busy = true;
    keeper->asked_ms = now_ms(keeper);
    loop_timer_stop(&keeper->timer);
}

static void hold(struct lease_keeper *keeper) {
    keeper->state = LEASE_KEEPER_HELD;
    keeper->sure_until_ms = keeper->asked_ms + LEASE_TTL_MS;
}

/* A call that was not answered may be carried out all the same, now or later. */
static void leave(struct lease_keeper *keeper) {
    keeper->state = LEASE_KEEPER_LEFT;
    keeper->pause_ms = RETRY_MS;
    keeper->gone_ms = now_ms(keeper) + LEASE_TTL_MS;
}

static void tell_taken(struct lease_keeper *keeper, enum rc rc) {
    bool owes = keeper->owes_taken;
    keeper->owes_taken = false;
    keeper->is_wanted = keeper->is_wanted && rc == RC_OK;
    if (owes) {
        keeper->taken(keeper, rc);
    }
}

static void on_acquired(struct lease_op *op) {
    struct lease_keeper *keeper = LIST_ENTRY(op, struct lease_keeper, op);
    keeper->is_busy = false;
    keeper->left_ms = op->left_ms;
    keeper->note = op->note;
    if (op->rc == RC_OK) {
        hold(keeper);
    } else if (op->rc == RC_STORAGE_UNAVAILABLE) {
        leave(keeper);
    }
    tell_taken(keeper, op->rc);
    next(keeper);
}

static void lose(struct lease_keeper *keeper) {
    bool was_wanted = keeper->is_wanted && !keeper->owes_taken;
    keeper->is_wanted = keeper->owes_taken;
    if (was_wanted) {
        keeper->lost(keeper);
    }
}

static void on_renewed(struct lease_op *op) {
    struct lease_keeper *keeper = LIST_ENTRY(op, struct lease_keeper, op);
    keeper->is_busy = false;
    if (op->rc == RC_OK) {
        hold(keeper);
    } else if (op->rc == RC_ABSENT) {
        keeper->state = LEASE_KEEPER_NONE;
        lose(keeper);
    } else if (now_ms(keeper) >= keeper->sure_until_ms) {
        leave(keeper);
        lose(keeper);
    }
    next(keeper);
}

static void renew(struct lease_keeper *keeper) {
    ask(keeper);
    leases_renew(keeper->leases, &keeper->op, on_renewed);
}

static void on_given_back(struct lease_op *op) {
    struct lease_keeper *keeper = LIST_ENTRY(op, struct lease_keeper, op);
    keeper->is_busy = false;
    if (op->rc == RC_OK) {
        keeper->state = LEASE_KEEPER_NONE;
    } else {
        if (keeper->state == LEASE_KEEPER_HELD) {
            leave(keeper);
        } else {
            keeper->pause_ms *= 2;
        }
        tell_taken(keeper, op->rc);
    }
    next(keeper);
}

static void give_back(struct lease_keeper *keeper) {
    int64_t rest_ms = keeper->rest_until_ms - now_ms(keeper);
    ask(keeper);
    if (rest_ms > 0) {
        leases_rest(keeper->leases, &keeper->op, rest_ms, keeper->rest_note, on_given_back);
    } else {
        leases_release(keeper->leases, &keeper->op, on_given_back);
    }
}

/* -- what is next, while no call is under way -- */

static bool is_given_up(const struct lease_keeper *keeper) {
    return keeper->state == LEASE_KEEPER_LEFT && !keeper->owes_taken &&
           (keeper->is_closing || now_ms(keeper) >= keeper->gone_ms);
}

static void next(struct lease_keeper *keeper) {
    if (keeper->is_busy) {
        return;
    }
    if (is_given_up(keeper)) {
        keeper->state = LEASE_KEEPER_NONE;
    }
    if (keeper->owes_taken && keeper->state == LEASE_KEEPER_NONE) {
        ask(keeper);
        leases_acquire(keeper->leases, &keeper->op, keeper->user_id, on_acquired);
    } else if (keeper->owes_taken || (keeper->state == LEASE_KEEPER_HELD && !keeper->is_wanted)) {
        give_back(keeper);
    } else if (keeper->state == LEASE_KEEPER_NONE) {
        loop_timer_stop(&keeper->timer);
        keeper->idle(keeper);
    } else {
        int64_t pause_ms = keeper->state == LEASE_KEEPER_LEFT ? keeper->pause_ms
                           : keeper->op.rc == RC_OK           ? LEASE_RENEW_MS
                                                              : RETRY_MS;
        loop_timer_start(&keeper->timer, pause_ms, 0, on_timer);
    }
}

static void on_timer(struct loop_timer *timer) {
    struct lease_keeper *keeper = LIST_ENTRY(timer, struct lease_keeper, timer);
    if (is_given_up(keeper)) {
        next(keeper);
    } else if (keeper->state == LEASE_KEEPER_LEFT) {
        give_back(keeper);
    } else {
        renew(keeper);
    }
}

void lease_keeper_take(struct lease_keeper *keeper, struct slice request_id) {
    request_id = slice_head(request_id, sizeof keeper->request_id_at);
    memcpy(keeper->request_id_at, request_id.len > 0 ? request_id.at : "", request_id.len);
    keeper->op.request_id = slice_make(keeper->request_id_at, request_id.len);
    keeper->is_wanted = true;
    keeper->owes_taken = true;
    keeper->rest_until_ms = 0;
    next(keeper);
}

void lease_keeper_end(struct lease_keeper *keeper, int64_t rest_ms, int64_t note) {
    if (keeper->is_wanted) {
        keeper->is_wanted = false;
        keeper->owes_taken = false;
        keeper->rest_until_ms = rest_ms > 0 ? now_ms(keeper) + rest_ms : 0;
        keeper->rest_note = note;
        if (keeper->state != LEASE_KEEPER_NONE) {
            next(keeper);
        }
    }
}

void lease_keeper_hurry(struct lease_keeper *keeper) {
    keeper->is_closing = true;
    if (is_given_up(keeper) && !keeper->is_busy) {
        keeper->state = LEASE_KEEPER_NONE;
        loop_timer_stop(&keeper->timer);
    }
}
