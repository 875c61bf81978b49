// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* The one table of variables: reading, `check`, --help and docs/configuration.md are made from it.
 */
enum config_type {
    CONFIG_TEXT,    /* struct slice: UTF-8 without control characters */
    CONFIG_SECRET,  /* struct secret */
    CONFIG_INT,     /* int64_t, min to max */
    CONFIG_SECONDS, /* int64_t in ms; written in seconds, with up to three decimals */
    CONFIG_BOOL,    /* bool: 0 or 1 */
    CONFIG_CHOICE,  /* an enum: the index in `choices` */
    CONFIG_URL,     /* struct slice: an http or https URL that we call */
    CONFIG_BASE,    /* the same, and paths are appended to it */
    CONFIG_PROXY,   /* struct slice: http, https, socks5 or socks5h */
    CONFIG_URI,     /* struct slice: where a browser is sent, maybe an app's own scheme */
    CONFIG_URIS,    /* struct config_list of them, without fragments */
    CONFIG_ORIGINS, /* struct config_list: scheme://host[:port] */
    CONFIG_LISTEN,  /* struct slice: one address */
    CONFIG_LISTENS, /* struct config_list of addresses */
    CONFIG_BLOCKS,  /* struct config_blocks: CIDR */
    CONFIG_KEYS,    /* struct fernet_keys * */
    CONFIG_STORE,   /* struct slice: one of the forms in `choices` */
    CONFIG_PATH,    /* struct slice: the path before every route */
};

struct config_var {
    const char *name;
    enum config_type type;
    size_t offset;      /* in struct config */
    const char *preset; /* the default as one would write it, NULL: none */
    int64_t min;
    int64_t max;
    const char *const *choices; /* NULL at the end */
    bool is_secret;             /* its value is never shown */
    const char *help;           /* one sentence */
};

/* A heading of the documentation and the variables under it. */
struct config_section {
    const char *title;
    const struct config_var *vars;
    size_t count;
};

extern const struct config_section config_table[];
extern const size_t config_table_count;

/* NULL where there is no such variable. */
const struct config_var *config_table_find(struct slice name);
