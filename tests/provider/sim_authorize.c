// SPDX-License-Identifier: MIT
#include "provider/sim_authorize.h"

#include <string.h>

#include "base/b64.h"
#include "provider/sim_endpoints.h"
#include "provider/sim_page.h"

/* An authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3). */
struct wish {
    struct slice client_id;
    struct slice redirect_uri;
    struct slice response_type;
    struct slice scope;
    struct slice state;
    struct slice challenge;
    struct slice challenge_method;
    size_t redirect_uri_at;
};

/* What is wrong with it. */
struct objection {
    const char *page;  /* the browser isn't sent back: a sentence's end */
    const char *error; /* it is, with this */
};

static const struct field {
    const char *name;
    size_t offset;
} fields[] = {
    {"client_id", offsetof(struct wish, client_id)},
    {"redirect_uri", offsetof(struct wish, redirect_uri)},
    {"response_type", offsetof(struct wish, response_type)},
    {"scope", offsetof(struct wish, scope)},
    {"state", offsetof(struct wish, state)},
    {"code_challenge", offsetof(struct wish, challenge)},
    {"code_challenge_method", offsetof(struct wish, challenge_method)},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static struct slice *field_of(struct wish *wish, size_t i) {
    return (struct slice *)(void *)((char *)wish + fields[i].offset);
}

size_t sim_authorize_redirect_uri(const struct sim *sim, struct slice uri) {
    size_t i = 0;
    while (i < sim->redirect_uri_count && !slice_eq(uri, slice_str(sim->redirect_uris[i]))) {
        i++;
    }
    return i;
}

static bool scope_is_known(struct slice scope) {
    struct slice word;
    while (slice_split(&scope, ' ', &word)) {
        if (!slice_eq(word, SLICE("library")) && !slice_eq(word, SLICE("profile"))) {
            return false;
        }
    }
    return true;
}

static bool challenge_is_good(struct slice challenge) {
    unsigned char bytes[B64_DECODED_MAX(RANDOM_TEXT_BYTES)];
    size_t n;
    return challenge.len == RANDOM_TEXT_BYTES && b64_decode_unpadded(bytes, &n, challenge);
}

static struct objection read_wish(struct sim_call *call, struct slice form, struct wish *wish) {
    for (size_t i = 0; i < FIELDS; i++) {
        *field_of(wish, i) = sim_parameter(call, form, fields[i].name);
    }
    wish->redirect_uri_at = sim_authorize_redirect_uri(call->sim, wish->redirect_uri);
    if (!slice_eq(wish->client_id, slice_str(call->sim->client_id))) {
        return (struct objection){.page = "we don’t know it (its client_id)"};
    }
    if (wish->redirect_uri_at == call->sim->redirect_uri_count ||
        wish->state.len > LIMIT_STATE_BYTES) {
        return (struct objection){.page = "it isn’t registered for this redirect_uri"};
    }
    if (!slice_eq(wish->response_type, SLICE("code"))) {
        return (struct objection){.error = "unsupported_response_type"};
    }
    if (!challenge_is_good(wish->challenge) || !slice_eq(wish->challenge_method, SLICE("S256"))) {
        return (struct objection){.error = "invalid_request"};
    }
    if (!scope_is_known(wish->scope)) {
        return (struct objection){.error = "invalid_scope"};
    }
    return (struct objection){0};
}

static void copy(char *out, size_t bytes, struct slice text) {
    struct slice head = slice_head(text, bytes - 1);
    if (head.len > 0) {
        memcpy(out, head.at, head.len);
    }
    out[head.len] = '\0';
}

/* With a code, or with `out->error` where that is set. */
static void send_back(struct sim *sim, const struct wish *wish, struct simprovider_return *out) {
    struct buf location;
    bool is_error = out->error[0] != '\0';
    buf_init_fixed(&location, out->location, sizeof out->location - 1);
    buf_append(&location, wish->redirect_uri);
    buf_append_char(&location,
                    slice_find(wish->redirect_uri, '?') < wish->redirect_uri.len ? '&' : '?');
    buf_append(&location, slice_str(is_error ? "error=" : "code="));
    buf_append_form(&location, slice_str(is_error ? out->error : out->code));
    if (!slice_is_null(wish->state)) {
        BUF_LIT(&location, "&state=");
        buf_append_form(&location, wish->state);
    }
    if (sim->issuer != NULL) {
        BUF_LIT(&location, "&iss=");
        buf_append_form(&location, slice_str(sim->issuer));
    }
    out->location[buf_ok(&location) ? location.len : 0] = '\0';
    copy(out->redirect_uri, sizeof out->redirect_uri, wish->redirect_uri);
    copy(out->state, sizeof out->state, wish->state);
}

bool sim_authorize_consent(struct sim_call *call, struct slice form, bool allow,
                           struct simprovider_return *out) {
    struct wish wish;
    struct objection objection = read_wish(call, form, &wish);
    *out = (struct simprovider_return){0};
    if (objection.page != NULL) {
        copy(out->error, sizeof out->error, slice_str(objection.page));
        return false;
    }
    if (objection.error != NULL || !allow) {
        copy(out->error, sizeof out->error,
             slice_str(objection.error != NULL ? objection.error : "access_denied"));
        sim_count(call->sim, SIMPROVIDER_DENIALS);
    } else {
        struct buf code;
        buf_init_fixed(&code, out->code, sizeof out->code - 1);
        sim_grants_consent(&call->sim->grants, wish.redirect_uri_at, wish.challenge.at,
                           call->now_ms, &code);
        out->code[code.len] = '\0';
        sim_count(call->sim, SIMPROVIDER_CONSENTS);
    }
    send_back(call->sim, &wish, out);
    return objection.error == NULL;
}

/* scheme://host[:port] of a URI that was registered. */
static struct slice origin_of(struct slice uri) {
    size_t scheme = slice_find(uri, ':') + 3;
    return slice_head(uri, scheme + slice_find(slice_from(uri, scheme), '/'));
}

static void refuse(struct sim_call *call, const char *why) {
    const struct sim_page_field page[] = {{"why", slice_str(why), false}};
    sim_page_render(call->answer, "refused.html", page, 1);
    BUF_LIT(&call->answer->csp, SIM_PAGE_PROVIDER_CSP);
    call->answer->status = 400;
}

static void redirect(struct sim_call *call, const struct simprovider_return *back) {
    call->answer->status = 303;
    BUF_LIT(&call->answer->headers, "Location: ");
    buf_append(&call->answer->headers, slice_str(back->location));
    BUF_LIT(&call->answer->headers, "\r\n");
}

/* The request again, for the form to send. */
static void write_fields(struct wish *wish, struct buf *out) {
    for (size_t i = 0; i < FIELDS; i++) {
        struct slice value = *field_of(wish, i);
        if (slice_is_null(value)) {
            continue;
        }
        BUF_LIT(out, "      <input type=\"hidden\" name=\"");
        buf_append(out, slice_str(fields[i].name));
        BUF_LIT(out, "\" value=\"");
        sim_page_escape(out, value);
        BUF_LIT(out, "\">\n");
    }
}

void sim_authorize_page(struct sim_call *call) {
    struct wish wish;
    struct simprovider_return back;
    struct objection objection = read_wish(call, call->query, &wish);
    if (objection.page != NULL) {
        refuse(call, objection.page);
        return;
    }
    if (objection.error != NULL) {
        sim_authorize_consent(call, call->query, false, &back);
        redirect(call, &back);
        return;
    }
    struct slice origin = origin_of(wish.redirect_uri);
    struct buf hidden;
    buf_init_arena(&hidden, call->arena, 64 * 1024);
    write_fields(&wish, &hidden);
    const struct sim_page_field page[] = {
        {"client", SLICE("Marlow"), false},
        {"fields", buf_slice(&hidden), true},
        {"host", slice_from(origin, slice_find(origin, ':') + 3), false},
    };
    sim_page_render(call->answer, "consent.html", page, sizeof page / sizeof *page);
    /* Browsers hold the form's redirects against this as well. */
    BUF_LIT(&call->answer->csp, SIM_PAGE_PROVIDER_CSP " ");
    buf_append(&call->answer->csp, origin);
}

void sim_authorize_decision(struct sim_call *call) {
    struct simprovider_return back;
    struct slice decision = sim_parameter(call, call->body, "decision");
    bool allow = slice_eq(decision, SLICE("allow"));
    if (!allow && !slice_eq(decision, SLICE("deny"))) {
        refuse(call, "nothing was decided");
        return;
    }
    sim_authorize_consent(call, call->body, allow, &back);
    if (back.location[0] == '\0') {
        refuse(call, back.error);
        return;
    }
    redirect(call, &back);
}
