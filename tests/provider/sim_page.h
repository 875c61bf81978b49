// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

struct sim_answer;

/* The files of page/, compiled in (page.cmake). */
struct sim_page_file {
    const char *name;
    const unsigned char *bytes;
    size_t n;
};
extern const struct sim_page_file sim_page_files[];
extern const size_t sim_page_file_count;

/* Of the provider's own pages; the form's target origins follow. */
#define SIM_PAGE_PROVIDER_CSP                                                                      \
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "                      \
    "frame-ancestors 'none'; form-action 'self'"

/* Fills in a template's {{name}}s and answers with it. */
struct sim_page_field {
    const char *name;
    struct slice value;
    bool is_html; /* else it is escaped */
};
void sim_page_render(struct sim_answer *answer, const char *name,
                     const struct sim_page_field *fields, size_t count);

/* Text for HTML, attributes too, and SVG. */
void sim_page_escape(struct buf *out, struct slice text);
