// SPDX-License-Identifier: MIT
#include "io/redis_tls.h"

#include "io/redis_url.h"

#ifdef LATCHKEY_REDIS_TLS

#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "base/slice.h"

struct redis_tls {
    SSL_CTX *shared; /* by all connections, one after the other: the certificates are read once */
    char *host;
    SSL *ssl;        /* hiredis's, of the connection that there is */
    bool is_refused; /* known where it failed at once, and there is none */
};

bool redis_has_tls(void) {
    return true;
}

struct redis_tls *redis_tls_new(const char *host, const char *ca_file, const char **problem) {
    SSL_CTX *shared = SSL_CTX_new(TLS_client_method());
    if (shared == NULL) {
        *problem = "OpenSSL does not start";
        return NULL;
    }
    int is_read = ca_file != NULL ? SSL_CTX_load_verify_locations(shared, ca_file, NULL)
                                  : SSL_CTX_set_default_verify_paths(shared);
    if (is_read != 1 || SSL_CTX_set_min_proto_version(shared, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(shared);
        *problem = "the certificates to verify the server with can't be read";
        return NULL;
    }
    SSL_CTX_set_verify(shared, SSL_VERIFY_PEER, NULL);
    struct redis_tls *tls = mem_calloc(1, sizeof *tls);
    tls->shared = shared;
    tls->host = mem_strdup(slice_str(host));
    return tls;
}

void redis_tls_free(struct redis_tls *tls) {
    if (tls != NULL) {
        SSL_CTX_free(tls->shared);
        mem_free(tls->host);
        mem_free(tls);
    }
}

static bool expect_host(SSL *ssl, const char *host) {
    X509_VERIFY_PARAM *expected = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host) == 1) {
        return true;
    }
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(expected, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool is_refused(const SSL *ssl) {
    return SSL_get_verify_result(ssl) != X509_V_OK;
}

bool redis_tls_start(struct redis_tls *tls, struct redisContext *context) {
    SSL *ssl = SSL_new(tls->shared);
    if (ssl == NULL) {
        return false;
    }
    if (!expect_host(ssl, tls->host) || redisInitiateSSL(context, ssl) != REDIS_OK) {
        tls->is_refused = is_refused(ssl);
        SSL_free(ssl);
        return false;
    }
    tls->is_refused = false;
    tls->ssl = ssl;
    return true;
}

void redis_tls_enter(void) {
    ERR_clear_error();
}

bool redis_tls_is_refused(const struct redis_tls *tls) {
    return tls->ssl != NULL ? is_refused(tls->ssl) : tls->is_refused;
}

void redis_tls_end(struct redis_tls *tls) {
    tls->ssl = NULL;
}

#else

#include <stddef.h>

bool redis_has_tls(void) {
    return false;
}

struct redis_tls *redis_tls_new(const char *host, const char *ca_file, const char **problem) {
    (void)host;
    (void)ca_file;
    *problem = "this hiredis has no TLS";
    return NULL;
}

void redis_tls_free(struct redis_tls *tls) {
    (void)tls;
}

bool redis_tls_start(struct redis_tls *tls, struct redisContext *context) {
    (void)tls;
    (void)context;
    return false;
}

void redis_tls_enter(void) {
}

bool redis_tls_is_refused(const struct redis_tls *tls) {
    (void)tls;
    return false;
}

void redis_tls_end(struct redis_tls *tls) {
    (void)tls;
}

#endif
