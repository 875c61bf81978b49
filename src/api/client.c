// SPDX-License-Identifier: MIT
#include "api/client.h"

#include "base/address.h"

static bool is_trusted(const struct api *api, const struct address *address) {
    for (size_t i = 0; i < api->opts.trusted_proxy_count; i++) {
        if (address_block_holds(&api->opts.trusted_proxies[i], address)) {
            return true;
        }
    }
    return false;
}

/* Takes the last entry off a comma-separated list. */
static struct slice take_last(struct slice *list) {
    size_t start = list->len;
    while (start > 0 && list->at[start - 1] != ',') {
        start--;
    }
    struct slice last = slice_trim(slice_from(*list, start));
    *list = start > 0 ? slice_head(*list, start - 1) : SLICE_NULL;
    return last;
}

/* Walks one header from the right. True: the walk ends here, at what isn't trusted. */
static bool walk(const struct api *api, struct slice list, struct address *client) {
    while (!slice_is_null(list)) {
        struct address next;
        if (!address_parse_ip(take_last(&list), &next)) {
            return true;
        }
        *client = next;
        if (!is_trusted(api, client)) {
            return true;
        }
    }
    return false;
}

struct slice client_address(struct api *api, struct http_request *request) {
    struct address client;
    char text[ADDRESS_TEXT_BYTES];
    if (api->opts.trusted_proxy_count == 0 || !address_parse_ip(request->peer, &client) ||
        !is_trusted(api, &client)) {
        return request->peer;
    }
    bool ended = false;
    for (size_t i = request->header_count; i > 0 && !ended; i--) {
        const struct http_header *header = &request->headers[i - 1];
        if (slice_ieq(header->name, SLICE("x-forwarded-for"))) {
            ended = walk(api, header->value, &client);
        }
    }
    address_write_ip(&client, text);
    return arena_copy(request->arena, slice_str(text));
}
