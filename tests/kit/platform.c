// SPDX-License-Identifier: MIT
#include "kit/platform.h"

#include <criterion/criterion.h>

void platform_start(struct platform *platform, const char *const *settings) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    platform->sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(platform->sim, "%s", problem);
    platform->server = kit_server_start((struct kit_server_opts){
        .settings = settings, .provider_url = simprovider_url(platform->sim)});
    platform->port = kit_server_port(platform->server);
}

void platform_stop(struct platform *platform) {
    kit_server_stop(platform->server);
    cr_assert(simprovider_join(platform->sim));
}

void platform_link(struct platform *platform, const char *sub) {
    char token[KIT_JWT_BYTES];
    struct ask_grant grant;
    struct client_response response;
    ask_premium(token, sub);
    ask_grant(platform->port, platform->sim, token, &grant);
    int status = ask_callback(platform->port, token, &grant, &response);
    cr_assert_eq(status, 200, "callback: %d %.*s", status, SLICE_ARGS(response.body));
    client_response_fini(&response);
}

bool platform_is_connected(struct platform *platform, const char *sub) {
    char token[KIT_JWT_BYTES];
    struct client_response response;
    ask_premium(token, sub);
    cr_assert_eq(ask(platform->port, (struct ask){.path = "connected", .token = token}, &response),
                 200);
    bool connected = slice_starts(response.body, SLICE("{\"connected\":true"));
    client_response_fini(&response);
    return connected;
}
