/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/agent.h"

#include <string.h>

#include "ctl/fetch.h"
#include "ctl/members.h"

/* By its whole id, its beginning, or its host. No @wanted: any that is connected. */
static bool is_wanted(const json_t *row, const char *wanted)
{
	const char *id = sonde_text_of(row, "agent_id");

	if (!wanted)
		return json_is_true(json_object_get(row, "connected"));
	return *wanted && (strncmp(id, wanted, strlen(wanted)) == 0 ||
			   strcmp(sonde_text_of(row, "host"), wanted) == 0);
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

int sonde_cli_find_agent(struct sonde_cli *cli, const char *wanted,
			 struct sonde_rest_answer *answer, const json_t **ret_row)
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
	*ret_row = row;
	return 0;
}
