// SPDX-License-Identifier: MIT
#pragma once

/* Every cap and every fixed duration in one list. What an operator may set stands in app/config's
 * table with its default and its bounds; what is here is the same everywhere. */
enum {
    /* HTTP (contract, "HTTP itself") */
    LIMIT_HEAD_BYTES = 16 * 1024,
    LIMIT_TARGET_BYTES = 8 * 1024,
    LIMIT_BODY_BYTES = 64 * 1024,
    LIMIT_HEADERS = 100,
    LIMIT_REQUEST_ARENA_BYTES = 512 * 1024,
    LIMIT_READ_BUFFER_BYTES = 64 * 1024, /* one, shared by all connections of a loop */
    LIMIT_PIPELINE_BYTES =
        LIMIT_HEAD_BYTES + LIMIT_BODY_BYTES, /* unparsed bytes a connection keeps */
    LIMIT_WRITE_TIMEOUT_MS = 30 * 1000,
    LIMIT_LINGER_MS = 2 * 1000,
    LIMIT_LINGER_BYTES = 1024 * 1024, /* dropped after the last reply */
    LIMIT_DRAIN_GRACE_MS = 500,       /* for a request that is on its way when the drain starts */
    LIMIT_METHOD_BYTES = 32,
    LIMIT_CHUNK_EXTRA_BYTES = 8 * 1024,   /* extensions and trailers of one chunked body */
    LIMIT_REPLY_BUFFER_BYTES = 64 * 1024, /* one, shared by all connections of a server */
    LIMIT_LISTENERS = 8,
    LIMIT_SPARE_CONNECTIONS = 1024, /* kept for the next clients */
    LIMIT_SPARE_REQUESTS = 128,
    LIMIT_REQUEST_ID_BYTES = 128,

    /* OAuth */
    LIMIT_USER_ID_BYTES = 255,
    LIMIT_CODE_BYTES = 4096,
    LIMIT_STATE_BYTES = 4096, /* what is accepted as input; ours are STATE_TEXT_BYTES */
    LIMIT_URI_BYTES = 2048,
    LIMIT_TOKEN_BYTES = 16 * 1024, /* an access or refresh token of the provider */
    LIMIT_PROVIDER_USER_ID_BYTES = 255,
    LIMIT_JWT_BYTES = 8 * 1024,
    LIMIT_KID_BYTES = 255, /* the name of a published key */
    LIMIT_JWKS_BYTES = 256 * 1024,
    LIMIT_JWKS_KEYS = 64,
    LIMIT_KEYS_TRIED = 4,                 /* for a token that names none */
    LIMIT_SIGNATURE_QUEUE = 256,          /* some 0.3 s of ES256 */
    LIMIT_SIGNATURE_FAILURES_MINUTE = 60, /* of a client address */
    LIMIT_SIGNATURE_FAILURE_KEYS = 16384, /* addresses that they are counted for */
    RANDOM_BYTES = 32,                    /* of a state, a verifier, a flow cookie */
    RANDOM_TEXT_BYTES = 43,               /* the same as unpadded base64url */
    STATE_SHOWN_BYTES = 10,               /* of a state in a log line */
    STATE_TTL_MS = 15 * 60 * 1000,
    STATES_PER_USER = 16,

    /* towards the provider */
    LIMIT_TOKEN_ANSWER_BYTES = 256 * 1024,
    LIMIT_LIBRARY_ANSWER_BYTES = 16 * 1024 * 1024,
    LIMIT_SEARCH_ANSWER_BYTES = 8 * 1024 * 1024,
    LIMIT_DETAILS_ANSWER_BYTES = 1024 * 1024,
    LIMIT_BOOKS_BYTES = 16 * 1024 * 1024, /* what is made of an answer */
    LIMIT_BOOK_ASIN_BYTES = 32,
    LIMIT_BOOK_TEXT_BYTES = 1024, /* a title, a name */
    LIMIT_BOOK_DESCRIPTION_BYTES = 32 * 1024,
    LIMIT_PARSED_INLINE_BYTES = 4 * 1024, /* some 50 us; a larger body goes to the FAST lane */
    LIMIT_CALL_URL_BYTES = 32 * 1024,
    LIMIT_CALL_LEFT_MIN_MS = 50,      /* with less until the deadline nothing is sent */
    LIMIT_BREAKER_PATIENCE_MS = 1000, /* a timeout of less says nothing about the provider */
    LIMIT_REVOCATIONS = 10000,        /* waiting or under way */
    LIMIT_REFRESH_FLIGHTS = 100000,   /* users whose token is being refreshed, or rests after it */
    LIMIT_SYNC_PAGES = 1000,
    LIMIT_SYNC_MS = 300 * 1000,
    LIMIT_UPSTREAM_QUEUE = 10000,
    LIMIT_UPSTREAM_HEAD_BYTES = 64 * 1024, /* all header lines of an answer */

    /* work */
    LIMIT_FAST_QUEUE = 100000,
    LIMIT_SLOW_QUEUE = 100000,
    LIMIT_MONGO_THREADS = 8, /* each with a client of the pool */
    LIMIT_MONGO_QUEUE = 20000,
    LIMIT_MONGO_WAIT_MS = 3000, /* behind other operations; a request's deadline is far longer */

    /* Redis */
    LIMIT_REDIS_COMMAND_BYTES = 1024 * 1024,
    LIMIT_REDIS_ANSWER_BYTES = 16 * 1024 * 1024,
    LIMIT_REDIS_SCRIPT_BYTES = 64 * 1024,
    LIMIT_REDIS_QUEUE_BYTES = 32 * 1024 * 1024, /* commands of a connection without an answer */

    /* caches */
    LIMIT_RATE_KEYS = 262144, /* users and addresses that a limit is kept for */
    LIMIT_BEARER_CACHE = 65536,
    LIMIT_ACCOUNT_CACHE = 131072,
    LIMIT_USER_CACHE = 65536,    /* users whose tier and activity are known */
    LIMIT_USER_LOOKUPS = 1024,   /* questions about users that are open at a time */
    LIMIT_STORE_WATCH_MS = 1000, /* until a command's write beside the server is noticed */

    /* workers */
    LIMIT_WORKER_PAUSE_MS = 100, /* before the second start in a row, then twice that... */
    LIMIT_WORKER_PAUSE_MAX_MS = 5000,
    LIMIT_WORKER_STEADY_MS = 10 * 1000, /* after so long its next end is the first one again */
    LIMIT_WORKER_REST_MS = 1000,        /* a worker that pauses for so long has no sockets */
    LIMIT_WORKER_LATE_MS = 5000,        /* at its end: hurried, and then killed */

    LIMIT_LOG_BUFFER_BYTES = 4 * 1024 * 1024,
    LIMIT_LOG_LINE_BYTES = 16 * 1024,
    LIMIT_SECRET_FILE_BYTES = 64 * 1024,
    LIMIT_TLS_FILE_BYTES = 256 * 1024, /* a chain of certificates */
};
