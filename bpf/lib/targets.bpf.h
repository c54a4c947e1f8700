/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Targets: which processes are measured, and who joins them by fork. SONDE_LOSS_TARGET_FULL: a site of the ledger. */

/* Its size is set by user space between open and load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_target);
} sonde_targets SEC(".maps");

static __always_inline bool is_target(__u32 pid)
{
	struct sonde_tcp_target *target;

	if (!pid)
		return false;
	target = bpf_map_lookup_elem(&sonde_targets, &pid);
	return target && target->task_mask && target->state != SONDE_TCP_TARGET_EXITED;
}

/* The current process if it is a target, else 0. Task context only. */
static __always_inline __u32 current_target(void)
{
	__u32 pid = current_pid();

	return is_target(pid) ? pid : 0;
}

/* No seed before this one met the target: what it only counts of descriptors was counted by none. */
static __always_inline bool is_first_seed(__u32 pid, __u32 generation)
{
	struct sonde_tcp_target *target = bpf_map_lookup_elem(&sonde_targets, &pid);

	if (!target)
		return false;
	if (!target->seeded)
		target->seeded = generation;
	return target->seeded == generation;
}

/*
 * A new process under the number of an entry: that one's process has ended. Its end
 * was not seen when it came before the entry, which user space can't know in time.
 */
static __always_inline void retire(__u32 pid)
{
	struct sonde_tcp_target *target = bpf_map_lookup_elem(&sonde_targets, &pid);

	if (target)
		target->state = SONDE_TCP_TARGET_EXITED;
}

/* A target's child is a target from before its first instruction. Return: the child is one. */
static __always_inline bool on_fork(struct task_struct *parent, struct task_struct *child)
{
	struct sonde_tcp_target *of_parent, entry = {};
	__u32 pid;

	if (child->pid != child->tgid)
		return false; /* a thread */
	pid = task_pid(parent);
	of_parent = bpf_map_lookup_elem(&sonde_targets, &pid);
	if (!of_parent || !of_parent->task_mask || of_parent->state == SONDE_TCP_TARGET_EXITED) {
		retire(task_pid(child));
		return false;
	}
	entry.task_mask = of_parent->task_mask;
	entry.root_pid = of_parent->root_pid;
	entry.state = SONDE_TCP_TARGET_FORKED;
	entry.seeded = of_parent->seeded;
	pid = task_pid(child);
	if (!pid || bpf_map_update_elem(&sonde_targets, &pid, &entry, BPF_ANY)) {
		lose(SONDE_LOSS_TARGET_FULL, 1);
		return false;
	}
	return true;
}

/* Return: it was the process's last thread. */
static __always_inline bool on_exit(struct task_struct *task)
{
	struct sonde_tcp_target *target;
	__u32 pid;

	/* do_exit() has counted this thread out already: 0 = the process ends. */
	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return false;
	pid = task_pid(task);
	target = bpf_map_lookup_elem(&sonde_targets, &pid);
	if (target)
		target->state = SONDE_TCP_TARGET_EXITED;
	return true;
}
