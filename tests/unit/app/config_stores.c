// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "io/redis_url.h"
#include "kit/leaks.h"
#include "kit/reading.h"

Test(config_stores, counts_in_redis_need_states_in_redis) {
    struct reading reading = assert_good(
        READ("AUDIBLE_RATE_LIMIT_STORAGE=redis", "LATCHKEY_STATE_STORE=redis://127.0.0.1"), "both");
    cr_assert(config_has_redis_states(reading.config));
    reading_free(&reading);
    assert_refused(
        READ("AUDIBLE_RATE_LIMIT_STORAGE=redis", "LATCHKEY_ACCOUNT_STORE=redis://127.0.0.1"),
        "AUDIBLE_RATE_LIMIT_STORAGE", "LATCHKEY_STATE_STORE is none", "accounts only");
    CHECK_LEAKS();
}

Test(config_stores, what_passes_a_network_in_the_clear_is_warned_of) {
    assert_warned(READ("LATCHKEY_STATE_STORE=redis://:pw@cache"), "LATCHKEY_STATE_STORE",
                  "in the clear", "states");
    assert_warned(READ("LATCHKEY_ACCOUNT_STORE=redis://10.0.0.7"), "LATCHKEY_ACCOUNT_STORE",
                  "in the clear", "accounts");
    assert_warned(READ("LATCHKEY_ACCOUNT_STORE=mongodb://u:pw@db/platform"),
                  "LATCHKEY_ACCOUNT_STORE", "in the clear", "documents");
    const char *const quiet[] = {
        "LATCHKEY_STATE_STORE=redis://localhost",
        "LATCHKEY_STATE_STORE=redis://127.0.0.2:7000/3",
        "LATCHKEY_STATE_STORE=redis://[::1]",
    };
    for (size_t i = 0; i < sizeof quiet / sizeof quiet[0]; i++) {
        struct reading reading = assert_good(READ(quiet[i]), quiet[i]);
        cr_assert_null(find_note(&reading, "LATCHKEY_STATE_STORE", "", false), "%s", quiet[i]);
        reading_free(&reading);
    }
    CHECK_LEAKS();
}

Test(config_stores, redis_with_tls_where_hiredis_has_it) {
    if (redis_has_tls()) {
        struct reading reading = assert_good(READ("LATCHKEY_STATE_STORE=rediss://cache"), "TLS");
        cr_assert_null(find_note(&reading, "LATCHKEY_STATE_STORE", "", false));
        reading_free(&reading);
    } else {
        assert_refused(READ("LATCHKEY_STATE_STORE=rediss://cache"), "LATCHKEY_STATE_STORE",
                       redis_library_version(), "no TLS");
    }
    CHECK_LEAKS();
}

Test(config_stores, users_records_are_in_the_accounts_database) {
    struct reading reading = assert_good(
        READ("LATCHKEY_USERS=mongodb", "LATCHKEY_ACCOUNT_STORE=mongodb://localhost/platform"),
        "both");
    cr_assert_eq(reading.config->users, CONFIG_USERS_MONGODB);
    reading_free(&reading);
    assert_refused(READ("LATCHKEY_USERS=mongodb", "LATCHKEY_ACCOUNT_STORE=redis://localhost"),
                   "LATCHKEY_USERS", "set that to mongodb://", "accounts in Redis");
    CHECK_LEAKS();
}
