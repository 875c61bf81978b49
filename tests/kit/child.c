// SPDX-License-Identifier: MIT
#include "kit/child.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LISTENING "\"event\":\"listening\""
#define ADDRESS "\"address\":\"127.0.0.1:"

void child_start(struct child *child, const char *folder, const char *provider_url,
                 const char *const *settings) {
    const char *const argv[] = {TEST_BUILD_DIR "/latchkey", "serve", NULL};
    struct kit_settings all;
    kit_settings_init(&all, folder, provider_url, settings);
    child->program = program_start(argv, (const char *const *)all.env);
    kit_settings_fini(&all);
    program_wait_for(child->program, LISTENING);
    program_wait_for(child->program, "\"pid\":"); /* the end of that line */
    const char *port = strstr(strstr(child->program->out.text, LISTENING), ADDRESS);
    cr_assert_not_null(port, "%s", child->program->out.text);
    child->port = (int)strtol(port + strlen(ADDRESS), NULL, 10);
}

pid_t child_pid(const struct child *child) {
    return child->program->pid;
}

void child_kill(struct child *child) {
    program_free(child->program);
}

int child_stop(struct child *child) {
    program_signal(child->program, SIGTERM);
    int code = program_wait(child->program);
    program_free(child->program);
    return code;
}
