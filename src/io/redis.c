// SPDX-License-Identifier: MIT
#include "io/redis.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/redis_conn.h"
#include "io/redis_error.h"
#include "io/redis_wire.h"

enum { LISTENERS_MAX = 4, SHA_BYTES = 40, LOOK_MS = 1, LOOKING_MS = 50 };

struct listener { /* ready NULL: a free place */
    void (*ready)(void *owner);
    void *owner;
};

/* What is known of a script: its name does not depend on the server. */
struct script {
    bool is_known;
    bool is_asked; /* SCRIPT LOAD was sent over this connection */
    char sha[SHA_BYTES];
};

/* What is kept of a command: all of it until it is sent; of a script its arguments, until it is
 * answered. */
struct request {
    size_t len;
    char at[];
};

struct redis {
    struct redis_opts opts;
    struct redis_conn conn;
    struct loop_timer timer; /* the deadline of the oldest command, or earlier */
    bool is_timer_on;
    bool is_looking; /* past the deadline: whether the answer is there to be read */
    int64_t looking_since_ms;
    size_t answers;     /* since the last look */
    int64_t overdue_ms; /* at the end of a connection: who was due by then had no answer in time */

    /* An op is in one of these. Deadlines are in the order of `open`. */
    struct list open;
    struct list over; /* the result is there, `done` is not told yet */
    size_t open_count;
    size_t open_bytes;
    size_t untold;
    struct loop_task tell_task;

    struct listener listeners[LISTENERS_MAX];
    struct script scripts[REDIS_SCRIPTS_MAX];
    struct buf scratch; /* a command that is being written */
    bool has_named_cluster;

    bool is_closing;
    bool is_conn_closed;
    void (*closed)(void *owner);
    void *owner;
};

static int64_t now_ms(const struct redis *redis) {
    return loop_timer_now_ms(redis->opts.loop);
}

/* -- results -- */

static enum metric outcome_metric(enum rc rc) {
    switch (rc) {
    case RC_OK:
        return METRIC_REDIS_COMMANDS_OK;
    case RC_TIMEOUT:
        return METRIC_REDIS_COMMANDS_TIMEOUT;
    case RC_UNREACHABLE:
        return METRIC_REDIS_COMMANDS_UNREACHABLE;
    case RC_FULL:
        return METRIC_REDIS_COMMANDS_FULL;
    case RC_CANCELED:
        return METRIC_REDIS_COMMANDS_CANCELED;
    default:
        return METRIC_REDIS_COMMANDS_REFUSED;
    }
}

static void count(const struct redis *redis, enum metric metric, int64_t n) {
    if (redis->opts.metrics != NULL) {
        metrics_add(redis->opts.metrics, metric, n);
    }
}

static void give_request(struct redis_op *op) {
    mem_free(op->request);
    op->request = NULL;
}

static void open_op(struct redis *redis, struct redis_op *op) {
    op->deadline_ms = now_ms(redis) + redis->opts.command_timeout_ms;
    list_append(&redis->open, &op->node);
    redis->open_count++;
    redis->open_bytes += op->bytes;
    count(redis, METRIC_REDIS_UNANSWERED, 1);
}

/* Not open any more; the op has its result. */
static void end_op(struct redis *redis, struct redis_op *op, enum rc rc, const char *cause) {
    list_remove(&op->node);
    redis->open_count--;
    redis->open_bytes -= op->bytes;
    count(redis, METRIC_REDIS_UNANSWERED, -1);
    count(redis, outcome_metric(rc), 1);
    give_request(op);
    op->rc = rc;
    op->cause = rc == RC_OK ? NULL : cause;
    op->value = NULL;
}

static void end_if_closed(struct redis *redis);

static void run_tell(struct loop_task *task) {
    struct redis *redis = LIST_ENTRY(task, struct redis, tell_task);
    struct list due;
    list_init(&due);
    list_move_all(&due, &redis->over);
    for (struct list *node = list_take_first(&due); node != NULL; node = list_take_first(&due)) {
        struct redis_op *op = LIST_ENTRY(node, struct redis_op, node);
        redis->untold--;
        op->done(op);
    }
    end_if_closed(redis);
}

static void tell_later(struct redis *redis, struct redis_op *op) {
    list_append(&redis->over, &op->node);
    redis->untold++;
    if (!list_is_linked(&redis->tell_task.node)) {
        loop_later(redis->opts.loop, &redis->tell_task, run_tell);
    }
}

static void end_later(struct redis *redis, struct redis_op *op, enum rc rc, const char *cause) {
    end_op(redis, op, rc, cause);
    tell_later(redis, op);
}

/* -- deadlines -- */

static void on_deadline(struct loop_timer *timer);

static void watch(struct redis *redis) {
    if (!redis->is_timer_on && !list_is_empty(&redis->open)) {
        int64_t due_ms = LIST_ENTRY(redis->open.next, struct redis_op, node)->deadline_ms;
        redis->is_timer_on = true;
        loop_timer_start(&redis->timer, due_ms - now_ms(redis), 0, on_deadline);
    }
}

/* What was sent keeps its place in the connection's row: it ends with the connection. */
static void end_overdue(struct redis *redis) {
    bool is_sent_overdue = false;
    struct list *node = redis->open.next;
    while (node != &redis->open) {
        struct redis_op *op = LIST_ENTRY(node, struct redis_op, node);
        if (op->deadline_ms > now_ms(redis)) {
            break;
        }
        node = node->next;
        if (op->is_sent) {
            is_sent_overdue = true;
        } else {
            end_later(redis, op, RC_TIMEOUT, "no connection in time");
        }
    }
    if (is_sent_overdue) {
        redis->overdue_ms = now_ms(redis);
        redis_conn_break(&redis->conn, RC_TIMEOUT, "no answer in time");
    }
}

/* Perhaps it was the loop that was late, and answers are there to be read. */
static bool look_again(struct redis *redis) {
    bool is_first = !redis->is_looking;
    if (is_first) {
        redis->is_looking = true;
        redis->looking_since_ms = now_ms(redis);
    }
    bool goes_on = redis->answers > 0 && now_ms(redis) - redis->looking_since_ms < LOOKING_MS;
    redis->answers = 0;
    return is_first || goes_on;
}

static void on_deadline(struct loop_timer *timer) {
    struct redis *redis = LIST_ENTRY(timer, struct redis, timer);
    redis->is_timer_on = false;
    if (list_is_empty(&redis->open) ||
        LIST_ENTRY(redis->open.next, struct redis_op, node)->deadline_ms > now_ms(redis)) {
        redis->is_looking = false;
    } else if (look_again(redis)) {
        redis->is_timer_on = true;
        loop_timer_start(&redis->timer, LOOK_MS, 0, on_deadline);
    } else {
        redis->is_looking = false;
        end_overdue(redis);
    }
    watch(redis);
}

/* -- sending -- */

static struct buf *fresh_scratch(struct redis *redis) {
    buf_clear(&redis->scratch);
    return &redis->scratch;
}

static bool send_scratch(struct redis *redis, void *about) {
    buf_append_char(&redis->scratch, '\0');
    return buf_ok(&redis->scratch) &&
           redis_conn_send(&redis->conn,
                           slice_head(buf_slice(&redis->scratch), redis->scratch.len - 1), about);
}

static struct slice kept(const struct redis_op *op) {
    const struct request *request = op->request;
    return slice_make(request->at, request->len);
}

static void keep(struct redis_op *op, struct slice bytes) {
    struct request *request = mem_alloc(sizeof *request + bytes.len);
    request->len = bytes.len;
    memcpy(request->at, bytes.at, bytes.len);
    op->request = request;
}

static void sent(struct redis *redis, struct redis_op *op, bool is_sent) {
    op->is_sent = is_sent;
    if (!is_sent) {
        end_later(redis, op, RC_UNREACHABLE, "it could not be sent");
    }
}

/* `about` of SCRIPT LOAD is the script, which no op is. */
static void ask_for_sha(struct redis *redis, struct redis_op *op) {
    struct script *script = &redis->scripts[op->script->index];
    if (script->is_asked) {
        return;
    }
    redis_wire_command(
        fresh_scratch(redis),
        (struct slice[]){SLICE("SCRIPT"), SLICE("LOAD"), slice_str(op->script->text)}, 3);
    script->is_asked = send_scratch(redis, script);
}

static void send_eval(struct redis *redis, struct redis_op *op, bool is_whole) {
    const struct script *script = &redis->scripts[op->script->index];
    if (!is_whole && !script->is_known) {
        ask_for_sha(redis, op);
        is_whole = true;
    }
    struct buf *out = fresh_scratch(redis);
    redis_wire_head(out, op->arg_count);
    redis_wire_arg(out, is_whole ? SLICE("EVAL") : SLICE("EVALSHA"));
    redis_wire_arg(out, is_whole ? slice_str(op->script->text)
                                 : slice_make(script->sha, sizeof script->sha));
    buf_append(out, kept(op));
    op->is_whole = is_whole;
    sent(redis, op, send_scratch(redis, op));
}

static void send_kept(struct redis *redis, struct redis_op *op) {
    if (op->script != NULL) {
        send_eval(redis, op, false);
        return;
    }
    buf_append(fresh_scratch(redis), kept(op));
    give_request(op);
    sent(redis, op, send_scratch(redis, op));
}

/* -- answers -- */

static void on_loaded(struct script *script, const struct redis_value *value) {
    struct slice sha = redis_text(value);
    if (redis_kind(value) == REDIS_TEXT && sha.len == SHA_BYTES) {
        memcpy(script->sha, sha.at, SHA_BYTES);
        script->is_known = true;
    }
}

static void name_cluster(struct redis *redis) {
    if (!redis->has_named_cluster) {
        redis->has_named_cluster = true;
        LOG(redis->opts.log, LOG_ERROR, "redis_is_cluster", SLICE_NULL,
            log_text("server", slice_str(redis->opts.name)),
            log_text("cause", SLICE("a cluster of Redis is not supported: name one that stands "
                                    "alone, or has replicas")));
    }
}

/* An error answer. True: the op is sent once more. */
static bool take_error(struct redis *redis, struct redis_op *op, struct slice text, enum rc *rc) {
    struct redis_error error = redis_error_read(text);
    if (error.is_cluster) {
        name_cluster(redis);
    }
    if (error.remedy == REDIS_REMEDY_RECONNECT) {
        redis_conn_break(&redis->conn, error.rc, error.cause);
    } else if (error.remedy == REDIS_REMEDY_SEND_WHOLE && op->script != NULL && !op->is_whole) {
        send_eval(redis, op, true); /* or ends with the connection, where that is decided */
        return true;
    }
    *rc = error.rc;
    op->cause = error.cause;
    return false;
}

static void on_no_answer(struct redis *redis, struct redis_op *op, enum rc rc) {
    if (redis->is_closing) {
        end_later(redis, op, RC_CANCELED, "closed");
    } else if (op->deadline_ms <= redis->overdue_ms) {
        end_later(redis, op, RC_TIMEOUT, "no answer in time");
    } else if (rc == RC_TOO_LARGE) {
        end_later(redis, op, RC_TOO_LARGE, "an answer above its cap");
    } else {
        end_later(redis, op, RC_UNREACHABLE, "the connection broke");
    }
}

static void on_answered(struct redis_conn *conn, void *about, enum rc rc,
                        const struct redis_value *value) {
    struct redis *redis = LIST_ENTRY(conn, struct redis, conn);
    uintptr_t at = (uintptr_t)about;
    if (at >= (uintptr_t)redis->scripts && at < (uintptr_t)(redis->scripts + REDIS_SCRIPTS_MAX)) {
        on_loaded(about, value);
        return;
    }
    struct redis_op *op = about;
    if (value == NULL) {
        on_no_answer(redis, op, rc);
        return;
    }
    redis->answers++;
    if (redis_kind(value) == REDIS_ERROR && take_error(redis, op, redis_text(value), &rc)) {
        return;
    }
    end_op(redis, op, rc, op->cause);
    op->value = rc == RC_OK ? value : NULL;
    op->done(op);
}

/* -- the connection comes and goes -- */

static void on_ready(struct redis_conn *conn) {
    struct redis *redis = LIST_ENTRY(conn, struct redis, conn);
    for (size_t i = 0; i < REDIS_SCRIPTS_MAX; i++) {
        redis->scripts[i].is_asked = false;
    }
    redis->has_named_cluster = false;
    for (size_t i = 0; i < LISTENERS_MAX && !redis->is_closing; i++) {
        if (redis->listeners[i].ready != NULL) {
            redis->listeners[i].ready(redis->listeners[i].owner);
        }
    }
    struct list *node = redis->open.next;
    while (node != &redis->open && !redis->is_closing) {
        struct redis_op *op = LIST_ENTRY(node, struct redis_op, node);
        node = node->next;
        if (!op->is_sent) {
            send_kept(redis, op);
        }
    }
}

static void end_unsent(struct redis *redis, enum rc rc, const char *cause) {
    struct list *node = redis->open.next;
    while (node != &redis->open) {
        struct redis_op *op = LIST_ENTRY(node, struct redis_op, node);
        node = node->next;
        if (!op->is_sent) {
            end_later(redis, op, rc, cause);
        }
    }
}

static void on_down(struct redis_conn *conn, enum rc rc, const char *cause) {
    struct redis *redis = LIST_ENTRY(conn, struct redis, conn);
    (void)rc;
    if (!redis_conn_may_wait(conn)) {
        end_unsent(redis, RC_UNREACHABLE, cause);
    }
}

/* -- commands -- */

static void start_op(struct redis *redis, struct redis_op *op, void (*done)(struct redis_op *op)) {
    *op = (struct redis_op){.done = done, .redis = redis};
}

static void refuse(struct redis *redis, struct redis_op *op, enum rc rc, const char *cause) {
    op->rc = rc;
    op->cause = cause;
    count(redis, outcome_metric(rc), 1);
    tell_later(redis, op);
}

/* Whether the command, whose bytes are in the scratch, may be opened. */
static bool may_open(struct redis *redis, struct redis_op *op) {
    op->bytes = redis->scratch.len;
    if (op->script != NULL && !redis->scripts[op->script->index].is_known) {
        op->bytes += strlen(op->script->text);
    }
    if (redis->is_closing) {
        refuse(redis, op, RC_CANCELED, "closed");
    } else if (!buf_ok(&redis->scratch) || redis->scratch.len > LIMIT_REDIS_COMMAND_BYTES) {
        refuse(redis, op, RC_TOO_LARGE, "a command above its cap");
    } else if (redis->open_count >= redis->opts.queue_max ||
               redis->open_bytes + op->bytes > LIMIT_REDIS_QUEUE_BYTES) {
        refuse(redis, op, RC_FULL, "too many commands without an answer");
    } else if (!redis_is_ready(redis) && !redis_conn_may_wait(&redis->conn)) {
        refuse(redis, op, RC_UNREACHABLE, "no connection");
    } else {
        return true;
    }
    return false;
}

void redis_command(struct redis *redis, struct redis_op *op, const struct slice *args,
                   size_t arg_count, void (*done)(struct redis_op *op)) {
    start_op(redis, op, done);
    redis_wire_command(fresh_scratch(redis), args, arg_count);
    if (!may_open(redis, op)) {
        return;
    }
    open_op(redis, op);
    if (redis_is_ready(redis)) {
        sent(redis, op, send_scratch(redis, op));
    } else {
        keep(op, buf_slice(&redis->scratch));
    }
    watch(redis);
}

void redis_eval(struct redis *redis, struct redis_op *op, const struct redis_script *script,
                const struct slice *args, size_t key_count, size_t arg_count,
                void (*done)(struct redis_op *op)) {
    assert(script->index < REDIS_SCRIPTS_MAX && key_count <= arg_count);
    assert(strlen(script->text) < LIMIT_REDIS_SCRIPT_BYTES / 2);
    start_op(redis, op, done);
    op->script = script;
    op->arg_count = arg_count + 3; /* EVALSHA, the script, the number of keys */
    struct buf *out = fresh_scratch(redis);
    char keys[8];
    struct buf digits;
    buf_init_fixed(&digits, keys, sizeof keys);
    buf_append_u64(&digits, key_count);
    redis_wire_arg(out, buf_slice(&digits));
    for (size_t i = 0; i < arg_count; i++) {
        redis_wire_arg(out, args[i]);
    }
    if (!may_open(redis, op)) {
        return;
    }
    keep(op, buf_slice(out));
    open_op(redis, op);
    if (redis_is_ready(redis)) {
        send_eval(redis, op, false);
    }
    watch(redis);
}

/* -- the beginning and the end -- */

static void on_conn_closed(struct redis_conn *conn);

struct redis *redis_new(const struct redis_opts *opts) {
    struct redis *redis = mem_calloc(1, sizeof *redis);
    redis->opts = *opts;
    if (redis->opts.command_timeout_ms == 0) {
        redis->opts.command_timeout_ms = REDIS_COMMAND_TIMEOUT_MS;
    }
    if (redis->opts.queue_max == 0) {
        redis->opts.queue_max = REDIS_QUEUE_MAX;
    }
    redis->overdue_ms = INT64_MIN;
    list_init(&redis->open);
    list_init(&redis->over);
    buf_init(&redis->scratch, LIMIT_REDIS_COMMAND_BYTES + LIMIT_REDIS_SCRIPT_BYTES);
    loop_timer_init(opts->loop, &redis->timer);
    redis->conn.opts = &redis->opts;
    redis->conn.ready = on_ready;
    redis->conn.down = on_down;
    redis->conn.answered = on_answered;
    redis->conn.closed = on_conn_closed;
    redis_conn_start(&redis->conn);
    return redis;
}

void redis_on_ready(struct redis *redis, void (*ready)(void *owner), void *owner) {
    size_t i = 0;
    while (redis->listeners[i].ready != NULL) {
        i++;
        assert(i < LISTENERS_MAX);
    }
    redis->listeners[i] = (struct listener){ready, owner};
}

void redis_off_ready(struct redis *redis, const void *owner) {
    for (size_t i = 0; i < LISTENERS_MAX; i++) {
        if (redis->listeners[i].owner == owner) {
            redis->listeners[i] = (struct listener){NULL, NULL};
        }
    }
}

bool redis_is_ready(const struct redis *redis) {
    return redis->conn.state == REDIS_CONN_READY;
}

void redis_close(struct redis *redis, void (*closed)(void *owner), void *owner) {
    assert(!redis->is_closing);
    redis->is_closing = true;
    redis->closed = closed;
    redis->owner = owner;
    end_unsent(redis, RC_CANCELED, "closed");
    redis_conn_close(&redis->conn);
}

static void on_timer_closed(struct loop_timer *timer) {
    struct redis *redis = LIST_ENTRY(timer, struct redis, timer);
    void (*closed)(void *owner) = redis->closed;
    void *owner = redis->owner;
    buf_fini(&redis->scratch);
    mem_free(redis);
    closed(owner);
}

static void end_if_closed(struct redis *redis) {
    if (redis->is_conn_closed && redis->untold == 0) {
        redis->is_conn_closed = false;
        loop_timer_close(&redis->timer, on_timer_closed);
    }
}

static void on_conn_closed(struct redis_conn *conn) {
    struct redis *redis = LIST_ENTRY(conn, struct redis, conn);
    redis->is_conn_closed = true;
    end_if_closed(redis);
}
