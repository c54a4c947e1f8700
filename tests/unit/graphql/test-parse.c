/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "graphql/document.h"

static struct sonde_graphql_document *parse(const char *text)
{
	struct sonde_graphql_document *d = NULL;
	struct sonde_graphql_error error = {.message = ""};

	if (sonde_graphql_parse(text, strlen(text), &d, &error) != 0)
		fail_msg("%s: %u:%u %s", text, error.at.line, error.at.column, error.message);
	return d;
}

static void refuses(const char *text, int r, unsigned line, unsigned column, const char *words)
{
	struct sonde_graphql_document *d = NULL;
	struct sonde_graphql_error error = {.message = ""};

	assert_err(sonde_graphql_parse(text, strlen(text), &d, &error), r);
	assert_null(d);
	if (!strstr(error.message, words))
		fail_msg("%s: '%s', not '%s'", text, error.message, words);
	assert_int_equal(error.at.line, line);
	assert_int_equal(error.at.column, column);
}

/* The value of the first argument of the first field. */
static const struct sonde_graphql_value *value_of(const struct sonde_graphql_document *d)
{
	return &d->operations->selections->arguments->value;
}

static void the_short_form_is_a_query(void **state)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d =
		parse("{ field, other }");
	const struct sonde_graphql_operation *o = d->operations;

	assert_int_equal(o->kind, SONDE_GRAPHQL_QUERY);
	assert_null(o->name);
	assert_string_equal(o->selections->name, "field");
	assert_string_equal(o->selections->next->name, "other");
	assert_null(o->selections->next->next);
}

static void an_operation_has_a_name_and_variables(void **state)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d = parse(
		"mutation like($id: [ID!]! = [\"a\", 4], $n: Int @x(a: 1)) @y { likeStory(id: $id) }");
	const struct sonde_graphql_operation *o = d->operations;

	assert_int_equal(o->kind, SONDE_GRAPHQL_MUTATION);
	assert_string_equal(o->name, "like");
	assert_string_equal(o->variables->name, "id");
	assert_string_equal(o->variables->type, "[ID!]!");
	assert_true(o->variables->has_default);
	assert_int_equal(o->variables->fallback.kind, SONDE_GRAPHQL_LIST);
	assert_string_equal(o->variables->fallback.members->next->value.text, "4");
	assert_false(o->variables->next->has_default);
	assert_string_equal(o->directives->name, "y");
	assert_int_equal(value_of(d)->kind, SONDE_GRAPHQL_VARIABLE);
	assert_string_equal(value_of(d)->text, "id");
}

static void keywords_are_names_too(void **state)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d = parse(
		"query query($on: fragment) { on: mutation(null: true, true: on) { fragment } }");
	const struct sonde_graphql_selection *s = d->operations->selections;

	assert_string_equal(d->operations->name, "query");
	assert_string_equal(s->alias, "on");
	assert_string_equal(s->name, "mutation");
	assert_int_equal(s->arguments->value.kind, SONDE_GRAPHQL_BOOLEAN);
	assert_int_equal(s->arguments->next->value.kind, SONDE_GRAPHQL_ENUM);
}

static void fragments_are_named_or_inline(void **state)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d = parse(
		"query { a { ...f @include(if: $x) ... on T { b } ... @skip(if: false) { c } ... { d } } }"
		"fragment f on U @z { e }");
	const struct sonde_graphql_selection *s = d->operations->selections->selections;

	assert_int_equal(s->kind, SONDE_GRAPHQL_SPREAD);
	assert_string_equal(s->name, "f");
	assert_string_equal(s->directives->name, "include");
	s = s->next;
	assert_int_equal(s->kind, SONDE_GRAPHQL_INLINE);
	assert_string_equal(s->name, "T");
	s = s->next;
	assert_null(s->name);
	assert_string_equal(s->directives->name, "skip");
	assert_string_equal(s->next->selections->name, "d");
	assert_string_equal(d->fragments->name, "f");
	assert_string_equal(d->fragments->type, "U");
}

static void literals_are_what_they_say(void **state)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d = parse(
		"{ f(a: [0, -0, 12, 1.5, -2.0e+10, 3E-1, true, null, RED, {x: {}, y: []}]) }");
	static const struct {
		enum sonde_graphql_value_kind kind;
		const char *text;
	} want[] = {
		{SONDE_GRAPHQL_INT, "0"},	   {SONDE_GRAPHQL_INT, "-0"},
		{SONDE_GRAPHQL_INT, "12"},	   {SONDE_GRAPHQL_FLOAT, "1.5"},
		{SONDE_GRAPHQL_FLOAT, "-2.0e+10"}, {SONDE_GRAPHQL_FLOAT, "3E-1"},
		{SONDE_GRAPHQL_BOOLEAN, "true"},   {SONDE_GRAPHQL_NULL, "null"},
		{SONDE_GRAPHQL_ENUM, "RED"},
	};
	const struct sonde_graphql_argument *a = value_of(d)->members;

	for (size_t i = 0; i < ELEMENTS_OF(want); i++, a = a->next) {
		assert_int_equal(a->value.kind, want[i].kind);
		assert_string_equal(a->value.text, want[i].text);
	}
	assert_int_equal(a->value.kind, SONDE_GRAPHQL_OBJECT);
	assert_string_equal(a->value.members->name, "x");
	assert_null(a->value.members->value.members);
	assert_string_equal(a->value.members->next->name, "y");
}

static void is_string(const char *literal, const char *want)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d = NULL;
	char text[512];

	(void)snprintf(text, sizeof(text), "{f(a:%s)}", literal);
	d = parse(text);
	assert_int_equal(value_of(d)->kind, SONDE_GRAPHQL_STRING);
	assert_string_equal(value_of(d)->text, want);
}

static void strings_are_decoded(void **state)
{
	is_string("\"\"", "");
	is_string("\"a\\\"b\\\\c\\/\\b\\f\\n\\r\\t\"", "a\"b\\c/\b\f\n\r\t");
	is_string("\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\"",
		  "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	is_string("\"# no comment, {}\"", "# no comment, {}");
	is_string("\"\xc3\xa9\"", "\xc3\xa9");
}

/* The cases of the specification's section 2.9.4. */
static void block_strings_lose_their_indentation(void **state)
{
	is_string("\"\"\"\n    Hello,\n      World!\n\n    Yours,\n      GraphQL.\n  \"\"\"",
		  "Hello,\n  World!\n\nYours,\n  GraphQL.");
	is_string("\"\"\"  first\n    second\"\"\"", "  first\nsecond");
	is_string("\"\"\"\r\n\ta\\nb\r\n\t\\\"\"\" \"c\r\n\"\"\"", "a\\nb\n\"\"\" \"c");
	is_string("\"\"\"\"\"\"", "");
	is_string("\"\"\" \n \n\"\"\"", "");
}

static void what_means_nothing_is_skipped(void **state)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d =
		parse("\xef\xbb\xbf# a comment \xe2\x82\xac\r\n,,{\ta,,,b # end\n\r}\n#last");

	assert_string_equal(d->operations->selections->next->name, "b");
	assert_int_equal(d->operations->selections->next->at.line, 2);
}

static void says_where_it_is_wrong(void **state)
{
	refuses("", EBADMSG, 1, 1, "found the end");
	refuses("{}", EBADMSG, 1, 2, "expected a field");
	refuses("{ a", EBADMSG, 1, 4, "found the end");
	refuses("{ a }\n}", EBADMSG, 2, 1, "expected an operation or a fragment, found '}'");
	refuses("{ a() }", EBADMSG, 1, 5, "expected an argument");
	refuses("query () { a }", EBADMSG, 1, 8, "expected '$'");
	refuses("{ a(b: ) }", EBADMSG, 1, 8, "expected a value");
	refuses("{ a(b 1) }", EBADMSG, 1, 7, "expected ':'");
	refuses("query($a: Int = $b) { a }", EBADMSG, 1, 17, "default value");
	refuses("query($a: [Int) { a }", EBADMSG, 1, 15, "expected ']'");
	refuses("query($a: Int!!) { a }", EBADMSG, 1, 15, "expected '$'");
	refuses("query($a: Int, $a: Int) { a }", EBADMSG, 1, 16, "twice");
	refuses("{ a(b: 1, b: 2) }", EBADMSG, 1, 11, "twice");
	refuses("fragment on on T { a }", EBADMSG, 1, 10, "a fragment's name");
	refuses("fragment f T { a }", EBADMSG, 1, 12, "expected 'on'");
	refuses("{ ... on }", EBADMSG, 1, 10, "");
	refuses("type T { a: Int }", EBADMSG, 1, 1, "expected an operation");
	refuses("{ a: b: c }", EBADMSG, 1, 7, "expected a name");
	refuses("{ a(b: 01) }", EBADMSG, 1, 8, "begin with 0");
	refuses("{ a(b: -) }", EBADMSG, 1, 9, "digit");
	refuses("{ a(b: 1.) }", EBADMSG, 1, 9, "go on");
	refuses("{ a(b: 1e) }", EBADMSG, 1, 10, "exponent");
	refuses("{ a(b: 0x1) }", EBADMSG, 1, 9, "go on");
	refuses("{ a(b: \"x) }", EBADMSG, 1, 8, "does not end");
	refuses("{ a(b: \"x\n\") }", EBADMSG, 1, 8, "does not end");
	refuses("{ a(b: \"\"\"x\"\") }", EBADMSG, 1, 8, "does not end");
	refuses("{ a(b: \"\\x\") }", EBADMSG, 1, 8, "bad escape");
	refuses("{ a(b: \"\\u12\") }", EBADMSG, 1, 8, "\\u");
	refuses("{ a(b: \"\\uD800\") }", EBADMSG, 1, 8, "\\u");
	refuses("{ a(b: \"\\uDC00\") }", EBADMSG, 1, 8, "\\u");
	refuses("{ a(b: \"\\u0000\") }", EBADMSG, 1, 8, "\\u");
	refuses("{ a(b: \"\xff\") }", EBADMSG, 1, 9, "UTF-8");
	refuses("{ a\x01 }", EBADMSG, 1, 4, "U+0001");
	refuses("{ .. }", EBADMSG, 1, 3, "U+002E");
	refuses("{ a ? }", EBADMSG, 1, 5, "U+003F");
}

static void repeat(char *at, const char *unit, size_t n)
{
	size_t len = strlen(unit);

	for (size_t i = 0; i < n * len; i++)
		at[i] = unit[i % len];
	at[n * len] = '\0';
}

static void too_many_variables(char *text, size_t size)
{
	size_t at = (size_t)snprintf(text, size, "query(");

	for (unsigned i = 0; i <= SONDE_GRAPHQL_VARIABLES_MAX; i++)
		at += (size_t)snprintf(text + at, size - at, "$v%04u: I ", i);
	(void)snprintf(text + at, size - at, ") { a }");
}

static void is_bounded(void **state)
{
	static char text[SONDE_GRAPHQL_BYTES_MAX + 2];

	repeat(text, "{a", SONDE_GRAPHQL_DEPTH_MAX);
	refuses(text, EBADMSG, 1, 2 * SONDE_GRAPHQL_DEPTH_MAX + 1, "found the end");
	repeat(text, "{a", SONDE_GRAPHQL_DEPTH_MAX + 1);
	refuses(text, E2BIG, 1, 2 * SONDE_GRAPHQL_DEPTH_MAX + 1, "deep");
	repeat(text, "{a(b:", 1);
	repeat(text + 5, "[", 200);
	refuses(text, E2BIG, 1, 5 + SONDE_GRAPHQL_DEPTH_MAX, "deep");
	repeat(text, "{", 1);
	repeat(text + 1, "a ", SONDE_GRAPHQL_TOKENS_MAX);
	refuses(text, E2BIG, 1, 2 * SONDE_GRAPHQL_TOKENS_MAX, "tokens");
	repeat(text + 1, "a:b ", SONDE_GRAPHQL_ALIASES_MAX + 1);
	refuses(text, E2BIG, 1, 2 + 4 * SONDE_GRAPHQL_ALIASES_MAX, "aliases");
	too_many_variables(text, sizeof(text));
	refuses(text, E2BIG, 1, 7 + 10 * SONDE_GRAPHQL_VARIABLES_MAX, "variables");
	repeat(text, " ", SONDE_GRAPHQL_BYTES_MAX + 1);
	refuses(text, E2BIG, 0, 0, "bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_short_form_is_a_query),
		cmocka_unit_test(an_operation_has_a_name_and_variables),
		cmocka_unit_test(keywords_are_names_too),
		cmocka_unit_test(fragments_are_named_or_inline),
		cmocka_unit_test(literals_are_what_they_say),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(block_strings_lose_their_indentation),
		cmocka_unit_test(what_means_nothing_is_skipped),
		cmocka_unit_test(says_where_it_is_wrong),
		cmocka_unit_test(is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
