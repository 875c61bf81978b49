// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/redis.h"
#include "kit/certificate.h"
#include "kit/fake_redis.h"
#include "kit/leaks.h"
#include "kit/redis_rig.h"
#include "kit/redis_server.h"

/* rediss:// with a real server. Where hiredis has no TLS (0.14, Debian 12) there is one test, of
 * what is said then: no machine with it could run the others. */
static void expect_refused(const char *url, const struct redis_opts *opts, const char *cause) {
    struct redis_rig *rig = redis_rig_new(url, opts);
    struct redis_rig_call *call = redis_rig_ask(rig, "PING");
    cr_assert_eq(call->rc, RC_UNREACHABLE, "%s: %s", url, rc_name(call->rc));
    cr_assert_eq(rig->readies, 0);
    const char *log = redis_rig_log(rig);
    cr_assert_not_null(strstr(log, cause), "%s: %s", url, log);
    redis_rig_end(rig);
}

#ifndef LATCHKEY_REDIS_TLS

/* `check` refuses such a URL; a server that is started all the same says why it can't. */
Test(redis_tls, without) {
    cr_assert(!redis_has_tls());
    fprintf(stderr, "hiredis %s has no TLS: it can't be tested\n", redis_library_version());
    expect_refused("rediss://127.0.0.1:1", NULL, "this hiredis has no TLS");
    CHECK_LEAKS();
}

#else

/* A CA, and a certificate that it signed. */
struct authority {
    struct scratch folder;
    struct certificate ca;
    struct certificate signed_by_it;
};

static void sign(struct authority *authority, const char *names) {
    struct scratch request = scratch_file(&authority->folder, "server.csr");
    struct certificate *server = &authority->signed_by_it;
    char extension[128];
    snprintf(extension, sizeof extension, "subjectAltName=%s", names);
    server->cert = scratch_file(&authority->folder, "server.crt");
    server->key = scratch_file(&authority->folder, "server.key");
    certificate_openssl((const char *const[]){"req", "-new", "-nodes", "-subj", "/CN=server",
                                              "-addext", extension, "-newkey", "ec", "-pkeyopt",
                                              "ec_paramgen_curve:P-256", "-keyout",
                                              server->key.path, "-out", request.path, NULL});
    certificate_openssl(
        (const char *const[]){"x509", "-req", "-in", request.path, "-days", "2", "-copy_extensions",
                              "copy", "-CA", authority->ca.cert.path, "-CAkey",
                              authority->ca.key.path, "-out", server->cert.path, NULL});
}

static void start_authority(struct authority *authority, const char *names) {
    authority->folder = scratch_new();
    authority->ca = certificate_make(&authority->folder, "ca", CERTIFICATE_P256);
    sign(authority, names);
}

static void start_server(struct redis_server *server, const struct authority *authority,
                         const char *password) {
    const char *const more[] = {"--tls-cert-file",
                                authority->signed_by_it.cert.path,
                                "--tls-key-file",
                                authority->signed_by_it.key.path,
                                "--tls-ca-cert-file",
                                authority->ca.cert.path,
                                "--tls-auth-clients",
                                "no",
                                NULL};
    redis_server_start(
        server, (struct redis_server_opts){.is_tls = true, .password = password, .more = more});
    server->opts.more = NULL;
}

static void expect(struct redis_rig *rig, const char *command, const char *text) {
    struct redis_rig_call *call = redis_rig_ask(rig, command);
    cr_assert_eq(call->rc, RC_OK, "%s: %s, %s\n%s", command, rc_name(call->rc), call->cause,
                 redis_rig_log(rig));
    cr_assert_str_eq(call->text, text, "%s: %s", command, call->text);
}

Test(redis_tls, commands) {
    cr_assert(redis_has_tls());
    struct authority authority;
    struct redis_server server;
    char url[128];
    start_authority(&authority, "DNS:localhost,IP:127.0.0.1");
    start_server(&server, &authority, "p");
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        snprintf(url, sizeof url, "rediss://:p@%s:%d/1", hosts[i], server.port);
        struct redis_rig *rig =
            redis_rig_new(url, &(struct redis_opts){.ca_file = authority.ca.cert.path});
        expect(rig, "SET a b", "OK");
        expect(rig, "GET a", "b");
        expect(rig, "CLIENT GETNAME", "latchkey-test");
        expect(rig, "FLUSHALL", "OK");
        redis_rig_end(rig);
    }
    redis_server_free(&server);
    scratch_free(&authority.folder);
}

/* -- much -- */

enum { ROW = 1000, VALUE_BYTES = 20 * 1000, ALL_BYTES = ROW * VALUE_BYTES };

struct row {
    struct redis_op ops[ROW];
    size_t done;
    int64_t last;
};

static struct row row;

static void on_row(struct redis_op *op) {
    cr_assert_eq(op->rc, RC_OK, "%s, %s", rc_name(op->rc), op->cause);
    row.done++;
    row.last = redis_integer(op->value);
}

static bool is_row_done(struct redis_rig *rig, void *about) {
    (void)rig;
    (void)about;
    return row.done == ROW;
}

/* 20 MB in one turn, of which the kernel takes a part at a time. (With as many bytes of answers
 * under way, which it can't write at once, redis-server 8.0 breaks the connection: "bad length".)
 */
static void write_much(struct redis_rig *rig) {
    char *value = mem_alloc(VALUE_BYTES);
    memset(value, 'v', VALUE_BYTES);
    for (size_t i = 0; i < ROW; i++) {
        redis_command(
            rig->redis, &row.ops[i],
            (struct slice[]){SLICE("APPEND"), SLICE("much"), slice_make(value, VALUE_BYTES)}, 3,
            on_row);
    }
    mem_free(value);
    redis_rig_until(rig, is_row_done, NULL);
    cr_assert_eq(row.last, ALL_BYTES);
}

Test(redis_tls, much) {
    struct authority authority;
    struct redis_server server;
    char url[128];
    start_authority(&authority, "IP:127.0.0.1");
    start_server(&server, &authority, NULL);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", server.port);
    struct redis_rig *rig =
        redis_rig_new(url, &(struct redis_opts){.ca_file = authority.ca.cert.path,
                                                .command_timeout_ms = 10 * 1000});
    write_much(rig);
    expect(rig, "STRLEN much", "20000000");
    /* an answer of many records */
    cr_assert_eq(redis_rig_ask(rig, "GETRANGE much 0 9999999")->rc, RC_OK);
    cr_assert_eq(redis_rig_ask(rig, "GET much")->rc, RC_TOO_LARGE);
    redis_rig_wait_readies(rig, 2);
    redis_rig_end(rig);
    redis_server_free(&server);
    scratch_free(&authority.folder);
}

/* -- whom it trusts -- */

Test(redis_tls, another_authority) {
    struct authority authority;
    struct authority other;
    struct redis_server server;
    char url[128];
    start_authority(&authority, "DNS:localhost,IP:127.0.0.1");
    start_authority(&other, "DNS:localhost,IP:127.0.0.1");
    start_server(&server, &authority, NULL);
    snprintf(url, sizeof url, "rediss://localhost:%d", server.port);
    static const char cause[] = "the server's certificate does not verify";
    expect_refused(url, &(struct redis_opts){.ca_file = other.ca.cert.path}, cause);
    expect_refused(url, NULL, cause); /* the system's */
    struct scratch none = scratch_file(&authority.folder, "none.crt");
    expect_refused(url, &(struct redis_opts){.ca_file = none.path}, "certificates to verify");
    redis_server_free(&server);
    scratch_free(&other.folder);
    scratch_free(&authority.folder);
    CHECK_LEAKS();
}

/* hiredis alone would take any name. */
Test(redis_tls, another_name) {
    static const char *const names[] = {"DNS:example.org", "IP:127.0.0.2", "DNS:127.0.0.1",
                                        "DNS:localhos*"};
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    struct authority authority;
    struct redis_server server;
    char url[128];
    start_authority(&authority, names[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sign(&authority, names[i]);
        start_server(&server, &authority, NULL);
        for (size_t h = 0; h < sizeof hosts / sizeof hosts[0]; h++) {
            snprintf(url, sizeof url, "rediss://%s:%d", hosts[h], server.port);
            expect_refused(url, &(struct redis_opts){.ca_file = authority.ca.cert.path},
                           "the server's certificate does not verify");
        }
        redis_server_free(&server);
    }
    scratch_free(&authority.folder);
    CHECK_LEAKS();
}

/* -- ends -- */

Test(redis_tls, one_side_only) {
    struct authority authority;
    struct redis_server server;
    char url[128];
    start_authority(&authority, "IP:127.0.0.1");
    const struct redis_opts opts = {.ca_file = authority.ca.cert.path};
    start_server(&server, &authority, NULL);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", server.port);
    expect_refused(url, NULL, "redis_unreachable");
    redis_server_free(&server);

    redis_server_start(&server, (struct redis_server_opts){0});
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", server.port);
    expect_refused(url, &opts, "redis_unreachable");
    redis_server_stop(&server);
    expect_refused(url, &opts, "the server can't be reached");
    redis_server_free(&server);

    static const struct fake_redis_rule rules[] = {
        {"", NULL, NULL, FAKE_REDIS_SILENT, 0},
        {"", NULL, NULL, FAKE_REDIS_CLOSE, 0},
        {"", NULL, NULL, FAKE_REDIS_RESET, 0},
        {"", "\x16\x03\x03\x00", NULL, FAKE_REDIS_CLOSE, 0},
        {"", "\x15\x03\x03\x7F\xFF", "no TLS at all", FAKE_REDIS_CLOSE, 0},
    };
    struct fake_redis *fake = fake_redis_new();
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        fake_redis_set(fake, rules[i]);
        snprintf(url, sizeof url, "rediss://127.0.0.1:%d", fake_redis_port(fake));
        expect_refused(
            url,
            &(struct redis_opts){.ca_file = authority.ca.cert.path, .command_timeout_ms = 5000},
            "redis_unreachable");
    }
    fake_redis_free(fake);
    scratch_free(&authority.folder);
    CHECK_LEAKS();
}

Test(redis_tls, frozen_and_restarted) {
    struct authority authority;
    struct redis_server server;
    char url[128];
    start_authority(&authority, "IP:127.0.0.1");
    start_server(&server, &authority, NULL);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", server.port);
    struct redis_rig *rig = redis_rig_new(
        url, &(struct redis_opts){.ca_file = authority.ca.cert.path, .command_timeout_ms = 300});
    redis_rig_wait_ready(rig);
    redis_server_freeze(&server);
    cr_assert_eq(redis_rig_ask(rig, "PING")->rc, RC_TIMEOUT);
    redis_server_thaw(&server);
    redis_rig_wait_readies(rig, 2);
    expect(rig, "PING", "PONG");
    redis_rig_end(rig);
    redis_server_free(&server);
    scratch_free(&authority.folder);
}

/* Closed at each turn of its way to being ready. */
Test(redis_tls, close_at_each_turn) {
    struct authority authority;
    struct redis_server server;
    char url[128];
    bool was_ready = false;
    start_authority(&authority, "IP:127.0.0.1");
    start_server(&server, &authority, NULL);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", server.port);
    for (int turns = 0; !was_ready; turns++) {
        struct redis_rig *rig =
            redis_rig_new(url, &(struct redis_opts){.ca_file = authority.ca.cert.path});
        redis_rig_start(rig, 0, "BLPOP nothing 0");
        for (int i = 0; i < turns && !redis_is_ready(rig->redis); i++) {
            uv_run(&rig->loop.uv, UV_RUN_ONCE);
        }
        was_ready = redis_is_ready(rig->redis);
        redis_rig_end(rig);
        cr_assert_lt(turns, 100);
    }
    redis_server_free(&server);
    scratch_free(&authority.folder);
}

#endif
