/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/text.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the character at @s, of which @n are there; 0 = not well-formed. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
	unsigned char low = 0x80, high = 0xbf; /* of the second byte */
	size_t length;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		length = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		length = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (s[0] == 0xe0) /* overlong below */
		low = 0xa0;
	else if (s[0] == 0xed) /* surrogates above */
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4) /* U+10FFFF is the last */
		high = 0x8f;
	if (n < length || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

bool sonde_text_is_utf8(const char *s, size_t n)
{
	assert(s || n == 0);

	for (size_t i = 0; i < n;) {
		size_t length = utf8_length((const unsigned char *)s + i, n - i);

		if (length == 0)
			return false;
		i += length;
	}
	return true;
}

void sonde_text_printable(const char *s, char *ret, size_t size)
{
	size_t n, at = 0;

	assert(s && ret && size > 0);

	n = strlen(s);
	for (size_t i = 0; i < n;) {
		size_t length = utf8_length((const unsigned char *)s + i, n - i);
		bool bad = length == 0 || (unsigned char)s[i] < 0x20 || s[i] == 0x7f;

		if (bad)
			length = 1;
		if (at + length >= size)
			break;
		if (bad)
			ret[at] = '?';
		else
			memcpy(ret + at, s + i, length);
		at += length;
		i += length;
	}
	ret[at] = '\0';
}
