/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/table.h"

static const struct sonde_column columns[] = {
	{"NAME", false, true}, {"N", true, false}, {"WORDS", false, true}, {NULL}};

static char *printed(const struct sonde_table *t, struct sonde_table_look look)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	assert_ok(sonde_table_print(t, &look, out));
	assert_ok(fclose(out));
	return text;
}

static struct sonde_table *two_rows(void)
{
	struct sonde_table *t;

	assert_ok(sonde_table_new(columns, &t));
	sonde_table_add(t, "nginx");
	sonde_table_addf(t, "%d", 7);
	sonde_table_add(t, "web");
	sonde_table_add_styled(t, SONDE_STYLE_RED, "caf\xc3\xa9");
	sonde_table_add(t, "1,234");
	sonde_table_add(t, NULL);
	return t;
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = two_rows();
	_cleanup_free_ char *text = printed(t, (struct sonde_table_look){.headers = true});

	assert_string_equal(text, "NAME       N  WORDS\n"
				  "nginx      7  web\n"
				  "caf\xc3\xa9   1,234  -\n");
	assert_int_equal(sonde_table_rows(t), 2);
}

static void headers_can_be_left_out(void **state)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = two_rows();
	_cleanup_free_ char *text = printed(t, (struct sonde_table_look){.headers = false});

	assert_string_equal(text, "nginx      7  web\n"
				  "caf\xc3\xa9   1,234  -\n");
}

static void colour_does_not_move_columns(void **state)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = two_rows();
	_cleanup_free_ char *text = printed(t, (struct sonde_table_look){.color = true});

	assert_string_equal(text, "nginx      7  web\n"
				  "\033[31mcaf\xc3\xa9\033[0m   1,234  -\n");
}

static void cells_are_escaped(void **state)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	_cleanup_free_ char *text = NULL;

	assert_ok(sonde_table_new(columns, &t));
	sonde_table_add(t, "\033[2J");
	sonde_table_add(t, "\n");
	sonde_table_add(t, "x");
	text = printed(t, (struct sonde_table_look){.color = true});
	assert_string_equal(text, "\\x1b[2J  \\n  x\n");
}

static struct sonde_table *long_cell(size_t n)
{
	_cleanup_free_ char *name = malloc(n + 1);
	struct sonde_table *t;

	assert_non_null(name);
	memset(name, 'x', n);
	name[n] = '\0';
	assert_ok(sonde_table_new(columns, &t));
	sonde_table_add(t, name);
	sonde_table_add(t, "7");
	sonde_table_add(t, "web");
	return t;
}

static void a_narrow_terminal_cuts_the_widest_column_that_may_be_cut(void **state)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = long_cell(40);
	_cleanup_free_ char *cut = printed(t, (struct sonde_table_look){.width = 30});
	_cleanup_free_ char *floor = printed(t, (struct sonde_table_look){.width = 5});

	assert_string_equal(cut, "xxxxxxxxxxxxxxxxxxxxx…  7  web\n");
	/* not below what can be read, even if the line is then too long */
	assert_string_equal(floor, "xxxxxxxxxxx…  7  web\n");
}

static void nothing_is_cut_without_a_width(void **state)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = long_cell(3000);
	_cleanup_free_ char *text = printed(t, (struct sonde_table_look){.width = 0});

	assert_int_equal(strlen(text), 3000 + strlen("  7  web\n"));
}

static void a_formatted_cell_is_as_long_as_it_needs(void **state)
{
	static const struct sonde_column one[] = {{"A", false, false}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	_cleanup_free_ char *text = NULL;

	assert_ok(sonde_table_new(one, &t));
	sonde_table_addf(t, "%05000d", 7);
	text = printed(t, (struct sonde_table_look){.width = 0});
	assert_int_equal(strlen(text), 5000 + strlen("\n"));
	sonde_table_fail(t, -ENOMEM);
	assert_err(sonde_table_print(t, &(struct sonde_table_look){0}, stderr), ENOMEM);
}

static void a_monstrous_cell_is_cut_and_says_so(void **state)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = long_cell(SONDE_TABLE_CELL_MAX + 1);
	_cleanup_free_ char *text = printed(t, (struct sonde_table_look){.width = 0});

	assert_int_equal(strlen(text), SONDE_TABLE_CELL_MAX + strlen("…  7  web\n"));
}

static void rows_are_bounded(void **state)
{
	static const struct sonde_column one[] = {{"A", false, false}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	struct sonde_table_look look = {.headers = true};

	assert_ok(sonde_table_new(one, &t));
	for (int i = 0; i < SONDE_TABLE_ROWS_MAX; i++)
		sonde_table_add(t, "x");
	assert_int_equal(sonde_table_rows(t), SONDE_TABLE_ROWS_MAX);
	for (int i = 0; i < SONDE_TABLE_ROWS_MAX; i++)
		sonde_table_add(t, "x");
	assert_err(sonde_table_print(t, &look, stdout), E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(headers_can_be_left_out),
		cmocka_unit_test(colour_does_not_move_columns),
		cmocka_unit_test(cells_are_escaped),
		cmocka_unit_test(a_narrow_terminal_cuts_the_widest_column_that_may_be_cut),
		cmocka_unit_test(nothing_is_cut_without_a_width),
		cmocka_unit_test(a_formatted_cell_is_as_long_as_it_needs),
		cmocka_unit_test(a_monstrous_cell_is_cut_and_says_so),
		cmocka_unit_test(rows_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
