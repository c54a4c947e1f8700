/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Calls: of which family, how much payload, how long.
 *
 * Without the option, a call is what sock_send_length and sock_recv_length see; its
 * family is the system call that the task is in, read from its registers.
 *
 * With it, by what the kernel allows: a probe at the entry of tcp_sendmsg() and
 * tcp_recvmsg() notes the time in the thread's storage, and the event that counts
 * the call takes it from there. Or sys_enter notes it, the events in between name
 * the socket and add up the payload, and sys_exit counts the call.
 *
 * Only threads of targets have such storage. It hangs at the task itself, so for
 * any other thread of the machine the look-up is a pointer that is NULL.
 */

#define TASK_IO_WORKER 0x00000010 /* PF_IO_WORKER */
#define TASK_KTHREAD 0x00200000	  /* PF_KTHREAD */
#define THREAD_COMPAT 0x0002	  /* TS_COMPAT: a 32-bit call, with numbers of its own */
#define MODE_TYPE 0170000
#define MODE_SOCKET 0140000
#define SOCKET_UNCONNECTED 1 /* SS_UNCONNECTED */

/* enum sonde_tcp_syscall, by number; user space knows the numbers of its architecture */
const volatile __u8 sonde_syscalls[SONDE_TCP_SYSCALLS_MAX] = {};
const volatile struct sonde_tcp_hist sonde_empty_hist = {};

__u32 sonde_timing; /* SONDE_TCP_TIMING_*, set by user space */

/* Sizes marked 1 are set by user space between open and load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_calls);
} sonde_calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_coarse);
} sonde_call_coarse SEC(".maps");

/* The fine ones, by cell * SONDE_TCP_CALL_HIST_MAX + enum sonde_tcp_call_hist: few cells fill any. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_hist);
} sonde_call_hists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sonde_tcp_thread);
} sonde_threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct sonde_tcp_waiting);
} sonde_waiting SEC(".maps");

static __always_inline struct sonde_tcp_thread *thread_of(struct task_struct *task)
{
	return bpf_task_storage_get(&sonde_threads, task, NULL, 0);
}

static __always_inline struct sonde_tcp_thread *current_thread(void)
{
	return thread_of(bpf_get_current_task_btf());
}

static __always_inline __u32 syscall_kind(__u64 number)
{
	return number < SONDE_TCP_SYSCALLS_MAX ? sonde_syscalls[number] : SONDE_TCP_SYSCALL_NONE;
}

static __always_inline bool is_family(__u32 kind)
{
	return kind >= SONDE_TCP_SYSCALL_FAMILY && kind < SONDE_TCP_SYSCALL_CONNECT;
}

static __always_inline __u64 syscall_number(const struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return regs->orig_ax;
#else
#error "say where this architecture keeps the number of the system call"
#endif
}

static __always_inline bool is_compat(struct task_struct *task)
{
	return bpf_core_field_exists(task->thread_info.status) &&
	       task->thread_info.status & THREAD_COMPAT;
}

/* Between two calls of its thread io_uring goes on with what had to wait. */
static __always_inline bool is_between_calls(void)
{
	struct sonde_tcp_thread *thread;

	if (!(sonde_timing & SONDE_TCP_TIMING_CALLS))
		return false;
	thread = current_thread();
	return thread && thread->seen && !thread->since_ns;
}

/* The family of a call that sys_enter did not announce. */
static __always_inline __u32 family_now(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 flags = task->flags, kind;

	if (flags & TASK_IO_WORKER)
		return SONDE_TCP_CALL_IO_URING;
	if (flags & TASK_KTHREAD)
		return SONDE_TCP_CALL_OTHER;
	if (is_between_calls())
		return SONDE_TCP_CALL_IO_URING;
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs) || is_compat(task))
		return SONDE_TCP_CALL_OTHER;
	kind = syscall_kind(syscall_number((struct pt_regs *)bpf_task_pt_regs(task)));
	return is_family(kind) ? kind - SONDE_TCP_SYSCALL_FAMILY : SONDE_TCP_CALL_OTHER;
}

static __always_inline struct sonde_tcp_calls *calls_at(__u32 index)
{
	return bpf_map_lookup_elem(&sonde_calls, &index);
}

/* Where the verifier must see it: a bound that is checked earlier is lost where the number is spilled. */
static __always_inline __u32 one_of_two(__u32 direction)
{
	asm volatile("%0 &= 1" : "+r"(direction));
	return direction;
}

static __always_inline __u32 one_of_four(__u32 which)
{
	_Static_assert(SONDE_TCP_CALL_HIST_COARSE == 4, "a mask for the verifier");
	asm volatile("%0 &= 3" : "+r"(which));
	return which;
}

static __always_inline void coarse_add(__u32 index, __u32 which, __u64 value)
{
	struct sonde_tcp_coarse *hists = bpf_map_lookup_elem(&sonde_call_coarse, &index);
	__u32 bucket = sonde_coarse_bucket(value);

	if (hists && bucket < SONDE_COARSE_BUCKETS)
		__sync_fetch_and_add(&hists->count[one_of_four(which)][bucket], 1);
}

SHARED int call_hist_add(__u32 index, __u32 which, __u64 value)
{
	__u32 key = index * SONDE_TCP_CALL_HIST_MAX + which, bucket = sonde_hist_bucket(value);
	struct sonde_tcp_hist *hist = bpf_map_lookup_elem(&sonde_call_hists, &key);

	if (!hist) {
		bpf_map_update_elem(&sonde_call_hists, &key, (void *)&sonde_empty_hist,
				    BPF_NOEXIST);
		hist = bpf_map_lookup_elem(&sonde_call_hists, &key);
	}
	if (hist && bucket < SONDE_HIST_BUCKETS)
		__sync_fetch_and_add(&hist->count[bucket], 1);
	else
		lose(SONDE_TCP_LOSS_CALL_HIST, 1);
	return 0;
}

static __always_inline void count_call(struct sonde_tcp_calls *calls, __u32 index, __u32 direction,
				       __u32 family, __u64 bytes)
{
	__u64 *families = calls->calls[one_of_two(direction)];

	if (family >= SONDE_TCP_CALL_FAMILIES)
		return;
	add(&families[family], 1);
	coarse_add(index, SONDE_TCP_CALL_HIST_WRITE_SIZE + direction, bytes);
}

static __always_inline void time_call(struct sonde_tcp_calls *calls, __u32 index, __u32 direction,
				      const struct sonde_tcp_thread *thread, __u64 took_ns)
{
	add(&calls->timed[one_of_two(direction)], 1);
	add(&calls->time_sum_ns[one_of_two(direction)], took_ns);
	if (thread->blocked_ns) {
		add(&calls->blocked[one_of_two(direction)], 1);
		add(&calls->blocked_sum_ns[one_of_two(direction)], thread->blocked_ns);
	}
	coarse_add(index, SONDE_TCP_CALL_HIST_WRITE_TIME + direction, took_ns / 1000);
}

/* True: it is a part of the call that sys_enter announced, and counted when that returns. */
static __always_inline bool is_announced(__u32 index, __u32 bytes, __u32 direction)
{
	struct sonde_tcp_thread *thread;

	if (!(sonde_timing & SONDE_TCP_TIMING_CALLS))
		return false;
	thread = current_thread();
	if (!thread || !thread->since_ns || !is_family(thread->kind))
		return false;
	if (!thread->cell) {
		thread->cell = index + 1;
		thread->direction = direction;
	}
	if (thread->cell != index + 1 || thread->direction != direction)
		return false;
	thread->bytes += bytes;
	return true;
}

/* The call that began at the entry of a function is done. */
SHARED int function_returns(__u32 index, __u32 direction)
{
	struct sonde_tcp_thread *thread = current_thread();
	struct sonde_tcp_calls *calls = calls_at(index);
	__u64 since_ns;

	if (!thread || !calls || !thread->since_ns || thread->kind != SONDE_TCP_SYSCALL_FUNCTION)
		return 0;
	since_ns = thread->since_ns;
	thread->since_ns = 0;
	time_call(calls, index, direction, thread, bpf_ktime_get_ns() - since_ns);
	return 0;
}

/* Payload moved between the current task and a connection of the cell. */
SHARED int call_moved(__u32 index, __u32 bytes, __u32 direction)
{
	struct sonde_tcp_calls *calls;

	if (is_announced(index, bytes, direction))
		return 0;
	calls = calls_at(index);
	if (calls)
		count_call(calls, index, direction, family_now(), bytes);
	if (sonde_timing)
		function_returns(index, direction);
	return 0;
}

/* Nothing moved: the call that was begun is none. */
static __always_inline void call_failed(void)
{
	struct sonde_tcp_thread *thread;

	if (!sonde_timing)
		return;
	thread = current_thread();
	if (thread && thread->kind == SONDE_TCP_SYSCALL_FUNCTION)
		thread->since_ns = 0;
}

/* --- with the option --- */

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
	call_hist_add(index, SONDE_TCP_CALL_HIST_CLOSE_TIME, took_ns / 1000);
}

/* Own address, peer address and port of a socket that is only an address to us. Return: its remote port. */
static __always_inline __u16 key_of_sock(__u64 sk, struct sonde_tcp_cell_key *key)
{
	const struct sock_common *skc = (void *)sk;

	key->protocol = IPPROTO_TCP;
	key->netns = netns_cookie(skc);
	key->port = BPF_CORE_READ(skc, skc_num);
	if (BPF_CORE_READ(skc, skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&key->laddr, skc, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&key->raddr, skc, skc_v6_daddr);
	} else {
		map_v4(key->laddr, BPF_CORE_READ(skc, skc_rcv_saddr));
		map_v4(key->raddr, BPF_CORE_READ(skc, skc_daddr));
	}
	return bpf_ntohs(BPF_CORE_READ(skc, skc_dport));
}

/* Who owns the other end of an accepted connection; 0 when it is no target's. */
static __always_inline __u32 peer_of_accepted(const struct sonde_tcp_cell_key *key, __u16 rport)
{
	struct sonde_tcp_tuple tuple = {.lport = rport, .rport = key->port};
	struct sonde_tcp_end *end;

	__builtin_memcpy(tuple.laddr, key->raddr, 16);
	__builtin_memcpy(tuple.raddr, key->laddr, 16);
	tuple.netns = is_loopback(key->laddr) ? key->netns : 0;
	end = bpf_map_lookup_elem(&sonde_tuples, &tuple);
	return end ? end->pid : 0;
}

/* @sk: the address of the connection that a thread of a target accepted. */
static __noinline int accepted(__u64 sk)
{
	struct sonde_tcp_cell_key key = {.role = SONDE_TCP_ROLE_SERVER};
	struct sonde_tcp_waiting *waiting;
	struct sonde_tcp_calls *calls;
	__u64 waited_ns = 0;
	__u32 index = 0;
	__u16 rport;

	key.pid = current_target();
	if (!sk || !key.pid)
		return 0;
	rport = key_of_sock(sk, &key);
	waiting = bpf_map_lookup_elem(&sonde_waiting, &sk);
	if (waiting) {
		waited_ns = bpf_ktime_get_ns() - waiting->since_ns;
		key.peer_pid = waiting->peer_pid;
		key.port = waiting->lport;
		bpf_map_delete_elem(&sonde_waiting, &sk);
	} else if (!key.port) {
		/* Reset since, and nobody noted where it had come to. */
		lose(SONDE_TCP_LOSS_CALL_WAITING, 1);
		return 0;
	} else {
		key.peer_pid = peer_of_accepted(&key, rport);
	}
	if (!cell_index(&key, &index))
		return 0;
	calls = calls_at(index);
	if (!calls)
		return 0;
	add(&calls->accepts, 1);
	if (!waited_ns)
		return 0;
	add(&calls->accept_queue_count, 1);
	add(&calls->accept_queue_sum_ns, waited_ns);
	call_hist_add(index, SONDE_TCP_CALL_HIST_ACCEPT_QUEUE, waited_ns / 1000);
	return 0;
}

static __always_inline __u32 local_error(__u32 error)
{
	switch (error) {
	case ERR_NETUNREACH:
		return SONDE_TCP_LOCAL_ENETUNREACH;
	case ERR_HOSTUNREACH:
		return SONDE_TCP_LOCAL_EHOSTUNREACH;
	case ERR_INVAL:
		return SONDE_TCP_LOCAL_EINVAL;
	case ERR_ADDRNOTAVAIL:
		return SONDE_TCP_LOCAL_EADDRNOTAVAIL;
	case ERR_ACCES:
	case ERR_PERM:
		return SONDE_TCP_LOCAL_EACCES;
	default:
		return SONDE_TCP_LOCAL_OTHER;
	}
}

/* Not a failure of the connection, or one that is told elsewhere. */
static __always_inline bool connect_goes_on(__u32 error)
{
	return error == ERR_INPROGRESS || error == ERR_ALREADY || error == ERR_ISCONN ||
	       error == ERR_INTR || error >= ERR_RESTART;
}

/* Where the application wanted to go: struct sockaddr_in or sockaddr_in6, its own or the kernel's copy. */
static __always_inline long read_address(void *to, __u32 n, const void *from, bool user)
{
	return user ? bpf_probe_read_user(to, n, from) : bpf_probe_read_kernel(to, n, from);
}

static __always_inline void read_destination(const void *address, bool user,
					     struct sonde_tcp_cell_key *key)
{
	union {
		__u16 family;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to = {};

	if (read_address(&to.v4, sizeof(to.v4), address, user))
		return;
	key->port = bpf_ntohs(to.v4.sin_port);
	if (to.family == AF_INET) {
		map_v4(key->raddr, to.v4.sin_addr.s_addr);
	} else if (to.family == AF_INET6 && !read_address(&to.v6, sizeof(to.v6), address, user)) {
		__builtin_memcpy(key->raddr, &to.v6.sin6_addr, 16);
	}
}

static __noinline int connect_returns(__u64 sk, const void *address, bool user, __u32 error)
{
	struct sonde_tcp_cell_key key = {};
	struct sonde_tcp_calls *calls;
	__u32 index = 0;

	if (connect_goes_on(error))
		return 0;
	key.pid = current_target();
	if (!key.pid)
		return 0;
	(void)key_of_sock(sk, &key);
	key.role = SONDE_TCP_ROLE_CLIENT;
	read_destination(address, user, &key);
	error = local_error(error);
	if (!cell_index(&key, &index))
		return 0;
	calls = calls_at(index);
	if (calls && error < SONDE_TCP_LOCAL_ERROR_MAX)
		add(&calls->local_failed[error], 1);
	return 0;
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
