// SPDX-License-Identifier: MIT
#pragma once

#include "base/slice.h"

/* Every secret that a test's run makes is told here, and everything that the server says is looked
 * through for all of them: as they are, form-encoded, and in base64 of either alphabet at any
 * alignment. kit_server_stop looks through its logs, ask() through each response. One registry a
 * test (each runs in a process of its own). */
enum secrets_where {
    SECRETS_NOWHERE,     /* in no log line and no response */
    SECRETS_NOT_IN_LOGS, /* a state, a flow cookie: responses hand them out */
};

void secrets_add(const char *what, struct slice secret, enum secrets_where where);

/* A PKCE challenge: whatever 43 characters hash to it are its verifier. */
void secrets_add_challenge(struct slice challenge);

/* The first secret that `text` holds, NULL where there is none. */
const char *secrets_find(struct slice text, bool is_log);

/* Fails the test where `text` holds one. */
void secrets_expect_none(struct slice text, const char *where, bool is_log);

/* Forgets them all: for a test that goes on with another server. */
void secrets_forget(void);

/* How many are known: so that a test can show that it looked for some. */
size_t secrets_count(void);
