// SPDX-License-Identifier: MIT
#include "io/upstream_url.h"

#include <curl/curl.h>
#include <string.h>

#include "base/slice.h"

static bool has_part(CURLU *url, CURLUPart part) {
    char *text = NULL;
    CURLUcode code = curl_url_get(url, part, &text, 0);
    curl_free(text);
    return code == CURLUE_OK;
}

static bool part_is(CURLU *url, CURLUPart part, const char *wanted) {
    char *text = NULL;
    bool same = curl_url_get(url, part, &text, 0) == CURLUE_OK && strcmp(text, wanted) == 0;
    curl_free(text);
    return same;
}

/* The library has brought a numeric host into its usual form by now ("127.1" is "127.0.0.1"), but a
 * name that merely starts like one ("127.0.0.1.example.org") must not pass. */
static bool is_loopback(CURLU *url) {
    char *host = NULL;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        return false;
    }
    struct slice name = slice_str(host);
    bool found = slice_ieq(name, SLICE("localhost")) || slice_eq(name, SLICE("[::1]"));
    if (!found && slice_starts(name, SLICE("127.")) && strspn(host, "0123456789.") == name.len) {
        found = true;
    }
    curl_free(host);
    return found;
}

enum rc upstream_url_read(const char *text, struct upstream_url *out) {
    *out = (struct upstream_url){0};
    CURLU *url = curl_url();
    if (url == NULL) {
        return RC_IO;
    }
    enum rc rc = RC_MALFORMED;
    if (strstr(text, "://") != NULL &&
        curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        has_part(url, CURLUPART_HOST)) {
        out->is_https = part_is(url, CURLUPART_SCHEME, "https");
        out->is_http = part_is(url, CURLUPART_SCHEME, "http");
        out->is_loopback = is_loopback(url);
        out->has_user = has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD);
        out->has_query = has_part(url, CURLUPART_QUERY);
        out->has_fragment = has_part(url, CURLUPART_FRAGMENT);
        rc = RC_OK;
    }
    curl_url_cleanup(url);
    return rc;
}

const char *upstream_url_library_version(void) {
    return curl_version();
}
