// SPDX-License-Identifier: MIT
#include "base/list.h"

#include <criterion/criterion.h>

struct item {
    int number;
    struct list node;
};

static int take_number(struct list *head) {
    struct list *node = list_take_first(head);
    return node != NULL ? LIST_ENTRY(node, struct item, node)->number : -1;
}

Test(list, first_in_first_out) {
    struct list head;
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    list_init(&head);
    cr_assert(list_is_empty(&head));
    cr_assert_null(list_take_first(&head));
    for (int i = 0; i < 3; i++) {
        cr_assert(!list_is_linked(&items[i].node));
        list_append(&head, &items[i].node);
        cr_assert(list_is_linked(&items[i].node));
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(take_number(&head), i);
        cr_assert(!list_is_linked(&items[i].node));
    }
    cr_assert(list_is_empty(&head));
}

Test(list, remove_anywhere) {
    for (int removed = 0; removed < 3; removed++) {
        struct list head;
        struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
        list_init(&head);
        for (int i = 0; i < 3; i++) {
            list_append(&head, &items[i].node);
        }
        list_remove(&items[removed].node);
        list_append(&head, &items[removed].node);
        for (int i = 0; i < 3; i++) {
            if (i != removed) {
                cr_assert_eq(take_number(&head), i, "without %d", removed);
            }
        }
        cr_assert_eq(take_number(&head), removed);
        cr_assert(list_is_empty(&head));
    }
}

Test(list, move_all) {
    struct list to;
    struct list from;
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    list_init(&to);
    list_init(&from);
    list_move_all(&to, &from);
    cr_assert(list_is_empty(&to));
    list_append(&to, &items[0].node);
    for (int i = 1; i < 4; i++) {
        list_append(&from, &items[i].node);
    }
    list_move_all(&to, &from);
    cr_assert(list_is_empty(&from));
    list_move_all(&to, &from);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(take_number(&to), i);
    }
    cr_assert(list_is_empty(&to));
}
