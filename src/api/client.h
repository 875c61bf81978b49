// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"

/* The client's address: the connection's other end, or, where that is a trusted proxy, what
 * X-Forwarded-For says, read from the right past trusted addresses. "" over a unix socket. In the
 * request's arena. */
struct slice client_address(struct api *api, struct http_request *request);
