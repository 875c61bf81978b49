// SPDX-License-Identifier: MIT
#include "kit/server.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/app.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "crypto/jwt.h"
#include "kit/scratch.h"
#include "kit/secrets.h"

enum { WAIT_MS = 5000, DAY_S = 24 * 3600 };

struct kit_server {
    struct scratch folder;
    bool folder_is_ours;
    struct clock clock;
    struct notes notes;
    struct config *config;
    struct app *app; /* NULL once joined */
    pthread_t thread;
    int code;
    int log_fd;
    char *logs;
    struct kit_settings settings;
};

static void fail_with_notes(const struct notes *notes) {
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->at[i].is_problem) {
            cr_log_error("%s: %s", notes->at[i].name, notes->at[i].text);
        }
    }
    cr_assert_fail("the settings are refused");
}

static void *run(void *arg) {
    struct kit_server *server = arg;
    server->code = app_run(server->app);
    return NULL;
}

static void add_secrets(void) {
    cr_assert_eq(hash_init(), RC_OK);
    secrets_add("SECRET_KEY", slice_str(KIT_SECRET_KEY), SECRETS_NOWHERE);
    secrets_add("the encryption key", slice_str(KIT_FERNET_KEY), SECRETS_NOWHERE);
    secrets_add("the client secret", slice_str(KIT_CLIENT_SECRET), SECRETS_NOWHERE);
    secrets_add("an access token of the provider", SLICE("sima."), SECRETS_NOWHERE);
    secrets_add("a refresh token of the provider", SLICE("simr/+"), SECRETS_NOWHERE);
    secrets_add("a sealed token", SLICE("gAAAAA"), SECRETS_NOWHERE);
}

struct kit_server *kit_server_start(struct kit_server_opts opts) {
    struct kit_server *server = calloc(1, sizeof *server);
    server->folder_is_ours = opts.folder == NULL;
    if (opts.folder == NULL) {
        server->folder = scratch_new();
    } else {
        snprintf(server->folder.path, sizeof server->folder.path, "%s", opts.folder);
    }
    struct scratch log_path = scratch_file(&server->folder, "log");
    server->log_fd = open(log_path.path, O_CREAT | O_TRUNC | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    cr_assert_geq(server->log_fd, 0, "%s", log_path.path);
    kit_settings_init(&server->settings, server->folder.path,
                      opts.provider_url != NULL ? opts.provider_url : "http://127.0.0.1:1",
                      opts.settings);
    add_secrets();
    notes_init(&server->notes);
    if (config_read(server->settings.env, &server->notes, &server->config) != RC_OK) {
        fail_with_notes(&server->notes);
    }
    const struct app_hooks hooks = {
        .log_fd = server->log_fd, .notes = &server->notes, .env = server->settings.env};
    enum rc rc = app_start(&server->app, server->config, &server->clock, &hooks);
    cr_assert_eq(rc, RC_OK, "the server does not start: %s", kit_server_logs(server));
    cr_assert_eq(pthread_create(&server->thread, NULL, run, server), 0);
    return server;
}

struct kit_server *kit_server_start_with(const char *const *settings) {
    return kit_server_start((struct kit_server_opts){.settings = settings});
}

void kit_server_ask_stop(struct kit_server *server) {
    app_stop(server->app);
}

void kit_server_reload(struct kit_server *server) {
    size_t before = kit_server_logged(server, "\"event\":\"keys_reloaded\"");
    app_reload(server->app);
    for (int ms = 0; ms < WAIT_MS; ms++) {
        if (kit_server_logged(server, "\"event\":\"keys_reloaded\"") > before) {
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    cr_assert_fail("no reload");
}

/* Ends the server, not the struct: logs can still be read. */
static void join(struct kit_server *server) {
    if (server->app != NULL) {
        pthread_join(server->thread, NULL);
        server->app = NULL;
    }
}

void kit_server_join(struct kit_server *server) {
    join(server);
    cr_assert_eq(server->code, 0, "exit code %d", server->code);
}

void kit_server_stop(struct kit_server *server) {
    if (server->app != NULL) {
        app_stop(server->app);
    }
    join(server);
    secrets_expect_none(slice_str(kit_server_logs(server)), "the logs", true);
    int code = server->code;
    config_free(server->config);
    notes_fini(&server->notes);
    kit_settings_fini(&server->settings);
    close(server->log_fd);
    if (server->folder_is_ours) {
        scratch_free(&server->folder);
    }
    free(server->logs);
    free(server);
    cr_assert_eq(code, 0, "exit code %d", code);
}

pthread_t kit_server_thread(const struct kit_server *server) {
    return server->thread;
}

int kit_server_port(const struct kit_server *server) {
    return app_port(server->app, 0);
}

int kit_server_metrics_port(const struct kit_server *server) {
    return app_metrics_port(server->app);
}

const char *kit_server_folder(const struct kit_server *server) {
    return server->folder.path;
}

void kit_server_advance_ms(struct kit_server *server, int64_t ms) {
    atomic_fetch_add(&server->clock.offset_ms, ms);
}

const char *kit_server_logs(struct kit_server *server) {
    struct stat status;
    if (server->app != NULL) {
        app_flush_log(server->app);
    }
    free(server->logs);
    server->logs = NULL;
    cr_assert_eq(fstat(server->log_fd, &status), 0);
    size_t size = (size_t)status.st_size;
    server->logs = calloc(1, size + 1);
    cr_assert_eq(pread(server->log_fd, server->logs, size, 0), (ssize_t)size);
    return server->logs;
}

size_t kit_server_logged(struct kit_server *server, const char *text) {
    size_t count = 0;
    const char *at = kit_server_logs(server);
    while ((at = strstr(at, text)) != NULL) {
        at += strlen(text);
        count++;
    }
    return count;
}

int64_t kit_server_metric(const struct kit_server *server, enum metric metric) {
    return metrics_get(app_metrics(server->app), metric);
}

bool kit_server_wait_metric(const struct kit_server *server, enum metric metric, int64_t value) {
    for (int ms = 0; ms < WAIT_MS; ms++) {
        if (kit_server_metric(server, metric) == value) {
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}

static void write_payload(struct buf *out, const struct kit_jwt *jwt) {
    struct jsonw w = jsonw_start(out);
    jsonw_open(&w, '{');
    jsonw_name(&w, "iat");
    jsonw_i64(&w, (int64_t)time(NULL));
    if (jwt->sub != NULL) {
        jsonw_member(&w, "sub", slice_str(jwt->sub));
    }
    if (jwt->tier != NULL) {
        jsonw_member(&w, "subscription_tier", slice_str(jwt->tier));
    }
    if (jwt->role != NULL) {
        jsonw_member(&w, "role", slice_str(jwt->role));
    }
    if (!jwt->no_exp) {
        jsonw_name(&w, "exp");
        jsonw_i64(&w, (int64_t)time(NULL) + (jwt->exp_in_s != 0 ? jwt->exp_in_s : DAY_S));
    }
    if (jwt->more != NULL) {
        buf_append_char(out, ',');
        buf_append(out, slice_str(jwt->more));
    }
    jsonw_close(&w, '}');
}

static enum hash_hmac_alg algorithm_of(const char *name) {
    if (name == NULL || strcmp(name, "HS256") == 0) {
        return HASH_HS256;
    }
    return strcmp(name, "HS384") == 0 ? HASH_HS384 : HASH_HS512;
}

void kit_jwt(char out[KIT_JWT_BYTES], struct kit_jwt jwt) {
    char payload_at[KIT_JWT_BYTES];
    struct buf payload;
    struct buf token;
    const char *secret = jwt.secret != NULL ? jwt.secret : KIT_SECRET_KEY;
    enum hash_hmac_alg alg = algorithm_of(jwt.algorithm);
    buf_init_fixed(&payload, payload_at, sizeof payload_at);
    buf_init_fixed(&token, out, KIT_JWT_BYTES - 1);
    write_payload(&payload, &jwt);
    cr_assert_eq(hash_init(), RC_OK);
    struct jwt_key key = {.alg = alg, .hmac = hash_hmac_key_new(alg, slice_str(secret))};
    cr_assert_eq(jwt_sign(&key, buf_slice(&payload), &token), RC_OK);
    cr_assert(buf_ok(&payload) && buf_ok(&token), "the token is too large");
    hash_hmac_key_free(key.hmac);
    out[token.len] = '\0';
    secrets_add("a JWT", buf_slice(&token), SECRETS_NOWHERE);
}
