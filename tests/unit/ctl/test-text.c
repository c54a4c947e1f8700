/* SPDX-License-Identifier: Apache-2.0 */
/* Units, times, escapes, widths. */
#include "sonde-test.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/term.h"
#include "ctl/units.h"

static char buf[SONDE_UNIT_MAX];

static void bytes_have_binary_units_and_are_never_rounded_up(void **state)
{
	assert_string_equal(sonde_unit_bytes(0, buf), "0 B");
	assert_string_equal(sonde_unit_bytes(1023, buf), "1023 B");
	assert_string_equal(sonde_unit_bytes(1024, buf), "1.0 KiB");
	assert_string_equal(sonde_unit_bytes(1536, buf), "1.5 KiB");
	assert_string_equal(sonde_unit_bytes(1048575, buf), "1023.9 KiB");
	assert_string_equal(sonde_unit_bytes(13002343, buf), "12.4 MiB");
	assert_string_equal(sonde_unit_bytes(1.8446744e19, buf), "15.9 EiB");
}

static void times_have_three_digits(void **state)
{
	assert_string_equal(sonde_unit_us(0, buf), "0us");
	assert_string_equal(sonde_unit_us(310, buf), "310us");
	assert_string_equal(sonde_unit_us(999.9, buf), "999us");
	assert_string_equal(sonde_unit_us(1000, buf), "1ms");
	assert_string_equal(sonde_unit_us(1234, buf), "1.23ms");
	assert_string_equal(sonde_unit_us(12345, buf), "12.3ms");
	assert_string_equal(sonde_unit_us(61000000, buf), "61s");
	assert_string_equal(sonde_unit_ns(84, buf), "84ns");
	assert_string_equal(sonde_unit_ns(800000, buf), "800us");
}

static void counts_have_separators(void **state)
{
	assert_string_equal(sonde_unit_count(0, buf), "0");
	assert_string_equal(sonde_unit_count(999, buf), "999");
	assert_string_equal(sonde_unit_count(1000, buf), "1,000");
	assert_string_equal(sonde_unit_count(-88201, buf), "-88,201");
	assert_string_equal(sonde_unit_count(-100, buf), "-100");
	assert_string_equal(sonde_unit_count(INT64_MIN, buf), "-9,223,372,036,854,775,808");
}

static void clocks_count_minutes_then_hours(void **state)
{
	assert_string_equal(sonde_unit_clock(0, buf), "00:00");
	assert_string_equal(sonde_unit_clock(65999, buf), "01:05");
	assert_string_equal(sonde_unit_clock(3665000, buf), "1:01:05");
	assert_string_equal(sonde_unit_clock(-5, buf), "00:00");
}

static void rfc3339_is_read_with_any_offset(void **state)
{
	int64_t ms;

	assert_ok(sonde_time_parse("1970-01-01T00:00:01Z", &ms));
	assert_int_equal(ms, 1000);
	assert_ok(sonde_time_parse("2026-01-01T00:00:00.250Z", &ms));
	assert_int_equal(ms, 1767225600250);
	assert_ok(sonde_time_parse("2026-01-01T01:00:00.2507+01:00", &ms));
	assert_int_equal(ms, 1767225600250);
	assert_ok(sonde_time_parse("2025-12-31T23:30:00-00:30", &ms));
	assert_int_equal(ms, 1767225600000);
}

static void what_is_no_rfc3339_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"now",
		"2026-01-01",
		"2026-01-01T00:00:00",
		"2026-01-01 00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-01-01T00:00:00X",
		"2026-01-01T00:00:00+1",
		"1969-12-31T23:59:59Z",
		"2026-01-01T00:00:00+aa:bb",
	};

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		int64_t ms = 7;

		assert_err(sonde_time_parse(texts[i], &ms), EINVAL);
		assert_int_equal(ms, 7);
	}
}

static void tables_show_local_time_or_utc(void **state)
{
	assert_ok(setenv("TZ", "XST-02:00", 1));
	tzset();
	assert_string_equal(sonde_time_local(1767225600250, false, buf),
			    "2026-01-01 02:00:00.250 XST");
	assert_string_equal(sonde_time_local(1767225600250, true, buf),
			    "2026-01-01 00:00:00.250 UTC");
	assert_ok(unsetenv("TZ"));
	tzset();
}

static void assert_escaped(const char *text, size_t len, const char *expected)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(1024);

	assert_ok(sonde_term_escape(text, len, &out));
	assert_string_equal(sonde_buf_str(&out), expected);
}
#define ESCAPED(text, expected) assert_escaped(text, sizeof(text) - 1, expected)

static void letters_of_any_script_pass(void **state)
{
	ESCAPED("caf\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x90\x9d",
		"caf\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x90\x9d");
}

static void bytes_that_steer_a_terminal_do_not_pass(void **state)
{
	ESCAPED("\033[2J", "\\x1b[2J");
	ESCAPED("a\rb\nc\td", "a\\x0db\\nc\\td");
	ESCAPED("\x7f", "\\x7f");
	ESCAPED("\xc2\x9b"
		"2J",
		"\\u{009b}2J");
	ESCAPED("a\0b", "a\\x00b");
}

static void text_that_reads_backwards_or_hides_does_not_pass(void **state)
{
	ESCAPED("\xe2\x80\xae"
		"abc",
		"\\u{202e}abc");
	ESCAPED("a\xe2\x80\x8b"
		"b",
		"a\\u{200b}b");
	ESCAPED("\xef\xbb\xbf", "\\u{feff}");
}

static void bytes_that_are_no_utf8_are_shown_as_such(void **state)
{
	ESCAPED("\xff", "\\xff");
	ESCAPED("\xc3", "\\xc3");
	ESCAPED("\xc0\xaf", "\\xc0\\xaf");		     /* overlong */
	ESCAPED("\xed\xa0\x80", "\\xed\\xa0\\x80");	     /* surrogate */
	ESCAPED("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* beyond Unicode */
}

static void width_counts_columns_not_bytes(void **state)
{
	assert_int_equal(sonde_term_width(""), 0);
	assert_int_equal(sonde_term_width("abc"), 3);
	assert_int_equal(sonde_term_width("caf\xc3\xa9"), 4);
	assert_int_equal(sonde_term_fit("caf\xc3\xa9s", 4), 5);
	assert_int_equal(sonde_term_fit("abc", 9), 3);
	assert_int_equal(sonde_term_fit("abc", 0), 0);
}

static void wide_characters_take_two_columns(void **state)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_int_equal(sonde_term_width("\xe6\xbc\xa2\xe5\xad\x97"), 4);
	assert_int_equal(sonde_term_fit("\xe6\xbc\xa2\xe5\xad\x97", 3), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_have_binary_units_and_are_never_rounded_up),
		cmocka_unit_test(times_have_three_digits),
		cmocka_unit_test(counts_have_separators),
		cmocka_unit_test(clocks_count_minutes_then_hours),
		cmocka_unit_test(rfc3339_is_read_with_any_offset),
		cmocka_unit_test(what_is_no_rfc3339_is_refused),
		cmocka_unit_test(tables_show_local_time_or_utc),
		cmocka_unit_test(letters_of_any_script_pass),
		cmocka_unit_test(bytes_that_steer_a_terminal_do_not_pass),
		cmocka_unit_test(text_that_reads_backwards_or_hides_does_not_pass),
		cmocka_unit_test(bytes_that_are_no_utf8_are_shown_as_such),
		cmocka_unit_test(width_counts_columns_not_bytes),
		cmocka_unit_test(wide_characters_take_two_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
