// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"

/* What the TLS connections of some listeners share: who they are to clients (which a reload
 * replaces), and the bounds of handshakes: how many are under way, how long each may take, and how
 * much of a turn of the loop all of them may take together. The owner of such a connection sees
 * plain bytes only; one whose handshake fails, or takes too long, is `ended` to it.
 *
 * Its owner's, who closes it after the listeners and their connections. */
struct stream_tls {
    struct loop *loop;
    struct tls *tls; /* of the next connections; sessions keep the one that they began with */
    int64_t handshake_timeout_ms;
    size_t handshakes_max;
    size_t handshakes;   /* accepted, and not yet open */
    struct list waiting; /* those, the oldest first */
    struct loop_timer timer;
    bool timer_runs;
    bool is_closed;
    struct list held;      /* connections whose bytes wait for a turn with time left */
    struct loop_task wake; /* reads them */
    int64_t turn_ns;       /* whose time was spent */
    int64_t spent_ns;
};

/* Takes over the caller's use of `tls`. */
void stream_tls_init(struct stream_tls *shared, struct loop *loop, struct tls *tls);
/* From now on new connections get this one. Takes it over. */
void stream_tls_replace(struct stream_tls *shared, struct tls *tls);
/* No connection is left. `closed` runs on a later turn. */
void stream_tls_close(struct stream_tls *shared, void (*closed)(struct loop_timer *timer));

/* The rest is for io/stream. */

/* False: too many handshakes are under way. */
bool stream_tls_may_accept(struct stream_tls *shared);
void stream_tls_accepted(struct stream *stream, struct stream_tls *shared);
/* Where to read to; none, where the bytes have to wait in the kernel for another turn. */
uv_buf_t stream_tls_buffer(struct stream *stream);
void stream_tls_hold(struct stream *stream);
void stream_tls_unhold(struct stream *stream);
void stream_tls_received(struct stream *stream, struct slice bytes);
bool stream_tls_write(struct stream *stream, const struct slice *parts, size_t count);
/* Says that nothing follows. */
void stream_tls_end(struct stream *stream);
void stream_tls_drop(struct stream *stream);
