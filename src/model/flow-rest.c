/* SPDX-License-Identifier: Apache-2.0 */
#include "model/flow-rest.h"

#include <stdint.h>

struct sonde_flow_rest sonde_flow_rest_of(const struct sonde_flow *flow)
{
	return (struct sonde_flow_rest){
		.connections = 1,
		.sent_bytes = flow->sent_bytes,
		.received_bytes = flow->received_bytes,
		.segments_out = flow->segments_out,
		.segments_in = flow->segments_in,
		.retransmits = flow->retransmits,
		.drops = flow->drops,
		.rtt_count = flow->rtt_count,
		.rtt_sum_us = flow->rtt_sum_us,
	};
}

void sonde_flow_rest_add(struct sonde_flow_rest *to, const struct sonde_flow_rest *from)
{
	to->connections += from->connections;
	to->sent_bytes += from->sent_bytes;
	to->received_bytes += from->received_bytes;
	to->segments_out += from->segments_out;
	to->segments_in += from->segments_in;
	to->retransmits += from->retransmits;
	to->drops += from->drops;
	to->rtt_count += from->rtt_count;
	to->rtt_sum_us += from->rtt_sum_us;
}

static uint64_t grown(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

struct sonde_flow_rest sonde_flow_rest_growth(const struct sonde_flow_rest *now,
					      const struct sonde_flow_rest *then)
{
	return (struct sonde_flow_rest){
		.connections = grown(now->connections, then->connections),
		.sent_bytes = grown(now->sent_bytes, then->sent_bytes),
		.received_bytes = grown(now->received_bytes, then->received_bytes),
		.segments_out = grown(now->segments_out, then->segments_out),
		.segments_in = grown(now->segments_in, then->segments_in),
		.retransmits = grown(now->retransmits, then->retransmits),
		.drops = grown(now->drops, then->drops),
		.rtt_count = grown(now->rtt_count, then->rtt_count),
		.rtt_sum_us = grown(now->rtt_sum_us, then->rtt_sum_us),
	};
}
