// SPDX-License-Identifier: MIT
#include "crypto/jwt.h"

#include <math.h>

#include "base/b64.h"
#include "base/limits.h"
#include "base/mem.h"

/* NumericDate up to the end of the year 9999: beyond it there is no time that one could mean. */
static const double TIME_MAX_S = 253402300799.0;

#define JWT_REASON_TEXT(name, text) [JWT_##name] = text,
static const char *const reasons[JWT_REASON_COUNT] = {JWT_REASON_MAP(JWT_REASON_TEXT)};

static const struct slice hmac_algs[] = {
    [HASH_HS256] = {"HS256", 5},
    [HASH_HS384] = {"HS384", 5},
    [HASH_HS512] = {"HS512", 5},
};
enum { HMAC_ALGS = sizeof hmac_algs / sizeof hmac_algs[0] };

const char *jwt_reason_text(enum jwt_reason reason) {
    return (unsigned)reason < JWT_REASON_COUNT ? reasons[reason] : "unknown";
}

/* ---- the signature ---- */

struct parts {
    struct slice header;
    struct slice payload;
    struct slice signature;
    struct slice signed_text; /* header, dot, payload */
};

static bool split(struct slice token, struct parts *parts) {
    struct slice rest = token;
    if (token.len == 0 || token.len > LIMIT_JWT_BYTES || !slice_split(&rest, '.', &parts->header) ||
        !slice_split(&rest, '.', &parts->payload) || !slice_split(&rest, '.', &parts->signature)) {
        return false;
    }
    parts->signed_text = slice_head(token, parts->header.len + 1 + parts->payload.len);
    return slice_is_null(rest);
}

/* The object that a part of a token holds, or NULL. A doubled member makes it none: two readers of
 * it could disagree. */
static struct json_document *open_object(struct slice part) {
    unsigned char bytes[B64_DECODED_MAX(LIMIT_JWT_BYTES)];
    size_t n = 0;
    if (!b64_decode_unpadded(bytes, &n, part)) {
        return NULL;
    }
    struct json_document *object = json_parse(slice_make(bytes, n), JSON_UNIQUE);
    if (object != NULL && json_kind_of(json_root(object)) != JSON_KIND_OBJECT) {
        json_close(object);
        return NULL;
    }
    return object;
}

/* The header's algorithm as an index in `algs`, which is all that is taken from it: what else it
 * says of keys (jku, jwk, x5u, x5c) is never read, as a token doesn't bring the key that verifies
 * it. The kid, which chooses among keys that we have, is looked at for published keys only. */
static enum jwt_reason read_alg(const struct json *header, const struct slice *algs, size_t count,
                                size_t *index) {
    struct slice name;
    if (header == NULL || json_member(header, "crit") != NULL ||
        !json_to_slice(json_member(header, "alg"), &name)) {
        return JWT_MALFORMED;
    }
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(name, algs[i])) {
            *index = i;
            return JWT_NONE;
        }
    }
    return JWT_ALGORITHM;
}

static enum jwt_reason read_hmac_header(struct slice part, enum hash_hmac_alg *alg) {
    struct json_document *header = open_object(part);
    size_t index = 0;
    enum jwt_reason reason = read_alg(json_root(header), hmac_algs, HMAC_ALGS, &index);
    *alg = (enum hash_hmac_alg)index;
    json_close(header);
    return reason;
}

static bool is_signed_by(const struct jwt_key *key, struct slice text, struct slice signature) {
    unsigned char mac[HASH_MAX_BYTES];
    bool good = hash_hmac(key->hmac, text, mac) == RC_OK &&
                slice_eq_ct(slice_make(mac, hash_hmac_bytes(key->alg)), signature);
    mem_wipe(mac, sizeof mac);
    return good;
}

static enum jwt_reason check_signature(const struct parts *parts, const struct jwt_key *keys,
                                       size_t key_count, size_t *key_index) {
    unsigned char bytes[B64_DECODED_MAX(LIMIT_JWT_BYTES)];
    size_t n = 0;
    enum hash_hmac_alg alg;
    enum jwt_reason reason = read_hmac_header(parts->header, &alg);
    if (reason != JWT_NONE) {
        return reason;
    }
    if (!b64_decode_unpadded(bytes, &n, parts->signature)) {
        return JWT_MALFORMED;
    }
    reason = JWT_ALGORITHM;
    for (size_t i = 0; i < key_count; i++) {
        if (keys[i].alg != alg) {
            continue;
        }
        if (is_signed_by(&keys[i], parts->signed_text, slice_make(bytes, n))) {
            *key_index = i;
            return JWT_NONE;
        }
        reason = JWT_SIGNATURE;
    }
    return reason;
}

enum jwt_reason jwt_verify_signature(struct slice token, const struct jwt_key *keys,
                                     size_t key_count, struct slice *payload, size_t *key_index) {
    struct parts parts;
    if (!split(token, &parts)) {
        return JWT_MALFORMED;
    }
    *payload = parts.payload;
    return check_signature(&parts, keys, key_count, key_index);
}

/* ---- published keys ---- */

static enum jwt_reason read_kid(const struct json *header, struct jwt_published *out) {
    const struct json *kid = json_member(header, "kid");
    struct slice text;
    if (kid == NULL) {
        return JWT_NONE;
    }
    if (!json_to_slice(kid, &text)) {
        return JWT_MALFORMED;
    }
    if (text.len > sizeof out->kid_at) {
        return JWT_KEY;
    }
    memcpy(out->kid_at, text.at, text.len);
    out->kid = slice_make(out->kid_at, text.len);
    return JWT_NONE;
}

static enum jwt_reason read_published_header(struct slice part, struct jwt_published *out) {
    struct json_document *header = open_object(part);
    size_t index = 0;
    enum jwt_reason reason = read_alg(json_root(header), jwks_alg_names, JWKS_ALG_COUNT, &index);
    out->alg = (enum jwks_alg)index;
    if (reason == JWT_NONE) {
        reason = read_kid(json_root(header), out);
    }
    json_close(header);
    return reason;
}

enum jwt_reason jwt_read_published(struct slice token, struct jwt_published *out) {
    struct parts parts;
    size_t n = 0;
    out->kid = SLICE_NULL;
    if (!split(token, &parts)) {
        return JWT_MALFORMED;
    }
    enum jwt_reason reason = read_published_header(parts.header, out);
    if (reason != JWT_NONE) {
        return reason;
    }
    if (parts.signature.len > B64_BYTES(JWKS_SIGNATURE_MAX_BYTES) ||
        !b64_decode_unpadded(out->signature_at, &n, parts.signature)) {
        return JWT_MALFORMED;
    }
    out->payload = parts.payload;
    out->signed_text = parts.signed_text;
    out->signature = slice_make(out->signature_at, n);
    return JWT_NONE;
}

/* ---- the claims ---- */

/* C0, DEL, and C1 (U+0080 to U+009F), which in UTF-8 is 0xC2 and a byte up to 0x9F. */
static bool has_control(struct slice text) {
    for (size_t i = 0; i + 1 < text.len; i++) {
        if ((unsigned char)text.at[i] == 0xC2 && (unsigned char)text.at[i + 1] < 0xA0) {
            return true;
        }
    }
    return !slice_is_printable(text);
}

static bool read_time(const struct json *claim, double *out) {
    return json_to_double(claim, out) && *out >= 0 && *out <= TIME_MAX_S;
}

/* A fraction of a second is rounded to the side that refuses. */
static enum jwt_reason check_times(const struct jwt_rules *rules, struct jwt *jwt) {
    const struct json *exp = json_member(json_root(jwt->claims), "exp");
    const struct json *nbf = json_member(json_root(jwt->claims), "nbf");
    double exp_s = 0;
    double nbf_s = 0;
    if (exp == NULL) {
        return JWT_NO_EXPIRY;
    }
    if (!read_time(exp, &exp_s) || (nbf != NULL && !read_time(nbf, &nbf_s))) {
        return JWT_MALFORMED;
    }
    jwt->exp_s = (int64_t)floor(exp_s);
    jwt->not_before_s = (int64_t)ceil(nbf_s);
    if (rules->now_s - rules->leeway_s >= jwt->exp_s) {
        return JWT_EXPIRED;
    }
    return rules->now_s + rules->leeway_s < jwt->not_before_s ? JWT_NOT_YET_VALID : JWT_NONE;
}

static bool is_text(const struct json *claim, struct slice wanted) {
    struct slice text;
    return json_to_slice(claim, &text) && slice_eq(text, wanted);
}

/* A string, or a list of nothing but strings. */
static bool is_for(const struct json *aud, struct slice audience) {
    bool found = is_text(aud, audience);
    struct json_items items = json_items(aud);
    while (items.left > 0) {
        const struct json *item = json_items_next(&items);
        if (json_kind_of(item) != JSON_KIND_STRING) {
            return false;
        }
        found = found || is_text(item, audience);
    }
    return found;
}

static enum jwt_reason check_claims(const struct jwt_rules *rules, struct jwt *jwt) {
    enum jwt_reason reason = check_times(rules, jwt);
    if (reason != JWT_NONE) {
        return reason;
    }
    if (!slice_is_null(rules->issuer) &&
        !is_text(json_member(json_root(jwt->claims), "iss"), rules->issuer)) {
        return JWT_ISSUER;
    }
    if (!slice_is_null(rules->audience) &&
        !is_for(json_member(json_root(jwt->claims), "aud"), rules->audience)) {
        return JWT_AUDIENCE;
    }
    if (!json_to_slice(json_member(json_root(jwt->claims), "sub"), &jwt->sub) ||
        jwt->sub.len == 0 || jwt->sub.len > LIMIT_USER_ID_BYTES || has_control(jwt->sub)) {
        return JWT_SUBJECT;
    }
    const struct json *type = json_member(json_root(jwt->claims), "type");
    return type == NULL || is_text(type, SLICE("access")) ? JWT_NONE : JWT_TYPE;
}

enum jwt_reason jwt_read_claims(struct slice payload, const struct jwt_rules *rules,
                                struct jwt *out) {
    *out = (struct jwt){.claims = open_object(payload)};
    enum jwt_reason reason = out->claims != NULL ? check_claims(rules, out) : JWT_MALFORMED;
    if (reason != JWT_NONE) {
        json_close(out->claims);
        *out = (struct jwt){0};
    }
    return reason;
}

enum jwt_reason jwt_verify(struct slice token, const struct jwt_key *keys, size_t key_count,
                           const struct jwt_rules *rules, struct jwt *out) {
    struct slice payload;
    size_t key_index = 0;
    *out = (struct jwt){0};
    enum jwt_reason reason = jwt_verify_signature(token, keys, key_count, &payload, &key_index);
    if (reason == JWT_NONE) {
        reason = jwt_read_claims(payload, rules, out);
    }
    if (reason == JWT_NONE) {
        out->key_index = key_index;
    }
    return reason;
}

/* ---- signing ---- */

static void append_b64(struct buf *out, struct slice bytes) {
    char *at = buf_reserve(out, B64_BYTES_UNPADDED(bytes.len));
    if (at != NULL) {
        out->len += b64_encode_unpadded(at, bytes);
    }
}

enum rc jwt_sign(const struct jwt_key *key, struct slice payload, struct buf *out) {
    unsigned char mac[HASH_MAX_BYTES];
    char header_at[64];
    struct buf header;
    size_t start = out->len;
    buf_init_fixed(&header, header_at, sizeof header_at);
    BUF_LIT(&header, "{\"alg\":\"");
    buf_append(&header, hmac_algs[key->alg]);
    BUF_LIT(&header, "\",\"typ\":\"JWT\"}");
    append_b64(out, buf_slice(&header));
    buf_append_char(out, '.');
    append_b64(out, payload);
    if (!buf_ok(out)) {
        return RC_TOO_LARGE;
    }
    enum rc rc = hash_hmac(key->hmac, slice_from(buf_slice(out), start), mac);
    if (rc == RC_OK) {
        buf_append_char(out, '.');
        append_b64(out, slice_make(mac, hash_hmac_bytes(key->alg)));
        rc = buf_ok(out) ? RC_OK : RC_TOO_LARGE;
    }
    mem_wipe(mac, sizeof mac);
    return rc;
}
