// SPDX-License-Identifier: MIT
#include "api/flow_cookie.h"

#include "base/b64.h"
#include "base/mem.h"
#include "crypto/hash.h"

/* Null where there is none, or none that could be ours. */
static struct slice carried(struct call *call) {
    unsigned char bytes[B64_DECODED_MAX(RANDOM_TEXT_BYTES)];
    size_t n;
    struct slice text = http_cookie(call->request, call->api->cookie_name);
    bool well_formed = text.len == RANDOM_TEXT_BYTES && b64_decode_unpadded(bytes, &n, text);
    mem_wipe(bytes, sizeof bytes);
    return well_formed ? text : SLICE_NULL;
}

enum rc flow_cookie_of(struct call *call, struct flow_cookie *cookie,
                       unsigned char hash[STATE_COOKIE_HASH_BYTES]) {
    struct slice own = carried(call);
    if (!slice_is_null(own)) {
        memcpy(cookie->text, own.at, sizeof cookie->text);
    } else {
        unsigned char fresh[RANDOM_BYTES];
        if (rng_bytes(call->api->opts.rng, fresh, sizeof fresh) != RC_OK) {
            return RC_CRYPTO;
        }
        b64_encode_unpadded(cookie->text, slice_make(fresh, sizeof fresh));
        mem_wipe(fresh, sizeof fresh);
    }
    return hash_sha256(slice_make(cookie->text, sizeof cookie->text), hash);
}

enum rc flow_cookie_hash(struct call *call, unsigned char hash[STATE_COOKIE_HASH_BYTES]) {
    return hash_sha256(carried(call), hash);
}

void flow_cookie_write(const struct call *call, const struct flow_cookie *cookie,
                       struct buf *headers) {
    BUF_LIT(headers, "Set-Cookie: ");
    buf_append(headers, call->api->cookie_name);
    buf_append_char(headers, '=');
    buf_append(headers, slice_make(cookie->text, sizeof cookie->text));
    BUF_LIT(headers, "; HttpOnly; SameSite=Lax; Path=/; Max-Age=900");
    if (call->api->cookie_is_secure) {
        BUF_LIT(headers, "; Secure");
    }
    BUF_LIT(headers, "\r\n");
}
