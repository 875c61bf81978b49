// SPDX-License-Identifier: MIT
#include "http/guard.h"

#include "base/limits.h"

enum { OK = 0, BAD_REQUEST = 400, TARGET_TOO_LONG = 414, HEAD_TOO_LARGE = 431, VERSION = 505 };

/* What a byte may be part of. */
enum { TOKEN = 1, HEX = 2, HOST = 4 };

#define T TOKEN
#define D (TOKEN | HEX | HOST) /* digits */
#define X (TOKEN | HEX | HOST) /* A-F */
#define L (TOKEN | HOST)       /* other letters, and what names and hosts share */
#define H HOST
static const unsigned char kinds[256] = {
    ['!'] = L, ['#'] = T, ['$'] = L, ['%'] = L, ['&'] = L, ['\''] = L, ['('] = H, [')'] = H,
    ['*'] = L, ['+'] = L, ['-'] = L, ['.'] = L, [';'] = H, ['='] = H,  ['^'] = T, ['_'] = L,
    ['`'] = T, ['|'] = T, ['~'] = L, ['0'] = D, ['1'] = D, ['2'] = D,  ['3'] = D, ['4'] = D,
    ['5'] = D, ['6'] = D, ['7'] = D, ['8'] = D, ['9'] = D, ['A'] = X,  ['B'] = X, ['C'] = X,
    ['D'] = X, ['E'] = X, ['F'] = X, ['G'] = L, ['H'] = L, ['I'] = L,  ['J'] = L, ['K'] = L,
    ['L'] = L, ['M'] = L, ['N'] = L, ['O'] = L, ['P'] = L, ['Q'] = L,  ['R'] = L, ['S'] = L,
    ['T'] = L, ['U'] = L, ['V'] = L, ['W'] = L, ['X'] = L, ['Y'] = L,  ['Z'] = L, ['a'] = X,
    ['b'] = X, ['c'] = X, ['d'] = X, ['e'] = X, ['f'] = X, ['g'] = L,  ['h'] = L, ['i'] = L,
    ['j'] = L, ['k'] = L, ['l'] = L, ['m'] = L, ['n'] = L, ['o'] = L,  ['p'] = L, ['q'] = L,
    ['r'] = L, ['s'] = L, ['t'] = L, ['u'] = L, ['v'] = L, ['w'] = L,  ['x'] = L, ['y'] = L,
    ['z'] = L,
};
#undef T
#undef D
#undef X
#undef L
#undef H

static bool is(char c, unsigned char kind) {
    return (kinds[(unsigned char)c] & kind) != 0;
}

static size_t span(struct slice text, unsigned char kind) {
    size_t n = 0;
    while (n < text.len && is(text.at[n], kind)) {
        n++;
    }
    return n;
}

bool http_guard_is_token(struct slice text) {
    return text.len > 0 && span(text, TOKEN) == text.len;
}

/* ------------------------------------------------------------------------------------- heads */

/* Sixteen bytes at a time: tokens and URLs of kilobytes pass here with every request. */
typedef unsigned char block __attribute__((vector_size(16)));

/* field-value: no control byte but the tab; bytes above 0x7F are let through (obs-text). */
static inline block bad_in_value(block bytes) {
    return (block)(((bytes < 0x20) & (bytes != '\t')) | (bytes == 0x7F));
}

/* request-target: visible ASCII; a fragment is never sent. */
static inline block bad_in_target(block bytes) {
    return (block)((bytes < 0x21) | (bytes >= 0x7F) | (bytes == '#'));
}

static inline bool has_none(struct slice text, block (*bad)(block bytes)) {
    block found = {0};
    block bytes;
    size_t i = 0;
    for (; i + sizeof bytes <= text.len; i += sizeof bytes) {
        memcpy(&bytes, text.at + i, sizeof bytes);
        found |= bad(bytes);
    }
    if (i < text.len) {
        memset(&bytes, 'x', sizeof bytes);
        memcpy(&bytes, text.at + i, text.len - i);
        found |= bad(bytes);
    }
    uint64_t halves[2];
    memcpy(halves, &found, sizeof halves);
    return (halves[0] | halves[1]) == 0;
}

static bool is_value_byte(unsigned char c) {
    return (c >= 0x20 && c != 0x7F) || c == '\t';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int check_version(struct slice text) {
    if (text.len != 8 || memcmp(text.at, "HTTP/", 5) != 0 || !is_digit(text.at[5]) ||
        text.at[6] != '.' || !is_digit(text.at[7])) {
        return BAD_REQUEST;
    }
    return text.at[5] == '1' && text.at[7] <= '1' ? OK : VERSION;
}

static int check_request_line(struct slice line) {
    size_t method = span(slice_head(line, LIMIT_METHOD_BYTES + 1), TOKEN);
    if (method == 0 || method > LIMIT_METHOD_BYTES || method == line.len ||
        line.at[method] != ' ') {
        return BAD_REQUEST;
    }
    struct slice rest = slice_from(line, method + 1);
    size_t end = slice_find(rest, ' ');
    if (end > LIMIT_TARGET_BYTES) {
        return TARGET_TOO_LONG;
    }
    if (end == rest.len || end == 0 || !has_none(slice_head(rest, end), bad_in_target)) {
        return BAD_REQUEST;
    }
    return check_version(slice_from(rest, end + 1));
}

static int check_field(struct slice line) {
    size_t name = span(line, TOKEN);
    if (name == 0 || name == line.len || line.at[name] != ':') {
        return BAD_REQUEST;
    }
    return has_none(slice_from(line, name + 1), bad_in_value) ? OK : BAD_REQUEST;
}

/* The line that is not complete: what can't become a request is told at once, not at the deadline,
 * and no line grows without end. */
static int check_rest(const struct http_guard_head *guard, struct slice bytes) {
    if (guard->lines > 0) {
        return bytes.len < LIMIT_HEAD_BYTES ? OK : HEAD_TOO_LARGE;
    }
    size_t method = span(slice_head(bytes, LIMIT_METHOD_BYTES + 1), TOKEN);
    if (method > LIMIT_METHOD_BYTES || (method < bytes.len && bytes.at[method] != ' ') ||
        (method == 0 && bytes.len > 0)) {
        return BAD_REQUEST;
    }
    size_t rest = sizeof " HTTP/1.1\r" - 1;
    return bytes.len <= method + 1 + LIMIT_TARGET_BYTES + rest ? OK : TARGET_TOO_LONG;
}

int http_guard_head(struct http_guard_head *guard, struct slice bytes, size_t *length) {
    *length = 0;
    for (;;) {
        const char *feed = memchr(bytes.at + guard->seen, '\n', bytes.len - guard->seen);
        if (feed == NULL) {
            guard->seen = bytes.len;
            return check_rest(guard, bytes);
        }
        size_t end = (size_t)(feed - bytes.at);
        if (end == guard->line || bytes.at[end - 1] != '\r') {
            return BAD_REQUEST;
        }
        struct slice line = slice_make(bytes.at + guard->line, end - 1 - guard->line);
        guard->line = end + 1;
        guard->seen = end + 1;
        if (guard->lines > 0 && guard->line > LIMIT_HEAD_BYTES) {
            return HEAD_TOO_LARGE;
        }
        if (line.len == 0) {
            *length = guard->line;
            return guard->lines > 0 ? OK : BAD_REQUEST;
        }
        int status = guard->lines == 0 ? check_request_line(line) : check_field(line);
        if (status != OK) {
            return status;
        }
        if (guard->lines++ > LIMIT_HEADERS) { /* the first is the request line */
            return HEAD_TOO_LARGE;
        }
    }
}

bool http_guard_is_host(struct slice text) {
    size_t n;
    if (text.len > 0 && text.at[0] == '[') {
        n = 1;
        while (n < text.len && (is(text.at[n], HEX) || text.at[n] == ':' || text.at[n] == '.')) {
            n++;
        }
        if (n < 3 || n == text.len || text.at[n] != ']') {
            return false;
        }
        n++;
    } else {
        n = span(text, HOST);
        if (n == 0) {
            return false;
        }
    }
    struct slice port = slice_from(text, n);
    if (port.len == 0) {
        return true;
    }
    uint64_t number;
    return port.at[0] == ':' &&
           (port.len == 1 || slice_to_u64(slice_from(port, 1), UINT16_MAX, &number));
}

/* ------------------------------------------------------------------------------------ chunks */

/* The states in the order of the grammar of RFC 9112 section 7.1. */
enum chunk_state {
    SIZE_START,
    SIZE,
    EXT_NAME_START,
    EXT_NAME,
    EXT_VALUE_START,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_QUOTED_PAIR,
    EXT_QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
    WRONG
};

static enum chunk_state after_size(char c) {
    return c == ';' ? EXT_NAME_START : c == '\r' ? SIZE_LF : WRONG;
}

static enum chunk_state size_digit(struct http_guard_chunks *guard, char c) {
    enum { DIGITS_MAX = 15 };
    unsigned digit = is_digit(c) ? (unsigned)(c - '0') : ((unsigned)c | 0x20) - 'a' + 10;
    guard->left = guard->left << 4 | digit;
    return ++guard->digits > DIGITS_MAX ? WRONG : SIZE;
}

static enum chunk_state extension(enum chunk_state state, char c) {
    switch (state) {
    case EXT_NAME_START:
        return is(c, TOKEN) ? EXT_NAME : WRONG;
    case EXT_NAME:
        return is(c, TOKEN) ? EXT_NAME : c == '=' ? EXT_VALUE_START : after_size(c);
    case EXT_VALUE_START:
        return is(c, TOKEN) ? EXT_VALUE : c == '"' ? EXT_QUOTED : WRONG;
    case EXT_VALUE:
        return is(c, TOKEN) ? EXT_VALUE : after_size(c);
    case EXT_QUOTED:
        return c == '"'                          ? EXT_QUOTED_END
               : c == '\\'                       ? EXT_QUOTED_PAIR
               : is_value_byte((unsigned char)c) ? EXT_QUOTED
                                                 : WRONG;
    case EXT_QUOTED_PAIR:
        return is_value_byte((unsigned char)c) ? EXT_QUOTED : WRONG;
    default: /* EXT_QUOTED_END */
        return after_size(c);
    }
}

static enum chunk_state trailer(enum chunk_state state, char c) {
    switch (state) {
    case TRAILER_START:
        return is(c, TOKEN) ? TRAILER_NAME : c == '\r' ? END_LF : WRONG;
    case TRAILER_NAME:
        return is(c, TOKEN) ? TRAILER_NAME : c == ':' ? TRAILER_VALUE : WRONG;
    default: /* TRAILER_VALUE */
        return c == '\r' ? TRAILER_LF : is_value_byte((unsigned char)c) ? TRAILER_VALUE : WRONG;
    }
}

static enum chunk_state next_state(struct http_guard_chunks *guard, char c) {
    enum chunk_state state = (enum chunk_state)guard->state;
    switch (state) {
    case SIZE_START:
        guard->left = 0;
        guard->digits = 0;
        return is(c, HEX) ? size_digit(guard, c) : WRONG;
    case SIZE:
        return is(c, HEX) ? size_digit(guard, c) : after_size(c);
    case SIZE_LF:
        return c != '\n' ? WRONG : guard->left > 0 ? DATA : TRAILER_START;
    case DATA_CR:
        return c == '\r' ? DATA_LF : WRONG;
    case DATA_LF:
        return c == '\n' ? SIZE_START : WRONG;
    case TRAILER_LF:
        return c == '\n' ? TRAILER_START : WRONG;
    case END_LF:
        return c == '\n' ? END : WRONG;
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        guard->extra++;
        return trailer(state, c);
    default:
        guard->extra++;
        return extension(state, c);
    }
}

int http_guard_chunks(struct http_guard_chunks *guard, struct slice bytes, size_t *used,
                      bool *done) {
    size_t i = 0;
    while (i < bytes.len && guard->state != END) {
        if (guard->state == DATA) {
            size_t n = guard->left < bytes.len - i ? (size_t)guard->left : bytes.len - i;
            i += n;
            guard->left -= n;
            guard->state = guard->left > 0 ? DATA : DATA_CR;
            continue;
        }
        guard->state = (uint8_t)next_state(guard, bytes.at[i++]);
        if (guard->state == WRONG || guard->extra > LIMIT_CHUNK_EXTRA_BYTES) {
            guard->state = WRONG;
            return BAD_REQUEST;
        }
    }
    *used = i;
    *done = guard->state == END;
    return OK;
}
