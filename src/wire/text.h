/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text from outside, or on its way there: protobuf's strings must be UTF-8, what a process calls itself need not be. */

#include <stdbool.h>
#include <stddef.h>

/* Well-formed as Unicode's table 3-7 says: no overlong form, no surrogate, nothing above U+10FFFF. */
bool sonde_text_is_utf8(const char *s, size_t n);
