// SPDX-License-Identifier: MIT
/* Workers that have nothing to do, under the real supervisor, for tests/flow/supervisor.c.
 *
 *   standin_workers supervise WORKERS DRAIN_MS PROGRAM FOLDER ADDRESS...
 *
 * serves ADDRESS... with WORKERS processes of "PROGRAM work FOLDER n/N SOCKETS". Files in FOLDER
 * say how those behave: `bad` they exit with 2 before they serve, `brief` right after that, `deaf`
 * they take no order, `dawdling` they don't end when they drain. Each answers requests one after
 * the other: /who with its number and pid, /die with its own SIGKILL, /late when it is told to
 * drain, /count counts a link and answers with the number of all, /open with how many connections
 * /late holds in all workers. */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/supervisor.h"
#include "app/worker.h"
#include "io/bind.h"

enum { LATE_MAX = 64, REQUEST_BYTES = 512, ADDRESSES_MAX = 8 };

struct standin {
    struct worker worker;
    const char *folder;
    int late[LATE_MAX]; /* connections */
    size_t late_count;
    bool is_draining;
};

static bool has_file(const struct standin *standin, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", standin->folder, name);
    return access(path, F_OK) == 0;
}

static void say(const struct standin *standin, const char *event) {
    printf("{\"event\":\"%s\",\"worker\":%d,\"pid\":%d}\n", event, standin->worker.number,
           (int)getpid());
    fflush(stdout);
}

static void answer(int fd, const char *text) {
    char response[REQUEST_BYTES];
    int n = snprintf(response, sizeof response,
                     "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     strlen(text), text);
    send(fd, response, (size_t)n, MSG_NOSIGNAL);
    close(fd);
}

static int64_t sum_of(const struct standin *standin, enum metric metric) {
    struct metrics sum;
    metrics_group_sum(&standin->worker.metrics, &sum);
    return metrics_get(&sum, metric);
}

static void serve(struct standin *standin, int fd) {
    struct metrics *metrics = worker_metrics(&standin->worker);
    char request[REQUEST_BYTES] = "";
    char text[64] = "?";
    recv(fd, request, sizeof request - 1, 0);
    if (strncmp(request, "GET /late ", 10) == 0 && standin->late_count < LATE_MAX) {
        standin->late[standin->late_count++] = fd;
        metrics_add(metrics, METRIC_CONNECTIONS, 1);
        return;
    }
    if (strncmp(request, "GET /die ", 9) == 0) {
        kill(getpid(), SIGKILL);
    }
    if (strncmp(request, "GET /who ", 9) == 0) {
        snprintf(text, sizeof text, "%d %d", standin->worker.number, (int)getpid());
    } else if (strncmp(request, "GET /count ", 11) == 0) {
        metrics_add(metrics, METRIC_LINKS, 1);
        snprintf(text, sizeof text, "%lld", (long long)sum_of(standin, METRIC_LINKS));
    } else if (strncmp(request, "GET /open ", 10) == 0) {
        snprintf(text, sizeof text, "%lld", (long long)sum_of(standin, METRIC_CONNECTIONS));
    }
    answer(fd, text);
}

static void accept_all(struct standin *standin, int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        serve(standin, fd);
    }
}

static void drain(struct standin *standin, struct pollfd *polls) {
    say(standin, "draining");
    standin->is_draining = true;
    for (size_t i = 0; i < standin->worker.sockets; i++) {
        accept_all(standin, WORKER_SOCKETS_FD + (int)i);
        close(WORKER_SOCKETS_FD + (int)i);
        polls[1 + i].fd = -1;
    }
    for (size_t i = 0; i < standin->late_count; i++) {
        answer(standin->late[i], "late");
    }
}

/* False at the end. */
static bool obey(struct standin *standin, struct pollfd *polls) {
    char order = WORKER_DRAIN; /* the parent is gone */
    if (recv(WORKER_CONTROL_FD, &order, 1, 0) == 1 && has_file(standin, "deaf")) {
        return true;
    }
    switch (order) {
    case WORKER_RELOAD:
        say(standin, "reloaded");
        return true;
    case WORKER_HURRY:
        say(standin, "hurried");
        return false;
    default:
        drain(standin, polls);
        return has_file(standin, "dawdling");
    }
}

static int count_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    closedir(folder);
    return count - 1;
}

static void say_number(const char *event, int number) {
    printf("{\"event\":\"%s\",\"number\":%d}\n", event, number);
    fflush(stdout);
}

static int work(char **argv) {
    struct standin standin = {.folder = argv[0]};
    struct pollfd polls[1 + WORKER_SOCKETS_MAX] = {{.fd = WORKER_CONTROL_FD, .events = POLLIN}};
    int files = count_files();
    if (worker_init(&standin.worker, argv[1], argv[2]) != RC_OK) {
        return 3;
    }
    say_number("files", files - (int)standin.worker.sockets);
    if (has_file(&standin, "bad")) {
        return 2;
    }
    for (size_t i = 0; i < standin.worker.sockets; i++) {
        polls[1 + i] = (struct pollfd){.fd = WORKER_SOCKETS_FD + (int)i, .events = POLLIN};
        listen(polls[1 + i].fd, 128);
        say_number("listening", bind_port(polls[1 + i].fd));
    }
    worker_say_ready(&standin.worker);
    if (has_file(&standin, "brief")) {
        return 0;
    }
    for (;;) {
        poll(polls, 1 + standin.worker.sockets, -1);
        if (polls[0].revents != 0 && !obey(&standin, polls)) {
            return 0;
        }
        for (size_t i = 0; i < standin.worker.sockets && !standin.is_draining; i++) {
            if (polls[1 + i].revents != 0) {
                accept_all(&standin, polls[1 + i].fd);
            }
        }
    }
}

static int supervise(char **argv, int argc, char **env) {
    const char *const worker_argv[] = {"standin", "work", argv[3], NULL};
    struct slice addresses[ADDRESSES_MAX];
    struct clock clock = {0};
    struct supervisor *supervisor;
    size_t count = 0;
    say_number("given", count_files());
    for (int i = 4; i < argc && count < ADDRESSES_MAX; i++) {
        addresses[count++] = slice_str(argv[i]);
    }
    enum rc rc = supervisor_start(&supervisor, &(const struct supervisor_opts){
                                                   .workers = (int)strtol(argv[0], NULL, 10),
                                                   .drain_ms = strtol(argv[1], NULL, 10),
                                                   .program = argv[2],
                                                   .argv = worker_argv,
                                                   .env = env,
                                                   .addresses = addresses,
                                                   .address_count = count,
                                                   .log_fd = STDOUT_FILENO,
                                                   .log_level = LOG_INFO,
                                                   .clock = &clock,
                                               });
    return rc == RC_OK ? supervisor_run(supervisor) : rc == RC_USAGE ? 2 : 1;
}

int main(int argc, char **argv, char **env) {
    if (argc == 5 && strcmp(argv[1], "work") == 0) {
        return work(argv + 2);
    }
    return argc > 6 && strcmp(argv[1], "supervise") == 0 ? supervise(argv + 2, argc - 2, env) : 3;
}
