// SPDX-License-Identifier: MIT
#include "api/openapi.h"

#define REF(name) "{\"$ref\":\"#/components/schemas/" name "\"}"
#define LIST_OF(name) "{\"type\":\"array\",\"items\":" REF(name) "}"
#define JSON "application/json"
#define PAGE "text/html; charset=utf-8"
#define USER "/user/audible"

#define ASIN                                                                                       \
    {                                                                                              \
        .name = "asin", .in = "path", .is_required = true,                                         \
        .description = "The book's id: 1 to 32 letters and digits.",                               \
        .schema = "{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9]{1,32}$\","                      \
                  "\"examples\":[\"B00SAMPLE1\"]}",                                                \
    }
#define LIMIT(most)                                                                                \
    {                                                                                              \
        .name = "limit", .in = "query", .description = "How many; above " most " means " most ".", \
        .schema = "{\"type\":\"integer\",\"minimum\":1,\"default\":20}",                           \
    }
#define QUERY(parameter, text)                                                                     \
    {                                                                                              \
        .name = (parameter), .in = "query", .description = (text),                                 \
        .schema = "{\"type\":\"string\"}",                                                         \
    }

const struct openapi_operation openapi_operations[] = {
    {
        .method = HTTP_POST,
        .path = USER "/oauth/authorize",
        .metric = METRICS_ROUTE_AUTHORIZE,
        .id = "authorize",
        .tag = "link",
        .summary = "Begin to link an account",
        .description =
            "Makes a one-time state and a PKCE verifier, keeps both for 15 minutes, and returns "
            "the provider's URL to send the browser to. The verifier never leaves the server. Sets "
            "a flow cookie, which the browser's way back (GET oauth/callback) needs: a page calls "
            "this same-site and with credentials.",
        .body = REF("AuthorizeRequest"),
        .answers = {{200, "Where to send the browser", JSON, REF("AuthorizeAnswer"),
                     "\"Set-Cookie\":{\"$ref\":\"#/components/headers/FlowCookie\"}"}},
        .errors = {RC_OVERLOADED, RC_STORAGE_UNAVAILABLE, RC_AUTHORIZE_FAILED},
    },
    {
        .method = HTTP_POST,
        .path = USER "/oauth/callback",
        .metric = METRICS_ROUTE_CALLBACK,
        .id = "callback",
        .tag = "link",
        .summary = "Finish linking with code and state",
        .description =
            "For a client that received code and state itself. A state works once, for the user it "
            "was made for. 200 means that the account is stored durably.",
        .body = REF("CallbackRequest"),
        .answers = {{200, "The account is linked", JSON, REF("CallbackAnswer"), NULL}},
        .errors = {RC_INVALID_STATE, RC_CODE_REFUSED, RC_PROVIDER_UNAVAILABLE,
                   RC_STORAGE_UNAVAILABLE, RC_OVERLOADED},
    },
    {
        .method = HTTP_GET,
        .path = USER "/oauth/callback",
        .metric = METRICS_ROUTE_RETURN,
        .id = "browserReturn",
        .tag = "link",
        .summary = "The browser comes back from the provider",
        .description =
            "Called by the provider's redirect, with code and state or with error and state. The "
            "user is the state's; the flow cookie of authorize shows that it is the same browser. "
            "Ends on LATCHKEY_RETURN_URL, with audible=connected or audible=error&reason=... "
            "added, or, where none is set, on a small page.",
        .parameters = {QUERY("code", "The authorization code."),
                       QUERY("state", "The state of authorize."),
                       QUERY("error", "Instead of a code: why the provider gave none."),
                       QUERY("iss", "The provider's issuer (RFC 9207).")},
        .answers = {{303, "To LATCHKEY_RETURN_URL, linked or not", NULL, NULL,
                     "\"Location\":{\"$ref\":\"#/components/headers/Location\"}"},
                    {200, "A page: the account is linked", PAGE, "{\"type\":\"string\"}", NULL},
                    {400, "A page: it is not, and why", PAGE, "{\"type\":\"string\"}", NULL}},
        .fails_with_a_page = true,
    },
    {
        .method = HTTP_GET,
        .path = USER "/connected",
        .metric = METRICS_ROUTE_CONNECTED,
        .id = "connected",
        .tag = "link",
        .summary = "Is an account linked?",
        .description = "Without an account: connected is false and the other three are null.",
        .answers = {{200, "What is known of the account", JSON, REF("ConnectedAnswer"), NULL}},
        .errors = {RC_STORAGE_UNAVAILABLE},
    },
    {
        .method = HTTP_POST,
        .path = USER "/disconnect",
        .metric = METRICS_ROUTE_DISCONNECT,
        .id = "disconnect",
        .tag = "link",
        .summary = "Unlink the account",
        .description = "Deletes the tokens, and revokes the refresh token at the provider where it "
                       "has an endpoint for that.",
        .answers = {{200, "The account is gone", JSON, REF("DisconnectAnswer"), NULL}},
        .errors = {RC_NO_ACCOUNT, RC_STORAGE_UNAVAILABLE},
    },
    {
        .method = HTTP_POST,
        .path = USER "/library/sync",
        .metric = METRICS_ROUTE_SYNC,
        .id = "librarySync",
        .tag = "books",
        .summary = "Walk through the whole library",
        .description = "Reads every page of the library and counts its books. Takes up to 300 s.",
        .answers = {{200, "How many books there are", JSON, REF("SyncAnswer"), NULL}},
        .errors = {RC_NOT_CONNECTED, RC_PROVIDER_UNAVAILABLE, RC_STORAGE_UNAVAILABLE,
                   RC_OVERLOADED},
    },
    {
        .method = HTTP_GET,
        .path = USER "/library",
        .metric = METRICS_ROUTE_LIBRARY,
        .id = "library",
        .tag = "books",
        .summary = "The user's audiobooks",
        .description = "Refreshes the access token first where that is due.",
        .parameters = {{.name = "skip",
                        .in = "query",
                        .description = "How many to leave out.",
                        .schema = "{\"type\":\"integer\",\"minimum\":0,\"default\":0}"},
                       LIMIT("100")},
        .answers = {{200, "Audiobooks, the newest first", JSON, LIST_OF("Audiobook"), NULL}},
        .errors = {RC_INVALID_REQUEST, RC_NOT_CONNECTED, RC_NOT_CONFIGURED, RC_PROVIDER_UNAVAILABLE,
                   RC_STORAGE_UNAVAILABLE, RC_OVERLOADED},
    },
    {
        .method = HTTP_GET,
        .path = USER "/search",
        .metric = METRICS_ROUTE_SEARCH,
        .id = "search",
        .tag = "books",
        .summary = "Search the catalog",
        .description = "Needs no linked account.",
        .parameters = {{.name = "q",
                        .in = "query",
                        .is_required = true,
                        .description = "What to search for: at least 2 characters.",
                        .schema = "{\"type\":\"string\",\"minLength\":2}"},
                       LIMIT("50")},
        .answers = {{200, "Audiobooks", JSON, LIST_OF("Audiobook"), NULL}},
        .errors = {RC_INVALID_REQUEST, RC_QUERY_TOO_SHORT, RC_PROVIDER_UNAVAILABLE, RC_OVERLOADED},
    },
    {
        .method = HTTP_GET,
        .path = USER "/{asin}/details",
        .metric = METRICS_ROUTE_DETAILS,
        .id = "details",
        .tag = "books",
        .summary = "One audiobook",
        .description = "From the catalog; needs no linked account.",
        .parameters = {ASIN},
        .answers = {{200, "The audiobook", JSON, REF("Audiobook"), NULL}},
        .errors = {RC_BOOK_ABSENT, RC_PROVIDER_UNAVAILABLE, RC_OVERLOADED},
    },
    {
        .method = HTTP_GET,
        .path = USER "/{asin}/play-url",
        .metric = METRICS_ROUTE_PLAY_URL,
        .id = "playUrl",
        .tag = "books",
        .summary = "Where to listen to an audiobook",
        .description = "Asks nobody: the book may not exist.",
        .parameters = {ASIN,
                       {.name = "platform",
                        .in = "query",
                        .description = "Where it is to be played.",
                        .schema = "{\"type\":\"string\",\"enum\":[\"web\",\"ios\",\"android\"],"
                                  "\"default\":\"web\"}"}},
        .answers = {{200, "A URL to open", JSON, REF("PlayUrlAnswer"), NULL}},
        .errors = {RC_INVALID_REQUEST, RC_BOOK_ABSENT},
    },
    {
        .method = HTTP_GET,
        .path = "/healthz",
        .metric = METRICS_ROUTE_HEALTHZ,
        .id = "healthz",
        .tag = "operation",
        .summary = "Does the event loop turn?",
        .description = "For a liveness probe.",
        .answers = {{200, "It does", JSON, REF("Health"), NULL}},
    },
    {
        .method = HTTP_GET,
        .path = "/health",
        .metric = METRICS_ROUTE_HEALTHZ,
        .id = "health",
        .tag = "operation",
        .summary = "The same as /healthz",
        .description = "Another name of it.",
        .answers = {{200, "It does", JSON, REF("Health"), NULL}},
    },
    {
        .method = HTTP_GET,
        .path = "/readyz",
        .metric = METRICS_ROUTE_READYZ,
        .id = "readyz",
        .tag = "operation",
        .summary = "Do the stores answer?",
        .description = "For a readiness probe; says 503 while the server drains, and until the "
                       "first published keys have come where LATCHKEY_JWKS_URL is set.",
        .answers = {{200, "All of them", JSON, REF("Readiness"), NULL},
                    {503, "Not all of them, or the server is about to stop", JSON, REF("Readiness"),
                     NULL}},
    },
    {
        .method = HTTP_GET,
        .path = "/metrics",
        .metric = METRICS_ROUTE_METRICS,
        .id = "metrics",
        .tag = "operation",
        .summary = "Metrics for Prometheus",
        .description = "On a port of its own where LATCHKEY_METRICS_LISTEN is set; here only where "
                       "the server listens on loopback or a unix socket and nothing else.",
        .answers = {{200, "Prometheus' text format", "text/plain; version=0.0.4; charset=utf-8",
                     "{\"type\":\"string\"}", NULL}},
        .errors = {RC_OVERLOADED},
    },
    {
        .method = HTTP_GET,
        .path = "/openapi.json",
        .metric = METRICS_ROUTE_OPENAPI,
        .id = "openapi",
        .tag = "operation",
        .summary = "This document",
        .description = "Also below the API's prefix.",
        .answers = {{200, "OpenAPI 3.1", JSON, "{\"type\":\"object\"}", NULL}},
        .errors = {RC_OVERLOADED},
    },
    {
        .method = HTTP_GET,
        .path = "/docs",
        .metric = METRICS_ROUTE_DOCS,
        .id = "docs",
        .tag = "operation",
        .summary = "This document as a page to try it on",
        .description = "Works offline: all that it loads comes from here.",
        .answers = {{200, "The page", PAGE, "{\"type\":\"string\"}", NULL}},
        .errors = {RC_OVERLOADED},
    },
    {.method = HTTP_GET, .path = "/docs/docs.css", .metric = METRICS_ROUTE_DOCS},
    {.method = HTTP_GET, .path = "/docs/docs.js", .metric = METRICS_ROUTE_DOCS},
    {.method = HTTP_GET, .path = "/docs/swagger-ui.css", .metric = METRICS_ROUTE_DOCS},
    {.method = HTTP_GET, .path = "/docs/swagger-ui-bundle.js", .metric = METRICS_ROUTE_DOCS},
};
const size_t openapi_operation_count = sizeof openapi_operations / sizeof openapi_operations[0];
