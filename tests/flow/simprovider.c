// SPDX-License-Identifier: MIT
/* The simulated provider is a test's measure, so it is tested itself. */
#include "provider/simprovider.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "crypto/hash.h"
#include "kit/client.h"
#include "kit/leaks.h"

/* RFC 7636 appendix B */
#define VERIFIER "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
#define REDIRECT "http://127.0.0.1:8090/api/v1/user/audible/oauth/callback"
#define WISH                                                                                       \
    "http://x/auth/oauth2/authorize?client_id=sim-client&response_type=code&redirect_uri="         \
    "http%3A%2F%2F127.0.0.1%3A8090%2Fapi%2Fv1%2Fuser%2Faudible%2Foauth%2Fcallback"                 \
    "&state=st%26te&scope=library+profile&code_challenge=" CHALLENGE "&code_challenge_method=S256"
#define TOKEN "/auth/oauth2/token"
#define CLIENT "client_id=sim-client&client_secret=sim-secret&"
#define MINUTE_MS (60 * 1000)

enum { TEXT_BYTES = 4096 };

struct tokens {
    int status;
    char access[128];
    char refresh[128];
    char error[64];
};

static struct simprovider *spawn(const struct simprovider_opts *opts) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    struct simprovider *sim = simprovider_spawn(opts, problem);
    cr_assert_not_null(sim, "%s", problem);
    return sim;
}

static void join(struct simprovider *sim) {
    cr_assert(simprovider_join(sim), "a handle was left open");
    CHECK_LEAKS();
}

static void read_member(const struct json *document, const char *name, char *out, size_t bytes) {
    struct slice text = SLICE("");
    json_to_slice(json_member(document, name), &text);
    snprintf(out, bytes, "%.*s", SLICE_ARGS(text));
}

/* POST of a form; the tokens or the error of the answer. */
static struct tokens post(struct simprovider *sim, const char *path, const char *form) {
    char request[TEXT_BYTES];
    struct tokens tokens = {0};
    struct client_response response;
    int n = snprintf(request, sizeof request,
                     "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n"
                     "Content-Type: application/x-www-form-urlencoded\r\n\r\n%s",
                     path, strlen(form), form);
    tokens.status =
        client_ask(simprovider_port(sim), "POST", slice_make(request, (size_t)n), &response);
    struct json_document *document =
        tokens.status != 0 ? json_parse(response.body, JSON_LAST_WINS) : NULL;
    read_member(json_root(document), "access_token", tokens.access, sizeof tokens.access);
    read_member(json_root(document), "refresh_token", tokens.refresh, sizeof tokens.refresh);
    read_member(json_root(document), "error", tokens.error, sizeof tokens.error);
    json_close(document);
    client_response_fini(&response);
    return tokens;
}

static int get(struct simprovider *sim, const char *path, const char *bearer) {
    char request[TEXT_BYTES];
    struct client_response response;
    int n =
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, bearer);
    int status =
        client_ask(simprovider_port(sim), "GET", slice_make(request, (size_t)n), &response);
    client_response_fini(&response);
    return status;
}

static void consent(struct simprovider *sim, struct simprovider_return *out) {
    cr_assert(simprovider_consent(sim, SLICE(WISH), true, out), "%s", out->error);
}

static struct tokens exchange(struct simprovider *sim, const char *code, const char *redirect,
                              const char *verifier) {
    char form[TEXT_BYTES];
    snprintf(form, sizeof form,
             CLIENT "grant_type=authorization_code&code=%s&redirect_uri=%s&code_verifier=%s", code,
             redirect, verifier);
    return post(sim, TOKEN, form);
}

static struct tokens refresh(struct simprovider *sim, const char *token) {
    char form[TEXT_BYTES];
    struct buf out;
    buf_init_fixed(&out, form, sizeof form - 1);
    BUF_LIT(&out, CLIENT "grant_type=refresh_token&refresh_token=");
    buf_append_form(&out, slice_str(token));
    form[out.len] = '\0';
    return post(sim, TOKEN, form);
}

static struct tokens linked(struct simprovider *sim) {
    struct simprovider_return back;
    consent(sim, &back);
    struct tokens tokens = exchange(sim, back.code, REDIRECT, VERIFIER);
    cr_assert_eq(tokens.status, 200, "%d %s", tokens.status, tokens.error);
    return tokens;
}

static void refused(struct tokens tokens, int status, const char *error, const char *what) {
    cr_assert_eq(tokens.status, status, "%s: %d", what, tokens.status);
    cr_assert_str_eq(tokens.error, error, "%s", what);
    cr_assert_str_empty(tokens.access, "%s", what);
}

Test(simprovider, sends_the_browser_back) {
    struct simprovider *sim = spawn(&(struct simprovider_opts){.issuer = "https://sim.example"});
    struct simprovider_return back;
    char expected[TEXT_BYTES];
    consent(sim, &back);
    snprintf(expected, sizeof expected,
             REDIRECT "?code=%s&state=st%%26te&iss=https%%3A%%2F%%2Fsim.example", back.code);
    cr_assert_str_eq(back.location, expected);
    cr_assert_str_eq(back.state, "st&te");
    cr_assert(simprovider_consent(sim, SLICE(WISH), false, &back));
    cr_assert_str_eq(back.error, "access_denied");
    cr_assert_str_eq(back.location,
                     REDIRECT "?error=access_denied&state=st%26te&iss=https%3A%2F%2Fsim.example");
    cr_assert_eq(simprovider_count(sim, SIMPROVIDER_CONSENTS), 1);
    cr_assert_eq(simprovider_count(sim, SIMPROVIDER_DENIALS), 1);
    join(sim);
}

/* Each is the good request with one thing put wrong. */
Test(simprovider, refuses_requests_that_are_not_right) {
    static const struct {
        const char *part;
        const char *wrong;
        const char *error; /* NULL: the browser isn't sent back */
    } cases[] = {
        {"client_id=sim-client", "client_id=other", NULL},
        {"%2Fcallback", "%2Fcallback%2F", NULL},
        {"&redirect_uri=", "&redirect_url=", NULL},
        {"&state=", "&redirect_uri=http%3A%2F%2Fevil.example&state=", NULL},
        {"response_type=code", "response_type=token", "unsupported_response_type"},
        {"code_challenge_method=S256", "code_challenge_method=plain", "invalid_request"},
        {"&code_challenge=" CHALLENGE, "", "invalid_request"},
        {"&code_challenge_method=S256", "", "invalid_request"},
        {"scope=library+profile", "scope=library+everything", "invalid_scope"},
    };
    struct simprovider *sim = spawn(&(struct simprovider_opts){0});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct simprovider_return back;
        char url[TEXT_BYTES];
        const char *at = strstr(WISH, cases[i].part);
        snprintf(url, sizeof url, "%.*s%s%s", (int)(at - WISH), WISH, cases[i].wrong,
                 at + strlen(cases[i].part));
        cr_assert_not(simprovider_consent(sim, slice_str(url), true, &back), "%s", cases[i].wrong);
        cr_assert_str_empty(back.code, "%s", cases[i].wrong);
        if (cases[i].error != NULL) {
            cr_assert_str_eq(back.error, cases[i].error, "%s", cases[i].wrong);
        }
        cr_assert_eq(back.location[0] == '\0', cases[i].error == NULL, "%s: %s", cases[i].wrong,
                     back.location);
    }
    join(sim);
}

Test(simprovider, gives_tokens_for_a_code_once) {
    struct clock clock = {0};
    struct simprovider *sim = spawn(&(struct simprovider_opts){.clock = &clock});
    struct simprovider_return back;
    consent(sim, &back);
    refused(exchange(sim, back.code, REDIRECT, VERIFIER "x"), 400, "invalid_grant", "verifier");
    refused(exchange(sim, back.code, REDIRECT "2", VERIFIER), 400, "invalid_grant", "redirect");
    refused(exchange(sim, "c.AQAAAAAAAAA", REDIRECT, VERIFIER), 400, "invalid_grant", "code");
    refused(post(sim, TOKEN, "client_id=sim-client&client_secret=x&grant_type=refresh_token"), 401,
            "invalid_client", "secret");
    refused(post(sim, TOKEN, CLIENT "grant_type=password"), 400, "unsupported_grant_type", "type");

    struct tokens tokens = exchange(sim, back.code, REDIRECT, VERIFIER);
    cr_assert_eq(tokens.status, 200, "%s", tokens.error);
    cr_assert_eq(get(sim, "/api/1.0/library", tokens.access), 200);
    refused(exchange(sim, back.code, REDIRECT, VERIFIER), 400, "invalid_grant", "second use");
    cr_assert_eq(get(sim, "/api/1.0/library", tokens.access), 401, "the first use's tokens live");
    cr_assert_eq(simprovider_count(sim, SIMPROVIDER_CODE_REUSES), 1);

    consent(sim, &back);
    atomic_store(&clock.offset_ms, MINUTE_MS + 1000);
    refused(exchange(sim, back.code, REDIRECT, VERIFIER), 400, "invalid_grant", "a minute later");
    join(sim);
}

Test(simprovider, rotates_refresh_tokens) {
    struct clock clock = {0};
    struct simprovider *sim = spawn(&(struct simprovider_opts){.clock = &clock});
    struct tokens first = linked(sim);
    atomic_store(&clock.offset_ms, 61 * MINUTE_MS);
    cr_assert_eq(get(sim, "/api/1.0/library", first.access), 401, "an access token lives an hour");
    struct tokens second = refresh(sim, first.refresh);
    cr_assert_eq(second.status, 200, "%s", second.error);
    cr_assert_eq(get(sim, "/api/1.0/library", second.access), 200);
    cr_assert_not(simprovider_is_live(sim, slice_str(first.refresh)));
    cr_assert(simprovider_is_live(sim, slice_str(second.refresh)));

    refused(refresh(sim, first.refresh), 400, "invalid_grant", "an old one");
    cr_assert_eq(simprovider_count(sim, SIMPROVIDER_REFRESH_REUSES), 1);
    refused(refresh(sim, second.refresh), 400, "invalid_grant", "and the new one with it");
    cr_assert_eq(get(sim, "/api/1.0/library", second.access), 401);
    join(sim);
}

Test(simprovider, may_grant_a_grace_period) {
    struct clock clock = {0};
    struct simprovider *sim =
        spawn(&(struct simprovider_opts){.clock = &clock, .reuse_grace_s = 10});
    struct tokens first = linked(sim);
    struct tokens second = refresh(sim, first.refresh);
    atomic_store(&clock.offset_ms, 9 * 1000);
    struct tokens again = refresh(sim, first.refresh);
    cr_assert_eq(again.status, 200, "%s", again.error);
    cr_assert_str_eq(again.refresh, second.refresh, "the same successor");
    atomic_store(&clock.offset_ms, 11 * 1000);
    refused(refresh(sim, first.refresh), 400, "invalid_grant", "after it");
    cr_assert_not(simprovider_is_live(sim, slice_str(second.refresh)));
    join(sim);
}

Test(simprovider, revokes) {
    struct simprovider *sim = spawn(&(struct simprovider_opts){0});
    struct tokens tokens = linked(sim);
    struct tokens other = linked(sim);
    char form[TEXT_BYTES];
    char revoked[LIMIT_TOKEN_BYTES + 1];
    cr_assert_not(simprovider_revoked(sim, revoked));
    struct buf out;
    buf_init_fixed(&out, form, sizeof form - 1);
    BUF_LIT(&out, CLIENT "token=");
    buf_append_form(&out, slice_str(tokens.refresh));
    form[out.len] = '\0';
    cr_assert_eq(post(sim, "/auth/oauth2/revoke", form).status, 200);
    cr_assert(simprovider_revoked(sim, revoked));
    cr_assert_str_eq(revoked, tokens.refresh);
    cr_assert_eq(get(sim, "/api/1.0/library", tokens.access), 401);
    cr_assert_eq(get(sim, "/api/1.0/library", other.access), 200, "only that one");
    cr_assert_eq(post(sim, "/auth/oauth2/revoke", CLIENT "token=unknown").status, 200);
    cr_assert_eq(post(sim, "/auth/oauth2/revoke", "token=unknown").status, 401);
    simprovider_reset(sim);
    cr_assert_eq(get(sim, "/api/1.0/library", other.access), 401, "forgotten");
    cr_assert_eq(simprovider_count(sim, SIMPROVIDER_REVOKES), 0);
    join(sim);
}

/* -- faults -- */

static const char details[] = "GET /api/1.0/catalog/B0SIM00001 HTTP/1.1\r\nHost: x\r\n\r\n";

static void set_fault(struct simprovider *sim, enum simprovider_fault_kind kind, int64_t number,
                      const char *text) {
    const struct simprovider_fault fault = {
        .path = "/api/1.0/catalog/*", .kind = kind, .number = number, .text = text, .count = 1};
    cr_assert(simprovider_fault(sim, &fault));
}

Test(simprovider, spoils_answers_on_command) {
    static const struct {
        enum simprovider_fault_kind kind;
        int64_t number;
        const char *text;
        int status;       /* 0: no whole answer */
        const char *part; /* of head or body */
    } cases[] = {
        {SIMPROVIDER_DELAY, 20, NULL, 200, "\"title\""},
        {SIMPROVIDER_STATUS, 0, NULL, 500, "server_error"},
        {SIMPROVIDER_STATUS, 200, "{\"product\":{}}", 200, "{\"product\":{}}"},
        {SIMPROVIDER_GARBAGE, 0, NULL, 200, "<html>"},
        {SIMPROVIDER_NOISE, 0, NULL, 0, NULL},
        {SIMPROVIDER_TRUNCATE, 0, NULL, 0, NULL},
        {SIMPROVIDER_WRONG_TYPES, 0, NULL, 200, "\"product\":[]"},
        {SIMPROVIDER_DROP, 0, NULL, 0, NULL},
        {SIMPROVIDER_HUGE, 1000000, NULL, 200, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        {SIMPROVIDER_RATELIMIT, 7, NULL, 429, "Retry-After: 7\r\n"},
        {SIMPROVIDER_REDIRECT, 0, NULL, 302, "Location: /sim/redirected\r\n"},
        {SIMPROVIDER_TRICKLE, 1, NULL, 200, "\"title\""},
    };
    struct simprovider *sim = spawn(&(struct simprovider_opts){0});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_response response;
        set_fault(sim, cases[i].kind, cases[i].number, cases[i].text);
        int status = client_ask(simprovider_port(sim), "GET", slice_str(details), &response);
        cr_assert_eq(status, cases[i].status, "fault %zu: %d", i, status);
        if (cases[i].part != NULL) {
            cr_assert_not_null(
                memmem(response.bytes.at, response.bytes.len, cases[i].part, strlen(cases[i].part)),
                "fault %zu: %.*s", i, SLICE_ARGS(buf_slice(&response.bytes)));
        }
        client_response_fini(&response);
        cr_assert_eq(get(sim, "/api/1.0/catalog/B0SIM00001", "GUEST"), 200,
                     "after fault %zu all is well", i);
        cr_assert_eq(simprovider_count(sim, SIMPROVIDER_FAULTS), (int64_t)i + 1);
    }
    join(sim);
}

/* A lost answer leaves the deed done; a refusal doesn't. */
Test(simprovider, carries_out_what_it_does_not_refuse) {
    static const struct {
        enum simprovider_fault_kind kind;
        bool carries_out;
    } cases[] = {
        {SIMPROVIDER_DROP, true},      {SIMPROVIDER_TRUNCATE, true},
        {SIMPROVIDER_GARBAGE, true},   {SIMPROVIDER_WRONG_TYPES, true},
        {SIMPROVIDER_STATUS, false},   {SIMPROVIDER_RATELIMIT, false},
        {SIMPROVIDER_REDIRECT, false}, {SIMPROVIDER_NOISE, false},
    };
    struct simprovider *sim = spawn(&(struct simprovider_opts){0});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct simprovider_return back;
        const struct simprovider_fault fault = {.path = TOKEN, .kind = cases[i].kind, .count = 1};
        consent(sim, &back);
        cr_assert(simprovider_fault(sim, &fault));
        exchange(sim, back.code, REDIRECT, VERIFIER);
        bool is_unused = simprovider_is_live(sim, slice_str(back.code));
        cr_assert_eq(is_unused, !cases[i].carries_out, "fault %zu", i);
    }
    cr_assert_eq(simprovider_count(sim, SIMPROVIDER_EXCHANGES), 8, "counted in any case");
    join(sim);
}

Test(simprovider, holds_until_released) {
    struct simprovider *sim = spawn(&(struct simprovider_opts){0});
    struct client client;
    struct client_response response;
    set_fault(sim, SIMPROVIDER_HOLD, 0, NULL);
    cr_assert_not(simprovider_wait(sim, SIMPROVIDER_DETAILS, 1, 1), "nobody asked yet");
    cr_assert(client_connect(&client, simprovider_port(sim)));
    cr_assert(client_send(&client, slice_str(details)));
    cr_assert(simprovider_wait(sim, SIMPROVIDER_DETAILS, 1, CLIENT_TIMEOUT_MS));
    cr_assert(client_is_silent(&client, 50));
    cr_assert_eq(get(sim, "/api/1.0/catalog/B0SIM00002", "GUEST"), 200, "others aren't held");
    simprovider_release(sim);
    cr_assert(client_read(&client, "GET", &response));
    cr_assert_eq(response.status, 200);
    client_response_fini(&response);
    client_fini(&client);

    /* a client that leaves, and one that is there when the provider ends */
    for (int i = 0; i < 2; i++) {
        set_fault(sim, SIMPROVIDER_HOLD, 0, NULL);
        cr_assert(client_connect(&client, simprovider_port(sim)));
        cr_assert(client_send(&client, slice_str(details)));
        cr_assert(simprovider_wait(sim, SIMPROVIDER_DETAILS, 3 + i, CLIENT_TIMEOUT_MS));
        if (i == 0) {
            client_fini(&client);
            cr_assert(simprovider_wait(sim, SIMPROVIDER_ABANDONED, 1, CLIENT_TIMEOUT_MS));
        }
    }
    cr_assert(simprovider_join(sim), "a handle was left open");
    cr_assert(client_is_closed(&client));
    client_fini(&client);
    CHECK_LEAKS();
}

Test(simprovider, has_room_for_32_faults) {
    struct simprovider *sim = spawn(&(struct simprovider_opts){0});
    const struct simprovider_fault fault = {.path = TOKEN, .kind = SIMPROVIDER_STATUS};
    for (int i = 0; i < 32; i++) {
        cr_assert(simprovider_fault(sim, &fault), "fault %d", i);
    }
    cr_assert_not(simprovider_fault(sim, &fault));
    refused(post(sim, TOKEN, "a=b"), 500, "server_error", "lasting");
    refused(post(sim, TOKEN, "a=b"), 500, "server_error", "lasting, again");
    simprovider_faults_clear(sim);
    refused(post(sim, TOKEN, "a=b"), 401, "invalid_client", "cleared");
    join(sim);
}

/* -- on a test's own loop -- */

static void note(void *owner) {
    *(bool *)owner = true;
}

Test(simprovider, starts_and_closes_on_a_loop) {
    struct clock clock = {0};
    struct loop loop;
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    char listen[32];
    bool is_closed = false;
    cr_assert_eq(loop_init(&loop, &clock), RC_OK);
    struct simprovider *sim = simprovider_start(&loop, &(struct simprovider_opts){0}, problem);
    cr_assert_not_null(sim, "%s", problem);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", simprovider_port(sim));
    const struct simprovider_opts taken = {.listen = listen};
    cr_assert_null(simprovider_start(&loop, &taken, problem), "the port is taken");
    cr_assert_str_not_empty(problem);
    cr_assert_null(simprovider_spawn(&taken, problem), "the port is taken");
    const struct simprovider_opts bad = {.redirect_uris = "ftp://x"};
    cr_assert_null(simprovider_spawn(&bad, problem));
    simprovider_close(sim, note, &is_closed);
    loop_run(&loop);
    cr_assert(is_closed);
    cr_assert_eq(loop_fini(&loop), RC_OK);
    CHECK_LEAKS();
}
