/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/text.h"

#include <assert.h>

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
