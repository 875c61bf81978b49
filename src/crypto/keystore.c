// SPDX-License-Identifier: MIT
#include "crypto/keystore.h"

#include <pthread.h>

/* The one mutable object at file scope outside of main: what it guards is PSA's key store, which is
 * itself global to the process, whoever calls and however many key lists there are. A mutex inside
 * a key list would let two lists (the old and the new one on SIGHUP) into the store at once. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void keystore_lock(void) {
    pthread_mutex_lock(&mutex);
}

void keystore_unlock(void) {
    pthread_mutex_unlock(&mutex);
}
