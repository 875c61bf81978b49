// SPDX-License-Identifier: MIT
/* How the HTTP server's connections end: deadlines, clients that leave, the drain, caps, files
 * running out; and its listeners. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/stream.h"
#include "kit/client.h"
#include "kit/httpd.h"
#include "kit/leaks.h"

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define POST(path, length) "POST " path " HTTP/1.1\r\n" HOST "Content-Length: " length "\r\n\r\n"

static void stop(struct httpd *httpd) {
    httpd_stop(httpd);
    CHECK_LEAKS();
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Sends the request and reads its answer. */
static int ask(struct client *client, const char *raw) {
    struct client_response r;
    bool good = client_send(client, slice_str(raw)) && client_read(client, "GET", &r);
    int status = good ? r.status : 0;
    client_response_fini(&r);
    return status;
}

static bool has_all_gone(struct httpd *httpd) {
    return httpd_wait_metric(httpd, METRIC_CONNECTIONS, 0);
}

/* --------------------------------------------------------------------------------- deadlines */

Test(http_ends, an_incomplete_request_is_told_so) {
    static const char *const parts[] = {
        "G",
        "GET /ok HTTP/1.1\r\n",
        "GET /ok HTTP/1.1\r\n" HOST "X: ",
        POST("/echo", "5") "hell",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /echo-later HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n",
        GET("/ok") "GET",
    };
    struct httpd_opts opts = HTTPD_OPTS;
    opts.head_timeout_ms = 60;
    struct httpd *httpd = httpd_start(opts);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct client client;
        struct client_response r;
        int64_t started_ms = now_ms();
        cr_assert(client_connect(&client, httpd_port(httpd)));
        cr_assert(client_send(&client, slice_str(parts[i])));
        bool good = client_read(&client, "GET", &r);
        if (good && r.status == 200) {
            client_response_fini(&r);
            good = client_read(&client, "GET", &r);
        }
        cr_assert(good && r.status == 408, "%s: %d", parts[i], r.status);
        cr_assert(slice_eq(client_header(&r, "connection"), SLICE("close")));
        cr_assert_geq(now_ms() - started_ms, opts.head_timeout_ms, "%s", parts[i]);
        client_response_fini(&r);
        cr_assert(client_is_closed(&client) && !client.was_reset);
        client_fini(&client);
    }
    cr_assert(has_all_gone(httpd));
    stop(httpd);
}

/* A byte now and then: the deadline counts from the first. */
Test(http_ends, a_trickle_does_not_extend_the_deadline) {
    static const char *const starts[] = {"GET /ok HTTP/1.1\r\n" HOST "X: ",
                                         POST("/echo", "1000") "x"};
    struct httpd_opts opts = HTTPD_OPTS;
    opts.head_timeout_ms = 100;
    struct httpd *httpd = httpd_start(opts);
    for (size_t i = 0; i < 2; i++) {
        struct client client;
        int64_t started_ms = now_ms();
        cr_assert(client_connect(&client, httpd_port(httpd)));
        cr_assert(client_send(&client, slice_str(starts[i])));
        while (client_is_silent(&client, 10) && now_ms() - started_ms < 5000) {
            CLIENT_SEND(&client, "x");
        }
        cr_assert_lt(now_ms() - started_ms, 2000, "%s", starts[i]);
        cr_assert_eq(ask(&client, ""), 408);
        client_fini(&client);
    }
    stop(httpd);
}

/* The answer was given before the body came: nothing more to say. */
Test(http_ends, an_unwanted_body_that_never_comes_is_cut) {
    struct httpd_opts opts = HTTPD_OPTS;
    opts.head_timeout_ms = 60;
    struct httpd *httpd = httpd_start(opts);
    struct client client;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert_eq(ask(&client, POST("/early", "5") "he"), 403);
    cr_assert(client_is_closed(&client));
    client_fini(&client);
    stop(httpd);
}

Test(http_ends, idle_connections_close_without_a_word) {
    static const char *const before[] = {"", GET("/ok"), GET("/later"), POST("/echo", "1") "x",
                                         POST("/early", "1") "x"};
    struct httpd_opts opts = HTTPD_OPTS;
    opts.idle_timeout_ms = 60;
    struct httpd *httpd = httpd_start(opts);
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        struct client client;
        cr_assert(client_connect(&client, httpd_port(httpd)));
        if (before[i][0] != '\0') {
            cr_assert_neq(ask(&client, before[i]), 0);
        }
        int64_t started_ms = now_ms();
        cr_assert(client_is_closed(&client), "%s", before[i]);
        cr_assert_geq(now_ms() - started_ms, opts.idle_timeout_ms - 20, "%s", before[i]);
        client_fini(&client);
    }
    stop(httpd);
}

/* Each request starts the idle time anew, and a request that is with the handler is not idle. */
Test(http_ends, who_is_busy_is_not_idle) {
    struct httpd_opts opts = HTTPD_OPTS;
    opts.idle_timeout_ms = 500;
    opts.head_timeout_ms = 500;
    struct httpd *httpd = httpd_start(opts);
    struct client client;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    for (int i = 0; i < 4; i++) {
        cr_assert(client_is_silent(&client, 200), "turn %d", i);
        cr_assert_eq(ask(&client, GET("/ok")), 200, "turn %d", i);
    }
    cr_assert(CLIENT_SEND(&client, GET("/hold")));
    cr_assert(client_is_silent(&client, 800));
    httpd_release(httpd);
    cr_assert_eq(ask(&client, ""), 200);
    client_fini(&client);
    stop(httpd);
}

Test(http_ends, an_answer_that_is_not_taken_ends_the_connection) {
    struct httpd_opts opts = HTTPD_OPTS;
    opts.write_timeout_ms = 100;
    struct httpd *httpd = httpd_start(opts);
    struct client client;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&client, GET("/big?60000000") GET("/ok")));
    cr_assert(httpd_wait(httpd, HTTPD_ANSWERED, 1));
    cr_assert(has_all_gone(httpd));
    cr_assert_eq(httpd_get(httpd, HTTPD_ANSWERED), 1, "nothing more is done for it");
    client_fini(&client);
    stop(httpd);
}

/* Each answer has its own time: a slow reader that gets on is not cut. */
Test(http_ends, each_answer_has_its_own_time_to_be_taken) {
    const struct timespec pause = {.tv_nsec = 900000000};
    struct httpd_opts opts = HTTPD_OPTS;
    opts.write_timeout_ms = 1500;
    struct httpd *httpd = httpd_start(opts);
    struct client client;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&client, GET("/big?20000000") GET("/big?20000000")));
    for (int i = 1; i <= 2; i++) {
        cr_assert(httpd_wait(httpd, HTTPD_ANSWERED, i));
        nanosleep(&pause, NULL);
        cr_assert_eq(ask(&client, ""), 200, "answer %d", i);
    }
    client_fini(&client);
    stop(httpd);
}

/* Who says nothing after the last answer is not waited for. */
Test(http_ends, lingering_ends) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client client;
    int64_t started_ms = now_ms();
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert_eq(ask(&client, GET("/close")), 200);
    cr_assert(client_is_closed(&client));
    cr_assert(has_all_gone(httpd));
    cr_assert_geq(now_ms() - started_ms, LIMIT_LINGER_MS - 100);
    client_fini(&client);

    /* nor is one that doesn't stop */
    char block[64 * 1024] = {0};
    started_ms = now_ms();
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert_eq(ask(&client, GET("/close")), 200);
    while (client_send(&client, slice_make(block, sizeof block))) {
        cr_assert_lt(now_ms() - started_ms, 5000);
    }
    cr_assert_lt(now_ms() - started_ms, LIMIT_LINGER_MS);
    client_fini(&client);
    stop(httpd);
}

/* --------------------------------------------------------------------------- clients that leave */

static void leave(struct client *client, bool by_reset) {
    if (by_reset) {
        client_reset(client);
    } else {
        client_shutdown(client);
    }
}

Test(http_ends, the_handler_hears_once_that_the_client_is_gone) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    int gone = 0;
    for (int by_reset = 0; by_reset < 2; by_reset++) {
        static const char *const requests[] = {GET("/hold"), GET("/hold") GET("/ok"),
                                               POST("/hold", "1") "x", GET("/hold") "GET"};
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
            struct client client;
            cr_assert(client_connect(&client, httpd_port(httpd)));
            cr_assert(client_send(&client, slice_str(requests[i])));
            cr_assert(httpd_wait(httpd, HTTPD_HELD, gone + 1));
            leave(&client, by_reset != 0);
            cr_assert(httpd_wait(httpd, HTTPD_GONE, ++gone), "%s", requests[i]);
            cr_assert(has_all_gone(httpd));
            client_fini(&client);
        }
    }
    cr_assert_eq(httpd_get(httpd, HTTPD_GONE), gone);
    cr_assert_eq(httpd_get(httpd, HTTPD_HEADS), gone, "what was pipelined is dropped");
    stop(httpd);
}

/* At every byte of a request, by FIN and by reset: the server forgets the connection, and the
 * handler hears nothing that it must not. */
Test(http_ends, clients_leave_at_every_byte) {
    static const char request[] = POST("/echo-later", "5") "hello" GET("/later");
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (size_t cut = 0; cut < sizeof request; cut++) {
        for (int by_reset = 0; by_reset < 2; by_reset++) {
            struct client client;
            cr_assert(client_connect(&client, httpd_port(httpd)));
            cr_assert(client_send(&client, slice_make(request, cut)));
            leave(&client, by_reset != 0);
            client_fini(&client);
        }
    }
    cr_assert(has_all_gone(httpd));
    struct client client;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert_eq(ask(&client, GET("/ok")), 200);
    client_fini(&client);
    stop(httpd);
}

/* A FIN directly behind the request: no reply is owed, nothing hangs. */
Test(http_ends, a_half_close_counts_as_gone) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client client;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&client, GET("/hold")));
    client_shutdown(&client);
    cr_assert(httpd_wait(httpd, HTTPD_GONE, 1));
    cr_assert(client_is_closed(&client));
    client_fini(&client);
    stop(httpd);
}

Test(http_ends, leaving_in_the_middle_of_a_large_answer) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    for (int by_reset = 0; by_reset < 2; by_reset++) {
        struct client client;
        cr_assert(client_connect(&client, httpd_port(httpd)));
        cr_assert(CLIENT_SEND(&client, GET("/big?60000000") GET("/ok")));
        cr_assert(httpd_wait(httpd, HTTPD_ANSWERED, by_reset + 1));
        leave(&client, by_reset != 0);
        cr_assert(has_all_gone(httpd));
        client_fini(&client);
    }
    stop(httpd);
}

/* --------------------------------------------------------------------------------- the drain */

Test(http_ends, a_drain_finishes_what_is_under_way) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client idle;
    struct client held;
    struct client late;
    struct client_response r;
    cr_assert(client_connect(&idle, httpd_port(httpd)));
    cr_assert_eq(ask(&idle, GET("/ok")), 200);
    cr_assert(client_connect(&held, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&held, GET("/hold")));
    cr_assert(httpd_wait(httpd, HTTPD_HELD, 1));

    int64_t started_ms = now_ms();
    httpd_drain(httpd, 60000);
    cr_assert(httpd_wait(httpd, HTTPD_DRAINING, 1));
    cr_assert(client_is_closed(&idle), "idle ones are closed");
    cr_assert_geq(now_ms() - started_ms, LIMIT_DRAIN_GRACE_MS - 50);
    cr_assert_not(client_connect(&late, httpd_port(httpd)), "nobody listens");
    client_fini(&late);
    cr_assert(client_is_silent(&held, 50));
    cr_assert_eq(httpd_get(httpd, HTTPD_DRAINED), 0);
    httpd_release(httpd);
    cr_assert(client_read(&held, "GET", &r) && r.status == 200);
    cr_assert(slice_eq(client_header(&r, "connection"), SLICE("close")));
    client_response_fini(&r);
    cr_assert(client_is_closed(&held));
    client_fini(&held);
    client_fini(&idle);
    cr_assert(httpd_wait(httpd, HTTPD_DRAINED, 1));
    stop(httpd);
}

/* A request that was on its way when the drain started. */
Test(http_ends, a_drain_still_answers_open_connections) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client client;
    struct client half;
    struct client_response r;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert(client_connect(&half, httpd_port(httpd)));
    cr_assert_eq(ask(&client, GET("/ok")), 200);
    cr_assert(CLIENT_SEND(&half, "GET /ok HTTP/1.1\r\n"));
    httpd_drain(httpd, 60000);
    cr_assert(httpd_wait(httpd, HTTPD_DRAINING, 1));
    cr_assert(CLIENT_SEND(&client, GET("/ok")));
    cr_assert(client_read(&client, "GET", &r) && r.status == 200);
    cr_assert(slice_eq(client_header(&r, "connection"), SLICE("close")));
    client_response_fini(&r);
    cr_assert(CLIENT_SEND(&half, HOST "\r\n"));
    cr_assert(client_read(&half, "GET", &r) && r.status == 200);
    client_response_fini(&r);
    client_fini(&client);
    client_fini(&half);
    cr_assert(httpd_wait(httpd, HTTPD_DRAINED, 1));
    stop(httpd);
}

Test(http_ends, a_drain_ends_at_its_timeout) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client client;
    cr_assert(client_connect(&client, httpd_port(httpd)));
    cr_assert(CLIENT_SEND(&client, GET("/hold")));
    cr_assert(httpd_wait(httpd, HTTPD_HELD, 1));
    httpd_drain(httpd, 50);
    cr_assert(httpd_wait(httpd, HTTPD_DRAINED, 1));
    cr_assert(httpd_wait(httpd, HTTPD_GONE, 1), "the handler still answers");
    cr_assert(client_is_closed(&client));
    client_fini(&client);
    stop(httpd);
}

Test(http_ends, a_drain_of_nothing_ends_at_once) {
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    httpd_drain(httpd, 60000);
    cr_assert(httpd_wait(httpd, HTTPD_DRAINED, 1));
    stop(httpd);
}

/* Teardown with connections in every state. */
Test(http_ends, closing_cuts_everything) {
    static const char *const states[] = {"",
                                         "GET",
                                         GET("/hold"),
                                         POST("/echo", "5") "he",
                                         POST("/early", "5") "he",
                                         GET("/close"),
                                         GET("/big?60000000"),
                                         GET("/hold") GET("/ok")};
    enum { STATES = sizeof states / sizeof states[0] };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client clients[STATES];
    for (size_t i = 0; i < STATES; i++) {
        cr_assert(client_connect(&clients[i], httpd_port(httpd)));
        cr_assert(client_send(&clients[i], slice_str(states[i])));
    }
    cr_assert(httpd_wait(httpd, HTTPD_HEADS, 6));
    httpd_stop(httpd);
    for (size_t i = 0; i < STATES; i++) {
        client_fini(&clients[i]);
    }
    CHECK_LEAKS();
}

/* -------------------------------------------------------------------------------------- caps */

Test(http_ends, connections_over_the_cap_are_closed_at_once) {
    enum { CAP = 5 };
    struct httpd_opts opts = HTTPD_OPTS;
    opts.connections_max = CAP;
    struct httpd *httpd = httpd_start(opts);
    struct client clients[CAP];
    for (int i = 0; i < CAP; i++) {
        cr_assert(client_connect(&clients[i], httpd_port(httpd)));
        cr_assert_eq(ask(&clients[i], GET("/ok")), 200);
    }
    for (int i = 0; i < 3; i++) {
        struct client over;
        cr_assert(client_connect(&over, httpd_port(httpd)));
        cr_assert(client_is_closed(&over));
        client_fini(&over);
    }
    cr_assert(httpd_wait_metric(httpd, METRIC_CONNECTIONS_REFUSED, 3));
    cr_assert_eq(ask(&clients[0], GET("/ok")), 200, "the others go on");
    client_fini(&clients[0]);
    cr_assert(httpd_wait_metric(httpd, METRIC_CONNECTIONS, CAP - 1));
    cr_assert(client_connect(&clients[0], httpd_port(httpd)));
    cr_assert_eq(ask(&clients[0], GET("/ok")), 200, "a place is free again");
    for (int i = 0; i < CAP; i++) {
        client_fini(&clients[i]);
    }
    stop(httpd);
}

static int64_t cpu_ms(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* The process has no file left, for the server nor for anyone: what is open goes on, newcomers are
 * closed, the loop rests, and all is well once there are files again. */
Test(http_ends, running_out_of_files) {
    enum { NEWCOMERS = 20 };
    struct httpd *httpd = httpd_start(HTTPD_OPTS);
    struct client known;
    struct client newcomers[NEWCOMERS];
    cr_assert(client_connect(&known, httpd_port(httpd)));
    cr_assert_eq(ask(&known, GET("/ok")), 200);
    for (int i = 0; i < NEWCOMERS; i++) { /* connecting will need no further file of ours */
        newcomers[i] = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    }
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    close(next);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)httpd_port(httpd)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < NEWCOMERS; i++) {
        int fd = newcomers[i].fd;
        cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
        char byte;
        cr_assert_leq(read(fd, &byte, 1), 0, "newcomer %d", i);
        cr_assert_eq(ask(&known, GET("/ok")), 200, "what is open goes on");
    }
    cr_assert_eq(httpd_metric(httpd, METRIC_CONNECTIONS_REFUSED), NEWCOMERS);
    int64_t used_ms = cpu_ms();
    cr_assert(client_is_silent(&known, 400));
    cr_assert_lt(cpu_ms() - used_ms, 200, "the loop spins");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    struct client fresh;
    cr_assert(client_connect(&fresh, httpd_port(httpd)));
    cr_assert_eq(ask(&fresh, GET("/ok")), 200);
    client_fini(&fresh);
    client_fini(&known);
    for (int i = 0; i < NEWCOMERS; i++) {
        close(newcomers[i].fd);
    }
    stop(httpd);
}

/* Not even the reserve is left: accepting rests and comes back, and those who wait get their turn.
 */
struct rest {
    struct loop loop;
    struct stream_listener listener;
    struct stream stream;
    struct rlimit before;
    struct loop_timer timer;
    uv_prepare_t turns;
    int turn_count;
    int accepted;
};

static struct rest *rest_of(struct stream_listener *listener) {
    return listener->owner;
}

static void on_stream_closed(struct stream *stream) {
    stream->events = NULL;
}

static const struct stream_events rest_stream_events = {.closed = on_stream_closed};

static struct stream *on_rest_accepting(struct stream_listener *listener) {
    struct rest *rest = rest_of(listener);
    rest->stream.events = &rest_stream_events;
    rest->accepted++;
    return &rest->stream;
}

static void on_rest_accepted(struct stream *stream) {
    struct rest *rest = LIST_ENTRY(stream, struct rest, stream);
    stream_close(stream);
    stream_listener_close(&rest->listener);
    loop_timer_close(&rest->timer, NULL);
    uv_close((uv_handle_t *)&rest->turns, NULL);
}

static void on_rest_closed(struct stream_listener *listener) {
    (void)listener;
}

static const struct stream_listener_events rest_events = {
    .accepting = on_rest_accepting, .accepted = on_rest_accepted, .closed = on_rest_closed};

static void on_files_again(struct loop_timer *timer) {
    struct rest *rest = LIST_ENTRY(timer, struct rest, timer);
    cr_assert_eq(rest->accepted, 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &rest->before), 0);
}

static void on_turn(uv_prepare_t *prepare) {
    struct rest *rest = prepare->data;
    rest->turn_count++;
}

Test(http_ends, running_out_of_the_last_file) {
    struct clock clock = {0};
    struct rest *rest = calloc(1, sizeof *rest);
    char problem[STREAM_PROBLEM_BYTES];
    cr_assert_eq(loop_init(&rest->loop, &clock), RC_OK);
    cr_assert_eq(stream_listen(&rest->loop, &rest->listener, SLICE("127.0.0.1:0"), &rest_events,
                               rest, problem),
                 RC_OK);
    struct client client;
    cr_assert(client_connect(&client, stream_listener_port(&rest->listener)));
    close(rest->listener.reserve_fd);
    rest->listener.reserve_fd = -1;
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &rest->before);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = rest->before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);

    loop_timer_init(&rest->loop, &rest->timer);
    loop_timer_start(&rest->timer, 350, 0, on_files_again);
    uv_prepare_init(&rest->loop.uv, &rest->turns);
    rest->turns.data = rest;
    uv_prepare_start(&rest->turns, on_turn);
    loop_run(&rest->loop);
    cr_assert_eq(rest->accepted, 1);
    cr_assert_lt(rest->turn_count, 50, "%d turns: the loop spins", rest->turn_count);
    cr_assert(client_is_closed(&client));
    client_fini(&client);
    cr_assert_eq(loop_fini(&rest->loop), RC_OK);
    free(rest);
    CHECK_LEAKS();
}

/* --------------------------------------------------------------------------------- listeners */

Test(http_ends, unix_sockets) {
    char folder[] = "/tmp/latchkey-http-XXXXXX";
    char path[64];
    char address[80];
    struct client_response r;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    struct httpd_opts opts = HTTPD_OPTS;
    opts.address = address;
    for (int turn = 0; turn < 2; turn++) {
        struct httpd *httpd = httpd_start(opts);
        struct client client;
        cr_assert_eq(httpd_port(httpd), 0);
        cr_assert(client_connect_unix(&client, path));
        cr_assert(CLIENT_SEND(&client, GET("/peer")));
        cr_assert(client_read(&client, "GET", &r) && r.status == 200 && r.body.len == 0);
        client_response_fini(&r);
        client_fini(&client);
        httpd_stop(httpd);
        cr_assert_neq(access(path, F_OK), 0, "the socket file is removed");
    }
    rmdir(folder);
    CHECK_LEAKS();
}

static void on_listener_closed(struct stream_listener *listener) {
    *(bool *)listener->owner = true;
}

static const struct stream_listener_events no_events = {.closed = on_listener_closed};

static enum rc try_listen(struct loop *loop, const char *address,
                          char problem[STREAM_PROBLEM_BYTES]) {
    struct stream_listener listener;
    bool closed = false;
    enum rc rc = stream_listen(loop, &listener, slice_str(address), &no_events, &closed, problem);
    if (rc == RC_OK) {
        stream_listener_close(&listener);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        cr_assert(closed);
    }
    return rc;
}

Test(http_ends, addresses) {
    static const struct {
        const char *address;
        enum rc rc;
    } cases[] = {
        {"127.0.0.1:0", RC_OK},
        {"[::1]:0", RC_OK},
        {"0.0.0.0:0", RC_OK},
        {"", RC_USAGE},
        {"127.0.0.1", RC_USAGE},
        {"127.0.0.1:", RC_USAGE},
        {":80", RC_USAGE},
        {"127.0.0.1:65536", RC_USAGE},
        {"127.0.0.1:-1", RC_USAGE},
        {"127.0.0.1:80x", RC_USAGE},
        {"localhost:80", RC_USAGE},
        {"::1:80", RC_USAGE},
        {"[::1]", RC_USAGE},
        {"[::1:80", RC_USAGE},
        {"[127.0.0.1]:80", RC_USAGE},
        {"256.0.0.1:80", RC_USAGE},
        {"unix:", RC_USAGE},
        {"unix:/no/such/folder/socket", RC_IO},
        {"192.0.2.1:0", RC_IO},
    };
    struct clock clock = {0};
    struct loop loop;
    cr_assert_eq(loop_init(&loop, &clock), RC_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char problem[STREAM_PROBLEM_BYTES] = "";
        enum rc rc = try_listen(&loop, cases[i].address, problem);
        cr_assert_eq(rc, cases[i].rc, "%s: %s", cases[i].address, problem);
        cr_assert_eq(problem[0] == '\0', rc == RC_OK, "%s", cases[i].address);
    }
    cr_assert_eq(loop_fini(&loop), RC_OK);
    CHECK_LEAKS();
}

/* A socket file as a process leaves it: bound, and listening as long as the file is open. */
static int bind_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 1), 0);
    return fd;
}

Test(http_ends, a_stale_socket_file_is_replaced_and_no_other) {
    char folder[] = "/tmp/latchkey-http-XXXXXX";
    char path[64];
    char address[80];
    char problem[STREAM_PROBLEM_BYTES];
    struct clock clock = {0};
    struct loop loop;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    cr_assert_eq(loop_init(&loop, &clock), RC_OK);

    int fd = bind_socket(path);
    cr_assert_eq(try_listen(&loop, address, problem), RC_IO, "a live one is not replaced");
    cr_assert_eq(access(path, F_OK), 0);
    close(fd);
    cr_assert_eq(try_listen(&loop, address, problem), RC_OK, "%s", problem);

    FILE *file = fopen(path, "w");
    fclose(file);
    cr_assert_eq(try_listen(&loop, address, problem), RC_IO, "what is no socket is not replaced");
    struct stat st;
    cr_assert(stat(path, &st) == 0 && S_ISREG(st.st_mode));
    cr_assert_eq(loop_fini(&loop), RC_OK);
    unlink(path);
    rmdir(folder);
    CHECK_LEAKS();
}
