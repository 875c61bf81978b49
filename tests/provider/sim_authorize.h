// SPDX-License-Identifier: MIT
#pragma once

#include "provider/sim.h"

/* Decides on the authorization request in `form` as the user did and fills `out` (see
 * simprovider_consent). The call needs no answer. */
bool sim_authorize_consent(struct sim_call *call, struct slice form, bool allow,
                           struct simprovider_return *out);

/* The index of a registered redirect URI, or redirect_uri_count. */
size_t sim_authorize_redirect_uri(const struct sim *sim, struct slice uri);
