// SPDX-License-Identifier: MIT
#include "http/conn.h"

#include <assert.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/guard.h"
#include "http/parse.h"

enum state {
    READ_HEAD, /* between requests, or a head is coming in */
    ON_HEAD,   /* the head is with the handler */
    READ_BODY, /* the handler waits for the body */
    ON_BODY,   /* the whole request is with the handler */
    SKIP_BODY, /* the reply is given already; the rest of the body is dropped */
    LAST,      /* the last reply is given: once written, FIN, and what comes is dropped */
    CLOSED     /* the stream is closing or closed; the handler may still owe its reply */
};

enum { ID_BYTES = 32 };

/* What a connection needs while a request is under way. */
struct turn {
    struct list node; /* in spare_turns */
    struct http_request request;
    struct arena arena;
    struct buf body;
    struct http_parse *parse;
    char id[ID_BYTES];
};

struct http_conn {
    struct stream stream;
    struct http_conns *conns;
    struct list node; /* in open or spare */
    struct http_deadline deadline;
    struct loop_task resume; /* looks at the pending bytes on a later turn */
    struct loop_task cut;    /* tells the handler that the client was cut off */
    struct turn *turn;
    struct buf pending;   /* bytes that came too early, or a part of a head */
    size_t pending_start; /* those before are done with */
    struct slice *input;  /* what is being looked at, else NULL */
    struct http_guard_head guard;
    size_t dropped_bytes; /* of a body that nobody wants, or after the last reply */
    enum state state;
    bool stream_closed;
};

/* Ten thousand of them may be idle. */
static_assert(sizeof(struct http_conn) <= 1024, "an idle connection is small");

static const struct stream_events conn_events;

static struct http_conn *conn_of(struct stream *stream) {
    return LIST_ENTRY(stream, struct http_conn, stream);
}

/* ----------------------------------------------------------------------------------- memory */

static void turn_free(struct turn *turn) {
    arena_fini(&turn->arena);
    http_parse_free(turn->parse);
    mem_free(turn);
}

static struct turn *turn_take(struct http_conns *conns) {
    struct list *node = list_take_first(&conns->spare_turns);
    if (node != NULL) {
        conns->spare_turn_count--;
        return LIST_ENTRY(node, struct turn, node);
    }
    struct turn *turn = mem_calloc(1, sizeof *turn);
    arena_init(&turn->arena, LIMIT_REQUEST_ARENA_BYTES);
    turn->parse = http_parse_new();
    return turn;
}

/* The next request gets the one that was used last: it is warm. */
static void turn_give_back(struct http_conn *conn) {
    struct http_conns *conns = conn->conns;
    struct turn *turn = conn->turn;
    conn->turn = NULL;
    if (turn == NULL) {
        return;
    }
    arena_reset(&turn->arena);
    if (conns->spare_turn_count < LIMIT_SPARE_REQUESTS) {
        conns->spare_turn_count++;
        list_append(conns->spare_turns.next, &turn->node); /* before the first */
    } else {
        turn_free(turn);
    }
}

static void conn_give_back(struct http_conn *conn) {
    struct http_conns *conns = conn->conns;
    loop_task_drop(&conn->resume);
    loop_task_drop(&conn->cut);
    conns->live_count--;
    if (conns->spare_count < LIMIT_SPARE_CONNECTIONS) {
        conns->spare_count++;
        list_append(&conns->spare, &conn->node);
    } else {
        mem_free(conn);
    }
    conns->lessened(conns);
}

/* --------------------------------------------------------------------------------- closing */

static void forget_output(struct http_conn *conn) {
    if (conn->conns->out_conn == conn) {
        conn->conns->out_conn = NULL;
        conn->conns->out_len = 0;
    }
}

/* Nothing more is read or written. What a handler that has the request borrows stays until its
 * reply. */
static void close_conn(struct http_conn *conn, bool by_reset) {
    bool owed = conn->state == ON_HEAD || conn->state == ON_BODY;
    if (conn->state == CLOSED) {
        return;
    }
    conn->state = CLOSED;
    http_deadline_clear(&conn->deadline);
    loop_task_drop(&conn->resume);
    forget_output(conn);
    buf_fini(&conn->pending);
    if (!owed) {
        turn_give_back(conn);
    }
    if (by_reset) {
        stream_abort(&conn->stream);
    } else {
        stream_close(&conn->stream);
    }
}

static void on_closed(struct stream *stream) {
    struct http_conn *conn = conn_of(stream);
    struct http_conns *conns = conn->conns;
    conn->stream_closed = true;
    list_remove(&conn->node);
    conns->open_count--;
    metrics_add(conns->opts.metrics, METRIC_CONNECTIONS, -1);
    if (conn->turn == NULL) {
        conn_give_back(conn);
    } else {
        conns->lessened(conns);
    }
}

/* The last thing that its caller does: the handler may answer here, and the connection be gone. */
static void tell_gone(struct http_conn *conn) {
    struct http_request *request = &conn->turn->request;
    request->is_gone = true;
    if (request->gone != NULL) {
        request->gone(request);
    }
}

static void lose_client(struct http_conn *conn) {
    close_conn(conn, false);
    if (conn->turn != NULL) {
        tell_gone(conn);
    }
}

/* --------------------------------------------------------------------------------- writing */

static void flush(struct http_conn *conn) {
    struct http_conns *conns = conn->conns;
    if (conns->out_conn == conn) {
        size_t n = conns->out_len;
        forget_output(conn);
        stream_write(&conn->stream, slice_make(conns->out, n));
    }
}

/* A large body goes to the kernel from where it lies. */
enum { BODY_COPY_MAX = 16 * 1024 };

static void write_reply(struct http_conn *conn, const struct http_render_head *head,
                        struct slice body) {
    struct http_conns *conns = conn->conns;
    size_t copied = body.len <= BODY_COPY_MAX ? body.len : 0;
    size_t needed = http_render_max(&conns->render, head) + copied;
    if (conns->out_conn != NULL &&
        (conns->out_conn != conn || needed > LIMIT_REPLY_BUFFER_BYTES - conns->out_len)) {
        flush(conns->out_conn);
    }
    conns->out_conn = conn;
    char *out = conns->out + conns->out_len;
    size_t n = http_render_head(&conns->render, head, loop_wall_ms(conns->loop), out);
    if (copied > 0) {
        memcpy(out + n, body.at, copied);
        n += copied;
    }
    conns->out_len += n;
    metrics_add(conns->opts.metrics, METRIC_REQUESTS, 1);
    if (copied < body.len) {
        const struct slice parts[] = {slice_make(conns->out, conns->out_len), body};
        forget_output(conn);
        stream_write_parts(&conn->stream, parts, 2);
    }
}

static struct slice fresh_id(struct http_conns *conns, char out[ID_BYTES]) {
    static const char hex[] = "0123456789abcdef";
    uint64_t id = conns->next_id++;
    memcpy(out, conns->id_prefix, sizeof conns->id_prefix);
    for (int i = ID_BYTES; i-- > (int)sizeof conns->id_prefix; id >>= 4) {
        out[i] = hex[id & 15];
    }
    return slice_make(out, ID_BYTES);
}

/* The answer to what is no request, or not all of one: the connection's last. */
static void refuse(struct http_conn *conn, int status) {
    struct http_conns *conns = conn->conns;
    struct slice body = conns->opts.handler->error_body(conns->opts.owner, status);
    const struct http_request *request = conn->turn != NULL ? &conn->turn->request : NULL;
    char id[ID_BYTES];
    const struct http_render_head head = {
        .status = status,
        .content_type = SLICE("application/json"),
        .content_length = body.len,
        .headers = request != NULL ? request->reply_headers : SLICE_NULL,
        .request_id = request != NULL ? request->request_id : fresh_id(conns, id),
        .close = true,
        .is_secure = stream_is_secure(&conn->stream),
    };
    bool is_head = request != NULL && request->method == HTTP_HEAD;
    write_reply(conn, &head, is_head ? SLICE_NULL : body);
    turn_give_back(conn);
    conn->state = LAST;
}

/* ----------------------------------------------------------------------- bytes to requests */

static void consume(struct slice *input, size_t n) {
    *input = slice_make(input->at + n, input->len - n);
}

static bool is_id(struct slice text) {
    if (text.len == 0 || text.len > LIMIT_REQUEST_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '.' || c == '_';
        if (!good) {
            return false;
        }
    }
    return true;
}

static int start_request(struct http_conn *conn, struct slice head) {
    struct http_conns *conns = conn->conns;
    struct turn *turn = turn_take(conns);
    struct http_request *request = &turn->request;
    conn->turn = turn;
    *request = (struct http_request){
        .peer = stream_peer(&conn->stream),
        .started_ms = loop_now_ms(conns->loop),
        .started_ns = loop_turn_ns(conns->loop),
        .arena = &turn->arena,
        .conn = conn,
    };
    int status = http_parse_head(turn->parse, arena_copy(&turn->arena, head), request);
    struct slice id = http_header(request, HTTP_HEADER_X_REQUEST_ID);
    request->request_id = is_id(id) ? id : fresh_id(conns, turn->id);
    return status;
}

/* The functions below return true where there is more to do with what is left of the input. */

static bool read_head(struct http_conn *conn, struct slice *input) {
    struct http_conns *conns = conn->conns;
    size_t length;
    if (conn->stream.writes_open > 0) {
        return false; /* who doesn't take answers gets no further ones */
    }
    /* RFC 9112 section 2.2: empty lines before a request are let pass. */
    while (conn->guard.seen == 0 && slice_starts(*input, SLICE("\r\n"))) {
        consume(input, 2);
    }
    if (input->len == 0 || (input->len == 1 && input->at[0] == '\r')) {
        return false;
    }
    int status = http_guard_head(&conn->guard, *input, &length);
    if (status == 0 && length == 0) {
        return false;
    }
    conn->guard = (struct http_guard_head){0};
    if (status == 0) {
        struct slice head = slice_head(*input, length);
        consume(input, length);
        status = start_request(conn, head);
    }
    if (status != 0) {
        refuse(conn, status);
        return false;
    }
    http_deadline_clear(&conn->deadline);
    conn->state = ON_HEAD;
    conns->opts.handler->on_head(conns->opts.owner, &conn->turn->request);
    return true;
}

static bool read_body(struct http_conn *conn, struct slice *input) {
    struct http_conns *conns = conn->conns;
    struct turn *turn = conn->turn;
    bool done = !turn->request.has_body;
    if (!done) {
        size_t used;
        if (input->len == 0) {
            return false;
        }
        int status = http_parse_body(turn->parse, *input, &turn->body, &used, &done);
        if (status != 0) {
            refuse(conn, status);
            return false;
        }
        consume(input, used);
    }
    if (!done) {
        return false;
    }
    http_deadline_clear(&conn->deadline);
    turn->request.body = turn->body.len > 0 ? buf_slice(&turn->body) : SLICE("");
    conn->state = ON_BODY;
    conns->opts.handler->on_body(conns->opts.owner, &turn->request);
    return true;
}

/* The reply is out, so whatever is wrong with the rest ends the connection without a word. */
static bool skip_body(struct http_conn *conn, struct slice *input) {
    struct turn *turn = conn->turn;
    size_t used;
    bool done;
    if (input->len == 0) {
        return false;
    }
    int status = http_parse_body(turn->parse, *input, NULL, &used, &done);
    conn->dropped_bytes += used;
    if (status != 0 || conn->dropped_bytes > 2 * conn->conns->opts.body_max) {
        turn_give_back(conn);
        conn->state = LAST;
        return false;
    }
    consume(input, used);
    if (!done) {
        return false;
    }
    turn_give_back(conn);
    http_deadline_clear(&conn->deadline);
    conn->state = READ_HEAD;
    return true;
}

static void look_at(struct http_conn *conn, struct slice *input) {
    bool more = true;
    assert(conn->input == NULL);
    conn->input = input;
    while (more) {
        more = conn->state == READ_HEAD   ? read_head(conn, input)
               : conn->state == READ_BODY ? read_body(conn, input)
               : conn->state == SKIP_BODY ? skip_body(conn, input)
                                          : false;
    }
    conn->input = NULL;
    flush(conn);
}

/* Before the loop waits again: what the connection waits for decides its deadline and whether more
 * is read. */
static void settle(struct http_conn *conn) {
    struct http_deadlines *deadlines = &conn->conns->deadlines;
    size_t pending = conn->pending.len - conn->pending_start;
    enum http_deadline_kind kind;
    if (conn->state == CLOSED) {
        return;
    }
    if (conn->stream.writes_open > 0) {
        kind = HTTP_DEADLINE_WRITE;
    } else if (conn->state == ON_HEAD || conn->state == ON_BODY) {
        kind = HTTP_DEADLINE_NONE; /* the handler has its own */
    } else if (conn->state == LAST) {
        kind = HTTP_DEADLINE_LINGER;
        stream_shutdown(&conn->stream);
    } else if (conn->state == READ_HEAD && pending == 0) {
        kind = conn->conns->is_draining ? HTTP_DEADLINE_GRACE : HTTP_DEADLINE_IDLE;
    } else {
        kind = HTTP_DEADLINE_HEAD;
    }
    if (kind == HTTP_DEADLINE_NONE) {
        http_deadline_clear(&conn->deadline);
    } else if (kind != conn->deadline.kind) {
        http_deadline_set(deadlines, &conn->deadline, kind);
    }
    if (conn->state == LAST || pending < LIMIT_PIPELINE_BYTES) {
        stream_read_start(&conn->stream);
    } else {
        stream_read_stop(&conn->stream);
    }
}

static void look_at_pending(struct http_conn *conn) {
    struct slice input = slice_from(buf_slice(&conn->pending), conn->pending_start);
    look_at(conn, &input);
    if (conn->state == CLOSED) {
        return;
    }
    if (input.len == 0 || conn->state == LAST) {
        buf_fini(&conn->pending);
        conn->pending_start = 0;
    } else {
        conn->pending_start = conn->pending.len - input.len;
    }
}

static void append_pending(struct http_conn *conn, struct slice bytes) {
    struct buf *pending = &conn->pending;
    if (conn->pending_start > 0) {
        pending->len -= conn->pending_start;
        memmove(pending->at, pending->at + conn->pending_start, pending->len);
        conn->pending_start = 0;
    }
    buf_append(pending, bytes);
    assert(buf_ok(pending));
}

static void on_read(struct stream *stream, char *bytes, size_t n) {
    struct http_conn *conn = conn_of(stream);
    struct slice input = slice_make(bytes, n);
    if (conn->state == LAST) {
        conn->dropped_bytes += n;
        if (conn->dropped_bytes > LIMIT_LINGER_BYTES) {
            close_conn(conn, true);
        }
        return;
    }
    if (conn->pending.len > 0) {
        append_pending(conn, input);
        look_at_pending(conn);
    } else {
        look_at(conn, &input);
        if (input.len > 0 && conn->state != LAST && conn->state != CLOSED) {
            append_pending(conn, input);
        }
    }
    settle(conn);
}

/* ------------------------------------------------------------------- the handler's two answers */

static void on_resume(struct loop_task *task) {
    struct http_conn *conn = LIST_ENTRY(task, struct http_conn, resume);
    look_at_pending(conn);
    settle(conn);
}

static void look_later(struct http_conn *conn) {
    if (!list_is_linked(&conn->resume.node)) {
        loop_later(conn->conns->loop, &conn->resume, on_resume);
    }
}

/* The client is gone: its request ends with the answer that was owed, whatever it is. */
static void end_owed(struct http_conn *conn) {
    loop_task_drop(&conn->cut);
    turn_give_back(conn);
    if (conn->stream_closed) {
        conn_give_back(conn);
    }
}

static bool has_body_begun(const struct http_conn *conn) {
    return conn->input != NULL ? conn->input->len > 0 : conn->pending.len > 0;
}

void http_read_body(struct http_request *request) {
    struct http_conn *conn = request->conn;
    struct turn *turn = conn->turn;
    size_t body_max = conn->conns->opts.body_max;
    if (conn->state == CLOSED) {
        end_owed(conn);
        return;
    }
    assert(conn->state == ON_HEAD);
    buf_init_arena(&turn->body, &turn->arena, body_max);
    if (request->content_length > body_max) {
        refuse(conn, 413);
    } else {
        conn->state = READ_BODY;
        buf_reserve(&turn->body, (size_t)request->content_length);
        if (request->expects_continue && !has_body_begun(conn)) {
            flush(conn);
            stream_write(&conn->stream, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }
    if (conn->input == NULL) {
        look_later(conn);
    }
}

/* The reply came before the body was asked for. The connection lives on only where all of the body
 * is at hand already and can be dropped: a client that sends less than it declared would otherwise
 * hold it, with its answer given. */
static bool can_skip(const struct http_conn *conn) {
    const struct http_request *request = &conn->turn->request;
    size_t at_hand =
        conn->input != NULL ? conn->input->len : conn->pending.len - conn->pending_start;
    return !request->expects_continue && !request->is_chunked && request->content_length <= at_hand;
}

/* Header lines of a size that no reply of ours has. */
static struct slice become_internal_error(struct http_conns *conns, struct http_render_head *head) {
    struct slice body = conns->opts.handler->error_body(conns->opts.owner, 500);
    head->status = 500;
    head->content_type = SLICE("application/json");
    head->content_length = body.len;
    head->headers = SLICE_NULL;
    head->more_headers = SLICE_NULL;
    head->csp = SLICE_NULL;
    return body;
}

static void write_answer(struct http_conn *conn, const struct http_reply *reply, bool close) {
    const struct http_request *request = &conn->turn->request;
    struct http_render_head head = {
        .status = reply->status,
        .content_type = reply->content_type,
        .content_length = reply->body.len,
        .headers = reply->headers,
        .more_headers = request->reply_headers,
        .csp = reply->csp,
        .request_id = request->request_id,
        .close = close,
        .keep_alive = request->minor == 0,
        .is_secure = stream_is_secure(&conn->stream),
    };
    struct slice body = reply->body;
    if (http_render_max(&conn->conns->render, &head) > LIMIT_REPLY_BUFFER_BYTES / 2) {
        body = become_internal_error(conn->conns, &head);
    }
    write_reply(conn, &head, request->method == HTTP_HEAD ? SLICE_NULL : body);
}

void http_reply(struct http_request *request, const struct http_reply *reply) {
    struct http_conn *conn = request->conn;
    if (conn->state == CLOSED) {
        end_owed(conn);
        return;
    }
    assert(conn->state == ON_HEAD || conn->state == ON_BODY);
    bool body_left = conn->state == ON_HEAD && request->has_body;
    bool close = reply->close || !request->keeps_alive || conn->conns->is_draining ||
                 (body_left && !can_skip(conn));
    write_answer(conn, reply, close);
    if (body_left && !close) {
        conn->dropped_bytes = 0;
        conn->state = SKIP_BODY;
        arena_reset(&conn->turn->arena);
    } else {
        turn_give_back(conn);
        conn->state = close ? LAST : READ_HEAD;
    }
    if (conn->input == NULL) {
        flush(conn);
        if (conn->pending.len > 0) {
            look_later(conn);
        }
        settle(conn);
    }
}

void http_reply_early(struct http_request *request, const struct http_reply *reply) {
    struct http_conn *conn = request->conn;
    if (conn->state == CLOSED) {
        return;
    }
    assert(conn->state == ON_BODY && conn->input == NULL);
    write_answer(conn, reply, true);
    flush(conn);
    request->is_gone = true;
    close_conn(conn, false);
}

void http_reply_raw(struct http_request *request, struct slice bytes, enum http_raw_end end) {
    struct http_conn *conn = request->conn;
    if (conn->state == CLOSED) {
        if (end != HTTP_RAW_MORE) {
            end_owed(conn);
        }
        return;
    }
    assert(conn->state == ON_HEAD || conn->state == ON_BODY);
    flush(conn);
    if (bytes.len > 0) {
        stream_write(&conn->stream, bytes);
    }
    if (end == HTTP_RAW_MORE) {
        return;
    }
    turn_give_back(conn);
    conn->state = LAST;
    if (end == HTTP_RAW_RESET) {
        close_conn(conn, true);
    } else if (conn->input == NULL) {
        settle(conn);
    }
}

/* --------------------------------------------------------------------------- what else happens */

static void on_ended(struct stream *stream, enum rc rc) {
    (void)rc;
    lose_client(conn_of(stream));
}

static void on_drained(struct stream *stream, enum rc rc) {
    struct http_conn *conn = conn_of(stream);
    if (rc != RC_OK) {
        lose_client(conn);
        return;
    }
    http_deadline_clear(&conn->deadline);
    look_at_pending(conn);
    settle(conn);
}

static const struct stream_events conn_events = {
    .read = on_read, .ended = on_ended, .drained = on_drained, .closed = on_closed};

static void on_expired(struct http_deadline *deadline, enum http_deadline_kind kind) {
    struct http_conn *conn = LIST_ENTRY(deadline, struct http_conn, deadline);
    if (kind == HTTP_DEADLINE_HEAD && conn->state != SKIP_BODY) {
        refuse(conn, 408);
        flush(conn);
        settle(conn);
    } else if (kind == HTTP_DEADLINE_WRITE) {
        close_conn(conn, true);
        if (conn->turn != NULL) {
            tell_gone(conn);
        }
    } else {
        close_conn(conn, false);
    }
}

struct stream *http_conns_accepting(struct http_conns *conns) {
    if (conns->open_count >= conns->opts.connections_max) {
        metrics_add(conns->opts.metrics, METRIC_CONNECTIONS_REFUSED, 1);
        return NULL;
    }
    struct list *node = list_take_first(&conns->spare);
    struct http_conn *conn;
    if (node != NULL) {
        conns->spare_count--;
        conn = LIST_ENTRY(node, struct http_conn, node);
    } else {
        conn = mem_alloc(sizeof *conn);
    }
    *conn = (struct http_conn){.conns = conns, .stream.events = &conn_events};
    buf_init(&conn->pending, LIMIT_PIPELINE_BYTES + LIMIT_READ_BUFFER_BYTES);
    list_append(&conns->open, &conn->node);
    conns->open_count++;
    conns->live_count++;
    metrics_add(conns->opts.metrics, METRIC_CONNECTIONS, 1);
    return &conn->stream;
}

void http_conns_accepted(struct stream *stream) {
    settle(conn_of(stream));
}

/* ---------------------------------------------------------------------------------------- all */

void http_conns_init(struct http_conns *conns, struct loop *loop,
                     const struct http_server_opts *opts) {
    static const char hex[] = "0123456789abcdef";
    *conns = (struct http_conns){.loop = loop, .opts = *opts};
    if (opts->metrics == NULL) {
        conns->opts.metrics = &conns->unused_metrics;
    }
    http_render_init(&conns->render, opts->headers, opts->csp);
    conns->render.secure_headers = opts->tls_headers;
    conns->out = mem_alloc(LIMIT_REPLY_BUFFER_BYTES);
    list_init(&conns->open);
    list_init(&conns->spare);
    list_init(&conns->spare_turns);
    for (size_t i = 0; i < sizeof conns->id_prefix; i++) {
        conns->id_prefix[i] = hex[opts->id_prefix >> (60 - 4 * i) & 15];
    }
    conns->deadlines.expired = on_expired;
    int64_t *after_ms = conns->deadlines.after_ms;
    after_ms[HTTP_DEADLINE_HEAD] = opts->head_timeout_ms;
    after_ms[HTTP_DEADLINE_IDLE] = opts->idle_timeout_ms;
    after_ms[HTTP_DEADLINE_WRITE] = opts->write_timeout_ms;
    after_ms[HTTP_DEADLINE_LINGER] = LIMIT_LINGER_MS;
    after_ms[HTTP_DEADLINE_GRACE] = LIMIT_DRAIN_GRACE_MS;
    http_deadlines_init(&conns->deadlines, loop);
}

void http_conns_fini(struct http_conns *conns) {
    struct list *node;
    assert(conns->live_count == 0);
    while ((node = list_take_first(&conns->spare)) != NULL) {
        mem_free(LIST_ENTRY(node, struct http_conn, node));
    }
    while ((node = list_take_first(&conns->spare_turns)) != NULL) {
        turn_free(LIST_ENTRY(node, struct turn, node));
    }
    http_render_fini(&conns->render);
    mem_free(conns->out);
}

void http_conns_drain(struct http_conns *conns) {
    conns->is_draining = true;
    for (struct list *node = conns->open.next; node != &conns->open; node = node->next) {
        struct http_conn *conn = LIST_ENTRY(node, struct http_conn, node);
        if (conn->deadline.kind == HTTP_DEADLINE_IDLE) {
            settle(conn);
        }
    }
}

static void on_cut(struct loop_task *task) {
    tell_gone(LIST_ENTRY(task, struct http_conn, cut));
}

void http_conns_cut(struct http_conns *conns) {
    for (struct list *node = conns->open.next; node != &conns->open; node = node->next) {
        struct http_conn *conn = LIST_ENTRY(node, struct http_conn, node);
        if (conn->state == CLOSED) {
            continue;
        }
        close_conn(conn, false);
        if (conn->turn != NULL) {
            loop_later(conns->loop, &conn->cut, on_cut);
        }
    }
}
