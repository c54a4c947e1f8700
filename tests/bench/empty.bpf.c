/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A program that does nothing on each hook that the collectors may use: what the hook itself costs. */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#define EMPTY(hook)                                                                                \
	SEC("tp_btf/" #hook) int empty_##hook(__u64 *ctx)                                          \
	{                                                                                          \
		return 0;                                                                          \
	}

EMPTY(inet_sock_set_state)
EMPTY(kfree_skb)
EMPTY(sched_process_exec)
EMPTY(sched_process_exit)
EMPTY(sched_process_fork)
EMPTY(sock_recv_length)
EMPTY(sock_send_length)
EMPTY(tcp_cong_state_set)
EMPTY(tcp_destroy_sock)
EMPTY(tcp_probe)
EMPTY(tcp_rcv_space_adjust)
EMPTY(tcp_receive_reset)
EMPTY(tcp_retransmit_skb)
EMPTY(tcp_retransmit_synack)
EMPTY(tcp_send_reset)

SEC("sockops")
int empty_sockops(struct bpf_sock_ops *ctx)
{
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
