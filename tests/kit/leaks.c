// SPDX-License-Identifier: MIT
#include "kit/leaks.h"

#ifdef LEAKS_CHECKED
#include <errno.h>
#include <sanitizer/lsan_interface.h>
#include <stdbool.h>
#include <string.h>

/* Criterion runs a test in a process of that name; the one that started it is Criterion's alone. */
static bool is_worker(void) {
    return strcmp(program_invocation_short_name, "boxfort-worker") == 0;
}

/* Criterion itself may leave 48 bytes behind, in a thread that waits for time-outs. A suppression
 * of its library would be one of every test, whose stacks all begin there; and none of our code
 * runs in that process. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) {
    return !is_worker();
}

bool leaks_none(void) {
    return is_worker() && __lsan_do_recoverable_leak_check() == 0;
}
#else
bool leaks_none(void) {
    return true;
}
#endif
