// SPDX-License-Identifier: MIT
/* SIGHUP: keys, secrets and the certificate change while the server serves. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kit/ask.h"
#include "kit/certificate.h"
#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/secrets.h"

#define KEY_B "ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s="
#define SECRET_B "second: YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3Rz"

enum { SETTING_BYTES = SCRATCH_BYTES + 64, FILES = 8 };

/* Settings that are files. */
struct files {
    struct scratch folder;
    char settings_at[2 * FILES][SETTING_BYTES];
    const char *settings[2 * FILES + 1];
    size_t count;
};

static void write_path(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static void write_value(const struct files *files, const char *name, const char *text) {
    struct scratch path = scratch_file(&files->folder, name);
    write_path(path.path, text);
}

static void add_setting(struct files *files, const char *name, const char *value) {
    char *at = files->settings_at[files->count];
    cr_assert_lt(files->count, (size_t)(2 * FILES));
    snprintf(at, SETTING_BYTES, "%s=%s", name, value);
    files->settings[files->count++] = at;
}

/* NAME comes from a file of that name. */
static void add_file(struct files *files, const char *name, const char *text) {
    char variable[SETTING_BYTES];
    struct scratch path = scratch_file(&files->folder, name);
    write_path(path.path, text);
    add_setting(files, name, "");
    snprintf(variable, sizeof variable, "%s_FILE", name);
    add_setting(files, variable, path.path);
}

static void files_init(struct files *files) {
    *files = (struct files){.folder = scratch_new()};
    add_file(files, "AUDIBLE_TOKEN_ENCRYPTION_KEY", KIT_FERNET_KEY "\n");
    add_file(files, "SECRET_KEY", KIT_SECRET_KEY "\n");
    add_file(files, "SECRET_KEY_OLD", "");
    add_file(files, "AUDIBLE_CLIENT_ID", KIT_CLIENT_ID);
    add_file(files, "AUDIBLE_CLIENT_SECRET", KIT_CLIENT_SECRET);
    secrets_add("the second secret", slice_str(SECRET_B), SECRETS_NOWHERE);
    secrets_add("the second key", slice_str(KEY_B), SECRETS_NOWHERE);
}

static void files_fini(struct files *files) {
    scratch_free(&files->folder);
    CHECK_LEAKS();
}

static void expect_outcome(struct platform *p, const char *outcome, const char *changed) {
    char wanted[256];
    const char *line = kit_server_logs(p->server);
    for (const char *next = line; next != NULL; next = strstr(next + 1, "\"keys_reloaded\"")) {
        line = next;
    }
    snprintf(wanted, sizeof wanted, "\"outcome\":\"%s\",\"changed\":\"%s\"", outcome, changed);
    cr_assert_not_null(strstr(line, wanted), "wanted %s: %s", wanted, line);
}

static int connected(struct platform *p, const char *sub, const char *secret) {
    char token[KIT_JWT_BYTES];
    kit_jwt(token, (struct kit_jwt){.sub = sub, .tier = "premium", .secret = secret});
    return ask_status(p->port, (struct ask){.path = "connected", .token = token});
}

static int library(struct platform *p, const char *sub) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, sub);
    return ask_status(p->port, (struct ask){.path = "library?limit=1", .token = token});
}

Test(reload, encryption_keys_rotate) {
    struct files files;
    struct platform p;
    files_init(&files);
    platform_start(&p, files.settings);
    platform_link(&p, "ada");
    write_value(&files, "AUDIBLE_TOKEN_ENCRYPTION_KEY", KEY_B "," KIT_FERNET_KEY);
    kit_server_reload(p.server);
    expect_outcome(&p, "ok", "AUDIBLE_TOKEN_ENCRYPTION_KEY");
    cr_assert_eq(library(&p, "ada"), 200, "the old key still opens");
    platform_link(&p, "bob");
    write_value(&files, "AUDIBLE_TOKEN_ENCRYPTION_KEY", KEY_B);
    kit_server_reload(p.server);
    cr_assert_eq(library(&p, "bob"), 200, "the new key has sealed");
    cr_assert_eq(library(&p, "ada"), 503, "no key opens it");
    write_value(&files, "AUDIBLE_TOKEN_ENCRYPTION_KEY", KIT_FERNET_KEY "," KEY_B);
    kit_server_reload(p.server);
    cr_assert_eq(library(&p, "ada"), 200, "a wrong key was put right");
    cr_assert_eq(library(&p, "bob"), 200);
    platform_stop(&p);
    files_fini(&files);
}

Test(reload, secrets_rotate_and_the_tokens_of_a_removed_one_are_forgotten) {
    struct files files;
    struct platform p;
    files_init(&files);
    platform_start(&p, files.settings);
    cr_assert_eq(connected(&p, "ada", KIT_SECRET_KEY), 200);
    cr_assert_eq(connected(&p, "ada", SECRET_B), 401);
    write_value(&files, "SECRET_KEY", SECRET_B);
    write_value(&files, "SECRET_KEY_OLD", KIT_SECRET_KEY);
    kit_server_reload(p.server);
    expect_outcome(&p, "ok", "SECRET_KEY,SECRET_KEY_OLD");
    for (int i = 0; i < 2; i++) { /* then it is remembered */
        cr_assert_eq(connected(&p, "ada", KIT_SECRET_KEY), 200);
        cr_assert_eq(connected(&p, "ada", SECRET_B), 200);
    }
    write_value(&files, "SECRET_KEY_OLD", "");
    kit_server_reload(p.server);
    expect_outcome(&p, "ok", "SECRET_KEY_OLD");
    cr_assert_eq(connected(&p, "ada", KIT_SECRET_KEY), 401, "it was remembered, and must not be");
    cr_assert_eq(connected(&p, "ada", SECRET_B), 200);
    platform_stop(&p);
    files_fini(&files);
}

Test(reload, the_providers_client_changes) {
    struct files files;
    struct platform p;
    char token[KIT_JWT_BYTES];
    struct ask_grant grant;
    struct client_response response;
    files_init(&files);
    platform_start(&p, files.settings);
    write_value(&files, "AUDIBLE_CLIENT_SECRET", "another-secret-that-is-wrong");
    kit_server_reload(p.server);
    expect_outcome(&p, "ok", "AUDIBLE_CLIENT_SECRET");
    ask_premium(token, "ada");
    ask_grant(p.port, p.sim, token, &grant);
    cr_assert_eq(ask_callback(p.port, token, &grant, &response), 503, "the provider refuses us");
    client_response_fini(&response);
    write_value(&files, "AUDIBLE_CLIENT_SECRET", KIT_CLIENT_SECRET);
    kit_server_reload(p.server);
    platform_link(&p, "ada");
    platform_stop(&p);
    files_fini(&files);
}

Test(reload, a_bad_value_keeps_the_old_and_says_so) {
    static const struct {
        const char *name;
        const char *text; /* NULL: the file goes */
        const char *says;
    } cases[] = {
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY", "not-a-key", "AUDIBLE_TOKEN_ENCRYPTION_KEY_FILE"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY", "", "is empty now"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY", NULL, "can't be read"},
        {"SECRET_KEY", "short", "it needs at least 32"},
        {"SECRET_KEY", "", "SECRET_KEY"},
        {"SECRET_KEY", NULL, "can't be read"},
        {"SECRET_KEY_OLD", NULL, "can't be read"},
        {"AUDIBLE_CLIENT_ID", "", "is empty now"},
        {"AUDIBLE_CLIENT_SECRET", "", "is empty now"},
    };
    struct files files;
    struct platform p;
    files_init(&files);
    platform_start(&p, files.settings);
    platform_link(&p, "ada");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scratch path = scratch_file(&files.folder, cases[i].name);
        struct scratch aside = scratch_file(&files.folder, "aside");
        cr_assert_eq(rename(path.path, aside.path), 0);
        if (cases[i].text != NULL) {
            write_path(path.path, cases[i].text);
        }
        kit_server_reload(p.server);
        expect_outcome(&p, "failed", "");
        const char *logs = kit_server_logs(p.server);
        const char *failed = NULL;
        for (const char *at = logs; (at = strstr(at, "\"config_reload_failed\"")) != NULL; at++) {
            failed = at;
        }
        cr_assert_not_null(failed, "case %zu", i);
        cr_assert_not_null(strstr(failed, cases[i].name), "case %zu: %s", i, failed);
        cr_assert_not_null(strstr(failed, cases[i].says), "case %zu: %s", i, failed);
        cr_assert_eq(library(&p, "ada"), 200, "case %zu: as before", i);
        char user[16];
        snprintf(user, sizeof user, "user-%zu", i);
        platform_link(&p, user);
        cr_assert_eq(rename(aside.path, path.path), 0);
        kit_server_reload(p.server);
        expect_outcome(&p, "unchanged", "");
    }
    platform_stop(&p);
    files_fini(&files);
}

/* Values that belong together stay together; others are not held up by them. */
Test(reload, a_bad_secret_keeps_its_pair_and_nothing_else) {
    struct files files;
    struct platform p;
    files_init(&files);
    platform_start(&p, files.settings);
    write_value(&files, "SECRET_KEY", "short");
    write_value(&files, "SECRET_KEY_OLD", SECRET_B);
    write_value(&files, "AUDIBLE_TOKEN_ENCRYPTION_KEY", KEY_B "," KIT_FERNET_KEY);
    kit_server_reload(p.server);
    expect_outcome(&p, "partly", "AUDIBLE_TOKEN_ENCRYPTION_KEY");
    cr_assert_eq(connected(&p, "ada", KIT_SECRET_KEY), 200);
    cr_assert_eq(connected(&p, "ada", SECRET_B), 401);
    platform_stop(&p);
    files_fini(&files);
}

Test(reload, what_cannot_change_is_named) {
    struct files files;
    struct platform p;
    files_init(&files);
    add_file(&files, "LATCHKEY_MAX_CONNECTIONS", "100");
    add_file(&files, "LATCHKEY_API_PREFIX", "/api/v1");
    platform_start(&p, files.settings);
    write_value(&files, "LATCHKEY_API_PREFIX", "/other");
    kit_server_reload(p.server);
    expect_outcome(&p, "unchanged", "");
    cr_assert_eq(kit_server_logged(p.server, "\"config_reload_ignored\""), 1u);
    cr_assert_eq(kit_server_logged(p.server, "\"variable\":\"LATCHKEY_API_PREFIX\""), 1u);
    cr_assert_eq(connected(&p, "ada", KIT_SECRET_KEY), 200);
    platform_stop(&p);
    files_fini(&files);
}

/* -- while requests go on -- */

struct load {
    struct platform *p;
    atomic_bool stop;
    atomic_int answered;
    atomic_int wrong;
};

static void *ask_on(void *owner) {
    struct load *load = owner;
    struct client client;
    struct client_response response;
    char request[KIT_JWT_BYTES + 256];
    char token[KIT_JWT_BYTES];
    kit_jwt(token, (struct kit_jwt){.sub = "ada", .tier = "premium"});
    snprintf(request, sizeof request,
             "GET " ASK_API
             "/library?limit=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n",
             token);
    bool good = client_connect(&client, load->p->port);
    while (good && !load->stop) {
        good = client_send(&client, slice_str(request)) && client_read(&client, "GET", &response);
        load->wrong += !good || response.status != 200 ? 1 : 0;
        load->answered++;
        client_response_fini(&response);
    }
    client_fini(&client);
    return NULL;
}

Test(reload, no_connection_is_dropped_and_no_request_fails) {
    enum { RELOADS = 60, CLIENTS = 3 };
    struct files files;
    struct platform p;
    pthread_t threads[CLIENTS];
    files_init(&files);
    platform_start(&p, files.settings);
    platform_link(&p, "ada");
    struct load load = {.p = &p};
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_on, &load), 0);
    }
    for (int i = 0; i < RELOADS; i++) {
        write_value(&files, "AUDIBLE_TOKEN_ENCRYPTION_KEY",
                    i % 2 == 0 ? KEY_B "," KIT_FERNET_KEY : KIT_FERNET_KEY "," KEY_B);
        write_value(&files, "SECRET_KEY", i % 2 == 0 ? SECRET_B : KIT_SECRET_KEY);
        write_value(&files, "SECRET_KEY_OLD", i % 2 == 0 ? KIT_SECRET_KEY : SECRET_B);
        kit_server_reload(p.server);
    }
    load.stop = true;
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_gt(load.answered, RELOADS / 4, "%d", load.answered);
    cr_assert_eq(load.wrong, 0, "%d of %d", load.wrong, load.answered);
    cr_assert_eq(kit_server_logged(p.server, "\"outcome\":\"ok\",\"changed\""), (size_t)RELOADS);
    platform_stop(&p);
    files_fini(&files);
}

/* -- the certificate -- */

Test(reload, the_certificate_changes_and_a_bad_pair_is_not_taken) {
    struct files files;
    struct platform p;
    struct client old;
    struct client_response response;
    files_init(&files);
    struct certificate used = certificate_make(&files.folder, "used", CERTIFICATE_P256);
    struct certificate next = certificate_make(&files.folder, "next", CERTIFICATE_P256);
    add_setting(&files, "LATCHKEY_TLS_CERT", used.cert.path);
    add_setting(&files, "LATCHKEY_TLS_KEY", used.key.path);
    platform_start(&p, files.settings);
    client_over_tls(p.port);
    cr_assert(client_connect(&old, p.port));
    cr_assert_eq(rename(next.cert.path, used.cert.path), 0);
    kit_server_reload(p.server);
    expect_outcome(&p, "failed", "");
    cr_assert_eq(kit_server_logged(p.server, "does not belong to the certificate"), 1u);
    platform_link(&p, "ada");
    cr_assert_eq(rename(next.key.path, used.key.path), 0);
    kit_server_reload(p.server);
    expect_outcome(&p, "ok", "LATCHKEY_TLS_CERT,LATCHKEY_TLS_KEY");
    kit_server_reload(p.server);
    expect_outcome(&p, "unchanged", "");
    platform_link(&p, "bob");
    cr_assert(CLIENT_SEND(&old, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    cr_assert(client_read(&old, "GET", &response) && response.status == 200);
    client_response_fini(&response);
    client_fini(&old);
    platform_stop(&p);
    files_fini(&files);
}

/* -- the program -- */

Test(reload, sighup) {
    struct files files;
    struct child child;
    char token[KIT_JWT_BYTES];
    files_init(&files);
    child_start(&child, files.folder.path, "http://127.0.0.1:1", files.settings);
    write_value(&files, "SECRET_KEY", SECRET_B);
    program_signal(child.program, SIGHUP);
    program_wait_for(child.program, "\"event\":\"keys_reloaded\"");
    kit_jwt(token, (struct kit_jwt){.sub = "ada", .tier = "premium", .secret = SECRET_B});
    ask_expect(child.port, (struct ask){.path = "connected", .token = token}, 200, NULL);
    cr_assert_eq(child_stop(&child), 0);
    files_fini(&files);
}

/* Nothing to read again: nothing happens, least of all what a SIGHUP does by itself. */
Test(reload, sighup_without_files) {
    struct scratch folder = scratch_new();
    struct child child;
    child_start(&child, folder.path, "http://127.0.0.1:1", NULL);
    program_signal(child.program, SIGHUP);
    program_wait_for(child.program, "\"outcome\":\"unchanged\"");
    ask_expect(child.port, (struct ask){.path = "/healthz"}, 200, NULL);
    cr_assert_eq(child_stop(&child), 0);
    scratch_free(&folder);
    CHECK_LEAKS();
}
