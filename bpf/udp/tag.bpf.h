/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Tag: what we know of one UDP socket, in its socket storage. Calls are counted
 * when they return, so it holds no counters: the role, once it is known, the cell
 * of a connected socket's peer, and what was held back by UDP_CORK or MSG_MORE.
 */

enum udp_cork {
	CORK_NONE = 0,
	CORK_CALL = 1,	 /* MSG_MORE: the next send without it ends the datagram */
	CORK_SOCKET = 2, /* the socket option: only setsockopt(2) ends it */
};

struct sonde_udp_tag {
	__u32 ready; /* written last; 0 = being filled on some CPU, treated as absent */
	__u32 pid;   /* who opened it, as far as we know: owner of what comes in interrupts */
	__u8 role;   /* enum sonde_tcp_role; UNKNOWN until the first call that moves something */
	__u8 cork;   /* enum udp_cork */
	__u16 rport; /* of the connected peer that `cell` is of */
	__u32 cell;  /* index + 1 */
	__u8 raddr[16];
	/* what it entered into sonde_ends; port 0 = nothing */
	__u8 end_addr[16];
	__u64 end_netns;
	__u32 end_port;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sonde_udp_tag);
} sonde_tags SEC(".maps");

/* Local ports of sockets that serve, with their owner: a socket connected from one is a server's, too. */
struct udp_port_key {
	__u64 netns;
	__u32 port;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct udp_port_key);
	__type(value, __u32); /* pid */
} sonde_ports SEC(".maps");

static __always_inline void port_key(const struct sock *sk, struct udp_port_key *key)
{
	key->netns = netns_cookie(&sk->__sk_common);
	key->port = sk->__sk_common.skc_num;
}

static __always_inline bool is_connected(const struct sock *sk)
{
	return sk->__sk_common.skc_dport != 0;
}

static __always_inline bool is_udp(const struct sock *sk)
{
	__u16 family;

	if (sk->sk_protocol != IPPROTO_UDP || sk->sk_type != SOCK_DGRAM)
		return false;
	family = sk->__sk_common.skc_family;
	return family == AF_INET || family == AF_INET6;
}

/* The port was named in bind(2). */
static __always_inline bool has_own_port(const struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

static __always_inline void set_role(struct sock *sk, struct sonde_udp_tag *tag, __u8 role)
{
	struct udp_port_key key = {};

	tag->role = role;
	if (role != SONDE_TCP_ROLE_SERVER || is_connected(sk))
		return;
	port_key(sk, &key);
	bpf_map_update_elem(&sonde_ports, &key, &tag->pid, BPF_ANY);
}

static __always_inline bool is_served_port(const struct sock *sk, __u32 pid)
{
	struct udp_port_key key = {};
	__u32 *owner;

	port_key(sk, &key);
	owner = bpf_map_lookup_elem(&sonde_ports, &key);
	return owner && *owner == pid;
}

/*
 * A connected socket is a client, but for one that is connected from a port that its
 * process serves. An unconnected one is what its first call makes it (@role): a server
 * receives first.
 */
static __always_inline void find_role(struct sock *sk, struct sonde_udp_tag *tag, __u8 role)
{
	if (tag->role != SONDE_TCP_ROLE_UNKNOWN)
		return;
	if (is_connected(sk))
		role = is_served_port(sk, tag->pid) ? SONDE_TCP_ROLE_SERVER : SONDE_TCP_ROLE_CLIENT;
	set_role(sk, tag, role);
}

/* Where the first call was before us, a port named in bind(2) is a server's. One without a port had none. */
static __always_inline void find_seeded_role(struct sock *sk, struct sonde_udp_tag *tag)
{
	if (sk->__sk_common.skc_num)
		find_role(sk, tag,
			  has_own_port(sk) ? SONDE_TCP_ROLE_SERVER : SONDE_TCP_ROLE_CLIENT);
}

/* The tag that this CPU may use; NULL without one. */
static __always_inline struct sonde_udp_tag *tag_of(struct sock *sk)
{
	struct sonde_udp_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);

	return tag && *(volatile __u32 *)&tag->ready ? tag : NULL;
}

static __always_inline struct sonde_udp_tag *tag_new(struct sock *sk, __u32 pid, bool seeded)
{
	struct sonde_udp_tag *tag;

	tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tag) {
		lose(SONDE_UDP_LOSS_TAG_FAILED, 1);
		return NULL;
	}
	/* Two threads may fill it at once, and write the same. */
	if (!tag->ready) {
		tag->pid = pid;
		if (seeded)
			find_seeded_role(sk, tag);
		__sync_lock_test_and_set(&tag->ready, 1);
	}
	return tag;
}

/*
 * A target's socket got its port from bind(2): from now on what finds no room in it has
 * an owner, though nobody has read from it yet. What it is to be, its first call says.
 */
static __always_inline void on_bind(struct bpf_sock *ctx)
{
	struct sonde_udp_tag *tag;
	__u32 pid;

	if (ctx->protocol != IPPROTO_UDP || ctx->type != SOCK_DGRAM)
		return;
	pid = current_target();
	if (!pid)
		return;
	tag = bpf_sk_storage_get(&sonde_tags, ctx, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tag) {
		lose(SONDE_UDP_LOSS_TAG_FAILED, 1);
		return;
	}
	if (!tag->ready) {
		tag->pid = pid;
		__sync_lock_test_and_set(&tag->ready, 1);
	}
}
