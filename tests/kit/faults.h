// SPDX-License-Identifier: MIT
#pragma once

/* Makes the n-th call to libuv or libcurl fail, as it could fail: the linker sends the calls of our
 * own objects through here (kit/faults.cmake). What can't fail but by a mistake of the caller (a
 * timer's start, an async's send, a write on an open stream) is left alone. accept4 counts as
 * libuv's: io/stream calls it in libuv's place.
 *
 * SQLite's calls fail by a disk of the kit's, kit/faults_sqlite.h. */
enum faults_family { FAULTS_UV, FAULTS_CURL, FAULTS_FAMILIES };

/* The n-th call from now on (from 1) fails, once; 0: none. Counting starts again. Any thread. */
void faults_arm(enum faults_family family, int n);
/* Calls since then. */
int faults_count(enum faults_family family);
/* The function that was made to fail since then, or NULL. */
const char *faults_met(enum faults_family family);
