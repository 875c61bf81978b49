// SPDX-License-Identifier: MIT
/* What /metrics says, and to whom. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/leaks.h"
#include "kit/platform.h"
#include "kit/prometheus.h"
#include "kit/scratch.h"

enum { SERIES_BYTES = 160 };

static void scrape(int port, struct client_response *response) {
    int status = ask(port, (struct ask){.path = "/metrics"}, response);
    cr_assert_eq(status, 200, "%d", status);
    prometheus_check(response->body);
}

static double value_of(int port, const char *series) {
    struct client_response response;
    scrape(port, &response);
    double value = prometheus_value(response.body, series);
    client_response_fini(&response);
    return value;
}

static double requests_of(int port, const char *route, const char *status) {
    char series[SERIES_BYTES];
    snprintf(series, sizeof series, "latchkey_http_requests_total{route=\"%s\",status=\"%s\"}",
             route, status);
    return value_of(port, series);
}

Test(metrics, in_the_text_format) {
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    struct client_response response;
    scrape(kit_server_port(server), &response);
    struct slice type = client_header(&response, "content-type");
    cr_assert(slice_eq(type, SLICE("text/plain; version=0.0.4; charset=utf-8")));
    static const char *const some[] = {
        "latchkey_build_info{version=\"" LATCHKEY_VERSION "\"}",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "latchkey_connections",
    };
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        cr_assert_gt(prometheus_value(response.body, some[i]), 0, "%s", some[i]);
    }
    cr_assert_float_eq(prometheus_value(response.body, "process_start_time_seconds"),
                       (double)time(NULL), 60);
    client_response_fini(&response);
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(metrics, requests_by_route_status_and_duration) {
    static const struct {
        const char *method;
        const char *path;
        const char *route;
        const char *status;
    } cases[] = {
        {"GET", "/healthz", "healthz", "2xx"},
        {"HEAD", "/health", "healthz", "2xx"},
        {"GET", "/readyz", "readyz", "2xx"},
        {"GET", "connected", "connected", "4xx"},
        {"POST", "oauth/authorize", "authorize", "4xx"},
        {"POST", "oauth/callback", "callback", "4xx"},
        {"GET", "oauth/callback", "return", "4xx"},
        {"POST", "disconnect", "disconnect", "4xx"},
        {"POST", "library/sync", "sync", "4xx"},
        {"GET", "library", "library", "4xx"},
        {"GET", "search", "search", "4xx"},
        {"GET", "B00/details", "details", "4xx"},
        {"GET", "B00/play-url", "play_url", "4xx"},
        {"GET", "/openapi.json", "openapi", "2xx"},
        {"GET", "/api/v1/openapi.json", "openapi", "2xx"},
        {"OPTIONS", "connected", "none", "2xx"},
        {"GET", "/nothing", "none", "4xx"},
        {"PUT", "connected", "none", "4xx"},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    int port = kit_server_port(server);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char count[SERIES_BYTES];
        snprintf(count, sizeof count, "latchkey_http_request_duration_seconds_count{route=\"%s\"}",
                 cases[i].route);
        double before = requests_of(port, cases[i].route, cases[i].status);
        double timed = value_of(port, count);
        ask_status(port, (struct ask){.method = cases[i].method, .path = cases[i].path});
        double after = requests_of(port, cases[i].route, cases[i].status);
        cr_assert_float_eq(after, before + 1, 0, "%s %s", cases[i].method, cases[i].path);
        after = value_of(port, count);
        cr_assert_float_eq(after, timed + 1, 0, "%s: %g", count, after);
    }
    /* One that has not been answered is not counted. */
    double scrapes = requests_of(port, "metrics", "2xx");
    double next = requests_of(port, "metrics", "2xx");
    cr_assert_float_eq(next, scrapes + 1, 0, "%g after %g", next, scrapes);
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(metrics, a_life_of_an_account) {
    static const struct {
        const char *series;
        double least;
    } cases[] = {
        {"latchkey_states_created_total", 2},
        {"latchkey_states_taken_total", 1},
        {"latchkey_states_replayed_total", 1},
        {"latchkey_states_mismatched_total", 1},
        {"latchkey_states_unknown_total", 1},
        {"latchkey_states", 1},
        {"latchkey_links_total", 1},
        {"latchkey_unlinks_total", 1},
        {"latchkey_tokens_opened_total{key=\"1\"}", 2},
        {"latchkey_provider_calls_total{endpoint=\"token\",status=\"2xx\"}", 1},
        {"latchkey_provider_call_duration_seconds_count{endpoint=\"token\"}", 1},
        {"latchkey_lane_wait_seconds_count{lane=\"fast\"}", 2},
        {"latchkey_lane_wait_seconds_count{lane=\"store_write\"}", 2},
        {"latchkey_loop_lag_seconds_count", 10},
    };
    struct platform platform;
    char token[KIT_JWT_BYTES];
    char other[KIT_JWT_BYTES];
    struct ask_grant grant;
    struct ask_grant second;
    struct client_response response;
    platform_start(&platform, NULL);
    ask_premium(token, "u");
    ask_premium(other, "v");
    ask_grant(platform.port, platform.sim, token, &grant);
    ask_grant(platform.port, platform.sim, token, &second);
    cr_assert_eq(ask_callback(platform.port, token, &grant, &response), 200);
    client_response_fini(&response);
    cr_assert_eq(ask_callback(platform.port, token, &grant, &response), 400); /* used */
    client_response_fini(&response);
    cr_assert_eq(ask_callback(platform.port, other, &second, &response), 400); /* not theirs */
    client_response_fini(&response);
    snprintf(grant.state, sizeof grant.state, "%043d", 0);
    cr_assert_eq(ask_callback(platform.port, token, &grant, &response), 400); /* unknown */
    client_response_fini(&response);
    cr_assert_eq(ask_status(platform.port,
                            (struct ask){.method = "POST", .path = "disconnect", .token = token}),
                 200);
    scrape(platform.port, &response);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double value = prometheus_value(response.body, cases[i].series);
        cr_assert_geq(value, cases[i].least, "%s is %g", cases[i].series, value);
    }
    cr_assert_float_eq(prometheus_value(response.body, "latchkey_lane_operations{lane=\"fast\"}"),
                       0, 0);
    client_response_fini(&response);
    platform_stop(&platform);
    CHECK_LEAKS();
}

Test(metrics, nothing_of_a_client_becomes_a_label) {
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    int port = kit_server_port(server);
    struct client_response before;
    struct client_response after;
    scrape(port, &before);
    ask_status(port, (struct ask){.path = "/zebra\"} 1"});
    ask_status(port, (struct ask){.path = "/zebra?zebra=zebra"});
    ask_status(port, (struct ask){.path = "zebra/details", .headers = "X-Zebra: zebra\r\n"});
    ask_status(port, (struct ask){.path = "/healthz", .headers = "X-Request-ID: zebra\r\n"});
    scrape(port, &after);
    struct slice text = after.body;
    size_t lines = 0;
    for (struct slice line; slice_split(&text, '\n', &line);) {
        lines++;
        for (size_t i = 0; i < line.len; i++) {
            cr_assert_not(slice_starts(slice_from(line, i), SLICE("zebra")), "%.*s",
                          SLICE_ARGS(line));
        }
    }
    text = before.body;
    for (struct slice line; slice_split(&text, '\n', &line);) {
        lines--;
    }
    cr_assert_eq(lines, (size_t)0, "as many series as before");
    client_response_fini(&before);
    client_response_fini(&after);
    kit_server_stop(server);
    CHECK_LEAKS();
}

static void expect_none(int port) {
    static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        int status = ask_status(port, (struct ask){.method = methods[i], .path = "/metrics"});
        cr_assert_eq(status, 404, "%s: %d", methods[i], status);
    }
    struct client_response response;
    cr_assert_eq(ask(port, (struct ask){.path = "/openapi.json"}, &response), 200);
    for (size_t i = 0; i < response.body.len; i++) {
        cr_assert_not(slice_starts(slice_from(response.body, i), SLICE("\"/metrics\"")));
    }
    client_response_fini(&response);
}

Test(metrics, only_where_the_main_listeners_are_local) {
    static const struct {
        const char *listen;
        bool served;
    } cases[] = {
        {"LATCHKEY_LISTEN=127.0.0.1:0", true},
        {"LATCHKEY_LISTEN=127.0.0.1:0,[::1]:0", true},
        {"LATCHKEY_LISTEN=0.0.0.0:0", false},
        {"LATCHKEY_LISTEN=127.0.0.1:0,0.0.0.0:0", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kit_server *server =
            kit_server_start_with((const char *const[]){cases[i].listen, NULL});
        int port = kit_server_port(server);
        if (cases[i].served) {
            struct client_response response;
            scrape(port, &response);
            client_response_fini(&response);
            cr_assert_eq(ask_status(port, (struct ask){.method = "HEAD", .path = "/metrics"}), 200);
            cr_assert_eq(ask_status(port, (struct ask){.method = "POST", .path = "/metrics"}), 405);
        } else {
            expect_none(port);
        }
        kit_server_stop(server);
    }
    CHECK_LEAKS();
}

Test(metrics, over_a_unix_socket) {
    struct scratch folder = scratch_new();
    struct scratch path = scratch_file(&folder, "socket");
    char listen[SCRATCH_BYTES + 32];
    struct client client;
    struct client_response response;
    snprintf(listen, sizeof listen, "LATCHKEY_LISTEN=unix:%s", path.path);
    struct kit_server *server = kit_server_start_with((const char *const[]){listen, NULL});
    cr_assert(client_connect_unix(&client, path.path));
    CLIENT_SEND(&client, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_assert(client_read(&client, "GET", &response));
    cr_assert_eq(response.status, 200);
    prometheus_check(response.body);
    client_response_fini(&response);
    client_fini(&client);
    kit_server_stop(server);
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(metrics, on_an_address_of_their_own) {
    static const struct {
        const char *method;
        const char *path;
        int status;
    } cases[] = {
        {"GET", "/metrics", 200},       {"HEAD", "/metrics", 200},
        {"GET", "/healthz", 200},       {"POST", "/metrics", 405},
        {"OPTIONS", "/metrics", 204},   {"GET", "/health", 404},
        {"GET", "/readyz", 404},        {"GET", "connected", 404},
        {"GET", "/openapi.json", 404},  {"GET", "/api/v1/openapi.json", 404},
        {"GET", "/docs", 404},          {"POST", "oauth/authorize", 404},
        {"GET", "oauth/callback", 404}, {"GET", "B00/details", 404},
    };
    char token[KIT_JWT_BYTES];
    struct kit_server *server =
        kit_server_start_with((const char *const[]){"LATCHKEY_METRICS_LISTEN=127.0.0.1:0", NULL});
    int port = kit_server_metrics_port(server);
    cr_assert_neq(port, 0);
    cr_assert_neq(port, kit_server_port(server));
    ask_premium(token, "u");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = ask_status(
            port, (struct ask){.method = cases[i].method, .path = cases[i].path, .token = token});
        cr_assert_eq(status, cases[i].status, "%s %s: %d", cases[i].method, cases[i].path, status);
    }
    expect_none(kit_server_port(server));
    /* The scraper's connections are not the clients'. */
    double connections = value_of(port, "latchkey_connections");
    cr_assert_float_eq(connections, 0, 0, "%g", connections);
    double scrapes = requests_of(port, "metrics", "2xx");
    cr_assert_float_eq(scrapes, 3, 0, "%g", scrapes);
    kit_server_stop(server);
    CHECK_LEAKS();
}

/* The end can be watched: while the last request is awaited, metrics answer. */
Test(metrics, they_are_served_through_the_drain) {
    struct client client;
    struct kit_server *server =
        kit_server_start_with((const char *const[]){"LATCHKEY_METRICS_LISTEN=127.0.0.1:0", NULL});
    int port = kit_server_metrics_port(server);
    cr_assert(client_connect(&client, kit_server_port(server)));
    CLIENT_SEND(&client, "GET /healthz HTTP/1.1\r\nHost"); /* half a request */
    cr_assert(kit_server_wait_metric(server, METRIC_CONNECTIONS, 1));
    kit_server_ask_stop(server);
    double connections = value_of(port, "latchkey_connections");
    cr_assert_float_eq(connections, 1, 0, "%g", connections);
    CLIENT_SEND(&client, ": h\r\n\r\n");
    struct client_response response;
    cr_assert(client_read(&client, "GET", &response));
    cr_assert_eq(response.status, 200);
    client_response_fini(&response);
    client_fini(&client);
    kit_server_stop(server);
    CHECK_LEAKS();
}
