// SPDX-License-Identifier: MIT
#pragma once

#include "auth/bearer.h"
#include "base/json.h"

/* What these make of him: is_admin and has_premium. */
void tier_read(const struct slice *roles, size_t role_count, struct slice subscription_tier,
               struct caller *out);

/* The same from claims. Reads role, roles, subscription_tier and is_active (contract, "Who is
 * calling"). */
void tier_read_claims(const struct json *claims, struct caller *out);

/* RC_OK, or RC_TIER_REQUIRED: neither an admin nor premium or family. */
enum rc tier_check(const struct caller *caller);
