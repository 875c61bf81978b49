// SPDX-License-Identifier: MIT
#include "provider/sim_grants.h"

#include <string.h>

#include "base/b64.h"
#include "base/mem.h"
#include "crypto/rng.h"

enum { CODE_TTL_MS = 60 * 1000, MAC_BYTES = 16 };

/* A token is its prefix and this in base64url. The prefixes hold characters that only a careful
 * form encoder brings over. */
struct parcel {
    uint64_t id;
    int64_t until_ms; /* 0: no end */
    uint32_t generation;
    char kind; /* 'c', 'a', 'r' */
    unsigned char mac[MAC_BYTES];
};
enum { SIGNED_BYTES = 8 + 8 + 4 + 1, PARCEL_BYTES = SIGNED_BYTES + MAC_BYTES };

static const struct prefix {
    char kind;
    struct slice text;
} prefixes[] = {
    {'c', {"c.", 2}},
    {'a', {"sima.", 5}},
    {'r', {"simr/+", 6}},
};
enum { PREFIXES = sizeof prefixes / sizeof *prefixes };

enum rc sim_grants_init(struct sim_grants *grants, int64_t access_ttl_ms, int64_t reuse_grace_ms) {
    unsigned char key[32];
    *grants = (struct sim_grants){.access_ttl_ms = access_ttl_ms, .reuse_grace_ms = reuse_grace_ms};
    if (rng_system(key, sizeof key) != RC_OK) {
        return RC_CRYPTO;
    }
    grants->key = hash_hmac_key_new(HASH_HS256, slice_make(key, sizeof key));
    mem_wipe(key, sizeof key);
    if (grants->key == NULL) {
        return RC_CRYPTO;
    }
    grants->families = mem_calloc(SIM_GRANTS_MAX, sizeof *grants->families);
    return RC_OK;
}

void sim_grants_fini(struct sim_grants *grants) {
    hash_hmac_key_free(grants->key);
    mem_free(grants->families);
    *grants = (struct sim_grants){0};
}

void sim_grants_reset(struct sim_grants *grants) {
    /* The ids go on, so that what was given out before stays unknown. */
    for (size_t i = 0; i < SIM_GRANTS_MAX; i++) {
        grants->families[i].id = 0;
    }
}

static void mac_of(const struct sim_grants *grants, const unsigned char *bytes,
                   unsigned char out[MAC_BYTES]) {
    unsigned char whole[HASH_MAX_BYTES] = {0};
    if (hash_hmac(grants->key, slice_make(bytes, SIGNED_BYTES), whole) != RC_OK) {
        rng_system(whole, MAC_BYTES); /* fits nothing */
    }
    memcpy(out, whole, MAC_BYTES);
}

static void write_token(const struct sim_grants *grants, const struct parcel *parcel,
                        struct buf *out) {
    unsigned char bytes[PARCEL_BYTES];
    char text[B64_BYTES(PARCEL_BYTES)];
    memcpy(bytes, &parcel->id, 8);
    memcpy(bytes + 8, &parcel->until_ms, 8);
    memcpy(bytes + 16, &parcel->generation, 4);
    bytes[20] = (unsigned char)parcel->kind;
    mac_of(grants, bytes, bytes + SIGNED_BYTES);
    for (size_t i = 0; i < PREFIXES; i++) {
        if (prefixes[i].kind == parcel->kind) {
            buf_append(out, prefixes[i].text);
        }
    }
    size_t n = b64_encode_unpadded(text, slice_make(bytes, sizeof bytes));
    buf_append(out, slice_make(text, n));
}

static bool read_token(const struct sim_grants *grants, struct slice token, struct parcel *out) {
    unsigned char bytes[B64_DECODED_MAX(SIM_TOKEN_MAX)];
    unsigned char mac[MAC_BYTES];
    size_t n = 0;
    char kind = 0;
    for (size_t i = 0; i < PREFIXES && kind == 0; i++) {
        if (slice_starts(token, prefixes[i].text)) {
            kind = prefixes[i].kind;
            token = slice_from(token, prefixes[i].text.len);
        }
    }
    if (kind == 0 || token.len > SIM_TOKEN_MAX || !b64_decode_unpadded(bytes, &n, token) ||
        n != PARCEL_BYTES || bytes[20] != (unsigned char)kind) {
        return false;
    }
    mac_of(grants, bytes, mac);
    memcpy(&out->id, bytes, 8);
    memcpy(&out->until_ms, bytes + 8, 8);
    memcpy(&out->generation, bytes + 16, 4);
    out->kind = kind;
    return slice_eq_ct(slice_make(mac, MAC_BYTES), slice_make(bytes + SIGNED_BYTES, MAC_BYTES));
}

/* NULL where the token is not ours, or its family is gone. */
static struct sim_family *family_of(const struct sim_grants *grants, struct slice token,
                                    struct parcel *parcel) {
    if (!read_token(grants, token, parcel)) {
        return NULL;
    }
    struct sim_family *family = &grants->families[parcel->id % SIM_GRANTS_MAX];
    return family->id == parcel->id ? family : NULL;
}

void sim_grants_consent(struct sim_grants *grants, size_t redirect_uri,
                        const char challenge[RANDOM_TEXT_BYTES], int64_t now_ms, struct buf *code) {
    uint64_t id = ++grants->last_id;
    struct sim_family *family = &grants->families[id % SIM_GRANTS_MAX];
    *family = (struct sim_family){
        .id = id, .code_until_ms = now_ms + CODE_TTL_MS, .redirect_uri = (uint32_t)redirect_uri};
    memcpy(family->challenge, challenge, RANDOM_TEXT_BYTES);
    write_token(grants, &(struct parcel){.id = id, .until_ms = family->code_until_ms, .kind = 'c'},
                code);
}

enum sim_grant_result sim_grants_exchange(struct sim_grants *grants, struct slice code,
                                          size_t redirect_uri, struct slice verifier,
                                          int64_t now_ms, struct sim_family **out) {
    struct parcel parcel;
    char challenge[RANDOM_TEXT_BYTES];
    struct sim_family *family = family_of(grants, code, &parcel);
    if (family == NULL || parcel.kind != 'c') {
        return SIM_GRANT_REFUSED;
    }
    if (family->generation != 0) {
        family->revoked = true;
        return SIM_GRANT_REUSED;
    }
    if (family->revoked || now_ms >= family->code_until_ms ||
        family->redirect_uri != redirect_uri || hash_pkce_challenge(verifier, challenge) != RC_OK ||
        !slice_eq_ct(slice_make(challenge, sizeof challenge),
                     slice_make(family->challenge, sizeof family->challenge))) {
        return SIM_GRANT_REFUSED;
    }
    family->generation = 1;
    family->rotated_ms = now_ms;
    *out = family;
    return SIM_GRANT_OK;
}

enum sim_grant_result sim_grants_refresh(struct sim_grants *grants, struct slice token,
                                         int64_t now_ms, struct sim_family **out) {
    struct parcel parcel;
    struct sim_family *family = family_of(grants, token, &parcel);
    if (family == NULL || parcel.kind != 'r' || family->revoked) {
        return SIM_GRANT_REFUSED;
    }
    bool is_previous = parcel.generation + 1 == family->generation;
    bool in_grace = is_previous && now_ms - family->rotated_ms < grants->reuse_grace_ms;
    if (parcel.generation != family->generation && !in_grace) {
        family->revoked = true;
        return SIM_GRANT_REUSED;
    }
    /* Within its grace an old token brings the same successor as the first time. */
    if (!in_grace) {
        family->generation++;
        family->rotated_ms = now_ms;
    }
    *out = family;
    return SIM_GRANT_OK;
}

void sim_grants_write_access(struct sim_grants *grants, const struct sim_family *family,
                             int64_t now_ms, struct buf *out) {
    struct parcel parcel = {.id = family->id,
                            .until_ms = now_ms + grants->access_ttl_ms,
                            .generation = family->generation,
                            .kind = 'a'};
    write_token(grants, &parcel, out);
}

void sim_grants_write_refresh(struct sim_grants *grants, const struct sim_family *family,
                              struct buf *out) {
    struct parcel parcel = {.id = family->id, .generation = family->generation, .kind = 'r'};
    write_token(grants, &parcel, out);
}

void sim_grants_revoke(struct sim_grants *grants, struct slice token) {
    struct parcel parcel;
    struct sim_family *family = family_of(grants, token, &parcel);
    if (family != NULL) {
        family->revoked = true;
    }
}

bool sim_grants_is_access(const struct sim_grants *grants, struct slice token, int64_t now_ms) {
    struct parcel parcel;
    const struct sim_family *family = family_of(grants, token, &parcel);
    return family != NULL && parcel.kind == 'a' && !family->revoked && now_ms < parcel.until_ms;
}

bool sim_grants_is_live(const struct sim_grants *grants, struct slice token, int64_t now_ms) {
    struct parcel parcel;
    const struct sim_family *family = family_of(grants, token, &parcel);
    if (family == NULL || family->revoked) {
        return false;
    }
    switch (parcel.kind) {
    case 'a':
        return now_ms < parcel.until_ms;
    case 'r':
        return parcel.generation == family->generation;
    default:
        return family->generation == 0 && now_ms < family->code_until_ms;
    }
}
