/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TCP collector for kernels whose tracing programs have no socket storage, kernel
 * side. Uses nothing that came after 5.10: no storage, no exchange, no bpf_loop().
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bpf/tcp/tcp_hist.h"
#include "bpf/tcp_hash/payload.h"

#define SONDE_COST_PROGRAMS SONDE_HASH_PROGRAM_MAX
#define SONDE_COST_SAMPLE SONDE_HASH_COST_SAMPLE
#define SONDE_LOSS_SITES SONDE_TCP_LOSS_MAX
#define SONDE_LOSS_TARGET_FULL SONDE_TCP_LOSS_TARGET_FULL
#define SONDE_WITHOUT_LOOP

__u32 sonde_seed_pass;
__u32 sonde_seed_generation;
__u64 sonde_seeded; /* sockets entered by seeding */

/* In the order in which they build on each other. */
#include "bpf/lib/cost.bpf.h"
#include "bpf/lib/loss.bpf.h"
#include "bpf/lib/pid.bpf.h"

#include "bpf/lib/address.bpf.h"
#include "bpf/lib/calibrate.bpf.h"
#include "bpf/lib/handshake.bpf.h"
#include "bpf/lib/targets.bpf.h"
#include "bpf/lib/tcp_verdict.bpf.h"

#include "bpf/tcp_hash/cell.bpf.h"
#include "bpf/tcp_hash/sock.bpf.h"

#include "bpf/tcp_hash/life.bpf.h"

#include "bpf/tcp_hash/seed.bpf.h"

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(sonde_hash_state, struct sock *sk, int oldstate, int newstate)
{
	return COUNTED(SONDE_HASH_PROGRAM_STATE,
		       on_state((__u64)sk, sk->sk_protocol, oldstate, newstate));
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(sonde_hash_destroy, struct sock *sk)
{
	return COUNTED(SONDE_HASH_PROGRAM_DESTROY, on_destroy((__u64)sk));
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(sonde_hash_retransmit, struct sock *sk)
{
	return COUNTED(SONDE_HASH_PROGRAM_RETRANSMIT, on_retransmit((__u64)sk));
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(sonde_hash_synack, struct sock *sk, struct request_sock *req)
{
	return COUNTED(SONDE_HASH_PROGRAM_SYNACK, on_retransmit_synack((__u64)sk, req));
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(sonde_hash_reset_sent, struct sock *sk)
{
	return COUNTED(SONDE_HASH_PROGRAM_RESET_SENT, on_reset((__u64)sk, false));
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(sonde_hash_reset_recv, struct sock *sk)
{
	return COUNTED(SONDE_HASH_PROGRAM_RESET_RECEIVED, on_reset((__u64)sk, true));
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sonde_hash_fork, struct task_struct *parent, struct task_struct *child)
{
	return COUNTED(SONDE_HASH_PROGRAM_FORK, on_fork(parent, child));
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sonde_hash_exit, struct task_struct *task)
{
	return COUNTED(SONDE_HASH_PROGRAM_EXIT, on_exit(task));
}

SEC("iter/task_file")
int sonde_hash_seed(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (!task || !file)
		return 0;
	return COUNTED(SONDE_HASH_PROGRAM_SEED, on_file(task, file));
}

/* The connections that have a socket, each as it is now. Writes nothing but to its reader. */
SEC("iter/bpf_map_elem")
int sonde_hash_snapshot(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct sonde_hash_sock *s = ctx->value;
	const __u64 *sk = ctx->key;
	struct sonde_hash_live live = {};

	if (!s || !sk || s->kind != SONDE_HASH_CONNECTION)
		return 0;
	live.sk = *sk;
	live.id = s->id;
	live.key = s->key;
	live.flags = *(volatile __u32 *)&s->flags; /* before the rest, which is written before it */
	live.closer = s->closer;
	live.shut = is_shut(live.sk);
	live.base = s->base;
	read_socket(live.sk, &live.now);
	bpf_seq_write(ctx->meta->seq, &live, sizeof(live));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
