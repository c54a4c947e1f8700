/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent that a person means. */

#include "ctl/cli.h"
#include "ctl/rest.h"

/*
 * By its whole id, its beginning, or its host; NULL = the one that is connected. Of a host's agents of before and the
 * connected one, that. @answer is that of GET /agents, and @ret_row borrowed from it.
 * Return: 0, or an exit status (told): SONDE_CLI_NOT_FOUND, SONDE_CLI_USAGE where several are meant.
 */
int sonde_cli_find_agent(struct sonde_cli *cli, const char *wanted,
			 struct sonde_rest_answer *answer, const json_t **ret_row) _must_check_;
