// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Base64 with the URL-safe alphabet (RFC 4648 section 5). Strict when decoding: no white space, no
 * other alphabet, unused trailing bits must be zero. Table look-ups depend on the value: for use on
 * public encodings and on secrets that a peer on the same machine doesn't time. */
#define B64_BYTES(n) (((n) + 2) / 3 * 4)        /* padded */
#define B64_BYTES_UNPADDED(n) (((n)*4 + 2) / 3) /* unpadded */
#define B64_DECODED_MAX(n) ((n) / 4 * 3 + 3)

/* Writes B64_BYTES(n) or B64_BYTES_UNPADDED(n) characters, no NUL; returns how many. */
size_t b64_encode(char *out, struct slice bytes);
size_t b64_encode_unpadded(char *out, struct slice bytes);

/* Into `out` of at least B64_DECODED_MAX(text.len) bytes. Padding is required (b64_decode) or
 * forbidden (b64_decode_unpadded). */
bool b64_decode(unsigned char *out, size_t *out_len, struct slice text);
bool b64_decode_unpadded(unsigned char *out, size_t *out_len, struct slice text);
