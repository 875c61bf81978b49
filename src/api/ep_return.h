// SPDX-License-Identifier: MIT
#pragma once

/* The Content-Security-Policy of the page that ends the browser's way back, with its style's hash.
 * On the heap; NULL: the crypto library failed. */
char *ep_return_csp(void);
