// SPDX-License-Identifier: MIT
#include "kit/secrets.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/b64.h"
#include "base/buf.h"
#include "base/mem.h"
#include "crypto/hash.h"

enum { SECRETS_MAX = 16384, CHALLENGES_MAX = 4096, PART_BYTES = 48, FORMS = 8 };
enum { FORM_BYTES_MIN = 5 };

/* The tests' own state: a registry for the process of one test. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct entry {
    const char *what;
    char *forms[FORMS];
    enum secrets_where where;
} entries[SECRETS_MAX];
static size_t entry_count;
static bool will_forget;
static char challenges[CHALLENGES_MAX][RANDOM_TEXT_BYTES];
static size_t challenge_count;

static char *form_encoded(struct slice secret) {
    struct buf out;
    buf_init(&out, 3 * PART_BYTES);
    buf_append_form(&out, secret);
    char *copy = mem_strdup(buf_slice(&out));
    buf_fini(&out);
    return copy;
}

/* What base64 makes of it when `shift` bytes stand before it, less the characters that depend on
 * its neighbours. */
static char *base64(struct slice secret, size_t shift, bool url_alphabet) {
    char padded[PART_BYTES + 2] = {0};
    char text[B64_BYTES(sizeof padded)];
    size_t skip = shift == 0 ? 0 : shift == 1 ? 2 : 3;
    memcpy(padded + shift, secret.at, secret.len);
    size_t whole = (secret.len + shift) / 3 * 3;
    size_t n = b64_encode_unpadded(text, slice_make(padded, whole));
    for (size_t i = 0; i < n && !url_alphabet; i++) {
        text[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    }
    return mem_strdup(slice_make(text + skip, n - skip));
}

static void fill_forms(struct entry *entry, struct slice secret) {
    entry->forms[0] = mem_strdup(secret);
    entry->forms[1] = form_encoded(secret);
    for (size_t shift = 0; shift < 3; shift++) {
        entry->forms[2 + shift] = base64(secret, shift, true);
        entry->forms[5 + shift] = base64(secret, shift, false);
    }
}

static void forget_entries(void) {
    for (size_t i = 0; i < entry_count; i++) {
        for (size_t f = 0; f < FORMS; f++) {
            mem_free(entries[i].forms[f]);
        }
    }
    entry_count = 0;
}

void secrets_add(const char *what, struct slice secret, enum secrets_where where) {
    cr_assert_geq(secret.len, FORM_BYTES_MIN, "%s: too short to be looked for", what);
    pthread_mutex_lock(&mutex);
    cr_assert_lt(entry_count, SECRETS_MAX);
    if (!will_forget) {
        will_forget = atexit(forget_entries) == 0;
    }
    struct entry *entry = &entries[entry_count++];
    *entry = (struct entry){.what = what, .where = where};
    /* A part of it is as bad as the whole, and a JWT's first part is no secret. */
    fill_forms(entry,
               secret.len > PART_BYTES ? slice_from(secret, secret.len - PART_BYTES) : secret);
    pthread_mutex_unlock(&mutex);
}

void secrets_add_challenge(struct slice challenge) {
    cr_assert_eq(challenge.len, RANDOM_TEXT_BYTES);
    pthread_mutex_lock(&mutex);
    cr_assert_lt(challenge_count, CHALLENGES_MAX);
    memcpy(challenges[challenge_count++], challenge.at, RANDOM_TEXT_BYTES);
    pthread_mutex_unlock(&mutex);
}

static bool is_verifier(struct slice run) {
    char challenge[RANDOM_TEXT_BYTES];
    cr_assert_eq(hash_pkce_challenge(run, challenge), RC_OK);
    for (size_t i = 0; i < challenge_count; i++) {
        if (memcmp(challenges[i], challenge, RANDOM_TEXT_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_base64url(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static bool holds_verifier(struct slice text) {
    size_t start = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && is_base64url(text.at[i])) {
            continue;
        }
        for (size_t at = start; at + RANDOM_TEXT_BYTES <= i; at++) {
            if (is_verifier(slice_make(text.at + at, RANDOM_TEXT_BYTES))) {
                return true;
            }
        }
        start = i + 1;
    }
    return false;
}

static bool holds_form(const struct entry *entry, struct slice text) {
    for (size_t f = 0; f < FORMS; f++) {
        size_t n = entry->forms[f] != NULL ? strlen(entry->forms[f]) : 0;
        if (n >= FORM_BYTES_MIN && memmem(text.at, text.len, entry->forms[f], n) != NULL) {
            return true;
        }
    }
    return false;
}

const char *secrets_find(struct slice text, bool is_log) {
    const char *found = NULL;
    if (text.len == 0) {
        return NULL;
    }
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < entry_count && found == NULL; i++) {
        bool looked_for = is_log || entries[i].where == SECRETS_NOWHERE;
        found = looked_for && holds_form(&entries[i], text) ? entries[i].what : NULL;
    }
    found = found == NULL && holds_verifier(text) ? "a code verifier" : found;
    pthread_mutex_unlock(&mutex);
    return found;
}

void secrets_expect_none(struct slice text, const char *where, bool is_log) {
    const char *found = secrets_find(text, is_log);
    cr_assert_null(found, "%s in %s", found, where);
}

void secrets_forget(void) {
    pthread_mutex_lock(&mutex);
    forget_entries();
    challenge_count = 0;
    pthread_mutex_unlock(&mutex);
}

size_t secrets_count(void) {
    return entry_count + challenge_count;
}
