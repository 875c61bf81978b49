// SPDX-License-Identifier: MIT
#include "io/upstream_copy.h"

#include <string.h>

#include "base/mem.h"

/* libcurl would ask for "100 Continue" before a large body, and wait a second for servers that do
 * not know it. */
static const struct upstream_header expect_nothing = {"Expect", {NULL, 0}};

static bool is_token(const char *name) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    const char *at = name;
    while ((*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') ||
           (*at != '\0' && strchr(others, *at) != NULL)) {
        at++;
    }
    return at > name && *at == '\0';
}

static bool is_one_line(struct slice value) {
    return slice_find(value, '\r') == value.len && slice_find(value, '\n') == value.len &&
           slice_find(value, '\0') == value.len;
}

static bool is_url(struct slice url) {
    struct slice scheme = slice_head(url, slice_find(url, ':'));
    return slice_is_printable(url) && slice_find(url, ' ') == url.len &&
           (slice_ieq(scheme, SLICE("http")) || slice_ieq(scheme, SLICE("https")));
}

static bool is_sound(const struct upstream_request *request) {
    bool sound = is_url(request->url) && is_token(request->method);
    for (size_t i = 0; sound && i < request->header_count; i++) {
        sound = is_token(request->headers[i].name) && is_one_line(request->headers[i].value);
    }
    return sound;
}

/* Room for "name: value" or "name;" with its NUL. */
static size_t header_bytes(const struct upstream_header *header) {
    return strlen(header->name) + 2 + header->value.len + 1;
}

static size_t copy_bytes(const struct upstream_request *request) {
    size_t bytes = (request->header_count + 1) * sizeof(struct curl_slist);
    bytes += strlen(request->method) + 1 + request->url.len + 1 + request->body.len;
    bytes += header_bytes(&expect_nothing);
    for (size_t i = 0; i < request->header_count; i++) {
        bytes += header_bytes(&request->headers[i]);
    }
    return bytes;
}

/* Both return where what was added begins. */
static char *add_bytes(char **end, struct slice bytes) {
    char *start = *end;
    if (bytes.len > 0) {
        memcpy(start, bytes.at, bytes.len);
    }
    *end += bytes.len;
    return start;
}

static char *add_text(char **end, struct slice text) {
    char *start = add_bytes(end, text);
    *(*end)++ = '\0';
    return start;
}

/* libcurl takes "name:" for "do not send it" and "name;" for "send it empty". */
static char *add_header(char **end, const struct upstream_header *header) {
    char *start = add_bytes(end, slice_str(header->name));
    if (slice_is_null(header->value)) {
        add_text(end, SLICE(":"));
    } else if (slice_trim(header->value).len == 0) {
        add_text(end, SLICE(";"));
    } else {
        add_bytes(end, SLICE(": "));
        add_text(end, header->value);
    }
    return start;
}

enum rc upstream_copy_make(struct upstream_copy *copy, const struct upstream_request *request) {
    *copy = (struct upstream_copy){0};
    if (!is_sound(request)) {
        return RC_MALFORMED;
    }
    size_t lines = request->header_count + 1;
    copy->bytes = copy_bytes(request);
    copy->at = mem_alloc(copy->bytes);
    copy->headers = (struct curl_slist *)(void *)copy->at;
    char *end = copy->at + lines * sizeof(struct curl_slist);
    for (size_t i = 0; i < lines; i++) {
        copy->headers[i].data =
            add_header(&end, i == 0 ? &expect_nothing : &request->headers[i - 1]);
        copy->headers[i].next = i + 1 < lines ? &copy->headers[i + 1] : NULL;
    }
    copy->method = add_text(&end, slice_str(request->method));
    copy->url = add_text(&end, request->url);
    if (!slice_is_null(request->body)) {
        copy->body = slice_make(end, request->body.len);
        add_bytes(&end, request->body);
    }
    return RC_OK;
}

void upstream_copy_wipe(struct upstream_copy *copy) {
    if (copy->at != NULL) {
        mem_wipe(copy->at, copy->bytes);
        mem_free(copy->at);
    }
    *copy = (struct upstream_copy){0};
}
