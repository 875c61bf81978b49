// SPDX-License-Identifier: MIT
#include "app/value_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

enum { READ_BYTES = 4096, PATH_BYTES_MAX = 4096 };

/* Into `out`, which keeps a NUL after the end. NULL, or what is wrong. */
static const char *read_open_file(int fd, struct buf *out) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return strerror(errno);
    }
    if (!S_ISREG(status.st_mode)) {
        return "it is not a regular file";
    }
    for (;;) {
        char *at = buf_reserve(out, READ_BYTES);
        ssize_t n = at != NULL ? read(fd, at, READ_BYTES) : -1;
        if (at == NULL) {
            return "it is larger than 64 KiB";
        }
        if (n < 0 && errno != EINTR) {
            return strerror(errno);
        }
        if (n == 0) {
            *at = '\0';
            return out->len > LIMIT_SECRET_FILE_BYTES ? "it is larger than 64 KiB" : NULL;
        }
        out->len += n > 0 ? (size_t)n : 0;
    }
}

static const char *read_file(struct slice path, struct buf *out) {
    char path_text[PATH_BYTES_MAX];
    if (path.len >= sizeof path_text) {
        return "its path is too long";
    }
    snprintf(path_text, sizeof path_text, "%.*s", SLICE_ARGS(path));
    int fd = open(path_text, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return strerror(errno);
    }
    const char *problem = read_open_file(fd, out);
    close(fd);
    return problem;
}

const char *value_file_read(struct slice path, struct buf *content, struct slice *value) {
    buf_init(content, LIMIT_SECRET_FILE_BYTES + 2 * READ_BYTES);
    const char *problem = read_file(path, content);
    struct slice text = buf_slice(content);
    if (text.len > 0 && text.at[text.len - 1] == '\n') {
        text.len -= text.len > 1 && text.at[text.len - 2] == '\r' ? 2 : 1;
    }
    *value = text;
    return problem;
}
