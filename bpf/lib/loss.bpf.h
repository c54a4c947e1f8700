/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Loss ledger: one slot a site, one value a CPU. And the two words that every counter is written with. */

#ifndef SONDE_LOSS_SITES
#error "define SONDE_LOSS_SITES first"
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SONDE_LOSS_SITES);
	__type(key, __u32);
	__type(value, __u64);
} sonde_losses SEC(".maps");

static __always_inline void add(__u64 *sum, __u64 n)
{
	__sync_fetch_and_add(sum, n);
}

/*
 * SHARED functions are global: the verifier looks at each once, not on every path
 * that calls it, which halves the time to load. Their pointers may be NULL to it,
 * and they return numbers only.
 */
#define SHARED __noinline

SHARED int lose(__u32 site, __u64 n)
{
	__u64 *count = bpf_map_lookup_elem(&sonde_losses, &site);

	if (count)
		add(count, n); /* a softirq on this CPU may count at the same site */
	return 0;
}
