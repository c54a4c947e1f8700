/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Parts of `run` that `task attach` and `task watch` are made of. */

#include "ctl/cli.h"
#include "ctl/signals.h"

/* Follows a task to its end and prints its summary; --stop-on-exit is obeyed. Returns an exit status. */
int sonde_run_follow(struct sonde_cli *cli, const char *id, struct sonde_signals *signals);

/*
 * Prints each event of a task, as the form of -o asks: {"event":"task","task":{…}} and last {"event":"end","state":…}, or
 * a line for people. @timeout_ns: 0 = none. Returns as sonde_events_follow().
 */
int sonde_watch_events(struct sonde_cli *cli, const char *id, struct sonde_signals *signals,
		       uint64_t timeout_ns);
