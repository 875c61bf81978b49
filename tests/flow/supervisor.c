// SPDX-License-Identifier: MIT
/* The parent of several workers, with workers that have nothing to do (tests/standin/workers.c):
 * what becomes of clients, processes and counts when any of them ends. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/backoff.h"
#include "app/supervisor.h"
#include "base/clock.h"
#include "base/limits.h"
#include "kit/client.h"
#include "kit/faults.h"
#include "kit/leaks.h"
#include "kit/program.h"
#include "kit/scratch.h"

#define STANDIN TEST_BUILD_DIR "/standin_workers"
#define READY "\"event\":\"worker_ready\""
#define ENDED "\"event\":\"worker_ended\""
#define LISTENING "\"event\":\"listening\""

enum { ASKS = 40, ADDRESS_BYTES = 160, WORKERS_MAX = 4 };

struct family {
    struct scratch folder;
    struct program *program;
    int port;
};

/* The value of the n-th line with this event. */
static long field_of(const struct program *program, const char *event, size_t n,
                     const char *field) {
    const char *at = program->out.text;
    for (size_t i = 0; i <= n; i++) {
        at = strstr(i == 0 ? at : at + 1, event);
        cr_assert_not_null(at, "no %s %zu: %s", event, n, program->out.text);
    }
    const char *end = strchr(at, '\n');
    const char *found = strstr(at, field);
    cr_assert(found != NULL && (end == NULL || found < end), "%s in: %.200s", field, at);
    return strtol(found + strlen(field), NULL, 10);
}

static struct scratch behave(const struct family *family, const char *name) {
    struct scratch path = scratch_file(&family->folder, name);
    int fd = open(path.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    return path;
}

static void family_run(struct family *family, const char *workers, const char *drain_ms,
                       const char *address) {
    const char *const env[] = {NULL};
    const char *const argv[] = {STANDIN,
                                "supervise",
                                workers,
                                drain_ms,
                                "/proc/self/exe",
                                family->folder.path,
                                address != NULL ? address : "127.0.0.1:0",
                                NULL};
    family->program = program_start(argv, env);
}

/* Workers, drain_ms; NULL address: a port of loopback. */
static void family_init(struct family *family, const char *workers, const char *drain_ms,
                        const char *address) {
    *family = (struct family){.folder = scratch_new()};
    family_run(family, workers, drain_ms, address);
}

static void wait_ready(struct family *family, size_t times) {
    program_wait_for_times(family->program, READY, times);
    family->port = (int)field_of(family->program, LISTENING, 0, "\"number\":");
}

static void family_start(struct family *family, const char *workers) {
    family_init(family, workers, "5000", NULL);
    wait_ready(family, strtoul(workers, NULL, 10));
}

static void family_fini(struct family *family) {
    program_free(family->program);
    scratch_free(&family->folder);
    CHECK_LEAKS();
}

static void family_stop(struct family *family) {
    program_signal(family->program, SIGTERM);
    int code = program_wait(family->program);
    cr_assert_eq(code, 0, "%d: %s%s", code, family->program->out.text, family->program->err.text);
    family_fini(family);
}

/* Asks on a connection of its own, and doesn't wait. */
static void send_get(struct client *client, const struct family *family, const char *path) {
    char request[128];
    cr_assert(client_connect(client, family->port), "nobody listens");
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n\r\n", path);
    cr_assert(client_send(client, slice_make(request, (size_t)n)));
}

struct answer {
    int number; /* of /who; else the value */
    int pid;
};

static struct answer read_answer(struct client *client) {
    struct client_response response;
    struct answer answer = {0};
    char *end;
    cr_assert(client_read(client, "GET", &response), "no answer");
    char text[64];
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(response.body));
    answer.number = (int)strtol(text, &end, 10);
    answer.pid = (int)strtol(end, NULL, 10);
    client_response_fini(&response);
    client_fini(client);
    return answer;
}

static struct answer get(const struct family *family, const char *path) {
    struct client client;
    send_get(&client, family, path);
    return read_answer(&client);
}

/* The pid of this worker, of whom one request of ASKS is surely answered. */
static int pid_of(const struct family *family, int number) {
    for (int i = 0; i < ASKS; i++) {
        struct answer answer = get(family, "/who");
        if (answer.number == number) {
            return answer.pid;
        }
    }
    cr_assert_fail("worker %d answers nothing", number);
    return 0;
}

Test(supervisor, the_first_worker_starts_alone_and_then_all) {
    struct family family;
    family_start(&family, "4");
    cr_assert_eq(field_of(family.program, READY, 0, "\"number\":"), 1);
    bool seen[WORKERS_MAX] = {false};
    size_t count = 0;
    for (int i = 0; i < 20 * ASKS && count < WORKERS_MAX; i++) {
        int number = get(&family, "/who").number;
        cr_assert(number >= 1 && number <= WORKERS_MAX);
        count += seen[number - 1] ? 0 : 1;
        seen[number - 1] = true;
    }
    cr_assert_eq(count, (size_t)WORKERS_MAX);
    /* Beside its addresses' sockets: one to the parent, and the memory. Whatever the parent was
       given is passed on; nothing else of it is. */
    long given = field_of(family.program, "\"event\":\"given\"", 0, "\"number\":");
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        long files = field_of(family.program, "\"event\":\"files\"", i, "\"number\":");
        cr_assert(files >= 5 && files <= given + 2, "%ld of %ld", files, given);
    }
    family_stop(&family);
}

Test(supervisor, what_waits_for_a_worker_that_is_killed_is_served_by_the_next) {
    struct client clients[ASKS];
    struct answer answers[ASKS];
    struct family family;
    int inherited = 0;
    family_start(&family, "2");
    int pid = pid_of(&family, 1);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    for (int i = 0; i < ASKS; i++) {
        send_get(&clients[i], &family, "/who");
    }
    cr_assert_eq(kill(pid, SIGKILL), 0);
    for (int i = 0; i < ASKS; i++) {
        answers[i] = read_answer(&clients[i]);
        cr_assert_neq(answers[i].pid, pid);
        inherited += answers[i].number == 1 ? 1 : 0;
    }
    cr_assert_gt(inherited, 0);
    cr_assert_lt(inherited, ASKS);
    program_wait_for(family.program, ENDED);
    cr_assert_eq(field_of(family.program, ENDED, 0, "\"signal\":"), SIGKILL);
    cr_assert_eq(field_of(family.program, ENDED, 0, "\"restart_in_ms\":"), 0);
    family_stop(&family);
}

/* A worker that dies again and again costs its own clients, and the others theirs nothing. */
Test(supervisor, a_worker_that_fails_is_left_alone_for_longer_and_longer) {
    static const int pauses_ms[] = {0, 100, 200, 400, 800, 1600};
    struct family family;
    family_start(&family, "2");
    struct scratch bad = behave(&family, "bad");
    kill(pid_of(&family, 1), SIGKILL);
    for (size_t i = 0; i < sizeof pauses_ms / sizeof pauses_ms[0]; i++) {
        program_wait_for_times(family.program, ENDED, i + 1);
        long pause_ms = field_of(family.program, ENDED, i, "\"restart_in_ms\":");
        cr_assert_eq(pause_ms, pauses_ms[i], "%zu: %ld", i, pause_ms);
        cr_assert_eq(field_of(family.program, ENDED, i, "\"code\":"), i == 0 ? 0 : 2);
    }
    /* From now on nobody waits for it. */
    for (int i = 0; i < ASKS; i++) {
        cr_assert_eq(get(&family, "/who").number, 2);
    }
    cr_assert_eq(unlink(bad.path), 0);
    program_wait_for_times(family.program, READY, 3);
    pid_of(&family, 1);
    family_stop(&family);
}

/* It has served, however briefly: whoever starts it once more has reason to hope. */
Test(supervisor, a_worker_may_end_as_soon_as_it_serves) {
    struct family family = {.folder = scratch_new()};
    struct scratch brief = behave(&family, "brief");
    family_run(&family, "2", "5000", NULL);
    program_wait_for_times(family.program, ENDED, 6);
    cr_assert_eq(program_count(family.program, "\"served\":false"), 0, "%s",
                 family.program->out.text);
    cr_assert_eq(unlink(brief.path), 0);
    wait_ready(&family, program_count(family.program, READY) + 2);
    pid_of(&family, 1);
    pid_of(&family, 2);
    family_stop(&family);
}

Test(supervisor, pauses_grow_up_to_a_cap_and_are_forgotten) {
    static const int64_t wanted_ms[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct backoff backoff = {0};
    for (size_t i = 0; i < sizeof wanted_ms / sizeof wanted_ms[0]; i++) {
        int64_t pause_ms = backoff_next_ms(&backoff, LIMIT_WORKER_STEADY_MS - 1);
        cr_assert_eq(pause_ms, wanted_ms[i], "%zu: %ld", i, (long)pause_ms);
    }
    cr_assert_eq(backoff_next_ms(&backoff, LIMIT_WORKER_STEADY_MS), 0);
    cr_assert_eq(backoff_next_ms(&backoff, 0), LIMIT_WORKER_PAUSE_MS);
    backoff.failures = UINT32_MAX - 1;
    cr_assert_eq(backoff_next_ms(&backoff, 0), LIMIT_WORKER_PAUSE_MAX_MS);
}

Test(supervisor, where_the_first_worker_fails_nothing_starts) {
    const char *const env[] = {NULL};
    struct family family = {.folder = scratch_new()};
    behave(&family, "bad");
    const struct {
        const char *program;
        const char *address;
        int code;
        const char *says;
    } cases[] = {
        {"/proc/self/exe", "127.0.0.1:0", 2, "\"served\":false"},
        {"/nowhere", "127.0.0.1:0", 1, "\"event\":\"worker_not_started\""},
        {"/proc/self/exe", "192.0.2.1:1", 1, "\"event\":\"start_failed\""},
        {"/proc/self/exe", "here", 2, "is no address"},
        {"/proc/self/exe", "unix:/nowhere/socket", 1, "\"event\":\"start_failed\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const argv[] = {
            STANDIN,          "supervise",   "3", "100", cases[i].program, family.folder.path,
            cases[i].address, "127.0.0.1:0", NULL};
        struct program *program = program_run(argv, env);
        cr_assert_eq(program->code, cases[i].code, "%zu: %d %s%s", i, program->code,
                     program->out.text, program->err.text);
        cr_assert_not_null(strstr(program->out.text, cases[i].says), "%zu: %s", i,
                           program->out.text);
        cr_assert_eq(program_count(program, "\"event\":\"files\""), i == 0 ? 1 : 0);
        program_free(program);
    }
    scratch_free(&family.folder);
    CHECK_LEAKS();
}

static int count_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* The first worker is /bin/false; true while there is an n-th call. */
static bool start_with_fault(int log_fd, int n, int *refused) {
    static const struct slice addresses[] = {{"127.0.0.1:0", 11}, {"[::1]:0", 7}};
    static const char *const argv[] = {"false", NULL};
    static char *const env[] = {NULL};
    struct clock clock = {0};
    struct supervisor *supervisor;
    const struct supervisor_opts opts = {
        .workers = 3,
        .program = "/bin/false",
        .argv = argv,
        .env = env,
        .addresses = addresses,
        .address_count = 2,
        .drain_ms = 1000,
        .log_fd = log_fd,
        .log_level = LOG_INFO,
        .clock = &clock,
    };
    faults_arm(FAULTS_UV, n);
    enum rc rc = supervisor_start(&supervisor, &opts);
    if (rc == RC_OK) {
        cr_assert_eq(supervisor_run(supervisor), 1, "call %d, %s", n, faults_met(FAULTS_UV));
    } else {
        cr_assert_null(supervisor);
        ++*refused;
    }
    const char *met = faults_met(FAULTS_UV);
    faults_arm(FAULTS_UV, 0);
    return met != NULL;
}

Test(supervisor, leaves_nothing_where_a_call_to_libuv_fails) {
    struct scratch folder = scratch_new();
    struct scratch log = scratch_file(&folder, "log");
    int log_fd = open(log.path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    int refused = 0;
    int n = 1;
    start_with_fault(log_fd, 0, &refused);
    int files = count_files();
    while (start_with_fault(log_fd, n, &refused)) {
        cr_assert_eq(count_files(), files, "call %d leaves a file open", n);
        n++;
    }
    cr_assert_gt(n, 8, "loop, signals, poll, spawn");
    cr_assert_gt(refused, 0);
    close(log_fd);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(supervisor, nobody_joins_in_by_accident) {
    char address[ADDRESS_BYTES];
    struct family family;
    const char *const env[] = {NULL};
    family_start(&family, "2");
    snprintf(address, sizeof address, "127.0.0.1:%d", family.port);
    const char *const argv[] = {STANDIN,          "supervise",        "2",     "100",
                                "/proc/self/exe", family.folder.path, address, NULL};
    struct program *second = program_run(argv, env);
    cr_assert_eq(second->code, 1);
    cr_assert_not_null(strstr(second->out.text, "Address already in use"), "%s", second->out.text);
    program_free(second);
    family_stop(&family);
}

Test(supervisor, a_drain_serves_what_has_come) {
    struct client clients[ASKS];
    struct client refused;
    struct family family;
    family_start(&family, "3");
    for (int i = 0; i < ASKS; i++) {
        send_get(&clients[i], &family, "/late");
    }
    program_signal(family.program, SIGTERM);
    for (int i = 0; i < ASKS; i++) {
        read_answer(&clients[i]);
    }
    cr_assert_eq(program_wait(family.program), 0, "%s", family.program->out.text);
    cr_assert_eq(program_count(family.program, "\"event\":\"draining\""), 3);
    cr_assert_not(client_connect(&refused, family.port));
    client_fini(&refused);
    family_fini(&family);
}

Test(supervisor, signals_reach_every_worker_once) {
    struct family family;
    family_start(&family, "3");
    for (size_t i = 1; i <= 5; i++) {
        program_signal(family.program, SIGHUP);
        program_wait_for_times(family.program, "\"event\":\"reloaded\"", 3 * i);
    }
    cr_assert_eq(program_count(family.program, "\"event\":\"reloaded\""), 15);
    behave(&family, "dawdling");
    program_signal(family.program, SIGINT);
    program_wait_for_times(family.program, "\"event\":\"draining\"", 3);
    cr_assert_eq(program_count(family.program, "\"event\":\"hurried\""), 0);
    program_signal(family.program, SIGINT);
    cr_assert_eq(program_wait(family.program), 0);
    cr_assert_eq(program_count(family.program, "\"event\":\"hurried\""), 3);
    family_fini(&family);
}

Test(supervisor, a_drain_ends_whatever_workers_do) {
    static const struct {
        const char *behaviour;
        int code;
        const char *says;
    } cases[] = {
        {"dawdling", 0, "\"event\":\"drain_cut_short\""},
        {"deaf", 1, "\"event\":\"workers_killed\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct family family;
        family_init(&family, "2", "300", NULL);
        program_wait_for_times(family.program, READY, 2);
        behave(&family, cases[i].behaviour);
        program_signal(family.program, SIGTERM);
        int code = program_wait(family.program);
        cr_assert_eq(code, cases[i].code, "%d: %s", code, family.program->out.text);
        cr_assert_not_null(strstr(family.program->out.text, cases[i].says), "%s",
                           family.program->out.text);
        program_free(family.program);
        scratch_free(&family.folder);
    }
    CHECK_LEAKS();
}

Test(supervisor, a_worker_that_dies_in_a_drain_stays_dead) {
    struct family family;
    family_start(&family, "2");
    int pid = pid_of(&family, 1);
    behave(&family, "dawdling");
    program_signal(family.program, SIGTERM);
    program_wait_for_times(family.program, "\"event\":\"draining\"", 2);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    program_wait_for(family.program, ENDED);
    program_signal(family.program, SIGTERM);
    cr_assert_eq(program_wait(family.program), 1, "it did not end well");
    cr_assert_eq(program_count(family.program, READY), 2);
    family_fini(&family);
}

/* A start can be ended like anything else. */
Test(supervisor, a_signal_before_anyone_serves) {
    for (int ms = 0; ms < 40; ms += 8) {
        struct family family;
        family_init(&family, "3", "5000", NULL);
        program_wait_for(family.program, "\"event\":\"files\"");
        usleep((useconds_t)ms * 1000); /* a moment in the start, whichever */
        program_signal(family.program, SIGTERM);
        int code = program_wait(family.program);
        cr_assert_eq(code, 0, "%d: %s", code, family.program->out.text);
        program_free(family.program);
        scratch_free(&family.folder);
    }
    CHECK_LEAKS();
}

/* Workers that nobody minds end, and end well. program_wait waits for all who have the output. */
Test(supervisor, without_their_parent_workers_drain) {
    struct client client;
    struct family family;
    family_start(&family, "3");
    send_get(&client, &family, "/late");
    while (get(&family, "/open").number == 0) {
    }
    program_signal(family.program, SIGKILL);
    read_answer(&client);
    cr_assert_eq(program_wait(family.program), 128 + SIGKILL);
    cr_assert_eq(program_count(family.program, "\"event\":\"draining\""), 3);
    cr_assert_not(client_connect(&client, family.port));
    client_fini(&client);
    family_fini(&family);
}

Test(supervisor, counts_outlive_a_worker_and_what_it_held_does_not) {
    struct client clients[ASKS];
    struct client victim;
    struct family family;
    family_start(&family, "2");
    for (int i = 1; i <= ASKS; i++) {
        int count = get(&family, "/count").number;
        cr_assert_eq(count, i, "%d after %d", count, i);
    }
    for (int i = 0; i < ASKS; i++) {
        send_get(&clients[i], &family, "/late");
    }
    while (get(&family, "/open").number < ASKS) {
    }
    int first = pid_of(&family, 1);
    send_get(&victim, &family, "/die");
    program_wait_for(family.program, ENDED);
    int left = get(&family, "/open").number;
    cr_assert(left > 0 && left < ASKS, "%d", left);
    cr_assert_eq(get(&family, "/count").number, ASKS + 1);
    program_wait_for_times(family.program, READY, 3);
    int number = (int)field_of(family.program, ENDED, 0, "\"number\":");
    cr_assert_eq(pid_of(&family, 1) == first, number == 2);
    client_fini(&victim);
    for (int i = 0; i < ASKS; i++) {
        client_fini(&clients[i]);
    }
    family_stop(&family);
}

static bool has_file(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

static int get_unix(const char *path) {
    struct client client;
    cr_assert(client_connect_unix(&client, path));
    cr_assert(CLIENT_SEND(&client, "GET /who HTTP/1.1\r\n\r\n"));
    return read_answer(&client).number;
}

Test(supervisor, a_unix_socket_is_shared) {
    struct scratch folder = scratch_new();
    struct scratch path = scratch_file(&folder, "socket");
    char address[ADDRESS_BYTES];
    struct family family;
    snprintf(address, sizeof address, "unix:%s", path.path);
    family_init(&family, "2", "5000", address);
    program_wait_for_times(family.program, READY, 2);
    for (int i = 0; i < ASKS; i++) {
        get_unix(path.path);
    }
    /* Whoever is left serves it. */
    kill((pid_t)field_of(family.program, READY, 0, "\"pid\":"), SIGSTOP);
    for (int i = 0; i < ASKS; i++) {
        cr_assert_eq(get_unix(path.path), 2);
    }
    kill((pid_t)field_of(family.program, READY, 0, "\"pid\":"), SIGKILL);
    program_wait_for_times(family.program, READY, 3);
    get_unix(path.path);
    cr_assert(has_file(path.path));
    family_stop(&family);
    cr_assert_not(has_file(path.path));

    /* The file of someone who came later is theirs. */
    family_init(&family, "2", "5000", address);
    program_wait_for_times(family.program, READY, 2);
    cr_assert_eq(unlink(path.path), 0);
    cr_assert_eq(mkdir(path.path, 0700), 0);
    family_stop(&family);
    cr_assert(has_file(path.path));
    scratch_free(&folder);
    CHECK_LEAKS();
}
