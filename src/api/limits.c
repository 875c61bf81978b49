// SPDX-License-Identifier: MIT
#include "api/limits.h"

#include "api/routes.h"

/* The limiter's buckets: a route's, by user, and the callback's by address. */
enum { BY_ADDRESS = ROUTE_OTHER + 1 };

static const enum metric refusals[] = {
    [ROUTE_AUTHORIZE] = METRIC_RATE_REFUSED_AUTHORIZE,
    [ROUTE_CALLBACK] = METRIC_RATE_REFUSED_CALLBACK,
    [ROUTE_SEARCH] = METRIC_RATE_REFUSED_SEARCH,
    [ROUTE_OTHER] = METRIC_RATE_REFUSED_OTHER,
    [BY_ADDRESS] = METRIC_RATE_REFUSED_CALLBACK_ADDRESS,
};

static int64_t per_minute(const struct call *call) {
    const struct api_rates *rates = &call->api->opts.rates;
    switch (call->route->bucket) {
    case ROUTE_AUTHORIZE:
    case ROUTE_CALLBACK:
        return rates->oauth_per_minute;
    case ROUTE_SEARCH:
        return rates->search_per_minute;
    case ROUTE_OTHER:
        return rates->other_per_minute;
    case ROUTE_UNLIMITED:
        break;
    }
    return 0;
}

static enum rc take(struct call *call, unsigned bucket, struct slice key, int64_t limit) {
    if (limit == 0 || key.len == 0) {
        return RC_OK;
    }
    struct api *api = call->api;
    call->limited = limiter_take(api->limiter, bucket, key, limit, loop_now_ms(api->opts.loop));
    if (call->limited.is_allowed) {
        return RC_OK;
    }
    metrics_add(api->opts.metrics, refusals[bucket], 1);
    return RC_RATE_LIMITED;
}

enum rc limits_check(struct call *call) {
    enum rc rc = RC_OK;
    if (call->route->bucket == ROUTE_CALLBACK) {
        rc = take(call, BY_ADDRESS, call->client, call->api->opts.rates.address_per_minute);
    }
    if (rc == RC_OK) {
        rc = take(call, (unsigned)call->route->bucket, call->caller.sub, per_minute(call));
    }
    return rc;
}

static void write_line(struct buf *headers, const char *name, int64_t value) {
    buf_append(headers, slice_str(name));
    BUF_LIT(headers, ": ");
    buf_append_i64(headers, value);
    BUF_LIT(headers, "\r\n");
}

void limits_write_headers(const struct limiter_answer *limited, struct buf *headers) {
    write_line(headers, "Retry-After", limited->retry_after_s);
    write_line(headers, "RateLimit-Limit", limited->limit);
    write_line(headers, "RateLimit-Remaining", limited->remaining);
    write_line(headers, "RateLimit-Reset", limited->reset_s);
}
