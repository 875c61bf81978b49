// SPDX-License-Identifier: MIT
#pragma once

#include <bson/bson.h>

#include "store/accounts_backend.h"

/* Between a row and the platform's document: `user_id` (string), `audible_user_id` (string or
 * null), `access_token`, `refresh_token` (Fernet text; null: none), `expires_at`, `connected_at`,
 * `synced_at` (UTC datetimes; the last null: never), `state_token` (null), `last_sync_error`
 * (string or null), `sync_status` (pending, synced, failed), `is_active` (boolean). */

/* {$set: ...} of all but user_id. */
void accounts_mongo_row_write(bson_t *update, const struct accounts_row *row);
/* {$set: ...} of what swap replaces. */
void accounts_mongo_row_write_tokens(bson_t *update, const struct accounts_row *row);
/* {$set: ...} of what mark replaces. */
void accounts_mongo_row_write_sync(bson_t *update, const struct accounts_row *row);

/* Into op->row and op->bytes. A field that is absent or of another type is one that says nothing.
 * RC_STORAGE_UNAVAILABLE: more than op->bytes may hold. */
enum rc accounts_mongo_row_read(const bson_t *document, struct accounts_backend_op *op);

/* Adds find's option that names the fields which the above looks at: a document may have more. */
void accounts_mongo_row_project(bson_t *opts);

/* Adds to a filter that a sync which failed with this error is not met. */
void accounts_mongo_row_exclude(bson_t *filter, struct slice last_sync_error);
