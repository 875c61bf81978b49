// SPDX-License-Identifier: MIT
#include "io/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/bind.h"
#include "io/stream_tls.h"

/* A burst of new connections must not starve the ones that are there. */
enum { ACCEPT_BATCH = 64, LAST_BATCH = 256, LISTEN_BACKLOG = 4096, PAUSE_MS = 100 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* ------------------------------------------------------------------------------- connections */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    struct stream *stream = handle->data;
    (void)suggested;
    *out = stream->tls != NULL ? stream_tls_buffer(stream)
                               : uv_buf_init(stream->loop->read_buffer, LIMIT_READ_BUFFER_BYTES);
}

static void on_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf) {
    struct stream *stream = uv->data;
    if (n > 0 && stream->tls != NULL) {
        stream_tls_received(stream, slice_make(buf->base, (size_t)n));
    } else if (n > 0) {
        stream->events->read(stream, buf->base, (size_t)n);
    } else if (n == UV_ENOBUFS) {
        stream_tls_hold(stream);
    } else if (n < 0) {
        stream_read_stop(stream);
        stream->events->ended(stream, n == UV_EOF ? RC_OK : RC_UNREACHABLE);
    }
}

void stream_read_start(struct stream *stream) {
    bool is_held = list_is_linked(&stream->held);
    if (!stream->is_reading && !is_held && !stream->is_closing) {
        stream->is_reading = true;
        uv_read_start(&stream->uv, on_alloc, on_read);
    }
}

void stream_read_stop(struct stream *stream) {
    stream_tls_unhold(stream);
    if (stream->is_reading) {
        stream->is_reading = false;
        uv_read_stop(&stream->uv);
    }
}

/* A write that the kernel did not take at once, with its bytes. */
struct write_op {
    uv_write_t uv;
    struct stream *stream;
    size_t n;
    char bytes[];
};

static void send_fin(struct stream *stream) {
    uv_os_fd_t fd;
    if (uv_fileno(&stream->handle, &fd) == 0) {
        shutdown(fd, SHUT_WR);
    }
}

static void count_unsent(struct loop *loop, size_t n, bool is_more) {
    loop->unsent_bytes = is_more ? loop->unsent_bytes + n : loop->unsent_bytes - n;
    if (loop->metrics != NULL) {
        metrics_add(loop->metrics, METRIC_UNSENT_BYTES, is_more ? (int64_t)n : -(int64_t)n);
    }
}

static void on_written(uv_write_t *uv, int status) {
    struct write_op *op = uv->data;
    struct stream *stream = op->stream;
    count_unsent(stream->loop, op->n, false);
    mem_wipe(op->bytes, op->n);
    mem_free(op);
    stream->writes_open--;
    stream->write_failed |= status != 0;
    if (stream->writes_open > 0 || stream->is_closing) {
        return;
    }
    if (stream->is_shutdown && !stream->write_failed) {
        send_fin(stream);
    }
    stream->events->drained(stream, stream->write_failed ? RC_UNREACHABLE : RC_OK);
}

/* Copies the bytes after the first `skip` and leaves the rest to the loop. */
static void write_later(struct stream *stream, const struct slice *parts, size_t count,
                        size_t skip) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += parts[i].len;
    }
    n -= skip;
    struct write_op *op = mem_alloc(sizeof *op + n);
    op->uv.data = op;
    op->stream = stream;
    op->n = n;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice left = slice_from(parts[i], skip);
        skip -= parts[i].len - left.len;
        if (left.len > 0) {
            memcpy(op->bytes + at, left.at, left.len);
            at += left.len;
        }
    }
    uv_buf_t buf = uv_buf_init(op->bytes, (unsigned)n);
    count_unsent(stream->loop, n, true);
    stream->writes_open++;
    if (uv_write(&op->uv, &stream->uv, &buf, 1, on_written) != 0) {
        abort(); /* fails only for a handle that is no open stream */
    }
}

static bool write_plain(struct stream *stream, const struct slice *parts, size_t count) {
    uv_buf_t bufs[STREAM_PARTS_MAX] = {0};
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        bufs[i] = uv_buf_init((char *)(uintptr_t)parts[i].at, (unsigned)parts[i].len);
        n += parts[i].len;
    }
    int taken = uv_try_write(&stream->uv, bufs, (unsigned)count);
    if (taken >= 0 && (size_t)taken == n) {
        return true;
    }
    /* An error is met again by the write that is left to the loop, and reported there. */
    write_later(stream, parts, count, taken > 0 ? (size_t)taken : 0);
    return false;
}

bool stream_write_parts(struct stream *stream, const struct slice *parts, size_t count) {
    return stream->tls != NULL ? stream_tls_write(stream, parts, count)
                               : write_plain(stream, parts, count);
}

bool stream_write(struct stream *stream, struct slice bytes) {
    return stream_write_parts(stream, &bytes, 1);
}

bool stream_write_records(struct stream *stream, struct slice records) {
    if (stream->is_closing) { /* the last words: taken now or never, and the peer may be gone */
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)records.at, (unsigned)records.len);
        return uv_try_write(&stream->uv, &buf, 1) == (int)records.len;
    }
    return write_plain(stream, &records, 1);
}

/* A write of nothing is done on a later turn. */
void stream_fail_later(struct stream *stream) {
    struct slice nothing = SLICE("");
    stream->write_failed = true;
    write_later(stream, &nothing, 1, 0);
}

void stream_shutdown(struct stream *stream) {
    if (stream->is_shutdown || stream->is_closing) {
        return;
    }
    stream->is_shutdown = true;
    stream_tls_end(stream);
    if (stream->writes_open == 0) {
        send_fin(stream);
    }
}

static void on_closed(uv_handle_t *handle) {
    struct stream *stream = handle->data;
    stream->events->closed(stream);
}

void stream_close(struct stream *stream) {
    if (!stream->is_closing) {
        stream->is_closing = true;
        stream->is_reading = false;
        stream_tls_end(stream);
        stream_tls_drop(stream);
        uv_close(&stream->handle, on_closed);
    }
}

void stream_abort(struct stream *stream) {
    if (stream->is_closing) {
        return;
    }
    if (stream->handle.type == UV_TCP && uv_tcp_close_reset(&stream->tcp, on_closed) == 0) {
        stream_tls_drop(stream);
        stream->is_closing = true;
        stream->is_reading = false;
        return;
    }
    stream_close(stream);
}

/* --------------------------------------------------------------------------------- accepting */

static void write_peer(const union address *address, char out[STREAM_ADDRESS_BYTES]) {
    out[0] = '\0';
    if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->v4.sin_addr, out, STREAM_ADDRESS_BYTES);
    } else if (address->any.sa_family == AF_INET6) {
        const struct in6_addr *v6 = &address->v6.sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(v6)) {
            inet_ntop(AF_INET, v6->s6_addr + 12, out, STREAM_ADDRESS_BYTES);
        } else {
            inet_ntop(AF_INET6, v6, out, STREAM_ADDRESS_BYTES);
        }
    }
}

static int adopt(struct stream *stream, struct loop *loop, int fd, bool is_unix) {
    if (is_unix) {
        uv_pipe_init(&loop->uv, &stream->pipe, 0);
        return uv_pipe_open(&stream->pipe, fd);
    }
    uv_tcp_init(&loop->uv, &stream->tcp);
    return uv_tcp_open(&stream->tcp, fd);
}

static void take(struct stream_listener *listener, int fd, const union address *address) {
    bool is_welcome = listener->tls == NULL || stream_tls_may_accept(listener->tls);
    struct stream *stream = is_welcome ? listener->events->accepting(listener) : NULL;
    if (stream == NULL) {
        close(fd);
        return;
    }
    stream->loop = listener->loop;
    stream->writes_open = 0;
    stream->write_failed = false;
    stream->is_reading = false;
    stream->is_closing = false;
    stream->is_shutdown = false;
    stream->tls = NULL;
    stream->session = NULL;
    stream->shaking = (struct list){0};
    stream->held = (struct list){0};
    write_peer(address, stream->peer);
    int failed = adopt(stream, listener->loop, fd, listener->is_unix);
    stream->handle.data = stream;
    if (failed != 0) {
        close(fd);
        stream_close(stream);
        return;
    }
    if (listener->tls != NULL) {
        stream_tls_accepted(stream, listener->tls);
    }
    listener->events->accepted(stream);
}

static int open_reserve(void) {
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Files ran out: gives up the reserve to accept one connection and close it, so that the client
 * knows and the queue doesn't keep the loop awake. False where that isn't possible. */
static bool shed_one(struct stream_listener *listener) {
    if (listener->reserve_fd < 0) {
        return false;
    }
    close(listener->reserve_fd);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    listener->reserve_fd = open_reserve();
    if (fd >= 0 && listener->events->shed != NULL) {
        listener->events->shed(listener);
    }
    return fd >= 0;
}

static bool is_out_of_files(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Of one connection, which is lost: the next accept may well succeed. */
static bool is_passing(int error) {
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM ||
           error == ENETDOWN || error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET ||
           error == EHOSTUNREACH || error == ENETUNREACH || error == ETIMEDOUT;
}

/* False where accepting can't go on now. The owner of what is accepted may close the listener. */
static bool accept_batch(struct stream_listener *listener, int batch) {
    for (int i = 0; i < batch && listener->fd >= 0; i++) {
        union address address = {0};
        socklen_t length = sizeof address;
        int fd = accept4(listener->fd, &address.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(listener, fd, &address);
        } else if (errno == EAGAIN) {
            return true;
        } else if (is_out_of_files(errno)) {
            return shed_one(listener);
        } else if (!is_passing(errno)) {
            return false;
        }
    }
    return true;
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_over(struct loop_timer *timer) {
    struct stream_listener *listener = LIST_ENTRY(timer, struct stream_listener, pause);
    if (listener->reserve_fd < 0) {
        listener->reserve_fd = open_reserve();
    }
    uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

static void on_acceptable(uv_poll_t *poll, int status, int events) {
    struct stream_listener *listener = poll->data;
    (void)events;
    bool goes_on = status >= 0 && accept_batch(listener, ACCEPT_BATCH);
    if (!goes_on && listener->fd >= 0) {
        uv_poll_stop(poll);
        loop_timer_start(&listener->pause, PAUSE_MS, 0, on_pause_over);
    }
}

/* --------------------------------------------------------------------------------- listening */

static void close_files(struct stream_listener *listener) {
    close(listener->fd);
    listener->fd = -1;
    if (listener->reserve_fd >= 0) {
        close(listener->reserve_fd);
    }
    if (listener->unix_path != NULL) {
        unlink(listener->unix_path);
        mem_free(listener->unix_path);
        listener->unix_path = NULL;
    }
}

int stream_listen_bound(struct loop *loop, struct stream_listener *listener, int fd,
                        const struct stream_listener_events *events, void *owner) {
    *listener = (struct stream_listener){
        .loop = loop, .events = events, .fd = fd, .reserve_fd = -1, .owner = owner};
    listener->is_unix = bind_is_unix(fd);
    if (listen(fd, LISTEN_BACKLOG) != 0) {
        return errno;
    }
    int failed = uv_poll_init(&loop->uv, &listener->poll, fd);
    if (failed != 0) {
        return -failed; /* libuv's codes are the system's here */
    }
    if (loop->read_buffer == NULL) {
        loop->read_buffer = mem_alloc(LIMIT_READ_BUFFER_BYTES);
    }
    listener->reserve_fd = open_reserve();
    listener->poll.data = listener;
    loop_timer_init(loop, &listener->pause);
    listener->open_handles = 2;
    uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
    return 0;
}

enum rc stream_listen(struct loop *loop, struct stream_listener *listener, struct slice address,
                      const struct stream_listener_events *events, void *owner,
                      char problem[STREAM_PROBLEM_BYTES]) {
    int fd;
    enum rc rc = bind_socket(address, BIND_ALONE, &fd, problem);
    if (rc != RC_OK) {
        return rc;
    }
    int error = stream_listen_bound(loop, listener, fd, events, owner);
    if (listener->is_unix) {
        listener->unix_path = mem_strdup(slice_from(address, SLICE("unix:").len));
    }
    if (error != 0) {
        bind_tell(problem, address, strerror(error));
        close_files(listener);
        return RC_IO;
    }
    return RC_OK;
}

int stream_listener_port(const struct stream_listener *listener) {
    return bind_port(listener->fd);
}

static void handle_closed(struct stream_listener *listener) {
    if (--listener->open_handles == 0) {
        listener->events->closed(listener);
    }
}

static void on_poll_closed(uv_handle_t *handle) {
    handle_closed(handle->data);
}

static void on_pause_closed(struct loop_timer *timer) {
    handle_closed(LIST_ENTRY(timer, struct stream_listener, pause));
}

void stream_listener_close(struct stream_listener *listener) {
    accept_batch(listener, LAST_BATCH); /* not more: others may come as fast as they are taken */
    uv_close((uv_handle_t *)&listener->poll, on_poll_closed);
    loop_timer_close(&listener->pause, on_pause_closed);
    close_files(listener);
}
