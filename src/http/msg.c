// SPDX-License-Identifier: MIT
#include "http/msg.h"

#include "base/buf.h"

const char *http_reason(int status) {
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

/* ------------------------------------------------------------------------------------- query */

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Into `out`, which has room for text.len bytes. */
static size_t decode_form(char *out, struct slice text) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '%' && i + 2 < text.len && hex_value(text.at[i + 1]) >= 0 &&
            hex_value(text.at[i + 2]) >= 0) {
            c = (char)(hex_value(text.at[i + 1]) << 4 | hex_value(text.at[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    return n;
}

static size_t utf8_length(unsigned char lead) {
    return lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

static struct slice replace_bad_utf8(struct arena *arena, struct slice text) {
    static const struct slice replacement = {"\xEF\xBF\xBD", 3};
    struct buf out;
    buf_init_arena(&out, arena, text.len * replacement.len);
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_length((unsigned char)text.at[i]);
        bool good = n > 0 && n <= text.len - i && slice_is_utf8(slice_make(text.at + i, n));
        buf_append(&out, good ? slice_make(text.at + i, n) : replacement);
        i += good ? n : 1;
    }
    return buf_ok(&out) ? buf_slice(&out) : SLICE_NULL;
}

/* Null past the arena's cap. */
static struct slice decode(struct arena *arena, struct slice text) {
    if (text.len == 0) {
        return SLICE("");
    }
    char *out = arena_alloc(arena, text.len);
    if (out == NULL) {
        return SLICE_NULL;
    }
    struct slice decoded = slice_make(out, decode_form(out, text));
    return slice_is_utf8(decoded) ? decoded : replace_bad_utf8(arena, decoded);
}

static bool has_name(struct slice text, struct slice name) {
    char decoded[64];
    if (memchr(text.at, '%', text.len) == NULL) {
        return slice_eq(text, name);
    }
    return text.len <= sizeof decoded &&
           slice_eq(slice_make(decoded, decode_form(decoded, text)), name);
}

struct slice http_query(const struct http_request *request, const char *name, size_t *count) {
    struct slice wanted = slice_str(name);
    struct slice rest = request->query;
    struct slice found = SLICE_NULL;
    struct slice part;
    size_t n = 0;
    while (slice_split(&rest, '&', &part)) {
        size_t equals = slice_find(part, '=');
        if (part.len == 0 || !has_name(slice_head(part, equals), wanted)) {
            continue;
        }
        if (n++ == 0) {
            found = decode(request->arena, slice_from(part, equals + 1));
        }
    }
    if (count != NULL) {
        *count = n;
    }
    return found;
}

/* ----------------------------------------------------------------------------------- cookies */

static struct slice find_cookie(struct slice header, struct slice name) {
    struct slice part;
    while (slice_split(&header, ';', &part)) {
        size_t equals = slice_find(part, '=');
        if (equals < part.len && slice_eq(slice_trim(slice_head(part, equals)), name)) {
            return slice_trim(slice_from(part, equals + 1));
        }
    }
    return SLICE_NULL;
}

struct slice http_cookie(const struct http_request *request, struct slice name) {
    if (request->known_count[HTTP_HEADER_COOKIE] <= 1) {
        return find_cookie(request->known[HTTP_HEADER_COOKIE], name);
    }
    struct slice found = SLICE_NULL;
    for (size_t i = 0; i < request->header_count && slice_is_null(found); i++) {
        if (slice_ieq(request->headers[i].name, SLICE("cookie"))) {
            found = find_cookie(request->headers[i].value, name);
        }
    }
    return found;
}
