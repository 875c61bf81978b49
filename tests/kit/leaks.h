// SPDX-License-Identifier: MIT
#pragma once

#include <criterion/criterion.h>
#include <stdbool.h>

/* LeakSanitizer looks when a test's child ends, when Criterion has counted the test already: what
 * it finds then is printed and passes. So each test that allocates ends with CHECK_LEAKS(), which
 * looks while an assertion can still fail. Without the sanitizer it does nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define LEAKS_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKS_CHECKED 1
#endif
#endif

bool leaks_none(void);
#define CHECK_LEAKS() cr_assert(leaks_none(), "memory leaked")
