// SPDX-License-Identifier: MIT
#include "provider/sim_page.h"

#include "provider/sim_endpoints.h"

static const struct sim_page_file *find(struct slice name) {
    for (size_t i = 0; i < sim_page_file_count; i++) {
        if (slice_eq(name, slice_str(sim_page_files[i].name))) {
            return &sim_page_files[i];
        }
    }
    return NULL;
}

static bool ends(struct slice text, struct slice end) {
    return text.len >= end.len && slice_eq(slice_from(text, text.len - end.len), end);
}

static const char *type_of(struct slice name) {
    static const struct {
        struct slice end;
        const char *type;
    } types[] = {
        {{".html", 5}, "text/html; charset=utf-8"},
        {{".css", 4}, "text/css; charset=utf-8"},
        {{".js", 3}, "text/javascript; charset=utf-8"},
        {{".svg", 4}, "image/svg+xml"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (ends(name, types[i].end)) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

void sim_page_escape(struct buf *out, struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        switch (text.at[i]) {
        case '&':
            BUF_LIT(out, "&amp;");
            break;
        case '<':
            BUF_LIT(out, "&lt;");
            break;
        case '>':
            BUF_LIT(out, "&gt;");
            break;
        case '"':
            BUF_LIT(out, "&quot;");
            break;
        case '\'':
            BUF_LIT(out, "&#39;");
            break;
        default:
            buf_append_char(out, text.at[i]);
        }
    }
}

static void append_field(struct buf *out, struct slice name, const struct sim_page_field *fields,
                         size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!slice_eq(name, slice_str(fields[i].name))) {
            continue;
        }
        if (fields[i].is_html) {
            buf_append(out, fields[i].value);
        } else {
            sim_page_escape(out, fields[i].value);
        }
    }
}

void sim_page_render(struct sim_answer *answer, const char *name,
                     const struct sim_page_field *fields, size_t count) {
    const struct sim_page_file *file = find(slice_str(name));
    struct slice rest = slice_make(file->bytes, file->n);
    answer->status = 200;
    answer->content_type = "text/html; charset=utf-8";
    while (rest.len > 0) {
        size_t open = slice_find(rest, '{');
        buf_append(&answer->body, slice_head(rest, open));
        rest = slice_from(rest, open);
        if (!slice_starts(rest, SLICE("{{"))) {
            buf_append(&answer->body, slice_head(rest, 1));
            rest = slice_from(rest, 1);
            continue;
        }
        rest = slice_from(rest, 2);
        size_t close = slice_find(rest, '}');
        append_field(&answer->body, slice_head(rest, close), fields, count);
        rest = slice_from(rest, close + 2);
    }
}

static void redirect_home(struct sim_call *call) {
    call->answer->status = 307;
    BUF_LIT(&call->answer->headers, "Location: ");
    buf_append(&call->answer->headers, slice_str(call->sim->url));
    BUF_LIT(&call->answer->headers, "/\r\n");
}

void sim_page(struct sim_call *call) {
    struct slice prefix = SLICE("/page/");
    bool is_home = call->path.len == 1;
    struct slice name = is_home ? SLICE("index.html") : slice_from(call->path, prefix.len);
    const struct sim_page_file *file = find(name);
    if (file == NULL || (!is_home && ends(name, SLICE(".html")))) {
        sim_answer_error(call->answer, 404, "not_found");
        return;
    }
    /* Cookies and the list of allowed origins know the address by one name only. */
    if (is_home && slice_starts(call->host, SLICE("localhost:"))) {
        redirect_home(call);
        return;
    }
    call->answer->status = 200;
    call->answer->content_type = type_of(name);
    buf_append(&call->answer->body, slice_make(file->bytes, file->n));
    if (is_home) {
        buf_append(&call->answer->csp, buf_slice(&call->sim->page_csp));
    }
}
