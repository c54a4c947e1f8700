/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How often a thread of process 1 left a CPU, as far as a tracing program is run there to see it. */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#define NR_CPUS_MAX 1024

__u64 seen[NR_CPUS_MAX]; /* a CPU each: no two programs write one */

/* The one that leaves is still current. */
SEC("tp_btf/sched_switch")
int process_1_left(__u64 *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();

	if (bpf_get_current_pid_tgid() >> 32 == 1 && cpu < NR_CPUS_MAX)
		seen[cpu]++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
