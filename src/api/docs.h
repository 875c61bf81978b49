// SPDX-License-Identifier: MIT
#pragma once

#include "base/slice.h"

/* The files of the page /docs: the path of each, its name in the folder of them, and its type. */
#define DOCS_MAP(X)                                                                                \
    X(PAGE, "/docs", "index.html", "text/html; charset=utf-8")                                     \
    X(STYLE, "/docs/docs.css", "docs.css", "text/css; charset=utf-8")                              \
    X(SCRIPT, "/docs/docs.js", "docs.js", "text/javascript; charset=utf-8")                        \
    X(SWAGGER_STYLE, "/docs/swagger-ui.css", "swagger-ui.css", "text/css; charset=utf-8")          \
    X(SWAGGER_SCRIPT, "/docs/swagger-ui-bundle.js", "swagger-ui-bundle.js",                        \
      "text/javascript; charset=utf-8")

#define DOCS_ENUM(id, path, file, type) DOCS_##id,
enum docs_file { DOCS_MAP(DOCS_ENUM) DOCS_FILES };
#undef DOCS_ENUM

/* Their contents. */
struct docs {
    struct slice files[DOCS_FILES];
};
