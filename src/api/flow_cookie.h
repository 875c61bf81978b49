// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"
#include "base/buf.h"

/* The cookie that binds the browser's way back to the browser that called authorize (RFC 9700
 * section 4.7): random text, of which the state keeps a hash. */
struct flow_cookie {
    char text[RANDOM_TEXT_BYTES];
};

enum { FLOW_COOKIE_HEADER_BYTES = 256 };

/* The request's own where it carries a well-formed one (so that two tabs both work), else a fresh
 * one; and its hash. RC_CRYPTO. */
enum rc flow_cookie_of(struct call *call, struct flow_cookie *cookie,
                       unsigned char hash[STATE_COOKIE_HASH_BYTES]);

/* The hash of the cookie that the request carries. Without a well-formed one: of nothing, which no
 * state has. RC_CRYPTO. */
enum rc flow_cookie_hash(struct call *call, unsigned char hash[STATE_COOKIE_HASH_BYTES]);

/* Appends the Set-Cookie line. */
void flow_cookie_write(const struct call *call, const struct flow_cookie *cookie,
                       struct buf *headers);
