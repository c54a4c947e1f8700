/* SPDX-License-Identifier: Apache-2.0 */
/* Lexer, parser and checker: what is understood, and what is said, and where, of what is not. */
#include <errno.h>

#include "mal/check.h"
#include "mal/parser.h"

#include "mal-test.h"

struct parsed {
	struct mal_program program;
	struct mal_expr *e;
	struct mal_error error;
	struct mal_checked checked;
	int r;
};

static void parsed_done(struct parsed *p)
{
	mal_program_done(&p->program);
}

static void parse(struct parsed *p, const char *text)
{
	assert_ok(mal_program_init(&p->program));
	p->r = mal_parse_expr(&p->program, MAL_TEXT_EXP, text, strlen(text), &p->error, &p->e);
	if (p->r == 0)
		p->r = mal_check_text(&p->program, p->e, &p->error);
	if (p->r == 0)
		p->r = mal_check_rule(&p->program, p->e, NULL, NULL, &p->error, &p->checked);
}

/* The syntax back as text with every pair of parentheses. */
static void print(const struct parsed *p, const struct mal_expr *e, struct sonde_buf *out)
{
	switch (e->kind) {
	case MAL_EXPR_NUMBER:
		assert_ok(sonde_buf_printf(out, "%g", e->number));
		break;
	case MAL_EXPR_TIME:
		assert_ok(sonde_buf_printf(out, "time()"));
		break;
	case MAL_EXPR_METRIC:
		assert_ok(sonde_buf_printf(out, "%s",
					   mal_strings_text(&p->program.strings, e->metric.name)));
		break;
	case MAL_EXPR_HEAD:
		assert_ok(sonde_buf_printf(out, "^"));
		break;
	case MAL_EXPR_NEGATE:
		assert_ok(sonde_buf_printf(out, "-"));
		print(p, e->operand, out);
		break;
	case MAL_EXPR_BINARY:
		assert_ok(sonde_buf_printf(out, "("));
		print(p, e->binary.lhs, out);
		assert_ok(sonde_buf_printf(out, "%c", e->binary.op));
		print(p, e->binary.rhs, out);
		assert_ok(sonde_buf_printf(out, ")"));
		break;
	case MAL_EXPR_CALL:
		print(p, e->call.receiver, out);
		assert_ok(
			sonde_buf_printf(out, ".%s/%zu", mal_fn_name(e->call.fn), e->call.n_args));
		break;
	}
}

static void assert_reads_as(const char *text, const char *want)
{
	_cleanup_(parsed_done) struct parsed p = {0};
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(4096);

	assert_ok(mal_program_init(&p.program));
	p.r = mal_parse_expr(&p.program, MAL_TEXT_EXP, text, strlen(text), &p.error, &p.e);
	if (p.r < 0)
		print_message("%s: %zu: %s\n", text, p.error.offset, p.error.message);
	assert_ok(p.r);
	print(&p, p.e, &out);
	assert_string_equal(sonde_buf_str(&out), want);
}

static void operators_bind_as_in_the_grammar(void **state)
{
	assert_reads_as("a + b * c - d", "((a+(b*c))-d)");
	assert_reads_as("a / b / c", "((a/b)/c)");
	assert_reads_as("(a + b) * 2", "((a+b)*2)");
	assert_reads_as("-a.sum(['x']) + 1", "(-a.sum/1+1)");
	assert_reads_as("time() - a", "(time()-a)");
	assert_reads_as("count(a, ['x'])", "a.count/1");
	assert_reads_as("a // all of it\n /* and\n this */ + b", "(a+b)");
}

static void arguments_are_read_in_all_their_forms(void **state)
{
	_cleanup_(parsed_done) struct parsed p = {0};

	parse(&p,
	      "m.tagMatch('a', /\\w+/).sum((['a', \"b\"])).rate('PT1M').service(['a'], Layer.GENERAL)");
	assert_ok(p.r);
	assert_int_equal(p.checked.scope, SONDE_MAL_SCOPE_SERVICE);
	assert_int_equal(p.checked.function.kind, SONDE_MAL_LABELED);
	assert_int_equal(p.checked.n_labels, 1);
	assert_int_equal(p.checked.n_sources, 1);
	assert_int_equal(p.e->call.receiver->call.duration_ms, 60000);
}

static void kind_and_function_follow_from_the_text(void **state)
{
	static const struct {
		const char *text, *function;
	} cases[] = {
		{"m.service(['s'], Layer.K8S)", "avg"},
		{"m.sum(['s']).service(['s'], Layer.K8S)", "avg"},
		{"m.sum(['s', 'x']).downsampling(LATEST).service(['s'], Layer.K8S)",
		 "latestLabeled"},
		{"m.sum(['s', 'le']).histogram().service(['s'], Layer.K8S)", "avgHistogram"},
		{"m.sum(['s', 'le']).histogram().histogram_percentile([50, 99.9]).downsampling(SUM)"
		 ".service(['s'], Layer.K8S)",
		 "sumHistogramPercentile"},
		{"m.sum(['s']).safeDiv(n.sum(['s', 'x'])).service(['s'], Layer.K8S)", "avg"},
		{"count(m, ['s', 'x']).service(['s'], Layer.K8S)", "avg"},
		{"m.count(['s', 'x']).service(['s'], Layer.K8S)", "avgLabeled"},
		{"(m.sum(['s', 'x']) + n).downsampling(DownsamplingType.SUM_PER_MIN).service(['s'], Layer.K8S)",
		 "sumPerMinLabeled"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		_cleanup_(parsed_done) struct parsed p = {0};
		char name[48];

		parse(&p, cases[i].text);
		if (p.r < 0)
			print_message("%s: %s\n", cases[i].text, p.error.message);
		assert_ok(p.r);
		sonde_mal_function_name(&p.checked.function, name);
		assert_string_equal(name, cases[i].function);
	}
}

static void a_mistake_is_named_with_its_place(void **state)
{
	static const struct {
		const char *text;
		size_t offset;
		const char *message;
	} cases[] = {
		/* lexer */
		{"m #", 2, "unexpected character '#'"},
		{"m.sum(['a)", 7, "expected a closing quote on the same line"},
		{"m.tagMatch('a', '\\w')", 17,
		 "expected one of \\b \\t \\n \\f \\r \\\" \\' \\\\ (a regex needs \\\\)"},
		{"m /* x", 2, "expected '*/' at the end of the comment"},
		/* parser */
		{"", 0, "expected a metric name, a number or '(', found the end"},
		{"m +", 3, "expected a metric name, a number or '(', found the end"},
		{"(m", 2, "expected ')', found the end"},
		{"m n", 2, "expected an operator, '.' or the end, found 'n'"},
		{"5.sum(['a'])", 1, "a number has no functions"},
		{"1e3 * m", 1, "expected an operator, '.' or the end, found 'e3'"},
		{"m.summ(['a'])", 2, "no function 'summ'"},
		{"m.filter({ t -> t.a == 'b' })", 2,
		 "filter stands in the file, not in an expression"},
		{"m.x::y()", 2, "no extension function 'x::'"},
		{"topN(m, 5)", 0, "no function 'topN(…)': expected time() or count(…)"},
		{"m.sum(by = ['a'])", 9, "expected ',' or ')', found '='"},
		{"m.sum(['a', 5])", 12, "expected a string in the list, found '5'"},
		{"m.sum([])", 7, "expected a string or a number in the list, found ']'"},
		{"m.downsampling(DownsamplingType.MEAN)", 32, "DownsamplingType has no 'MEAN'"},
		{"m.service(['a'], Lager.K8S)", 17,
		 "expected Layer, DetectPoint, K8sRetagType, DownsamplingType or TimeUnit before '.K8S'"},
		/* checker: forms */
		{"m.sum()", 2, "sum() takes 1 argument, found 0"},
		{"m.sum('a')", 6, "expected a list of strings or null as argument 1 of sum()"},
		{"m.instance(['a'], ['b'], 'x', Layer.K8S)", 2,
		 "instance() takes 3 or more arguments, found 4"},
		{"m.service(['a'], TimeUnit.DAYS)", 17,
		 "expected a Layer, as in Layer.GENERAL as argument 2 of service()"},
		{"m.valueGreater(-1)", 15,
		 "expected a number without sign as argument 1 of valueGreater()"},
		{"m.tagEqual('a', ['b'])", 16, "expected a string as argument 2 of tagEqual()"},
		{"m.multiply(time())", 11,
		 "expected a number or an expression as argument 1 of multiply()"},
		{"time() * 2", 0,
		 "time() stands only beside an operator, with a metric on its other side"},
		/* checker: the rule */
		{"m.sum(['a'])", 2,
		 "expected an entity: service(…), instance(…), endpoint(…), process(…) or a relation"},
		{"m.endpoint(['a'], ['b'], Layer.K8S).decorate({ e -> e.attr0 = 'x' })", 36,
		 "decorate() works on services: expected service(…)"},
		/* closures */
		{"m.tag({ tags.a })", 12, "expected ',' or '->', found '.'"},
		{"m.tag({ a, b -> a.x = 'y' })", 11, "this closure takes 1 parameter"},
		{"m.tag({ tags -> tags.a = 5 })", 25, "expected a string as the value of a label"},
		{"m.tag({ tags -> if (true) { tags.a = 'x' } })", 20,
		 "OAP takes no number, true or false as a condition: expected a text or a comparison"},
		{"m.tag({ tags -> if (!(1)) { tags.a = 'x' } })", 22,
		 "OAP takes no number, true or false as a condition: expected a text or a comparison"},
		{"m.tag({ tags -> if (tags.a == 'x') { tags.a = 'y' }; tags.b = 'z' })", 51,
		 "expected a value, found ';'"},
		{"m.tag({ tags -> if (tags.a == 'x') { return } })", 44,
		 "expected the labels or a map behind return, found '}'"},
		{"m.tag({ tags -> x = 'y' })", 16, "no variable 'x'"},
		{"m.tag({ tags -> def tags = 'y' })", 20, "the variable 'tags' exists already"},
		{"m.tag({ tags -> def x = 5 })", 24,
		 "OAP takes no number, true or false here: expected a text, as in `… + ''`"},
		{"m.tag({ tags -> if (tags.a.length() == 1) { tags.a = 'x' } })", 27,
		 "OAP takes no number, true or false here: expected a text, as in `… + ''`"},
		{"m.tag({ tags -> tags.a = tags.b ?: 5 })", 35,
		 "OAP takes no number, true or false here: expected a text, as in `… + ''`"},
		{"m.tag({ tags -> tags.a = tags.b.isEmpty() ? 'x' : 'y' })", 32,
		 "OAP takes no number, true or false here: expected a text, as in `… + ''`"},
		{"m.tag({ tags -> tags.a = tags.b?.length() + '' })", 33,
		 "OAP has no '?.' for length(), which gives no text: expected '.'"},
		{"m.tag({ tags -> if (tags.a > 'b') { return } })", 27,
		 "expected numbers on both sides: text has no order here"},
		{"m.tag({ tags -> if (tags.a.length() >= 2) { return } })", 36,
		 "OAP has no >= and <= in conditions: expected > or <"},
		{"m.tag({ tags -> tags.a = tags.b.chop() })", 32, "no method 'chop()' in closures"},
		{"m.tag({ tags -> tags.a = tags.b.replaceAll('x') })", 32,
		 "replaceAll() takes 2 arguments, found 1"},
		{"m.tag({ tags -> tags.a = tags.b.replaceAll('[', '') })", 43,
		 "expected a regex: missing terminating ] for character class at byte 1 of it"},
		{"m.tag({ tags -> tags.a = tags.b - 1 })", 32,
		 "expected numbers on both sides of the operator"},
		{"m.tag({ tags -> if (tags.a == 'x') return })", 35,
		 "expected '{', found 'return'"},
		{"m.tag({ tags -> tags.a = ProcessRegistry.x() })", 41,
		 "expected generateVirtualLocalProcess, generateVirtualRemoteProcess or generateVirtualProcess, "
		 "found 'x'"},
		{"m.tag({ tags -> tags.a = 'p' + tags.b == 'x' })", 45,
		 "expected '?' behind a comparison outside of a condition, found '}'"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		_cleanup_(parsed_done) struct parsed p = {0};

		parse(&p, cases[i].text);
		if (p.r != -EBADMSG || p.error.offset != cases[i].offset ||
		    strcmp(p.error.message, cases[i].message) != 0)
			print_message("%s\n -> %zu: %s\n", cases[i].text, p.error.offset,
				      p.error.message);
		assert_err(p.r, EBADMSG);
		assert_string_equal(p.error.message, cases[i].message);
		assert_int_equal(p.error.offset, cases[i].offset);
	}
}

/* @n times @open, @middle, @n times @close. */
static char *nested(const char *start, const char *open, const char *middle, const char *close,
		    int n)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1 << 20);

	assert_ok(sonde_buf_printf(&b, "%s", start));
	for (int i = 0; i < n; i++)
		assert_ok(sonde_buf_printf(&b, "%s", open));
	assert_ok(sonde_buf_printf(&b, "%s", middle));
	for (int i = 0; i < n; i++)
		assert_ok(sonde_buf_printf(&b, "%s", close));
	return strdup(sonde_buf_str(&b));
}

static void depth_and_length_are_bounded(void **state)
{
	const struct {
		char *text;
		const char *message;
	} cases[] = {
		{nested("", "(", "m", ")", 200), "nested more than 128 deep"},
		{nested("", "-", "m", "", 200), "nested more than 128 deep"},
		{nested("m", "+m", "", "", 600), "more than 512 operators in each other"},
		{nested("m", ".irate()", "", "", 600), "more than 512 calls in a row"},
		{nested("m.tag({ t -> if (", "!(", "t.a", ")", 200), "nested more than 128 deep"},
		{nested("m.tag({ t -> t.a = t.b", ".trim()", "", "", 600),
		 "more than 512 calls in a row"},
		{nested("m.tag({ t -> t.a = t.b", " + t.b", "", "", 600),
		 "more than 512 operators in each other"},
		{nested("m.sum(['a'", ",'a'", "", "", 30000), "longer than 65536 bytes"},
		{nested("m.tag({ t ->", "t.a='';", "", "", 8000),
		 "too long: more than 20000 elements"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		_cleanup_(parsed_done) struct parsed p = {0};

		parse(&p, cases[i].text);
		free(cases[i].text);
		assert_err(p.r, EBADMSG);
		assert_string_equal(p.error.message, cases[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operators_bind_as_in_the_grammar),
		cmocka_unit_test(arguments_are_read_in_all_their_forms),
		cmocka_unit_test(kind_and_function_follow_from_the_text),
		cmocka_unit_test(a_mistake_is_named_with_its_place),
		cmocka_unit_test(depth_and_length_are_bounded),
	};

	return cmocka_run_group_tests_name("mal/parse", tests, NULL, NULL);
}
