/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/problem.h"

static void writes_times_in_utc_with_milliseconds(void **state)
{
	_cleanup_json_ json_t *t = sonde_json_time(1767225600123), *none = sonde_json_time(0);

	assert_string_equal(json_string_value(t), "2026-01-01T00:00:00.123Z");
	assert_true(json_is_null(none));
}

static void makes_hostile_text_valid(void **state)
{
	_cleanup_json_ json_t *bad = sonde_json_text("a\xff\xc3(b"),
			      *good = sonde_json_text("z\xc3\xa4");
	_cleanup_json_ json_t *surrogate = sonde_json_text("\xed\xa0\x80"),
			      *cut = sonde_json_text("\xe2\x82");
	_cleanup_json_ json_t *none = sonde_json_text(NULL);

	assert_string_equal(json_string_value(bad), "a\xef\xbf\xbd\xef\xbf\xbd(b");
	assert_string_equal(json_string_value(good), "z\xc3\xa4");
	assert_non_null(surrogate);
	assert_string_equal(json_string_value(cut), "\xef\xbf\xbd\xef\xbf\xbd");
	assert_string_equal(json_string_value(none), "");
}

static int parse(const char *text)
{
	_cleanup_json_ json_t *j = NULL;
	char words[160];
	int line;

	return sonde_json_parse(text, strlen(text), &j, &line, words);
}

static void refuses_what_nests_too_deep(void **state)
{
	char text[2 * (SONDE_JSON_DEPTH_MAX + 1) + 1] = "";

	memset(text, '[', SONDE_JSON_DEPTH_MAX);
	memset(text + SONDE_JSON_DEPTH_MAX, ']', SONDE_JSON_DEPTH_MAX);
	assert_ok(parse(text));
	memset(text, '[', SONDE_JSON_DEPTH_MAX + 1);
	memset(text + SONDE_JSON_DEPTH_MAX + 1, ']', SONDE_JSON_DEPTH_MAX + 1);
	assert_err(parse(text), E2BIG);
	/* brackets in a string are text, an escaped quote does not end it */
	assert_ok(parse("[\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]"));
}

static void refuses_duplicates_and_says_where(void **state)
{
	static const char text[] = "{\"a\":1,\n\"a\":2}";
	_cleanup_json_ json_t *j = NULL;
	char words[160] = "";
	int line = 0;

	assert_err(sonde_json_parse(text, sizeof(text) - 1, &j, &line, words), EINVAL);
	assert_int_equal(line, 2);
	assert_non_null(strstr(words, "line 2"));
	assert_null(j);
	assert_err(parse(""), EINVAL);
	assert_err(parse("{\"a\":"), EINVAL);
}

static void a_problem_names_its_field(void **state)
{
	struct sonde_problem p = {0};
	_cleanup_json_ json_t *with = NULL, *without = NULL;

	assert_err(sonde_problem_set(&p, 400, "targets", "targets: %s", "at least one is needed"),
		   EINVAL);
	with = sonde_problem_json(&p);
	assert_string_equal(sonde_json_get_text(with, "type", ""), "about:blank");
	assert_string_equal(sonde_json_get_text(with, "title", ""), "Bad Request");
	assert_int_equal(sonde_json_get_int(with, "status", 0), 400);
	assert_string_equal(sonde_json_get_text(with, "detail", ""),
			    "targets: at least one is needed");
	assert_string_equal(sonde_json_get_text(with, "field", ""), "targets");
	assert_err(sonde_problem_set(&p, 404, NULL, "nothing"), EINVAL);
	without = sonde_problem_json(&p);
	assert_null(json_object_get(without, "field"));
}

static void times_come_back_as_they_were_told(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-01-01T00:00:00.000Z", 1767225600000},
		{"2024-02-29T23:59:59.9999Z", 1709251199999},
		{"2026-01-01T00:00:00.5Z", 1767225600500},
		{"0", 0},
		{"1767225600500", 1767225600500},
	};
	static const char *const bad[] = {"",
					  " ",
					  "-1",
					  "now",
					  "2026-01-01",
					  "2026-01-01T00:00:00",
					  "2026-01-01T00:00:00.Z",
					  "2026-01-01T00:00:00+01:00",
					  "2023-02-29T00:00:00Z",
					  "2026-13-01T00:00:00Z",
					  "2026-01-01T24:00:00Z",
					  "2026-01-01T00:60:00Z",
					  "2026-01-01T00:00:00Z ",
					  "1960-01-01T00:00:00Z",
					  "99999999999999999999",
					  "2026-1-01T00:00:00Z",
					  "20260-01-01T00:00:00Z",
					  "0x10"};
	int64_t ms;

	for (size_t i = 0; i < ELEMENTS_OF(good); i++) {
		assert_ok(sonde_json_parse_time(good[i].text, &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(sonde_json_parse_time(bad[i], &ms), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_come_back_as_they_were_told),
		cmocka_unit_test(writes_times_in_utc_with_milliseconds),
		cmocka_unit_test(makes_hostile_text_valid),
		cmocka_unit_test(refuses_what_nests_too_deep),
		cmocka_unit_test(refuses_duplicates_and_says_where),
		cmocka_unit_test(a_problem_names_its_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
