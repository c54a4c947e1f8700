/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Datagrams that the kernel could not put into a receive buffer. In an interrupt: the owner is the tag's. */

/* @skb: NULL where the tracepoint does not name it; then its UDP header is off already. */
static __always_inline void on_full(struct sock *sk, const struct sk_buff *skb)
{
	struct sonde_udp_tag *tag;
	struct sonde_udp_cell *cell;
	struct packet packet = {};
	struct udp_peer peer = {};

	if (!is_udp(sk))
		return;
	tag = tag_of(sk);
	if (!tag || !is_target(tag->pid))
		return;
	find_role(sk, tag, SONDE_TCP_ROLE_SERVER);
	connected_peer(sk, &peer);
	if (!peer.known && skb && read_packet_addresses(skb, &packet)) {
		read_ports(skb, &packet);
		__builtin_memcpy(peer.addr, packet.raddr, sizeof(peer.addr));
		peer.port = packet.source;
		peer.known = true;
	}
	cell = udp_cell(sk, tag, tag->pid, &peer);
	if (!cell)
		return;
	/* One, as UdpRcvbufErrors has it, though GRO may have joined several: a read would have had them as one. */
	add(&cell->buffer_dropped_datagrams, 1);
	flow_dropped(sk, tag, &peer);
	if (skb)
		add(&cell->buffer_dropped_bytes, skb->len);
	if (!peer.known)
		lose(SONDE_UDP_LOSS_PEER_UNKNOWN, 1);
}
