/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "backend/ingest/ingest.h"
#include "backend/ingest/meters.h"

static void reads_a_report_id(void **state)
{
	struct sonde_report_id id = {0};

	assert_ok(sonde_report_id_parse("abc/12/9f", &id));
	assert_string_equal(id.task, "abc");
	assert_int_equal(id.sequence, 12);
	assert_string_equal(id.hash, "9f");
	assert_ok(sonde_report_id_parse("-/0/x", &id));
	assert_string_equal(id.task, "-");
}

static void refuses_what_is_none(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"//",
		"a/1",
		"a/1/",
		"/1/h",
		"a//h",
		"a/x/h",
		"a/-1/h",
		"a/1/h/h",
		"a/1/h h",
		"a/99999999999999999999/h",
		"0123456789012345678901234567890123456789012345678901234567890123456789/1/h",
	};
	struct sonde_report_id id = {.sequence = 77};
	char hash[SONDE_INGEST_HASH_MAX + 8] = "a/1/";

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(sonde_report_id_parse(bad[i], &id), EINVAL);
	memset(hash + 4, 'f', SONDE_INGEST_HASH_MAX);
	assert_err(sonde_report_id_parse(hash, &id), EINVAL);
	assert_int_equal(id.sequence, 77);
}

static void frames_bound_the_report(void **state)
{
	_cleanup_buf_ struct sonde_buf frames = SONDE_BUF_INIT(16);
	const uint8_t data[16] = {0};

	assert_ok(sonde_meters_frame(&frames, data, 4));
	assert_int_equal(frames.len, 8);
	assert_int_equal(frames.data[0], 4);
	assert_err(sonde_meters_frame(&frames, data, 5), EMSGSIZE);
	assert_int_equal(frames.len, 8);
	assert_ok(sonde_meters_frame(&frames, data, 4));
}

static void a_stream_of_meters_is_one_collection(void **state)
{
	_cleanup_buf_ struct sonde_buf frames = SONDE_BUF_INIT(1024);
	const uint8_t data[200] = {0};

	assert_ok(sonde_meters_frame_one(&frames, data, 3));
	assert_ok(sonde_meters_frame_one(&frames, data, 200));
	/* length of all, then tag, length and bytes of each */
	assert_int_equal(frames.len, 4 + 2 + 3 + 3 + 200);
	assert_int_equal(frames.data[0], 2 + 3 + 3 + 200);
	assert_int_equal(frames.data[4], 0x0a);
	assert_int_equal(frames.data[5], 3);
	assert_int_equal(frames.data[9], 0x0a);
	assert_int_equal(frames.data[10], 0xc8);
	assert_int_equal(frames.data[11], 0x01);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_report_id),
		cmocka_unit_test(refuses_what_is_none),
		cmocka_unit_test(frames_bound_the_report),
		cmocka_unit_test(a_stream_of_meters_is_one_collection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
