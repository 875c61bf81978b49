// SPDX-License-Identifier: MIT
#include "io/upstream_warm.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/upstream_easy.h"

/* Parsing the bundle on a slow machine counts as connecting. */
enum { WAIT_MS = 20, ROUNDS_MAX = 100, PARSING_MAX_MS = 60 * 1000 };

/* A listening socket without a file, whose name the kernel picks. -1: none. */
static int listen_somewhere(char name[sizeof(struct sockaddr_un)]) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) == 0 &&
        listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)&address, &bytes) == 0) {
        size_t length = bytes - offsetof(struct sockaddr_un, sun_path) - 1;
        memcpy(name, address.sun_path + 1, length);
        name[length] = '\0';
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static bool has_ended(CURLM *multi, CURLcode *code) {
    int left;
    const CURLMsg *message = curl_multi_info_read(multi, &left);
    if (message != NULL) {
        *code = message->data.result;
    }
    return message != NULL;
}

/* Until the transfer has failed, as it must: its peer takes the first message and says nothing. */
static CURLcode run(CURLM *multi, int listener) {
    CURLcode code = CURLE_OPERATION_TIMEDOUT;
    int peer = -1;
    for (int i = 0; i < ROUNDS_MAX && !has_ended(multi, &code); i++) {
        int running;
        curl_multi_perform(multi, &running);
        if (peer < 0) {
            peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (peer >= 0) {
                shutdown(peer, SHUT_WR);
            }
        }
        if (running > 0) {
            curl_multi_poll(multi, NULL, 0, WAIT_MS, NULL);
        }
    }
    if (peer >= 0) {
        close(peer);
    }
    return code;
}

static CURLcode warm_through(CURLM *multi, CURL *easy, const struct upstream_opts *opts) {
    char name[sizeof(struct sockaddr_un)];
    int listener = listen_somewhere(name);
    if (listener < 0) {
        return CURLE_COULDNT_CONNECT;
    }
    CURLcode code = CURLE_FAILED_INIT;
    if (upstream_easy_common(easy, opts) && curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)PARSING_MAX_MS) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_ABSTRACT_UNIX_SOCKET, name) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_URL, "https://localhost/") == CURLE_OK &&
        curl_multi_add_handle(multi, easy) == CURLM_OK) {
        code = run(multi, listener);
        curl_multi_remove_handle(multi, easy);
    }
    close(listener);
    return code;
}

CURLcode upstream_warm(CURLM *multi, const struct upstream_opts *opts) {
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        return CURLE_FAILED_INIT;
    }
    CURLcode code = warm_through(multi, easy, opts);
    curl_easy_cleanup(easy);
    return code == CURLE_SSL_CONNECT_ERROR || code == CURLE_RECV_ERROR ? CURLE_OK : code;
}
