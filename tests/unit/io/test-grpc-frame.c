/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "io/grpc-frame.h"

#define MAX_BYTES 1000

struct got {
	unsigned n;
	struct sonde_buf text; /* "flag:message;" each */
	int answer;
};

static int note(void *ctx, bool compressed, const uint8_t *data, size_t n)
{
	struct got *got = ctx;

	got->n++;
	assert_ok(sonde_buf_printf(&got->text, "%d:%.*s;", compressed, (int)n,
				   n > 0 ? (const char *)data : ""));
	return got->answer;
}

static const uint8_t three[] = "\0\0\0\0\3abc"
			       "\1\0\0\0\0"
			       "\0\0\0\0\2xy";
#define THREE_BYTES (sizeof(three) - 1)

static void finds_the_same_messages_however_the_bytes_are_split(void **state)
{
	for (size_t a = 0; a <= THREE_BYTES; a++) {
		for (size_t b = a; b <= THREE_BYTES; b++) {
			struct got got = {.text = SONDE_BUF_INIT(1000)};
			struct sonde_grpc_frames f;

			sonde_grpc_frames_init(&f, MAX_BYTES);
			assert_ok(sonde_grpc_frames_feed(&f, three, a, note, &got));
			assert_ok(sonde_grpc_frames_feed(&f, three + a, b - a, note, &got));
			assert_ok(
				sonde_grpc_frames_feed(&f, three + b, THREE_BYTES - b, note, &got));
			assert_string_equal(sonde_buf_str(&got.text), "0:abc;1:;0:xy;");
			assert_false(sonde_grpc_frames_midway(&f));
			sonde_grpc_frames_done(&f);
			sonde_buf_done(&got.text);
		}
	}
}

static void knows_when_a_message_is_not_whole(void **state)
{
	static const bool midway[THREE_BYTES + 1] = {
		[1 ... 7] = true, [9 ... 12] = true, [14 ... 19] = true};

	for (size_t n = 0; n <= THREE_BYTES; n++) {
		struct got got = {.text = SONDE_BUF_INIT(1000)};
		struct sonde_grpc_frames f;

		sonde_grpc_frames_init(&f, MAX_BYTES);
		assert_ok(sonde_grpc_frames_feed(&f, three, n, note, &got));
		assert_int_equal(sonde_grpc_frames_midway(&f), midway[n]);
		sonde_grpc_frames_done(&f);
		sonde_buf_done(&got.text);
	}
}

static int feed(const char *bytes, size_t n, struct got *got)
{
	struct sonde_grpc_frames f;
	int r;

	sonde_grpc_frames_init(&f, MAX_BYTES);
	r = sonde_grpc_frames_feed(&f, (const uint8_t *)bytes, n, note, got);
	sonde_grpc_frames_done(&f);
	return r;
}

static void refuses_a_bad_flag_at_its_first_byte(void **state)
{
	struct got got = {.text = SONDE_BUF_INIT(1000)};

	assert_err(feed("\2", 1, &got), EBADMSG);
	assert_err(feed("P", 1, &got), EBADMSG);
	assert_int_equal(got.n, 0);
}

static void refuses_a_length_over_the_maximum_before_it_comes(void **state)
{
	struct got got = {.text = SONDE_BUF_INIT(1000)};

	assert_err(feed("\0\0\0\3\xe9", 5, &got), EMSGSIZE); /* 1,001 */
	assert_err(feed("\0\xff\xff\xff\xff", 5, &got), EMSGSIZE);
	assert_ok(feed("\0\0\0\3\xe8", 5, &got)); /* 1,000 */
}

static void stops_when_the_callee_says_so(void **state)
{
	struct got got = {.text = SONDE_BUF_INIT(1000), .answer = 1};

	assert_int_equal(feed((const char *)three, THREE_BYTES, &got), 1);
	assert_int_equal(got.n, 1);
	sonde_buf_done(&got.text);
}

static void takes_memory_for_bytes_that_came_only(void **state)
{
	struct got got = {.text = SONDE_BUF_INIT(1000)};
	struct sonde_grpc_frames f;

	sonde_grpc_frames_init(&f, 1 << 30);
	assert_ok(
		sonde_grpc_frames_feed(&f, (const uint8_t *)"\0\x3f\xff\xff\xff-", 6, note, &got));
	assert_true(f.body.cap < 4096);
	sonde_grpc_frames_done(&f);
}

static void frames_a_message_compressed_where_that_helps(void **state)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(10000);
	static const uint8_t zeros[500];
	size_t n = 0;

	assert_ok(sonde_grpc_frame_append(&out, SONDE_ENCODING_ZSTD, zeros, sizeof(zeros), &n));
	assert_int_equal(out.data[0], 1);
	assert_true(n < 50);
	assert_int_equal(out.len, n + 5);
	assert_int_equal(out.data[4], n);
	sonde_buf_reset(&out);
	assert_ok(
		sonde_grpc_frame_append(&out, SONDE_ENCODING_GZIP, (const uint8_t *)"abc", 3, &n));
	assert_memory_equal(out.data, "\0\0\0\0\3abc", 8);
	assert_int_equal(n, 3);
	assert_int_equal(out.len, 8);
}

static void a_message_that_does_not_fit_leaves_nothing_behind(void **state)
{
	static const enum sonde_encoding all[] = {SONDE_ENCODING_IDENTITY, SONDE_ENCODING_GZIP,
						  SONDE_ENCODING_ZSTD};
	static const uint8_t data[100];

	for (size_t i = 0; i < ELEMENTS_OF(all); i++) {
		_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(50);

		assert_ok(sonde_buf_append(&out, "x", 1));
		assert_err(sonde_grpc_frame_append(&out, all[i], data, sizeof(data), NULL),
			   EMSGSIZE);
		assert_string_equal(sonde_buf_str(&out), "x");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_same_messages_however_the_bytes_are_split),
		cmocka_unit_test(knows_when_a_message_is_not_whole),
		cmocka_unit_test(refuses_a_bad_flag_at_its_first_byte),
		cmocka_unit_test(refuses_a_length_over_the_maximum_before_it_comes),
		cmocka_unit_test(stops_when_the_callee_says_so),
		cmocka_unit_test(takes_memory_for_bytes_that_came_only),
		cmocka_unit_test(frames_a_message_compressed_where_that_helps),
		cmocka_unit_test(a_message_that_does_not_fit_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
