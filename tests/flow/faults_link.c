// SPDX-License-Identifier: MIT
/* The whole server, in which each call to libuv, libcurl and SQLite's disk fails in turn: the n-th
 * of two link flows and a disconnect, then the n-th of stopping. Every request gets an answer of
 * the contract, or loses its connection where the call was the connection's; what was told is true;
 * the next flow works; nothing stays open. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "kit/faults.h"
#include "kit/faults_sqlite.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"
#include "kit/secrets.h"
#include "kit/soak.h"

/* The provider's 1 s, a connection's 1 s, and a machine that does other things. */
enum { ANSWER_MS_MAX = 8000, RETURN_BYTES = 256 };

#define RETURN_URL "https://app.example/done"
#define REASON RETURN_URL "?audible=error&reason="

enum family { UV, CURL, SQLITE };
static const char *const names[] = {"libuv", "libcurl", "SQLite's disk"};

/* What is known of the account from what was told. */
enum linked { NOT_LINKED, LINKED, UNKNOWN };

struct run {
    enum family family;
    struct faults_sqlite *disk; /* SQLITE */
    struct scratch folder;
    struct platform p;
    char token[KIT_JWT_BYTES];
    enum linked linked;
    int n;
};

struct told {
    int status; /* 0: the connection was lost */
    char text[RETURN_BYTES];
};

/* -- the family that fails -- */

static void arm(struct run *run, int n) {
    run->n = n;
    if (run->family == SQLITE) {
        faults_sqlite_fail_nth(run->disk, FAULTS_SQLITE_ALL, n, 0);
    } else {
        pthread_t server = kit_server_thread(run->p.server);
        faults_only_on(&server);
        faults_arm(run->family == UV ? FAULTS_UV : FAULTS_CURL, n);
    }
}

/* The function that failed, NULL where none has been called that often. */
static const char *met(const struct run *run) {
    if (run->family == SQLITE) {
        return faults_sqlite_met(run->disk) ? "the disk" : NULL;
    }
    return faults_met(run->family == UV ? FAULTS_UV : FAULTS_CURL);
}

static void disarm(struct run *run) {
    faults_arm(FAULTS_UV, 0);
    faults_arm(FAULTS_CURL, 0);
    if (run->disk != NULL) {
        faults_sqlite_heal(run->disk);
    }
}

static const char *what(const struct run *run) {
    static _Thread_local char text[128];
    const char *name = met(run);
    snprintf(text, sizeof text, "call %d, %s", run->n, name != NULL ? name : "not met");
    return text;
}

/* Without these a connection can't be accepted, read or told. */
static bool is_of_connections(const char *name) {
    static const char *const those[] = {"accept4",      "uv_tcp_open", "uv_read_start",
                                        "uv_try_write", "uv_fileno",   "uv_poll_start"};
    for (size_t i = 0; name != NULL && i < sizeof those / sizeof those[0]; i++) {
        if (strcmp(name, those[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* -- requests -- */

static void start(struct run *run) {
    const char *settings[] = {"LATCHKEY_HEAD_TIMEOUT_SECONDS=1",
                              "LATCHKEY_IDLE_TIMEOUT_SECONDS=1",
                              "LATCHKEY_DRAIN_SECONDS=3",
                              "LATCHKEY_RETURN_URL=" RETURN_URL,
                              "AUDIBLE_HTTP_TIMEOUT_SECONDS=1",
                              "AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=1",
                              "AUDIBLE_RATE_LIMIT_PER_MINUTE=0",
                              "LATCHKEY_RATE_LIMIT_PER_MINUTE=0",
                              "LATCHKEY_UPSTREAM_CA_FILE=" TEST_SOURCE_DIR "/tests/kit/ca.pem",
                              NULL};
    run->p.server =
        kit_server_start((struct kit_server_opts){.settings = settings,
                                                  .provider_url = simprovider_url(run->p.sim),
                                                  .folder = run->folder.path});
    run->p.port = kit_server_port(run->p.server);
}

/* The status, and the detail or the Location. */
static struct told request(const struct run *run, struct ask wanted) {
    static const struct clock clock;
    struct client_response response;
    struct told told = {0};
    int64_t before_ms = clock_mono_ms(&clock);
    told.status = ask(run->p.port, wanted, &response);
    int64_t took_ms = clock_mono_ms(&clock) - before_ms;
    if (told.status == 303) {
        snprintf(told.text, sizeof told.text, "%.*s",
                 SLICE_ARGS(client_header(&response, "location")));
    } else if (told.status >= 400) {
        ask_member(&response, "detail", told.text, sizeof told.text);
    } else if (slice_starts(response.body, SLICE("{\"connected\":true"))) {
        snprintf(told.text, sizeof told.text, "connected");
    }
    client_response_fini(&response);
    cr_assert_lt(took_ms, ANSWER_MS_MAX, "%s: %s after %d ms", what(run), wanted.path,
                 (int)took_ms);
    cr_assert(told.status != 0 || is_of_connections(met(run)), "%s: %s has no answer", what(run),
              wanted.path);
    return told;
}

static bool is_lost(struct told told) {
    return told.status == 0 || told.status == 408;
}

static bool is_one_of(const char *text, const char *one, const char *other) {
    return strcmp(text, one) == 0 || strcmp(text, other) == 0;
}

static void look(struct run *run) {
    struct told told = request(run, (struct ask){.path = "connected", .token = run->token});
    if (is_lost(told)) {
        return;
    }
    if (told.status != 200) {
        cr_assert(told.status == 503 && strcmp(told.text, "storage_unavailable") == 0,
                  "%s: connected: %d %s", what(run), told.status, told.text);
        return;
    }
    enum linked linked = strcmp(told.text, "connected") == 0 ? LINKED : NOT_LINKED;
    cr_assert(run->linked == UNKNOWN || run->linked == linked, "%s: %s", what(run),
              linked == LINKED ? "linked after all" : "not linked after all");
    run->linked = linked;
}

/* A failed try leaves what was before: linked or not. */
static void settle(struct run *run, bool is_linked, bool is_lost) {
    if (is_linked) {
        run->linked = LINKED;
    } else if (is_lost && run->linked == NOT_LINKED) {
        run->linked = UNKNOWN;
    }
}

static void link_by_post(struct run *run) {
    struct ask_grant grant;
    char body[512];
    int status = ask_try_grant(run->p.port, run->p.sim, run->token, &grant);
    if (status != 200) {
        cr_assert(is_lost((struct told){.status = status}) && is_of_connections(met(run)),
                  "%s: authorize: %d", what(run), status);
        return;
    }
    snprintf(body, sizeof body, "{\"code\":\"%s\",\"state\":\"%s\"}", grant.code, grant.state);
    struct told told = request(
        run, (struct ask){
                 .method = "POST", .path = "oauth/callback", .token = run->token, .json = body});
    cr_assert(is_lost(told) || told.status == 200 ||
                  (told.status == 503 &&
                   is_one_of(told.text, "storage_unavailable", "audible_service_unavailable")),
              "%s: callback: %d %s", what(run), told.status, told.text);
    settle(run, told.status == 200, is_lost(told));
    look(run);
}

static void link_by_browser(struct run *run) {
    struct ask_grant grant;
    char path[512];
    char cookie[256];
    int status = ask_try_grant(run->p.port, run->p.sim, run->token, &grant);
    if (status != 200) {
        cr_assert(is_lost((struct told){.status = status}) && is_of_connections(met(run)),
                  "%s: authorize: %d", what(run), status);
        return;
    }
    snprintf(path, sizeof path, "oauth/callback?code=%s&state=%s", grant.code, grant.state);
    snprintf(cookie, sizeof cookie, "Cookie: %s\r\n", grant.cookie);
    struct told told = request(run, (struct ask){.path = path, .headers = cookie});
    bool is_linked = strcmp(told.text, RETURN_URL "?audible=connected") == 0;
    cr_assert(is_lost(told) || (told.status == 303 &&
                                (is_linked || is_one_of(told.text, REASON "storage_unavailable",
                                                        REASON "audible_service_unavailable"))),
              "%s: the browser: %d %s", what(run), told.status, told.text);
    settle(run, is_linked, is_lost(told));
    look(run);
}

static void disconnect(struct run *run) {
    struct told told =
        request(run, (struct ask){.method = "POST", .path = "disconnect", .token = run->token});
    if (told.status == 200) {
        cr_assert_neq(run->linked, NOT_LINKED, "%s", what(run));
        run->linked = NOT_LINKED;
    } else if (told.status == 404) {
        cr_assert_neq(run->linked, LINKED, "%s", what(run));
        run->linked = NOT_LINKED;
    } else if (is_lost(told)) {
        run->linked = run->linked == LINKED ? UNKNOWN : run->linked;
    } else {
        cr_assert(told.status == 503 && strcmp(told.text, "storage_unavailable") == 0,
                  "%s: disconnect: %d %s", what(run), told.status, told.text);
    }
    look(run);
}

static void flow(struct run *run) {
    link_by_post(run);
    disconnect(run);
    link_by_browser(run);
}

/* -- what holds afterwards -- */

static void assert_all_is_well(struct run *run) {
    char token[KIT_JWT_BYTES];
    look(run);
    cr_assert_neq(run->linked, UNKNOWN, "%s: connected fails still", what(run));
    if (run->family == SQLITE) {
        kit_server_stop(run->p.server);
        start(run);
        look(run); /* the file says what the cache said */
    }
    platform_link(&run->p, "next");
    cr_assert(platform_is_connected(&run->p, "next"), "%s", what(run));
    ask_premium(token, "next");
    ask_expect(run->p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token},
               200, NULL);
    cr_assert_not(platform_is_connected(&run->p, "next"), "%s", what(run));
}

static void begin(struct run *run) {
    secrets_forget();
    run->folder = scratch_new();
    run->linked = NOT_LINKED;
    start(run);
    ask_premium(run->token, "user");
}

static void end(struct run *run) {
    kit_server_stop(run->p.server);
    scratch_free(&run->folder);
}

/* True where the flow has that many calls. */
static bool fail_in_the_flow(struct run *run, int n) {
    begin(run);
    arm(run, n);
    flow(run);
    bool was_met = met(run) != NULL;
    disarm(run);
    assert_all_is_well(run);
    end(run);
    return was_met;
}

/* Sends a callback whose exchange the provider has received and holds. */
static void begin_to_link(struct run *run, struct client *client) {
    struct ask_grant grant;
    char request[ASK_CALLBACK_BYTES];
    int64_t exchanges = simprovider_count(run->p.sim, SIMPROVIDER_EXCHANGES);
    ask_grant(run->p.port, run->p.sim, run->token, &grant);
    ask_callback_text(request, run->token, &grant);
    simprovider_fault(run->p.sim, &(struct simprovider_fault){.path = "/auth/oauth2/token",
                                                              .kind = SIMPROVIDER_HOLD,
                                                              .count = 1});
    cr_assert(client_connect(client, run->p.port));
    cr_assert(client_send(client, slice_str(request)));
    cr_assert(simprovider_wait(run->p.sim, SIMPROVIDER_EXCHANGES, exchanges + 1, 5000));
}

/* ... and where stopping has, while a flow is under way. */
static bool fail_in_the_stop(struct run *run, int n) {
    struct client client;
    struct client_response response;
    begin(run);
    begin_to_link(run, &client);
    arm(run, n);
    kit_server_ask_stop(run->p.server);
    simprovider_release(run->p.sim);
    bool was_read = client_read(&client, "POST", &response);
    cr_assert(was_read || is_of_connections(met(run)), "%s: no answer", what(run));
    cr_assert(!was_read || response.status == 200 || response.status == 503, "%s: %d", what(run),
              response.status);
    run->linked = !was_read ? UNKNOWN : response.status == 200 ? LINKED : NOT_LINKED;
    client_response_fini(&response);
    cr_assert(client_is_closed(&client), "%s", what(run));
    client_fini(&client);
    kit_server_join(run->p.server);
    bool was_met = met(run) != NULL;
    disarm(run);
    kit_server_stop(run->p.server);
    start(run);
    look(run);
    end(run);
    return was_met;
}

static int try_each(struct run *run, bool (*fail)(struct run *run, int n)) {
    int n = 1;
    while (fail(run, n)) {
        n++;
    }
    return n - 1;
}

static void fail_each(enum family family, bool (*fail)(struct run *run, int n), int least) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    struct run run = {.family = family};
    int passes = soak_times("TEST_SOAK_PASSES", 1);
    run.disk = family == SQLITE ? faults_sqlite_install() : NULL;
    run.p.sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(run.p.sim, "%s", problem);
    for (int pass = 0; pass < passes; pass++) {
        int calls = try_each(&run, fail);
        cr_assert_geq(calls, least, "%s: only %d calls: it ended early", names[family], calls);
        printf("%s: %d calls failed, each in a server of its own\n", names[family], calls);
    }
    cr_assert(simprovider_join(run.p.sim));
    if (run.disk != NULL) {
        faults_sqlite_remove(run.disk);
    }
    CHECK_LEAKS();
}

Test(faults_link, libuv_in_the_flow, .timeout = 3600) {
    fail_each(UV, fail_in_the_flow, 30);
}

Test(faults_link, libcurl_in_the_flow, .timeout = 3600) {
    fail_each(CURL, fail_in_the_flow, 50);
}

Test(faults_link, sqlite_in_the_flow, .timeout = 3600) {
    fail_each(SQLITE, fail_in_the_flow, 15);
}

Test(faults_link, each_in_the_stop, .timeout = 3600) {
    fail_each(UV, fail_in_the_stop, 3);
    fail_each(CURL, fail_in_the_stop, 3);
    fail_each(SQLITE, fail_in_the_stop, 10);
}
