// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* An intrusive doubly linked ring: a head is a node that links to itself when empty. A node that is
 * in no list has next == NULL (zero-initialised memory is such a node). */
struct list {
    struct list *next;
    struct list *prev;
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *head) {
    head->next = head;
    head->prev = head;
}

static inline bool list_is_empty(const struct list *head) {
    return head->next == head;
}

static inline bool list_is_linked(const struct list *node) {
    return node->next != NULL;
}

static inline void list_append(struct list *head, struct list *node) {
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

/* Removes and returns the first node, or NULL. Not by list_remove: written so, clang's analyzer
 * knows that the head has another first node then. */
static inline struct list *list_take_first(struct list *head) {
    struct list *first = head->next;
    if (first == head) {
        return NULL;
    }
    head->next = first->next;
    head->next->prev = head;
    first->next = NULL;
    first->prev = NULL;
    return first;
}

/* Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_move_all(struct list *to, struct list *from) {
    if (list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
