/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Ends: which target speaks from a client's address and port, so that a server
 * that is a target too knows it by process. An entry goes when its socket is
 * closed; without the hook for that none is made, or the port's next owner would
 * pass for this one.
 *
 * The client enters itself when its first send returns: what a server that reads faster
 * than that has counted until then is named late (late.bpf.h).
 */

bool sonde_ends_kept; /* set by user space: sonde_udp_release is attached */

struct udp_end {
	__u64 netns; /* net cookie where the address is loopback, else 0: veth pairs cross namespaces */
	__u8 addr[16];
	__u32 port;
	__u32 unknown; /* 0 in each key; 1: looked up, and nobody has entered it */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct udp_end);
	__type(value, __u32); /* pid */
} sonde_ends SEC(".maps");

static __always_inline bool is_any(const __u8 *addr)
{
	const __u32 *w = (const __u32 *)addr;

	return !w[0] && !w[1] && (!w[2] || w[2] == bpf_htonl(0xffff)) && !w[3];
}

/* Where a client sends from; false where only routing knows. */
static __always_inline bool local_end(const struct sock *sk, const __u8 *to, struct udp_end *end)
{
	__u8 raddr[16];

	read_addresses(&sk->__sk_common, end->addr, raddr);
	if (is_any(end->addr)) {
		if (!is_loopback(to))
			return false;
		__builtin_memcpy(end->addr, to, sizeof(end->addr));
		end->addr[13] = 0; /* from 127.0.0.1, whichever of 127/8 is spoken to */
		end->addr[14] = 0;
		end->addr[15] = 1;
	}
	end->port = *(volatile __u16 *)&sk->__sk_common.skc_num;
	if (is_loopback(end->addr))
		end->netns = netns_cookie(&sk->__sk_common);
	return true;
}

SHARED int leave_end(struct sonde_udp_tag *tag)
{
	struct udp_end end = {};

	if (!tag || !tag->end_port)
		return 0;
	end.netns = tag->end_netns;
	end.port = tag->end_port;
	__builtin_memcpy(end.addr, tag->end_addr, sizeof(end.addr));
	tag->end_port = 0;
	bpf_map_delete_elem(&sonde_ends, &end);
	return 0;
}

SHARED int name_late(struct udp_end *end, __u32 pid);

/* @to: whom the socket speaks to now. */
static __always_inline void enter_end(const struct sock *sk, struct sonde_udp_tag *tag,
				      const __u8 *to)
{
	struct udp_end end = {};
	__u32 pid = tag->pid;

	if (!sonde_ends_kept || tag->role != SONDE_TCP_ROLE_CLIENT || !local_end(sk, to, &end))
		return;
	if (tag->end_port == end.port &&
	    !__builtin_memcmp(tag->end_addr, end.addr, sizeof(end.addr)))
		return;
	leave_end(tag);
	if (bpf_map_update_elem(&sonde_ends, &end, &pid, BPF_ANY))
		return;
	tag->end_netns = end.netns;
	__builtin_memcpy(tag->end_addr, end.addr, sizeof(end.addr));
	tag->end_port = end.port;
	name_late(&end, pid);
}

/* The end that speaks from there to a server in @sk's namespace. */
static __always_inline void remote_end(const struct sock *sk, const __u8 *addr, __u16 port,
				       struct udp_end *end)
{
	end->port = port;
	__builtin_memcpy(end->addr, addr, sizeof(end->addr));
	if (is_loopback(end->addr))
		end->netns = netns_cookie(&sk->__sk_common);
}

/* The target that has it; 0 = nobody of ours. */
static __always_inline __u32 end_owner(const struct udp_end *end)
{
	__u32 *pid = bpf_map_lookup_elem(&sonde_ends, end);

	return pid ? *pid : 0;
}

static __always_inline void on_release(struct bpf_sock *ctx)
{
	struct sonde_udp_tag *tag = bpf_sk_storage_get(&sonde_tags, ctx, NULL, 0);

	if (tag)
		leave_end(tag);
}
