// SPDX-License-Identifier: MIT
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "provider/sim_books.h"
#include "provider/simprovider.h"

/* The simulated provider and the sample platform as a program, set by the environment. */
static const char help[] =
    "simprovider: a simulated OAuth 2.0 provider with a sample platform, for trying Latchkey out.\n"
    "\n"
    "  SIM_LISTEN               127.0.0.1:9400\n"
    "  SIM_CLIENT_ID            sim-client\n"
    "  SIM_CLIENT_SECRET        sim-secret (or SIM_CLIENT_SECRET_FILE)\n"
    "  SIM_REDIRECT_URI         comma list; the default is that of a Latchkey on 127.0.0.1:8090\n"
    "  SIM_PLATFORM_SECRET      Latchkey's SECRET_KEY (or SIM_PLATFORM_SECRET_FILE): lets the\n"
    "                           sample platform sign its users in\n"
    "  SIM_LATCHKEY_URL         http://127.0.0.1:8090\n"
    "  SIM_ISSUER               sent back as iss; not sent by default\n"
    "  SIM_ACCESS_TTL_SECONDS   3600\n"
    "  SIM_REUSE_GRACE_SECONDS  0: an old refresh token that comes back ends them all\n"
    "  SIM_LIBRARY_SIZE         137 books\n";

enum { SECRET_FILE_BYTES = 4096 };

static int fail(const char *name, const char *problem) {
    fprintf(stderr, "simprovider: %s: %s\n", name, problem);
    return 2;
}

/* Of NAME, or of the file that NAME_FILE names, without its trailing newline. */
static bool read_secret(const char *name, struct secret *out) {
    char file_name[64];
    char bytes[SECRET_FILE_BYTES];
    snprintf(file_name, sizeof file_name, "%s_FILE", name);
    const char *path = getenv(file_name);
    if (path == NULL || path[0] == '\0') {
        const char *value = getenv(name);
        *out = value != NULL ? secret_copy(slice_str(value)) : (struct secret){0};
        return true;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fail(file_name, strerror(errno));
        return false;
    }
    setvbuf(file, NULL, _IONBF, 0);
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    n -= n > 0 && bytes[n - 1] == '\n';
    *out = secret_copy(slice_make(bytes, n));
    mem_wipe(bytes, sizeof bytes);
    return true;
}

static bool read_number(const char *name, uint64_t max, uint64_t *out) {
    const char *value = getenv(name);
    *out = 0;
    if (value == NULL || value[0] == '\0' || slice_to_u64(slice_str(value), max, out)) {
        return true;
    }
    fail(name, "not a number, or too large a one");
    return false;
}

struct program {
    struct loop loop;
    struct simprovider *sim;
    uv_signal_t signals[2];
};

static void on_signal(uv_signal_t *signal, int number) {
    struct program *program = signal->data;
    (void)number;
    for (size_t i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&program->signals[i], NULL);
    }
    simprovider_close(program->sim, NULL, NULL);
}

static void watch_signals(struct program *program) {
    static const int numbers[2] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&program->loop.uv, &program->signals[i]);
        program->signals[i].data = program;
        uv_signal_start_oneshot(&program->signals[i], on_signal, numbers[i]);
    }
}

static int serve(const struct simprovider_opts *opts) {
    static const struct clock clock;
    struct program program;
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    signal(SIGPIPE, SIG_IGN);
    if (loop_init(&program.loop, &clock) != RC_OK) {
        return fail("event loop", "can’t be made");
    }
    program.sim = simprovider_start(&program.loop, opts, problem);
    if (program.sim == NULL) {
        loop_run(&program.loop);
        loop_fini(&program.loop);
        return fail(opts->listen, problem);
    }
    watch_signals(&program);
    printf("simprovider: %s/\n", simprovider_url(program.sim));
    fflush(stdout);
    loop_run(&program.loop);
    return loop_fini(&program.loop) == RC_OK ? 0 : 1;
}

int main(int argc, char **argv) {
    struct secret client_secret = {0};
    struct secret platform_secret = {0};
    const char *listen = getenv("SIM_LISTEN");
    uint64_t ttl_s;
    uint64_t grace_s;
    uint64_t library_size;
    int status = 2;
    if (argc > 1) {
        bool wants_help = strcmp(argv[1], "--help") == 0;
        fputs(help, wants_help ? stdout : stderr);
        return wants_help ? 0 : 2;
    }
    if (read_secret("SIM_CLIENT_SECRET", &client_secret) &&
        read_secret("SIM_PLATFORM_SECRET", &platform_secret) &&
        read_number("SIM_ACCESS_TTL_SECONDS", UINT32_MAX, &ttl_s) &&
        read_number("SIM_REUSE_GRACE_SECONDS", UINT32_MAX, &grace_s) &&
        read_number("SIM_LIBRARY_SIZE", SIM_LIBRARY_MAX, &library_size)) {
        const struct simprovider_opts opts = {
            .listen = listen != NULL && listen[0] != '\0' ? listen : "127.0.0.1:9400",
            .client_id = getenv("SIM_CLIENT_ID"),
            .client_secret = client_secret.at,
            .redirect_uris = getenv("SIM_REDIRECT_URI"),
            .platform_secret = platform_secret.at,
            .latchkey_url = getenv("SIM_LATCHKEY_URL"),
            .issuer = getenv("SIM_ISSUER"),
            .access_ttl_s = (int64_t)ttl_s,
            .reuse_grace_s = (int64_t)grace_s,
            .library_size = (size_t)library_size,
        };
        status = serve(&opts);
    }
    secret_free(&client_secret);
    secret_free(&platform_secret);
    return status;
}
