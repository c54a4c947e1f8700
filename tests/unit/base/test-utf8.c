/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/utf8.h"

/* Every code point as an encoder writes it, and every other use of those bytes. */
static size_t encode(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static void each_code_point_is_taken_but_surrogates_and_what_is_cut(void **state)
{
	char text[4];

	for (uint32_t c = 0; c < 0x120000; c++) {
		bool good = c < 0xd800 || (c > 0xdfff && c <= 0x10ffff);
		size_t n = encode(c, text);

		assert_int_equal(sonde_utf8_length(text, 4), good ? n : 0);
		if (n > 1)
			assert_int_equal(sonde_utf8_length(text, n - 1), 0);
	}
}

static void no_overlong_form_is_taken(void **state)
{
	assert_int_equal(sonde_utf8_length("\xc0\xaf", 2), 0);
	assert_int_equal(sonde_utf8_length("\xc1\xbf", 2), 0);
	assert_int_equal(sonde_utf8_length("\xe0\x9f\xbf", 3), 0);
	assert_int_equal(sonde_utf8_length("\xf0\x8f\xbf\xbf", 4), 0);
	assert_int_equal(sonde_utf8_length("\x80", 1), 0);
	assert_int_equal(sonde_utf8_length("\xff", 1), 0);
}

static void a_text_is_all_characters_or_none(void **state)
{
	assert_true(sonde_is_utf8("", 0));
	assert_true(sonde_is_utf8("a\xc3\xa4\xe2\x82\xac", 6));
	assert_false(sonde_is_utf8("a\xc3\xa4\xe2\x82\xac", 5));
	assert_false(sonde_is_utf8("a\xff"
				   "b",
				   3));
}

static void what_steers_a_terminal_is_found(void **state)
{
	char text[] = "a?b";

	for (unsigned c = 1; c < 0x100; c++) {
		text[1] = (char)c;
		assert_int_equal(sonde_has_control(text), c < 0x20 || c == 0x7f);
	}
	assert_false(sonde_has_control(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_code_point_is_taken_but_surrogates_and_what_is_cut),
		cmocka_unit_test(no_overlong_form_is_taken),
		cmocka_unit_test(a_text_is_all_characters_or_none),
		cmocka_unit_test(what_steers_a_terminal_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
