// SPDX-License-Identifier: MIT
#include "base/jsonw.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"

static void separate(struct jsonw *w) {
    if (w->comma) {
        buf_append_char(w->out, ',');
    }
    w->comma = true;
}

void jsonw_open(struct jsonw *w, char bracket) {
    separate(w);
    buf_append_char(w->out, bracket);
    w->comma = false;
}

void jsonw_close(struct jsonw *w, char bracket) {
    buf_append_char(w->out, bracket);
    w->comma = true;
}

void jsonw_name(struct jsonw *w, const char *name) {
    separate(w);
    buf_append_char(w->out, '"');
    buf_append(w->out, slice_str(name));
    BUF_LIT(w->out, "\":");
    w->comma = false;
}

static bool is_plain(unsigned char c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static void escape_control(struct buf *out, unsigned char c) {
    char text[8];
    switch (c) {
    case '"':
        BUF_LIT(out, "\\\"");
        break;
    case '\\':
        BUF_LIT(out, "\\\\");
        break;
    case '\n':
        BUF_LIT(out, "\\n");
        break;
    case '\r':
        BUF_LIT(out, "\\r");
        break;
    case '\t':
        BUF_LIT(out, "\\t");
        break;
    default:
        snprintf(text, sizeof text, "\\u%04x", c);
        buf_append(out, slice_str(text));
    }
}

/* The longest well-formed sequence at the start of `s` is 1 to 4 bytes; 0 where there is none. */
static size_t sequence(struct slice s) {
    for (size_t n = 2; n <= 4 && n <= s.len; n++) {
        if (slice_is_utf8(slice_head(s, n))) {
            return n;
        }
    }
    return 0;
}

void jsonw_slice(struct jsonw *w, struct slice text) {
    if (slice_is_null(text)) {
        jsonw_null(w);
        return;
    }
    separate(w);
    buf_append_char(w->out, '"');
    size_t i = 0;
    while (i < text.len) {
        size_t plain = i;
        while (plain < text.len && is_plain((unsigned char)text.at[plain])) {
            plain++;
        }
        buf_append(w->out, slice_make(text.at + i, plain - i));
        i = plain;
        if (i == text.len) {
            break;
        }
        unsigned char c = (unsigned char)text.at[i];
        if (c <= 0x7F) {
            escape_control(w->out, c);
            i++;
            continue;
        }
        size_t n = sequence(slice_from(text, i));
        buf_append(w->out, n > 0 ? slice_make(text.at + i, n) : SLICE("\xEF\xBF\xBD"));
        i += n > 0 ? n : 1;
    }
    buf_append_char(w->out, '"');
}

void jsonw_i64(struct jsonw *w, int64_t value) {
    separate(w);
    buf_append_i64(w->out, value);
}

void jsonw_double(struct jsonw *w, double value) {
    char text[32];
    if (!isfinite(value)) {
        jsonw_null(w);
        return;
    }
    separate(w);
    snprintf(text, sizeof text, "%.15g", value);
    buf_append(w->out, slice_str(text));
}

void jsonw_bool(struct jsonw *w, bool value) {
    separate(w);
    buf_append(w->out, value ? SLICE("true") : SLICE("false"));
}

void jsonw_null(struct jsonw *w) {
    separate(w);
    BUF_LIT(w->out, "null");
}

void jsonw_time(struct jsonw *w, int64_t wall_ms) {
    char text[CLOCK_TEXT_BYTES];
    if (wall_ms == 0) {
        jsonw_null(w);
        return;
    }
    clock_text(wall_ms, text);
    jsonw_slice(w, slice_str(text));
}

void jsonw_member(struct jsonw *w, const char *name, struct slice text) {
    jsonw_name(w, name);
    jsonw_slice(w, text);
}
