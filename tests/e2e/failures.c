// SPDX-License-Identifier: MIT
/* docs/failures.md: one dependency fails, every endpoint is asked. What doesn't need it doesn't
 * notice; what does says so in time; and all is well as soon as it is back. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "kit/child.h"
#include "kit/faults_sqlite.h"
#include "kit/leaks.h"
#include "kit/stage.h"

#define TOKEN_PATH "/auth/oauth2/token"
#define API_PATH "/api/*"
#define STORAGE "storage_unavailable"
#define PROVIDER "audible_service_unavailable"

enum {
    HOUR_MS = 3600 * 1000,
    SLACK_MS = 5000, /* of a busy machine under the sanitizers */
    RECOVERY_MS = 10 * 1000,
    READY_MS = 5000, /* of /readyz */
    SYNC_MS = 300 * 1000,
};

#define EXPECT(stage, exceptions, within_ms)                                                       \
    stage_expect((stage), (exceptions), sizeof(exceptions) / sizeof(exceptions)[0], (within_ms))

/* One second for each call to the provider. */
static const char *const impatient[] = {"AUDIBLE_HTTP_TIMEOUT_SECONDS=1",
                                        "AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=1", NULL};

static void set_fault(struct stage *stage, const char *path, enum simprovider_fault_kind kind,
                      int64_t number, const char *text) {
    simprovider_fault(
        stage->p.sim,
        &(struct simprovider_fault){.path = path, .kind = kind, .number = number, .text = text});
}

/* Until it is well again: a refresh rests for two seconds after a failure, a breaker for some. */
static void expect_recovery(struct stage *stage, enum stage_endpoint endpoint) {
    static const struct clock clock;
    int64_t until_ms = clock_mono_ms(&clock) + RECOVERY_MS;
    struct stage_answer answer = stage_ask(stage, endpoint);
    while (answer.status != 200 && clock_mono_ms(&clock) < until_ms) {
        answer = stage_ask(stage, endpoint);
    }
    cr_assert_eq(answer.status, 200, "%d %s", answer.status, answer.detail);
}

/* -- nothing fails: what the other tests take for granted -- */

Test(failures, with_everything_well_all_is_well, .timeout = 60) {
    struct stage stage;
    stage_start(&stage, (struct stage_opts){0});
    stage_expect(&stage, NULL, 0, SLACK_MS);
    stage_stop(&stage);
    CHECK_LEAKS();
}

/* -- the provider's token endpoint, an hour after the links: a library needs a refresh -- */

static const struct stage_exception without_tokens[] = {
    {STAGE_CALLBACK, 503, PROVIDER},
    {STAGE_WAY_BACK, 400, PROVIDER},
    {STAGE_LIBRARY, 503, PROVIDER},
    {STAGE_SYNC, 503, PROVIDER},
};

static void fail_tokens(enum simprovider_fault_kind kind, int64_t number, const char *text,
                        int64_t within_ms) {
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.settings = impatient, .late_ms = HOUR_MS});
    set_fault(&stage, TOKEN_PATH, kind, number, text);
    EXPECT(&stage, without_tokens, within_ms);
    simprovider_faults_clear(stage.p.sim);
    simprovider_release(stage.p.sim);
    expect_recovery(&stage, STAGE_LIBRARY);
    expect_recovery(&stage, STAGE_SYNC);
    platform_link(&stage.p, "newcomer");
    stage_stop(&stage);
    CHECK_LEAKS();
}

Test(failures, the_token_endpoint_is_down, .timeout = 60) {
    fail_tokens(SIMPROVIDER_STATUS, 502, "", SLACK_MS);
}

Test(failures, the_token_endpoint_says_429, .timeout = 60) {
    fail_tokens(SIMPROVIDER_STATUS, 429, "", SLACK_MS);
}

Test(failures, the_token_endpoint_is_slow, .timeout = 120) {
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.settings = impatient, .late_ms = HOUR_MS});
    set_fault(&stage, TOKEN_PATH, SIMPROVIDER_HOLD, 0, NULL);
    EXPECT(&stage, without_tokens, 1000 + SLACK_MS);
    simprovider_faults_clear(stage.p.sim);
    simprovider_release(stage.p.sim);
    platform_link(&stage.p, "newcomer");
    stage_stop(&stage);
    CHECK_LEAKS();
}

Test(failures, the_token_endpoint_answers_nonsense, .timeout = 60) {
    fail_tokens(SIMPROVIDER_STATUS, 200, "{\"access_token\":{}}", SLACK_MS);
}

Test(failures, the_token_endpoint_refuses_the_server, .timeout = 60) {
    fail_tokens(SIMPROVIDER_STATUS, 401, "{\"error\":\"invalid_client\"}", SLACK_MS);
}

/* Only this costs a user something, and says what it is. */
Test(failures, the_token_endpoint_refuses_the_grant, .timeout = 60) {
    static const struct stage_exception refused[] = {
        {STAGE_CALLBACK, 400, "audible_oauth_failed"},
        {STAGE_WAY_BACK, 400, "audible_oauth_failed"},
        {STAGE_LIBRARY, 503, PROVIDER},
        {STAGE_SYNC, 503, PROVIDER},
    };
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.late_ms = HOUR_MS});
    set_fault(&stage, TOKEN_PATH, SIMPROVIDER_STATUS, 400, "{\"error\":\"invalid_grant\"}");
    EXPECT(&stage, refused, SLACK_MS);
    simprovider_faults_clear(stage.p.sim);
    cr_assert_eq(stage_ask(&stage, STAGE_LIBRARY).status, 503);
    platform_link(&stage.p, "reader");
    cr_assert_eq(stage_ask(&stage, STAGE_LIBRARY).status, 200);
    stage_stop(&stage);
    CHECK_LEAKS();
}

/* -- the provider's API -- */

static const struct stage_exception without_api[] = {
    {STAGE_LIBRARY, 503, PROVIDER},
    {STAGE_SYNC, 503, PROVIDER},
    {STAGE_SEARCH, 503, PROVIDER},
    {STAGE_DETAILS, 503, PROVIDER},
};

static void fail_api(enum simprovider_fault_kind kind, int64_t number, const char *text,
                     int64_t within_ms) {
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.settings = impatient});
    set_fault(&stage, API_PATH, kind, number, text);
    EXPECT(&stage, without_api, within_ms);
    simprovider_faults_clear(stage.p.sim);
    simprovider_release(stage.p.sim);
    expect_recovery(&stage, STAGE_LIBRARY);
    expect_recovery(&stage, STAGE_SYNC);
    expect_recovery(&stage, STAGE_SEARCH);
    expect_recovery(&stage, STAGE_DETAILS);
    stage_stop(&stage);
    CHECK_LEAKS();
}

Test(failures, the_api_is_down, .timeout = 60) {
    fail_api(SIMPROVIDER_DROP, 0, NULL, SLACK_MS);
}

Test(failures, the_api_answers_5xx, .timeout = 60) {
    fail_api(SIMPROVIDER_STATUS, 503, "", SLACK_MS);
}

Test(failures, the_api_says_429, .timeout = 60) {
    fail_api(SIMPROVIDER_RATELIMIT, 60, NULL, SLACK_MS);
}

Test(failures, the_api_is_slow, .timeout = 120) {
    fail_api(SIMPROVIDER_HOLD, 0, NULL, 1000 + SLACK_MS);
}

Test(failures, the_api_trickles, .timeout = 120) {
    fail_api(SIMPROVIDER_TRICKLE, 300, NULL, 1000 + SLACK_MS);
}

Test(failures, the_api_answers_nonsense, .timeout = 60) {
    fail_api(SIMPROVIDER_GARBAGE, 0, NULL, SLACK_MS);
}

/* A product that is an empty list is one that the provider doesn't have. */
Test(failures, the_api_answers_with_wrong_types, .timeout = 60) {
    static const struct stage_exception wrong[] = {
        {STAGE_LIBRARY, 503, PROVIDER},
        {STAGE_SYNC, 503, PROVIDER},
        {STAGE_SEARCH, 503, PROVIDER},
        {STAGE_DETAILS, 404, "audiobook_not_found"},
    };
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.settings = impatient});
    set_fault(&stage, API_PATH, SIMPROVIDER_WRONG_TYPES, 0, NULL);
    EXPECT(&stage, wrong, SLACK_MS);
    simprovider_faults_clear(stage.p.sim);
    expect_recovery(&stage, STAGE_LIBRARY);
    expect_recovery(&stage, STAGE_SYNC);
    stage_stop(&stage);
    CHECK_LEAKS();
}

/* -- the whole of it: nobody listens -- */

Test(failures, nobody_listens_at_the_provider, .timeout = 60) {
    static const struct stage_exception alone[] = {
        {STAGE_CALLBACK, 503, PROVIDER}, {STAGE_WAY_BACK, 400, PROVIDER},
        {STAGE_LIBRARY, 503, PROVIDER},  {STAGE_SYNC, 503, PROVIDER},
        {STAGE_SEARCH, 503, PROVIDER},   {STAGE_DETAILS, 503, PROVIDER},
    };
    struct stage stage;
    stage_start(&stage, (struct stage_opts){0});
    cr_assert(simprovider_join(stage.p.sim));
    EXPECT(&stage, alone, SLACK_MS);
    kit_server_stop(stage.p.server);
    scratch_free(&stage.folder);
    CHECK_LEAKS();
}

/* -- the account store's disk -- */

static const struct stage_exception without_disk[] = {
    {STAGE_CALLBACK, 503, STORAGE}, {STAGE_WAY_BACK, 400, STORAGE},
    {STAGE_COLD, 503, STORAGE},     {STAGE_LIBRARY, 503, STORAGE},
    {STAGE_SYNC, 503, STORAGE},     {STAGE_DISCONNECT, 503, STORAGE},
    {STAGE_READYZ, 503, ""},
};

/* Who fails is named. */
static void expect_unready(struct stage *stage) {
    struct client_response response;
    cr_assert_eq(ask(stage->p.port, (struct ask){.path = "/readyz"}, &response), 503);
    cr_assert(slice_eq(response.body, SLICE("{\"status\":\"unavailable\",\"checks\":{\"state\":"
                                            "\"ok\",\"accounts\":\"failed\"}}")),
              "%.*s", SLICE_ARGS(response.body));
    client_response_fini(&response);
}

/* Nothing was half done: who was linked is, who wasn't isn't, and the disconnect can be made. */
static void expect_nothing_changed(struct stage *stage) {
    cr_assert_not(platform_is_connected(&stage->p, "newcomer"));
    cr_assert_not(platform_is_connected(&stage->p, "browser"));
    cr_assert(platform_is_connected(&stage->p, "leaver"));
    kit_server_advance_ms(stage->p.server, 2000); /* /readyz asks once a second */
    static const enum stage_endpoint again[] = {STAGE_COLD, STAGE_LIBRARY, STAGE_SYNC,
                                                STAGE_DISCONNECT, STAGE_READYZ};
    for (size_t i = 0; i < sizeof again / sizeof again[0]; i++) {
        struct stage_answer answer = stage_ask(stage, again[i]);
        cr_assert_eq(answer.status, 200, "%d: %d %s", (int)again[i], answer.status, answer.detail);
    }
    platform_link(&stage->p, "newcomer");
}

static void fail_disk(unsigned kinds, int code, const struct stage_exception *exceptions,
                      size_t count) {
    struct faults_sqlite *faults = faults_sqlite_install();
    struct stage stage;
    stage_start(&stage, (struct stage_opts){0});
    faults_sqlite_fail(faults, kinds, code);
    stage_expect(&stage, exceptions, count, SLACK_MS);
    expect_unready(&stage);
    cr_assert(faults_sqlite_met(faults));
    faults_sqlite_heal(faults);
    expect_nothing_changed(&stage);
    stage_stop(&stage);
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}

Test(failures, the_disk_is_down, .timeout = 60) {
    fail_disk(FAULTS_SQLITE_ALL, 0, without_disk, sizeof without_disk / sizeof without_disk[0]);
}

/* What is read from a damaged file is no account. */
Test(failures, the_disk_gives_back_nonsense, .timeout = 60) {
    static const struct stage_exception damaged[] = {
        {STAGE_CALLBACK, 503, STORAGE}, {STAGE_WAY_BACK, 400, STORAGE},
        {STAGE_COLD, 503, STORAGE},     {STAGE_LIBRARY, 503, STORAGE},
        {STAGE_SYNC, 503, STORAGE},     {STAGE_DISCONNECT, 503, STORAGE},
        {STAGE_READYZ, 503, ""},
    };
    fail_disk(FAULTS_SQLITE_READ | FAULTS_SQLITE_SHM, SQLITE_CORRUPT, damaged,
              sizeof damaged / sizeof damaged[0]);
}

/* What only reads goes on. */
Test(failures, the_disk_is_full, .timeout = 60) {
    static const struct stage_exception full[] = {
        {STAGE_CALLBACK, 503, STORAGE}, {STAGE_WAY_BACK, 400, STORAGE},
        {STAGE_SYNC, 503, STORAGE},     {STAGE_DISCONNECT, 503, STORAGE},
        {STAGE_READYZ, 503, ""},
    };
    fail_disk(FAULTS_SQLITE_WRITE, SQLITE_FULL, full, sizeof full / sizeof full[0]);
}

/* The provider has rotated the token by then: nobody gets the new one before it is stored, and it
 * is stored as soon as there is room, by a refresh that is not made twice. */
Test(failures, the_disk_is_full_in_a_refresh, .timeout = 60) {
    struct faults_sqlite *faults = faults_sqlite_install();
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.late_ms = HOUR_MS});
    faults_sqlite_fail(faults, FAULTS_SQLITE_WRITE, SQLITE_FULL);
    for (int i = 0; i < 3; i++) {
        struct stage_answer answer = stage_ask(&stage, STAGE_LIBRARY);
        cr_assert_eq(answer.status, 503);
        cr_assert_str_eq(answer.detail, STORAGE);
        cr_assert_leq(answer.took_ms, SLACK_MS);
    }
    cr_assert_eq(simprovider_count(stage.p.sim, SIMPROVIDER_LIBRARIES), 0);
    faults_sqlite_heal(faults);
    expect_recovery(&stage, STAGE_LIBRARY);
    cr_assert_eq(simprovider_count(stage.p.sim, SIMPROVIDER_REFRESHES), 1);
    cr_assert_eq(simprovider_count(stage.p.sim, SIMPROVIDER_REFRESH_REUSES), 0);
    stage_stop(&stage);
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}

/* Every request is answered at its deadline, all the same; what had been given to the disk is done
 * as a whole once it answers. */
Test(failures, the_disk_does_not_answer, .timeout = 120) {
    static const char *const settings[] = {"LATCHKEY_REQUEST_TIMEOUT_SECONDS=1", NULL};
    static const struct stage_exception held[] = {
        {STAGE_CALLBACK, 503, STORAGE}, {STAGE_WAY_BACK, 400, STORAGE},
        {STAGE_COLD, 503, STORAGE},     {STAGE_LIBRARY, 503, STORAGE},
        {STAGE_SYNC, 0, NULL},          {STAGE_DISCONNECT, 503, STORAGE},
        {STAGE_READYZ, 503, ""},
    };
    struct faults_sqlite *faults = faults_sqlite_install();
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.settings = settings});
    faults_sqlite_hold(faults, FAULTS_SQLITE_ALL);
    EXPECT(&stage, held, READY_MS + SLACK_MS);
    cr_assert(faults_sqlite_met(faults));
    expect_unready(&stage);
    faults_sqlite_heal(faults);
    expect_recovery(&stage, STAGE_COLD);
    expect_recovery(&stage, STAGE_LIBRARY);
    cr_assert(kit_server_wait_metric(stage.p.server, METRIC_LINKS, 2));
    cr_assert(kit_server_wait_metric(stage.p.server, METRIC_UNLINKS, 1));
    cr_assert(platform_is_connected(&stage.p, "newcomer"));
    cr_assert(platform_is_connected(&stage.p, "browser"));
    cr_assert_not(platform_is_connected(&stage.p, "leaver"));
    stage_stop(&stage);
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}

/* A sync has five minutes, and not one more. */
Test(failures, the_disk_does_not_answer_a_sync, .timeout = 60) {
    struct faults_sqlite *faults = faults_sqlite_install();
    struct stage stage;
    struct client client;
    struct client_response response;
    char request[STAGE_REQUEST_BYTES];
    stage_start(&stage, (struct stage_opts){0});
    stage_request(&stage, STAGE_SYNC, request);
    faults_sqlite_hold(faults, FAULTS_SQLITE_ALL);
    cr_assert(client_connect(&client, stage.p.port));
    cr_assert(client_send(&client, slice_str(request)));
    while (!faults_sqlite_met(faults)) {
        cr_assert(client_is_silent(&client, 1));
    }
    kit_server_advance_ms(stage.p.server, SYNC_MS - 5000);
    cr_assert(client_is_silent(&client, 1500));
    kit_server_advance_ms(stage.p.server, 6000);
    cr_assert(client_read(&client, "POST", &response));
    cr_assert_eq(response.status, 503);
    cr_assert(slice_eq(response.body, SLICE("{\"detail\":\"" STORAGE "\"}")), "%.*s",
              SLICE_ARGS(response.body));
    client_response_fini(&response);
    client_fini(&client);
    faults_sqlite_heal(faults);
    stage_stop(&stage);
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}

/* -- the state store -- */

Test(failures, the_state_store_is_full, .timeout = 60) {
    static const char *const settings[] = {"LATCHKEY_STATE_MAX=2", NULL};
    static const struct stage_exception full[] = {{STAGE_AUTHORIZE, 503, "overloaded"}};
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.settings = settings});
    struct stage_answer answer = stage_ask(&stage, STAGE_AUTHORIZE);
    cr_assert_eq(answer.status, 503);
    cr_assert_str_eq(answer.retry_after, "1");
    EXPECT(&stage, full, SLACK_MS);
    cr_assert_eq(stage_ask(&stage, STAGE_AUTHORIZE).status, 200, "there is room: they were taken");
    stage_stop(&stage);
    CHECK_LEAKS();
}

/* -- the Fernet keys -- */

Test(failures, no_key_opens_what_is_stored, .timeout = 60) {
    static const char *const other[] = {
        "AUDIBLE_TOKEN_ENCRYPTION_KEY=ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s=", NULL};
    static const char *const none[] = {"AUDIBLE_TOKEN_ENCRYPTION_KEY=", NULL};
    static const struct stage_exception unopened[] = {{STAGE_LIBRARY, 503, STORAGE},
                                                      {STAGE_SYNC, 503, STORAGE}};
    static const char *const usual[] = {NULL};
    for (int i = 0; i < 2; i++) {
        struct stage stage;
        stage_start(&stage,
                    (struct stage_opts){.settings = i == 0 ? other : none, .before = usual});
        EXPECT(&stage, unopened, SLACK_MS);
        cr_assert_eq(simprovider_count(stage.p.sim, SIMPROVIDER_LIBRARIES), 0);
        cr_assert_eq(simprovider_count(stage.p.sim, SIMPROVIDER_REFRESHES), 0);
        stage_stop(&stage);
    }
    CHECK_LEAKS();
}

Test(failures, there_is_no_key, .timeout = 60) {
    static const char *const none[] = {"AUDIBLE_TOKEN_ENCRYPTION_KEY=", NULL};
    struct stage stage;
    stage_start(&stage, (struct stage_opts){.settings = none, .late_ms = HOUR_MS});
    stage_expect(&stage, NULL, 0, SLACK_MS);
    cr_assert_gt(kit_server_metric(stage.p.server, METRIC_TOKENS_STORED_PLAIN), 0);
    cr_assert_gt(kit_server_metric(stage.p.server, METRIC_TOKENS_READ_PLAIN), 0);
    stage_stop(&stage);
    CHECK_LEAKS();
}

/* -- the clock -- */

/* Everyone's token is refreshed, everyone's flow begins anew. */
Test(failures, the_clock_jumps_ahead, .timeout = 60) {
    static const struct stage_exception late[] = {
        {STAGE_CALLBACK, 400, "invalid_state_parameter"},
        {STAGE_WAY_BACK, 400, "invalid_state_parameter"},
    };
    struct stage stage;
    stage_start(&stage, (struct stage_opts){0});
    kit_server_advance_ms(stage.p.server, 3 * HOUR_MS);
    EXPECT(&stage, late, SLACK_MS);
    cr_assert_eq(simprovider_count(stage.p.sim, SIMPROVIDER_REFRESHES), 2);
    platform_link(&stage.p, "newcomer");
    stage_stop(&stage);
    CHECK_LEAKS();
}

Test(failures, the_clock_jumps_back, .timeout = 60) {
    struct stage stage;
    stage_start(&stage, (struct stage_opts){0});
    kit_server_advance_ms(stage.p.server, -3 * HOUR_MS);
    stage_expect(&stage, NULL, 0, SLACK_MS);
    kit_server_advance_ms(stage.p.server, 3 * HOUR_MS);
    cr_assert_eq(stage_ask(&stage, STAGE_LIBRARY).status, 200);
    stage_stop(&stage);
    CHECK_LEAKS();
}

/* -- who reads the log -- */

enum { PIPELINED = 100, FILL_ROUNDS = 400, LINE_BYTES = 512 };

/* A program whose output nobody reads until the test does. */
struct silent {
    struct scratch folder;
    struct simprovider *sim;
    struct child child;
    struct platform p; /* its server is the program */
};

static void silent_start(struct silent *silent) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    silent->folder = scratch_new();
    silent->sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(silent->sim, "%s", problem);
    child_start(&silent->child, silent->folder.path, simprovider_url(silent->sim), NULL);
    silent->p = (struct platform){.sim = silent->sim, .port = silent->child.port};
}

/* Lines that nobody reads, until the pipe and the buffer are full and they are dropped. */
static void fill_log(int port) {
    static const char request[] =
        "GET " ASK_API "/connected HTTP/1.1\r\nHost: h\r\nX-Request-ID: "
        "0123456789012345678901234567890123456789012345678901234567890123"
        "0123456789012345678901234567890123456789012345678901234567890123\r\n\r\n";
    static char batch[PIPELINED * sizeof request];
    struct client client;
    size_t n = 0;
    for (int i = 0; i < PIPELINED; i++) {
        n += (size_t)snprintf(batch + n, sizeof batch - n, "%s", request);
    }
    cr_assert(client_connect(&client, port));
    for (int round = 0; round < FILL_ROUNDS; round++) {
        cr_assert(client_send(&client, slice_make(batch, n)));
        for (int i = 0; i < PIPELINED; i++) {
            struct client_response response;
            cr_assert(client_read(&client, "GET", &response), "%d", round);
            cr_assert_eq(response.status, 401);
            client_response_fini(&response);
        }
    }
    client_fini(&client);
}

/* Reads what the program writes until both texts were in it, and forgets the rest. */
static bool read_log(struct silent *silent, const char *first, const char *second) {
    static char bytes[1 << 16];
    static const struct clock clock;
    int64_t until_ms = clock_mono_ms(&clock) + CLIENT_TIMEOUT_MS;
    bool found[2] = {false};
    size_t kept = 0;
    while (!(found[0] && found[1]) && clock_mono_ms(&clock) < until_ms) {
        ssize_t n = read(silent->child.program->out.fd, bytes + kept, sizeof bytes - 1 - kept);
        if (n <= 0) {
            continue;
        }
        size_t length = kept + (size_t)n;
        bytes[length] = '\0';
        found[0] = found[0] || strstr(bytes, first) != NULL;
        found[1] = found[1] || strstr(bytes, second) != NULL;
        kept = length < LINE_BYTES ? length : LINE_BYTES;
        memmove(bytes, bytes + length - kept, kept);
    }
    return found[0] && found[1];
}

static void silent_stop(struct silent *silent) {
    cr_assert_eq(child_stop(&silent->child), 0);
    cr_assert(simprovider_join(silent->sim));
    scratch_free(&silent->folder);
    CHECK_LEAKS();
}

/* Lines are dropped and counted, and nobody waits. Only an audit line is never dropped: who makes
 * one waits until there is room, and so does all that comes after. */
Test(failures, the_log_is_not_read, .timeout = 120) {
    struct silent silent;
    struct client waiting;
    struct client behind;
    struct client_response response;
    char token[KIT_JWT_BYTES];
    char request[KIT_JWT_BYTES + 256];
    silent_start(&silent);
    platform_link(&silent.p, "user-1");
    fill_log(silent.child.port);
    ask_premium(token, "user-1");
    static const struct {
        struct ask ask;
        int status;
    } asks[] = {
        {{.path = "/healthz"}, 200},
        {{.path = "/readyz"}, 200},
        {{.path = "/metrics"}, 200},
        {{.path = "connected"}, 200},
        {{.method = "POST", .path = "oauth/authorize", .json = "{\"redirect_uri\":\"\"}"}, 200},
        {{.method = "POST", .path = "oauth/callback", .json = "{\"code\":\"c\",\"state\":\"s\"}"},
         400},
        {{.path = "search?q=the"}, 200},
        {{.path = "ZZZZZZZZZZ/details"}, 404},
        {{.path = "ZZZZZZZZZZ/play-url"}, 200},
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        struct ask one = asks[i].ask;
        one.token = token;
        cr_assert_eq(ask_status(silent.child.port, one), asks[i].status, "%s", one.path);
    }
    snprintf(request, sizeof request,
             "GET " ASK_API "/library?limit=1 HTTP/1.1\r\nHost: h\r\nX-Request-ID: the-audit\r\n"
             "Authorization: Bearer %s\r\n\r\n",
             token);
    cr_assert(client_connect(&waiting, silent.child.port));
    cr_assert(client_send(&waiting, slice_str(request)));
    cr_assert(client_is_silent(&waiting, 500), "its audit line has no room");
    cr_assert(client_connect(&behind, silent.child.port));
    cr_assert(CLIENT_SEND(&behind, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"));
    cr_assert(client_is_silent(&behind, 500), "and it holds the loop");
    cr_assert(read_log(&silent, "\"event\":\"log_lines_dropped\"", "\"request_id\":\"the-audit\""));
    cr_assert(client_read(&waiting, "GET", &response));
    cr_assert_eq(response.status, 200);
    client_response_fini(&response);
    client_fini(&waiting);
    cr_assert(client_read(&behind, "GET", &response));
    cr_assert_eq(response.status, 200);
    client_response_fini(&response);
    client_fini(&behind);
    silent_stop(&silent);
}

/* A reader that is gone loses the lines; nobody waits for it. */
Test(failures, the_logs_reader_is_gone, .timeout = 60) {
    struct silent silent;
    char token[KIT_JWT_BYTES];
    silent_start(&silent);
    close(silent.child.program->out.fd);
    silent.child.program->out.fd = -1;
    platform_link(&silent.p, "user-1");
    cr_assert(platform_is_connected(&silent.p, "user-1"));
    ask_premium(token, "user-1");
    ask_expect(silent.child.port, (struct ask){.path = "library?limit=1", .token = token}, 200,
               NULL);
    ask_expect(silent.child.port, (struct ask){.path = "/readyz"}, 200, NULL);
    ask_expect(silent.child.port,
               (struct ask){.method = "POST", .path = "disconnect", .token = token}, 200, NULL);
    silent_stop(&silent);
}
