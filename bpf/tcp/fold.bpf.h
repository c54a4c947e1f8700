/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Fold: what tcp_sock counted since the last fold goes into the cell.
 *
 * A snapshot and a dying socket fold on two CPUs. A snapshot advances each last
 * value by compare-and-exchange and adds the difference; the final fold
 * exchanges it with DEAD, so that nothing follows it.
 *
 * Payload is counted by sequence numbers from an anchor at its first byte, which
 * neither SYN nor FIN can shift; the kernel's 64-bit counters only say which lap
 * of 2^32 it is. So a read between two of the kernel's stores is never wrong,
 * where bytes_acked + (write_seq - snd_una) would be for a moment.
 */

#define FOLD_RETRIES 4

/*
 * What a fold needs of a socket, read in straight lines: what follows from it is
 * then a global function's matter, which needs no socket and is verified once.
 */
struct reading {
	__u64 bytes_acked;
	__u64 bytes_received;
	__u64 rack_mstamp;
	__u64 tag_mstamp; /* the tag's, read before everything of the socket, as its flags are */
	__u32 tag_flags;
	__u32 rack_rtt_us;
	__u32 write_seq;
	__u32 snd_una;
	__u32 copied_seq;
	__u32 rcv_nxt;
	__u32 segs_out;
	__u32 segs_in;
	__u32 total_retrans;
	__u32 delivered;
	__u32 srtt_us;
	__u32 state;
	__u32 retrans_bytes;
	__u32 dsack_segments;
	__u32 out_of_order;
	__u32 jiffies;
	__u32 busy_jiffies;
	__u32 rwnd_jiffies;
	__u32 sndbuf_jiffies;
	__u32 busy; /* enum tcp_chrono: what the connection is limited by now; 0 = it is idle */
	__u64 fin_arrived;
};

struct payload {
	__u64 sent;
	__u64 acked;
	__u64 received;
	__u64 arrived;
};

struct sequence {
	__u32 sent;	/* end of what the application wrote */
	__u32 acked;	/* end of what the peer acknowledged */
	__u32 received; /* end of what the application took */
	__u32 arrived;	/* end of what arrived in order */
};

static __always_inline bool fin_arrived(const struct sock *sk)
{
	return sk->__sk_common.skc_flags & (1UL << SOCK_DONE);
}

SHARED int add_running_clock(struct reading *now, __u32 jiffies)
{
	if (!now || !now->busy || (__s32)jiffies < 0)
		return 0;
	now->busy_jiffies += jiffies;
	if (now->busy == CHRONO_RWND)
		now->rwnd_jiffies += jiffies;
	else if (now->busy == CHRONO_SNDBUF)
		now->sndbuf_jiffies += jiffies;
	return 0;
}

/* What tcp_get_info() tells of them: the clock of the running one is not stopped for a reading. */
static __always_inline void read_clocks(const struct tcp_sock *tp, struct reading *now)
{
	__u32 since = tp->chrono_start;

	now->busy = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	now->rwnd_jiffies = tp->chrono_stat[CHRONO_RWND - 1];
	now->sndbuf_jiffies = tp->chrono_stat[CHRONO_SNDBUF - 1];
	now->busy_jiffies =
		tp->chrono_stat[CHRONO_BUSY - 1] + now->rwnd_jiffies + now->sndbuf_jiffies;
	now->jiffies = bpf_jiffies64();
	add_running_clock(now, now->jiffies - since);
}

static __always_inline void read_socket(const struct sock *sk, const struct tcp_sock *tp,
					const struct sonde_tag *tag, struct reading *now)
{
	now->tag_flags = *(volatile __u32 *)&tag->flags;
	now->tag_mstamp = *(volatile __u64 *)&tag->rtt_mstamp;
	now->bytes_acked = tp->bytes_acked;
	now->bytes_received = tp->bytes_received;
	now->write_seq = *(volatile __u32 *)&tp->write_seq;
	now->snd_una = *(volatile __u32 *)&tp->snd_una;
	now->copied_seq = *(volatile __u32 *)&tp->copied_seq;
	now->rcv_nxt = *(volatile __u32 *)&tp->rcv_nxt;
	/* Set a moment after rcv_nxt: the FIN may pass for a byte until the next fold takes it back. */
	now->fin_arrived = fin_arrived(sk);
	now->segs_out = tp->segs_out;
	now->segs_in = tp->segs_in;
	now->total_retrans = tp->total_retrans;
	now->delivered = tp->delivered;
	now->srtt_us = tp->srtt_us;
	now->rack_rtt_us = tp->rack.rtt_us;
	now->rack_mstamp = tp->rack.mstamp;
	now->state = sk->__sk_common.skc_state;
	now->retrans_bytes = tp->bytes_retrans;
	now->dsack_segments = tp->dsack_dups;
	now->out_of_order = tp->rcv_ooopack;
	read_clocks(tp, now);
}

/* Sequence numbers of payload ends, FINs taken off. */
static __always_inline void read_sequence(const struct reading *now, const struct sonde_tag *tag,
					  __u32 flags, struct sequence *seq)
{
	seq->sent = now->write_seq;
	seq->acked = now->snd_una;
	if (flags & TAG_FIN_SENT) {
		seq->sent = tag->sent_end;
		if ((__s32)(seq->acked - seq->sent) > 0)
			seq->acked = seq->sent;
	}
	seq->received = now->copied_seq;
	seq->arrived = now->rcv_nxt;
	if (now->fin_arrived) {
		seq->arrived--;
		if ((__s32)(seq->received - seq->arrived) > 0)
			seq->received = seq->arrived;
	}
}

/* The number nearest to @about whose low 32 bits are @low. */
static __always_inline __u64 nearest(__u64 about, __u32 low)
{
	return about + (__s32)(low - (__u32)about);
}

static __always_inline void read_payload(const struct reading *now, const struct sonde_tag *tag,
					 struct payload *payload)
{
	__u64 acked = now->bytes_acked - tag->acked_raw0;
	__u64 arrived = now->bytes_received - tag->received_raw0;
	struct sequence seq;

	read_sequence(now, tag, now->tag_flags, &seq);
	payload->sent =
		nearest(acked + (seq.sent - seq.acked) - (__s32)(tag->sent_seq0 - tag->acked_seq0),
			seq.sent - tag->sent_seq0);
	payload->acked = nearest(acked, seq.acked - tag->acked_seq0);
	payload->received = nearest(arrived - (seq.arrived - seq.received) +
					    (tag->arrived_seq0 - tag->received_seq0),
				    seq.received - tag->received_seq0);
	payload->arrived = nearest(arrived, seq.arrived - tag->arrived_seq0);
}

static __always_inline void start_clocks(const struct reading *now, struct sonde_tag *tag)
{
	tag->active_jiffies = now->jiffies;
	tag->busy_jiffies = now->busy_jiffies;
	tag->rwnd_jiffies = now->rwnd_jiffies;
	tag->sndbuf_jiffies = now->sndbuf_jiffies;
}

/* A connection whose first byte we know: at ESTABLISHED, or in a fast open before it. */
static __always_inline void base_new(const struct reading *now, struct sonde_tag *tag)
{
	/* bytes_acked counts our SYN; a socket under TCP_REPAIR is established without one */
	__u32 syn = tag->role == SONDE_TCP_ROLE_CLIENT && now->bytes_acked > 0;

	if (tag->flags & TAG_HAS_BASE)
		return;
	tag->acked_raw0 = syn;
	tag->acked_seq0 = now->snd_una - (__u32)now->bytes_acked + syn;
	tag->sent_seq0 = tag->acked_seq0;
	tag->received_raw0 = 0;
	tag->arrived_seq0 = now->rcv_nxt - (__u32)now->bytes_received;
	tag->received_seq0 = tag->arrived_seq0;
	if (tag->role == SONDE_TCP_ROLE_SERVER) {
		/* The request's SYN-ACK retransmits: counted at the listener when they happened. */
		tag->retrans = now->total_retrans;
		tag->retrans0 = now->total_retrans;
		tag->kind_retrans = now->total_retrans;
	}
	start_clocks(now, tag);
	tag->rtt_mstamp = now->rack_mstamp;
	tag->blind_delivered = now->delivered;
	__sync_fetch_and_or(&tag->flags, TAG_HAS_BASE);
}

/* A connection met in mid-life: its base line is now. The tag is not published yet. */
SHARED int base_seeded(const struct reading *now, struct sonde_tag *tag)
{
	struct sequence seq;

	if (!now || !tag)
		return 0;
	tag->acked_raw0 = now->bytes_acked;
	tag->received_raw0 = now->bytes_received - now->fin_arrived;
	read_sequence(now, tag, tag->flags, &seq);
	tag->sent_seq0 = seq.sent;
	tag->acked_seq0 = seq.acked;
	tag->received_seq0 = seq.received;
	tag->arrived_seq0 = seq.arrived;
	tag->segments_out = now->segs_out;
	tag->segments_in = now->segs_in;
	tag->retrans = now->total_retrans;
	tag->segments_out0 = now->segs_out;
	tag->segments_in0 = now->segs_in;
	tag->retrans0 = now->total_retrans;
	tag->kind_retrans = now->total_retrans;
	tag->retrans_bytes = now->retrans_bytes;
	tag->kind_retrans_bytes = now->retrans_bytes;
	tag->dsack_segments = now->dsack_segments;
	tag->out_of_order = now->out_of_order;
	start_clocks(now, tag);
	tag->rtt_mstamp = now->rack_mstamp;
	tag->blind_delivered = now->delivered;
	__sync_fetch_and_or(&tag->flags, TAG_HAS_BASE);
	return 0;
}

SHARED int advance(__u64 *last, __u64 now, bool final, __u64 *sum)
{
	__u64 old, seen;
	int i;

	if (!last || !sum)
		return 0;
	if (final) {
		old = __sync_lock_test_and_set(last, DEAD);
		if (old != DEAD && old != now)
			add(sum, now - old);
		return 0;
	}
	old = *(volatile __u64 *)last;
	for (i = 0; i < FOLD_RETRIES; i++) {
		if (old == DEAD || (__s64)(now - old) <= 0)
			return 0;
		seen = __sync_val_compare_and_swap(last, old, now);
		if (seen == old) {
			add(sum, now - old);
			return 0;
		}
		old = seen;
	}
	lose(SONDE_TCP_LOSS_BUSY, 1);
	return 0;
}

/* The same for 32-bit counters, which may wrap between two folds; @unit: what one of them adds. */
SHARED int advance32(__u32 *last, __u32 now, bool final, __u64 *sum, __u32 unit)
{
	__u32 old, seen;
	int i;

	if (!last || !sum)
		return 0;
	if (now == DEAD32) /* means something else here: one less, until it has grown */
		now--;
	if (final) {
		old = __sync_lock_test_and_set(last, DEAD32);
		if (old != DEAD32 && (__s32)(now - old) > 0)
			add(sum, (__u64)(now - old) * unit);
		return 0;
	}
	old = *(volatile __u32 *)last;
	for (i = 0; i < FOLD_RETRIES; i++) {
		if (old == DEAD32 || (__s32)(now - old) <= 0)
			return 0;
		seen = __sync_val_compare_and_swap(last, old, now);
		if (seen == old) {
			add(sum, (__u64)(now - old) * unit);
			return 0;
		}
		old = seen;
	}
	lose(SONDE_TCP_LOSS_BUSY, 1);
	return 0;
}

/*
 * tcp_disconnect() zeroes the counters of a socket that the application keeps.
 * Everything was folded at its -> CLOSE; only reads of what had arrived could
 * follow, and those leave the counters as they are.
 */
static __always_inline bool counters_reset(const struct reading *now, const struct sonde_tag *tag)
{
	/* Of those that came in there was one at least; who never sent has none that went out. */
	if ((__s32)(now->segs_in - tag->segments_in) < 0 ||
	    (__s32)(now->segs_out - tag->segments_out) < 0)
		return true;
	return now->tag_flags & TAG_HAS_BASE && (__u32)(now->bytes_received - tag->received_raw0) !=
							now->rcv_nxt - tag->arrived_seq0;
}

static __always_inline void fold_payload(const struct reading *now, struct sonde_tag *tag,
					 struct sonde_tcp_cell *cell, bool final)
{
	struct payload payload;

	read_payload(now, tag, &payload);
	advance(&tag->sent, payload.sent, final, &cell->sent_bytes);
	advance(&tag->acked, payload.acked, final, &cell->acked_bytes);
	advance(&tag->received, payload.received, final, &cell->received_bytes);
	advance(&tag->arrived, payload.arrived, final, &cell->arrived_bytes);
}

/* At its end: what arrived and nobody took. A tag that is taken off a living socket counts nothing. */
static __always_inline void count_unread(const struct reading *now, struct sonde_tag *tag,
					 struct sonde_tcp_cell *cell)
{
	struct sequence seq;
	__s32 unread;

	if (now->state != TCP_CLOSE)
		return;
	read_sequence(now, tag, now->tag_flags, &seq);
	unread = seq.arrived - seq.received;
	if (unread <= 0)
		return;
	add(&cell->unread_closes, 1);
	add(&cell->unread_bytes, unread);
}

/*
 * An idle connection's clock stands until something happens: so it makes no cell
 * change, and what is reported is complete up to the last activity.
 */
static __always_inline void fold_clocks(const struct reading *now, struct sonde_tag *tag,
					struct sonde_tcp_cell *cell, bool moved, bool final)
{
	__u32 us = sonde_jiffy_us;

	/* The application may keep what is closed for as long as it likes. */
	if (now->state == TCP_CLOSE && now->tag_flags & TAG_CLOSED)
		return;
	if (moved || final || now->busy)
		advance32(&tag->active_jiffies, now->jiffies, final, &cell->active_us, us);
	advance32(&tag->busy_jiffies, now->busy_jiffies, final, &cell->busy_us, us);
	advance32(&tag->rwnd_jiffies, now->rwnd_jiffies, final, &cell->rwnd_limited_us, us);
	advance32(&tag->sndbuf_jiffies, now->sndbuf_jiffies, final, &cell->sndbuf_limited_us, us);
}

/* What tcp_probe did not see. */
static __always_inline void fold_rtt(const struct reading *now, struct sonde_tag *tag, __u32 index,
				     struct sonde_tcp_cell *cell)
{
	bool took;

	if (now->tag_flags & TAG_RTT_SOCKOPS)
		return;
	took = take_rtt(tag, index, now->tag_mstamp, now->rack_rtt_us, now->rack_mstamp);
	if (took &&
	    !sonde_rtt_unasked) /* sockops is not attached above this socket's cgroup, or is younger */
		sonde_probe_wanted = true;
	if (now->tag_flags & TAG_HAS_BASE &&
	    (!sonde_probe_attached || now->state != TCP_ESTABLISHED))
		count_missed_rtt(now->delivered, tag, cell, took);
}

/* Return: 0, or 1 when the reading is torn by an event on another CPU: read again. */
SHARED int fold_reading(struct sonde_tag *tag, const struct reading *now, bool final)
{
	struct sonde_tcp_cell *cell;
	__u32 index = 0, flags;

	if (!tag || !now)
		return 0;
	flags = now->tag_flags;
	/* A child that never got to ESTABLISHED has nothing of its own. */
	if (tag->role == SONDE_TCP_ROLE_SERVER && !(flags & TAG_HAS_BASE))
		return 0;
	if (flags & TAG_CLOSED && counters_reset(now, tag))
		return 1;
	/* A FIN or the end came between our reads. */
	if (!final && (*(volatile __u32 *)&tag->flags ^ flags) & (TAG_FIN_SENT | TAG_CLOSED))
		return 1;
	cell = tag_cell(tag, &index);
	if (!cell)
		return 0;
	if (flags & TAG_HAS_BASE) {
		fold_payload(now, tag, cell, final);
		fold_clocks(now, tag, cell,
			    now->segs_out != tag->segments_out || now->segs_in != tag->segments_in,
			    final);
		if (final)
			count_unread(now, tag, cell);
	}
	advance32(&tag->segments_out, now->segs_out, final, &cell->segments_out, 1);
	advance32(&tag->segments_in, now->segs_in, final, &cell->segments_in, 1);
	advance32(&tag->retrans, now->total_retrans, final, &cell->retransmitted_segments, 1);
	advance32(&tag->retrans_bytes, now->retrans_bytes, final, &cell->retransmitted_bytes, 1);
	advance32(&tag->dsack_segments, now->dsack_segments, final, &cell->dsack_segments, 1);
	advance32(&tag->out_of_order, now->out_of_order, final, &cell->out_of_order_segments, 1);
	fold_rtt(now, tag, index, cell);
	return 0;
}

static __always_inline int fold(struct sock *sk, struct sonde_tag *tag, bool final)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct reading now = {};

	if (!tp)
		return 0;
	read_socket(sk, tp, tag, &now);
	return fold_reading(tag, &now, final);
}
