// SPDX-License-Identifier: MIT
#pragma once

#include "kit/scratch.h"

/* A certificate for localhost and 127.0.0.1, signed by its own key: made by the openssl program. */
struct certificate {
    struct scratch cert; /* PEM files */
    struct scratch key;
};

/* As openssl req's -newkey takes it, with its options. */
#define CERTIFICATE_P256 "ec", "-pkeyopt", "ec_paramgen_curve:P-256"
#define CERTIFICATE_P384 "ec", "-pkeyopt", "ec_paramgen_curve:P-384"
#define CERTIFICATE_RSA(bits) "rsa:" #bits, NULL, NULL

struct certificate certificate_make_kind(const struct scratch *folder, const char *name,
                                         const char *kind, const char *option, const char *value);
#define certificate_make(folder, name, ...) certificate_make_kind((folder), (name), __VA_ARGS__)

/* Runs openssl with these arguments (NULL at the end) and expects that it succeeds. */
void certificate_openssl(const char *const *arguments);
