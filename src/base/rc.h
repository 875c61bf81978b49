// SPDX-License-Identifier: MIT
#pragma once

/* The one error enum. A foreign code (errno, uv, curl, sqlite, mbedTLS) is translated where it is
 * met, so that nothing above the wrapper knows it. api/reply holds the one table from these to an
 * HTTP status and a detail. */
#define RC_MAP(X)                                                                                  \
    X(OK, "ok")                                                                                    \
    X(PENDING, "not known yet: a callback brings it")                                              \
    /* what went wrong, seen from a module */                                                      \
    X(CANCELED, "canceled by its owner")                                                           \
    X(TIMEOUT, "the deadline passed")                                                              \
    X(UNREACHABLE, "the peer could not be reached or broke the connection")                        \
    X(TOO_LARGE, "larger than its cap")                                                            \
    X(MALFORMED, "not of the form it must have")                                                   \
    X(FULL, "a cap is reached")                                                                    \
    X(ABSENT, "no such record")                                                                    \
    X(CONFLICT, "the record changed meanwhile")                                                    \
    X(IO, "the operating system refused")                                                          \
    X(CRYPTO, "the crypto library failed")                                                         \
    X(NO_KEY_OPENS, "a sealed value that no key opens")                                            \
    X(USAGE, "wrong usage or configuration")                                                       \
    /* what a client is told */                                                                    \
    X(ROUTE_UNKNOWN, "no such route")                                                              \
    X(METHOD_UNKNOWN, "no such method on this route")                                              \
    X(BODY_TOO_LARGE, "the request body is larger than its cap")                                   \
    X(NOT_AUTHENTICATED, "no bearer token")                                                        \
    X(UNVERIFIED, "a bearer token whose signature is still to be checked")                         \
    X(BAD_CREDENTIALS, "a bearer token that does not verify")                                      \
    X(INACTIVE_USER, "the user is not active")                                                     \
    X(RATE_LIMITED, "too many requests")                                                           \
    X(TIER_REQUIRED, "the tier does not include this")                                             \
    X(NOT_CONFIGURED, "the integration is not configured")                                         \
    X(MEDIA_TYPE, "the body is of another media type")                                             \
    X(INVALID_JSON, "the body is not JSON")                                                        \
    X(INVALID_REQUEST, "a field is missing or wrong")                                              \
    X(INVALID_STATE, "the state is unknown, used, expired or another user's")                      \
    X(ACCESS_DENIED, "the user refused at the provider")                                           \
    X(CODE_REFUSED, "the provider refused the code")                                               \
    X(GRANT_REFUSED, "the provider refused the refresh token")                                     \
    X(TOKEN_REFUSED, "the provider refused the access token")                                      \
    X(PROVIDER_UNAVAILABLE, "the provider did not give a usable answer")                           \
    X(STORAGE_UNAVAILABLE, "a store did not do what the answer needs")                             \
    X(OVERLOADED, "too much to do")                                                                \
    X(NOT_CONNECTED, "the user has no account linked")                                             \
    X(NO_ACCOUNT, "there is no account to disconnect")                                             \
    X(QUERY_TOO_SHORT, "the search query is too short")                                            \
    X(BOOK_ABSENT, "no such audiobook")                                                            \
    X(AUTHORIZE_FAILED, "the authorization URL could not be made")                                 \
    X(INTERNAL, "unexpected")

#define RC_ENUM(name, text) RC_##name,
enum rc { RC_MAP(RC_ENUM) RC_COUNT };
#undef RC_ENUM

/* The name without its prefix ("NO_KEY_OPENS"), for logs and test messages. */
const char *rc_name(enum rc rc);

/* A sentence for a person. */
const char *rc_text(enum rc rc);
