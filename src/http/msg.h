// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"

/* An HTTP request and its reply (RFC 9110, 9112). */
enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_PATCH,
    HTTP_OPTIONS,
    HTTP_OTHER /* any other token that llhttp knows: CONNECT, TRACE, PROPFIND … */
};

/* The request headers that anything asks for, found in O(1) (http_header). */
#define HTTP_HEADERS_MAP(X)                                                                        \
    X(HOST, "host")                                                                                \
    X(AUTHORIZATION, "authorization")                                                              \
    X(CONNECTION, "connection")                                                                    \
    X(CONTENT_TYPE, "content-type")                                                                \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(COOKIE, "cookie")                                                                            \
    X(EXPECT, "expect")                                                                            \
    X(ORIGIN, "origin")                                                                            \
    X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method")                              \
    X(X_FORWARDED_FOR, "x-forwarded-for")                                                          \
    X(X_REQUEST_ID, "x-request-id")
#define HTTP_HEADERS_ENUM(id, name) HTTP_HEADER_##id,
enum http_header_id { HTTP_HEADERS_MAP(HTTP_HEADERS_ENUM) HTTP_HEADER_COUNT };
#undef HTTP_HEADERS_ENUM

struct http_header {
    struct slice name;  /* as sent */
    struct slice value; /* without blanks around it */
};

struct http_conn;

/* Everything borrowed from the connection until the reply is given. */
struct http_request {
    enum http_method method;
    struct slice method_text;
    struct slice target; /* as sent: "/a/b?c=d" (an absolute form is reduced to this) */
    struct slice path;   /* not decoded */
    struct slice query;  /* without "?"; null where there is none */
    uint8_t minor;       /* HTTP/1.<minor> */
    bool has_body;       /* a Content-Length above 0, or chunked */
    bool is_chunked;
    bool keeps_alive;        /* the client lets the connection live on */
    bool expects_continue;   /* waits for a 100 before it sends the body */
    uint64_t content_length; /* declared; 0 for chunked */
    const struct http_header *headers;
    size_t header_count;
    struct slice known[HTTP_HEADER_COUNT]; /* null where absent; the first where doubled */
    uint8_t known_count[HTTP_HEADER_COUNT];
    struct slice body;       /* whole, from on_body on */
    struct slice request_id; /* the client's where sane, else fresh */
    struct slice peer;       /* address of the connection's other end, "" for a unix socket */
    int64_t started_ms;      /* loop_now_ms when the head was complete */
    int64_t started_ns;      /* the same moment's loop_turn_ns */
    struct arena *arena;     /* this request's memory */
    struct http_conn *conn;

    /* Set by the handler: called at most once, when the client is gone while the request is with
       the handler, never inside a call of the handler's. The handler still owes its answer (which
       is then dropped), and may give it here. */
    void (*gone)(struct http_request *request);
    /* Set by the handler, in the arena: complete lines "Name: value\r\n" of every answer to this
       request, also of those that the server gives in its place (400, 408, 413). */
    struct slice reply_headers;
    bool is_gone; /* the client is: for a handler that sets `gone` late */
    void *owner;  /* the handler's */
};

static inline struct slice http_header(const struct http_request *request, enum http_header_id id) {
    return request->known[id];
}

struct http_reply {
    int status;
    struct slice content_type; /* null: no body and no Content-Type */
    struct slice body;         /* copied out by http_reply */
    struct slice headers;      /* further complete lines, may be empty */
    struct slice csp;          /* null: the server's default */
    bool close;
};

/* The reason phrase ("Not Found"). */
const char *http_reason(int status);

/* The value of a query parameter, form-decoded into the arena. `*count` is how often it stands
 * there (NULL: not asked); the first one is returned. Null where absent. A bad escape is kept as it
 * is, as FastAPI does; so is a byte that isn't UTF-8 (replaced by U+FFFD). */
struct slice http_query(const struct http_request *request, const char *name, size_t *count);

/* The value of a cookie (RFC 6265 section 5.4), null where absent; the first where doubled. */
struct slice http_cookie(const struct http_request *request, struct slice name);
