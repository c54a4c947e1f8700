/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "io/encoding.h"

static const enum sonde_encoding all[] = {SONDE_ENCODING_IDENTITY, SONDE_ENCODING_GZIP,
					  SONDE_ENCODING_ZSTD};

/* Text that packs about as reports do. */
static void fill(struct sonde_buf *b, size_t n)
{
	for (unsigned i = 0; b->len < n; i++)
		assert_ok(sonde_buf_printf(b, "sonde_net_bytes{peer=\"10.0.%u.%u\"} %u;", i % 7,
					   i % 250, i * 77));
	b->len = n;
}

static void every_encoding_brings_back_what_it_took(void **state)
{
	static const size_t sizes[] = {0, 1, 63, 16384, 16385, 1 << 20};

	for (size_t e = 0; e < ELEMENTS_OF(all); e++) {
		for (size_t i = 0; i < ELEMENTS_OF(sizes); i++) {
			_cleanup_buf_ struct sonde_buf plain = SONDE_BUF_INIT(2 << 20),
						       packed = SONDE_BUF_INIT(2 << 20),
						       back = SONDE_BUF_INIT(2 << 20);

			fill(&plain, sizes[i]);
			assert_ok(sonde_buf_append(&packed, "head", 4)); /* both append */
			assert_ok(sonde_encode(all[e], plain.data, plain.len, &packed));
			assert_ok(sonde_buf_append(&back, "x", 1));
			assert_ok(sonde_decode(all[e], packed.data + 4, packed.len - 4, &back));
			assert_int_equal(back.len, sizes[i] + 1);
			if (sizes[i] > 0)
				assert_memory_equal(back.data + 1, plain.data, sizes[i]);
			assert_int_equal(back.data[back.len], 0);
		}
	}
	sonde_encoding_trim();
}

static void a_bomb_stops_at_the_limit(void **state)
{
	for (size_t e = 0; e < ELEMENTS_OF(all); e++) {
		_cleanup_buf_ struct sonde_buf plain = SONDE_BUF_INIT(64UL << 20),
					       bomb = SONDE_BUF_INIT(65UL << 20),
					       out = SONDE_BUF_INIT(100000);

		assert_ok(sonde_buf_reserve(&plain, 64UL << 20));
		memset(plain.data, 0, 64UL << 20);
		plain.len = 64UL << 20;
		assert_ok(sonde_encode(all[e], plain.data, plain.len, &bomb));
		assert_err(sonde_decode(all[e], bomb.data, bomb.len, &out), EMSGSIZE);
		assert_int_equal(out.len, 0);
		assert_true(out.cap <= 2UL * 100000);
	}
}

static void a_result_of_just_the_limit_passes(void **state)
{
	for (size_t e = 0; e < ELEMENTS_OF(all); e++) {
		_cleanup_buf_ struct sonde_buf plain = SONDE_BUF_INIT(60000),
					       packed = SONDE_BUF_INIT(60000),
					       out = SONDE_BUF_INIT(50000),
					       tight = SONDE_BUF_INIT(49999);

		fill(&plain, 50000);
		assert_ok(sonde_encode(all[e], plain.data, plain.len, &packed));
		assert_ok(sonde_decode(all[e], packed.data, packed.len, &out));
		assert_int_equal(out.len, 50000);
		assert_err(sonde_decode(all[e], packed.data, packed.len, &tight), EMSGSIZE);
		assert_int_equal(tight.len, 0);
	}
}

static void what_is_not_one_whole_stream_is_refused(void **state)
{
	for (size_t e = 1; e < ELEMENTS_OF(all); e++) {
		_cleanup_buf_ struct sonde_buf packed = SONDE_BUF_INIT(4096),
					       out = SONDE_BUF_INIT(4096);
		size_t whole;

		assert_ok(sonde_encode(all[e], (const uint8_t *)"some words, some words", 22,
				       &packed));
		whole = packed.len;
		for (size_t n = 0; n < whole; n++)
			assert_err(sonde_decode(all[e], packed.data, n, &out), EBADMSG);
		assert_ok(sonde_buf_append(&packed, "+", 1));
		assert_err(sonde_decode(all[e], packed.data, packed.len, &out), EBADMSG);
		assert_err(sonde_decode(all[e], (const uint8_t *)"no stream", 9, &out), EBADMSG);
		assert_int_equal(out.len, 0);
	}
}

static void a_frame_that_asks_for_a_large_window_is_refused(void **state)
{
	/* zstd magic, no single segment, window descriptor 2^(10+17) = 128 MiB, one empty last block */
	static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00};
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(1 << 30);

	assert_err(sonde_decode(SONDE_ENCODING_ZSTD, frame, sizeof(frame), &out), EBADMSG);
}

static void an_output_without_room_for_the_worst_case_is_refused(void **state)
{
	static const uint8_t data[1000];

	for (size_t e = 0; e < ELEMENTS_OF(all); e++) {
		_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(999);

		assert_ok(sonde_buf_append(&out, "x", 1));
		assert_err(sonde_encode(all[e], data, sizeof(data), &out), EMSGSIZE);
		assert_int_equal(out.len, 1);
	}
}

static void chooses_the_best_of_what_is_advertised(void **state)
{
	assert_int_equal(sonde_encoding_choose("identity,gzip,zstd"), SONDE_ENCODING_ZSTD);
	assert_int_equal(sonde_encoding_choose("zstd , gzip"), SONDE_ENCODING_ZSTD);
	assert_int_equal(sonde_encoding_choose("gzip"), SONDE_ENCODING_GZIP); /* OAP's */
	assert_int_equal(sonde_encoding_choose("identity, deflate\t,gzip,snappy"),
			 SONDE_ENCODING_GZIP);
	assert_int_equal(sonde_encoding_choose("zst,zstd2,gzipp"), SONDE_ENCODING_IDENTITY);
	assert_int_equal(sonde_encoding_choose(""), SONDE_ENCODING_IDENTITY);
	assert_int_equal(sonde_encoding_choose(",, ,"), SONDE_ENCODING_IDENTITY);
}

static void names_go_both_ways(void **state)
{
	enum sonde_encoding e = SONDE_ENCODING_ZSTD;

	for (size_t i = 0; i < ELEMENTS_OF(all); i++) {
		assert_ok(sonde_encoding_from_name(sonde_encoding_name(all[i]), &e));
		assert_int_equal(e, all[i]);
	}
	assert_err(sonde_encoding_from_name("deflate", &e), EOPNOTSUPP);
	assert_err(sonde_encoding_from_name("", &e), EOPNOTSUPP);
	assert_int_equal(e, SONDE_ENCODING_ZSTD); /* written on success only */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_encoding_brings_back_what_it_took),
		cmocka_unit_test(a_bomb_stops_at_the_limit),
		cmocka_unit_test(a_result_of_just_the_limit_passes),
		cmocka_unit_test(what_is_not_one_whole_stream_is_refused),
		cmocka_unit_test(a_frame_that_asks_for_a_large_window_is_refused),
		cmocka_unit_test(an_output_without_room_for_the_worst_case_is_refused),
		cmocka_unit_test(chooses_the_best_of_what_is_advertised),
		cmocka_unit_test(names_go_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
