// SPDX-License-Identifier: MIT
#include "app/command_rekey.h"

#include <inttypes.h>
#include <stdio.h>

#include "app/command_store.h"
#include "store/accounts_rekey.h"

enum {
    /* Servers may seal under another key meanwhile: what they wrote is found by looking again. */
    PASSES_MAX = 3,
    PROGRESS_MS = 1000
};

struct rekey {
    struct command_store store;
    const struct config *config;
    struct accounts_rekey_counts total; /* of all passes; accounts, left and failed: the last */
    int pass;
    bool found_more; /* the last pass had something to write */
    int64_t told_ms;
    enum rc rc;
    const char *cause;
};

static void start_pass(struct rekey *rekey);

static void say_counts(const struct accounts_rekey_counts *counts, const char *what) {
    fprintf(stderr,
            "latchkey rekey: %s: %" PRIu64 " accounts: %" PRIu64 " resealed, %" PRIu64
            " were in plain, %" PRIu64 " had the first key already, %" PRIu64
            " left (no key opens them), %" PRIu64 " failed\n",
            what, counts->accounts, counts->resealed, counts->sealed, counts->current, counts->left,
            counts->failed);
}

static void on_progress(void *owner, const struct accounts_rekey_counts *counts) {
    struct rekey *rekey = owner;
    int64_t now_ms = clock_mono_ms(&rekey->store.clock);
    if (now_ms - rekey->told_ms >= PROGRESS_MS) {
        rekey->told_ms = now_ms;
        say_counts(counts, rekey->pass == 1 ? "so far" : "looking again");
    }
}

static void add_counts(struct rekey *rekey, const struct accounts_rekey_counts *counts) {
    struct accounts_rekey_counts *total = &rekey->total;
    total->current = rekey->pass == 1 ? counts->current : total->current;
    total->accounts = counts->accounts;
    total->left = counts->left;
    total->failed = counts->failed;
    total->resealed += counts->resealed;
    total->sealed += counts->sealed;
    total->removed += counts->removed;
}

static void on_done(void *owner, enum rc rc, const char *cause,
                    const struct accounts_rekey_counts *counts) {
    struct rekey *rekey = owner;
    add_counts(rekey, counts);
    rekey->rc = rc;
    rekey->cause = cause;
    rekey->found_more = counts->resealed + counts->sealed + counts->failed > 0;
    if (rc == RC_OK && rekey->found_more && rekey->pass < PASSES_MAX) {
        start_pass(rekey);
    } else {
        loop_stop(&rekey->store.loop);
    }
}

static void start_pass(struct rekey *rekey) {
    rekey->pass++;
    accounts_rekey_start(&(const struct accounts_rekey_opts){
        .loop = &rekey->store.loop,
        .work = rekey->store.work,
        .backend = rekey->store.backend,
        .keys = rekey->config->encryption_keys,
        .log = rekey->store.log,
        .progress = on_progress,
        .done = on_done,
        .owner = rekey,
    });
}

static int judge(const struct rekey *rekey) {
    const struct accounts_rekey_counts *total = &rekey->total;
    if (rekey->rc != RC_OK) {
        fprintf(stderr, "latchkey rekey: the accounts can't be read (%s); run it again\n",
                rekey->cause != NULL ? rekey->cause : rc_text(rekey->rc));
        return COMMAND_FAILED;
    }
    if (total->failed > 0) {
        fprintf(stderr, "latchkey rekey: some accounts could not be written; run it again\n");
        return COMMAND_FAILED;
    }
    if (rekey->found_more) {
        fprintf(stderr, "latchkey rekey: servers still seal under another key; give them this "
                        "list of keys (SIGHUP reads it again), then run it again\n");
        return COMMAND_FAILED;
    }
    return total->left > 0 ? COMMAND_FAILED : COMMAND_GOOD;
}

static int rekey_all(const struct config *config) {
    struct rekey rekey = {.config = config};
    const struct command_store_opts opts = {.config = config, .command = "rekey"};
    if (!command_store_open(&rekey.store, &opts)) {
        return COMMAND_FAILED;
    }
    rekey.told_ms = clock_mono_ms(&rekey.store.clock);
    start_pass(&rekey);
    loop_run(&rekey.store.loop);
    command_store_close(&rekey.store);
    say_counts(&rekey.total, rekey.rc == RC_OK ? "done" : "stopped");
    return judge(&rekey);
}

int command_rekey_run(const struct command_line *line) {
    struct config *config;
    int code = command_line_none(line);
    if (code == COMMAND_GOOD) {
        code = command_line_config(line, &config);
    }
    if (code != COMMAND_GOOD) {
        return code;
    }
    if (config->encryption_keys == NULL) {
        fprintf(stderr, "latchkey rekey: AUDIBLE_TOKEN_ENCRYPTION_KEY is not set; its first key is "
                        "what tokens are sealed with\n");
        code = COMMAND_USAGE;
    } else {
        code = rekey_all(config);
    }
    config_free(config);
    return code;
}
