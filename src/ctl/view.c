/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/view.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ctl/output.h"
#include "ctl/units.h"
#include "model/task.h"

int sonde_view_table(struct sonde_cli *cli, const struct sonde_table *table)
{
	bool csv = cli->settings->output == SONDE_CLI_FORM_CSV;
	size_t order[SONDE_TABLE_COLUMNS_MAX];
	struct sonde_table_look look = {.headers = cli->headers,
					.color = cli->out_color,
					.width = cli->width,
					.order = order};
	int r;

	r = sonde_cli_pick_columns(cli, sonde_table_columns(table), order, &look.n_order);
	if (r != 0)
		return r;
	r = csv ? sonde_table_csv(table, &look, cli->out)
		: sonde_table_print(table, &look, cli->out);
	if (r == -E2BIG)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "more than %d rows; use -o json",
				      SONDE_TABLE_ROWS_MAX);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	if (!csv && !cli->cut_told && sonde_table_is_cut(table, &look)) {
		cli->cut_told = true;
		sonde_cli_note(cli, "a cell that ends in … was cut to fit: -o wide has the rest");
	}
	return SONDE_CLI_OK;
}

int sonde_view_rows(struct sonde_cli *cli, const struct sonde_column *columns, const json_t *rows,
		    void (*cells)(const struct sonde_cli *cli, struct sonde_table *t,
				  const json_t *row))
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int r = sonde_table_new(columns, &t);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(rows); i++)
		cells(cli, t, json_array_get(rows, i));
	return sonde_view_table(cli, t);
}

int sonde_view_no_rows(struct sonde_cli *cli, const struct sonde_table *table)
{
	size_t order[SONDE_TABLE_COLUMNS_MAX], n;

	if (cli->settings->output == SONDE_CLI_FORM_CSV)
		return sonde_view_table(cli, table);
	return sonde_cli_pick_columns(cli, sonde_table_columns(table), order, &n);
}

void sonde_view_heading(struct sonde_cli *cli, const char *heading)
{
	if (!cli->headers)
		return;
	(void)fprintf(cli->out, "%s%s%s%s\n", cli->headed ? "\n" : "",
		      cli->out_color ? sonde_style_start(SONDE_STYLE_BOLD) : "", heading,
		      cli->out_color ? SONDE_STYLE_END : "");
}

void sonde_view_text(struct sonde_cli *cli, const char *text)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(64UL * 1024);
	size_t len = strlen(text);

	/* cut rather than lost: a name is never this long. Without memory nothing is better than raw text. */
	if (sonde_term_escape(text, len > 4096 ? 4096 : len, &safe) == 0)
		(void)fputs(sonde_buf_str(&safe), cli->out);
}

void sonde_view_line(struct sonde_cli *cli, const char *label, const char *text)
{
	if (!text || !*text)
		return;
	(void)fprintf(cli->out, "%-10s ", label);
	sonde_view_text(cli, text);
	(void)fputc('\n', cli->out);
}

void sonde_view_line_of(struct sonde_cli *cli, const json_t *object, const char *label,
			const char *key)
{
	sonde_view_line(cli, label, json_string_value(json_object_get(object, key)));
}

void sonde_view_line_time(struct sonde_cli *cli, const json_t *object, const char *label,
			  const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	char local[SONDE_UNIT_MAX];
	int64_t wall_ms;

	if (text && sonde_time_parse(text, &wall_ms) == 0)
		text = sonde_time_local(wall_ms, cli->settings->utc, local);
	sonde_view_line(cli, label, text);
}

void sonde_view_next(struct sonde_cli *cli, const json_t *answer)
{
	const char *next = json_string_value(json_object_get(answer, "next"));

	if (next)
		sonde_cli_note(cli, "more: --cursor '%.300s'", next);
}

enum sonde_style sonde_view_state_style(const char *state)
{
	enum sonde_task_state s;

	if (!state || sonde_task_state_from_name(state, &s) < 0)
		return SONDE_STYLE_NONE;
	switch (s) {
	case SONDE_TASK_RUNNING:
	case SONDE_TASK_DONE:
		return SONDE_STYLE_GREEN;
	case SONDE_TASK_FAILED:
	case SONDE_TASK_REFUSED:
		return SONDE_STYLE_RED;
	case SONDE_TASK_EXPIRED:
	case SONDE_TASK_STOPPED:
		return SONDE_STYLE_YELLOW;
	default:
		return SONDE_STYLE_NONE;
	}
}

static const json_t *number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? value : NULL;
}

void sonde_cell_text(struct sonde_table *t, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	sonde_table_add(t, text && *text ? text : NULL);
}

/* The number as it was sent. */
static void add_number(struct sonde_table *t, const json_t *value, const char *text)
{
	char raw[SONDE_UNIT_MAX];

	if (json_is_integer(value))
		(void)snprintf(raw, sizeof(raw), "%" JSON_INTEGER_FORMAT,
			       json_integer_value(value));
	else
		(void)snprintf(raw, sizeof(raw), "%.17g", json_number_value(value));
	sonde_table_add_raw(t, SONDE_STYLE_NONE, value ? text : NULL, value ? raw : NULL);
}

void sonde_cell_count(struct sonde_table *t, const json_t *object, const char *key)
{
	const json_t *value = number(object, key);
	char text[SONDE_UNIT_MAX] = "";

	if (json_is_integer(value))
		(void)sonde_unit_count(json_integer_value(value), text);
	else if (value)
		(void)snprintf(text, sizeof(text), "%.3f", json_real_value(value));
	add_number(t, value, text);
}

void sonde_cell_number(struct sonde_table *t, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		sonde_table_addf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		sonde_table_add(t, NULL);
}

static void cell_unit(struct sonde_table *t, const json_t *object, const char *key,
		      const char *(*unit)(double, char *))
{
	const json_t *value = number(object, key);
	char text[SONDE_UNIT_MAX];

	add_number(t, value, value ? unit(json_number_value(value), text) : NULL);
}

void sonde_cell_bytes(struct sonde_table *t, const json_t *object, const char *key)
{
	cell_unit(t, object, key, sonde_unit_bytes);
}

void sonde_cell_us(struct sonde_table *t, const json_t *object, const char *key)
{
	cell_unit(t, object, key, sonde_unit_us);
}

void sonde_cell_ns(struct sonde_table *t, const json_t *object, const char *key)
{
	cell_unit(t, object, key, sonde_unit_ns);
}

void sonde_cell_time(struct sonde_table *t, const struct sonde_cli *cli, const json_t *object,
		     const char *key)
{
	const char *text = json_string_value(json_object_get(object, key)), *sent = text;
	char local[SONDE_UNIT_MAX];
	int64_t wall_ms;

	if (text && sonde_time_parse(text, &wall_ms) == 0)
		text = sonde_time_local(wall_ms, cli->settings->utc, local);
	text = text && *text ? text : NULL;
	sonde_table_add_raw(t, SONDE_STYLE_NONE, text, text ? sent : NULL);
}

void sonde_cell_state(struct sonde_table *t, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	sonde_table_add_styled(t, sonde_view_state_style(text), text);
}

/* NULL: it is no time. */
static const char *window_end(const struct sonde_cli *cli, const json_t *window, const char *key,
			      char ret[static SONDE_UNIT_MAX])
{
	const char *text = json_string_value(json_object_get(window, key));
	int64_t wall_ms;

	return text && sonde_time_parse(text, &wall_ms) == 0
		       ? sonde_time_local(wall_ms, cli->settings->utc, ret)
		       : NULL;
}

void sonde_view_window(struct sonde_cli *cli, const json_t *answer)
{
	const json_t *window = json_object_get(answer, "window");
	const json_t *step = json_object_get(window, "step_ms");
	char start[SONDE_UNIT_MAX], end[SONDE_UNIT_MAX];
	const char *from = window_end(cli, window, "start", start);
	const char *to = window_end(cli, window, "end", end);

	if (!json_is_integer(step)) /* the whole task */
		return;
	if (from && to)
		sonde_cli_note(cli,
			       "window: %s to %s, in whole steps of %" JSON_INTEGER_FORMAT " s",
			       from, to, json_integer_value(step) / 1000);
	else
		sonde_cli_note(cli, "window: no report has anything in it");
}
