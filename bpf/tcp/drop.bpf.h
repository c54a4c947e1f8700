/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Drops that have a socket: the receiver that kfree_skb names, else the skb's
 * own (the receiver by early demux in an input hook, the sender in output).
 * Which of the two it is, the packet's ports say.
 */

static __noinline int count_drop(const struct sk_buff *skb, __u32 index, __u32 reason,
				 __u8 direction)
{
	struct sonde_tcp_drop_key key = {.cell = index, .reason = reason, .direction = direction};
	struct sonde_tcp_drop *drop = bpf_map_lookup_elem(&sonde_drops, &key);

	if (!drop) {
		struct sonde_tcp_drop zero = {};

		bpf_map_update_elem(&sonde_drops, &key, &zero, BPF_NOEXIST);
		drop = bpf_map_lookup_elem(&sonde_drops, &key);
		if (!drop) {
			lose(SONDE_TCP_LOSS_DROP_FULL, 1);
			return 0;
		}
	}
	add(&drop->skbs, 1);
	add(&drop->segments, segments_of(skb));
	add(&drop->bytes, skb->len);
	return 0;
}

static __noinline int tagged_drop(const struct sk_buff *skb, struct sonde_tag *tag, __u32 reason,
				  bool received)
{
	struct packet packet = {};
	__u32 index;

	read_ports(skb, &packet);
	if (tag->kind == TAG_LISTENER) {
		if (!read_packet_addresses(skb, &packet) ||
		    !listener_cell(tag, packet.laddr, packet.raddr, &index))
			return 0;
		return count_drop(skb, index, reason, SONDE_TCP_DIRECTION_RX);
	}
	if (tag->kind != TAG_CONNECTION || !tag_cell(tag, &index))
		return 0;
	flow_drop(tag, reason);
	/* Ours by its source port, and not by its destination's: on the way out. */
	if (!received && packet.dest == tag->rport && packet.source != tag->rport)
		return count_drop(skb, index, reason, SONDE_TCP_DIRECTION_TX);
	return count_drop(skb, index, reason, SONDE_TCP_DIRECTION_RX);
}

static __always_inline void on_drop(const struct sk_buff *skb, struct sock *rx_sk, __u32 reason)
{
	struct sonde_tag *tag;
	struct sock *sk;

	if (rx_sk) {
		tag = bpf_sk_storage_get(&sonde_tags, rx_sk, NULL, 0);
		if (tag)
			tagged_drop(skb, tag, reason, true);
		return;
	}
	sk = skb->sk;
	if (!sk)
		return;
	tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	if (tag)
		tagged_drop(skb, tag, reason, false);
}
