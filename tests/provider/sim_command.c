// SPDX-License-Identifier: MIT
#include "base/json.h"
#include "base/jsonw.h"
#include "provider/sim_endpoints.h"

/* What a test in another language steers with. */
static void done(struct sim_call *call) {
    call->answer->status = 200;
    call->answer->content_type = "application/json";
    BUF_LIT(&call->answer->body, "{\"status\":\"ok\"}");
}

static char *copy_text(struct sim_call *call, const struct json *value) {
    struct slice text;
    if (!json_to_slice(value, &text)) {
        return NULL;
    }
    return (char *)(uintptr_t)arena_copy(call->arena, text).at;
}

/* {"path", "fault", "value": a number or a text, "count"} */
static bool read_fault(struct sim_call *call, const struct json *document,
                       struct simprovider_fault *out) {
    struct slice name;
    int64_t count = 0;
    const struct json *value = json_member(document, "value");
    if (!json_to_slice(json_member(document, "fault"), &name) ||
        !sim_faults_kind(name, &out->kind)) {
        return false;
    }
    out->path = copy_text(call, json_member(document, "path"));
    out->text = copy_text(call, json_member(document, "text"));
    json_to_i64(json_member(document, "count"), &count);
    if (!json_to_i64(value, &out->number) && out->text == NULL) {
        out->text = copy_text(call, value);
    }
    out->count = count > 0 && count <= INT32_MAX ? (unsigned)count : 0;
    return out->path != NULL && out->number >= 0;
}

void sim_command_faults(struct sim_call *call) {
    struct simprovider_fault fault = {0};
    struct json_document *document = json_parse(call->body, JSON_LAST_WINS);
    bool good =
        read_fault(call, json_root(document), &fault) && sim_faults_add(&call->sim->faults, &fault);
    json_close(document);
    if (good) {
        done(call);
    } else {
        sim_answer_error(call->answer, 400, "invalid_request");
    }
}

void sim_reset(struct sim *sim) {
    sim_faults_clear(&sim->faults);
    sim_grants_reset(&sim->grants);
    secret_free(&sim->revoked);
    for (size_t i = 0; i < SIMPROVIDER_COUNTERS; i++) {
        sim->counters[i] = 0;
    }
}

void sim_command_reset(struct sim_call *call) {
    sim_reset(call->sim);
    done(call);
}

void sim_command_stats(struct sim_call *call) {
#define COUNTER_NAME(id, text) [SIMPROVIDER_##id] = text,
    static const char *const names[] = {SIMPROVIDER_COUNTER_MAP(COUNTER_NAME)};
#undef COUNTER_NAME
    struct jsonw w = jsonw_start(&call->answer->body);
    call->answer->status = 200;
    call->answer->content_type = "application/json";
    jsonw_open(&w, '{');
    for (size_t i = 0; i < SIMPROVIDER_COUNTERS; i++) {
        jsonw_name(&w, names[i]);
        jsonw_i64(&w, call->sim->counters[i]);
    }
    jsonw_member(&w, "revoked", secret_slice(&call->sim->revoked));
    jsonw_close(&w, '}');
}

void sim_command_redirected(struct sim_call *call) {
    done(call);
}
