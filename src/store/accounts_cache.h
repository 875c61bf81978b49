// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "store/accounts.h"

/* What accounts_cached() asks: views by user, "no account" too; no token, sealed or not. Bounded,
 * O(1); what was asked for lately stays. Only store/accounts calls it, on the loop.
 *
 * It never holds anything older than the last committed write. A write takes the user's entry out
 * before the store hears of it, and while one is open nothing is put in; a read puts its result in
 * only if no write was open at any moment since it started. Where other processes write too it
 * can't know of theirs, so what it holds is good for `keep_ms` only. */
struct accounts_cache;

/* `keep_ms` 0: for ever; then `loop` is not used. */
struct accounts_cache *accounts_cache_new(struct loop *loop, size_t max, int64_t keep_ms);
void accounts_cache_free(struct accounts_cache *cache);

/* True where it knows. `out` is borrowed until the next call into the cache. */
bool accounts_cache_get(struct accounts_cache *cache, struct slice user_id,
                        struct account_view *out);

/* Forgets all, and what reads that are under way bring. */
void accounts_cache_clear(struct accounts_cache *cache);

/* Around a read: what start returned is given to end, with what was read (NULL: it failed). */
uint32_t accounts_cache_read_start(const struct accounts_cache *cache, struct slice user_id);
void accounts_cache_read_end(struct accounts_cache *cache, struct slice user_id, uint32_t started,
                             const struct account_view *view);

/* Around a write: end is called in the order of the commits, with what the store now holds (NULL:
 * unknown). */
void accounts_cache_write_start(struct accounts_cache *cache, struct slice user_id);
void accounts_cache_write_end(struct accounts_cache *cache, struct slice user_id,
                              const struct account_view *view);
