// SPDX-License-Identifier: MIT
#include "app/command_stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "app/command_store.h"
#include "store/accounts_stats.h"

struct result {
    struct loop *loop;
    enum rc rc;
    const char *cause;
    struct accounts_stats stats;
};

static void on_done(void *owner, enum rc rc, const char *cause,
                    const struct accounts_stats *stats) {
    struct result *result = owner;
    result->rc = rc;
    result->cause = cause;
    result->stats = *stats;
    loop_stop(result->loop);
}

/* A name and a number a line: for people, and for awk. */
static void say(const char *name, uint64_t count) {
    printf("%s %" PRIu64 "\n", name, count);
}

static void print_stats(const struct accounts_stats *stats, size_t keys) {
    char name[64];
    say("accounts", stats->accounts);
    for (int i = 0; i < ACCOUNTS_STATS_SYNCS; i++) {
        snprintf(name, sizeof name, "accounts_%s", accounts_stats_sync_name((enum account_sync)i));
        say(name, stats->by_sync[i]);
    }
    say("accounts_reauthorization_required", stats->reauthorization_required);
    say("accounts_without_refresh_token", stats->without_refresh_token);
    for (size_t i = 0; i < keys && i < ACCOUNTS_STATS_KEYS; i++) {
        snprintf(name, sizeof name, "tokens_key_%zu%s", i + 1,
                 i == ACCOUNTS_STATS_KEYS - 1 ? "_and_later" : "");
        say(name, stats->by_key[i]);
    }
    say("tokens_in_plain", stats->plain);
    say("tokens_no_key_opens", stats->closed);
}

static int count(const struct config *config) {
    struct command_store store;
    struct result result = {.loop = &store.loop, .rc = RC_INTERNAL};
    /* stdout is for the counts */
    const struct command_store_opts opts = {
        .config = config, .command = "stats", .log_fd = STDERR_FILENO};
    if (!command_store_open(&store, &opts)) {
        return COMMAND_FAILED;
    }
    accounts_stats_start(&(const struct accounts_stats_opts){.loop = &store.loop,
                                                             .work = store.work,
                                                             .backend = store.backend,
                                                             .keys = config->encryption_keys,
                                                             .done = on_done,
                                                             .owner = &result});
    loop_run(&store.loop);
    command_store_close(&store);
    if (result.rc != RC_OK) {
        fprintf(stderr, "latchkey stats: the accounts can't be read (%s)\n",
                result.cause != NULL ? result.cause : rc_text(result.rc));
        return COMMAND_FAILED;
    }
    print_stats(&result.stats,
                config->encryption_keys != NULL ? fernet_keys_count(config->encryption_keys) : 0);
    return fflush(stdout) == 0 ? COMMAND_GOOD : COMMAND_FAILED;
}

int command_stats_run(const struct command_line *line) {
    struct config *config;
    int code = command_line_none(line);
    if (code == COMMAND_GOOD) {
        code = command_line_config(line, &config);
    }
    if (code == COMMAND_GOOD) {
        code = count(config);
        config_free(config);
    }
    return code;
}
