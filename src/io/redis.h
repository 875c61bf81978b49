// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/redis_url.h"

/* One connection to one Redis (5 or later, no cluster) by hiredis async on the loop. Commands of
 * one turn leave together; answers come in order. It authenticates, selects its database, and
 * connects again by itself, after a pause with jitter that grows from REDIS_PAUSE_FIRST_MS to
 * REDIS_PAUSE_MAX_MS; names are resolved by uv_getaddrinfo each time.
 *
 * A command never waits longer than its deadline. While the connection is being made for the first
 * time, or at once again after one that had served for a second, it waits for that attempt; once an
 * attempt has failed it fails at once with RC_UNREACHABLE, until there is a connection: a server
 * that is gone, or swallows what it gets, costs nobody any time. A command without an answer in
 * time breaks the connection: Redis answers in order, so all behind it would be late too, and they
 * end with it, RC_TIMEOUT those whose time is over and RC_UNREACHABLE the others. READONLY,
 * LOADING, MASTERDOWN and a lost authentication break it as well (a failover: the name may stand
 * for another machine by now). MOVED and CLUSTERDOWN mean a cluster: said in the log once a
 * connection, RC_USAGE. */
struct redis;

enum {
    REDIS_PAUSE_FIRST_MS = 50,
    REDIS_PAUSE_MAX_MS = 1000,
    REDIS_COMMAND_TIMEOUT_MS = 2000,
    REDIS_CONNECT_TIMEOUT_MS = 2000, /* resolving, TLS and the first commands included */
    REDIS_QUEUE_MAX = 100000,        /* commands without an answer; past it RC_FULL */
};

struct redis_opts {
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
    const struct redis_url *url; /* borrowed for the connection's life */
    const char *ca_file;         /* of a rediss:// server; NULL: the system's */
    const char *name;            /* for the log, and CLIENT SETNAME: "state", "accounts" */
    int64_t command_timeout_ms;  /* 0: REDIS_COMMAND_TIMEOUT_MS */
    size_t queue_max;            /* 0: REDIS_QUEUE_MAX */
};

/* Starts to connect. Never NULL: a server that isn't there is tried again. */
struct redis *redis_new(const struct redis_opts *opts);
/* Open commands end with RC_CANCELED; then `closed`, on a later turn. */
void redis_close(struct redis *redis, void (*closed)(void *owner), void *owner);

/* Called each time that a connection is ready, before any command that waited for it: for commands
 * about the server itself (its settings). At most four listeners. */
void redis_on_ready(struct redis *redis, void (*ready)(void *owner), void *owner);
/* The listener of this owner is called no more. */
void redis_off_ready(struct redis *redis, const void *owner);
bool redis_is_ready(const struct redis *redis);

/* -- answers: borrowed, valid during `done` only -- */

struct redis_value;
enum redis_kind { REDIS_NIL, REDIS_INTEGER, REDIS_TEXT, REDIS_LIST, REDIS_ERROR };
/* A NULL value is REDIS_NIL. Status replies ("OK") are REDIS_TEXT. */
enum redis_kind redis_kind(const struct redis_value *value);
int64_t redis_integer(const struct redis_value *value); /* 0 unless REDIS_INTEGER */
struct slice
redis_text(const struct redis_value *value);         /* null unless REDIS_TEXT or REDIS_ERROR */
size_t redis_count(const struct redis_value *value); /* 0 unless REDIS_LIST */
const struct redis_value *redis_at(const struct redis_value *list, size_t index); /* NULL past it */

/* -- commands -- */

/* A Lua script. One constant a script, with its text; what each connection knows of it is the
 * connection's own. */
struct redis_script {
    const char *text;
    size_t index; /* of the caller's choice, unique in a connection, below REDIS_SCRIPTS_MAX */
};
enum { REDIS_SCRIPTS_MAX = 32 };

/* The caller's until `done` is called, and not touched after that. */
struct redis_op {
    void (*done)(struct redis_op *op);
    /* RC_OK with `value`, which is never REDIS_ERROR; RC_UNREACHABLE (no connection, or it broke:
       the command may have been carried out), RC_TIMEOUT (the same), RC_FULL, RC_CANCELED;
       RC_IO: the server can't (OOM, MISCONF, BUSY …); RC_USAGE: a cluster, or no permission;
       RC_MALFORMED: any other error of the server's; RC_TOO_LARGE: the command is above
       LIMIT_REDIS_COMMAND_BYTES, or its answer above LIMIT_REDIS_ANSWER_BYTES, which breaks the
       connection */
    enum rc rc;
    const struct redis_value *value;
    const char *cause; /* static text for a log line, where rc isn't RC_OK */
    /* ours */
    struct list node;
    struct redis *redis;
    struct loop_task task;
    int64_t deadline_ms;
    const struct redis_script *script;
    void *request; /* what is kept of a command until it is sent, of a script until its answer */
    size_t bytes;
    size_t arg_count;
    bool is_sent;
    bool is_whole; /* with the script's text */
};

/* `args[0]` is the command's name. Borrowed until it returns. */
void redis_command(struct redis *redis, struct redis_op *op, const struct slice *args,
                   size_t arg_count, void (*done)(struct redis_op *op));

/* EVALSHA; where the server doesn't know the script (yet, or after a restart) it is sent whole,
 * once more, before anything else happens. `args`: its keys first. Borrowed until it returns. */
void redis_eval(struct redis *redis, struct redis_op *op, const struct redis_script *script,
                const struct slice *args, size_t key_count, size_t arg_count,
                void (*done)(struct redis_op *op));
