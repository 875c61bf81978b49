// SPDX-License-Identifier: MIT
#include "io/upstream_easy.h"

#include <string.h>

#include "base/limits.h"

/* A server closes a connection that has idled for its limit, often 5 s, and may do so just when a
 * request is on its way. libcurl then sends it again, which is right for a GET and wrong for a code
 * or a refresh token: they may have been spent the first time. So the latter ride only on
 * connections that were used a moment ago, and never twice (on_request). */
enum { IDLE_MAX_S = 60, IDLE_MAX_ONCE_S = 3 };

/* The parsed CA bundle is shared by all connections for this long, then read again: updates of the
 * system's bundle are seen without a restart. Reading takes some 40 ms of the loop. */
enum { CA_CACHE_S = 24 * 60 * 60 };

enum { RETRY_AFTER_MAX_S = 1000 * 1000 * 1000 };

static bool set_tls(CURL *curl, const struct upstream_opts *opts) {
    bool ok = true;
    ok &= curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
    /* A CApath, even the default one, keeps libcurl from caching the bundle. */
    ok &= curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_S) == CURLE_OK;
    ok &=
        curl_easy_setopt(curl, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_PROXY_SSL_VERIFYPEER, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_PROXY_SSL_VERIFYHOST, 2L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, NULL) == CURLE_OK;
    if (opts->ca_file != NULL) {
        ok &= curl_easy_setopt(curl, CURLOPT_CAINFO, opts->ca_file) == CURLE_OK;
        ok &= curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, opts->ca_file) == CURLE_OK;
    }
    return ok;
}

/* Names are resolved by libcurl, in a thread for each lookup. QUICK_EXIT leaves a thread that is
 * still resolving to itself when its transfer ends; without it libcurl joins the thread, and a slow
 * resolver holds the whole loop. The alternative, uv_getaddrinfo first and CURLOPT_RESOLVE, would
 * take Fernet's threads and keep the loop from closing until the resolver answers. How many threads
 * are left behind is bounded by connections_max each connect timeout. */
static bool set_network(CURL *curl, const struct upstream_opts *opts) {
    bool ok = true;
    ok &= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)opts->connect_timeout_ms) ==
          CURLE_OK;
    /* Empty, not absent: absent makes libcurl look into the environment. */
    ok &= curl_easy_setopt(curl, CURLOPT_PROXY, opts->proxy != NULL ? opts->proxy : "") == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_NOPROXY, "") == CURLE_OK;
    ok &=
        curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, opts->keepalive_max > 0 ? 0L : 1L) == CURLE_OK;
    return ok;
}

static bool set_http(CURL *curl, const struct upstream_opts *opts) {
    bool ok = true;
    ok &= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, NULL) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_USERAGENT, opts->user_agent) == CURLE_OK;
    return ok;
}

bool upstream_easy_common(CURL *curl, const struct upstream_opts *opts) {
    return set_tls(curl, opts) && set_network(curl, opts) && set_http(curl, opts);
}

static size_t on_body(char *bytes, size_t size, size_t n, void *owner) {
    struct upstream_easy *easy = owner;
    buf_append(&easy->body, slice_make(bytes, size * n));
    easy->is_too_large = !buf_ok(&easy->body);
    /* Anything but all of it ends the transfer. */
    return easy->is_too_large ? size * n + 1 : size * n;
}

static void read_header(struct upstream_easy *easy, struct slice line) {
    uint64_t seconds;
    if (slice_starts(line, SLICE("HTTP/"))) {
        easy->retry_after_s = -1; /* of an interim answer before */
        return;
    }
    size_t colon = slice_find(line, ':');
    struct slice value = slice_from(line, colon + 1);
    while (value.len > 0 && (value.at[value.len - 1] == '\r' || value.at[value.len - 1] == '\n')) {
        value.len--;
    }
    if (slice_ieq(slice_head(line, colon), SLICE("Retry-After")) &&
        slice_to_u64(slice_trim(value), RETRY_AFTER_MAX_S, &seconds)) {
        easy->retry_after_s = (int64_t)seconds;
    }
}

static size_t on_header(char *bytes, size_t size, size_t n, void *owner) {
    struct upstream_easy *easy = owner;
    easy->head_bytes += size * n;
    if (easy->head_bytes > LIMIT_UPSTREAM_HEAD_BYTES) {
        easy->is_too_large = true;
        return size * n + 1;
    }
    read_header(easy, slice_make(bytes, size * n));
    return size * n;
}

/* Connected, TLS verified, and the request is about to be written: from here on the server may have
 * seen it. A second time for one transfer means that libcurl wants to send it again. */
static int on_request(void *owner, char *peer, char *local, int peer_port, int local_port) {
    (void)peer;
    (void)local;
    (void)peer_port;
    (void)local_port;
    struct upstream_easy *easy = owner;
    if (*easy->sent && !easy->is_repeatable) {
        return CURL_PREREQFUNC_ABORT;
    }
    *easy->sent = true;
    return CURL_PREREQFUNC_OK;
}

static bool set_callbacks(struct upstream_easy *easy) {
    CURL *curl = easy->curl;
    bool ok = true;
    ok &= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_WRITEDATA, easy) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_HEADERDATA, easy) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_request) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_PREREQDATA, easy) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_PRIVATE, easy) == CURLE_OK;
    return ok;
}

static bool set_request(struct upstream_easy *easy) {
    CURL *curl = easy->curl;
    const struct upstream_copy *request = &easy->request;
    bool is_head = strcmp(request->method, "HEAD") == 0;
    bool ok = true;
    ok &= curl_easy_setopt(curl, CURLOPT_URL, request->url) == CURLE_OK;
    ok &= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK;
    if (is_head) {
        ok &= curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    } else if (!slice_is_null(request->body) || strcmp(request->method, "POST") == 0) {
        ok &= curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK;
        ok &= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len) ==
              CURLE_OK;
        ok &= curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                               request->body.len > 0 ? request->body.at : "") == CURLE_OK;
    }
    ok &= curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
    easy->is_repeatable = is_head || strcmp(request->method, "GET") == 0;
    ok &= curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN,
                           easy->is_repeatable ? (long)IDLE_MAX_S : (long)IDLE_MAX_ONCE_S) ==
          CURLE_OK;
    return ok;
}

bool upstream_easy_prepare(struct upstream_easy *easy, const struct upstream_opts *opts,
                           size_t answer_max) {
    buf_init(&easy->body, answer_max);
    easy->head_bytes = 0;
    easy->retry_after_s = -1;
    easy->is_too_large = false;
    return upstream_easy_common(easy->curl, opts) && set_callbacks(easy) && set_request(easy) &&
           curl_easy_setopt(easy->curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)answer_max) ==
               CURLE_OK;
}

enum rc upstream_easy_result(const struct upstream_easy *easy, CURLcode code, int *status) {
    long answered = 0;
    *status = 0;
    if (easy->is_too_large || code == CURLE_FILESIZE_EXCEEDED) {
        return RC_TOO_LARGE;
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return RC_TIMEOUT;
    }
    if (code == CURLE_URL_MALFORMAT) {
        return RC_MALFORMED;
    }
    if (code != CURLE_OK ||
        curl_easy_getinfo(easy->curl, CURLINFO_RESPONSE_CODE, &answered) != CURLE_OK ||
        answered < 200 || answered > 599) {
        return RC_UNREACHABLE;
    }
    *status = (int)answered;
    return RC_OK;
}
