// SPDX-License-Identifier: MIT
/* What stands in targets, headers and settings: queries, cookies, paths, addresses, URLs.
 *   q<name>\n<query>   a parameter's value is UTF-8 and no longer than it can get
 *   f<name>\n<value>   written as a form, a name and its value are read back
 *   c<name>\n<header>  a cookie's value lies in the header and is one value
 *   r<method><path>    a route fits or doesn't; its segment is one
 *   a<text>            addresses and blocks: written, they are read as the same
 *   u<text>            URLs, as libcurl reads them
 *   d<text>            URLs of a Redis: written, they are read as the same */
#include "api/routes.h"
#include "base/address.h"
#include "base/limits.h"
#include "fuzz/fuzz.h"
#include "http/msg.h"
#include "io/redis_url.h"
#include "io/upstream_url.h"

enum { NAME_MAX_BYTES = 60, FORM_MAX = 1 << 20 };

/* NUL-terminated; empty for what no caller would ask for. */
static void copy_name(char out[NAME_MAX_BYTES + 1], struct slice name) {
    size_t n = name.len <= NAME_MAX_BYTES && memchr(name.at, 0, name.len) == NULL ? name.len : 0;
    memcpy(out, n > 0 ? name.at : "", n);
    out[n] = '\0';
}

static size_t count_of(struct slice text, char c) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += text.at[i] == c;
    }
    return n;
}

static void check_query(struct slice rest) {
    char name[NAME_MAX_BYTES + 1];
    struct arena arena;
    copy_name(name, fuzz_line(&rest));
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    const struct http_request request = {.query = rest, .arena = &arena};
    size_t count = 99;
    struct slice value = http_query(&request, name, &count);
    FUZZ_CHECK(count <= count_of(rest, '&') + 1);
    FUZZ_CHECK(count > 0 || slice_is_null(value));
    FUZZ_CHECK(slice_is_utf8(value));
    FUZZ_CHECK(value.len <= 3 * rest.len);
    arena_fini(&arena);
}

/* With other parameters around it, so that it could be cut at the wrong place. */
static void check_form(struct slice value) {
    char name[NAME_MAX_BYTES + 1];
    struct arena arena;
    struct buf query;
    copy_name(name, fuzz_line(&value));
    if (name[0] == '\0' || strchr(name, ' ') != NULL || strchr(name, '+') != NULL) {
        return; /* blanks in names are not looked for */
    }
    arena_init(&arena, 8 * (size_t)LIMIT_REQUEST_ARENA_BYTES);
    buf_init(&query, FORM_MAX);
    buf_append_form(&query, slice_str(name));
    bool fits = query.len <= NAME_MAX_BYTES;
    buf_append_char(&query, '=');
    buf_append_form(&query, value);
    for (size_t i = 0; i < query.len; i++) {
        FUZZ_CHECK(query.at[i] > ' ' && query.at[i] < 0x7F && query.at[i] != '&');
    }
    BUF_LIT(&query, "&=&");
    buf_append_form(&query, slice_str(name));
    const struct http_request request = {.query = buf_slice(&query), .arena = &arena};
    size_t count = 0;
    struct slice again = http_query(&request, name, &count);
    FUZZ_CHECK(!fits || count == 2);
    FUZZ_CHECK(!fits || !slice_is_utf8(value) || slice_eq(again, value));
    FUZZ_CHECK(slice_is_utf8(again));
    buf_fini(&query);
    arena_fini(&arena);
}

static void check_cookie(struct slice header) {
    struct slice name = slice_trim(fuzz_line(&header));
    const struct http_header headers[] = {{SLICE("Host"), header},
                                          {SLICE("Cookie"), header},
                                          {SLICE("cookie"), SLICE("last=1; a=2")}};
    struct http_request request = {.headers = headers};
    request.known[HTTP_HEADER_COOKIE] = header;
    request.known_count[HTTP_HEADER_COOKIE] = 1;
    struct slice value = http_cookie(&request, name);
    FUZZ_CHECK(fuzz_lies_in(value, header));
    FUZZ_CHECK(slice_find(value, ';') == value.len);
    FUZZ_CHECK(slice_eq(slice_trim(value), value));
    /* In two lines the first one that has it counts. */
    request.header_count = sizeof headers / sizeof headers[0];
    request.known_count[HTTP_HEADER_COOKIE] = 2;
    struct slice of_both = http_cookie(&request, name);
    FUZZ_CHECK(slice_is_null(value) || slice_eq(of_both, value));
    FUZZ_CHECK(!slice_is_null(http_cookie(&request, SLICE("last"))));
}

/* The pattern with the segment in the place of its "{name}" is the path. */
static void check_path(struct slice pattern, struct slice path, struct slice segment) {
    size_t open = slice_find(pattern, '{');
    struct slice after = slice_from(pattern, slice_find(pattern, '}') + 1);
    FUZZ_CHECK(slice_eq(slice_head(path, open), slice_head(pattern, open)));
    FUZZ_CHECK(slice_eq(slice_make(path.at + open, segment.len), segment));
    FUZZ_CHECK(slice_eq(slice_from(path, open + segment.len), after));
}

static void check_route(struct slice rest) {
    struct slice *paths = routes_paths(SLICE("/api/v1"));
    enum http_method method = rest.len > 0 ? (enum http_method)(rest.at[0] & 7) : HTTP_GET;
    struct slice path = slice_from(rest, 1);
    struct route_match match = routes_find(paths, method, path);
    FUZZ_CHECK((match.rc == RC_OK) == (match.route != NULL));
    FUZZ_CHECK(match.rc == RC_OK || match.rc == RC_ROUTE_UNKNOWN || match.rc == RC_METHOD_UNKNOWN);
    FUZZ_CHECK(fuzz_lies_in(match.segment, path));
    FUZZ_CHECK(slice_find(match.segment, '/') == match.segment.len);
    if (match.rc == RC_OK) {
        FUZZ_CHECK(match.route == &routes[match.index]);
        FUZZ_CHECK(match.route->method == method || method == HTTP_HEAD);
        bool is_pattern = strchr(match.route->path, '{') != NULL;
        FUZZ_CHECK(is_pattern == !slice_is_null(match.segment));
        check_path(paths[match.index], path, match.segment);
    }
    if (match.rc != RC_ROUTE_UNKNOWN) {
        char at[64];
        struct buf methods;
        buf_init_fixed(&methods, at, sizeof at);
        routes_write_methods(paths, match.index, &methods);
        FUZZ_CHECK(buf_ok(&methods) && fuzz_holds(buf_slice(&methods), SLICE("OPTIONS")));
    }
    routes_free_paths(paths);
}

static void check_ip(const struct address *address) {
    char text[ADDRESS_TEXT_BYTES];
    struct address again;
    struct address_block block;
    char problem[ADDRESS_PROBLEM_BYTES];
    address_write_ip(address, text);
    FUZZ_CHECK(address_parse_ip(slice_str(text), &again));
    FUZZ_CHECK(again.kind == address->kind && again.port == 0);
    FUZZ_CHECK(address_is_local(&again) == address_is_local(address));
    FUZZ_CHECK(memcmp(again.bytes, address->bytes, sizeof again.bytes) == 0);
    FUZZ_CHECK(address_parse_block(slice_str(text), &block, problem));
    FUZZ_CHECK(address_block_holds(&block, address));
}

static void check_address(struct slice text) {
    struct address address;
    struct address_block block;
    char problem[ADDRESS_PROBLEM_BYTES];
    if (address_parse_ip(text, &address)) {
        check_ip(&address);
    }
    memset(problem, 'x', sizeof problem);
    if (!address_parse(text, &address, problem)) {
        FUZZ_CHECK(memchr(problem, '\0', sizeof problem) != NULL && problem[0] != '\0');
    } else if (address.kind == ADDRESS_UNIX) {
        FUZZ_CHECK(fuzz_lies_in(address.path, text) && address.path.at[0] == '/');
        FUZZ_CHECK(address.path.len <= ADDRESS_UNIX_PATH_MAX && address_is_local(&address));
    } else {
        struct address bare;
        FUZZ_CHECK(address_parse_ip(text, &bare)); /* with a port is one of its forms */
    }
    memset(problem, 'x', sizeof problem);
    if (!address_parse_block(text, &block, problem)) {
        FUZZ_CHECK(memchr(problem, '\0', sizeof problem) != NULL && problem[0] != '\0');
        return;
    }
    address = (struct address){.kind = block.kind};
    memcpy(address.bytes, block.bytes, sizeof block.bytes);
    FUZZ_CHECK(block.bits <= (block.kind == ADDRESS_V4 ? 32 : 128));
    FUZZ_CHECK(address_block_holds(&block, &address));
    address.bytes[0] ^= 0x80;
    FUZZ_CHECK(block.bits == 0 || !address_block_holds(&block, &address));
}

static void check_url(struct slice text) {
    struct upstream_url url;
    struct upstream_url again;
    char *at = malloc(text.len + 1);
    FUZZ_CHECK(at != NULL);
    memcpy(at, text.len > 0 ? text.at : "", text.len);
    at[text.len] = '\0';
    enum rc rc = upstream_url_read(at, &url);
    FUZZ_CHECK(rc == RC_OK || rc == RC_MALFORMED);
    FUZZ_CHECK(!(url.is_http && url.is_https));
    FUZZ_CHECK(rc == RC_OK || !(url.is_http || url.is_https || url.is_loopback || url.has_user ||
                                url.has_query || url.has_fragment));
    FUZZ_CHECK(!url.has_user || strchr(at, '@') != NULL);
    FUZZ_CHECK(!url.has_query || strchr(at, '?') != NULL);
    FUZZ_CHECK(!url.has_fragment || strchr(at, '#') != NULL);
    FUZZ_CHECK(upstream_url_read(at, &again) == rc && memcmp(&url, &again, sizeof url) == 0);
    free(at);
}

static void write_escaped(struct buf *out, struct slice text) {
    static const char digits[] = "0123456789aBcDeF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        buf_append_char(out, '%');
        buf_append_char(out, digits[c >> 4]);
        buf_append_char(out, digits[c & 15]);
    }
}

static void write_redis_url(const struct redis_url *url, struct buf *out) {
    bool is_v6 = strchr(url->host, ':') != NULL;
    buf_append(out, slice_str(url->is_tls ? "rediss://" : "redis://"));
    if (url->password.len > 0) {
        write_escaped(out, slice_str(url->user));
        buf_append_char(out, ':');
        write_escaped(out, secret_slice(&url->password));
        buf_append_char(out, '@');
    }
    buf_append(out, slice_str(is_v6 ? "[" : ""));
    buf_append(out, slice_str(url->host));
    buf_append(out, slice_str(is_v6 ? "]:" : ":"));
    buf_append_i64(out, url->port);
    buf_append_char(out, '/');
    buf_append_i64(out, url->db);
}

static void check_redis_url(struct slice text) {
    struct redis_url url;
    struct redis_url again;
    struct buf written;
    char problem[REDIS_URL_PROBLEM_BYTES];
    memset(problem, 'x', sizeof problem);
    if (redis_url_parse(text, &url, problem) != RC_OK) {
        FUZZ_CHECK(memchr(problem, '\0', sizeof problem) != NULL && problem[0] != '\0');
        FUZZ_CHECK(url.host == NULL && url.user == NULL && url.password.at == NULL);
        return;
    }
    FUZZ_CHECK(url.host[0] != '\0' && url.port > 0 && url.port <= 65535 && url.db >= 0);
    FUZZ_CHECK(url.user == NULL || (url.user[0] != '\0' && url.password.len > 0));
    FUZZ_CHECK(strpbrk(url.host, "/@[]%?# \r\n") == NULL);
    buf_init(&written, 3 * text.len + 64);
    write_redis_url(&url, &written);
    /* A part that was as long as it may be is longer now. */
    if (redis_url_parse(buf_slice(&written), &again, problem) == RC_OK) {
        FUZZ_CHECK(redis_url_eq(&url, &again));
        FUZZ_CHECK(slice_eq(secret_slice(&url.password), secret_slice(&again.password)));
        redis_url_fini(&again);
    } else {
        FUZZ_CHECK(url.password.len > 300 || (url.user != NULL && strlen(url.user) > 300));
    }
    buf_fini(&written);
    redis_url_fini(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    if (n == 0) {
        return 0;
    }
    struct slice rest = fuzz_exact(slice_make(bytes + 1, n - 1));
    switch (bytes[0]) {
    case 'q':
        check_query(rest);
        break;
    case 'f':
        check_form(rest);
        break;
    case 'c':
        check_cookie(rest);
        break;
    case 'r':
        check_route(rest);
        break;
    case 'a':
        check_address(rest);
        break;
    case 'u':
        check_url(rest);
        break;
    case 'd':
        check_redis_url(rest);
        break;
    default:
        break;
    }
    fuzz_free(rest);
    return 0;
}
