// SPDX-License-Identifier: MIT
#include "app/command_unlink.h"

#include <getopt.h>
#include <stdio.h>

#include "app/command_store.h"
#include "app/provider_parts.h"
#include "base/limits.h"
#include "link/disconnect.h"
#include "link/linker.h"

/* What the server has around a disconnect, for one of them. */
struct unlink {
    struct command_store store;
    struct upstream *upstream;
    struct provider provider;
    struct accounts *accounts;
    struct linker linker;
    struct disconnect flow;
};

static int parse_options(const struct command_line *line, struct slice *sub) {
    static const struct option options[] = {{"sub", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    opterr = 0;
    optind = 0; /* glibc: start over */
    for (;;) {
        int at = optind > 0 ? optind : 1;
        int option = getopt_long(line->argc, line->argv, "+:", options, NULL);
        if (option == -1 && optind < line->argc) {
            return command_line_refuse(line, line->argv[optind]);
        }
        if (option == -1) {
            break;
        }
        if (option != 's') {
            return command_line_refuse(line, line->argv[at]);
        }
        *sub = slice_str(optarg);
    }
    if (sub->len == 0 || sub->len > LIMIT_USER_ID_BYTES) {
        fprintf(stderr, "latchkey unlink: --sub ID is needed: the user's id, 1 to 255 bytes\n");
        return COMMAND_USAGE;
    }
    return COMMAND_GOOD;
}

static void on_accounts_closed(void *owner) {
    struct unlink *unlink = owner;
    loop_stop(&unlink->store.loop);
}

static void on_upstream_closed(void *owner) {
    struct unlink *unlink = owner;
    accounts_close(unlink->accounts, on_accounts_closed, unlink); /* and the backend with it */
}

static void on_linker_closed(void *owner) {
    struct unlink *unlink = owner;
    upstream_close(unlink->upstream, on_upstream_closed, unlink);
}

/* A revocation that is under way is waited for. */
static void on_done(struct disconnect *flow) {
    struct unlink *unlink = LIST_ENTRY(flow, struct unlink, flow);
    linker_close(&unlink->linker, on_linker_closed, unlink);
}

static void run(struct unlink *unlink, const struct config *config, struct slice sub) {
    struct command_store *store = &unlink->store;
    provider_parts_fill(&unlink->provider, config);
    unlink->provider.loop = &store->loop;
    unlink->provider.upstream = unlink->upstream;
    unlink->provider.metrics = &store->metrics;
    unlink->provider.log = store->log;
    unlink->accounts = accounts_new(&(const struct accounts_opts){.loop = &store->loop,
                                                                  .work = store->work,
                                                                  .backend = store->backend,
                                                                  .keys = config->encryption_keys,
                                                                  .log = store->log,
                                                                  .metrics = &store->metrics});
    unlink->linker = (struct linker){.loop = &store->loop,
                                     .provider = &unlink->provider,
                                     .accounts = unlink->accounts,
                                     .log = store->log,
                                     .metrics = &store->metrics,
                                     .provider_timeout_ms = config->upstream_timeout_ms};
    linker_open(&unlink->linker);
    unlink->flow.user_id = sub;
    disconnect_start(&unlink->linker, &unlink->flow, on_done);
    store->backend = NULL;
    loop_run(&store->loop);
}

static int judge(enum rc rc) {
    if (rc == RC_OK) {
        return COMMAND_GOOD;
    }
    fprintf(stderr, "latchkey unlink: %s\n", rc_text(rc));
    return COMMAND_FAILED;
}

static int unlink_one(const struct config *config, struct slice sub) {
    struct unlink unlink = {.upstream = NULL};
    const char *problem;
    const struct command_store_opts opts = {.config = config, .command = "unlink"};
    if (!command_store_open(&unlink.store, &opts)) {
        return COMMAND_FAILED;
    }
    unlink.upstream = provider_parts_upstream(&unlink.store.loop, config, &problem);
    if (unlink.upstream != NULL) {
        run(&unlink, config, sub);
    } else {
        fprintf(stderr, "latchkey unlink: calls to the provider: %s\n", problem);
    }
    command_store_close(&unlink.store);
    return unlink.upstream != NULL ? judge(unlink.flow.rc) : COMMAND_FAILED;
}

int command_unlink_run(const struct command_line *line) {
    struct slice sub = SLICE_NULL;
    struct config *config;
    int code = parse_options(line, &sub);
    if (code == COMMAND_GOOD) {
        code = command_line_config(line, &config);
    }
    if (code == COMMAND_GOOD) {
        code = unlink_one(config, sub);
        config_free(config);
    }
    return code;
}
