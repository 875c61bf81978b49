// SPDX-License-Identifier: MIT
#include "link/waiters.h"

enum { TELL_MAX = 64 }; /* a turn */

void waiters_init(struct waiters *waiters, struct loop *loop, const struct record *record,
                  void (*told)(struct waiters *waiters)) {
    *waiters = (struct waiters){.loop = loop, .record = record, .told = told};
    list_init(&waiters->waiting);
    list_init(&waiters->decided);
    list_init(&waiters->canceled);
}

int64_t waiters_earlier(int64_t a_ms, int64_t b_ms) {
    if (a_ms == 0 || b_ms == 0) {
        return a_ms + b_ms;
    }
    return a_ms < b_ms ? a_ms : b_ms;
}

bool waiters_add(struct waiters *waiters, struct fresh_token *op) {
    list_append(&waiters->waiting, &op->node);
    waiters->first_deadline_ms = waiters_earlier(waiters->first_deadline_ms, op->deadline_ms);
    return waiters->first_deadline_ms == op->deadline_ms;
}

const struct fresh_token *waiters_first(const struct waiters *waiters) {
    return list_is_empty(&waiters->waiting)
               ? NULL
               : LIST_ENTRY(waiters->waiting.next, struct fresh_token, node);
}

static void move(struct list *to, struct fresh_token *op, enum rc rc) {
    op->rc = rc;
    list_remove(&op->node);
    list_append(to, &op->node);
}

void waiters_cancel(struct waiters *waiters, struct fresh_token *op) {
    move(&waiters->canceled, op, RC_CANCELED);
    waiters_tell(waiters);
}

/* -- what is decided -- */

static bool is_refused(const struct waiters *waiters, const struct fresh_token *op) {
    return !slice_is_null(op->refused) &&
           slice_eq_ct(op->refused, secret_slice(&waiters->record->access_token));
}

bool waiters_serve(struct waiters *waiters) {
    struct list *node = waiters->waiting.next;
    while (node != &waiters->waiting) {
        struct fresh_token *op = LIST_ENTRY(node, struct fresh_token, node);
        node = node->next;
        if (!is_refused(waiters, op)) {
            move(&waiters->decided, op, RC_OK);
        }
    }
    return list_is_empty(&waiters->waiting);
}

void waiters_decide_all(struct waiters *waiters, enum rc rc) {
    while (!list_is_empty(&waiters->waiting)) {
        move(&waiters->decided, LIST_ENTRY(waiters->waiting.next, struct fresh_token, node), rc);
    }
}

void waiters_expire(struct waiters *waiters, enum rc rc) {
    int64_t now_ms = loop_now_ms(waiters->loop);
    struct list *node = waiters->waiting.next;
    waiters->first_deadline_ms = 0;
    while (node != &waiters->waiting) {
        struct fresh_token *op = LIST_ENTRY(node, struct fresh_token, node);
        node = node->next;
        if (op->deadline_ms <= now_ms) {
            move(&waiters->decided, op, rc);
        } else {
            waiters->first_deadline_ms =
                waiters_earlier(waiters->first_deadline_ms, op->deadline_ms);
        }
    }
    if (!list_is_empty(&waiters->decided)) {
        waiters_tell(waiters);
    }
}

/* -- and told -- */

static void tell(struct waiters *waiters, struct list *node) {
    const struct record *record = waiters->record;
    struct fresh_token *op = LIST_ENTRY(node, struct fresh_token, node);
    bool good = op->rc == RC_OK;
    list_remove(node);
    op->access_token = good ? secret_slice(&record->access_token) : SLICE_NULL;
    op->sealed_refresh = good ? slice_str(record->fence) : SLICE_NULL;
    op->audible_user_id = good ? slice_str(record->audible_user_id) : SLICE_NULL;
    op->done(op);
}

static void on_tell(struct loop_task *task) {
    struct waiters *waiters = LIST_ENTRY(task, struct waiters, task);
    int told = 0;
    while (!list_is_empty(&waiters->canceled)) {
        tell(waiters, waiters->canceled.next);
    }
    while (!list_is_empty(&waiters->decided) && told++ < TELL_MAX) {
        tell(waiters, waiters->decided.next);
    }
    if (list_is_empty(&waiters->decided) && list_is_empty(&waiters->canceled)) {
        waiters->told(waiters);
    } else {
        waiters_tell(waiters);
    }
}

void waiters_tell(struct waiters *waiters) {
    if (!list_is_linked(&waiters->task.node)) {
        loop_later(waiters->loop, &waiters->task, on_tell);
    }
}

bool waiters_are_told(const struct waiters *waiters) {
    return !list_is_linked(&waiters->task.node);
}
