// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

/* A server of raw sockets that misbehaves on request. It runs on threads of its own and knows
 * nothing of libuv, so that it stands while the calls of the program under test fail. What it does
 * is in the request's path:
 *
 *   /ok                 200, "hello", the connection stays
 *   /echo               200, the body is the request as it came
 *   /status/<n>         that status, no body
 *   /header/<n: v>      200 with that header ("_" is a space)
 *   /redirect           302 to /ok
 *   /bye                200, then closes as it said
 *   /interim            a 103 with a Retry-After, then 200
 *   /silent             reads on, never answers
 *   /drop, /reset       FIN or RST instead of an answer
 *   /rest-reset         a whole answer, then RST
 *   /second-drops       200; the next request of the same connection gets FIN
 *   /half, /half-chunk  FIN in the middle of a body
 *   /garbage            bytes that are no HTTP
 *   /endless            a body without an end
 *   /endless-head       header lines without an end
 *   /declared           a Content-Length of 1 GB
 *   /trickle            a byte of the body every 10 ms, without an end */
struct peer;

struct peer *peer_new(void); /* on 127.0.0.1; NULL: it could not start */
void peer_free(struct peer *peer);

int peer_port(const struct peer *peer);
size_t peer_accepts(struct peer *peer);    /* connections, ever */
size_t peer_open(struct peer *peer);       /* connections, now */
size_t peer_requests(struct peer *peer);   /* read to their end */
size_t peer_hellos(struct peer *peer);     /* connections that have sent anything */
size_t peer_body_bytes(struct peer *peer); /* of /endless and /trickle, written */
