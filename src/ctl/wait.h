/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Following a task until it has ended: `run` and `task wait`. */

#include "ctl/fetch.h"
#include "ctl/progress.h"
#include "ctl/signals.h"

struct sonde_wait {
	struct sonde_cli *cli;
	const char *id;
	const char *state;   /* wait for this state; NULL = any final one */
	bool first_data;     /* wait for the first report instead */
	uint64_t timeout_ns; /* 0 = none */
	bool live;	     /* fetch topology and ledger for the progress */
	struct sonde_signals *signals;
	struct sonde_progress progress;
	struct sonde_rest_answer
		task; /* as last seen; the answers start as SONDE_WAIT_ANSWERS_INIT */
	struct sonde_rest_answer topology; /* as last seen, for the progress; as task */
	struct sonde_rest_answer ledger;
	json_int_t received; /* reports, at the last look */
	unsigned int away;   /* looks in a row without an answer */
};

/*
 * Return: 0 = the state is reached, or the task has ended and all its reports are in;
 * SONDE_CLI_SIGINT, SONDE_CLI_SIGTERM (also by -EINTR), SONDE_CLI_TIMEOUT, or what a request gave.
 */
int sonde_wait_run(struct sonde_wait *w);

/* Has a report of it come? */
bool sonde_wait_has_data(const json_t *task);

/* Frees the answers. */
void sonde_wait_done(struct sonde_wait *w);
#define _cleanup_wait_ _cleanup_(sonde_wait_done)
#define SONDE_WAIT_ANSWERS_INIT                                                                    \
	.task = SONDE_REST_ANSWER_INIT, .topology = SONDE_REST_ANSWER_INIT,                        \
	.ledger = SONDE_REST_ANSWER_INIT

/* --timeout of the command; 0: none. Return: 0, SONDE_CLI_USAGE (told). */
int sonde_wait_read_timeout(struct sonde_cli *cli, uint64_t *ret_ns) _must_check_;

/* Exit status of a task that has ended: done and stopped 0, stopped by a limit 1, refused 4, expired 6, failed 8 or 9. */
int sonde_wait_verdict(struct sonde_cli *cli, const json_t *task);

/* --max-loss of the command against the ledger. Return: 0, SONDE_CLI_LOSS, SONDE_CLI_USAGE. */
int sonde_wait_check_loss(struct sonde_cli *cli, const json_t *ledger);
/* Is the flag's value well-formed? To be asked before anything is started. */
int sonde_wait_check_flag(struct sonde_cli *cli);
