/* SPDX-License-Identifier: Apache-2.0 */
/* sonde topology, sonde loss */
#include "ctl/fetch.h"
#include "ctl/graph.h"
#include "ctl/task-time.h"
#include "ctl/view.h"
#include "ctl/wait.h"

#define TOPOLOGY_PATH_MAX 4096

static int print_graph(struct sonde_cli *cli, const json_t *topology, bool dot)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	int r;

	r = sonde_graph_new(topology, &graph);
	if (r == 0)
		r = dot ? sonde_graph_dot(graph, cli->out) : sonde_graph_mermaid(graph, cli->out);
	return r < 0 ? sonde_cli_broken(cli, r) : SONDE_CLI_OK;
}

/* Without an edge there is nothing to read: what became of the task is the answer, and the exit status. */
static int tell_task(struct sonde_cli *cli, const json_t *topology)
{
	_cleanup_answer_ struct sonde_rest_answer task = SONDE_REST_ANSWER_INIT;
	int status;

	if (json_array_size(json_object_get(topology, "edges")) > 0)
		return SONDE_CLI_OK;
	status = sonde_cli_get_task(cli, cli->operands[0], "", &task);
	return status == SONDE_CLI_OK ? sonde_wait_verdict(cli, task.json) : status;
}

/* "+ 31 more edges (1.1 % of bytes)": part of the answer, so on stdout. */
static void print_more(struct sonde_cli *cli, const json_t *topology)
{
	char words[SONDE_GRAPH_LABEL_MAX];

	if (!cli->headers || !sonde_graph_more(topology, words))
		return;
	sonde_view_text(cli, words);
	(void)fputc('\n', cli->out);
}

static int print_topology(struct sonde_cli *cli, const json_t *topology)
{
	int status;

	sonde_view_window(cli, topology);
	status = sonde_view_edges(cli, topology);
	if (status == SONDE_CLI_OK) {
		print_more(cli, topology);
		status = sonde_view_verdicts(cli, topology);
	}
	return status == SONDE_CLI_OK ? sonde_view_dashes(cli, topology) : status;
}

static int get_topology(struct sonde_cli *cli, struct sonde_rest_answer *ret)
{
	static const char *const flags[][2] = {
		{"by", "by"}, {"metric", "metric"}, {"top", "top"}, {"hide-below", "hide_below"}};
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(TOPOLOGY_PATH_MAX);
	int status, r;

	r = sonde_cli_task_path(cli->operands[0], "/topology", &path);
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(flags); i++)
		r = sonde_cli_add_parameter(&path, flags[i][1], sonde_cli_flag(cli, flags[i][0]));
	if (r < 0)
		return sonde_cli_no_task_path(cli, cli->operands[0], r);
	status = sonde_cli_add_task_window(cli, &path);
	return status == 0 ? sonde_cli_request(cli, sonde_buf_str(&path), NULL, ret) : status;
}

int sonde_cli_topology(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	int status;

	status = get_topology(cli, &answer);
	if (status != 0)
		return status;
	switch (sonde_cli_output(cli)) {
	case SONDE_CLI_JSON:
		return sonde_cli_print_json(cli, &answer);
	case SONDE_CLI_DOT:
	case SONDE_CLI_MERMAID:
		status = print_graph(cli, answer.json, sonde_cli_output(cli) == SONDE_CLI_DOT);
		if (status == SONDE_CLI_OK &&
		    json_array_size(json_object_get(answer.json, "edges")) == 0)
			sonde_view_no_edge(cli, answer.json);
		break;
	case SONDE_CLI_TABLE:
	case SONDE_CLI_WIDE:
		status = print_topology(cli, answer.json);
		break;
	}
	return status == SONDE_CLI_OK ? tell_task(cli, answer.json) : status;
}

static void agent_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	const json_t *one_in = json_object_get(row, "sampled_one_in");

	sonde_cell_text(t, row, "agent_id");
	sonde_cell_count(t, row, "hook_runs");
	sonde_cell_count(t, row, "lost");
	sonde_cell_count(t, row, "noted");
	if (json_is_integer(one_in))
		sonde_table_addf(t, "1/%" JSON_INTEGER_FORMAT, json_integer_value(one_in));
	else
		sonde_table_add(t, NULL);
	sonde_cell_count(t, row, "connections_summed");
	sonde_cell_count(t, row, "reports_received");
	sonde_cell_count(t, row, "reports_missing");
	sonde_cell_count(t, row, "reports_duplicate");
	sonde_cell_count(t, row, "reports_refused");
	sonde_cell_time(t, cli, row, "first_lost");
	sonde_cell_time(t, cli, row, "last_lost");
}

/* What each agent saw, told and lost. */
static int print_agents(struct sonde_cli *cli, const json_t *agents)
{
	static const struct sonde_column columns[] = {{"AGENT", false, true},
						      {"SEEN", true, false},
						      {"LOST", true, false},
						      {"NOTED", true, false},
						      {"SAMPLED", true, false},
						      {"CONNS SUMMED", true, false},
						      {"REPORTS", true, false},
						      {"MISSING", true, false},
						      {"DUPLICATES", true, false},
						      {"REFUSED", true, false},
						      {"FIRST LOST", false, false},
						      {"LAST LOST", false, false},
						      {NULL}};

	if (json_array_size(agents) == 0)
		return SONDE_CLI_OK;
	sonde_view_heading(cli, "Agents");
	return sonde_view_rows(cli, columns, agents, agent_cells);
}

static int print_ledger(struct sonde_cli *cli, const json_t *ledger, const json_t *task)
{
	int status;

	status = sonde_view_ledger(cli, ledger, task);
	if (status == 0)
		status = print_agents(cli, json_object_get(ledger, "agents"));
	if (status == 0)
		status = sonde_view_cost(cli, task);
	if (status == 0)
		status = sonde_view_idle_proof(cli, task);
	return status;
}

int sonde_cli_loss(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_answer_ struct sonde_rest_answer task = SONDE_REST_ANSWER_INIT;
	int status;

	status = sonde_wait_check_flag(cli);
	if (status == 0)
		status = sonde_cli_get_task(cli, cli->operands[0], "/ledger", &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON) {
		status = sonde_cli_print_json(cli, &answer);
	} else {
		/* whether it ever ran */
		status = sonde_cli_get_task(cli, cli->operands[0], "", &task);
		if (status == 0)
			status = print_ledger(cli, answer.json, task.json);
	}
	return status == 0 ? sonde_wait_check_loss(cli, answer.json) : status;
}
