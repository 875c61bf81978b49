// SPDX-License-Identifier: MIT
#include "kit/faults.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/upstream.h"
#include "io/work.h"
#include "kit/leaks.h"
#include "kit/peer.h"

/* One small run through all of io: a listener that answers, a peer, calls to both, work in both
 * lanes, and the end. Run again for each n with the n-th call to libuv or libcurl failing: whatever
 * it is, every operation completes once, nothing hangs, crashes or stays, and a call that is made
 * after it works. */
enum { CALLS = 3, OPS = 4, ANSWER_BYTES = 256 * 1024, TIMEOUT_MS = 400 };

struct call {
    struct upstream_op op;
    struct run *run;
    int done;
    enum rc rc;
};

struct op {
    struct work_op op;
    struct run *run;
    int done;
};

/* A connection of our listener: reads something, answers, closes. */
struct conn {
    struct stream stream;
    struct run *run;
    struct list node;
    bool has_answered;
};

struct run {
    struct clock clock;
    struct loop loop;
    struct stream_listener listener;
    struct upstream *upstream;
    struct work *work;
    struct work_lane *lane;
    struct peer *peer;
    struct call calls[CALLS + 1];
    struct op ops[OPS];
    struct list conns;
    size_t under_way;
    bool listens;
    bool is_last;   /* the last call is started */
    bool must_work; /* and the fault was met before it */
    int closed;     /* of what was open */
    int opened;
};

static char answer[ANSWER_BYTES];
static size_t answer_bytes;

/* Any certificate will do to be a CA file, and one is read faster than the system's. */
static char ca_file[] = "/tmp/latchkey-test-XXXXXX";
static const char ca_text[] = "-----BEGIN CERTIFICATE-----\n"
                              "MIIBdDCCARmgAwIBAgIUatiKICddie8EIbjWOTzfn9ydXvYwCgYIKoZIzj0EAwIw\n"
                              "DzENMAsGA1UEAwwEdGVzdDAeFw0yNjExMjQyMDE4NTFaFw0yNjExMjUyMDE4NTFa\n"
                              "MA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATl7ID+\n"
                              "Gh9PG8V54/b1aB1QdFAB6jU+QFbXKNDiNDTwSA8ht0Bgm9AE4LFy+DI3CK2qw44I\n"
                              "5zK1FtJJzEFJqEJao1MwUTAdBgNVHQ4EFgQUx5V0oZHwYDdt6azXCtjuNuWN9Z4w\n"
                              "HwYDVR0jBBgwFoAUx5V0oZHwYDdt6azXCtjuNuWN9Z4wDwYDVR0TAQH/BAUwAwEB\n"
                              "/zAKBggqhkjOPQQDAgNJADBGAiEAvlDrK34IQ/1seFtpYI408NV3y2B/n58D4ljH\n"
                              "P6o4TeYCIQDZd+uiCHkjfXCPKXVFQyhmmALg8eJ7lu6z1opfvUTi6g==\n"
                              "-----END CERTIFICATE-----\n";

static void close_all(struct run *run);

static void start_last_call(struct run *run);

static bool was_met(void) {
    return faults_met(FAULTS_UV) != NULL || faults_met(FAULTS_CURL) != NULL;
}

static void finish_one(struct run *run) {
    run->under_way--;
    if (run->under_way > 0) {
        return;
    }
    if (run->upstream != NULL && !run->is_last) {
        run->is_last = true;
        run->must_work = was_met();
        start_last_call(run);
    } else {
        close_all(run);
    }
}

/* --- the listener's side ---------------------------------------------------------------------- */

static void on_read(struct stream *stream, char *bytes, size_t n) {
    struct conn *conn = LIST_ENTRY(stream, struct conn, stream);
    (void)bytes;
    (void)n;
    if (conn->has_answered) {
        return;
    }
    conn->has_answered = true;
    if (stream_write(stream, slice_make(answer, answer_bytes))) {
        stream_close(stream);
    }
}

static void on_drained(struct stream *stream, enum rc rc) {
    (void)rc;
    stream_abort(stream);
}

static void on_ended(struct stream *stream, enum rc rc) {
    (void)rc;
    stream_close(stream);
}

static void on_conn_closed(struct stream *stream) {
    struct conn *conn = LIST_ENTRY(stream, struct conn, stream);
    list_remove(&conn->node);
    mem_free(conn);
}

static const struct stream_events conn_events = {
    .read = on_read, .ended = on_ended, .drained = on_drained, .closed = on_conn_closed};

static struct stream *on_accepting(struct stream_listener *listener) {
    struct run *run = listener->owner;
    struct conn *conn = mem_calloc(1, sizeof *conn);
    conn->run = run;
    conn->stream.events = &conn_events;
    list_append(&run->conns, &conn->node);
    return &conn->stream;
}

static void on_accepted(struct stream *stream) {
    stream_read_start(stream);
}

static void on_listener_closed(struct stream_listener *listener) {
    struct run *run = listener->owner;
    run->closed++;
}

static const struct stream_listener_events listener_events = {
    .accepting = on_accepting, .accepted = on_accepted, .closed = on_listener_closed};

/* --- the caller's side ------------------------------------------------------------------------ */

static void on_answer(struct upstream_op *op) {
    struct call *call = LIST_ENTRY(op, struct call, op);
    call->done++;
    call->rc = op->rc;
    finish_one(call->run);
}

static void start_call(struct run *run, size_t i, int port) {
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/ok", port);
    const struct upstream_request request = {
        .method = i == 1 ? "POST" : "GET",
        .url = slice_str(url),
        .body = i == 1 ? SLICE("code=1") : SLICE_NULL,
        .timeout_ms = TIMEOUT_MS,
        .answer_max = ANSWER_BYTES,
    };
    run->calls[i].run = run;
    run->under_way++;
    upstream_start(run->upstream, &run->calls[i].op, &request, on_answer);
    cr_assert_eq(run->calls[i].done, 0);
}

static void start_last_call(struct run *run) {
    start_call(run, CALLS, peer_port(run->peer));
}

static void work_run(struct work_op *op) {
    (void)op;
}

static void on_work(struct work_op *op, enum rc rc) {
    struct op *mine = LIST_ENTRY(op, struct op, op);
    (void)rc;
    mine->done++;
    finish_one(mine->run);
}

static void start_work(struct run *run) {
    for (size_t i = 0; i < OPS; i++) {
        bool is_slow = i % 2 == 1;
        if (is_slow && run->lane == NULL) {
            continue;
        }
        run->ops[i].run = run;
        run->under_way++;
        if (is_slow) {
            work_lane_submit(run->lane, &run->ops[i].op, work_run, on_work);
        } else {
            work_submit(run->work, &run->ops[i].op, work_run, on_work);
        }
        cr_assert_eq(run->ops[i].done, 0);
    }
}

/* --- a run ------------------------------------------------------------------------------------ */

static void on_closed(void *owner) {
    struct run *run = owner;
    run->closed++;
}

static void close_all(struct run *run) {
    work_close(run->work, on_closed, run);
    if (run->lane != NULL) {
        work_lane_close(run->lane, on_closed, run);
    }
    if (run->upstream != NULL) {
        upstream_close(run->upstream, on_closed, run);
    }
    if (run->listens) {
        stream_listener_close(&run->listener);
    }
    for (struct list *node = run->conns.next; node != &run->conns; node = node->next) {
        stream_close(&LIST_ENTRY(node, struct conn, node)->stream);
    }
}

static void open_all(struct run *run) {
    static const struct work_lane_opts lane = {.threads = 1, .queue_max = 10, .name = "lane"};
    const struct upstream_opts opts = {.connect_timeout_ms = TIMEOUT_MS,
                                       .timeout_ms = TIMEOUT_MS,
                                       .connections_max = 2,
                                       .keepalive_max = 2,
                                       .queue_max = 10,
                                       .ca_file = ca_file};
    char problem[STREAM_PROBLEM_BYTES];
    const char *why = NULL;
    list_init(&run->conns);
    run->listens = stream_listen(&run->loop, &run->listener, SLICE("127.0.0.1:0"), &listener_events,
                                 run, problem) == RC_OK;
    run->upstream = upstream_new(&run->loop, &opts, &why);
    cr_assert(run->upstream != NULL || why != NULL, "it failed without a word");
    run->work = work_new(&run->loop, 100);
    run->lane = work_lane_new(&run->loop, &lane);
    run->opened = 1 + run->listens + (run->upstream != NULL) + (run->lane != NULL);
}

/* What keeps a call from starting, or from being watched, ends it at once rather than at its
 * deadline. */
static bool ends_at_once(const char *met) {
    static const char *const names[] = {"uv_poll_init_socket", "curl_multi_assign",
                                        "curl_multi_add_handle", "curl_easy_init",
                                        "curl_easy_setopt"};
    for (size_t i = 0; met != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(met, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void assert_called(const struct run *run, const char *what) {
    bool at_once = ends_at_once(faults_met(FAULTS_UV)) || ends_at_once(faults_met(FAULTS_CURL));
    for (size_t i = 0; i <= CALLS; i++) {
        const struct call *call = &run->calls[i];
        cr_assert_eq(call->done, run->upstream != NULL, "%s: call %zu", what, i);
        cr_assert(!at_once || call->rc != RC_TIMEOUT, "%s: call %zu waited", what, i);
    }
    cr_assert(!run->must_work || run->calls[CALLS].rc == RC_OK, "%s: then %s", what,
              rc_name(run->calls[CALLS].rc));
}

static void run_once(struct peer *peer, const char *what) {
    struct run *run = mem_calloc(1, sizeof *run);
    run->peer = peer;
    if (loop_init(&run->loop, &run->clock) != RC_OK) {
        mem_free(run);
        return;
    }
    open_all(run);
    run->under_way = 1;
    start_work(run);
    for (size_t i = 0; run->upstream != NULL && i < CALLS; i++) {
        bool to_peer = i < 2 || !run->listens;
        start_call(run, i, to_peer ? peer_port(peer) : stream_listener_port(&run->listener));
    }
    finish_one(run);
    loop_run(&run->loop);
    for (size_t i = 0; i < OPS; i++) {
        cr_assert_eq(run->ops[i].done, run->ops[i].run != NULL, "%s: work %zu", what, i);
    }
    assert_called(run, what);
    cr_assert_eq(run->closed, run->opened, "%s: %d of %d closed", what, run->closed, run->opened);
    cr_assert_eq(loop_fini(&run->loop), RC_OK, "%s: a handle is open", what);
    mem_free(run);
}

static void prepare(void) {
    int fd = mkstemp(ca_file);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, ca_text, sizeof ca_text - 1), (ssize_t)sizeof ca_text - 1);
    close(fd);
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
                     ANSWER_BYTES - 100);
    answer_bytes = (size_t)n + ANSWER_BYTES - 100;
    memset(answer + n, 'x', ANSWER_BYTES - 100);
}

static void fail_each(enum faults_family family, int least) {
    struct peer *peer = peer_new();
    cr_assert_not_null(peer);
    prepare();
    int n = 0;
    do {
        char what[64];
        n++;
        faults_arm(family, n);
        snprintf(what, sizeof what, "call %d of family %d", n, (int)family);
        run_once(peer, what);
    } while (faults_met(family) != NULL);
    faults_arm(family, 0);
    unlink(ca_file);
    peer_free(peer);
    cr_assert_gt(n, least, "only %d calls: it ended early", n);
    CHECK_LEAKS();
}

Test(faults_io, every_uv_call_fails_once, .timeout = 120) {
    fail_each(FAULTS_UV, 15);
}

Test(faults_io, every_curl_call_fails_once, .timeout = 120) {
    fail_each(FAULTS_CURL, 100);
}
