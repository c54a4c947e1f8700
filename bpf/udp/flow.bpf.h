/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Flows: what one process exchanges with one peer over one socket, counted beside
 * its cell. UDP has no end but that of a connected socket: the others end when user
 * space finds them quiet. What finds no room is summed per process and role.
 */

bool sonde_flows_wanted; /* set by user space */

struct udp_flow_key {
	__u64 cookie;
	__u32 pid;
	__u16 rport;
	__u16 pad;
	__u8 raddr[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct udp_flow_key);
	__type(value, struct sonde_udp_flow);
} sonde_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SONDE_UDP_FLOW_RESTS);
	__type(key, struct sonde_flow_rest_key);
	__type(value, struct sonde_flow_rest);
} sonde_flow_rests SEC(".maps");

/* Not the cookie alone: an unconnected socket has many peers, and one that was quiet may come back. */
static __always_inline __u64 flow_id(const struct udp_flow_key *key, __u64 start_ns)
{
	const __u32 *w = (const __u32 *)key->raddr;
	__u64 h = key->cookie * 0x9e3779b97f4a7c15ULL;

	h = (h ^ w[0] ^ (__u64)w[1] << 32) * 0x9e3779b97f4a7c15ULL;
	h = (h ^ w[2] ^ (__u64)w[3] << 32) * 0x9e3779b97f4a7c15ULL;
	return (h ^ key->rport ^ (__u64)key->pid << 16) * 0x9e3779b97f4a7c15ULL ^ start_ns;
}

static __always_inline void begin_flow(struct sock *sk, const struct sonde_udp_tag *tag,
				       const struct udp_flow_key *key, struct sonde_udp_flow *fresh)
{
	struct sonde_flow *flow = &fresh->flow;
	__u8 raddr[16];

	flow->start_ns = bpf_ktime_get_ns();
	fresh->last_ns = flow->start_ns; /* else it looks quiet until its first datagram is added */
	flow->id = flow_id(key, flow->start_ns);
	flow->netns = netns_cookie(&sk->__sk_common);
	flow->pid = key->pid;
	flow->protocol = IPPROTO_UDP;
	flow->role = tag->role;
	flow->lport = *(volatile __u16 *)&sk->__sk_common.skc_num;
	flow->rport = key->rport;
	read_addresses(&sk->__sk_common, flow->laddr, raddr);
	__builtin_memcpy(flow->raddr, key->raddr, sizeof(flow->raddr));
}

/* What was read from @end before it was known whose it is. */
static __always_inline void name_flow(const struct udp_late *late, const struct udp_end *end,
				      __u32 pid)
{
	struct udp_flow_key key = {
		.cookie = late->cookie, .pid = late->pid, .rport = (__u16)end->port};
	struct sonde_udp_flow *flow;

	if (!sonde_flows_wanted)
		return;
	__builtin_memcpy(key.raddr, end->addr, sizeof(key.raddr));
	flow = bpf_map_lookup_elem(&sonde_flows, &key);
	if (flow)
		flow->flow.peer_pid = pid;
}

/* A frame of its own: what is on the stack with `fresh` has no room for much else. */
static __noinline int enter_flow(struct sock *sk, const struct sonde_udp_tag *tag,
				 const struct udp_flow_key *key)
{
	struct sonde_udp_flow fresh = {};

	begin_flow(sk, tag, key, &fresh);
	bpf_map_update_elem(&sonde_flows, key, &fresh, BPF_NOEXIST);
	return 0;
}

static __always_inline struct sonde_udp_flow *flow_of(struct sock *sk,
						      const struct sonde_udp_tag *tag, __u32 pid,
						      const struct udp_peer *peer)
{
	struct udp_flow_key key = {.pid = pid, .rport = peer->port};
	struct sonde_udp_flow *flow;
	struct udp_end end = {};
	__u32 owner;

	if (!peer->known)
		return NULL;
	key.cookie = bpf_get_socket_cookie(sk);
	__builtin_memcpy(key.raddr, peer->addr, sizeof(key.raddr));
	flow = bpf_map_lookup_elem(&sonde_flows, &key);
	if (flow)
		return flow;
	enter_flow(sk, tag, &key);
	flow = bpf_map_lookup_elem(&sonde_flows, &key);
	if (!flow || tag->role != SONDE_TCP_ROLE_SERVER)
		return flow;
	/* Once it is there: name_flow() finds it, or this the end. */
	remote_end(sk, peer->addr, peer->port, &end);
	owner = end_owner(&end);
	if (owner)
		flow->flow.peer_pid = owner;
	return flow;
}

static __always_inline struct sonde_flow_rest *rest_of(const struct sonde_udp_tag *tag, __u32 pid)
{
	struct sonde_flow_rest_key key = {.pid = pid, .protocol = IPPROTO_UDP, .role = tag->role};
	struct sonde_flow_rest *rest = bpf_map_lookup_elem(&sonde_flow_rests, &key);

	if (!rest) {
		struct sonde_flow_rest zero = {};

		bpf_map_update_elem(&sonde_flow_rests, &key, &zero, BPF_NOEXIST);
		rest = bpf_map_lookup_elem(&sonde_flow_rests, &key);
		if (!rest)
			lose(SONDE_UDP_LOSS_FLOW_FULL, 1);
	}
	return rest;
}

/* @datagrams may be 0 with bytes: what UDP_CORK holds back. */
static __always_inline void flow_sent(struct sock *sk, const struct sonde_udp_tag *tag, __u32 pid,
				      const struct udp_peer *peer, __u64 bytes, __u64 datagrams)
{
	struct sonde_udp_flow *flow;
	struct sonde_flow_rest *rest;

	if (!sonde_flows_wanted)
		return;
	flow = flow_of(sk, tag, pid, peer);
	if (flow) {
		add(&flow->flow.sent_bytes, bytes);
		add(&flow->flow.segments_out, datagrams);
		flow->last_ns = bpf_ktime_get_ns();
		return;
	}
	rest = rest_of(tag, pid);
	if (!rest)
		return;
	add(&rest->sent_bytes, bytes);
	add(&rest->segments_out, datagrams);
}

static __always_inline void flow_received(struct sock *sk, const struct sonde_udp_tag *tag,
					  __u32 pid, const struct udp_peer *peer, __u64 bytes)
{
	struct sonde_udp_flow *flow;
	struct sonde_flow_rest *rest;

	if (!sonde_flows_wanted)
		return;
	flow = flow_of(sk, tag, pid, peer);
	if (flow) {
		add(&flow->flow.received_bytes, bytes);
		add(&flow->flow.segments_in, 1);
		flow->last_ns = bpf_ktime_get_ns();
		return;
	}
	rest = rest_of(tag, pid);
	if (!rest)
		return;
	add(&rest->received_bytes, bytes);
	add(&rest->segments_in, 1);
}

/* The end of a connected socket is the end of its flow. */
static __always_inline void flow_released(struct bpf_sock *ctx)
{
	struct sonde_udp_tag *tag = bpf_sk_storage_get(&sonde_tags, ctx, NULL, 0);
	struct udp_flow_key key = {};
	struct sonde_udp_flow *flow;

	if (!sonde_flows_wanted || !tag || !tag->rport)
		return;
	key.cookie = bpf_get_socket_cookie(ctx);
	key.pid = tag->pid;
	key.rport = tag->rport;
	__builtin_memcpy(key.raddr, tag->raddr, sizeof(key.raddr));
	flow = bpf_map_lookup_elem(&sonde_flows, &key);
	if (flow)
		flow->flow.end_ns = bpf_ktime_get_ns();
}

static __always_inline void flow_dropped(struct sock *sk, const struct sonde_udp_tag *tag,
					 const struct udp_peer *peer)
{
	struct sonde_udp_flow *flow;
	struct sonde_flow_rest *rest;

	if (!sonde_flows_wanted)
		return;
	flow = flow_of(sk, tag, tag->pid, peer);
	if (flow) {
		__sync_fetch_and_add(&flow->flow.drops, 1);
		flow->last_ns = bpf_ktime_get_ns();
		return;
	}
	rest = rest_of(tag, tag->pid);
	if (rest)
		add(&rest->drops, 1);
}
