/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Retransmits by kind. The number of segments is the growth of total_retrans, that
 * of payload bytes the growth of bytes_retrans, since the last event, which the kernel raised just before: so the sum over
 * kinds is that of the connection, also where a transmit failed.
 */

static __always_inline __u32 retransmit_kind(const struct sock *sk, const struct tcp_sock *tp)
{
	return retransmit_kind_of(sk->__sk_common.skc_state,
				  BPF_CORE_READ_BITFIELD(tp, inet_conn.icsk_ca_state),
				  tp->inet_conn.icsk_pending);
}

static __always_inline void count_retransmit(struct sonde_tag *tag, const struct tcp_sock *tp,
					     __u32 kind)
{
	__u32 total = tp->total_retrans, grown = total - tag->kind_retrans, index;
	__u32 bytes = tp->bytes_retrans, grown_bytes = bytes - tag->kind_retrans_bytes;
	struct sonde_tcp_cell *cell;

	if (!grown || kind >= SONDE_TCP_RETRANSMIT_MAX)
		return;
	tag->kind_retrans = total; /* under the socket's lock */
	tag->kind_retrans_bytes = bytes;
	cell = tag_cell(tag, &index);
	if (!cell)
		return;
	add(&cell->retransmit[kind], grown);
	if (grown_bytes)
		add(&cell->retransmit_bytes[kind], grown_bytes);
}

static __always_inline void on_retransmit(struct sock *sk)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	struct tcp_sock *tp;

	if (!tag || tag->kind != TAG_CONNECTION)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		count_retransmit(tag, tp, retransmit_kind(sk, tp));
}

static __always_inline void on_retransmit_synack(struct sock *sk, const struct request_sock *req)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	struct sonde_tcp_cell *cell;
	__u8 laddr[16], raddr[16];
	__u32 index;

	if (!tag)
		return;
	if (tag->kind == TAG_CONNECTION) { /* a fast open child: total_retrans is its own */
		struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

		if (!tp)
			return;
		if (!(tag->flags & TAG_HAS_BASE)) {
			struct reading now = {};

			read_socket(sk, tp, tag, &now);
			base_new(&now, tag);
			tag->retrans = tag->kind_retrans = tag->retrans0 = tp->total_retrans - 1;
		}
		count_retransmit(tag, tp, SONDE_TCP_RETRANSMIT_SYNACK);
		return;
	}
	if (tag->kind != TAG_LISTENER)
		return;
	read_addresses(&req->__req_common, laddr, raddr);
	if (!listener_cell(tag, laddr, raddr, &index))
		return;
	cell = cell_at(index);
	if (!cell)
		return;
	add(&cell->retransmit[SONDE_TCP_RETRANSMIT_SYNACK], 1);
	add(&cell->retransmitted_segments, 1);
}
