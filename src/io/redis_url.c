// SPDX-License-Identifier: MIT
#include "io/redis_url.h"

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF(n) #n
#define TEXT(n) TEXT_OF(n)

enum { PORT_DEFAULT = 6379, PORT_MAX = 65535, DB_MAX = 1000000, PART_BYTES_MAX = 1024 };

static enum rc refuse(char problem[REDIS_URL_PROBLEM_BYTES], const char *sentence) {
    snprintf(problem, REDIS_URL_PROBLEM_BYTES, "%s", sentence);
    return RC_USAGE;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place of `out`, at most text.len bytes; no NUL may come of it. */
static bool decode(struct slice text, char *out, size_t *out_len) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int byte = (unsigned char)text.at[i];
        if (byte == '%') {
            int high = i + 2 < text.len ? hex(text.at[i + 1]) : -1;
            int low = i + 2 < text.len ? hex(text.at[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = high * 16 + low;
            i += 2;
        }
        if (byte < 0x20 || byte == 0x7F) {
            return false;
        }
        out[n++] = (char)byte;
    }
    *out_len = n;
    return true;
}

static bool decode_user(struct slice text, char **out) {
    char part[PART_BYTES_MAX];
    size_t len;
    if (text.len > sizeof part || !decode(text, part, &len)) {
        return false;
    }
    *out = len > 0 ? mem_strdup(slice_make(part, len)) : NULL;
    return true;
}

static bool decode_password(struct slice text, struct secret *out) {
    char part[PART_BYTES_MAX];
    size_t len;
    bool good = text.len <= sizeof part && decode(text, part, &len);
    if (good) {
        *out = secret_copy(slice_make(part, len));
    }
    mem_wipe(part, sizeof part);
    return good;
}

static enum rc read_userinfo(struct slice text, struct redis_url *out,
                             char problem[REDIS_URL_PROBLEM_BYTES]) {
    size_t colon = slice_find(text, ':');
    if (colon == text.len) {
        return refuse(problem, "before the @ there must be a password, with a colon before it: "
                               "redis://:password@host or redis://user:password@host");
    }
    if (!decode_user(slice_head(text, colon), &out->user) ||
        !decode_password(slice_from(text, colon + 1), &out->password)) {
        return refuse(problem, "the user or the password is too long or has a wrong "
                               "percent-encoding (a % itself is written %25)");
    }
    if (out->password.len == 0) {
        return refuse(problem, "the password is empty: leave out what stands before the host, or "
                               "write redis://user:password@host");
    }
    return RC_OK;
}

static bool is_host(struct slice host) {
    if (host.len == 0 || host.len > 253) {
        return false;
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '.' || c == '-' || c == '_')) {
            return false;
        }
    }
    return true;
}

static bool is_v6(struct slice host) {
    for (size_t i = 0; i < host.len; i++) {
        if (hex(host.at[i]) < 0 && host.at[i] != ':' && host.at[i] != '.') {
            return false;
        }
    }
    return host.len >= 2 && host.len < 46 && slice_find(host, ':') < host.len;
}

static enum rc read_server(struct slice text, struct redis_url *out,
                           char problem[REDIS_URL_PROBLEM_BYTES]) {
    struct slice host = slice_head(text, slice_find(text, ':'));
    struct slice rest = slice_from(text, host.len);
    bool good = is_host(host);
    if (text.len > 0 && text.at[0] == '[') {
        size_t end = slice_find(text, ']');
        host = slice_from(slice_head(text, end), 1);
        rest = slice_from(text, end + 1);
        good = end < text.len && is_v6(host);
    }
    if (!good) {
        return refuse(problem, "the host must be a name, an IPv4 address, or an IPv6 address in "
                               "brackets: redis://host:6379/0");
    }
    out->host = mem_strdup(host);
    out->port = PORT_DEFAULT;
    if (rest.len > 0) {
        uint64_t port = 0;
        if (rest.at[0] != ':' || !slice_to_u64(slice_from(rest, 1), PORT_MAX, &port) || port == 0) {
            return refuse(problem, "the port must be a number from 1 to 65535");
        }
        out->port = (int)port;
    }
    return RC_OK;
}

static enum rc read_all(struct slice text, struct redis_url *out,
                        char problem[REDIS_URL_PROBLEM_BYTES]) {
    if (slice_starts(text, SLICE("rediss://"))) {
        out->is_tls = true;
    } else if (!slice_starts(text, SLICE("redis://"))) {
        return refuse(problem, "it must begin with redis:// or rediss://");
    }
    text = slice_from(text, out->is_tls ? 9 : 8);
    /* A password may hold an @ that nobody encoded; a host can't. */
    size_t at = text.len;
    while (at > 0 && text.at[at - 1] != '@') {
        at--;
    }
    if (at > 0) {
        enum rc rc = read_userinfo(slice_head(text, at - 1), out, problem);
        if (rc != RC_OK) {
            return rc;
        }
    }
    text = slice_from(text, at);
    struct slice server = slice_head(text, slice_find(text, '/'));
    struct slice db = slice_from(text, server.len + 1);
    uint64_t number = 0;
    if (db.len > 0 && !slice_to_u64(db, DB_MAX, &number)) {
        return refuse(problem, "after the host there may only be the number of a database: "
                               "redis://host:6379/0");
    }
    out->db = (int)number;
    return read_server(server, out, problem);
}

enum rc redis_url_parse(struct slice text, struct redis_url *out,
                        char problem[REDIS_URL_PROBLEM_BYTES]) {
    *out = (struct redis_url){0};
    enum rc rc = read_all(text, out, problem);
    if (rc != RC_OK) {
        redis_url_fini(out);
    }
    return rc;
}

void redis_url_fini(struct redis_url *url) {
    mem_free(url->host);
    mem_free(url->user);
    secret_free(&url->password);
    *url = (struct redis_url){0};
}

bool redis_url_eq(const struct redis_url *a, const struct redis_url *b) {
    return a->is_tls == b->is_tls && a->port == b->port && a->db == b->db &&
           slice_ieq(slice_str(a->host), slice_str(b->host)) &&
           (a->user == NULL) == (b->user == NULL) &&
           slice_eq(slice_str(a->user), slice_str(b->user));
}

const char *redis_library_version(void) {
    return TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH);
}
