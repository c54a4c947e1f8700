/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Nesting: how deep brackets go in a JSON text, asked before a parser that recurses sees it. No state. */

#include <stdbool.h>
#include <stddef.h>

/* Are `[` and `{` outside strings open at most @depth deep? Says nothing else about the text. */
bool sonde_json_shallow(const char *text, size_t len, unsigned int depth);
