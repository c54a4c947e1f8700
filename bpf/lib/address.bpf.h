/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Addresses as the keys hold them: 16 bytes, IPv4 as ::ffff:a.b.c.d. */

#define AF_INET 2
#define AF_INET6 10

static __always_inline void map_v4(__u8 *to, __be32 from)
{
	__builtin_memset(to, 0, 10);
	to[10] = 0xff;
	to[11] = 0xff;
	__builtin_memcpy(to + 12, &from, sizeof(from));
}

/* A request_sock begins with the same sock_common, so this serves both. */
static __always_inline void read_addresses(const struct sock_common *skc, __u8 *laddr, __u8 *raddr)
{
	if (skc->skc_family == AF_INET6) {
		bpf_probe_read_kernel(laddr, 16, &skc->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(raddr, 16, &skc->skc_v6_daddr);
		return;
	}
	map_v4(laddr, skc->skc_rcv_saddr);
	map_v4(raddr, skc->skc_daddr);
}

static __always_inline __u64 netns_cookie(const struct sock_common *skc)
{
	return BPF_CORE_READ(skc, skc_net.net, net_cookie); /* by address, as in task_pid() */
}

static __always_inline bool is_loopback(const __u8 *addr)
{
	const __u32 *w = (const __u32 *)addr;

	if (w[0] || w[1])
		return false;
	if (w[2] == bpf_htonl(0xffff))
		return addr[12] == 127;
	return !w[2] && w[3] == bpf_htonl(1);
}
