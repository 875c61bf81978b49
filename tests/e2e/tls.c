// SPDX-License-Identifier: MIT
/* The whole server over TLS: a link from end to end, every response's header, curl, the commands,
 * and the program itself. What handshakes do is in flow/tls.c. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/ask.h"
#include "kit/certificate.h"
#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/program.h"
#include "kit/secrets.h"

enum { SETTING_BYTES = SCRATCH_BYTES + 32 };

/* A certificate, and the settings that name it. */
struct pair {
    struct scratch folder;
    struct certificate files;
    char cert[SETTING_BYTES];
    char key[SETTING_BYTES];
    const char *settings[3];
};

/* A line of the key's is as good as the key. */
static void add_key_secret(const char *path) {
    char line[128];
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    for (int i = 0; i < 2; i++) {
        cr_assert_not_null(fgets(line, sizeof line, file));
    }
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    secrets_add("the TLS key", slice_str(line), SECRETS_NOWHERE);
}

static void pair_init(struct pair *pair) {
    *pair = (struct pair){.folder = scratch_new()};
    pair->files = certificate_make(&pair->folder, "localhost", CERTIFICATE_P256);
    snprintf(pair->cert, sizeof pair->cert, "LATCHKEY_TLS_CERT=%s", pair->files.cert.path);
    snprintf(pair->key, sizeof pair->key, "LATCHKEY_TLS_KEY=%s", pair->files.key.path);
    pair->settings[0] = pair->cert;
    pair->settings[1] = pair->key;
    add_key_secret(pair->files.key.path);
}

static void pair_fini(struct pair *pair) {
    scratch_free(&pair->folder);
    CHECK_LEAKS();
}

Test(tls, a_link_from_end_to_end) {
    struct pair pair;
    struct platform platform;
    char token[KIT_JWT_BYTES];
    pair_init(&pair);
    platform_start(&platform, pair.settings);
    client_over_tls(platform.port);
    platform_link(&platform, "ada");
    cr_assert(platform_is_connected(&platform, "ada"));
    ask_premium(token, "ada");
    ask_expect(platform.port, (struct ask){.path = "library", .token = token}, 200, NULL);
    ask_expect(platform.port,
               (struct ask){.method = "POST", .path = "library/sync", .token = token}, 200, NULL);
    ask_expect(platform.port, (struct ask){.method = "POST", .path = "disconnect", .token = token},
               200, NULL);
    cr_assert_not(platform_is_connected(&platform, "ada"));
    cr_assert_gt(kit_server_metric(platform.server, METRIC_TLS_OK), 5);
    cr_assert_eq(kit_server_metric(platform.server, METRIC_TLS_FAILED), 0);
    platform_stop(&platform);
    pair_fini(&pair);
}

Test(tls, every_response_says_strict_transport_security) {
    static const struct ask cases[] = {
        {.path = "/healthz"},
        {.path = "/readyz"},
        {.path = "/unknown"},
        {.method = "POST", .path = "/healthz"},
        {.method = "OPTIONS", .path = "connected"},
        {.method = "HEAD", .path = "connected"},
        {.path = "connected"},
        {.path = "connected", .token = "no.such.token"},
        {.path = "oauth/callback"},
        {.path = "/healthz", .headers = "Host: twice\r\n"},
        {.path = "/docs"},
        {.path = "/openapi.json"},
    };
    struct pair pair;
    pair_init(&pair);
    struct kit_server *server = kit_server_start_with(pair.settings);
    client_over_tls(kit_server_port(server));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_response response;
        cr_assert_neq(ask(kit_server_port(server), cases[i], &response), 0, "%s", cases[i].path);
        cr_assert(slice_eq(client_header(&response, "strict-transport-security"),
                           SLICE("max-age=31536000")),
                  "%s: %.*s", cases[i].path, SLICE_ARGS(response.head));
        cr_assert_eq(client_header_count(&response, "strict-transport-security"), 1u);
        client_response_fini(&response);
    }
    kit_server_stop(server);
    struct kit_server *plain = kit_server_start_with(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_response response;
        ask(kit_server_port(plain), cases[i], &response);
        cr_assert_eq(client_header_count(&response, "strict-transport-security"), 0u, "%s",
                     cases[i].path);
        client_response_fini(&response);
    }
    kit_server_stop(plain);
    pair_fini(&pair);
}

/* -- curl -- */

static struct program *curl(const struct pair *pair, int port, const char *options) {
    char script[1024];
    snprintf(script, sizeof script,
             "exec curl -sS -m 10 --noproxy '*' --cacert %s %s -w ' %%{http_version} "
             "%%{ssl_verify_result}' "
             "https://localhost:%d/healthz --resolve localhost:%d:127.0.0.1 2>&1 </dev/null",
             pair->files.cert.path, options, port, port);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    return program_run(argv, env);
}

Test(tls, curl_verifies_and_is_served) {
    static const struct {
        const char *options;
        bool is_served;
    } cases[] = {
        {"", true},
        {"--http2", true}, /* offered, and not taken */
        {"--tlsv1.2 --tls-max 1.2", true},
        {"--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0", false},
        {"--tls-max 1.2 --ciphers ECDHE-ECDSA-AES128-SHA", false},
    };
    struct pair pair;
    pair_init(&pair);
    struct kit_server *server = kit_server_start_with(pair.settings);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct program *program = curl(&pair, kit_server_port(server), cases[i].options);
        bool is_served = strcmp(program->out.text, "{\"status\":\"ok\"} 1.1 0") == 0;
        cr_assert_eq(is_served, cases[i].is_served, "%s: %s", cases[i].options, program->out.text);
        cr_assert_eq(program->code == 0, is_served);
        program_free(program);
    }
    kit_server_stop(server);
    pair_fini(&pair);
}

/* -- the commands -- */

static struct program *run_command(const char *command, const struct pair *pair, int port) {
    const char *const argv[] = {TEST_BUILD_DIR "/latchkey", command, NULL};
    struct kit_settings all;
    char listen[64];
    const char *over[] = {pair->cert, pair->key, listen, NULL};
    snprintf(listen, sizeof listen, "LATCHKEY_LISTEN=127.0.0.1:%d", port);
    kit_settings_init(&all, pair->folder.path, "http://127.0.0.1:1", over);
    struct program *program = program_run(argv, (const char *const *)all.env);
    kit_settings_fini(&all);
    return program;
}

Test(tls, the_healthcheck_speaks_it) {
    struct pair pair;
    pair_init(&pair);
    struct kit_server *server = kit_server_start_with(pair.settings);
    struct program *program = run_command("healthcheck", &pair, kit_server_port(server));
    cr_assert_eq(program->code, 0, "%s", program->err.text);
    program_free(program);
    kit_server_stop(server);
    struct kit_server *plain = kit_server_start_with(NULL);
    program = run_command("healthcheck", &pair, kit_server_port(plain));
    cr_assert_eq(program->code, 1, "%s", program->err.text);
    cr_assert_not_null(strstr(program->err.text, "does not speak TLS"), "%s", program->err.text);
    program_free(program);
    kit_server_stop(plain);
    pair_fini(&pair);
}

Test(tls, a_bad_pair_is_refused_at_the_start) {
    static const struct {
        const char *cert; /* NULL: not set */
        const char *key;
        const char *says;
    } cases[] = {
        {"localhost.crt", "other.key",
         "LATCHKEY_TLS_KEY: does not belong to the certificate of LATCHKEY_TLS_CERT"},
        {"localhost.crt", "absent", "LATCHKEY_TLS_KEY: names a file that can't be read"},
        {"other.key", "other.key", "LATCHKEY_TLS_CERT: holds no certificate"},
        {"localhost.crt", NULL, "LATCHKEY_TLS_CERT: is set without LATCHKEY_TLS_KEY"},
        {NULL, "localhost.key", "LATCHKEY_TLS_KEY: is set without LATCHKEY_TLS_CERT"},
    };
    static const char *const commands[] = {"check", "serve"};
    struct pair pair;
    pair_init(&pair);
    certificate_make(&pair.folder, "other", CERTIFICATE_P256);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scratch cert =
            scratch_file(&pair.folder, cases[i].cert != NULL ? cases[i].cert : "");
        struct scratch key = scratch_file(&pair.folder, cases[i].key != NULL ? cases[i].key : "");
        snprintf(pair.cert, sizeof pair.cert, "LATCHKEY_TLS_CERT=%s",
                 cases[i].cert != NULL ? cert.path : "");
        snprintf(pair.key, sizeof pair.key, "LATCHKEY_TLS_KEY=%s",
                 cases[i].key != NULL ? key.path : "");
        for (size_t k = 0; k < 2; k++) {
            struct program *program = run_command(commands[k], &pair, 0);
            cr_assert_eq(program->code, 2, "%s %s", commands[k], program->err.text);
            cr_assert_not_null(strstr(program->err.text, cases[i].says), "%s: %s", cases[i].says,
                               program->err.text);
            program_free(program);
        }
    }
    pair_fini(&pair);
}

/* -- the program -- */

Test(tls, the_program_drains) {
    struct pair pair;
    struct child child;
    struct client client;
    pair_init(&pair);
    child_start(&child, pair.folder.path, "http://127.0.0.1:1", pair.settings);
    client_over_tls(child.port);
    ask_expect(child.port, (struct ask){.path = "/healthz"}, 200, NULL);
    cr_assert(client_connect(&client, child.port));
    program_signal(child.program, SIGTERM);
    cr_assert(client_is_closed(&client) && client.was_ended);
    client_fini(&client);
    cr_assert_eq(program_wait(child.program), 0); /* a second signal would cut it short */
    child_kill(&child);
    pair_fini(&pair);
}
