/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/text.h"

#include <assert.h>
#include <string.h>

#include "base/utf8.h"

bool sonde_text_is_utf8(const char *s, size_t n)
{
	assert(s || n == 0);

	for (size_t i = 0; i < n;) {
		size_t length = sonde_utf8_length(s + i, n - i);

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
		size_t length = sonde_utf8_length(s + i, n - i);
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
