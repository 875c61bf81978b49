// SPDX-License-Identifier: MIT
#include "io/stream_tls.h"

#include <assert.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"

enum {
    /* Handshakes compute: a few ms each with P-256, more with RSA. What they may take of a turn
       while other connections wait; the one that is begun is ended, whatever it takes. */
    TURN_NS = 10 * 1000 * 1000,
    WOKEN_MAX = 8, /* a turn */
};

static void count(const struct stream_tls *shared, enum metric metric, int64_t n) {
    if (shared->loop->metrics != NULL) {
        metrics_add(shared->loop->metrics, metric, n);
    }
}

/* --------------------------------------------------------------------------------- handshakes */

static struct stream *from_waiting(struct list *node) {
    return LIST_ENTRY(node, struct stream, shaking);
}

static bool is_shaking(const struct stream *stream) {
    return list_is_linked(&stream->shaking);
}

static void on_timer(struct loop_timer *timer);

/* The timer is not moved when the oldest is done: it looks again, when it fires for nothing. */
static void watch(struct stream_tls *shared) {
    if (!shared->timer_runs && !list_is_empty(&shared->waiting)) {
        int64_t due_ms = from_waiting(shared->waiting.next)->shaking_until_ms;
        int64_t left_ms = due_ms - loop_timer_now_ms(shared->loop);
        shared->timer_runs = true;
        loop_timer_start(&shared->timer, left_ms > 0 ? left_ms : 0, 0, on_timer);
    }
}

static void stop_waiting(struct stream *stream) {
    list_remove(&stream->shaking);
    stream->tls->handshakes--;
    count(stream->tls, METRIC_TLS_HANDSHAKES, -1);
}

/* The owner closes it, in here or later. */
static void end(struct stream *stream, enum rc rc) {
    stream_read_stop(stream);
    stream->events->ended(stream, rc);
}

static void on_timer(struct loop_timer *timer) {
    struct stream_tls *shared = LIST_ENTRY(timer, struct stream_tls, timer);
    shared->timer_runs = false;
    while (!list_is_empty(&shared->waiting)) {
        struct stream *oldest = from_waiting(shared->waiting.next);
        if (oldest->shaking_until_ms > loop_timer_now_ms(shared->loop)) {
            break;
        }
        stop_waiting(oldest);
        count(shared, METRIC_TLS_TIMEOUT, 1);
        end(oldest, RC_UNREACHABLE);
    }
    watch(shared);
}

bool stream_tls_may_accept(struct stream_tls *shared) {
    if (shared->handshakes < shared->handshakes_max) {
        return true;
    }
    count(shared, METRIC_TLS_REFUSED, 1);
    return false;
}

void stream_tls_accepted(struct stream *stream, struct stream_tls *shared) {
    stream->tls = shared;
    stream->shaking_until_ms = loop_timer_now_ms(shared->loop) + shared->handshake_timeout_ms;
    list_append(&shared->waiting, &stream->shaking);
    shared->handshakes++;
    count(shared, METRIC_TLS_HANDSHAKES, 1);
    watch(shared);
}

/* ------------------------------------------------------------------------------------ reading */

/* Time of this turn that handshakes have taken; a new turn has all of it. */
static int64_t *spent_of_turn(struct stream_tls *shared) {
    int64_t turn_ns = loop_turn_ns(shared->loop);
    if (turn_ns != shared->turn_ns) {
        shared->turn_ns = turn_ns;
        shared->spent_ns = 0;
    }
    return &shared->spent_ns;
}

/* What is written in plain comes before the records, and never reaches what of them is still to be
 * read: it is no longer than they are, but for what was held of an earlier piece. */
uv_buf_t stream_tls_buffer(struct stream *stream) {
    if (is_shaking(stream) && *spent_of_turn(stream->tls) >= TURN_NS) {
        return uv_buf_init(NULL, 0);
    }
    return uv_buf_init(stream->loop->read_buffer + TLS_HELD_BYTES_MAX,
                       LIMIT_READ_BUFFER_BYTES - TLS_HELD_BYTES_MAX);
}

static void on_wake(struct loop_task *task) {
    struct stream_tls *shared = LIST_ENTRY(task, struct stream_tls, wake);
    for (int i = 0; i < WOKEN_MAX && !list_is_empty(&shared->held); i++) {
        struct stream *stream = LIST_ENTRY(shared->held.next, struct stream, held);
        stream_tls_unhold(stream);
        stream_read_start(stream);
    }
    if (!list_is_empty(&shared->held)) {
        loop_later(shared->loop, task, on_wake);
    }
}

void stream_tls_hold(struct stream *stream) {
    struct stream_tls *shared = stream->tls;
    stream_read_stop(stream);
    list_append(&shared->held, &stream->held);
    if (!list_is_linked(&shared->wake.node)) {
        loop_later(shared->loop, &shared->wake, on_wake);
    }
}

void stream_tls_unhold(struct stream *stream) {
    if (list_is_linked(&stream->held)) {
        list_remove(&stream->held);
    }
}

static void on_send(void *owner, struct slice records) {
    stream_write_records(owner, records);
}

/* A connection that says nothing has no session, which is 37 KiB. */
static bool begin(struct stream *stream) {
    if (stream->session == NULL) {
        stream->session = tls_session_new(stream->tls->tls, on_send, stream);
    }
    return stream->session != NULL;
}

static enum tls_state shake(struct stream *stream, struct slice bytes, size_t *n) {
    struct stream_tls *shared = stream->tls;
    int64_t *spent_ns = spent_of_turn(shared);
    int64_t before_ns = clock_ns();
    enum tls_state state = TLS_BROKEN;
    if (begin(stream)) {
        state = tls_session_receive(stream->session, bytes, stream->loop->read_buffer,
                                    LIMIT_READ_BUFFER_BYTES, n);
    }
    *spent_ns += clock_ns() - before_ns;
    if (state != TLS_SHAKING) {
        stop_waiting(stream);
        count(shared, state == TLS_OPEN ? METRIC_TLS_OK : METRIC_TLS_FAILED, 1);
    }
    return state;
}

void stream_tls_received(struct stream *stream, struct slice bytes) {
    size_t n = 0;
    char *plain = stream->loop->read_buffer;
    enum tls_state state = is_shaking(stream) ? shake(stream, bytes, &n)
                                              : tls_session_receive(stream->session, bytes, plain,
                                                                    LIMIT_READ_BUFFER_BYTES, &n);
    if (n > 0) {
        stream->events->read(stream, plain, n);
    }
    if (!stream->is_closing && (state == TLS_ENDED || state == TLS_BROKEN)) {
        end(stream, state == TLS_ENDED ? RC_OK : RC_UNREACHABLE);
    }
}

/* ------------------------------------------------------------------------------------ writing */

bool stream_tls_write(struct stream *stream, const struct slice *parts, size_t count_of_parts) {
    unsigned open = stream->writes_open;
    for (size_t i = 0; i < count_of_parts; i++) {
        if (stream->session == NULL || !tls_session_write(stream->session, parts[i])) {
            stream_fail_later(stream);
            return false;
        }
    }
    return stream->writes_open == open;
}

void stream_tls_end(struct stream *stream) {
    if (stream->session != NULL) {
        tls_session_end(stream->session);
    }
}

void stream_tls_drop(struct stream *stream) {
    if (is_shaking(stream)) {
        stop_waiting(stream);
        count(stream->tls, METRIC_TLS_FAILED, 1);
    }
    stream_tls_unhold(stream);
    tls_session_free(stream->session);
    stream->session = NULL;
}

/* ---------------------------------------------------------------------------------- the whole */

void stream_tls_init(struct stream_tls *shared, struct loop *loop, struct tls *tls) {
    *shared = (struct stream_tls){.loop = loop, .tls = tls};
    list_init(&shared->waiting);
    list_init(&shared->held);
    loop_timer_init(loop, &shared->timer);
    loop_timer_unref(&shared->timer);
}

void stream_tls_replace(struct stream_tls *shared, struct tls *tls) {
    tls_release(shared->is_closed ? tls : shared->tls);
    shared->tls = shared->is_closed ? NULL : tls;
}

void stream_tls_close(struct stream_tls *shared, void (*closed)(struct loop_timer *timer)) {
    assert(list_is_empty(&shared->waiting) && list_is_empty(&shared->held));
    loop_task_drop(&shared->wake);
    tls_release(shared->tls);
    shared->tls = NULL;
    shared->is_closed = true;
    loop_timer_close(&shared->timer, closed);
}
