/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "io/http2-bounds.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define PING "\0\0\10\6\0\0\0\0\0________"
#define HEADERS_OPEN "\0\0\2\1\0\0\0\0\1ab"  /* no END_HEADERS */
#define CONTINUATION "\0\0\2\11\4\0\0\0\1cd" /* END_HEADERS */

static int feed(struct sonde_http2_bounds *b, const char *bytes, size_t n, uint64_t now_ns)
{
	return sonde_http2_bounds_feed(b, (const uint8_t *)bytes, n, now_ns);
}
#define FEED(b, literal) feed(b, literal, sizeof(literal) - 1, 0)

static void counts_whole_frames_however_the_bytes_are_split(void **state)
{
	static const char bytes[] = PREFACE SETTINGS PING HEADERS_OPEN CONTINUATION;
	const size_t n = sizeof(bytes) - 1;

	for (size_t split = 0; split <= n; split++) {
		struct sonde_http2_bounds b;

		sonde_http2_bounds_init(&b, true, 100, 10);
		assert_true(sonde_http2_bounds_midway(&b)); /* the preface is owed */
		assert_ok(feed(&b, bytes, split, 0));
		assert_ok(feed(&b, bytes + split, n - split, 0));
		assert_int_equal(b.n_frames, 4);
		assert_false(sonde_http2_bounds_midway(&b));
	}
}

static void a_header_block_is_not_over_before_its_last_frame(void **state)
{
	struct sonde_http2_bounds b;

	sonde_http2_bounds_init(&b, false, 100, 10);
	assert_false(sonde_http2_bounds_midway(&b));
	assert_ok(FEED(&b, HEADERS_OPEN));
	assert_true(sonde_http2_bounds_midway(&b));
	assert_ok(FEED(&b, CONTINUATION));
	assert_false(sonde_http2_bounds_midway(&b));
	assert_ok(FEED(&b, "\0\0"));
	assert_true(sonde_http2_bounds_midway(&b));
}

static void a_flood_of_control_frames_is_refused_and_a_trickle_is_not(void **state)
{
	struct sonde_http2_bounds b;

	sonde_http2_bounds_init(&b, false, 5, 10);
	for (int i = 0; i < 5; i++)
		assert_ok(FEED(&b, PING));
	assert_err(FEED(&b, PING), EBUSY);

	sonde_http2_bounds_init(&b, false, 5, 10);
	for (uint64_t i = 0; i < 1000; i++)
		assert_ok(feed(&b, PING, sizeof(PING) - 1, i * SONDE_NS_PER_S / 10));
}

static void data_and_windows_are_no_control_frames_but_empty_data_is(void **state)
{
	struct sonde_http2_bounds b;

	sonde_http2_bounds_init(&b, false, 2, 1);
	for (int i = 0; i < 100; i++) {
		assert_ok(FEED(&b, "\0\0\1\0\0\0\0\0\1x"));
		assert_ok(FEED(&b, "\0\0\4\10\0\0\0\0\0\0\0\0\1"));
		assert_ok(FEED(&b, "\0\0\0\0\1\0\0\0\1")); /* empty, but the end of a stream */
	}
	assert_ok(FEED(&b, "\0\0\0\0\0\0\0\0\1"));
	assert_ok(FEED(&b, "\0\0\0\0\0\0\0\0\1"));
	assert_err(FEED(&b, "\0\0\0\0\0\0\0\0\1"), EBUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_whole_frames_however_the_bytes_are_split),
		cmocka_unit_test(a_header_block_is_not_over_before_its_last_frame),
		cmocka_unit_test(a_flood_of_control_frames_is_refused_and_a_trickle_is_not),
		cmocka_unit_test(data_and_windows_are_no_control_frames_but_empty_data_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
