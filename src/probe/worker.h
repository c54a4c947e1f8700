/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Worker: the process that loads BPF and reads privileged /proc. It takes
 * fixed-size requests from the agent and answers them in order, until the
 * socket ends or a message is not as it must be. Its exit detaches everything:
 * nothing is pinned. One thread, no child.
 */

#include <stdint.h>
#include <sys/types.h>

/* Exit statuses of sonde-probe. */
#define SONDE_PROBE_EXIT_OK 0	  /* the agent closed its end */
#define SONDE_PROBE_EXIT_FAILED 1 /* something of the system; the keeper forks another worker */
#define SONDE_PROBE_EXIT_USAGE 2  /* arguments, or a policy file that is refused */
#define SONDE_PROBE_EXIT_PROTOCOL                                                                  \
	3 /* a message that the agent never sends: who holds the socket is not trusted further */
#define SONDE_PROBE_EXIT_GAVE_UP 4 /* the keeper: too many deaths */

struct sonde_collector;

struct sonde_worker_config {
	const struct sonde_collector *const *collectors; /* NULL-ended */
	int socket;
	int proc_fd;
	int ids_fd;	    /* of sonde_bpf_ids_open(), -1 = none */
	int netfilter_fd;   /* NETLINK_NETFILTER, -1 = none */
	const char *policy; /* NULL = SONDE_POLICY_FILE */
	/* Of the policy, filled in by sonde_worker_run(); sonde_worker_loop() wants them. Borrowed. */
	const char *btf_own, *btf_external;
	uint32_t restarts;
	pid_t keeper_pid;
};

/* Runs to the end of the worker's life; copies @given, borrows what it points to. Returns the exit status. */
int sonde_worker_run(const struct sonde_worker_config *given);

/* The part behind the filter: HELLO, then requests. @policy is borrowed. For tests, which have no capabilities to give up. */
struct sonde_serve;
int sonde_worker_loop(const struct sonde_worker_config *config, struct sonde_serve *serve);
