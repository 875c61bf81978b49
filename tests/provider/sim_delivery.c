// SPDX-License-Identifier: MIT
#include "provider/sim_delivery.h"

#include "base/mem.h"

/* No answer waits longer than this, whatever a fault says. */
enum { HOLD_MAX_MS = 120 * 1000, TRICKLE_MS = 200, HEAD_BYTES = 1024 };

struct held {
    struct list node;
    struct sim_delivery *delivery;
    struct http_request *request;
    struct sim_answer answer;
    struct loop_timer timer;
    enum simprovider_fault_kind kind;
    struct buf raw; /* TRICKLE: the whole answer */
    size_t sent;
};

void sim_delivery_init(struct sim_delivery *delivery, struct loop *loop, void *owner) {
    delivery->loop = loop;
    delivery->owner = owner;
    list_init(&delivery->held);
}

static void answer_fini(struct sim_answer *answer) {
    buf_fini(&answer->body);
    buf_fini(&answer->headers);
    buf_fini(&answer->csp);
}

static void reply(struct http_request *request, const struct sim_answer *answer) {
    http_reply(request,
               &(struct http_reply){
                   .status = answer->status,
                   .content_type = slice_str(answer->content_type),
                   .body = answer->content_type != NULL ? buf_slice(&answer->body) : SLICE_NULL,
                   .headers = buf_slice(&answer->headers),
                   .csp = buf_slice(&answer->csp),
               });
}

/* The answer as its bytes: for faults that break it. */
static void render(const struct sim_answer *answer, struct buf *out) {
    buf_init(out, answer->headers.len + answer->body.len + HEAD_BYTES);
    BUF_LIT(out, "HTTP/1.1 ");
    buf_append_i64(out, answer->status);
    buf_append_char(out, ' ');
    buf_append(out, slice_str(http_reason(answer->status)));
    BUF_LIT(out, "\r\nContent-Type: application/json\r\nContent-Length: ");
    buf_append_u64(out, answer->body.len);
    BUF_LIT(out, "\r\n");
    buf_append(out, buf_slice(&answer->headers));
    BUF_LIT(out, "Connection: close\r\n\r\n");
    buf_append(out, buf_slice(&answer->body));
}

/* ----------------------------------------------------------------------- answers that wait */

static void held_closed(struct loop_timer *timer) {
    struct held *held = LIST_ENTRY(timer, struct held, timer);
    struct sim_delivery *delivery = held->delivery;
    answer_fini(&held->answer);
    buf_fini(&held->raw);
    mem_free(held);
    delivery->open--;
    if (delivery->open == 0) {
        delivery->idle(delivery->owner);
    }
}

/* After its request has been replied to. */
static void held_end(struct held *held, enum simprovider_counter outcome) {
    struct sim_delivery *delivery = held->delivery;
    list_remove(&held->node);
    loop_timer_close(&held->timer, held_closed);
    delivery->report(delivery->owner, outcome);
}

static void held_answer(struct held *held) {
    reply(held->request, &held->answer);
    held_end(held, SIMPROVIDER_ANSWERED);
}

static void held_gone(struct http_request *request) {
    struct held *held = request->owner;
    reply(request, &held->answer); /* is dropped */
    held_end(held, SIMPROVIDER_ABANDONED);
}

static void held_due(struct loop_timer *timer) {
    held_answer(LIST_ENTRY(timer, struct held, timer));
}

static void held_trickle(struct loop_timer *timer) {
    struct held *held = LIST_ENTRY(timer, struct held, timer);
    struct slice rest = slice_from(buf_slice(&held->raw), held->sent++);
    bool last = rest.len <= 1;
    http_reply_raw(held->request, slice_head(rest, 1), last ? HTTP_RAW_FIN : HTTP_RAW_MORE);
    if (last) {
        held_end(held, SIMPROVIDER_ANSWERED);
    }
}

static void hold(struct sim_delivery *delivery, struct http_request *request,
                 struct sim_answer *answer, const struct sim_fault *fault) {
    struct held *held = mem_calloc(1, sizeof *held);
    int64_t ms = fault->number > 0 ? fault->number : TRICKLE_MS;
    *held = (struct held){
        .delivery = delivery, .request = request, .answer = *answer, .kind = fault->kind};
    request->owner = held;
    request->gone = held_gone;
    list_append(&delivery->held, &held->node);
    delivery->open++;
    loop_timer_init(delivery->loop, &held->timer);
    if (fault->kind == SIMPROVIDER_TRICKLE) {
        render(answer, &held->raw);
        loop_timer_start(&held->timer, ms, ms, held_trickle);
        return;
    }
    bool is_timed = fault->kind == SIMPROVIDER_DELAY && ms < HOLD_MAX_MS;
    loop_timer_start(&held->timer, is_timed ? ms : HOLD_MAX_MS, 0, held_due);
}

void sim_delivery_release(struct sim_delivery *delivery, bool all) {
    struct list *next;
    for (struct list *node = delivery->held.next; node != &delivery->held; node = next) {
        struct held *held = LIST_ENTRY(node, struct held, node);
        next = node->next;
        if (all) {
            http_reply_raw(held->request, SLICE_NULL, HTTP_RAW_RESET);
            held_end(held, SIMPROVIDER_ABANDONED);
        } else if (held->kind == SIMPROVIDER_HOLD) {
            held_answer(held);
        }
    }
}

/* ------------------------------------------------------------------------ answers at once */

static void break_off(struct http_request *request, const struct sim_answer *answer,
                      enum simprovider_fault_kind kind) {
    struct buf raw;
    switch (kind) {
    case SIMPROVIDER_DROP:
        http_reply_raw(request, SLICE_NULL, HTTP_RAW_RESET);
        break;
    case SIMPROVIDER_NOISE:
        http_reply_raw(request, SLICE("\x16\x03\x01\x02 this is no HTTP at all\r\n\r\n"),
                       HTTP_RAW_FIN);
        break;
    default: /* TRUNCATE: half of the body is missing */
        render(answer, &raw);
        http_reply_raw(request, slice_head(buf_slice(&raw), raw.len - (answer->body.len + 1) / 2),
                       HTTP_RAW_FIN);
        buf_fini(&raw);
    }
}

void sim_delivery_send(struct sim_delivery *delivery, struct http_request *request,
                       struct sim_answer *answer, struct sim_fault *fault) {
    enum simprovider_fault_kind kind = fault != NULL ? fault->kind : SIMPROVIDER_STATUS;
    switch (kind) {
    case SIMPROVIDER_DELAY:
    case SIMPROVIDER_HOLD:
    case SIMPROVIDER_TRICKLE:
        hold(delivery, request, answer, fault);
        sim_fault_fini(fault);
        return;
    case SIMPROVIDER_DROP:
    case SIMPROVIDER_NOISE:
    case SIMPROVIDER_TRUNCATE:
        break_off(request, answer, kind);
        break;
    default: /* within HTTP: spoilt already, or sound */
        reply(request, answer);
    }
    answer_fini(answer);
    if (fault != NULL) {
        sim_fault_fini(fault);
    }
    delivery->report(delivery->owner, SIMPROVIDER_ANSWERED);
}
