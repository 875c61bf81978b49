// SPDX-License-Identifier: MIT
#include "app/config_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/config.h"
#include "base/limits.h"
#include "io/upstream_url.h"

enum { SECRET_BYTES_MAX = 4096, LIST_MAX = 256, SHOWN_BYTES_MAX = 24, FORM_BYTES = 200 };

__attribute__((format(printf, 2, 3))) static bool fail(struct config_value *value,
                                                       const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(value->problem, sizeof value->problem, format, args);
    va_end(args);
    return false;
}

/* "is no <form>", with the value where it may be shown: short, and of a kind that holds no secret.
 */
static bool fail_form(struct config_value *value) {
    char at[FORM_BYTES];
    struct buf form;
    buf_init_fixed(&form, at, sizeof at);
    config_value_form(value->var, &form);
    struct slice text = value->text;
    if (text.len <= SHOWN_BYTES_MAX && slice_is_printable(text) && slice_is_utf8(text)) {
        return fail(value, "is \"%.*s\", which is not %.*s", SLICE_ARGS(text),
                    SLICE_ARGS(buf_slice(&form)));
    }
    return fail(value, "is not %.*s", SLICE_ARGS(buf_slice(&form)));
}

static bool keep(struct config_value *value, struct slice text, struct slice *out) {
    *out = arena_copy(value->memory, text);
    return !slice_is_null(*out) || fail(value, "does not fit: all values together are too large");
}

/* What every readable value must be: one line of text, without the quotes of a shell. */
static bool check_text(struct config_value *value, struct slice text) {
    if (text.len > LIMIT_URI_BYTES) {
        return fail(value, "is too long; at most %d bytes", LIMIT_URI_BYTES);
    }
    char first = text.at[0];
    if (text.len >= 2 && (first == '"' || first == '\'') && text.at[text.len - 1] == first) {
        return fail(value, "is in quotes, which are part of the value here; leave them out");
    }
    if (!slice_is_printable(text) || !slice_is_utf8(text)) {
        return fail(value, "holds a newline, another control character or bytes that are not "
                           "UTF-8; write it as one line of text");
    }
    if (slice_trim(text).len != text.len) {
        return fail(value, "starts or ends with a blank; leave it out");
    }
    return true;
}

static bool parse_text(struct config_value *value) {
    return check_text(value, value->text) && keep(value, value->text, value->field);
}

static bool parse_secret(struct config_value *value) {
    if (value->text.len > SECRET_BYTES_MAX) {
        return fail(value, "is too long; at most %d bytes", SECRET_BYTES_MAX);
    }
    *(struct secret *)value->field = secret_copy(value->text);
    return true;
}

static bool parse_int(struct config_value *value) {
    uint64_t number;
    if (!slice_to_u64(slice_trim(value->text), (uint64_t)value->var->max, &number) ||
        number < (uint64_t)value->var->min) {
        return fail_form(value);
    }
    *(int64_t *)value->field = (int64_t)number;
    return true;
}

bool config_value_seconds(struct slice text, int64_t max_ms, int64_t *out_ms) {
    size_t dot = slice_find(text, '.');
    struct slice decimals = dot < text.len ? slice_from(text, dot + 1) : SLICE("0");
    uint64_t whole;
    uint64_t part;
    if (!slice_to_u64(slice_head(text, dot), (uint64_t)max_ms / 1000, &whole) || decimals.len > 3 ||
        !slice_to_u64(decimals, 999, &part)) {
        return false;
    }
    for (size_t digits = decimals.len; digits < 3; digits++) {
        part *= 10;
    }
    *out_ms = (int64_t)(whole * 1000 + part);
    return *out_ms <= max_ms;
}

static bool parse_seconds(struct config_value *value) {
    int64_t ms;
    if (!config_value_seconds(slice_trim(value->text), value->var->max, &ms) ||
        ms < value->var->min) {
        return fail_form(value);
    }
    *(int64_t *)value->field = ms;
    return true;
}

static bool parse_bool(struct config_value *value) {
    struct slice text = slice_trim(value->text);
    bool on = slice_eq(text, SLICE("1"));
    if (!on && !slice_eq(text, SLICE("0"))) {
        return fail_form(value);
    }
    *(bool *)value->field = on;
    return true;
}

static bool parse_choice(struct config_value *value) {
    struct slice text = slice_trim(value->text);
    for (unsigned i = 0; value->var->choices[i] != NULL; i++) {
        if (slice_eq(text, slice_str(value->var->choices[i]))) {
            *(unsigned *)value->field = i;
            return true;
        }
    }
    return fail_form(value);
}

/* http to other hosts is app/config_check's: it depends on another variable. */
static bool parse_url(struct config_value *value) {
    struct upstream_url url;
    struct slice *kept = value->field;
    struct slice text = value->text;
    bool is_base = value->var->type == CONFIG_BASE;
    if (!check_text(value, text)) {
        return false;
    }
    while (is_base && text.len > 0 && text.at[text.len - 1] == '/') {
        text.len--;
    }
    if (!keep(value, text, kept)) {
        return false;
    }
    if (upstream_url_read(kept->at, &url) != RC_OK || (!url.is_https && !url.is_http)) {
        return fail(value, "is not an https URL, such as https://host.example/path");
    }
    if (url.has_user) {
        return fail(value, "holds a user name or password, which is never sent; leave it out");
    }
    if (url.has_fragment) {
        return fail(value, "has a #fragment, which is never sent; leave it out");
    }
    if (is_base && url.has_query) {
        return fail(value, "has a ?query, but paths are appended to it; leave it out");
    }
    return true;
}

static bool parse_proxy(struct config_value *value) {
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    struct upstream_url url;
    if (!check_text(value, value->text) || !keep(value, value->text, value->field)) {
        return false;
    }
    struct slice *kept = value->field;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (slice_starts(*kept, slice_str(schemes[i]))) {
            return (upstream_url_read(kept->at, &url) == RC_OK && !url.has_query &&
                    !url.has_fragment) ||
                   fail(value, "is not a proxy's URL, such as http://proxy.example:3128");
        }
    }
    return fail(value, "is not a proxy's URL, such as http://proxy.example:3128; http, https, "
                       "socks5 and socks5h are known");
}

static bool is_alpha(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Length of an RFC 3986 scheme at the start, 0 where there is none. */
static size_t scheme_length(struct slice text) {
    size_t colon = slice_find(text, ':');
    if (colon == text.len || colon == 0 || !is_alpha(text.at[0])) {
        return 0;
    }
    for (size_t i = 1; i < colon; i++) {
        char c = text.at[i];
        if (!is_alpha(c) && !is_digit(c) && c != '+' && c != '-' && c != '.') {
            return 0;
        }
    }
    return colon;
}

/* Where a browser is sent, in a Location header and a query: ASCII only. */
static bool check_uri(struct config_value *value, struct slice text, bool fragment_allowed) {
    static const char *const refused[] = {"javascript", "data", "vbscript", "file", "about"};
    if (!check_text(value, text)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == ' ' || (text.at[i] & 0x80) != 0 ||
            strchr("\"<>\\^`{|}", text.at[i]) != NULL) {
            return fail(value, "holds a character that a URI has only escaped (such as %%20 for "
                               "a blank)");
        }
    }
    struct slice scheme = slice_head(text, scheme_length(text));
    if (scheme.len == 0 || scheme.len + 1 == text.len) {
        return fail(value, "is not an absolute URI, such as https://app.example/callback");
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (slice_ieq(scheme, slice_str(refused[i]))) {
            return fail(value, "has a scheme that no browser may be sent to; use https or an "
                               "app's own scheme");
        }
    }
    if (slice_ieq(scheme, SLICE("https")) || slice_ieq(scheme, SLICE("http"))) {
        struct slice after = slice_from(text, scheme.len + 1);
        if (!slice_starts(after, SLICE("//")) || after.len < 3 || after.at[2] == '/') {
            return fail(value, "has no host; write it as https://app.example/callback");
        }
    }
    if (!fragment_allowed && slice_find(text, '#') < text.len) {
        return fail(value, "has a #fragment, which a redirect URI must not have (RFC 6749 section "
                           "3.1.2); leave it out");
    }
    return true;
}

static bool parse_uri(struct config_value *value) {
    bool fragment_allowed = value->var->offset == offsetof(struct config, return_url);
    return check_uri(value, value->text, fragment_allowed) &&
           keep(value, value->text, value->field);
}

/* RFC 6454 section 7, as browsers write it. */
static bool check_origin(struct config_value *value, struct slice text) {
    size_t scheme = scheme_length(text);
    struct slice host = slice_from(text, scheme + 3);
    if (scheme == 0 || !slice_starts(slice_from(text, scheme), SLICE("://")) || host.len == 0) {
        return fail(value, "holds what is not an origin, such as https://app.example or "
                           "http://localhost:3000 (* is not supported)");
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c >= 'A' && c <= 'Z') {
            return fail(value, "holds an origin with capital letters, which browsers never send; "
                               "write it in small letters");
        }
        if (i >= scheme + 3 && !is_alpha(c) && !is_digit(c) && strchr(".-:[]", c) == NULL) {
            return fail(value, "holds an origin with a path or another character that is not a "
                               "host's; write scheme://host[:port], without a slash at the end");
        }
    }
    struct slice port = slice_make(host.at + host.len, 0);
    while (port.at > host.at && is_digit(port.at[-1])) {
        port = slice_make(port.at - 1, port.len + 1);
    }
    bool has_port = port.len > 0 && port.at > host.at && port.at[-1] == ':';
    struct slice scheme_text = slice_head(text, scheme);
    if (has_port && ((slice_eq(scheme_text, SLICE("https")) && slice_eq(port, SLICE("443"))) ||
                     (slice_eq(scheme_text, SLICE("http")) && slice_eq(port, SLICE("80"))))) {
        return fail(value, "holds an origin with its scheme's usual port, which browsers leave "
                           "out; leave it out");
    }
    return true;
}

static bool check_listen(struct config_value *value, struct slice text) {
    struct address address;
    char problem[ADDRESS_PROBLEM_BYTES];
    if (!check_text(value, text)) {
        return false;
    }
    return address_parse(text, &address, problem) || fail(value, "%s", problem);
}

static bool parse_listen(struct config_value *value) {
    return check_listen(value, value->text) && keep(value, value->text, value->field);
}

static bool check_item(struct config_value *value, struct slice item) {
    if (item.len == 0) {
        return fail(value, "has an empty entry; separate the entries by single commas");
    }
    switch (value->var->type) {
    case CONFIG_URIS:
        return check_uri(value, item, false);
    case CONFIG_ORIGINS:
        return check_origin(value, item);
    default:
        return check_listen(value, item);
    }
}

/* Entries separated by commas; blanks around them don't count. */
static size_t count_items(struct slice text) {
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++) {
        count += text.at[i] == ',' ? 1 : 0;
    }
    return count;
}

static bool parse_list(struct config_value *value) {
    struct config_list *list = value->field;
    size_t count = count_items(value->text);
    size_t count_max = value->var->type == CONFIG_LISTENS ? LIMIT_LISTENERS : LIST_MAX;
    struct slice *at = arena_alloc(value->memory, count * sizeof *at);
    if (count > count_max || at == NULL) {
        return fail(value, "has too many entries; at most %zu", count_max);
    }
    struct slice rest = value->text;
    struct slice item;
    for (size_t i = 0; slice_split(&rest, ',', &item); i++) {
        item = slice_trim(item);
        if (!check_item(value, item) || !keep(value, item, &at[i])) {
            return false;
        }
    }
    *list = (struct config_list){at, count};
    return true;
}

static bool parse_blocks(struct config_value *value) {
    struct config_blocks *blocks = value->field;
    size_t count = count_items(value->text);
    struct address_block *at = arena_alloc(value->memory, count * sizeof *at);
    if (count > LIST_MAX || at == NULL) {
        return fail(value, "has too many entries; at most %d", LIST_MAX);
    }
    struct slice rest = value->text;
    struct slice item;
    for (size_t i = 0; slice_split(&rest, ',', &item); i++) {
        char problem[ADDRESS_PROBLEM_BYTES];
        if (!address_parse_block(slice_trim(item), &at[i], problem)) {
            return fail(value, "(entry %zu) %s", i + 1, problem);
        }
    }
    *blocks = (struct config_blocks){at, count};
    return true;
}

static bool parse_keys(struct config_value *value) {
    char problem[FERNET_PROBLEM_BYTES];
    if (fernet_keys_parse(value->text, value->field, problem) != RC_OK) {
        return fail(value, "%s", problem);
    }
    return true;
}

static bool parse_store(struct config_value *value) {
    if (!check_text(value, value->text)) {
        return false;
    }
    for (size_t i = 0; value->var->choices[i] != NULL; i++) {
        struct slice form = slice_str(value->var->choices[i]);
        bool is_scheme = form.at[form.len - 1] == ':' || form.at[form.len - 1] == '/';
        if (is_scheme ? slice_starts(value->text, form) && value->text.len > form.len
                      : slice_eq(value->text, form)) {
            return keep(value, value->text, value->field);
        }
    }
    char at[FORM_BYTES];
    struct buf wanted;
    buf_init_fixed(&wanted, at, sizeof at);
    config_value_form(value->var, &wanted);
    return fail(value, "is not %.*s", SLICE_ARGS(buf_slice(&wanted)));
}

/* "/" for none; "/a/b" without a slash at the end, of characters that need no escape. */
static bool parse_path(struct config_value *value) {
    struct slice text = value->text;
    if (slice_eq(text, SLICE("/"))) {
        return keep(value, slice_head(text, 0), value->field);
    }
    bool good = text.at[0] == '/' && text.at[text.len - 1] != '/' && text.len <= 128;
    for (size_t i = 0; i < text.len && good; i++) {
        char c = text.at[i];
        good = is_alpha(c) || is_digit(c) || c == '-' || c == '_' || c == '~' ||
               (c == '/' && text.at[i + 1] != '/') ||
               (c == '.' && text.at[i - 1] != '/' && text.at[i - 1] != '.');
    }
    return good ? keep(value, text, value->field) : fail_form(value);
}

bool config_value_parse(struct config_value *value) {
    static bool (*const parsers[])(struct config_value *) = {
        [CONFIG_TEXT] = parse_text,     [CONFIG_SECRET] = parse_secret,
        [CONFIG_INT] = parse_int,       [CONFIG_SECONDS] = parse_seconds,
        [CONFIG_BOOL] = parse_bool,     [CONFIG_CHOICE] = parse_choice,
        [CONFIG_URL] = parse_url,       [CONFIG_BASE] = parse_url,
        [CONFIG_PROXY] = parse_proxy,   [CONFIG_URI] = parse_uri,
        [CONFIG_URIS] = parse_list,     [CONFIG_ORIGINS] = parse_list,
        [CONFIG_LISTEN] = parse_listen, [CONFIG_LISTENS] = parse_list,
        [CONFIG_BLOCKS] = parse_blocks, [CONFIG_KEYS] = parse_keys,
        [CONFIG_STORE] = parse_store,   [CONFIG_PATH] = parse_path,
    };
    value->problem[0] = '\0';
    return parsers[value->var->type](value);
}

static void append_ms(struct buf *out, int64_t ms) {
    buf_append_i64(out, ms / 1000);
    if (ms % 1000 != 0) {
        char decimals[8];
        int n = snprintf(decimals, sizeof decimals, ".%03d", (int)(ms % 1000));
        while (decimals[n - 1] == '0') {
            n--;
        }
        buf_append(out, slice_make(decimals, (size_t)n));
    }
}

static void append_choices(struct buf *out, const char *const *choices) {
    BUF_LIT(out, "one of ");
    for (size_t i = 0; choices[i] != NULL; i++) {
        buf_append(out, i > 0 ? SLICE(", ") : SLICE(""));
        buf_append(out, slice_str(choices[i]));
        size_t length = strlen(choices[i]);
        buf_append(out, strchr(":/", choices[i][length - 1]) != NULL ? SLICE("…") : SLICE(""));
    }
}

void config_value_form(const struct config_var *var, struct buf *out) {
    static const char *const forms[] = {
        [CONFIG_TEXT] = "text",
        [CONFIG_SECRET] = "a secret",
        [CONFIG_BOOL] = "0 or 1",
        [CONFIG_URL] = "an https URL",
        [CONFIG_BASE] = "an https URL",
        [CONFIG_PROXY] = "a proxy's URL",
        [CONFIG_URI] = "an absolute URI",
        [CONFIG_URIS] = "absolute URIs, separated by commas",
        [CONFIG_ORIGINS] = "origins, separated by commas",
        [CONFIG_LISTEN] = "an address with a port",
        [CONFIG_LISTENS] = "addresses with ports, separated by commas",
        [CONFIG_BLOCKS] = "CIDR blocks, separated by commas",
        [CONFIG_KEYS] = "Fernet keys, separated by commas",
        [CONFIG_PATH] = "a path such as /api/v1 (letters, digits and -._~, no slash at the end)",
    };
    switch (var->type) {
    case CONFIG_INT:
        BUF_LIT(out, "a whole number from ");
        buf_append_i64(out, var->min);
        BUF_LIT(out, " to ");
        buf_append_i64(out, var->max);
        break;
    case CONFIG_SECONDS:
        BUF_LIT(out, "seconds from ");
        append_ms(out, var->min);
        BUF_LIT(out, " to ");
        append_ms(out, var->max);
        break;
    case CONFIG_CHOICE:
    case CONFIG_STORE:
        append_choices(out, var->choices);
        break;
    default:
        buf_append(out, slice_str(forms[var->type]));
        break;
    }
}
