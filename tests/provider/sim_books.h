// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/jsonw.h"
#include "base/slice.h"

/* A made-up catalogue: book n is always the same book. Some lack a narrator, a rating or a
 * description, as real ones do. */
enum { SIM_CATALOGUE_EXTRA = 1200, SIM_LIBRARY_MAX = 100000, SIM_ASIN_BYTES = 11 };

struct sim_book {
    char asin[SIM_ASIN_BYTES];
    char title[96];
    char author[64];
    char narrator[64]; /* empty: none */
    char description[512];
    int64_t runtime_ms;
    int rating_tenths; /* 0: none */
    uint64_t dice;     /* for its cover */
};

void sim_books_make(size_t n, struct sim_book *out);

/* False where the ASIN is none of the first `count` books. */
bool sim_books_find(struct slice asin, size_t count, size_t *n);

/* Every word of `query` is in its title, author or narrator, in any case. */
bool sim_books_match(const struct sim_book *book, struct slice query);

/* The product object. `url` is where the cover's path is appended to. */
void sim_books_write(const struct sim_book *book, const char *url, struct jsonw *w);

/* Its cover, an SVG of 500 by 500. */
void sim_cover_write(const struct sim_book *book, struct buf *out);
