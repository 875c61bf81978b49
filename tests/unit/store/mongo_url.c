// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "base/limits.h"
#include "kit/leaks.h"
#include "store/mongo_driver.h"

static void assert_taken(const char *url) {
    char problem[MONGO_PROBLEM_BYTES] = "";
    cr_assert_eq(mongo_url_check(slice_str(url), problem), RC_OK, "%s: %s", url, problem);
}

static void assert_refused(struct slice url, const char *sentence) {
    char problem[MONGO_PROBLEM_BYTES] = "";
    cr_assert_eq(mongo_url_check(url, problem), RC_USAGE, "%.*s", SLICE_ARGS(url));
    cr_assert_not_null(strstr(problem, sentence), "%.*s: '%s' says nothing of '%s'",
                       SLICE_ARGS(url), problem, sentence);
    cr_assert_null(strstr(problem, "secret"), "%s", problem);
}

Test(mongo_url, what_is_taken) {
    assert_taken("mongodb://localhost/latchkey");
    assert_taken("mongodb://127.0.0.1:27017/audible-platform_2");
    assert_taken("mongodb://[::1]:27017/latchkey");
    assert_taken(
        "mongodb://user:p%40ss%2Fword@one,two:27018,three/db?replicaSet=rs0&authSource=admin");
    assert_taken("mongodb://h/db?tls=true&tlsCAFile=/etc/ssl/ca.pem&compressors=zlib");
    assert_taken("mongodb://h/db?w=majority&wtimeoutMS=100&journal=true&readConcernLevel=majority");
    assert_taken(
        "mongodb://u:p@h/db?authMechanism=SCRAM-SHA-256&retryWrites=false&directConnection=true");
    assert_taken("mongodb://h/db?serverSelectionTimeoutMS=1&socketTimeoutMS=10000");
    assert_taken("mongodb://%2Ftmp%2Fmongodb-27017.sock/db");
    CHECK_LEAKS();
}

Test(mongo_url, what_is_refused_and_why) {
    static const struct {
        const char *url;
        const char *sentence;
    } cases[] = {
        {"", "isn't mongodb://"},
        {"mongodb:", "isn't mongodb://"},
        {"mongodb://", "isn't mongodb://"},
        {"MONGODB://h/db", "isn't mongodb://"},
        {"http://h/db", "isn't mongodb://"},
        {"mongodb://secret:secret/@h/db", "isn't mongodb://"},
        {"mongodb://user:%zzsecret@h/db", "isn't mongodb://"},
        {"mongodb://h:99999/db", "isn't mongodb://"},
        {"mongodb+srv://h/db", "can't be mongodb+srv"},
        {"mongodb://user:secret@h", "names no database"},
        {"mongodb://h/", "names no database"},
        {"mongodb://h/?tls=true", "names no database"},
        {"mongodb://h/a%20b", "mongodb://"},
        {"mongodb://h/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "more than 63 bytes"},
        {"mongodb://h/db?tlsCertificate=x", "option tlsCertificate"},
        {"mongodb://h/db?x\x01y=1", "(unprintable)"},
        {"mongodb://h/db?tls=true&AnOptionOfMoreThanFortyBytesWhichNoOneKnows=1",
         "option AnOption"},
        {"mongodb://h/db?w=0", "no w but majority"},
        {"mongodb://h/db?w=1", "no w but majority"},
        {"mongodb://h/db?w=2", "no w but majority"},
        {"mongodb://h/db?w=tag", "no w but majority"},
        {"mongodb://h/db?serverSelectionTimeoutMS=30000", "serverselectiontimeoutms"},
        {"mongodb://h/db?connectTimeoutMS=10001", "connecttimeoutms that isn't 1 to 10000"},
        {"mongodb://h/db?waitQueueTimeoutMS=60000", "waitqueuetimeoutms"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(slice_str(cases[i].url), cases[i].sentence);
    }
    assert_refused(SLICE("mongodb://h\0/db"), "isn't mongodb://");
    CHECK_LEAKS();
}

Test(mongo_url, what_passes_in_the_clear) {
    static const struct {
        const char *url;
        bool is_exposed;
    } cases[] = {
        {"mongodb://db.example/latchkey", true},
        {"mongodb://db.example/latchkey?tls=true", false},
        {"mongodb://db.example/latchkey?ssl=true", false},
        {"mongodb://db.example/latchkey?tls=false", true},
        {"mongodb://10.0.0.1/latchkey", true},
        {"mongodb://localhost,127.0.0.1,[::1]/latchkey", false},
        {"mongodb://localhost,db.example/latchkey", true},
        {"mongodb://%2Ftmp%2Fmongodb-27017.sock/latchkey", false},
        {"not a URL", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(mongo_url_is_exposed(slice_str(cases[i].url)), cases[i].is_exposed, "%s",
                     cases[i].url);
    }
    CHECK_LEAKS();
}

static int32_t option(const mongoc_uri_t *uri, const char *name) {
    return mongoc_uri_get_option_as_int32(uri, name, -1);
}

/* Whatever stands in the URL. */
Test(mongo_url, what_every_operation_is_done_with) {
    static const char *const urls[] = {
        "mongodb://h/db",
        "mongodb://h/db?w=majority&wtimeoutMS=60000&journal=false&readPreference=secondary",
        "mongodb://one,two/db?replicaSet=rs&readPreference=nearest&maxPoolSize=1000&appName=mine",
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char problem[MONGO_PROBLEM_BYTES];
        mongoc_uri_t *uri = mongo_url_parse(slice_str(urls[i]), problem);
        cr_assert_not_null(uri, "%s: %s", urls[i], problem);
        const mongoc_write_concern_t *concern = mongoc_uri_get_write_concern(uri);
        cr_assert(mongoc_write_concern_get_wmajority(concern), "%s", urls[i]);
        cr_assert(mongoc_write_concern_get_journal(concern), "%s", urls[i]);
        int64_t wait_ms = mongoc_write_concern_get_wtimeout_int64(concern);
        cr_assert(wait_ms > 0 && wait_ms < option(uri, MONGOC_URI_SOCKETTIMEOUTMS), "%s", urls[i]);
        cr_assert_eq(mongoc_read_prefs_get_mode(mongoc_uri_get_read_prefs_t(uri)),
                     MONGOC_READ_PRIMARY, "%s", urls[i]);
        cr_assert(mongoc_uri_get_option_as_bool(uri, MONGOC_URI_RETRYWRITES, true), "%s", urls[i]);
        cr_assert_eq(option(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS), 2000, "%s", urls[i]);
        cr_assert_eq(option(uri, MONGOC_URI_CONNECTTIMEOUTMS), 2000, "%s", urls[i]);
        cr_assert_eq(option(uri, MONGOC_URI_SOCKETTIMEOUTMS), 2500, "%s", urls[i]);
        cr_assert_eq(option(uri, MONGOC_URI_MAXPOOLSIZE), LIMIT_MONGO_THREADS, "%s", urls[i]);
        cr_assert_str_eq(mongoc_uri_get_appname(uri), i == 2 ? "mine" : "latchkey");
        mongoc_uri_destroy(uri);
    }
    CHECK_LEAKS();
}
