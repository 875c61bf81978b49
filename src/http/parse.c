// SPDX-License-Identifier: MIT
#include "http/parse.h"

/* llhttp names its methods as msg.h does; ours are the ones meant below. */
#define HTTP_DELETE LLHTTP_DELETE
#define HTTP_GET LLHTTP_GET
#define HTTP_HEAD LLHTTP_HEAD
#define HTTP_POST LLHTTP_POST
#define HTTP_PUT LLHTTP_PUT
#define HTTP_OPTIONS LLHTTP_OPTIONS
#define HTTP_PATCH LLHTTP_PATCH
#include <llhttp.h>
#undef HTTP_DELETE
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_OPTIONS
#undef HTTP_PATCH

#include "base/limits.h"
#include "base/mem.h"
#include "http/guard.h"

enum { OK = 0, BAD_REQUEST = 400, TOO_LARGE = 413, NOT_IMPLEMENTED = 501 };

struct http_parse {
    llhttp_t llhttp;
    llhttp_settings_t settings;
    struct http_request *request; /* while its head is parsed */
    struct buf *body;             /* while a part of it is parsed */
    int status;                   /* why a callback stopped llhttp */
    bool is_chunked;
    bool is_complete;
    bool is_trailer;
    uint64_t left; /* of a body with a Content-Length */
    struct http_guard_chunks chunks;
    struct http_header headers[LIMIT_HEADERS];
};

/* ------------------------------------------------------------------------------------- names */

static enum http_method classify_method(struct slice text) {
    static const struct {
        struct slice text;
        enum http_method method;
    } methods[] = {
        {{"GET", 3}, HTTP_GET},         {{"POST", 4}, HTTP_POST},     {{"HEAD", 4}, HTTP_HEAD},
        {{"OPTIONS", 7}, HTTP_OPTIONS}, {{"DELETE", 6}, HTTP_DELETE}, {{"PUT", 3}, HTTP_PUT},
        {{"PATCH", 5}, HTTP_PATCH},
    };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (slice_eq(text, methods[i].text)) {
            return methods[i].method;
        }
    }
    return HTTP_OTHER;
}

#define NAME(id, name) {name, sizeof(name) - 1},
static const struct slice known_names[HTTP_HEADER_COUNT] = {HTTP_HEADERS_MAP(NAME)};
#undef NAME

/* The only known header of this length, or the one of this length and first letter. */
static enum http_header_id candidate(struct slice name) {
    char first = (char)(name.at[0] | 0x20);
    switch (name.len) {
    case 4:
        return HTTP_HEADER_HOST;
    case 6:
        return first == 'c'   ? HTTP_HEADER_COOKIE
               : first == 'e' ? HTTP_HEADER_EXPECT
                              : HTTP_HEADER_ORIGIN;
    case 10:
        return HTTP_HEADER_CONNECTION;
    case 12:
        return first == 'c' ? HTTP_HEADER_CONTENT_TYPE : HTTP_HEADER_X_REQUEST_ID;
    case 13:
        return HTTP_HEADER_AUTHORIZATION;
    case 14:
        return HTTP_HEADER_CONTENT_LENGTH;
    case 15:
        return HTTP_HEADER_X_FORWARDED_FOR;
    case 17:
        return HTTP_HEADER_TRANSFER_ENCODING;
    case 29:
        return HTTP_HEADER_ACCESS_CONTROL_REQUEST_METHOD;
    default:
        return HTTP_HEADER_COUNT;
    }
}

/* `lower` has letters and hyphens only, `name` the bytes of a token: the bit 0x20 is all that case
 * changes. */
static bool is_name(struct slice name, struct slice lower) {
    unsigned char differs = 0;
    for (size_t i = 0; i < lower.len; i++) {
        differs |= (unsigned char)(((unsigned char)name.at[i] | 0x20) ^ (unsigned char)lower.at[i]);
    }
    return differs == 0;
}

static void note_known(struct http_request *request, const struct http_header *header) {
    enum http_header_id id = candidate(header->name);
    if (id == HTTP_HEADER_COUNT || !is_name(header->name, known_names[id])) {
        return;
    }
    if (request->known_count[id]++ == 0) {
        request->known[id] = header->value;
    }
}

/* ------------------------------------------------------------------------- what a head means */

static int check_host(struct http_request *request) {
    unsigned count = request->known_count[HTTP_HEADER_HOST];
    if (count == 0) {
        return request->minor == 0 ? OK : BAD_REQUEST;
    }
    return count == 1 && http_guard_is_host(http_header(request, HTTP_HEADER_HOST)) ? OK
                                                                                    : BAD_REQUEST;
}

/* Only "chunked" alone is known here; after another coding it is 501, before one it is nonsense. */
static int check_coding(struct slice value) {
    struct slice part;
    size_t count = 0;
    bool is_last_chunked = false;
    while (slice_split(&value, ',', &part)) {
        struct slice coding = slice_trim(part);
        if (is_last_chunked || !http_guard_is_token(coding)) {
            return BAD_REQUEST;
        }
        is_last_chunked = slice_ieq(coding, SLICE("chunked"));
        count++;
    }
    return is_last_chunked && count == 1 ? OK : NOT_IMPLEMENTED;
}

static int check_framing(struct http_request *request) {
    unsigned lengths = request->known_count[HTTP_HEADER_CONTENT_LENGTH];
    unsigned codings = request->known_count[HTTP_HEADER_TRANSFER_ENCODING];
    if (codings > 0) {
        if (codings > 1 || lengths > 0 || request->minor == 0) {
            return BAD_REQUEST;
        }
        request->is_chunked = true;
        request->has_body = true;
        return check_coding(http_header(request, HTTP_HEADER_TRANSFER_ENCODING));
    }
    if (lengths == 0) {
        return OK;
    }
    struct slice length = http_header(request, HTTP_HEADER_CONTENT_LENGTH);
    if (lengths > 1 || !slice_to_u64(length, INT64_MAX, &request->content_length)) {
        return BAD_REQUEST;
    }
    request->has_body = request->content_length > 0;
    return OK;
}

/* absolute-form: "http://host/path?query" becomes "/path?query", and its host the request's. */
static int reduce_absolute(struct http_request *request) {
    struct slice target = request->target;
    size_t scheme = slice_find(target, ':');
    struct slice name = slice_head(target, scheme);
    struct slice rest = slice_from(target, scheme);
    if ((!slice_ieq(name, SLICE("http")) && !slice_ieq(name, SLICE("https"))) ||
        !slice_starts(rest, SLICE("://"))) {
        return BAD_REQUEST;
    }
    rest = slice_from(rest, 3);
    size_t end = 0;
    while (end < rest.len && rest.at[end] != '/' && rest.at[end] != '?') {
        end++;
    }
    struct slice host = slice_head(rest, end);
    if (!http_guard_is_host(host)) {
        return BAD_REQUEST;
    }
    request->known[HTTP_HEADER_HOST] = host;
    rest = slice_from(rest, end);
    if (rest.len == 0) {
        request->target = request->method == HTTP_OPTIONS ? SLICE("*") : SLICE("/");
        return OK;
    }
    if (rest.at[0] == '/') {
        request->target = rest;
        return OK;
    }
    char *copy = arena_alloc(request->arena, rest.len + 1);
    if (copy == NULL) {
        return BAD_REQUEST;
    }
    copy[0] = '/';
    memcpy(copy + 1, rest.at, rest.len);
    request->target = slice_make(copy, rest.len + 1);
    return OK;
}

/* CONNECT's authority-form is no origin server's business: 400 as any other malformed target. */
static int check_target(struct http_request *request) {
    struct slice target = request->target;
    bool is_star = target.len == 1 && target.at[0] == '*';
    if (is_star && request->method != HTTP_OPTIONS) {
        return BAD_REQUEST;
    }
    if (!is_star && target.at[0] != '/') {
        int status = reduce_absolute(request);
        if (status != OK) {
            return status;
        }
    }
    size_t mark = slice_find(request->target, '?');
    request->path = slice_head(request->target, mark);
    request->query =
        mark < request->target.len ? slice_from(request->target, mark + 1) : SLICE_NULL;
    return OK;
}

static int check_head(struct http_request *request) {
    int status = check_host(request);
    if (status == OK) {
        status = check_framing(request);
    }
    if (status == OK) {
        status = check_target(request);
    }
    request->expects_continue =
        request->minor > 0 && request->has_body &&
        slice_ieq(http_header(request, HTTP_HEADER_EXPECT), SLICE("100-continue"));
    return status;
}

/* ------------------------------------------------------------------------- llhttp's callbacks */

static struct http_parse *of(llhttp_t *llhttp) {
    return llhttp->data;
}

/* A span may come in pieces that follow each other. */
static void extend(struct slice *span, const char *at, size_t n) {
    if (span->len > 0 && span->at + span->len == at) {
        span->len += n;
    } else {
        *span = slice_make(at, n);
    }
}

static int on_url(llhttp_t *llhttp, const char *at, size_t n) {
    extend(&of(llhttp)->request->target, at, n);
    return 0;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t n) {
    struct http_parse *parse = of(llhttp);
    if (parse->is_trailer) {
        return 0;
    }
    struct http_request *request = parse->request;
    /* The head lies in one piece, so a name comes in one: its colon follows. */
    if (request->header_count == LIMIT_HEADERS || at[n] != ':') {
        return -1;
    }
    parse->headers[request->header_count++] = (struct http_header){.name = slice_make(at, n)};
    return 0;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t n) {
    struct http_parse *parse = of(llhttp);
    if (parse->is_trailer) {
        return 0;
    }
    if (parse->request->header_count == 0) {
        return -1;
    }
    extend(&parse->headers[parse->request->header_count - 1].value, at, n);
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp) {
    struct http_parse *parse = of(llhttp);
    struct http_request *request = parse->request;
    request->minor = llhttp->http_minor;
    request->keeps_alive = llhttp_should_keep_alive(llhttp) != 0;
    for (size_t i = 0; i < request->header_count; i++) {
        struct http_header *header = &parse->headers[i];
        header->value = slice_trim(header->value);
        if (slice_is_null(header->value)) {
            header->value = SLICE("");
        }
        note_known(request, header);
    }
    parse->status = check_head(request);
    parse->is_trailer = true;
    llhttp->upgrade = 0; /* no protocol is changed here, whatever the client offers */
    return parse->status == OK ? 0 : -1;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t n) {
    struct http_parse *parse = of(llhttp);
    if (parse->body == NULL) {
        return 0;
    }
    buf_append(parse->body, slice_make(at, n));
    if (buf_ok(parse->body)) {
        return 0;
    }
    parse->status = TOO_LARGE;
    return -1;
}

static int on_message_complete(llhttp_t *llhttp) {
    of(llhttp)->is_complete = true;
    return 0;
}

/* ----------------------------------------------------------------------------------- parsing */

struct http_parse *http_parse_new(void) {
    struct http_parse *parse = mem_calloc(1, sizeof *parse);
    llhttp_settings_init(&parse->settings);
    parse->settings.on_url = on_url;
    parse->settings.on_header_field = on_header_field;
    parse->settings.on_header_value = on_header_value;
    parse->settings.on_headers_complete = on_headers_complete;
    parse->settings.on_body = on_body;
    parse->settings.on_message_complete = on_message_complete;
    return parse;
}

void http_parse_free(struct http_parse *parse) {
    mem_free(parse);
}

int http_parse_head(struct http_parse *parse, struct slice head, struct http_request *request) {
    llhttp_init(&parse->llhttp, HTTP_REQUEST, &parse->settings);
    parse->llhttp.data = parse;
    parse->request = request;
    parse->status = OK;
    parse->is_complete = false;
    parse->is_trailer = false;
    request->headers = parse->headers;
    request->method_text = slice_head(head, slice_find(head, ' '));
    request->method = classify_method(request->method_text);

    llhttp_errno_t error = llhttp_execute(&parse->llhttp, head.at, head.len);
    parse->request = NULL;
    if (parse->status != OK) {
        return parse->status;
    }
    if (error == HPE_INVALID_METHOD) {
        return NOT_IMPLEMENTED;
    }
    /* Both readings must agree on where the message ends. */
    if (error != HPE_OK || !parse->is_trailer || parse->is_complete == request->has_body) {
        return BAD_REQUEST;
    }
    parse->is_chunked = request->is_chunked;
    parse->left = request->content_length;
    parse->chunks = (struct http_guard_chunks){0};
    return OK;
}

/* How many of the bytes belong to the body, and whether they end it. */
static int measure_body(struct http_parse *parse, struct slice bytes, size_t *used, bool *done) {
    if (parse->is_chunked) {
        return http_guard_chunks(&parse->chunks, bytes, used, done);
    }
    *used = parse->left < bytes.len ? (size_t)parse->left : bytes.len;
    parse->left -= *used;
    *done = parse->left == 0;
    return OK;
}

int http_parse_body(struct http_parse *parse, struct slice bytes, struct buf *body, size_t *used,
                    bool *done) {
    *used = 0;
    *done = false;
    int status = measure_body(parse, bytes, used, done);
    if (status != OK) {
        return status;
    }
    parse->body = body;
    llhttp_errno_t error = llhttp_execute(&parse->llhttp, bytes.at, *used);
    parse->body = NULL;
    if (parse->status != OK) {
        return parse->status;
    }
    return error == HPE_OK && parse->is_complete == *done ? OK : BAD_REQUEST;
}

#define TEXT_OF(macro) #macro
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *http_parse_library_version(void) {
    return VERSION_TEXT(LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}
