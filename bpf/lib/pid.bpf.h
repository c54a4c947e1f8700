/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Thread group ids as the agent sees them: in the PID namespace whose inode
 * user space wrote into sonde_pidns_inum. bpf_get_ns_current_pid_tgid() only
 * answers for tasks that live in exactly that namespace; a container's process
 * lives deeper, so the number is read from the level that is ours.
 */

#define SONDE_PIDNS_LEVELS 32 /* MAX_PID_NS_LEVEL */

const volatile __u32 sonde_pidns_inum = 0;

/* 0: the task is not visible from our namespace. */
static __noinline __u32 task_pid(struct task_struct *task)
{
	struct pid *pid = task->group_leader->thread_pid;
	__u32 levels, i;

	if (!pid)
		return 0;
	levels = pid->level;
	for (i = 0; i < SONDE_PIDNS_LEVELS; i++) {
		struct upid *upid;

		if (i > levels)
			break;
		upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
		       (__u64)i * bpf_core_type_size(struct upid);
		if (BPF_CORE_READ(upid, ns, ns.inum) == sonde_pidns_inum)
			return BPF_CORE_READ(upid, nr);
	}
	return 0;
}

static __always_inline __u32 current_pid(void)
{
	return task_pid(bpf_get_current_task_btf());
}
