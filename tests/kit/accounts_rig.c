// SPDX-License-Identifier: MIT
#include "kit/accounts_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/list.h"
#include "crypto/hash.h"

static enum rc open_parts(struct accounts_rig *rig, const struct accounts_rig_opts *opts) {
    struct accounts_backend *backend;
    if (opts->keys != NULL) {
        enum rc rc = fernet_keys_parse(slice_str(opts->keys), &rig->keys, rig->problem);
        if (rc != RC_OK) {
            return rc;
        }
    }
    enum rc rc = accounts_sqlite_open(&rig->loop, opts->path, &backend, rig->problem);
    if (rc != RC_OK) {
        return rc;
    }
    rig->accounts = accounts_new(&(struct accounts_opts){.loop = &rig->loop,
                                                         .work = rig->work,
                                                         .backend = backend,
                                                         .keys = rig->keys,
                                                         .log = rig->log,
                                                         .metrics = &rig->metrics,
                                                         .cache_max = opts->cache_max});
    return RC_OK;
}

enum rc accounts_rig_open(struct accounts_rig *rig, const struct accounts_rig_opts *opts) {
    *rig = (struct accounts_rig){0};
    if (hash_init() != RC_OK || loop_init(&rig->loop, &rig->clock) != RC_OK) {
        return RC_INTERNAL;
    }
    rig->work = work_new(&rig->loop, LIMIT_FAST_QUEUE);
    /* a descriptor below 3 is never one of a test's own */
    rig->log = log_new(opts->log_fd > 2 ? opts->log_fd : -1, LOG_DEBUG, &rig->clock, &rig->metrics);
    return open_parts(rig, opts);
}

enum rc accounts_rig_close(struct accounts_rig *rig) {
    if (rig->accounts != NULL) {
        accounts_close(rig->accounts, NULL, NULL);
    }
    loop_run(&rig->loop);
    work_close(rig->work, NULL, NULL);
    loop_run(&rig->loop);
    log_free(rig->log);
    fernet_keys_free(rig->keys);
    return loop_fini(&rig->loop);
}

static void copy(char *out, size_t bytes, struct slice text) {
    snprintf(out, bytes, "%.*s", SLICE_ARGS(text));
}

static void on_done(struct accounts_op *op) {
    struct accounts_rig_result *out = &LIST_ENTRY(op, struct accounts_rig_op, op)->result;
    out->rc = op->rc;
    out->calls++;
    out->connected = op->view.connected;
    out->sealed = op->sealed;
    out->synced_ms = op->view.synced_ms;
    copy(out->audible_user_id, sizeof out->audible_user_id, op->view.audible_user_id);
    copy(out->access_token, sizeof out->access_token, op->access_token);
    copy(out->refresh_token, sizeof out->refresh_token, op->refresh_token);
    copy(out->sealed_refresh, sizeof out->sealed_refresh, op->sealed_refresh);
}

static void start_link(struct accounts_rig *rig, struct accounts_rig_op *op,
                       const struct account_link *link) {
    *op = (struct accounts_rig_op){0};
    op->op.request_id = SLICE("test-request");
    accounts_link(rig->accounts, &op->op, link, on_done);
}

static struct account_link make_link(struct accounts_rig *rig, const char *user_id,
                                     const char *access_token) {
    int64_t now_ms = loop_wall_ms(&rig->loop);
    return (struct account_link){
        .user_id = slice_str(user_id),
        .audible_user_id = SLICE("amzn1.account.TEST"),
        .access_token = slice_str(access_token),
        .refresh_token = SLICE("refresh-of-a-test"),
        .expires_ms = now_ms + 3600 * 1000,
        .now_ms = now_ms,
    };
}

void accounts_rig_start_link(struct accounts_rig *rig, struct accounts_rig_op *op,
                             const char *user_id, const char *access_token) {
    struct account_link link = make_link(rig, user_id, access_token);
    start_link(rig, op, &link);
}

enum rc accounts_rig_link(struct accounts_rig *rig, const char *user_id, const char *access_token,
                          const char *refresh_token) {
    struct accounts_rig_op op;
    struct account_link link = make_link(rig, user_id, access_token);
    link.refresh_token = slice_str(refresh_token);
    start_link(rig, &op, &link);
    loop_run(&rig->loop);
    return op.result.calls == 1 ? op.result.rc : RC_INTERNAL;
}

enum rc accounts_rig_ping(struct accounts_rig *rig) {
    struct accounts_rig_op op = {0};
    accounts_ping(rig->accounts, &op.op, on_done);
    loop_run(&rig->loop);
    return op.result.calls == 1 ? op.result.rc : RC_INTERNAL;
}

void accounts_rig_start(struct accounts_rig *rig, struct accounts_rig_op *op,
                        accounts_rig_call *call, const char *user_id) {
    *op = (struct accounts_rig_op){0};
    call(rig->accounts, &op->op, slice_str(user_id), on_done);
}

struct accounts_rig_result accounts_rig_ask(struct accounts_rig *rig, accounts_rig_call *call,
                                            const char *user_id) {
    struct accounts_rig_op op;
    accounts_rig_start(rig, &op, call, user_id);
    loop_run(&rig->loop);
    return op.result;
}
