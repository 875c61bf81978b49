// SPDX-License-Identifier: MIT
#include "http/deadline.h"

static struct http_deadline *first_of(struct list *waiting) {
    return list_is_empty(waiting) ? NULL : LIST_ENTRY(waiting->next, struct http_deadline, node);
}

static void on_timer(struct loop_timer *timer);

/* The timer is only ever moved forward here; one that fires too early just looks again, which is
 * cheaper than moving it with every request. */
static void wake_at(struct http_deadlines *deadlines, int64_t due_ms, int64_t now_ms) {
    if (due_ms < deadlines->timer_due_ms) {
        deadlines->timer_due_ms = due_ms;
        loop_timer_start(&deadlines->timer, due_ms - now_ms, 0, on_timer);
    }
}

static void on_timer(struct loop_timer *timer) {
    struct http_deadlines *deadlines = LIST_ENTRY(timer, struct http_deadlines, timer);
    int64_t now_ms = loop_timer_now_ms(deadlines->loop);
    deadlines->timer_due_ms = INT64_MAX;
    for (int kind = 0; kind < HTTP_DEADLINE_KINDS; kind++) {
        struct http_deadline *first = first_of(&deadlines->waiting[kind]);
        while (first != NULL && first->due_ms <= now_ms) {
            http_deadline_clear(first);
            deadlines->expired(first, (enum http_deadline_kind)kind);
            first = first_of(&deadlines->waiting[kind]);
        }
    }
    for (int kind = 0; kind < HTTP_DEADLINE_KINDS; kind++) {
        struct http_deadline *first = first_of(&deadlines->waiting[kind]);
        if (first != NULL) {
            wake_at(deadlines, first->due_ms, now_ms);
        }
    }
}

void http_deadlines_init(struct http_deadlines *deadlines, struct loop *loop) {
    deadlines->loop = loop;
    deadlines->timer_due_ms = INT64_MAX;
    loop_timer_init(loop, &deadlines->timer);
    loop_timer_unref(&deadlines->timer);
    for (int kind = 0; kind < HTTP_DEADLINE_KINDS; kind++) {
        list_init(&deadlines->waiting[kind]);
    }
}

void http_deadlines_close(struct http_deadlines *deadlines,
                          void (*closed)(struct loop_timer *timer)) {
    loop_timer_close(&deadlines->timer, closed);
}

void http_deadline_set(struct http_deadlines *deadlines, struct http_deadline *deadline,
                       enum http_deadline_kind kind) {
    int64_t now_ms = loop_timer_now_ms(deadlines->loop);
    http_deadline_clear(deadline);
    deadline->kind = kind;
    deadline->due_ms = now_ms + deadlines->after_ms[kind];
    list_append(&deadlines->waiting[kind], &deadline->node);
    wake_at(deadlines, deadline->due_ms, now_ms);
}

void http_deadline_clear(struct http_deadline *deadline) {
    if (deadline->kind != HTTP_DEADLINE_NONE) {
        list_remove(&deadline->node);
        deadline->kind = HTTP_DEADLINE_NONE;
    }
}
