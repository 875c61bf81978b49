// SPDX-License-Identifier: MIT
#include "app/command_token.h"

#include <getopt.h>
#include <stdio.h>

#include "app/config.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "crypto/hash.h"
#include "crypto/jwt.h"

struct token_wish {
    struct slice sub;
    struct slice tier;
    struct slice role;
    int64_t ttl_s;
};

enum { TTL_MAX_S = 366 * 24 * 3600 };

/* "90", "90s", "15m", "1h", "7d". */
static bool parse_ttl(struct slice text, int64_t *out_s) {
    int64_t unit_s = 1;
    switch (text.len > 0 ? text.at[text.len - 1] : '\0') {
    case 's':
        break;
    case 'm':
        unit_s = 60;
        break;
    case 'h':
        unit_s = 3600;
        break;
    case 'd':
        unit_s = 24 * 3600;
        break;
    default:
        unit_s = 0;
        break;
    }
    uint64_t number;
    struct slice digits = slice_head(text, text.len - (unit_s > 0 ? 1 : 0));
    unit_s = unit_s > 0 ? unit_s : 1;
    if (!slice_to_u64(digits, (uint64_t)(TTL_MAX_S / unit_s), &number) || number == 0) {
        return false;
    }
    *out_s = (int64_t)number * unit_s;
    return true;
}

static int refuse(const char *sentence) {
    fprintf(stderr, "latchkey token: %s\n", sentence);
    return COMMAND_USAGE;
}

static bool is_label(struct slice text) {
    return text.len > 0 && text.len <= 64 && slice_is_printable(text) && slice_is_utf8(text);
}

static int check_wish(const struct token_wish *wish) {
    if (slice_is_null(wish->sub) || wish->sub.len == 0 || wish->sub.len > LIMIT_USER_ID_BYTES ||
        !slice_is_printable(wish->sub) || !slice_is_utf8(wish->sub)) {
        return refuse("--sub ID is needed: the user's id, 1 to 255 bytes without control "
                      "characters");
    }
    if (!is_label(wish->tier) || !is_label(wish->role)) {
        return refuse("--tier and --role are words of 1 to 64 bytes, such as premium and user");
    }
    return COMMAND_GOOD;
}

static int parse_options(const struct command_line *line, struct token_wish *wish) {
    static const struct option options[] = {
        {"sub", required_argument, NULL, 's'},
        {"tier", required_argument, NULL, 't'},
        {"role", required_argument, NULL, 'r'},
        {"ttl", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    opterr = 0;
    optind = 0; /* glibc: start over */
    for (;;) {
        int at = optind > 0 ? optind : 1;
        switch (getopt_long(line->argc, line->argv, "+:", options, NULL)) {
        case 's':
            wish->sub = slice_str(optarg);
            break;
        case 't':
            wish->tier = slice_str(optarg);
            break;
        case 'r':
            wish->role = slice_str(optarg);
            break;
        case 'l':
            if (!parse_ttl(slice_str(optarg), &wish->ttl_s)) {
                return refuse("--ttl is a number with s, m, h or d, such as 1h; at most 366d");
            }
            break;
        case -1:
            return optind < line->argc ? command_line_refuse(line, line->argv[optind])
                                       : check_wish(wish);
        default:
            return command_line_refuse(line, line->argv[at]);
        }
    }
}

static void write_payload(const struct config *config, const struct token_wish *wish,
                          struct buf *out) {
    struct clock clock = {0};
    int64_t now_s = clock_wall_ms(&clock) / 1000;
    struct jsonw w = jsonw_start(out);
    jsonw_open(&w, '{');
    jsonw_member(&w, "sub", wish->sub);
    jsonw_member(&w, "type", SLICE("access"));
    jsonw_member(&w, "subscription_tier", wish->tier);
    jsonw_member(&w, "role", wish->role);
    if (!slice_is_null(config->jwt_issuer)) {
        jsonw_member(&w, "iss", config->jwt_issuer);
    }
    if (!slice_is_null(config->jwt_audience)) {
        jsonw_member(&w, "aud", config->jwt_audience);
    }
    jsonw_name(&w, "iat");
    jsonw_i64(&w, now_s);
    jsonw_name(&w, "exp");
    jsonw_i64(&w, now_s + wish->ttl_s);
    jsonw_close(&w, '}');
}

static enum rc sign(const struct config *config, struct slice payload, struct buf *out) {
    if (hash_init() != RC_OK) {
        return RC_CRYPTO;
    }
    struct jwt_key key = {
        .alg = config->algorithm,
        .hmac = hash_hmac_key_new(config->algorithm, secret_slice(&config->secret_key)),
    };
    if (key.hmac == NULL) {
        return RC_CRYPTO;
    }
    enum rc rc = jwt_sign(&key, payload, out);
    hash_hmac_key_free(key.hmac);
    return rc;
}

static int print_token(const struct config *config, const struct token_wish *wish) {
    struct buf payload;
    struct buf token;
    buf_init(&payload, LIMIT_JWT_BYTES);
    buf_init(&token, LIMIT_JWT_BYTES);
    write_payload(config, wish, &payload);
    enum rc rc = buf_ok(&payload) ? sign(config, buf_slice(&payload), &token) : RC_TOO_LARGE;
    int code = COMMAND_GOOD;
    if (rc != RC_OK) {
        fprintf(stderr, "latchkey token: %s\n", rc_text(rc));
        code = COMMAND_FAILED;
    } else if (printf("%.*s\n", SLICE_ARGS(buf_slice(&token))) < 0 || fflush(stdout) != 0) {
        code = COMMAND_FAILED;
    }
    buf_fini(&token);
    buf_fini(&payload);
    return code;
}

int command_token_run(const struct command_line *line) {
    struct token_wish wish = {.tier = SLICE("premium"), .role = SLICE("user"), .ttl_s = 3600};
    int code = parse_options(line, &wish);
    if (code != COMMAND_GOOD) {
        return code;
    }
    struct config *config;
    code = command_line_config(line, &config);
    if (code == COMMAND_GOOD) {
        code =
            config->secret_key.at != NULL
                ? print_token(config, &wish)
                : refuse("SECRET_KEY is not set; tokens under published keys are not ours to sign");
        config_free(config);
    }
    return code;
}
