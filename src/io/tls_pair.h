// SPDX-License-Identifier: MIT
#pragma once

#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include "base/rc.h"
#include "io/tls.h"

/* A certificate chain and its private key, read from PEM files. Only io/tls uses it. */
struct tls_pair {
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
};

/* As tls_new_server says. The pair needs a tls_pair_fini in any case. */
enum rc tls_pair_read(struct tls_pair *pair, const struct tls_files *files,
                      struct tls_report *report);
void tls_pair_fini(struct tls_pair *pair);

/* Random bytes from the system, as mbedTLS asks for them: no state that two processes could share.
 */
int tls_pair_random(void *unused, unsigned char *out, size_t n);
