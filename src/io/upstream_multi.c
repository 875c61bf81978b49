// SPDX-License-Identifier: MIT
#include "io/upstream_multi.h"

#include <uv.h>

#include "base/mem.h"

enum { AGAIN_MS = 20 };

/* One socket that libcurl wants watched. */
struct poll {
    uv_poll_t uv;
    struct list node;
    struct upstream_multi *multi;
    curl_socket_t socket;
    int events; /* uv's */
};

static void forget_open(struct upstream_multi *multi) {
    multi->handles_open--;
    if (multi->handles_open == 0 && multi->closed != NULL) {
        multi->closed(multi);
    }
}

static void reap(struct upstream_multi *multi) {
    int left;
    for (CURLMsg *message = curl_multi_info_read(multi->curl, &left); message != NULL;
         message = curl_multi_info_read(multi->curl, &left)) {
        if (message->msg == CURLMSG_DONE) {
            multi->ended(multi, message->easy_handle, message->data.result);
        }
    }
    multi->reaped(multi);
}

static void on_timer(struct loop_timer *timer);

/* Where libcurl fails as a whole, a socket's event comes again by itself, and its timeout is asked
 * for again. In the end a transfer meets our deadline. */
static void act(struct upstream_multi *multi, curl_socket_t socket, int events) {
    int running;
    CURLMcode code = curl_multi_socket_action(multi->curl, socket, events, &running);
    if (code != CURLM_OK && socket == CURL_SOCKET_TIMEOUT) {
        loop_timer_start(&multi->timer, AGAIN_MS, 0, on_timer);
    }
    reap(multi);
}

static void on_event(uv_poll_t *uv, int status, int events);

/* libuv reports an error of the socket by stopping the poll, and libcurl told so would give up at
 * once. But a server that answers early and resets leaves an answer to be read: so libcurl reads,
 * and meets the error after it. */
static int after_error(struct poll *poll) {
    if (uv_poll_start(&poll->uv, poll->events, on_event) != 0) {
        return CURL_CSELECT_ERR;
    }
    return CURL_CSELECT_IN | CURL_CSELECT_OUT;
}

static void on_event(uv_poll_t *uv, int status, int events) {
    struct poll *poll = uv->data;
    int flags = 0;
    if (status < 0) {
        flags = after_error(poll);
    }
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    act(poll->multi, poll->socket, flags);
}

static void on_timer(struct loop_timer *timer) {
    act(LIST_ENTRY(timer, struct upstream_multi, timer), CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl's CURLMOPT_TIMERFUNCTION. It must not be called back from here, so 0 is a timer too. */
static int set_timer(CURLM *curl, long after_ms, void *owner) {
    (void)curl;
    struct upstream_multi *multi = owner;
    if (after_ms < 0) {
        loop_timer_stop(&multi->timer);
    } else {
        loop_timer_start(&multi->timer, after_ms, 0, on_timer);
    }
    return 0;
}

static void on_poll_closed(uv_handle_t *uv) {
    struct poll *poll = uv->data;
    struct upstream_multi *multi = poll->multi;
    mem_free(poll);
    forget_open(multi);
}

static void close_poll(struct poll *poll) {
    list_remove(&poll->node);
    uv_poll_stop(&poll->uv);
    uv_close((uv_handle_t *)&poll->uv, on_poll_closed);
}

static struct poll *open_poll(struct upstream_multi *multi, curl_socket_t socket) {
    struct poll *poll = mem_calloc(1, sizeof *poll);
    if (uv_poll_init_socket(&multi->loop->uv, &poll->uv, socket) != 0) {
        mem_free(poll);
        return NULL;
    }
    poll->uv.data = poll;
    poll->multi = multi;
    poll->socket = socket;
    list_append(&multi->polls, &poll->node);
    multi->handles_open++;
    if (curl_multi_assign(multi->curl, socket, poll) != CURLM_OK) {
        close_poll(poll);
        return NULL;
    }
    return poll;
}

/* CURLMOPT_SOCKETFUNCTION. Refusing with -1 would end every other transfer too. */
static int watch_socket(CURL *easy, curl_socket_t socket, int what, void *owner, void *assigned) {
    struct upstream_multi *multi = owner;
    struct poll *poll = assigned;
    if (what == CURL_POLL_REMOVE) {
        if (poll != NULL) {
            curl_multi_assign(multi->curl, socket, NULL);
            close_poll(poll);
        }
        return 0;
    }
    if (poll == NULL) {
        poll = open_poll(multi, socket);
    }
    if (poll != NULL) {
        poll->events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
                       ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
    }
    if (poll == NULL || uv_poll_start(&poll->uv, poll->events, on_event) != 0) {
        multi->stuck(multi, easy);
    }
    return 0;
}

bool upstream_multi_init(struct upstream_multi *multi, struct loop *loop, CURLM *curl) {
    *multi = (struct upstream_multi){.loop = loop, .curl = curl};
    bool ok = curl_multi_setopt(curl, CURLMOPT_SOCKETFUNCTION, watch_socket) == CURLM_OK;
    ok &= curl_multi_setopt(curl, CURLMOPT_SOCKETDATA, multi) == CURLM_OK;
    ok &= curl_multi_setopt(curl, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK;
    ok &= curl_multi_setopt(curl, CURLMOPT_TIMERDATA, multi) == CURLM_OK;
    if (!ok) {
        return false;
    }
    list_init(&multi->polls);
    loop_timer_init(loop, &multi->timer);
    multi->handles_open = 1;
    return true;
}

bool upstream_multi_add(struct upstream_multi *multi, CURL *easy) {
    return curl_multi_add_handle(multi->curl, easy) == CURLM_OK;
}

bool upstream_multi_remove(struct upstream_multi *multi, CURL *easy) {
    return curl_multi_remove_handle(multi->curl, easy) == CURLM_OK;
}

static void on_timer_closed(struct loop_timer *timer) {
    forget_open(LIST_ENTRY(timer, struct upstream_multi, timer));
}

void upstream_multi_close(struct upstream_multi *multi,
                          void (*closed)(struct upstream_multi *multi)) {
    multi->closed = closed;
    curl_multi_cleanup(multi->curl);
    while (!list_is_empty(&multi->polls)) {
        close_poll(LIST_ENTRY(multi->polls.next, struct poll, node));
    }
    loop_timer_close(&multi->timer, on_timer_closed);
}
