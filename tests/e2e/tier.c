// SPDX-License-Identifier: MIT
/* Premium, family or an admin: what opens the gate, and what only looks as if it did. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/leaks.h"
#include "kit/platform.h"

struct answer {
    int status;
    const char *detail;
};
static const struct answer allowed = {200, NULL};
static const struct answer refused = {403, "audible_requires_premium"};
static const struct answer not_valid = {401, "Could not validate credentials"};
static const struct answer locked_out = {400, "Inactive user"};

/* A row is what a token's payload says beside its subject and its expiry. */
static void expect_each(const char *const *claims, size_t count, const struct answer *answer) {
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    for (size_t i = 0; i < count; i++) {
        char token[KIT_JWT_BYTES];
        char got[64];
        struct client_response response;
        kit_jwt(token, (struct kit_jwt){.sub = "u", .more = claims[i]});
        int got_status = ask(kit_server_port(server),
                             (struct ask){.path = "connected", .token = token}, &response);
        cr_assert_eq(got_status, answer->status, "%s: %d", claims[i], got_status);
        if (answer->detail != NULL) {
            ask_member(&response, "detail", got, sizeof got);
            cr_assert_str_eq(got, answer->detail, "%s", claims[i]);
        }
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

#define EXPECT_EACH(claims, answer)                                                                \
    expect_each((claims), sizeof(claims) / sizeof(claims)[0], (answer))

Test(tier_gate, premium_and_family_open_it) {
    static const char *const claims[] = {
        "\"subscription_tier\":\"premium\"",
        "\"subscription_tier\":\"family\"",
        "\"subscription_tier\":\"premium\",\"role\":\"user\"",
        "\"subscription_tier\":\"family\",\"roles\":[]",
        "\"subscription_tier\":\"premium\",\"is_active\":true",
    };
    EXPECT_EACH(claims, &allowed);
}

Test(tier_gate, other_tiers_do_not) {
    static const char *const claims[] = {
        "\"a\":1",
        "\"subscription_tier\":\"\"",
        "\"subscription_tier\":\"basic\"",
        "\"subscription_tier\":\"free\"",
        "\"subscription_tier\":\"trial\"",
        "\"subscription_tier\":\"premium_expired\"",
        "\"subscription_tier\":\"family_basic\"",
    };
    EXPECT_EACH(claims, &refused);
}

Test(tier_gate, spellings_do_not) {
    static const char *const claims[] = {
        "\"subscription_tier\":\"Premium\"",       "\"subscription_tier\":\"PREMIUM\"",
        "\"subscription_tier\":\" premium\"",      "\"subscription_tier\":\"premium \"",
        "\"subscription_tier\":\"premium\\n\"",    "\"subscription_tier\":\"premium,family\"",
        "\"subscription_tier\":\"prem\\u0131um\"", "\"subscription_tier\":\"premiu\"",
    };
    EXPECT_EACH(claims, &refused);
}

Test(tier_gate, other_types_do_not) {
    static const char *const claims[] = {
        "\"subscription_tier\":true",
        "\"subscription_tier\":1",
        "\"subscription_tier\":null",
        "\"subscription_tier\":[\"premium\"]",
        "\"subscription_tier\":{\"premium\":true}",
        "\"role\":[\"admin\"]",
        "\"role\":true",
        "\"role\":{\"name\":\"admin\"}",
        "\"roles\":\"admin\"",
        "\"roles\":{\"admin\":true}",
        "\"roles\":[[\"admin\"]]",
        "\"roles\":[{\"name\":\"admin\"}]",
    };
    EXPECT_EACH(claims, &refused);
}

Test(tier_gate, other_names_of_claims_do_not) {
    static const char *const claims[] = {
        "\"tier\":\"premium\"",
        "\"Subscription_Tier\":\"premium\"",
        "\"subscriptionTier\":\"premium\"",
        "\"subscription\":{\"tier\":\"premium\"}",
        "\"is_admin\":true",
        "\"admin\":true",
        "\"scope\":\"admin\"",
        "\"groups\":[\"admin\"]",
        "\"Role\":\"admin\"",
        "\"user\":{\"role\":\"admin\"}",
    };
    EXPECT_EACH(claims, &refused);
}

Test(tier_gate, each_admin_role_opens_it_with_any_tier) {
    static const char *const claims[] = {
        "\"role\":\"super_admin\"",
        "\"role\":\"admin\"",
        "\"role\":\"content_manager\"",
        "\"role\":\"billing_admin\"",
        "\"role\":\"support\"",
        "\"role\":\"admin\",\"subscription_tier\":\"basic\"",
        "\"role\":\"support\",\"subscription_tier\":null",
    };
    EXPECT_EACH(claims, &allowed);
}

Test(tier_gate, an_admin_role_in_a_list_opens_it) {
    static const char *const claims[] = {
        "\"roles\":[\"super_admin\"]",
        "\"roles\":[\"user\",\"admin\"]",
        "\"roles\":[7,null,\"content_manager\"]",
        "\"role\":\"user\",\"roles\":[\"billing_admin\"]",
        "\"role\":\"support\",\"roles\":[]",
    };
    EXPECT_EACH(claims, &allowed);
}

Test(tier_gate, other_roles_do_not) {
    static const char *const claims[] = {
        "\"role\":\"user\"",
        "\"role\":\"\"",
        "\"role\":\"Admin\"",
        "\"role\":\"ADMIN\"",
        "\"role\":\"admin \"",
        "\"role\":\"admin,user\"",
        "\"role\":\"administrator\"",
        "\"role\":\"superadmin\"",
        "\"role\":\"support_agent\"",
        "\"role\":\"premium\"",
        "\"roles\":[]",
        "\"roles\":[\"user\",\"moderator\"]",
    };
    EXPECT_EACH(claims, &refused);
}

/* Two readers of one token could disagree about what it says. */
Test(tier_gate, a_claim_that_is_there_twice_is_no_claim) {
    static const char *const claims[] = {
        "\"subscription_tier\":\"basic\",\"subscription_tier\":\"premium\"",
        "\"subscription_tier\":\"premium\",\"subscription_tier\":\"basic\"",
        "\"role\":\"user\",\"role\":\"admin\"",
        "\"role\":\"admin\",\"r\\u006fle\":\"user\"",
    };
    EXPECT_EACH(claims, &not_valid);
}

Test(tier_gate, an_inactive_user_stays_out_with_any_tier_and_role) {
    static const char *const claims[] = {
        "\"is_active\":false",
        "\"is_active\":false,\"subscription_tier\":\"premium\"",
        "\"is_active\":false,\"role\":\"super_admin\"",
        "\"is_active\":false,\"roles\":[\"support\"]",
    };
    EXPECT_EACH(claims, &locked_out);
}

/* The token decides, at every request: nothing of an earlier one is remembered for its user. */
Test(tier_gate, each_request_is_judged_by_its_own_token) {
    struct platform p;
    char premium[KIT_JWT_BYTES];
    char basic[KIT_JWT_BYTES];
    platform_start(&p, NULL);
    ask_premium(premium, "u");
    kit_jwt(basic, (struct kit_jwt){.sub = "u", .tier = "basic"});
    platform_link(&p, "u");
    for (int i = 0; i < 3; i++) {
        ask_expect(p.port, (struct ask){.path = "library", .token = premium}, 200, NULL);
        ask_expect(p.port, (struct ask){.path = "library", .token = basic}, refused.status,
                   refused.detail);
        ask_expect(p.port, (struct ask){.path = "connected", .token = basic}, refused.status,
                   refused.detail);
    }
    platform_stop(&p);
    CHECK_LEAKS();
}

/* Who may not come in learns nothing of the configuration, and nobody reads the body. */
Test(tier_gate, it_stands_before_configuration_and_body) {
    static const char *const bodies[] = {"{\"redirect_uri\":\"\"}", "{}", "not json", ""};
    static const char *const unconfigured[] = {"AUDIBLE_CLIENT_SECRET=", NULL};
    char token[KIT_JWT_BYTES];
    kit_jwt(token, (struct kit_jwt){.sub = "u", .tier = "basic"});
    for (int configured = 0; configured < 2; configured++) {
        struct kit_server *server =
            kit_server_start_with(configured ? (const char *const[]){NULL} : unconfigured);
        for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
            ask_expect(
                kit_server_port(server),
                (struct ask){
                    .method = "POST", .path = "oauth/authorize", .token = token, .json = bodies[i]},
                refused.status, refused.detail);
        }
        cr_assert_eq(kit_server_metric(server, METRIC_STATES_CREATED), 0);
        kit_server_stop(server);
    }
    CHECK_LEAKS();
}
