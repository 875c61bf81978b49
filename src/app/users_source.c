// SPDX-License-Identifier: MIT
#include "app/users_source.h"

#include "base/mem.h"
#include "store/users_mongo.h"

struct mongo_source {
    struct users_source source;
    struct mongo *mongo;
    struct loop_task closing;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* A look-up's op. */
struct question {
    struct users_mongo_op op;
    struct users_lookup *lookup;
};

/* What the record borrows lies in the question, which goes last. */
static void on_found(struct users_mongo_op *op) {
    struct question *question = LIST_ENTRY(op, struct question, op);
    struct users_lookup *lookup = question->lookup;
    const struct users_record record = {.roles = op->record.roles,
                                        .role_count = op->record.role_count,
                                        .subscription_tier = op->record.subscription_tier,
                                        .is_active = op->record.is_active};
    lookup->op = NULL;
    users_answer(lookup, op->rc, op->rc == RC_OK ? &record : NULL);
    mem_free(question);
}

static void look_up(struct users_source *source, struct users_lookup *lookup) {
    struct mongo_source *own = LIST_ENTRY(source, struct mongo_source, source);
    struct question *question = mem_alloc(sizeof *question);
    question->lookup = lookup;
    lookup->op = question;
    users_mongo_find(own->mongo, &question->op, lookup->user_id, on_found);
}

static void on_closing(struct loop_task *task) {
    struct mongo_source *own = LIST_ENTRY(task, struct mongo_source, closing);
    void (*closed)(void *owner) = own->closed;
    void *closed_owner = own->closed_owner;
    mem_free(own);
    closed(closed_owner);
}

static void close_source(struct users_source *source, void (*closed)(void *owner), void *owner) {
    struct mongo_source *own = LIST_ENTRY(source, struct mongo_source, source);
    own->closed = closed;
    own->closed_owner = owner;
    loop_later(mongo_loop(own->mongo), &own->closing, on_closing);
}

static const struct users_source_ops source_ops = {.look_up = look_up, .close = close_source};

struct users_source *users_source_new(struct mongo *mongo) {
    struct mongo_source *own = mem_calloc(1, sizeof *own);
    own->source.ops = &source_ops;
    own->mongo = mongo;
    return &own->source;
}
