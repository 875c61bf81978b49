// SPDX-License-Identifier: MIT
#include "provider/audiobook.h"

#include "base/limits.h"

/* Integers up to here are the same in every JSON reader (RFC 8259 section 6). */
static const double EXACT_MAX = 9007199254740992.0;
enum { MS_PER_MINUTE = 60 * 1000 };

struct fields {
    struct jsonw *w;
    size_t defaults;
};

static void write_default(struct fields *fields, const char *name, struct slice preset) {
    jsonw_member(fields->w, name, preset);
    fields->defaults++;
}

/* Whole or not at all. */
static void write_whole(struct fields *fields, const char *name, const struct json *value,
                        size_t max, struct slice preset) {
    struct slice text;
    if (json_to_slice(value, &text) && text.len <= max) {
        jsonw_member(fields->w, name, text);
    } else {
        write_default(fields, name, preset);
    }
}

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xC0) == 0x80;
}

static void write_cut(struct fields *fields, const char *name, const struct json *value, size_t max,
                      struct slice preset) {
    struct slice text;
    if (!json_to_slice(value, &text)) {
        write_default(fields, name, preset);
        return;
    }
    if (text.len > max) {
        size_t n = max;
        while (n > 0 && is_continuation(text.at[n])) {
            n--;
        }
        text.len = n;
        fields->defaults++;
    }
    jsonw_member(fields->w, name, text);
}

static void write_minutes(struct fields *fields, const char *name, const struct json *value) {
    double ms;
    jsonw_name(fields->w, name);
    if (json_to_double(value, &ms) && ms >= 0 && ms <= EXACT_MAX) {
        jsonw_i64(fields->w, (int64_t)ms / MS_PER_MINUTE);
    } else {
        jsonw_i64(fields->w, 0);
        fields->defaults++;
    }
}

static void write_number(struct fields *fields, const char *name, const struct json *value) {
    double number;
    jsonw_name(fields->w, name);
    if (json_to_double(value, &number) && number >= -EXACT_MAX && number <= EXACT_MAX) {
        jsonw_double(fields->w, number);
    } else {
        jsonw_null(fields->w);
        fields->defaults++;
    }
}

size_t audiobook_write(struct jsonw *w, const struct provider_names *names, const struct json *book,
                       bool is_owned) {
    struct fields fields = {.w = w};
    const struct json *narrator =
        json_member(json_at(json_member(book, names->narrators), 0), names->narrator_name);
    const struct json *image = json_member(json_member(book, names->images), names->image_size);
    jsonw_open(w, '{');
    write_whole(&fields, "asin", json_member(book, names->asin), LIMIT_BOOK_ASIN_BYTES, SLICE(""));
    write_cut(&fields, "title", json_member(book, names->title), LIMIT_BOOK_TEXT_BYTES, SLICE(""));
    write_cut(&fields, "author", json_member(book, names->author), LIMIT_BOOK_TEXT_BYTES,
              SLICE(""));
    write_cut(&fields, "narrator", narrator, LIMIT_BOOK_TEXT_BYTES, SLICE_NULL);
    write_whole(&fields, "image", image, LIMIT_URI_BYTES, SLICE_NULL);
    write_cut(&fields, "description", json_member(book, names->description),
              LIMIT_BOOK_DESCRIPTION_BYTES, SLICE_NULL);
    write_minutes(&fields, "duration_minutes", json_member(book, names->duration_ms));
    write_number(&fields, "rating", json_member(book, names->rating));
    jsonw_name(w, "is_owned");
    jsonw_bool(w, is_owned);
    jsonw_member(w, "source", SLICE("audible"));
    jsonw_close(w, '}');
    return fields.defaults;
}
