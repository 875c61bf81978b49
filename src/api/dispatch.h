// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"

/* http_handler's two entries: the checks in the contract's order, then the endpoint. */
void dispatch_head(void *owner, struct http_request *request);
/* The same for LATCHKEY_METRICS_LISTEN. */
void dispatch_metrics_head(void *owner, struct http_request *request);
void dispatch_body(void *owner, struct http_request *request);
