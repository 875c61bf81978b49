// SPDX-License-Identifier: MIT
#include "api/limits.h"

#include "api/routes.h"

/* The limiter's buckets: a route's, by user, and the callback's by address. */
enum { BY_ADDRESS = ROUTE_OTHER + 1, BUCKETS };

const char *const limits_buckets[BUCKETS] = {
    [ROUTE_UNLIMITED] = "none", [ROUTE_AUTHORIZE] = "authorize", [ROUTE_CALLBACK] = "callback",
    [ROUTE_SEARCH] = "search",  [ROUTE_OTHER] = "other",         [BY_ADDRESS] = "callback_address",
};

static const enum metric refusals[BUCKETS] = {
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

static void add(struct limits *limits, unsigned bucket, struct slice key, int64_t limit) {
    if (limit > 0 && key.len > 0) {
        limits->at[limits->count++] =
            (struct limiter_limit){.bucket = bucket, .key = key, .per_minute = limit};
    }
}

static void limits_of(const struct call *call, struct limits *limits) {
    limits->count = 0;
    if (call->route->bucket == ROUTE_CALLBACK) {
        add(limits, BY_ADDRESS, call->client, call->api->opts.rates.address_per_minute);
    }
    add(limits, (unsigned)call->route->bucket, call->caller.sub, per_minute(call));
}

static enum rc judge(struct call *call, const struct limits *limits, size_t refused) {
    if (refused == limits->count) {
        return RC_OK;
    }
    metrics_add(call->api->opts.metrics, refusals[limits->at[refused].bucket], 1);
    return RC_RATE_LIMITED;
}

enum rc limits_check(struct call *call) {
    struct api *api = call->api;
    struct limits limits;
    size_t refused;
    limits_of(call, &limits);
    if (limits.count == 0) {
        return RC_OK;
    }
    if (api->limiter_redis == NULL) {
        refused = limiter_take_all(api->limiter, limits.at, limits.count,
                                   loop_now_ms(api->opts.loop), &call->limited);
    } else if (!limiter_redis_fall_back(api->limiter_redis, limits.at, limits.count, &refused,
                                        &call->limited)) {
        return RC_PENDING;
    }
    return judge(call, &limits, refused);
}

static void on_counted(struct limiter_redis_op *redis) {
    struct limits_op *op = LIST_ENTRY(redis, struct limits_op, redis);
    op->call->limited = redis->answer;
    op->rc = judge(op->call, &op->limits, redis->refused);
    op->done(op);
}

void limits_ask(struct call *call, struct limits_op *op, void (*done)(struct limits_op *op)) {
    struct api *api = call->api;
    *op = (struct limits_op){.done = done, .call = call};
    limits_of(call, &op->limits);
    limiter_redis_take(api->limiter_redis, &op->redis, op->limits.at, op->limits.count,
                       loop_wall_ms(api->opts.loop), on_counted);
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
