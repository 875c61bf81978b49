// SPDX-License-Identifier: MIT
/* A connection's whole life: what a client sends, cut anywhere, while the handler answers at once
 * or later and the kernel takes answers or doesn't. The first byte says where it is cut, the next
 * two how it goes (the bits below), the rest is sent. io/stream is replaced by the stand-ins here.
 *   Every request is answered once; where nothing else is different, the same bytes cut elsewhere
 *   are answered the same; nothing is written after the end; nothing is left behind. */
#include "http/conn.h"
#include "base/limits.h"
#include "base/mem.h"
#include "fuzz/fuzz.h"

enum {
    ANSWERS_LATER = 1 << 0,
    ANSWERS_HEAD = 1 << 1, /* before the body is read */
    TAKES_LATER = 1 << 2,  /* the kernel */
    TAKES_NEVER = 1 << 3,  /* the connection breaks at the first write */
    CLIENT_ENDS = 1 << 4,  /* else the server cuts it */
    DRAINS = 1 << 5,
    ANSWERS_LONG = 1 << 6,
    BYTE_BY_BYTE = 1 << 7,
    ANSWERS_LAST = 1 << 8, /* ANSWERS_LATER: when the client is gone */
    ANSWERS_GONE = 1 << 9, /* ANSWERS_LAST: as soon as that is told */
};

enum { BODY_MAX = 4096, LONG_BYTES = 20000, NEVER_MS = 1000 * 1000 * 1000, OUT_MAX = 1 << 26 };
enum { BYTES_ALONE_MAX = 300 };

struct play {
    struct clock clock;
    struct loop loop;
    struct http_conns conns;
    struct stream *stream; /* NULL: closed */
    struct http_request *owed;
    bool is_body_owed;
    bool is_ending;
    bool is_last; /* an answer was the connection's last */
    unsigned how;
    size_t answers; /* that were written: ours and the connection's own */
    struct buf out;
    bool timer_closed;
};

static struct play *play_of(const struct stream *stream) {
    return LIST_ENTRY(stream->loop, struct play, loop);
}

/* ---- in the place of io/stream ---- */

void stream_read_start(struct stream *stream) {
    stream->is_reading = !stream->is_closing;
}

void stream_read_stop(struct stream *stream) {
    stream->is_reading = false;
}

bool stream_write_parts(struct stream *stream, const struct slice *parts, size_t count) {
    struct play *play = play_of(stream);
    FUZZ_CHECK(!stream->is_closing && !stream->is_shutdown && count <= STREAM_PARTS_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_append(&play->out, parts[i]);
    }
    FUZZ_CHECK(buf_ok(&play->out));
    if ((play->how & (TAKES_LATER | TAKES_NEVER)) == 0) {
        return true;
    }
    stream->writes_open++;
    return false;
}

bool stream_write(struct stream *stream, struct slice bytes) {
    return stream_write_parts(stream, &bytes, 1);
}

void stream_shutdown(struct stream *stream) {
    FUZZ_CHECK(!stream->is_closing);
    stream->is_shutdown = true;
}

void stream_close(struct stream *stream) {
    FUZZ_CHECK(!stream->is_closing);
    stream->is_closing = true;
    stream->is_reading = false;
}

void stream_abort(struct stream *stream) {
    stream_close(stream);
}

/* ---- the handler ---- */

static void give_answer(struct play *play, struct http_request *request) {
    static const char text[LONG_BYTES];
    size_t n = (play->how & ANSWERS_LONG) != 0 ? sizeof text : 2;
    play->is_last |= !request->keeps_alive || play->conns.is_draining;
    play->answers += play->stream != NULL && !play->stream->is_closing;
    http_reply(request, &(struct http_reply){.status = 200,
                                             .content_type = SLICE("text/plain"),
                                             .body = slice_make(text, n)});
}

static void owe(struct play *play, struct http_request *request, bool is_body) {
    FUZZ_CHECK(play->owed == NULL);
    play->owed = request;
    play->is_body_owed = is_body;
}

static void answer_owed(struct play *play) {
    struct http_request *request = play->owed;
    play->owed = NULL;
    if (play->is_body_owed || (play->how & ANSWERS_HEAD) != 0) {
        give_answer(play, request);
    } else {
        http_read_body(request);
    }
}

static void on_gone(struct http_request *request) {
    struct play *play = LIST_ENTRY(request->owner, struct play, conns);
    FUZZ_CHECK(request->is_gone && play->owed == request);
    if ((play->how & ANSWERS_GONE) != 0) {
        answer_owed(play);
    }
}

static void on_head(void *owner, struct http_request *request) {
    struct play *play = owner;
    FUZZ_CHECK(!play->is_last);
    FUZZ_CHECK(play->stream->writes_open == 0); /* who takes no answers gets no further ones */
    request->gone = on_gone;
    request->owner = &play->conns;
    FUZZ_CHECK(slice_is_printable(request->target) && request->target.len > 0);
    FUZZ_CHECK(request->request_id.len > 0 && request->request_id.len <= LIMIT_REQUEST_ID_BYTES);
    FUZZ_CHECK(slice_is_printable(request->request_id));
    owe(play, request, false);
    if ((play->how & ANSWERS_LATER) == 0) {
        answer_owed(play);
    }
}

static void on_body(void *owner, struct http_request *request) {
    struct play *play = owner;
    FUZZ_CHECK(request->body.len <= BODY_MAX && !slice_is_null(request->body));
    FUZZ_CHECK(request->is_chunked || request->body.len == request->content_length);
    owe(play, request, true);
    if ((play->how & ANSWERS_LATER) == 0) {
        answer_owed(play);
    }
}

static struct slice error_body(void *owner, int status) {
    struct play *play = owner;
    FUZZ_CHECK(status >= 400 && status < 600);
    play->answers++;
    return SLICE("{}");
}

static const struct http_handler handler = {on_head, on_body, error_body};

/* ---- time ---- */

static void run_tasks(struct play *play) {
    do {
        uv_run(&play->loop.uv, UV_RUN_NOWAIT);
    } while (!list_is_empty(&play->loop.tasks));
}

/* What the loop would bring: true where something happened. */
static bool turn(struct play *play) {
    struct stream *stream = play->stream;
    run_tasks(play);
    if (play->owed != NULL && ((play->how & ANSWERS_LAST) == 0 || play->is_ending)) {
        answer_owed(play);
        return true;
    }
    if (stream == NULL) {
        return false;
    }
    if (stream->is_closing) {
        play->stream = NULL;
        stream->events->closed(stream);
        return true;
    }
    if (stream->writes_open > 0) {
        stream->writes_open = 0;
        stream->events->drained(stream, (play->how & TAKES_NEVER) != 0 ? RC_UNREACHABLE : RC_OK);
        return true;
    }
    return false;
}

static void settle(struct play *play) {
    while (turn(play)) {
    }
}

static void on_lessened(struct http_conns *conns) {
    FUZZ_CHECK(conns->open_count <= 1 && conns->live_count <= 1);
}

static void on_timer_closed(struct loop_timer *timer) {
    LIST_ENTRY(timer, struct play, conns.deadlines.timer)->timer_closed = true;
}

static void begin(struct play *play) {
    const struct http_server_opts opts = {
        .handler = &handler,
        .owner = play,
        .connections_max = 1,
        .head_timeout_ms = NEVER_MS,
        .idle_timeout_ms = NEVER_MS,
        .write_timeout_ms = NEVER_MS,
        .body_max = BODY_MAX,
        .headers = SLICE("X-A: b\r\n"),
        .csp = SLICE("default-src 'none'"),
    };
    FUZZ_CHECK(loop_init(&play->loop, &play->clock) == RC_OK);
    buf_init(&play->out, OUT_MAX);
    http_conns_init(&play->conns, &play->loop, &opts);
    play->conns.lessened = on_lessened;
    play->stream = http_conns_accepting(&play->conns);
    FUZZ_CHECK(play->stream != NULL && http_conns_accepting(&play->conns) == NULL);
    play->stream->loop = &play->loop;
    http_conns_accepted(play->stream);
}

static void send_bytes(struct play *play, struct slice bytes) {
    if (bytes.len > 0 && play->stream != NULL && play->stream->is_reading) {
        struct slice exact = fuzz_exact(bytes);
        play->stream->events->read(play->stream, (char *)(uintptr_t)exact.at, exact.len);
        fuzz_free(exact);
    }
    settle(play);
    if ((play->how & DRAINS) != 0 && !play->conns.is_draining) {
        http_conns_drain(&play->conns);
    }
}

static void end(struct play *play) {
    play->is_ending = true;
    if (play->stream != NULL && play->stream->is_reading && (play->how & CLIENT_ENDS) != 0) {
        play->stream->is_reading = false;
        play->stream->events->ended(play->stream, RC_OK);
    } else {
        http_conns_cut(&play->conns);
    }
    settle(play);
    FUZZ_CHECK(play->stream == NULL && play->owed == NULL);
    FUZZ_CHECK(play->conns.open_count == 0 && play->conns.live_count == 0);
    http_deadlines_close(&play->conns.deadlines, on_timer_closed);
    while (!play->timer_closed) {
        uv_run(&play->loop.uv, UV_RUN_NOWAIT);
    }
    http_conns_fini(&play->conns);
    FUZZ_CHECK(loop_fini(&play->loop) == RC_OK);
}

/* ---- the answers ---- */

/* Takes out what a second on the clock, or where the body is cut, may change; returns how many
 * answers there are. */
static size_t normalise(struct buf *out) {
    static const struct slice interim = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
    static const struct slice date = {"\r\nDate: ", 8};
    static const struct slice status = {"HTTP/1.1 ", 9};
    size_t answers = 0;
    size_t n = 0;
    for (size_t i = 0; i < out->len;) {
        struct slice rest = slice_from(buf_slice(out), i);
        if (slice_starts(rest, interim)) {
            i += interim.len;
            continue;
        }
        answers += slice_starts(rest, status);
        out->at[n++] = out->at[i++];
        if (slice_starts(rest, date)) {
            while (i < out->len && out->at[i] != '\r') {
                i++;
            }
            i++; /* the next line's end begins with the "\r" before this one */
        }
    }
    out->len = n;
    return answers;
}

static struct buf play_all(struct slice text, size_t cut, unsigned how) {
    struct play *play = mem_calloc(1, sizeof *play);
    play->how = how;
    begin(play);
    if ((how & BYTE_BY_BYTE) != 0 && cut > 0 && text.len <= BYTES_ALONE_MAX) {
        for (size_t i = 0; i + 1 < text.len; i++) {
            send_bytes(play, slice_make(text.at + i, 1));
        }
        cut = text.len > 0 ? text.len - 1 : 0;
    } else {
        send_bytes(play, slice_head(text, cut));
    }
    send_bytes(play, slice_from(text, cut));
    end(play);
    struct buf out = play->out;
    FUZZ_CHECK(out.len == 0 || slice_starts(buf_slice(&out), SLICE("HTTP/1.1 ")));
    FUZZ_CHECK(normalise(&out) == play->answers);
    mem_free(play);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    if (n < 4 || n > LIMIT_READ_BUFFER_BYTES) {
        return 0;
    }
    struct slice text = slice_make(bytes + 3, n - 3);
    unsigned how = bytes[1] | (unsigned)bytes[2] << 8;
    struct buf whole = play_all(text, 0, how);
    struct buf cut = play_all(text, 1 + bytes[0] * (text.len - 1) / 256, how);
    /* An early answer looks at what is at hand; a drain and a break come at another moment. */
    if ((how & (ANSWERS_HEAD | DRAINS | TAKES_NEVER)) == 0) {
        FUZZ_CHECK(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    }
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
