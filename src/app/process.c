// SPDX-License-Identifier: MIT
#include "app/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void process_harden(void) {
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    umask(077);
}

size_t process_raise_files(size_t wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    if (limit.rlim_cur >= wanted) {
        return (size_t)limit.rlim_cur;
    }
    struct rlimit raised = {wanted, limit.rlim_max > wanted ? limit.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        return wanted;
    }
    /* Only root may go above the hard limit. */
    raised = (struct rlimit){limit.rlim_max < wanted ? limit.rlim_max : wanted, limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? (size_t)raised.rlim_cur
                                                  : (size_t)limit.rlim_cur;
}

void process_fill_stdio(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

void process_name(const char *name) {
    prctl(PR_SET_NAME, name, 0, 0, 0);
}
