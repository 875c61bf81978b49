// SPDX-License-Identifier: MIT
#include "io/tls.h"

#include <assert.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/tls_pair.h"

/* PSA's key store is the process's, and Fernet's threads use it too. mbedTLS 2.28, whose store has
 * no lock (crypto/keystore), does TLS without it unless it was built to; that of 3.6 has its own.
 */
#if MBEDTLS_VERSION_NUMBER < 0x03060000 && defined(MBEDTLS_USE_PSA_CRYPTO)
#error "this mbedTLS would use PSA's unlocked key store for TLS: build it without USE_PSA_CRYPTO"
#elif MBEDTLS_VERSION_NUMBER >= 0x03000000 && !defined(MBEDTLS_THREADING_C)
#error "this mbedTLS has no locks: build it with MBEDTLS_THREADING_C"
#endif

/* Records on their way out are gathered, so that a flight of a handshake is one packet. */
enum { OUT_BYTES = 64 * 1024, TICKET_LIFETIME_S = 6 * 3600 };

struct tls {
    mbedtls_ssl_config config;
    struct tls_pair pair;
    mbedtls_ssl_ticket_context tickets;
    const char *protocols[2]; /* of ALPN, NULL at the end */
    size_t uses;              /* by the owner, and by each session */
    size_t out_len;
    char out[OUT_BYTES];
};

struct tls_session {
    mbedtls_ssl_context ssl;
    struct tls *tls;
    void (*send)(void *owner, struct slice records);
    void *owner;
    struct slice input; /* not yet read by mbedTLS */
    enum tls_state state;
    bool has_ended;
};

/* ------------------------------------------------------------------------------------- rules */

/* In the order of preference. */
static const int suites[] = {
#ifdef MBEDTLS_SSL_PROTO_TLS1_3
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    0,
};

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
static const uint16_t groups[] = {
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};

static void set_versions(mbedtls_ssl_config *config) {
    mbedtls_ssl_conf_min_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_groups(config, groups);
#ifdef MBEDTLS_SSL_PROTO_TLS1_3
    /* never a resumption without fresh keys */
    mbedtls_ssl_conf_tls13_key_exchange_modes(config,
                                              MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
#endif
}

static void set_version_12(mbedtls_ssl_config *config) {
    mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
}
#else
/* 2.28 would prefer the largest curve and take SHA-1. */
static const mbedtls_ecp_group_id groups[] = {
    MBEDTLS_ECP_DP_SECP256R1,
    MBEDTLS_ECP_DP_CURVE25519,
    MBEDTLS_ECP_DP_SECP384R1,
    MBEDTLS_ECP_DP_NONE,
};
static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512,
                             MBEDTLS_MD_NONE};

static void set_versions(mbedtls_ssl_config *config) {
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_curves(config, groups);
    mbedtls_ssl_conf_sig_hashes(config, hashes);
}

static void set_version_12(mbedtls_ssl_config *config) {
    (void)config; /* it knows no later one */
}
#endif

static struct tls *tls_new(void) {
    struct tls *tls = mem_calloc(1, sizeof *tls);
    tls->uses = 1;
    tls->protocols[0] = "http/1.1";
    mbedtls_ssl_config_init(&tls->config);
    mbedtls_ssl_ticket_init(&tls->tickets);
    mbedtls_x509_crt_init(&tls->pair.chain);
    mbedtls_pk_init(&tls->pair.key);
    return tls;
}

void tls_release(struct tls *tls) {
    if (tls == NULL || --tls->uses > 0) {
        return;
    }
    mbedtls_ssl_config_free(&tls->config);
    mbedtls_ssl_ticket_free(&tls->tickets);
    tls_pair_fini(&tls->pair);
    mem_free(tls);
}

static bool set_rules(struct tls *tls, int endpoint) {
    mbedtls_ssl_config *config = &tls->config;
    if (mbedtls_ssl_config_defaults(config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0) {
        return false;
    }
    mbedtls_ssl_conf_rng(config, tls_pair_random, NULL);
    mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_ciphersuites(config, suites);
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    set_versions(config);
    return true;
}

static bool set_server(struct tls *tls) {
    mbedtls_ssl_config *config = &tls->config;
    if (!set_rules(tls, MBEDTLS_SSL_IS_SERVER) ||
        mbedtls_ssl_conf_own_cert(config, &tls->pair.chain, &tls->pair.key) != 0 ||
        mbedtls_ssl_conf_alpn_protocols(config, tls->protocols) != 0 ||
        mbedtls_ssl_ticket_setup(&tls->tickets, tls_pair_random, NULL, MBEDTLS_CIPHER_AES_256_GCM,
                                 TICKET_LIFETIME_S) != 0) {
        return false;
    }
    mbedtls_ssl_conf_session_tickets_cb(config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse,
                                        &tls->tickets);
    return true;
}

enum rc tls_new_server(const struct tls_files *files, struct tls **out, struct tls_report *report) {
    struct tls *tls = tls_new();
    enum rc rc = tls_pair_read(&tls->pair, files, report);
    if (rc == RC_OK && !set_server(tls)) {
        rc = RC_CRYPTO;
    }
    if (rc != RC_OK) {
        tls_release(tls);
        tls = NULL;
    }
    *out = tls;
    return rc;
}

struct tls *tls_new_client(void) {
    struct tls *tls = tls_new();
    if (!set_rules(tls, MBEDTLS_SSL_IS_CLIENT)) {
        tls_release(tls);
        return NULL;
    }
    set_version_12(&tls->config);
    return tls;
}

bool tls_is_same(const struct tls *a, const struct tls *b) {
    const mbedtls_x509_crt *x = &a->pair.chain;
    const mbedtls_x509_crt *y = &b->pair.chain;
    while (x != NULL && y != NULL &&
           slice_eq(slice_make(x->raw.p, x->raw.len), slice_make(y->raw.p, y->raw.len))) {
        x = x->next;
        y = y->next;
    }
    return x == NULL && y == NULL;
}

enum rc tls_check(const struct tls_files *files, struct tls_report *report) {
    struct tls_pair pair;
    enum rc rc = tls_pair_read(&pair, files, report);
    tls_pair_fini(&pair);
    return rc;
}

/* ----------------------------------------------------------------------------------- sessions */

static void flush(struct tls_session *session) {
    struct tls *tls = session->tls;
    if (tls->out_len > 0) {
        size_t n = tls->out_len;
        tls->out_len = 0;
        session->send(session->owner, slice_make(tls->out, n));
    }
}

/* mbedTLS writes here. Never full, so it never has to come back to a record. */
static int on_output(void *owner, const unsigned char *bytes, size_t n) {
    struct tls_session *session = owner;
    struct tls *tls = session->tls;
    assert(n <= OUT_BYTES);
    if (n > OUT_BYTES - tls->out_len) {
        flush(session);
    }
    memcpy(tls->out + tls->out_len, bytes, n);
    tls->out_len += n;
    return (int)n;
}

/* mbedTLS reads here. */
static int on_input(void *owner, unsigned char *bytes, size_t max) {
    struct tls_session *session = owner;
    size_t n = session->input.len < max ? session->input.len : max;
    if (n == 0) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    memcpy(bytes, session->input.at, n);
    session->input = slice_from(session->input, n);
    return (int)n;
}

struct tls_session *tls_session_new(struct tls *tls,
                                    void (*send)(void *owner, struct slice records), void *owner) {
    struct tls_session *session = mem_calloc(1, sizeof *session);
    session->tls = tls;
    session->send = send;
    session->owner = owner;
    tls->uses++;
    mbedtls_ssl_init(&session->ssl);
    if (mbedtls_ssl_setup(&session->ssl, &tls->config) != 0) {
        tls_session_free(session);
        return NULL;
    }
    mbedtls_ssl_set_bio(&session->ssl, session, on_output, on_input, NULL);
    return session;
}

void tls_session_free(struct tls_session *session) {
    if (session == NULL) {
        return;
    }
    mbedtls_ssl_free(&session->ssl);
    tls_release(session->tls);
    mem_free(session);
}

/* What a code below zero makes of the session. */
static void note(struct tls_session *session, int code) {
    if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        session->state = TLS_ENDED;
    } else if (code != MBEDTLS_ERR_SSL_WANT_READ) {
        session->state = TLS_BROKEN;
    }
}

static void shake(struct tls_session *session) {
    int code = mbedtls_ssl_handshake(&session->ssl);
    if (code == 0) {
        session->state = TLS_OPEN;
    } else {
        note(session, code);
    }
}

static size_t read_plain(struct tls_session *session, char *plain, size_t plain_max) {
    size_t length = 0;
    int code = 1;
    while (code > 0) {
        assert(length < plain_max);
        code = mbedtls_ssl_read(&session->ssl, (unsigned char *)plain + length, plain_max - length);
        length += code > 0 ? (size_t)code : 0;
    }
    note(session, code);
    return length;
}

enum tls_state tls_session_receive(struct tls_session *session, struct slice bytes, char *plain,
                                   size_t plain_max, size_t *n) {
    assert(plain_max >= bytes.len + TLS_HELD_BYTES_MAX);
    *n = 0;
    session->input = bytes;
    if (session->state == TLS_SHAKING) {
        shake(session);
    }
    if (session->state == TLS_OPEN) {
        *n = read_plain(session, plain, plain_max);
    }
    session->input = SLICE_NULL;
    flush(session);
    return session->state;
}

void tls_session_start(struct tls_session *session) {
    size_t n;
    char plain[TLS_HELD_BYTES_MAX];
    tls_session_receive(session, SLICE_NULL, plain, sizeof plain, &n);
}

bool tls_session_is_open(const struct tls_session *session) {
    return session->state == TLS_OPEN;
}

bool tls_session_write(struct tls_session *session, struct slice bytes) {
    if (session->state != TLS_OPEN) {
        return false;
    }
    while (bytes.len > 0) {
        int n = mbedtls_ssl_write(&session->ssl, (const unsigned char *)bytes.at, bytes.len);
        if (n <= 0) {
            session->state = TLS_BROKEN;
            return false;
        }
        bytes = slice_from(bytes, (size_t)n);
    }
    flush(session);
    return true;
}

void tls_session_end(struct tls_session *session) {
    if (!session->has_ended && (session->state == TLS_OPEN || session->state == TLS_ENDED)) {
        session->has_ended = true;
        mbedtls_ssl_close_notify(&session->ssl);
        flush(session);
    }
}

const char *tls_session_version(const struct tls_session *session) {
    return mbedtls_ssl_get_version(&session->ssl);
}

const char *tls_session_suite(const struct tls_session *session) {
    return mbedtls_ssl_get_ciphersuite(&session->ssl);
}
