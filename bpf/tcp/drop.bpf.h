/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Drops. Their socket is the receiver that kfree_skb names, else the skb's own (the
 * receiver by early demux in an input hook, the sender in output): which of the two
 * it is, the packet's ports say. Where neither is ours, the packet's addresses are
 * looked for among those of tagged connections.
 */

#define IPV4_FRAGMENT_OFFSET 0x1fff

#define IPV4_HEADER_MAX 60
#define IPV6_HEADER 40

/*
 * Ports by the network header, read at once: before the transport header was found too.
 * Only of TCP without extension headers; a later fragment has no ports. False: none, or
 * surely not those of a tagged connection.
 */
static __always_inline bool read_known_ports(const struct sk_buff *skb, struct packet *packet)
{
	const unsigned char *ip = skb->head + skb->network_header;
	__u8 head[IPV4_HEADER_MAX + 4]; /* an skb's buffer never ends so soon */
	__u32 length = IPV6_HEADER;

	if (skb->network_header == (__u16)~0U || bpf_probe_read_kernel(head, sizeof(head), ip))
		return false;
	if (head[0] >> 4 == 4) {
		__u16 fragment = head[6] << 8 | head[7];

		length = (head[0] & 0xf) * 4;
		if (head[9] != IPPROTO_TCP || fragment & IPV4_FRAGMENT_OFFSET)
			return false;
	} else if (head[0] >> 4 != 6 || head[6] != IPPROTO_TCP) {
		return false;
	}
	packet->source = head[length] << 8 | head[length + 1];
	packet->dest = head[length + 2] << 8 | head[length + 3];
	return *port_pair(packet->source, packet->dest) > 0;
}

/* What is known of a drop before its connection is. */
struct drop {
	const struct sk_buff *skb;
	const struct sock *sk; /* of another process; NULL: none */
	__u64 site;	       /* where kfree_skb was called */
	__u32 reason;
};

static __noinline int count_drop(const struct drop *d, __u32 index, __u8 direction, __u8 where)
{
	struct sonde_tcp_drop_key key = {
		.cell = index,
		.reason = d->reason,
		.site = d->site,
		.direction = direction,
		.event = SONDE_TCP_EVENT_DROP,
		.where = where,
	};
	struct sonde_tcp_drop *drop = drop_at(&key);

	if (!drop)
		return 0;
	add(&drop->skbs, 1);
	add(&drop->segments, segments_of(d->skb));
	add(&drop->bytes, d->skb->len);
	return 0;
}

static __noinline int tagged_drop(const struct drop *d, struct sonde_tag *tag, bool received)
{
	struct packet packet = {};
	__u8 direction = SONDE_TCP_DIRECTION_RX;
	__u32 index;

	if (tag->kind == TAG_LISTENER) {
		if (!read_packet_addresses(d->skb, &packet) ||
		    !listener_cell(tag, packet.laddr, packet.raddr, &index))
			return 0;
		return count_drop(d, index, direction, SONDE_TCP_WHERE_LISTENER);
	}
	if (tag->kind != TAG_CONNECTION || !tag_cell(tag, &index))
		return 0;
	flow_drop(tag, d->reason);
	read_ports(d->skb, &packet);
	/* Ours by its source port, and not by its destination's: on the way out. */
	if (!received && packet.dest == tag->rport && packet.source != tag->rport)
		direction = SONDE_TCP_DIRECTION_TX;
	return count_drop(d, index, direction, SONDE_TCP_WHERE_SOCKET);
}

/*
 * The cell of one end of the packet, if a tagged connection has it. What helpers get are
 * its own variables: before 6.2 they take no memory that a global function was given.
 */
SHARED int end_cell(struct sonde_tcp_tuple *tuple, __u32 *ret)
{
	struct sonde_tcp_cell_key key = {.protocol = IPPROTO_TCP};
	struct sonde_tcp_tuple own;
	struct sonde_tcp_end *end;
	__u32 index;

	if (!tuple || !ret)
		return 0;
	own = *tuple;
	end = bpf_map_lookup_elem(&sonde_tuples, &own);
	/* learn() enters what a seed has not tagged yet, without a role */
	if (!end || end->role == SONDE_TCP_ROLE_UNKNOWN)
		return 0;
	key.netns = end->netns;
	key.pid = end->pid;
	key.peer_pid = end->peer_pid;
	key.role = end->role;
	key.port = end->role == SONDE_TCP_ROLE_CLIENT ? tuple->rport : tuple->lport;
	__builtin_memcpy(key.laddr, tuple->laddr, sizeof(key.laddr));
	__builtin_memcpy(key.raddr, tuple->raddr, sizeof(key.raddr));
	if (!cell_index(&key, &index))
		return 0;
	*ret = index;
	return 1;
}

/* An skb in a socket's hands has no device any more. */
static __always_inline __u64 packet_netns(const struct drop *d)
{
	const struct sk_buff *skb = d->skb;

	if (d->sk)
		return netns_cookie(&d->sk->__sk_common);
	return BPF_CORE_READ(skb, dev, nd_net.net, net_cookie);
}

/*
 * The kernel had no socket of ours in hand: a hook before early demux, forwarding, a
 * bridge, loopback, the other end's stack. Both ends may be ours: each counts it, and
 * says that the other does, so that a sum over ends can take it once.
 */
static __noinline int elsewhere_drop(const struct drop *d)
{
	struct sonde_tcp_tuple sender = {}, receiver = {};
	struct packet packet = {};
	__u8 where = SONDE_TCP_WHERE_ELSEWHERE;
	__u32 from = 0, to = 0;
	int sent, received;

	if (!read_known_ports(d->skb, &packet) || !read_packet_addresses(d->skb, &packet))
		return 0;
	__builtin_memcpy(sender.laddr, packet.raddr, 16);
	__builtin_memcpy(sender.raddr, packet.laddr, 16);
	sender.lport = packet.source;
	sender.rport = packet.dest;
	if (is_loopback(packet.raddr))
		sender.netns = packet_netns(d);
	__builtin_memcpy(receiver.laddr, packet.laddr, 16);
	__builtin_memcpy(receiver.raddr, packet.raddr, 16);
	receiver.lport = packet.dest;
	receiver.rport = packet.source;
	receiver.netns = sender.netns;
	sent = end_cell(&sender, &from);
	received = end_cell(&receiver, &to);
	if (sent && received)
		where = SONDE_TCP_WHERE_BOTH_ENDS;
	if (sent)
		count_drop(d, from, SONDE_TCP_DIRECTION_TX, where);
	if (received)
		count_drop(d, to, SONDE_TCP_DIRECTION_RX, where);
	return 0;
}

/*
 * Before "inet_defrag: prevent sk release while still in use" (6.9, and its backports)
 * a fragment that waits for the others has its offset where the socket stands, with
 * nothing above it: no address of the kernel. Followed, it would be a fault in softirq.
 */
struct sk_buff___defrag {
	int ip_defrag_offset;
} __attribute__((preserve_access_index));

static __always_inline struct sock *skb_socket(const struct sk_buff *skb)
{
	struct sk_buff___defrag *fragment = NULL;
	__u64 address = 0;

	if (bpf_core_field_exists(fragment->ip_defrag_offset) &&
	    (bpf_probe_read_kernel(&address, sizeof(address), &skb->sk) || !(address >> 32)))
		return NULL;
	return skb->sk;
}

static __always_inline void on_drop(const struct sk_buff *skb, struct sock *rx_sk, __u32 reason,
				    void *location)
{
	struct sock *sk = rx_sk ?: skb_socket(skb);
	struct drop d = {.skb = skb, .sk = sk, .site = (__u64)location, .reason = reason};
	struct sonde_tag *tag = NULL;

	if (sk)
		tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	if (tag)
		tagged_drop(&d, tag, rx_sk != NULL);
	else
		elsewhere_drop(&d);
}
