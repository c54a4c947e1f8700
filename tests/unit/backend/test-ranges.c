/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>

#include "backend/json.h"
#include "backend/tasks/ranges.h"

static void counts_what_is_missing(void **state)
{
	struct sonde_ranges r = {0};

	assert_err(sonde_ranges_add(&r, 0), EINVAL);
	assert_ok(sonde_ranges_add(&r, 1));
	assert_ok(sonde_ranges_add(&r, 2));
	assert_err(sonde_ranges_add(&r, 2), EEXIST);
	assert_ok(sonde_ranges_add(&r, 5));
	assert_int_equal(sonde_ranges_missing(&r), 2);
	assert_int_equal(sonde_ranges_highest(&r), 5);
	assert_int_equal(r.n, 2);
}

static void joins_when_the_gap_closes_from_either_side(void **state)
{
	struct sonde_ranges r = {0};

	assert_ok(sonde_ranges_add(&r, 4));
	assert_ok(sonde_ranges_add(&r, 2));
	assert_ok(sonde_ranges_add(&r, 3));
	assert_int_equal(r.n, 1);
	assert_ok(sonde_ranges_add(&r, 1));
	assert_int_equal(r.n, 1);
	assert_int_equal(sonde_ranges_missing(&r), 0);
	assert_err(sonde_ranges_add(&r, 3), EEXIST);
}

static void any_order_comes_to_the_same(void **state)
{
	struct sonde_ranges r = {0};

	/* 7 has no common factor with 101: every number once */
	for (unsigned i = 0; i < 101; i++)
		assert_ok(sonde_ranges_add(&r, 1 + i * 7 % 101));
	assert_int_equal(r.n, 1);
	assert_int_equal(r.received, 101);
	assert_int_equal(sonde_ranges_missing(&r), 0);
}

static void refuses_one_gap_too_many(void **state)
{
	struct sonde_ranges r = {0};

	for (unsigned i = 0; i < SONDE_RANGES_MAX; i++)
		assert_ok(sonde_ranges_add(&r, 1 + 2 * i));
	assert_err(sonde_ranges_add(&r, 1000), ENOSPC);
	assert_err(sonde_ranges_add(&r, 0), EINVAL);
	assert_err(sonde_ranges_add(&r, 1ULL << 63), EINVAL); /* JSON could not hold it */
	assert_ok(sonde_ranges_add(&r, 2));		      /* closes a gap: always room */
	assert_int_equal(r.n, SONDE_RANGES_MAX - 1);
}

static void survives_as_json(void **state)
{
	struct sonde_ranges r = {0}, back = {0};
	_cleanup_json_ json_t *j = NULL, *bad = json_pack("[[i,i],[i,i]]", 1, 5, 3, 9);

	assert_ok(sonde_ranges_add(&r, 1));
	assert_ok(sonde_ranges_add(&r, 9));
	j = sonde_ranges_json(&r);
	assert_ok(sonde_ranges_from_json(&back, j));
	assert_memory_equal(&r, &back, sizeof(r));
	assert_err(sonde_ranges_from_json(&back, bad), EBADMSG);
	assert_memory_equal(&r, &back, sizeof(r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_what_is_missing),
		cmocka_unit_test(joins_when_the_gap_closes_from_either_side),
		cmocka_unit_test(any_order_comes_to_the_same),
		cmocka_unit_test(refuses_one_gap_too_many),
		cmocka_unit_test(survives_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
