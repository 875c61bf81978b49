// SPDX-License-Identifier: MIT
#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_FORMS "write 127.0.0.1:8090, [::1]:8090 or unix:/run/latchkey.sock"

static bool fail(char problem[ADDRESS_PROBLEM_BYTES], const char *sentence) {
    snprintf(problem, ADDRESS_PROBLEM_BYTES, "%s", sentence);
    return false;
}

/* A numeric address into network order. */
static bool parse_bytes(struct slice text, enum address_kind kind, unsigned char *out) {
    char at[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof at || memchr(text.at, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    return inet_pton(kind == ADDRESS_V4 ? AF_INET : AF_INET6, at, out) == 1;
}

static bool parse_unix(struct slice path, struct address *out,
                       char problem[ADDRESS_PROBLEM_BYTES]) {
    if (path.len == 0 || path.at[0] != '/') {
        return fail(problem, "needs an absolute path after unix:, such as unix:/run/latchkey.sock");
    }
    if (path.len > ADDRESS_UNIX_PATH_MAX) {
        return fail(problem, "has a path that is too long; a unix socket's has at most 107 bytes");
    }
    *out = (struct address){.kind = ADDRESS_UNIX, .path = path};
    return true;
}

/* Splits "host:port" at the last colon, and takes the brackets off an IPv6 host. */
static bool split_port(struct slice text, struct slice *host, struct slice *port, bool *is_v6) {
    size_t colon = text.len;
    while (colon > 0 && text.at[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return false;
    }
    *host = slice_head(text, colon - 1);
    *port = slice_from(text, colon);
    *is_v6 = host->len >= 2 && host->at[0] == '[' && host->at[host->len - 1] == ']';
    if (*is_v6) {
        *host = slice_head(slice_from(*host, 1), host->len - 2);
    }
    return true;
}

bool address_parse(struct slice text, struct address *out, char problem[ADDRESS_PROBLEM_BYTES]) {
    if (slice_starts(text, SLICE("unix:"))) {
        return parse_unix(slice_from(text, sizeof "unix:" - 1), out, problem);
    }
    struct slice host;
    struct slice port_text;
    bool is_v6;
    if (!split_port(text, &host, &port_text, &is_v6)) {
        return fail(problem, "has no port; " ADDRESS_FORMS);
    }
    uint64_t port;
    if (!slice_to_u64(port_text, UINT16_MAX, &port)) {
        return fail(problem, "has no port from 0 to 65535 after its last colon; " ADDRESS_FORMS);
    }
    *out = (struct address){.kind = is_v6 ? ADDRESS_V6 : ADDRESS_V4, .port = (uint16_t)port};
    if (parse_bytes(host, out->kind, out->bytes)) {
        return true;
    }
    if (!is_v6 && parse_bytes(host, ADDRESS_V6, out->bytes)) {
        return fail(problem, "is IPv6 without brackets; write it as [::1]:8090");
    }
    return fail(problem, "is not a numeric address (names are not resolved); " ADDRESS_FORMS);
}

bool address_is_local(const struct address *address) {
    static const unsigned char v6_loopback[ADDRESS_BYTES_MAX] = {[15] = 1};
    switch (address->kind) {
    case ADDRESS_V4:
        return address->bytes[0] == 127;
    case ADDRESS_V6:
        return memcmp(address->bytes, v6_loopback, sizeof v6_loopback) == 0;
    case ADDRESS_UNIX:
        return true;
    }
    return false;
}

static bool rest_is_zero(const struct address_block *block, unsigned bits_max) {
    for (unsigned bit = block->bits; bit < bits_max; bit++) {
        if ((block->bytes[bit / 8] & (0x80u >> (bit % 8))) != 0) {
            return false;
        }
    }
    return true;
}

bool address_parse_block(struct slice text, struct address_block *out,
                         char problem[ADDRESS_PROBLEM_BYTES]) {
    size_t slash = slice_find(text, '/');
    struct slice host = slice_head(text, slash);
    *out = (struct address_block){.kind = ADDRESS_V4};
    if (!parse_bytes(host, ADDRESS_V4, out->bytes)) {
        out->kind = ADDRESS_V6;
        if (!parse_bytes(host, ADDRESS_V6, out->bytes)) {
            return fail(problem, "is not a block of addresses; write 10.0.0.0/8 or fd00::/8");
        }
    }
    unsigned bits_max = out->kind == ADDRESS_V4 ? 32 : 128;
    out->bits = bits_max;
    if (slash < text.len) {
        uint64_t bits;
        if (!slice_to_u64(slice_from(text, slash + 1), bits_max, &bits)) {
            snprintf(problem, ADDRESS_PROBLEM_BYTES, "needs a length from 0 to %u after the slash",
                     bits_max);
            return false;
        }
        out->bits = (unsigned)bits;
    }
    if (!rest_is_zero(out, bits_max)) {
        snprintf(problem, ADDRESS_PROBLEM_BYTES,
                 "has bits set behind its first %u; write the block's first address", out->bits);
        return false;
    }
    return true;
}

static const unsigned char v4_in_v6[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool address_parse_ip(struct slice text, struct address *out) {
    struct slice host = text;
    struct slice port;
    bool is_v6;
    *out = (struct address){.kind = ADDRESS_V4};
    if (parse_bytes(text, ADDRESS_V4, out->bytes)) {
        return true;
    }
    out->kind = ADDRESS_V6;
    if (!parse_bytes(text, ADDRESS_V6, out->bytes)) {
        if (!split_port(text, &host, &port, &is_v6)) {
            return false;
        }
        out->kind = is_v6 ? ADDRESS_V6 : ADDRESS_V4;
        if (!parse_bytes(host, out->kind, out->bytes)) {
            return false;
        }
    }
    if (out->kind == ADDRESS_V6 && memcmp(out->bytes, v4_in_v6, sizeof v4_in_v6) == 0) {
        memmove(out->bytes, out->bytes + sizeof v4_in_v6, 4);
        memset(out->bytes + 4, 0, sizeof out->bytes - 4);
        out->kind = ADDRESS_V4;
    }
    return true;
}

bool address_block_holds(const struct address_block *block, const struct address *address) {
    unsigned whole = block->bits / 8;
    unsigned rest = block->bits % 8;
    unsigned char mask = (unsigned char)(0xFF << (8 - rest));
    return block->kind == address->kind && memcmp(block->bytes, address->bytes, whole) == 0 &&
           (rest == 0 || ((block->bytes[whole] ^ address->bytes[whole]) & mask) == 0);
}

void address_write_ip(const struct address *address, char out[ADDRESS_TEXT_BYTES]) {
    inet_ntop(address->kind == ADDRESS_V4 ? AF_INET : AF_INET6, address->bytes, out,
              ADDRESS_TEXT_BYTES);
}
