// SPDX-License-Identifier: MIT
#pragma once

/* PSA's key store is one per process, and in mbedTLS 2.28 it has no lock: two threads that import,
 * use or destroy keys at once corrupt it (a double free, a lost lock count). Every call of PSA that
 * names a key stands between these two. Held for a microsecond or two: nothing that waits, and no
 * call of the project's own, in between. */
void keystore_lock(void);
void keystore_unlock(void);
