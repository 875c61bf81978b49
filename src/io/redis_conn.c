// SPDX-License-Identifier: MIT
#include "io/redis_conn.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/redis_error.h"
#include "io/redis_wire.h"

enum {
    ADDRESS_BYTES = 64,   /* numeric, a zone of IPv6 included */
    LOGGED_FAILURES = 60, /* one line for so many after the first */
    GREETING_BYTES = 16 * 1024,
    DB_BYTES = 12,
    NAME_BYTES = 64
};

static void begin(struct redis_conn *conn);

static void count(const struct redis_conn *conn, enum metric metric, int64_t n) {
    if (conn->opts->metrics != NULL) {
        metrics_add(conn->opts->metrics, metric, n);
    }
}

static int64_t now_ms(const struct redis_conn *conn) {
    return loop_timer_now_ms(conn->opts->loop);
}

bool redis_conn_may_wait(const struct redis_conn *conn) {
    return conn->is_hopeful && conn->state != REDIS_CONN_READY && conn->state != REDIS_CONN_CLOSED;
}

bool redis_conn_send(struct redis_conn *conn, struct slice command, void *about) {
    return conn->link != NULL && redis_link_send(conn->link, command, about);
}

static void free_addresses(struct redis_conn *conn) {
    uv_freeaddrinfo(conn->addresses);
    conn->addresses = NULL;
    conn->next = NULL;
}

/* -- failure and rest -- */

static void on_rested(struct loop_timer *timer) {
    begin(LIST_ENTRY(timer, struct redis_conn, timer));
}

static int64_t pause_ms(unsigned failures) {
    int64_t ms = REDIS_PAUSE_FIRST_MS;
    for (unsigned i = 1; i < failures && ms < REDIS_PAUSE_MAX_MS; i++) {
        ms *= 2;
    }
    ms = ms < REDIS_PAUSE_MAX_MS ? ms : REDIS_PAUSE_MAX_MS;
    /* Many processes that lost one server do not come back at the same moment. */
    uint16_t dice = 0;
    if (getrandom(&dice, sizeof dice, GRND_NONBLOCK) != (ssize_t)sizeof dice) {
        dice = (uint16_t)uv_hrtime();
    }
    return ms / 2 + ms / 2 * dice / UINT16_MAX;
}

/* Of an outage the first and every sixtieth, and the end; a server that accepts and fails is one.
 */
static void log_failure(struct redis_conn *conn, bool was_ready) {
    if (conn->failures != 0 && conn->failures % LOGGED_FAILURES != 1) {
        return;
    }
    conn->is_loss_logged = true;
    LOG(conn->opts->log, conn->rc == RC_USAGE ? LOG_ERROR : LOG_WARNING,
        was_ready ? "redis_lost" : "redis_unreachable", SLICE_NULL,
        log_text("server", slice_str(conn->opts->name)), log_text("cause", slice_str(conn->cause)),
        log_int("failures", conn->failures));
}

static void log_ready(struct redis_conn *conn) {
    if (conn->is_loss_logged || conn->failures == 0) {
        LOG(conn->opts->log, LOG_INFO, "redis_connected", SLICE_NULL,
            log_text("server", slice_str(conn->opts->name)), log_int("failures", conn->failures));
    }
    conn->is_loss_logged = false;
}

/* What served for a while is worth an attempt at once: the server was restarted, or closes what is
 * idle. A server that does not answer is not. */
static bool is_worth_an_attempt(const struct redis_conn *conn, enum rc rc) {
    return conn->state == REDIS_CONN_READY && rc != RC_TIMEOUT &&
           now_ms(conn) - conn->ready_at_ms >= REDIS_PAUSE_MAX_MS;
}

static void decide(struct redis_conn *conn, enum rc rc, const char *cause) {
    bool was_ready = conn->state == REDIS_CONN_READY;
    conn->is_hopeful = is_worth_an_attempt(conn, rc);
    if (was_ready) {
        count(conn, METRIC_REDIS_CONNECTED, -1);
        if (now_ms(conn) - conn->ready_at_ms >= REDIS_PAUSE_MAX_MS) {
            conn->failures = 0;
        }
    } else {
        count(conn, METRIC_REDIS_CONNECTS_FAILED, 1);
    }
    conn->failures += conn->is_hopeful ? 0 : 1;
    conn->rc = rc;
    conn->cause = cause;
    log_failure(conn, was_ready);
    conn->state = REDIS_CONN_BREAKING;
}

/* After decide(), the link gone. */
static void go_on(struct redis_conn *conn) {
    loop_task_drop(&conn->break_task);
    conn->link = NULL;
    free_addresses(conn);
    if (conn->is_hopeful) {
        begin(conn);
    } else {
        conn->state = REDIS_CONN_RESTING;
        loop_timer_start(&conn->timer, pause_ms(conn->failures), 0, on_rested);
    }
    conn->down(conn, conn->rc, conn->cause);
}

static void run_break(struct loop_task *task) {
    struct redis_conn *conn = LIST_ENTRY(task, struct redis_conn, break_task);
    if (conn->link != NULL) {
        redis_link_close(conn->link);
    }
    go_on(conn);
}

void redis_conn_break(struct redis_conn *conn, enum rc rc, const char *cause) {
    if (conn->state == REDIS_CONN_BREAKING || conn->state == REDIS_CONN_CLOSED) {
        return;
    }
    decide(conn, rc, cause);
    loop_timer_stop(&conn->timer);
    loop_later(conn->opts->loop, &conn->break_task, run_break);
}

/* -- greeting -- */

static void greet(struct redis_conn *conn, enum redis_greeting kind, const struct slice *args,
                  size_t arg_count) {
    struct buf command;
    buf_init(&command, GREETING_BYTES);
    redis_wire_command(&command, args, arg_count);
    buf_append_char(&command, '\0');
    if (!buf_ok(&command) ||
        !redis_conn_send(conn, slice_head(buf_slice(&command), command.len - 1),
                         &conn->greetings[kind])) {
        redis_conn_break(conn, RC_UNREACHABLE, "the greeting could not be sent");
    }
    buf_fini(&command); /* wipes */
}

static void greet_all(struct redis_conn *conn) {
    const struct redis_url *url = conn->opts->url;
    struct slice password = secret_slice(&url->password);
    if (url->user != NULL) {
        greet(conn, REDIS_GREETING_AUTH,
              (struct slice[]){SLICE("AUTH"), slice_str(url->user), password}, 3);
    } else if (url->password.len > 0) {
        greet(conn, REDIS_GREETING_AUTH, (struct slice[]){SLICE("AUTH"), password}, 2);
    }
    if (url->db != 0) {
        char db[DB_BYTES];
        snprintf(db, sizeof db, "%d", url->db);
        greet(conn, REDIS_GREETING_SELECT, (struct slice[]){SLICE("SELECT"), slice_str(db)}, 2);
    }
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "latchkey-%s", conn->opts->name);
    greet(conn, REDIS_GREETING_NAME,
          (struct slice[]){SLICE("CLIENT"), SLICE("SETNAME"), slice_str(name)}, 3);
    greet(conn, REDIS_GREETING_PING, (struct slice[]){SLICE("PING")}, 1);
}

static void become_ready(struct redis_conn *conn) {
    loop_timer_stop(&conn->timer);
    free_addresses(conn);
    conn->state = REDIS_CONN_READY;
    conn->ready_at_ms = now_ms(conn);
    count(conn, METRIC_REDIS_CONNECTED, 1);
    count(conn, METRIC_REDIS_CONNECTS_OK, 1);
    log_ready(conn);
    conn->ready(conn);
}

/* The name is a courtesy: proxies and restricted users lack CLIENT, and PING. */
static void judge_refusal(struct redis_conn *conn, enum redis_greeting kind, struct slice text) {
    struct redis_error error = redis_error_read(text);
    if (kind == REDIS_GREETING_AUTH && error.rc != RC_UNREACHABLE) {
        redis_conn_break(conn, RC_USAGE, "AUTH: the user or the password is refused");
    } else if (kind == REDIS_GREETING_SELECT && error.rc != RC_UNREACHABLE) {
        redis_conn_break(conn, RC_USAGE, "SELECT: the database is refused");
    } else if (error.remedy == REDIS_REMEDY_RECONNECT) {
        redis_conn_break(conn, RC_UNREACHABLE, error.cause);
    }
}

/* An answer that is not this command's would be followed by others that are not. */
static void on_greeted(struct redis_conn *conn, enum redis_greeting kind,
                       const struct redis_value *value) {
    struct slice expected = kind == REDIS_GREETING_PING ? SLICE("PONG") : SLICE("OK");
    if (value == NULL || conn->state != REDIS_CONN_GREETING) {
        return;
    }
    if (redis_kind(value) == REDIS_ERROR) {
        judge_refusal(conn, kind, redis_text(value));
    } else if (!slice_eq(redis_text(value), expected)) {
        redis_conn_break(conn, RC_UNREACHABLE, "an answer that is not Redis's");
    }
    if (kind == REDIS_GREETING_PING && conn->state == REDIS_CONN_GREETING) {
        become_ready(conn);
    }
}

/* -- connecting -- */

static void connect_next(struct redis_conn *conn);

static void on_connected(void *owner) {
    struct redis_conn *conn = owner;
    if (conn->state != REDIS_CONN_CONNECTING) {
        return;
    }
    conn->state = REDIS_CONN_GREETING;
    greet_all(conn);
}

static void on_lost(void *owner, enum rc rc, const char *cause) {
    struct redis_conn *conn = owner;
    conn->link = NULL;
    if (conn->state == REDIS_CONN_CLOSED) {
        return; /* its task goes on */
    }
    if (conn->state == REDIS_CONN_CONNECTING && conn->next != NULL) {
        connect_next(conn);
        return;
    }
    if (conn->state != REDIS_CONN_BREAKING) {
        loop_timer_stop(&conn->timer);
        decide(conn, rc, cause);
    }
    go_on(conn);
}

static void on_answered(void *owner, void *about, enum rc rc, const struct redis_value *value) {
    struct redis_conn *conn = owner;
    for (size_t i = 0; i < REDIS_GREETINGS; i++) {
        if (about == &conn->greetings[i]) {
            on_greeted(conn, (enum redis_greeting)i, value);
            return;
        }
    }
    conn->answered(conn, about, rc, value);
}

static void connect_to(struct redis_conn *conn, const char *address) {
    const struct redis_link_opts opts = {
        .loop = conn->opts->loop,
        .address = address,
        .port = conn->opts->url->port,
        .tls = conn->tls,
        .owner = conn,
        .connected = on_connected,
        .lost = on_lost,
        .answered = on_answered,
    };
    conn->link = redis_link_open(&opts);
}

static void on_attempt_late(struct loop_timer *timer);

/* Each address has its share of what is left: one that swallows packets takes no more. */
static void connect_next(struct redis_conn *conn) {
    conn->state = REDIS_CONN_CONNECTING;
    while (conn->next != NULL) {
        char address[ADDRESS_BYTES] = "";
        int64_t shares = 0;
        for (const struct addrinfo *left = conn->next; left != NULL; left = left->ai_next) {
            shares++;
        }
        getnameinfo(conn->next->ai_addr, conn->next->ai_addrlen, address, sizeof address, NULL, 0,
                    NI_NUMERICHOST);
        conn->next = conn->next->ai_next;
        connect_to(conn, address);
        if (conn->link != NULL) {
            loop_timer_start(&conn->timer, (conn->attempt_ends_ms - now_ms(conn)) / shares, 0,
                             on_attempt_late);
            return;
        }
    }
    redis_conn_break(conn, RC_UNREACHABLE, "the server can't be reached");
}

static void on_attempt_late(struct loop_timer *timer) {
    struct redis_conn *conn = LIST_ENTRY(timer, struct redis_conn, timer);
    int64_t left_ms = conn->attempt_ends_ms - now_ms(conn);
    if (conn->state == REDIS_CONN_GREETING && left_ms > 0) {
        loop_timer_start(&conn->timer, left_ms, 0, on_attempt_late);
    } else if (conn->state == REDIS_CONN_CONNECTING && conn->next != NULL) {
        redis_link_close(conn->link);
        connect_next(conn);
    } else if (conn->state == REDIS_CONN_RESOLVING) {
        redis_conn_break(conn, RC_UNREACHABLE, "the name was not resolved in time");
    } else {
        redis_conn_break(conn, RC_UNREACHABLE, "the server did not answer in time");
    }
}

/* -- resolving -- */

static void end_if_closed(struct redis_conn *conn);

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *found) {
    struct redis_conn *conn = resolver->data;
    conn->is_resolving = false;
    if (conn->state != REDIS_CONN_RESOLVING) {
        uv_freeaddrinfo(found);
        end_if_closed(conn);
        return;
    }
    if (status != 0) {
        redis_conn_break(conn, RC_UNREACHABLE, "the name can't be resolved");
        return;
    }
    conn->addresses = found;
    conn->next = found;
    connect_next(conn);
}

static bool is_numeric(const char *host) {
    unsigned char address[sizeof(struct in6_addr)];
    return uv_inet_pton(AF_INET, host, address) == 0 || uv_inet_pton(AF_INET6, host, address) == 0;
}

static void resolve(struct redis_conn *conn) {
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    conn->state = REDIS_CONN_RESOLVING;
    if (conn->is_resolving) {
        return; /* still the last attempt's: its answer is this one's */
    }
    conn->resolver.data = conn;
    int refused = uv_getaddrinfo(&conn->opts->loop->uv, &conn->resolver, on_resolved,
                                 conn->opts->url->host, NULL, &hints);
    if (refused != 0) {
        redis_conn_break(conn, RC_UNREACHABLE, "the name can't be resolved");
        return;
    }
    conn->is_resolving = true;
}

static void begin(struct redis_conn *conn) {
    conn->attempt_ends_ms = now_ms(conn) + REDIS_CONNECT_TIMEOUT_MS;
    loop_timer_start(&conn->timer, REDIS_CONNECT_TIMEOUT_MS, 0, on_attempt_late);
    if (conn->opts->url->is_tls && conn->tls == NULL) {
        const char *problem = NULL;
        conn->tls = redis_tls_new(conn->opts->url->host, conn->opts->ca_file, &problem);
        if (conn->tls == NULL) {
            redis_conn_break(conn, RC_USAGE, problem);
            return;
        }
    }
    if (!is_numeric(conn->opts->url->host)) {
        resolve(conn);
        return;
    }
    conn->state = REDIS_CONN_CONNECTING;
    connect_to(conn, conn->opts->url->host);
    if (conn->link == NULL) {
        redis_conn_break(conn, RC_UNREACHABLE, "the server can't be reached");
    }
}

/* -- the beginning and the end -- */

static void run_begin(struct loop_task *task) {
    begin(LIST_ENTRY(task, struct redis_conn, break_task));
}

void redis_conn_start(struct redis_conn *conn) {
    conn->is_hopeful = true;
    conn->state = REDIS_CONN_RESTING;
    loop_timer_init(conn->opts->loop, &conn->timer);
    loop_later(conn->opts->loop, &conn->break_task, run_begin);
}

static void on_timer_closed(struct loop_timer *timer) {
    struct redis_conn *conn = LIST_ENTRY(timer, struct redis_conn, timer);
    conn->closed(conn);
}

static void end_if_closed(struct redis_conn *conn) {
    if (conn->state == REDIS_CONN_CLOSED && !conn->is_resolving && conn->link == NULL &&
        !list_is_linked(&conn->break_task.node)) {
        redis_tls_free(conn->tls);
        conn->tls = NULL;
        loop_timer_close(&conn->timer, on_timer_closed);
    }
}

static void run_close(struct loop_task *task) {
    struct redis_conn *conn = LIST_ENTRY(task, struct redis_conn, break_task);
    if (conn->link != NULL) {
        redis_link_close(conn->link);
        conn->link = NULL;
    }
    free_addresses(conn);
    if (conn->is_resolving) {
        uv_cancel((uv_req_t *)&conn->resolver);
    }
    end_if_closed(conn);
}

void redis_conn_close(struct redis_conn *conn) {
    if (conn->state == REDIS_CONN_READY) {
        count(conn, METRIC_REDIS_CONNECTED, -1);
    }
    conn->state = REDIS_CONN_CLOSED;
    loop_timer_stop(&conn->timer);
    loop_task_drop(&conn->break_task);
    loop_later(conn->opts->loop, &conn->break_task, run_close);
}
