// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

/* What belongs to the process as a whole; for the server's own process, not for one that tests it.
 */

/* No core dump and no debugger sees its secrets; files that it makes are its user's alone. */
void process_harden(void);

/* Raises the open-files limit to `wanted`, or as far as the system allows. Returns what it is. */
size_t process_raise_files(size_t wanted);

/* Standard input, output and error are something, so that no other file becomes one of them. */
void process_fill_stdio(void);

/* What it is called in lists of processes. */
void process_name(const char *name);
