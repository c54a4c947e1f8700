/* SPDX-License-Identifier: Apache-2.0 */
/* What -o makes of an answer: lines, YAML, templates, CSV and picked columns. */
#include "sonde-test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/yaml.h"
#include "ctl/fetch.h"
#include "ctl/jsonpath.h"
#include "ctl/output.h"
#include "ctl/term.h"
#include "ctl/view.h"

static const struct sonde_cli_command lists = {
	.name = "things", .items = "things", .item_name = "id", .one_table = true};

static json_t *load(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	return value;
}

static char *printed(enum sonde_cli_form form, const char *jsonpath, const char *json)
{
	struct sonde_cli_settings settings = {.output = (int)form};
	struct sonde_cli cli = {.settings = &settings, .command = &lists, .jsonpath = jsonpath};
	json_auto_t *value = load(json);
	char *text = NULL;
	size_t n;

	cli.out = cli.err = open_memstream(&text, &n);
	assert_non_null(cli.out);
	assert_int_equal(sonde_cli_print_value(&cli, value), 0);
	assert_ok(fclose(cli.out));
	return text;
}

static const char two[] =
	"{\"total\":2,\"things\":[{\"id\":\"b\",\"x\":[1,2.5]},{\"id\":\"a\\u001b\",\"x\":null}]}";

static void lines_are_the_items(void **state)
{
	_cleanup_free_ char *lines = printed(SONDE_CLI_FORM_JSONL, NULL, two),
			    *one = printed(SONDE_CLI_FORM_JSONL, NULL, "{\"z\":1,\"a\":2}");

	assert_string_equal(lines,
			    "{\"id\":\"b\",\"x\":[1,2.5]}\n{\"id\":\"a\\u001B\",\"x\":null}\n");
	assert_string_equal(one, "{\"z\":1,\"a\":2}\n");
}

static void names_are_safe(void **state)
{
	_cleanup_free_ char *names = printed(SONDE_CLI_FORM_NAME, NULL, two);

	assert_string_equal(names, "b\na\\x1b\n");
}

static void templates_give_what_they_name(void **state)
{
	static const struct {
		const char *template, *expected;
	} rows[] = {
		{"{.items[*].id}", "b a\\x1b\n"}, {"{.things[0].id}", "b\n"},
		{".things[-1]['x']", "null\n"},	  {"{$.things[0].x}", "[1,2.5]\n"},
		{"{.things[0].x[*]}", "1 2.5\n"}, {"{.things[0].*}", "b [1,2.5]\n"},
		{"n={.total}{\"\\n\"}", "n=2\n"}, {"{.none.at[3].all}", ""},
		{"{.things[-3].id}", ""},	  {"{[\"total\"]}", "2\n"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		_cleanup_free_ char *words = NULL;
		_cleanup_free_ char *text = NULL;

		assert_ok(sonde_jsonpath_check(rows[i].template, &words));
		text = printed(SONDE_CLI_FORM_JSONPATH, rows[i].template, two);
		assert_string_equal(text, rows[i].expected);
	}
}

/* What steers a terminal, or turns its text around, is in no form; the JSON reads back as it was sent. */
static void no_form_has_what_steers_a_terminal(void **state)
{
	static const char json[] =
		"{\"things\":[{\"id\":\"a\\nb\\tc\x7f\xc2\x9b\xe2\x80\xae\xe2\x80\x8b\xf3\xa0\x80\x81\xc3\xa9\"}]}\r\n";
	static const char escaped[] =
		"{\"things\":[{\"id\":\"a\\nb\\tc\\u007f\\u009b\\u202e\\u200b\\udb40\\udc01\xc3\xa9\"}]} \n";
	struct sonde_cli_settings settings = {.output = SONDE_CLI_FORM_JSON};
	struct sonde_cli cli = {.settings = &settings, .command = &lists};
	struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_free_ char *template = NULL, *line = NULL, *text = NULL;
	json_auto_t *before = load(json), *after = NULL;
	size_t n;

	template = printed(SONDE_CLI_FORM_JSONPATH, "{.items[0].id}{\"\\n\"}", json);
	assert_string_equal(template,
			    "a\\nb\\tc\\x7f\\u{009b}\\u{202e}\\u{200b}\\u{e0001}\xc3\xa9\n");
	line = printed(SONDE_CLI_FORM_JSON, NULL, json);
	assert_null(strchr(line, '\x7f'));
	assert_ok(sonde_buf_append(&answer.body, json, strlen(json)));
	cli.out = open_memstream(&text, &n);
	assert_non_null(cli.out);
	assert_int_equal(sonde_cli_print_json(&cli, &answer), 0);
	assert_ok(fclose(cli.out));
	assert_string_equal(text, escaped);
	after = load(text);
	assert_true(json_equal(before, after));
	sonde_rest_answer_done(&answer);
}

static void text_for_a_terminal_keeps_its_lines(void **state)
{
	static const char text[] = "a,b\r\n\tc\x1b[2J\xff\xe2\x80\xae\n";
	_cleanup_free_ char *shown = NULL;
	size_t n;
	FILE *out = open_memstream(&shown, &n);

	assert_non_null(out);
	sonde_term_print(text, strlen(text), out);
	assert_ok(fclose(out));
	assert_string_equal(shown, "a,b\\x0d\n\tc\\x1b[2J\\xff\\u{202e}\n");
}

static void other_templates_are_refused_with_words(void **state)
{
	static const struct {
		const char *template, *words;
	} rows[] = {
		{"id", "column 1: expected a path such as {.items[*].id}"},
		{"{.a[?(@.b==1)]}", "column 4: a filter is not supported; use -o json and jq"},
		{"{.a[0:2]}", "column 4: a slice or union is not supported; use -o json and jq"},
		{"{..a}", "column 2: `..` is not supported; use -o json and jq"},
		{"{.a[b]}", "column 4: expected [n], [*] or ['name']"},
		{"{.a", "column 4: expected a closing }"},
		{"{.a[", "column 4: expected [n], [*] or ['name']"},
		{"{.a['b}", "column 4: expected ['name']"},
		{"{\"a}", "column 5: expected \"} here"},
		{"{.}{.a.}", "column 7: expected a name behind the dot"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		_cleanup_free_ char *words = NULL;

		assert_err(sonde_jsonpath_check(rows[i].template, &words), EINVAL);
		assert_string_equal(words, rows[i].words);
	}
}

/* What libyaml writes reads back as the same text, and only numbers, true, false and null stand bare. */
static void yaml_reads_back(void **state)
{
	static const char json[] =
		"{\"b\":\"yes\",\"a\":[{\"n\":1,\"t\":\"1e3\"},[],{}],\"e\":\"\","
		"\"u\":\"\\u0085\\u202e\\n#: x\",\"f\":1.5,\"z\":null,\"y\":true,"
		"\"at\":\"2026-11-22T04:00:00.000Z\",\"plain\":\"shop/cart\"}";
	_cleanup_free_ char *text = printed(SONDE_CLI_FORM_YAML, NULL, json);
	_cleanup_free_ char *error = NULL;
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;

	assert_string_equal(text, "b: \"yes\"\na:\n- \"n\": 1\n  t: \"1e3\"\n- []\n- {}\ne: \"\"\n"
				  "u: \"\\N\\u202E\\n#: x\"\nf: 1.5\nz: null\n\"y\": true\n"
				  "at: \"2026-11-22T04:00:00.000Z\"\nplain: shop/cart\n");
	assert_ok(sonde_yaml_parse(text, strlen(text), "t", &root, &error));
	assert_string_equal(sonde_yaml_get(root, "u")->text, "\xc2\x85\xe2\x80\xae\n#: x");
	assert_int_equal(sonde_yaml_get(root, "z")->kind, SONDE_YAML_NULL);
}

static char *table(enum sonde_cli_form form, const char *columns, int expected)
{
	static const struct sonde_column all[] = {{"NAME", false, true},
						  {"SENT", true, .unit = "bytes"},
						  {"LAST SEEN", .wide = true},
						  {NULL}};
	static const struct sonde_cli_flag flag = {"columns", 0, "NAMES", ""};
	struct sonde_cli_settings settings = {.output = (int)form, .utc = true};
	struct sonde_cli cli = {.settings = &settings, .command = &lists, .headers = true};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	json_auto_t *row =
		load("{\"n\":\"a,\\\"b\",\"s\":1536,\"t\":\"2026-11-22T04:00:00.000Z\"}");
	char *text = NULL;
	size_t n;

	if (columns) {
		cli.given[0] = (struct sonde_cli_given){&flag, columns};
		cli.n_given = 1;
	}
	cli.out = cli.err = open_memstream(&text, &n);
	assert_non_null(cli.out);
	assert_ok(sonde_table_new(all, &t));
	sonde_cell_text(t, row, "n");
	sonde_cell_bytes(t, row, "s");
	sonde_cell_time(t, &cli, row, "t");
	sonde_cell_text(t, row, "none");
	sonde_cell_bytes(t, row, "none");
	sonde_cell_time(t, &cli, row, "none");
	assert_int_equal(sonde_view_table(&cli, t), expected);
	assert_ok(fclose(cli.out));
	return text;
}

static void csv_has_fixed_units_and_all_columns(void **state)
{
	_cleanup_free_ char *csv = table(SONDE_CLI_FORM_CSV, NULL, 0),
			    *some = table(SONDE_CLI_FORM_CSV, "sent", 0),
			    *headed = table(SONDE_CLI_FORM_CSV, "sent_bytes", 0);

	assert_string_equal(csv, "name,sent_bytes,last_seen\n"
				 "\"a,\"\"b\",1536,2026-11-22T04:00:00.000Z\n,,\n");
	assert_string_equal(some, "sent_bytes\n1536\n\n");
	assert_string_equal(headed, some); /* a heading names its column */
}

/* The words of the first line of @text, blanks aside. */
static void assert_headings(const char *text, const char *wanted)
{
	char got[128];
	size_t n = 0;

	for (; *text && *text != '\n' && n < sizeof(got) - 1; text++) {
		if (*text != ' ' || (n > 0 && got[n - 1] != ' '))
			got[n++] = *text;
	}
	got[n] = '\0';
	assert_string_equal(got, wanted);
}

static void columns_are_picked_added_and_left_out(void **state)
{
	static const struct {
		const char *columns, *heading;
	} rows[] = {{NULL, "NAME SENT"},
		    {"+last-seen", "NAME SENT LAST SEEN"},
		    {"-name,+last_seen", "SENT LAST SEEN"},
		    {"sent,NAME", "SENT NAME"},
		    {"LAST SEEN,+name", "LAST SEEN NAME"}};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		_cleanup_free_ char *text = table(SONDE_CLI_FORM_TABLE, rows[i].columns, 0);

		/* blanks are as many as the cells ask for: test-table.c knows them */
		assert_headings(text, rows[i].heading);
	}
}

static void a_column_that_is_not_there_is_named(void **state)
{
	_cleanup_free_ char *none = table(SONDE_CLI_FORM_TABLE, "nope", SONDE_CLI_USAGE),
			    *empty = table(SONDE_CLI_FORM_TABLE, "-name,-sent", SONDE_CLI_USAGE);

	assert_string_equal(
		none, "sonde: --columns: no column 'nope'; there are: name, sent, last_seen\n");
	assert_string_equal(empty, "sonde: --columns: no column is left\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_the_items),
		cmocka_unit_test(names_are_safe),
		cmocka_unit_test(templates_give_what_they_name),
		cmocka_unit_test(no_form_has_what_steers_a_terminal),
		cmocka_unit_test(text_for_a_terminal_keeps_its_lines),
		cmocka_unit_test(other_templates_are_refused_with_words),
		cmocka_unit_test(yaml_reads_back),
		cmocka_unit_test(csv_has_fixed_units_and_all_columns),
		cmocka_unit_test(columns_are_picked_added_and_left_out),
		cmocka_unit_test(a_column_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
