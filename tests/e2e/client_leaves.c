// SPDX-License-Identifier: MIT
/* The client leaves at each wait of each flow: what was begun ends as the contract says, and
 * nothing stays behind. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"
#include "kit/secrets.h"
#include "kit/soak.h"

#define TOKEN_PATH "/auth/oauth2/token"
enum { LEAVES = 150, MOMENT_MAX_US = 1000 };

/* Sends a request and leaves without reading. */
static void send_and_leave(int port, const char *request, bool reset, struct client *client) {
    cr_assert(client_connect(client, port));
    cr_assert(client_send(client, slice_str(request)));
    if (reset) {
        client_reset(client);
    } else {
        client_shutdown(client);
    }
}

/* Once the code is sent it is spent: the account is stored although nobody waits for the answer. */
Test(client_leaves, while_the_code_is_being_exchanged) {
    for (int reset = 0; reset < 2; reset++) {
        struct platform p;
        struct ask_grant grant;
        struct client client;
        char token[KIT_JWT_BYTES];
        char request[ASK_CALLBACK_BYTES];
        platform_start(&p, NULL);
        ask_premium(token, "user-1");
        ask_grant(p.port, p.sim, token, &grant);
        simprovider_fault(p.sim, &(struct simprovider_fault){
                                     .path = TOKEN_PATH, .kind = SIMPROVIDER_HOLD, .count = 1});
        ask_callback_text(request, token, &grant);
        cr_assert(client_connect(&client, p.port));
        cr_assert(client_send(&client, slice_str(request)));
        cr_assert(simprovider_wait(p.sim, SIMPROVIDER_EXCHANGES, 1, 5000));
        if (reset) {
            client_reset(&client);
        } else {
            client_shutdown(&client);
        }
        simprovider_release(p.sim);
        cr_assert(kit_server_wait_metric(p.server, METRIC_LINKS, 1));
        cr_assert(platform_is_connected(&p, "user-1"));
        client_fini(&client);
        platform_stop(&p);
    }
    CHECK_LEAKS();
}

/* Whatever the moment was: the flow ends, the server serves, nothing is left. */
Test(client_leaves, at_once) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    char request[ASK_CALLBACK_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    for (int i = 0; i < 40; i++) {
        struct client client;
        struct ask_grant grant;
        ask_grant(p.port, p.sim, token, &grant);
        ask_callback_text(request, token, &grant);
        send_and_leave(p.port, request, i % 2 == 0, &client);
        client_fini(&client);
    }
    snprintf(request, sizeof request,
             "POST " ASK_API "/oauth/authorize HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"redirect_uri\":\"\"}",
             token);
    for (int i = 0; i < 40; i++) {
        struct client client;
        send_and_leave(p.port, request, i % 2 == 0, &client);
        client_fini(&client);
    }
    static const char *const others[] = {"GET " ASK_API "/connected", "POST " ASK_API "/disconnect",
                                         "GET /readyz",
                                         "GET " ASK_API "/oauth/callback?code=c&state=s"};
    for (int i = 0; i < 40; i++) {
        struct client client;
        snprintf(request, sizeof request,
                 "%s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n", others[i % 4],
                 token);
        send_and_leave(p.port, request, i % 8 < 4, &client);
        client_fini(&client);
    }
    cr_assert(kit_server_wait_metric(p.server, METRIC_CONNECTIONS, 0));
    platform_link(&p, "user-2");
    cr_assert(platform_is_connected(&p, "user-2"));
    platform_stop(&p);
    CHECK_LEAKS();
}

/* None at all, or some. */
static void wait_some_time(unsigned *seed) {
    if (rand_r(seed) % 2 == 0) {
        return;
    }
    long us = rand_r(seed) % MOMENT_MAX_US;
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void start_in(struct platform *p, const char *folder) {
    p->server = kit_server_start(
        (struct kit_server_opts){.provider_url = simprovider_url(p->sim), .folder = folder});
    p->port = kit_server_port(p->server);
}

static void leave_some_time(struct platform *p, int number, unsigned *seed) {
    struct ask_grant grant;
    struct client client;
    char sub[32];
    char token[KIT_JWT_BYTES];
    char request[ASK_CALLBACK_BYTES];
    snprintf(sub, sizeof sub, "user-%d", number);
    ask_premium(token, sub);
    ask_grant(p->port, p->sim, token, &grant);
    ask_callback_text(request, token, &grant);
    cr_assert(client_connect(&client, p->port));
    cr_assert(client_send(&client, slice_str(request)));
    wait_some_time(seed);
    if (number % 2 == 0) {
        client_reset(&client);
    }
    client_fini(&client);
}

/* Before the exchange, during it, while the account is sealed or stored: each code that the
 * provider took is an account once the server has drained, each that it did not take is none. */
Test(client_leaves, at_random_moments, .timeout = 3600) {
    struct platform p;
    struct scratch folder = scratch_new();
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    char sub[32];
    unsigned seed = 1;
    int connected = 0;
    int leaves = soak_times("TEST_SOAK_LEAVES", LEAVES);
    p.sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(p.sim, "%s", problem);
    start_in(&p, folder.path);
    for (int i = 0; i < leaves; i++) {
        secrets_forget();
        leave_some_time(&p, i, &seed);
    }
    kit_server_stop(p.server);
    int taken = (int)simprovider_count(p.sim, SIMPROVIDER_EXCHANGES_OK);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_CODE_REUSES), 0);
    start_in(&p, folder.path);
    for (int i = 0; i < leaves; i++) {
        secrets_forget();
        snprintf(sub, sizeof sub, "user-%d", i);
        connected += platform_is_connected(&p, sub);
    }
    cr_assert_eq(connected, taken, "%d codes taken, %d accounts", taken, connected);
    printf("%d clients left, %d of them were linked\n", leaves, connected);
    platform_stop(&p);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* In the middle of the head, of the body, and after it. */
Test(client_leaves, at_every_byte_of_a_callback) {
    struct platform p;
    struct ask_grant grant;
    char token[KIT_JWT_BYTES];
    char request[ASK_CALLBACK_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &grant);
    ask_callback_text(request, token, &grant);
    size_t n = strlen(request);
    for (size_t cut = 1; cut < n; cut += cut + 7 < n ? 7 : 1) {
        struct client client;
        cr_assert(client_connect(&client, p.port));
        cr_assert(client_send(&client, slice_make(request, cut)));
        client_shutdown(&client);
        cr_assert(client_is_closed(&client), "after %zu bytes", cut);
        client_fini(&client);
    }
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 0);
    struct client_response response;
    cr_assert_eq(ask_callback(p.port, token, &grant, &response), 200, "the state was not spent");
    client_response_fini(&response);
    platform_stop(&p);
    CHECK_LEAKS();
}

/* A drain waits for what is in flight, and the provider's answer still links the account. */
Test(client_leaves, the_server_drains_while_a_code_is_exchanged) {
    struct platform p;
    struct ask_grant grant;
    struct client client;
    struct client_response response;
    char token[KIT_JWT_BYTES];
    char request[ASK_CALLBACK_BYTES];
    platform_start(&p, NULL);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &grant);
    simprovider_fault(p.sim, &(struct simprovider_fault){
                                 .path = TOKEN_PATH, .kind = SIMPROVIDER_HOLD, .count = 1});
    ask_callback_text(request, token, &grant);
    cr_assert(client_connect(&client, p.port));
    cr_assert(client_send(&client, slice_str(request)));
    cr_assert(simprovider_wait(p.sim, SIMPROVIDER_EXCHANGES, 1, 5000));
    kit_server_ask_stop(p.server);
    simprovider_release(p.sim);
    cr_assert(client_read(&client, "POST", &response));
    cr_assert_eq(response.status, 200);
    cr_assert(slice_ieq(client_header(&response, "connection"), SLICE("close")));
    client_response_fini(&response);
    client_fini(&client);
    kit_server_join(p.server);
    cr_assert_eq(kit_server_logged(p.server, "\"event\":\"account_connected\""), 1);
    platform_stop(&p);
    CHECK_LEAKS();
}
