// SPDX-License-Identifier: MIT
/* The program as a whole, from outside: its commands, exit codes, signals and what it prints. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_table.h"
#include "base/clock.h"
#include "base/json.h"
#include "crypto/fernet.h"
#include "crypto/jwt.h"
#include "kit/client.h"
#include "kit/leaks.h"
#include "kit/program.h"
#include "kit/scratch.h"
#include "kit/server.h"

#define BINARY TEST_BUILD_DIR "/latchkey"
#define SECRET "c0ffee5ab1e5f00dba11ad0123456789"
#define CLIENT_SECRET "cl1ent-5ecret-0f-the-te5t"

enum { ENV_MAX = 32, ENTRY_BYTES = 256 };

/* A configuration that is good, and a folder for it. */
struct settings {
    struct scratch folder;
    char text[ENV_MAX][ENTRY_BYTES];
    const char *env[ENV_MAX + 1];
    size_t count;
};

static void add(struct settings *settings, const char *name, const char *value) {
    size_t at = settings->count;
    for (size_t i = 0; i < settings->count; i++) {
        if (strncmp(settings->env[i], name, strlen(name)) == 0 &&
            settings->env[i][strlen(name)] == '=') {
            at = i;
        }
    }
    cr_assert_lt(at, (size_t)ENV_MAX);
    snprintf(settings->text[at], ENTRY_BYTES, "%s=%s", name, value);
    settings->env[at] = settings->text[at];
    settings->count += at == settings->count ? 1 : 0;
    settings->env[settings->count] = NULL;
}

static void settings_init(struct settings *settings) {
    char store[ENTRY_BYTES];
    *settings = (struct settings){.folder = scratch_new()};
    snprintf(store, sizeof store, "sqlite:%s/latchkey.db", settings->folder.path);
    add(settings, "SECRET_KEY", SECRET);
    add(settings, "AUDIBLE_CLIENT_ID", "client");
    add(settings, "AUDIBLE_CLIENT_SECRET", CLIENT_SECRET);
    add(settings, "AUDIBLE_REDIRECT_URI", "https://app.example/cb");
    add(settings, "AUDIBLE_TOKEN_ENCRYPTION_KEY", KIT_FERNET_KEY);
    add(settings, "LATCHKEY_ACCOUNT_STORE", store);
    add(settings, "LATCHKEY_LISTEN", "127.0.0.1:0");
    add(settings, "LATCHKEY_LOG_LEVEL", "debug");
}

static void settings_fini(struct settings *settings) {
    scratch_free(&settings->folder);
}

/* Whatever it printed, none of it is a secret. */
static void assert_no_secret(const struct program *program) {
    const char *const secrets[] = {SECRET, CLIENT_SECRET, KIT_FERNET_KEY};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        cr_assert_null(strstr(program->out.text, secrets[i]), "%s", program->out.text);
        cr_assert_null(strstr(program->err.text, secrets[i]), "%s", program->err.text);
    }
}

#define RUN(settings, ...)                                                                         \
    program_run((const char *const[]){BINARY, __VA_ARGS__, NULL}, (settings)->env)

static void assert_says(const char *text, const char *wanted) {
    cr_assert_not_null(strstr(text, wanted), "wanted \"%s\" in:\n%s", wanted, text);
}

/* Runs to its end: the exit code, and what stands in its output. NULL: not looked at. */
static void expect(const struct settings *settings, const char *const *argv, int code,
                   const char *out, const char *err) {
    struct program *program = program_run(argv, settings->env);
    cr_assert_eq(program->code, code, "%s: exit code %d\n%s%s", argv[1], program->code,
                 program->out.text, program->err.text);
    if (out != NULL) {
        assert_says(program->out.text, out);
    }
    if (err != NULL) {
        assert_says(program->err.text, err);
    }
    assert_no_secret(program);
    program_free(program);
}

#define EXPECT(settings, code, out, err, ...)                                                      \
    expect((settings), (const char *const[]){BINARY, __VA_ARGS__, NULL}, (code), (out), (err))

Test(commands, keygen_prints_a_fresh_key) {
    struct settings settings = {.env = {NULL}};
    struct program *first = RUN(&settings, "keygen");
    struct program *second = RUN(&settings, "keygen");
    cr_assert_eq(first->code, 0);
    cr_assert_eq(first->out.length, (size_t)FERNET_KEY_TEXT_BYTES + 1);
    cr_assert_str_empty(first->err.text);
    cr_assert_str_neq(first->out.text, second->out.text);
    struct fernet_keys *keys;
    char problem[FERNET_PROBLEM_BYTES];
    cr_assert_eq(
        fernet_keys_parse(slice_make(first->out.text, FERNET_KEY_TEXT_BYTES), &keys, problem),
        RC_OK);
    fernet_keys_free(keys);
    program_free(first);
    program_free(second);
    CHECK_LEAKS();
}

/* Verifies as the server would. */
static void verify_token(const char *text, const char *secret, int64_t ttl_s, struct jwt *jwt) {
    struct clock clock = {0};
    int64_t now_s = clock_wall_ms(&clock) / 1000;
    struct slice token = slice_head(slice_str(text), strcspn(text, "\n"));
    const struct jwt_rules rules = {.now_s = now_s, .leeway_s = 0};
    cr_assert_eq(hash_init(), RC_OK);
    struct jwt_key key = {HASH_HS256, hash_hmac_key_new(HASH_HS256, slice_str(secret))};
    cr_assert_eq(jwt_verify(token, &key, 1, &rules, jwt), JWT_NONE, "%s", text);
    hash_hmac_key_free(key.hmac);
    cr_assert_geq(jwt->exp_s, now_s + ttl_s - 15);
    cr_assert_leq(jwt->exp_s, now_s + ttl_s);
}

static void assert_claim(const struct jwt *jwt, const char *name, const char *value) {
    struct slice text = SLICE_NULL;
    json_to_slice(json_member(json_root(jwt->claims), name), &text);
    cr_assert(slice_eq(text, slice_str(value)), "%s", name);
}

Test(commands, token_signs_what_the_server_accepts) {
    struct settings settings;
    struct jwt jwt;
    settings_init(&settings);
    struct program *program = RUN(&settings, "token", "--sub", "user-1");
    cr_assert_eq(program->code, 0, "%s", program->err.text);
    verify_token(program->out.text, SECRET, 3600, &jwt);
    cr_assert(slice_eq(jwt.sub, SLICE("user-1")));
    assert_claim(&jwt, "subscription_tier", "premium");
    assert_claim(&jwt, "role", "user");
    assert_claim(&jwt, "type", "access");
    json_close(jwt.claims);
    program_free(program);
    add(&settings, "LATCHKEY_JWT_ISSUER", "platform");
    add(&settings, "LATCHKEY_JWT_AUDIENCE", "latchkey");
    program = RUN(&settings, "token", "--sub=u\"2", "--tier=basic", "--role", "admin", "--ttl=2d");
    cr_assert_eq(program->code, 0, "%s", program->err.text);
    verify_token(program->out.text, SECRET, 2 * 24 * 3600, &jwt);
    cr_assert(slice_eq(jwt.sub, SLICE("u\"2")));
    assert_claim(&jwt, "subscription_tier", "basic");
    assert_claim(&jwt, "role", "admin");
    assert_claim(&jwt, "iss", "platform");
    assert_claim(&jwt, "aud", "latchkey");
    json_close(jwt.claims);
    program_free(program);
    static const struct {
        const char *ttl;
        int64_t seconds;
    } ttls[] = {{"90", 90}, {"90s", 90}, {"15m", 15 * 60}, {"1h", 3600}};
    for (size_t i = 0; i < sizeof ttls / sizeof ttls[0]; i++) {
        program = RUN(&settings, "token", "--sub", "user-1", "--ttl", ttls[i].ttl);
        verify_token(program->out.text, SECRET, ttls[i].seconds, &jwt);
        json_close(jwt.claims);
        program_free(program);
    }
    settings_fini(&settings);
    CHECK_LEAKS();
}

Test(commands, token_refuses_wrong_usage) {
    struct settings settings;
    settings_init(&settings);
    EXPECT(&settings, 2, NULL, "--sub ID is needed", "token");
    EXPECT(&settings, 2, NULL, "--sub ID is needed", "token", "--sub", "");
    EXPECT(&settings, 2, NULL, "--sub ID is needed", "token", "--sub", "a\nb");
    EXPECT(&settings, 2, NULL, "--tier and --role", "token", "--sub", "u", "--tier", "");
    EXPECT(&settings, 2, NULL, "such as 1h", "token", "--sub", "u", "--ttl", "0h");
    EXPECT(&settings, 2, NULL, "such as 1h", "token", "--sub", "u", "--ttl", "1y");
    EXPECT(&settings, 2, NULL, "such as 1h", "token", "--sub", "u", "--ttl", "367d");
    EXPECT(&settings, 2, NULL, "such as 1h", "token", "--sub", "u", "--ttl", "");
    EXPECT(&settings, 2, NULL, "lacks its value", "token", "--sub");
    EXPECT(&settings, 2, NULL, "--user", "token", "--user", "u");
    EXPECT(&settings, 2, NULL, "an argument too many", "token", "--sub", "u", "v");
    add(&settings, "SECRET_KEY", "");
    EXPECT(&settings, 2, NULL, "SECRET_KEY: is not set", "token", "--sub", "u");
    add(&settings, "LATCHKEY_JWKS_URL", "https://login.example/jwks");
    EXPECT(&settings, 2, NULL, "are not ours to sign", "token", "--sub", "u");
    settings_fini(&settings);
}

Test(commands, check_says_all_and_starts_nothing) {
    struct settings settings;
    struct stat status;
    settings_init(&settings);
    EXPECT(&settings, 0, "the settings are good (0 warnings)", "", "check");
    add(&settings, "LATCHKEY_LISTEN", "nowhere");
    add(&settings, "LATCHKEY_LOGLEVEL", "debug");
    add(&settings, "AUDIBLE_CLIENT_SECRET", "");
    struct program *program = RUN(&settings, "check");
    cr_assert_eq(program->code, 2);
    assert_says(program->out.text, "2 errors, 1 warning");
    assert_says(program->err.text, "error: LATCHKEY_LISTEN: has no port");
    assert_says(program->err.text, "error: LATCHKEY_LOGLEVEL: is no variable of this program; "
                                   "did you mean LATCHKEY_LOG_LEVEL?");
    assert_says(program->err.text, "warning: AUDIBLE_CLIENT_SECRET: is not set");
    program_free(program);
    struct scratch database = scratch_file(&settings.folder, "latchkey.db");
    cr_assert_neq(stat(database.path, &status), 0);
    EXPECT(&settings, 2, NULL, "error: LATCHKEY_LISTEN", "serve");
    cr_assert_neq(stat(database.path, &status), 0);
    settings_fini(&settings);
    CHECK_LEAKS();
}

Test(commands, help_and_version) {
    struct settings settings = {.env = {NULL}};
    struct program *program = RUN(&settings, "--help");
    cr_assert_eq(program->code, 0);
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            assert_says(program->out.text, config_table[i].vars[k].name);
        }
    }
    const char *const commands[] = {"serve", "check", "keygen", "token", "healthcheck"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        assert_says(program->out.text, commands[i]);
    }
    program_free(program);
    EXPECT(&settings, 0, "latchkey serve", NULL, "token", "--help");
    EXPECT(&settings, 0, "latchkey " LATCHKEY_VERSION "\nlibuv ", NULL, "--version");
    EXPECT(&settings, 0, "mbedTLS ", NULL, "--version");
    EXPECT(&settings, 0, "SQLite ", NULL, "--version");
    EXPECT(&settings, 0, "libcurl/", NULL, "--version");
    EXPECT(&settings, 0, "# Configuration", NULL, "--help-markdown");
    CHECK_LEAKS();
}

Test(commands, wrong_usage_is_2_and_says_what_there_is) {
    struct settings settings;
    settings_init(&settings);
    EXPECT(&settings, 2, NULL, "\"srve\" is no command; known are serve, check", "srve");
    EXPECT(&settings, 2, NULL, "known are serve", "");
    EXPECT(&settings, 2, NULL, "known are serve", "reboot");
    EXPECT(&settings, 2, NULL, "--port", "--port", "80");
    EXPECT(&settings, 2, NULL, "an argument too many", "serve", "now");
    EXPECT(&settings, 2, NULL, "an argument too many", "keygen", "-x");
    /* What may be a secret is not repeated. */
    EXPECT(&settings, 2, NULL, "not taken from the command line", "serve", "SECRET_KEY=" SECRET);
    EXPECT(&settings, 2, NULL, "not taken from the command line", "--secret-key=" SECRET);
    EXPECT(&settings, 2, NULL, "not taken from the command line", "token", "--secret", SECRET);
    EXPECT(&settings, 2, NULL, "not taken from the command line", "check",
           "LATCHKEY_LISTEN=127.0.0.1:1");
    EXPECT(&settings, 2, NULL, "known are serve", SECRET);
    EXPECT(&settings, 2, NULL, "an argument too many", "check", SECRET);
    settings_fini(&settings);
    CHECK_LEAKS();
}

/* --- serve
 * ---------------------------------------------------------------------------------------- */

static struct program *start_server(const struct settings *settings) {
    struct program *server = program_start((const char *const[]){BINARY, NULL}, settings->env);
    program_wait_for(server, "\"event\":\"listening\"");
    program_wait_for(server, "\n");
    return server;
}

/* Of the first line that says where it listens. */
static int port_of(const struct program *server) {
    const char *at = strstr(server->out.text, "\"address\":\"127.0.0.1:");
    cr_assert_not_null(at, "%s", server->out.text);
    return (int)strtol(at + strlen("\"address\":\"127.0.0.1:"), NULL, 10);
}

/* One JSON object a line, with the members that every line has. */
static void assert_json_lines(const struct program *server) {
    struct slice rest = slice_make(server->out.text, server->out.length);
    struct slice line;
    size_t count = 0;
    while (slice_split(&rest, '\n', &line) && line.len > 0) {
        struct json_document *json = json_parse(line, JSON_UNIQUE);
        struct slice text;
        cr_assert_eq(json_kind_of(json_root(json)), JSON_KIND_OBJECT, "%.*s", SLICE_ARGS(line));
        cr_assert(json_to_slice(json_member(json_root(json), "time"), &text) && text.len == 24);
        cr_assert(json_to_slice(json_member(json_root(json), "level"), &text));
        cr_assert(json_to_slice(json_member(json_root(json), "event"), &text));
        json_close(json);
        count++;
    }
    cr_assert_gt(count, 2);
}

static void stop_server(struct program *server, int number) {
    program_signal(server, number);
    cr_assert_eq(program_wait(server), 0, "exit code %d\n%s%s", server->code, server->out.text,
                 server->err.text);
    cr_assert_str_empty(server->err.text);
    assert_says(server->out.text, "\"event\":\"drain_started\"");
    assert_says(server->out.text, "\"event\":\"stopped\"");
    assert_json_lines(server);
    assert_no_secret(server);
    program_free(server);
}

static void assert_limits(const struct program *server) {
    char path[64];
    char text[4096];
    unsigned long files = 0;
    snprintf(path, sizeof path, "/proc/%d/limits", (int)server->pid);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    assert_says(text, "Max core file size        0                    0");
    const char *at = strstr(text, "Max open files");
    cr_assert_not_null(at);
    files = strtoul(at + strlen("Max open files"), NULL, 10);
    cr_assert_geq(files, 500ul + 100ul);
}

Test(commands, serve_answers_and_drains_on_sigterm_and_sigint) {
    const int numbers[] = {SIGTERM, SIGINT};
    struct settings settings;
    settings_init(&settings);
    add(&settings, "LATCHKEY_MAX_CONNECTIONS", "500");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        add(&settings, "LATCHKEY_LISTEN", "127.0.0.1:0");
        struct program *server = start_server(&settings);
        struct client_response response;
        char listen[64];
        int port = port_of(server);
        assert_limits(server);
        cr_assert_eq(client_ask(port, "GET",
                                SLICE("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: "
                                      "close\r\n\r\n"),
                                &response),
                     200);
        client_response_fini(&response);
        snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
        add(&settings, "LATCHKEY_LISTEN", listen);
        EXPECT(&settings, 0, NULL, NULL, "healthcheck");
        stop_server(server, numbers[i]);
        EXPECT(&settings, 1, NULL, "can't be reached", "healthcheck");
    }
    settings_fini(&settings);
    CHECK_LEAKS();
}

/* Two addresses, one of them a socket file that goes with the server; a healthcheck on each. */
Test(commands, serve_listens_on_unix_sockets_too) {
    struct settings settings;
    struct stat status;
    settings_init(&settings);
    struct scratch socket_file = scratch_file(&settings.folder, "socket");
    char listen[ENTRY_BYTES];
    snprintf(listen, sizeof listen, "unix:%s,127.0.0.1:0", socket_file.path);
    add(&settings, "LATCHKEY_LISTEN", listen);
    struct program *server = start_server(&settings);
    program_wait_for(server, "\"address\":\"127.0.0.1:");
    cr_assert_eq(stat(socket_file.path, &status), 0);
    EXPECT(&settings, 0, NULL, NULL, "healthcheck");
    stop_server(server, SIGTERM);
    cr_assert_neq(stat(socket_file.path, &status), 0);
    settings_fini(&settings);
    CHECK_LEAKS();
}

/* Where it listens everywhere, it is asked on loopback. */
static void check_everywhere(const char *host) {
    struct settings settings;
    char listen[64];
    char said[64];
    settings_init(&settings);
    snprintf(listen, sizeof listen, "%s:0", host);
    snprintf(said, sizeof said, "\"address\":\"%s:", host);
    add(&settings, "LATCHKEY_LISTEN", listen);
    struct program *server = start_server(&settings);
    const char *at = strstr(server->out.text, said);
    cr_assert_not_null(at, "%s", server->out.text);
    snprintf(listen, sizeof listen, "%s:%ld", host, strtol(at + strlen(said), NULL, 10));
    add(&settings, "LATCHKEY_LISTEN", listen);
    EXPECT(&settings, 0, NULL, NULL, "healthcheck");
    stop_server(server, SIGTERM);
    settings_fini(&settings);
}

/* Some containers have none. */
static bool has_ipv6(void) {
    const struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                         .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

Test(commands, healthcheck_of_a_server_that_listens_everywhere) {
    check_everywhere("0.0.0.0");
    if (has_ipv6()) {
        check_everywhere("[::]");
    }
    CHECK_LEAKS();
}

/* A socket that listens and is no server of ours. */
static int listen_anywhere(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

Test(commands, healthcheck_fails_where_the_answer_is_not_200) {
    const char *const answers[] = {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
                                   "HTTP/1.1 20", "", NULL};
    struct settings settings;
    int port;
    int fd = listen_anywhere(&port);
    char listen[64];
    settings_init(&settings);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    add(&settings, "LATCHKEY_LISTEN", listen);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct program *program =
            program_start((const char *const[]){BINARY, "healthcheck", NULL}, settings.env);
        int conn = accept(fd, NULL, NULL);
        cr_assert_geq(conn, 0);
        if (answers[i] != NULL) {
            char request[512];
            cr_assert_gt(read(conn, request, sizeof request), 0);
            cr_assert_eq(write(conn, answers[i], strlen(answers[i])), (ssize_t)strlen(answers[i]));
            close(conn);
        } /* else it waits for an answer that never comes, for 5 s */
        cr_assert_eq(program_wait(program), 1, "%zu", i);
        assert_says(program->err.text, "did not answer 200");
        program_free(program);
        if (answers[i] == NULL) {
            close(conn);
        }
    }
    close(fd);
    settings_fini(&settings);
    CHECK_LEAKS();
}

/* A request that stands half sent, which a drain waits for. */
static void send_half(struct client *client, int port) {
    cr_assert(client_connect(client, port));
    cr_assert(CLIENT_SEND(client, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12"));
}

static int readyz(int port) {
    struct client_response response;
    int status = client_ask(port, "GET",
                            SLICE("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
                            &response);
    client_response_fini(&response);
    return status;
}

Test(commands, before_the_drain_it_accepts_and_says_that_it_is_not_ready) {
    struct settings settings;
    settings_init(&settings);
    add(&settings, "LATCHKEY_DRAIN_DELAY_SECONDS", "600");
    struct program *server = start_server(&settings);
    int port = port_of(server);
    cr_assert_eq(readyz(port), 200);
    program_signal(server, SIGTERM);
    program_wait_for(server, "\"event\":\"drain_started\"");
    cr_assert_eq(readyz(port), 503);
    /* The second signal does not wait for the rest of the delay. */
    stop_server(server, SIGTERM);
    settings_fini(&settings);
    CHECK_LEAKS();
}

Test(commands, the_drain_begins_when_its_delay_is_over) {
    struct settings settings;
    settings_init(&settings);
    add(&settings, "LATCHKEY_DRAIN_DELAY_SECONDS", "0.2");
    struct program *server = start_server(&settings);
    program_signal(server, SIGTERM);
    cr_assert_eq(program_wait(server), 0, "%s", server->out.text);
    cr_assert_null(strstr(server->out.text, "drain_cut_short"));
    program_free(server);
    settings_fini(&settings);
    CHECK_LEAKS();
}

Test(commands, a_second_signal_cuts_the_drain_short) {
    struct settings settings;
    struct client client;
    settings_init(&settings);
    add(&settings, "LATCHKEY_HEAD_TIMEOUT_SECONDS", "300");
    struct program *server = start_server(&settings);
    send_half(&client, port_of(server));
    cr_assert_eq(readyz(port_of(server)), 200); /* by now the half request has been read */
    program_signal(server, SIGTERM);
    program_wait_for(server, "\"event\":\"drain_started\"");
    cr_assert_not(program_ends_within(server, 1500), "it does not wait for a request");
    program_signal(server, SIGTERM);
    cr_assert(program_ends_within(server, 10000), "it waits on");
    cr_assert_eq(server->code, 0, "exit code %d", server->code);
    assert_says(server->out.text, "\"event\":\"drain_cut_short\"");
    program_free(server);
    client_fini(&client);
    settings_fini(&settings);
    CHECK_LEAKS();
}

Test(commands, the_drain_ends_after_its_time) {
    struct settings settings;
    struct client client;
    settings_init(&settings);
    add(&settings, "LATCHKEY_HEAD_TIMEOUT_SECONDS", "300");
    add(&settings, "LATCHKEY_DRAIN_SECONDS", "0.5");
    struct program *server = start_server(&settings);
    send_half(&client, port_of(server));
    cr_assert_eq(readyz(port_of(server)), 200);
    stop_server(server, SIGTERM);
    client_fini(&client);
    settings_fini(&settings);
    CHECK_LEAKS();
}

/* What can't start says why, leaves nothing behind and exits 1 (or 2 where a setting is wrong). */
Test(commands, a_start_that_fails_says_why) {
    struct settings settings;
    int port;
    int fd = listen_anywhere(&port);
    char text[ENTRY_BYTES];
    settings_init(&settings);
    snprintf(text, sizeof text, "127.0.0.1:%d", port);
    add(&settings, "LATCHKEY_LISTEN", text);
    EXPECT(&settings, 1, "\"event\":\"start_failed\"", NULL, "serve");
    EXPECT(&settings, 1, "LATCHKEY_LISTEN: ", NULL, "serve");
    add(&settings, "LATCHKEY_LISTEN", "127.0.0.1:0");
    snprintf(text, sizeof text, "sqlite:%s", settings.folder.path);
    add(&settings, "LATCHKEY_ACCOUNT_STORE", text); /* a folder */
    EXPECT(&settings, 1, "LATCHKEY_ACCOUNT_STORE: ", NULL, "serve");
    add(&settings, "LATCHKEY_ACCOUNT_STORE", "sqlite:/nonexistent/folder/latchkey.db");
    EXPECT(&settings, 1, "can't be made", NULL, "serve");
    add(&settings, "LATCHKEY_UPSTREAM_CA_FILE", "/proc/self/status"); /* readable, and no PEM */
    EXPECT(&settings, 1, "the CA file", NULL, "serve");
    close(fd);
    settings_fini(&settings);
    CHECK_LEAKS();
}

Test(commands, a_second_server_on_one_database_does_not_start) {
    struct settings settings;
    settings_init(&settings);
    struct program *server = start_server(&settings);
    struct program *second = RUN(&settings, "serve");
    cr_assert(second->code == 1 || second->code == 2, "exit code %d", second->code);
    assert_says(second->out.text, "LATCHKEY_ACCOUNT_STORE: ");
    program_free(second);
    stop_server(server, SIGTERM);
    settings_fini(&settings);
    CHECK_LEAKS();
}

/* Secrets as files, a folder for the database that is made, files that are nobody else's. */
Test(commands, serve_makes_its_folder_and_reads_secrets_from_files) {
    struct settings settings;
    struct stat status;
    char text[ENTRY_BYTES];
    settings_init(&settings);
    struct scratch secret = scratch_file(&settings.folder, "secret");
    FILE *file = fopen(secret.path, "w");
    cr_assert_not_null(file);
    fputs(SECRET "\n", file);
    fclose(file);
    add(&settings, "SECRET_KEY", "");
    add(&settings, "SECRET_KEY_FILE", secret.path);
    snprintf(text, sizeof text, "sqlite:%s/data/latchkey.db", settings.folder.path);
    add(&settings, "LATCHKEY_ACCOUNT_STORE", text);
    struct program *server = start_server(&settings);
    struct scratch folder = scratch_file(&settings.folder, "data");
    cr_assert_eq(stat(folder.path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0700);
    struct scratch database = scratch_file(&folder, "latchkey.db");
    cr_assert_eq(stat(database.path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    stop_server(server, SIGTERM);
    settings_fini(&settings);
    CHECK_LEAKS();
}
