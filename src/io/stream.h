// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/list.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"

/* Accepted connections over TCP or a unix socket, in plain or over TLS: their owner can't tell. */
struct stream;
struct stream_tls;
struct tls_session;

enum { STREAM_ADDRESS_BYTES = 48 };

/* What its owner hears of a stream. All on the loop, never inside a call of this header but
 * stream_listener_close, which accepts what has already connected. */
struct stream_events {
    /* Bytes, in the loop's one shared buffer: gone when this returns. */
    void (*read)(struct stream *stream, char *bytes, size_t n);
    /* The peer's FIN (RC_OK) or a broken connection (RC_UNREACHABLE); nothing is read after it. */
    void (*ended)(struct stream *stream, enum rc rc);
    /* Everything written so far has been taken by the kernel (only after a stream_write that
       returned false), or failed (RC_UNREACHABLE). Not after stream_close. */
    void (*drained)(struct stream *stream, enum rc rc);
    /* After stream_close: the memory may go. */
    void (*closed)(struct stream *stream);
};

/* Embedded in its owner. */
struct stream {
    union {
        uv_handle_t handle;
        uv_stream_t uv;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    const struct stream_events *events;
    struct loop *loop;
    unsigned writes_open; /* that the kernel has not taken as a whole */
    bool write_failed;
    bool is_reading;
    bool is_closing;
    bool is_shutdown;            /* FIN is sent, or follows what is written */
    struct stream_tls *tls;      /* NULL: plain */
    struct tls_session *session; /* NULL: plain, or nothing has come yet */
    struct list shaking;         /* in tls->waiting until the handshake is over */
    struct list held;            /* in tls->held */
    int64_t shaking_until_ms;
    char peer[STREAM_ADDRESS_BYTES]; /* NUL-terminated */
};

void stream_read_start(struct stream *stream);
void stream_read_stop(struct stream *stream);

/* Hands bytes to the kernel at once. True: all taken, and the memory is the caller's again. False:
 * some are left, were copied, and `drained` follows; or the connection is broken (`drained` with
 * RC_UNREACHABLE follows, on a later turn). `drained` comes once for all writes that are open. */
bool stream_write(struct stream *stream, struct slice bytes);
/* The same with the parts one after the other, in one system call. */
enum { STREAM_PARTS_MAX = 2 };
bool stream_write_parts(struct stream *stream, const struct slice *parts, size_t count);

/* Sends FIN after what is written; reading goes on. For a lingering close. */
void stream_shutdown(struct stream *stream);

void stream_close(struct stream *stream);
/* Resets instead of FIN: a peer that misbehaves holds nothing. */
void stream_abort(struct stream *stream);

/* What comes and goes is encrypted. */
static inline bool stream_is_secure(const struct stream *stream) {
    return stream->tls != NULL;
}

/* The peer's address without its port ("192.0.2.1", "2001:db8::1"), "" for a unix socket. */
static inline struct slice stream_peer(const struct stream *stream) {
    return slice_str(stream->peer);
}

/* A listening socket. */
struct stream_listener;

struct stream_listener_events {
    /* Memory for the next connection (all of struct stream is set by us but `events`), or NULL:
       it is accepted and closed at once. */
    struct stream *(*accepting)(struct stream_listener *listener);
    void (*accepted)(struct stream *stream);
    /* A connection had to be closed at once because files ran out. May be NULL. (One too many in
       the middle of a TLS handshake is closed too, and only counted.) */
    void (*shed)(struct stream_listener *listener);
    void (*closed)(struct stream_listener *listener);
};

struct stream_listener {
    uv_poll_t poll;
    struct loop_timer pause; /* accepting rests when even the reserve is gone: never a busy loop */
    struct loop *loop;
    const struct stream_listener_events *events;
    bool is_unix;
    char *unix_path; /* removed again on close; NULL for TCP, and where it is another's */
    int fd;
    int reserve_fd; /* given up for a moment when files run out, to accept and close */
    int open_handles;
    void *owner;
    struct stream_tls *tls; /* NULL: plain; set by the owner after stream_listen */
};

enum { STREAM_PROBLEM_BYTES = 256 };

/* `address`: "127.0.0.1:8090", "[::1]:8090" (port 0: any), or "unix:/path" (a stale socket file is
 * replaced, a live one is not). RC_USAGE or RC_IO with a sentence in `problem`; the listener needs
 * no close then. */
enum rc stream_listen(struct loop *loop, struct stream_listener *listener, struct slice address,
                      const struct stream_listener_events *events, void *owner,
                      char problem[STREAM_PROBLEM_BYTES]);
/* The same on a socket that is bound already, and may listen. Zero, and the descriptor is the
 * listener's; a socket file is left alone by it. Or an errno. */
int stream_listen_bound(struct loop *loop, struct stream_listener *listener, int fd,
                        const struct stream_listener_events *events, void *owner);
int stream_listener_port(const struct stream_listener *listener); /* 0 for a unix socket */

/* Accepts what has connected already (closing the socket would reset it), then closes. */
void stream_listener_close(struct stream_listener *listener);

/* For io/stream_tls: writes as it is, and makes `drained` with RC_UNREACHABLE follow. */
bool stream_write_records(struct stream *stream, struct slice records);
void stream_fail_later(struct stream *stream);
