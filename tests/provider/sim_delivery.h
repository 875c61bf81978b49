// SPDX-License-Identifier: MIT
#pragma once

#include "base/list.h"
#include "http/server.h"
#include "io/loop.h"
#include "provider/sim.h"

/* Answers on their way out: at once, or as a fault has it. All on the loop; `report` hears of every
 * answer once it is given, or of its client's leaving before that. */
struct sim_delivery {
    struct loop *loop;
    struct list held; /* those that wait */
    size_t open;      /* those whose timer isn't closed yet */
    void (*report)(void *owner, enum simprovider_counter counter);
    void (*idle)(void *owner); /* `open` became 0 */
    void *owner;
};

void sim_delivery_init(struct sim_delivery *delivery, struct loop *loop, void *owner);

/* Takes over what the answer holds, and the request; `fault` may be NULL, else it is taken over. */
void sim_delivery_send(struct sim_delivery *delivery, struct http_request *request,
                       struct sim_answer *answer, struct sim_fault *fault);

/* Lets those go that HOLD holds; `all`: everything that waits, without an answer. */
void sim_delivery_release(struct sim_delivery *delivery, bool all);
