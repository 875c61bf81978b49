// SPDX-License-Identifier: MIT
/* A provider that fails is left alone, and asked again by one probe; a GET is tried again within
 * its deadline. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/leaks.h"
#include "kit/platform.h"

#define SEARCH_PATH "/api/1.0/catalog/search"

static int search(struct platform *p) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, "user-1");
    return ask_status(p->port, (struct ask){.path = "search?q=the", .token = token});
}

static int64_t searches(struct platform *p) {
    return simprovider_count(p->sim, SIMPROVIDER_SEARCHES);
}

static void fail_searches(struct platform *p, unsigned count) {
    simprovider_fault(p->sim, &(struct simprovider_fault){.path = SEARCH_PATH,
                                                          .kind = SIMPROVIDER_STATUS,
                                                          .number = 500,
                                                          .text = "{}",
                                                          .count = count});
}

Test(breaker, opens_probes_and_closes) {
    struct platform p;
    platform_start(&p, (const char *const[]){"LATCHKEY_BREAKER_FAILURES=3", NULL});
    fail_searches(&p, 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(search(&p), 503);
    }
    cr_assert_eq(searches(&p), 3, "left alone after three failures: %d", (int)searches(&p));
    platform_link(&p, "user-1");
    kit_server_advance_ms(p.server, 1000);
    cr_assert_eq(search(&p), 503);
    cr_assert_eq(search(&p), 503);
    cr_assert_eq(searches(&p), 4, "one probe");
    simprovider_faults_clear(p.sim);
    kit_server_advance_ms(p.server, 2000);
    cr_assert_eq(search(&p), 200);
    cr_assert_eq(search(&p), 200);
    platform_stop(&p);
    CHECK_LEAKS();
}

/* What the provider says of a request is no failure of the provider's. */
Test(breaker, is_not_opened_by_refusals) {
    struct platform p;
    platform_start(&p, (const char *const[]){"LATCHKEY_BREAKER_FAILURES=3", NULL});
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = SEARCH_PATH,
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 403,
                                                         .text = "{}",
                                                         .count = 10});
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(search(&p), 503);
    }
    cr_assert_eq(searches(&p), 10);
    cr_assert_eq(search(&p), 200);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(retries, a_get_is_tried_again_and_an_exchange_never) {
    struct platform p;
    char token[KIT_JWT_BYTES];
    struct ask_grant grant;
    struct client_response response;
    platform_start(&p, (const char *const[]){"LATCHKEY_PROVIDER_RETRIES=2", NULL});
    fail_searches(&p, 2);
    cr_assert_eq(search(&p), 200);
    cr_assert_eq(searches(&p), 3);
    fail_searches(&p, 0);
    cr_assert_eq(search(&p), 503);
    cr_assert_eq(searches(&p), 6);
    ask_premium(token, "user-1");
    ask_grant(p.port, p.sim, token, &grant);
    simprovider_fault(p.sim, &(struct simprovider_fault){.path = "/auth/oauth2/token",
                                                         .kind = SIMPROVIDER_STATUS,
                                                         .number = 500,
                                                         .text = "{}"});
    cr_assert_eq(ask_callback(p.port, token, &grant, &response), 503);
    cr_assert_eq(simprovider_count(p.sim, SIMPROVIDER_EXCHANGES), 1);
    client_response_fini(&response);
    platform_stop(&p);
    CHECK_LEAKS();
}
