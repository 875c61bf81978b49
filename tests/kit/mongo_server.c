// SPDX-License-Identifier: MIT
#include "kit/mongo_server.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM TEST_SOURCE_DIR "/build/ferretdb/ferretdb"

bool mongo_server_is_there(void) {
    bool is_there = access(PROGRAM, X_OK) == 0;
    cr_assert(is_there || getenv("CI") == NULL, "third_party/install test builds " PROGRAM);
    return is_there;
}

/* An empty address: any port. */
static void start(struct mongo_server *server) {
    static const char *const env[] = {"HOME=/nonexistent", NULL};
    const char *address = server->address[0] != '\0' ? server->address : "127.0.0.1:0";
    const char *const argv[] = {PROGRAM, server->folder.path, address, NULL};
    server->program = program_start(argv, env);
    program_wait_for(server->program, "\n");
}

void mongo_server_start(struct mongo_server *server) {
    *server = (struct mongo_server){.folder = scratch_new()};
    start(server);
    const char *line = server->program->out.text;
    size_t length = strcspn(line, "\n");
    cr_assert_lt(length, sizeof server->address);
    memcpy(server->address, line, length);
    snprintf(server->url, sizeof server->url, "mongodb://%s/latchkey_test", server->address);
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

void mongo_server_freeze(struct mongo_server *server) {
    program_signal(server->program, SIGSTOP);
}

void mongo_server_thaw(struct mongo_server *server) {
    program_signal(server->program, SIGCONT);
}
