// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/rc.h"
#include "base/slice.h"

/* TLS over mbedTLS: bytes in, bytes out, and no socket in sight. 1.2, and 1.3 where mbedTLS has it;
 * only suites with authenticated encryption and ephemeral keys; session tickets; ALPN "http/1.1".
 * Everything on one thread. io/stream_tls makes connections of it. */
struct tls;
struct tls_session;

/* PEM files: the certificate, then those that vouch for it; its private key. */
struct tls_files {
    const char *cert_path;
    const char *key_path;
};

enum { TLS_REPORT_BYTES = 256 };

/* What there is to say about either file, as the rest of a sentence that starts with its variable;
 * "" where there is nothing. A problem where it is bad, else a warning. */
struct tls_report {
    char cert[TLS_REPORT_BYTES];
    char key[TLS_REPORT_BYTES];
    bool cert_is_bad;
    bool key_is_bad;
};

/* One side's certificate, rules and ticket keys: immutable. The caller's until tls_release;
 * sessions that it made keep it until they are freed. RC_USAGE with a problem in the report;
 * RC_CRYPTO. Reads files: for the start, and for a rare reload. After hash_init. */
enum rc tls_new_server(const struct tls_files *files, struct tls **out, struct tls_report *report);
/* The other side, which believes any certificate: to ask one's own server how it is. TLS 1.2.
 * NULL: the crypto library failed. */
struct tls *tls_new_client(void);
void tls_release(struct tls *tls); /* fine on NULL */
/* Of the same certificates. */
bool tls_is_same(const struct tls *a, const struct tls *b);

/* What the pair is worth, and nothing else. */
enum rc tls_check(const struct tls_files *files, struct tls_report *report);

/* `send` takes records for the peer, inside of the calls below; the bytes are lent. NULL: no
 * memory.
 */
struct tls_session *tls_session_new(struct tls *tls,
                                    void (*send)(void *owner, struct slice records), void *owner);
void tls_session_free(struct tls_session *session); /* sends nothing; fine on NULL */

enum tls_state {
    TLS_SHAKING, /* the handshake is not over */
    TLS_OPEN,
    TLS_ENDED, /* the peer has said that nothing follows */
    TLS_BROKEN /* it does not speak TLS, or none that we accept: an alert may have been sent */
};

/* All that the peer sent, in pieces of any size. What it means in plain is written to `plain`,
 * whose room `plain_max` is at least bytes.len + TLS_HELD_BYTES_MAX. */
enum { TLS_HELD_BYTES_MAX = 20 * 1024 }; /* more than a record: what may have come before */
enum tls_state tls_session_receive(struct tls_session *session, struct slice bytes, char *plain,
                                   size_t plain_max, size_t *n);

/* A client's first words. */
void tls_session_start(struct tls_session *session);

bool tls_session_is_open(const struct tls_session *session);

/* False where the session is not open, or broke. */
bool tls_session_write(struct tls_session *session, struct slice bytes);
/* Says that nothing follows, once. */
void tls_session_end(struct tls_session *session);

/* "TLSv1.3" and the suite's name; for logs and tests, of an open session. */
const char *tls_session_version(const struct tls_session *session);
const char *tls_session_suite(const struct tls_session *session);
