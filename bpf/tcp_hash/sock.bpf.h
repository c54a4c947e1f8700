/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Entries of sockets and listeners, and reading a socket. By address throughout: an iterator knows no more. */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64); /* address of struct sock */
	__type(value, struct sonde_hash_sock);
} sonde_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sonde_hash_listener_key);
	__type(value, struct sonde_hash_listener);
} sonde_listeners SEC(".maps");

#define TO_SOCK(address) ((struct sock *)(address))
#define TO_TCP(address) ((struct tcp_sock *)(address))

static __always_inline struct sonde_hash_sock *find_sock(__u64 sk)
{
	return bpf_map_lookup_elem(&sonde_socks, &sk);
}

static __always_inline void forget_sock(__u64 sk)
{
	bpf_map_delete_elem(&sonde_socks, &sk);
}

/* Before 5.14 the namespace's cookie is made when somebody asks for it: its number serves. */
static __always_inline __u64 netns_of(__u64 sk)
{
	return BPF_CORE_READ(TO_SOCK(sk), __sk_common.skc_net.net, ns.inum);
}

static __always_inline void read_addresses_of(__u64 skc, __u8 *laddr, __u8 *raddr)
{
	const struct sock_common *common = (const void *)skc;

	if (BPF_CORE_READ(common, skc_family) == AF_INET6) {
		bpf_core_read(laddr, 16, &common->skc_v6_rcv_saddr);
		bpf_core_read(raddr, 16, &common->skc_v6_daddr);
		return;
	}
	map_v4(laddr, BPF_CORE_READ(common, skc_rcv_saddr));
	map_v4(raddr, BPF_CORE_READ(common, skc_daddr));
}

static __always_inline __u16 local_port(__u64 sk)
{
	return BPF_CORE_READ(TO_SOCK(sk), __sk_common.skc_num);
}

static __always_inline __u16 remote_port(__u64 sk)
{
	return bpf_ntohs(BPF_CORE_READ(TO_SOCK(sk), __sk_common.skc_dport));
}

static __always_inline __u32 state_of(__u64 sk)
{
	return BPF_CORE_READ(TO_SOCK(sk), __sk_common.skc_state);
}

/* All but the owner and the role. */
static __always_inline void write_key(__u64 sk, struct sonde_tcp_cell_key *key)
{
	read_addresses_of(sk, key->laddr, key->raddr);
	key->netns = netns_of(sk);
	key->port = key->role == SONDE_TCP_ROLE_CLIENT ? remote_port(sk) : local_port(sk);
}

static __always_inline void read_socket(__u64 sk, struct sonde_hash_reading *now)
{
	const struct tcp_sock *tp = TO_TCP(sk);

	now->bytes_acked = BPF_CORE_READ(tp, bytes_acked);
	now->bytes_received = BPF_CORE_READ(tp, bytes_received);
	now->write_seq = BPF_CORE_READ(tp, write_seq);
	now->snd_una = BPF_CORE_READ(tp, snd_una);
	now->copied_seq = BPF_CORE_READ(tp, copied_seq);
	now->rcv_nxt = BPF_CORE_READ(tp, rcv_nxt);
	now->fin_arrived =
		!!(BPF_CORE_READ(TO_SOCK(sk), __sk_common.skc_flags) & (1UL << SOCK_DONE));
	now->segments_out = BPF_CORE_READ(tp, segs_out);
	now->segments_in = BPF_CORE_READ(tp, segs_in);
	now->retrans = BPF_CORE_READ(tp, total_retrans);
	now->srtt_us = BPF_CORE_READ(tp, srtt_us);
	now->mdev_us = BPF_CORE_READ(tp, mdev_us);
	now->rtt_min_us = BPF_CORE_READ(tp, rtt_min.s[0].v);
}

static __always_inline bool is_any(const __u8 *addr)
{
	const __u32 *w = (const __u32 *)addr;

	return !w[0] && !w[1] && !w[3] && (!w[2] || w[2] == bpf_htonl(0xffff));
}

static __always_inline void listener_key(__u64 sk, struct sonde_hash_listener_key *key)
{
	__u8 nobody[16];

	read_addresses_of(sk, key->addr, nobody);
	if (is_any(key->addr))
		__builtin_memset(key->addr, 0, sizeof(key->addr));
	key->netns = netns_of(sk);
	key->port = local_port(sk);
}

/* Who listens where this connection's own end is. */
static __noinline struct sonde_hash_listener *listener_of(const struct sonde_hash_sock *s,
							  __u16 lport)
{
	struct sonde_hash_listener_key key = {.netns = s->key.netns, .port = lport};
	struct sonde_hash_listener *l;

	__builtin_memcpy(key.addr, s->key.laddr, sizeof(key.addr));
	l = bpf_map_lookup_elem(&sonde_listeners, &key);
	if (l)
		return l;
	__builtin_memset(key.addr, 0, sizeof(key.addr));
	return bpf_map_lookup_elem(&sonde_listeners, &key);
}

static __always_inline bool enter_sock(__u64 sk, const struct sonde_hash_sock *s)
{
	if (bpf_map_update_elem(&sonde_socks, &sk, s, BPF_ANY) == 0)
		return true;
	lose(SONDE_TCP_LOSS_TAG_FAILED, 1);
	return false;
}
