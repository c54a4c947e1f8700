/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Flow tell: the flows of one snapshot on their way to the sink, several to a
 * record; the open ones beyond what is asked for, and whatever the kernel side
 * summed itself, become sums per (process, protocol, role). One snapshot's, on
 * the stack of who makes it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "collect/collector.h"

struct sonde_flow_tell {
	struct sonde_collect_sink sink;
	struct sonde_probe_reply reply;
	struct sonde_probe_flow_rest *rests; /* owned */
	size_t n_rests;
};

#define SONDE_FLOW_TELL_INIT(to)                                                                   \
	((struct sonde_flow_tell){.sink = (to), .reply = {.type = SONDE_PROBE_FLOW}})
void sonde_flow_tell_done(struct sonde_flow_tell *t);

/* One by one. Return: 0, -errno of the sink. */
int sonde_flow_tell_one(struct sonde_flow_tell *t, const struct sonde_flow *flow) _must_check_;

/* In a sum. Return: 0, -ENOMEM. */
int sonde_flow_tell_sum(struct sonde_flow_tell *t, const struct sonde_flow_rest_key *key,
			const struct sonde_flow_rest *rest) _must_check_;

/*
 * Open flows: the largest as many as the sink asks for one by one, the others in sums. @at: the flow of a
 * number out of @order, of which there are @n; reorders them. Return: as the two above.
 */
int sonde_flow_tell_open(struct sonde_flow_tell *t,
			 const struct sonde_flow *(*at)(const void *ctx, uint32_t i),
			 const void *ctx, uint32_t *order, size_t n) _must_check_;

/* What is still held back, and the sums. Return: 0, -errno of the sink. */
int sonde_flow_tell_end(struct sonde_flow_tell *t) _must_check_;
