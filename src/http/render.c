// SPDX-License-Identifier: MIT
#include "http/render.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "http/msg.h"

#define DATE_NAME "Date: "
#define DATE_LINE DATE_NAME "Thu, 01 Jan 1970 00:00:00 GMT\r\n"
#define CSP_NAME "Content-Security-Policy: "
/* All that http_render_head adds to what it is given. */
enum { OWN_BYTES = 512 };

static char *put(char *at, struct slice text) {
    memcpy(at, text.at, text.len);
    return at + text.len;
}

static char *put_lines(char *at, struct slice lines) {
    return lines.len > 0 ? put(at, lines) : at;
}

static char *put_line(char *at, struct slice name, struct slice value) {
    at = put(at, name);
    at = put(at, value);
    return put(at, SLICE("\r\n"));
}

void http_render_init(struct http_render *render, struct slice headers, struct slice csp) {
    render->second = -1;
    render->secure_headers = SLICE_NULL;
    render->fixed = mem_alloc(sizeof DATE_LINE + headers.len + sizeof CSP_NAME + csp.len + 2);
    char *at = put(render->fixed, SLICE(DATE_LINE));
    at = put_lines(at, headers);
    render->without_csp_len = (size_t)(at - render->fixed);
    if (csp.len > 0) {
        at = put_line(at, SLICE(CSP_NAME), csp);
    }
    render->fixed_len = (size_t)(at - render->fixed);
}

void http_render_fini(struct http_render *render) {
    mem_free(render->fixed);
    render->fixed = NULL;
}

static void put_digits(char *at, size_t width, int value) {
    while (width-- > 0) {
        at[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* IMF-fixdate, over the date that stands there. */
static void render_date(struct http_render *render, int64_t second) {
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char *at = render->fixed + sizeof DATE_NAME - 1;
    time_t time = (time_t)second;
    struct tm t = {0};
    gmtime_r(&time, &t);
    memcpy(at, days + (size_t)t.tm_wday * 3, 3);
    put_digits(at + 5, 2, t.tm_mday);
    memcpy(at + 8, months + (size_t)t.tm_mon * 3, 3);
    put_digits(at + 12, 4, t.tm_year + 1900);
    put_digits(at + 17, 2, t.tm_hour);
    put_digits(at + 20, 2, t.tm_min);
    put_digits(at + 23, 2, t.tm_sec);
    render->second = second;
}

static char *put_status(char *at, int status) {
    if (status == 200) {
        return put(at, SLICE("HTTP/1.1 200 OK\r\n"));
    }
    at = put(at, SLICE("HTTP/1.1 "));
    put_digits(at, 3, status);
    at[3] = ' ';
    at = put(at + 4, slice_str(http_reason(status)));
    return put(at, SLICE("\r\n"));
}

static char *put_length(char *at, uint64_t length) {
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + length % 10);
        length /= 10;
    } while (length > 0);
    return put_line(at, SLICE("Content-Length: "), slice_make(digits + n, sizeof digits - n));
}

size_t http_render_max(const struct http_render *render, const struct http_render_head *head) {
    return OWN_BYTES + render->fixed_len + head->content_type.len + head->headers.len +
           head->more_headers.len + head->csp.len + head->request_id.len +
           render->secure_headers.len;
}

size_t http_render_head(struct http_render *render, const struct http_render_head *head,
                        int64_t wall_ms, char *out) {
    int64_t second = wall_ms / 1000;
    if (second != render->second) {
        render_date(render, second);
    }
    bool own_csp = !slice_is_null(head->csp);
    char *at = put_status(out, head->status);
    at = put(at, slice_make(render->fixed, own_csp ? render->without_csp_len : render->fixed_len));
    if (own_csp) {
        at = put_line(at, SLICE(CSP_NAME), head->csp);
    }
    at = put_line(at, SLICE("X-Request-ID: "), head->request_id);
    if (!slice_is_null(head->content_type)) {
        at = put_line(at, SLICE("Content-Type: "), head->content_type);
    }
    /* RFC 9110 section 8.6: never in a 1xx or a 204. */
    if (head->status >= 200 && head->status != 204) {
        at = put_length(at, head->content_length);
    }
    if (head->is_secure) {
        at = put_lines(at, render->secure_headers);
    }
    at = put_lines(at, head->headers);
    at = put_lines(at, head->more_headers);
    if (head->close) {
        at = put(at, SLICE("Connection: close\r\n"));
    } else if (head->keep_alive) {
        at = put(at, SLICE("Connection: keep-alive\r\n"));
    }
    at = put(at, SLICE("\r\n"));
    return (size_t)(at - out);
}
