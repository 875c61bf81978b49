// SPDX-License-Identifier: MIT
#include "store/accounts_mongo_row.h"

#include "store/mongo_driver.h"

#define SYNC_TEXT(name, text) [ACCOUNT_SYNC_##name] = text,
static const char *const sync_texts[] = {ACCOUNT_SYNC_MAP(SYNC_TEXT)};
enum { SYNC_COUNT = sizeof sync_texts / sizeof sync_texts[0] };

static void add_sync(bson_t *set, const struct accounts_row *row) {
    mongo_add_text(set, "last_sync_error", row->last_sync_error);
    mongo_add_text(set, "sync_status", slice_str(sync_texts[row->sync_status]));
}

static void add_tokens(bson_t *set, const struct accounts_row *row) {
    mongo_add_text(set, "access_token", row->access_token);
    mongo_add_text(set, "refresh_token", row->refresh_token);
    mongo_add_time(set, "expires_at", row->expires_ms);
}

void accounts_mongo_row_write(bson_t *update, const struct accounts_row *row) {
    bson_t set;
    bson_append_document_begin(update, "$set", -1, &set);
    mongo_add_text(&set, "audible_user_id", row->audible_user_id);
    add_tokens(&set, row);
    mongo_add_time(&set, "connected_at", row->connected_ms);
    mongo_add_time_or_null(&set, "synced_at", row->synced_ms);
    bson_append_null(&set, "state_token", -1);
    add_sync(&set, row);
    bson_append_bool(&set, "is_active", -1, true);
    bson_append_document_end(update, &set);
}

void accounts_mongo_row_write_tokens(bson_t *update, const struct accounts_row *row) {
    bson_t set;
    bson_append_document_begin(update, "$set", -1, &set);
    add_tokens(&set, row);
    bson_append_document_end(update, &set);
}

void accounts_mongo_row_write_sync(bson_t *update, const struct accounts_row *row) {
    bson_t set;
    bson_append_document_begin(update, "$set", -1, &set);
    add_sync(&set, row);
    if (row->synced_ms != 0) {
        mongo_add_time(&set, "synced_at", row->synced_ms);
    }
    bson_append_document_end(update, &set);
}

/* With a NUL: even an empty one has a place. */
static struct slice keep(struct buf *bytes, struct slice text) {
    if (slice_is_null(text)) {
        return text;
    }
    const char *at = bytes->at + bytes->len;
    buf_append(bytes, text);
    buf_append_char(bytes, '\0');
    return slice_make(at, text.len);
}

static enum account_sync read_sync(const bson_t *document) {
    struct slice text = mongo_text(document, "sync_status");
    for (int i = 0; i < SYNC_COUNT; i++) {
        if (slice_eq(text, slice_str(sync_texts[i]))) {
            return (enum account_sync)i;
        }
    }
    return ACCOUNT_SYNC_PENDING;
}

enum rc accounts_mongo_row_read(const bson_t *document, struct accounts_backend_op *op) {
    struct buf *bytes = &op->bytes;
    struct slice user_id = mongo_text(document, "user_id");
    struct slice audible_user_id = mongo_text(document, "audible_user_id");
    struct slice access_token = mongo_text(document, "access_token");
    struct slice refresh_token = mongo_text(document, "refresh_token");
    struct slice last_sync_error = mongo_text(document, "last_sync_error");
    size_t total = user_id.len + audible_user_id.len + access_token.len + refresh_token.len +
                   last_sync_error.len + 5;
    buf_clear(bytes);
    if (buf_reserve(bytes, total) == NULL) { /* once, as nothing may move later */
        return RC_STORAGE_UNAVAILABLE;
    }
    op->row = (struct accounts_row){
        .user_id = keep(bytes, user_id),
        .audible_user_id = keep(bytes, audible_user_id),
        .access_token = keep(bytes, slice_is_null(access_token) ? SLICE("") : access_token),
        .refresh_token = keep(bytes, refresh_token),
        .last_sync_error = keep(bytes, last_sync_error),
        .expires_ms = mongo_time(document, "expires_at"),
        .connected_ms = mongo_time(document, "connected_at"),
        .synced_ms = mongo_time(document, "synced_at"),
        .sync_status = read_sync(document),
    };
    return RC_OK;
}

void accounts_mongo_row_project(bson_t *opts) {
    static const char *const fields[] = {"user_id",       "audible_user_id", "access_token",
                                         "refresh_token", "last_sync_error", "expires_at",
                                         "connected_at",  "synced_at",       "sync_status"};
    bson_t projection;
    bson_append_document_begin(opts, "projection", -1, &projection);
    bson_append_int32(&projection, "_id", -1, 0);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        bson_append_int32(&projection, fields[i], -1, 1);
    }
    bson_append_document_end(opts, &projection);
}

void accounts_mongo_row_exclude(bson_t *filter, struct slice last_sync_error) {
    bson_t list;
    bson_t condition;
    bson_append_array_begin(filter, "$nor", -1, &list);
    bson_append_document_begin(&list, "0", -1, &condition);
    mongo_add_text(&condition, "sync_status", slice_str(sync_texts[ACCOUNT_SYNC_FAILED]));
    mongo_add_text(&condition, "last_sync_error", last_sync_error);
    bson_append_document_end(&list, &condition);
    bson_append_array_end(filter, &list);
}
