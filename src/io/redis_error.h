// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "base/rc.h"
#include "base/slice.h"

/* What an error answer means: "-CODE some words". Pure. */
enum redis_remedy {
    REDIS_REMEDY_NONE,      /* it concerns this command */
    REDIS_REMEDY_RECONNECT, /* this server can't serve now, and the name may lead to another */
    REDIS_REMEDY_SEND_WHOLE /* the script is not known there */
};

struct redis_error {
    enum rc rc;
    enum redis_remedy remedy;
    bool is_cluster;
    const char *cause; /* static */
};

/* `text` without the dash. What a script met is found in its error, as Redis before 7 writes it:
 * "ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -OOM command …". */
struct redis_error redis_error_read(struct slice text);
