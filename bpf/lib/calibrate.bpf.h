/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Programs that only measure what ours cost; attached for some milliseconds at the start. */

/* What a hook costs by itself. */
SEC("tp_btf/task_rename")
int sonde_empty(void *ctx)
{
	return 0;
}

__u64 sonde_clock_ns;
__u64 sonde_clock_runs;

/* Likewise: what the clock adds to a timed run. */
SEC("tp_btf/task_rename")
int sonde_clock(void *ctx)
{
	__u64 since_ns = bpf_ktime_get_ns();

	add(&sonde_clock_ns, bpf_ktime_get_ns() - since_ns);
	add(&sonde_clock_runs, 1);
	return 0;
}
