// SPDX-License-Identifier: MIT
#include "app/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "app/command_backup.h"
#include "app/command_healthcheck.h"
#include "app/command_line.h"
#include "app/command_migrate.h"
#include "app/command_rekey.h"
#include "app/command_serve.h"
#include "app/command_stats.h"
#include "app/command_token.h"
#include "app/command_unlink.h"
#include "app/config.h"
#include "app/config_text.h"
#include "base/buf.h"
#include "base/json.h"
#include "crypto/fernet.h"
#include "crypto/hash.h"
#include "http/parse.h"
#include "io/upstream_url.h"
#include "store/accounts_backend.h"

enum { TEXT_BYTES_MAX = 256 * 1024 };

static int run_check(const struct command_line *line);
static int run_keygen(const struct command_line *line);

static const struct {
    const char *name;
    const char *arguments;
    int (*run)(const struct command_line *line);
    const char *help; /* NULL: not for people */
} commands[] = {
    {"serve", "", command_serve_run, "serves, until SIGTERM or SIGINT; the default"},
    {"check", "", run_check, "says all that is wrong or unwise with the settings; starts nothing"},
    {"keygen", "", run_keygen, "prints a fresh Fernet key for AUDIBLE_TOKEN_ENCRYPTION_KEY"},
    {"token", "--sub ID [--tier premium] [--role user] [--ttl 1h]", command_token_run,
     "prints a token signed with SECRET_KEY, for trying things out"},
    {"rekey", "", command_rekey_run,
     "seals every stored token under the first key of AUDIBLE_TOKEN_ENCRYPTION_KEY, beside a "
     "running server; can be stopped and run again"},
    {"migrate", "[--prune] FROM TO", command_migrate_run,
     "copies every account from one store to another, tokens as they are stored (no key is\n"
     "      needed), and reads each back. FROM and TO are sqlite:<path>, redis://… or "
     "mongodb://…;\n"
     "      - is what LATCHKEY_ACCOUNT_STORE says; @FILE is a file that holds the URL, for one "
     "with\n"
     "      a password, as arguments can be read by every user of the machine.\n"
     "      It can be stopped and run again: what is equal already is passed over. Where both "
     "know\n"
     "      a user the newer record stays: connected later, else with a token that expires later,\n"
     "      else synced later, else FROM's. --prune deletes from TO whom FROM does not know (not\n"
     "      for a TO that others store accounts in); without it they are counted.\n"
     "      FROM may be served from meanwhile, TO must not be. To move with little downtime: run\n"
     "      it, stop the servers, run it again with --prune, start the servers on TO. Servers "
     "that\n"
     "      go on with FROM after that use up tokens that TO has too."},
    {"stats", "", command_stats_run, "counts accounts by status, and tokens by their key"},
    {"unlink", "--sub ID", command_unlink_run,
     "deletes a user's account, and revokes its token at the provider"},
    {"backup", "FILE", command_backup_run,
     "copies the accounts' SQLite file, beside a running server"},
    {"healthcheck", "", command_healthcheck_run,
     "asks the server at LATCHKEY_LISTEN how it is, for a container"},
    {"worker", "", command_worker_run, NULL},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* --- the commands that are short
 * ------------------------------------------------------------------ */

static int run_check(const struct command_line *line) {
    struct notes notes;
    struct config *config;
    int code = command_line_none(line);
    if (code != COMMAND_GOOD) {
        return code;
    }
    notes_init(&notes);
    enum rc rc = config_read(line->env, &notes, &config);
    size_t warnings = notes.count < notes.problem_count ? 0 : notes.count - notes.problem_count;
    command_line_say(stderr, &notes);
    if (rc == RC_OK) {
        printf("the settings are good (%zu warning%s)\n", warnings, warnings == 1 ? "" : "s");
    } else {
        printf("the settings are not good: %zu error%s, %zu warning%s\n", notes.problem_count,
               notes.problem_count == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
    }
    config_free(config);
    notes_fini(&notes);
    return rc == RC_OK ? COMMAND_GOOD : COMMAND_USAGE;
}

static int run_keygen(const struct command_line *line) {
    char key[FERNET_KEY_TEXT_BYTES + 1];
    int code = command_line_none(line);
    if (code != COMMAND_GOOD) {
        return code;
    }
    if (hash_init() != RC_OK || fernet_key_generate(key) != RC_OK) {
        fprintf(stderr, "latchkey keygen: the system gives no random bytes\n");
        return COMMAND_FAILED;
    }
    code = printf("%s\n", key) > 0 && fflush(stdout) == 0 ? COMMAND_GOOD : COMMAND_FAILED;
    mem_wipe(key, sizeof key);
    return code;
}

/* --- texts
 * ------------------------------------------------------------------------------------------ */

static int print_text(struct buf *text) {
    bool good =
        buf_ok(text) && fwrite(text->at, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    buf_fini(text);
    return good ? COMMAND_GOOD : COMMAND_FAILED;
}

static int print_help(void) {
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    BUF_LIT(&text, "Latchkey " LATCHKEY_VERSION
                   " links the accounts of an OAuth provider to the users of a platform.\n\n"
                   "usage: latchkey [command]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].help == NULL) {
            continue;
        }
        BUF_LIT(&text, "  latchkey ");
        buf_append(&text, slice_str(commands[i].name));
        buf_append(&text, commands[i].arguments[0] != '\0' ? SLICE(" ") : SLICE(""));
        buf_append(&text, slice_str(commands[i].arguments));
        BUF_LIT(&text, "\n      ");
        buf_append(&text, slice_str(commands[i].help));
        BUF_LIT(&text, "\n");
    }
    BUF_LIT(&text, "  latchkey --help, --version\n\n"
                   "Exit codes: 0 good, 1 failed, 2 usage or configuration.\n\n");
    config_text_help(&text);
    return print_text(&text);
}

static int print_markdown(void) {
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    config_text_markdown(&text);
    return print_text(&text);
}

static int print_version(void) {
    struct buf text;
    char crypto_version[HASH_VERSION_BYTES];
    buf_init(&text, TEXT_BYTES_MAX);
    hash_library_version(crypto_version);
    BUF_LIT(&text, "latchkey " LATCHKEY_VERSION "\n");
    const struct {
        const char *name;
        const char *version;
    } libraries[] = {
        {"libuv", uv_version_string()},
        {"llhttp", http_parse_library_version()},
        {"mbedTLS", crypto_version},
        {"yyjson", json_library_version()},
        {"SQLite", accounts_sqlite_library_version()},
        {"curl", upstream_url_library_version()},
    };
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        buf_append(&text, slice_str(libraries[i].name));
        buf_append_char(&text, ' ');
        buf_append(&text, slice_str(libraries[i].version));
        buf_append_char(&text, '\n');
    }
    return print_text(&text);
}

/* --- the choice
 * --------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*print)(void);
} texts[] = {
    {"--help", print_help},
    {"-h", print_help},
    {"help", print_help},
    {"--version", print_version},
    {"--help-markdown", print_markdown}, /* makes docs/configuration.md */
};

static int run_text(const struct command_line *line, int (**print)(void)) {
    *print = NULL;
    for (int i = 0; i < line->argc && i < 2; i++) {
        for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
            if (strcmp(line->argv[i], texts[k].name) == 0) {
                *print = texts[k].print;
                return COMMAND_GOOD;
            }
        }
    }
    return COMMAND_USAGE;
}

/* A word that was meant as a command is said back; anything else may be a secret. */
static int refuse_command(const char *name) {
    struct slice word = slice_str(name);
    bool is_word = word.len > 0 && word.len <= 16;
    for (size_t i = 0; i < word.len && is_word; i++) {
        is_word = word.at[i] >= 'a' && word.at[i] <= 'z';
    }
    fprintf(stderr, "latchkey: %s%s%s is no command; known are", is_word ? "\"" : "",
            is_word ? name : "that", is_word ? "\"" : "");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].help != NULL) {
            fprintf(stderr, "%s %s", i > 0 ? "," : "", commands[i].name);
        }
    }
    fprintf(stderr, "; see latchkey --help\n");
    return COMMAND_USAGE;
}

int commands_run(int argc, char **argv, char *const *env) {
    char serve_name[] = "serve";
    char *serve_argv[] = {serve_name, argc > 1 ? argv[1] : NULL, NULL};
    struct command_line line = {argc - 1, argv + 1, env};
    int (*print)(void);
    if (run_text(&line, &print) == COMMAND_GOOD) {
        return print();
    }
    if (argc < 2 || argv[1][0] == '-') {
        line = (struct command_line){argc < 2 ? 1 : 2, serve_argv, env};
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(line.argv[0], commands[i].name) == 0) {
            return commands[i].run(&line);
        }
    }
    return refuse_command(line.argv[0]);
}
