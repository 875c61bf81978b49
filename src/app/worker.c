// SPDX-License-Identifier: MIT
#include "app/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"

enum { ORDERS_BYTES = 16, LOOK_MS = 1000, COUNT_MAX = 256 };

/* What the parent hands over must not go on to whatever this process may ever start. */
static bool keep_to_oneself(int fd) {
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool read_name(struct worker *worker, const char *name, const char *sockets) {
    struct slice rest = slice_str(name);
    struct slice word;
    uint64_t number;
    uint64_t count;
    uint64_t socket_count;
    if (!slice_split(&rest, '/', &word) || !slice_to_u64(word, COUNT_MAX, &number) ||
        !slice_to_u64(rest, COUNT_MAX, &count) || number == 0 || number > count ||
        !slice_to_u64(slice_str(sockets), WORKER_SOCKETS_MAX, &socket_count)) {
        return false;
    }
    *worker = (struct worker){
        .number = (int)number, .count = (int)count, .sockets = (size_t)socket_count};
    return true;
}

enum rc worker_init(struct worker *worker, const char *name, const char *sockets) {
    int kind;
    socklen_t length = sizeof kind;
    if (!read_name(worker, name, sockets) ||
        getsockopt(WORKER_CONTROL_FD, SOL_SOCKET, SO_TYPE, &kind, &length) != 0 ||
        !keep_to_oneself(WORKER_CONTROL_FD)) {
        return RC_USAGE;
    }
    for (size_t i = 0; i < worker->sockets; i++) {
        if (!keep_to_oneself(WORKER_SOCKETS_FD + (int)i)) {
            return RC_USAGE;
        }
    }
    enum rc rc = metrics_group_map(&worker->metrics, (size_t)worker->count + 1, WORKER_METRICS_FD);
    close(WORKER_METRICS_FD);
    return rc == RC_OK ? RC_OK : RC_USAGE;
}

void worker_fini(struct worker *worker) {
    metrics_group_unmap(&worker->metrics);
    close(WORKER_CONTROL_FD);
}

/* A parent that is gone is noticed where it is read from. */
void worker_say_ready(const struct worker *worker) {
    const char ready = WORKER_READY;
    (void)worker;
    send(WORKER_CONTROL_FD, &ready, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---------------------------------------------------------------------------------- the link */

static void on_orders(uv_poll_t *poll, int status, int events) {
    struct worker_link *link = poll->data;
    char orders[ORDERS_BYTES];
    (void)events;
    ssize_t n = status >= 0 ? recv(WORKER_CONTROL_FD, orders, sizeof orders, MSG_DONTWAIT) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        link->told(link->owner, (enum worker_order)orders[i]);
    }
    if (n <= 0) {
        uv_poll_stop(poll); /* the parent is gone */
        link->told(link->owner, WORKER_DRAIN);
    }
}

/* Whichever process is asked for metrics says what all of them use. */
static void on_look(struct loop_timer *timer) {
    metrics_read_process(LIST_ENTRY(timer, struct worker_link, timer)->metrics);
}

enum rc worker_link_open(struct worker_link *link, struct loop *loop, const struct worker *worker,
                         void (*told)(void *owner, enum worker_order order), void *owner) {
    *link = (struct worker_link){
        .metrics = worker_metrics(worker), .told = told, .owner = owner, .open_handles = 2};
    if (uv_poll_init(&loop->uv, &link->poll, WORKER_CONTROL_FD) != 0) {
        return RC_IO;
    }
    if (uv_poll_start(&link->poll, UV_READABLE | UV_DISCONNECT, on_orders) != 0) {
        uv_close((uv_handle_t *)&link->poll, NULL); /* the loop's last turns see to it */
        return RC_IO;
    }
    link->poll.data = link;
    loop_timer_init(loop, &link->timer);
    loop_timer_start(&link->timer, 0, LOOK_MS, on_look);
    loop_timer_unref(&link->timer);
    uv_unref((uv_handle_t *)&link->poll);
    return RC_OK;
}

static void handle_closed(struct worker_link *link) {
    if (--link->open_handles == 0) {
        link->closed(link->owner);
    }
}

static void on_poll_closed(uv_handle_t *handle) {
    handle_closed(handle->data);
}

static void on_timer_closed(struct loop_timer *timer) {
    handle_closed(LIST_ENTRY(timer, struct worker_link, timer));
}

void worker_link_close(struct worker_link *link, void (*closed)(void *owner)) {
    link->closed = closed;
    uv_close((uv_handle_t *)&link->poll, on_poll_closed);
    loop_timer_close(&link->timer, on_timer_closed);
}
