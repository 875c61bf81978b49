// SPDX-License-Identifier: MIT
/* /readyz: what it asks of the stores, how often, and what it says of one that doesn't answer. */
#include "api/api.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kit/api_rig.h"

enum { MANY = 50, FRESH_MS = 1000, TIMEOUT_MS = 5000, GRACE_MS = 1000 };

static const struct api_rig_opts with_stubs = {.has_stubs = true};

static bool is_asked(struct api_rig *rig) {
    return rig->stores.state != NULL && rig->stores.account != NULL;
}

static bool has_no_connection(struct api_rig *rig) {
    return http_server_connections(rig->server) == 0;
}

static void start(struct api_rig *rig, struct client *client) {
    api_rig_send(rig, client, "GET", "/readyz", NULL, NULL);
}

static void expect(struct api_rig *rig, struct client *client, int status, const char *state,
                   const char *accounts) {
    struct client_response response;
    char body[256];
    cr_assert_eq(api_rig_answer(rig, client, "GET", &response), status);
    snprintf(
        body, sizeof body,
        "{\"status\":\"%s\",\"checks\":{\"state\":\"%s\",\"accounts\":\"%s\",\"keys\":\"ok\"}}",
        status == 200 ? "ok" : "unavailable", state, accounts);
    cr_assert(slice_eq(response.body, slice_str(body)), "%.*s", SLICE_ARGS(response.body));
    client_response_fini(&response);
    client_fini(client);
}

static void answer(struct api_rig *rig, enum rc state, enum rc accounts) {
    stores_stub_answer_state(&rig->stores, state);
    stores_stub_answer_account(&rig->stores, accounts);
}

static void advance(struct api_rig *rig, int64_t ms) {
    atomic_fetch_add(&rig->keys->clock.offset_ms, ms);
}

Test(readyz, names_the_store_that_fails) {
    static const struct {
        enum rc state;
        enum rc accounts;
        int status;
        const char *texts[2];
    } cases[] = {
        {RC_OK, RC_OK, 200, {"ok", "ok"}},
        {RC_STORAGE_UNAVAILABLE, RC_OK, 503, {"failed", "ok"}},
        {RC_OK, RC_STORAGE_UNAVAILABLE, 503, {"ok", "failed"}},
        {RC_STORAGE_UNAVAILABLE, RC_STORAGE_UNAVAILABLE, 503, {"failed", "failed"}},
        {RC_OK, RC_OK, 200, {"ok", "ok"}},
    };
    struct api_rig *rig = api_rig_open(&with_stubs);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int again = 0; again < 2; again++) {
            struct client client;
            start(rig, &client);
            if (again == 0) {
                api_rig_run(rig, is_asked);
                answer(rig, cases[i].state, cases[i].accounts);
            }
            expect(rig, &client, cases[i].status, cases[i].texts[0], cases[i].texts[1]);
        }
        cr_assert_eq(rig->stores.state_total, i + 1, "asked again within a second");
        advance(rig, FRESH_MS);
    }
    api_rig_close(rig);
}

Test(readyz, all_who_ask_meanwhile_share_one_question) {
    struct api_rig *rig = api_rig_open(&with_stubs);
    struct client clients[MANY];
    for (size_t i = 0; i < MANY; i++) {
        start(rig, &clients[i]);
    }
    api_rig_run(rig, is_asked);
    api_rig_run_ms(rig, 20);
    client_reset(&clients[0]);
    client_fini(&clients[0]);
    api_rig_run_ms(rig, 20);
    cr_assert_eq(rig->stores.state_total, 1);
    cr_assert_eq(rig->stores.account_total, 1);
    answer(rig, RC_OK, RC_OK);
    for (size_t i = 1; i < MANY; i++) {
        expect(rig, &clients[i], 200, "ok", "ok");
    }
    api_rig_close(rig);
}

Test(readyz, a_store_that_does_not_answer_is_named_and_the_other_is_not) {
    struct api_rig *rig = api_rig_open(&with_stubs);
    for (int hangs = 0; hangs < 2; hangs++) {
        struct client client;
        struct client next;
        size_t before = rig->stores.state_total + rig->stores.account_total;
        start(rig, &client);
        api_rig_run(rig, is_asked);
        if (hangs == 0) {
            stores_stub_answer_account(&rig->stores, RC_OK);
        } else {
            stores_stub_answer_state(&rig->stores, RC_OK);
        }
        api_rig_run_ms(rig, 20);
        cr_assert(api_rig_is_silent(&client));
        advance(rig, TIMEOUT_MS + GRACE_MS);
        expect(rig, &client, 503, hangs == 0 ? "failed" : "ok", hangs == 0 ? "ok" : "failed");
        /* it is not asked once more before it has answered */
        advance(rig, FRESH_MS);
        start(rig, &next);
        api_rig_run_ms(rig, 20);
        cr_assert_eq(rig->stores.state_total + rig->stores.account_total, before + 2);
        cr_assert(api_rig_is_silent(&next));
        if (hangs == 0) {
            stores_stub_answer_state(&rig->stores, RC_OK);
        } else {
            stores_stub_answer_account(&rig->stores, RC_OK);
        }
        expect(rig, &next, 200, "ok", "ok");
        advance(rig, FRESH_MS);
    }
    api_rig_close(rig);
}

Test(readyz, the_server_may_end_while_it_asks) {
    struct api_rig *rig = api_rig_open(&with_stubs);
    struct client client;
    struct client gone;
    start(rig, &gone);
    start(rig, &client);
    api_rig_run(rig, is_asked);
    client_reset(&gone);
    client_fini(&gone);
    api_rig_close_begin(rig);
    api_rig_run_ms(rig, 20);
    cr_assert(has_no_connection(rig));
    stores_stub_answer_account(&rig->stores, RC_OK);
    api_rig_run_ms(rig, 20);
    stores_stub_answer_state(&rig->stores, RC_OK);
    api_rig_close_end(rig);
    client_fini(&client);
}

Test(readyz, the_drain_is_told_without_a_question) {
    struct api_rig *rig = api_rig_open(&with_stubs);
    struct client client;
    struct client_response response;
    api_drain(rig->api);
    start(rig, &client);
    cr_assert_eq(api_rig_answer(rig, &client, "GET", &response), 503);
    cr_assert(slice_eq(response.body, SLICE("{\"status\":\"unavailable\","
                                            "\"checks\":{\"server\":\"draining\"}}")));
    cr_assert_eq(rig->stores.state_total, 0);
    client_response_fini(&response);
    client_fini(&client);
    api_rig_close(rig);
}
