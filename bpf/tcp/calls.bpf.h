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

/* enum sonde_tcp_syscall, by number; user space knows the numbers of its architecture */
const volatile __u8 sonde_syscalls[SONDE_TCP_SYSCALLS_MAX] = {};

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
