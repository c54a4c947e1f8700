/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The command line of `sonde` taken apart by the tables of commands.c. */

#include "ctl/cli.h"

/*
 * Fills command, given and operands of @cli. Flags may stand before, between and behind operands;
 * "--" ends them. Return: 0, or an exit status (the fault is on cli->err). cli->command stays NULL
 * when only --help was asked for.
 */
int sonde_cli_parse(struct sonde_cli *cli, int argc, char *const *argv);

/* Not for people: neither help nor completion names it. */
static inline bool sonde_cli_is_hidden(const struct sonde_cli_command *command)
{
	return command->name[0] == '_';
}

/* --help of @command; NULL = of sonde. */
void sonde_cli_help(const struct sonde_cli_command *command, FILE *out);
