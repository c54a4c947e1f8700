/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Peer: the other end of a call. A connected socket has it; else the call named
 * it, or the datagram that it took. The hooks that see this while the call is under
 * way leave it here for the one at its end, in the same thread.
 */

struct udp_peer {
	__u8 addr[16];
	__u16 port;
	bool known; /* else nobody knows with whom */
	bool fixed; /* the connected one, whose cell the tag keeps */
};

struct udp_named {
	__u64 sk;	/* compared, never followed; 0 = taken */
	__u64 since_ns; /* when the call began; 0 = not seen */
	struct udp_peer peer;
	__u32 pad;
};

/* By thread. What ended ones leave is the oldest. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct udp_named);
} sonde_named SEC(".maps");

static __always_inline struct udp_named *my_entry(void)
{
	struct udp_named *named, fresh = {};
	__u32 thread = bpf_get_current_pid_tgid();

	named = bpf_map_lookup_elem(&sonde_named, &thread);
	if (named)
		return named;
	bpf_map_update_elem(&sonde_named, &thread, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sonde_named, &thread);
}

/* While calls are timed: since when; 0 = they are not. What is older is of an earlier time. Set by user space. */
__u64 sonde_timed_since_ns;

static __always_inline void on_enter(void)
{
	struct udp_named *named;

	if (!current_target())
		return;
	named = my_entry();
	if (named)
		named->since_ns = bpf_ktime_get_ns();
}

/* How long the call took that ends here; 0 = its begin was not seen. The next message of a batch begins now. */
static __always_inline __u64 call_ns(void)
{
	__u32 thread = bpf_get_current_pid_tgid();
	struct udp_named *named;
	__u64 since, now;

	if (!sonde_timed_since_ns)
		return 0;
	named = bpf_map_lookup_elem(&sonde_named, &thread);
	if (!named || named->since_ns < sonde_timed_since_ns)
		return 0;
	now = bpf_ktime_get_ns();
	since = named->since_ns;
	named->since_ns = now;
	return now - since;
}

static __always_inline void on_address(struct bpf_sock_addr *ctx, bool v6)
{
	struct udp_named *named;

	if (!current_target())
		return;
	named = my_entry();
	if (!named)
		return;
	if (v6) {
		__u32 *to = (__u32 *)named->peer.addr;

		to[0] = ctx->user_ip6[0];
		to[1] = ctx->user_ip6[1];
		to[2] = ctx->user_ip6[2];
		to[3] = ctx->user_ip6[3];
	} else {
		map_v4(named->peer.addr, ctx->user_ip4);
	}
	named->peer.port = bpf_ntohs(ctx->user_port);
	named->sk = (__u64)ctx->sk;
}

/* Of a call that is over: the kernel's own copy of the address. */
static __always_inline void on_message(const struct sock *sk, const struct msghdr *msg)
{
	struct udp_named *named;
	void *name = BPF_CORE_READ(msg, msg_name);
	struct sockaddr_in6 in6 = {};

	if (!name || !current_target())
		return;
	/* the shorter one first: the longer ends behind a sockaddr_in's buffer, and may not be there */
	if (bpf_probe_read_kernel(&in6, sizeof(struct sockaddr_in), name))
		return;
	named = my_entry();
	if (!named)
		return;
	if (in6.sin6_family == AF_INET6) {
		if (bpf_probe_read_kernel(&in6, sizeof(in6), name))
			return;
		__builtin_memcpy(named->peer.addr, &in6.sin6_addr, sizeof(named->peer.addr));
	} else if (in6.sin6_family == AF_INET) {
		map_v4(named->peer.addr, ((struct sockaddr_in *)&in6)->sin_addr.s_addr);
	} else {
		return;
	}
	named->peer.port = bpf_ntohs(in6.sin6_port); /* where sin_port stands, too */
	named->sk = (__u64)sk;
}

/* The datagram that a read took off the queue. */
static __always_inline void on_taken(const struct sock *sk, const struct sk_buff *skb)
{
	struct packet packet = {};
	struct udp_named *named;

	if (is_connected(sk) || !current_target() || !read_packet_addresses(skb, &packet))
		return;
	read_ports(skb, &packet);
	named = my_entry();
	if (!named)
		return;
	__builtin_memcpy(named->peer.addr, packet.raddr, sizeof(named->peer.addr));
	named->peer.port = packet.source;
	named->sk = (__u64)sk;
}

/* Has something named the other end of this thread's call already? */
static __always_inline bool is_named(const struct sock *sk)
{
	__u32 thread = bpf_get_current_pid_tgid();
	const struct udp_named *named = bpf_map_lookup_elem(&sonde_named, &thread);

	return named && named->sk == (__u64)sk;
}

/* What the call that ends here named, once. */
static __always_inline void take_named(const struct sock *sk, struct udp_peer *peer)
{
	__u32 thread = bpf_get_current_pid_tgid();
	struct udp_named *named = bpf_map_lookup_elem(&sonde_named, &thread);

	if (!named || named->sk != (__u64)sk)
		return;
	named->sk = 0;
	*peer = named->peer;
	peer->known = true;
}

static __always_inline void connected_peer(const struct sock *sk, struct udp_peer *peer)
{
	__u8 laddr[16];

	if (!is_connected(sk))
		return;
	read_addresses(&sk->__sk_common, laddr, peer->addr);
	peer->port = bpf_ntohs(sk->__sk_common.skc_dport);
	peer->known = true;
	peer->fixed = true;
}

/* The key of what @pid exchanges with @peer. @end: that of a server's peer. */
static __always_inline void udp_key(const struct sock *sk, const struct sonde_udp_tag *tag,
				    __u32 pid, const struct udp_peer *peer,
				    struct sonde_tcp_cell_key *key, struct udp_end *end)
{
	bool server = tag->role == SONDE_TCP_ROLE_SERVER;
	/* volatile: or the compiler makes one load of two kinds of pointers, which the verifier refuses */
	__u16 own_port = *(volatile __u16 *)&sk->__sk_common.skc_num;
	__u8 raddr[16];

	key->pid = pid;
	key->role = tag->role;
	key->protocol = IPPROTO_UDP;
	if (!peer->known)
		key->flags = SONDE_TCP_CELL_OTHER;
	if (!peer->known &&
	    !server) /* the `other` cell of the (process, role), as cells.bpf.h makes it */
		return;
	key->netns = netns_cookie(&sk->__sk_common);
	key->port = server ? own_port : peer->port;
	read_addresses(&sk->__sk_common, key->laddr, raddr);
	if (!peer->known)
		return;
	__builtin_memcpy(key->raddr, peer->addr, sizeof(key->raddr));
	if (!server)
		return;
	remote_end(sk, peer->addr, peer->port, end);
	key->peer_pid = end_owner(end);
	if (!key->peer_pid)
		end->unknown = 1;
}

static __always_inline bool is_cached(const struct sonde_udp_tag *tag, __u32 pid,
				      const struct udp_peer *peer)
{
	return peer->fixed && tag->cell && tag->pid == pid && tag->rport == peer->port &&
	       !__builtin_memcmp(tag->raddr, peer->addr, sizeof(tag->raddr));
}

static __always_inline struct sonde_udp_cell *udp_cell(struct sock *sk, struct sonde_udp_tag *tag,
						       __u32 pid, const struct udp_peer *peer)
{
	struct sonde_tcp_cell_key key = {};
	struct sonde_udp_slot *slot;
	struct udp_end end = {};
	__u32 index, owner;

	if (is_cached(tag, pid, peer)) {
		index = tag->cell - 1;
	} else {
		udp_key(sk, tag, pid, peer, &key, &end);
		if (!cell_index(&key, &index))
			return NULL;
		if (peer->fixed && tag->pid == pid) {
			tag->cell = 0;
			__builtin_memcpy(tag->raddr, peer->addr, sizeof(tag->raddr));
			tag->rport = peer->port;
			tag->cell = index + 1;
		}
	}
	slot = bpf_map_lookup_elem(&sonde_cells, &index);
	if (!slot)
		return NULL;
	if (end.unknown && index < sonde_cell_limit && !is_shared(slot, &end)) {
		owner = share_unnamed(&end, index, pid, bpf_get_socket_cookie(sk));
		if (owner)
			name_late(&end, owner);
	}
	return &slot->cell;
}
