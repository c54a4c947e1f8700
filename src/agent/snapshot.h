/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Snapshot: the probe's cells as of the last snapshot. The state of a cell is
 * immutable once its snapshot is committed and counted by references, so that
 * a view keeps what it reported last at the cost of the cells that changed.
 * Loop thread only.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "export/edge.h"
#include "model/probe-msg.h"

#define SONDE_SNAPSHOT_CELLS_MAX (1U << 17)
#define SONDE_SNAPSHOT_DROPS_MAX 256 /* reasons of one cell */
#define SONDE_SNAPSHOT_PROGRAMS_MAX 64
#define SONDE_SNAPSHOT_PROCESSES_MAX 4096
#define SONDE_SNAPSHOT_FLOWS_MAX (1U << 16)
#define SONDE_SNAPSHOT_FLOW_RESTS_MAX 4096

struct sonde_cell_state {
	unsigned refs;
	bool fresh; /* made in the snapshot that is not yet committed */
	bool told; /* … with a CELL record, not for a drop alone: its gauges are of that snapshot */
	struct sonde_tcp_cell_key key;
	struct sonde_tcp_cell cell; /* all 0 of a UDP cell */
	struct sonde_udp_cell udp;  /* … of a TCP cell */
	struct sonde_tcp_calls calls;
	struct sonde_sparse_hist hists[_SONDE_PROBE_HIST_MAX];
	struct sonde_edge_drop *drops; /* cumulative */
	size_t n_drops;
};

struct sonde_cell_state *sonde_cell_state_ref(struct sonde_cell_state *s);
struct sonde_cell_state *sonde_cell_state_unref(struct sonde_cell_state *s);

struct sonde_snapshot {
	struct sonde_cell_state **cells; /* by sonde_snapshot_place(); NULL = not seen */
	size_t n_cells;
	struct sonde_probe_process *processes; /* as of the last committed snapshot */
	size_t n_processes;
	struct sonde_flow *flows; /* of this snapshot: those that ended, and open ones */
	size_t n_flows, cap_flows;
	struct sonde_probe_flow_rest *flow_rests; /* of this snapshot */
	size_t n_flow_rests;
	struct sonde_probe_cost costs[SONDE_SNAPSHOT_PROGRAMS_MAX];
	size_t n_costs;
	struct sonde_probe_loss loss;
	struct sonde_probe_udp_loss udp_loss;
	uint64_t epoch;	  /* the largest of the snapshot that is being read */
	uint64_t mono_ns; /* when the last one was committed */
	int64_t wall_ms;
	uint64_t refused; /* records that were out of range or did not fit */
};

/* Each collector numbers its own cells from 0: here they stand by turns. */
static inline size_t sonde_snapshot_place(uint8_t protocol, uint32_t index)
{
	return 2 * (size_t)index + (protocol == IPPROTO_UDP);
}

void sonde_snapshot_done(struct sonde_snapshot *s);
/* Nothing is attached any more: forgets everything but `refused`. */
void sonde_snapshot_reset(struct sonde_snapshot *s);

/* A new snapshot's records follow. */
void sonde_snapshot_begin(struct sonde_snapshot *s);
/* One record; others than those of a snapshot are ignored. Return: 0, -EINVAL (counted), -ENOMEM. */
int sonde_snapshot_record(struct sonde_snapshot *s, const struct sonde_probe_reply *reply);
/*
 * All came (or, after a failure, what came: every record is whole by itself). Gauges of cells that no
 * live socket was folded into become 0.
 */
void sonde_snapshot_commit(struct sonde_snapshot *s, uint64_t mono_ns, int64_t wall_ms);
