// SPDX-License-Identifier: MIT
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/mongo_driver.h"

enum {
    DATABASE_BYTES_MAX = 63, /* MongoDB's */
    OPTION_SHOWN_BYTES = 40,
};

/* What an operation may wait for. libmongoc's own defaults would hold a thread for minutes: 30 s
 * for a server, 300 s for its answer. */
static const struct {
    const char *option; /* as libmongoc spells it */
    int32_t default_ms;
    int32_t min_ms;
    int32_t max_ms;
} timeouts[] = {
    {MONGOC_URI_SERVERSELECTIONTIMEOUTMS, 2000, 1, 10000},
    {MONGOC_URI_CONNECTTIMEOUTMS, 2000, 1, 10000},
    {MONGOC_URI_SOCKETTIMEOUTMS, 2500, 1, 10000},
    {MONGOC_URI_WAITQUEUETIMEOUTMS, 1000, 1, 10000},
    /* a server that is back is seen that much later; it is the least that there is */
    {MONGOC_URI_HEARTBEATFREQUENCYMS, 500, 500, 60000},
};
enum { TIMEOUT_COUNT = sizeof timeouts / sizeof timeouts[0] };

enum { MAJORITY_WAIT_MS = 2000 }; /* less than the socket's, so that it is the server that tells */

/* Those that libmongoc takes and mongoc_uri_option_is_... don't know. */
static const char *const more_options[] = {
    MONGOC_URI_AUTHMECHANISM,
    MONGOC_URI_AUTHMECHANISMPROPERTIES,
    MONGOC_URI_AUTHSOURCE,
    MONGOC_URI_COMPRESSORS,
    MONGOC_URI_JOURNAL,
    MONGOC_URI_READCONCERNLEVEL,
    MONGOC_URI_SSL,
    MONGOC_URI_READPREFERENCETAGS,
    MONGOC_URI_W,
    MONGOC_URI_WTIMEOUTMS,
};

static enum rc fail(char problem[MONGO_PROBLEM_BYTES], const char *sentence) {
    snprintf(problem, MONGO_PROBLEM_BYTES, "%s", sentence);
    return RC_USAGE;
}

static bool is_option(const char *name) {
    for (size_t i = 0; i < sizeof more_options / sizeof more_options[0]; i++) {
        if (strcasecmp(name, more_options[i]) == 0) {
            return true;
        }
    }
    return mongoc_uri_option_is_int32(name) || mongoc_uri_option_is_int64(name) ||
           mongoc_uri_option_is_bool(name) || mongoc_uri_option_is_utf8(name);
}

/* libmongoc only warns of an option that it doesn't know, such as a misspelt `tls`. */
static enum rc check_options(struct slice url, char problem[MONGO_PROBLEM_BYTES]) {
    struct slice rest = slice_from(url, slice_find(url, '?') + 1);
    struct slice part;
    while (slice_split(&rest, '&', &part)) {
        char name[OPTION_SHOWN_BYTES + 1];
        struct slice shown = slice_head(slice_head(part, slice_find(part, '=')), sizeof name - 1);
        snprintf(name, sizeof name, "%.*s", SLICE_ARGS(shown));
        if (part.len > 0 && !is_option(name)) {
            snprintf(problem, MONGO_PROBLEM_BYTES,
                     "has the option %s, which libmongoc doesn't know",
                     slice_is_printable(shown) ? name : "(unprintable)");
            return RC_USAGE;
        }
    }
    return RC_OK;
}

static enum rc check_database(const char *name, char problem[MONGO_PROBLEM_BYTES]) {
    if (name == NULL || name[0] == '\0') {
        return fail(problem, "names no database: mongodb://host/database");
    }
    if (strlen(name) > DATABASE_BYTES_MAX) {
        return fail(problem, "names a database of more than 63 bytes, which MongoDB doesn't take");
    }
    return RC_OK;
}

/* An account is stored once a majority has it; nothing less can be asked for. */
static enum rc set_durability(mongoc_uri_t *uri, char problem[MONGO_PROBLEM_BYTES]) {
    const bson_t *options = mongoc_uri_get_options(uri);
    bson_iter_t w;
    if (bson_iter_init_find_case(&w, options, MONGOC_URI_W) &&
        (!BSON_ITER_HOLDS_UTF8(&w) || strcmp(bson_iter_utf8(&w, NULL), "majority") != 0)) {
        return fail(problem, "may have no w but majority: what is stored must stay stored");
    }
    mongoc_write_concern_t *concern = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(concern, MAJORITY_WAIT_MS);
    mongoc_write_concern_set_journal(concern, true);
    mongoc_uri_set_write_concern(uri, concern);
    mongoc_write_concern_destroy(concern);
    /* a fence is read where it is compared */
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_uri_set_read_prefs_t(uri, primary);
    mongoc_read_prefs_destroy(primary);
    return RC_OK;
}

static enum rc set_timeouts(mongoc_uri_t *uri, char problem[MONGO_PROBLEM_BYTES]) {
    for (int i = 0; i < TIMEOUT_COUNT; i++) {
        int32_t ms =
            mongoc_uri_get_option_as_int32(uri, timeouts[i].option, timeouts[i].default_ms);
        if (ms < timeouts[i].min_ms || ms > timeouts[i].max_ms) {
            snprintf(problem, MONGO_PROBLEM_BYTES, "has a %s that isn't %d to %d",
                     timeouts[i].option, (int)timeouts[i].min_ms, (int)timeouts[i].max_ms);
            return RC_USAGE;
        }
        mongoc_uri_set_option_as_int32(uri, timeouts[i].option, ms);
    }
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, LIMIT_MONGO_THREADS);
    if (mongoc_uri_get_appname(uri) == NULL) {
        mongoc_uri_set_appname(uri, "latchkey");
    }
    return RC_OK;
}

/* libmongoc's own words could quote a password. */
static mongoc_uri_t *parse(struct slice url, char problem[MONGO_PROBLEM_BYTES]) {
    if (slice_starts(url, SLICE("mongodb+srv://"))) {
        fail(problem, "can't be mongodb+srv://: name the servers, mongodb://one,two/database");
        return NULL;
    }
    mongoc_uri_t *uri = NULL;
    if (slice_starts(url, SLICE("mongodb://")) && memchr(url.at, '\0', url.len) == NULL) {
        char *text = mem_strdup(url);
        uri = mongoc_uri_new_with_error(text, NULL);
        mem_wipe(text, url.len);
        mem_free(text);
    }
    if (uri == NULL) {
        fail(problem,
             "isn't mongodb://[user:password@]host[:port][,...]/database[?options] (in user "
             "and password all but letters and digits is percent-encoded)");
    }
    return uri;
}

static void drop_line(mongoc_log_level_t level, const char *domain, const char *message,
                      void *owner) {
    (void)level;
    (void)domain;
    (void)message;
    (void)owner;
}

mongoc_uri_t *mongo_url_parse(struct slice url, char problem[MONGO_PROBLEM_BYTES]) {
    /* stdout and stderr are not libmongoc's: what matters comes as an error as well */
    mongoc_log_set_handler(drop_line, NULL);
    mongoc_uri_t *uri = parse(url, problem);
    if (uri == NULL) {
        return NULL;
    }
    if (check_options(url, problem) != RC_OK ||
        check_database(mongoc_uri_get_database(uri), problem) != RC_OK ||
        set_timeouts(uri, problem) != RC_OK || set_durability(uri, problem) != RC_OK) {
        mongoc_uri_destroy(uri);
        return NULL;
    }
    return uri;
}

enum rc mongo_url_check(struct slice url, char problem[MONGO_PROBLEM_BYTES]) {
    mongoc_uri_t *uri = mongo_url_parse(url, problem);
    if (uri == NULL) {
        return RC_USAGE;
    }
    mongoc_uri_destroy(uri);
    return RC_OK;
}

static bool is_local(const mongoc_host_list_t *host) {
    return host->family == AF_UNIX || strcmp(host->host, "localhost") == 0 ||
           strcmp(host->host, "::1") == 0 || strncmp(host->host, "127.", 4) == 0;
}

bool mongo_url_is_exposed(struct slice url) {
    char problem[MONGO_PROBLEM_BYTES];
    bool is_exposed = false;
    mongoc_uri_t *uri = mongo_url_parse(url, problem);
    if (uri != NULL && !mongoc_uri_get_tls(uri)) {
        for (const mongoc_host_list_t *host = mongoc_uri_get_hosts(uri); host != NULL;
             host = host->next) {
            is_exposed = is_exposed || !is_local(host);
        }
    }
    mongoc_uri_destroy(uri);
    return is_exposed;
}
