// SPDX-License-Identifier: MIT
#pragma once

#include <criterion/criterion.h>

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

#ifdef LEAKS_CHECKED
#include <sanitizer/lsan_interface.h>
#define CHECK_LEAKS() cr_assert_eq(__lsan_do_recoverable_leak_check(), 0, "memory leaked")
#else
#define CHECK_LEAKS() ((void)0)
#endif
