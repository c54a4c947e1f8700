/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* What a connection's life tells the calls that are about it, and which threads have storage for theirs. */

/* -> SYN_SENT, in the task that connects: what fails from here on has a state change of its own. */
static __always_inline void call_sends_syn(void)
{
	struct sonde_tcp_thread *thread;

	if (!sonde_timing)
		return;
	thread = current_thread();
	if (thread)
		thread->syn_sent = 1;
}

/*
 * A change of state, or the end, of the socket that the current task's close(2) is
 * about. Any other that comes meanwhile in softirq is of another socket.
 */
static __always_inline void call_closes(const struct sock *sk, struct sonde_tag *tag)
{
	struct sonde_tcp_thread *thread;
	__u32 index = 0;

	if (!sonde_timing)
		return;
	thread = current_thread();
	if (!thread || !thread->since_ns || thread->kind != SONDE_TCP_SYSCALL_CLOSE ||
	    thread->sock != (__u64)sk || thread->cell)
		return;
	if (tag_cell(tag, &index))
		thread->cell = index + 1;
}

/* Functions of their own for the sake of the stack, which their callers use up on older kernels. */
static __noinline int waiting_enter(const struct sock *sk, __u32 peer_pid, __u16 lport)
{
	struct sonde_tcp_waiting waiting = {};
	__u64 key = (__u64)sk;

	waiting.since_ns = bpf_ktime_get_ns();
	waiting.peer_pid = peer_pid;
	waiting.lport = lport;
	if (bpf_map_update_elem(&sonde_waiting, &key, &waiting, BPF_ANY))
		lose(SONDE_TCP_LOSS_CALL_WAITING, 1);
	return 0;
}

static __noinline int waiting_leave(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	bpf_map_delete_elem(&sonde_waiting, &key);
	return 0;
}

/* The handshake of a listener's child is done: it waits for accept(2). */
static __always_inline void call_waits(const struct sock *sk, const struct sonde_tag *tag)
{
	if (sonde_timing && tag->role == SONDE_TCP_ROLE_SERVER)
		waiting_enter(sk, tag->peer_pid, tag->lport);
}

static __always_inline void call_waits_no_more(const struct sock *sk)
{
	if (sonde_timing)
		waiting_leave(sk);
}

/* A thread or process that a target's thread makes. */
static __always_inline void thread_forked(struct task_struct *parent, struct task_struct *child)
{
	if (!sonde_timing || !thread_of(parent))
		return;
	if (!bpf_task_storage_get(&sonde_threads, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE))
		lose(SONDE_TCP_LOSS_CALL_THREAD, 1);
}

/* Gives the targets' threads their storage, or takes it from those that are no target's. */
static __always_inline void on_thread(struct task_struct *task)
{
	bool target = sonde_timing && is_target(task_pid(task));

	if (!target) {
		if (thread_of(task))
			bpf_task_storage_delete(&sonde_threads, task);
		return;
	}
	if (!bpf_task_storage_get(&sonde_threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE))
		lose(SONDE_TCP_LOSS_CALL_THREAD, 1);
}
