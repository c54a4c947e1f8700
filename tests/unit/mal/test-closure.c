/* SPDX-License-Identifier: Apache-2.0 */
/* Closures: precedence, null, truth and the string methods, as OAP's compiled ones behave. */
#include "eval-test.h"

/* What label r is after `tags.r = @expression`, or the error. */
static void assert_value(struct test_eval *t, const char *expression, const char *want)
{
	char text[512], expected[512];
	const char *have;

	(void)snprintf(text, sizeof(text), "m.tag({ tags -> tags.r = %s }).sum(['r'])", expression);
	have = test_eval(t, text);
	if (strncmp(want, "error: ", 7) == 0 || strncmp(want, "refused: ", 9) == 0)
		(void)snprintf(expected, sizeof(expected), "%s", want);
	else
		(void)snprintf(expected, sizeof(expected), "{r=%s}:1", want);
	if (strcmp(have, expected) != 0)
		print_message("%s\n", expression);
	assert_string_equal(have, expected);
}

static void start(struct test_eval *t)
{
	test_eval_init(t);
	test_add(t->batch, "m", "q=v,host=h.example:80,e=,n=pod-abc-12, s= x ", 1, 1);
}

static void each_operator_has_its_own_precedence(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;

	start(&t);
	assert_value(&t, "'' + 12 / 3 * 2", "2");
	assert_value(&t, "'' + (10 - 3 + 2)", "5");
	assert_value(&t, "1 + 2 + 'x'", "3x");
	assert_value(&t, "'x' + 1 + 2", "x12");
	assert_value(&t, "'' + 1.5", "1.5");
	assert_value(&t, "'' + 7 / 2", "3");
	assert_value(&t, "'' + -3", "-3");
	assert_value(&t, "'' + 1 / 0", "error: division of an integer by zero");
	assert_value(&t, "'P::' + tags.zz ?: 'D'", "P::null");
	assert_value(&t, "tags.zz ? '1' : tags.q ? '2' : '3'", "2");
	assert_value(&t, "tags.q ? '1' : tags.q ? '2' : '3'",
		     "2"); /* ternaries are left-associative */
}

static void null_empty_and_truth_differ_by_place(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;

	start(&t);
	assert_value(&t, "'p' + tags.missing", "pnull");
	assert_value(&t, "tags.e ? 'set' : 'unset'", "set");	       /* not null */
	assert_value(&t, "tags.e ?: 'default'", "default");	       /* but false */
	assert_value(&t, "tags.q == 'v' ? 'same' : 'other'", "other"); /* reference equality */
	assert_value(&t, "tags.q != 'v' ? 'same' : 'other'",
		     "other"); /* and OAP writes == for it */
	assert_value(&t, "tags.zz == null ? 'null' : 'set'", "null");
	assert_value(&t, "tags.q.length() > 0 ? 'long' : 'short'", "long");
	assert_value(&t, "tags.zz?.trim() ?: 'none'", "none");
	assert_value(&t, "tags.zz.trim()", "error: a method of null");
	assert_value(&t, "tags.zz", "error: label 'r' was set to null");
	assert_value(&t, "\"${tags.q}-${tags.host.length()}\"", "v-12");
	assert_value(&t, "'${tags.q}'", "v");
}

static void string_methods_are_javas(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;

	start(&t);
	assert_value(&t, "tags.host.replaceAll('[:.].*', '')", "h");
	assert_value(&t, "tags.n.replaceAll('(\\\\w+)-(\\\\w+)', '$2_$1')", "abc_pod-12");
	assert_value(&t, "tags.n.replaceFirst('-', '')", "podabc-12");
	assert_value(&t, "tags.n.replace('-', '.')", "pod.abc.12");
	assert_value(&t, "tags.q.replace('', '-')", "-v-");
	assert_value(&t, "tags.host.split(':')[1]", "80");
	assert_value(&t, "'' + 'a,b,,'.split(',').length", "2");
	assert_value(&t, "'' + 'a,b,,'.split(',', -1).length", "4");
	assert_value(&t, "'a,b,c'.split(',', 2)[1]", "b,c");
	assert_value(&t, "'' + 'abc'.split('').size()", "3");
	assert_value(&t, "tags.host.split(':')[5]", "error: index 5 is outside of the array");
	assert_value(&t, "tags.host.substring(2)", "example:80");
	assert_value(&t, "tags.host.substring(0, 1)", "h");
	assert_value(&t, "tags.host.substring(9, 99)", "error: substring() outside of the text");
	assert_value(
		&t,
		"'' + tags.host.indexOf('e') + tags.host.lastIndexOf('e') + tags.host.indexOf('#')",
		"28-1");
	assert_value(&t, "'Ab'.toLowerCase() + 'Ab'.toUpperCase()", "abAB");
	assert_value(&t,
		     "'\xc3\xa4"
		     "b'.substring(1)",
		     "b"); /* counts UTF-16 units, not bytes */
	assert_value(&t, "tags.q.concat('!').toString()", "v!");
}

/* Filters the only sample by a condition. */
static void assert_holds(struct test_eval *t, const char *condition, bool want)
{
	char text[512];
	const char *have;

	(void)snprintf(
		text, sizeof(text),
		"m.tag({ tags -> if (%s) { tags.r = 'yes' } else { tags.r = 'no' } }).sum(['r'])",
		condition);
	have = test_eval(t, text);
	if (strcmp(have, want ? "{r=yes}:1" : "{r=no}:1") != 0)
		print_message("%s\n", condition);
	assert_string_equal(have, want ? "{r=yes}:1" : "{r=no}:1");
}

static void conditions_combine(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;

	start(&t);
	assert_holds(&t, "tags.q == 'v'", true);
	assert_holds(&t, "tags.q != 'v' || tags.e == ''", true);
	assert_holds(&t, "tags.q == 'v' && !(tags.host == 'x')", true);
	assert_holds(&t, "tags.zz == null", true);
	assert_holds(&t, "tags.e", false);
	assert_holds(&t, "tags.host.endsWith(':80')", true);
	assert_holds(&t, "tags.host.matches('h')", false);
	assert_holds(&t, "tags.q in ['u', 'v']", true);
	assert_holds(&t, "!(tags.q in ['u'])", true);
	assert_holds(&t, "tags.host =~ /:(\\d+)$/", true);
	assert_holds(&t, "tags.host.split(':').length > 1", true);
	assert_holds(&t, "tags.zz ?: 'x' == 'x'",
		     true); /* the elvis is tighter than the comparison */
	assert_string_equal(
		test_eval(&t, "m.tag({ tags -> if (tags.zz in ['a']) { tags.r = 'x' } })"),
		"error: null before 'in'");
}

static void statements_change_the_labels(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	static const char *const rows[][2] = {
		{"n.tag({ tags -> tags.remove('a') })", "{b=2}:1"},
		{"n.tag({ tags -> tags.put('c', tags.a) tags.b = 'x' })", "{a=1,b=x,c=1}:1"},
		{"n.tag({ tags -> return ['k': tags.a] })", "{k=1}:1"},
		{"n.tag({ tags -> ['k': tags.a] })",
		 "{a=1,b=2}:1"}, /* a bare map is evaluated and dropped */
		{"n.tag({ tags -> ['k': tags.zz] })", "error: null as a value in a map"},
		{"n.tag({ tags -> String x = tags.a; x = x + 'y'; tags['a'] = x })",
		 "{a=1y,b=2}:1"},
		{"n.tag({ tags -> def g = tags.b =~ /(\\d)/; tags.a = g[0][1] })", "{a=2,b=2}:1"},
		{"n.tag({ -> it.a = 'i' })", "{a=i,b=2}:1"},
		{"n.tag({ tags -> { tags.a = 'w' } })", "{a=w,b=2}:1"},
		{"n.forEach(['a', 'c'], { k, tags -> if (tags[k] != null) { return } tags[k] = k })",
		 "{a=1,b=2,c=c}:1"},
		{"n.tag({ tags -> if (tags.a == '9') { tags.r = 'x' } else if (tags.a == '1') { tags.r = 'y' } })",
		 "{a=1,b=2,r=y}:1"},
	};

	test_eval_init(&t);
	test_add(t.batch, "n", "a=1,b=2", 1, 1);
	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		const char *have = test_eval(&t, rows[i][0]);

		if (strcmp(have, rows[i][1]) != 0)
			print_message("%s\n", rows[i][0]);
		assert_string_equal(have, rows[i][1]);
	}
}

static void a_slow_regex_is_cut_off(void **state)
{
	_cleanup_(test_eval_done) struct test_eval t;
	char labels[200] = "a=";

	memset(labels + 2, 'x', 100);
	memcpy(labels + 102, "yz", 3);
	test_eval_init(&t);
	test_add(t.batch, "m", labels, 1, 1);
	assert_non_null(strstr(test_eval(&t, "m.tagMatch('a', '(x+x+)+y')"),
			       "error: a regex that takes too long"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_operator_has_its_own_precedence),
		cmocka_unit_test(null_empty_and_truth_differ_by_place),
		cmocka_unit_test(string_methods_are_javas),
		cmocka_unit_test(conditions_combine),
		cmocka_unit_test(statements_change_the_labels),
		cmocka_unit_test(a_slow_regex_is_cut_off),
	};

	return cmocka_run_group_tests_name("mal/closure", tests, NULL, NULL);
}
