// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A program as a child process, with nothing in its environment but what is given (and the
 * sanitizers' options); its output is gathered. A failed expectation fails the test; so does a
 * wait of more than PROGRAM_TIMEOUT_MS. It ends with the thread that started it, at the latest. */
enum { PROGRAM_TIMEOUT_MS = 20 * 1000, PROGRAM_TEXT_BYTES = 4 * 1024 * 1024 };

struct program_output {
    int fd;
    size_t length;
    char text[PROGRAM_TEXT_BYTES]; /* NUL-terminated */
};

struct program {
    pid_t pid;
    int code; /* exit code once it has ended; 128 + n where signal n ended it */
    struct program_output out;
    struct program_output err;
};

/* Both lists end with NULL; argv[0] is the path. Heap memory: program_free. */
struct program *program_start(const char *const *argv, const char *const *env);
void program_free(struct program *program); /* kills it if it still runs */

/* Waits until `text` stands in its standard output. */
void program_wait_for(struct program *program, const char *text);
/* Waits until it stands there so many times. */
void program_wait_for_times(struct program *program, const char *text, size_t times);
size_t program_count(const struct program *program, const char *text);
void program_signal(struct program *program, int number);
/* Waits until it has ended, and returns its exit code. */
int program_wait(struct program *program);

/* Starts, waits. */
struct program *program_run(const char *const *argv, const char *const *env);

/* True where it ends within `ms`. */
bool program_ends_within(struct program *program, int ms);
