/* SPDX-License-Identifier: Apache-2.0 */
/* sonde doctor, and --dry-run of what makes a task */
#include <errno.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/spec.h"
#include "ctl/view.h"

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

/* By its whole id, its beginning, or its host. No @wanted: any that is connected. */
static bool is_wanted(const json_t *row, const char *wanted)
{
	const char *id = text_of(row, "agent_id");

	if (!wanted)
		return json_is_true(json_object_get(row, "connected"));
	return *wanted && (strncmp(id, wanted, strlen(wanted)) == 0 ||
			   strcmp(text_of(row, "host"), wanted) == 0);
}

/* A host's agents of before are listed too: the connected one is meant. */
static const json_t *pick(const json_t *agents, const char *wanted, size_t *ret_n)
{
	const json_t *live = NULL, *any = NULL;
	size_t n_live = 0, n_any = 0;

	for (size_t i = 0; i < json_array_size(agents); i++) {
		const json_t *row = json_array_get(agents, i);

		if (!is_wanted(row, wanted))
			continue;
		n_any++;
		any = row;
		if (!json_is_true(json_object_get(row, "connected")))
			continue;
		n_live++;
		live = row;
	}
	*ret_n = n_live ? n_live : n_any;
	return live ? live : any;
}

static int find_agent(struct sonde_cli *cli, const char *wanted, struct sonde_rest_answer *answer,
		      const char **ret_id)
{
	const json_t *row;
	size_t n;
	int status;

	status = sonde_cli_request(cli, "/api/v1/agents", NULL, answer);
	if (status != 0)
		return status;
	row = pick(json_object_get(answer->json, "agents"), wanted, &n);
	if (n == 0 && wanted)
		return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
				      "no agent '%.64s'; see sonde agents list", wanted);
	if (n == 0)
		return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND, "no agent is connected");
	if (n > 1)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "%zu agents are meant: name one by its id; see sonde agents "
				      "list",
				      n);
	*ret_id = text_of(row, "agent_id");
	return 0;
}

int sonde_cli_doctor(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer agents = SONDE_REST_ANSWER_INIT;
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	const char *id = "";
	int status, r;

	status = find_agent(cli, cli->n_operands ? cli->operands[0] : NULL, &agents, &id);
	if (status != 0)
		return status;
	r = sonde_buf_printf(&path, "/api/v1/agents/");
	if (r == 0)
		r = sonde_rest_escape(id, &path);
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
	return json_is_true(json_object_get(answer.json, "ok")) ? SONDE_CLI_OK
								: SONDE_CLI_UNSUPPORTED;
}

/* One agent that takes the task is a start. */
static int verdict(const json_t *agents)
{
	int status = SONDE_CLI_REFUSED;

	for (size_t i = 0; i < json_array_size(agents); i++) {
		const json_t *row = json_array_get(agents, i);

		if (!*text_of(row, "refused"))
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
