// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "base/jsonw.h"
#include "provider/provider.h"

/* Appends the contract's audiobook for one of the provider's books: what is missing, of another
 * type or out of bounds is replaced by its default. Returns how many fields were. Any thread.
 *
 * A text that is longer than its cap is cut between two characters, since most of it is better than
 * nothing, and counts as one; an asin or an image's address means nothing when it is cut. */
size_t audiobook_write(struct jsonw *w, const struct provider_names *names, const struct json *book,
                       bool is_owned);
