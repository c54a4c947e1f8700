/* SPDX-License-Identifier: Apache-2.0 */
/* sonde doctor, and --dry-run of what makes a task */
#include <errno.h>
#include <string.h>

#include "ctl/agent.h"
#include "ctl/fetch.h"
#include "ctl/members.h"
#include "ctl/spec.h"
#include "ctl/view.h"

/* By a probe of its own, or by what is attached for other metrics: then the first one is spare already. */
static bool is_measured(const json_t *probes, const char *metrics)
{
	bool first = true;

	for (size_t i = 0; i < json_array_size(probes); i++) {
		const json_t *row = json_array_get(probes, i);
		const char *state = sonde_text_of(row, "state");

		if (strcmp(sonde_text_of(row, "metrics"), metrics) != 0)
			continue;
		if (strcmp(state, "chosen") == 0 || (first && strcmp(state, "spare") == 0))
			return true;
		first = false;
	}
	return false;
}

/* A metric that is no core one and has no probe: tasks run without it. Names the first, which is the answer "no". */
static int tell_unmeasured(struct sonde_cli *cli, const json_t *probes)
{
	for (size_t i = 0; i < json_array_size(probes); i++) {
		const char *metrics = sonde_text_of(json_array_get(probes, i), "metrics");

		if (!is_measured(probes, metrics))
			return sonde_cli_fail(cli, SONDE_CLI_NO, "no probe measures %s", metrics);
	}
	return SONDE_CLI_OK;
}

int sonde_cli_doctor(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer agents = SONDE_REST_ANSWER_INIT;
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	const json_t *row;
	int status, r;

	status =
		sonde_cli_find_agent(cli, cli->n_operands ? cli->operands[0] : NULL, &agents, &row);
	if (status != 0)
		return status;
	r = sonde_buf_printf(&path, "/api/v1/agents/");
	if (r == 0)
		r = sonde_rest_escape(sonde_text_of(row, "agent_id"), &path);
	if (r == 0)
		r = sonde_buf_printf(&path, "/doctor");
	if (r < 0)
		return sonde_cli_broken(cli, r);
	status = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		status = sonde_cli_print_json(cli, &answer);
	else
		status = sonde_view_plan(cli, answer.json, false);
	if (status != 0)
		return status;
	if (!json_is_true(json_object_get(answer.json, "ok")))
		return SONDE_CLI_UNSUPPORTED;
	return tell_unmeasured(cli, json_object_get(answer.json, "probes"));
}

/* One agent that takes the task is a start. */
static int verdict(const json_t *agents)
{
	int status = SONDE_CLI_REFUSED;

	for (size_t i = 0; i < json_array_size(agents); i++) {
		const json_t *row = json_array_get(agents, i);

		if (!*sonde_text_of(row, "refused"))
			return SONDE_CLI_OK;
		if (json_is_true(json_object_get(row, "answered")) &&
		    json_array_size(json_object_get(row, "probes")) > 0 &&
		    !json_is_true(json_object_get(row, "ok")))
			status = SONDE_CLI_UNSUPPORTED;
	}
	return status;
}

int sonde_cli_dry_run(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_free_ char *body = NULL;
	const json_t *agents;
	json_t *spec;
	int status;

	status = sonde_cli_build_spec(cli, &spec);
	if (status != 0)
		return status;
	body = json_dumps(spec, JSON_COMPACT);
	json_decref(spec);
	if (!body)
		return sonde_cli_broken(cli, -ENOMEM);
	status = sonde_cli_request(cli, "/api/v1/plan", body, &answer);
	if (status != 0)
		return status;
	agents = json_object_get(answer.json, "agents");
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		status = sonde_cli_print_json(cli, &answer);
	for (size_t i = 0;
	     i < json_array_size(agents) && status == 0 && sonde_cli_output(cli) != SONDE_CLI_JSON;
	     i++) {
		if (i > 0)
			(void)fputc('\n', cli->out);
		status = sonde_view_plan(cli, json_array_get(agents, i), true);
	}
	return status != 0 ? status : verdict(agents);
}
