// SPDX-License-Identifier: MIT
#include "app/reload.h"

#include <string.h>

#include "app/config_equal.h"
#include "app/config_table.h"
#include "app/notes.h"
#include "base/buf.h"
#include "base/mem.h"
#include "io/tls.h"

enum { NAMES_BYTES = 512 };

/* What came of one reload. */
struct outcome {
    char changed_at[NAMES_BYTES];
    char kept_at[NAMES_BYTES];
    struct buf changed; /* names, separated by commas */
    struct buf kept;    /* those that are bad */
};

/* Values that can be taken over, but for the TLS pair. Those of a group change together. */
enum group { GROUP_KEYS, GROUP_SECRETS, GROUP_CLIENT, GROUP_COUNT };

enum part { PART_KEYS, PART_SECRET, PART_SECRET_OLD, PART_ID, PART_ID_SECRET, PART_COUNT };

static const struct {
    const char *name;
    enum group group;
    bool may_be_emptied; /* otherwise an empty file is a mistake, perhaps one half-written */
} parts[PART_COUNT] = {
    [PART_KEYS] = {"AUDIBLE_TOKEN_ENCRYPTION_KEY", GROUP_KEYS, false},
    [PART_SECRET] = {"SECRET_KEY", GROUP_SECRETS, false},
    [PART_SECRET_OLD] = {"SECRET_KEY_OLD", GROUP_SECRETS, true},
    [PART_ID] = {"AUDIBLE_CLIENT_ID", GROUP_CLIENT, false},
    [PART_ID_SECRET] = {"AUDIBLE_CLIENT_SECRET", GROUP_CLIENT, false},
};

static struct secret copy(struct slice text) {
    return slice_is_null(text) ? (struct secret){0} : secret_copy(text);
}

void reload_init(struct reload *reload, const struct config *config) {
    reload->config = config;
    reload->client_id = copy(config->client_id);
    reload->client_secret = copy(secret_slice(&config->client_secret));
    reload->secret_key = copy(secret_slice(&config->secret_key));
    reload->secret_key_old = copy(secret_slice(&config->secret_key_old));
}

void reload_fini(struct reload *reload) {
    secret_free(&reload->client_id);
    secret_free(&reload->client_secret);
    secret_free(&reload->secret_key);
    secret_free(&reload->secret_key_old);
}

static void add_name(struct buf *names, const char *name) {
    buf_append(names, names->len > 0 ? SLICE(",") : SLICE(""));
    buf_append(names, slice_str(name));
}

/* ----------------------------------------------------------------------------- one variable */

enum change { CHANGE_NONE, CHANGE_VALUE, CHANGE_EMPTIED };

static enum change compare_texts(const struct secret *used, struct slice fresh) {
    struct slice old = secret_slice(used);
    if (slice_is_null(fresh)) {
        return slice_is_null(old) ? CHANGE_NONE : CHANGE_EMPTIED;
    }
    return !slice_is_null(old) && slice_eq_ct(old, fresh) ? CHANGE_NONE : CHANGE_VALUE;
}

static enum change compare_keys(const struct fernet_keys *used, const struct fernet_keys *fresh) {
    if (fresh == NULL) {
        return used == NULL ? CHANGE_NONE : CHANGE_EMPTIED;
    }
    return used != NULL && fernet_keys_equal(used, fresh) ? CHANGE_NONE : CHANGE_VALUE;
}

static enum change compare(const struct reload *reload, const struct config *fresh,
                           enum part part) {
    switch (part) {
    case PART_KEYS:
        return compare_keys(accounts_keys(reload->accounts), fresh->encryption_keys);
    case PART_SECRET:
        return compare_texts(&reload->secret_key, secret_slice(&fresh->secret_key));
    case PART_SECRET_OLD:
        return compare_texts(&reload->secret_key_old, secret_slice(&fresh->secret_key_old));
    case PART_ID:
        return compare_texts(&reload->client_id, fresh->client_id);
    case PART_ID_SECRET:
        return compare_texts(&reload->client_secret, secret_slice(&fresh->client_secret));
    case PART_COUNT:
        break;
    }
    return CHANGE_NONE;
}

/* ------------------------------------------------------------------------------- one group */

static void replace(struct secret *used, struct slice fresh) {
    secret_free(used);
    *used = copy(fresh);
}

static enum rc take_keys(struct reload *reload, struct config *fresh) {
    accounts_take_keys(reload->accounts, fresh->encryption_keys);
    fresh->encryption_keys = NULL;
    return RC_OK;
}

static enum rc take_secrets(struct reload *reload, struct config *fresh) {
    struct slice secret = secret_slice(&fresh->secret_key);
    struct slice secret_old = secret_slice(&fresh->secret_key_old);
    enum rc rc = bearer_set_secrets(reload->bearer, secret, secret_old);
    if (rc == RC_OK) {
        replace(&reload->secret_key, secret);
        replace(&reload->secret_key_old, secret_old);
    }
    return rc;
}

/* A call that is under way has written its form already. */
static enum rc take_client(struct reload *reload, struct config *fresh) {
    replace(&reload->client_id, fresh->client_id);
    replace(&reload->client_secret, secret_slice(&fresh->client_secret));
    reload->provider->client_id = secret_slice(&reload->client_id);
    reload->provider->client_secret = secret_slice(&reload->client_secret);
    return RC_OK;
}

static enum rc (*const takers[GROUP_COUNT])(struct reload *reload, struct config *fresh) = {
    [GROUP_KEYS] = take_keys,
    [GROUP_SECRETS] = take_secrets,
    [GROUP_CLIENT] = take_client,
};

/* Whether the group can be taken; what stands against it is noted. */
static bool judge(const struct reload *reload, const struct config *fresh, enum group group,
                  struct notes *notes) {
    bool good = true;
    for (int i = 0; i < PART_COUNT; i++) {
        const char *name = parts[i].name;
        if (parts[i].group != group) {
            continue;
        }
        if (!notes_has_problem(notes, name) && !parts[i].may_be_emptied &&
            compare(reload, fresh, (enum part)i) == CHANGE_EMPTIED) {
            notes_problem(notes, name,
                          "is empty now, and was not; to do without it, start the server again");
        }
        good = good && !notes_has_problem(notes, name);
    }
    return good;
}

static void run_group(struct reload *reload, struct config *fresh, enum group group,
                      struct notes *notes, struct outcome *outcome) {
    bool is_good = judge(reload, fresh, group, notes);
    bool is_changed[PART_COUNT] = {false};
    bool any = false;
    for (int i = 0; i < PART_COUNT; i++) {
        is_changed[i] =
            parts[i].group == group && compare(reload, fresh, (enum part)i) != CHANGE_NONE;
        any = any || is_changed[i];
    }
    if (is_good && any) {
        is_good = takers[group](reload, fresh) == RC_OK;
    }
    for (int i = 0; i < PART_COUNT; i++) {
        if (is_good && is_changed[i]) {
            add_name(&outcome->changed, parts[i].name);
        } else if (!is_good && parts[i].group == group) {
            add_name(&outcome->kept, parts[i].name);
        }
    }
}

/* ---------------------------------------------------------------------------- the TLS pair */

static void note_file(struct notes *notes, const char *name, bool is_bad, const char *text) {
    if (is_bad && !notes_has_problem(notes, name)) {
        notes_problem(notes, name, "%s", text);
    }
}

/* Under the paths of the start: files may be replaced, not renamed. */
static void run_tls(struct reload *reload, struct notes *notes, struct outcome *outcome) {
    const struct tls *used = http_server_tls(reload->server);
    const struct tls_files files = {reload->config->tls_cert.at, reload->config->tls_key.at};
    struct tls_report report;
    struct tls *fresh;
    if (used == NULL) {
        return;
    }
    if (tls_new_server(&files, &fresh, &report) != RC_OK) {
        note_file(notes, "LATCHKEY_TLS_CERT", report.cert_is_bad, report.cert);
        note_file(notes, "LATCHKEY_TLS_KEY", report.key_is_bad, report.key);
        add_name(&outcome->kept, "LATCHKEY_TLS_CERT");
        add_name(&outcome->kept, "LATCHKEY_TLS_KEY");
    } else if (tls_is_same(used, fresh)) {
        tls_release(fresh); /* so that its tickets go on being good */
    } else {
        http_server_use_tls(reload->server, fresh);
        add_name(&outcome->changed, "LATCHKEY_TLS_CERT");
        add_name(&outcome->changed, "LATCHKEY_TLS_KEY");
    }
}

/* ------------------------------------------------------------------------------- the log */

static bool is_part(const char *name) {
    for (int i = 0; i < PART_COUNT; i++) {
        if (strcmp(parts[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void log_ignored(const struct reload *reload, const struct config *fresh,
                        const struct notes *notes) {
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            const struct config_var *var = &config_table[i].vars[k];
            if (!is_part(var->name) && !notes_has_problem(notes, var->name) &&
                !config_equal(var, reload->config, fresh)) {
                LOG(reload->log, LOG_WARNING, "config_reload_ignored", SLICE_NULL,
                    log_text("variable", slice_str(var->name)),
                    log_text("text", SLICE("has changed, which takes effect at the next start")));
            }
        }
    }
}

static void log_problems(const struct reload *reload, const struct notes *notes) {
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->at[i].is_problem) {
            LOG(reload->log, LOG_ERROR, "config_reload_failed", SLICE_NULL,
                log_text("variable", slice_str(notes->at[i].name)),
                log_text("text", slice_str(notes->at[i].text)));
        }
    }
}

static const char *name_of(const struct outcome *outcome) {
    if (outcome->kept.len > 0) {
        return outcome->changed.len > 0 ? "partly" : "failed";
    }
    return outcome->changed.len > 0 ? "ok" : "unchanged";
}

void reload_run(struct reload *reload) {
    struct outcome outcome;
    struct notes notes;
    if (reload->env == NULL) {
        return;
    }
    buf_init_fixed(&outcome.changed, outcome.changed_at, sizeof outcome.changed_at);
    buf_init_fixed(&outcome.kept, outcome.kept_at, sizeof outcome.kept_at);
    notes_init(&notes);
    struct config *fresh = config_read_again(reload->env, &notes);
    log_ignored(reload, fresh, &notes);
    for (int group = 0; group < GROUP_COUNT; group++) {
        run_group(reload, fresh, (enum group)group, &notes, &outcome);
    }
    run_tls(reload, &notes, &outcome);
    log_problems(reload, &notes);
    const struct fernet_keys *keys = accounts_keys(reload->accounts);
    LOG_AUDIT(reload->log, "keys_reloaded", SLICE_NULL,
              log_text("outcome", slice_str(name_of(&outcome))),
              log_text("changed", buf_slice(&outcome.changed)),
              log_text("kept", buf_slice(&outcome.kept)),
              log_int("encryption_keys", keys != NULL ? (int64_t)fernet_keys_count(keys) : 0));
    config_free(fresh);
    notes_fini(&notes);
}
