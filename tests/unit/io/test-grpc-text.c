/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "base/clock.h"
#include "io/grpc-text.h"

static void reads_a_timeout_of_any_unit(void **state)
{
	uint64_t ns = 7;

	assert_ok(sonde_grpc_timeout_parse("1H", &ns));
	assert_true(ns == 3600 * SONDE_NS_PER_S);
	assert_ok(sonde_grpc_timeout_parse("2M", &ns));
	assert_true(ns == 120 * SONDE_NS_PER_S);
	assert_ok(sonde_grpc_timeout_parse("3S", &ns));
	assert_true(ns == 3 * SONDE_NS_PER_S);
	assert_ok(sonde_grpc_timeout_parse("100m", &ns));
	assert_true(ns == 100 * SONDE_NS_PER_MS);
	assert_ok(sonde_grpc_timeout_parse("99999999u", &ns));
	assert_true(ns == 99999999000ULL);
	assert_ok(sonde_grpc_timeout_parse("0n", &ns));
	assert_true(ns == 0);
	assert_ok(sonde_grpc_timeout_parse("99999999H", &ns));
	assert_true(ns == UINT64_MAX); /* saturates */
}

static void refuses_a_timeout_that_is_none(void **state)
{
	static const char *const bad[] = {"",	 "S",	"1",   "123456789n", "1x",
					  "-1S", "1SS", " 1S", "1.5S",	     "1 S"};
	uint64_t ns = 7;

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(sonde_grpc_timeout_parse(bad[i], &ns), EINVAL);
	assert_true(ns == 7);
}

static void writes_a_timeout_never_shorter_and_as_fine_as_fits(void **state)
{
	static const uint64_t values[] = {0,
					  1,
					  99999999,
					  100000000,
					  15 * SONDE_NS_PER_S,
					  15 * SONDE_NS_PER_S + 1,
					  86400 * SONDE_NS_PER_S,
					  UINT64_MAX - 1,
					  UINT64_MAX};
	char text[SONDE_GRPC_TIMEOUT_SIZE];

	for (size_t i = 0; i < ELEMENTS_OF(values); i++) {
		uint64_t back;

		sonde_grpc_timeout_format(values[i], text);
		assert_ok(sonde_grpc_timeout_parse(text, &back));
		assert_true(back >= values[i]);
	}
	sonde_grpc_timeout_format(15 * SONDE_NS_PER_S, text);
	assert_string_equal(text, "15000000u");
}

static void percent_coding_goes_both_ways(void **state)
{
	char coded[SONDE_GRPC_PERCENT_SIZE], back[256];

	sonde_grpc_percent_encode("50% of \xc3\xa4\n", coded);
	assert_string_equal(coded, "50%25 of %C3%A4%0A");
	sonde_grpc_percent_decode(coded, back, sizeof(back));
	assert_string_equal(back, "50% of \xc3\xa4?"); /* the newline is for no log */
}

static void encoding_cuts_between_characters(void **state)
{
	char text[300], coded[SONDE_GRPC_PERCENT_SIZE];

	memset(text, 'a', sizeof(text));
	memcpy(text + 254, "\xc3\xa4", 2); /* its second byte would be the 256th */
	text[299] = '\0';
	sonde_grpc_percent_encode(text, coded);
	assert_int_equal(strlen(coded), 254);
	memset(text, '\xff', sizeof(text) - 1);
	sonde_grpc_percent_encode(text, coded);
	assert_int_equal(strlen(coded), 255 * 3);
}

static void decoding_keeps_what_is_no_escape_and_stays_in_its_buffer(void **state)
{
	char back[5];

	sonde_grpc_percent_decode("%", back, sizeof(back));
	assert_string_equal(back, "%");
	sonde_grpc_percent_decode("%4", back, sizeof(back));
	assert_string_equal(back, "%4");
	sonde_grpc_percent_decode("%zz", back, sizeof(back));
	assert_string_equal(back, "%zz");
	sonde_grpc_percent_decode("%41%62%C3%a4%41", back, sizeof(back));
	assert_string_equal(back, "Ab\xc3\xa4");
	sonde_grpc_percent_decode("%00%1b", back, sizeof(back));
	assert_string_equal(back, "??");
	sonde_grpc_percent_decode("x", back, 1);
	assert_string_equal(back, "");
}

static void knows_a_grpc_content_type(void **state)
{
	assert_true(sonde_grpc_content_type_ok("application/grpc"));
	assert_true(sonde_grpc_content_type_ok("Application/gRPC+proto"));
	assert_true(sonde_grpc_content_type_ok("application/grpc; charset=utf-8"));
	assert_false(sonde_grpc_content_type_ok("application/grpc-web"));
	assert_false(sonde_grpc_content_type_ok("application/grpc+json"));
	assert_false(sonde_grpc_content_type_ok("application/json"));
	assert_false(sonde_grpc_content_type_ok(""));
}

static void status_numbers_have_names(void **state)
{
	assert_string_equal(sonde_grpc_status_name(SONDE_GRPC_OK), "OK");
	assert_string_equal(sonde_grpc_status_name(SONDE_GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
	assert_string_equal(sonde_grpc_status_name(17), "UNKNOWN");
	assert_int_equal(sonde_grpc_status_parse("14"), SONDE_GRPC_UNAVAILABLE);
	assert_int_equal(sonde_grpc_status_parse("17"), SONDE_GRPC_UNKNOWN);
	assert_int_equal(sonde_grpc_status_parse("-1"), SONDE_GRPC_UNKNOWN);
	assert_int_equal(sonde_grpc_status_parse(""), SONDE_GRPC_UNKNOWN);
	assert_int_equal(sonde_grpc_status_parse("0x0"), SONDE_GRPC_UNKNOWN);
}

static void other_protocols_errors_become_a_status(void **state)
{
	assert_int_equal(sonde_grpc_status_from_http(404), SONDE_GRPC_UNIMPLEMENTED);
	assert_int_equal(sonde_grpc_status_from_http(503), SONDE_GRPC_UNAVAILABLE);
	assert_int_equal(sonde_grpc_status_from_http(418), SONDE_GRPC_UNKNOWN);
	assert_int_equal(sonde_grpc_status_from_reset(NGHTTP2_REFUSED_STREAM),
			 SONDE_GRPC_UNAVAILABLE);
	assert_int_equal(sonde_grpc_status_from_reset(NGHTTP2_ENHANCE_YOUR_CALM),
			 SONDE_GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(sonde_grpc_status_from_reset(12345), SONDE_GRPC_INTERNAL);
}

static void tokens_are_equal_only_when_they_are(void **state)
{
	assert_true(sonde_grpc_token_equal("abc", "abc"));
	assert_false(sonde_grpc_token_equal("abd", "abc"));
	assert_false(sonde_grpc_token_equal("ab", "abc"));
	assert_false(sonde_grpc_token_equal("abcabc", "abc"));
	assert_false(sonde_grpc_token_equal("", "abc"));
	assert_true(sonde_grpc_token_equal("", ""));
	assert_false(sonde_grpc_token_equal("a", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_timeout_of_any_unit),
		cmocka_unit_test(refuses_a_timeout_that_is_none),
		cmocka_unit_test(writes_a_timeout_never_shorter_and_as_fine_as_fits),
		cmocka_unit_test(percent_coding_goes_both_ways),
		cmocka_unit_test(encoding_cuts_between_characters),
		cmocka_unit_test(decoding_keeps_what_is_no_escape_and_stays_in_its_buffer),
		cmocka_unit_test(knows_a_grpc_content_type),
		cmocka_unit_test(status_numbers_have_names),
		cmocka_unit_test(other_protocols_errors_become_a_status),
		cmocka_unit_test(tokens_are_equal_only_when_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
