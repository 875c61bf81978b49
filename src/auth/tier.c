// SPDX-License-Identifier: MIT
#include "auth/tier.h"

static const struct slice admin_roles[] = {
    {"super_admin", 11},   {"admin", 5},   {"content_manager", 15},
    {"billing_admin", 13}, {"support", 7},
};

static bool is_admin_role(struct slice name) {
    for (size_t i = 0; i < sizeof admin_roles / sizeof admin_roles[0]; i++) {
        if (slice_eq(name, admin_roles[i])) {
            return true;
        }
    }
    return false;
}

void tier_read(const struct slice *roles, size_t role_count, struct slice subscription_tier,
               struct caller *out) {
    out->is_admin = false;
    for (size_t i = 0; i < role_count; i++) {
        out->is_admin |= is_admin_role(roles[i]);
    }
    out->has_premium = slice_eq(subscription_tier, SLICE("premium")) ||
                       slice_eq(subscription_tier, SLICE("family"));
}

void tier_read_claims(const struct json *claims, struct caller *out) {
    const struct json *roles = json_member(claims, "roles");
    struct slice role = SLICE_NULL;
    struct slice tier = SLICE_NULL;
    out->is_active = true;
    json_to_bool(json_member(claims, "is_active"), &out->is_active);
    json_to_slice(json_member(claims, "subscription_tier"), &tier);
    json_to_slice(json_member(claims, "role"), &role);
    tier_read(&role, 1, tier, out);
    struct json_items items = json_items(roles);
    while (items.left > 0) {
        out->is_admin |= json_to_slice(json_items_next(&items), &role) && is_admin_role(role);
    }
}

enum rc tier_check(const struct caller *caller) {
    return caller->is_admin || caller->has_premium ? RC_OK : RC_TIER_REQUIRED;
}
