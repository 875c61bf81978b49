// SPDX-License-Identifier: MIT
#include "api/openapi.h"

#define OBJECT(required, properties)                                                               \
    "{\"type\":\"object\",\"required\":[" required "],\"properties\":{" properties "}}"
#define TEXT(name, description)                                                                    \
    "\"" name "\":{\"type\":\"string\",\"description\":\"" description "\"}"
#define TEXT_OR_NULL(name, description)                                                            \
    "\"" name "\":{\"type\":[\"string\",\"null\"],\"description\":\"" description "\"}"
#define CONSTANT(name, value) "\"" name "\":{\"type\":\"string\",\"const\":\"" value "\"}"
#define TIME(name, type, description)                                                              \
    "\"" name "\":{\"type\":" type ",\"format\":\"date-time\",\"description\":\"" description "\"" \
    "}"
#define CHECK(name) "\"" name "\":{\"type\":\"string\"}"

/* clang-format off */
const char openapi_schemas[] =
    "\"Error\":" OBJECT("\"detail\"",
        TEXT("detail", "A code, always one of those that the response lists.") ","
        "\"errors\":{\"type\":\"array\",\"description\":\"Of invalid_request: an entry a field.\","
        "\"items\":{\"$ref\":\"#/components/schemas/FieldError\"}}") ","

    "\"FieldError\":" OBJECT("\"loc\",\"msg\"",
        "\"loc\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},"
        "\"description\":\"Where: body or query, then the field.\"},"
        TEXT("msg", "What is wrong with it.")) ","

    "\"AuthorizeRequest\":" OBJECT("\"redirect_uri\"",
        TEXT("redirect_uri", "Used where it is, to the letter, one of the redirect URIs that the "
             "server allows; else the server's own is, so that an empty string will do.")) ","

    "\"AuthorizeAnswer\":" OBJECT(
        "\"auth_url\",\"state\",\"code_challenge\",\"code_challenge_method\"",
        "\"auth_url\":{\"type\":\"string\",\"format\":\"uri\","
        "\"description\":\"Where to send the browser.\"},"
        TEXT("state", "43 characters; comes back with the browser.") ","
        TEXT("code_challenge", "43 characters (RFC 7636).") ","
        CONSTANT("code_challenge_method", "S256")) ","

    "\"CallbackRequest\":" OBJECT("\"code\",\"state\"",
        "\"code\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":4096},"
        "\"state\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":4096}") ","

    "\"CallbackAnswer\":" OBJECT("\"status\",\"audible_user_id\",\"synced_at\"",
        CONSTANT("status", "connected") ","
        TEXT_OR_NULL("audible_user_id", "The user's id at the provider.") ","
        TIME("synced_at", "\"string\"", "When the account was linked.")) ","

    "\"ConnectedAnswer\":" OBJECT(
        "\"connected\",\"audible_user_id\",\"synced_at\",\"last_sync_error\"",
        "\"connected\":{\"type\":\"boolean\"},"
        TEXT_OR_NULL("audible_user_id", "The user's id at the provider.") ","
        TIME("synced_at", "[\"string\",\"null\"]", "The last link or sync.") ","
        TEXT_OR_NULL("last_sync_error",
             "reauthorization_required: the user is to link the account again.")) ","

    "\"DisconnectAnswer\":" OBJECT("\"status\"", CONSTANT("status", "disconnected")) ","

    "\"SyncAnswer\":" OBJECT("\"status\",\"audiobooks_count\",\"synced_at\"",
        CONSTANT("status", "synced") ","
        "\"audiobooks_count\":{\"type\":\"integer\",\"minimum\":0},"
        TIME("synced_at", "\"string\"", "Now.")) ","

    "\"Audiobook\":" OBJECT(
        "\"asin\",\"title\",\"author\",\"narrator\",\"image\",\"description\","
        "\"duration_minutes\",\"rating\",\"is_owned\",\"source\"",
        TEXT("asin", "The provider's id of it.") ","
        TEXT("title", "Empty where the provider gives none.") ","
        TEXT("author", "Empty where the provider gives none.") ","
        TEXT_OR_NULL("narrator", "The first of them.") ","
        TEXT_OR_NULL("image", "The cover's URL.") ","
        TEXT_OR_NULL("description", "As the provider has it.") ","
        "\"duration_minutes\":{\"type\":\"integer\"},"
        "\"rating\":{\"type\":[\"number\",\"null\"]},"
        "\"is_owned\":{\"type\":\"boolean\",\"description\":\"True in the library.\"},"
        CONSTANT("source", "audible")) ","

    "\"PlayUrlAnswer\":" OBJECT("\"url\",\"platform\",\"action\"",
        "\"url\":{\"type\":\"string\",\"format\":\"uri\"},"
        "\"platform\":{\"type\":\"string\",\"enum\":[\"web\",\"ios\",\"android\"]},"
        CONSTANT("action", "redirect_to_audible")) ","

    "\"Health\":" OBJECT("\"status\"", CONSTANT("status", "ok")) ","

    "\"Readiness\":" OBJECT("\"status\",\"checks\"",
        "\"status\":{\"type\":\"string\",\"enum\":[\"ok\",\"unavailable\"]},"
        "\"checks\":{\"type\":\"object\",\"properties\":{"
        CHECK("state") "," CHECK("accounts") "," CHECK("keys") "," CHECK("server") "}}");

#define HEADER(name, description, type)                                                            \
    "\"" name "\":{\"description\":\"" description "\",\"schema\":{\"type\":\"" type "\"}}"

const char openapi_headers[] =
    HEADER("RequestId", "The request's X-Request-ID where it was sane, else a fresh one; log lines "
           "carry it.", "string") ","
    HEADER("Challenge", "Bearer (RFC 6750).", "string") ","
    HEADER("RetryAfter", "Seconds to wait before the next try.", "integer") ","
    HEADER("RateLimitLimit", "Requests a minute.", "integer") ","
    HEADER("RateLimitRemaining", "Requests that are left.", "integer") ","
    HEADER("RateLimitReset", "Seconds until all of them are there again.", "integer") ","
    HEADER("FlowCookie", "latchkey-flow, or __Host-latchkey-flow where the redirect URI is https; "
           "HttpOnly, SameSite=Lax.", "string") ","
    HEADER("Location", "LATCHKEY_RETURN_URL with the outcome added.", "string");
