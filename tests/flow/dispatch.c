// SPDX-License-Identifier: MIT
/* The checks of a request and what they may wait for: a published key, the caller's record, the
 * limits that processes share. At each wait its client leaves, its time passes, what it waits for
 * fails. */
#include "api/api.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kit/api_rig.h"
#include "kit/ask.h"

static const struct api_rig_opts with_users = {.has_users = true};

static const char json_body[] = "Content-Type: application/json\r\nContent-Length: 20\r\n"
                                "Expect: 100-continue\r\n\r\n";

/* A token under a published key: of one that is there, or of one that must be fetched. */
static void sign(char out[PUBLISHED_TOKEN_BYTES], const char *sub, const char *kid) {
    char payload[256];
    snprintf(payload, sizeof payload,
             "{\"sub\":\"%s\",\"exp\":%" PRId64 ",\"subscription_tier\":\"premium\"}", sub,
             (int64_t)time(NULL) + 3600);
    published_jwt(out, PUBLISHED_RSA_1, JWKS_RS256, kid, payload);
}

static bool has_question(struct api_rig *rig) {
    return rig->stub.open_count > 0;
}

static bool is_fetching(struct api_rig *rig) {
    return key_host_requests(rig->keys->host) > 1;
}

static bool has_no_connection(struct api_rig *rig) {
    return http_server_connections(rig->server) == 0;
}

static void expect_detail(struct client_response *response, const char *detail) {
    char got[128];
    ask_member(response, "detail", got, sizeof got);
    cr_assert_str_eq(got, detail);
}

/* Answers to the last one; ends the client. */
static void expect(struct api_rig *rig, struct client *client, int status, const char *detail) {
    struct client_response response;
    cr_assert_eq(api_rig_answer(rig, client, "GET", &response), status, "%d, not %d: %.*s",
                 response.status, status, SLICE_ARGS(response.body));
    if (detail != NULL) {
        expect_detail(&response, detail);
    }
    client_response_fini(&response);
    client_fini(client);
}

static void ask_play_url(struct api_rig *rig, struct client *client, const char *token) {
    api_rig_send(rig, client, "GET", "B0/play-url", token, NULL);
}

/* --- the platform's records ------------------------------------------------------------------- */

Test(dispatch, the_platforms_record_stands_in_for_the_claims) {
    static const struct {
        const char *claimed_tier;
        const char *more;
        const char *role;
        const char *tier;
        int status;
        const char *detail;
    } cases[] = {
        {"free", NULL, "user", "premium", 200, NULL},
        {"premium", NULL, "user", "free", 403, "audible_requires_premium"},
        {"free", NULL, "support", "free", 200, NULL},
        {"free", "\"roles\":[\"admin\"]", "user", "free", 403, "audible_requires_premium"},
        {"premium", "\"is_active\":false", "user", "premium", 200, NULL},
    };
    struct api_rig *rig = api_rig_open(&with_users);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char token[KIT_JWT_BYTES];
        char sub[16];
        struct client client;
        snprintf(sub, sizeof sub, "u%d", (int)i);
        kit_jwt(token,
                (struct kit_jwt){.sub = sub, .tier = cases[i].claimed_tier, .more = cases[i].more});
        ask_play_url(rig, &client, token);
        api_rig_run(rig, has_question);
        users_stub_answer(&rig->stub, RC_OK, cases[i].role, cases[i].tier);
        expect(rig, &client, cases[i].status, cases[i].detail);
        api_rig_expect(rig, "B0/play-url", token, cases[i].status, cases[i].detail);
        cr_assert_eq(rig->stub.total, i + 1, "the second one knew the answer");
    }
    api_rig_close(rig);
}

Test(dispatch, a_user_who_is_not_there_or_not_active_is_told_so) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[KIT_JWT_BYTES];
    struct client client;
    struct client_response response;
    ask_premium(token, "gone");
    ask_play_url(rig, &client, token);
    api_rig_run(rig, has_question);
    users_stub_answer(&rig->stub, RC_ABSENT, NULL, NULL);
    cr_assert_eq(api_rig_answer(rig, &client, "GET", &response), 401);
    expect_detail(&response, "Could not validate credentials");
    cr_assert(slice_eq(client_header(&response, "WWW-Authenticate"),
                       SLICE("Bearer error=\"invalid_token\"")));
    client_response_fini(&response);
    client_fini(&client);
    api_rig_expect(rig, "B0/play-url", token, 401, "Could not validate credentials");
    ask_premium(token, "asleep");
    ask_play_url(rig, &client, token);
    api_rig_run(rig, has_question);
    users_stub_answer_inactive(&rig->stub);
    expect(rig, &client, 400, "Inactive user");
    api_rig_expect(rig, "B0/play-url", token, 400, "Inactive user");
    api_rig_close(rig);
}

Test(dispatch, records_that_do_not_come_are_a_fault_of_the_store) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[KIT_JWT_BYTES];
    struct client client;
    ask_premium(token, "u");
    ask_play_url(rig, &client, token);
    api_rig_run(rig, has_question);
    users_stub_answer(&rig->stub, RC_STORAGE_UNAVAILABLE, NULL, NULL);
    expect(rig, &client, 503, "storage_unavailable");
    ask_play_url(rig, &client, token);
    api_rig_run(rig, has_question);
    atomic_fetch_add(&rig->keys->clock.offset_ms, USERS_WAIT_MS);
    expect(rig, &client, 503, "storage_unavailable");
    cr_assert_eq(rig->stub.open_count, 1);
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    api_rig_expect(rig, "B0/play-url", token, 200, NULL);
    api_rig_close(rig);
}

Test(dispatch, a_client_that_leaves_is_waited_for_no_longer) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[KIT_JWT_BYTES];
    struct client client;
    struct client other;
    ask_premium(token, "u");
    ask_play_url(rig, &client, token);
    api_rig_run(rig, has_question);
    ask_play_url(rig, &other, token);
    client_fini(&client);
    api_rig_run_ms(rig, 20);
    cr_assert_eq(rig->stub.open_count, 1, "the question is the other one's too");
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    expect(rig, &other, 200, NULL);
    ask_premium(token, "v");
    ask_play_url(rig, &client, token);
    api_rig_run(rig, has_question);
    client_reset(&client);
    client_fini(&client);
    api_rig_run(rig, has_no_connection);
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    api_rig_close(rig);
}

Test(dispatch, the_server_may_end_while_a_question_is_open) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[KIT_JWT_BYTES];
    struct client client;
    ask_premium(token, "u");
    ask_play_url(rig, &client, token);
    api_rig_run(rig, has_question);
    api_rig_close_begin(rig);
    api_rig_run_ms(rig, 20);
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    api_rig_close_end(rig);
    client_fini(&client);
}

/* Whatever is wrong with a caller is in the log, once. */
Test(dispatch, every_refusal_of_a_caller_is_logged) {
    static const struct {
        const char *headers;
        const char *reason;
        int status;
    } cases[] = {
        {"\r\n", "no_token", 401},
        {"Authorization: Basic YTpi\r\n\r\n", "no_token", 401},
        {"Authorization: Bearer a.b.c\r\n\r\n", "malformed", 401},
        {"Authorization: Bearer a.b.c\r\nAuthorization: Bearer a.b.c\r\n\r\n", "doubled_header",
         401},
    };
    struct api_rig *rig = api_rig_open(&with_users);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        struct client client;
        size_t before = keys_rig_logged(rig->keys, "\"event\":\"auth_rejected\"");
        snprintf(text, sizeof text, "\"reason\":\"%s\"", cases[i].reason);
        size_t reasons = keys_rig_logged(rig->keys, text);
        api_rig_send(rig, &client, "GET", "B0/play-url", NULL, cases[i].headers);
        expect(rig, &client, cases[i].status, NULL);
        cr_assert_eq(keys_rig_logged(rig->keys, "\"event\":\"auth_rejected\""), before + 1);
        cr_assert_eq(keys_rig_logged(rig->keys, text), reasons + 1, "%s", cases[i].reason);
    }
    api_rig_close(rig);
}

/* --- the order -------------------------------------------------------------------------------- */

Test(dispatch, no_check_begins_before_the_one_before_it_has_ended) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[PUBLISHED_TOKEN_BYTES];
    static const struct key_host_key both[] = {
        {PUBLISHED_RSA_1, "r1"}, {PUBLISHED_RSA_1, "r9"}, {PUBLISHED_RSA_1, NULL}};
    struct client client;
    sign(token, "u", "r9");
    key_host_hold(rig->keys->host);
    ask_play_url(rig, &client, token);
    api_rig_run(rig, is_fetching);
    api_rig_run_ms(rig, 20);
    cr_assert_eq(rig->stub.total, 0, "nobody's record is asked for before his token is verified");
    key_host_publish(rig->keys->host, both);
    api_rig_run(rig, has_question);
    cr_assert(api_rig_is_silent(&client));
    users_stub_answer(&rig->stub, RC_OK, "user", "free");
    expect(rig, &client, 403, "audible_requires_premium");
    /* a token that doesn't verify asks for nobody's record */
    api_rig_expect(rig, "B0/play-url", "a.b.c", 401, "Could not validate credentials");
    api_rig_expect(rig, "B0/play-url", NULL, 401, "Not authenticated");
    cr_assert_eq(rig->stub.total, 1);
    api_rig_close(rig);
}

Test(dispatch, the_client_leaves_while_its_key_is_fetched) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[PUBLISHED_TOKEN_BYTES];
    struct client client;
    sign(token, "u", "r9");
    key_host_hold(rig->keys->host);
    ask_play_url(rig, &client, token);
    api_rig_run(rig, is_fetching);
    client_reset(&client);
    client_fini(&client);
    api_rig_run(rig, has_no_connection);
    key_host_drop(rig->keys->host);
    api_rig_run_ms(rig, 20);
    cr_assert_eq(rig->stub.total, 0);
    api_rig_close(rig);
}

Test(dispatch, a_body_is_asked_for_when_every_check_has_passed) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[KIT_JWT_BYTES];
    struct client client;
    struct client_response response;
    ask_premium(token, "u");
    api_rig_send(rig, &client, "POST", "oauth/authorize", token, json_body);
    api_rig_run(rig, has_question);
    api_rig_run_ms(rig, 20);
    cr_assert(api_rig_is_silent(&client), "a 100 before the caller is known");
    users_stub_answer(&rig->stub, RC_OK, "user", "premium");
    cr_assert_eq(api_rig_answer(rig, &client, "POST", &response), 100);
    client_response_fini(&response);
    cr_assert(CLIENT_SEND(&client, "{\"redirect_uri\":\"x\"}"));
    cr_assert_eq(api_rig_answer(rig, &client, "POST", &response), 200);
    client_response_fini(&response);
    client_fini(&client);
    ask_premium(token, "v");
    api_rig_send(rig, &client, "POST", "oauth/authorize", token, json_body);
    api_rig_run(rig, has_question);
    users_stub_answer(&rig->stub, RC_ABSENT, NULL, NULL);
    expect(rig, &client, 401, NULL);
    api_rig_close(rig);
}

Test(dispatch, what_follows_on_the_connection_waits_its_turn) {
    struct api_rig *rig = api_rig_open(&with_users);
    char token[KIT_JWT_BYTES];
    struct client client;
    struct client_response response;
    ask_premium(token, "u");
    api_rig_send(rig, &client, "GET", "B0/play-url", token,
                 "\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    api_rig_run(rig, has_question);
    api_rig_run_ms(rig, 20);
    cr_assert(api_rig_is_silent(&client));
    users_stub_answer(&rig->stub, RC_OK, "user", "free");
    cr_assert_eq(api_rig_answer(rig, &client, "GET", &response), 403);
    client_response_fini(&response);
    cr_assert_eq(api_rig_answer(rig, &client, "GET", &response), 200);
    client_response_fini(&response);
    client_fini(&client);
    api_rig_close(rig);
}

Test(dispatch, what_needs_no_caller_asks_nobody) {
    struct api_rig *rig = api_rig_open(&with_users);
    api_rig_expect(rig, "/healthz", NULL, 200, NULL);
    api_rig_expect(rig, "/openapi.json", NULL, 200, NULL);
    api_rig_expect(rig, "oauth/callback?code=a&state=b", NULL, 400, NULL);
    api_rig_expect(rig, "/nowhere", NULL, 404, "Not Found");
    cr_assert_eq(rig->stub.total, 0);
    api_rig_close(rig);
}
