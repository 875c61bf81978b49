// SPDX-License-Identifier: MIT
#include "io/redis_error.h"

#include <criterion/criterion.h>

#include "base/buf.h"
#include "io/redis_wire.h"
#include "kit/leaks.h"

/* The words are Redis's own, of the versions 5 to 8. */
Test(redis_error, meaning) {
    static const struct {
        const char *text;
        enum rc rc;
        enum redis_remedy remedy;
        bool is_cluster;
    } rows[] = {
        {"NOSCRIPT No matching script. Please use EVAL.", RC_IO, REDIS_REMEDY_SEND_WHOLE, false},
        {"READONLY You can't write against a read only replica.", RC_UNREACHABLE,
         REDIS_REMEDY_RECONNECT, false},
        {"LOADING Redis is loading the dataset in memory", RC_UNREACHABLE, REDIS_REMEDY_RECONNECT,
         false},
        {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
         RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false},
        {"NOAUTH Authentication required.", RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false},
        {"ERR max number of clients reached", RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false},
        {"OOM command not allowed when used memory > 'maxmemory'.", RC_IO, REDIS_REMEDY_NONE,
         false},
        {"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
         RC_IO, REDIS_REMEDY_NONE, false},
        {"BUSY Redis is busy running a script.", RC_IO, REDIS_REMEDY_NONE, false},
        {"NOREPLICAS Not enough good replicas to write.", RC_IO, REDIS_REMEDY_NONE, false},
        {"NOPERM this user has no permissions to run the 'get' command", RC_USAGE,
         REDIS_REMEDY_NONE, false},
        {"MOVED 3999 127.0.0.1:6381", RC_USAGE, REDIS_REMEDY_NONE, true},
        {"ASK 3999 127.0.0.1:6381", RC_USAGE, REDIS_REMEDY_NONE, true},
        {"CLUSTERDOWN Hash slot not served", RC_USAGE, REDIS_REMEDY_NONE, true},
        {"CROSSSLOT Keys in request don't hash to the same slot", RC_USAGE, REDIS_REMEDY_NONE,
         true},
        {"TRYAGAIN Multiple keys request during rehashing of slot", RC_USAGE, REDIS_REMEDY_NONE,
         true},
        {"ERR unknown command 'nope'", RC_MALFORMED, REDIS_REMEDY_NONE, false},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", RC_MALFORMED,
         REDIS_REMEDY_NONE, false},
        {"READONLYISH something", RC_MALFORMED, REDIS_REMEDY_NONE, false},
        {"ERR READONLY is not the code", RC_MALFORMED, REDIS_REMEDY_NONE, false},
        {"READONLY", RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false},
        {"", RC_MALFORMED, REDIS_REMEDY_NONE, false},
        {" ", RC_MALFORMED, REDIS_REMEDY_NONE, false},
        /* what a script met: before 7 inside of its own error, since then as it is */
        {"ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
         "@user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.",
         RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false},
        {"ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
         "@user_script:1: @user_script: 1: -OOM command not allowed when used memory > "
         "'maxmemory'.",
         RC_IO, REDIS_REMEDY_NONE, false},
        {"ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
         "@user_script:1: user_script:1: attempt to index global 'a-b' (a nil value)",
         RC_MALFORMED, REDIS_REMEDY_NONE, false},
        {"ERR Error running script -", RC_MALFORMED, REDIS_REMEDY_NONE, false},
        {"READONLY You can't write against a read only replica. script: "
         "6b1bf486c81ceb7edf3c093f4c48582e38c0e791, on @user_script:1.",
         RC_UNREACHABLE, REDIS_REMEDY_RECONNECT, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_error error = redis_error_read(slice_str(rows[i].text));
        cr_assert_eq(error.rc, rows[i].rc, "%s: %s", rows[i].text, rc_name(error.rc));
        cr_assert_eq(error.remedy, rows[i].remedy, "%s", rows[i].text);
        cr_assert_eq(error.is_cluster, rows[i].is_cluster, "%s", rows[i].text);
        cr_assert_not_null(error.cause);
    }
    CHECK_LEAKS();
}

Test(redis_wire, commands) {
    struct buf out;
    buf_init(&out, 256);
    redis_wire_command(
        &out, (struct slice[]){SLICE("SET"), SLICE("a\r\nb"), SLICE(""), slice_make("\0\xFF", 2)},
        4);
    static const char expected[] = "*4\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n$2\r\n\0\xFF\r\n";
    cr_assert(slice_eq(buf_slice(&out), slice_make(expected, sizeof expected - 1)));
    buf_fini(&out);
    CHECK_LEAKS();
}
