// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* Network addresses as the configuration and X-Forwarded-For write them. Pure functions; no name is
 * ever resolved. */
enum address_kind { ADDRESS_V4, ADDRESS_V6, ADDRESS_UNIX };

enum {
    ADDRESS_BYTES_MAX = 16,
    ADDRESS_UNIX_PATH_MAX = 107, /* sun_path with its NUL */
    ADDRESS_TEXT_BYTES = 46,     /* INET6_ADDRSTRLEN */
    ADDRESS_PROBLEM_BYTES = 192
};

struct address {
    enum address_kind kind;
    unsigned char bytes[ADDRESS_BYTES_MAX]; /* 4 or 16, network order */
    uint16_t port;
    struct slice path; /* unix: borrowed from the text */
};

/* "127.0.0.1:8090", "[::1]:8090", "unix:/path". False with a sentence in `problem`. */
bool address_parse(struct slice text, struct address *out, char problem[ADDRESS_PROBLEM_BYTES]);

/* Loopback or a unix socket: nobody outside of this machine gets there. */
bool address_is_local(const struct address *address);

/* A block of addresses, RFC 4632 and 4291: "10.0.0.0/8", "::1/128"; without a length, one. */
struct address_block {
    enum address_kind kind; /* never ADDRESS_UNIX */
    unsigned char bytes[ADDRESS_BYTES_MAX];
    unsigned bits;
};

/* Bits behind the length must be zero. False with a sentence in `problem`. */
bool address_parse_block(struct slice text, struct address_block *out,
                         char problem[ADDRESS_PROBLEM_BYTES]);

/* An address alone, with a port ("192.0.2.1:80", "[2001:db8::1]:80") or without; `port` stays 0. An
 * IPv4 address in an IPv6 one (::ffff:192.0.2.1) is taken for what it is. */
bool address_parse_ip(struct slice text, struct address *out);

bool address_block_holds(const struct address_block *block, const struct address *address);

/* "192.0.2.1", "2001:db8::1", NUL-terminated. */
void address_write_ip(const struct address *address, char out[ADDRESS_TEXT_BYTES]);
