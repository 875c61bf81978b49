// SPDX-License-Identifier: MIT
#include "link/disconnect.h"

static void on_removed(struct accounts_op *remove);

void disconnect_start(struct linker *linker, struct disconnect *flow,
                      void (*done)(struct disconnect *flow)) {
    flow->linker = linker;
    flow->done = done;
    flow->remove.request_id = flow->request_id;
    accounts_remove(linker->accounts, &flow->remove, flow->user_id, on_removed);
}

static void log_removed(struct disconnect *flow) {
    struct log *log = flow->linker->log;
    struct slice audible_user_id = flow->remove.view.audible_user_id;
    LOG_AUDIT(log, "token_disconnected", flow->request_id, log_text("user_id", flow->user_id),
              log_text("audible_user_id", audible_user_id), log_text("client", flow->client),
              log_text("outcome", SLICE("ok")), log_bool("sealed", flow->remove.sealed),
              log_text("cause", SLICE_NULL));
    LOG(log, LOG_INFO, "account_disconnected", flow->request_id, log_text("user_id", flow->user_id),
        log_text("audible_user_id", audible_user_id));
}

static void tell_provider(struct disconnect *flow) {
    const struct accounts_op *removed = &flow->remove;
    struct slice token =
        removed->refresh_token.len > 0 ? removed->refresh_token : removed->access_token;
    revocation_start(flow->linker->revocations,
                     &(struct revocation){.user_id = flow->user_id,
                                          .audible_user_id = removed->view.audible_user_id,
                                          .request_id = flow->request_id,
                                          .client = flow->client,
                                          .token = token});
}

/* Tokens that no key opens are deleted like any other. */
static enum rc read_removed(enum rc rc) {
    switch (rc) {
    case RC_OK:
    case RC_NO_KEY_OPENS:
        return RC_OK;
    case RC_ABSENT:
        return RC_NO_ACCOUNT;
    default:
        return RC_STORAGE_UNAVAILABLE;
    }
}

static void on_removed(struct accounts_op *remove) {
    struct disconnect *flow = LIST_ENTRY(remove, struct disconnect, remove);
    flow->rc = read_removed(remove->rc);
    if (flow->rc == RC_OK) {
        log_removed(flow);
        tell_provider(flow);
    }
    flow->done(flow);
}
