// SPDX-License-Identifier: MIT
#include "app/worker_sockets.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

static const char *file_of(const struct worker_place *place) {
    return place->address + SLICE("unix:").len;
}

/* "127.0.0.1:0" is from now on the port that it became. */
static void settle_port(struct worker_place *place, int port) {
    size_t colon = strlen(place->address);
    while (colon > 0 && place->address[colon - 1] != ':') {
        colon--;
    }
    snprintf(place->address + colon, sizeof place->address - colon, "%d", port);
}

static void remember_file(struct worker_place *place) {
    struct stat status = {0};
    lstat(file_of(place), &status);
    place->file_device = status.st_dev;
    place->file_number = status.st_ino;
}

static enum rc open_place(struct worker_place *place, int *fd, struct slice address,
                          char problem[BIND_PROBLEM_BYTES]) {
    enum rc rc = bind_socket(address, BIND_SHARED_FIRST, fd, problem);
    if (rc != RC_OK) {
        *fd = -1;
        return rc;
    }
    snprintf(place->address, sizeof place->address, "%.*s", SLICE_ARGS(address));
    if (bind_is_unix(*fd)) {
        place->unix_fd = *fd;
        remember_file(place);
    } else {
        settle_port(place, bind_port(*fd));
    }
    return RC_OK;
}

enum rc worker_places_open(struct worker_places *places, struct worker_sockets *first,
                           const struct slice *addresses, size_t count,
                           char problem[BIND_PROBLEM_BYTES]) {
    enum rc rc = RC_OK;
    *places = (struct worker_places){0};
    worker_sockets_init(first);
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        places->at[i].unix_fd = -1;
        places->count = i + 1;
        rc = open_place(&places->at[i], &first->fds[i], addresses[i], problem);
    }
    return rc;
}

void worker_places_close(struct worker_places *places) {
    for (size_t i = 0; i < places->count; i++) {
        if (places->at[i].unix_fd >= 0) {
            close(places->at[i].unix_fd);
            places->at[i].unix_fd = -1;
        }
    }
}

void worker_places_remove(const struct worker_places *places) {
    for (size_t i = 0; i < places->count; i++) {
        const struct worker_place *place = &places->at[i];
        struct stat status;
        if (place->file_number != 0 && lstat(file_of(place), &status) == 0 &&
            status.st_dev == place->file_device && status.st_ino == place->file_number) {
            unlink(file_of(place));
        }
    }
}

void worker_sockets_init(struct worker_sockets *sockets) {
    for (size_t i = 0; i < WORKER_SOCKETS_MAX; i++) {
        sockets->fds[i] = -1;
    }
}

enum rc worker_sockets_open(struct worker_sockets *sockets, const struct worker_places *places,
                            char problem[BIND_PROBLEM_BYTES]) {
    enum rc rc = RC_OK;
    for (size_t i = 0; i < places->count && rc == RC_OK; i++) {
        const struct worker_place *place = &places->at[i];
        if (place->unix_fd >= 0) {
            sockets->fds[i] = place->unix_fd;
        } else if (sockets->fds[i] < 0) {
            rc = bind_socket(slice_str(place->address), BIND_SHARED, &sockets->fds[i], problem);
            sockets->fds[i] = rc == RC_OK ? sockets->fds[i] : -1;
        }
    }
    return rc;
}

void worker_sockets_close(struct worker_sockets *sockets, const struct worker_places *places) {
    for (size_t i = 0; i < places->count; i++) {
        if (sockets->fds[i] >= 0 && sockets->fds[i] != places->at[i].unix_fd) {
            close(sockets->fds[i]);
        }
        sockets->fds[i] = -1;
    }
}
