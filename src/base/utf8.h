/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* UTF-8, as Unicode's table 3-7 says: no overlong form, no surrogate, nothing above U+10FFFF. No state. */

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at @text, of which @n are there, 1 at least; 0 = not well-formed. */
size_t sonde_utf8_length(const char *text, size_t n);

/* Are all @n bytes characters? */
bool sonde_is_utf8(const char *text, size_t n);

/* Has it a control character of ASCII, which would end a line of a log or steer a terminal? */
bool sonde_has_control(const char *text);
