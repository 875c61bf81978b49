// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

/* Makes the n-th call to libuv, libcurl or hiredis fail, as it could fail: the linker sends the
 * calls of our own objects through here (kit/faults.cmake). What can't fail but by a mistake of the
 * caller (a timer's start, an async's send, a write on an open stream) is left alone. accept4
 * counts as libuv's: io/stream calls it in libuv's place.
 *
 * SQLite's calls fail by a disk of the kit's, kit/faults_sqlite.h. */
enum faults_family { FAULTS_UV, FAULTS_CURL, FAULTS_REDIS, FAULTS_FAMILIES };

/* The n-th call from now on (from 1) fails, once; 0: none. Counting starts again. Any thread. */
void faults_arm(enum faults_family family, int n);
/* Only what this thread calls is counted and fails, from now on; NULL: what any does. For a server
 * whose peer, in the same process, is to stay sound. */
void faults_only_on(const pthread_t *thread);
/* Calls since it was armed. */
int faults_count(enum faults_family family);
/* The function that was made to fail since it was armed, or NULL. */
const char *faults_met(enum faults_family family);
