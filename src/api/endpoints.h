// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"

/* What the route table names; each in its ep_<endpoint>.c. */
void ep_healthz(struct call *call);
void ep_readyz(struct call *call);
void ep_readyz_fail(struct call *call, enum rc rc);
void ep_authorize(struct call *call);
void ep_callback(struct call *call);
void ep_return(struct call *call);
void ep_return_fail(struct call *call, enum rc rc);
void ep_connected(struct call *call);
void ep_disconnect(struct call *call);
void ep_library(struct call *call);
void ep_sync(struct call *call);
void ep_search(struct call *call);
void ep_details(struct call *call);
void ep_play_url(struct call *call);
void ep_metrics(struct call *call);
void ep_openapi(struct call *call);
void ep_docs(struct call *call);
