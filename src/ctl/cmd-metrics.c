/* SPDX-License-Identifier: Apache-2.0 */
/* sonde metrics: totals over a task, or a series */
#include <errno.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/output.h"
#include "ctl/view.h"

/* "kind=fast reason=X" */
static void cell_labels(struct sonde_table *t, const json_t *labels)
{
	_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(1024);
	json_t *value,
		*object = (json_t *)labels; /* the loop's macro is not const-clean; it only reads */
	const char *name;
	int r = 0;

	json_object_foreach(object, name, value)
	{
		const char *s = json_string_value(value);

		if (r == 0)
			r = sonde_buf_printf(&text, "%s%s=%s", text.len > 0 ? " " : "", name,
					     s ? s : "?");
	}
	sonde_table_add(t, text.len > 0 ? sonde_buf_str(&text) : NULL);
}

/* Numbers in the unit that stands beside them, never scaled; in CSV, for further reckoning, to the last digit. */
static void cell_number(struct sonde_table *t, const json_t *value)
{
	char text[32], raw[32];

	if (json_is_integer(value)) {
		sonde_table_addf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else if (!json_is_real(value)) {
		sonde_table_add(t, NULL);
	} else {
		(void)snprintf(text, sizeof(text), "%.6g", json_real_value(value));
		(void)snprintf(raw, sizeof(raw), "%.17g", json_real_value(value));
		sonde_table_add_raw(t, SONDE_STYLE_NONE, text, raw);
	}
}

static int print_totals(struct sonde_cli *cli, const json_t *metrics)
{
	static const struct sonde_column columns[] = {
		{"METRIC", false, false}, {"EDGE", false, false}, {"CLIENT", false, true},
		{"SERVER", false, true},  {"SIDE", false, false}, {"LABELS", false, true},
		{"VALUE", true, false},	  {"UNIT", false, false}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const char *only = sonde_cli_flag(cli, "metric");
	bool skywalking = false;
	int r;

	r = sonde_table_new(columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(metrics); i++) {
		const json_t *row = json_array_get(metrics, i);
		const char *name = json_string_value(json_object_get(row, "metric"));

		if (only && (!name || strcmp(name, only) != 0))
			continue;
		skywalking = skywalking || (name && strncmp(name, "sonde_", 6) != 0);
		sonde_cell_text(t, row, "metric");
		sonde_cell_text(t, row, "edge");
		sonde_cell_text(t, row, "client");
		sonde_cell_text(t, row, "server");
		sonde_cell_text(t, row, "side");
		cell_labels(t, json_object_get(row, "labels"));
		cell_number(t, json_object_get(row, "value"));
		sonde_cell_text(t, row, "unit");
	}
	if (sonde_table_rows(t) == 0)
		sonde_cli_note(cli, "no metric%s",
			       only ? " of that name on that edge" : " has been counted yet");
	if (skywalking)
		sonde_cli_note(cli,
			       "process_relation_* is SkyWalking's set: of all ports together, "
			       "rates over minutes of the clock, percentiles of few buckets; "
			       "sonde_net_* is Sonde's own, over the task");
	return sonde_view_table(cli, t);
}

static int print_series(struct sonde_cli *cli, const json_t *answer)
{
	static const struct sonde_column columns[] = {{"AT", false, false},
						      {"EDGE", false, true},
						      {"SIDE", false, false},
						      {"LABELS", false, true},
						      {"VALUE", true, false},
						      {"UNIT", false, false},
						      {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *series = json_object_get(answer, "series");
	int r;

	r = sonde_table_new(columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(series); i++) {
		const json_t *one = json_array_get(series, i);
		const json_t *points = json_object_get(one, "points");

		for (size_t p = 0; p < json_array_size(points); p++) {
			const json_t *point = json_array_get(points, p);
			json_t *row = json_pack("{s:O?}", "at", json_array_get(point, 0));

			sonde_cell_time(t, cli, row, "at");
			json_decref(row);
			sonde_cell_text(t, one, "edge");
			sonde_cell_text(t, one, "side");
			cell_labels(t, json_object_get(one, "labels"));
			cell_number(t, json_array_get(point, 1));
			sonde_cell_text(t, answer, "unit");
		}
	}
	return sonde_view_table(cli, t);
}

static int metrics_path(struct sonde_cli *cli, struct sonde_buf *path)
{
	const char *edge = cli->n_operands > 1 ? cli->operands[1] : NULL;
	const char *step = sonde_cli_flag(cli, "step");
	int r;

	r = sonde_cli_task_path(cli->operands[0], step ? "/series" : "/metrics", path);
	if (r == 0)
		r = sonde_cli_add_parameter(path, "metric", sonde_cli_flag(cli, "metric"));
	if (r == 0)
		r = sonde_cli_add_parameter(path, "edge", edge);
	if (r == 0)
		r = sonde_cli_add_parameter(path, "step", step);
	return r;
}

/* Names of a row's @key, each once: "e1, e2". */
static int add_name(struct sonde_buf *names, json_t *seen, const char *name)
{
	if (!name || json_object_get(seen, name))
		return 0;
	if (json_object_set_new(seen, name, json_true()) < 0)
		return -ENOMEM;
	return sonde_buf_printf(names, "%s%.200s", names->len > 0 ? ", " : "", name);
}

static int list_names(const json_t *rows, const char *key, struct sonde_buf *names)
{
	json_t *seen = json_object();
	int r = seen ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(rows); i++)
		r = add_name(names, seen,
			     json_string_value(json_object_get(json_array_get(rows, i), key)));
	json_decref(seen);
	/* a list that is too long ends early */
	return r == -EMSGSIZE ? 0 : r;
}

static bool has_name(const json_t *rows, const char *key, const char *name)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *s = json_string_value(json_object_get(json_array_get(rows, i), key));

		if (s && strcmp(s, name) == 0)
			return true;
	}
	return false;
}

/* Not found, in words that name what there is. */
static int fail_unknown(struct sonde_cli *cli, const char *what, const char *name,
			const json_t *rows, const char *key)
{
	_cleanup_buf_ struct sonde_buf names = SONDE_BUF_INIT(2048);
	int r = list_names(rows, key, &names);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	if (names.len == 0)
		return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
				      "no %s '%.200s': the task has none at all", what, name);
	return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND, "no %s '%.200s' in this task; it has: %s",
			      what, name, sonde_buf_str(&names));
}

/*
 * An answer without a row that was asked for: is there such an edge, such a metric? A counter of 0 is
 * not sent, so what is not there may still be a metric of Sonde's.
 */
static int check_known(struct sonde_cli *cli, const char *edge, const char *metric)
{
	_cleanup_answer_ struct sonde_rest_answer topology = SONDE_REST_ANSWER_INIT;
	_cleanup_answer_ struct sonde_rest_answer metrics = SONDE_REST_ANSWER_INIT;
	const json_t *edges, *rows;
	int status;

	status = sonde_cli_get_task(cli, cli->operands[0], "/topology", &topology);
	if (status == 0)
		status = sonde_cli_get_task(cli, cli->operands[0], "/metrics", &metrics);
	if (status != 0)
		return status;
	edges = json_object_get(topology.json, "edges");
	rows = json_object_get(metrics.json, "metrics");
	/* a metric without a port has an edge of its own, which the topology does not list */
	if (edge && !has_name(edges, "id", edge) && !has_name(rows, "edge", edge))
		return fail_unknown(cli, "edge", edge, edges, "id");
	if (metric && !has_name(rows, "metric", metric))
		return fail_unknown(cli, "metric", metric, rows, "metric");
	return 0;
}

static bool is_empty(const json_t *answer, const char *metric)
{
	const json_t *metrics = json_object_get(answer, "metrics");

	if (metrics && metric)
		return !has_name(metrics, "metric", metric);
	return json_array_size(metrics ? metrics : json_object_get(answer, "series")) == 0;
}

int sonde_cli_metrics(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(8192);
	const char *edge = cli->n_operands > 1 ? cli->operands[1] : NULL;
	const char *metric = sonde_cli_flag(cli, "metric");
	const char *step = sonde_cli_flag(cli, "step");
	int r;

	if (step && strcmp(step, "10s") != 0 && strcmp(step, "1m") != 0 && strcmp(step, "1h") != 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--step: expected 10s, 1m or 1h, got '%.64s'", step);
	if (step && !metric)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--step: expected --metric with it");
	r = metrics_path(cli, &path);
	if (r < 0)
		return sonde_cli_no_task_path(cli, cli->operands[0], r);
	r = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (r == 0 && (edge || metric) && is_empty(answer.json, metric))
		r = check_known(cli, edge, metric);
	if (r != 0)
		return r;
	/* the points are of one metric, which -o name has from the answer itself */
	if (step && cli->settings->output != SONDE_CLI_FORM_NAME)
		cli->items = "series";
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return step ? print_series(cli, answer.json)
		    : print_totals(cli, json_object_get(answer.json, "metrics"));
}
