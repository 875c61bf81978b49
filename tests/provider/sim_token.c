// SPDX-License-Identifier: MIT
#include "base/jsonw.h"
#include "provider/sim_authorize.h"
#include "provider/sim_endpoints.h"

/* The client authenticates in the body (client_secret_post, RFC 6749 section 2.3.1). */
static bool client_is_ours(struct sim_call *call) {
    struct slice id = sim_parameter(call, call->body, "client_id");
    struct slice secret = sim_parameter(call, call->body, "client_secret");
    bool known = slice_eq(id, slice_str(call->sim->client_id)) &&
                 slice_eq_ct(secret, secret_slice(&call->sim->client_secret));
    if (!known) {
        sim_answer_error(call->answer, 401, "invalid_client");
    }
    return known;
}

static bool is_form(struct sim_call *call) {
    struct slice type = slice_head(call->content_type, slice_find(call->content_type, ';'));
    bool good = slice_ieq(slice_trim(type), SLICE("application/x-www-form-urlencoded"));
    if (!good) {
        sim_answer_error(call->answer, 400, "invalid_request");
    }
    return good;
}

static void write_tokens(struct sim_call *call, const struct sim_family *family) {
    struct sim *sim = call->sim;
    char access_at[SIM_TOKEN_MAX];
    char refresh_at[SIM_TOKEN_MAX];
    struct buf access;
    struct buf refresh;
    buf_init_fixed(&access, access_at, sizeof access_at);
    buf_init_fixed(&refresh, refresh_at, sizeof refresh_at);
    sim_grants_write_access(&sim->grants, family, call->now_ms, &access);
    sim_grants_write_refresh(&sim->grants, family, &refresh);
    struct jsonw w = jsonw_start(&call->answer->body);
    call->answer->status = 200;
    call->answer->content_type = "application/json";
    jsonw_open(&w, '{');
    jsonw_member(&w, "access_token", buf_slice(&access));
    jsonw_member(&w, "refresh_token", buf_slice(&refresh));
    jsonw_member(&w, "token_type", SLICE("Bearer"));
    jsonw_name(&w, "expires_in");
    jsonw_i64(&w, sim->grants.access_ttl_ms / 1000);
    jsonw_member(&w, "user_id", slice_str(sim->user_id));
    jsonw_close(&w, '}');
}

static enum sim_grant_result exchange(struct sim_call *call, struct sim_family **family) {
    struct sim *sim = call->sim;
    struct slice uri = sim_parameter(call, call->body, "redirect_uri");
    size_t uri_at = sim_authorize_redirect_uri(sim, uri);
    if (uri_at == sim->redirect_uri_count) {
        return SIM_GRANT_REFUSED;
    }
    enum sim_grant_result result =
        sim_grants_exchange(&sim->grants, sim_parameter(call, call->body, "code"), uri_at,
                            sim_parameter(call, call->body, "code_verifier"), call->now_ms, family);
    if (result == SIM_GRANT_REUSED) {
        sim_count(sim, SIMPROVIDER_CODE_REUSES);
    }
    return result;
}

static enum sim_grant_result refresh(struct sim_call *call, struct sim_family **family) {
    enum sim_grant_result result = sim_grants_refresh(
        &call->sim->grants, sim_parameter(call, call->body, "refresh_token"), call->now_ms, family);
    if (result == SIM_GRANT_REUSED) {
        sim_count(call->sim, SIMPROVIDER_REFRESH_REUSES);
    }
    return result;
}

enum simprovider_counter sim_token_counter(struct sim_call *call) {
    struct slice type = sim_parameter(call, call->body, "grant_type");
    return slice_eq(type, SLICE("authorization_code")) ? SIMPROVIDER_EXCHANGES
           : slice_eq(type, SLICE("refresh_token"))    ? SIMPROVIDER_REFRESHES
                                                       : SIMPROVIDER_TOKENS_OTHER;
}

void sim_token(struct sim_call *call) {
    struct sim_family *family = NULL;
    struct slice type = sim_parameter(call, call->body, "grant_type");
    bool is_code = slice_eq(type, SLICE("authorization_code"));
    bool is_refresh = slice_eq(type, SLICE("refresh_token"));
    if (!is_form(call) || !client_is_ours(call)) {
        return;
    }
    if (!is_code && !is_refresh) {
        sim_answer_error(call->answer, 400,
                         slice_is_null(type) ? "invalid_request" : "unsupported_grant_type");
        return;
    }
    if ((is_code ? exchange(call, &family) : refresh(call, &family)) != SIM_GRANT_OK) {
        sim_answer_error(call->answer, 400, "invalid_grant");
        return;
    }
    sim_count(call->sim, is_code ? SIMPROVIDER_EXCHANGES_OK : SIMPROVIDER_REFRESHES_OK);
    write_tokens(call, family);
}

/* RFC 7009: 200 for a token that we don't know, too. */
void sim_token_revoke(struct sim_call *call) {
    if (!is_form(call) || !client_is_ours(call)) {
        return;
    }
    struct slice token = sim_parameter(call, call->body, "token");
    if (slice_is_null(token)) {
        sim_answer_error(call->answer, 400, "invalid_request");
        return;
    }
    sim_grants_revoke(&call->sim->grants, token);
    secret_free(&call->sim->revoked);
    call->sim->revoked = secret_copy(slice_head(token, LIMIT_TOKEN_BYTES));
    call->answer->status = 200;
}
