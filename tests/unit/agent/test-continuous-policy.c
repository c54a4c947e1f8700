/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/continuous-policy.h"

static int parse(const char *json, struct sonde_continuous_policy **ret, size_t *ret_n)
{
	char words[SONDE_CONTINUOUS_WORDS_MAX] = "";
	int r = sonde_continuous_parse(json, strlen(json), ret, ret_n, words);

	if (r < 0)
		assert_true(words[0] != '\0');
	return r;
}

static void what_an_oap_writes_is_understood(void **state)
{
	_cleanup_free_ struct sonde_continuous_policy *p = NULL;
	size_t n = 0;

	assert_ok(parse("[{\"ServiceName\":\"a\",\"UUID\":\"1-2\",\"Profiling\":{\"NETWORK\":{"
			"\"PROCESS_CPU\":{\"Threshold\":\"75.5\",\"Period\":10,\"Count\":3,"
			"\"URIList\":null},"
			"\"SYSTEM_LOAD\":{\"Threshold\":\"8\",\"Period\":60,\"Count\":60}}}},"
			"{\"ServiceName\":\"b\",\"UUID\":\"\"}]",
			&p, &n));
	assert_int_equal(n, 2);
	assert_string_equal(p[0].service, "a");
	assert_string_equal(p[0].uuid, "1-2");
	assert_int_equal(p[0].n_rules, 2);
	assert_int_equal(p[0].rules[0].monitor, SONDE_CONTINUOUS_PROCESS_CPU);
	assert_true(p[0].rules[0].threshold == 75.5);
	assert_int_equal(p[0].rules[0].period_s, 10);
	assert_int_equal(p[0].rules[0].count, 3);
	assert_int_equal(p[0].rules[1].monitor, SONDE_CONTINUOUS_SYSTEM_LOAD);
	assert_string_equal(p[0].remark, "");
	assert_string_equal(p[1].uuid, "");
	assert_int_equal(p[1].n_rules, 0);
}

static void a_uuid_is_as_long_as_an_oaps(void **state)
{
	_cleanup_free_ struct sonde_continuous_policy *p = NULL, *none = NULL;
	char json[256], uuid[130];
	size_t n = 0;

	memset(uuid, 'a', 129);
	uuid[128] = '\0'; /* SHA-512 in hex */
	(void)snprintf(json, sizeof(json), "[{\"ServiceName\":\"a\",\"UUID\":\"%s\"}]", uuid);
	assert_ok(parse(json, &p, &n));
	assert_string_equal(p[0].uuid, uuid);
	uuid[128] = 'a';
	uuid[129] = '\0';
	(void)snprintf(json, sizeof(json), "[{\"ServiceName\":\"a\",\"UUID\":\"%s\"}]", uuid);
	assert_err(parse(json, &none, &n), EINVAL);
}

static void what_is_not_watched_is_said_and_the_rest_is(void **state)
{
	static const struct {
		const char *rule, *word;
	} rows[] = {
		{"\"HTTP_ERROR_RATE\":{\"Threshold\":\"1\"}", "HTTP is not observed"},
		{"\"HTTP_AVG_RESPONSE_TIME\":{}", "HTTP_AVG_RESPONSE_TIME"},
		{"\"NOVEL\":{}", "NOVEL: is not known"},
		{"\"PROCESS_CPU\":{\"Threshold\":\"x\",\"Period\":1,\"Count\":1}", "Threshold"},
		{"\"PROCESS_CPU\":{\"Threshold\":\"-1\",\"Period\":1,\"Count\":1}", "Threshold"},
		{"\"PROCESS_CPU\":{\"Threshold\":\"nan\",\"Period\":1,\"Count\":1}", "Threshold"},
		{"\"PROCESS_CPU\":{\"Threshold\":\"1\",\"Period\":0,\"Count\":1}", "Period"},
		{"\"PROCESS_CPU\":{\"Threshold\":\"1\",\"Period\":1025,\"Count\":1}", "Period"},
		{"\"PROCESS_CPU\":{\"Threshold\":\"1\",\"Period\":2,\"Count\":3}", "Count"},
		{"\"PROCESS_CPU\":7", "Threshold"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		_cleanup_free_ struct sonde_continuous_policy *p = NULL;
		char json[600];
		size_t n = 0;

		(void)snprintf(
			json, sizeof(json),
			"[{\"ServiceName\":\"a\",\"UUID\":\"u\",\"Profiling\":{\"ON_CPU\":{},"
			"\"NETWORK\":{%s,\"PROCESS_THREAD_COUNT\":{\"Threshold\":\"1\","
			"\"Period\":1,\"Count\":1}}}}]",
			rows[i].rule);
		assert_ok(parse(json, &p, &n));
		assert_int_equal(p[0].n_rules, 1);
		assert_non_null(strstr(p[0].remark, "ON_CPU: only NETWORK tasks are run"));
		assert_non_null(strstr(p[0].remark, rows[i].word));
	}
}

static void what_is_no_list_of_policies_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "null",
					  "{}",
					  "[1]",
					  "[{}]",
					  "[{\"ServiceName\":\"\",\"UUID\":\"\"}]",
					  "[{\"ServiceName\":\"a\",\"UUID\":1}]",
					  "[{\"ServiceName\":\"a\",\"ServiceName\":\"b\"}]"};
	struct sonde_continuous_policy *p = NULL;
	size_t n = 0;

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(parse(bad[i], &p, &n), EINVAL);
	assert_null(p);
}

static void a_window_counts_its_last_seconds(void **state)
{
	struct sonde_continuous_window w = {0};

	assert_int_equal(sonde_continuous_window_count(&w, SONDE_CONTINUOUS_PERIOD_MAX_S), 0);
	for (int i = 0; i < 3 * SONDE_CONTINUOUS_PERIOD_MAX_S; i++) {
		sonde_continuous_window_push(&w, i % 3 == 0);
		if (i >= 10)
			assert_int_equal(sonde_continuous_window_count(&w, 9), 3);
	}
	sonde_continuous_window_push(&w, true);
	assert_int_equal(sonde_continuous_window_count(&w, 1), 1);
	sonde_continuous_window_push(&w, false);
	assert_int_equal(sonde_continuous_window_count(&w, 1), 0);
	for (int i = 0; i < SONDE_CONTINUOUS_PERIOD_MAX_S; i++)
		sonde_continuous_window_push(&w, true);
	assert_int_equal(sonde_continuous_window_count(&w, SONDE_CONTINUOUS_PERIOD_MAX_S),
			 SONDE_CONTINUOUS_PERIOD_MAX_S);
}

static void what_another_threshold_reached_is_forgotten(void **state)
{
	struct sonde_continuous_window w = {0};

	sonde_continuous_window_aim(&w, 1);
	sonde_continuous_window_push(&w, true);
	sonde_continuous_window_push(&w, true);
	sonde_continuous_window_aim(&w, 1);
	assert_int_equal(sonde_continuous_window_count(&w, 10), 2);
	sonde_continuous_window_aim(&w, 90);
	assert_int_equal(sonde_continuous_window_count(&w, 10), 0);
	sonde_continuous_window_push(&w, true);
	assert_int_equal(sonde_continuous_window_count(&w, 10), 1);
	/* Not watched for a while, then as before: nobody looked meanwhile. */
	sonde_continuous_window_aim(&w, -1);
	sonde_continuous_window_aim(&w, 90);
	assert_int_equal(sonde_continuous_window_count(&w, 10), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_oap_writes_is_understood),
		cmocka_unit_test(a_uuid_is_as_long_as_an_oaps),
		cmocka_unit_test(what_is_not_watched_is_said_and_the_rest_is),
		cmocka_unit_test(what_is_no_list_of_policies_is_refused),
		cmocka_unit_test(a_window_counts_its_last_seconds),
		cmocka_unit_test(what_another_threshold_reached_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
