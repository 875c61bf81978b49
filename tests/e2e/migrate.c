// SPDX-License-Identifier: MIT
/* latchkey migrate, between stores of every kind: whole, killed, beside a server, refused. Which
 * record stands is in tests/unit/store/accounts_migrate.c. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "kit/backend_rig.h"
#include "kit/child.h"
#include "kit/leaks.h"
#include "kit/mongo_server.h"
#include "kit/platform.h"
#include "kit/program.h"
#include "kit/redis_server.h"
#include "kit/secrets.h"

enum {
    TOKEN_BYTES = LIMIT_TOKEN_BYTES * 4 / 3 + 256,
    KILLS = 4,
    ENDS_MS_MAX = 15000,
    MANY = 3000,
    FEW = 100, /* the tests' MongoDB server looks through all for each */
};

/* -- the command -- */

struct stores {
    struct account_place from;
    struct account_place to;
};

static void make_stores(struct stores *stores, const struct account_place_kind *from,
                        const struct account_place_kind *to) {
    account_place_make(&stores->from, from);
    account_place_make(&stores->to, to);
    secrets_add("a sealed token", SLICE("gAAAAA"), SECRETS_NOWHERE);
}

static void drop_stores(struct stores *stores) {
    account_place_drop(&stores->from);
    account_place_drop(&stores->to);
    CHECK_LEAKS();
}

/* With LATCHKEY_ACCOUNT_STORE of `folder` in its environment, as kit/settings.h sets it. */
static struct program *start(const char *folder, const char *const *arguments,
                             const char *const *over) {
    const char *argv[8] = {TEST_BUILD_DIR "/latchkey", "migrate"};
    struct kit_settings all;
    for (size_t i = 0; arguments[i] != NULL; i++) {
        cr_assert_lt(i, 5u);
        argv[i + 2] = arguments[i];
    }
    kit_settings_init(&all, folder, "http://127.0.0.1:1", over);
    struct program *program = program_start(argv, (const char *const *)all.env);
    kit_settings_fini(&all);
    return program;
}
#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* To its end, within the time, which must say this on stderr. */
static void expect_end(struct program *program, int code, const char *says) {
    cr_assert(program_ends_within(program, ENDS_MS_MAX));
    cr_assert_eq(program->code, code, "%d: %s", program->code, program->err.text);
    cr_assert_not_null(strstr(program->err.text, says), "wanted %s: %s", says, program->err.text);
    secrets_expect_none(slice_str(program->out.text), "stdout", true);
    secrets_expect_none(slice_str(program->err.text), "stderr", true);
    program_free(program);
}

static void expect(const struct stores *stores, int code, const char *says) {
    expect_end(start(stores->from.folder.path, ARGUMENTS(stores->from.url, stores->to.url), NULL),
               code, says);
}

/* -- what is in the stores -- */

/* All kinds of rows: nulls, empty texts, odd ids, the largest tokens. */
static void fill(const struct account_place *place, int count) {
    struct backend_rig rig;
    struct backend_call *calls = calloc((size_t)count, sizeof *calls);
    char(*texts)[96] = calloc((size_t)count, sizeof *texts);
    char *large = malloc(TOKEN_BYTES);
    memset(large, 'x', TOKEN_BYTES);
    memcpy(large, "gAAAAA", 6);
    backend_rig_open(&rig, place, 0);
    for (int i = 0; i < count; i++) {
        struct accounts_row *row = &calls[i].op.row;
        snprintf(texts[i], sizeof texts[i], "%s-%05d", i % 5 == 0 ? "\xC3\xA4 \"'%$" : "user", i);
        row->user_id = slice_str(texts[i]);
        row->audible_user_id = i % 3 == 0 ? SLICE_NULL : row->user_id;
        row->access_token = i % 97 == 0 ? slice_make(large, TOKEN_BYTES) : SLICE("gAAAAAaccess");
        row->refresh_token = i % 4 == 0 ? SLICE_NULL : row->user_id;
        row->last_sync_error = i % 7 == 0 ? SLICE("") : SLICE_NULL;
        row->expires_ms = 1764017145000 + i * 7;
        row->connected_ms = 1764017000000 + i;
        row->synced_ms = i % 2 == 0 ? 0 : 1764017000999 + i;
        row->sync_status = (enum account_sync)(i % 3);
        backend_rig_start(&rig, 0, &calls[i], rig.backends[0]->ops->put);
    }
    backend_rig_wait(&rig);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(calls[i].op.rc, RC_OK, "%s", rc_name(calls[i].op.rc));
    }
    backend_rig_close(&rig);
    free(large);
    free(texts);
    free(calls);
}

/* The same users, and every field of each; how many there are. */
static int expect_same(const struct account_place *a, const struct account_place *b) {
    struct backend_rig rig;
    struct backend_call of_a = {.op.row.user_id = SLICE("")};
    struct backend_call of_b = {.op.row.user_id = SLICE("")};
    int count = 0;
    backend_rig_open_both(&rig, a, b);
    buf_init(&of_a.op.bytes, BACKEND_RIG_ROW_BYTES);
    buf_init(&of_b.op.bytes, BACKEND_RIG_ROW_BYTES);
    while (backend_rig_run(&rig, 0, &of_a, rig.backends[0]->ops->next) == RC_OK) {
        cr_assert_eq(backend_rig_run(&rig, 1, &of_b, rig.backends[1]->ops->next), RC_OK);
        backend_rig_expect_row(&of_b.op.row, &of_a.op.row);
        count++;
    }
    cr_assert_eq(of_a.op.rc, RC_ABSENT, "%s", rc_name(of_a.op.rc));
    cr_assert_eq(backend_rig_run(&rig, 1, &of_b, rig.backends[1]->ops->next), RC_ABSENT);
    buf_fini(&of_a.op.bytes);
    buf_fini(&of_b.op.bytes);
    backend_rig_close(&rig);
    return count;
}

static bool is_there(struct backend_rig *rig, int number) {
    struct backend_call call;
    char user_id[96];
    snprintf(user_id, sizeof user_id, "user-%05d", number);
    enum rc rc = backend_rig_get(rig, 0, &call, slice_str(user_id));
    buf_fini(&call.op.bytes);
    cr_assert(rc == RC_OK || rc == RC_ABSENT, "%s", rc_name(rc));
    return rc == RC_OK;
}

/* -- from one to another, and back -- */

static void there_and_back(const struct account_place_kind *from,
                           const struct account_place_kind *to, int count) {
    struct stores stores;
    struct account_place again;
    char says[96];
    make_stores(&stores, from, to);
    account_place_make(&again, from);
    fill(&stores.from, count);
    snprintf(says, sizeof says, "done: %d accounts: %d copied, 0 replaced", count, count);
    expect(&stores, 0, says);
    cr_assert_eq(expect_same(&stores.from, &stores.to), count);
    snprintf(says, sizeof says, "0 copied, 0 replaced (TO had an older one), %d equal", count);
    expect(&stores, 0, says);
    snprintf(says, sizeof says, "done: %d accounts: %d copied, 0 replaced", count, count);
    expect_end(start(stores.from.folder.path, ARGUMENTS(stores.to.url, again.url), NULL), 0, says);
    cr_assert_eq(expect_same(&stores.from, &again), count);
    account_place_drop(&again);
    drop_stores(&stores);
}

Test(migrate, sqlite_to_redis_and_back) {
    there_and_back(&account_place_sqlite, &account_place_redis, 400);
}
Test(migrate, redis_to_sqlite_and_back) {
    there_and_back(&account_place_redis, &account_place_sqlite, 400);
}
Test(migrate, sqlite_to_mongodb_and_back) {
    NEEDS_MONGO_SERVER();
    there_and_back(&account_place_sqlite, &account_place_mongo, FEW);
}
Test(migrate, redis_to_mongodb_and_back) {
    NEEDS_MONGO_SERVER();
    there_and_back(&account_place_redis, &account_place_mongo, FEW);
}

/* -- killed -- */

static void nap(void) {
    nanosleep(&(const struct timespec){.tv_nsec = 500000}, NULL);
}

static void killed_again_and_again(const struct account_place_kind *from,
                                   const struct account_place_kind *to, int count) {
    struct stores stores;
    struct backend_rig rig;
    int caught = 0;
    make_stores(&stores, from, to);
    fill(&stores.from, count);
    backend_rig_open(&rig, &stores.to, 0); /* makes it, where it is a file */
    backend_rig_close(&rig);
    for (int i = 1; i <= KILLS; i++) {
        struct program *program =
            start(stores.from.folder.path, ARGUMENTS(stores.from.url, stores.to.url), NULL);
        int64_t end_ns = clock_ns() + (int64_t)ENDS_MS_MAX * 1000000;
        backend_rig_open_beside(&rig, &stores.to);
        while (!is_there(&rig, count * i / (KILLS + 1) + 1) && clock_ns() < end_ns) {
            nap();
        }
        program_signal(program, SIGKILL);
        program_wait(program);
        caught += is_there(&rig, count - 1) ? 0 : 1;
        backend_rig_close(&rig);
        program_free(program);
    }
    cr_assert_geq(caught, 1, "it was never stopped in the middle");
    struct program *program =
        start(stores.from.folder.path, ARGUMENTS(stores.from.url, stores.to.url), NULL);
    cr_assert_eq(program_wait(program), 0, "%s", program->err.text);
    cr_assert_null(strstr(program->err.text, " 0 equal already"), "%s", program->err.text);
    program_free(program);
    cr_assert_eq(expect_same(&stores.from, &stores.to), count);
    drop_stores(&stores);
}

Test(migrate, killed_on_the_way_to_redis) {
    killed_again_and_again(&account_place_sqlite, &account_place_redis, MANY);
}
Test(migrate, killed_on_the_way_to_sqlite) {
    killed_again_and_again(&account_place_redis, &account_place_sqlite, MANY);
}

Test(migrate, killed_on_the_way_to_mongodb) {
    NEEDS_MONGO_SERVER();
    killed_again_and_again(&account_place_sqlite, &account_place_mongo, FEW);
}

/* -- beside a server, as docs and --help tell to move -- */

static void expect_connected(int port, const char *sub, bool connected) {
    cr_assert_eq(platform_is_connected(&(struct platform){.port = port}, sub), connected, "%s",
                 sub);
}

static void moved_with_a_server(const struct account_place_kind *to) {
    struct platform p;
    struct account_place target;
    struct child child;
    char from_url[300];
    char store[300];
    platform_start(&p, NULL);
    account_place_make(&target, to);
    snprintf(from_url, sizeof from_url, "sqlite:%s/latchkey.db", kit_server_folder(p.server));
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", target.url);
    platform_link(&p, "ada");
    platform_link(&p, "bob");
    expect_end(start(target.folder.path, ARGUMENTS(from_url, target.url), NULL), 0,
               "done: 2 accounts: 2 copied");
    char token[KIT_JWT_BYTES];
    ask_premium(token, "bob");
    ask_expect(p.port, (struct ask){.method = "POST", .path = "disconnect", .token = token}, 200,
               NULL);
    platform_link(&p, "ada"); /* again */
    platform_link(&p, "eve");
    expect_end(start(target.folder.path, ARGUMENTS("--prune", from_url, "-"), ARGUMENTS(store)), 0,
               "done: 2 accounts: 1 copied, 1 replaced (TO had an older one), 0 equal already, 0 "
               "kept (TO has a newer one), 0 failed; in TO only: 0, pruned: 1");
    child_start(&child, target.folder.path, simprovider_url(p.sim), ARGUMENTS(store));
    expect_connected(child.port, "ada", true);
    expect_connected(child.port, "bob", false);
    expect_connected(child.port, "eve", true);
    ask_premium(token, "ada"); /* tokens are sealed under the same key, and open */
    ask_expect(child.port, (struct ask){.path = "library", .token = token}, 200, NULL);
    cr_assert_eq(child_stop(&child), 0);
    account_place_drop(&target);
    platform_stop(&p);
    CHECK_LEAKS();
}

Test(migrate, moved_to_redis_with_a_server) {
    moved_with_a_server(&account_place_redis);
}

Test(migrate, moved_to_mongodb_with_a_server) {
    NEEDS_MONGO_SERVER();
    moved_with_a_server(&account_place_mongo);
}

/* -- stores that are not there -- */

Test(migrate, a_store_that_is_not_there) {
    struct stores stores;
    make_stores(&stores, &account_place_sqlite, &account_place_redis);
    const char *from = stores.from.url;
    const char *folder = stores.from.folder.path;
    expect_end(start(folder, ARGUMENTS(from, stores.to.url), NULL), 1, "FROM: ");
    fill(&stores.from, 3);
    stores.to.kind->kill(&stores.to);
    expect(&stores, 1, "latchkey migrate: TO: ");
    expect_end(start(folder, ARGUMENTS(stores.to.url, "sqlite:/dev/null"), NULL), 1, "TO: ");
    struct account_place other;
    account_place_make(&other, &account_place_sqlite);
    expect_end(start(folder, ARGUMENTS(stores.to.url, other.url), NULL), 1,
               "latchkey migrate: FROM: ");
    account_place_drop(&other);
    stores.to.kind->start(&stores.to);
    stores.to.kind->freeze(&stores.to);
    expect(&stores, 1, "latchkey migrate: TO: ");
    stores.to.kind->thaw(&stores.to);
    expect(&stores, 0, "3 copied");
    drop_stores(&stores);
}

Test(migrate, a_target_that_freezes_in_the_middle) {
    struct stores stores;
    struct backend_rig rig;
    make_stores(&stores, &account_place_sqlite, &account_place_redis);
    fill(&stores.from, MANY);
    struct program *program =
        start(stores.from.folder.path, ARGUMENTS(stores.from.url, stores.to.url), NULL);
    backend_rig_open_beside(&rig, &stores.to);
    while (!is_there(&rig, 601)) {
        nap();
    }
    stores.to.kind->freeze(&stores.to);
    expect_end(program, 1, "run it again");
    stores.to.kind->thaw(&stores.to);
    cr_assert(backend_rig_ping_within(&rig, 0, ENDS_MS_MAX));
    backend_rig_close(&rig);
    expect(&stores, 0, " 0 failed");
    cr_assert_eq(expect_same(&stores.from, &stores.to), MANY);
    drop_stores(&stores);
}

Test(migrate, a_file_that_is_served_is_no_target) {
    struct stores stores;
    struct child child;
    char store[300];
    make_stores(&stores, &account_place_redis, &account_place_sqlite);
    fill(&stores.from, 3);
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", stores.to.url);
    child_start(&child, stores.to.folder.path, "http://127.0.0.1:1", ARGUMENTS(store));
    expect(&stores, 1, "in use by another server");
    cr_assert_eq(child_stop(&child), 0);
    expect(&stores, 0, "3 copied");
    drop_stores(&stores);
}

/* -- arguments, and the passwords in them -- */

Test(migrate, passwords_come_from_files_or_are_warned_of) {
    struct account_place from;
    struct redis_server server = {.port = 0};
    struct scratch file;
    char at_file[SCRATCH_BYTES + 1];
    account_place_make(&from, &account_place_sqlite);
    fill(&from, 3);
    redis_server_start(&server, (struct redis_server_opts){.password = "open-sesame-0815"});
    secrets_add("a password", SLICE("open-sesame-0815"), SECRETS_NOWHERE);
    secrets_add("a wrong password", SLICE("open-sesame-4711"), SECRETS_NOWHERE);
    char url[256];
    snprintf(url, sizeof url, "%s", redis_server_url(&server));
    const char *folder = from.folder.path;
    expect_end(start(folder, ARGUMENTS(from.url, url), NULL), 0, "warning: TO: holds a password");
    file = scratch_file(&from.folder, "url");
    FILE *out = fopen(file.path, "w");
    fprintf(out, "%s\n", url);
    fclose(out);
    snprintf(at_file, sizeof at_file, "@%s", file.path);
    struct program *program = start(folder, ARGUMENTS(from.url, at_file), NULL);
    cr_assert_eq(program_wait(program), 0, "%s", program->err.text);
    cr_assert_null(strstr(program->err.text, "warning"), "%s", program->err.text);
    program_free(program);
    snprintf(url, sizeof url, "redis://:open-sesame-4711@127.0.0.1:%d", server.port);
    expect_end(start(folder, ARGUMENTS(from.url, url), NULL), 1, "latchkey migrate: TO: ");
    expect_end(start(folder, ARGUMENTS("redis://:open-sesame-4711@:x", url), NULL), 2,
               "error: FROM: ");
    redis_server_free(&server);
    account_place_drop(&from);
    CHECK_LEAKS();
}

Test(migrate, says_what_is_wrong_with_its_arguments) {
    struct account_place from;
    char other_name[300];
    account_place_make(&from, &account_place_sqlite);
    fill(&from, 1);
    snprintf(other_name, sizeof other_name, "sqlite:%s/../%s/accounts.db", from.folder.path,
             strrchr(from.folder.path, '/') + 1);
    const struct {
        const char *const *arguments;
        const char *says;
    } cases[] = {
        {ARGUMENTS("--prune"), "FROM and TO are needed"},
        {ARGUMENTS(from.url), "FROM and TO are needed"},
        {ARGUMENTS(from.url, "-", "more"), "an argument too many"},
        {ARGUMENTS("--all", from.url, "-"), "the option --all"},
        {ARGUMENTS("--prune=yes", from.url, "-"), "the option --prune"},
        {ARGUMENTS(from.url, from.url), "TO: is the same store as FROM"},
        {ARGUMENTS(from.url, other_name), "TO: is the same store as FROM"},
        {ARGUMENTS("redis://127.0.0.1/0", "redis://127.0.0.1:6379"), "is the same store as FROM"},
        {ARGUMENTS("-", "-"), "TO: is the same store as FROM"},
        {ARGUMENTS("", from.url), "FROM: is empty"},
        {ARGUMENTS("mysql://x", from.url), "FROM: is not one of sqlite:"},
        {ARGUMENTS(from.url, "@"), "TO: names a file that can't be read"},
        {ARGUMENTS(from.url, "@/no/such/file"), "TO: names a file that can't be read (No such"},
        {ARGUMENTS(from.url, "sqlite:///x"), "TO: has slashes after sqlite:"},
        {ARGUMENTS(from.url, "redis://"), "TO: is not one of"},
        {ARGUMENTS(from.url, "redis://x:y"), "error: TO: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_end(start(from.folder.path, cases[i].arguments, NULL), 2, cases[i].says);
    }
    expect_end(start(from.folder.path, ARGUMENTS(from.url, "-"), ARGUMENTS("SECRET_KEY=")), 2,
               "SECRET_KEY");
    account_place_drop(&from);
    CHECK_LEAKS();
}
