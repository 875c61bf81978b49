// SPDX-License-Identifier: MIT
#include "io/bind.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/client.h"
#include "kit/leaks.h"
#include "kit/scratch.h"

static int bound(const char *address, enum bind_sharing sharing) {
    char problem[BIND_PROBLEM_BYTES] = "";
    int fd = -1;
    enum rc rc = bind_socket(slice_str(address), sharing, &fd, problem);
    cr_assert_eq(rc, RC_OK, "%s", problem);
    cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    return fd;
}

static void refused(const char *address, enum bind_sharing sharing, enum rc wanted,
                    const char *cause) {
    char problem[BIND_PROBLEM_BYTES] = "";
    int fd;
    enum rc rc = bind_socket(slice_str(address), sharing, &fd, problem);
    cr_assert_eq(rc, wanted, "%s: %d", address, (int)rc);
    cr_assert_not_null(strstr(problem, cause), "%s", problem);
}

static const char *address_of(int fd, char out[64]) {
    snprintf(out, 64, "127.0.0.1:%d", bind_port(fd));
    return out;
}

Test(bind, several_sockets_with_one_address) {
    char address[64];
    int fds[3];
    fds[0] = bound("127.0.0.1:0", BIND_SHARED_FIRST);
    address_of(fds[0], address);
    cr_assert_neq(bind_port(fds[0]), 0);
    cr_assert_not(bind_is_unix(fds[0]));
    for (int i = 1; i < 3; i++) {
        fds[i] = bound(address, BIND_SHARED);
        cr_assert_eq(bind_port(fds[i]), bind_port(fds[0]));
    }
    struct client client;
    cr_assert_not(client_connect(&client, bind_port(fds[0])), "none of them listens yet");
    client_fini(&client);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(listen(fds[i], 64), 0);
    }
    /* What one has in its queue is lost with it; what comes later goes to the others. */
    close(fds[0]);
    close(fds[1]);
    for (int i = 0; i < 20; i++) {
        cr_assert(client_connect(&client, bind_port(fds[2])));
        client_fini(&client);
    }
    close(fds[2]);
    CHECK_LEAKS();
}

Test(bind, nobody_else_joins_by_accident) {
    char address[64];
    int alone = bound("127.0.0.1:0", BIND_ALONE);
    cr_assert_eq(listen(alone, 10), 0);
    address_of(alone, address);
    refused(address, BIND_ALONE, RC_IO, "Address already in use");
    refused(address, BIND_SHARED_FIRST, RC_IO, "Address already in use");
    refused(address, BIND_SHARED, RC_IO, "Address already in use");
    close(alone);

    int shared = bound(address, BIND_SHARED_FIRST);
    cr_assert_eq(listen(shared, 10), 0);
    refused(address, BIND_SHARED_FIRST, RC_IO, "Address already in use");
    refused(address, BIND_ALONE, RC_IO, "Address already in use");
    close(shared);
    CHECK_LEAKS();
}

Test(bind, a_unix_socket) {
    struct scratch folder = scratch_new();
    struct scratch path = scratch_file(&folder, "socket");
    char address[SCRATCH_BYTES + 8];
    struct client client;
    snprintf(address, sizeof address, "unix:%s", path.path);
    int fd = bound(address, BIND_SHARED_FIRST);
    cr_assert(bind_is_unix(fd));
    cr_assert_eq(bind_port(fd), 0);
    cr_assert_eq(listen(fd, 10), 0);
    refused(address, BIND_SHARED_FIRST, RC_IO, "Address already in use");
    cr_assert(client_connect_unix(&client, path.path));
    client_fini(&client);
    close(fd);
    close(bound(address, BIND_ALONE)); /* in the place of one that nobody listens on */
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(bind, what_is_no_address) {
    static const char *const cases[] = {
        "",     "127.0.0.1", "localhost:1", "127.0.0.1:65536", ":80",
        "[::1", "[]:80",     "unix:",       "127.0.0.1:-1"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refused(cases[i], BIND_ALONE, RC_USAGE, "is no address");
    }
    refused("192.0.2.1:0", BIND_SHARED_FIRST, RC_IO, "cannot listen on 192.0.2.1:0");
    CHECK_LEAKS();
}
