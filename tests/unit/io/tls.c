// SPDX-License-Identifier: MIT
#include "io/tls.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "crypto/hash.h"
#include "kit/certificate.h"
#include "kit/leaks.h"
#include "kit/program.h"

/* -- certificates and keys, good and bad -- */

static struct scratch folder;
static struct certificate good;
static struct certificate other;

static void start(void) {
    folder = scratch_new();
    good = certificate_make(&folder, "good", CERTIFICATE_P256);
    other = certificate_make(&folder, "other", CERTIFICATE_P256);
}

static void stop(void) {
    scratch_free(&folder);
    CHECK_LEAKS();
}

static void write_file(const char *path, struct slice text) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text.at, 1, text.len, file), text.len);
    cr_assert_eq(fclose(file), 0);
}

static void append_file(struct buf *out, const char *path) {
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    for (int c = getc(file); c != EOF; c = getc(file)) {
        buf_append_char(out, (char)c);
    }
    fclose(file);
}

static void check(const char *cert, const char *key, const char *cert_says, const char *key_says) {
    struct tls_report report;
    const struct tls_files files = {cert, key};
    enum rc rc = tls_check(&files, &report);
    bool is_bad = report.cert_is_bad || report.key_is_bad;
    cr_assert_eq(rc, is_bad ? RC_USAGE : RC_OK, "%s %s", cert, key);
    cr_assert_eq(report.cert_is_bad, cert_says != NULL, "%s: %s", cert, report.cert);
    cr_assert_eq(report.key_is_bad, key_says != NULL, "%s: %s", key, report.key);
    cr_assert(cert_says == NULL || strstr(report.cert, cert_says) != NULL, "%s: %s", cert,
              report.cert);
    cr_assert(key_says == NULL || strstr(report.key, key_says) != NULL, "%s: %s", key, report.key);
    struct tls *tls;
    cr_assert_eq(tls_new_server(&files, &tls, &report), rc);
    cr_assert_eq(tls != NULL, !is_bad);
    tls_release(tls);
}

Test(tls, what_is_wrong_with_a_pair_is_said) {
    start();
    const struct certificate weak = certificate_make(&folder, "weak", CERTIFICATE_RSA(1024));
    struct scratch absent = scratch_file(&folder, "absent");
    struct scratch empty = scratch_file(&folder, "empty");
    struct scratch text = scratch_file(&folder, "text");
    struct scratch broken = scratch_file(&folder, "broken");
    struct scratch locked = scratch_file(&folder, "locked");
    struct scratch ed25519 = scratch_file(&folder, "ed25519");
    struct scratch large = scratch_file(&folder, "large");
    struct buf bytes;
    write_file(empty.path, SLICE(""));
    write_file(text.path, SLICE("hello\n"));
    buf_init(&bytes, 1 << 20);
    append_file(&bytes, good.cert.path);
    bytes.at[bytes.len / 2] = '!';
    write_file(broken.path, buf_slice(&bytes));
    while (bytes.len < 300 * 1024) {
        append_file(&bytes, good.cert.path);
    }
    write_file(large.path, buf_slice(&bytes));
    buf_fini(&bytes);
    certificate_openssl((const char *const[]){"pkcs8", "-topk8", "-passout", "pass:abcd", "-in",
                                              good.key.path, "-out", locked.path, NULL});
    certificate_openssl(
        (const char *const[]){"genpkey", "-algorithm", "ed25519", "-out", ed25519.path, NULL});
    const struct {
        const char *cert;
        const char *key;
        const char *cert_says;
        const char *key_says;
    } cases[] = {
        {good.cert.path, good.key.path, NULL, NULL},
        {absent.path, good.key.path, "can't be read (No such file", NULL},
        {good.cert.path, absent.path, NULL, "can't be read (No such file"},
        {absent.path, absent.path, "can't be read", "can't be read"},
        {folder.path, good.key.path, "not a regular file", NULL},
        {good.cert.path, "/dev/zero", NULL, "not a regular file"},
        {empty.path, empty.path, "holds no certificate", "holds no private key"},
        {text.path, good.key.path, "holds no certificate", NULL},
        {good.key.path, good.key.path, "holds no certificate", NULL},
        {good.cert.path, good.cert.path, NULL, "holds no private key"},
        {broken.path, good.key.path, "is the file whole?", NULL},
        {large.path, good.key.path, "larger than 256 KiB", NULL},
        {good.cert.path, other.key.path, NULL, "does not belong to the certificate"},
        {good.cert.path, weak.key.path, NULL, "RSA key of 1024 bits"},
        {good.cert.path, locked.path, NULL, "passphrase"},
        {good.cert.path, ed25519.path, NULL, "not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check(cases[i].cert, cases[i].key, cases[i].cert_says, cases[i].key_says);
    }
    stop();
}

Test(tls, the_order_of_a_chain_is_looked_at) {
    struct buf bytes;
    start();
    struct scratch chain = scratch_file(&folder, "chain");
    buf_init(&bytes, 1 << 20);
    append_file(&bytes, good.cert.path);
    append_file(&bytes, other.cert.path);
    write_file(chain.path, buf_slice(&bytes));
    check(chain.path, good.key.path, NULL, NULL);
    check(chain.path, other.key.path, NULL, "put that one first");
    buf_fini(&bytes);
    stop();
}

Test(tls, key_and_certificate_may_share_a_file) {
    struct buf bytes;
    start();
    struct scratch both = scratch_file(&folder, "both");
    buf_init(&bytes, 1 << 20);
    append_file(&bytes, good.key.path);
    append_file(&bytes, good.cert.path);
    write_file(both.path, buf_slice(&bytes));
    check(both.path, both.path, NULL, NULL);
    buf_fini(&bytes);
    stop();
}

/* The good certificate with other dates, which the openssl program of Debian 12 can't make. */
static void make_dated(const char *from, const char *to) {
    static const char script[] =
        "import sys, datetime as d\n"
        "from cryptography import x509\n"
        "from cryptography.hazmat.primitives import hashes, serialization as s\n"
        "_, cert, key, start, end = sys.argv\n"
        "key = s.load_pem_private_key(open(key, 'rb').read(), None)\n"
        "name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'a')])\n"
        "made = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)\n"
        "made = made.public_key(key.public_key())\n"
        "made = made.not_valid_before(d.datetime.fromisoformat(start))\n"
        "made = made.not_valid_after(d.datetime.fromisoformat(end)).sign(key, hashes.SHA256())\n"
        "open(cert, 'wb').write(made.public_bytes(s.Encoding.PEM))\n";
    const char *const argv[] = {"/usr/bin/python3", "-c", script, good.cert.path,
                                good.key.path,      from, to,     NULL};
    const char *const env[] = {NULL};
    struct program *program = program_run(argv, env);
    cr_assert_eq(program->code, 0, "%s", program->err.text);
    program_free(program);
}

Test(tls, what_is_unwise_is_said) {
    struct tls_report report;
    start();
    const struct tls_files files = {good.cert.path, good.key.path};
    cr_assert_eq(chmod(good.key.path, 0644), 0);
    cr_assert_eq(tls_check(&files, &report), RC_OK);
    cr_assert_not_null(strstr(report.key, "chmod 600"), "%s", report.key);
    cr_assert_eq(chmod(good.key.path, 0640), 0); /* a group may be made for it */
    cr_assert_eq(tls_check(&files, &report), RC_OK);
    cr_assert_str_eq(report.key, "");
    make_dated("2019-01-01", "2020-02-03");
    cr_assert_eq(tls_check(&files, &report), RC_OK);
    cr_assert_not_null(strstr(report.cert, "is past its end (2020-02-03)"), "%s", report.cert);
    make_dated("2990-01-01", "2990-02-03");
    cr_assert_eq(tls_check(&files, &report), RC_OK);
    cr_assert_not_null(strstr(report.cert, "is not valid before 2990-01-01"), "%s", report.cert);
    stop();
}

/* -- sessions, without a socket -- */

enum { PLAIN_MAX = 512 * 1024 };

struct side {
    struct tls_session *session;
    struct buf sent;
    struct buf plain;
    enum tls_state state;
};

static void on_send(void *owner, struct slice records) {
    buf_append(&((struct side *)owner)->sent, records);
}

static void side_init(struct side *side, struct tls *tls) {
    buf_init(&side->sent, PLAIN_MAX);
    buf_init(&side->plain, PLAIN_MAX);
    side->session = tls_session_new(tls, on_send, side);
    cr_assert_not_null(side->session);
    side->state = TLS_SHAKING;
}

static void side_fini(struct side *side) {
    tls_session_free(side->session);
    buf_fini(&side->sent);
    buf_fini(&side->plain);
}

/* All that one side has sent reaches the other in pieces of `step` bytes. */
static void carry(struct side *from, struct side *to, size_t step) {
    struct slice rest = buf_slice(&from->sent);
    while (rest.len > 0) {
        struct slice piece = slice_head(rest, step);
        size_t n;
        size_t room = piece.len + TLS_HELD_BYTES_MAX;
        char *at = buf_reserve(&to->plain, room);
        cr_assert_not_null(at);
        to->state = tls_session_receive(to->session, piece, at, room, &n);
        to->plain.len += n;
        rest = slice_from(rest, step);
    }
    buf_clear(&from->sent);
}

static void shake(struct side *server, struct side *client, size_t step) {
    tls_session_start(client->session);
    for (int i = 0; i < 10; i++) {
        carry(client, server, step);
        carry(server, client, step);
    }
    cr_assert(server->state == TLS_OPEN && client->state == TLS_OPEN, "step %zu", step);
}

struct both {
    struct tls *server_tls;
    struct tls *client_tls;
};

static struct both make_both(void) {
    struct tls_report report;
    struct both both;
    cr_assert_eq(hash_init(), RC_OK);
    const struct tls_files files = {good.cert.path, good.key.path};
    cr_assert_eq(tls_new_server(&files, &both.server_tls, &report), RC_OK);
    both.client_tls = tls_new_client();
    return both;
}

Test(tls, bytes_come_through_in_pieces_of_any_size) {
    static const size_t steps[] = {SIZE_MAX, 1, 2, 5, 100, 16389, 40000};
    static const size_t lengths[] = {0, 1, 100, 16383, 16384, 16385, 100000};
    char *text = malloc(100000);
    start();
    struct both both = make_both();
    for (size_t i = 0; i < 100000; i++) {
        text[i] = (char)(i * 7 + i / 251);
    }
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        struct side server;
        struct side client;
        side_init(&server, both.server_tls);
        side_init(&client, both.client_tls);
        shake(&server, &client, steps[s]);
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            struct slice sent = slice_make(text, lengths[i]);
            buf_clear(&client.plain);
            buf_clear(&server.plain);
            cr_assert(tls_session_write(server.session, sent));
            cr_assert(tls_session_write(client.session, sent));
            carry(&server, &client, steps[s]);
            carry(&client, &server, steps[s]);
            cr_assert(slice_eq(buf_slice(&client.plain), sent), "%zu in %zu", sent.len, steps[s]);
            cr_assert(slice_eq(buf_slice(&server.plain), sent), "%zu in %zu", sent.len, steps[s]);
        }
        tls_session_end(server.session);
        tls_session_end(server.session); /* said once */
        carry(&server, &client, steps[s]);
        cr_assert_eq(client.state, TLS_ENDED);
        side_fini(&server);
        side_fini(&client);
    }
    tls_release(both.server_tls);
    tls_release(both.client_tls);
    free(text);
    stop();
}

/* io/stream_tls lets them share one buffer: the plain bytes are written below the records that are
 * still to be read, and never reach them. */
Test(tls, plain_bytes_may_be_written_where_the_records_were) {
    enum { ROOM = 64 * 1024, PIECE = ROOM - TLS_HELD_BYTES_MAX };
    static char shared[ROOM];
    char *text = malloc(16384);
    start();
    struct both both = make_both();
    struct side server;
    struct side client;
    struct buf all;
    buf_init(&all, PLAIN_MAX);
    side_init(&server, both.server_tls);
    side_init(&client, both.client_tls);
    shake(&server, &client, SIZE_MAX);
    for (int i = 0; i < 20; i++) {
        memset(text, 'a' + i, 16384);
        cr_assert(tls_session_write(client.session, slice_make(text, 16384)));
    }
    struct slice rest = buf_slice(&client.sent);
    while (rest.len > 0) {
        size_t n;
        struct slice piece = slice_head(rest, PIECE - 100);
        memcpy(shared + TLS_HELD_BYTES_MAX, piece.at, piece.len);
        cr_assert_eq(tls_session_receive(server.session,
                                         slice_make(shared + TLS_HELD_BYTES_MAX, piece.len), shared,
                                         ROOM, &n),
                     TLS_OPEN);
        buf_append(&all, slice_make(shared, n));
        rest = slice_from(rest, PIECE - 100);
    }
    cr_assert_eq(all.len, 20u * 16384u);
    for (size_t i = 0; i < all.len; i++) {
        cr_assert_eq(all.at[i], (char)('a' + i / 16384), "byte %zu", i);
    }
    buf_fini(&all);
    side_fini(&server);
    side_fini(&client);
    tls_release(both.server_tls);
    tls_release(both.client_tls);
    free(text);
    stop();
}

/* The owner lets go first: sessions keep what they need. */
Test(tls, sessions_outlive_their_owners_use) {
    start();
    struct both both = make_both();
    struct side server;
    struct side client;
    side_init(&server, both.server_tls);
    side_init(&client, both.client_tls);
    tls_release(both.server_tls);
    tls_release(both.client_tls);
    shake(&server, &client, SIZE_MAX);
    cr_assert(tls_session_write(server.session, SLICE("hello")));
    carry(&server, &client, SIZE_MAX);
    cr_assert(slice_eq(buf_slice(&client.plain), SLICE("hello")));
    side_fini(&server);
    side_fini(&client);
    stop();
}

Test(tls, a_session_that_is_not_open_writes_nothing) {
    start();
    struct both both = make_both();
    struct side server;
    side_init(&server, both.server_tls);
    cr_assert_not(tls_session_write(server.session, SLICE("hello")));
    tls_session_end(server.session);
    cr_assert_eq(server.sent.len, 0u);
    side_fini(&server);
    tls_release(both.server_tls);
    tls_release(both.client_tls);
    stop();
}
