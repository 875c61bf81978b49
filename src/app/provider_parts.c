// SPDX-License-Identifier: MIT
#include "app/provider_parts.h"

#include "base/limits.h"

struct upstream *provider_parts_upstream(struct loop *loop, const struct config *config,
                                         const char **problem) {
    const struct upstream_opts opts = {
        .connect_timeout_ms = config->upstream_connect_timeout_ms,
        .timeout_ms = config->upstream_timeout_ms,
        .connections_max = (size_t)config->upstream_connections_max,
        .keepalive_max = (size_t)config->upstream_keepalive_max,
        .queue_max = LIMIT_UPSTREAM_QUEUE,
        .proxy = config->upstream_proxy.at,
        .ca_file = config->upstream_ca_file.at,
        .user_agent = "latchkey/" LATCHKEY_VERSION,
    };
    *problem = NULL;
    return upstream_new(loop, &opts, problem);
}

void provider_parts_fill(struct provider *provider, const struct config *config) {
    *provider = (struct provider){
        .auth_url = config->auth_url,
        .api_base_url = config->api_base_url,
        .revoke_url = config->revoke_url,
        .issuer = config->issuer,
        .client_id = config->client_id,
        .client_secret = secret_slice(&config->client_secret),
        .redirect_uri = config->redirect_uri,
        .allowed_redirect_uris = config->allowed_redirect_uris.at,
        .allowed_redirect_uri_count = config->allowed_redirect_uris.count,
        .names = &provider_audible,
        .retry = retry_usual,
    };
    provider->retry.retries_max = (unsigned)config->provider_retries;
    provider_set_breakers(provider, &(const struct breaker_opts){
                                        .failures_max = (unsigned)config->breaker_failures,
                                        .pause_first_ms = config->breaker_pause_ms,
                                        .pause_max_ms = config->breaker_pause_max_ms,
                                    });
}
