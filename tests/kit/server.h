// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"
#include "kit/settings.h"

/* The whole server inside the test's process, on a thread of its own: any free port of loopback, a
 * folder of its own, a clock that the test sets, logs that it reads. All calls from the test's
 * thread; a failed expectation fails the test. */
struct kit_server;

struct kit_server_opts {
    /* "NAME=value", NULL at the end, over kit/settings.h's. "NAME=" unsets. */
    const char *const *settings;
    const char *provider_url; /* "http://127.0.0.1:<port>" of a simulated provider; NULL: port 1 */
    const char *folder;       /* NULL: a new one, removed at the end */
};

struct kit_server *kit_server_start(struct kit_server_opts opts);
/* The same with nothing but settings. */
struct kit_server *kit_server_start_with(const char *const *settings);

/* Stops, drains, joins; expects exit code 0, which stands for "no handle of the loop stayed open".
 */
void kit_server_stop(struct kit_server *server);

/* SIGHUP; returns when it is done. */
void kit_server_reload(struct kit_server *server);

/* The two halves of it: the drain begins (again: it is cut short); it is over. */
void kit_server_ask_stop(struct kit_server *server);
void kit_server_join(struct kit_server *server);

/* Its loop's, from start to join. */
pthread_t kit_server_thread(const struct kit_server *server);
int kit_server_port(const struct kit_server *server);
int kit_server_metrics_port(const struct kit_server *server);   /* of LATCHKEY_METRICS_LISTEN */
const char *kit_server_folder(const struct kit_server *server); /* latchkey.db lies there */

/* Time as the server's rules see it; timers run on real time. */
void kit_server_advance_ms(struct kit_server *server, int64_t ms);

/* Everything logged so far, NUL-terminated; the server's, until the next call. After
 * kit_server_join too. */
const char *kit_server_logs(struct kit_server *server);
/* How often `text` stands in the logs. */
size_t kit_server_logged(struct kit_server *server, const char *text);

int64_t kit_server_metric(const struct kit_server *server, enum metric metric);

/* Polls until it is `value`; false after 5 s. */
bool kit_server_wait_metric(const struct kit_server *server, enum metric metric, int64_t value);

/* A caller's token. Whatever is left out has its default, in brackets. */
struct kit_jwt {
    const char *sub;       /* [none: no claim] */
    const char *tier;      /* [none: no claim] */
    const char *role;      /* [none: no claim] */
    const char *more;      /* further members of the payload: "\"a\":1,\"b\":[2]" [none] */
    int64_t exp_in_s;      /* [a day]; may be negative */
    bool no_exp;           /* no claim */
    const char *algorithm; /* [HS256] */
    const char *secret;    /* [KIT_SECRET_KEY] */
};
enum { KIT_JWT_BYTES = 4096 };
/* Signs; the text and a NUL. */
void kit_jwt(char out[KIT_JWT_BYTES], struct kit_jwt jwt);
