// SPDX-License-Identifier: MIT
#pragma once

#include "base/rc.h"
#include "base/slice.h"

/* A sealed box: AES-256-GCM (NIST SP 800-38D) under a key that seals once. GCM breaks when two
 * texts are sealed under one key and nonce; here the nonce is fixed (zeros), so a key must never
 * seal a second time. That holds by how a key is made: from a secret which is itself drawn for the
 * one thing that is sealed (an OAuth state), and which no one keeps. Nothing to store but the box,
 * and no counter of nonces to share between processes. Plain functions, any thread. */
enum { BOX_KEY_BYTES = 32, BOX_TAG_BYTES = 16 };

/* HMAC-SHA256 of `label` under `secret`, of 32 random bytes or more: what is sealed under it says
 * nothing of the secret, and another label makes another key. RC_CRYPTO. */
enum rc box_key(struct slice secret, struct slice label, unsigned char key[BOX_KEY_BYTES]);

/* Writes plain.len + BOX_TAG_BYTES bytes. `beside` stands beside the box in the clear and is
 * authenticated with it. RC_CRYPTO. */
enum rc box_seal(const unsigned char key[BOX_KEY_BYTES], struct slice beside, struct slice plain,
                 unsigned char *out);

/* Writes box.len - BOX_TAG_BYTES bytes. RC_NO_KEY_OPENS: another key, or a changed box or
 * `beside`; `out` is zeros then. RC_CRYPTO. */
enum rc box_open(const unsigned char key[BOX_KEY_BYTES], struct slice beside, struct slice box,
                 unsigned char *out);
