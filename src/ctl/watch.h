/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Watch: -w of a command that prints a list. It is run again every --every: on a terminal drawn over, else printed again
 * whenever it has changed. SIGINT and SIGTERM end it as they end any command.
 */

#include "ctl/cli.h"

/* The flags, for a row of commands.c. */
#define SONDE_WATCH_FLAGS                                                                          \
	{"watch", 'w', NULL, "print it again whenever it changes, until Ctrl-C"},                  \
	{                                                                                          \
		"every", 0, "TIME", "how often -w looks, 500ms to 1m (default 2s)"                 \
	}

/* Runs cli->command until it fails. A server that is away once it has answered is waited for. Returns an exit status. */
int sonde_cli_watch(struct sonde_cli *cli);

/* --every of the command, or its default. Return: 0, SONDE_CLI_USAGE (told). */
int sonde_cli_watch_every(struct sonde_cli *cli, uint64_t *ret_ns) _must_check_;
