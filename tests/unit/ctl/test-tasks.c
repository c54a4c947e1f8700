/* SPDX-License-Identifier: Apache-2.0 */
/* tasks/: the reference of the schema and the presets, held against what the program knows. */
#include "sonde-test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/yaml.h"
#include "ctl/spec.h"
#include "model/preset.h"
#include "model/probe-msg.h"
#include "model/signal.h"

#define CELLS 5
#define CELL_MAX 512
#define PAGE_MAX 65536

struct row {
	char cell[CELLS][CELL_MAX];
};

static char *page; /* tasks/README.md */

static int set_up(void **state)
{
	size_t n;

	return sonde_yaml_read_file(TASKS_DIR "/README.md", PAGE_MAX, &page, &n);
}

static int tear_down(void **state)
{
	free(page);
	return 0;
}

/* The cells of the line that begins here, without the blanks around them. */
static void split(const char *line, struct row *row)
{
	size_t n = 0;

	*row = (struct row){0};
	for (const char *p = line + 1; n < CELLS && *p && *p != '\n'; n++) {
		size_t len = strcspn(p, "|\n");
		const char *from = p, *end = p + len;

		while (from < end && *from == ' ')
			from++;
		while (end > from && end[-1] == ' ')
			end--;
		assert_true((size_t)(end - from) < CELL_MAX);
		memcpy(row->cell[n], from, (size_t)(end - from));
		p += len + (p[len] == '|');
	}
}

static bool find_row(const char *first, struct row *row)
{
	char begin[128];
	const char *at;

	(void)snprintf(begin, sizeof(begin), "\n| %s |", first);
	at = strstr(page, begin);
	if (!at)
		return false;
	split(at + 1, row);
	return true;
}

static void need(const char *key, const char *cell, const char *words)
{
	if (words && !strstr(cell, words))
		print_message("%s: '%s' is not in '%s'\n", key, words, cell);
	assert_true(!words || strstr(cell, words));
}

/* What the table of options says of one key, by the words that it has them in. */
static void check_key(const char *key, const struct sonde_option *o)
{
	struct row row;
	char first[160];

	(void)snprintf(first, sizeof(first), "`%s`", key);
	if (!find_row(first, &row))
		print_message("%s has no row\n", key);
	assert_true(find_row(first, &row));
	if (o->min && strcmp(o->min, "0") != 0)
		need(key, row.cell[1], o->min);
	need(key, row.cell[1], o->max);
	if (o->type == SONDE_OPTION_TYPE_BOOL)
		need(key, row.cell[1], "`true`, `false`");
	if (o->fallback && o->fallback[0] &&
	    strncmp(row.cell[2], o->fallback, strlen(o->fallback)) != 0)
		print_message("%s: default '%s', not '%s'\n", key, row.cell[2], o->fallback);
	if (o->fallback && o->fallback[0])
		assert_int_equal(strncmp(row.cell[2], o->fallback, strlen(o->fallback)), 0);
	assert_true(row.cell[4][0] != '\0');
}

static size_t check_table(const char *prefix, const struct sonde_option *options)
{
	size_t n = 0;

	for (; options->key; options++) {
		char key[128], inner[160];

		(void)snprintf(key, sizeof(key), "%s%s", prefix, options->key);
		check_key(key, options);
		n++;
		if (options->type != SONDE_OPTION_TYPE_LIST)
			continue;
		(void)snprintf(inner, sizeof(inner), "%s[].", key);
		n += check_table(inner, options->element);
	}
	return n;
}

/* Rows of the table below this heading. */
static size_t count_rows(const char *heading)
{
	const char *at = strstr(page, heading), *end;
	size_t n = 0;

	assert_non_null(at);
	end = strstr(at + 1, "\n## ");
	for (at = strstr(at, "\n| `"); at && (!end || at < end); at = strstr(at + 1, "\n| `"))
		n++;
	return n;
}

static void the_reference_has_every_key_its_range_and_default_and_no_other(void **state)
{
	size_t n = check_table("", sonde_spec_file.options);

	assert_true(n > 20);
	assert_int_equal(count_rows("\n## Schema\n"), n);
}

static const struct sonde_cli_flag *create_flags(void)
{
	const struct sonde_cli_command *c = sonde_cli_commands;

	while (c->name && strcmp(c->name, "task create") != 0)
		c++;
	assert_non_null(c->name);
	return c->flags;
}

static void every_flag_that_it_names_is_one(void **state)
{
	const char *at = strstr(page, "\n## Schema\n"), *end = strstr(page, "\n## Signals\n");
	size_t n = 0;

	for (at = strstr(at, "| `--"); at && at < end; at = strstr(at + 1, "| `--")) {
		const char *name = at + strlen("| `--");
		size_t len = strcspn(name, "`");
		bool known = false;

		for (const struct sonde_cli_flag *f = create_flags(); f->name; f++)
			known = known ||
				(strlen(f->name) == len && strncmp(f->name, name, len) == 0);
		if (!known)
			print_message("--%.*s is no flag\n", (int)len, name);
		assert_true(known);
		n++;
	}
	assert_true(n > 5);
}

static void it_names_every_signal(void **state)
{
	for (unsigned i = 0; i < _SONDE_SIGNAL_MAX; i++) {
		const struct sonde_signal_info *s = sonde_signal_info(i);
		bool tcp = s->collectors & SONDE_PROBE_COLLECT_TCP,
		     udp = s->collectors & SONDE_PROBE_COLLECT_UDP;
		struct row row;
		char first[64];

		(void)snprintf(first, sizeof(first), "`%s`", s->name);
		assert_true(find_row(first, &row));
		assert_string_equal(row.cell[1], tcp && udp ? "`tcp`, `udp`"
						 : tcp	    ? "`tcp`"
							    : "`udp`");
		assert_string_equal(row.cell[2], s->help);
	}
	assert_int_equal(count_rows("\n## Signals\n"), _SONDE_SIGNAL_MAX);
}

static uint32_t signals_of(const struct sonde_spec *spec)
{
	uint32_t mask = 0;
	enum sonde_signal s;

	for (char **name = spec->signals; name && *name; name++) {
		assert_ok(sonde_signal_from_name(*name, &s));
		mask |= SONDE_SIGNAL_BIT(s);
	}
	return mask;
}

static uint32_t collectors_of(const struct sonde_spec *spec)
{
	uint32_t mask = 0;

	for (char **name = spec->collectors; name && *name; name++)
		mask |= strcmp(*name, "udp") == 0 ? SONDE_PROBE_COLLECT_UDP
						  : SONDE_PROBE_COLLECT_TCP;
	return mask;
}

/* The file is the line of presets.def, and what an agent or a server makes of the name alone. */
static void check_preset(const struct sonde_preset *p)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_free_ char *error = NULL;
	struct row row;
	char text[256];

	(void)snprintf(text, sizeof(text), "%s/%s.yaml", TASKS_DIR, p->name);
	assert_ok(sonde_spec_load(text, &spec, &error));
	assert_string_equal(spec->preset, p->name);
	assert_int_equal(collectors_of(spec), p->collectors);
	assert_int_equal(signals_of(spec), p->signals);
	assert_int_equal(spec->execution_time, p->execution_time);
	assert_int_equal(spec->without_flows, p->without_flows);
	assert_int_equal(spec->duration_ns, SONDE_PRESET_DURATION_MS * SONDE_NS_PER_MS);
	assert_int_equal(spec->report_interval_ns, 2 * SONDE_NS_PER_S);
	(void)snprintf(text, sizeof(text), "[`%s`](%s.yaml)", p->name, p->name);
	row = (struct row){0};
	assert_true(find_row(text, &row));
	assert_string_equal(row.cell[1], p->question);
	assert_true(row.cell[2][0] != '\0');
}

static void each_preset_is_a_file_and_each_file_a_preset(void **state)
{
	const struct dirent *entry;
	size_t files = 0, presets = 0;
	DIR *folder;

	for (; sonde_preset_at(presets); presets++)
		check_preset(sonde_preset_at(presets));
	folder = opendir(TASKS_DIR);
	assert_non_null(folder);
	while ((entry = readdir(folder)))
		files += strstr(entry->d_name, ".yaml") != NULL;
	(void)closedir(folder);
	assert_int_equal(files, presets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reference_has_every_key_its_range_and_default_and_no_other),
		cmocka_unit_test(every_flag_that_it_names_is_one),
		cmocka_unit_test(it_names_every_signal),
		cmocka_unit_test(each_preset_is_a_file_and_each_file_a_preset),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
