/* SPDX-License-Identifier: Apache-2.0 */
/* SkyWalking's ids and windows taken apart, and its schema held against what answers it. */
#include "backend-fixture.h"

#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/fields.h"
#include "backend/oap/names.h"
#include "backend/oap/schema.h"
#include "base/clock.h"

static void every_field_is_answered_and_every_type_is_there(void **state)
{
	static const char *const roots[] = {"Query", "Mutation"};

	assert_null(sonde_graphql_schema_fault(&sonde_skywalking_schema));
	for (size_t i = 0; i < ELEMENTS_OF(roots); i++) {
		const struct sonde_graphql_type_def *type =
			sonde_graphql_schema_named(&sonde_skywalking_schema, roots[i]);

		for (const struct sonde_graphql_field_def *f = type->fields; f->name; f++) {
			if (!graphql_field_find(f->name))
				fail_msg("%s.%s is not answered", roots[i], f->name);
		}
	}
}

static void names_come_out_of_ids(void **state)
{
	_cleanup_free_ char *service = NULL, *instance = NULL;
	struct graphql_names n;

	assert_ok(sonde_mal_service_id("a::web", &service));
	assert_ok(sonde_mal_instance_id("a::web", "pod-\xc3\xa9", &instance));
	assert_ok(graphql_names_from_id(service, &n));
	assert_string_equal(n.service, "a::web");
	assert_string_equal(n.instance, "");
	assert_ok(graphql_names_from_id(instance, &n));
	assert_string_equal(n.service, "a::web");
	assert_string_equal(n.instance, "pod-\xc3\xa9");
}

static void what_is_no_id_is_refused(void **state)
{
	static const char *const bad[] = {
		"",	 ".1",	   "d2Vi",   "d2Vi.0",	   "d2Vi.1_",	  "d2Vi.1x", "d2Vi!",
		"d2V.1", "!!!!.1", "AAAA.1", "d2Vi.1_d2V", "d2Vi.1_AAAA", "====.1",  "d2Vi.11",
	};
	char *id = malloc(4096);
	struct graphql_names n;

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
		if (graphql_names_from_id(bad[i], &n) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
	}
	for (size_t i = 0; i < 4093; i++)
		id[i] = i < 4090 ? 'Q' : ".1\0"[i - 4090];
	assert_err(graphql_names_from_id(id, &n), EINVAL);
	free(id);
}

static int parse(const char *start, const char *end, const char *step, struct graphql_window *w)
{
	_cleanup_json_ json_t *d =
		json_pack("{s:s, s:s, s:s}", "start", start, "end", end, "step", step);

	return graphql_window_parse(d, w);
}

static void both_ends_of_a_window_are_in_it(void **state)
{
	struct graphql_window w;

	assert_ok(parse("2026-11-21 1320", "2026-11-21 1320", "MINUTE", &w));
	assert_int_equal(w.start_ms, 1795267200000);
	assert_int_equal(w.end_ms - w.start_ms, 60000);
	assert_int_equal(w.step_ms, 60000);
	assert_ok(parse("2026-11-21 13", "2026-11-21 14", "HOUR", &w));
	assert_int_equal(w.end_ms - w.start_ms, 2 * 3600000);
	assert_int_equal(w.step_ms, 3600000);
	assert_ok(parse("2026-11-21", "2026-11-21", "DAY", &w));
	assert_int_equal(w.end_ms - w.start_ms, 86400000);
	assert_ok(parse("2026-12", "2026-12", "MONTH", &w));
	assert_int_equal(w.end_ms - w.start_ms, 31 * 86400000LL);
	assert_ok(parse("2026-11-21 132030", "2026-11-21 132159", "SECOND", &w));
	assert_int_equal(w.start_ms, 1795267200000);
	assert_int_equal(w.end_ms, 1795267320000);
}

static void what_is_no_window_is_refused(void **state)
{
	struct graphql_window w;

	assert_err(parse("2026-11-21 1320", "2026-11-21 1319", "MINUTE", &w), EINVAL);
	assert_err(parse("2026-11-21", "2026-11-21", "MINUTE", &w), EINVAL);
	assert_err(parse("2026-11-21 1320", "2026-11-21 1320", "WEEK", &w), EINVAL);
	assert_err(parse("2026-13-21 1320", "2026-13-21 1320", "MINUTE", &w), EINVAL);
	assert_err(parse("2026-11-21  320", "2026-11-21 1320", "MINUTE", &w), EINVAL);
	assert_err(parse("1900-01-01 0000", "2026-11-21 1320", "MINUTE", &w), EINVAL);
	assert_err(parse("", "", "MINUTE", &w), EINVAL);
	assert_err(graphql_window_parse(NULL, &w), EINVAL);
}

static int evaluate(struct sonde_backend *b, uint64_t deadline_ns, char ret_words[static 256])
{
	_cleanup_json_ json_t *arguments = json_pack(
		"{s:s, s:{}, s:{s:s, s:s, s:s}}", "expression", "1+1", "entity", "duration",
		"start", "2026-11-21 1320", "end", "2026-11-21 1330", "step", "MINUTE");
	struct graphql_ask a = {.backend = b, .arguments = arguments, .deadline_ns = deadline_ns};
	_cleanup_json_ json_t *got = NULL;
	int r = graphql_expression(&a, &got);

	memcpy(ret_words, a.message, sizeof(a.message));
	return r;
}

static void an_expression_ends_with_its_time(void **state)
{
	struct fixture *f = *state;
	struct sonde_backend b = {0};
	char words[256];

	fixture_open(f);
	assert_ok(sonde_series_table_new(
		&(struct sonde_series_config){.store = f->store, .max_buckets = 1000}, &b.series));
	assert_ok(evaluate(&b, UINT64_MAX, words));
	assert_err(evaluate(&b, sonde_mono_ns(), words), EINVAL);
	assert_non_null(strstr(words, "takes too long"));
	fixture_close(f);
	(void)sonde_series_table_free(b.series);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_answered_and_every_type_is_there),
		cmocka_unit_test(names_come_out_of_ids),
		cmocka_unit_test(what_is_no_id_is_refused),
		cmocka_unit_test(both_ends_of_a_window_are_in_it),
		cmocka_unit_test(what_is_no_window_is_refused),
		cmocka_unit_test_setup_teardown(an_expression_ends_with_its_time, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
