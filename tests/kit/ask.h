// SPDX-License-Identifier: MIT
#pragma once

#include "kit/client.h"
#include "kit/server.h"
#include "provider/simprovider.h"

#define ASK_API "/api/v1/user/audible"

/* One request to the API on a connection of its own. What is left out isn't sent. */
struct ask {
    const char *method;  /* [GET] */
    const char *path;    /* "/healthz"; without a leading slash below ASK_API: "connected" */
    const char *token;   /* a JWT */
    const char *json;    /* a body, with its Content-Type */
    const char *headers; /* further complete lines */
};

/* The status. The response needs a client_response_fini. */
int ask(int port, struct ask ask, struct client_response *response);

/* The same, and only the status matters. */
int ask_status(int port, struct ask ask);

/* The value of a string member of a JSON body; "" where it is null or absent. */
void ask_member(const struct client_response *response, const char *name, char *out, size_t size);

/* Expects this status and, unless NULL, this detail. */
void ask_expect(int port, struct ask ask_, int status, const char *detail);

/* A premium user's token. */
void ask_premium(char out[KIT_JWT_BYTES], const char *sub);

/* Authorizes, consents at the simulated provider: code and state for a callback. */
struct ask_grant {
    char code[128];
    char state[128];
    char cookie[128]; /* "latchkey-flow=…" */
};
void ask_grant(int port, struct simprovider *sim, const char *token, struct ask_grant *out);
/* The same where authorize may fail: its status, and a grant with 200 only. */
int ask_try_grant(int port, struct simprovider *sim, const char *token, struct ask_grant *out);

/* The same as bytes, for a connection of the test's own: POST oauth/callback. */
enum { ASK_CALLBACK_BYTES = KIT_JWT_BYTES + 1024 };
void ask_callback_text(char out[ASK_CALLBACK_BYTES], const char *token,
                       const struct ask_grant *grant);
/* POST oauth/callback with it; the status. */
int ask_callback(int port, const char *token, const struct ask_grant *grant,
                 struct client_response *response);
