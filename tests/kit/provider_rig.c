// SPDX-License-Identifier: MIT
#include "kit/provider_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/hash.h"
#include "kit/leaks.h"
#include "provider/authorize.h"

const struct rig_opts rig_usual = {
    .connections_max = 8,
    .queue_max = 100,
    .work_max = 100,
    .timeout_ms = 20000,
};

static const char redirect_uri[] = "http://127.0.0.1:8090/api/v1/user/audible/oauth/callback";

/* --- opening and closing ---------------------------------------------------------------------- */

static void fill_provider(struct rig *rig) {
    const char *url = simprovider_url(rig->sim);
    snprintf(rig->auth_url, sizeof rig->auth_url, "%s/auth/oauth2", url);
    snprintf(rig->api_base_url, sizeof rig->api_base_url, "%s/api", url);
    snprintf(rig->revoke_url, sizeof rig->revoke_url, "%s/auth/oauth2/revoke", url);
    rig->provider = (struct provider){
        .auth_url = slice_str(rig->auth_url),
        .api_base_url = slice_str(rig->api_base_url),
        .revoke_url = slice_str(rig->revoke_url),
        .client_id = SLICE("sim-client"),
        .client_secret = SLICE("sim-secret"),
        .redirect_uri = slice_str(redirect_uri),
        .names = &provider_audible,
        .loop = &rig->loop,
        .upstream = rig->upstream,
        .work = rig->work,
        .metrics = &rig->metrics,
        .log = rig->log,
        .retry = {.retries_max = 2, .pause_first_ms = 20, .pause_max_ms = 40},
    };
}

struct rig *rig_new(const struct rig_opts *opts) {
    struct rig *rig = mem_calloc(1, sizeof *rig);
    char sim_problem[SIMPROVIDER_PROBLEM_BYTES];
    const char *problem = NULL;
    const struct upstream_opts calls = {
        .connect_timeout_ms = 5000,
        .timeout_ms = opts->timeout_ms,
        .connections_max = opts->connections_max,
        .keepalive_max = 4,
        .queue_max = opts->queue_max,
        .user_agent = "test/1",
    };
    cr_assert_eq(hash_init(), RC_OK);
    rig->sim = simprovider_spawn(&(struct simprovider_opts){0}, sim_problem);
    cr_assert_not_null(rig->sim, "%s", sim_problem);
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    rig->log_fd = memfd_create("log", MFD_CLOEXEC);
    rig->log = log_new(rig->log_fd, LOG_DEBUG, &rig->clock, &rig->metrics);
    rig->upstream = upstream_new(&rig->loop, &calls, &problem);
    cr_assert_not_null(rig->upstream, "%s", problem);
    rig->work = work_new(&rig->loop, opts->work_max);
    fill_provider(rig);
    loop_timer_init(&rig->loop, &rig->watch);
    rig->query = "the";
    rig->asin = "X";
    rig->limit = 20;
    rig->patience_ms = 10000;
    for (size_t i = 0; i < RIG_CALLS; i++) {
        rig->calls[i].rig = rig;
    }
    return rig;
}

static void on_closed(void *owner) {
    struct rig *rig = owner;
    rig->closing--;
}

void rig_end(struct rig *rig) {
    cr_assert_eq(rig->open, 0);
    rig->closing = 2;
    upstream_close(rig->upstream, on_closed, rig);
    work_close(rig->work, on_closed, rig);
    loop_timer_close(&rig->watch, NULL);
    loop_run(&rig->loop);
    cr_assert_eq(rig->closing, 0);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK, "a handle is still open");
    cr_assert(simprovider_join(rig->sim));
    log_free(rig->log);
    close(rig->log_fd);
    for (size_t i = 0; i < RIG_CALLS; i++) {
        buf_fini(&rig->calls[i].json);
    }
    mem_free(rig);
    CHECK_LEAKS();
}

/* --- calls ------------------------------------------------------------------------------------ */

static void keep(char out[RIG_TEXT_BYTES], struct slice text) {
    cr_assert_lt(text.len, RIG_TEXT_BYTES);
    if (text.len > 0) {
        memcpy(out, text.at, text.len);
    }
    out[text.len] = '\0';
}

static void on_done(struct rig_call *call) {
    struct rig *rig = call->rig;
    call->done++;
    call->took_ms = clock_mono_ms(&rig->clock) - call->started_ms;
    /* The op is its owner's again: nobody may look at it after this. */
    memset(&call->op, 0xA5, sizeof call->op);
    rig->open--;
    if (rig->open == 0) {
        loop_stop(&rig->loop);
    }
}

static void on_token(struct token_op *op) {
    struct rig_call *call = LIST_ENTRY(op, struct rig_call, op.token);
    call->rc = op->rc;
    call->was_sent = op->was_sent;
    call->is_refusing_us = op->is_refusing_us;
    call->expires_in_s = op->expires_in_s;
    if (op->rc == RC_OK) {
        keep(call->access_token, op->access_token);
        keep(call->refresh_token, op->refresh_token);
        keep(call->user_id, op->provider_user_id);
    }
    on_done(call);
}

static void on_books(struct books_op *op) {
    struct rig_call *call = LIST_ENTRY(op, struct rig_call, op.books);
    call->rc = op->rc;
    call->count = op->count;
    if (op->rc == RC_OK) {
        call->json = op->json;
    } else {
        cr_assert_null(op->json.at, "memory after a failure");
    }
    on_done(call);
}

static void start_exchange(struct rig *rig, struct token_op *op) {
    const struct token_exchange exchange = {
        .code = slice_str(rig->code),
        .verifier = slice_str(rig->verifier),
        .redirect_uri = slice_str(redirect_uri),
        .user_id = SLICE("user-1"),
        .request_id = SLICE("request-1"),
        .timeout_ms = rig->patience_ms,
    };
    token_exchange(&rig->provider, op, &exchange, on_token);
}

static void start_refresh(struct rig *rig, struct token_op *op, bool is_revoke) {
    const struct token_refresh refresh = {
        .refresh_token = slice_str(rig->refresh_token),
        .user_id = SLICE("user-1"),
        .request_id = SLICE("request-1"),
        .deadline_ms = loop_now_ms(&rig->loop) + rig->patience_ms,
    };
    (is_revoke ? token_revoke : token_refresh)(&rig->provider, op, &refresh, on_token);
}

static void start_books(struct rig *rig, struct books_op *op,
                        enum provider_call_endpoint endpoint) {
    const struct books_caller caller = {
        .user_id = SLICE("user-1"),
        .request_id = SLICE("request-1"),
        .deadline_ms = loop_now_ms(&rig->loop) + rig->patience_ms,
    };
    const struct books_page page = {
        .access_token = slice_str(rig->access_token),
        .skip = rig->skip,
        .limit = rig->limit,
        .is_counted_only = rig->is_counted_only,
    };
    if (endpoint == PROVIDER_CALL_LIBRARY) {
        books_library(&rig->provider, op, &caller, &page, on_books);
    } else if (endpoint == PROVIDER_CALL_SEARCH) {
        books_search(&rig->provider, op, &caller,
                     &(struct books_query){slice_str(rig->query), rig->limit}, on_books);
    } else {
        books_details(&rig->provider, op, &caller, slice_str(rig->asin), on_books);
    }
}

struct rig_call *rig_start(struct rig *rig, size_t i, enum provider_call_endpoint endpoint) {
    struct rig_call *call = &rig->calls[i];
    buf_fini(&call->json);
    memset(call, 0, sizeof *call);
    call->rig = rig;
    call->endpoint = endpoint;
    call->started_ms = clock_mono_ms(&rig->clock);
    rig->open++;
    if (endpoint == PROVIDER_CALL_TOKEN) {
        start_exchange(rig, &call->op.token);
    } else if (rig_is_post(endpoint)) {
        start_refresh(rig, &call->op.token, endpoint == PROVIDER_CALL_REVOKE);
    } else {
        start_books(rig, &call->op.books, endpoint);
    }
    cr_assert_eq(call->done, 0, "done was told before the start had returned");
    return call;
}

void rig_cancel(struct rig_call *call) {
    int done = call->done;
    if (rig_is_post(call->endpoint)) {
        token_cancel(&call->op.token);
    } else {
        books_cancel(&call->op.books);
    }
    cr_assert_eq(call->done, done, "done was told inside the cancel");
}

void rig_run(struct rig *rig) {
    if (rig->open > 0) {
        loop_run(&rig->loop);
    }
    cr_assert_eq(rig->open, 0, "%zu calls never end", rig->open);
    for (size_t i = 0; i < RIG_CALLS; i++) {
        cr_assert_leq(rig->calls[i].done, 1, "done %d times", rig->calls[i].done);
    }
}

struct rig_call *rig_ask(struct rig *rig, enum provider_call_endpoint endpoint) {
    struct rig_call *call = rig_start(rig, 0, endpoint);
    rig_run(rig);
    cr_assert_eq(call->done, 1);
    return call;
}

static void on_watch(struct loop_timer *timer) {
    struct rig *rig = LIST_ENTRY(timer, struct rig, watch);
    if (rig->is_time(rig)) {
        loop_timer_stop(timer);
        rig->then_ran = true;
        rig->then(rig);
    }
}

void rig_when(struct rig *rig, bool (*is_time)(struct rig *rig), void (*then)(struct rig *rig)) {
    rig->is_time = is_time;
    rig->then = then;
    rig->then_ran = false;
    loop_timer_start(&rig->watch, 1, 1, on_watch);
}

/* --- the user --------------------------------------------------------------------------------- */

void rig_consent(struct rig *rig) {
    struct simprovider_return back;
    char challenge[RANDOM_TEXT_BYTES];
    char at[2048];
    struct buf url;
    memset(rig->verifier, 'v', RANDOM_TEXT_BYTES);
    cr_assert_eq(hash_pkce_challenge(slice_str(rig->verifier), challenge), RC_OK);
    buf_init_fixed(&url, at, sizeof at);
    authorize_write_url(
        &rig->provider,
        &(struct authorize_request){.state = SLICE("some-state"),
                                    .code_challenge = slice_make(challenge, sizeof challenge),
                                    .redirect_uri = slice_str(redirect_uri)},
        &url);
    cr_assert(simprovider_consent(rig->sim, buf_slice(&url), true, &back), "%s", back.error);
    snprintf(rig->code, sizeof rig->code, "%s", back.code);
}

void rig_link(struct rig *rig) {
    rig_consent(rig);
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_TOKEN);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    memcpy(rig->access_token, call->access_token, RIG_TEXT_BYTES);
    memcpy(rig->refresh_token, call->refresh_token, RIG_TEXT_BYTES);
}

/* --- what is seen of it ----------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *path;
    enum simprovider_counter counter;
} endpoints[] = {
    [PROVIDER_CALL_TOKEN] = {"token", "/auth/oauth2/token", SIMPROVIDER_EXCHANGES},
    [PROVIDER_CALL_REFRESH] = {"refresh", "/auth/oauth2/token", SIMPROVIDER_REFRESHES},
    [PROVIDER_CALL_REVOKE] = {"revoke", "/auth/oauth2/revoke", SIMPROVIDER_REVOKES},
    [PROVIDER_CALL_LIBRARY] = {"library", "/api/1.0/library", SIMPROVIDER_LIBRARIES},
    [PROVIDER_CALL_SEARCH] = {"search", "/api/1.0/catalog/search", SIMPROVIDER_SEARCHES},
    [PROVIDER_CALL_DETAILS] = {"details", "/api/1.0/catalog/*", SIMPROVIDER_DETAILS},
};

void rig_fault(struct rig *rig, enum provider_call_endpoint endpoint,
               struct simprovider_fault fault) {
    fault.path = endpoints[endpoint].path;
    cr_assert(simprovider_fault(rig->sim, &fault));
}

int64_t rig_sends(struct rig *rig, enum provider_call_endpoint endpoint) {
    return simprovider_count(rig->sim, endpoints[endpoint].counter);
}

int64_t rig_metric(struct rig *rig, enum provider_call_endpoint endpoint,
                   enum provider_call_outcome outcome) {
    int first = METRIC_PROVIDER_TOKEN_2XX + (int)endpoint * PROVIDER_CALL_OUTCOMES;
    return metrics_get(&rig->metrics, (enum metric)(first + (int)outcome));
}

const char *rig_endpoint_name(enum provider_call_endpoint endpoint) {
    return endpoints[endpoint].name;
}

bool rig_is_post(enum provider_call_endpoint endpoint) {
    return endpoint <= PROVIDER_CALL_REVOKE;
}

void rig_log(struct rig *rig, char out[RIG_LOG_BYTES]) {
    log_flush(rig->log);
    ssize_t n = pread(rig->log_fd, out, RIG_LOG_BYTES - 1, 0);
    cr_assert_geq(n, 0);
    out[n] = '\0';
}
