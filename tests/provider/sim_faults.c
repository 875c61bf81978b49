// SPDX-License-Identifier: MIT
#include "provider/sim_faults.h"

#include <string.h>

#include "base/mem.h"
#include "provider/sim.h"

enum { TEXT_BYTES = 4095, HUGE_BYTES = 20 * 1024 * 1024 };

bool sim_faults_kind(struct slice name, enum simprovider_fault_kind *out) {
#define FAULT_NAME(id, text) [SIMPROVIDER_##id] = text,
    static const char *const names[] = {SIMPROVIDER_FAULT_MAP(FAULT_NAME)};
#undef FAULT_NAME
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_eq(name, slice_str(names[i]))) {
            *out = (enum simprovider_fault_kind)i;
            return true;
        }
    }
    return false;
}

bool sim_faults_add(struct sim_faults *faults, const struct simprovider_fault *fault) {
    struct slice path = slice_str(fault->path);
    struct slice text = slice_str(fault->text);
    if (faults->count == SIM_FAULTS_MAX || path.len == 0 || path.len >= SIM_FAULT_PATH_BYTES ||
        text.len > TEXT_BYTES) {
        return false;
    }
    struct sim_fault *added = &faults->at[faults->count++];
    *added = (struct sim_fault){.kind = fault->kind,
                                .number = fault->number,
                                .text = fault->text != NULL ? mem_strdup(text) : NULL,
                                .left = fault->count,
                                .is_lasting = fault->count == 0};
    memcpy(added->path, path.at, path.len + 1);
    return true;
}

static void remove_at(struct sim_faults *faults, size_t i) {
    sim_fault_fini(&faults->at[i]);
    faults->count--;
    memmove(&faults->at[i], &faults->at[i + 1], (faults->count - i) * sizeof *faults->at);
}

void sim_faults_clear(struct sim_faults *faults) {
    while (faults->count > 0) {
        remove_at(faults, faults->count - 1);
    }
}

static bool fits(const struct sim_fault *fault, struct slice path) {
    struct slice wanted = slice_str(fault->path);
    if (wanted.at[wanted.len - 1] == '*') {
        return slice_starts(path, slice_head(wanted, wanted.len - 1));
    }
    return slice_eq(path, wanted);
}

bool sim_faults_take(struct sim_faults *faults, struct slice path, struct sim_fault *out) {
    for (size_t i = 0; i < faults->count; i++) {
        struct sim_fault *fault = &faults->at[i];
        if (!fits(fault, path)) {
            continue;
        }
        *out = *fault;
        out->text = fault->text != NULL ? mem_strdup(slice_str(fault->text)) : NULL;
        if (!fault->is_lasting && --fault->left == 0) {
            remove_at(faults, i);
        }
        return true;
    }
    return false;
}

void sim_fault_fini(struct sim_fault *fault) {
    mem_free(fault->text);
    fault->text = NULL;
}

bool sim_fault_refuses(const struct sim_fault *fault) {
    return fault->kind == SIMPROVIDER_STATUS || fault->kind == SIMPROVIDER_RATELIMIT ||
           fault->kind == SIMPROVIDER_REDIRECT || fault->kind == SIMPROVIDER_NOISE;
}

static void replace_body(struct sim_answer *answer, int status, struct slice body) {
    answer->status = status;
    answer->content_type = "application/json";
    buf_clear(&answer->headers);
    buf_clear(&answer->body);
    buf_append(&answer->body, body);
}

static void spoil_huge(struct sim_answer *answer, int64_t bytes) {
    static const char as[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    size_t wanted = bytes > 0 ? (size_t)bytes : HUGE_BYTES;
    replace_body(answer, 200, SLICE("{\"access_token\":\""));
    while (answer->body.len + sizeof as < wanted && buf_ok(&answer->body)) {
        buf_append(&answer->body, slice_make(as, sizeof as - 1));
    }
    BUF_LIT(&answer->body, "\"}");
}

void sim_fault_spoil(const struct sim_fault *fault, struct sim_answer *answer) {
    const char *text = fault->text;
    switch (fault->kind) {
    case SIMPROVIDER_STATUS:
        replace_body(answer, fault->number > 0 ? (int)fault->number : 500,
                     text != NULL ? slice_str(text) : SLICE("{\"error\":\"server_error\"}"));
        break;
    case SIMPROVIDER_GARBAGE:
        replace_body(answer, 200, SLICE("<html>{\"access_token\":\"\xff\xfe"));
        break;
    case SIMPROVIDER_WRONG_TYPES:
        replace_body(answer, 200,
                     SLICE("{\"access_token\":12345,\"refresh_token\":[\"x\"],\"expires_in\":{},"
                           "\"token_type\":7,\"user_id\":false,\"items\":\"none\",\"products\":{},"
                           "\"product\":[]}"));
        break;
    case SIMPROVIDER_HUGE:
        spoil_huge(answer, fault->number);
        break;
    case SIMPROVIDER_RATELIMIT:
        replace_body(answer, 429, SLICE("{\"error\":\"slow_down\"}"));
        BUF_LIT(&answer->headers, "Retry-After: ");
        buf_append_i64(&answer->headers, fault->number > 0 ? fault->number : 1);
        BUF_LIT(&answer->headers, "\r\n");
        break;
    case SIMPROVIDER_REDIRECT:
        replace_body(answer, 302, SLICE("{}"));
        BUF_LIT(&answer->headers, "Location: ");
        buf_append(&answer->headers, slice_str(text != NULL ? text : "/sim/redirected"));
        BUF_LIT(&answer->headers, "\r\n");
        break;
    default: /* in the delivery: simprovider.c */
        break;
    }
}
