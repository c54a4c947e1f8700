/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Following a task by the events of GET /tasks/{id}/events, across restarts of the server. */

#include <jansson.h>

#include "ctl/cli.h"
#include "ctl/signals.h"

struct sonde_events {
	struct sonde_cli *cli;
	const char *id;
	struct sonde_signals *signals; /* watched */
	uint64_t timeout_ns;	       /* 0 = none */
	/*
	 * The task as it is now (event "task"), or {"state"} (event "end", the last). Borrowed. Return: 0 = go on,
	 * else the follow ends with 0.
	 */
	int (*on_event)(void *ctx, const char *event, const json_t *data);
	void *ctx;
};

/* Return: 0 = the task has ended or on_event had enough; SONDE_CLI_SIGINT, SONDE_CLI_SIGTERM, SONDE_CLI_TIMEOUT, or what a request gave (told). */
int sonde_events_follow(const struct sonde_events *e) _must_check_;
