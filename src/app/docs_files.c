// SPDX-License-Identifier: MIT
#include "app/docs_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

/* NULL, or what is wrong. */
static const char *read_open_file(int fd, struct slice *out) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return strerror(errno);
    }
    if (!S_ISREG(status.st_mode) || status.st_size <= 0 || status.st_size > DOCS_FILE_BYTES_MAX) {
        return "it is not a file of up to 4 MiB";
    }
    size_t size = (size_t)status.st_size;
    char *at = mem_alloc(size);
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, at + done, size - done);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            mem_free(at);
            return "it can't be read to its end";
        }
        done += n > 0 ? (size_t)n : 0;
    }
    *out = slice_make(at, size);
    return NULL;
}

static bool read_file(const char *folder, const char *name, struct slice *out,
                      char problem[DOCS_PROBLEM_BYTES]) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    bool fits = length > 0 && (size_t)length < sizeof path;
    int fd = fits ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    const char *cause = fd >= 0 ? read_open_file(fd, out) : fits ? strerror(errno) : "too long";
    if (fd >= 0) {
        close(fd);
    }
    if (cause != NULL) {
        snprintf(problem, DOCS_PROBLEM_BYTES, "%.400s: %.100s", path, cause);
    }
    return cause == NULL;
}

static bool read_folder(const char *folder, struct docs *out, char problem[DOCS_PROBLEM_BYTES]) {
#define DOCS_NAME(id, path, file, type) file,
    static const char *const names[] = {DOCS_MAP(DOCS_NAME)};
#undef DOCS_NAME
    *out = (struct docs){0};
    for (size_t i = 0; i < DOCS_FILES; i++) {
        if (!read_file(folder, names[i], &out->files[i], problem)) {
            docs_files_free(out);
            return false;
        }
    }
    return true;
}

bool docs_files_read(const char *folder, struct docs *out, char problem[DOCS_PROBLEM_BYTES]) {
    static const char *const places[] = {"../share/latchkey/docs", "share/docs"};
    char program[PATH_MAX / 2];
    if (folder != NULL) {
        return read_folder(folder, out, problem);
    }
    ssize_t length = readlink("/proc/self/exe", program, sizeof program);
    while (length > 0 && program[length - 1] != '/') {
        length--;
    }
    if (length <= 0 || (size_t)length == sizeof program) {
        snprintf(problem, DOCS_PROBLEM_BYTES, "the program's own path is unknown");
        return false;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%.*s%s", (int)length, program, places[i]);
        if (read_folder(path, out, problem)) {
            return true;
        }
    }
    return false;
}

void docs_files_free(struct docs *docs) {
    for (size_t i = 0; i < DOCS_FILES; i++) {
        mem_free((void *)(uintptr_t)docs->files[i].at);
        docs->files[i] = SLICE_NULL;
    }
}
