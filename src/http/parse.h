// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"
#include "http/msg.h"

/* llhttp, behind http/guard and with the rules that it doesn't check: what it is given is complete
 * and strict already, and what it makes of it must agree with ours. */
struct http_parse;

struct http_parse *http_parse_new(void);
void http_parse_free(struct http_parse *parse);

/* A whole head that http/guard let through; it must stay where it is as long as the request is
 * used. Fills the request (all zeroed before, but for its arena) up to `known_count`. Returns 0 or
 * the status to refuse it with: 400, 501. */
int http_parse_head(struct http_parse *parse, struct slice head, struct http_request *request);

/* The next bytes of the body, after a head that has one: appends to `body`, or drops them where it
 * is NULL. `*used` bytes belonged to it; `*done` once it is complete. Returns 0, 400, or 413 past
 * the buffer's cap. */
int http_parse_body(struct http_parse *parse, struct slice bytes, struct buf *body, size_t *used,
                    bool *done);

/* Of the parser that this was compiled with ("8.1.0"). */
const char *http_parse_library_version(void);
