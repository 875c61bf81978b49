// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "base/slice.h"
#include "provider/simprovider.h"

struct sim_answer;

/* The faults that are set. */
enum { SIM_FAULTS_MAX = 32, SIM_FAULT_PATH_BYTES = 128 };

struct sim_fault {
    char path[SIM_FAULT_PATH_BYTES];
    enum simprovider_fault_kind kind;
    int64_t number;
    char *text; /* NULL: the default */
    unsigned left;
    bool is_lasting;
};

struct sim_faults {
    struct sim_fault at[SIM_FAULTS_MAX];
    size_t count;
};

bool sim_faults_add(struct sim_faults *faults, const struct simprovider_fault *fault);
void sim_faults_clear(struct sim_faults *faults);

/* The first one for this path, used up by one. What is returned is the caller's: sim_fault_fini. */
bool sim_faults_take(struct sim_faults *faults, struct slice path, struct sim_fault *out);
void sim_fault_fini(struct sim_fault *fault);

/* False where the name is none. */
bool sim_faults_kind(struct slice name, enum simprovider_fault_kind *out);

/* Whether the request isn't carried out at all. */
bool sim_fault_refuses(const struct sim_fault *fault);

/* Spoils what can be spoilt within an HTTP answer. */
void sim_fault_spoil(const struct sim_fault *fault, struct sim_answer *answer);
