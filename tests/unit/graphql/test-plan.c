/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <stdio.h>
#include <string.h>

#include "graphql/plan.h"

static const struct sonde_graphql_field_def query_fields[] = {
	{"dogs", "[Dog!]!",
	 SONDE_GRAPHQL_ARGUMENTS({"color", "Color"}, {"limit", "Int"}, {"filter", "Filter"})},
	{"dog", "Dog", SONDE_GRAPHQL_ARGUMENTS({"id", "ID!"})},
	{"name", "String!", NULL},
	{"sum", "Float",
	 SONDE_GRAPHQL_ARGUMENTS({"of", "[Float!]"}, {"long", "Long"}, {"yes", "Boolean"})},
	{NULL, NULL, NULL},
};
static const struct sonde_graphql_field_def mutation_fields[] = {{"bark", "Boolean!", NULL},
								 {NULL, NULL, NULL}};
static const struct sonde_graphql_field_def dog_fields[] = {
	{"id", "ID!", NULL},	     {"name", "String", NULL}, {"friends", "[Dog!]", NULL},
	{"grid", "[[Int!]!]", NULL}, {NULL, NULL, NULL},
};
static const struct sonde_graphql_argument_def filter_inputs[] = {
	{"name", "String!"}, {"colors", "[Color!]"}, {"not", "Filter"}, {NULL, NULL}};
static const char *const colors[] = {"RED", "BLACK", NULL};
static const struct sonde_graphql_type_def types[] = {
	{.name = "Query", .fields = query_fields}, {.name = "Mutation", .fields = mutation_fields},
	{.name = "Dog", .fields = dog_fields},	   {.name = "Filter", .inputs = filter_inputs},
	{.name = "Color", .values = colors},	   {.name = NULL},
};
static const struct sonde_graphql_schema schema = {types};

static struct sonde_graphql_plan *plan(const char *text, const char *operation,
				       const char *variables)
{
	json_t *given = variables ? json_loads(variables, JSON_ALLOW_NUL, NULL) : NULL;
	const struct sonde_graphql_request request = {text, strlen(text), operation, given};
	struct sonde_graphql_plan *p = NULL;

	assert_ok(sonde_graphql_plan_new(&schema, &request, &p));
	json_decref(given);
	return p;
}

static void answers(const struct sonde_graphql_plan *p, const char *want)
{
	json_t *answer = sonde_graphql_plan_answer(p);
	char *text = json_dumps(answer, JSON_COMPACT);

	assert_string_equal(text, want);
	free(text);
	json_decref(answer);
}

static void put(struct sonde_graphql_plan *p, size_t i, const char *value)
{
	json_t *j = json_loads(value, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	assert_ok(sonde_graphql_plan_put(p, i, j));
	json_decref(j);
}

static void refuses(const char *text, const char *variables, const char *words)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p =
		plan(text, NULL, variables);
	json_t *answer = sonde_graphql_plan_answer(p);
	const char *message = json_string_value(
		json_object_get(json_array_get(json_object_get(answer, "errors"), 0), "message"));

	assert_int_equal(sonde_graphql_plan_roots(p), 0);
	assert_null(json_object_get(answer, "data"));
	if (!message || !strstr(message, words))
		fail_msg("%s: '%s', not '%s'", text, message ? message : "no error", words);
	json_decref(answer);
}

/* The arguments of the first root as JSON. */
static void arguments(const char *text, const char *variables, const char *want)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p =
		plan(text, NULL, variables);
	char *got;

	if (sonde_graphql_plan_roots(p) == 0)
		answers(p, "");
	got = json_dumps(sonde_graphql_plan_root(p, 0)->arguments, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(got, want);
	free(got);
}

static void the_schema_is_whole(void **state)
{
	static const struct sonde_graphql_field_def wrong[] = {{"a", "Nope!", NULL},
							       {NULL, NULL, NULL}};
	static const struct sonde_graphql_type_def bad[] = {{.name = "Query", .fields = wrong},
							    {.name = NULL}};

	assert_null(sonde_graphql_schema_fault(&schema));
	assert_string_equal(sonde_graphql_schema_fault(&(struct sonde_graphql_schema){bad}), "a");
}

static void an_answer_has_what_was_asked_for_in_its_order(void **state)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = plan(
		"query q { all: dogs { __typename, value: name label: name id friends { id } grid } name }",
		NULL, NULL);

	assert_int_equal(sonde_graphql_plan_roots(p), 2);
	assert_string_equal(sonde_graphql_plan_root(p, 0)->key, "all");
	assert_string_equal(sonde_graphql_plan_root(p, 0)->field, "dogs");
	assert_false(sonde_graphql_plan_root(p, 0)->mutation);
	put(p, 0,
	    "[{\"id\":\"1\",\"name\":\"Rex\",\"secret\":1,\"friends\":[{\"id\":\"2\",\"name\":\"x\"}],"
	    "\"grid\":[[1,2],[]]},{\"id\":\"2\"}]");
	put(p, 1, "\"n\"");
	answers(p,
		"{\"data\":{\"all\":[{\"__typename\":\"Dog\",\"value\":\"Rex\",\"label\":\"Rex\","
		"\"id\":\"1\",\"friends\":[{\"id\":\"2\"}],\"grid\":[[1,2],[]]},{\"__typename\":"
		"\"Dog\",\"value\":null,\"label\":null,\"id\":\"2\",\"friends\":null,\"grid\":null}],"
		"\"name\":\"n\"}}");
}

static void fragments_and_directives_are_resolved(void **state)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = plan(
		"query ($yes: Boolean!, $no: Boolean = false) {"
		"  dog(id: 7) { ...a ... on Dog @include(if: $no) { grid } friends { id } ... { friends { name } } }"
		"  name @skip(if: $yes) }"
		"fragment a on Dog { id name @include(if: $yes) }",
		NULL, "{\"yes\":true}");

	assert_int_equal(sonde_graphql_plan_roots(p), 1);
	put(p, 0, "{\"id\":\"7\",\"name\":\"Rex\",\"friends\":[{\"id\":\"8\",\"name\":\"Bo\"}]}");
	answers(p,
		"{\"data\":{\"dog\":{\"id\":\"7\",\"name\":\"Rex\",\"friends\":[{\"id\":\"8\",\"name\":"
		"\"Bo\"}]}}}");
}

static void the_operation_is_chosen_by_name(void **state)
{
	static const char text[] = "query a { name } mutation b { bark } query c { dogs { id } }";
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = plan(text, "b", NULL);

	assert_true(sonde_graphql_plan_root(p, 0)->mutation);
	assert_string_equal(sonde_graphql_plan_root(p, 0)->field, "bark");
	refuses(text, NULL, "operationName");
	refuses("{ name } query b { name }", NULL, "only one");
	refuses("query a { name } query a { name }", NULL, "two operations");
	refuses("fragment f on Dog { id }", NULL, "no operation");
	refuses("subscription { name }", NULL, "Subscription is not supported");
}

static void arguments_come_from_literals_and_variables(void **state)
{
	arguments(
		"{ dogs(color: RED, limit: -3, filter: {name: \"a\", colors: BLACK, not: {name: \"b\"}}) { id } }",
		NULL,
		"{\"color\":\"RED\",\"filter\":{\"colors\":[\"BLACK\"],\"name\":\"a\",\"not\":{\"name\":\"b\"}},"
		"\"limit\":-3}");
	arguments(
		"query q($f: Filter!, $c: Color = BLACK, $n: Int) { dogs(filter: $f, color: $c, limit: $n) { id } }",
		"{\"f\":{\"name\":\"a\",\"colors\":[\"RED\"]},\"other\":1}",
		"{\"color\":\"BLACK\",\"filter\":{\"colors\":[\"RED\"],\"name\":\"a\"}}");
	arguments("query($n: String!) { dogs(filter: {name: $n}, limit: null) { id } }",
		  "{\"n\":\"x\"}", "{\"filter\":{\"name\":\"x\"},\"limit\":null}");
	arguments("query($i: ID!) { dog(id: $i) { id } }", "{\"i\":12}", "{\"id\":\"12\"}");
	arguments("{ dog(id: 12) { id } }", NULL, "{\"id\":\"12\"}");
	arguments("{ sum(of: [1, 2.5], long: 9007199254740993, yes: true) }", NULL,
		  "{\"long\":9007199254740993,\"of\":[1.0,2.5],\"yes\":true}");
}

static void arguments_of_the_wrong_type_are_refused(void **state)
{
	refuses("{ dog { id } }", NULL, "needs the argument 'id'");
	refuses("{ dog(id: null) { id } }", NULL, "null");
	refuses("{ dog(id: \"1\", x: 1) { id } }", NULL, "no argument 'x'");
	refuses("{ dog(id: true) { id } }", NULL, "expected ID");
	refuses("{ dogs(color: \"RED\") { id } }", NULL, "enum");
	refuses("{ dogs(color: GREEN) { id } }", NULL, "enum");
	refuses("{ dogs(limit: 2147483648) { id } }", NULL, "too large");
	refuses("{ dogs(limit: 1.0) { id } }", NULL, "expected Int");
	refuses("{ dogs(limit: \"1\") { id } }", NULL, "expected Int");
	refuses("{ dogs(filter: {}) { id } }", NULL, "lacks the field 'name'");
	refuses("{ dogs(filter: {name: \"a\", nope: 1}) { id } }", NULL, "no argument 'nope'");
	refuses("{ dogs(filter: 1) { id } }", NULL, "expected Filter");
	refuses("{ sum(of: [1, null]) }", NULL, "null");
	refuses("query($x: Int) { dogs(limit: $y) { id } }", NULL, "$y is not defined");
	refuses("query($x: Int!) { dogs(limit: $x) { id } }", "{}", "needs a value");
	refuses("query($x: Int!) { dogs(limit: $x) { id } }", "{\"x\":null}", "needs a value");
	refuses("query($x: Int) { dogs(limit: $x) { id } }", "{\"x\":\"1\"}", "expected Int");
	refuses("query($x: Int) { dogs(limit: $x) { id } }", "{\"x\":2147483648}", "expected Int");
	refuses("query($x: Filter) { dogs(filter: $x) { id } }", "{\"x\":{\"name\":\"a\",\"y\":1}}",
		"no field 'y'");
	refuses("query($x: Filter) { dogs(filter: $x) { id } }", "{\"x\":{\"name\":\"a\\u0000b\"}}",
		"NUL");
	refuses("query($x: Filter) { dogs(filter: $x) { id } }", "{\"x\":{}}", "lacks");
	refuses("query($x: Color) { dogs(color: $x) { id } }", "{\"x\":\"BLUE\"}", "enum");
	refuses("query($x: Dog) { name }", NULL, "cannot have the type");
	refuses("query($x: ID) { dog(id: $x) { id } }", "{}", "needs the argument");
}

static void what_is_not_there_is_an_error_with_its_place(void **state)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p =
		plan("{\n  nope }", NULL, NULL);

	answers(p,
		"{\"errors\":[{\"message\":\"Validation error (FieldUndefined@[nope]) : Field 'nope' in "
		"type 'Query' is undefined: not supported by this server\",\"extensions\":"
		"{\"classification\":\"ValidationError\"},\"locations\":[{\"line\":2,\"column\":3}]}]}");
	refuses("{ dogs }", NULL, "needs a selection");
	refuses("{ name { x } }", NULL, "has no fields");
	refuses("{ dogs { id nope } }", NULL, "in type 'Dog'");
	refuses("{ dogs { id } @x }", NULL, "");
	refuses("{ name @x }", NULL, "unknown directive");
	refuses("{ name @skip }", NULL, "needs the argument 'if'");
	refuses("{ nope @skip(if: true) }", NULL, "undefined");
	refuses("query @skip(if: true) { name }", NULL, "on an operation");
	refuses("{ ...f }", NULL, "no fragment 'f'");
	refuses("{ ...f } fragment f on Dog { id }", NULL, "cannot stand");
	refuses("{ name ... on Cat { id } }", NULL, "cannot stand");
	refuses("{ name } fragment f on Dog { id } fragment f on Dog { id }", NULL,
		"two fragments");
	refuses("{ x: name x: dogs { id } }", NULL, "different meanings");
	refuses("{ dogs(limit: 1) { id } dogs(limit: 2) { id } }", NULL, "different meanings");
}

static void fragments_cannot_blow_it_up(void **state)
{
	char text[4096] = "{ dogs { ...f0 } }";

	refuses("{ dogs { ...f } } fragment f on Dog { id ...f }", NULL, "contains itself");
	refuses("{ dogs { ...f } } fragment f on Dog { ...g } fragment g on Dog { ...f }", NULL,
		"contains itself");
	for (unsigned i = 0; i < 20; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
			       " fragment f%u on Dog { ...f%u ...f%u }", i, i + 1, i + 1);
	(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
		       " fragment f20 on Dog { id }");
	refuses(text, NULL, "more than 4096 fields");
}

static void a_root_that_fails_is_null_with_an_error(void **state)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p =
		plan("{ a: name b: dog(id: 1) { id } c: dogs { id } }", NULL, NULL);

	assert_ok(sonde_graphql_plan_fail(p, 0, "no luck"));
	put(p, 1, "{\"name\":\"an id must be there\"}");
	put(p, 2, "[]");
	answers(p,
		"{\"errors\":[{\"message\":\"no luck\",\"extensions\":{\"classification\":"
		"\"DataFetchingException\"},\"path\":[\"a\"]},{\"message\":\"there is no value where one "
		"must be\",\"extensions\":{\"classification\":\"DataFetchingException\"},\"path\":[\"b\"]}],"
		"\"data\":{\"a\":null,\"b\":null,\"c\":[]}}");
}

static void an_answer_is_bounded(void **state)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p =
		plan("{ dogs { a: id b: id c: id d: id } }", NULL, NULL);
	json_t *one = json_pack("{s:s}", "id", "1"), *all = json_array(), *answer;

	for (unsigned i = 0; i < SONDE_GRAPHQL_VALUES_MAX / 5 + 1; i++)
		assert_int_equal(json_array_append(all, one), 0);
	assert_ok(sonde_graphql_plan_put(p, 0, all));
	answer = sonde_graphql_plan_answer(p);
	assert_non_null(
		strstr(json_string_value(json_object_get(
			       json_array_get(json_object_get(answer, "errors"), 0), "message")),
		       "too large"));
	json_decref(answer);
	json_decref(all);
	json_decref(one);
}

/* "{a0: FIELD a1: FIELD …}" behind @head. Owned. */
static char *aliases(const char *head, unsigned n, const char *field)
{
	size_t size = strlen(head) + n * (strlen(field) + 16) + 4, at;
	char *text = malloc(size);

	assert_non_null(text);
	at = (size_t)snprintf(text, size, "%s{", head);
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, size - at, "a%u: %s ", i, field);
	(void)snprintf(text + at, size - at, "}");
	return text;
}

/* [RED, RED, …], as JSON or as a literal. Owned. */
static char *reds(unsigned n, const char *red)
{
	size_t size = n * (strlen(red) + 1) + 3, at = 1;
	char *text = malloc(size);

	assert_non_null(text);
	text[0] = '[';
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s", i ? "," : "", red);
	(void)snprintf(text + at, size - at, "]");
	return text;
}

/* A text that is asked for again and again is one text in memory, but is written out each time: by what it takes there. */
static void bytes_of_an_answer_are_bounded(void **state)
{
	static const struct {
		const char *character;
		unsigned bytes;
	} cases[] = {{"x", 1}, {"\"", 2}, {"\x01", 6}, {"\u00e4", 2}};
	enum {
		BYTES = 1050000
	};
	_cleanup_free_ char *document = aliases("", 32, "name");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].character), n = BYTES / cases[i].bytes;
		_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p =
			plan(document, NULL, NULL);
		_cleanup_free_ char *text = malloc(n * len + 1);
		json_t *value, *answer;
		char *written;

		assert_non_null(text);
		for (size_t k = 0; k < n; k++)
			memcpy(text + k * len, cases[i].character, len);
		value = json_stringn(text, n * len);
		for (size_t k = 0; k < 32; k++)
			assert_ok(sonde_graphql_plan_put(p, k, value));
		answer = sonde_graphql_plan_answer(p);
		/* 15 of them have room; each of the others is an error. */
		assert_int_equal(json_array_size(json_object_get(answer, "errors")), 32 - 15);
		written = json_dumps(json_object_get(answer, "data"), JSON_COMPACT);
		assert_true(strlen(written) > 15 * (size_t)BYTES);
		assert_true(strlen(written) <= SONDE_GRAPHQL_ANSWER_MAX);
		free(written);
		json_decref(answer);
		json_decref(value);
	}
}

static void keys_of_an_answer_are_bounded(void **state)
{
	static char document[128 + (64 << 10)];
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = NULL;
	json_t *one = json_pack("{s:s}", "id", "1"), *all = json_array(), *answer;
	size_t at = (size_t)snprintf(document, sizeof(document), "{ dogs { ");

	memset(document + at, 'a', 64 << 10);
	at += 64 << 10;
	(void)snprintf(document + at, sizeof(document) - at, ": id } }");
	p = plan(document, NULL, NULL);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(json_array_append(all, one), 0);
	assert_ok(sonde_graphql_plan_put(p, 0, all));
	answer = sonde_graphql_plan_answer(p);
	assert_int_equal(json_array_size(json_object_get(answer, "errors")), 1);
	json_decref(answer);
	json_decref(all);
	json_decref(one);
}

static void roots_are_bounded(void **state)
{
	_cleanup_free_ char *most = aliases("", SONDE_GRAPHQL_ROOTS_MAX, "name");
	_cleanup_free_ char *more = aliases("", SONDE_GRAPHQL_ROOTS_MAX + 1, "name");
	_cleanup_free_ char *leaves = aliases("{dog(id: 1)", SONDE_GRAPHQL_ROOTS_MAX + 1, "name");
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = plan(most, NULL, NULL);

	assert_int_equal(sonde_graphql_plan_roots(p), SONDE_GRAPHQL_ROOTS_MAX);
	refuses(more, NULL, "more than 128 root fields");
	/* Those of what is within a root are not. */
	p = sonde_graphql_plan_free(p);
	leaves = realloc(leaves, strlen(leaves) + 2);
	assert_non_null(leaves);
	memcpy(leaves + strlen(leaves), "}", 2);
	p = plan(leaves, NULL, NULL);
	assert_int_equal(sonde_graphql_plan_roots(p), 1);
}

/* A list in a variable counts at each use, wherever it comes from, also where the field is skipped. */
static void arguments_are_bounded(void **state)
{
	enum {
		USES = 100,
		MOST = SONDE_GRAPHQL_INPUT_MAX / USES
	};
	static const char use[] = "dogs(filter: {name: \"\", colors: $c}) { id }";
	static const char dropped[] =
		"dogs(filter: {name: \"\", colors: $c}) @skip(if: true) { id }";
	/* Of one use: the object, its name, the variable, its list, and the items. */
	_cleanup_free_ char *given = NULL, *head = NULL, *most = reds(MOST - 4, "\"RED\"");
	_cleanup_free_ char *more = reds(MOST, "\"RED\""), *fallback = reds(MOST, "RED");
	_cleanup_free_ char *document = aliases("query($c: [Color!])", USES, use);
	_cleanup_free_ char *skipped = aliases("query($c: [Color!])", USES, dropped);
	_cleanup_free_ char *defaulted = NULL, *text = NULL, *texts = NULL;
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = NULL;

	assert_true(asprintf(&given, "{\"c\":%s}", most) > 0);
	p = plan(document, NULL, given);
	assert_int_equal(sonde_graphql_plan_roots(p), USES);
	free(given);
	assert_true(asprintf(&given, "{\"c\":%s}", more) > 0);
	refuses(document, given, "more than 65536 values in the arguments");
	refuses(skipped, given, "more than 65536 values in the arguments");
	assert_true(asprintf(&head, "query($c: [Color!] = %s)", fallback) > 0);
	defaulted = aliases(head, USES, use);
	refuses(defaulted, NULL, "more than 65536 values in the arguments");
	/* A long text is copied at each use. */
	free(head);
	text = calloc(1, 64 * MOST + 1);
	assert_non_null(text);
	memset(text, 'x', 64 * MOST);
	assert_true(asprintf(&head, "query($i: ID! = \"%s\")", text) > 0);
	texts = aliases(head, USES, "dog(id: $i) { id }");
	refuses(texts, NULL, "more than 65536 values in the arguments");
}

static void the_schema_tells_of_itself(void **state)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = plan(
		"{ __typename q: __type(name: \"Mutation\") { kind fields { name args { name } } }"
		" i: __type(name: \"Filter\") { inputFields { name } fields { name } }"
		" e: __type(name: \"Color\") { enumValues { name } } s: __type(name: \"ID\") { kind }"
		" n: __type(name: \"Nope\") { kind } __schema { queryType { name } subscriptionType { name } } }",
		NULL, NULL);

	for (size_t i = 0; i < sonde_graphql_plan_roots(p); i++)
		assert_null(sonde_graphql_plan_root(p, i)->field);
	answers(p,
		"{\"data\":{\"__typename\":\"Query\",\"q\":{\"kind\":\"OBJECT\",\"fields\":[{\"name\":"
		"\"bark\",\"args\":[]}]},\"i\":{\"inputFields\":[{\"name\":\"name\"},{\"name\":\"colors\"},"
		"{\"name\":\"not\"}],\"fields\":null},\"e\":{\"enumValues\":[{\"name\":\"RED\"},{\"name\":"
		"\"BLACK\"}]},\"s\":{\"kind\":\"SCALAR\"},\"n\":null,\"__schema\":{\"queryType\":{\"name\":"
		"\"Query\"},\"subscriptionType\":null}}}");
	refuses("mutation { __type(name: \"Query\") { name } }", NULL, "undefined");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_schema_is_whole),
		cmocka_unit_test(an_answer_has_what_was_asked_for_in_its_order),
		cmocka_unit_test(fragments_and_directives_are_resolved),
		cmocka_unit_test(the_operation_is_chosen_by_name),
		cmocka_unit_test(arguments_come_from_literals_and_variables),
		cmocka_unit_test(arguments_of_the_wrong_type_are_refused),
		cmocka_unit_test(what_is_not_there_is_an_error_with_its_place),
		cmocka_unit_test(fragments_cannot_blow_it_up),
		cmocka_unit_test(a_root_that_fails_is_null_with_an_error),
		cmocka_unit_test(an_answer_is_bounded),
		cmocka_unit_test(bytes_of_an_answer_are_bounded),
		cmocka_unit_test(keys_of_an_answer_are_bounded),
		cmocka_unit_test(roots_are_bounded),
		cmocka_unit_test(arguments_are_bounded),
		cmocka_unit_test(the_schema_tells_of_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
