// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kit/provider_rig.h"

/* What goes over the wire, to the letter. */

/* A server that keeps the one request it gets, and answers it with 200. */
struct ear {
    struct slice answer;
    int fd;
    int port;
    pthread_t thread;
    char heard[8192];
    size_t len;
};

static bool is_whole(const struct ear *ear) {
    const char *end = memmem(ear->heard, ear->len, "\r\n\r\n", 4);
    const char *length = memmem(ear->heard, ear->len, "Content-Length: ", 16);
    size_t body = length != NULL ? (size_t)strtoul(length + 16, NULL, 10) : 0;
    return end != NULL && ear->len >= (size_t)(end + 4 - ear->heard) + body;
}

static void say(int fd, struct slice bytes) {
    ssize_t n = 1;
    while (n > 0 && bytes.len > 0) {
        n = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        bytes = slice_from(bytes, n > 0 ? (size_t)n : 0);
    }
}

static void *listen_once(void *owner) {
    struct ear *ear = owner;
    int fd = accept(ear->fd, NULL, NULL);
    ssize_t n = 1;
    while (n > 0 && !is_whole(ear)) {
        n = recv(fd, ear->heard + ear->len, sizeof ear->heard - 1 - ear->len, 0);
        ear->len += n > 0 ? (size_t)n : 0;
    }
    say(fd, SLICE("HTTP/1.0 200 OK\r\n\r\n"));
    say(fd, ear->answer);
    close(fd);
    return NULL;
}

static void ear_open(struct ear *ear, struct slice answer) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    memset(ear, 0, sizeof *ear);
    ear->answer = answer;
    ear->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(ear->fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(ear->fd, 1), 0);
    cr_assert_eq(getsockname(ear->fd, (struct sockaddr *)&address, &bytes), 0);
    ear->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&ear->thread, NULL, listen_once, ear), 0);
}

static void ear_close(struct ear *ear) {
    pthread_join(ear->thread, NULL);
    close(ear->fd);
}

static const char api_headers[] = "Authorization: Bearer GUEST\r\nAccept: application/json\r\n";

Test(provider_requests, to_the_letter) {
    static const struct {
        enum provider_call_endpoint endpoint;
        const char *first; /* line */
        const char *headers;
        const char *body;
    } cases[] = {
        {PROVIDER_CALL_TOKEN, "POST /auth/token HTTP/1.1\r\n",
         "Content-Type: application/x-www-form-urlencoded\r\nAccept: application/json\r\n",
         "grant_type=authorization_code&code=c%2B%26%3D&redirect_uri=http%3A%2F%2F127.0.0.1%3A8090"
         "%2Fapi%2Fv1%2Fuser%2Faudible%2Foauth%2Fcallback&client_id=sim-client&client_secret="
         "s%26cret%3D1&code_verifier=v-_"},
        {PROVIDER_CALL_REFRESH, "POST /auth/token HTTP/1.1\r\n",
         "Content-Type: application/x-www-form-urlencoded\r\nAccept: application/json\r\n",
         "grant_type=refresh_token&refresh_token=r%26t%3D&client_id=sim-client&client_secret="
         "s%26cret%3D1"},
        {PROVIDER_CALL_REVOKE, "POST /gone?a=b HTTP/1.1\r\n",
         "Content-Type: application/x-www-form-urlencoded\r\nAccept: application/json\r\n",
         "token=r%26t%3D&token_type_hint=refresh_token&client_id=sim-client&client_secret="
         "s%26cret%3D1"},
        {PROVIDER_CALL_LIBRARY,
         "GET /api/1.0/library?limit=20&offset=40&sort=date_added&response_groups=product_attrs"
         "%2Cproduct_desc%2Creviews%2Cseries HTTP/1.1\r\n",
         "Authorization: Bearer at/17\r\nAccept: application/json\r\n", ""},
        {PROVIDER_CALL_SEARCH,
         "GET /api/1.0/catalog/search?query=d%C3%A9j%C3%A0+vu%26x%3D1%23&num_results=20"
         "&response_groups=product_attrs%2Cproduct_desc%2Creviews%2Cseries HTTP/1.1\r\n",
         api_headers, ""},
        {PROVIDER_CALL_DETAILS,
         "GET /api/1.0/catalog/B0%2F..%2F1?response_groups=product_attrs%2Cproduct_desc%2Creviews"
         "%2Cseries HTTP/1.1\r\n",
         api_headers, ""},
    };
    struct rig *rig = rig_new(&rig_usual);
    rig->provider.client_secret = SLICE("s&cret=1");
    memcpy(rig->code, "c+&=", 5);
    memcpy(rig->verifier, "v-_", 4);
    memcpy(rig->refresh_token, "r&t=", 5);
    memcpy(rig->access_token, "at/17", 6);
    rig->query = "d\u00e9j\u00e0 vu&x=1#";
    rig->asin = "B0/../1";
    rig->skip = 40;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ear ear;
        char base[3][64];
        const char *name = rig_endpoint_name(cases[i].endpoint);
        ear_open(&ear, SLICE("{}"));
        snprintf(base[0], sizeof base[0], "http://127.0.0.1:%d/auth", ear.port);
        snprintf(base[1], sizeof base[1], "http://127.0.0.1:%d/api", ear.port);
        snprintf(base[2], sizeof base[2], "http://127.0.0.1:%d/gone?a=b", ear.port);
        rig->provider.auth_url = slice_str(base[0]);
        rig->provider.api_base_url = slice_str(base[1]);
        rig->provider.revoke_url = slice_str(base[2]);
        rig_ask(rig, cases[i].endpoint);
        ear_close(&ear);
        const char *body = strstr(ear.heard, "\r\n\r\n");
        cr_assert_not_null(body, "%s: %s", name, ear.heard);
        cr_assert_str_eq(body + 4, cases[i].body, "%s: %s", name, ear.heard);
        cr_assert(strstr(ear.heard, cases[i].first) == ear.heard, "%s: %s", name, ear.heard);
        cr_assert_not_null(strstr(ear.heard, cases[i].headers), "%s: %s", name, ear.heard);
        cr_assert(cases[i].endpoint >= PROVIDER_CALL_LIBRARY ||
                      strstr(ear.heard, "Authorization") == NULL,
                  "%s: %s", name, ear.heard);
    }
    rig_end(rig);
}

/* What can't be sent is not cut to what can. */
Test(provider_requests, too_long_to_be_sent) {
    enum { BYTES = 100 * 1024 };
    struct rig *rig = rig_new(&rig_usual);
    char *text = malloc(BYTES);
    memset(text, 'a', BYTES);
    text[BYTES - 1] = '\0';
    rig->provider.client_secret = slice_str(text);
    rig->query = text;
    rig->asin = text;
    struct provider_names names = provider_audible;
    names.authorization_scheme = text;
    for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS; e++) {
        rig->provider.names = e == PROVIDER_CALL_LIBRARY ? &names : &provider_audible;
        struct rig_call *call = rig_ask(rig, e);
        cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s: %s", rig_endpoint_name(e),
                     rc_name(call->rc));
        cr_assert_not(call->was_sent, "%s", rig_endpoint_name(e));
        cr_assert_eq(rig_sends(rig, e), 0, "%s", rig_endpoint_name(e));
        cr_assert_eq(rig_metric(rig, e, PROVIDER_CALL_NOT_SENT), 1, "%s", rig_endpoint_name(e));
    }
    free(text);
    rig_end(rig);
}

/* A stored token that holds a line break is no way to add a header. */
Test(provider_requests, a_token_is_no_header) {
    struct rig *rig = rig_new(&rig_usual);
    memcpy(rig->access_token, "a\r\nX-Evil: 1", 13);
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
    cr_assert_eq(rig_sends(rig, PROVIDER_CALL_LIBRARY), 0);
    rig_end(rig);
}

/* An answer within its cap of which more is made than ours allows: refused, not cut. */
Test(provider_requests, more_comes_of_it_than_fits) {
    enum { BOOKS = 130000 };
    struct rig *rig = rig_new(&rig_usual);
    struct ear ear;
    struct buf answer;
    char base[64];
    buf_init(&answer, 4 * 1024 * 1024);
    BUF_LIT(&answer, "{\"items\":[{}");
    for (int i = 0; i < BOOKS; i++) {
        BUF_LIT(&answer, ",{\"product\":{}}");
    }
    BUF_LIT(&answer, "]}");
    for (int i = 0; i < 2; i++) {
        rig->is_counted_only = i == 1;
        ear_open(&ear, buf_slice(&answer));
        snprintf(base, sizeof base, "http://127.0.0.1:%d/api", ear.port);
        rig->provider.api_base_url = slice_str(base);
        struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
        ear_close(&ear);
        cr_assert_eq(call->rc, i == 1 ? RC_OK : RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
        cr_assert_eq(call->count, i == 1 ? BOOKS + 1 : 0);
    }
    buf_fini(&answer);
    rig_end(rig);
}
