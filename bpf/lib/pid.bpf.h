/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Thread group ids as the agent sees them: in the PID namespace whose inode
 * user space wrote into sonde_pidns_inum. bpf_get_ns_current_pid_tgid() only
 * answers for tasks that live in exactly that namespace; a container's process
 * lives deeper, so the number is read from the level that is ours.
 */

#define SONDE_PIDNS_LEVELS 32 /* MAX_PID_NS_LEVEL */
#define SONDE_PIDNS_INIT                                                                           \
	0xeffffffcU /* PROC_PID_INIT_INO: the initial namespace's, on every kernel */

const volatile __u32 sonde_pidns_inum = 0;

struct pid_walk {
	__u64 pid; /* struct pid */
	__u32 nr;
};

static int pid_at_level(__u32 level, struct pid_walk *walk)
{
	struct upid *upid = (void *)walk->pid + bpf_core_field_offset(struct pid, numbers) +
			    (__u64)level * bpf_core_type_size(struct upid);

	if (BPF_CORE_READ(upid, ns, ns.inum) != sonde_pidns_inum)
		return 0;
	walk->nr = BPF_CORE_READ(upid, nr);
	return 1;
}

/* @pid: a struct pid as a number, so that this can be a global function, verified once. */
__noinline __u32 pid_here(__u64 pid)
{
	struct pid_walk walk = {.pid = pid};
	__u32 levels;

	if (!pid)
		return 0;
	levels = BPF_CORE_READ((struct pid *)pid, level) + 1;
	if (levels > SONDE_PIDNS_LEVELS + 1)
		return 0;
#ifdef SONDE_WITHOUT_LOOP /* bpf_loop() came with 5.17 */
	for (__u32 i = 0; i <= SONDE_PIDNS_LEVELS && i < levels && !walk.nr; i++)
		pid_at_level(i, &walk);
#else
	bpf_loop(levels, pid_at_level, &walk, 0);
#endif
	return walk.nr;
}

/*
 * 0: the task is not visible from our namespace. Read by address: for each pointer
 * that a program follows by type the verifier looks through the kernel's whole BTF
 * four times, which took a third of the time to load.
 */
static __always_inline __u32 task_pid(struct task_struct *task)
{
	return pid_here((__u64)BPF_CORE_READ(task, group_leader, thread_pid));
}

static __always_inline __u32 current_pid(void)
{
	if (sonde_pidns_inum == SONDE_PIDNS_INIT)
		return bpf_get_current_pid_tgid() >> 32;
#ifdef SONDE_WITHOUT_LOOP /* and its task_btf with 5.11 */
	return task_pid((void *)bpf_get_current_task());
#else
	return task_pid(bpf_get_current_task_btf());
#endif
}
