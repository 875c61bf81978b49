// SPDX-License-Identifier: MIT
#include "provider/provider.h"

const struct provider_names provider_audible = {
    .authorize_path = "/authorize",
    .token_path = "/token",
    .scope = {"library profile", 15},
    .access_token = "access_token",
    .refresh_token = "refresh_token",
    .expires_in = "expires_in",
    .token_type = "token_type",
    .user_id = "user_id",
    .error = "error",

    .library_path = "/1.0/library",
    .search_path = "/1.0/catalog/search",
    .details_path = "/1.0/catalog/",
    .authorization = "Authorization",
    .authorization_scheme = "Bearer ",
    .guest_token = "GUEST",
    .library_sort = {"sort", "date_added"},
    .response_groups = {"response_groups", "product_attrs,product_desc,reviews,series"},
    .library_limit = "limit",
    .library_offset = "offset",
    .search_query = "query",
    .search_limit = "num_results",
    .product_page = "https://www.audible.com/pd/",
    .library_page_max = 100,
    .search_page_max = 50,
    .library_items = "items",
    .library_item_book = "product",
    .search_books = "products",
    .details_book = "product",
    .asin = "asin",
    .title = "title",
    .author = "author_name",
    .narrators = "narrators",
    .narrator_name = "name",
    .images = "product_images",
    .image_size = "500",
    .description = "product_desc",
    .duration_ms = "runtime_length_ms",
    .rating = "rating",
};

struct slice provider_redirect_uri(const struct provider *provider, struct slice wanted) {
    for (size_t i = 0; i < provider->allowed_redirect_uri_count; i++) {
        if (slice_eq(provider->allowed_redirect_uris[i], wanted)) {
            return provider->allowed_redirect_uris[i];
        }
    }
    return provider->redirect_uri;
}

void provider_set_breakers(struct provider *provider, const struct breaker_opts *opts) {
    for (size_t i = 0; i < PROVIDER_PEERS; i++) {
        provider->breakers[i] = (struct breaker){.opts = *opts};
    }
}
