// SPDX-License-Identifier: MIT
#include "store/accounts_watch.h"

#include "base/limits.h"

static void maybe_closed(struct accounts_watch *watch) {
    if (watch->closed != NULL && !watch->is_asking && !watch->timer_is_open) {
        watch->closed(watch);
    }
}

/* A store that can't answer has not changed for all we know; it will say so when it can. */
static void on_version(struct accounts_backend_op *op) {
    struct accounts_watch *watch = LIST_ENTRY(op, struct accounts_watch, op);
    watch->is_asking = false;
    if (op->rc == RC_CONFLICT) {
        accounts_cache_clear(watch->cache);
    }
    maybe_closed(watch);
}

static void on_timer(struct loop_timer *timer) {
    struct accounts_watch *watch = LIST_ENTRY(timer, struct accounts_watch, timer);
    if (watch->is_asking) {
        return;
    }
    watch->is_asking = true;
    watch->op = (struct accounts_backend_op){.backend = watch->backend, .done = on_version};
    watch->backend->ops->version(watch->backend, &watch->op);
}

void accounts_watch_start(struct accounts_watch *watch) {
    loop_timer_init(watch->loop, &watch->timer);
    loop_timer_unref(&watch->timer);
    loop_timer_start(&watch->timer, LIMIT_STORE_WATCH_MS, LIMIT_STORE_WATCH_MS, on_timer);
    watch->timer_is_open = true;
}

static void on_timer_closed(struct loop_timer *timer) {
    struct accounts_watch *watch = LIST_ENTRY(timer, struct accounts_watch, timer);
    watch->timer_is_open = false;
    maybe_closed(watch);
}

void accounts_watch_close(struct accounts_watch *watch,
                          void (*closed)(struct accounts_watch *watch)) {
    watch->closed = closed;
    loop_timer_close(&watch->timer, on_timer_closed);
}
