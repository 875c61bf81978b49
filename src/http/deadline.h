// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/list.h"
#include "io/loop.h"

/* The deadlines of a server's connections. Those of one kind have one constant duration, so each
 * kind is a first-in-first-out list: setting and clearing one is O(1), and one timer serves all. */
enum http_deadline_kind {
    HTTP_DEADLINE_NONE,
    HTTP_DEADLINE_HEAD,   /* the request isn't complete */
    HTTP_DEADLINE_IDLE,   /* between requests */
    HTTP_DEADLINE_WRITE,  /* the answer isn't taken */
    HTTP_DEADLINE_LINGER, /* the client doesn't close */
    HTTP_DEADLINE_GRACE,  /* idle while the server drains */
    HTTP_DEADLINE_KINDS
};

/* Embedded in its owner; all zero is none. */
struct http_deadline {
    struct list node;
    int64_t due_ms;
    enum http_deadline_kind kind;
};

struct http_deadlines {
    struct loop *loop;
    struct loop_timer timer;
    int64_t timer_due_ms; /* INT64_MAX: it doesn't run */
    struct list waiting[HTTP_DEADLINE_KINDS];
    int64_t after_ms[HTTP_DEADLINE_KINDS];
    /* It is cleared before; `kind` is what it was. */
    void (*expired)(struct http_deadline *deadline, enum http_deadline_kind kind);
};

/* The caller fills `after_ms` and `expired`. */
void http_deadlines_init(struct http_deadlines *deadlines, struct loop *loop);
void http_deadlines_close(struct http_deadlines *deadlines,
                          void (*closed)(struct loop_timer *timer));

/* Moves it to this kind, counted from now. One that is of this kind already starts anew. */
void http_deadline_set(struct http_deadlines *deadlines, struct http_deadline *deadline,
                       enum http_deadline_kind kind);
void http_deadline_clear(struct http_deadline *deadline);
