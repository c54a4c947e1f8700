/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and operators over families: the tables of the language, row by row. */
#include "eval-test.h"

static void assert_gives(struct test_eval *t, const char *text, const char *want)
{
	const char *have = test_eval(t, text);

	if (strcmp(have, want) != 0)
		print_message("%s\n", text);
	assert_string_equal(have, want);
}

struct row {
	const char *text, *want;
};

static void check_rows(struct test_eval *t, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_gives(t, rows[i].text, rows[i].want);
}

/* Groups come in the order of a Java HashMap. */
static void aggregations_group_by_exactly_their_labels(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	static const struct row rows[] = {
		{"m.sum(['a'])", "{a=y}:5 {a=x}:30"},
		{"m.sum(['a', 'zz'])", "{a=y,zz=}:5 {a=x,zz=}:30"},
		{"m.max(['b'])", "{b=2}:20 {b=}:5 {b=1}:10"},
		{"m.min(['a'])", "{a=y}:5 {a=x}:10"},
		{"m.avg(null)", "{}:11.66666667"},
		{"m.sum(null)", "{}:35"},
		{"m.count(null)", "{}:3"},
		{"m.count(['a'])", "{}:2"},
		{"m.count(['b'])", "{}:2"},
		{"m.count(['a', 'b'])", "{a=x}:2"},
		{"m.count(['zz', 'b'])",
		 "error: count() of samples of which none has all the labels"},
		{"absent.sum(['a'])", "EMPTY"},
	};

	test_eval_init(&t);
	test_add(t.batch, "m", "a=x,b=1", 10, 1);
	test_add(t.batch, "m", "a=x,b=2", 20, 1);
	test_add(t.batch, "m", "a=y", 5, 1);
	check_rows(&t, rows, ELEMENTS_OF(rows));
}

static void filters_take_an_absent_label_for_an_empty_one(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	static const struct row rows[] = {
		{"m.tagMatch('b', '')", "{a=y}:-0"},
		{"m.tagEqual('b', null)", "{a=y}:-0"},
		{"m.tagNotEqual('b', null)", "{a=x,b=1}:10 {a=x,b=22}:20"},
		{"m.tagMatch('b', '2')", "EMPTY"}, /* the whole value has to match */
		{"m.tagMatch('b', '2|22')", "{a=x,b=22}:20"},
		{"m.tagNotMatch('b', '\\\\d+', 'a', 'z')", "{a=y}:-0"},
		{"m.tagEqual('a', 'y', 'a', 'x')",
		 "{a=x,b=1}:10 {a=x,b=22}:20"}, /* the last pair counts */
		{"m.valueEqual(0)", "EMPTY"},	/* -0.0 is another number */
		{"m.valueLess(0)", "{a=y}:-0"},
		{"m.valueGreaterEqual(10).valueNotEqual(10)", "{a=x,b=22}:20"},
		{"m.valueLessEqual(10).valueGreater(0)", "{a=x,b=1}:10"},
	};

	test_eval_init(&t);
	test_add(t.batch, "m", "a=x,b=1", 10, 1);
	test_add(t.batch, "m", "a=x,b=22", 20, 1);
	test_add(t.batch, "m", "a=y", -0.0, 1);
	check_rows(&t, rows, ELEMENTS_OF(rows));
}

static void numbers_work_on_each_side(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	static const struct row rows[] = {
		{"m + 1", "{}:5"},
		{"1 + m", "{}:5"},
		{"m - 1", "{}:3"},
		{"1 - m", "{}:-3"},
		{"m * 2 * 3", "{}:24"},
		{"m / 8", "{}:0.5"},
		{"8 / m", "{}:2"},
		{"-m", "{}:-4"},
		{"m / 0", "{}:inf"},
		{"z / 0", "EMPTY"},
		{"4 - m", "{}:-0"},
		{"m.safeDiv(0)", "{}:0"},
		{"m.plus(1).minus(2).multiply(3).div(2).negative()", "{}:-4.5"},
		/* a number that is no operand is the EMPTY family */
		{"1 + 2", "EMPTY"},
		{"m * (2)", "{}:8"},
		{"m * -1", "EMPTY"},
	};

	test_eval_init(&t);
	test_add(t.batch, "m", "", 4, 1);
	test_add(t.batch, "z", "", 0, 1);
	check_rows(&t, rows, ELEMENTS_OF(rows));
}

static void empty_families_follow_their_table(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	static const struct row rows[] = {
		{"e + m", "{}:4"},	   {"e - m", "{}:-4"},	      {"e * m", "EMPTY"},
		{"e / m", "EMPTY"},	   {"e.safeDiv(m)", "EMPTY"}, {"m + e", "{}:4"},
		{"m - e", "{}:4"},	   {"m * e", "EMPTY"},	      {"m / e", "{}:inf"},
		{"m.safeDiv(e)", "EMPTY"}, {"e + e", "EMPTY"},	      {"e - e", "EMPTY"},
		{"e / e", "EMPTY"},	   {"z / e", "EMPTY"},
	};

	test_eval_init(&t);
	test_add(t.batch, "m", "", 4, 1);
	test_add(t.batch, "z", "", 0, 1);
	check_rows(&t, rows, ELEMENTS_OF(rows));
}

static void families_join_on_equal_labels_in_any_order(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	static const struct row rows[] = {
		{"m + n", "{a=1,b=2}:110"},	     {"n - m", "{b=2,a=1}:90 {b=2,a=1}:890"},
		{"m + m", "{a=1,b=2}:20 {a=1}:40"},  {"z / z", "{k=y}:1"},
		{"z.safeDiv(z)", "{k=x}:0 {k=y}:1"}, {"m + other", "EMPTY"},
	};

	test_eval_init(&t);
	test_add(t.batch, "m", "a=1,b=2", 10, 1);
	test_add(t.batch, "m", "a=1", 20, 1);
	test_add(t.batch, "n", "b=2,a=1", 100, 1);
	test_add(t.batch, "n", "b=2,a=1", 900, 1); /* the first counts */
	test_add(t.batch, "other", "a=2", 1, 1);
	test_add(t.batch, "z", "k=x", 0, 1);
	test_add(t.batch, "z", "k=y", 3, 1);
	check_rows(&t, rows, ELEMENTS_OF(rows));
}

static void histograms_scale_and_sort_their_bounds(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	static const struct row rows[] = {
		{"h.histogram()",
		 "{x=1}:9 {le=7}:1 {le=290}:2 {le=1100}:3 {le=9223372036854775807}:4"},
		{"h.histogram('le', TimeUnit.MILLISECONDS)",
		 "{x=1}:9 {le=0}:1 {le=0}:2 {le=1}:3 {le=9223372036854775807}:4"},
		{"other.histogram('bound')", "{le=2000}:1"},
		{"both.histogram('bound')",
		 "error: a sample has both `le` and the label given to histogram()"},
		{"bad.histogram()", "error: `le` is no number: '+Inf'"},
		{"h.sum(['le']).histogram()", "error: `le` is no number: ''"},
	};

	test_eval_init(&t);
	test_add(t.batch, "h", "le=Infinity", 4, 1);
	test_add(t.batch, "h", "le=1.1", 3, 1);
	test_add(t.batch, "h", "x=1", 9, 1);
	test_add(t.batch, "h", "le=0.29", 2, 1);
	test_add(t.batch, "h", "le=0.0075", 1, 1);
	test_add(t.batch, "other", "bound=2", 1, 1);
	test_add(t.batch, "both", "bound=2,le=1", 1, 1);
	test_add(t.batch, "bad", "le=+Inf", 1, 1);
	check_rows(&t, rows, ELEMENTS_OF(rows));
}

/* One scrape a step of @step_ms; the values of @text behind each other. */
static void assert_series_of(bool strict, const char *text, const double *v, size_t n,
			     int64_t step_ms, const char *want)
{
	_cleanup_(test_eval_done) struct test_eval t;
	_cleanup_buf_ struct sonde_buf all = SONDE_BUF_INIT(4096);

	test_eval_init(&t);
	t.ev.strict = strict;
	for (size_t i = 0; i < n; i++) {
		sonde_mal_batch_reset(t.batch);
		test_add(t.batch, "m", "a=x", v[i], 1700000000000 + (int64_t)i * step_ms);
		assert_ok(sonde_buf_printf(&all, "%s ", test_eval(&t, text) + strlen("{a=x}:")));
	}
	assert_string_equal(sonde_buf_str(&all), want);
}

static void assert_series(const char *text, const double *v, size_t n, int64_t step_ms,
			  const char *want)
{
	assert_series_of(false, text, v, n, step_ms, want);
}

/* After 175 the counter begins anew and has reached 5: it grew by 5. */
static void strict_counts_on_where_a_counter_begins_anew(void **state)
{
	static const double reset[] = {100, 115, 130, 145, 160, 175, 5, 20};

	(void)state;
	assert_series_of(true, "m.increase('PT1M')", reset, 8, 15000, "0 15 30 45 60 60 50 50 ");
	assert_series_of(true, "m.irate()", reset, 8, 15000, "0 1 1 1 1 1 0.3333333333 1 ");
	assert_series_of(true, "m.increase('PT1M')", reset, 6, 15000, "0 15 30 45 60 60 ");
}

static void counters_look_back_as_oap_does(void **state)
{
	static const double reset[] = {100, 115, 130, 145, 160, 175, 5, 20};
	static const double slow[] = {0, 40, 80, 120, 160};

	assert_series("m.increase('PT1M')", reset, 8, 15000, "0 15 30 45 60 60 -125 -125 ");
	assert_series("m.rate('PT1M')", reset, 8, 15000, "0 1 1 1 1 1 -2.083333333 -2.083333333 ");
	assert_series("m.irate()", reset, 8, 15000, "0 1 1 1 1 1 -11.33333333 1 ");
	assert_series("m.increase('PT1M')", slow, 5, 40000, "0 40 80 80 80 ");
}

/* What OAP compiles and fails at run time: some of it only where there are samples. */
static void a_fault_fails_the_run_and_not_the_file(void **state)
{
	static const struct {
		const char *exp, *want, *empty;
	} cases[] = {
		{".tagEqual('a')",
		 "error: tagEqual() takes pairs of label and value, found 1 arguments",
		 "error: tagEqual() takes pairs of label and value, found 1 arguments"},
		{".tagMatch('a', null)", "error: expected a regex, found null", "EMPTY"},
		{".tagMatch('a', '(x')",
		 "error: expected a regex: missing closing parenthesis at byte 2 of it", "EMPTY"},
		{".rate('1m')", "error: expected a duration, as in 'PT1M', found '1m'", "EMPTY"},
		{".increase('')", "error: expected a duration, as in 'PT1M', found ''",
		 "error: expected a duration, as in 'PT1M', found ''"},
		{".increase('-PT1M')", "error: the duration is negative, so that no sample is left",
		 "EMPTY"},
		{".sum(['a', 'a'])", "error: label 'a' twice in the list of sum()", "EMPTY"},
		{".histogram('le', TimeUnit.NANOSECONDS)",
		 "error: expected a unit of a millisecond or more",
		 "error: expected a unit of a millisecond or more"},
		{".retagByK8sMeta('', K8sRetagType.Pod2Service, 'p', 'n')",
		 "error: expected a label's name as argument 1 of retagByK8sMeta()",
		 "error: expected a label's name as argument 1 of retagByK8sMeta()"},
		{".histogram_percentile([0,200])", "{a=x}:1", "EMPTY"},
	};
	_cleanup_(test_eval_done) struct test_eval t;
	char exp[200];

	(void)state;
	test_eval_init(&t);
	test_add(t.batch, "m", "a=x", 1, 1);
	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		(void)snprintf(exp, sizeof(exp), "m%s", cases[i].exp);
		assert_string_equal(test_eval(&t, exp), cases[i].want);
		(void)snprintf(exp, sizeof(exp), "absent%s", cases[i].exp);
		assert_string_equal(test_eval(&t, exp), cases[i].empty);
	}
}

/* Java's map puts a new key before the others of its slot: of 'Aa' and 'BB', whose hashes are equal, the later is first. */
static void colliding_groups_come_in_the_order_of_java(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;

	(void)state;
	test_eval_init(&t);
	test_add(t.batch, "m", "a=Aa", 1, 1);
	test_add(t.batch, "m", "a=BB", 2, 1);
	assert_string_equal(test_eval(&t, "m.sum(['a'])"), "{a=BB}:2 {a=Aa}:1");
}

static void a_counter_is_known_by_its_labels_in_any_order(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;

	test_eval_init(&t);
	test_add(t.batch, "m", "a=1,b=2", 10, 1000);
	assert_gives(&t, "m.irate()", "{a=1,b=2}:0");
	sonde_mal_batch_reset(t.batch);
	test_add(t.batch, "m", "b=2,a=1", 30, 3000);
	assert_gives(&t, "m.irate()", "{b=2,a=1}:10");
	assert_gives(&t, "m.irate()",
		     "{b=2,a=1}:0"); /* a second reader of the same key finds it used up */
}

static void entities_take_their_labels_away(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"metricPrefix: t\n"
		"metricsRules:\n"
		"  - {name: service, exp: \"m.sum(['s', 'x']).service(['s', 'e'], '-', Layer.GENERAL)\"}\n"
		"  - {name: instance, exp: \"m.sum(['s', 'i']).instance(['s'], ['i'], Layer.MYSQL).service(['s'], Layer.K8S)\"}\n"
		"  - {name: endpoint, exp: \"m.sum(['s', 'i']).endpoint(['s'], ['i'], Layer.MYSQL)\"}\n"
		"  - {name: process, exp: \"m.process(['s'], ['i'], ['x'], 'e')\"}\n"
		"  - {name: relation, exp: \"m.serviceRelation(DetectPoint.SERVER, ['s'], ['i'], '|', Layer.MESH, 'n')\"}\n"
		"  - {name: twice, exp: \"m.endpoint(['s'], ['s'], Layer.MYSQL)\"}\n"
		"  - {name: number, exp: \"m.serviceRelation(DetectPoint.SERVER, ['s'], ['i'], '|', Layer.MESH, 'x')\"}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);

	assert_ok(sonde_mal_batch_new(&b));
	test_add(b, "m", "s=svc,i=one,x=p,n=7", 1.5, 1);
	test_add(b, "m", "s=svc,i=one,x=q,n=7", 2, 1);
	test_run(NULL, rules, b, &out);
	assert_string_equal(sonde_buf_str(&out),
			    "t_service SERVICE svc 0.0 {x=p}0=2 {x=q}0=2\n"
			    "t_instance SERVICE svc 0.0 0=4\n"
			    "t_endpoint ENDPOINT svc#one 0.0 0=4\n"
			    "t_process PROCESS svc/one!q 0.0 0=2\n"
			    "t_process PROCESS svc/one!p 0.0 0=2\n"
			    "t_relation SERVICE_RELATION svc/>one/ 1.7 0=2\n"
			    "t_twice failed: label 's' twice in an entity\n"
			    "t_number failed: the component id is no integer: 'q'\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aggregations_group_by_exactly_their_labels),
		cmocka_unit_test(filters_take_an_absent_label_for_an_empty_one),
		cmocka_unit_test(numbers_work_on_each_side),
		cmocka_unit_test(empty_families_follow_their_table),
		cmocka_unit_test(families_join_on_equal_labels_in_any_order),
		cmocka_unit_test(histograms_scale_and_sort_their_bounds),
		cmocka_unit_test(counters_look_back_as_oap_does),
		cmocka_unit_test(strict_counts_on_where_a_counter_begins_anew),
		cmocka_unit_test(a_fault_fails_the_run_and_not_the_file),
		cmocka_unit_test(colliding_groups_come_in_the_order_of_java),
		cmocka_unit_test(a_counter_is_known_by_its_labels_in_any_order),
		cmocka_unit_test(entities_take_their_labels_away),
	};

	return cmocka_run_group_tests_name("mal/eval", tests, NULL, NULL);
}
