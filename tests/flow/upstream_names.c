// SPDX-License-Identifier: MIT
#include "io/upstream.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/caller.h"
#include "kit/leaks.h"

/* --- names ------------------------------------------------------------------------------------ */

/* Stands for the C library's in this program. A name that ends in ".slow" is not resolved before
 * the test lets it. */
static sem_t let_go;
static sem_t went;

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict result) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof real);
    if (node == NULL || strstr(node, ".slow") == NULL) {
        return real(node, service, hints, result);
    }
    while (sem_wait(&let_go) != 0 && errno == EINTR) {
    }
    sem_post(&went);
    return EAI_NONAME;
}

static void nothing(struct caller *caller) {
    (void)caller;
}

static bool is_over(struct caller *caller) {
    return caller->calls[0].done > 0;
}

Test(upstream_names, slow_resolver_holds_nothing, .timeout = 20) {
    sem_init(&let_go, 0, 0);
    sem_init(&went, 0, 0);
    struct caller *caller = caller_new(&caller_usual);
    caller_when(caller, is_over, nothing);
    struct caller_call *call = caller_ask(
        caller, (struct caller_request){.host = "a.slow", .path = "/ok", .timeout_ms = 300});
    cr_assert_eq(call->rc, RC_TIMEOUT, "%s", rc_name(call->rc));
    cr_assert(call->duration_ms >= 280 && call->duration_ms < 2000, "after %d ms",
              (int)call->duration_ms);
    cr_assert(!call->sent);
    cr_assert_lt(caller->longest_turn_ms, 150, "the loop was held for %d ms",
                 (int)caller->longest_turn_ms);
    cr_assert_eq(caller_ask(caller, (struct caller_request){.path = "/ok"})->rc, RC_OK);
    sem_post(&let_go);
    while (sem_wait(&went) != 0 && errno == EINTR) {
    }
    caller_end(caller);
}

Test(upstream_names, names) {
    struct caller *caller = caller_new(&caller_usual);
    struct caller_call *call =
        caller_ask(caller, (struct caller_request){.host = "localhost", .path = "/ok"});
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    call =
        caller_ask(caller, (struct caller_request){.host = "no-such-host.invalid", .path = "/ok"});
    cr_assert_eq(call->rc, RC_UNREACHABLE, "%s", rc_name(call->rc));
    caller_end(caller);
}

/* --- TLS -------------------------------------------------------------------------------------- */

extern char **environ;

/* openssl's own server, with a certificate of our own, which is its own CA. */
struct tls_server {
    char folder[64];
    char certificate[96];
    char key[96];
    pid_t pid;
    int port;
};

static pid_t run(char *const argv[], int *out) {
    int ends[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    cr_assert_eq(failed, 0, "%s: %s", argv[0], strerror(failed));
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *out = ends[0];
    return pid;
}

static void make_certificate(struct tls_server *server, char *name) {
    int out;
    int status;
    snprintf(server->folder, sizeof server->folder, "/tmp/latchkey-test-XXXXXX");
    cr_assert_not_null(mkdtemp(server->folder));
    snprintf(server->certificate, sizeof server->certificate, "%s/cert.pem", server->folder);
    snprintf(server->key, sizeof server->key, "%s/key.pem", server->folder);
    char *const argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:P-256",
                          "-nodes",
                          "-days",
                          "1",
                          "-subj",
                          "/CN=test",
                          "-addext",
                          name,
                          "-keyout",
                          server->key,
                          "-out",
                          server->certificate,
                          NULL};
    pid_t pid = run(argv, &out);
    close(out);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "openssl req failed");
}

/* `name`: the certificate's, "subjectAltName=…"; `version`: an option of s_server. */
static void tls_start(struct tls_server *server, char *name, char *version) {
    char line[256] = "";
    int out;
    make_certificate(server, name);
    char *const argv[] = {
        "openssl", "s_server",  "-accept", "127.0.0.1:0",     "-www",  "-cert", server->certificate,
        "-key",    server->key, "-cipher", "ALL:@SECLEVEL=0", version, NULL};
    server->pid = run(argv, &out);
    FILE *lines = fdopen(out, "r");
    while (sscanf(line, "ACCEPT 127.0.0.1:%d", &server->port) != 1) {
        cr_assert_not_null(fgets(line, sizeof line, lines), "openssl s_server did not start");
    }
    fclose(lines);
}

static void tls_stop(struct tls_server *server) {
    int status;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, &status, 0);
    unlink(server->certificate);
    unlink(server->key);
    rmdir(server->folder);
}

static struct caller_call *ask_tls(struct caller *caller, const struct tls_server *server) {
    char host[64];
    snprintf(host, sizeof host, "127.0.0.1:%d/#", server->port);
    return caller_ask(caller, (struct caller_request){.scheme = "https", .host = host, .path = ""});
}

Test(upstream_names, certificates) {
    static const struct {
        char *name;
        char *version;
        bool is_trusted;
        enum rc rc;
    } cases[] = {
        {"subjectAltName=IP:127.0.0.1", "-no_tls1_1", true, RC_OK},
        {"subjectAltName=IP:127.0.0.1", "-tls1_2", true, RC_OK},
        {"subjectAltName=IP:127.0.0.1", "-no_tls1_1", false, RC_UNREACHABLE},
        {"subjectAltName=IP:127.0.0.2", "-no_tls1_1", true, RC_UNREACHABLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tls_server server;
        struct upstream_opts opts = caller_usual;
        tls_start(&server, cases[i].name, cases[i].version);
        opts.ca_file = cases[i].is_trusted ? server.certificate : NULL;
        struct caller *caller = caller_new(&opts);
        struct caller_call *call = ask_tls(caller, &server);
        cr_assert_eq(call->rc, cases[i].rc, "case %zu: %s", i, rc_name(call->rc));
        cr_assert_eq(call->sent, call->rc == RC_OK, "case %zu: sent to an unknown", i);
        tls_stop(&server);
        caller_end(caller);
    }
}

/* Debian's OpenSSL refuses TLS 1.1 by itself, so that it has to be told not to. */
static void allow_old_tls(const char *folder) {
    char path[96];
    snprintf(path, sizeof path, "%s/openssl.cnf", folder);
    FILE *file = fopen(path, "w");
    fputs("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n"
          "MinProtocol = TLSv1\nCipherString = DEFAULT:@SECLEVEL=0\n",
          file);
    fclose(file);
    setenv("OPENSSL_CONF", path, 1);
}

Test(upstream_names, tls_1_1_is_refused) {
    static char *const versions[] = {"-tls1_2", "-tls1_1"};
    for (size_t i = 0; i < 2; i++) {
        struct tls_server server;
        struct upstream_opts opts = caller_usual;
        tls_start(&server, "subjectAltName=IP:127.0.0.1", versions[i]);
        allow_old_tls(server.folder);
        opts.ca_file = server.certificate;
        struct caller *caller = caller_new(&opts);
        enum rc rc = ask_tls(caller, &server)->rc;
        cr_assert_eq(rc, i == 0 ? RC_OK : RC_UNREACHABLE, "%s: %s", versions[i], rc_name(rc));
        unlink(getenv("OPENSSL_CONF"));
        unsetenv("OPENSSL_CONF");
        tls_stop(&server);
        caller_end(caller);
    }
}

/* Stands for the C library's, which the TLS library uses, to see how often the CA file is read. */
static const char *counted_path;
static _Atomic int counted;

FILE *fopen64(const char *restrict path, const char *restrict mode) {
    FILE *(*real)(const char *, const char *);
    void *symbol = dlsym(RTLD_NEXT, "fopen64");
    memcpy(&real, &symbol, sizeof real);
    if (counted_path != NULL && strcmp(path, counted_path) == 0) {
        counted++;
    }
    return real(path, mode);
}

/* Parsing the system's takes some 40 ms, each time on the loop. */
Test(upstream_names, ca_file_is_read_once) {
    struct tls_server server;
    struct upstream_opts opts = caller_usual;
    tls_start(&server, "subjectAltName=IP:127.0.0.1", "-no_tls1_1");
    opts.ca_file = server.certificate;
    opts.keepalive_max = 0;
    counted_path = server.certificate;
    struct caller *caller = caller_new(&opts);
    cr_assert_eq(counted, 1, "read %d times at the start", counted);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(ask_tls(caller, &server)->rc, RC_OK);
    }
    cr_assert_eq(counted, 1, "read %d times", counted);
    tls_stop(&server);
    caller_end(caller);
}

Test(upstream_names, ca_file_must_be_one) {
    static const char *const files[] = {"/no/such/file", "/dev/null", "/proc/self/exe"};
    struct clock clock = {0};
    struct loop loop;
    cr_assert_eq(loop_init(&loop, &clock), RC_OK);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct upstream_opts opts = caller_usual;
        const char *problem = NULL;
        opts.ca_file = files[i];
        cr_assert_null(upstream_new(&loop, &opts, &problem), "%s", files[i]);
        cr_assert_not_null(problem, "%s", files[i]);
    }
    cr_assert_eq(loop_fini(&loop), RC_OK);
    CHECK_LEAKS();
}
