/* SPDX-License-Identifier: Apache-2.0 */
/* sonde agents list, get, top */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/agent.h"
#include "ctl/fetch.h"
#include "ctl/output.h"
#include "ctl/units.h"
#include "ctl/view.h"

static void cell_connected(struct sonde_table *t, const json_t *row)
{
	bool connected = json_is_true(json_object_get(row, "connected"));

	sonde_table_add_styled(t, connected ? SONDE_STYLE_GREEN : SONDE_STYLE_RED,
			       connected ? "connected" : "gone");
}

static void agent_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "agent_id");
	sonde_cell_text(t, row, "host");
	sonde_cell_text(t, row, "version");
	cell_connected(t, row);
	sonde_cell_count(t, row, "processes");
	sonde_cell_time(t, cli, row, "last_seen");
	if (json_is_true(json_object_get(row, "replaced")))
		sonde_table_add(t, "a later agent of its host is there");
	else
		sonde_cell_text(t, row, "problem");
	sonde_cell_text(t, row, "delivery");
}

static int print_agents(struct sonde_cli *cli, const json_t *agents)
{
	static const struct sonde_column columns[] = {
		{"AGENT", false, true},	  {"HOST", false, true},      {"VERSION", false, false},
		{"STATE", false, false},  {"PROCESSES", true, false}, {"LAST SEEN", false, false},
		{"PROBLEM", false, true}, {"DELIVERY", .wide = true}, {NULL}};

	return sonde_view_rows(cli, columns, agents, agent_cells);
}

int sonde_cli_agents_list(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	int status;

	status = sonde_cli_request(cli, "/api/v1/agents", NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return print_agents(cli, json_object_get(answer.json, "agents"));
}

/* --- one --- */

int sonde_cli_agents_get(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const json_t *row;
	int status;

	status = sonde_cli_find_agent(cli, cli->operands[0], &answer, &row);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_value(cli, row);
	sonde_view_line_of(cli, row, "agent", "agent_id");
	sonde_view_line_of(cli, row, "host", "host");
	sonde_view_line_of(cli, row, "version", "version");
	sonde_view_line(cli, "state",
			json_is_true(json_object_get(row, "connected")) ? "connected" : "gone");
	sonde_view_line_time(cli, row, "last seen", "last_seen");
	(void)fprintf(cli->out, "%-10s %" JSON_INTEGER_FORMAT "\n", "processes",
		      json_integer_value(json_object_get(row, "processes")));
	if (json_is_true(json_object_get(row, "replaced")))
		sonde_view_line(cli, "replaced", "a later agent of its host is there");
	sonde_view_line_of(cli, row, "problem", "problem");
	sonde_view_line_of(cli, row, "delivery", "delivery");
	return SONDE_CLI_OK;
}

/* --- top --- */

/* Of one agent in one task, since it began there: share of one core. NULL = not known. */
static json_t *percent(const json_t *cost, const char *a, const char *b, int64_t elapsed_ms)
{
	double ns = json_number_value(json_object_get(cost, a));

	if (b)
		ns += json_number_value(json_object_get(cost, b));
	/* two digits are all that is true of it */
	return elapsed_ms > 0 ? json_real((double)(int64_t)(ns / ((double)elapsed_ms * 1e2)) / 100)
			      : json_null();
}

static int64_t elapsed_ms(const json_t *agent)
{
	const char *start = json_string_value(json_object_get(agent, "started"));
	const char *last = json_string_value(json_object_get(agent, "last_report"));
	int64_t start_ms, last_ms;

	if (!start || !last || sonde_time_parse(start, &start_ms) < 0 ||
	    sonde_time_parse(last, &last_ms) < 0)
		return 0;
	return last_ms - start_ms;
}

/* What @task tells of the agent in @row. A cost is that of the whole agent: the task that told last is as good as all. */
static int add_task(json_t *row, const json_t *agent)
{
	const json_t *cost = json_object_get(agent, "cost"), *told = json_object_get(row, "at");
	const char *last = json_string_value(json_object_get(agent, "last_report"));
	const char *before = json_string_value(told);
	int64_t ms = elapsed_ms(agent);
	json_int_t memory;

	if (json_object_set_new(
		    row, "tasks",
		    json_integer(json_integer_value(json_object_get(row, "tasks")) + 1)) < 0)
		return -ENOMEM;
	if (!json_is_object(cost) || !last || (before && strcmp(before, last) >= 0))
		return 0;
	memory = sonde_view_add(json_integer_value(json_object_get(cost, "agent_rss_anon_bytes")),
				json_integer_value(json_object_get(cost, "probe_rss_anon_bytes")));
	if (json_object_set_new(row, "cpu_percent",
				percent(cost, "agent_cpu_ns", "probe_cpu_ns", ms)) < 0 ||
	    json_object_set_new(row, "kernel_percent",
				percent(cost, "bpf_estimated_ns", NULL, ms)) < 0 ||
	    json_object_set_new(row, "memory_bytes", json_integer(memory)) < 0 ||
	    json_object_set(row, "map_bytes", json_object_get(cost, "map_bytes")) < 0 ||
	    json_object_set_new(row, "at", json_string(last)) < 0)
		return -ENOMEM;
	return 0;
}

static json_t *find_row(const json_t *rows, const char *id)
{
	for (size_t i = 0; id && i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		const char *one = json_string_value(json_object_get(row, "agent_id"));

		if (one && strcmp(one, id) == 0)
			return row;
	}
	return NULL;
}

static int add_agents_of(const json_t *task, json_t *rows)
{
	const json_t *agents = json_object_get(task, "agents");
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(agents); i++) {
		const json_t *agent = json_array_get(agents, i);
		json_t *row = find_row(rows, json_string_value(json_object_get(agent, "agent_id")));

		if (row && !json_is_true(json_object_get(agent, "ended")))
			r = add_task(row, agent);
	}
	return r;
}

/* A row for each agent that is connected. */
static json_t *begin_rows(const json_t *agents)
{
	json_t *rows = json_array();

	for (size_t i = 0; rows && i < json_array_size(agents); i++) {
		const json_t *a = json_array_get(agents, i);

		if (!json_is_true(json_object_get(a, "connected")))
			continue;
		if (json_array_append_new(rows,
					  json_pack("{s:O?, s:O?, s:i, s:n, s:n, s:n, s:n, s:n}",
						    "agent_id", json_object_get(a, "agent_id"),
						    "host", json_object_get(a, "host"), "tasks", 0,
						    "cpu_percent", "kernel_percent", "memory_bytes",
						    "map_bytes", "at")) < 0) {
			json_decref(rows);
			return NULL;
		}
	}
	return rows;
}

static void cell_percent(struct sonde_table *t, const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);
	char text[SONDE_UNIT_MAX + 1], raw[SONDE_UNIT_MAX];

	if (!json_is_number(value)) {
		sonde_table_add(t, NULL);
		return;
	}
	(void)snprintf(raw, sizeof(raw), "%.2f", json_number_value(value));
	(void)snprintf(text, sizeof(text), "%s%%", raw);
	sonde_table_add_raw(t, SONDE_STYLE_NONE, text, raw);
}

static void top_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "agent_id");
	sonde_cell_text(t, row, "host");
	sonde_cell_count(t, row, "tasks");
	cell_percent(t, row, "cpu_percent");
	cell_percent(t, row, "kernel_percent");
	sonde_cell_bytes(t, row, "memory_bytes");
	sonde_cell_bytes(t, row, "map_bytes");
	sonde_cell_time(t, cli, row, "at");
}

static int print_top(struct sonde_cli *cli, const json_t *rows)
{
	static const struct sonde_column columns[] = {{"AGENT", false, true},
						      {"HOST", false, true},
						      {"TASKS", true, false},
						      {"CPU", true, .unit = "percent"},
						      {"KERNEL", true, .unit = "percent"},
						      {"MEMORY", true, .unit = "bytes"},
						      {"MAPS", true, .unit = "bytes"},
						      {"AT", false, false},
						      {NULL}};

	if (json_array_size(rows) == 0)
		sonde_cli_note(cli, "no agent is connected");
	return sonde_view_rows(cli, columns, rows, top_cells);
}

/* What agents take for the tasks that run now; an idle one has attached nothing and tells no cost. */
int sonde_cli_agents_top(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer agents = SONDE_REST_ANSWER_INIT;
	_cleanup_answer_ struct sonde_rest_answer tasks = SONDE_REST_ANSWER_INIT;
	json_auto_t *all = NULL, *rows = NULL;
	const json_t *list;
	int status;

	status = sonde_cli_request(cli, "/api/v1/agents", NULL, &agents);
	if (status == 0)
		status = sonde_cli_request(cli, "/api/v1/tasks?state=running&limit=1000", NULL,
					   &tasks);
	if (status != 0)
		return status;
	rows = begin_rows(json_object_get(agents.json, "agents"));
	all = rows ? json_pack("{s:O}", "agents", rows) : NULL;
	if (!all)
		return sonde_cli_broken(cli, -ENOMEM);
	list = json_object_get(tasks.json, "tasks");
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (add_agents_of(json_array_get(list, i), rows) < 0)
			return sonde_cli_broken(cli, -ENOMEM);
	}
	return sonde_cli_output(cli) == SONDE_CLI_JSON ? sonde_cli_print_value(cli, all)
						       : print_top(cli, rows);
}
