// SPDX-License-Identifier: MIT
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/mongo_driver.h"

/* Debian 12's libmongoc starts itself in every process that is linked with it, whether a MongoDB is
 * configured or not: it makes a file in shared memory, and prints a line where it can't. It does so
 * by calling mongoc_init when it is loaded, and mongoc_cleanup at the end. These here stand before
 * its own, so that it starts when we say. What it would clean up ends with the process. */
void mongoc_init(void) {
}

void mongoc_cleanup(void) {
}

void mongo_start_driver(void) {
    void *symbol = dlsym(RTLD_NEXT, "mongoc_init");
    void (*start)(void);
    _Static_assert(sizeof start == sizeof symbol, "POSIX has it so");
    memcpy(&start, &symbol, sizeof start);
    if (start == NULL) {
        return; /* it starts itself with the first client */
    }
    start();
    /* Its counters, for a tool that nobody here has; the file would stay behind a process that is
       killed. */
    char name[32];
    snprintf(name, sizeof name, "/mongoc-%d", (int)getpid());
    shm_unlink(name);
}
