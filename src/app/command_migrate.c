// SPDX-License-Identifier: MIT
#include "app/command_migrate.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "app/command_store.h"
#include "app/config_stores.h"
#include "app/config_table.h"
#include "app/config_value.h"
#include "app/value_file.h"
#include "base/limits.h"
#include "io/redis_url.h"
#include "store/accounts_migrate.h"

enum { PROGRESS_MS = 1000, URLS_MEMORY_BYTES = 4 * LIMIT_SECRET_FILE_BYTES };

/* FROM or TO. */
struct place {
    const char *name;
    const char *argument;
    struct slice url; /* NUL-terminated, in the migration's memory */
};

struct migrate {
    struct command_store from;
    struct account_store to;
    struct place places[2];
    bool prunes;
    struct arena memory; /* of the URLs; wiped */
    struct notes notes;
    struct accounts_migrate_counts counts;
    struct accounts_migrate_end end;
    char behind_at[LIMIT_USER_ID_BYTES + 1];
    int64_t told_ms;
};
enum { FROM, TO };

/* -- the arguments -- */

static int parse_options(const struct command_line *line, struct migrate *migrate) {
    static const struct option options[] = {{"prune", no_argument, NULL, 'p'}, {NULL, 0, NULL, 0}};
    opterr = 0;
    optind = 0; /* glibc: start over */
    for (;;) {
        int at = optind > 0 ? optind : 1;
        int option = getopt_long(line->argc, line->argv, "+:", options, NULL);
        if (option == -1) {
            break;
        }
        if (option != 'p') {
            return command_line_refuse(line, line->argv[at]);
        }
        migrate->prunes = true;
    }
    if (line->argc - optind > 2) {
        return command_line_refuse(line, line->argv[optind + 2]);
    }
    if (line->argc - optind < 2) {
        fprintf(stderr, "latchkey migrate: FROM and TO are needed: the stores that accounts are "
                        "copied from and to, for example sqlite:./data/latchkey.db and -, which "
                        "is what LATCHKEY_ACCOUNT_STORE says; see latchkey --help\n");
        return COMMAND_USAGE;
    }
    migrate->places[FROM] = (struct place){.name = "FROM", .argument = line->argv[optind]};
    migrate->places[TO] = (struct place){.name = "TO", .argument = line->argv[optind + 1]};
    return COMMAND_GOOD;
}

/* Behind a colon, before an @, in the part that names the server. */
static bool has_password(struct slice url) {
    size_t start = 0;
    while (start < url.len && !slice_starts(slice_from(url, start), SLICE("://"))) {
        start++;
    }
    struct slice server = slice_from(url, start + 3);
    server = slice_head(server, slice_find(server, '/'));
    size_t at = slice_find(server, '@');
    return at < server.len && slice_find(server, ':') < at;
}

static void keep_url(struct migrate *migrate, struct place *place, struct slice text) {
    static const struct slice variable = {"LATCHKEY_ACCOUNT_STORE",
                                          sizeof "LATCHKEY_ACCOUNT_STORE" - 1};
    struct config_value value = {.var = config_table_find(variable),
                                 .text = text,
                                 .memory = &migrate->memory,
                                 .field = &place->url};
    if (text.len == 0) {
        notes_problem(&migrate->notes, place->name, "is empty");
    } else if (!config_value_parse(&value)) {
        notes_problem(&migrate->notes, place->name, "%s", value.problem);
    } else {
        config_stores_check_accounts(&migrate->notes, place->name, place->url);
    }
}

static void keep_file(struct migrate *migrate, struct place *place) {
    struct buf content;
    struct slice text;
    const char *problem = value_file_read(slice_str(place->argument + 1), &content, &text);
    if (problem != NULL) {
        notes_problem(&migrate->notes, place->name, "names a file that can't be read (%s)",
                      problem);
    } else {
        keep_url(migrate, place, text);
    }
    buf_fini(&content);
}

static void resolve(struct migrate *migrate, struct place *place, const struct config *config) {
    struct slice argument = slice_str(place->argument);
    if (slice_eq(argument, SLICE("-"))) {
        keep_url(migrate, place, config->account_store);
    } else if (slice_starts(argument, SLICE("@"))) {
        keep_file(migrate, place);
    } else {
        if (has_password(argument)) {
            notes_warning(&migrate->notes, place->name,
                          "holds a password, and every user of this machine can read arguments; "
                          "write the URL into a file and give @FILE, or - for what "
                          "LATCHKEY_ACCOUNT_STORE says");
        }
        keep_url(migrate, place, argument);
    }
}

static bool is_same_file(struct slice a, struct slice b) {
    struct stat status[2];
    const struct slice scheme = SLICE("sqlite:");
    return slice_starts(a, scheme) && slice_starts(b, scheme) &&
           stat(a.at + scheme.len, &status[0]) == 0 && stat(b.at + scheme.len, &status[1]) == 0 &&
           status[0].st_dev == status[1].st_dev && status[0].st_ino == status[1].st_ino;
}

static bool is_same_redis(struct slice a, struct slice b) {
    struct redis_url urls[2];
    char problem[REDIS_URL_PROBLEM_BYTES];
    bool is_same = false;
    if (redis_url_parse(a, &urls[0], problem) != RC_OK) {
        return false;
    }
    if (redis_url_parse(b, &urls[1], problem) == RC_OK) {
        is_same = redis_url_eq(&urls[0], &urls[1]);
        redis_url_fini(&urls[1]);
    }
    redis_url_fini(&urls[0]);
    return is_same;
}

static bool resolve_both(struct migrate *migrate, const struct config *config) {
    struct slice *from = &migrate->places[FROM].url;
    struct slice *to = &migrate->places[TO].url;
    resolve(migrate, &migrate->places[FROM], config);
    resolve(migrate, &migrate->places[TO], config);
    if (migrate->notes.problem_count == 0 &&
        (slice_eq(*from, *to) || is_same_file(*from, *to) || is_same_redis(*from, *to))) {
        notes_problem(&migrate->notes, "TO", "is the same store as FROM");
    }
    command_line_say(stderr, &migrate->notes);
    return migrate->notes.problem_count == 0;
}

/* -- the work -- */

static void say_counts(const struct migrate *migrate, const struct accounts_migrate_counts *counts,
                       const char *what) {
    fprintf(stderr,
            "latchkey migrate: %s: %" PRIu64 " accounts: %" PRIu64 " copied, %" PRIu64
            " replaced (TO had an older one), %" PRIu64 " equal already, %" PRIu64
            " kept (TO has a newer one), %" PRIu64 " failed; in TO only: %" PRIu64,
            what, counts->accounts, counts->copied, counts->replaced, counts->equal, counts->kept,
            counts->failed, counts->others);
    if (migrate->prunes) {
        fprintf(stderr, ", pruned: %" PRIu64, counts->pruned);
    }
    fprintf(stderr, "\n");
}

static void on_progress(void *owner, const struct accounts_migrate_counts *counts) {
    struct migrate *migrate = owner;
    int64_t now_ms = clock_mono_ms(&migrate->from.clock);
    if (now_ms - migrate->told_ms >= PROGRESS_MS) {
        migrate->told_ms = now_ms;
        say_counts(migrate, counts, "so far");
    }
}

static void on_done(void *owner, const struct accounts_migrate_end *end,
                    const struct accounts_migrate_counts *counts) {
    struct migrate *migrate = owner;
    migrate->counts = *counts;
    migrate->end = *end;
    snprintf(migrate->behind_at, sizeof migrate->behind_at, "%.*s", SLICE_ARGS(end->behind));
    migrate->end.behind = slice_str(migrate->behind_at);
    loop_stop(&migrate->from.loop);
}

static void on_to_closed(void *owner) {
    struct migrate *migrate = owner;
    account_store_close(&migrate->to, NULL, NULL);
}

static void copy_all(struct migrate *migrate) {
    struct command_store *from = &migrate->from;
    struct accounts_backend *to = migrate->to.backend;
    migrate->told_ms = clock_mono_ms(&from->clock);
    accounts_migrate_start(&(const struct accounts_migrate_opts){.loop = &from->loop,
                                                                 .from = from->backend,
                                                                 .to = to,
                                                                 .log = from->log,
                                                                 .prunes = migrate->prunes,
                                                                 .progress = on_progress,
                                                                 .done = on_done,
                                                                 .owner = migrate});
    loop_run(&from->loop);
    to->ops->close(to, on_to_closed, migrate);
}

static bool open_to(struct migrate *migrate, const struct config *config) {
    char problem[ACCOUNT_STORE_PROBLEM_BYTES];
    enum rc rc = account_store_open(
        &(const struct account_store_opts){
            .loop = &migrate->from.loop,
            .log = migrate->from.log,
            .metrics = &migrate->from.metrics,
            .url = migrate->places[TO].url,
            .ca_file = config->redis_ca_file.at,
        },
        &migrate->to, problem);
    if (rc != RC_OK) {
        fprintf(stderr, "latchkey migrate: TO: %s\n", problem);
    }
    return rc == RC_OK;
}

static int judge(const struct migrate *migrate) {
    const struct accounts_migrate_counts *counts = &migrate->counts;
    const struct accounts_migrate_end *end = &migrate->end;
    const char *cause = end->cause != NULL ? end->cause : rc_text(RC_STORAGE_UNAVAILABLE);
    const char *place = end->is_target ? "TO" : "FROM";
    if (end->rc != RC_OK && counts->accounts == 0) {
        fprintf(stderr, "latchkey migrate: %s: %s\n", place, cause);
        return COMMAND_FAILED;
    }
    if (end->rc != RC_OK) {
        fprintf(stderr, "latchkey migrate: stopped behind user \"%.*s\": %s: %s; run it again\n",
                SLICE_ARGS(end->behind), place, cause);
        return COMMAND_FAILED;
    }
    if (counts->failed > 0) {
        fprintf(stderr,
                "latchkey migrate: some accounts failed, the first with: %s: %s; run it "
                "again\n",
                place, cause);
        return COMMAND_FAILED;
    }
    if (migrate->prunes && counts->accounts == 0) {
        fprintf(stderr, "latchkey migrate: FROM has no accounts, so nothing was pruned; is it the "
                        "right store?\n");
        return COMMAND_FAILED;
    }
    return COMMAND_GOOD;
}

static int run(struct migrate *migrate, const struct config *config) {
    if (!command_store_open(&migrate->from,
                            &(const struct command_store_opts){.config = config,
                                                               .command = "migrate: FROM",
                                                               .url = migrate->places[FROM].url})) {
        return COMMAND_FAILED;
    }
    bool is_open = open_to(migrate, config);
    if (is_open) {
        copy_all(migrate);
    }
    command_store_close(&migrate->from);
    if (!is_open) {
        return COMMAND_FAILED;
    }
    say_counts(migrate, &migrate->counts, migrate->end.rc == RC_OK ? "done" : "stopped");
    return judge(migrate);
}

int command_migrate_run(const struct command_line *line) {
    struct migrate migrate = {.prunes = false};
    struct config *config;
    int code = parse_options(line, &migrate);
    if (code == COMMAND_GOOD) {
        code = command_line_config(line, &config);
    }
    if (code != COMMAND_GOOD) {
        return code;
    }
    arena_init(&migrate.memory, URLS_MEMORY_BYTES);
    notes_init(&migrate.notes);
    code = resolve_both(&migrate, config) ? run(&migrate, config) : COMMAND_USAGE;
    notes_fini(&migrate.notes);
    arena_fini(&migrate.memory);
    config_free(config);
    return code;
}
