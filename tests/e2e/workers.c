// SPDX-License-Identifier: MIT
/* LATCHKEY_WORKERS: the real program as a parent and its workers, with a real Redis. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/ask.h"
#include "kit/leaks.h"
#include "kit/program.h"
#include "kit/prometheus.h"
#include "kit/redis_server.h"
#include "kit/scratch.h"
#include "kit/secrets.h"
#include "kit/settings.h"

#define BINARY TEST_BUILD_DIR "/latchkey"
#define TOKEN_PATH "/auth/oauth2/token"
#define READY "\"event\":\"worker_ready\""
#define ENDED "\"event\":\"worker_ended\""
#define SECRET_B "second: YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3Rz"

enum { WORKERS = 3, CONNECTIONS = 30, SETTINGS_MAX = 24, SETTING_BYTES = 256 };

/* A provider, a Redis, and the workers beside them. */
struct site {
    struct scratch folder;
    struct redis_server redis;
    struct simprovider *sim;
    char texts[SETTINGS_MAX][SETTING_BYTES];
    const char *settings[SETTINGS_MAX + 1];
    size_t count;
    struct program *program;
    int port;
    size_t ready; /* how often a worker has been, in this run */
};

static void add(struct site *site, const char *name, const char *value) {
    cr_assert_lt(site->count, (size_t)SETTINGS_MAX);
    snprintf(site->texts[site->count], SETTING_BYTES, "%s=%s", name, value);
    site->settings[site->count] = site->texts[site->count];
    site->count++;
}

static void site_init(struct site *site) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    char workers[8];
    *site = (struct site){.folder = scratch_new()};
    redis_server_start(&site->redis, (struct redis_server_opts){0});
    site->sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(site->sim, "%s", problem);
    snprintf(workers, sizeof workers, "%d", WORKERS);
    add(site, "LATCHKEY_WORKERS", workers);
    add(site, "LATCHKEY_STATE_STORE", redis_server_url(&site->redis));
    add(site, "LATCHKEY_ACCOUNT_STORE", redis_server_url(&site->redis));
    add(site, "LATCHKEY_LOG_LEVEL", "info");
    secrets_add("the second secret", SLICE(SECRET_B), SECRETS_NOWHERE);
    secrets_add("SECRET_KEY", SLICE(KIT_SECRET_KEY), SECRETS_NOWHERE);
    secrets_add("the client secret", SLICE(KIT_CLIENT_SECRET), SECRETS_NOWHERE);
}

static struct program *start(const struct site *site, const char *command) {
    const char *const argv[] = {BINARY, command, NULL};
    struct kit_settings all;
    kit_settings_init(&all, site->folder.path, simprovider_url(site->sim), site->settings);
    struct program *program = program_start(argv, (const char *const *)all.env);
    kit_settings_fini(&all);
    return program;
}

/* What follows `field` in the first line with `event`, or the last. */
static const char *field_of(const struct site *site, const char *event, bool last,
                            const char *field) {
    const char *at = strstr(site->program->out.text, event);
    for (const char *next = at; last && next != NULL; next = strstr(next + 1, event)) {
        at = next;
    }
    cr_assert_not_null(at, "no %s: %s", event, site->program->out.text);
    at = strstr(at, field);
    cr_assert_not_null(at, "no %s", field);
    return at + strlen(field);
}

static int port_of(const struct site *site, const char *event) {
    const char *at = strchr(field_of(site, event, false, "\"address\":\""), ':');
    return (int)strtol(at + 1, NULL, 10);
}

static void wait_ready(struct site *site, size_t more) {
    site->ready += more;
    program_wait_for_times(site->program, READY, site->ready);
}

static void serve(struct site *site) {
    site->ready = 0;
    site->program = start(site, "serve");
    wait_ready(site, WORKERS);
    site->port = port_of(site, "\"event\":\"listening\"");
}

/* The pid of the worker that last came to this number. */
static pid_t pid_of(const struct site *site, int number) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, READY ",\"request_id\":null,\"number\":%d,", number);
    return (pid_t)strtol(field_of(site, wanted, true, "\"pid\":"), NULL, 10);
}

static void check_output(const struct site *site) {
    secrets_expect_none(slice_str(site->program->out.text), "the logs", true);
    secrets_expect_none(slice_str(site->program->err.text), "the logs", true);
}

static void stop(struct site *site) {
    program_signal(site->program, SIGTERM);
    int code = program_wait(site->program);
    cr_assert_eq(code, 0, "%d: %s%s", code, site->program->out.text, site->program->err.text);
    check_output(site);
    program_free(site->program);
}

static void site_fini(struct site *site) {
    redis_server_free(&site->redis);
    cr_assert(simprovider_join(site->sim));
    scratch_free(&site->folder);
    CHECK_LEAKS();
}

static int healthz(const struct site *site) {
    return ask_status(site->port, (struct ask){.path = "/healthz"});
}

static int connected(const struct site *site, const char *sub, const char *secret) {
    char token[KIT_JWT_BYTES];
    kit_jwt(token, (struct kit_jwt){.sub = sub, .tier = "premium", .secret = secret});
    return ask_status(site->port, (struct ask){.path = "connected", .token = token});
}

static double metric(int port, const char *series) {
    struct client_response response;
    cr_assert_eq(ask(port, (struct ask){.path = "/metrics"}, &response), 200);
    prometheus_check(response.body);
    double value = prometheus_value(response.body, series);
    client_response_fini(&response);
    return value;
}

/* --------------------------------------------------------------- connections that stay open */

/* Each process begins the ids of its requests with letters of its own. */
enum { PREFIX_BYTES = 8 };

struct open_connection {
    struct client client;
    char process[PREFIX_BYTES + 1];
};

static bool ask_again(struct open_connection *connection) {
    struct client_response response;
    bool good = CLIENT_SEND(&connection->client, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n") &&
                client_read(&connection->client, "GET", &response);
    if (!good) {
        return false;
    }
    struct slice id = client_header(&response, "x-request-id");
    cr_assert_eq(response.status, 200);
    cr_assert_gt(id.len, (size_t)PREFIX_BYTES);
    snprintf(connection->process, sizeof connection->process, "%.*s", PREFIX_BYTES, id.at);
    client_response_fini(&response);
    return true;
}

static void open_all(const struct site *site, struct open_connection *connections, size_t count) {
    for (size_t i = 0; i < count; i++) {
        cr_assert(client_connect(&connections[i].client, site->port));
        cr_assert(ask_again(&connections[i]));
    }
}

static void close_all(struct open_connection *connections, size_t count) {
    for (size_t i = 0; i < count; i++) {
        client_fini(&connections[i].client);
    }
}

/* Those of one process are gone, and no other. How many. */
static size_t expect_one_process_gone(struct open_connection *connections, size_t count) {
    const char *gone = NULL;
    size_t lost = 0;
    for (size_t i = 0; i < count; i++) {
        char process[PREFIX_BYTES + 1];
        memcpy(process, connections[i].process, sizeof process);
        if (ask_again(&connections[i])) {
            cr_assert(gone == NULL || strcmp(gone, process) != 0, "only some of %s are gone", gone);
            continue;
        }
        gone = gone == NULL ? connections[i].process : gone;
        cr_assert_str_eq(process, gone, "more than one process is gone");
        lost++;
    }
    cr_assert_gt(lost, (size_t)0);
    cr_assert_lt(lost, count);
    return lost;
}

/* ------------------------------------------------------------------------------------- load */

enum { CALLERS = 4, ROUNDS = 6 };

struct load {
    pthread_t threads[CALLERS];
    int port;
    char request[KIT_JWT_BYTES + 256];
    atomic_bool ends;
    atomic_int served;
    atomic_int failed; /* no answer, or another than 200 */
};

static void *caller_main(void *arg) {
    struct load *load = arg;
    while (!atomic_load(&load->ends)) {
        struct client_response response;
        int status = client_ask(load->port, "GET", slice_str(load->request), &response);
        client_response_fini(&response);
        atomic_fetch_add(status == 200 ? &load->served : &load->failed, 1);
    }
    return NULL;
}

static void load_start(struct load *load, const struct site *site) {
    char token[KIT_JWT_BYTES];
    *load = (struct load){.port = site->port};
    ask_premium(token, "load");
    snprintf(load->request, sizeof load->request,
             "GET " ASK_API "/connected HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
             "Authorization: Bearer %s\r\n\r\n",
             token);
    for (int i = 0; i < CALLERS; i++) {
        cr_assert_eq(pthread_create(&load->threads[i], NULL, caller_main, load), 0);
    }
}

static void load_stop(struct load *load) {
    atomic_store(&load->ends, true);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(load->threads[i], NULL);
    }
}

/* What a worker had in its hands is lost with it, one request a caller at most. All else is served:
 * by others, or, from its queue, by the one that takes its place. */
Test(workers, killed_under_load_one_by_one) {
    static struct load load;
    struct site site;
    struct open_connection connections[CONNECTIONS];
    site_init(&site);
    serve(&site);
    load_start(&load, &site);
    for (int round = 0; round < ROUNDS; round++) {
        int served = atomic_load(&load.served);
        open_all(&site, connections, CONNECTIONS);
        cr_assert_eq(kill(pid_of(&site, round % WORKERS + 1), SIGKILL), 0);
        program_wait_for_times(site.program, ENDED, (size_t)round + 1);
        expect_one_process_gone(connections, CONNECTIONS);
        close_all(connections, CONNECTIONS);
        wait_ready(&site, 1);
        while (atomic_load(&load.served) < served + 20) {
            usleep(1000);
        }
    }
    load_stop(&load);
    cr_assert_leq(load.failed, ROUNDS * CALLERS, "%d", load.failed);
    cr_assert_eq(metric(site.port, "latchkey_worker_restarts_total"), ROUNDS);
    stop(&site);
    site_fini(&site);
}

/* ---------------------------------------------------------------------------------- metrics */

#define HEALTHZ "latchkey_http_requests_total{route=\"healthz\",status=\"2xx\"}"
#define HEALTHZ_COUNT "latchkey_http_request_duration_seconds_count{route=\"healthz\"}"

static void ask_many(const struct site *site, int times) {
    for (int i = 0; i < times; i++) {
        cr_assert_eq(healthz(site), 200);
    }
}

Test(workers, metrics_are_those_of_all) {
    struct site site;
    struct open_connection connections[CONNECTIONS];
    site_init(&site);
    add(&site, "LATCHKEY_METRICS_LISTEN", "127.0.0.1:0");
    serve(&site);
    int port = port_of(&site, "\"event\":\"metrics_listening\"");
    cr_assert_neq(port, site.port);
    double cpu_s = metric(port, "process_cpu_seconds_total");
    double start_s = metric(port, "process_start_time_seconds");
    ask_many(&site, 100);
    for (int i = 0; i < 10; i++) { /* whoever answers */
        cr_assert_float_eq(metric(port, HEALTHZ), 100, 0);
        cr_assert_float_eq(metric(port, "latchkey_workers"), WORKERS, 0);
        double now_s = metric(port, "process_cpu_seconds_total");
        cr_assert_geq(now_s, cpu_s);
        cpu_s = now_s;
        cr_assert_float_eq(metric(port, "process_start_time_seconds"), start_s, 0);
    }
    cr_assert_geq(metric(port, "process_resident_memory_bytes"), WORKERS * 1024 * 1024);
    open_all(&site, connections, CONNECTIONS);
    cr_assert_float_eq(metric(port, "latchkey_connections"), CONNECTIONS, 0);
    cr_assert_eq(kill(pid_of(&site, 2), SIGKILL), 0);
    wait_ready(&site, 1);
    /* What it counted stays counted; the connections that it held are no more. */
    cr_assert_float_eq(metric(port, HEALTHZ), 100 + CONNECTIONS, 0);
    cr_assert_float_eq(metric(port, HEALTHZ_COUNT), 100 + CONNECTIONS, 0);
    size_t lost = expect_one_process_gone(connections, CONNECTIONS);
    cr_assert_float_eq(metric(port, "latchkey_connections"), (double)(CONNECTIONS - lost), 0);
    close_all(connections, CONNECTIONS);
    ask_many(&site, 100);
    cr_assert_float_eq(metric(port, HEALTHZ), (double)(200 + 2 * CONNECTIONS - lost), 0);
    cr_assert_geq(metric(port, "process_cpu_seconds_total"), cpu_s);
    cr_assert_float_eq(metric(port, "latchkey_workers"), WORKERS, 0);
    cr_assert_float_eq(metric(port, "latchkey_worker_restarts_total"), 1, 0);
    stop(&site);
    site_fini(&site);
}

/* --------------------------------------------------------------------------------- one server */

static int callback(const struct site *site, const char *sub, const struct ask_grant *grant) {
    char token[KIT_JWT_BYTES];
    struct client_response response;
    ask_premium(token, sub);
    int status = ask_callback(site->port, token, grant, &response);
    client_response_fini(&response);
    return status;
}

/* Whoever began a flow, anyone ends it, and once. */
Test(workers, a_flow_goes_through_any_of_them) {
    struct site site;
    site_init(&site);
    serve(&site);
    for (int i = 0; i < 12; i++) {
        char sub[32];
        char token[KIT_JWT_BYTES];
        struct ask_grant grant;
        snprintf(sub, sizeof sub, "user-%d", i);
        ask_premium(token, sub);
        ask_grant(site.port, site.sim, token, &grant);
        cr_assert_eq(callback(&site, sub, &grant), 200);
        cr_assert_eq(callback(&site, sub, &grant), 400);
        for (int n = 0; n < 4; n++) {
            int status =
                ask_status(site.port, (struct ask){.path = "library?limit=1", .token = token});
            cr_assert_eq(status, 200, "%s: %d", sub, status);
        }
    }
    stop(&site);
    site_fini(&site);
}

/* -------------------------------------------------------------------------------- the drain */

enum { FLOWS = 12 };

/* Callbacks of as many users, each of whose code is with the provider. */
static void begin_flows(struct site *site, struct client *clients) {
    simprovider_fault(site->sim,
                      &(struct simprovider_fault){.path = TOKEN_PATH, .kind = SIMPROVIDER_HOLD});
    for (int i = 0; i < FLOWS; i++) {
        char sub[32];
        char token[KIT_JWT_BYTES];
        char request[ASK_CALLBACK_BYTES];
        struct ask_grant grant;
        snprintf(sub, sizeof sub, "flow-%d", i);
        ask_premium(token, sub);
        ask_grant(site->port, site->sim, token, &grant);
        ask_callback_text(request, token, &grant);
        cr_assert(client_connect(&clients[i], site->port));
        cr_assert(client_send(&clients[i], slice_str(request)));
    }
    cr_assert(simprovider_wait(site->sim, SIMPROVIDER_EXCHANGES, FLOWS, 10000));
}

static void end_flows(struct client *clients) {
    for (int i = 0; i < FLOWS; i++) {
        struct client_response response;
        cr_assert(client_read(&clients[i], "POST", &response), "flow %d", i);
        cr_assert_eq(response.status, 200);
        cr_assert(slice_ieq(client_header(&response, "connection"), SLICE("close")));
        client_response_fini(&response);
        client_fini(&clients[i]);
    }
}

static void expect_linked(struct site *site) {
    serve(site);
    for (int i = 0; i < FLOWS; i++) {
        char sub[32];
        char token[KIT_JWT_BYTES];
        snprintf(sub, sizeof sub, "flow-%d", i);
        ask_premium(token, sub);
        cr_assert_eq(
            ask_status(site->port, (struct ask){.path = "library?limit=1", .token = token}), 200,
            "%s", sub);
    }
    stop(site);
}

/* The line stands there a moment before the socket is closed; whoever comes in between is served.
 */
static void expect_closed(const struct site *site) {
    bool is_open = true;
    for (int ms = 0; ms < 5000 && is_open; ms++) {
        struct client client;
        is_open = client_connect(&client, site->port);
        client_fini(&client);
        usleep(1000);
    }
    cr_assert_not(is_open, "a socket was left open");
}

/* As a terminal or systemd does it: everyone gets the signal. Once means once. */
Test(workers, a_drain_finishes_what_all_have_begun) {
    struct client clients[FLOWS];
    struct site site;
    site_init(&site);
    serve(&site);
    begin_flows(&site, clients);
    for (int number = 1; number <= WORKERS; number++) {
        cr_assert_eq(kill(pid_of(&site, number), SIGTERM), 0);
    }
    program_signal(site.program, SIGTERM);
    for (int number = 1; number <= WORKERS; number++) {
        cr_assert_eq(kill(pid_of(&site, number), SIGTERM), 0);
    }
    /* The parent's line and one of each. */
    program_wait_for_times(site.program, "\"event\":\"drain_started\"", 1 + WORKERS);
    expect_closed(&site);
    simprovider_faults_clear(site.sim);
    simprovider_release(site.sim);
    end_flows(clients);
    cr_assert_eq(program_wait(site.program), 0);
    cr_assert_eq(program_count(site.program, "drain_cut_short"), 0);
    cr_assert_eq(program_count(site.program, ENDED), 0);
    check_output(&site);
    program_free(site.program);
    expect_linked(&site);
    site_fini(&site);
}

Test(workers, a_second_signal_hurries_all) {
    struct open_connection connections[CONNECTIONS];
    struct site site;
    site_init(&site);
    serve(&site);
    open_all(&site, connections, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) { /* half a request: a drain would wait for it */
        CLIENT_SEND(&connections[i].client, "GET /healthz HTTP/1.1\r\nHost");
    }
    program_signal(site.program, SIGINT);
    program_wait_for_times(site.program, "\"event\":\"drain_started\"", 1 + WORKERS);
    cr_assert_not(program_ends_within(site.program, 1000));
    program_signal(site.program, SIGINT);
    cr_assert_eq(program_wait(site.program), 0);
    cr_assert_eq(program_count(site.program, "\"event\":\"drain_cut_short\""), WORKERS);
    close_all(connections, CONNECTIONS);
    program_free(site.program);
    site_fini(&site);
}

/* Nobody minds the workers any more: they finish what they have, and end. */
Test(workers, without_their_parent_they_drain) {
    struct client clients[FLOWS];
    struct site site;
    site_init(&site);
    serve(&site);
    begin_flows(&site, clients);
    program_signal(site.program, SIGKILL);
    program_wait_for_times(site.program, "\"event\":\"drain_started\"", WORKERS);
    for (int i = 0; i < 3 * WORKERS; i++) { /* systemd's, to what is left */
        cr_assert_eq(kill(pid_of(&site, i % WORKERS + 1), SIGTERM), 0);
    }
    simprovider_faults_clear(site.sim);
    simprovider_release(site.sim);
    end_flows(clients);
    cr_assert_eq(program_wait(site.program), 128 + SIGKILL);
    cr_assert_eq(
        program_count(site.program, "\"event\":\"stopped\",\"request_id\":null,\"code\":0"),
        WORKERS);
    program_free(site.program);
    expect_linked(&site);
    site_fini(&site);
}

/* ------------------------------------------------------------------------------- the settings */

static void write_secret(const struct site *site, const char *text) {
    struct scratch path = scratch_file(&site->folder, "secret");
    struct scratch fresh = scratch_file(&site->folder, "secret.new");
    FILE *file = fopen(fresh.path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(rename(fresh.path, path.path), 0);
}

static void secret_from_file(struct site *site) {
    struct scratch path = scratch_file(&site->folder, "secret");
    add(site, "SECRET_KEY", "");
    add(site, "SECRET_KEY_FILE", path.path);
    write_secret(site, KIT_SECRET_KEY);
}

static void expect_secrets(const struct site *site, int status, int status_b) {
    for (int i = 0; i < CONNECTIONS; i++) {
        cr_assert_eq(connected(site, "u", KIT_SECRET_KEY), status);
        cr_assert_eq(connected(site, "u", SECRET_B), status_b);
    }
}

Test(workers, sighup_reloads_all) {
    struct site site;
    site_init(&site);
    secret_from_file(&site);
    serve(&site);
    expect_secrets(&site, 200, 401);
    write_secret(&site, SECRET_B);
    program_signal(site.program, SIGHUP);
    program_wait_for_times(site.program, "\"outcome\":\"ok\",\"changed\":\"SECRET_KEY\"", WORKERS);
    expect_secrets(&site, 401, 200);
    cr_assert_eq(kill(pid_of(&site, 1), SIGKILL), 0); /* the next one reads it as well */
    wait_ready(&site, 1);
    expect_secrets(&site, 401, 200);
    stop(&site);
    site_fini(&site);
}

/* A mistake in a file costs nothing while the workers live, and later only who dies. */
Test(workers, a_worker_that_finds_bad_settings_leaves_the_clients_to_others) {
    struct site site;
    site_init(&site);
    secret_from_file(&site);
    serve(&site);
    write_secret(&site, "short");
    program_signal(site.program, SIGHUP);
    program_wait_for_times(site.program, "\"outcome\":\"failed\"", WORKERS);
    cr_assert_eq(kill(pid_of(&site, 1), SIGKILL), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        int status = connected(&site, "u", KIT_SECRET_KEY);
        cr_assert(status == 200 || status == 0, "%d", status);
    }
    program_wait_for(site.program, "\"restart_in_ms\":1600");
    expect_secrets(&site, 200, 401);
    cr_assert_not_null(strstr(site.program->err.text, "error: SECRET_KEY: has 5 bytes"), "%s",
                       site.program->err.text);
    write_secret(&site, KIT_SECRET_KEY);
    wait_ready(&site, 1);
    expect_secrets(&site, 200, 401);
    stop(&site);
    site_fini(&site);
}

Test(workers, what_is_wrong_at_the_start_is_said_once) {
    static const struct {
        const char *name;
        const char *value;
        int code;
        const char *out; /* NULL: nothing is logged */
        const char *err;
    } cases[] = {
        {"SECRET_KEY", "short", 2, NULL, "error: SECRET_KEY: "},
        {"LATCHKEY_STATE_STORE", "memory", 2, NULL, "error: LATCHKEY_WORKERS: is 3"},
        {"LATCHKEY_LISTEN", "192.0.2.1:1", 1, "cannot listen on 192.0.2.1:1", ""},
        {"LATCHKEY_LISTEN", "unix:/nowhere/s", 1, "cannot listen on unix:/nowhere/s", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct site site;
        site_init(&site);
        add(&site, cases[i].name, cases[i].value);
        site.program = start(&site, "serve");
        cr_assert_eq(program_wait(site.program), cases[i].code, "%zu", i);
        if (cases[i].out != NULL) {
            cr_assert_eq(program_count(site.program, cases[i].out), 1, "%s",
                         site.program->out.text);
        } else {
            cr_assert_str_empty(site.program->out.text);
        }
        cr_assert_not_null(strstr(site.program->err.text, cases[i].err), "%s",
                           site.program->err.text);
        program_free(site.program);
        redis_server_free(&site.redis);
        cr_assert(simprovider_join(site.sim));
        scratch_free(&site.folder);
    }
    CHECK_LEAKS();
}

/* ----------------------------------------------------------------------------------- the rest */

static bool get_unix(const char *path) {
    struct client client;
    struct client_response response;
    bool good = client_connect_unix(&client, path) &&
                CLIENT_SEND(&client, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n") &&
                client_read(&client, "GET", &response) && response.status == 200;
    if (good) {
        client_response_fini(&response);
    }
    client_fini(&client);
    return good;
}

Test(workers, a_unix_socket_and_the_healthcheck) {
    struct site site;
    char listen[SCRATCH_BYTES + 32];
    site_init(&site);
    struct scratch path = scratch_file(&site.folder, "socket");
    snprintf(listen, sizeof listen, "unix:%s,127.0.0.1:0", path.path);
    add(&site, "LATCHKEY_LISTEN", listen);
    site.program = start(&site, "serve");
    wait_ready(&site, WORKERS);
    for (int i = 0; i < CONNECTIONS; i++) {
        cr_assert(get_unix(path.path));
    }
    cr_assert_eq(kill(pid_of(&site, 3), SIGKILL), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        cr_assert(get_unix(path.path));
    }
    wait_ready(&site, 1);
    struct program *check = start(&site, "healthcheck");
    cr_assert_eq(program_wait(check), 0, "%s", check->err.text);
    program_free(check);
    stop(&site);
    cr_assert_neq(access(path.path, F_OK), 0, "the file is left");
    check = start(&site, "healthcheck");
    cr_assert_eq(program_wait(check), 1);
    program_free(check);
    site_fini(&site);
}

/* Neither parent nor worker is for a debugger, or leaves a core; and what they are can be seen. */
Test(workers, hardened_and_named) {
    struct site site;
    site_init(&site);
    serve(&site);
    for (int number = 0; number <= WORKERS; number++) {
        pid_t pid = number == 0 ? site.program->pid : pid_of(&site, number);
        char path[64];
        char text[4096] = "";
        snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
        FILE *file = fopen(path, "r");
        cr_assert_not_null(file);
        cr_assert_gt(fread(text, 1, sizeof text - 1, file), (size_t)0);
        fclose(file);
        const char *core = strstr(text, "Max core file size");
        cr_assert_not_null(core);
        cr_assert_eq(strtol(core + strlen("Max core file size"), NULL, 10), 0);
        snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        file = fopen(path, "r");
        cr_assert_not_null(file);
        cr_assert_not_null(fgets(text, sizeof text, file));
        fclose(file);
        cr_assert_str_eq(text, "latchkey\n");
    }
    stop(&site);
    site_fini(&site);
}
