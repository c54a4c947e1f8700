/* SPDX-License-Identifier: Apache-2.0 */
/* sonde host: the kernel's own counters over a task's window, and which part of them the targets are */
#include <inttypes.h>

#include "ctl/fetch.h"
#include "ctl/members.h"
#include "ctl/view.h"

static const struct sonde_column explained_columns[] = {
	{"COUNTER", false, true}, {"NAMESPACES", true, false}, {"TARGETS", true, false}, {NULL}};

static const struct sonde_column columns[] = {{"NAMESPACE", false, true},
					      {"COUNTER", false, false},
					      {"TOTAL", true, false},
					      {"LAST INTERVAL", true, false},
					      {NULL}};

/* A number that cannot be had is not a number of 0; one that not all agents measured is a lower bound. */
static void note_absent(struct sonde_cli *cli, const json_t *row)
{
	const char *reason = json_string_value(json_object_get(row, "absent"));

	if (reason)
		sonde_cli_note(cli, "not measured of %s targets: %.64s: %.300s",
			       json_is_null(json_object_get(row, "targets")) ? "the" : "all",
			       sonde_text_of(row, "counter"), reason);
}

static int print_explained(struct sonde_cli *cli, const json_t *list)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int r = sonde_table_new(explained_columns, &t);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i);

		sonde_cell_text(t, row, "counter");
		sonde_cell_count(t, row, "namespaces");
		sonde_cell_count(t, row, "targets");
		note_absent(cli, row);
	}
	return sonde_view_table(cli, t);
}

/* "host", "host, 2 targets", "of pid 12, 13, 1 more" */
static void cell_namespace(struct sonde_table *t, const json_t *ns)
{
	const json_t *pids = json_object_get(ns, "pids");
	json_int_t targets = json_integer_value(json_object_get(ns, "targets"));
	char text[160];
	size_t at = 0;

	if (json_is_true(json_object_get(ns, "host"))) {
		if (targets > 0)
			sonde_table_addf(t, "host, %" JSON_INTEGER_FORMAT " targets", targets);
		else
			sonde_table_add(t, "host");
		return;
	}
	text[0] = '\0';
	for (size_t i = 0; i < json_array_size(pids) && i < 8 && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%" JSON_INTEGER_FORMAT,
				       i > 0 ? ", " : "of pid ",
				       json_integer_value(json_array_get(pids, i)));
	if (at == 0)
		sonde_table_add(t, "of targets that have ended");
	else if (targets > (json_int_t)json_array_size(pids))
		sonde_table_addf(t, "%s, %" JSON_INTEGER_FORMAT " more", text,
				 targets - (json_int_t)json_array_size(pids));
	else
		sonde_table_add(t, text);
}

static int print_namespaces(struct sonde_cli *cli, const json_t *list)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int r = sonde_table_new(columns, &t);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *ns = json_array_get(list, i);
		json_t *counter, *counters = json_object_get(ns, "counters");
		const char *name;

		json_object_foreach(counters, name, counter)
		{
			cell_namespace(t, ns);
			sonde_table_add(t, name);
			sonde_cell_count(t, counter, "total");
			sonde_cell_count(t, counter, "interval");
		}
	}
	return sonde_view_table(cli, t);
}

int sonde_cli_host(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const json_t *namespaces;
	int status;

	status = sonde_cli_get_task(cli, cli->operands[0], "/host", &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	namespaces = json_object_get(answer.json, "namespaces");
	if (json_array_size(namespaces) == 0) {
		sonde_cli_note(cli, "no counters: no agent has reported any");
		return SONDE_CLI_OK;
	}
	status = print_explained(cli, json_object_get(answer.json, "explained"));
	if (status != SONDE_CLI_OK)
		return status;
	(void)fputc('\n', cli->out);
	return print_namespaces(cli, namespaces);
}
