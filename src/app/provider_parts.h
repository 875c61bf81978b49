// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"
#include "io/loop.h"
#include "io/upstream.h"
#include "provider/provider.h"

/* The way to the provider as the configuration says, for the server and for commands. */

/* NULL with a sentence in `problem`; a warning may stand there otherwise (else NULL). */
struct upstream *provider_parts_upstream(struct loop *loop, const struct config *config,
                                         const char **problem);

/* All that the configuration knows of it; the parts that it works with are the caller's to set. */
void provider_parts_fill(struct provider *provider, const struct config *config);
