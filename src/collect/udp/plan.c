/* SPDX-License-Identifier: Apache-2.0 */
/* The plan's table: what each program needs of the kernel, and what measures each metric, the best first. */
#include <linux/capability.h>

#include "collect/udp/state.h"
#include "host/privilege.h"

static const struct sonde_plan_program programs[SONDE_UDP_PROGRAM_MAX] = {
	[SONDE_UDP_PROGRAM_SEND] = {.function = "sonde_udp_send",
				    .hook = "tp_btf/sock_send_length",
				    .args = {"sock*", "4"},
				    .needs = {"bpf_map_type.BPF_MAP_TYPE_SK_STORAGE"},
				    .target_ns = 170,
				    .other_ns = 70,
				    .per = "send"},
	[SONDE_UDP_PROGRAM_RECV] = {.function = "sonde_udp_recv",
				    .hook = "tp_btf/sock_recv_length",
				    .args = {"sock*", "4", "4"},
				    .needs = {"bpf_map_type.BPF_MAP_TYPE_SK_STORAGE"},
				    .target_ns = 170,
				    .other_ns = 70,
				    .per = "read"},
	[SONDE_UDP_PROGRAM_TO4] = {.function = "sonde_udp_to4",
				   .hook = "cgroup/sendmsg4",
				   .needs = {"bpf_attach_type.BPF_CGROUP_UDP4_SENDMSG"},
				   .caps = SONDE_CAP(CAP_NET_ADMIN),
				   .target_ns = 100,
				   .other_ns = 60,
				   .per = "UDP send that names an address"},
	[SONDE_UDP_PROGRAM_TO6] = {.function = "sonde_udp_to6",
				   .hook = "cgroup/sendmsg6",
				   .needs = {"bpf_attach_type.BPF_CGROUP_UDP6_SENDMSG"},
				   .caps = SONDE_CAP(CAP_NET_ADMIN),
				   .target_ns = 100,
				   .other_ns = 60,
				   .per = "UDP send that names an address"},
	[SONDE_UDP_PROGRAM_FROM4] = {.function = "sonde_udp_from4",
				     .hook = "cgroup/recvmsg4",
				     .needs = {"bpf_attach_type.BPF_CGROUP_UDP4_RECVMSG"},
				     .caps = SONDE_CAP(CAP_NET_ADMIN),
				     .target_ns = 100,
				     .other_ns = 60,
				     .per = "UDP read that asks for the sender"},
	[SONDE_UDP_PROGRAM_FROM6] = {.function = "sonde_udp_from6",
				     .hook = "cgroup/recvmsg6",
				     .needs = {"bpf_attach_type.BPF_CGROUP_UDP6_RECVMSG"},
				     .caps = SONDE_CAP(CAP_NET_ADMIN),
				     .target_ns = 100,
				     .other_ns = 60,
				     .per = "UDP read that asks for the sender"},
	[SONDE_UDP_PROGRAM_FAIL] = {.function = "sonde_udp_fail",
				    .hook = "tp_btf/udp_fail_queue_rcv_skb",
				    .args = {"4", "sock*", "sk_buff*"},
				    .target_ns = 200,
				    .other_ns = 70,
				    .per = "datagram without room"},
	[SONDE_UDP_PROGRAM_FAIL_SK] = {.function = "sonde_udp_fail_sk",
				       .hook = "tp_btf/udp_fail_queue_rcv_skb",
				       .args = {"4", "sock*"},
				       .target_ns = 150,
				       .other_ns = 70,
				       .per = "datagram without room"},
	[SONDE_UDP_PROGRAM_FORK] = {.function = "sonde_udp_fork",
				    .hook = "tp_btf/sched_process_fork",
				    .args = {"task_struct*", "task_struct*"},
				    .target_ns = 900,
				    .other_ns = 900,
				    .per = "fork"},
	[SONDE_UDP_PROGRAM_EXIT] = {.function = "sonde_udp_exit",
				    .hook = "tp_btf/sched_process_exit",
				    .args = {"task_struct*"},
				    .target_ns = 900,
				    .other_ns = 900,
				    .per = "exit of a process"},
	[SONDE_UDP_PROGRAM_SEED] = {.function = "sonde_udp_seed",
				    .hook = "iter/task_file",
				    .target_ns = 2400,
				    .per = "socket, once"},
};

#define BIT(name) SONDE_PLAN_BIT(SONDE_UDP_PROGRAM_##name)

static const struct sonde_plan_metric metrics[] = {
	{.metrics = "UDP datagrams, bytes and calls sent, send errors",
	 .core = true,
	 .alternatives = {{BIT(SEND)}}},
	{.metrics = "UDP datagrams, bytes and calls received, read errors",
	 .core = true,
	 .alternatives = {{BIT(RECV)}}},
	{.metrics = "UDP destinations of unconnected sockets",
	 .alternatives = {{BIT(TO4) | BIT(TO6), .name = "cgroup/sendmsg4, cgroup/sendmsg6"}}},
	{.metrics = "UDP senders to unconnected sockets",
	 .alternatives = {{BIT(FROM4) | BIT(FROM6), .name = "cgroup/recvmsg4, cgroup/recvmsg6"}}},
	{.metrics = "UDP datagrams without room in the receive buffer",
	 .alternatives = {{BIT(FAIL), .name = "tp_btf/udp_fail_queue_rcv_skb with skb"},
			  {BIT(FAIL_SK),
			   .less = "their bytes, and the sender where the socket is not "
				   "connected"}}},
	{.metrics = "UDP sockets that were open before", .alternatives = {{BIT(SEED)}}},
	{.metrics = "processes that UDP targets fork in mid-task", .alternatives = {{BIT(FORK)}}},
	{.metrics = "UDP targets that end", .alternatives = {{BIT(EXIT)}}},
};

static const struct sonde_plan_table table = {
	.name = "udp",
	.programs = programs,
	.n_programs = SONDE_UDP_PROGRAM_MAX,
	.metrics = metrics,
	.n_metrics = ELEMENTS_OF(metrics),
};

const struct sonde_plan_table *udp_plan_table(void)
{
	return &table;
}
