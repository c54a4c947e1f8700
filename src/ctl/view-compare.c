/* SPDX-License-Identifier: Apache-2.0 */
/* Of GET /compare: a row for each quantity of an edge's side, what differs first. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ctl/members.h"
#include "ctl/output.h"
#include "ctl/units.h"
#include "ctl/view.h"

#define SLICES_WANTED 6 /* below which only large differences are told */
#define CELL_MAX 160

static const struct sonde_column columns[] = {
	{"CLIENT", false, true},
	{"SERVER", false, true},
	{"PORT", true, false},
	{"PROTOCOL", false, false, .wide = true},
	{"SIDE", false, false},
	{"QUANTITY", false, false},
	{"UNIT", false, false, .wide = true},
	{"A", true, false},
	{"B", true, false},
	{"CHANGE", true, false},
	{"COUNT A", true, false},
	{"COUNT B", true, false},
	{"VERDICT", false, false},
	{"P", true, false, .wide = true},
	{"P ADJUSTED", true, false, .wide = true},
	{"DISPERSION", true, false, .wide = true},
	{"LOWER BOUND", false, false, .wide = true},
	{NULL},
};

static bool is(const json_t *object, const char *key, const char *text)
{
	return strcmp(sonde_text_of(object, key), text) == 0;
}

/* As -o csv has it: all digits that a double has. */
static void add_number(struct sonde_table *t, const json_t *value, const char *text)
{
	char raw[CELL_MAX];

	(void)snprintf(raw, sizeof(raw), "%.15g", json_number_value(value));
	sonde_table_add_raw(t, SONDE_STYLE_NONE, text, raw);
}

static const char *unit_text(const char *unit, double v, char ret[static SONDE_UNIT_MAX])
{
	char bytes[SONDE_UNIT_MAX];

	if (strcmp(unit, "us") == 0)
		return sonde_unit_us(v, ret);
	if (strcmp(unit, "ratio") == 0)
		(void)snprintf(ret, SONDE_UNIT_MAX, "%.3g %%", 100 * v);
	else if (strcmp(unit, "bytes_per_second") == 0)
		(void)snprintf(ret, SONDE_UNIT_MAX, "%.40s/s", sonde_unit_bytes(v, bytes));
	else
		(void)snprintf(ret, SONDE_UNIT_MAX, "%.3g/s", v);
	return ret;
}

static void cell_value(struct sonde_table *t, const json_t *quantity, const char *window)
{
	const json_t *value = json_object_get(json_object_get(quantity, window), "value");
	char text[SONDE_UNIT_MAX];

	if (!json_is_number(value))
		sonde_table_add(t, NULL);
	else
		add_number(
			t, value,
			unit_text(sonde_text_of(quantity, "unit"), json_number_value(value), text));
}

/* "31", "≥ 31" where the ledger has losses; behind it the whole of a ratio. */
static void cell_count(struct sonde_table *t, const json_t *quantity, const char *window)
{
	const json_t *value = json_object_get(quantity, window);
	const json_t *count = json_object_get(value, "count"), *of = json_object_get(value, "of");
	char n[SONDE_UNIT_MAX], whole[SONDE_UNIT_MAX], text[CELL_MAX], raw[CELL_MAX];

	if (!json_is_integer(count)) {
		sonde_table_add(t, NULL);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s%s",
		       json_is_true(json_object_get(value, "lower_bound")) ? ">=" : "",
		       sonde_unit_count(json_integer_value(count), n));
	if (is(quantity, "unit", "ratio") && json_is_number(of) &&
	    fabs(json_number_value(of)) < 9e15)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "/%s",
			       sonde_unit_count((int64_t)json_number_value(of), whole));
	(void)snprintf(raw, sizeof(raw), "%" JSON_INTEGER_FORMAT, json_integer_value(count));
	sonde_table_add_raw(t, SONDE_STYLE_NONE, text, raw);
}

static void cell_change(struct sonde_table *t, const json_t *edge, const json_t *quantity)
{
	const json_t *change = json_object_get(quantity, "change_percent");
	char text[CELL_MAX];

	if (is(edge, "state", "new") || is(edge, "state", "gone")) {
		sonde_table_add(t, is(edge, "state", "new") ? "NEW" : "GONE");
	} else if (json_is_number(change)) {
		(void)snprintf(text, sizeof(text), "%+.3g %%", json_number_value(change));
		add_number(t, change, text);
	} else {
		sonde_table_add(t, json_is_object(json_object_get(quantity, "a")) &&
						   json_is_object(json_object_get(quantity, "b"))
					   ? "from 0"
					   : NULL);
	}
}

/* The verdict of an edge that one window alone has is the edge's own. */
static const char *verdict_of(const json_t *edge, const json_t *quantity, enum sonde_style *ret)
{
	static const struct {
		const char *name, *words;
		enum sonde_style style;
	} words[] = {
		{"differs", "differs", SONDE_STYLE_RED},
		{"below_threshold", "differs, below the threshold", SONDE_STYLE_NONE},
		{"noise", "within noise", SONDE_STYLE_NONE},
		{"too_few", "too few", SONDE_STYLE_DIM},
		{"absent", "absent", SONDE_STYLE_DIM},
	};
	bool differs = json_is_true(json_object_get(edge, "differs"));
	bool noise = is(edge, "verdict", "noise");

	*ret = differs ? SONDE_STYLE_RED : SONDE_STYLE_DIM;
	if (is(edge, "state", "new"))
		return differs ? "new" : noise ? "new, within noise" : "new, too few";
	if (is(edge, "state", "gone"))
		return differs ? "gone" : noise ? "gone, within noise" : "gone, too few";
	if (is(edge, "state", "not_told_apart_in_a"))
		return "in A perhaps in other";
	if (is(edge, "state", "not_told_apart_in_b"))
		return "in B perhaps in other";
	if (is(edge, "state", "not_measured_in_a"))
		return "no target in A";
	if (is(edge, "state", "not_measured_in_b"))
		return "no target in B";
	for (size_t i = 0; i < ELEMENTS_OF(words); i++) {
		*ret = words[i].style;
		if (is(quantity, "verdict", words[i].name))
			return words[i].words;
	}
	return sonde_text_of(quantity, "verdict"); /* of a later server */
}

static bool rests_on_bound(const json_t *edge, const json_t *quantity)
{
	return json_is_true(json_object_get(edge, "rests_on_lower_bound")) ||
	       json_is_true(json_object_get(quantity, "rests_on_lower_bound"));
}

static void cell_verdict(struct sonde_table *t, const json_t *edge, const json_t *quantity)
{
	enum sonde_style style;
	const char *words = verdict_of(edge, quantity, &style);
	char text[CELL_MAX];

	(void)snprintf(text, sizeof(text), "%.64s%s", words,
		       rests_on_bound(edge, quantity) ? " (by lower bounds)" : "");
	sonde_table_add_styled(t, style, text);
}

static void cell_plain(struct sonde_table *t, const json_t *quantity, const char *key)
{
	const json_t *value = json_object_get(quantity, key);
	char text[CELL_MAX];

	if (!json_is_number(value)) {
		sonde_table_add(t, NULL);
		return;
	}
	(void)snprintf(text, sizeof(text), "%.3g", json_number_value(value));
	add_number(t, value, text);
}

static void add_row(struct sonde_table *t, const json_t *edge, const json_t *quantity)
{
	bool alone = is(edge, "state", "new") || is(edge, "state", "gone");

	sonde_cell_text(t, edge, "client");
	sonde_cell_text(t, edge, "server");
	sonde_cell_number(t, edge, "port");
	sonde_cell_text(t, edge, "protocol");
	sonde_cell_text(t, edge, "side");
	sonde_cell_text(t, quantity, "name");
	sonde_cell_text(t, quantity, "unit");
	cell_value(t, quantity, "a");
	cell_value(t, quantity, "b");
	cell_change(t, edge, quantity);
	cell_count(t, quantity, "a");
	cell_count(t, quantity, "b");
	cell_verdict(t, edge, quantity);
	cell_plain(t, alone ? edge : quantity, "p");
	cell_plain(t, alone ? edge : quantity, "p_adjusted");
	cell_plain(t, quantity, "dispersion");
	sonde_table_add(t, rests_on_bound(edge, quantity) ? "yes" : "no");
}

/* Nothing of it was measured, or nothing happened, in either window. */
static bool is_idle(const json_t *quantity)
{
	const json_t *a = json_object_get(quantity, "a"), *b = json_object_get(quantity, "b");

	return json_integer_value(json_object_get(a, "count")) == 0 &&
	       json_integer_value(json_object_get(b, "count")) == 0;
}

static void add_edges(struct sonde_cli *cli, struct sonde_table *t, const json_t *edges,
		      bool differing, size_t *left_out)
{
	bool all = cli->settings->output != SONDE_CLI_FORM_TABLE;

	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);
		const json_t *quantities = json_object_get(edge, "quantities");

		if (json_is_true(json_object_get(edge, "differs")) != differing)
			continue;
		for (size_t k = 0; k < json_array_size(quantities); k++) {
			const json_t *quantity = json_array_get(quantities, k);

			if (all || !is_idle(quantity))
				add_row(t, edge, quantity);
			else
				(*left_out)++;
		}
	}
}

static void note_window(struct sonde_cli *cli, const json_t *answer, const char *window,
			const char *letter)
{
	const json_t *w = json_object_get(answer, window);
	const char *start = sonde_text_of(json_object_get(w, "window"), "start");
	char text[SONDE_UNIT_MAX] = "-";
	int64_t wall_ms;

	if (sonde_time_parse(start, &wall_ms) == 0)
		(void)sonde_time_local(wall_ms, cli->settings->utc, text);
	sonde_cli_note(cli, "%s: task %.64s, %.3g s from %s%s", letter, sonde_text_of(w, "task"),
		       json_number_value(json_object_get(w, "seconds")), text,
		       json_is_true(json_object_get(w, "complete"))
			       ? ""
			       : "; its ledger has losses, so counts are lower bounds");
}

/* Noise is what the slices of a window differ by, so a few of them leave room for nearly any difference. */
static void note_few_slices(struct sonde_cli *cli, const json_t *answer)
{
	static const char *const keys[] = {"a", "b"};
	double fewest = SLICES_WANTED;

	for (size_t i = 0; i < ELEMENTS_OF(keys); i++) {
		const json_t *w = json_object_get(answer, keys[i]);
		double s = json_number_value(json_object_get(w, "seconds"));
		double slice_s = json_number_value(json_object_get(w, "slice_ms")) / 1000;

		if (slice_s > 0 && s / slice_s < fewest)
			fewest = s / slice_s;
	}
	if (fewest < SLICES_WANTED)
		sonde_cli_note(cli, "a window of so few slices (10 s or a minute each) tells large "
				    "differences only: within noise is not unchanged; tasks of a "
				    "minute and more under steady load tell more");
}

int sonde_view_compare(struct sonde_cli *cli, const json_t *answer)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *edges = json_object_get(answer, "edges");
	size_t left_out = 0;
	int r;

	r = sonde_table_new(columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	add_edges(cli, t, edges, true, &left_out);
	add_edges(cli, t, edges, false, &left_out);
	note_window(cli, answer, "a", "A");
	note_window(cli, answer, "b", "B");
	r = sonde_view_table(cli, t);
	if (r != 0)
		return r;
	if (left_out > 0)
		sonde_cli_note(cli, "%zu rows of 0 or of nothing in both are left out (-o wide)",
			       left_out);
	sonde_cli_note(
		cli,
		"%" JSON_INTEGER_FORMAT
		" of %zu edges differ, beyond noise and by %.3g %%: %" JSON_INTEGER_FORMAT
		" tests, in all of which together chance finds a difference in %.3g %% of cases",
		json_integer_value(json_object_get(answer, "differences")), json_array_size(edges),
		json_number_value(json_object_get(answer, "threshold_percent")),
		json_integer_value(json_object_get(answer, "tests")),
		100 * json_number_value(json_object_get(answer, "alpha")));
	note_few_slices(cli, answer);
	return 0;
}
