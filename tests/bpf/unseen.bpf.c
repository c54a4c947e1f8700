/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Turns of process 1 that no tracing program was run for. The switch to it happens while another is current, and is
 * seen; the switch away happens while it is current. A CPU that switches to it, or between others, without having been
 * seen to leave it, has left it unseen.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define CPUS_MAX 1024

/* The member alone: a pointer to the kernel's own brings half a megabyte of types with it. */
struct task_struct___of_process {
	pid_t tgid;
} __attribute__((preserve_access_index));

/* A CPU each: no two programs write one at once. */
__u64 unseen[CPUS_MAX];
__u8 in_process_1[CPUS_MAX];

SEC("tp_btf/sched_switch")
int BPF_PROG(sonde_switched, bool preempt, struct task_struct___of_process *prev,
	     struct task_struct___of_process *next)
{
	__u32 cpu = bpf_get_smp_processor_id();

	if (cpu >= CPUS_MAX)
		return 0;
	if (in_process_1[cpu] && prev->tgid != 1)
		unseen[cpu]++;
	in_process_1[cpu] = next->tgid == 1;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
