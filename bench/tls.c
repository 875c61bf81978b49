// SPDX-License-Identifier: MIT
/* How long a handshake holds the loop, by the kind of key, and what records cost:
 * bench_tls <folder>. Both sides in one process, only the server's is measured; the openssl program
 * makes the certificates in that folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "io/tls.h"

enum { PIPE_BYTES = 256 * 1024, HANDSHAKES = 100, RECORD_ROUNDS = 2000 };

static const struct {
    const char *name;
    const char *options; /* of openssl req */
} kinds[] = {
    {"P-256", "ec -pkeyopt ec_paramgen_curve:P-256"},
    {"P-384", "ec -pkeyopt ec_paramgen_curve:P-384"},
    {"RSA 2048", "rsa:2048"},
    {"RSA 3072", "rsa:3072"},
    {"RSA 4096", "rsa:4096"},
};

/* Of this thread alone, so that a busy machine changes little. */
static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void on_send(void *owner, struct slice records) {
    buf_append(owner, records);
}

struct side {
    struct tls_session *session;
    struct buf sent; /* to the other side */
};

static enum tls_state receive(struct side *side, struct side *from) {
    static char plain[PIPE_BYTES + TLS_HELD_BYTES_MAX];
    size_t n;
    enum tls_state state =
        tls_session_receive(side->session, buf_slice(&from->sent), plain, sizeof plain, &n);
    buf_clear(&from->sent);
    return state;
}

static void end_side(struct side *side) {
    tls_session_free(side->session);
    buf_fini(&side->sent);
}

static void check(bool good, const char *what) {
    if (!good) {
        fprintf(stderr, "bench_tls: %s\n", what);
        exit(1);
    }
}

/* The sides' structs stay where they are: sessions know them. */
static void open_sides(struct tls *server_tls, struct tls *client_tls, struct side *server,
                       struct side *client) {
    buf_init(&server->sent, PIPE_BYTES);
    buf_init(&client->sent, PIPE_BYTES);
    server->session = tls_session_new(server_tls, on_send, &server->sent);
    client->session = tls_session_new(client_tls, on_send, &client->sent);
    check(server->session != NULL && client->session != NULL, "no session");
}

/* What the server computed, in µs. */
static double shake(struct side *server, struct side *client) {
    double spent_us = 0;
    enum tls_state state = TLS_SHAKING;
    enum tls_state client_state = TLS_SHAKING;
    tls_session_start(client->session);
    for (int i = 0; i < 10 && (state != TLS_OPEN || client_state != TLS_OPEN); i++) {
        double start_us = now_us();
        state = receive(server, client);
        spent_us += now_us() - start_us;
        client_state = receive(client, server);
    }
    check(state == TLS_OPEN && client_state == TLS_OPEN, "the handshake fails");
    return spent_us;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure_handshakes(const char *name, struct tls *server_tls, struct tls *client_tls) {
    double taken_us[HANDSHAKES];
    for (int i = 0; i < HANDSHAKES; i++) {
        struct side server;
        struct side client;
        double start_us = now_us();
        open_sides(server_tls, client_tls, &server, &client);
        double opened_us = (now_us() - start_us) / 2;
        taken_us[i] = shake(&server, &client) + opened_us;
        end_side(&server);
        end_side(&client);
    }
    qsort(taken_us, HANDSHAKES, sizeof taken_us[0], by_value);
    printf("%-10s handshake %8.2f ms (median of %d; lowest %.2f, 95%% below %.2f)\n", name,
           taken_us[HANDSHAKES / 2] / 1e3, HANDSHAKES, taken_us[0] / 1e3,
           taken_us[HANDSHAKES * 95 / 100] / 1e3);
}

static void measure_records(struct tls *server_tls, struct tls *client_tls, size_t bytes) {
    struct side server;
    struct side client;
    char *text = mem_calloc(1, bytes);
    double write_us = 0;
    double read_us = 0;
    open_sides(server_tls, client_tls, &server, &client);
    shake(&server, &client);
    for (int i = 0; i < RECORD_ROUNDS; i++) {
        double start_us = now_us();
        check(tls_session_write(server.session, slice_make(text, bytes)), "no write");
        write_us += now_us() - start_us;
        receive(&client, &server);
        check(tls_session_write(client.session, slice_make(text, bytes)), "no write");
        start_us = now_us();
        receive(&server, &client);
        read_us += now_us() - start_us;
    }
    printf("%zu bytes  sealed in %.1f us, opened in %.1f us (%s, %s)\n", bytes,
           write_us / RECORD_ROUNDS, read_us / RECORD_ROUNDS, tls_session_version(server.session),
           tls_session_suite(server.session));
    end_side(&server);
    end_side(&client);
    mem_free(text);
}

static struct tls *make_server(const char *folder, const char *options) {
    char cert[512];
    char key[512];
    char command[2048];
    struct tls *tls;
    struct tls_report report;
    snprintf(cert, sizeof cert, "%s/bench.crt", folder);
    snprintf(key, sizeof key, "%s/bench.key", folder);
    snprintf(command, sizeof command,
             "openssl req -x509 -nodes -days 2 -subj /CN=localhost -newkey %s -keyout '%s' "
             "-out '%s' 2>/dev/null",
             options, key, cert);
    check(system(command) == 0, "openssl makes no certificate");
    check(tls_new_server(&(const struct tls_files){cert, key}, &tls, &report) == RC_OK,
          "the pair is refused");
    return tls;
}

int main(int argc, char **argv) {
    check(argc == 2, "usage: bench_tls <folder>");
    check(hash_init() == RC_OK, "the crypto library does not start");
    char version[HASH_VERSION_BYTES];
    hash_library_version(version);
    printf("mbedTLS %s\n", version);
    struct tls *client = tls_new_client();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct tls *server = make_server(argv[1], kinds[i].options);
        measure_handshakes(kinds[i].name, server, client);
        if (i == 0) {
            measure_records(server, client, 500);
            measure_records(server, client, 16 * 1024);
        }
        tls_release(server);
    }
    tls_release(client);
    return 0;
}
