/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <string.h>

#include "wire/text.h"

static bool utf8(const char *s)
{
	return sonde_text_is_utf8(s, strlen(s));
}

static void takes_well_formed_text_only(void **state)
{
	assert_true(utf8(""));
	assert_true(utf8("a\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf"));
	assert_true(utf8("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
	assert_false(utf8("\x80"));
	assert_false(utf8("\xc0\xaf"));		/* overlong */
	assert_false(utf8("\xe0\x9f\xbf"));	/* overlong */
	assert_false(utf8("\xf0\x8f\xbf\xbf")); /* overlong */
	assert_false(utf8("\xed\xa0\x80"));	/* surrogate */
	assert_false(utf8("\xf4\x90\x80\x80")); /* above U+10FFFF */
	assert_false(utf8("\xf5\x80\x80\x80"));
	assert_false(utf8("\xe2\x82"));	  /* cut */
	assert_false(utf8("\xe2\x82xx")); /* no continuation */
	assert_false(sonde_text_is_utf8("\xf0\x90\x80\x80", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_well_formed_text_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
