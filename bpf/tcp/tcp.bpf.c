/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TCP collector, kernel side: the programs. What each does is in the header of
 * its topic; here is only which hook calls it, with its cost counted.
 *
 * Each begins with the look-up of the socket's tag and ends there for a socket
 * that no task asked for.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bpf/tcp/tcp_hist.h"
#include "bpf/tcp/tcp_private.h"
#include "bpf/tcp/tcp_types.h"

/* enum tcp_chrono; 0: nothing to send */
#define CHRONO_BUSY 1
#define CHRONO_RWND 2
#define CHRONO_SNDBUF 3
#define SSTHRESH_INFINITE 0x7fffffff

#define SONDE_COST_PROGRAMS SONDE_TCP_PROGRAM_MAX
#define SONDE_COST_SAMPLE SONDE_TCP_COST_SAMPLE
#define SONDE_LOSS_SITES SONDE_TCP_LOSS_MAX
#define SONDE_LOSS_BUSY SONDE_TCP_LOSS_BUSY
#define SONDE_LOSS_CELL_FULL SONDE_TCP_LOSS_CELL_FULL
#define SONDE_LOSS_OTHER_FULL SONDE_TCP_LOSS_OTHER_FULL
#define SONDE_LOSS_TARGET_FULL SONDE_TCP_LOSS_TARGET_FULL
#define SONDE_SLOT sonde_tcp_slot
#define SONDE_CELL_PROTOCOL IPPROTO_TCP

/* In the order in which they build on each other. */
#include "bpf/lib/cost.bpf.h"
#include "bpf/lib/errno.bpf.h"
#include "bpf/lib/loss.bpf.h"
#include "bpf/lib/pid.bpf.h"

#include "bpf/lib/address.bpf.h"
#include "bpf/lib/calibrate.bpf.h"
#include "bpf/lib/cells.bpf.h"
#include "bpf/lib/handshake.bpf.h"
#include "bpf/lib/packet.bpf.h"
#include "bpf/lib/targets.bpf.h"
#include "bpf/lib/tcp_verdict.bpf.h"
#include "bpf/lib/tgids.bpf.h"

#include "bpf/tcp/tag.bpf.h"

#include "bpf/tcp/maps.bpf.h"

#include "bpf/tcp/cell.bpf.h"
#include "bpf/tcp/identity.bpf.h"

#include "bpf/tcp/calls.bpf.h"

#include "bpf/tcp/call_connect.bpf.h"

#include "bpf/tcp/call_thread.bpf.h"
#include "bpf/tcp/call_timing.bpf.h"
#include "bpf/tcp/flow_tag.bpf.h"

#include "bpf/tcp/rtt.bpf.h"

#include "bpf/tcp/fold.bpf.h"

#include "bpf/tcp/event.bpf.h"
#include "bpf/tcp/flow.bpf.h"
#include "bpf/tcp/listener.bpf.h"
#include "bpf/tcp/retransmit.bpf.h"

#include "bpf/tcp/begin.bpf.h"
#include "bpf/tcp/close.bpf.h"

#include "bpf/tcp/state.bpf.h"

#include "bpf/tcp/drop.bpf.h"
#include "bpf/tcp/found.bpf.h"

#include "bpf/tcp/io.bpf.h"
#include "bpf/tcp/seed.bpf.h"
#include "bpf/tcp/snapshot.bpf.h"

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(sonde_state, struct sock *sk, int oldstate, int newstate)
{
	return COUNTED(SONDE_TCP_PROGRAM_STATE, on_state(sk, oldstate, newstate));
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(sonde_destroy, struct sock *sk)
{
	return COUNTED(SONDE_TCP_PROGRAM_DESTROY, on_destroy(sk));
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sonde_send, struct sock *sk, int ret, int flags)
{
	return COUNTED(SONDE_TCP_PROGRAM_SEND, on_call(sk, ret, flags, true));
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sonde_recv, struct sock *sk, int ret, int flags)
{
	return COUNTED(SONDE_TCP_PROGRAM_RECV, on_call(sk, ret, flags, false));
}

/* Where no task counts calls. */
SEC("tp_btf/sock_send_length")
int BPF_PROG(sonde_owner_send, struct sock *sk, int ret, int flags)
{
	return COUNTED(SONDE_TCP_PROGRAM_OWNER_SEND, owned_tag(sk, ret, flags, true));
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sonde_owner_recv, struct sock *sk, int ret, int flags)
{
	return COUNTED(SONDE_TCP_PROGRAM_OWNER_RECV, owned_tag(sk, ret, flags, false));
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(sonde_probe, struct sock *sk)
{
	return COUNTED(SONDE_TCP_PROGRAM_PROBE, on_tcp_probe(sk));
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(sonde_retransmit, struct sock *sk)
{
	return COUNTED(SONDE_TCP_PROGRAM_RETRANSMIT, on_retransmit(sk));
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(sonde_synack, struct sock *sk, struct request_sock *req)
{
	return COUNTED(SONDE_TCP_PROGRAM_SYNACK, on_retransmit_synack(sk, req));
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(sonde_reset_sent, struct sock *sk, const struct sk_buff *skb, __u32 reason)
{
	return COUNTED(SONDE_TCP_PROGRAM_RESET_SENT, on_reset(sk, false, reason));
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(sonde_reset_plain, struct sock *sk)
{
	return COUNTED(SONDE_TCP_PROGRAM_RESET_PLAIN, on_reset(sk, false, RESET_WITHOUT_REASON));
}

SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(sonde_error, struct sock *sk)
{
	return COUNTED(SONDE_TCP_PROGRAM_ERROR, on_error(sk));
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(sonde_reset_recv, struct sock *sk)
{
	return COUNTED(SONDE_TCP_PROGRAM_RESET_RECEIVED, on_reset(sk, true, RESET_WITHOUT_REASON));
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(sonde_drop, struct sk_buff *skb, void *location, enum skb_drop_reason reason,
	     struct sock *rx_sk)
{
	return COUNTED(SONDE_TCP_PROGRAM_DROP, on_drop(skb, rx_sk, reason, location));
}

/* Where kfree_skb has no fourth argument (before 6.11). */
SEC("tp_btf/kfree_skb")
int BPF_PROG(sonde_drop_skb, struct sk_buff *skb, void *location, enum skb_drop_reason reason)
{
	return COUNTED(SONDE_TCP_PROGRAM_DROP_SKB, on_drop(skb, NULL, reason, location));
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sonde_fork, struct task_struct *parent, struct task_struct *child)
{
	return COUNTED(SONDE_TCP_PROGRAM_FORK, ({
			       thread_forked(parent, child);
			       if (on_fork(parent, child))
				       mark_tgid(child->tgid);
		       }));
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sonde_exit, struct task_struct *task)
{
	return COUNTED(SONDE_TCP_PROGRAM_EXIT, ({
			       if (on_exit(task))
				       unmark_tgid(task->tgid);
		       }));
}

SEC("sockops")
int sonde_sockops(struct bpf_sock_ops *ops)
{
	(void)COUNTED(SONDE_TCP_PROGRAM_SOCKOPS, on_sockops(ops));
	return 1;
}

SEC("iter/task_file")
int sonde_seed(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (!task || !file)
		return 0;
	return COUNTED(SONDE_TCP_PROGRAM_SEED, on_file(task, file));
}

SEC("iter/bpf_sk_storage_map")
int sonde_snapshot(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;

	if (!sk)
		return 0;
	return COUNTED(SONDE_TCP_PROGRAM_SNAPSHOT, on_tagged_socket(sk));
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sonde_sys_enter, struct pt_regs *regs, long number)
{
	return COUNTED(SONDE_TCP_PROGRAM_SYS_ENTER, on_sys_enter(regs, number));
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sonde_sys_exit, struct pt_regs *regs, long ret)
{
	return COUNTED(SONDE_TCP_PROGRAM_SYS_EXIT, on_sys_exit(regs, ret));
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sonde_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return COUNTED(SONDE_TCP_PROGRAM_SWITCH, on_switch(preempt, prev, next));
}

SEC("iter/task")
int sonde_thread(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task)
		return 0;
	return COUNTED(SONDE_TCP_PROGRAM_THREADS, on_thread(task));
}

/*
 * The same by function: fentry and fexit, or kprobe and kretprobe, for what they are named after. The
 * latter in their form that bpf(2) attaches, as the worker may not open perf events.
 */
#define FENTRY(function, program, call)                                                            \
	SEC("fentry/" #function)                                                                   \
	int sonde_in_##function(__u64 *ctx)                                                        \
	{                                                                                          \
		return COUNTED(SONDE_TCP_PROGRAM_FENTRY_##program, call);                          \
	}
#define FEXIT(function, program, call)                                                             \
	SEC("fexit/" #function)                                                                    \
	int sonde_out_##function(__u64 *ctx)                                                       \
	{                                                                                          \
		return COUNTED(SONDE_TCP_PROGRAM_FEXIT_##program, call);                           \
	}
#define KPROBE(function, program, call)                                                            \
	SEC("kprobe.multi/" #function)                                                             \
	int sonde_kin_##function(struct pt_regs *ctx)                                              \
	{                                                                                          \
		return COUNTED(SONDE_TCP_PROGRAM_KPROBE_##program, call);                          \
	}
#define KRETPROBE(function, program, call)                                                         \
	SEC("kretprobe.multi/" #function)                                                          \
	int sonde_kout_##function(struct pt_regs *ctx)                                             \
	{                                                                                          \
		return COUNTED(SONDE_TCP_PROGRAM_KRETPROBE_##program, call);                       \
	}

FENTRY(tcp_sendmsg, SEND, enter_function(SONDE_TCP_SYSCALL_FUNCTION, 0, 0))
FENTRY(tcp_recvmsg, RECV, enter_function(SONDE_TCP_SYSCALL_FUNCTION, 0, 0))
FENTRY(tcp_sendpage, SENDPAGE, enter_function(SONDE_TCP_SYSCALL_FUNCTION, 0, 0))
FENTRY(tcp_close, CLOSE, enter_function(SONDE_TCP_SYSCALL_CLOSE, ctx[0], 0))
FEXIT(tcp_close, CLOSE, leave_close())
FENTRY(tcp_v4_connect, CONNECT4, enter_function(SONDE_TCP_SYSCALL_CONNECT, ctx[0], ctx[1]))
FEXIT(tcp_v4_connect, CONNECT4, leave_connect(ctx[3]))
FENTRY(tcp_v6_connect, CONNECT6, enter_function(SONDE_TCP_SYSCALL_CONNECT, ctx[0], ctx[1]))
FEXIT(tcp_v6_connect, CONNECT6, leave_connect(ctx[3]))
FEXIT(inet_csk_accept, ACCEPT, leave_accept(ctx[2]))

/* Before 6.10: (sk, flags, err, kern). */
SEC("fexit/inet_csk_accept")
int sonde_out_inet_csk_accept_4(__u64 *ctx)
{
	return COUNTED(SONDE_TCP_PROGRAM_FEXIT_ACCEPT_4, leave_accept(ctx[4]));
}

KPROBE(tcp_sendmsg, SEND, enter_function(SONDE_TCP_SYSCALL_FUNCTION, 0, 0))
KPROBE(tcp_recvmsg, RECV, enter_function(SONDE_TCP_SYSCALL_FUNCTION, 0, 0))
KPROBE(tcp_close, CLOSE, enter_function(SONDE_TCP_SYSCALL_CLOSE, PT_REGS_PARM1(ctx), 0))
KRETPROBE(tcp_close, CLOSE, leave_close())
KPROBE(tcp_v4_connect, CONNECT4,
       enter_function(SONDE_TCP_SYSCALL_CONNECT, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx)))
KRETPROBE(tcp_v4_connect, CONNECT4, leave_connect(PT_REGS_RC(ctx)))
KPROBE(tcp_v6_connect, CONNECT6,
       enter_function(SONDE_TCP_SYSCALL_CONNECT, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx)))
KRETPROBE(tcp_v6_connect, CONNECT6, leave_connect(PT_REGS_RC(ctx)))
KRETPROBE(inet_csk_accept, ACCEPT, leave_accept(PT_REGS_RC(ctx)))

/* Calls where the kernel has no sock_send_length and sock_recv_length (before 6.3). */
SEC("fexit/tcp_sendmsg")
int BPF_PROG(sonde_send_function, struct sock *sk, struct msghdr *msg, size_t size, int ret)
{
	return COUNTED(SONDE_TCP_PROGRAM_FEXIT_SEND, on_call(sk, ret, 0, true));
}

SEC("fexit/tcp_recvmsg")
int BPF_PROG(sonde_recv_function, struct sock *sk, struct msghdr *msg, size_t len, int flags,
	     int *addr_len, int ret)
{
	return COUNTED(SONDE_TCP_PROGRAM_FEXIT_RECV, on_call(sk, ret, flags, false));
}

SEC("fexit/tcp_sendpage")
int BPF_PROG(sonde_page_function, struct sock *sk, struct page *page, int offset, size_t size,
	     int flags, int ret)
{
	return COUNTED(SONDE_TCP_PROGRAM_FEXIT_SENDPAGE, on_call(sk, ret, 0, true));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
