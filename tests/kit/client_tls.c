// SPDX-License-Identifier: MIT
#include "kit/client_tls.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "crypto/hash.h"
#include "io/tls.h"

struct client_tls {
    struct tls *tls;
    struct tls_session *session;
    bool (*send)(struct client *client, struct slice records);
    struct client *client;
    enum tls_state state;
    bool is_broken;
};

static void on_send(void *owner, struct slice records) {
    struct client_tls *tls = owner;
    tls->is_broken |= !tls->send(tls->client, records);
}

struct client_tls *client_tls_new(struct client *client,
                                  bool (*send)(struct client *client, struct slice records)) {
    struct client_tls *tls = calloc(1, sizeof *tls);
    cr_assert_eq(hash_init(), RC_OK);
    tls->tls = tls_new_client();
    cr_assert_not_null(tls->tls);
    tls->client = client;
    tls->send = send;
    tls->session = tls_session_new(tls->tls, on_send, tls);
    cr_assert_not_null(tls->session);
    tls_session_start(tls->session);
    return tls;
}

void client_tls_free(struct client_tls *tls) {
    if (tls != NULL) {
        tls_session_free(tls->session);
        tls_release(tls->tls);
        free(tls);
    }
}

bool client_tls_send(struct client_tls *tls, struct slice bytes) {
    return tls_session_write(tls->session, bytes) && !tls->is_broken;
}

enum tls_state client_tls_receive(struct client_tls *tls, struct slice records, struct buf *plain) {
    size_t n = 0;
    char *at = buf_reserve(plain, records.len + TLS_HELD_BYTES_MAX);
    cr_assert_not_null(at);
    enum tls_state state =
        tls_session_receive(tls->session, records, at, records.len + TLS_HELD_BYTES_MAX, &n);
    plain->len += n;
    tls->state = state;
    return state;
}

bool client_tls_is_open(const struct client_tls *tls) {
    return tls->state == TLS_OPEN;
}

void client_tls_end(struct client_tls *tls) {
    tls_session_end(tls->session);
}
