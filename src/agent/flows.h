/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Flows: the connections of one task, from snapshot to report. Those that ended
 * since the last report wait here, the open ones are of the last snapshot; of
 * both only the largest are told one by one, within the limits below, and the
 * others are summed, so that what the server has adds up to the task's totals.
 * Numbers of connections that another task measured before count from this
 * task's start; but what the probe itself sums (open ones beyond those that it
 * tells, and ended ones that found no room) has in it what such connections had
 * before. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/services.h"
#include "agent/snapshot.h"
#include "agent/view.h"
#include "base/cleanup.h"
#include "model/peer.h"
#include "sonde/v1/flow.pb-c.h"

#define SONDE_FLOWS_OPEN_MAX 512   /* a report */
#define SONDE_FLOWS_ENDED_MAX 2048 /* a report */

struct sonde_flow_told;
struct sonde_flow_base;
struct sonde_flow_seen;

struct sonde_flows {
	bool wanted;
	struct sonde_flow *ended; /* owned; a heap, the smallest first */
	size_t n_ended, cap_ended;
	struct sonde_flow *open; /* owned; the largest first, by id behind a report */
	size_t n_open, cap_open;
	struct sonde_flow_told *told; /* owned; open ones that the server has, by id */
	size_t n_told;
	struct sonde_flow_base *base; /* owned; by id */
	size_t n_base;
	struct sonde_flow_seen
		*seen; /* owned; the probe's sums of ended ones at the last snapshot */
	size_t n_seen;
	struct sonde_flow_rest ended_rest; /* over the task */
	struct sonde_flow_rest open_rest;  /* of the last snapshot */
	struct sonde_services services;
	uint64_t told_services; /* their version */
};

void sonde_flows_done(struct sonde_flows *f);

/* The task begins, or begins anew with another worker of the probe: what the snapshot has is not its own. */
int sonde_flows_begin(struct sonde_flows *f, const struct sonde_snapshot *s) _must_check_;

/* @pid joins: its connections count from their state in this snapshot. Return: 0, -ENOMEM. */
int sonde_flows_join(struct sonde_flows *f, const struct sonde_snapshot *s,
		     uint32_t pid) _must_check_;

/* A snapshot was committed: takes what @v's pids have in it. Return: 0, -ENOMEM (some may be taken). */
int sonde_flows_take(struct sonde_flows *f, const struct sonde_snapshot *s,
		     const struct sonde_view *v) _must_check_;

/* What a report says of them beside their numbers. All borrowed. */
struct sonde_flows_moment {
	uint64_t mono_ns; /* of the snapshot */
	int64_t wall_ms;
	struct sonde_view_names names;
	const struct sonde_peer_table *peers; /* sealed; NULL: peers by the kernel's word alone */
	uint32_t signals;		      /* of the task; 0 = all */
	bool whole; /* an earlier report may be lost: tell every open one again */
};

struct sonde_flow_report;

/*
 * The message of a report, to be packed at once: it borrows from @f. @f then has no ended ones and
 * counts the open ones as told. *@ret_message points into *@ret. Return: 0, -ENOMEM.
 */
int sonde_flows_report(struct sonde_flows *f, const struct sonde_flows_moment *m,
		       struct sonde_flow_report **ret,
		       Sonde__V1__FlowReport **ret_message) _must_check_;
/* Behind the packing. NULL is fine. Returns NULL. */
struct sonde_flow_report *sonde_flow_report_free(struct sonde_flow_report *r);
SONDE_DEFINE_CLEANUP(struct sonde_flow_report *, sonde_flow_report_free)
