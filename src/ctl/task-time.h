/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Times within a task as people give them: RFC 3339, milliseconds since 1970, or "+10s" from the task's start. */

#include "ctl/cli.h"

struct sonde_buf;

/*
 * *@ret_ms: since 1970; 0 for "". @flag: its name, to blame. May ask the server for the task @id.
 * Return: 0 or an exit status (told).
 */
int sonde_cli_task_time(struct sonde_cli *cli, const char *id, const char *flag, const char *text,
			int64_t *ret_ms) _must_check_;

/* --since, --until and --step as parameters of @path, of the task that is the first operand. Return: 0 or an exit status. */
int sonde_cli_add_task_window(struct sonde_cli *cli, struct sonde_buf *path) _must_check_;

/* Those flags, in a command's table. */
#define SONDE_TASK_WINDOW_FLAGS                                                                    \
	{"since", 0, "TIME", "from then on: RFC 3339, or +10s from the task's start"},             \
		{"until", 0, "TIME", "before then, likewise"},                                     \
	{                                                                                          \
		"step", 0, "STEP", "buckets that the window is made of: 10s, 1m or 1h"             \
	}
