/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Flow records. A connection that ends is written once, at its end, into a ring
 * that user space empties at each snapshot; what does not fit is summed per
 * process, so that totals stay exact. The snapshot writes the open ones into an
 * array: not into the iterator's seq_file, whose buffer holds 200 of them and
 * which then resumes by position in a list that changes meanwhile.
 */

const volatile __u32 sonde_ring_slots = 1; /* a power of two */
const volatile __u32 sonde_list_slots = 1;

__u64 sonde_ring_head; /* given out to producers */
__u64 sonde_ring_tail; /* read by user space, which moves it */
__u32 sonde_list_used; /* written by this snapshot; user space sets it to 0 before */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_ended);
} sonde_flow_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_flow);
} sonde_flow_list SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SONDE_TCP_FLOW_RESTS);
	__type(key, struct sonde_flow_rest_key);
	__type(value, struct sonde_tcp_flow_rest);
} sonde_flow_rests SEC(".maps");

struct flow_totals {
	__u64 sent;
	__u64 received;
	__u32 segments_out; /* modulo 2^32, as the kernel has them */
	__u32 segments_in;
	__u32 retrans;
};

/* What the cells hold of the socket. False: its final fold was done. */
static __always_inline bool told_totals(const struct sonde_tag *tag, struct flow_totals *t)
{
	t->sent = *(volatile __u64 *)&tag->sent;
	t->received = *(volatile __u64 *)&tag->received;
	t->segments_out = *(volatile __u32 *)&tag->segments_out;
	t->segments_in = *(volatile __u32 *)&tag->segments_in;
	t->retrans = *(volatile __u32 *)&tag->retrans;
	return t->sent != DEAD && t->received != DEAD && t->segments_out != DEAD32 &&
	       t->segments_in != DEAD32 && t->retrans != DEAD32;
}

/* What they will hold behind the final fold of this reading. */
static __always_inline bool final_totals(const struct sonde_tag *tag, const struct reading *now,
					 struct flow_totals *t)
{
	struct payload payload;

	if (!told_totals(tag, t))
		return false;
	if (now->tag_flags & TAG_CLOSED && counters_reset(now, tag))
		return true;
	if (now->tag_flags & TAG_HAS_BASE) {
		read_payload(now, tag, &payload);
		t->sent = payload.sent;
		t->received = payload.received;
	}
	t->segments_out = now->segs_out;
	t->segments_in = now->segs_in;
	t->retrans = now->total_retrans;
	return true;
}

static __always_inline void write_flow(const struct sonde_tag *tag, const struct flow_totals *t,
				       __u64 cookie, __u32 state, bool final,
				       struct sonde_flow *flow)
{
	flow->id = cookie | (__u64)tag->life << 56;
	flow->netns = tag->netns;
	flow->start_ns = tag->start_ns;
	flow->end_ns = tag->end_ns;
	flow->sent_bytes = t->sent;
	flow->received_bytes = t->received;
	flow->segments_out = t->segments_out - tag->segments_out0;
	flow->segments_in = t->segments_in - tag->segments_in0;
	flow->rtt_sum_us = tag->rtt_sum_us;
	flow->retransmits = t->retrans - tag->retrans0;
	flow->drops = tag->drops;
	flow->rtt_count = tag->rtt_count;
	flow->rtt_min_us = tag->rtt_min_us;
	flow->rtt_max_us = tag->rtt_max_us;
	flow->pid = tag->pid;
	flow->peer_pid = tag->peer_pid;
	__builtin_memcpy(flow->laddr, tag->laddr, sizeof(flow->laddr));
	__builtin_memcpy(flow->raddr, tag->raddr, sizeof(flow->raddr));
	flow->lport = tag->lport;
	flow->rport = tag->rport;
	flow->protocol = PROTOCOL_TCP;
	flow->role = tag->role;
	flow->state = state;
	flow->closer = tag->closer;
	flow->error = tag->error;
	flow->final = final;
}

static __always_inline struct sonde_tcp_flow_rest *flow_rest_slot(
	const struct sonde_flow_rest_key *key)
{
	struct sonde_tcp_flow_rest *slot = bpf_map_lookup_elem(&sonde_flow_rests, key);

	if (!slot) {
		struct sonde_tcp_flow_rest zero = {};

		bpf_map_update_elem(&sonde_flow_rests, key, &zero, BPF_NOEXIST);
		slot = bpf_map_lookup_elem(&sonde_flow_rests, key);
	}
	return slot;
}

/* Ended ones come from every CPU and add up; open ones from the one reader, anew in each snapshot. */
SHARED int add_flow_rest(const struct sonde_tag *tag, const struct flow_totals *t, bool open)
{
	struct sonde_flow_rest_key key = {.protocol = PROTOCOL_TCP, .open = open};
	struct sonde_tcp_flow_rest *slot;

	if (!tag || !t)
		return 0;
	key.pid = tag->pid;
	key.role = tag->role;
	slot = flow_rest_slot(&key);
	if (!slot) {
		lose(SONDE_TCP_LOSS_FLOW_FULL, 1);
		return 0;
	}
	if (open && slot->epoch != sonde_epoch) {
		__builtin_memset(&slot->rest, 0, sizeof(slot->rest));
		slot->epoch = sonde_epoch;
	}
	add(&slot->rest.connections, 1);
	add(&slot->rest.sent_bytes, t->sent);
	add(&slot->rest.received_bytes, t->received);
	add(&slot->rest.segments_out, t->segments_out - tag->segments_out0);
	add(&slot->rest.segments_in, t->segments_in - tag->segments_in0);
	add(&slot->rest.retransmits, t->retrans - tag->retrans0);
	add(&slot->rest.drops, tag->drops);
	add(&slot->rest.rtt_count, tag->rtt_count);
	add(&slot->rest.rtt_sum_us, tag->rtt_sum_us);
	return 0;
}

#define RESERVE_RETRIES 16

static __always_inline bool reserve_ended(__u64 *ret)
{
	__u64 head, seen;
	int i;

	head = *(volatile __u64 *)&sonde_ring_head;
	for (i = 0; i < RESERVE_RETRIES; i++) {
		if (head - *(volatile __u64 *)&sonde_ring_tail >= sonde_ring_slots)
			return false;
		seen = __sync_val_compare_and_swap(&sonde_ring_head, head, head + 1);
		if (seen == head) {
			*ret = head;
			return true;
		}
		head = seen;
	}
	return false;
}

/* @now: NULL for a socket whose life of before was folded already, and whose counters are gone. */
SHARED int end_flow(struct sonde_tag *tag, const struct reading *now, __u64 cookie)
{
	struct flow_totals t;
	struct sonde_tcp_ended *slot;
	__u64 turn;
	__u32 at;

	if (!tag)
		return 0;
	/* A child that never got to ESTABLISHED has nothing of its own. */
	if (tag->role == SONDE_TCP_ROLE_SERVER && !(tag->flags & TAG_HAS_BASE))
		return 0;
	if (now ? !final_totals(tag, now, &t) : !told_totals(tag, &t))
		return 0;
	/* Before its place: a snapshot that does not see this finds the place among those given out since it began. */
	__sync_fetch_and_or(&tag->flags, TAG_FLOW_ENDED);
	if (!reserve_ended(&turn)) {
		add_flow_rest(tag, &t, false);
		return 0;
	}
	at = turn & (sonde_ring_slots - 1);
	slot = bpf_map_lookup_elem(&sonde_flow_ring, &at);
	if (!slot)
		return 0;
	write_flow(tag, &t, cookie, TCP_CLOSE, true, &slot->flow);
	if (!slot->flow.end_ns)
		slot->flow.end_ns = bpf_ktime_get_ns();
	__sync_lock_test_and_set(&slot->turn, turn + 1); /* behind the record */
	return 0;
}

SHARED int write_open_flow(struct sonde_tag *tag, __u64 cookie, __u32 state)
{
	__u32 at = sonde_list_used;
	struct flow_totals t;
	struct sonde_flow *flow;

	if (!tag)
		return 0;
	if (tag->role == SONDE_TCP_ROLE_SERVER && !(tag->flags & TAG_HAS_BASE))
		return 0;
	if (tag->flags & TAG_FLOW_ENDED || !told_totals(tag, &t))
		return 0;
	flow = at < sonde_list_slots ? bpf_map_lookup_elem(&sonde_flow_list, &at) : NULL;
	if (!flow) {
		add_flow_rest(tag, &t, true);
		return 0;
	}
	write_flow(tag, &t, cookie, state, false, flow);
	sonde_list_used = at + 1;
	return 0;
}

static __always_inline void flow_end(struct sock *sk, struct sonde_tag *tag)
{
	struct tcp_sock *tp;
	struct reading now = {};

	if (!sonde_flows_wanted)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	read_socket(sk, tp, tag, &now);
	end_flow(tag, &now, bpf_get_socket_cookie(sk));
}

static __always_inline void flow_open(struct sock *sk, struct sonde_tag *tag)
{
	if (sonde_flows_wanted)
		write_open_flow(tag, bpf_get_socket_cookie(sk), sk->__sk_common.skc_state);
}
