// SPDX-License-Identifier: MIT
#include "io/redis_error.h"

#include <stddef.h>
#include <string.h>

struct known {
    const char *code;
    struct redis_error error;
};

static const struct known codes[] = {
    {"NOSCRIPT", {RC_IO, REDIS_REMEDY_SEND_WHOLE, false, "the server does not know the script"}},
    {"READONLY", {RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false, "READONLY: a replica"}},
    {"LOADING", {RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false, "LOADING: it reads its data"}},
    {"MASTERDOWN",
     {RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false, "MASTERDOWN: a replica without its master"}},
    {"NOAUTH", {RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false, "NOAUTH: not authenticated"}},
    {"OOM", {RC_IO, REDIS_REMEDY_NONE, false, "OOM: its memory is full"}},
    {"MISCONF", {RC_IO, REDIS_REMEDY_NONE, false, "MISCONF: it can't write its data to disk"}},
    {"BUSY", {RC_IO, REDIS_REMEDY_NONE, false, "BUSY: a script holds it"}},
    {"NOREPLICAS", {RC_IO, REDIS_REMEDY_NONE, false, "NOREPLICAS: too few replicas to write"}},
    {"NOPERM", {RC_USAGE, REDIS_REMEDY_NONE, false, "NOPERM: the user may not do this"}},
    {"MOVED", {RC_USAGE, REDIS_REMEDY_NONE, true, "MOVED: it belongs to a cluster"}},
    {"ASK", {RC_USAGE, REDIS_REMEDY_NONE, true, "ASK: it belongs to a cluster"}},
    {"CLUSTERDOWN", {RC_USAGE, REDIS_REMEDY_NONE, true, "CLUSTERDOWN: it belongs to a cluster"}},
    {"CROSSSLOT", {RC_USAGE, REDIS_REMEDY_NONE, true, "CROSSSLOT: it belongs to a cluster"}},
    {"TRYAGAIN", {RC_USAGE, REDIS_REMEDY_NONE, true, "TRYAGAIN: it belongs to a cluster"}},
};

static const struct known *find(struct slice code) {
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (slice_eq(code, slice_str(codes[i].code))) {
            return &codes[i];
        }
    }
    return NULL;
}

static struct slice first_word(struct slice text) {
    return slice_head(text, slice_find(text, ' '));
}

/* The first known code behind a dash. */
static const struct known *find_inside(struct slice text) {
    while (text.len > 0) {
        text = slice_from(text, slice_find(text, '-') + 1);
        const struct known *known = find(first_word(text));
        if (known != NULL) {
            return known;
        }
    }
    return NULL;
}

struct redis_error redis_error_read(struct slice text) {
    static const struct redis_error other = {RC_MALFORMED, REDIS_REMEDY_NONE, false,
                                             "the server refused the command"};
    static const struct redis_error crowded = {RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false,
                                               "it has all the clients that it takes"};
    const struct known *known = find(first_word(text));
    if (known == NULL && slice_starts(text, SLICE("ERR Error running script"))) {
        known = find_inside(text);
    }
    if (known == NULL && slice_starts(text, SLICE("ERR max number of clients"))) {
        return crowded;
    }
    return known != NULL ? known->error : other;
}
