// SPDX-License-Identifier: MIT
#include "auth/tier.h"

static const struct slice admin_roles[] = {
    {"super_admin", 11},   {"admin", 5},   {"content_manager", 15},
    {"billing_admin", 13}, {"support", 7},
};

static bool is_admin_role(const struct json *role) {
    struct slice name;
    if (!json_to_slice(role, &name)) {
        return false;
    }
    for (size_t i = 0; i < sizeof admin_roles / sizeof admin_roles[0]; i++) {
        if (slice_eq(name, admin_roles[i])) {
            return true;
        }
    }
    return false;
}

static bool has_admin_role(const struct json *roles) {
    for (size_t i = 0; i < json_length(roles); i++) {
        if (is_admin_role(json_at(roles, i))) {
            return true;
        }
    }
    return false;
}

void tier_read_claims(const struct json *claims, struct caller *out) {
    struct slice tier = SLICE_NULL;
    bool active = true;
    json_to_bool(json_member(claims, "is_active"), &active);
    json_to_slice(json_member(claims, "subscription_tier"), &tier);
    out->is_active = active;
    out->is_admin =
        is_admin_role(json_member(claims, "role")) || has_admin_role(json_member(claims, "roles"));
    out->has_premium = slice_eq(tier, SLICE("premium")) || slice_eq(tier, SLICE("family"));
}

enum rc tier_check(const struct caller *caller) {
    return caller->is_admin || caller->has_premium ? RC_OK : RC_TIER_REQUIRED;
}
