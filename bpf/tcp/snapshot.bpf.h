/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Snapshot: visits every tagged socket, folds it, and sums the gauges of what is
 * open. One reader runs it, so gauges need no atomics: a cell whose epoch is not
 * this snapshot's is begun anew.
 */

static __always_inline void begin_gauges(struct sonde_tcp_cell *cell)
{
	if (cell->epoch == sonde_epoch)
		return;
	__builtin_memset(&cell->epoch, 0,
			 sizeof(*cell) - __builtin_offsetof(struct sonde_tcp_cell, epoch));
	cell->epoch = sonde_epoch;
}

__u64 sonde_jiffies_epoch;  /* the snapshot that the next is of */
__u32 sonde_jiffies_now;    /* when it began */
__u32 sonde_jiffies_before; /* when the one before it began */

static __always_inline void begin_clock(void)
{
	__u32 now;

	if (sonde_jiffies_epoch == sonde_epoch)
		return;
	now = bpf_jiffies64();
	sonde_jiffies_before = sonde_jiffies_epoch ? sonde_jiffies_now : now;
	sonde_jiffies_now = now;
	sonde_jiffies_epoch = sonde_epoch;
}

/*
 * Since when the window has been closed: nothing was accepted since. What was before the
 * last snapshot was counted there, and what is before the first is not ours.
 */
static __always_inline __u32 closed_jiffies(const struct tcp_sock *tp)
{
	__u32 since = tp->inet_conn.icsk_ack.lrcvtime;

	if ((__s32)(since - sonde_jiffies_before) < 0)
		since = sonde_jiffies_before;
	return (__s32)(sonde_jiffies_now - since) > 0 ? sonde_jiffies_now - since : 0;
}

/* What holds the connection back now. */
static __always_inline void add_window_gauges(const struct sock *sk, const struct tcp_sock *tp,
					      struct sonde_tcp_cell *cell)
{
	__u64 pacing = sk->sk_pacing_rate, interval_us = tp->rate_interval_us;

	cell->cwnd_sum += tp->snd_cwnd;
	if (tp->snd_ssthresh < SSTHRESH_INFINITE) {
		cell->ssthresh_sum += tp->snd_ssthresh;
		cell->ssthresh_sockets++;
	}
	if (pacing && pacing != ~0UL) {
		cell->pacing_sum += pacing;
		cell->pacing_sockets++;
	}
	if (tp->rate_delivered && interval_us) {
		cell->delivery_sum +=
			(__u64)tp->rate_delivered * tp->mss_cache * 1000000 / interval_us;
		cell->delivery_sockets++;
		cell->delivery_app_limited += BPF_CORE_READ_BITFIELD(tp, rate_app_limited);
	}
	if (!tp->snd_wnd)
		cell->zero_window_received++;
	if ((__s32)(tp->rcv_wup + tp->rcv_wnd - tp->rcv_nxt) <= 0) {
		cell->zero_window_sent++;
		add(&cell->zero_window_sent_us, (__u64)closed_jiffies(tp) * sonde_jiffy_us);
	}
}

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
	begin_gauges(cell);
	cell->open++;
	add_window_gauges(sk, tp, cell);
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

/* Its queue, while there is one or was one at the last snapshot: an empty one is no news. */
static __always_inline void add_accept_queue(const struct sock *sk, const struct sonde_tag *tag)
{
	__u32 queued = sk->sk_ack_backlog;
	struct sonde_tcp_cell *cell;

	if (!queued)
		return;
	cell = own_listener_cell(tag);
	if (!cell)
		return;
	begin_gauges(cell);
	cell->accept_queue += queued;
	cell->accept_queue_limit += sk->sk_max_ack_backlog;
}

/*
 * Torn by a close on another CPU: that event folds too, but perhaps after this
 * snapshot was read, and a task's last one has no next. A function of its own for
 * the sake of the stack.
 */
static __noinline int fold_tagged(struct sock *sk, struct sonde_tag *tag, bool release)
{
	return fold(sk, tag, release) && fold(sk, tag, release);
}

/*
 * A signal begins in mid-attachment. An event meanwhile moves what it counted by itself, and is before what begins: then it
 * stays as the event left it.
 */
static __noinline int settle_tag(const struct sock *sk, struct sonde_tag *tag)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	__u32 kinds = *(volatile __u32 *)&tag->kind_retrans;
	__u32 bytes = *(volatile __u32 *)&tag->kind_retrans_bytes;

	if (!tp || tag->kind != TAG_CONNECTION)
		return 0;
	if (sonde_settling & SONDE_TCP_SETTLE_RTT) {
		tag->last_rtt_us = 0;
		if (!(tag->flags & TAG_RTT_SOCKOPS) && tag->flags & TAG_ESTABLISHED)
			sonde_probe_wanted = true;
	}
	/* A child's first value is its request's, at its base. */
	if (!(sonde_settling & SONDE_TCP_SETTLE_RETRANSMIT) ||
	    (tag->role != SONDE_TCP_ROLE_CLIENT && !(tag->flags & TAG_HAS_BASE)))
		return 0;
	__sync_val_compare_and_swap(&tag->kind_retrans, kinds, tp->total_retrans);
	__sync_val_compare_and_swap(&tag->kind_retrans_bytes, bytes, (__u32)tp->bytes_retrans);
	return 0;
}

static __always_inline void on_tagged_socket(struct sock *sk)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	bool release = sonde_snapshot_mode == SONDE_TCP_SNAPSHOT_RELEASE;

	if (!tag || (tag->kind != TAG_LISTENER && tag->kind != TAG_CONNECTION))
		return;
	if (sonde_snapshot_mode == SONDE_TCP_SNAPSHOT_SETTLE) {
		settle_tag(sk, tag);
		return;
	}
	begin_clock();
	(void)connection_tag(sk);
	if ((tag->flags & (TAG_ESTABLISHED | TAG_ENDED)) == TAG_ESTABLISHED)
		sonde_alive++;
	if (release && bpf_map_lookup_elem(&sonde_targets, &tag->pid))
		return;
	if (tag->kind == TAG_LISTENER) {
		fold_listener(sk, tag, release);
		if (!release)
			add_accept_queue(sk, tag);
	}
	if (tag->kind == TAG_CONNECTION) {
		make_up(sk, tag);
		if (make_up_end(sk, tag)) {
			take_off(sk, tag);
			return;
		}
		close_if_shut(sk, tag);
		fold_tagged(sk, tag, release);
		if (!release) {
			add_gauges(sk, tag);
			flow_open(sk, tag);
		}
	}
	if (release)
		take_off(sk, tag);
}
