// SPDX-License-Identifier: MIT
#include "io/redis_link.h"

#include <assert.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

enum {
    READS_OF_A_BROKEN_SOCKET = 64,
    LINE_BYTES_MAX = 64 * 1024,
    LENGTH_LINE_BYTES = 32,
    LISTS_DEEP_MAX = 7
};

struct redis_link {
    struct redis_link_opts opts;
    uv_poll_t poll;
    struct loop_hook hook;
    redisAsyncContext *context; /* NULL when hiredis has freed it */
    int wanted;                 /* UV_READABLE | UV_WRITABLE */
    bool is_connected;
    bool is_connected_untold;
    bool is_inside;  /* hiredis is on the stack */
    bool is_writing; /* … by redisAsyncHandleWrite */
    bool is_write_due;
    enum rc rc;
    const char *cause; /* NULL until it is doomed */
    bool is_cause_told;

    /* Answers are made by hiredis's functions once ours have looked at them. */
    redisReplyObjectFunctions makers;
    const redisReplyObjectFunctions *theirs;
    size_t unanswered;
    size_t answer_bytes; /* of the answer that is being read */
};

/* The first cause is the one. */
static void doom(struct redis_link *link, enum rc rc, const char *cause) {
    if (link->cause == NULL) {
        link->rc = rc;
        link->cause = cause;
    }
}

/* -- what hiredis wants to wait for -- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void want(struct redis_link *link, int events) {
    if (link->context == NULL || events == link->wanted) {
        return;
    }
    link->wanted = events;
    if (events != 0) {
        if (uv_poll_start(&link->poll, events, on_poll) != 0) {
            doom(link, RC_UNREACHABLE, "the loop refuses to wait for the server");
        }
    } else {
        uv_poll_stop(&link->poll);
    }
}

static void add_read(void *data) {
    struct redis_link *link = data;
    want(link, link->wanted | UV_READABLE);
}

static void del_read(void *data) {
    struct redis_link *link = data;
    want(link, link->wanted & ~UV_READABLE);
}

/* Asked for with each command: the end of the turn is when they leave, all together. Asked for
 * while writing: the kernel took a part. */
static void add_write(void *data) {
    struct redis_link *link = data;
    if (!link->is_connected || link->is_writing) {
        want(link, link->wanted | UV_WRITABLE);
    } else if (!link->is_write_due) {
        link->is_write_due = true;
        loop_hooks_due(link->opts.loop);
    }
}

static void del_write(void *data) {
    struct redis_link *link = data;
    want(link, link->wanted & ~UV_WRITABLE);
}

static void on_poll_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

static const char certificate_refused[] = "the server's certificate does not verify";

static const char *cause_of(const struct redis_link *link) {
    if (link->opts.tls != NULL && redis_tls_is_refused(link->opts.tls)) {
        return certificate_refused;
    }
    switch (link->context->c.err) {
    case REDIS_ERR_EOF:
        return "the server closed the connection";
    case REDIS_ERR_PROTOCOL:
        return "an answer that is not Redis's";
    case REDIS_ERR_OTHER:
        return "the server refused the connection";
    case REDIS_ERR_OOM:
        return "no memory for an answer";
    default:
        return link->is_connected ? "the connection broke" : "the server can't be reached";
    }
}

/* The last that hiredis says, and its descriptor is still open. */
static void cleanup(void *data) {
    struct redis_link *link = data;
    doom(link, RC_UNREACHABLE, cause_of(link));
    if (link->opts.tls != NULL) {
        redis_tls_end(link->opts.tls);
    }
    link->context = NULL;
    loop_hook_remove(&link->hook);
    uv_close((uv_handle_t *)&link->poll, on_poll_closed);
}

/* -- answers -- */

static bool may_make(const redisReadTask *task, size_t bytes) {
    struct redis_link *link = task->privdata;
    if (task->parent == NULL) {
        link->answer_bytes = 0;
        /* hiredis asserts that there is none but of an error. */
        if (link->unanswered == 0 && task->type != REDIS_REPLY_ERROR) {
            doom(link, RC_UNREACHABLE, "an answer to no command");
            return false;
        }
    }
    link->answer_bytes += bytes;
    if (link->answer_bytes > LIMIT_REDIS_ANSWER_BYTES) {
        doom(link, RC_TOO_LARGE, "an answer above its cap");
        return false;
    }
    return true;
}

static const redisReplyObjectFunctions *theirs(const redisReadTask *task) {
    return ((const struct redis_link *)task->privdata)->theirs;
}

static void *make_string(const redisReadTask *task, char *at, size_t len) {
    return may_make(task, sizeof(redisReply) + len) ? theirs(task)->createString(task, at, len)
                                                    : NULL;
}

/* hiredis 1 sets no bound to lists in lists, which it frees by recursion. */
static bool may_make_list(const redisReadTask *task, size_t count) {
    size_t depth = 1;
    for (const redisReadTask *outer = task->parent; outer != NULL && depth <= LISTS_DEEP_MAX;
         outer = outer->parent) {
        depth++;
    }
    if (depth > LISTS_DEEP_MAX || count > LIMIT_REDIS_ANSWER_BYTES) {
        doom(task->privdata, RC_TOO_LARGE, "an answer above its cap");
        return false;
    }
    return may_make(task, sizeof(redisReply) + count * sizeof(redisReply *));
}

#if HIREDIS_MAJOR >= 1
static void *make_array(const redisReadTask *task, size_t count) {
    if (task->type == REDIS_REPLY_PUSH) {
        doom(task->privdata, RC_UNREACHABLE, "an answer to no command");
        return NULL;
    }
    return may_make_list(task, count) ? theirs(task)->createArray(task, count) : NULL;
}
#else
static void *make_array(const redisReadTask *task, int count) {
    return may_make_list(task, (size_t)count) ? theirs(task)->createArray(task, count) : NULL;
}
#endif

static void *make_integer(const redisReadTask *task, long long value) {
    return may_make(task, sizeof(redisReply)) ? theirs(task)->createInteger(task, value) : NULL;
}

static void *make_nil(const redisReadTask *task) {
    return may_make(task, sizeof(redisReply)) ? theirs(task)->createNil(task) : NULL;
}

#if HIREDIS_MAJOR >= 1
static void *make_double(const redisReadTask *task, double value, char *at, size_t len) {
    return may_make(task, sizeof(redisReply) + len)
               ? theirs(task)->createDouble(task, value, at, len)
               : NULL;
}

static void *make_bool(const redisReadTask *task, int value) {
    return may_make(task, sizeof(redisReply)) ? theirs(task)->createBool(task, value) : NULL;
}
#endif

static void take_over_makers(struct redis_link *link) {
    redisReader *reader = link->context->c.reader;
    link->theirs = reader->fn;
    link->makers = *reader->fn;
    link->makers.createString = make_string;
    link->makers.createArray = make_array;
    link->makers.createInteger = make_integer;
    link->makers.createNil = make_nil;
#if HIREDIS_MAJOR >= 1
    link->makers.createDouble = make_double;
    link->makers.createBool = make_bool;
#endif
    reader->fn = &link->makers;
    reader->privdata = link;
}

/* Of those without an answer the first is the one whose answer was being read. */
static enum rc why_no_answer(struct redis_link *link) {
    enum rc rc = link->is_cause_told || link->cause == NULL ? RC_UNREACHABLE : link->rc;
    link->is_cause_told = true;
    return rc;
}

static void on_answer(redisAsyncContext *context, void *reply, void *about) {
    struct redis_link *link = context->data;
    enum rc rc = reply != NULL ? RC_OK : why_no_answer(link);
    link->unanswered--;
    link->opts.answered(link->opts.owner, about, rc, reply);
}

/* -- events -- */

static void on_connect(const redisAsyncContext *context, int status) {
    struct redis_link *link = context->data;
    if (status != REDIS_OK) {
        return;
    }
    link->is_connected = true;
    link->is_connected_untold = true;
    fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);
    redisEnableKeepAlive(&link->context->c);
}

static void free_context(struct redis_link *link) {
    link->is_inside = true;
    redisAsyncFree(link->context);
    link->is_inside = false;
}

/* Of what has come and is not parsed yet. A string's length is known, so hiredis waits for its end;
 * a line's end it looks for from the start each time. */
static size_t unparsed_max(const redisReader *reader) {
#if HIREDIS_MAJOR >= 1
    int type = reader->ridx >= 0 ? reader->task[reader->ridx]->type : -1;
#else
    int type = reader->ridx >= 0 ? reader->rstack[reader->ridx].type : -1;
#endif
    size_t head = reader->len - reader->pos;
    head = head < LENGTH_LINE_BYTES ? head : LENGTH_LINE_BYTES;
    bool is_known =
        type == REDIS_REPLY_STRING && memchr(reader->buf + reader->pos, '\r', head) != NULL;
    return is_known ? LIMIT_REDIS_ANSWER_BYTES : LINE_BYTES_MAX;
}

/* What hiredis does not look after. */
static void check(struct redis_link *link) {
    const redisReader *reader = link->context->c.reader;
    if (reader->len - reader->pos > LINE_BYTES_MAX &&
        reader->len - reader->pos > unparsed_max(reader)) {
        doom(link, RC_TOO_LARGE, "an answer above its cap");
    }
    /* Not in on_connect, where hiredis would go on with a connection that can't. */
    if (link->is_connected_untold && link->opts.tls != NULL &&
        !redis_tls_start(link->opts.tls, &link->context->c)) {
        doom(link, RC_UNREACHABLE,
             redis_tls_is_refused(link->opts.tls) ? certificate_refused : "no TLS with the server");
    }
    if (link->cause != NULL) {
        free_context(link);
    }
}

/* hiredis is off the stack: what it did can be told. Nothing of the link may be used after. */
static void settle(struct redis_link *link) {
    link->is_inside = false;
    if (link->context != NULL) {
        check(link);
    }
    if (link->context == NULL) {
        link->opts.lost(link->opts.owner, link->rc, link->cause);
    } else if (link->is_connected_untold) {
        link->is_connected_untold = false;
        link->opts.connected(link->opts.owner);
    }
}

static void enter(const struct redis_link *link) {
    if (link->opts.tls != NULL) {
        redis_tls_enter();
    }
}

static void read_in(struct redis_link *link) {
    enter(link);
    redisAsyncHandleRead(link->context);
}

static void write_out(struct redis_link *link) {
    enter(link);
    link->is_writing = true;
    redisAsyncHandleWrite(link->context);
    link->is_writing = false;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct redis_link *link = poll->data;
    link->is_inside = true;
    if (status < 0) {
        /* The socket has an error, and libuv has stopped to poll it. What came before is read, and
           reading tells hiredis. */
        link->wanted = 0;
        for (int i = 0; link->context != NULL && i < READS_OF_A_BROKEN_SOCKET; i++) {
            read_in(link);
        }
        doom(link, RC_UNREACHABLE, "the connection broke");
    }
    if (link->context != NULL && (events & UV_READABLE) != 0) {
        read_in(link);
    }
    if (link->context != NULL && (events & UV_WRITABLE) != 0) {
        write_out(link);
    }
    settle(link);
}

static void run_hook(struct loop_hook *hook) {
    struct redis_link *link = LIST_ENTRY(hook, struct redis_link, hook);
    if (!link->is_write_due) {
        return;
    }
    link->is_write_due = false;
    link->is_inside = true;
    write_out(link);
    settle(link);
}

/* -- from outside -- */

static void set_callbacks(struct redis_link *link) {
    redisAsyncContext *context = link->context;
    context->data = link;
    context->ev.data = link;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    take_over_makers(link);
    redisAsyncSetConnectCallback(context, on_connect);
}

struct redis_link *redis_link_open(const struct redis_link_opts *opts) {
    redisAsyncContext *context = redisAsyncConnect(opts->address, opts->port);
    if (context == NULL) {
        return NULL;
    }
    struct redis_link *link = mem_calloc(1, sizeof *link);
    link->opts = *opts;
    if (context->err != 0 || uv_poll_init(&opts->loop->uv, &link->poll, context->c.fd) != 0) {
        redisAsyncFree(context);
        mem_free(link);
        return NULL;
    }
    link->poll.data = link;
    link->context = context;
    loop_hook_add(opts->loop, &link->hook, run_hook);
    set_callbacks(link);
    if (link->cause != NULL) {
        free_context(link);
        return NULL;
    }
    return link;
}

void redis_link_close(struct redis_link *link) {
    assert(!link->is_inside);
    free_context(link);
}

bool redis_link_send(struct redis_link *link, struct slice command, void *about) {
    if (link->context == NULL || redisAsyncFormattedCommand(link->context, on_answer, about,
                                                            command.at, command.len) != REDIS_OK) {
        return false;
    }
    link->unanswered++;
    return true;
}
