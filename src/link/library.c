// SPDX-License-Identifier: MIT
#include "link/library.h"

static void get_token(struct library *library, struct slice refused);
static void on_token(struct fresh_token *token);
static void get_page(struct library *library);
static void on_page(struct books_op *books);

void library_open(struct linker *linker, struct library *library) {
    library->linker = linker;
    library->step = LIBRARY_IDLE;
}

static void forget_account(struct library *library) {
    secret_free(&library->access_token);
    mem_free(library->fence);
    mem_free(library->audible_user_id);
    library->fence = NULL;
    library->audible_user_id = NULL;
}

void library_close(struct library *library) {
    forget_account(library);
}

static void finish(struct library *library, enum rc rc) {
    library->step = LIBRARY_IDLE;
    library->rc = library->is_canceled ? RC_CANCELED : rc;
    if (library->rc != RC_OK) {
        buf_fini(&library->json);
    }
    library->done(library);
}

void library_page(struct library *library, uint64_t skip, uint64_t limit, bool is_counted_only,
                  void (*done)(struct library *library)) {
    library->done = done;
    library->skip = skip;
    library->limit = limit;
    library->is_counted_only = is_counted_only;
    library->is_refused = false;
    library->json = (struct buf){0};
    library->count = 0;
    if (library->access_token.at == NULL) {
        get_token(library, SLICE_NULL);
    } else {
        get_page(library);
    }
}

static void get_token(struct library *library, struct slice refused) {
    library->step = LIBRARY_TOKEN;
    library->token = (struct fresh_token){
        .user_id = library->user_id,
        .request_id = library->request_id,
        .client = library->client,
        .refused = refused,
        .deadline_ms = library->deadline_ms,
    };
    fresh_token_get(library->linker->fresh_tokens, &library->token, on_token);
}

static char *copy_or_null(struct slice text) {
    return slice_is_null(text) ? NULL : mem_strdup(text);
}

static void on_token(struct fresh_token *token) {
    struct library *library = LIST_ENTRY(token, struct library, token);
    forget_account(library);
    if (token->rc != RC_OK || library->is_canceled) {
        finish(library, token->rc);
        return;
    }
    library->access_token = secret_copy(token->access_token);
    library->fence = copy_or_null(token->sealed_refresh);
    library->audible_user_id = copy_or_null(token->audible_user_id);
    get_page(library);
}

static void get_page(struct library *library) {
    const struct books_caller caller = {
        .user_id = library->user_id,
        .request_id = library->request_id,
        .deadline_ms = library->deadline_ms,
    };
    const struct books_page page = {
        .access_token = secret_slice(&library->access_token),
        .skip = library->skip,
        .limit = library->limit,
        .is_counted_only = library->is_counted_only,
    };
    library->step = LIBRARY_PAGE;
    books_library(library->linker->provider, &library->books, &caller, &page, on_page);
}

static void on_page(struct books_op *books) {
    struct library *library = LIST_ENTRY(books, struct library, books);
    if (books->rc == RC_TOKEN_REFUSED && !library->is_refused && !library->is_canceled) {
        library->is_refused = true;
        get_token(library, secret_slice(&library->access_token));
        return;
    }
    library->json = books->json;
    library->count = books->count;
    books->json = (struct buf){0};
    finish(library, books->rc == RC_TOKEN_REFUSED ? RC_PROVIDER_UNAVAILABLE : books->rc);
}

void library_cancel(struct library *library) {
    library->is_canceled = true;
    if (library->step == LIBRARY_TOKEN) {
        fresh_token_cancel(&library->token);
    } else if (library->step == LIBRARY_PAGE) {
        books_cancel(&library->books);
    }
}
