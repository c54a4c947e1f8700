/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Who a socket is, and the address-pair table. */

#define PROTOCOL_TCP 6
#define PROTOCOL_MPTCP 262

static __always_inline void write_identity(struct sonde_tag *tag, const struct sock_common *skc)
{
	read_addresses(skc, tag->laddr, tag->raddr);
	tag->lport = skc->skc_num;
	tag->rport = bpf_ntohs(skc->skc_dport);
	tag->netns = netns_cookie(skc);
}

static __always_inline void tuple_of(const struct sonde_tag *tag, struct sonde_tcp_tuple *tuple,
				     bool reversed)
{
	__builtin_memcpy(tuple->laddr, reversed ? tag->raddr : tag->laddr, 16);
	__builtin_memcpy(tuple->raddr, reversed ? tag->laddr : tag->raddr, 16);
	tuple->lport = reversed ? tag->rport : tag->lport;
	tuple->rport = reversed ? tag->lport : tag->rport;
	tuple->netns = is_loopback(tag->laddr) ? tag->netns : 0;
}

/*
 * How many entered connections have ports like these: most packets that nobody asked
 * for end at one look here. Both directions of a connection share a slot.
 */
__u32 sonde_port_pairs[SONDE_TCP_PORT_PAIRS];

static __always_inline __u32 *port_pair(__u16 a, __u16 b)
{
	return &sonde_port_pairs[(a ^ b) & (SONDE_TCP_PORT_PAIRS - 1)];
}

SHARED int tuple_enter(struct sonde_tag *tag)
{
	struct sonde_tcp_tuple tuple = {};
	struct sonde_tcp_end end = {};

	if (!tag)
		return 0;
	end.pid = tag->pid;
	end.peer_pid = tag->peer_pid;
	end.netns = tag->netns;
	end.role = tag->role;
	tuple_of(tag, &tuple, false);
	if (bpf_map_update_elem(&sonde_tuples, &tuple, &end, BPF_ANY)) {
		lose(SONDE_TCP_LOSS_TUPLE_FULL, 1);
		return 0;
	}
	if (!(__sync_fetch_and_or(&tag->flags, TAG_IN_TUPLES) & TAG_IN_TUPLES))
		__sync_fetch_and_add(port_pair(tag->lport, tag->rport), 1);
	return 0;
}

SHARED int tuple_leave(struct sonde_tag *tag)
{
	struct sonde_tcp_tuple tuple = {};

	/* Once: the pair may be another socket's by the second time. */
	if (!tag || !(__sync_fetch_and_and(&tag->flags, ~TAG_IN_TUPLES) & TAG_IN_TUPLES))
		return 0;
	tuple_of(tag, &tuple, false);
	bpf_map_delete_elem(&sonde_tuples, &tuple);
	__sync_fetch_and_add(port_pair(tag->lport, tag->rport), -1);
	return 0;
}

/* Who owns the other end; 0 when it is no target's or is not in the table. */
SHARED __u32 tuple_peer(struct sonde_tag *tag)
{
	struct sonde_tcp_tuple tuple = {};
	struct sonde_tcp_end *end;

	if (!tag)
		return 0;
	tuple_of(tag, &tuple, true);
	end = bpf_map_lookup_elem(&sonde_tuples, &tuple);
	return end ? end->pid : 0;
}
