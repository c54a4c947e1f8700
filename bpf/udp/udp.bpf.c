/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * UDP collector, kernel side: the programs. What each does is in the header of
 * its topic; here is only which hook calls it, with its cost counted.
 *
 * There is no per-packet hook. A call of a socket that is not UDP ends at its
 * protocol, one of a process that is no target at the look-up of that process.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bpf/udp/udp_private.h"

#define SOCK_BINDPORT_LOCK 8

#define SONDE_COST_PROGRAMS SONDE_UDP_PROGRAM_MAX
#define SONDE_COST_SAMPLE SONDE_UDP_COST_SAMPLE
#define SONDE_LOSS_SITES SONDE_UDP_LOSS_MAX
#define SONDE_LOSS_BUSY SONDE_UDP_LOSS_BUSY
#define SONDE_LOSS_CELL_FULL SONDE_UDP_LOSS_CELL_FULL
#define SONDE_LOSS_OTHER_FULL SONDE_UDP_LOSS_OTHER_FULL
#define SONDE_LOSS_TARGET_FULL SONDE_UDP_LOSS_TARGET_FULL
#define SONDE_SLOT sonde_udp_slot
#define SONDE_CELL_PROTOCOL IPPROTO_UDP

/* In the order in which they build on each other. */
#include "bpf/lib/cost.bpf.h"
#include "bpf/lib/loss.bpf.h"
#include "bpf/lib/pid.bpf.h"

#include "bpf/lib/address.bpf.h"
#include "bpf/lib/calibrate.bpf.h"
#include "bpf/lib/cells.bpf.h"
#include "bpf/lib/packet.bpf.h"
#include "bpf/lib/targets.bpf.h"

#include "bpf/udp/tag.bpf.h"

#include "bpf/udp/end.bpf.h"
#include "bpf/udp/late.bpf.h"
#include "bpf/udp/peer.bpf.h"

#include "bpf/udp/flow.bpf.h"

#include "bpf/udp/call.bpf.h"
#include "bpf/udp/drop.bpf.h"

SEC("tp_btf/sock_send_length")
int BPF_PROG(sonde_udp_send, struct sock *sk, int ret)
{
	return COUNTED(SONDE_UDP_PROGRAM_SEND, on_send(sk, ret));
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sonde_udp_recv, struct sock *sk, int ret, int flags)
{
	return COUNTED(SONDE_UDP_PROGRAM_RECV, on_recv(sk, ret, flags));
}

/*
 * Where there is no sock_send_length (before 6.3) the functions' ends count, else they
 * only name the other end. An IPv6 socket that speaks to an IPv4 address goes through
 * both: the inner one names, the outer one counts.
 */

SEC("fexit/udp_sendmsg")
int BPF_PROG(sonde_udp_sent4, struct sock *sk, struct msghdr *msg, size_t len, int ret)
{
	return COUNTED(SONDE_UDP_PROGRAM_SENT4, on_sendmsg(sk, msg, ret, AF_INET));
}

SEC("fexit/udpv6_sendmsg")
int BPF_PROG(sonde_udp_sent6, struct sock *sk, struct msghdr *msg, size_t len, int ret)
{
	return COUNTED(SONDE_UDP_PROGRAM_SENT6, on_sendmsg(sk, msg, ret, AF_INET6));
}

SEC("fexit/udp_recvmsg")
int BPF_PROG(sonde_udp_read4, struct sock *sk, struct msghdr *msg, size_t len, int flags,
	     int *addr_len, int ret)
{
	return COUNTED(SONDE_UDP_PROGRAM_READ4, on_recvmsg(sk, msg, flags, ret));
}

SEC("fexit/udpv6_recvmsg")
int BPF_PROG(sonde_udp_read6, struct sock *sk, struct msghdr *msg, size_t len, int flags,
	     int *addr_len, int ret)
{
	return COUNTED(SONDE_UDP_PROGRAM_READ6, on_recvmsg(sk, msg, flags, ret));
}

SEC("fentry/skb_consume_udp")
int BPF_PROG(sonde_udp_taken, struct sock *sk, struct sk_buff *skb)
{
	return COUNTED(SONDE_UDP_PROGRAM_TAKEN, on_taken(sk, skb));
}

/* Where a call begins, while calls are timed: at the functions, or at each system call of the machine. */

SEC("fentry/udp_sendmsg")
int BPF_PROG(sonde_udp_enter_s4, struct sock *sk)
{
	return COUNTED(SONDE_UDP_PROGRAM_ENTER_SEND4, on_enter());
}

SEC("fentry/udpv6_sendmsg")
int BPF_PROG(sonde_udp_enter_s6, struct sock *sk)
{
	return COUNTED(SONDE_UDP_PROGRAM_ENTER_SEND6, on_enter());
}

SEC("fentry/udp_recvmsg")
int BPF_PROG(sonde_udp_enter_r4, struct sock *sk)
{
	return COUNTED(SONDE_UDP_PROGRAM_ENTER_READ4, on_enter());
}

SEC("fentry/udpv6_recvmsg")
int BPF_PROG(sonde_udp_enter_r6, struct sock *sk)
{
	return COUNTED(SONDE_UDP_PROGRAM_ENTER_READ6, on_enter());
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sonde_udp_syscall, struct pt_regs *regs)
{
	return COUNTED(SONDE_UDP_PROGRAM_SYSCALL, on_enter());
}

/* The cgroup programs return 1: the call goes on as it is. */

SEC("cgroup/sendmsg4")
int sonde_udp_to4(struct bpf_sock_addr *ctx)
{
	(void)COUNTED(SONDE_UDP_PROGRAM_TO4, on_address(ctx, false));
	return 1;
}

SEC("cgroup/sendmsg6")
int sonde_udp_to6(struct bpf_sock_addr *ctx)
{
	(void)COUNTED(SONDE_UDP_PROGRAM_TO6, on_address(ctx, true));
	return 1;
}

SEC("cgroup/recvmsg4")
int sonde_udp_from4(struct bpf_sock_addr *ctx)
{
	(void)COUNTED(SONDE_UDP_PROGRAM_FROM4, on_address(ctx, false));
	return 1;
}

SEC("cgroup/recvmsg6")
int sonde_udp_from6(struct bpf_sock_addr *ctx)
{
	(void)COUNTED(SONDE_UDP_PROGRAM_FROM6, on_address(ctx, true));
	return 1;
}

SEC("tp_btf/udp_fail_queue_rcv_skb")
int sonde_udp_fail(unsigned long long *ctx)
{
	struct sock *sk = (struct sock *)ctx[1];
	struct sk_buff *skb = (struct sk_buff *)ctx[2];

	return COUNTED(SONDE_UDP_PROGRAM_FAIL, on_full(sk, skb));
}

/* Before 6.10. */
SEC("tp_btf/udp_fail_queue_rcv_skb")
int sonde_udp_fail_sk(unsigned long long *ctx)
{
	struct sock *sk = (struct sock *)ctx[1];

	return COUNTED(SONDE_UDP_PROGRAM_FAIL_SK, on_full(sk, NULL));
}

SEC("cgroup/post_bind4")
int sonde_udp_bind4(struct bpf_sock *ctx)
{
	(void)COUNTED(SONDE_UDP_PROGRAM_BIND4, on_bind(ctx));
	return 1;
}

SEC("cgroup/post_bind6")
int sonde_udp_bind6(struct bpf_sock *ctx)
{
	(void)COUNTED(SONDE_UDP_PROGRAM_BIND6, on_bind(ctx));
	return 1;
}

SEC("cgroup/sock_release")
int sonde_udp_release(struct bpf_sock *ctx)
{
	(void)COUNTED(SONDE_UDP_PROGRAM_RELEASE, on_release(ctx); flow_released(ctx));
	return 1;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sonde_udp_fork, struct task_struct *parent, struct task_struct *child)
{
	return COUNTED(SONDE_UDP_PROGRAM_FORK, on_fork(parent, child));
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sonde_udp_exit, struct task_struct *task)
{
	return COUNTED(SONDE_UDP_PROGRAM_EXIT, on_exit(task));
}

__u64 sonde_seeded; /* sockets tagged by seeding */

static __always_inline void on_file(struct task_struct *task, struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct sonde_udp_tag *tag;
	struct udp_peer peer = {};
	struct sock *sk;
	__u32 pid;

	if (!socket)
		return;
	sk = socket->sk;
	if (!sk || !is_udp(sk) || tag_of(sk))
		return;
	pid = task_pid(task);
	if (!is_target(pid))
		return;
	tag = tag_new(sk, pid, true);
	if (!tag)
		return;
	sonde_seeded++;
	/* A client's first send was before us, and its server may be the next to speak. */
	connected_peer(sk, &peer);
	if (peer.known)
		enter_end(sk, tag, peer.addr);
}

SEC("iter/task_file")
int sonde_udp_seed(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (!task || !file)
		return 0;
	return COUNTED(SONDE_UDP_PROGRAM_SEED, on_file(task, file));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
