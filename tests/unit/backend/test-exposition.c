/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "backend/http/http-stats.h"
#include "backend/query/exposition.h"

static int wants(const char *accept, bool otherwise)
{
	bool openmetrics = false;
	int r = sonde_exposition_negotiate(accept, otherwise, &openmetrics);

	return r < 0 ? r : openmetrics;
}

static void the_best_wish_decides(void **state)
{
	static const struct {
		const char *accept;
		int plain, open; /* where each is the default */
	} cases[] = {
		{NULL, 0, 1},
		{"", 0, 1},
		{"*/*", 0, 1},
		{"text/*", 0, 0},
		{"application/*", 1, 1},
		{"application/openmetrics-text", 1, 1},
		{"Application/OpenMetrics-Text ; version=1.0.0", 1, 1},
		{"application/openmetrics-textual", -EOPNOTSUPP, -EOPNOTSUPP},
		{"text/plain;q=0.9,application/openmetrics-text;q=0.90", 0, 1},
		{"text/plain;q=0.91,application/openmetrics-text;q=0.9", 0, 0},
		{"text/plain;version=0.0.4;q=0.3,*/*;q=0.1", 0, 0},
		{"*/*,text/plain;q=0", 1, 1},
		{"*/*;q=0", -EOPNOTSUPP, -EOPNOTSUPP},
		{"text/plain;q=", 0, 0},
		{"text/plain;q", 0, 0},
		{",,;q=0,text/plain;;q=0.1;", 0, 0},
		{"image/png", -EOPNOTSUPP, -EOPNOTSUPP},
	};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		assert_int_equal(wants(cases[i].accept, false), cases[i].plain);
		assert_int_equal(wants(cases[i].accept, true), cases[i].open);
	}
}

static void expect(struct sonde_exposition *e, const char *text)
{
	_cleanup_free_ char *got = NULL;

	assert_ok(sonde_exposition_finish(e, &got));
	assert_string_equal(got, text);
	sonde_exposition_done(e);
}

static void each_format_names_a_counter_its_own_way(void **state)
{
	struct sonde_exposition e;

	sonde_exposition_init(&e, false, 4096);
	sonde_exposition_family(&e, "a_bytes_total", SONDE_EXPOSITION_COUNTER, "bytes",
				"b\\\n\"c\"");
	sonde_exposition_int(&e, "", "{x=\"1\"}", INT64_MAX);
	expect(&e, "# HELP a_bytes_total b\\\\\\n\"c\"\n# TYPE a_bytes_total counter\n"
		   "a_bytes_total{x=\"1\"} 9223372036854775807\n");
	sonde_exposition_init(&e, true, 4096);
	sonde_exposition_family(&e, "a_bytes_total", SONDE_EXPOSITION_COUNTER, "bytes", "b\"");
	sonde_exposition_int(&e, "", NULL, -1);
	sonde_exposition_family(&e, "b", SONDE_EXPOSITION_COUNTER, "b", NULL);
	sonde_exposition_seconds(&e, "", NULL, 1000000001);
	sonde_exposition_family(&e, "0c-d", SONDE_EXPOSITION_HISTOGRAM, NULL, NULL);
	sonde_exposition_bucket(&e, NULL, "1.0", 2);
	sonde_exposition_bucket(&e, "{x=\"1\"}", "+Inf", 3);
	expect(&e,
	       "# HELP a_bytes b\\\"\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total -1\n"
	       "# TYPE b counter\nb_total 1.000000001\n"
	       "# TYPE _0c_d histogram\n_0c_d_bucket{le=\"1.0\"} 2\n"
	       "_0c_d_bucket{x=\"1\",le=\"+Inf\"} 3\n# EOF\n");
}

static void labels_are_made_names_and_kept_apart(void **state)
{
	struct sonde_exposition_labels l = {0};
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(4096);

	assert_ok(sonde_exposition_label(&l, "a-b", "\\\"\n\xff"));
	assert_ok(sonde_exposition_label(&l, "a.b", "2"));
	assert_err(sonde_exposition_label(&l, "a:b", "3"), EEXIST);
	assert_ok(sonde_exposition_label(&l, "le", "4"));
	assert_ok(sonde_exposition_label(&l, "__name__", "5"));
	assert_ok(sonde_exposition_label(&l, "9", "6"));
	assert_ok(sonde_exposition_label(&l, "", "7"));
	assert_ok(sonde_exposition_render(&l, &out));
	assert_string_equal(sonde_buf_str(&out),
			    "{a_b=\"\\\\\\\"\\n\xef\xbf\xbd\",exported_a_b=\"2\",exported_le=\"4\","
			    "exported___name__=\"5\",_9=\"6\",_=\"7\"}");
	while (l.n < SONDE_EXPOSITION_LABELS_MAX)
		l.label[l.n++].value = "";
	assert_err(sonde_exposition_label(&l, "z", ""), ENOSPC);
}

static void what_is_too_long_is_an_error_and_not_half_an_answer(void **state)
{
	_cleanup_exposition_ struct sonde_exposition e;
	char *got = NULL;

	sonde_exposition_init(&e, true, 40);
	sonde_exposition_family(&e, "a", SONDE_EXPOSITION_GAUGE, NULL, NULL);
	for (int i = 0; i < 20; i++)
		sonde_exposition_int(&e, "", NULL, i);
	assert_err(sonde_exposition_finish(&e, &got), EMSGSIZE);
	assert_null(got);
}

static void requests_are_counted_by_what_they_were(void **state)
{
	struct sonde_http_stats *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	sonde_http_stats_note(s, "/a", "GET", 200, 0);
	sonde_http_stats_note(s, "/a", "GET", 200, sonde_http_bounds_ns[0]);
	sonde_http_stats_note(s, "/a", "BREW", 404, sonde_http_bounds_ns[0] + 1);
	sonde_http_stats_note(s, NULL, "PEEL", 404, UINT64_MAX / 2);
	assert_int_equal(s->n_routes, 2);
	assert_int_equal(s->n_counts, 3);
	assert_int_equal(s->count[0].n, 2);
	assert_string_equal(s->count[1].method, "other");
	assert_int_equal(s->route[0].bucket[0], 2);
	assert_int_equal(s->route[0].bucket[1], 1);
	assert_int_equal(s->route[1].bucket[SONDE_HTTP_BOUNDS], 1);
	for (int i = 0; i < 2000; i++)
		sonde_http_stats_note(s, "/a", "GET", i, 0);
	assert_int_equal(s->n_counts, SONDE_HTTP_COUNTS_MAX);
	assert_true(s->no_room > 0);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_best_wish_decides),
		cmocka_unit_test(each_format_names_a_counter_its_own_way),
		cmocka_unit_test(labels_are_made_names_and_kept_apart),
		cmocka_unit_test(what_is_too_long_is_an_error_and_not_half_an_answer),
		cmocka_unit_test(requests_are_counted_by_what_they_were),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
