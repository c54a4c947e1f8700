/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <assert.h>

size_t sonde_utf8_length(const char *text, size_t n)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf; /* of the second byte */
	size_t length;

	assert(text && n > 0);

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

bool sonde_is_utf8(const char *text, size_t n)
{
	while (n > 0) {
		size_t length = sonde_utf8_length(text, n);

		if (length == 0)
			return false;
		text += length;
		n -= length;
	}
	return true;
}

bool sonde_has_control(const char *text)
{
	assert(text);

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			return true;
	}
	return false;
}
