// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"

/* Every request is answered within its deadline, whatever its endpoint waits for. What waits for
 * the provider ends by itself in time; what can't be ended (a disk that hangs) goes on without its
 * client, who is told 503 storage_unavailable. */
void deadline_open(struct api *api);
/* `closed` follows on a later turn. No call is waiting. */
void deadline_close(struct api *api, void (*closed)(struct loop_timer *timer));

/* Around the time that an endpoint has a call. */
void deadline_watch(struct call *call);
void deadline_forget(struct call *call);
