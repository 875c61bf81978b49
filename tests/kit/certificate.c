// SPDX-License-Identifier: MIT
#include "kit/certificate.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/program.h"

enum { ARGUMENTS_MAX = 32 };

void certificate_openssl(const char *const *arguments) {
    /* it may ask its standard input */
    const char *argv[ARGUMENTS_MAX + 5] = {"/bin/sh", "-c", "exec openssl \"$@\" </dev/null", "sh"};
    const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        cr_assert_lt(i, (size_t)ARGUMENTS_MAX);
        argv[i + 4] = arguments[i];
    }
    struct program *program = program_run(argv, env);
    cr_assert_eq(program->code, 0, "openssl %s: %s", arguments[0], program->err.text);
    program_free(program);
}

struct certificate certificate_make_kind(const struct scratch *folder, const char *name,
                                         const char *kind, const char *option, const char *value) {
    char file[64];
    char subject[80];
    struct certificate made;
    snprintf(file, sizeof file, "%s.crt", name);
    made.cert = scratch_file(folder, file);
    snprintf(file, sizeof file, "%s.key", name);
    made.key = scratch_file(folder, file);
    snprintf(subject, sizeof subject, "/CN=%s", name);
    const char *arguments[ARGUMENTS_MAX] = {"req",
                                            "-x509",
                                            "-nodes",
                                            "-days",
                                            "2",
                                            "-subj",
                                            subject,
                                            "-addext",
                                            "subjectAltName=DNS:localhost,IP:127.0.0.1",
                                            "-out",
                                            made.cert.path,
                                            "-keyout",
                                            made.key.path,
                                            "-newkey",
                                            kind,
                                            option,
                                            value,
                                            NULL};
    certificate_openssl(arguments);
    return made;
}
