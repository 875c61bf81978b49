// SPDX-License-Identifier: MIT
#include "io/tls_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/ecp.h>
#include <mbedtls/rsa.h>
#include <mbedtls/version.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

enum { RSA_BITS_MIN = 2048, READ_BYTES = 4096 };

int tls_pair_random(void *unused, unsigned char *out, size_t n) {
    (void)unused;
    while (n > 0) {
        ssize_t got = getrandom(out, n, 0);
        if (got > 0) {
            out += got;
            n -= (size_t)got;
        } else if (errno != EINTR) {
            return MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------------------ the files */

/* mbedTLS parses PEM up to and with a NUL. NULL, or what is wrong. */
static const char *read_open(int fd, struct buf *out, bool *others_read) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return strerror(errno);
    }
    if (!S_ISREG(status.st_mode)) {
        return "it is not a regular file";
    }
    *others_read = (status.st_mode & (S_IROTH | S_IWOTH)) != 0;
    for (;;) {
        char *at = buf_reserve(out, READ_BYTES);
        ssize_t n = at != NULL ? read(fd, at, READ_BYTES) : -1;
        if (at == NULL || out->len > LIMIT_TLS_FILE_BYTES) {
            return "it is larger than 256 KiB";
        }
        if (n < 0 && errno != EINTR) {
            return strerror(errno);
        }
        if (n == 0) {
            *at = '\0';
            return NULL;
        }
        out->len += n > 0 ? (size_t)n : 0;
    }
}

static const char *read_pem(const char *path, struct buf *out, bool *others_read) {
    buf_init(out, LIMIT_TLS_FILE_BYTES + 2 * READ_BYTES);
    *others_read = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return strerror(errno);
    }
    const char *problem = read_open(fd, out, others_read);
    close(fd);
    return problem;
}

/* A key was in it. */
static void wipe(struct buf *bytes) {
    if (bytes->at != NULL) {
        mem_wipe(bytes->at, bytes->cap);
    }
    buf_fini(bytes);
}

static bool holds(const struct buf *bytes, const char *text) {
    return bytes->len > 0 && memmem(bytes->at, bytes->len, text, strlen(text)) != NULL;
}

__attribute__((format(printf, 2, 3))) static bool say(char out[TLS_REPORT_BYTES],
                                                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(out, TLS_REPORT_BYTES, format, args);
    va_end(args);
    return false;
}

/* ------------------------------------------------------------------------------ the certificate */

static bool parse_chain(mbedtls_x509_crt *chain, const struct buf *pem, char *out) {
    int code = pem->len > 0
                   ? mbedtls_x509_crt_parse(chain, (const unsigned char *)pem->at, pem->len + 1)
                   : MBEDTLS_ERR_X509_UNKNOWN_VERSION;
    if (code == 0) {
        return true;
    }
    if (!holds(pem, "-----BEGIN CERTIFICATE-----")) {
        return say(out, "holds no certificate; name a PEM file with the server's certificate "
                        "first and those that vouch for it behind");
    }
    if (code == MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG || code == MBEDTLS_ERR_PK_UNKNOWN_PK_ALG) {
        return say(out,
                   "holds a certificate of a kind that is not supported; use one for a P-256 "
                   "key, or for an RSA key of at least %d bits",
                   RSA_BITS_MIN);
    }
    return say(out, "holds a certificate that can't be read; is the file whole?");
}

static void warn_of_dates(const mbedtls_x509_crt *chain, char *out) {
    if (mbedtls_x509_time_is_past(&chain->valid_to) != 0) {
        say(out, "is past its end (%04d-%02d-%02d): clients will refuse it", chain->valid_to.year,
            chain->valid_to.mon, chain->valid_to.day);
    } else if (mbedtls_x509_time_is_future(&chain->valid_from) != 0) {
        say(out, "is not valid before %04d-%02d-%02d: clients will refuse it",
            chain->valid_from.year, chain->valid_from.mon, chain->valid_from.day);
    }
}

static bool read_chain(struct tls_pair *pair, const char *path, char *out) {
    struct buf pem;
    bool others_read;
    const char *problem = read_pem(path, &pem, &others_read);
    bool good = problem == NULL
                    ? parse_chain(&pair->chain, &pem, out)
                    : say(out, "names a file that can't be read (%s); name a PEM file", problem);
    wipe(&pem);
    if (good) {
        warn_of_dates(&pair->chain, out);
    }
    return good;
}

/* ---------------------------------------------------------------------------------- the key */

static int parse_pem_key(mbedtls_pk_context *key, const struct buf *pem) {
    const unsigned char *at = (const unsigned char *)pem->at;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_parse_key(key, at, pem->len + 1, NULL, 0, tls_pair_random, NULL);
#else
    return mbedtls_pk_parse_key(key, at, pem->len + 1, NULL, 0);
#endif
}

static bool parse_key(mbedtls_pk_context *key, const struct buf *pem, char *out) {
    if (pem->len == 0 || !holds(pem, "PRIVATE KEY-----")) {
        return say(out, "holds no private key; name the PEM file with the certificate's key");
    }
    int code = parse_pem_key(key, pem);
    if (code == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || holds(pem, "ENCRYPTED")) {
        return say(out, "holds a key that is locked with a passphrase; write it without one "
                        "(openssl pkey -in key.pem -out plain.pem)");
    }
    if (code != 0) {
        return say(out,
                   "holds a key that can't be read, or of a kind that is not supported; use "
                   "P-256, or RSA with at least %d bits",
                   RSA_BITS_MIN);
    }
    if (mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA && mbedtls_pk_get_bitlen(key) < RSA_BITS_MIN) {
        return say(out, "holds an RSA key of %zu bits; use P-256, or RSA with at least %d bits",
                   mbedtls_pk_get_bitlen(key), RSA_BITS_MIN);
    }
    return true;
}

static bool read_key(struct tls_pair *pair, const char *path, char *out) {
    struct buf pem;
    bool others_read;
    const char *problem = read_pem(path, &pem, &others_read);
    bool good = problem == NULL
                    ? parse_key(&pair->key, &pem, out)
                    : say(out, "names a file that can't be read (%s); name a PEM file", problem);
    wipe(&pem);
    if (good && others_read) {
        say(out, "can be read or written by every user of this machine; chmod 600 it");
    }
    return good;
}

/* ------------------------------------------------------------------------------------ both */

static bool is_pair(mbedtls_x509_crt *certificate, mbedtls_pk_context *key) {
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_check_pair(&certificate->pk, key, tls_pair_random, NULL) == 0;
#else
    return mbedtls_pk_check_pair(&certificate->pk, key) == 0;
#endif
}

static bool match(struct tls_pair *pair, char *out) {
    if (is_pair(&pair->chain, &pair->key)) {
        return true;
    }
    for (mbedtls_x509_crt *next = pair->chain.next; next != NULL; next = next->next) {
        if (is_pair(next, &pair->key)) {
            return say(out, "belongs to a certificate that is not the first of "
                            "LATCHKEY_TLS_CERT; put that one first");
        }
    }
    return say(out, "does not belong to the certificate of LATCHKEY_TLS_CERT; name the key that "
                    "it was made for");
}

enum rc tls_pair_read(struct tls_pair *pair, const struct tls_files *files,
                      struct tls_report *report) {
    *report = (struct tls_report){.cert = ""};
    mbedtls_x509_crt_init(&pair->chain);
    mbedtls_pk_init(&pair->key);
    bool has_chain = read_chain(pair, files->cert_path, report->cert);
    bool has_key = read_key(pair, files->key_path, report->key);
    bool good = has_chain && has_key && match(pair, report->key);
    report->cert_is_bad = !has_chain;
    report->key_is_bad = !has_key || (has_chain && !good);
    return good ? RC_OK : RC_USAGE;
}

void tls_pair_fini(struct tls_pair *pair) {
    mbedtls_pk_free(&pair->key);
    mbedtls_x509_crt_free(&pair->chain);
}
