/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text from outside, or on its way there: protobuf's strings must be UTF-8, what a process calls itself need not be. */

#include <stdbool.h>
#include <stddef.h>

/* Well-formed as Unicode's table 3-7 says: no overlong form, no surrogate, nothing above U+10FFFF. */
bool sonde_text_is_utf8(const char *s, size_t n);

/*
 * A copy of @s for a log line, a column or a protobuf string: ASCII control bytes and bytes that are not
 * UTF-8 become '?'; cut to @size - 1 bytes between characters. @size >= 1.
 */
void sonde_text_printable(const char *s, char *ret, size_t size);
