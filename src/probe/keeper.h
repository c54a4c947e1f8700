/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Keeper: keeps one worker alive. It holds the worker's end of the socket so
 * that the agent does not see an end of file while a new worker is made, and
 * never reads from it. Its capabilities are permitted, not effective; its
 * filter is the worker's and what forks and reaps. It dies with the agent
 * (PDEATHSIG) or ends when the worker met the end of file. After
 * SONDE_KEEPER_DEATHS_MAX deaths within SONDE_KEEPER_WINDOW_NS it gives up.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SONDE_KEEPER_DEATHS_MAX 5
#define SONDE_KEEPER_WINDOW_NS 60000000000ULL
#define SONDE_KEEPER_DELAY_MIN_NS 50000000ULL
#define SONDE_KEEPER_DELAY_MAX_NS 2000000000ULL

struct sonde_collector;

struct sonde_keeper_config {
	const struct sonde_collector *const *collectors; /* NULL-ended */
	int socket;					 /* to the agent */
	pid_t agent_pid;				 /* 0 = not checked */
	const char *policy;				 /* NULL = SONDE_POLICY_FILE */
	const char *state_dir;				 /* NULL = none */
};

/* Runs until the agent is gone or the worker is given up. Returns the exit status (probe/worker.h). */
int sonde_keeper_run(const struct sonde_keeper_config *config);

/* Deaths of the worker, as a ring of times. */
struct sonde_keeper_deaths {
	uint64_t at_ns[SONDE_KEEPER_DEATHS_MAX];
	uint32_t n; /* ever */
};

/* Notes a death. Return: false = the last SONDE_KEEPER_DEATHS_MAX were within the window: give up. *@ret_delay_ns: before the next fork. */
bool sonde_keeper_note_death(struct sonde_keeper_deaths *d, uint64_t now_ns,
			     uint64_t *ret_delay_ns);
