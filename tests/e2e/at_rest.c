// SPDX-License-Identifier: MIT
/* Tokens at rest, against someone who can read the database's files, and against someone who can
 * write them: what that shows, what it changes, and what it doesn't. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/scratch.h"

#define OTHER_KEY "AUDIBLE_TOKEN_ENCRYPTION_KEY=ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s="
#define BOTH_KEYS                                                                                  \
    "AUDIBLE_TOKEN_ENCRYPTION_KEY=ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s=," KIT_FERNET_KEY
enum { HOUR_MS = 3600 * 1000 };

/* A platform whose database outlives its server. */
struct rig {
    struct scratch folder;
    struct platform p;
};

static void serve(struct rig *rig, const char *setting) {
    const char *const settings[] = {setting, NULL};
    rig->p.server = kit_server_start((struct kit_server_opts){
        .settings = settings,
        .provider_url = simprovider_url(rig->p.sim),
        .folder = rig->folder.path,
    });
    rig->p.port = kit_server_port(rig->p.server);
}

static void rig_start(struct rig *rig, const char *setting) {
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    rig->folder = scratch_new();
    rig->p.sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(rig->p.sim, "%s", problem);
    serve(rig, setting);
}

static void rig_restart(struct rig *rig, const char *setting) {
    kit_server_stop(rig->p.server);
    serve(rig, setting);
}

static void rig_stop(struct rig *rig) {
    platform_stop(&rig->p);
    scratch_free(&rig->folder);
    CHECK_LEAKS();
}

/* Someone with the file's rights, beside the running server. */
static void meddle(const struct rig *rig, const char *sql, int changes) {
    struct scratch path = scratch_file(&rig->folder, "latchkey.db");
    sqlite3 *db;
    char *problem = NULL;
    cr_assert_eq(sqlite3_open_v2(path.path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    sqlite3_exec(db, sql, NULL, NULL, &problem);
    cr_assert_null(problem, "%s: %s", sql, problem);
    cr_assert_eq(sqlite3_changes(db), changes, "%s", sql);
    sqlite3_close(db);
}

/* Whether any of the database's files holds these bytes. */
static bool files_hold(const struct rig *rig, struct slice bytes) {
    static const char *const names[] = {"latchkey.db", "latchkey.db-wal", "latchkey.db-shm"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct scratch path = scratch_file(&rig->folder, names[i]);
        struct stat status;
        int fd = open(path.path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) != 0) {
            continue;
        }
        size_t size = (size_t)status.st_size;
        char *text = malloc(size + 1);
        cr_assert_eq(pread(fd, text, size, 0), (ssize_t)size);
        found = found || memmem(text, size, bytes.at, bytes.len) != NULL;
        free(text);
        close(fd);
    }
    return found;
}

static int library(struct rig *rig, const char *sub, char detail[64]) {
    char token[KIT_JWT_BYTES];
    struct client_response response;
    ask_premium(token, sub);
    int status =
        ask(rig->p.port, (struct ask){.path = "library?limit=1", .token = token}, &response);
    snprintf(detail, 64, "%s", "");
    if (status != 200) {
        ask_member(&response, "detail", detail, 64);
    }
    client_response_fini(&response);
    return status;
}

static void expect_library(struct rig *rig, const char *sub, int status, const char *expected) {
    char detail[64];
    int got = library(rig, sub, detail);
    cr_assert_eq(got, status, "%s: %d %s", sub, got, detail);
    cr_assert_str_eq(detail, expected);
}

static void expect_error(struct rig *rig, const char *sub, const char *expected) {
    char token[KIT_JWT_BYTES];
    char error[64];
    struct client_response response;
    ask_premium(token, sub);
    cr_assert_eq(ask(rig->p.port, (struct ask){.path = "connected", .token = token}, &response),
                 200);
    cr_assert(slice_starts(response.body, SLICE("{\"connected\":true")));
    ask_member(&response, "last_sync_error", error, sizeof error);
    cr_assert_str_eq(error, expected);
    client_response_fini(&response);
}

/* Everything that may ask the provider with a stored token. */
static int64_t asked(struct rig *rig) {
    return simprovider_count(rig->p.sim, SIMPROVIDER_LIBRARIES) +
           simprovider_count(rig->p.sim, SIMPROVIDER_REFRESHES) +
           simprovider_count(rig->p.sim, SIMPROVIDER_REVOKES);
}

static int disconnect(struct rig *rig, const char *sub) {
    char token[KIT_JWT_BYTES];
    ask_premium(token, sub);
    return ask_status(rig->p.port,
                      (struct ask){.method = "POST", .path = "disconnect", .token = token});
}

Test(at_rest, the_files_show_no_token) {
    struct rig rig;
    char sub[32];
    rig_start(&rig, NULL);
    for (int i = 0; i < 20; i++) {
        snprintf(sub, sizeof sub, "user-%d", i);
        platform_link(&rig.p, sub);
    }
    kit_server_advance_ms(rig.p.server, HOUR_MS);
    expect_library(&rig, "user-1", 200, "");
    cr_assert_eq(simprovider_count(rig.p.sim, SIMPROVIDER_REFRESHES), 1);
    for (int stopped = 0; stopped < 2; stopped++) {
        cr_assert(files_hold(&rig, SLICE("gAAAAA")), "there are sealed ones");
        cr_assert_not(files_hold(&rig, SLICE("sima.")), "an access token");
        cr_assert_not(files_hold(&rig, SLICE("simr/")), "a refresh token");
        cr_assert_not(files_hold(&rig, SLICE(KIT_FERNET_KEY)));
        cr_assert_not(files_hold(&rig, SLICE(KIT_CLIENT_SECRET)));
        rig_restart(&rig, NULL);
    }
    rig_stop(&rig);
}

Test(at_rest, without_a_key_they_would_and_it_is_said) {
    struct rig rig;
    rig_start(&rig, "AUDIBLE_TOKEN_ENCRYPTION_KEY=");
    platform_link(&rig.p, "user-1");
    cr_assert(files_hold(&rig, SLICE("sima.")));
    cr_assert_eq(kit_server_metric(rig.p.server, METRIC_TOKENS_STORED_PLAIN), 2);
    cr_assert_eq(kit_server_logged(rig.p.server, "\"event\":\"token_stored_plain\""), 1);
    cr_assert_eq(kit_server_logged(rig.p.server, "TOKENS ARE STORED IN PLAIN"), 1);
    rig_stop(&rig);
}

/* secure_delete: neither the row nor what lay in the log. */
Test(at_rest, what_was_disconnected_is_in_no_file) {
    struct rig rig;
    rig_start(&rig, NULL);
    platform_link(&rig.p, "user-1");
    platform_link(&rig.p, "user-1");
    cr_assert(files_hold(&rig, SLICE("user-1")));
    cr_assert_eq(disconnect(&rig, "user-1"), 200);
    rig_restart(&rig, NULL);
    cr_assert_not(files_hold(&rig, SLICE("gAAAAA")));
    cr_assert_not(files_hold(&rig, SLICE("user-1")));
    cr_assert_not(files_hold(&rig, SLICE("amzn1.account.SAMPLELISTENER")));
    rig_stop(&rig);
}

/* A sealed token that was changed, cut or made up is sent nowhere; the account is not lost. */
Test(at_rest, a_tampered_token_is_never_sent) {
    static const char *const changes[] = {
        ("substr(%1$s, 1, 60) || CASE substr(%1$s, 61, 1) WHEN 'A' THEN 'B' ELSE 'A' END"
         " || substr(%1$s, 62)"),
        "substr(%1$s, 1, length(%1$s) - 4) || 'AAA='",
        "substr(%1$s, 1, 98)",
        "substr(%1$s, 1, length(%1$s) - 1)",
        "substr(%1$s, 1, 7)",
        "%1$s || char(10)",
        "'gAAAAA' || substr(%1$s, 7, 94) || 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='",
    };
    static const char *const columns[] = {"access_token", "refresh_token"};
    struct rig rig;
    rig_start(&rig, NULL);
    for (size_t c = 0; c < sizeof changes / sizeof changes[0]; c++) {
        for (size_t k = 0; k < 2; k++) {
            char value[512];
            char sql[1024];
            platform_link(&rig.p, "user-1");
            int64_t before = asked(&rig);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(value, sizeof value, changes[c], columns[k]);
#pragma GCC diagnostic pop
            snprintf(sql, sizeof sql, "UPDATE accounts SET %s = %s", columns[k], value);
            meddle(&rig, sql, 1);
            expect_library(&rig, "user-1", 503, "storage_unavailable");
            expect_error(&rig, "user-1", "reauthorization_required");
            cr_assert_eq(asked(&rig), before, "%s", sql);
        }
    }
    platform_link(&rig.p, "user-1");
    expect_library(&rig, "user-1", 200, "");
    expect_error(&rig, "user-1", "");
    rig_stop(&rig);
}

/* A wrong key may be put right: nothing was lost, and nobody has to link again. */
Test(at_rest, another_key_opens_nothing_and_the_right_one_does_again) {
    struct rig rig;
    rig_start(&rig, NULL);
    platform_link(&rig.p, "user-1");
    rig_restart(&rig, OTHER_KEY);
    expect_library(&rig, "user-1", 503, "storage_unavailable");
    expect_error(&rig, "user-1", "reauthorization_required");
    cr_assert_gt(kit_server_metric(rig.p.server, METRIC_OPEN_FAILURES), 0);
    cr_assert_eq(asked(&rig), 0);
    rig_restart(&rig, NULL);
    expect_library(&rig, "user-1", 200, "");
    expect_error(&rig, "user-1", "");
    rig_stop(&rig);
}

/* It is the opening that takes it back, whatever becomes of the refresh after it. */
Test(at_rest, the_right_key_is_enough_where_the_provider_is_down) {
    struct rig rig;
    rig_start(&rig, NULL);
    platform_link(&rig.p, "user-1");
    rig_restart(&rig, OTHER_KEY);
    expect_library(&rig, "user-1", 503, "storage_unavailable");
    expect_error(&rig, "user-1", "reauthorization_required");
    rig_restart(&rig, NULL);
    kit_server_advance_ms(rig.p.server, HOUR_MS);
    simprovider_fault(rig.p.sim, &(struct simprovider_fault){.path = "/auth/oauth2/token",
                                                             .kind = SIMPROVIDER_STATUS,
                                                             .number = 500,
                                                             .text = "{}",
                                                             .count = 1});
    expect_library(&rig, "user-1", 503, "audible_service_unavailable");
    expect_error(&rig, "user-1", "");
    rig_stop(&rig);
}

/* The second key of the list opens what it sealed; what is sealed from now on needs the first. */
Test(at_rest, a_key_rotates_without_a_reconnect) {
    struct rig rig;
    rig_start(&rig, NULL);
    platform_link(&rig.p, "user-1");
    rig_restart(&rig, BOTH_KEYS);
    expect_library(&rig, "user-1", 200, "");
    kit_server_advance_ms(rig.p.server, HOUR_MS);
    expect_library(&rig, "user-1", 200, "");
    platform_link(&rig.p, "user-2");
    rig_restart(&rig, OTHER_KEY);
    expect_library(&rig, "user-1", 200, "");
    expect_library(&rig, "user-2", 200, "");
    rig_stop(&rig);
}

/* What no key opens is deleted like anything else, and sent to nobody. */
Test(at_rest, an_account_that_no_key_opens_can_be_disconnected) {
    struct rig rig;
    char url[256];
    rig_start(&rig, NULL);
    platform_link(&rig.p, "user-1");
    snprintf(url, sizeof url, "AUDIBLE_REVOKE_URL=%s/auth/oauth2/revoke",
             simprovider_url(rig.p.sim));
    rig_restart(&rig, url);
    meddle(&rig,
           "UPDATE accounts SET refresh_token = substr(refresh_token, 1, 50), access_token ="
           " substr(access_token, 1, 99)",
           1);
    cr_assert_eq(disconnect(&rig, "user-1"), 200);
    cr_assert_eq(disconnect(&rig, "user-1"), 404);
    cr_assert_eq(simprovider_count(rig.p.sim, SIMPROVIDER_REVOKES), 0);
    rig_stop(&rig);
}

/* The limit that docs/security.md names: a sealed token says nothing of whose it is, so whoever
 * writes the database can give one user's to another. It opens, and is used. */
Test(at_rest, tokens_swapped_between_users_go_unnoticed) {
    struct rig rig;
    rig_start(&rig, NULL);
    platform_link(&rig.p, "user-1");
    platform_link(&rig.p, "user-2");
    meddle(&rig,
           "UPDATE accounts SET (access_token, refresh_token) = (SELECT access_token,"
           " refresh_token FROM accounts AS other WHERE other.user_id <> accounts.user_id)",
           2);
    expect_library(&rig, "user-1", 200, "");
    expect_library(&rig, "user-2", 200, "");
    cr_assert_eq(kit_server_metric(rig.p.server, METRIC_OPEN_FAILURES), 0);
    rig_stop(&rig);
}
