/* SPDX-License-Identifier: Apache-2.0 */
/* sonde topology, sonde loss */
#include "ctl/fetch.h"
#include "ctl/graph.h"
#include "ctl/view.h"
#include "ctl/wait.h"

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

static int print_topology(struct sonde_cli *cli, const json_t *topology)
{
	int status = sonde_view_edges(cli, topology);

	if (status == SONDE_CLI_OK)
		status = sonde_view_verdicts(cli, topology);
	return status == SONDE_CLI_OK ? sonde_view_dashes(cli, topology) : status;
}

int sonde_cli_topology(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	int status;

	status = sonde_cli_get_task(cli, cli->operands[0], "/topology", &answer);
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
			sonde_view_no_edge(cli);
		break;
	case SONDE_CLI_TABLE:
	case SONDE_CLI_WIDE:
		status = print_topology(cli, answer.json);
		break;
	}
	return status == SONDE_CLI_OK ? tell_task(cli, answer.json) : status;
}

static int print_ledger(struct sonde_cli *cli, const json_t *ledger, const json_t *task)
{
	int status;

	status = sonde_view_ledger(cli, ledger, task);
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
