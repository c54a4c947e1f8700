/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/view.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ctl/units.h"
#include "model/task.h"

int sonde_view_table(struct sonde_cli *cli, const struct sonde_table *table)
{
	struct sonde_table_look look = {
		.headers = cli->headers, .color = cli->out_color, .width = cli->width};
	int r;

	r = sonde_table_print(table, &look, cli->out);
	if (r == -E2BIG)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "more than %d rows; use -o json",
				      SONDE_TABLE_ROWS_MAX);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	if (!cli->cut_told && sonde_table_is_cut(table, &look)) {
		cli->cut_told = true;
		sonde_cli_note(cli, "a cell that ends in … was cut to fit: -o wide has the rest");
	}
	return SONDE_CLI_OK;
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

void sonde_cell_count(struct sonde_table *t, const json_t *object, const char *key)
{
	const json_t *value = number(object, key);
	char text[SONDE_UNIT_MAX];

	if (json_is_integer(value))
		sonde_table_add(t, sonde_unit_count(json_integer_value(value), text));
	else if (value)
		sonde_table_addf(t, "%.3f", json_real_value(value));
	else
		sonde_table_add(t, NULL);
}

static void cell_unit(struct sonde_table *t, const json_t *object, const char *key,
		      const char *(*unit)(double, char *))
{
	const json_t *value = number(object, key);
	char text[SONDE_UNIT_MAX];

	sonde_table_add(t, value ? unit(json_number_value(value), text) : NULL);
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
	const char *text = json_string_value(json_object_get(object, key));
	char local[SONDE_UNIT_MAX];
	int64_t wall_ms;

	if (text && sonde_time_parse(text, &wall_ms) == 0)
		text = sonde_time_local(wall_ms, cli->settings->utc, local);
	sonde_table_add(t, text && *text ? text : NULL);
}

void sonde_cell_state(struct sonde_table *t, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	sonde_table_add_styled(t, sonde_view_state_style(text), text);
}
