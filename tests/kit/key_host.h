// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "kit/published.h"

/* A platform's server of published keys, on a thread of its own with raw sockets: what it answers
 * is told by the test, from any thread. A connection carries one request. */
struct key_host;

struct key_host *key_host_new(void); /* on 127.0.0.1; answers 404 */
void key_host_free(struct key_host *host);

int key_host_port(const struct key_host *host);
void key_host_url(const struct key_host *host, char *out, size_t size);

/* From now on. */
void key_host_answer(struct key_host *host, int status, const char *body);
void key_host_hold(struct key_host *host); /* no answer, until it is told another */
void key_host_drop(struct key_host *host); /* FIN instead of an answer */

/* 200 with a set of these keys; the list ends with a `kid` of NULL, and "" is none. */
struct key_host_key {
    enum published_key key;
    const char *kid;
};
void key_host_publish(struct key_host *host, const struct key_host_key *keys);

size_t key_host_requests(struct key_host *host);
/* False where it isn't reached in 10 s. */
bool key_host_wait(struct key_host *host, size_t requests);
