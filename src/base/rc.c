// SPDX-License-Identifier: MIT
#include "base/rc.h"

#define RC_TEXT(name, text) [RC_##name] = text,
static const char *const texts[RC_COUNT] = {RC_MAP(RC_TEXT)};

#define RC_NAME(name, text) [RC_##name] = #name,
static const char *const names[RC_COUNT] = {RC_MAP(RC_NAME)};

const char *rc_name(enum rc rc) {
    return (unsigned)rc < RC_COUNT ? names[rc] : "UNKNOWN";
}

const char *rc_text(enum rc rc) {
    return (unsigned)rc < RC_COUNT ? texts[rc] : "unknown";
}
