// SPDX-License-Identifier: MIT
#include "kit/mongo_server.h"

#include <criterion/criterion.h>
#include <mongoc/mongoc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/mongo_driver.h"

#define PROGRAM TEST_SOURCE_DIR "/build/ferretdb/ferretdb"

bool mongo_server_is_there(void) {
    bool is_there = access(PROGRAM, X_OK) == 0;
    cr_assert(is_there || getenv("CI") == NULL, "third_party/install test builds " PROGRAM);
    if (!is_there) {
        fprintf(stderr, "skipped: no MongoDB server on this machine\n");
    }
    return is_there;
}

/* An empty address: any port. */
static void start(struct mongo_server *server) {
    static const char *const env[] = {"HOME=/nonexistent", NULL};
    const char *address = server->address[0] != '\0' ? server->address : "127.0.0.1:0";
    const char *const argv[] = {PROGRAM, server->folder.path, address, server->replica_set, NULL};
    server->program = program_start(argv, env);
    program_wait_for(server->program, "\n");
}

static void start_first(struct mongo_server *server, const char *replica_set) {
    *server = (struct mongo_server){.folder = scratch_new(), .replica_set = replica_set};
    start(server);
    const char *line = server->program->out.text;
    size_t length = strcspn(line, "\n");
    cr_assert_lt(length, sizeof server->address);
    memcpy(server->address, line, length);
    snprintf(server->url, sizeof server->url, "mongodb://%s/latchkey_test%s%s", server->address,
             replica_set != NULL ? "?replicaSet=" : "", replica_set != NULL ? replica_set : "");
}

void mongo_server_start(struct mongo_server *server) {
    start_first(server, NULL);
}

void mongo_server_start_primary(struct mongo_server *server) {
    start_first(server, "rs0");
}

void mongo_server_kill(struct mongo_server *server) {
    program_free(server->program);
    server->program = NULL;
}

void mongo_server_free(struct mongo_server *server) {
    if (server->program != NULL) {
        mongo_server_kill(server);
    }
    scratch_free(&server->folder);
}

void mongo_server_restart(struct mongo_server *server) {
    if (server->program != NULL) {
        mongo_server_kill(server);
    }
    start(server);
}

void mongo_server_restart_empty(struct mongo_server *server) {
    if (server->program != NULL) {
        mongo_server_kill(server);
    }
    scratch_free(&server->folder);
    server->folder = scratch_new();
    start(server);
}

void mongo_server_freeze(struct mongo_server *server) {
    int status;
    program_signal(server->program, SIGSTOP);
    cr_assert_eq(waitpid(server->program->pid, &status, WUNTRACED), server->program->pid);
    cr_assert(WIFSTOPPED(status));
}

void mongo_server_thaw(struct mongo_server *server) {
    program_signal(server->program, SIGCONT);
}

void mongo_server_cut(struct mongo_server *server) {
    char line[32];
    snprintf(line, sizeof line, "cut %d\n", ++server->cuts);
    program_signal(server->program, SIGUSR1);
    program_wait_for(server->program, line);
}

enum { COMMAND_BYTES = 4096, ANSWER_BYTES = 64 * 1024 };

static void run_command(const struct mongo_server *server, const char *format, va_list args,
                        bson_t *answer) {
    char text[COMMAND_BYTES];
    int len = vsnprintf(text, sizeof text, format, args);
    cr_assert(len > 0 && (size_t)len < sizeof text);
    bson_error_t error;
    bson_t command;
    cr_assert(bson_init_from_json(&command, text, len, &error), "%s: %s", text, error.message);
    mongo_start_driver();
    mongoc_client_t *client = mongoc_client_new(server->url);
    cr_assert(mongoc_client_command_simple(client, "latchkey_test", &command, NULL, answer, &error),
              "%s: %s", text, error.message);
    mongoc_client_destroy(client);
    bson_destroy(&command);
}

const char *mongo_server_ask(const struct mongo_server *server, const char *format, ...) {
    static char text[ANSWER_BYTES];
    bson_t answer;
    va_list args;
    va_start(args, format);
    run_command(server, format, args, &answer);
    va_end(args);
    char *json = bson_as_relaxed_extended_json(&answer, NULL);
    cr_assert_lt(strlen(json), sizeof text);
    snprintf(text, sizeof text, "%s", json);
    bson_free(json);
    bson_destroy(&answer);
    return text;
}

int64_t mongo_server_ask_number(const struct mongo_server *server, const char *path,
                                const char *format, ...) {
    bson_t answer;
    bson_iter_t at;
    bson_iter_t found;
    int64_t number = -1;
    va_list args;
    va_start(args, format);
    run_command(server, format, args, &answer);
    va_end(args);
    if (bson_iter_init(&at, &answer) && bson_iter_find_descendant(&at, path, &found)) {
        number = BSON_ITER_HOLDS_DATE_TIME(&found) ? bson_iter_date_time(&found)
                                                   : bson_iter_as_int64(&found);
    }
    bson_destroy(&answer);
    return number;
}
