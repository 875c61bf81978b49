// SPDX-License-Identifier: MIT
#pragma once

#include "base/buf.h"

/* The table of variables for a person. Both append. */
void config_text_help(struct buf *out);     /* for a terminal */
void config_text_markdown(struct buf *out); /* docs/configuration.md */
