/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the UDP collector's files share. Nobody outside this folder includes it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/udp/udp_private.h"
#include "collect/object.h"
#include "collect/table.h"

struct udp_bpf;

/* By index: what was told last. */
struct udp_told {
	struct sonde_udp_cell cell;
	uint32_t peer_pid;
};

struct udp_state {
	struct sonde_object object;
	struct udp_bpf *skel; /* owned */
	struct sonde_table cells;
	struct sonde_told told; /* struct udp_told */
};

/* plan.c */
const struct sonde_plan_table *udp_plan_table(void);

/* flows.c */
bool udp_flows_wanted(const struct udp_state *s);
/* Sizes and settings, before the load. */
int udp_flows_set_up(struct udp_state *s) _must_check_;
/* FLOW and FLOW_REST records. */
int udp_emit_flows(struct udp_state *s, struct sonde_collect_sink sink) _must_check_;

/* snapshot.c */
int udp_snapshot(void *state, struct sonde_collect_sink sink) _must_check_;
