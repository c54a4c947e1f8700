/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * View: what one task sees of the snapshots: the cells of its pids, each minus
 * its state when the pid joined, and from report to report the differences. Any
 * number of views over the same cells are each exact. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/snapshot.h"
#include "base/cleanup.h"
#include "export/edge.h"
#include "model/peer.h"

struct sonde_view {
	struct sonde_cell_state **last; /* what was reported up to; NULL = nothing */
	bool *as_joined; /* owned; by cell: @last is still its state when the pid joined */
	size_t n_last;
	uint32_t collectors; /* SONDE_PROBE_COLLECT_*: whose cells it sees; 0 = everybody's */
	uint32_t *pids;	     /* ascending */
	size_t n_pids;
};

void sonde_view_done(struct sonde_view *v);

/*
 * @pid's cells count from here. @since: from their state in this snapshot; NULL: from 0 (nothing of
 * this pid was counted before it joined). No-op when it is in already. Return: 0, -ENOMEM.
 */
int sonde_view_add(struct sonde_view *v, uint32_t pid,
		   const struct sonde_snapshot *since) _must_check_;
void sonde_view_remove(struct sonde_view *v, uint32_t pid);
bool sonde_view_has(const struct sonde_view *v, uint32_t pid);
/* The same, and @protocol (IPPROTO_*) is of a collector that the task asked for: another task may ask for more. */
bool sonde_view_sees(const struct sonde_view *v, uint32_t pid, uint32_t protocol);

/* Whether a difference has, or had, an edge for cell @i: it changed since its pid joined, or has open connections. */
bool sonde_view_counts(const struct sonde_view *v, const struct sonde_snapshot *s, size_t i);

/* The probe's worker began anew: cells count from 0 again. The pids stay. */
void sonde_view_rebase(struct sonde_view *v);

/*
 * The process of a pid, borrowed, or NULL while it has no id: then its cells wait, and come whole
 * with a later difference.
 */
struct sonde_view_names {
	struct sonde_process *(*process_of)(void *ctx, uint32_t pid);
	void *ctx;
};

/*
 * sonde_view_difference() - an edge for each of its cells that changed or has open connections
 * @ret_waiting: cells that wait for an id
 * Return: 0, -ENOMEM (then some cells may be taken and others not: what was taken is in @edges).
 */
int sonde_view_difference(struct sonde_view *v, const struct sonde_snapshot *s,
			  const struct sonde_peer_table *peers, struct sonde_view_names names,
			  struct sonde_edges *edges, size_t *ret_waiting) _must_check_;
