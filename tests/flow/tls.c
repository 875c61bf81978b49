// SPDX-License-Identifier: MIT
/* The HTTP server over TLS, with a client of the kit's and with the openssl program: what is the
 * same as in plain, what is refused, and what becomes of handshakes that go nowhere. */
#include <criterion/criterion.h>
#include <mbedtls/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/limits.h"
#include "crypto/fernet.h"
#include "io/tls.h"
#include "kit/certificate.h"
#include "kit/client.h"
#include "kit/httpd.h"
#include "kit/leaks.h"
#include "kit/program.h"

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

struct rig {
    struct scratch folder;
    struct certificate pair;
    struct tls_files files;
    struct httpd *httpd;
    int port;
};

static struct tls_files files_of(const struct certificate *pair) {
    return (struct tls_files){pair->cert.path, pair->key.path};
}

static void start_with(struct rig *rig, struct httpd_opts opts) {
    rig->folder = scratch_new();
    rig->pair = certificate_make(&rig->folder, "first", CERTIFICATE_P256);
    rig->files = files_of(&rig->pair);
    opts.tls = &rig->files;
    rig->httpd = httpd_start(opts);
    rig->port = httpd_port(rig->httpd);
}

static void start(struct rig *rig) {
    start_with(rig, HTTPD_OPTS);
}

static void stop(struct rig *rig) {
    cr_assert(httpd_wait_metric(rig->httpd, METRIC_CONNECTIONS, 0));
    cr_assert_eq(httpd_metric(rig->httpd, METRIC_TLS_HANDSHAKES), 0);
    httpd_stop(rig->httpd);
    scratch_free(&rig->folder);
    CHECK_LEAKS();
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int ask(struct client *client, const char *raw) {
    struct client_response r;
    bool good = client_send(client, slice_str(raw)) && client_read(client, "GET", &r);
    int status = good ? r.status : 0;
    if (good) {
        client_response_fini(&r);
    }
    return status;
}

/* The server is as good as before. */
static void check_alive(struct rig *rig, const char *after) {
    struct client client;
    cr_assert(client_connect_tls(&client, rig->port), "after %s", after);
    cr_assert_eq(ask(&client, GET("/ok")), 200, "after %s", after);
    client_fini(&client);
}

/* ---------------------------------------------------------------------------- as it is in plain */

Test(tls, answers_with_the_header_that_keeps_browsers_on_https) {
    static const char *const requests[] = {GET("/ok"), GET("/unknown"), "BAD\r\n\r\n"};
    struct rig rig;
    start(&rig);
    struct httpd *plain = httpd_start(HTTPD_OPTS);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct client client;
            struct client_response r;
            cr_assert(is_tls ? client_connect_tls(&client, rig.port)
                             : client_connect(&client, httpd_port(plain)));
            cr_assert(client_send(&client, slice_str(requests[i])));
            cr_assert(client_read(&client, "GET", &r), "%s", requests[i]);
            struct slice hsts = client_header(&r, "strict-transport-security");
            cr_assert(slice_eq(hsts, is_tls ? SLICE("max-age=31536000") : SLICE_NULL), "%s: %.*s",
                      requests[i], SLICE_ARGS(hsts));
            client_response_fini(&r);
            client_fini(&client);
        }
    }
    httpd_stop(plain);
    stop(&rig);
}

Test(tls, a_unix_socket_beside_it_stays_plain) {
    struct rig rig = {.folder = scratch_new()};
    struct certificate pair = certificate_make(&rig.folder, "first", CERTIFICATE_P256);
    struct tls_files files = files_of(&pair);
    struct scratch socket = scratch_file(&rig.folder, "socket");
    char address[SCRATCH_BYTES + 8];
    struct client client;
    struct httpd_opts opts = HTTPD_OPTS;
    snprintf(address, sizeof address, "unix:%s", socket.path);
    opts.address = address;
    opts.tls = &files;
    rig.httpd = httpd_start(opts);
    cr_assert(client_connect_unix(&client, socket.path));
    cr_assert_eq(ask(&client, GET("/ok")), 200);
    client_fini(&client);
    stop(&rig);
}

/* The close is told inside of TLS first, so that no one can cut an answer short unseen. */
Test(tls, the_end_of_an_answer_is_authenticated) {
    struct rig rig;
    struct client client;
    start(&rig);
    cr_assert(client_connect_tls(&client, rig.port));
    cr_assert_eq(ask(&client, GET("/close")), 200);
    cr_assert(client_is_closed(&client) && client.was_ended && !client.was_reset);
    client_fini(&client);
    stop(&rig);
}

Test(tls, large_bodies_both_ways) {
    enum { ECHO_BYTES = 60 * 1024, BIG_BYTES = 5 * 1024 * 1024 };
    struct httpd_opts opts = HTTPD_OPTS;
    struct rig rig;
    struct client client;
    struct client_response r;
    struct buf request;
    opts.body_max = LIMIT_BODY_BYTES;
    start_with(&rig, opts);
    buf_init(&request, 1024 * 1024);
    BUF_LIT(&request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: ");
    buf_append_u64(&request, ECHO_BYTES);
    BUF_LIT(&request, "\r\n\r\n");
    size_t head = request.len;
    for (int i = 0; i < ECHO_BYTES; i++) {
        buf_append_char(&request, (char)('a' + i % 23));
    }
    cr_assert(client_connect_tls(&client, rig.port));
    cr_assert(client_send(&client, buf_slice(&request)));
    cr_assert(client_read(&client, "POST", &r) && r.status == 200);
    cr_assert(slice_eq(r.body, slice_from(buf_slice(&request), head)));
    client_response_fini(&r);
    /* More than the kernel takes at once: the client reads only after all was asked for. */
    for (int i = 0; i < 3; i++) {
        cr_assert(CLIENT_SEND(&client, GET("/big?5242880")));
    }
    for (int i = 0; i < 3; i++) {
        cr_assert(client_read(&client, "GET", &r) && r.status == 200);
        cr_assert_eq(r.body.len, (size_t)BIG_BYTES);
        client_response_fini(&r);
    }
    cr_assert_eq(ask(&client, GET("/ok")), 200);
    client_fini(&client);
    buf_fini(&request);
    stop(&rig);
}

/* However the bytes are spread over records. */
Test(tls, pipelined_requests_are_answered_in_order) {
    enum { REQUESTS = 500 };
    static const size_t steps[] = {SIZE_MAX, 1, 13, 5000, 16384};
    struct rig rig;
    struct buf all;
    start(&rig);
    buf_init(&all, 1024 * 1024);
    for (int i = 0; i < REQUESTS; i++) {
        char raw[128];
        snprintf(raw, sizeof raw, "GET /%s HTTP/1.1\r\n" HOST "X-Request-ID: r%d\r\n\r\n",
                 i % 3 == 0 ? "later" : "ok", i);
        buf_append(&all, slice_str(raw));
    }
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        struct client client;
        struct slice rest = steps[s] == 1 ? slice_head(buf_slice(&all), 3000) : buf_slice(&all);
        cr_assert(client_connect_tls(&client, rig.port));
        while (rest.len > 0) {
            cr_assert(client_send(&client, slice_head(rest, steps[s])));
            rest = slice_from(rest, steps[s]);
        }
        for (int i = 0; i < (steps[s] == 1 ? 50 : REQUESTS); i++) {
            struct client_response r;
            char id[16];
            snprintf(id, sizeof id, "r%d", i);
            cr_assert(client_read(&client, "GET", &r), "no answer %d, step %zu", i, steps[s]);
            cr_assert(slice_eq(client_header(&r, "x-request-id"), slice_str(id)));
            client_response_fini(&r);
        }
        client_fini(&client);
    }
    buf_fini(&all);
    stop(&rig);
}

/* Reading stops while too much is pending, in the middle of records, and goes on: nothing is lost.
 */
Test(tls, pipelined_bytes_are_bounded) {
    enum { REQUESTS = 12000 };
    struct rig rig;
    struct client client;
    struct buf all;
    start(&rig);
    buf_init(&all, 16 * 1024 * 1024);
    BUF_LIT(&all, GET("/later"));
    for (int i = 0; i < REQUESTS; i++) {
        BUF_LIT(&all, GET("/ok"));
    }
    cr_assert(client_connect_tls(&client, rig.port));
    cr_assert(client_send(&client, buf_slice(&all)));
    for (int i = 0; i < REQUESTS + 1; i++) {
        struct client_response r;
        cr_assert(client_read(&client, "GET", &r) && r.status == 200, "no answer %d", i);
        client_response_fini(&r);
    }
    client_fini(&client);
    buf_fini(&all);
    stop(&rig);
}

Test(tls, a_client_that_leaves_is_noticed) {
    struct rig rig;
    start(&rig);
    for (int how = 0; how < 3; how++) {
        struct client client;
        cr_assert(client_connect_tls(&client, rig.port));
        cr_assert(CLIENT_SEND(&client, GET("/hold")));
        cr_assert(httpd_wait(rig.httpd, HTTPD_HELD, how + 1));
        if (how == 0) {
            client_shutdown(&client); /* the end is told, then FIN */
        } else if (how == 1) {
            client_fini(&client); /* FIN alone: as good as an end */
        } else {
            client_reset(&client);
        }
        cr_assert(httpd_wait(rig.httpd, HTTPD_GONE, how + 1), "way %d", how);
        client_fini(&client);
    }
    stop(&rig);
}

Test(tls, a_drain_ends_what_is_under_way) {
    struct rig rig;
    struct client busy;
    struct client idle;
    struct client silent;
    struct client_response r;
    start(&rig);
    cr_assert(client_connect_tls(&busy, rig.port));
    cr_assert(client_connect_tls(&idle, rig.port));
    cr_assert(client_connect(&silent, rig.port));
    cr_assert(CLIENT_SEND(&busy, GET("/hold")));
    cr_assert(httpd_wait(rig.httpd, HTTPD_HELD, 1));
    httpd_drain(rig.httpd, 10000);
    cr_assert(client_is_closed(&idle) && idle.was_ended);
    cr_assert(client_is_closed(&silent));
    httpd_release(rig.httpd);
    cr_assert(client_read(&busy, "GET", &r) && r.status == 200);
    cr_assert(slice_eq(client_header(&r, "connection"), SLICE("close")));
    cr_assert(client_is_closed(&busy) && busy.was_ended);
    cr_assert(httpd_wait(rig.httpd, HTTPD_DRAINED, 1));
    client_response_fini(&r);
    client_fini(&busy);
    client_fini(&idle);
    client_fini(&silent);
    stop(&rig);
}

/* In the middle of everything: nothing stays, and nothing is touched that is gone. */
Test(tls, the_server_closes_under_open_connections) {
    struct rig rig;
    struct client clients[3];
    start(&rig);
    cr_assert(client_connect(&clients[0], rig.port));
    cr_assert(client_connect_tls(&clients[1], rig.port));
    cr_assert(client_connect_tls(&clients[2], rig.port));
    cr_assert(CLIENT_SEND(&clients[2], GET("/big?20000000"))); /* more than is taken */
    cr_assert(httpd_wait(rig.httpd, HTTPD_ANSWERED, 1));
    httpd_stop(rig.httpd);
    for (int i = 0; i < 3; i++) {
        client_fini(&clients[i]);
    }
    scratch_free(&rig.folder);
    CHECK_LEAKS();
}

/* --------------------------------------------------------------------------------- handshakes */

static void append_records(void *owner, struct slice records) {
    buf_append(owner, records);
}

/* A client's first words. */
static void write_hello(struct buf *out) {
    struct tls *tls = tls_new_client();
    cr_assert_not_null(tls);
    buf_init(out, 64 * 1024);
    struct tls_session *session = tls_session_new(tls, append_records, out);
    tls_session_start(session);
    tls_session_free(session);
    tls_release(tls);
    cr_assert_gt(out->len, 50u);
}

Test(tls, handshakes_that_break_off) {
    struct rig rig;
    struct buf hello;
    int failed = 0;
    start(&rig);
    write_hello(&hello);
    for (size_t n = 0; n <= hello.len; n += n < 12 ? 1 : 37) {
        for (int how = 0; how < 2; how++) {
            struct client client;
            cr_assert(client_connect(&client, rig.port));
            cr_assert(client_send(&client, slice_head(buf_slice(&hello), n)));
            if (how == 0) {
                client_reset(&client);
            }
            client_fini(&client);
            failed++;
        }
    }
    buf_fini(&hello);
    cr_assert(httpd_wait_metric(rig.httpd, METRIC_TLS_FAILED, failed));
    check_alive(&rig, "handshakes that break off");
    cr_assert_eq(httpd_metric(rig.httpd, METRIC_TLS_OK), 1);
    stop(&rig);
}

Test(tls, what_is_no_tls_is_closed_at_once) {
    static const struct slice garbage[] = {
        {GET("/ok"), sizeof GET("/ok") - 1},
        {"SSH-2.0-OpenSSH_9.2\r\n", 21},
        {"\x16\x03\x01\x00\x00", 5},                 /* an empty handshake record */
        {"\x16\x03\x01\xff\xff", 5},                 /* one that is too large */
        {"\x17\x03\x03\x00\x05hello", 10},           /* data before a handshake */
        {"\x15\x03\x03\x00\x02\x02\x28", 7},         /* a fatal alert */
        {"\x16\x03\x00\x00\x04\x01\xff\xff\xff", 9}, /* a hello that is said to be 16 MB */
        {"\x80\x2e\x01\x03\x01\x00\x15", 7},         /* SSL 2 */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10},
    };
    struct rig rig;
    start(&rig);
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        struct client client;
        int64_t started_ms = now_ms();
        cr_assert(client_connect(&client, rig.port));
        cr_assert(client_send(&client, garbage[i]));
        while (client.got.len == 0 && !client.closed && client_is_silent(&client, 10)) {
            if (now_ms() - started_ms > 500) { /* as far as it goes it could become TLS */
                client_shutdown(&client);
            }
            cr_assert_lt(now_ms() - started_ms, 5000, "case %zu hangs", i);
        }
        client_fini(&client);
    }
    check_alive(&rig, "garbage");
    stop(&rig);
}

/* Flipped bits in a hello, and after it: no crash, no hang, no connection that stays. */
Test(tls, mangled_hellos) {
    struct rig rig;
    struct buf hello;
    start(&rig);
    write_hello(&hello);
    srandom(7);
    for (int round = 0; round < 150; round++) {
        struct client client;
        char mangled[4096];
        cr_assert_lt(hello.len, sizeof mangled);
        memcpy(mangled, hello.at, hello.len);
        for (int i = 0; i < 1 + round % 4; i++) {
            mangled[(size_t)random() % hello.len] ^= (char)(1 << random() % 8);
        }
        cr_assert(client_connect(&client, rig.port));
        cr_assert(client_send(&client, slice_make(mangled, hello.len)));
        client_shutdown(&client);
        cr_assert(client_is_closed(&client) || client.got.len > 0, "round %d", round);
        client_fini(&client);
    }
    buf_fini(&hello);
    check_alive(&rig, "mangled hellos");
    stop(&rig);
}

/* An alert, or a record whose seal does not hold, in the middle of a connection. */
Test(tls, a_record_that_is_forged_ends_the_connection) {
    static const struct slice forged[] = {
        {"\x17\x03\x03\x00\x20"
         "0123456789abcdef0123456789abcdef",
         37},
        {"\x16\x03\x03\x00\x20"
         "0123456789abcdef0123456789abcdef",
         37},
        {GET("/ok"), sizeof GET("/ok") - 1},
    };
    struct rig rig;
    start(&rig);
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        struct client client;
        struct client_tls *tls;
        cr_assert(client_connect_tls(&client, rig.port));
        tls = client.tls;
        client.tls = NULL; /* from now on as it is */
        cr_assert(client_send(&client, forged[i]));
        cr_assert(client_is_closed(&client) || client.got.len > 0, "case %zu", i);
        cr_assert_eq(httpd_get(rig.httpd, HTTPD_HEADS), 0);
        client.tls = tls;
        client_fini(&client);
    }
    stop(&rig);
}

Test(tls, slow_handshakes_end_at_their_deadline) {
    struct httpd_opts opts = HTTPD_OPTS;
    struct rig rig;
    struct buf hello;
    opts.handshake_timeout_ms = 300;
    start_with(&rig, opts);
    write_hello(&hello);
    struct client silent;
    struct client slow;
    int64_t started_ms = now_ms();
    cr_assert(client_connect(&silent, rig.port));
    cr_assert(client_connect(&slow, rig.port));
    for (size_t i = 0; i < hello.len && client_is_silent(&slow, 20); i++) {
        client_send(&slow, slice_make(hello.at + i, 1));
        cr_assert_lt(now_ms() - started_ms, 5000, "it goes on");
    }
    cr_assert(client_is_closed(&silent));
    cr_assert_geq(now_ms() - started_ms, 300);
    cr_assert(httpd_wait_metric(rig.httpd, METRIC_TLS_TIMEOUT, 2));
    client_fini(&silent);
    client_fini(&slow);
    buf_fini(&hello);
    check_alive(&rig, "slow handshakes");
    stop(&rig);
}

Test(tls, one_handshake_too_many_is_closed_at_once) {
    struct httpd_opts opts = HTTPD_OPTS;
    struct rig rig;
    struct client pending[2];
    struct client open;
    struct client refused;
    opts.handshakes_max = 2;
    start_with(&rig, opts);
    cr_assert(client_connect_tls(&open, rig.port)); /* no longer one */
    cr_assert(client_connect(&pending[0], rig.port));
    cr_assert(client_connect(&pending[1], rig.port));
    cr_assert(httpd_wait_metric(rig.httpd, METRIC_TLS_HANDSHAKES, 2));
    cr_assert(client_connect(&refused, rig.port));
    cr_assert(client_is_closed(&refused));
    cr_assert_eq(httpd_metric(rig.httpd, METRIC_TLS_REFUSED), 1);
    cr_assert_eq(ask(&open, GET("/ok")), 200);
    client_fini(&pending[0]);
    cr_assert(httpd_wait_metric(rig.httpd, METRIC_TLS_HANDSHAKES, 1));
    check_alive(&rig, "one has left");
    client_fini(&pending[1]);
    client_fini(&refused);
    client_fini(&open);
    stop(&rig);
}

/* More hellos at once than one turn of the loop has time for: all are answered. */
Test(tls, a_burst_of_handshakes) {
    enum { CLIENTS = 60 };
    static struct client clients[CLIENTS];
    struct rig rig;
    struct buf hello;
    start(&rig);
    write_hello(&hello);
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert(client_connect(&clients[i], rig.port));
    }
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert(client_send(&clients[i], buf_slice(&hello)));
    }
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert_not(client_is_closed(&clients[i]), "client %d", i);
        cr_assert_gt(clients[i].got.len, 100u, "client %d has its answer", i);
        client_fini(&clients[i]);
    }
    buf_fini(&hello);
    check_alive(&rig, "a burst");
    stop(&rig);
}

/* ------------------------------------------------------------------------- the openssl program */

/* "openssl s_client <options>" that sends one request; what it said. */
static struct program *s_client(const struct rig *rig, const char *options) {
    char script[512];
    snprintf(
        script, sizeof script,
        "printf 'GET /ok HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | timeout 10 "
        "openssl s_client -connect 127.0.0.1:%d -ign_eof %s 2>&1",
        rig->port, options);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    return program_run(argv, env);
}

static bool says(const struct program *program, const char *text) {
    return strstr(program->out.text, text) != NULL;
}

/* The certificate is that of this name; versions of openssl write it differently. */
static bool shows(const struct program *program, const char *name) {
    char text[64];
    snprintf(text, sizeof text, "CN = %s\n", name);
    bool is_old_form = says(program, text);
    snprintf(text, sizeof text, "CN=%s\n", name);
    return is_old_form || says(program, text);
}

Test(tls, versions_and_suites) {
    static const struct {
        const char *options;
        const char *suite; /* NULL: refused */
    } cases[] = {
        {"-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
        {"-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
        {"-tls1_2 -groups X25519:P-256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {"-tls1_2 -groups P-384:P-256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {"-no_tls1_3", "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {"-tls1_1 -cipher ALL@SECLEVEL=0", NULL},
        {"-tls1 -cipher ALL@SECLEVEL=0", NULL},
        {"-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384", NULL}, /* CBC */
        {"-tls1_2 -cipher ECDHE-ECDSA-AES128-CCM", NULL},              /* not ours, though sound */
        {"-tls1_2 -cipher AES128-GCM-SHA256:AES256-GCM-SHA384", NULL}, /* static RSA */
        {"-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", NULL},
        {"-tls1_2 -cipher PSK:aNULL:eNULL@SECLEVEL=0 -psk 1a2b", NULL},
        {"-tls1_2 -sigalgs ECDSA+SHA1 -cipher ALL@SECLEVEL=0", NULL},
    };
    struct rig rig;
    start(&rig);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct program *client = s_client(&rig, cases[i].options);
        char wanted[64];
        snprintf(wanted, sizeof wanted, "Cipher is %s", cases[i].suite);
        if (cases[i].suite != NULL) {
            cr_assert(says(client, "HTTP/1.1 200 OK"), "%s: %s", cases[i].options,
                      client->out.text);
            cr_assert(says(client, wanted), "%s: %s", cases[i].options, client->out.text);
        } else {
            cr_assert(says(client, "Cipher is (NONE)"), "%s: %s", cases[i].options,
                      client->out.text);
            cr_assert_not(says(client, "HTTP/1.1"), "%s", cases[i].options);
        }
        program_free(client);
    }
    stop(&rig);
}

Test(tls, rsa_and_p384_certificates) {
    static const char *const kinds[][3] = {{CERTIFICATE_RSA(2048)}, {CERTIFICATE_P384}};
    static const char *const suites[] = {"ECDHE-RSA-AES128-GCM-SHA256",
                                         "ECDHE-ECDSA-AES128-GCM-SHA256"};
    struct rig rig;
    start(&rig);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct certificate pair =
            certificate_make(&rig.folder, "other", kinds[i][0], kinds[i][1], kinds[i][2]);
        struct tls_files files = files_of(&pair);
        httpd_replace_tls(rig.httpd, &files);
        struct program *client = s_client(&rig, "-tls1_2");
        cr_assert(says(client, suites[i]) && says(client, "200 OK"), "%s", client->out.text);
        program_free(client);
    }
    stop(&rig);
}

/* TLS 1.3 where mbedTLS has it. */
Test(tls, version_1_3) {
    struct rig rig;
    start(&rig);
    struct program *client = s_client(&rig, "-tls1_3");
#ifdef MBEDTLS_SSL_PROTO_TLS1_3
    cr_assert(says(client, "New, TLSv1.3, Cipher is TLS_"), "%s", client->out.text);
    cr_assert(says(client, "200 OK"));
#else
    cr_assert(says(client, "Cipher is (NONE)"), "%s", client->out.text);
#endif
    program_free(client);
    stop(&rig);
}

Test(tls, alpn) {
    static const struct {
        const char *options;
        const char *said;
        bool is_served;
    } cases[] = {
        {"-alpn http/1.1", "ALPN protocol: http/1.1", true},
        {"-alpn h2,http/1.1", "ALPN protocol: http/1.1", true},
        {"", "No ALPN negotiated", true},
        {"-alpn h2", "alert no application protocol", false}, /* RFC 7301 section 3.2 */
    };
    struct rig rig;
    start(&rig);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct program *client = s_client(&rig, cases[i].options);
        cr_assert(says(client, cases[i].said), "%s: %s", cases[i].options, client->out.text);
        cr_assert_eq(says(client, "200 OK"), cases[i].is_served, "%s", cases[i].options);
        program_free(client);
    }
    stop(&rig);
}

static void check_resumption(struct rig *rig, const char *version) {
    char options[SCRATCH_BYTES + 64];
    struct scratch session = scratch_file(&rig->folder, "session");
    snprintf(options, sizeof options, "%s -sess_out %s", version, session.path);
    struct program *client = s_client(rig, options);
    cr_assert(says(client, "New, TLSv1") && says(client, "200 OK"), "%s", client->out.text);
    program_free(client);
    snprintf(options, sizeof options, "%s -sess_in %s", version, session.path);
    client = s_client(rig, options);
    cr_assert(says(client, "Reused, TLSv1") && says(client, "200 OK"), "%s %s", version,
              client->out.text);
    program_free(client);
}

/* A ticket spares a client the handshake, until the certificate is another one. */
Test(tls, tickets_resume) {
    struct rig rig;
    char options[SCRATCH_BYTES + 64];
    start(&rig);
    check_resumption(&rig, "-tls1_2");
    struct scratch session = scratch_file(&rig.folder, "session");
    struct certificate pair = certificate_make(&rig.folder, "second", CERTIFICATE_P256);
    struct tls_files files = files_of(&pair);
    httpd_replace_tls(rig.httpd, &files);
    snprintf(options, sizeof options, "-tls1_2 -sess_in %s", session.path);
    struct program *client = s_client(&rig, options);
    cr_assert(says(client, "New, TLSv1") && shows(client, "second"), "%s", client->out.text);
    program_free(client);
#ifdef MBEDTLS_SSL_PROTO_TLS1_3
    check_resumption(&rig, "-tls1_3");
#endif
    stop(&rig);
}

Test(tls, a_client_that_wants_to_renegotiate_is_refused) {
    struct rig rig;
    char script[512];
    start(&rig);
    snprintf(script, sizeof script,
             "printf 'R\\nGET /ok HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' | timeout 10 openssl s_client "
             "-connect 127.0.0.1:%d -tls1_2 2>&1",
             rig.port);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    struct program *client = program_run(argv, env);
    cr_assert(says(client, "RENEGOTIATING"), "%s", client->out.text);
    cr_assert(says(client, "no renegotiation"), "%s", client->out.text);
    program_free(client);
    check_alive(&rig, "a renegotiation");
    stop(&rig);
}

/* PSA's key store is one a process: TLS 1.3 uses it on the loop, Fernet on other threads. */
static void *seal_on(void *owner) {
    const atomic_bool *is_over = owner;
    char problem[FERNET_PROBLEM_BYTES];
    struct fernet_keys *keys;
    long *count = calloc(1, sizeof *count);
    enum rc rc =
        fernet_keys_parse(SLICE("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="), &keys, problem);
    while (rc == RC_OK && !*is_over) {
        struct buf token;
        struct buf plain;
        size_t position;
        buf_init(&token, 4096);
        buf_init(&plain, 4096);
        rc = fernet_seal(keys, SLICE("a token of the provider"), 1, NULL, &token);
        if (rc == RC_OK) {
            rc = fernet_open(keys, buf_slice(&token), 0, 0, &plain, &position);
        }
        *count += rc == RC_OK && slice_eq(buf_slice(&plain), SLICE("a token of the provider"));
        buf_fini(&token);
        buf_fini(&plain);
    }
    fernet_keys_free(keys);
    *count = rc == RC_OK ? *count : -1;
    return count;
}

Test(tls, handshakes_beside_sealing_threads) {
    enum { SEALERS = 2 };
    struct rig rig;
    pthread_t sealers[SEALERS];
    atomic_bool is_over = false;
    char script[256];
    start(&rig);
    for (int i = 0; i < SEALERS; i++) {
        cr_assert_eq(pthread_create(&sealers[i], NULL, seal_on, &is_over), 0);
    }
    snprintf(script, sizeof script,
             "exec timeout 20 openssl s_time -connect 127.0.0.1:%d -new -time 2 -www /ok 2>&1 "
             "</dev/null",
             rig.port);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    struct program *client = program_run(argv, env);
    is_over = true;
    for (int i = 0; i < SEALERS; i++) {
        void *count;
        cr_assert_eq(pthread_join(sealers[i], &count), 0);
        cr_assert_gt(*(long *)count, 10, "sealing or opening failed");
        free(count);
    }
    cr_assert_eq(client->code, 0, "%s", client->out.text);
    cr_assert_gt(httpd_metric(rig.httpd, METRIC_TLS_OK), 3);
    cr_assert_eq(httpd_metric(rig.httpd, METRIC_TLS_FAILED), 0);
    program_free(client);
    stop(&rig);
}

/* -------------------------------------------------------------------------- another certificate */

Test(tls, a_new_certificate_while_connections_live) {
    struct rig rig;
    struct client old;
    start(&rig);
    cr_assert(client_connect_tls(&old, rig.port));
    cr_assert_eq(ask(&old, GET("/ok")), 200);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "next%d", i);
        struct certificate pair = certificate_make(&rig.folder, name, CERTIFICATE_P256);
        struct tls_files files = files_of(&pair);
        httpd_replace_tls(rig.httpd, &files);
        struct program *client = s_client(&rig, "");
        cr_assert(shows(client, name) && says(client, "200 OK"), "%s", client->out.text);
        program_free(client);
        cr_assert_eq(ask(&old, GET("/ok")), 200);
    }
    client_fini(&old);
    stop(&rig);
}
