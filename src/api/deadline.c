// SPDX-License-Identifier: MIT
#include "api/deadline.h"

#include "api/reply.h"
#include "api/routes.h"

enum {
    CHECK_MS = 500,
    GRACE_MS = 500, /* a wait that ends by itself at the deadline gives the better answer */
};

/* The last thing done with the call: its flow, hurried, may end it. */
static void expire(struct call *call) {
    deadline_forget(call);
    call->time = CALL_EXPIRING;
    if (call->route->fail != NULL) {
        call->route->fail(call, RC_STORAGE_UNAVAILABLE);
    } else {
        reply_fail(call, RC_STORAGE_UNAVAILABLE);
    }
    if (call->gone != NULL) {
        call->gone(call);
    }
}

static void on_check(struct loop_timer *timer) {
    struct api *api = LIST_ENTRY(timer, struct api, deadline_timer);
    int64_t now_ms = loop_now_ms(api->opts.loop);
    struct list *node = api->waiting.next;
    while (node != &api->waiting) {
        struct call *call = LIST_ENTRY(node, struct call, node);
        node = node->next;
        if (now_ms >= call->deadline_ms + GRACE_MS) {
            expire(call);
        }
    }
}

void deadline_open(struct api *api) {
    list_init(&api->waiting);
    loop_timer_init(api->opts.loop, &api->deadline_timer);
    loop_timer_unref(&api->deadline_timer);
    loop_timer_start(&api->deadline_timer, CHECK_MS, CHECK_MS, on_check);
}

void deadline_close(struct api *api, void (*closed)(struct loop_timer *timer)) {
    loop_timer_close(&api->deadline_timer, closed);
}

void deadline_watch(struct call *call) {
    list_append(&call->api->waiting, &call->node);
}

void deadline_forget(struct call *call) {
    if (list_is_linked(&call->node)) {
        list_remove(&call->node);
    }
}
