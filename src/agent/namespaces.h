/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Namespaces: what the kernel counted in the network namespaces of a task's
 * targets, and in the agent's own (the node's, where the agent runs in it), since
 * each came into the task. All sockets of a namespace together: beside the targets'
 * own numbers this says which part of them the targets are. Read behind the seeding
 * and behind each snapshot; what the kernel counts in between, at either end, is in one
 * of the two alone. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "host/net-counters.h"

#define SONDE_NAMESPACES_MAX 16	    /* of one task; what is beyond is counted */
#define SONDE_NAMESPACES_PIDS_MAX 8 /* that are named of one */

struct sonde_namespace {
	uint64_t id;
	bool host; /* the agent's own */
	bool gone; /* none of its processes was met at the last look: makes room for another */
	uint32_t pids[SONDE_NAMESPACES_PIDS_MAX]; /* targets in it, as of the last look */
	size_t n_pids;
	size_t n_targets; /* with those beyond */
	struct sonde_net_counters base;
	struct sonde_net_counters before; /* at the look before the last one */
	struct sonde_net_counters now;	  /* at the last look that could read them */
};

struct sonde_namespaces {
	struct sonde_namespace *list; /* owned, SONDE_NAMESPACES_MAX; NULL until the first look */
	size_t n;
	uint64_t beyond; /* namespaces that had no room, counted at each look */
	int error;	 /* why the last look could not read one; 0 = all were read */
};

void sonde_namespaces_done(struct sonde_namespaces *s);

/*
 * Reads all of them; one that is new counts from now. @own_pid: the agent. Of a namespace whose targets have all ended
 * the last numbers stay, as long as no other needs its room. Return: 0, -ENOMEM; what cannot be read is in @s->error.
 */
int sonde_namespaces_look(struct sonde_namespaces *s, int proc_fd, uint32_t own_pid,
			  const uint32_t *pids, size_t n) _must_check_;

/* Growth since @then; 0 where it is not known or went back, of which a report then says nothing. */
uint64_t sonde_namespace_growth(const struct sonde_net_counters *now,
				const struct sonde_net_counters *then, enum sonde_net_counter c);
