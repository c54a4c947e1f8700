/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * RTT samples. One source a socket: the sockops callback for those that were
 * established while it is attached (it fires in every state), tcp_probe for the
 * others. tcp_probe runs before the ACK is processed, so the sample that an ACK
 * made is seen at the next one; what is pending at a state change, a snapshot or
 * the end is taken there.
 */

#define SQUARED_MAX_US (1U << 24) /* its square may be added 2^16 times; 16.7 s */

/* @index: of the tag's cell, which the caller looked up: from a fold the stack has no room to do it here. */
SHARED int rtt_add(struct sonde_tag *tag, __u32 index, __u32 us)
{
	__u64 squared = us < SQUARED_MAX_US ? us : SQUARED_MAX_US;
	struct sonde_tcp_cell *cell = cell_at(index);
	__u32 before;

	if (!tag || !cell)
		return 0;
	add(&cell->rtt_count, 1);
	add(&cell->rtt_sum_us, us);
	add(&cell->rtt_square_sum_us2, squared * squared);
	before = tag->last_rtt_us;
	tag->last_rtt_us = us + 1;
	if (!before)
		add(&cell->rtt_firsts, 1);
	else if (before - 1 != us)
		add(&cell->rtt_change_sum_us,
		    before - 1 > us ? before - 1 - us : us - (before - 1));
	hist_add(&sonde_rtt, index, us);
	flow_rtt(tag, us);
	return 0;
}

/*
 * The sample that RACK took and we did not count yet. Whoever moves the stamp
 * counts it; @old is the tag's, read before the socket's, else it could be moved
 * back.
 */
static __always_inline bool take_rtt(struct sonde_tag *tag, __u32 index, __u64 old, __u32 us,
				     __u64 stamp)
{
	if ((tag->flags & (TAG_RTT_SOCKOPS | TAG_HAS_BASE)) != TAG_HAS_BASE || old == DEAD)
		return false;
	/* 0: tcp_disconnect() cleared it. */
	if (!stamp || stamp == old ||
	    __sync_val_compare_and_swap(&tag->rtt_mstamp, old, stamp) != old)
		return false;
	rtt_add(tag, index, us);
	return true;
}

static __always_inline void take_pending_rtt(const struct tcp_sock *tp, struct sonde_tag *tag)
{
	__u64 old = *(volatile __u64 *)&tag->rtt_mstamp, stamp = tp->rack.mstamp;
	__u32 index;

	if (stamp != old && tag_cell(tag, &index))
		take_rtt(tag, index, old, tp->rack.rtt_us, stamp);
}

static __always_inline void on_tcp_probe(struct sock *sk)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	struct tcp_sock *tp;

	if (!tag || tag->kind != TAG_CONNECTION || tag->flags & TAG_RTT_SOCKOPS)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		take_pending_rtt(tp, tag);
}

/*
 * Outside ESTABLISHED, and before it is attached, tcp_probe is blind: of the
 * segments that were delivered since, at most the pending sample was seen.
 */
static __always_inline void count_missed_rtt(__u32 now, struct sonde_tag *tag,
					     struct sonde_tcp_cell *cell, bool took)
{
	__u32 old = tag->blind_delivered; /* of tcp_sock.delivered, as @now is */
	__s32 missed = (__s32)(now - old);

	if (missed <= 0 || __sync_val_compare_and_swap(&tag->blind_delivered, old, now) != old)
		return;
	if (sonde_rtt_unasked)
		return;
	missed -= took;
	if (missed <= 0)
		return;
	add(&cell->rtt_missed, missed);
	lose(SONDE_TCP_LOSS_RTT_MISSED, missed);
}

static __always_inline void on_sockops(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk;
	struct sonde_tag *tag;
	__u32 op = ops->op;

	/* Never write ops->reply: another program of this host may have answered already. */
	if (op != BPF_SOCK_OPS_RTT_CB && op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return;
	sk = ops->sk;
	if (!sk)
		return;
	tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	if (!tag || tag->kind != TAG_CONNECTION)
		return;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		tag->lport =
			ops->local_port; /* chosen by now; a connect that fails has no later chance */
		return;
	}
	if (op == BPF_SOCK_OPS_RTT_CB) {
		__u32 us = ops->args[0], index;

		if (!us) { /* no argument before 6.10 */
			struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

			us = tp ? tp->rack.rtt_us : 0;
		}
		if (tag->flags & TAG_RTT_SOCKOPS && tag_cell(tag, &index))
			rtt_add(tag, index, us);
		return;
	}
	if (sonde_rtt_unasked) /* one that a later task asks for comes by tcp_probe */
		return;
	if (bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG) ==
	    0)
		__sync_fetch_and_or(&tag->flags, TAG_RTT_SOCKOPS);
}
