// SPDX-License-Identifier: MIT
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "io/loop.h"

/* libcurl's multi handle on the loop: its timeout is a timer, its sockets are polled, and what has
 * ended is reaped after everything that libcurl is told (not only while other transfers run: the
 * last one's end would be missed). Embedded in its owner. */
struct upstream_multi {
    struct loop *loop;
    CURLM *curl;
    struct loop_timer timer;
    struct list polls;
    size_t handles_open; /* polls and the timer, until closed */
    void (*closed)(struct upstream_multi *multi);

    /* The rest is set by the owner. None of it is called inside upstream_multi_add and _remove. */

    /* A transfer is over: take it out with upstream_multi_remove. */
    void (*ended)(struct upstream_multi *multi, CURL *easy, CURLcode code);
    /* All that had ended was reported; completions may be told now. */
    void (*reaped)(struct upstream_multi *multi);
    /* A transfer whose socket cannot be watched: it would never end. Called inside libcurl, where
       nothing may be added or removed: note it for a later turn. */
    void (*stuck)(struct upstream_multi *multi, CURL *easy);
};

/* Takes `curl` over. False: libcurl would not; `curl` stays the caller's, nothing is to close. */
bool upstream_multi_init(struct upstream_multi *multi, struct loop *loop, CURLM *curl);

bool upstream_multi_add(struct upstream_multi *multi, CURL *easy);
/* False: libcurl would not, and the handle must be thrown away (curl_easy_cleanup removes it). */
bool upstream_multi_remove(struct upstream_multi *multi, CURL *easy);

/* No transfer is left. Closes the connections; `closed` follows on a later turn. */
void upstream_multi_close(struct upstream_multi *multi,
                          void (*closed)(struct upstream_multi *multi));
