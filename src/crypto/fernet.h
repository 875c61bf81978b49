// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

/* Fernet (the Fernet specification, version 0x80): AES-128-CBC with PKCS #7 and HMAC-SHA256,
 * base64url with padding. A key list is immutable once parsed and may be used by any thread at
 * once; the first key seals, all open. */
struct fernet_keys;

enum { FERNET_PROBLEM_BYTES = 256, FERNET_IV_BYTES = 16, FERNET_KEY_TEXT_BYTES = 44 };

/* `text`: one or more keys separated by commas (blanks around a key are allowed). On RC_USAGE
 * `problem` says in a sentence which key (1, 2, …) is wrong, what is wrong with it (quotes, a
 * newline, its length, a character outside of the alphabet) and what would be right; never the key
 * itself. */
enum rc fernet_keys_parse(struct slice text, struct fernet_keys **out,
                          char problem[FERNET_PROBLEM_BYTES]);
void fernet_keys_free(struct fernet_keys *keys); /* wipes; fine on NULL */
size_t fernet_keys_count(const struct fernet_keys *keys);
/* The same keys in the same order. */
bool fernet_keys_equal(const struct fernet_keys *a, const struct fernet_keys *b);

/* How long the token of `plain_bytes` is. */
size_t fernet_token_bytes(size_t plain_bytes);

/* Appends the token. The initialisation vector is drawn from the system when `iv` is NULL (tests of
 * the specification's vectors give one). RC_CRYPTO, RC_TOO_LARGE (out's cap); nothing appended
 * then. */
enum rc fernet_seal(const struct fernet_keys *keys, struct slice plain, int64_t now_s,
                    const unsigned char iv[FERNET_IV_BYTES], struct buf *out);

/* Appends the plaintext; `*position` is the index of the key that opened it. RC_NO_KEY_OPENS for
 * whatever is wrong with the token: authentication comes before decryption. RC_TOO_LARGE (plain's
 * cap), RC_CRYPTO. Nothing appended then. `ttl_s` 0: no expiry; otherwise older than that, or more
 * than 60 s in the future, fails too. */
enum rc fernet_open(const struct fernet_keys *keys, struct slice token, int64_t now_s,
                    int64_t ttl_s, struct buf *plain, size_t *position);

/* Has the form of a Fernet token (base64url, version 0x80, a length that the specification allows),
 * or is what damage left of one that was sealed before the year 2106 (it begins with "gAAAAA").
 * Such a value is never taken for plaintext. */
bool fernet_is_shaped(struct slice value);

/* Writes a fresh key and a NUL. */
enum rc fernet_key_generate(char out[FERNET_KEY_TEXT_BYTES + 1]);
