// SPDX-License-Identifier: MIT
#include "base/mem.h"
#include "store/mongo_driver.h"

void mongo_add_text(bson_t *document, const char *name, struct slice text) {
    if (slice_is_null(text)) {
        bson_append_null(document, name, -1);
    } else {
        bson_append_utf8(document, name, -1, text.at, (int)text.len);
    }
}

void mongo_add_time(bson_t *document, const char *name, int64_t wall_ms) {
    bson_append_date_time(document, name, -1, wall_ms);
}

void mongo_add_time_or_null(bson_t *document, const char *name, int64_t wall_ms) {
    if (wall_ms == 0) {
        bson_append_null(document, name, -1);
    } else {
        mongo_add_time(document, name, wall_ms);
    }
}

void mongo_add_not_false(bson_t *document, const char *name) {
    bson_t condition;
    bson_append_document_begin(document, name, -1, &condition);
    bson_append_bool(&condition, "$ne", -1, false);
    bson_append_document_end(document, &condition);
}

/* The memory is the document's own, whatever its getter says. */
void mongo_wipe(bson_t *document) {
    mem_wipe((void *)(uintptr_t)bson_get_data(document), document->len);
    bson_destroy(document);
}

struct slice mongo_text(const bson_t *document, const char *name) {
    bson_iter_t at;
    uint32_t len;
    if (!bson_iter_init_find(&at, document, name) || !BSON_ITER_HOLDS_UTF8(&at)) {
        return SLICE_NULL;
    }
    const char *text = bson_iter_utf8(&at, &len);
    return slice_make(text, len);
}

int64_t mongo_time(const bson_t *document, const char *name) {
    bson_iter_t at;
    bool found = bson_iter_init_find(&at, document, name) && BSON_ITER_HOLDS_DATE_TIME(&at);
    return found ? bson_iter_date_time(&at) : 0;
}
