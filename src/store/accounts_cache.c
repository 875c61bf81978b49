// SPDX-License-Identifier: MIT
#include "store/accounts_cache.h"

#include <stdlib.h>

#include "base/keyhash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/slots.h"

enum {
    GENERATIONS = 16384, /* users that share one only keep each other out for a moment */
    HAND_STEPS_MAX = 32,
};

/* Its texts in one piece of memory: user_id, audible_user_id, last_sync_error. */
struct entry {
    uint32_t next;
    bool recent; /* asked for since the hand came by */
    bool connected;
    bool has_audible_user_id;
    bool has_last_sync_error;
    uint32_t user_id_len;
    uint32_t audible_user_id_len;
    uint32_t last_sync_error_len;
    uint64_t hash;
    int64_t connected_ms;
    int64_t synced_ms;
    int64_t until_ms; /* loop_now_ms; where the cache keeps nothing for ever */
    char *text;
};

/* Of all users whose hash falls on it. */
struct generation {
    uint32_t number; /* counts starts and ends of writes */
    uint32_t writes; /* open */
};

struct accounts_cache {
    struct loop *loop;
    int64_t keep_ms; /* 0: for ever */
    struct slots entries;
    struct slots_index by_user;
    struct keyhash user_hash;
    uint32_t hand; /* of the clock that looks for an entry to give up */
    struct generation generations[GENERATIONS];
};

struct accounts_cache *accounts_cache_new(struct loop *loop, size_t max, int64_t keep_ms) {
    struct accounts_cache *cache = mem_calloc(1, sizeof *cache);
    cache->loop = loop;
    cache->keep_ms = keep_ms;
    if (keyhash_init(&cache->user_hash) != RC_OK) {
        abort(); /* as in states_mem: nothing works without randomness */
    }
    slots_init(&cache->entries, sizeof(struct entry), (uint32_t)max);
    slots_index_init(&cache->by_user, (uint32_t)max);
    return cache;
}

static struct entry *entry_at(const struct accounts_cache *cache, uint32_t number) {
    return slots_at(&cache->entries, number);
}

static void drop(struct accounts_cache *cache, uint32_t number) {
    struct entry *entry = entry_at(cache, number);
    slots_index_drop(&cache->by_user, &cache->entries, entry->hash, number);
    mem_free(entry->text);
    slots_give(&cache->entries, number);
}

void accounts_cache_free(struct accounts_cache *cache) {
    if (cache == NULL) {
        return;
    }
    for (uint32_t number = cache->entries.fresh; number > 0; number--) {
        mem_free(entry_at(cache, number)->text); /* NULL where the entry is not in use */
    }
    slots_index_fini(&cache->by_user);
    slots_fini(&cache->entries);
    mem_free(cache);
}

static uint32_t find(const struct accounts_cache *cache, uint64_t hash, struct slice user_id) {
    uint32_t number = *slots_index_head(&cache->by_user, hash);
    while (number != 0) {
        const struct entry *entry = entry_at(cache, number);
        if (entry->hash == hash && slice_eq(slice_make(entry->text, entry->user_id_len), user_id)) {
            break;
        }
        number = entry->next;
    }
    return number;
}

static struct slice text_of(bool there, const char *at, size_t len) {
    return there ? slice_make(at, len) : SLICE_NULL;
}

bool accounts_cache_get(struct accounts_cache *cache, struct slice user_id,
                        struct account_view *out) {
    uint32_t number = find(cache, keyhash_of(&cache->user_hash, user_id), user_id);
    if (number == 0) {
        return false;
    }
    struct entry *entry = entry_at(cache, number);
    if (cache->keep_ms != 0 && loop_now_ms(cache->loop) >= entry->until_ms) {
        return false;
    }
    const char *audible_user_id = entry->text + entry->user_id_len;
    const char *last_sync_error = audible_user_id + entry->audible_user_id_len;
    entry->recent = true;
    *out = (struct account_view){
        .connected = entry->connected,
        .audible_user_id =
            text_of(entry->has_audible_user_id, audible_user_id, entry->audible_user_id_len),
        .connected_ms = entry->connected_ms,
        .synced_ms = entry->synced_ms,
        .last_sync_error =
            text_of(entry->has_last_sync_error, last_sync_error, entry->last_sync_error_len),
    };
    return true;
}

/* A full cache gives up the first entry that nobody asked for since the hand came by, of a bounded
 * number that it looks at. */
static void make_room(struct accounts_cache *cache) {
    if (cache->entries.used < cache->entries.max) {
        return;
    }
    for (int step = 0; step < HAND_STEPS_MAX; step++) {
        cache->hand = cache->hand % cache->entries.max + 1;
        struct entry *entry = entry_at(cache, cache->hand);
        if (!entry->recent) {
            break;
        }
        entry->recent = false;
    }
    drop(cache, cache->hand);
}

static char *append(char *at, struct slice text) {
    if (text.len > 0) {
        memcpy(at, text.at, text.len);
    }
    return at + text.len;
}

static void put(struct accounts_cache *cache, uint64_t hash, struct slice user_id,
                const struct account_view *view) {
    uint32_t old = find(cache, hash, user_id);
    if (old != 0) {
        drop(cache, old);
    }
    if (view->audible_user_id.len > LIMIT_PROVIDER_USER_ID_BYTES ||
        view->last_sync_error.len > LIMIT_PROVIDER_USER_ID_BYTES) {
        return; /* not ours: a row that something else wrote */
    }
    make_room(cache);
    uint32_t number = slots_take(&cache->entries);
    struct entry *entry = entry_at(cache, number);
    *entry = (struct entry){
        .connected = view->connected,
        .has_audible_user_id = !slice_is_null(view->audible_user_id),
        .has_last_sync_error = !slice_is_null(view->last_sync_error),
        .user_id_len = (uint32_t)user_id.len,
        .audible_user_id_len = (uint32_t)view->audible_user_id.len,
        .last_sync_error_len = (uint32_t)view->last_sync_error.len,
        .hash = hash,
        .connected_ms = view->connected_ms,
        .synced_ms = view->synced_ms,
        .until_ms = cache->keep_ms != 0 ? loop_now_ms(cache->loop) + cache->keep_ms : 0,
    };
    entry->text = mem_alloc(user_id.len + view->audible_user_id.len + view->last_sync_error.len);
    append(append(append(entry->text, user_id), view->audible_user_id), view->last_sync_error);
    slots_index_add(&cache->by_user, &cache->entries, hash, number);
}

static size_t generation_of(uint64_t hash) {
    return (size_t)(hash >> 32) % GENERATIONS;
}

void accounts_cache_clear(struct accounts_cache *cache) {
    for (uint32_t number = cache->entries.fresh; number > 0; number--) {
        if (entry_at(cache, number)->text != NULL) {
            drop(cache, number);
        }
    }
    for (size_t i = 0; i < GENERATIONS; i++) {
        cache->generations[i].number++;
    }
}

uint32_t accounts_cache_read_start(const struct accounts_cache *cache, struct slice user_id) {
    return cache->generations[generation_of(keyhash_of(&cache->user_hash, user_id))].number;
}

void accounts_cache_read_end(struct accounts_cache *cache, struct slice user_id, uint32_t started,
                             const struct account_view *view) {
    uint64_t hash = keyhash_of(&cache->user_hash, user_id);
    const struct generation *generation = &cache->generations[generation_of(hash)];
    if (view != NULL && generation->writes == 0 && generation->number == started) {
        put(cache, hash, user_id, view);
    }
}

void accounts_cache_write_start(struct accounts_cache *cache, struct slice user_id) {
    uint64_t hash = keyhash_of(&cache->user_hash, user_id);
    struct generation *generation = &cache->generations[generation_of(hash)];
    generation->number++;
    generation->writes++;
    uint32_t number = find(cache, hash, user_id);
    if (number != 0) {
        drop(cache, number);
    }
}

void accounts_cache_write_end(struct accounts_cache *cache, struct slice user_id,
                              const struct account_view *view) {
    uint64_t hash = keyhash_of(&cache->user_hash, user_id);
    struct generation *generation = &cache->generations[generation_of(hash)];
    generation->number++;
    generation->writes--;
    if (view != NULL && generation->writes == 0) {
        put(cache, hash, user_id, view);
    }
}
