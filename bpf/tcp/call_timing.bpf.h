/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Where a call begins and ends, with the option: as a system call, or as a function of TCP's; and when its thread sleeps. */

#define MODE_TYPE 0170000
#define MODE_SOCKET 0140000
#define SOCKET_UNCONNECTED 1 /* SS_UNCONNECTED */

/* The address of the TCP socket behind a descriptor of the current process; 0 = none. Nothing is followed by type. */
static __noinline __u64 tcp_of_fd(__u32 fd, bool unconnected)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = NULL;
	struct socket *socket;
	struct sock *sk;

	if (!table || fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), files + fd) || !file ||
	    (BPF_CORE_READ(file, f_inode, i_mode) & MODE_TYPE) != MODE_SOCKET)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	if (unconnected && BPF_CORE_READ(socket, state) != SOCKET_UNCONNECTED)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	return BPF_CORE_READ(sk, sk_protocol) == PROTOCOL_TCP ? (__u64)sk : 0;
}

static __always_inline void thread_begin(struct sonde_tcp_thread *thread, __u32 kind)
{
	thread->seen = 1;
	thread->kind = kind;
	thread->direction = 0;
	thread->syn_sent = 0;
	thread->cell = 0;
	thread->bytes = 0;
	thread->blocked_ns = 0;
	thread->asleep_ns = 0;
	thread->sock = 0;
	thread->since_ns = bpf_ktime_get_ns();
}

/* Is it these programs that see to such a call? */
static __always_inline bool is_asked(__u32 kind)
{
	switch (kind) {
	case SONDE_TCP_SYSCALL_NONE:
		return false;
	case SONDE_TCP_SYSCALL_CONNECT:
		return sonde_timing & SONDE_TCP_TIMING_CONNECT;
	case SONDE_TCP_SYSCALL_ACCEPT:
		return sonde_timing & SONDE_TCP_TIMING_ACCEPT;
	case SONDE_TCP_SYSCALL_CLOSE:
		return sonde_timing & SONDE_TCP_TIMING_CLOSE;
	default:
		return sonde_timing & SONDE_TCP_TIMING_CALLS;
	}
}

static __always_inline void on_sys_enter(struct pt_regs *regs, __u64 number)
{
	__u32 kind = syscall_kind(number);
	struct sonde_tcp_thread *thread;
	struct task_struct *task;

	if (kind == SONDE_TCP_SYSCALL_NONE)
		return;
	task = bpf_get_current_task_btf();
	thread = thread_of(task);
	if (!thread || !is_asked(kind))
		return;
	thread_begin(thread, kind);
	if (kind == SONDE_TCP_SYSCALL_CLOSE || kind == SONDE_TCP_SYSCALL_CONNECT) {
		thread->sock = tcp_of_fd(PT_REGS_PARM1_CORE_SYSCALL(regs),
					 kind == SONDE_TCP_SYSCALL_CONNECT);
		if (!thread->sock)
			thread->since_ns = 0;
	}
	/* It moves payload of many sockets, each operation is a call of its own. */
	if (kind == SONDE_TCP_SYSCALL_FAMILY + SONDE_TCP_CALL_IO_URING || is_compat(task))
		thread->since_ns = 0;
}

static __always_inline void call_returns(struct sonde_tcp_thread *thread, __u64 took_ns)
{
	__u32 index = thread->cell - 1, direction = thread->direction;
	struct sonde_tcp_calls *calls = calls_at(index);

	if (!calls)
		return;
	count_call(calls, index, direction, thread->kind - SONDE_TCP_SYSCALL_FAMILY, thread->bytes);
	time_call(calls, index, direction, thread, took_ns);
}

static __always_inline void close_returns(struct sonde_tcp_thread *thread, __u64 took_ns)
{
	__u32 index = thread->cell - 1;
	struct sonde_tcp_calls *calls = calls_at(index);

	if (!calls)
		return;
	add(&calls->close_count, 1);
	add(&calls->close_sum_ns, took_ns);
	sparse_add(index, SONDE_TCP_CALL_HIST_CLOSE_TIME, took_ns / 1000);
}

static __always_inline void on_sys_exit(struct pt_regs *regs, long ret)
{
	__u32 kind = syscall_kind(syscall_number(regs));
	struct sonde_tcp_thread *thread;
	__u64 since_ns;

	if (kind == SONDE_TCP_SYSCALL_NONE)
		return;
	thread = current_thread();
	if (!thread || !is_asked(kind))
		return;
	since_ns = thread->since_ns;
	thread->since_ns = 0;
	thread->seen = 1;
	if (kind == SONDE_TCP_SYSCALL_ACCEPT) {
		if (ret >= 0) /* also one that began before we looked */
			accepted(tcp_of_fd(ret, false));
		return;
	}
	if (!since_ns || thread->kind != kind)
		return;
	if (kind == SONDE_TCP_SYSCALL_CONNECT) {
		if (ret < 0 && !thread->syn_sent)
			connect_returns(thread->sock, (void *)PT_REGS_PARM2_CORE_SYSCALL(regs),
					true, -ret);
		return;
	}
	if (!thread->cell)
		return;
	if (kind == SONDE_TCP_SYSCALL_CLOSE)
		close_returns(thread, bpf_ktime_get_ns() - since_ns);
	else
		call_returns(thread, bpf_ktime_get_ns() - since_ns);
}

/* --- as functions, by fentry and fexit or by kprobe and kretprobe --- */

static __always_inline void enter_function(__u32 kind, __u64 sk, __u64 address)
{
	struct sonde_tcp_thread *thread = current_thread();

	if (!thread)
		return;
	thread_begin(thread, kind);
	thread->sock = sk;
	thread->address = address;
}

static __always_inline void leave_close(void)
{
	struct sonde_tcp_thread *thread = current_thread();
	__u64 since_ns;

	if (!thread || !thread->since_ns || thread->kind != SONDE_TCP_SYSCALL_CLOSE)
		return;
	since_ns = thread->since_ns;
	thread->since_ns = 0;
	if (thread->cell)
		close_returns(thread, bpf_ktime_get_ns() - since_ns);
}

/* tcp_v6_connect() may call tcp_v4_connect(): the inner one ends it. */
static __always_inline void leave_connect(int ret)
{
	struct sonde_tcp_thread *thread = current_thread();

	if (!thread || !thread->since_ns || thread->kind != SONDE_TCP_SYSCALL_CONNECT)
		return;
	thread->since_ns = 0;
	if (ret < 0 && !thread->syn_sent)
		connect_returns(thread->sock, (void *)thread->address, false, -ret);
}

static __always_inline void leave_accept(__u64 sk)
{
	if (sk && current_thread())
		accepted(sk);
}

/* Who sleeps in a call: neither preempted nor waiting for its turn. */
static __always_inline void on_switch(bool preempt, struct task_struct *prev,
				      struct task_struct *next)
{
	struct sonde_tcp_thread *thread;

	if (!preempt && prev->__state) {
		thread = thread_of(prev);
		if (thread && thread->since_ns)
			thread->asleep_ns = bpf_ktime_get_ns();
	}
	thread = thread_of(next);
	if (thread && thread->asleep_ns) {
		thread->blocked_ns += bpf_ktime_get_ns() - thread->asleep_ns;
		thread->asleep_ns = 0;
	}
}
