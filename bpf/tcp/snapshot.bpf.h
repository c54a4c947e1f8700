/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Snapshot: visits every tagged socket, folds it, and sums the gauges of what is
 * open. One reader runs it, so gauges need no atomics: a cell whose epoch is not
 * this snapshot's is begun anew.
 */

static __always_inline void add_gauges(struct sock *sk, struct sonde_tag *tag)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct sonde_tcp_cell *cell;
	__u32 index, srtt, rtt_min;

	if (!tp || (tag->flags & (TAG_OPEN | TAG_CLOSED | TAG_CLOSE_COUNTED)) != TAG_OPEN)
		return;
	cell = tag_cell(tag, &index);
	if (!cell)
		return;
	if (cell->epoch != sonde_epoch) {
		cell->epoch = sonde_epoch;
		cell->open = 0;
		cell->rtt_sockets = 0;
		cell->srtt_sum_us = 0;
		cell->rttvar_sum_us = 0;
		cell->rtt_min_us = 0;
	}
	cell->open++;
	srtt = tp->srtt_us >> 3;
	if (!srtt)
		return;
	cell->rtt_sockets++;
	cell->srtt_sum_us += srtt;
	cell->rttvar_sum_us += tp->mdev_us >> 2;
	rtt_min = tp->rtt_min.s[0].v;
	if (rtt_min != ~0U && rtt_min && (!cell->rtt_min_us || rtt_min < cell->rtt_min_us))
		cell->rtt_min_us = rtt_min;
}

static __always_inline void on_tagged_socket(struct sock *sk)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	bool release = sonde_snapshot_mode == SONDE_TCP_SNAPSHOT_RELEASE;

	if (!tag || tag->kind == TAG_BLANK)
		return;
	(void)connection_tag(sk);
	if ((tag->flags & (TAG_ESTABLISHED | TAG_ENDED)) == TAG_ESTABLISHED)
		sonde_alive++;
	if (release && bpf_map_lookup_elem(&sonde_targets, &tag->pid))
		return;
	if (tag->kind == TAG_CONNECTION) {
		make_up(sk, tag);
		close_if_shut(sk, tag);
		/*
		 * Torn by a close on another CPU: that event folds too, but perhaps after
		 * this snapshot was read, and a task's last one has no next.
		 */
		if (fold(sk, tag, release))
			fold(sk, tag, release);
		if (!release) {
			add_gauges(sk, tag);
			flow_open(sk, tag);
		}
	}
	if (release) {
		tuple_leave(tag);
		end_connection(tag);
		bpf_sk_storage_delete(&sonde_tags, sk);
	}
}
