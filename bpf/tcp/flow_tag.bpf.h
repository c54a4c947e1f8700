/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* What a tag keeps for its flow record alone. Nothing of it is done while no task wants flows. */

bool sonde_flows_wanted; /* set by user space */
/* Bit = value of enum skb_drop_reason whose class is loss, as the running kernel numbers them. */
const volatile __u64 sonde_loss_reasons[SONDE_TCP_LOSS_REASON_WORDS];

#define EXTREME_RETRIES 4

/* A snapshot and the socket's own softirq may both have a sample. 0 is none yet. */
static __always_inline void keep_extreme(__u32 *extreme, __u32 us, bool largest)
{
	__u32 old = *(volatile __u32 *)extreme, seen;
	int i;

	for (i = 0; i < EXTREME_RETRIES; i++) {
		if (old && (largest ? us <= old : us >= old))
			return;
		seen = __sync_val_compare_and_swap(extreme, old, us);
		if (seen == old)
			return;
		old = seen;
	}
}

static __always_inline void flow_rtt(struct sonde_tag *tag, __u32 us)
{
	if (!sonde_flows_wanted)
		return;
	__sync_fetch_and_add(&tag->rtt_count, 1);
	__sync_fetch_and_add(&tag->rtt_sum_us, us);
	keep_extreme(&tag->rtt_min_us, us, false);
	keep_extreme(&tag->rtt_max_us, us, true);
}

static __always_inline void flow_drop(struct sonde_tag *tag, __u32 reason)
{
	__u32 word = reason / 64;

	if (!sonde_flows_wanted || word >= SONDE_TCP_LOSS_REASON_WORDS)
		return;
	if (sonde_loss_reasons[word] & 1ULL << reason % 64)
		__sync_fetch_and_add(&tag->drops, 1);
}

static __always_inline void flow_closed(struct sonde_tag *tag)
{
	if (sonde_flows_wanted)
		tag->end_ns = bpf_ktime_get_ns();
}
