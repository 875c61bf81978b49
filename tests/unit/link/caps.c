// SPDX-License-Identifier: MIT
/* What link/ holds is bounded: past the bound the answer is at once and honest. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/limits.h"
#include "kit/leaks.h"
#include "link/fresh_token.h"
#include "link/revocation.h"

enum { LOG_BYTES = 4096 };

struct rig {
    struct clock clock;
    struct metrics metrics;
    struct loop loop;
    struct provider provider;
    int log_fd;
    struct log *log;
    int closed;
};

static void open_rig(struct rig *rig) {
    *rig = (struct rig){.provider = {.revoke_url = SLICE("http://127.0.0.1:1/revoke")}};
    cr_assert_eq(loop_init(&rig->loop, &rig->clock), RC_OK);
    rig->log_fd = memfd_create("log", MFD_CLOEXEC);
    rig->log = log_new(rig->log_fd, LOG_DEBUG, &rig->clock, &rig->metrics);
}

static void close_rig(struct rig *rig) {
    cr_assert_eq(rig->closed, 1);
    cr_assert_eq(loop_fini(&rig->loop), RC_OK, "a handle is still open");
    log_free(rig->log);
    close(rig->log_fd);
    CHECK_LEAKS();
}

static void on_closed(void *owner) {
    struct rig *rig = owner;
    rig->closed++;
}

/* -- users whose token is being refreshed -- */

struct asked {
    struct fresh_token op;
    int calls;
};

static void on_token(struct fresh_token *op) {
    LIST_ENTRY(op, struct asked, op)->calls++;
}

static void expect_refused(struct rig *rig, struct fresh_tokens *tokens, struct slice user_id,
                           bool is_canceled) {
    struct asked asked = {
        .op = {.user_id = user_id, .deadline_ms = loop_now_ms(&rig->loop) + 1000}};
    fresh_token_get(tokens, &asked.op, on_token);
    cr_assert_eq(asked.calls, 0, "done within the call");
    if (is_canceled) {
        fresh_token_cancel(&asked.op);
    }
    loop_run(&rig->loop);
    cr_assert_eq(asked.calls, 1);
    cr_assert_eq(asked.op.rc, RC_OVERLOADED);
    cr_assert(slice_is_null(asked.op.access_token));
}

Test(caps, a_user_too_many_is_refused) {
    char long_id[LIMIT_USER_ID_BYTES + 1];
    struct rig rig;
    open_rig(&rig);
    memset(long_id, 'u', sizeof long_id);
    for (int is_canceled = 0; is_canceled < 2; is_canceled++) {
        struct fresh_tokens *tokens = fresh_tokens_new(&(struct fresh_tokens_opts){
            .loop = &rig.loop, .provider = &rig.provider, .log = rig.log, .metrics = &rig.metrics});
        rig.closed = 0;
        expect_refused(&rig, tokens, SLICE("user-1"), is_canceled);
        expect_refused(&rig, tokens, slice_make(long_id, sizeof long_id), is_canceled);
        fresh_tokens_close(tokens, on_closed, &rig);
        cr_assert_eq(rig.closed, 0, "closed within the call");
        loop_run(&rig.loop);
    }
    close_rig(&rig);
}

/* -- tokens that are to be revoked -- */

static size_t logged(const struct rig *rig, const char *text) {
    char log[LOG_BYTES] = "";
    log_flush(rig->log);
    ssize_t n = pread(rig->log_fd, log, sizeof log - 1, 0);
    cr_assert_geq(n, 0);
    size_t count = 0;
    for (const char *at = strstr(log, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

Test(caps, a_revocation_too_many_is_said_to_have_failed) {
    struct rig rig;
    open_rig(&rig);
    struct revocations *revocations = revocations_new(&(struct revocations_opts){
        .loop = &rig.loop, .provider = &rig.provider, .log = rig.log, .timeout_ms = 1000});
    const struct revocation good = {.user_id = SLICE("user-1"), .token = SLICE("secret-token")};
    revocation_start(revocations, &good);
    cr_assert_eq(logged(&rig, "\"event\":\"token_revoke_failed\""), 1);
    cr_assert_eq(logged(&rig, "\"cause\":\"overloaded\""), 1);
    /* nothing to revoke, or nowhere: nothing is said */
    revocation_start(revocations, &(struct revocation){.user_id = SLICE("user-1")});
    rig.provider.revoke_url = SLICE_NULL;
    revocation_start(revocations, &good);
    cr_assert_eq(logged(&rig, "\"event\":"), 1);
    cr_assert_eq(logged(&rig, "secret-token"), 0);
    revocations_close(revocations, on_closed, &rig);
    loop_run(&rig.loop);
    close_rig(&rig);
}
