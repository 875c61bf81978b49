// SPDX-License-Identifier: MIT
#include "api/docs.h"

#include "api/endpoints.h"
#include "api/reply.h"
#include "api/routes.h"

/* Scripts and styles are files, which need no allowance; Swagger UI's own style sheet holds its
 * pictures as data: URLs. The page calls this server only. */
#define DOCS_CSP                                                                                   \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "              \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

void ep_openapi(struct call *call) {
    reply_open(call, &(struct reply){.status = 200,
                                     .content_type = SLICE("application/json"),
                                     .body = buf_slice(&call->api->openapi)});
}

void ep_docs(struct call *call) {
#define DOCS_ROW(id, path, file, type) {path, type},
    static const struct {
        const char *path;
        const char *type;
    } rows[] = {DOCS_MAP(DOCS_ROW)};
#undef DOCS_ROW
    struct slice path = slice_str(call->route->path);
    size_t i = 0;
    while (!slice_eq(slice_str(rows[i].path), path)) {
        i++; /* the route table has no path of ours that isn't here: a unit test looks */
    }
    reply_open(call, &(struct reply){.status = 200,
                                     .content_type = slice_str(rows[i].type),
                                     .body = call->api->opts.docs->files[i],
                                     .csp = SLICE(DOCS_CSP)});
}
