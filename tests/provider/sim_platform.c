// SPDX-License-Identifier: MIT
#include "base/json.h"
#include "base/jsonw.h"
#include "provider/sim_endpoints.h"

/* The sample platform signs its users in, as the real one would. */
enum { SESSION_S = 3600, CLAIMS_BYTES = 512, JWT_BYTES = 1024 };

static const struct person {
    const char *user;
    const char *role;
    const char *tier;
} people[] = {
    {"basic", "user", "basic"},
    {"premium", "user", "premium"},
    {"family", "user", "family"},
    {"admin", "admin", "basic"},
};

static const struct person *find(struct slice user) {
    for (size_t i = 0; i < sizeof people / sizeof *people; i++) {
        if (slice_eq(user, slice_str(people[i].user))) {
            return &people[i];
        }
    }
    return NULL;
}

static const struct person *person_of(struct slice body) {
    struct slice user = SLICE_NULL;
    struct json_document *document = json_parse(body, JSON_LAST_WINS);
    const struct person *person =
        json_to_slice(json_member(json_root(document), "user"), &user) ? find(user) : NULL;
    json_close(document);
    return person;
}

static enum rc sign(struct sim *sim, const struct person *person, int64_t now_s, struct buf *out) {
    char claims_at[CLAIMS_BYTES];
    struct buf claims;
    buf_init_fixed(&claims, claims_at, sizeof claims_at);
    struct jsonw w = jsonw_start(&claims);
    jsonw_open(&w, '{');
    jsonw_name(&w, "sub");
    jsonw_slice(&w, slice_str(person->user));
    jsonw_member(&w, "role", slice_str(person->role));
    jsonw_member(&w, "subscription_tier", slice_str(person->tier));
    jsonw_name(&w, "is_active");
    jsonw_bool(&w, true);
    jsonw_member(&w, "type", SLICE("access"));
    jsonw_name(&w, "iat");
    jsonw_i64(&w, now_s);
    jsonw_name(&w, "exp");
    jsonw_i64(&w, now_s + SESSION_S);
    jsonw_close(&w, '}');
    return jwt_sign(&sim->platform, buf_slice(&claims), out);
}

void sim_platform_session(struct sim_call *call) {
    struct sim *sim = call->sim;
    const struct person *person = person_of(call->body);
    char token_at[JWT_BYTES];
    struct buf token;
    if (sim->platform.hmac == NULL) {
        sim_answer_error(call->answer, 503, "no_platform_secret");
        return;
    }
    if (person == NULL) {
        sim_answer_error(call->answer, 400, "unknown_user");
        return;
    }
    buf_init_fixed(&token, token_at, sizeof token_at);
    if (sign(sim, person, call->now_ms / 1000, &token) != RC_OK) {
        sim_answer_error(call->answer, 500, "server_error");
        return;
    }
    struct jsonw w = jsonw_start(&call->answer->body);
    call->answer->status = 200;
    call->answer->content_type = "application/json";
    jsonw_open(&w, '{');
    jsonw_member(&w, "token", buf_slice(&token));
    jsonw_member(&w, "latchkey_url", slice_str(sim->latchkey_url));
    jsonw_name(&w, "expires_in");
    jsonw_i64(&w, SESSION_S);
    jsonw_close(&w, '}');
}
